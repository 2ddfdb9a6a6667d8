"""Which pictures of a set to match: all, a sequence's, those alike, those whose views overlap, those listed."""

from cv3d.features.pairs.base import Neighbours, Pair, PairSelector, retrieval_recall
from cv3d.features.pairs.listing import read_pair_list
from cv3d.features.pairs.posed import PoseOptions, pose_neighbours
from cv3d.features.pairs.retrieval import (
    RetrievalOptions,
    StoredDescriptors,
    global_descriptors,
    nearest,
    retrieve,
)
from cv3d.features.pairs.selectors import Exhaustive, Listed, Ranked, Sequential
from cv3d.features.pairs.vlad import DescriptorSource, Vocabulary, VocabularyOptions, learn_vocabulary

__all__ = [
    "DescriptorSource",
    "Exhaustive",
    "Listed",
    "Neighbours",
    "Pair",
    "PairSelector",
    "PoseOptions",
    "Ranked",
    "RetrievalOptions",
    "Sequential",
    "StoredDescriptors",
    "Vocabulary",
    "VocabularyOptions",
    "global_descriptors",
    "learn_vocabulary",
    "nearest",
    "pose_neighbours",
    "read_pair_list",
    "retrieval_recall",
    "retrieve",
]
