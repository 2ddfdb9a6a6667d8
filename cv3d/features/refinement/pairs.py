"""The matches of one pair, refined to a fraction of a pixel."""

from __future__ import annotations

from cv3d.compute import Compute
from cv3d.features.refinement.options import RefinementOptions
from cv3d.features.refinement.results import Floats, Refinement
from cv3d.features.refinement.views import Picture, view_of


def refine_matches(
    image0: Picture,
    image1: Picture,
    keypoints0: Floats,
    keypoints1: Floats,
    affinities: Floats,
    compute: Compute,
    options: RefinementOptions | None = None,
) -> Refinement:
    """Move the keypoints of the second picture to where they show what those of the first show.

    Args:
        image0: the first picture, grey.
        image1: the second, of any size.
        keypoints0: (n, 2), pixels of the first picture; they stay.
        keypoints1: (n, 2), matching ones, pixels of the second.
        affinities: (n, 2, 2), see :func:`cv3d.geometry.local_affinity.two_view_affinities`.
        compute: the device.
        options: patches and what is accepted.

    Raises:
        InputError: a picture is not grey, or of another type.
        ValueError: shapes that do not match.
    """
    count = len(keypoints0)
    if keypoints0.shape != (count, 2) or keypoints1.shape != (count, 2) or affinities.shape != (count, 2, 2):
        shapes = f"{keypoints0.shape}, {keypoints1.shape} and {affinities.shape}"
        raise ValueError(f"matches are keypoints (n, 2) twice with affinities (n, 2, 2), not {shapes}")
    options = options or RefinementOptions()
    patches = view_of(image0, compute).read(keypoints0, affinities, options)
    return view_of(image1, compute).align(patches, keypoints1, affinities, options)
