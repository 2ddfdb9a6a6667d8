"""Matching pictures: pairs and sets, cheap first and learned where that is not enough, verified and refined."""

from cv3d.features.matching.collection import match_pictures, match_set
from cv3d.features.matching.guided import GuidedOptions, PosedPair, guided_matches
from cv3d.features.matching.options import CascadeOptions, MatchOptions
from cv3d.features.matching.pair import extract, match
from cv3d.features.matching.planning import PairChoice
from cv3d.features.matching.result import PairMatch
from cv3d.features.matching.set_result import SetMatch, SetPicture

__all__ = [
    "CascadeOptions",
    "GuidedOptions",
    "MatchOptions",
    "PairChoice",
    "PairMatch",
    "PosedPair",
    "SetMatch",
    "SetPicture",
    "extract",
    "guided_matches",
    "match",
    "match_pictures",
    "match_set",
]
