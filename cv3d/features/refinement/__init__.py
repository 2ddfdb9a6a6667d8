"""Sub-pixel refinement of keypoints by photometric alignment: of pairs, of sets, and of tracks with known poses."""

from cv3d.features.refinement.alignment import align_patches
from cv3d.features.refinement.options import Alignment, RefinementOptions, SetOptions
from cv3d.features.refinement.pairs import refine_matches
from cv3d.features.refinement.pyramid import Pyramid
from cv3d.features.refinement.results import Refinement
from cv3d.features.refinement.sets import SetRefinement, VerifiedPair, refine_set_keypoints
from cv3d.features.refinement.tracks import TrackRefinement, refine_tracks

__all__ = [
    "Alignment",
    "Pyramid",
    "Refinement",
    "RefinementOptions",
    "SetOptions",
    "SetRefinement",
    "TrackRefinement",
    "VerifiedPair",
    "align_patches",
    "refine_matches",
    "refine_set_keypoints",
    "refine_tracks",
]
