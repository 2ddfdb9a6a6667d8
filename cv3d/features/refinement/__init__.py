"""Sub-pixel refinement of keypoints by photometric alignment: of pairs, of sets, and of tracks with known poses."""

from cv3d.features.refinement.alignment import align_patches
from cv3d.features.refinement.options import Alignment, RefinementOptions
from cv3d.features.refinement.pairs import Refinement, refine_matches
from cv3d.features.refinement.pyramid import Pyramid
from cv3d.features.refinement.sets import SetOptions, SetRefinement, VerifiedPair, refine_set_keypoints

__all__ = [
    "Alignment",
    "Pyramid",
    "Refinement",
    "RefinementOptions",
    "SetOptions",
    "SetRefinement",
    "VerifiedPair",
    "align_patches",
    "refine_matches",
    "refine_set_keypoints",
]
