"""Matching under a geometry that is known already: only candidates near the epipolar curve are compared.

A keypoint whose look-alikes are all over the picture has few of them on one curve, so that many matches come back which
the nearest neighbour of the whole picture had hidden, and a lower similarity is enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features.extractors.base import Features
from cv3d.features.matchers.nearest import EMPTY_BELOW, NOT_ALLOWED, Penalty, nearest
from cv3d.features.matchers.ratio import squared_distance
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.epipolar import essential_matrix
from cv3d.geometry.pixel_rays import PixelRays, homogeneous_rays, pixel_rays

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PosedPair:
    """Two pictures with known cameras and places.

    Who matches a picture with many others hands in its keypoints' rays, computed once.
    """

    camera0: Camera
    camera1: Camera
    cam1_from_cam0: Floats
    """(4, 4); only the direction of its translation counts."""
    rays0: PixelRays | None = None
    """Of all keypoints of the first picture, `pixel_rays(camera0, pixels0)`; None for computing them when matched."""
    rays1: PixelRays | None = None
    """Of the second picture."""

    def rays(self, pixels0: Floats, pixels1: Floats) -> tuple[PixelRays, PixelRays]:
        """Rays of either picture's keypoints.

        Raises:
            InputError: the rays handed in are not as many as the pixels.
        """
        rays0 = pixel_rays(self.camera0, pixels0) if self.rays0 is None else self.rays0
        rays1 = pixel_rays(self.camera1, pixels1) if self.rays1 is None else self.rays1
        if (len(rays0), len(rays1)) != (len(pixels0), len(pixels1)):
            counts = f"{len(rays0)} and {len(rays1)} for {len(pixels0)} and {len(pixels1)}"
            raise InputError(f"a posed pair needs the rays of all keypoints, not {counts}")
        return rays0, rays1


@dataclass(frozen=True)
class GuidedOptions:
    """What counts as a match on the epipolar curve."""

    min_cosine: float = 0.7
    """Between the descriptors. XFeat's false nearest neighbours in a whole picture are mostly below 0.75; among the few
    on a curve a lower one is enough. On the 55 pairs of Strecha's fountain, with the true poses and 6 pixels, a third
    picture confirms 20,772 pairs of matches; of the unguided matches that the poses allow, 12,375."""
    max_ratio: float | None = None
    """The distance to the nearest descriptor over that to the second nearest near the curve, at most; None asks for no
    such distinction."""

    def __post_init__(self) -> None:
        if self.max_ratio is not None and not 0.0 < self.max_ratio <= 1.0:
            raise InputError(f"a ratio of distances has to lie in (0, 1], not {self.max_ratio}")


@torch.no_grad()
def guided_matches(
    descriptors0: NDArray[np.generic],
    pixels0: Floats,
    descriptors1: NDArray[np.generic],
    pixels1: Floats,
    geometry: Floats | PosedPair,
    max_error: float,
    options: GuidedOptions | None = None,
    *,
    compute: Compute,
) -> Ints:
    """Mutual nearest neighbours among the keypoints near each other's epipolar curves.

    The distance is that of verification: to first order, in the four pixel coordinates of a match, to the nearest match
    that satisfies the geometry (Sampson 1982), through the derivatives of the rays and so for any lens. Distances of
    all pairs come from two products of thin matrices, a strip at a time: 2048 by 2048 keypoints with descriptors of 64
    take half as much again as without a geometry.

    Args:
        descriptors0: (n, D), of unit length.
        pixels0: (n, 2), pixels of the first picture.
        descriptors1: (m, D).
        pixels1: (m, 2), pixels of the second picture.
        geometry: a fundamental matrix F, (3, 3), with x1^T F x0 = 0 for homogeneous pixels; or cameras and places.
        max_error: largest distance from the geometry, pixels.
        options: what counts as a match.
        compute: where the products run.

    Returns:
        (k, 2), indices into both pictures' keypoints, ascending by the first; each keypoint at most once.

    Raises:
        InputError: descriptors differ in length, they or rays are not as many as pixels, or the error is not positive.
    """
    options = options or GuidedOptions()
    _check(descriptors0, pixels0, descriptors1, pixels1, max_error)
    if not len(pixels0) or not len(pixels1):
        return np.zeros((0, 2), np.int64)
    rays0, rays1, matrix = _rays(pixels0, pixels1, geometry)
    features0, features1 = (
        _features(descriptors, rays.valid, compute)
        for descriptors, rays in ((descriptors0, rays0), (descriptors1, rays1))
    )
    penalty = _beside_curves(rays0, rays1, matrix, max_error, compute)
    found = nearest(features0, features1, has_second=options.max_ratio is not None, penalty=penalty)
    is_match = found.is_mutual & (found.cosine > max(options.min_cosine, EMPTY_BELOW))
    if found.second is not None and options.max_ratio is not None:
        is_match &= squared_distance(found.cosine) < options.max_ratio**2 * squared_distance(found.second)
    first = torch.nonzero(is_match[0])[:, 0]
    matches: Ints = torch.stack((first, found.best[0][first]), 1).cpu().numpy()
    return matches


def _check(
    descriptors0: NDArray[np.generic],
    pixels0: Floats,
    descriptors1: NDArray[np.generic],
    pixels1: Floats,
    max_error: float,
) -> None:
    for descriptors, pixels in ((descriptors0, pixels0), (descriptors1, pixels1)):
        if descriptors.ndim != 2 or pixels.shape != (len(descriptors), 2):
            raise InputError(f"descriptors are (n, D) and pixels (n, 2), not {descriptors.shape} and {pixels.shape}")
    if descriptors0.shape[1] != descriptors1.shape[1]:
        lengths = f"{descriptors0.shape[1]} and {descriptors1.shape[1]}"
        raise InputError(f"descriptors of lengths {lengths} cannot be compared: use one extractor")
    if not max_error > 0.0:
        raise InputError(f"the largest distance to an epipolar curve has to be positive, not {max_error}")


def _rays(pixels0: Floats, pixels1: Floats, geometry: Floats | PosedPair) -> tuple[PixelRays, PixelRays, Floats]:
    """Rays of either picture, and the epipolar matrix between them, of unit norm."""
    if isinstance(geometry, PosedPair):
        rays0, rays1 = geometry.rays(pixels0, pixels1)
        matrix = essential_matrix(np.asarray(geometry.cam1_from_cam0, dtype=np.float64))
    else:
        # Single precision carries pixels only once they are centred and of the order of one.
        (rays0, to_pixels0), (rays1, to_pixels1) = _conditioned(pixels0), _conditioned(pixels1)
        matrix = to_pixels1.T @ np.asarray(geometry, dtype=np.float64) @ to_pixels0
    length = float(np.linalg.norm(matrix))
    if not np.isfinite(length) or length == 0.0:
        raise InputError("the geometry of the pair says nothing: the cameras are at one place, or the matrix is zero")
    return rays0, rays1, matrix / length


def _conditioned(pixels: Floats) -> tuple[PixelRays, Floats]:
    """Homogeneous pixels about their centre as rays, and the matrix (3, 3) from those back to pixels."""
    finite = pixels[np.isfinite(pixels).all(axis=1)]
    centre = finite.mean(axis=0) if len(finite) else np.zeros(2)
    scale = max(float(np.sqrt(((finite - centre) ** 2).sum(axis=1).mean())), 1.0) if len(finite) else 1.0
    to_pixels = np.array([[scale, 0.0, centre[0]], [0.0, scale, centre[1]], [0.0, 0.0, 1.0]])
    return homogeneous_rays(pixels, centre, scale), to_pixels


def _features(descriptors: NDArray[np.generic], valid: NDArray[np.bool_], compute: Compute) -> Features:
    """A batch of one, with no entry where a pixel has no ray."""
    count, device = len(descriptors), compute.device
    vectors = torch.from_numpy(np.ascontiguousarray(descriptors, dtype=np.float32)).to(device)
    nothing = torch.zeros(1, count, device=device)
    return Features(
        keypoints=torch.zeros(1, count, 2, device=device),
        descriptors=vectors[None],
        scores=nothing,
        mask=torch.from_numpy(valid).to(device)[None],
        image_size=torch.ones(1, 2, device=device),
    )


def _beside_curves(rays0: PixelRays, rays1: PixelRays, matrix: Floats, max_error: float, compute: Compute) -> Penalty:
    """What keeps pairs of keypoints apart that lie further than `max_error` from each other's epipolar curves.

    The squared distance is c^2 / (|J0^T n0|^2 + |J1^T n1|^2), with the constraint c, the derivatives J of the rays by
    their pixels and the normals n of the epipolar planes. Each term below the line is n^T (J J^T) n, linear in the six
    entries of n n^T, so that all of them come as one product of matrices with twelve columns.
    """
    normals1, normals0 = rays0.rays @ matrix.T, rays1.rays @ matrix
    first = [_gains(rays0) * max_error**2, _entries(normals1[:, :, None] * normals1[:, None, :])]
    second = [_entries(normals0[:, :, None] * normals0[:, None, :]), _gains(rays1) * max_error**2]

    def on_device(values: Floats, scale: float) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values * scale, dtype=np.float32)).to(compute.device)

    planes, rays = on_device(normals1, _STEEP), on_device(rays1.rays, 1.0).T
    bounds0 = on_device(np.concatenate(first, axis=1), _STEEP**2)
    bounds1 = on_device(np.concatenate(second, axis=1) * np.tile(_ONCE_OR_TWICE, 2), 1.0).T

    buffers: list[Tensor] = []

    def penalty(rows: slice) -> Tensor:
        strip = planes[rows]
        if not buffers:
            buffers.extend(strip.new_empty(len(strip), rays.shape[1]) for _ in range(2))
        constraint, within = (buffer[: len(strip)] for buffer in buffers)
        torch.mm(strip, rays, out=constraint)
        torch.mm(bounds0[rows], bounds1, out=within)
        return within.addcmul_(constraint, constraint, value=-1.0).clamp_(NOT_ALLOWED, 0.0)[None]

    return penalty


_STEEP = 1e7
"""Factor that turns the difference of any two distances that single precision tells apart into a whole penalty."""
_ROWS, _COLUMNS = np.triu_indices(3)
_ONCE_OR_TWICE: Floats = np.where(_ROWS == _COLUMNS, 1.0, 2.0)
"""How often an entry of a symmetric matrix stands in it."""


def _entries(symmetric: Floats) -> Floats:
    """The six different entries, (n, 6), of symmetric matrices (n, 3, 3)."""
    entries: Floats = symmetric[:, _ROWS, _COLUMNS]
    return entries


def _gains(rays: PixelRays) -> Floats:
    """The entries of J J^T, (n, 6)."""
    return _entries(rays.jacobians @ np.swapaxes(rays.jacobians, 1, 2))
