"""Solving one lens model, from a seed or from another model's solution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cv3d.calibration.deformation import UNDEFORMED, Deformation
from cv3d.calibration.problem import CalibrationProblem, CalibrationState, Observations
from cv3d.geometry.arrow import ArrowSystem
from cv3d.geometry.cameras import get_model
from cv3d.geometry.cameras.base import CameraModel
from cv3d.geometry.cameras.fit import fit_model, starting_params
from cv3d.geometry.cameras.splined import SplinedStereographic
from cv3d.geometry.levenberg import LmOptions, LmResult, levenberg_marquardt
from cv3d.geometry.robust import SQUARED, Loss

_FIT_POINTS = 3000
_FORWARD = 0.1
_OFF_SADDLE = -0.1
"""Rays flatter than this (cosine to the optical axis) do not take part in fitting a model that cannot see sideways."""


@dataclass(frozen=True)
class Solution:
    """A calibration at its minimum."""

    model: str
    state: CalibrationState
    system: ArrowSystem
    """Normal equations at the minimum, in the shared parameters (free intrinsics, then the board's deformation) and the
    poses."""
    residuals: Tensor
    """Projected minus observed, (V, N, 2), pixels; zero where nothing was seen."""
    count: int
    """Corners used."""
    unknowns: int
    """Number of parameters estimated from the corners; what a prior determines does not count."""
    inside: bool
    """Whether every corner used lies where the model is one-to-one."""
    iterations: int
    converged: bool

    @property
    def rms_px(self) -> float:
        """Root mean square distance between projected and observed corners, pixels (OpenCV's definition)."""
        return math.sqrt(float((self.residuals**2).sum()) / max(self.count, 1))

    @property
    def noise_px(self) -> float:
        """Estimated standard deviation of one coordinate of a corner, pixels, degrees of freedom accounted for."""
        freedom = 2 * self.count - self.unknowns
        return math.sqrt(float((self.residuals**2).sum()) / freedom) if freedom > 0 else math.nan


def solve(
    observations: Observations,
    model_name: str,
    start: CalibrationState,
    loss: Loss = SQUARED,
    deformation: Deformation = UNDEFORMED,
    free: tuple[bool, ...] | None = None,
    options: LmOptions | None = None,
) -> Solution:
    """Minimise the reprojection error of one model, and the cost of its prior where it has one.

    Args:
        observations: corners of V views.
        model_name: the lens model.
        start: parameters of that model and V poses.
        loss: robust loss; the squared one gives the maximum-likelihood solution under Gaussian noise.
        deformation: which of the board's modes of deformation are estimated too.
        free: which intrinsics may move; None: all, but for the affine ones of a splined model.
        options: stopping tests.

    Returns:
        The solution.
    """
    problem = CalibrationProblem(get_model(model_name), observations, loss, free, deformation)
    result = levenberg_marquardt(problem, start, options)
    shared = result.system.shared.shape[0] - _given_by_prior(problem, result)
    return Solution(
        model=model_name,
        state=result.state,
        system=result.system,
        residuals=problem.residuals(result.state),
        count=observations.count,
        unknowns=shared + 6 * observations.views,
        inside=bool(problem.inside_domain(result.state).all()),
        iterations=result.iterations,
        converged=result.converged,
    )


def _given_by_prior(problem: CalibrationProblem, result: LmResult[CalibrationState]) -> int:
    """How many parameters' worth the prior contributes: the trace of H^-1 A, rounded."""
    if not isinstance(problem.model, SplinedStereographic) or not problem.free_indices():
        return 0
    _, prior, _ = problem.prior_normals(result.state)
    factor, info = torch.linalg.cholesky_ex(result.system.reduced())
    return round(float(torch.cholesky_solve(prior, factor).trace())) if int(info) == 0 else 0


def start_from(
    observations: Observations, known: CalibrationState, known_model: str, model_name: str
) -> CalibrationState:
    """Another model's starting point: the same poses, and parameters that map the seen rays to the same pixels.

    Args:
        observations: the corners that say which part of the image matters.
        known: a solution of `known_model`.
        known_model: its model.
        model_name: the model wanted.

    Returns:
        A state of `model_name`: the known camera itself where it is a special case of the model, else the closest fit.
    """
    embedded = embed(known.params, known_model, model_name)
    if embedded is not None:
        return replace(known, params=embedded)
    model, old = get_model(model_name), get_model(known_model)
    pixels = observations.pixels[observations.seen]
    pixels = pixels[:: max(1, len(pixels) // _FIT_POINTS)]
    rays = old.unproject(known.params, pixels)
    if isinstance(model, SplinedStereographic):
        weights = old.valid_pixels(known.params, pixels).to(rays.dtype)
        start = starting_params(model, *_on_axis(old, known.params))
        return replace(known, params=fit_model(model, rays, pixels, start, weights).params)
    start = starting_params(model, known.params[:2], known.params[2:4])
    usable = model.valid_points(start, rays)
    if sees_forward_only(model_name):
        usable = usable & (rays[:, 2] > _FORWARD)
        if not bool(usable.all()):
            # A polynomial fitted to a part of the rays explodes at the rest.
            return replace(known, params=start)
    return replace(known, params=fit_model(model, rays, pixels, start, weights=usable.to(rays.dtype)).params)


def _on_axis(model: CameraModel, params: Tensor) -> tuple[Tensor, Tensor]:
    """Focal lengths (2,) in effect on the optical axis and where the axis meets the image (2,), pixels.

    Some models have a focal parameter that is a multiple of the former; a spline is to correct as little as possible.
    """
    axis = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    centre, by_point, _ = model.project_with_jacobians(params, axis)
    return torch.diagonal(by_point[0, :, :2]).clone(), centre[0]


def embed(params: Tensor, known_model: str, model_name: str) -> Tensor | None:
    """The parameters (P',) of `model_name` at which it equals a camera of `known_model`; None where it cannot."""
    if model_name == known_model:
        return params
    model, old = get_model(model_name), get_model(known_model)
    if known_model == "ucm" and model_name == "omni":
        # Usenko et al. 2018, section 2.2: xi = alpha / (1 - alpha), the focal length scaled alike.
        alpha = torch.clamp(params[4:5], max=1.0 - 1e-6)
        return torch.cat([params[:2] / (1.0 - alpha), params[2:4], alpha / (1.0 - alpha), params.new_zeros(4)])
    is_special_case = known_model == "ucm" and model_name in ("eucm", "double_sphere")
    is_special_case |= known_model.startswith(_FORWARD_ONLY) and model_name.startswith("brown")
    if not is_special_case or model.param_count < old.param_count:
        return None
    embedded = starting_params(model, params[:2], params[2:4])
    if model_name == "double_sphere":
        # At xi = 0 the derivatives by xi, alpha and the focal length are dependent: a saddle that no descent leaves.
        embedded[model.param_names.index("xi")] = _OFF_SADDLE
    for name, value in zip(old.shape_names, params[4:], strict=True):
        embedded[model.param_names.index(name)] = value
    return embedded


def sees_forward_only(model_name: str) -> bool:
    """Whether a model divides by depth, so that no ray at 90 degrees or beyond has an image."""
    return model_name.startswith(_FORWARD_ONLY)


_FORWARD_ONLY = ("pinhole", "brown")
