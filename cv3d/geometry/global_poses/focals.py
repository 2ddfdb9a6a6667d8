"""Focal lengths of cameras from the fundamental matrices between their pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.global_poses.epipolar_pencils import EpipolarPencils
from cv3d.geometry.global_poses.focal_search import FocalSearch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class FocalOptions:
    """How focal lengths are looked for."""

    min_ratio: float = 0.25
    """Shortest focal length over the picture's longer side."""
    max_ratio: float = 10.0
    """Longest one over the longer side."""
    noise_px: float = 0.25
    """Least deviation of matches' places that is believed, pixels: few matrices may agree by chance."""
    max_deviation: float = 0.5
    """Largest deviation of a focal length, over the length, that counts as determined."""
    max_noise: float = 10.0
    """Largest disagreement between the matrices, over what `noise_px` makes, with which they determine anything."""
    max_iterations: int = 50
    """Steps of the last refinement, at most."""

    def __post_init__(self) -> None:
        if not (0.0 < self.min_ratio < self.max_ratio and self.noise_px > 0.0 and self.max_deviation > 0.0):
            raise ValueError("focal ratios are positive and ascending, noise_px and max_deviation positive")


@dataclass(frozen=True, eq=False)
class FocalCalibration:
    """Focal lengths, and how sure they are."""

    focal: Floats
    """Focal lengths, (c,), pixels. NaN for cameras in no matrix."""
    deviation: Floats
    """Their standard deviations, (c,), pixels; infinite where the matrices leave the focal length open: motion along
    the optical axis, axes that all meet in one point, planes, or matrices that agree on nothing. They are of the
    matrices' noise alone: distortion, or a principal point off by a hundredth of the width, moves the length by some
    hundredths more."""
    errors: Floats
    """Distance of each matrix from those that the focal lengths allow, (e,), standard deviations; NaN for edges that
    were not used."""
    noise: float
    """What one standard deviation is, over what a match's deviation of `noise_px` makes; never below 1."""

    @property
    def determined(self) -> Bools:
        """Which cameras' focal lengths are known, (c,)."""
        return np.isfinite(self.deviation)

    @property
    def inliers(self) -> Bools:
        """Matrices that agree with the focal lengths, (e,)."""
        return self.errors <= _AGREES


_AGREES = 3.5
"""Of two Gaussian residuals 99.8 % are within."""


def calibrate_focals(
    edges: Ints,
    fundamentals: Floats,
    weights: Floats,
    camera_of_image: Ints,
    principal_points: Floats,
    sizes: Floats,
    options: FocalOptions | None = None,
) -> FocalCalibration:
    """Focal lengths that many fundamental matrices agree on.

    A matrix is essential with the right focal lengths (Hartley 1992; Mendonça and Cipolla 1999, "A simple technique for
    self-calibration"). Each is compared with those that focal lengths allow in its own metric, so that pairs that
    say nothing weigh nothing, and the robust sum is looked for along all focal lengths before it is refined: it has
    many minima (Fetzer, Reis and Stricker 2020, "Stable intrinsic auto-calibration from fundamental matrices of devices
    with uncorrelated camera parameters"). Pixels are square and pictures undistorted.

    Args:
        edges: pictures a and b of each matrix, (e, 2).
        fundamentals: F with x_b^T F x_a = 0 between homogeneous pixels, (e, 3, 3), of any scale. Those of planes and of
            turns in place are random in part and are better left out.
        weights: matches behind each, (e,); the variance of a matrix is taken to go with their inverse. 0 leaves one
            out.
        camera_of_image: camera of each picture, (n,); cameras may be shared.
        principal_points: (c, 2), pixels.
        sizes: width and height of the cameras' pictures, (c, 2), pixels.
        options: range and noise.

    Returns:
        Focal lengths with deviations.

    Raises:
        InputError: shapes do not match, an index is out of range, or a number is not finite.
    """
    options = options or FocalOptions()
    camera_of_edge = _checked(edges, fundamentals, weights, camera_of_image, principal_points, sizes)
    used = np.flatnonzero((weights > 0.0) & (np.abs(fundamentals).max(axis=(1, 2), initial=0.0) > 0.0))
    cameras = len(sizes)
    errors = np.full(len(edges), np.nan)
    if not len(used):
        return FocalCalibration(np.full(cameras, np.nan), np.full(cameras, np.inf), errors, 1.0)
    pencils = EpipolarPencils.of(
        fundamentals[used], camera_of_edge[used], weights[used], principal_points, sizes, options.noise_px
    )
    found = FocalSearch(pencils, options.min_ratio, options.max_ratio, options.max_iterations).run()
    in_any = np.bincount(camera_of_edge[used].ravel(), minlength=cameras) > 0
    focal = np.where(in_any, np.exp(found.log_ratio) * pencils.longer_side, np.nan)
    known = in_any & (found.deviation <= options.max_deviation) & (found.noise <= options.max_noise)
    errors[used] = np.sqrt((pencils.residuals(found.log_ratio) ** 2).sum(axis=1)) / found.noise
    return FocalCalibration(focal, np.where(known, found.deviation * focal, np.inf), errors, found.noise)


def _checked(
    edges: Ints, fundamentals: Floats, weights: Floats, camera_of_image: Ints, principal_points: Floats, sizes: Floats
) -> Ints:
    """The cameras of the edges' pictures, (e, 2)."""
    count, cameras = len(edges), len(sizes)
    shapes = (edges.shape, fundamentals.shape, weights.shape, principal_points.shape, sizes.shape)
    if shapes != ((count, 2), (count, 3, 3), (count,), (cameras, 2), (cameras, 2)):
        raise InputError(f"arrays of edges and cameras do not match in shape: {shapes}")
    if count and (edges.min() < 0 or edges.max() >= len(camera_of_image)):
        raise InputError(f"an edge is of a picture beyond the {len(camera_of_image)} that there are")
    of_edge: Ints = np.asarray(camera_of_image)[edges]
    if count and (of_edge.min() < 0 or of_edge.max() >= cameras):
        raise InputError(f"a picture is of a camera beyond the {cameras} that there are")
    for what, values in (("fundamental matrix", fundamentals), ("weight", weights)):
        broken = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
        if len(broken):
            raise InputError(f"the {what} of edge {broken[0]} is not finite")
    if not (np.isfinite(principal_points).all() and np.isfinite(sizes).all() and (sizes > 0.0).all()):
        raise InputError("principal points are finite and pictures' sizes positive")
    return of_edge
