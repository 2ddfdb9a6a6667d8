"""Bundle adjustment of a growing map: all of it, or what is new with its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import EstimationError, InputError
from cv3d.geometry.bundle import (
    BundleOptions,
    BundleProblem,
    BundleResult,
    Observations,
    Views,
    adjust_bundle,
)
from cv3d.geometry.robust import Loss, LossKind
from cv3d.mapping.intrinsics import HELD, KnownCamera
from cv3d.mapping.state import MapState

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

_ROBUST = Loss(LossKind.CAUCHY, 1.0)
_FEWEST_OF_CAMERA = 30
"""Observations below which a camera is held."""


@dataclass(frozen=True, eq=False)
class Adjusted:
    """An adjustment with the way back to the map."""

    result: BundleResult
    pictures: Ints
    """(p,), which picture each pose of the problem is of."""
    tracks: Ints
    """(m,), which track each point of the problem is of."""
    rows: Ints
    """(n,), which row each observation of the problem is."""
    cameras: Ints
    """(c,), which camera each of the problem's is."""


def adjust(
    state: MapState,
    known: Sequence[KnownCamera],
    *,
    stage: int = HELD,
    free: Bools | None = None,
    iterations: int = 20,
    tolerance: float = 1e-4,
    loss: Loss = _ROBUST,
) -> Adjusted | None:
    """Adjust poses, points and intrinsics, and put them into the map.

    Args:
        state: the map, changed in place.
        known: what is known of each camera beforehand.
        stage: which intrinsics are free, of :data:`cv3d.mapping.intrinsics.STAGES`.
        free: (P,), pictures that may move; None: all placed ones. The points that these see are adjusted, and the
            other pictures that see them are held.
        iterations: at most.
        tolerance: relative decrease of the cost at which it ends.
        loss: of the errors in their deviations.

    Returns:
        The adjustment; None where there was nothing to adjust, or no minimum was found.
    """
    problem_of = _problem(state, known, stage, free)
    if problem_of is None:
        return None
    problem, pictures, tracks, rows, cameras = problem_of
    options = BundleOptions(loss=loss, max_iterations=iterations, relative_decrease=tolerance)
    try:
        result = adjust_bundle(problem, options)
    except (EstimationError, InputError):
        return None
    moved: Bools = np.asarray(np.isfinite(result.points).all(axis=1))
    state.points[tracks] = np.where(moved[:, None], result.points, np.nan)
    state.active[rows[~moved[result.problem.observations.point]]] = False
    state.poses[pictures] = result.poses
    if stage != HELD:
        adjusted = list(state.cameras)
        for index, camera in zip(cameras.tolist(), result.cameras, strict=True):
            adjusted[index] = camera
        state.set_cameras(adjusted)
    return Adjusted(result, pictures, tracks, rows, cameras)


def _problem(
    state: MapState, known: Sequence[KnownCamera], stage: int, free: Bools | None
) -> tuple[BundleProblem, Ints, Ints, Ints, Ints] | None:
    table = state.table
    active: Bools = state.active
    if free is not None:
        wanted = np.zeros(table.count, np.bool_)
        wanted[table.track[active & free[table.picture]]] = True
        active = active & wanted[table.track]
    rows = np.flatnonzero(active)
    if not len(rows):
        return None
    pictures, view = np.unique(table.picture[rows], return_inverse=True)
    tracks, point = np.unique(table.track[rows], return_inverse=True)
    cameras, camera = np.unique(state.camera_of[pictures], return_inverse=True)
    held: Bools = np.zeros(len(pictures), np.bool_) if free is None else ~free[pictures]
    # A picture that sees hardly anything would leave the problem undetermined.
    held |= np.bincount(view, minlength=len(pictures)) < 4
    used = np.bincount(camera[view], minlength=len(cameras))
    stages = [stage if used[i] >= _FEWEST_OF_CAMERA else HELD for i in range(len(cameras))]
    priors = [known[int(c)].prior(i, stages[i]) for i, c in enumerate(cameras)]
    covariance = None if state.covariance is None else state.covariance[rows]
    problem = BundleProblem(
        cameras=tuple(state.cameras[int(c)] for c in cameras),
        poses=state.poses[pictures],
        points=state.points[tracks],
        views=Views.one_per_pose(len(pictures), camera.astype(np.intp)),
        observations=Observations(
            state.pixels[rows],
            view.astype(np.intp),
            point.astype(np.intp),
            sigma=state.sigma[rows],
            covariance=covariance,
        ),
        held_poses=held if held.any() else None,
        free_intrinsics=tuple(known[int(c)].free(stages[i]) for i, c in enumerate(cameras)),
        priors=tuple(prior for prior in priors if prior is not None),
    )
    return problem, pictures, tracks, rows, cameras
