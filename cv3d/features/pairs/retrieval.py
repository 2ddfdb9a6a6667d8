"""Neighbours by retrieval: pictures whose local descriptors, taken together, are alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features.pairs.base import Neighbours
from cv3d.features.pairs.vlad import (
    DescriptorSource,
    Vocabulary,
    VocabularyOptions,
    encode_pictures,
    learn_vocabulary,
)
from cv3d.features.store import FeatureStore
from cv3d.progress import SILENT, Progress

_BATCH = 8
_QUERIES = 256
_WHITENING_PICTURES = 1024
_SELF = -2.0
"""Less than any cosine."""


@dataclass(frozen=True)
class RetrievalOptions:
    """How pictures are described and ranked."""

    top_k: int = 20
    """Neighbours of each picture."""
    max_descriptors: int = 2048
    """Most local descriptors of a picture, its strongest."""
    vocabulary: VocabularyOptions = field(default_factory=VocabularyOptions)
    whiten_from: int = 256
    """Fewest pictures from which principal components are whitened; in smaller sets too little is known of them."""
    components: int = 256
    """Most principal components to keep; never more than a quarter of the pictures they are learned from."""

    def __post_init__(self) -> None:
        if min(self.top_k, self.max_descriptors, self.components) < 1 or self.whiten_from < 4:
            raise ValueError("top_k, max_descriptors and components must be positive, and whiten_from at least 4")


@dataclass(frozen=True)
class StoredDescriptors:
    """The descriptors of pictures of a feature store."""

    store: FeatureStore
    image_ids: Sequence[int]

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.image_ids)

    def descriptors(self, picture: int) -> NDArray[np.generic]:
        """(n, D) of the picture at a place of the set.

        Raises:
            InputError: the store has none.
        """
        return self.store.descriptors(self.image_ids[picture])


def retrieve(
    source: DescriptorSource, compute: Compute, options: RetrievalOptions | None = None, progress: Progress = SILENT
) -> Neighbours:
    """Rank the pictures of a set by the cosine of their global descriptors.

    Args:
        source: the set's local descriptors.
        compute: where dense work runs.
        options: sizes, and the seed.
        progress: told of each picture.

    Returns:
        Up to `top_k` neighbours of each picture.

    Raises:
        InputError: the set has no descriptors, or descriptors of several lengths.
    """
    options = options or RetrievalOptions()
    return nearest(global_descriptors(source, compute, options, progress), options.top_k, compute)


def global_descriptors(
    source: DescriptorSource, compute: Compute, options: RetrievalOptions | None = None, progress: Progress = SILENT
) -> NDArray[np.float32]:
    """One vector of unit length for each picture, (n, C); zero for one without keypoints.

    Args:
        source: the set's local descriptors.
        compute: where dense work runs.
        options: sizes, and the seed.
        progress: told of each picture.

    Raises:
        InputError: the set has no descriptors, or descriptors of several lengths.
    """
    options = options or RetrievalOptions()
    count = len(source)
    vocabulary = learn_vocabulary(source, compute, options.vocabulary)
    projection: tuple[Tensor, Tensor] | None = None
    if count >= options.whiten_from:
        rng = np.random.default_rng(options.vocabulary.seed)
        sample = np.sort(rng.permutation(count)[:_WHITENING_PICTURES]).tolist()
        parts = [vectors.cpu() for _, vectors in _encoded(source, sample, vocabulary, compute, options)]
        projection = _whitening(torch.cat(parts).numpy(), options.components, compute)
    width = vocabulary.size if projection is None else projection[1].shape[1]
    found = np.zeros((count, width), np.float32)
    progress.start("retrieval", count)
    for places, encoded in _encoded(source, range(count), vocabulary, compute, options):
        vectors = encoded
        if projection is not None:
            is_there = encoded.abs().sum(1, keepdim=True) > 0
            vectors = normalize((encoded - projection[0]) @ projection[1], dim=1) * is_there
        found[places] = vectors.cpu().numpy()
        progress.advance("retrieval", len(places))
    progress.finish("retrieval")
    return found


def nearest(vectors: NDArray[np.float32], top_k: int, compute: Compute) -> Neighbours:
    """The nearest by cosine of every vector, never itself.

    Args:
        vectors: (n, C), of unit length or zero.
        top_k: how many.
        compute: where to compare them, a few hundred with all at a time.

    Raises:
        InputError: the vectors are not (n, C).
    """
    if vectors.ndim != 2:
        raise InputError(f"vectors are (n, C), not {vectors.shape}")
    count = len(vectors)
    kept = min(top_k, max(count - 1, 0))
    indices = np.full((count, top_k), -1, np.int64)
    similarities = np.full((count, top_k), -np.inf, np.float32)
    table = torch.from_numpy(vectors).to(compute.device)
    others = torch.arange(count, device=compute.device)
    for start in range(0, count if kept else 0, _QUERIES):
        queries = others[start : start + _QUERIES]
        cosines = table[start : start + _QUERIES] @ table.T
        cosines = torch.where(queries[:, None] == others, _SELF, cosines)
        values, places = torch.topk(cosines, kept, dim=1)
        indices[start : start + _QUERIES, :kept] = places.cpu().numpy()
        similarities[start : start + _QUERIES, :kept] = values.cpu().numpy()
    return Neighbours(indices, similarities)


def _encoded(
    source: DescriptorSource,
    pictures: Sequence[int],
    vocabulary: Vocabulary,
    compute: Compute,
    options: RetrievalOptions,
) -> Iterator[tuple[list[int], Tensor]]:
    """Places and vectors of a few pictures at a time."""
    for start in range(0, len(pictures), _BATCH):
        places = list(pictures[start : start + _BATCH])
        yield places, encode_pictures(source, places, vocabulary, compute, options.max_descriptors)


def _whitening(vectors: NDArray[np.float32], components: int, compute: Compute) -> tuple[Tensor, Tensor]:
    """Mean, (C,), and the map, (C, c), that takes what is left to uncorrelated components of equal variance.

    Jégou and Chum, "Negative evidences and co-occurences in image retrieval" (ECCV 2012). With fewer pictures than
    dimensions the components come from the small matrix of inner products between the pictures.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors.astype(np.float64) - mean
    variances, combinations = np.linalg.eigh(centred @ centred.T / len(centred))
    kept = min(components, len(centred) // 4, int((variances > variances[-1] * 1e-6).sum()))
    variances, combinations = variances[::-1][:kept], combinations[:, ::-1][:, :kept]
    # The principal direction is X^T u / sqrt(m v); dividing by the standard deviation sqrt(v) once more whitens it.
    mapping = centred.T @ (combinations / (variances * np.sqrt(len(centred))))
    return (
        torch.from_numpy(mean.astype(np.float32)).to(compute.device),
        torch.from_numpy(mapping.astype(np.float32)).to(compute.device),
    )
