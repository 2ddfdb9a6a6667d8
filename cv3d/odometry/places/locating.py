"""Where a picture was taken, seen from a place that it may show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.absolute_pose import AbsolutePoseOptions, estimate_absolute_pose
from cv3d.geometry.cameras.camera import Camera
from cv3d.odometry.places.describing import Description
from cv3d.odometry.places.matching import Rows, match_rows, once_each
from cv3d.odometry.places.place import Place

Floats = NDArray[np.float64]

_COLUMNS, _ROWS = 8, 6
"""The grid by which it is judged how much of the picture the inliers cover."""
_LEAST_MATCHES = 8


@dataclass(frozen=True)
class LocateOptions:
    """When a picture counts as located."""

    min_cosine: float = 0.82
    """Of a match, to exceed: XFeat's authors' value where false matches are costly."""
    max_error: float = 4.0
    """Largest reprojection error of an inlier in one coordinate, pixels of the picture that the network saw."""
    min_inliers: int = 15
    """Fewest inliers."""
    min_share: float = 0.2
    """Fewest inliers over matches: what a wrong place has in common is spread over many wrong poses."""
    min_coverage: float = 0.1
    """Fewest cells of an 8 by 6 grid on the picture that hold an inlier, over all cells."""
    max_samples: int = 2_000
    """Largest number of random samples."""
    guess_radius: float = 60.0
    """With a guess, how far from where it expects a point it may be seen, pixels of the picture that the network
    saw."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.max_error, self.guess_radius) <= 0.0 or self.max_samples < 1:
            raise ValueError("max_error, guess_radius and max_samples must be positive")


@dataclass(frozen=True, eq=False)
class Located:
    """A picture with its place."""

    key: int
    """The place's key."""
    segment: int
    """The place's segment."""
    query_from_place: Floats
    """(4, 4) rigid, in the unit of the place's points."""
    covariance: Floats
    """(6, 6) of x = [rho, phi] in exp(x) query_from_place: translation, then rotation vector in radians, in the query's
    camera; from the scatter of the inliers in this one picture, not from the place's own errors."""
    query_rows: Rows
    """(k,) rows of the query's description, of the inliers."""
    place_rows: Rows
    """(k,) the rows of the place that they are."""
    matches: int
    """How many rows had matched."""
    noise: float
    """Standard deviation of one coordinate of a typical inlier, pixels."""
    coverage: float
    """Share of the cells of an 8 by 6 grid on the query's picture that hold an inlier."""
    depth: float
    """Median distance of the inliers from the query's camera, in the unit of the place's points."""

    @property
    def inliers(self) -> int:
        """k, how many rows agree with the pose."""
        return len(self.query_rows)


def locate(
    query: Description,
    place: Place,
    camera: Camera,
    options: LocateOptions | None = None,
    guess: Floats | None = None,
) -> Located | None:
    """The pose of a picture by the points of a place.

    Rows match that are each other's nearest; a sample consensus and a robust fit place the camera.

    Args:
        query: the picture.
        place: where it may have been taken.
        camera: of the picture, any central one.
        options: thresholds.
        guess: `query_from_place` as far as it is known, (4, 4), in the place's unit: rows match only near where it
            expects them. None: anywhere.

    Returns:
        None where no pose is supported beyond doubt.
    """
    options = options or LocateOptions()
    known = place.known
    points = place.points_in_cam[known].astype(np.float64)
    allowed = None if guess is None else _near(query, points, camera, guess, options.guess_radius * query.pixel_size)
    matches = match_rows(query.descriptors, place.descriptors[known], options.min_cosine, allowed)
    matches = once_each(matches, query.pixels, query.pixel_size)
    if len(matches) < max(_LEAST_MATCHES, options.min_inliers):
        return None
    found = estimate_absolute_pose(
        points[matches.place_rows],
        query.pixels[matches.query_rows].astype(np.float64),
        camera,
        AbsolutePoseOptions(
            max_error=options.max_error * query.pixel_size,
            min_inliers=options.min_inliers,
            max_samples=options.max_samples,
            seed=options.seed,
        ),
    )
    if not found.verified or found.cam_from_world is None or found.covariance is None:
        return None
    inliers = matches[found.inliers]
    covered = coverage(query.pixels[inliers.query_rows], query.size)
    if len(inliers) < options.min_share * len(matches) or covered < options.min_coverage:
        return None
    seen = points[inliers.place_rows] @ found.cam_from_world[:3, :3].T + found.cam_from_world[:3, 3]
    return Located(
        place.key,
        place.segment,
        found.cam_from_world,
        found.covariance,
        inliers.query_rows,
        known[inliers.place_rows],
        len(matches),
        found.noise,
        covered,
        float(np.median(np.linalg.norm(seen, axis=1))),
    )


def coverage(pixels: NDArray[np.floating], size: tuple[int, int]) -> float:
    """Share of the cells of an 8 by 6 grid that hold a pixel.

    Args:
        pixels: (n, 2).
        size: width and height of the picture, pixels.
    """
    width, height = size
    columns = np.clip((pixels[:, 0] + 0.5) / width * _COLUMNS, 0, _COLUMNS - 1).astype(np.int64)
    rows = np.clip((pixels[:, 1] + 0.5) / height * _ROWS, 0, _ROWS - 1).astype(np.int64)
    return len(np.unique(rows * _COLUMNS + columns)) / (_COLUMNS * _ROWS)


def _near(query: Description, points: Floats, camera: Camera, guess: Floats, radius: float) -> NDArray[np.bool_]:
    """Which rows of the query (n, m) are seen within `radius` pixels of where a guess expects points (m, 3)."""
    seen = points @ guess[:3, :3].T + guess[:3, 3]
    expected = np.where(seen[:, 2:] > 0.0, camera.project(seen), math.inf)
    off = query.pixels[:, None].astype(np.float64) - expected
    near: NDArray[np.bool_] = (off**2).sum(axis=2) <= radius**2
    return near
