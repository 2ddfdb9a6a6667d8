"""A first camera and poses, without a guess from the user.

A sweep over focal lengths and over the curvature of the unified camera model (from perspective to beyond 180
degrees) scores
each combination by how well plane poses found linearly from its rays explain the corners; the best few are refined
and compete. Nothing here can fail with NaN: a hopeless combination only scores badly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cv3d.calibration.deformation import UNDEFORMED, undeformed
from cv3d.calibration.problem import CalibrationProblem, CalibrationState, Observations, spread_indices
from cv3d.errors import EstimationError
from cv3d.geometry.cameras import get_model
from cv3d.geometry.levenberg import LmOptions, levenberg_marquardt
from cv3d.geometry.planar import mirrored_plane_pose, plane_pose_from_rays
from cv3d.geometry.robust import Loss, LossKind

SEED_MODEL = "ucm"
_ALPHAS = (0.0, 0.4, 0.55, 0.65, 0.75)
_FOCAL_STEPS = 22
_FOCAL_RANGE = (0.15, 8.0)
"""In units of the image's larger side."""
_SWEEP_VIEWS = 16
_THIN_POINTS = 32
_REFINED_VIEWS = 80
"""Of more views the camera found from the sample is good enough to start from."""
_SWEEP_POINTS = 48
_KEEP = 4
_MIN_CORNERS = 6


@dataclass(frozen=True)
class Seed:
    """A camera of the unified model that explains the corners roughly, and a pose for every view."""

    state: CalibrationState
    """Parameters of :data:`SEED_MODEL` and poses."""
    scale_px: float
    """Typical residual of a good corner, pixels (median)."""


def seed_camera(observations: Observations, width: int, height: int) -> Seed:
    """Find a starting point for any model.

    Args:
        observations: corners of at least one view.
        width: image width, pixels.
        height: image height, pixels.

    Returns:
        The seed; views that contradict the rest keep large residuals and are for the caller to judge.

    Raises:
        EstimationError: no view has enough corners.
    """
    enough = observations.seen.sum(dim=-1) >= _MIN_CORNERS
    if not bool(enough.any()):
        raise EstimationError(f"no picture shows {_MIN_CORNERS} or more points of the board")
    model = get_model(SEED_MODEL)
    sample = _sample(observations.select(enough))
    candidates = _candidates(width, height)
    scores = torch.cat([_score(sample, chunk, max(width, height)) for chunk in torch.split(candidates, 16)])
    best: tuple[float, Tensor] | None = None
    loss = Loss(LossKind.CAUCHY, 1e-3 * max(width, height))
    for params in _distinct_best(candidates, scores):
        problem = CalibrationProblem(model, sample, loss)
        state = _linear_poses(sample, params)
        held = replace(problem, free=(True, True, False, False, False))
        state = levenberg_marquardt(held, state, LmOptions(max_iterations=15, relative_decrease=1e-3)).state
        refined = levenberg_marquardt(problem, state, LmOptions(max_iterations=40, relative_decrease=1e-5))
        if best is None or refined.system.cost < best[0]:
            best = (refined.system.cost, refined.state.params)
    if best is None:
        raise EstimationError("no camera explains the corners found")
    if observations.views > _REFINED_VIEWS:
        observations = _thinned(observations)
    state = best_poses(observations, model.name, best[1], loss)
    problem = CalibrationProblem(model, observations, loss)
    if observations.views <= _REFINED_VIEWS:
        state = levenberg_marquardt(problem, state, LmOptions(max_iterations=30, relative_decrease=1e-5)).state
        state = unmirrored(problem, state)
    norms = torch.linalg.vector_norm(problem.residuals(state), dim=-1)[observations.seen]
    return Seed(state, float(norms.median()))


def best_poses(
    observations: Observations, model_name: str, params: Tensor, loss: Loss, warp: Tensor | None = None
) -> CalibrationState:
    """Poses of all views under a known camera, each the better of the two that a plane allows.

    Args:
        observations: corners of V views.
        model_name: the camera's model.
        params: its parameters, (P,).
        loss: robust loss, so that a wrong corner does not bend its view.
        warp: how the board is deformed, (4,); None: not at all.

    Returns:
        A state with `params`, `warp` and V refined poses.
    """
    model = get_model(model_name)
    problem = CalibrationProblem(model, observations, loss, free=(False,) * len(model.param_names))
    state = _linear_poses(observations, params, model_name)
    if warp is not None:
        state = replace(state, warp=warp)
    state = levenberg_marquardt(problem, state, LmOptions(max_iterations=20, relative_decrease=1e-4)).state
    return unmirrored(problem, state)


def unmirrored(problem: CalibrationProblem, state: CalibrationState) -> CalibrationState:
    """Try the mirrored pose of every view and keep it where it explains the view better.

    The intrinsics stay as they are.
    """
    observed = problem.observations
    held = replace(problem, free=(False,) * len(problem.model.param_names), deformation=UNDEFORMED)
    count = torch.clamp(observed.seen.sum(dim=-1, keepdim=True), min=1)
    centre = (observed.points * observed.seen[..., None]).sum(dim=-2) / count
    rotation, translation = mirrored_plane_pose(state.rotation, state.translation, centre)
    other = replace(state, rotation=rotation, translation=translation)
    other = levenberg_marquardt(held, other, LmOptions(max_iterations=8, relative_decrease=1e-2)).state
    better = _view_costs(held, other) < 0.999 * _view_costs(held, state)
    return replace(
        state,
        rotation=torch.where(better[:, None, None], other.rotation, state.rotation),
        translation=torch.where(better[:, None], other.translation, state.translation),
    )


def _view_costs(problem: CalibrationProblem, state: CalibrationState) -> Tensor:
    squared = (problem.residuals(state) ** 2).sum(dim=-1)
    return (problem.loss.evaluate(squared)[0] * problem.observations.seen).sum(dim=-1)


def _candidates(width: int, height: int) -> Tensor:
    """Parameters (fx, fy, cx, cy, alpha) of the sweep, (C, 5)."""
    low, high = (math.log(f * max(width, height)) for f in _FOCAL_RANGE)
    focals = torch.exp(torch.linspace(low, high, _FOCAL_STEPS, dtype=torch.float64))
    rows = []
    for alpha in _ALPHAS:
        for focal in focals:
            if alpha > 0.0 and focal > 2.0 * max(width, height):
                continue
            rows.append([float(focal), float(focal), 0.5 * (width - 1), 0.5 * (height - 1), alpha])
    return torch.tensor(rows, dtype=torch.float64)


def _sample(observations: Observations) -> Observations:
    """At most a few views with a few corners each, spread evenly: enough to rank cameras."""
    views = observations.views
    picked = observations.select(spread_indices(views, _SWEEP_VIEWS))
    points, pixels, seen = [], [], []
    for v in range(picked.views):
        indices = torch.nonzero(picked.seen[v])[:, 0]
        keep = indices[spread_indices(len(indices), _SWEEP_POINTS)]
        pad = _SWEEP_POINTS - len(keep)
        points.append(torch.nn.functional.pad(picked.points[v, keep], (0, 0, 0, pad)))
        pixels.append(torch.nn.functional.pad(picked.pixels[v, keep], (0, 0, 0, pad)))
        seen.append(torch.nn.functional.pad(picked.seen[v, keep], (0, pad)))
    return Observations(torch.stack(points), torch.stack(pixels), torch.stack(seen), observations.extent)


def _thinned(observations: Observations) -> Observations:
    """A few corners of every view, drawn at random (always the same): enough for poses to start from."""
    if observations.seen.shape[1] <= _THIN_POINTS:
        return observations
    keys = torch.rand(observations.seen.shape, generator=torch.Generator().manual_seed(0))
    drawn = torch.argsort(keys + 2.0 * ~observations.seen, dim=1)[:, :_THIN_POINTS]
    return replace(
        observations,
        points=torch.take_along_dim(observations.points, drawn[..., None], dim=1),
        pixels=torch.take_along_dim(observations.pixels, drawn[..., None], dim=1),
        seen=torch.take_along_dim(observations.seen, drawn, dim=1),
    )


def _score(observations: Observations, params: Tensor, image_size: int) -> Tensor:
    """Robust cost of each camera in `params` (C, 5) with linearly found poses, (C,)."""
    model = get_model(SEED_MODEL)
    cameras = params[:, None, :]
    rays = model.unproject(cameras, observations.pixels[None].expand(len(params), -1, -1, -1))
    reachable = model.valid_pixels(cameras, observations.pixels[None].expand(len(params), -1, -1, -1))
    weights = (observations.seen & reachable).to(rays.dtype)
    plane = observations.points[None, ..., :2].expand(len(params), -1, -1, -1)
    rotation, translation = plane_pose_from_rays(rays, plane, weights)
    camera_points = observations.points @ rotation.transpose(-1, -2) + translation[..., None, :]
    residual = model.project(cameras, camera_points) - observations.pixels
    squared = (residual**2).sum(dim=-1)
    reachable = reachable & model.valid_points(cameras, camera_points)
    scale = 2e-3 * image_size
    cost = torch.log1p(torch.where(reachable, squared, torch.full_like(squared, float(image_size) ** 2)) / scale**2)
    return (torch.nan_to_num(cost, nan=1e3) * observations.seen).sum(dim=(-1, -2)) / observations.seen.sum()


def _distinct_best(candidates: Tensor, scores: Tensor) -> list[Tensor]:
    """The best cameras, at most two of one curvature."""
    chosen: list[Tensor] = []
    for index in torch.argsort(scores).tolist():
        alike = sum(1 for c in chosen if float(c[4]) == float(candidates[index, 4]))
        if alike < 2:
            chosen.append(candidates[index])
        if len(chosen) == _KEEP:
            break
    return chosen


def _linear_poses(observations: Observations, params: Tensor, model_name: str = SEED_MODEL) -> CalibrationState:
    model = get_model(model_name)
    rays = model.unproject(params, observations.pixels)
    weights = (observations.seen & model.valid_pixels(params, observations.pixels)).to(rays.dtype)
    rotation, translation = plane_pose_from_rays(rays, observations.points[..., :2], weights)
    return CalibrationState(params, undeformed(), rotation, translation)
