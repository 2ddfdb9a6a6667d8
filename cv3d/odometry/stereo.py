"""Depth of single pixels from a second picture, taken at the same moment by a neighbour of known pose.

Nothing is rectified: patches of the left picture are looked for along the curves that their viewing rays draw in the
right one, so that both cameras may have any central lens, and any pose that leaves them a common view.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.cameras import Camera
from cv3d.odometry.curve_search import search_kernel
from cv3d.odometry.patches import MODEL_VARIANCE, STORED, Levels
from cv3d.odometry.patches_kernel import align_kernel, take_kernel
from cv3d.odometry.rays import RayTable

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
Bools = NDArray[np.bool_]

_NEAREST = 0.25
"""Disparity of the nearest point that is looked for, as a share of the picture's width."""
_NODES = 17
"""Places of a curve that are tabulated, equal steps of the inverse distance apart."""
_STRIDE = 8.0
"""Pixels between the curves that are tabulated."""
_STEPS_ALL, _STEPS_NEAR = 64, 24
"""Most samples of a whole curve, and of the part around an expected depth."""
_AROUND = 0.2
"""Share by which an expected depth may be wrong; `_SLACK_PX` of disparity are allowed for in any case."""
_SLACK_PX = 3.0
_LEAST_FOUND, _LEAST_NCC = 0.7, 0.8
"""Least correlation where the search ends, on whole pixels, and after the alignment."""
_UNIQUE, _CLEAR = 0.6, 0.05
"""When a whole curve was searched: most that the best fit may lack of a perfect one, over what the next best lacks once
it has been given `_CLEAR` for being sampled on whole pixels."""
_EPIPOLAR_PX = 1.5
"""Farthest from the epipolar curve that a patch may be found."""
_DRIFT_PX = 3.0
"""Farthest that the alignment may lead away from where the search has been."""
_DEVIATIONS = 2.0
"""Least disparity over its deviation."""
_FLOOR_VARIANCE = 0.2**2
"""Of a place, for what warp and calibration leave unexplained, pixels squared: less than between frames, as the two
pictures have the same light and moment. Distances from the epipolar curve in EuRoC's pictures are of 0.12 pixels in
their middle, with a tail."""
_OBLIQUE = 0.05
"""Least cosine to the axis of a ray that has a depth along it."""


class StereoDepths:
    """Measures depth at pixels of the left of two cameras."""

    def __init__(self, left: Camera, right: Camera, right_from_left: Floats) -> None:
        """Tabulate rays and epipolar curves, a third of a second for VGA with a lens that has no closed inverse.

        Args:
            left: any central camera.
            right: any central camera.
            right_from_left: takes points of the left camera's frame to the right one's, (4, 4), metres.

        Raises:
            InputError: the cameras are in the same place.
        """
        self.left, self.right = left, right
        self.right_from_left = np.array(right_from_left, np.float64)
        self.baseline = float(np.linalg.norm(self.right_from_left[:3, 3]))
        """Metres."""
        if not self.baseline > 0.0:
            raise InputError("the two cameras of a stereo pair are in the same place: no depth can be had from them")
        self._left_rays, self._right_rays = RayTable(left), RayTable(right)
        reach_px = _NEAREST * right.width
        self._px_per_step = reach_px / (_NODES - 1)
        self._step = self._px_per_step / (self.baseline * self._right_rays.pixels_per_radian)
        self._table, self._size = self._curves()

    @property
    def nearest(self) -> float:
        """Distance of the nearest points that are looked for, metres."""
        return 1.0 / (self._step * (_NODES - 1))

    def measure(
        self, left_levels: Levels, right_levels: Levels, pixels: Pixels, expected_depth: NDArray[np.floating]
    ) -> tuple[Floats, Floats]:
        """Depth at pixels of the left picture.

        Args:
            left_levels: pyramid of the left picture, finest first; see :func:`cv3d.odometry.patches.build_levels`.
            right_levels: the same of the right.
            pixels: (n, 2) in the left picture.
            expected_depth: (n,) metres along the left z axis; 0 where unknown. Where it is known, depths that differ
                from it by more than a fifth, and by more than 3 pixels of disparity, are not found.

        Returns:
            (n,) depth along the left z axis, metres; 0 where there is none: no match, an ambiguous one, or too far to
            tell from infinity. (n,) its standard deviation, metres; 0 where there is no depth.
        """
        count = len(pixels)
        depth, sigma = np.zeros(count), np.zeros(count)
        places = np.ascontiguousarray(pixels, np.float32)
        rays = self._left_rays.rays(places)
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = np.asarray(expected_depth, np.float64)
            known = expected > 0.0
            station = np.where(known, rays[:, 2] / expected, 0.0) / self._step
        seen = np.isfinite(rays[:, 2]) & (rays[:, 2] > _OBLIQUE)
        for chosen, is_global in ((seen & ~known, True), (seen & known, False)):
            rows = np.flatnonzero(chosen)
            if len(rows):
                found = self._match(left_levels, right_levels, places[rows], None if is_global else station[rows])
                depth[rows], sigma[rows] = self._triangulate(rays[rows], *found)
        return depth, sigma

    def _match(
        self, left: Levels, right: Levels, pixels: Pixels, station: Floats | None
    ) -> tuple[Pixels, Pixels, Bools]:
        """Places (n, 2) in the right picture with their covariances (n, 3), and which are to be believed."""
        last = float(_NODES - 1)
        bounds = np.empty((len(pixels), 2), np.float32)
        if station is None:
            bounds[:] = 0.0, last
        else:
            slack = _SLACK_PX / self._px_per_step
            bounds[:, 0] = np.maximum(np.minimum(station / (1.0 + _AROUND), station - slack), 0.0)
            bounds[:, 1] = np.minimum(np.maximum(station / (1.0 - _AROUND), station + slack), last)
        best = np.empty((len(pixels), 9), np.float32)
        steps = _STEPS_ALL if station is None else _STEPS_NEAR
        search_kernel(left, right, self._table, self._size, pixels, bounds, steps, best)
        side = 2 * STORED + 1
        patches = np.empty((len(pixels), 1, side, side), np.uint8)
        take_kernel(left[0], pixels, 1.0, patches[:, 0])
        guess = np.ascontiguousarray(best[:, 3:5])
        aligned = np.empty((len(pixels), 6), np.float32)
        rows = np.arange(len(pixels))
        warps = np.ascontiguousarray(best[:, 5:]).reshape(-1, 2, 2)
        align_kernel(right, patches, rows, warps, guess, 0, 0, aligned)
        drift = np.linalg.norm(aligned[:, :2] - guess, axis=1)
        good = (best[:, 1] > _LEAST_FOUND) & (aligned[:, 2] > _LEAST_NCC) & (drift < _DRIFT_PX)
        if station is None:
            good &= 1.0 - best[:, 1] < _UNIQUE * (1.0 - _CLEAR - best[:, 2])
        return aligned[:, :2], aligned[:, 3:], good

    def _triangulate(self, rays: Floats, pixels: Pixels, covariance: Pixels, good: Bools) -> tuple[Floats, Floats]:
        """Depths and deviations of matches: the likeliest place on the epipolar curve, and its noise along the curve.

        The left pixel is where the patch was taken: it is exact by definition, and all noise is the right one's.
        """
        rotation, translation = self.right_from_left[:3, :3], self.right_from_left[:3, 3]
        turned = rays @ rotation.T
        xx, xy, yy = covariance.astype(np.float64).T
        xx, yy = (variance - (MODEL_VARIANCE - _FLOOR_VARIANCE) for variance in (xx, yy))
        with np.errstate(divide="ignore", invalid="ignore"):
            seen, moves = self._right_rays.tangents(pixels)
            normal = _cross(turned, translation)
            normal /= np.sqrt((normal**2).sum(axis=1, keepdims=True))
            # Pixels to the epipolar curve, by the vector that leads to it and by the curve's direction.
            lead = -(moves * normal[:, None]).sum(axis=2) * (seen * normal).sum(axis=1, keepdims=True)
            run = moves @ translation
            across = np.stack([-run[:, 1], run[:, 0]], axis=1) / np.hypot(run[:, 0], run[:, 1])[:, None]
            off = (lead * across).sum(axis=1)
            pull = np.stack([xx * across[:, 0] + xy * across[:, 1], xy * across[:, 0] + yy * across[:, 1]], axis=1)
            nearest = pixels + pull * (off / (pull * across).sum(axis=1))[:, None]
            # The ray there is along turned + inverse * translation, which gives the inverse distance without a detour
            # over a point that may be at infinity.
            ray = self._right_rays.rays(nearest)
            by_turn, by_shift = _cross(ray, turned), _cross(ray, translation)
            inverse = -(by_turn * by_shift).sum(axis=1) / (by_shift**2).sum(axis=1)
            z = rays[:, 2] / inverse
            along = turned + inverse[:, None] * translation
            speed = run / np.sqrt((along**2).sum(axis=1, keepdims=True))
            information = yy * speed[:, 0] ** 2 - 2.0 * xy * speed[:, 0] * speed[:, 1] + xx * speed[:, 1] ** 2
            deviation = np.sqrt((xx * yy - xy * xy) / information)
            is_ahead = (along * ray).sum(axis=1) > 0.0
            kept = good & is_ahead & (np.abs(off) < _EPIPOLAR_PX) & (inverse > _DEVIATIONS * deviation)
            sigma = z * deviation / inverse
        return np.where(kept, z, 0.0), np.where(kept, sigma, 0.0)

    def _curves(self) -> tuple[Pixels, Pixels]:
        """Where the pixels of a grid (rows, columns) are in the right picture, for every step of the inverse distance.

        Returns:
            (rows, columns, nodes, 2) pixels, NaN where the right camera does not see; (2,) the grid's spacing, pixels.
        """
        xs = np.linspace(0.0, self.left.width - 1.0, int(np.ceil((self.left.width - 1) / _STRIDE)) + 1)
        ys = np.linspace(0.0, self.left.height - 1.0, int(np.ceil((self.left.height - 1) / _STRIDE)) + 1)
        grid = np.stack(np.meshgrid(xs, ys), axis=-1)
        rays = self._left_rays.rays(grid.reshape(-1, 2))
        inverse = np.arange(_NODES) * self._step
        rotation, translation = self.right_from_left[:3, :3], self.right_from_left[:3, 3]
        along = (rays @ rotation.T)[:, None] + inverse[None, :, None] * translation
        points = torch.from_numpy(np.nan_to_num(along).reshape(-1, 3))
        inside = self.right.lens.valid_points(torch.tensor(self.right.params, dtype=torch.float64), points).numpy()
        places = self.right.project(points.numpy())
        inside &= np.isfinite(along).all(axis=2).ravel()
        table = np.where(inside[:, None], places, np.nan).astype(np.float32)
        size = np.array([xs[1] - xs[0], ys[1] - ys[0]], np.float32)
        return np.ascontiguousarray(table.reshape(len(ys), len(xs), _NODES, 2)), size


def _cross(a: Floats, b: Floats) -> Floats:
    """Products of vectors (n, 3) with others, (n, 3) or one (3,)."""
    x, y, z = a.T
    u, v, w = b.T
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=1)
