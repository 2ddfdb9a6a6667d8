"""Two places of unlike scale: the similarity between their cameras' frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.geometry.absolute_pose import AbsolutePoseOptions, estimate_absolute_pose
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.pixel_rays import cross_matrix
from cv3d.geometry.robust_fit import fit_support
from cv3d.geometry.transforms import Sim3
from cv3d.odometry.places.locating import LocateOptions, coverage
from cv3d.odometry.places.matching import Rows, match_rows, once_each
from cv3d.odometry.places.place import Place

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LEAST = 8
_SPREAD_FLOOR = 1e-3
"""Smallest relative spread of depths that is believed."""
_WIDEST = math.log(1.5)
"""Depth ratios further from their median are not used to find their spread."""
_NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """A place seen from another one whose map has a scale of its own."""

    key: int
    """The place's key."""
    segment: int
    """The place's segment."""
    query_from_place: Floats
    """(4, 4) similarity [[s R, t], [0, 1]], in the unit of the query's points."""
    scale: float
    """s: lengths in the query's map over lengths in the place's."""
    scale_deviation: float
    """Standard deviation of the logarithm of s, from the scatter of the points in these two pictures."""
    covariance: Floats
    """(7, 7) of x in exp(x) query_from_place: translation, rotation vector in radians, logarithm of scale."""
    query_rows: Rows
    """(k,) rows of the query, of the inliers."""
    place_rows: Rows
    """(k,) the rows of the place that they are."""
    matches: int
    """How many rows of known depth in both had matched."""
    coverage: float
    """Share of the cells of an 8 by 6 grid on the query's picture that hold an inlier."""
    depth: float
    """Median distance of the inliers from the query's camera, in the unit of the query's points."""

    @property
    def inliers(self) -> int:
        """k, how many rows agree with the similarity."""
        return len(self.query_rows)


@dataclass(frozen=True, eq=False)
class SimilarityModel:
    """`query_from_place`. Tangent: of exp(x) query_from_place."""

    query_from_place: Floats
    """(4, 4)."""

    @property
    def unknowns(self) -> int:
        """Seven."""
        return 7

    def moved(self, step: Floats) -> SimilarityModel:
        """The similarity after a tangent step, (7,)."""
        motion = Sim3.exp(torch.from_numpy(np.ascontiguousarray(step))).as_matrix().numpy()
        return SimilarityModel(motion @ self.query_from_place)


@dataclass(frozen=True, eq=False)
class BothWays:
    """Points seen in two pictures and known in both frames. Five residual components, pixels.

    Each point is projected into the other's picture, and its two depths are compared: where the camera stood in the
    same place twice, nothing but depths tells the scale.
    """

    query_points: Floats
    """(n, 3)."""
    query_pixels: Floats
    """(n, 2)."""
    place_points: Floats
    """(n, 3)."""
    place_pixels: Floats
    """(n, 2)."""
    camera: Camera
    per_log_depth: float
    """Pixels that a relative error of depth counts for."""

    @property
    def dims(self) -> int:
        """Five."""
        return 5

    def errors(self, model: SimilarityModel) -> Floats:
        """See :class:`cv3d.geometry.robust_fit.Problem`."""
        there, back = self._carried(model)
        params, lens = torch.tensor(self.camera.params, dtype=torch.float64), self.camera.lens
        ahead = (lens.valid_points(params, there) & lens.valid_points(params, back)).numpy()
        ahead &= np.asarray(there[:, 2] > 0.0) & np.asarray(back[:, 2] > 0.0)
        residuals = np.full((len(ahead), 5), np.inf)
        chosen = np.flatnonzero(ahead)
        if len(chosen):
            residuals[chosen], _ = self.linearize(model, ahead)
        norms: Floats = np.linalg.norm(residuals, axis=1)
        return norms

    def linearize(self, model: SimilarityModel, chosen: Bools) -> tuple[Floats, Floats]:
        """See :class:`cv3d.geometry.robust_fit.Problem`."""
        there, back = self._carried(model, chosen)
        params, lens = torch.tensor(self.camera.params, dtype=torch.float64), self.camera.lens
        forth, by_there, _ = (part.numpy() for part in lens.project_with_jacobians(params, there))
        aback, by_back, _ = (part.numpy() for part in lens.project_with_jacobians(params, back))
        seen, own = there.numpy(), self.query_points[chosen]
        count = len(seen)
        # Of exp(x) y by x: y moves by rho + phi x y + sigma y. Back from the query, y is the query's own point and
        # the inverse carries its motion over, reversed.
        moves = np.concatenate(
            [np.broadcast_to(np.eye(3), (count, 3, 3)), -cross_matrix(seen), seen[:, :, None]], axis=2
        )
        own_moves = np.concatenate(
            [np.broadcast_to(np.eye(3), (count, 3, 3)), -cross_matrix(own), own[:, :, None]], axis=2
        )
        place_from_query = np.linalg.inv(model.query_from_place)[:3, :3]
        residuals = np.concatenate(
            [
                forth - self.query_pixels[chosen],
                aback - self.place_pixels[chosen],
                self.per_log_depth * np.log(seen[:, 2:] / own[:, 2:]),
            ],
            axis=1,
        )
        jacobians = np.concatenate(
            [
                by_there @ moves,
                -by_back @ place_from_query @ own_moves,
                self.per_log_depth * moves[:, 2:] / seen[:, 2, None, None],
            ],
            axis=1,
        )
        return residuals, jacobians

    def _carried(self, model: SimilarityModel, chosen: Bools | slice = slice(None)) -> tuple[torch.Tensor, ...]:
        """The place's points in the query's frame, and the query's in the place's, (k, 3) each."""
        forth, back = model.query_from_place, np.linalg.inv(model.query_from_place)
        return tuple(
            torch.from_numpy(points[chosen] @ matrix[:3, :3].T + matrix[:3, 3])
            for points, matrix in ((self.place_points, forth), (self.query_points, back))
        )


def similarity(query: Place, place: Place, camera: Camera, options: LocateOptions | None = None) -> Similarity | None:
    """The similarity between two places whose maps have scales of their own.

    The pose comes from the place's points and the query's pixels, which need no depth of the query's; the scale from
    the depths on both sides. A robust fit to both pictures and the depths follows. The noise of depths is found from
    their own scatter.

    Args:
        query: one place.
        place: the other.
        camera: of both pictures, any central one.
        options: thresholds.

    Returns:
        None where none is supported beyond doubt.
    """
    options = options or LocateOptions()
    ours, theirs = query.known, place.known
    matches = match_rows(query.descriptors[ours], place.descriptors[theirs], options.min_cosine)
    matches = once_each(matches, query.pixels[ours], query.pixel_size)
    if len(matches) < max(_LEAST, options.min_inliers):
        return None
    query_rows, place_rows = ours[matches.query_rows], theirs[matches.place_rows]
    query_points, place_points = (
        of.points_in_cam[rows].astype(np.float64) for of, rows in ((query, query_rows), (place, place_rows))
    )
    query_pixels, place_pixels = (
        of.pixels[rows].astype(np.float64) for of, rows in ((query, query_rows), (place, place_rows))
    )
    max_error = options.max_error * max(query.pixel_size, place.pixel_size)
    pose_options = AbsolutePoseOptions(
        max_error=max_error, min_inliers=options.min_inliers, max_samples=options.max_samples, seed=options.seed
    )
    posed = estimate_absolute_pose(place_points, query_pixels, camera, pose_options)
    if not posed.verified or posed.cam_from_world is None:
        return None
    rigid = posed.cam_from_world
    seen = place_points @ rigid[:3, :3].T + rigid[:3, 3]
    usable = posed.inliers & (seen[:, 2] > 0.0) & (query_points[:, 2] > 0.0)
    if int(usable.sum()) < _LEAST:
        return None
    log_scale, spread = _log_scale(np.log(query_points[usable, 2] / seen[usable, 2]))
    start = math.exp(log_scale) * rigid
    start[3] = rigid[3]
    per_log_depth = max(posed.noise, _SPREAD_FLOOR * max_error) / spread
    problem = BothWays(query_points, query_pixels, place_points, place_pixels, camera, per_log_depth)
    support = fit_support(problem, SimilarityModel(start), max_error, _LEAST)
    if support is None or support.covariance is None:
        return None
    covered = coverage(query_pixels[support.inliers], (camera.width, camera.height))
    needed = max(options.min_inliers, options.min_share * len(matches))
    if support.count < needed or covered < options.min_coverage:
        return None
    found = support.model.query_from_place
    covariance = support.covariance.copy()
    # An error of a point's depth is in up to three of its residuals, which the fit takes for independent.
    covariance[6, 6] += spread**2 / support.count
    return Similarity(
        place.key,
        place.segment,
        found,
        float(np.cbrt(np.linalg.det(found[:3, :3]))),
        math.sqrt(float(covariance[6, 6])),
        covariance,
        query_rows[support.inliers],
        place_rows[support.inliers],
        len(matches),
        covered,
        float(np.median(np.linalg.norm(query_points[support.inliers], axis=1))),
    )


def _log_scale(log_ratios: Floats) -> tuple[float, float]:
    """Median of the logarithms of depth ratios (n,), and the standard deviation of a typical one."""
    middle = float(np.median(log_ratios))
    off = np.abs(log_ratios - middle)
    near = off[off < _WIDEST]
    spread = _NORMAL * float(np.median(near)) if len(near) else _WIDEST
    return middle, max(spread, _SPREAD_FLOOR)
