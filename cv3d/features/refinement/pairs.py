"""The matches of one pair, refined to a fraction of a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.compute import Compute
from cv3d.features.refinement.alignment import align_patches
from cv3d.features.refinement.options import Alignment, RefinementOptions
from cv3d.features.refinement.pyramid import Pyramid

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Picture = Tensor | NDArray[np.uint8] | NDArray[np.float32] | Pyramid
"""A grey picture, (H, W), uint8 or float32 in [0, 1], or one prepared for several calls."""


@dataclass(frozen=True, eq=False)
class Refinement:
    """Refined keypoints of the second picture of a pair."""

    keypoints: Floats
    """(n, 2), pixels; as given where rejected."""
    covariance: Floats
    """(n, 2, 2), of the keypoint given the one in the first picture, pixels squared; NaN where rejected. It tells noise
    as measured. On real pictures errors were 1.8 times as large, small deviations and large ones alike, because
    surfaces are not flat and lenses not perfect: what counts is the proportions."""
    affinities: Floats
    """(n, 2, 2), derivatives of the second picture's pixels by the first's, as estimated; as given where rejected."""
    ncc: NDArray[np.float32]
    """(n,), normalised cross-correlation of the surroundings in the end."""
    shift: NDArray[np.float32]
    """(n,), distance from the start, pixels of the coarser picture."""
    mask: Bools
    """(n,), whether the result is accepted."""


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
    places0, places1, warps = (on_device(array, compute) for array in (keypoints0, keypoints1, affinities))
    found = align_patches(as_pyramid(image0, compute), as_pyramid(image1, compute), places0, places1, warps, options)
    return from_alignment(found, keypoints1, affinities)


def as_pyramid(image: Picture, compute: Compute) -> Pyramid:
    """The pyramid of a picture, which a pyramid is already.

    Raises:
        InputError: it is not grey, or of another type.
    """
    if isinstance(image, Pyramid):
        return image
    if isinstance(image, Tensor):
        return Pyramid.build(image, compute)
    # torch warns of arrays that cannot be written to, as decoders give them.
    return Pyramid.build(torch.from_numpy(np.require(image, requirements=["C", "W"])), compute)


def on_device(array: Floats, compute: Compute) -> Tensor:
    """The array in float32 on the device. Narrowed first: Metal takes no float64."""
    return torch.from_numpy(np.require(array, np.float32, ("C", "W"))).to(compute.device)


def from_alignment(found: Alignment, keypoints: Floats, affinities: Floats) -> Refinement:
    """Results on the host, with what was rejected as it was given. Waits for the device."""
    mask = found.mask.cpu().numpy()
    keep = mask[:, None, None]
    return Refinement(
        np.where(mask[:, None], found.positions.cpu().numpy(), keypoints).astype(np.float64),
        np.where(keep, found.covariance.cpu().numpy(), np.nan).astype(np.float64),
        np.where(keep, found.warps.cpu().numpy(), affinities).astype(np.float64),
        found.ncc.cpu().numpy(),
        found.shift.cpu().numpy(),
        mask,
    )
