"""Which lens models serve the cameras of a rig together.

A camera alone cannot tell what its lens does from what the board does: a shift of the principal point from a turn, a
distortion from a board that is not quite flat. A rig can. So where cameras that were judged alone came to different
models, the mixture competes with each of these models on all cameras. They are judged on held-out frames, whose only
freedom is the board's pose, by two errors that weigh the same: of reprojection, and of epipolar geometry, which no
shape of the board can hide or excuse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.calibration.rig.pairing import paired_corners
from cv3d.calibration.rig.problem import CameraViews, RigProblem, RigState, frames_of, renumbered
from cv3d.calibration.rig.solving import RigSolution, solve_rig
from cv3d.calibration.selection import range_fault, simplest_within_noise
from cv3d.calibration.solving import start_from
from cv3d.geometry.cameras import get_model
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.epipolar import epipolar_angles
from cv3d.geometry.levenberg import LmOptions

Models = tuple[str, ...]

_FOLDS = 5
_FEWEST_FRAMES = 6
_FULL = LmOptions(max_iterations=60, relative_decrease=1e-8)
_REFIT = LmOptions(max_iterations=8, relative_decrease=1e-4)
_POSED = LmOptions(max_iterations=30, relative_decrease=1e-6)


def choose_together(solution: RigSolution, rng: np.random.Generator) -> Models:
    """The lens model of each camera.

    Args:
        solution: of the rig under the models that the cameras chose alone.
        rng: deals the frames to folds.

    Returns:
        Their own choices, unless one model for all is better beyond noise; of several such, the simplest.
    """
    own = tuple(views.model.name for views in solution.cameras)
    free = [c for c, views in enumerate(solution.cameras) if not views.held]
    tried = sorted({own[c] for c in free}, key=lambda name: get_model(name).param_count)
    frames = len(solution.state.frame_rotation)
    if len(tried) < 2 or frames < _FEWEST_FRAMES:
        return own
    candidates = {tuple(name if c in free else own[c] for c in range(len(own))) for name in tried}
    order = rng.permutation(frames)
    folds = [torch.from_numpy(np.sort(order[k::_FOLDS])) for k in range(_FOLDS)]
    errors: dict[str, _HeldOut] = {}
    by_name: dict[str, Models] = {}
    simplest_first = sorted(candidates - {own}, key=lambda models: sum(get_model(name).param_count for name in models))
    for models in (own, *simplest_first):
        fitted = solution if models == own else with_models(solution, models)
        if not is_sound(fitted):
            continue
        name = " ".join(models)
        by_name[name] = models
        errors[name] = _held_out(fitted, folds)
    if not by_name:
        return own
    counts = _counts(solution)
    return by_name[simplest_within_noise(_together(errors, counts), counts)]


def with_models(solution: RigSolution, models: Models) -> RigSolution:
    """The rig solved anew under other lens models, from where it stands."""
    cameras, params = [], []
    for c, (views, name) in enumerate(zip(solution.cameras, models, strict=True)):
        known = solution.state.of_camera(c, views.frames)
        params.append(start_from(views.observations, known, views.model.name, name).params)
        cameras.append(replace(views, model=get_model(name)))
    problem = replace(solution.problem, cameras=tuple(cameras))
    return solve_rig(problem, replace(solution.state, params=tuple(params)), _FULL)


def is_sound(solution: RigSolution) -> bool:
    """Whether every camera's model is one-to-one over its corners, and none ran to the end of its range."""
    faults = [
        range_fault(views.model, params)
        for views, params in zip(solution.cameras, solution.state.params, strict=True)
        if not views.held
    ]
    return not any(faults) and all(solution.problem.inside_domain(solution.state))


@dataclass(frozen=True)
class _HeldOut:
    """Sums of squares of every frame while it was held out, square pixels; infinity where the fit broke."""

    reprojection: NDArray[np.float64]
    """(F,)."""
    epipolar: NDArray[np.float64]
    """(F,)."""


def _together(errors: dict[str, _HeldOut], counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Both errors of every frame in one, (F,): each in units of its least mean square over the candidates."""
    total = dict.fromkeys(errors, np.zeros_like(counts))
    for kind in ("reprojection", "epipolar"):
        values = {name: getattr(one, kind) for name, one in errors.items()}
        least = min(float(squares.sum()) for squares in values.values()) / float(counts.sum())
        if 0.0 < least < math.inf:
            total = {name: total[name] + squares / least for name, squares in values.items()}
    return total


def _held_out(solution: RigSolution, folds: Sequence[torch.Tensor]) -> _HeldOut:
    result, off = np.zeros((2, len(solution.state.frame_rotation)))
    every = torch.arange(len(result))
    for fold in folds:
        rest = every[~torch.isin(every, fold)]
        cameras, state = _only(solution, rest)
        fitted = solve_rig(replace(solution.problem, cameras=cameras), state, _REFIT).state
        cameras, held = _only(solution, fold)
        start = replace(
            held, params=fitted.params, warp=fitted.warp, rotation=fitted.rotation, translation=fitted.translation
        )
        posed = solve_rig(RigProblem(cameras, with_intrinsics=False, with_poses=False), start, _POSED)
        for views, residuals in zip(cameras, posed.residuals, strict=True):
            values = views.weight**2 * (residuals**2).sum(dim=(-1, -2))
            np.add.at(result, fold[views.frames].numpy(), values.numpy())
        _add_epipolar(off, cameras, posed.state, fold)
    return _HeldOut(np.where(np.isfinite(result), result, np.inf), np.where(np.isfinite(off), off, np.inf))


def _add_epipolar(
    squares: NDArray[np.float64], cameras: Sequence[CameraViews], state: RigState, fold: torch.Tensor
) -> None:
    """Add the squared distances to epipolar planes, as angles times focal length, to those of every frame (F,)."""
    poses = state.cam_from_cam0().numpy()
    lenses = [
        Camera(views.model.name, views.size, views.size, tuple(params.tolist()))
        for views, params in zip(cameras, state.params, strict=True)
    ]
    for first, second in combinations(range(len(cameras)), 2):
        corners = paired_corners(cameras[first], cameras[second])
        relative = poses[second] @ inverse_rigid(poses[first])
        angles = epipolar_angles(
            lenses[first], lenses[second], relative, corners.pixels_first.numpy(), corners.pixels_second.numpy()
        )
        for side, (camera, views) in enumerate(((lenses[first], cameras[first]), (lenses[second], cameras[second]))):
            focal = views.weight * math.sqrt(camera.params[0] * camera.params[1])
            np.add.at(squares, fold[corners.frames].numpy(), np.nan_to_num(angles[:, side] * focal) ** 2)


def _only(solution: RigSolution, frames: torch.Tensor) -> tuple[tuple[CameraViews, ...], RigState]:
    """The views in the given frames, counted anew, and their part of the state."""
    cameras = tuple(views.select(torch.isin(views.frames, frames)) for views in solution.cameras)
    present = frames_of(cameras)
    return renumbered(cameras, present), solution.state.select_frames(present)


def _counts(solution: RigSolution) -> NDArray[np.float64]:
    """Corners in every frame, (F,)."""
    counts = np.zeros(len(solution.state.frame_rotation))
    for views in solution.cameras:
        np.add.at(counts, views.frames.numpy(), views.observations.seen.sum(dim=-1).numpy())
    return counts
