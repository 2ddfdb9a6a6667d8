"""Fitting a camera model to a known mapping between pixels and viewing rays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.geometry.arrow import ArrowSystem
from cv3d.geometry.cameras.base import AFFINE_NAMES, CameraModel
from cv3d.geometry.cameras.splined import SplinedStereographic
from cv3d.geometry.cameras.splined_normals import spline_normals
from cv3d.geometry.levenberg import LmOptions, levenberg_marquardt


@dataclass(frozen=True)
class ModelFit:
    """A model fitted to rays."""

    params: Tensor
    """(P,)."""
    errors: Tensor
    """Distance between the model's projection of each ray and its pixel, (N,), pixels."""


def fit_model(
    model: CameraModel,
    rays: Tensor,
    pixels: Tensor,
    start: Tensor,
    weights: Tensor | None = None,
    max_iterations: int = 50,
) -> ModelFit:
    """The parameters with which `model` sends `rays` closest to `pixels`, in the least-squares sense.

    A splined model keeps the affine parameters it starts with, and its prior takes part.

    Args:
        model: the model to fit.
        rays: viewing directions, (N, 3).
        pixels: where they meet the image, (N, 2).
        start: initial parameters, (P,).
        weights: one per ray, (N,); None: all alike.
        max_iterations: bound on the Levenberg-Marquardt iterations.

    Returns:
        Parameters and the error of every ray.
    """
    weights = torch.ones_like(rays[:, 0]) if weights is None else weights
    problem: _SplineRayProblem | _RayProblem
    if isinstance(model, SplinedStereographic):
        problem = _SplineRayProblem(model, rays, pixels, weights)
    else:
        problem = _RayProblem(model, rays, pixels, weights)
    result = levenberg_marquardt(problem, start, LmOptions(max_iterations=max_iterations, relative_decrease=1e-9))
    errors = torch.linalg.vector_norm(model.project(result.state, rays) - pixels, dim=-1)
    return ModelFit(result.state, errors)


def starting_params(model: CameraModel, focal: Tensor, centre: Tensor) -> Tensor:
    """The model at its neutral shape, nearest to a pinhole: (P,) from `focal` (2,) and `centre` (2,)."""
    return torch.cat([focal, centre, torch.tensor(model.neutral_shape, dtype=focal.dtype)])


def within_bounds(model: CameraModel, params: Tensor) -> Tensor:
    """`params` (..., P) with every shape parameter moved into the open interval in which the model makes sense."""
    if not model.shape_bounds:
        return params
    low = torch.tensor([low for low, _ in model.shape_bounds], dtype=params.dtype) + _BOUND_MARGIN
    high = torch.tensor([high for _, high in model.shape_bounds], dtype=params.dtype) - _BOUND_MARGIN
    return torch.cat([params[..., :4], torch.clamp(params[..., 4:], low, high)], dim=-1)


_BOUND_MARGIN = 1e-9


@dataclass(frozen=True)
class _RayProblem:
    model: CameraModel
    rays: Tensor
    pixels: Tensor
    weights: Tensor

    def linearize(self, state: Tensor) -> ArrowSystem:
        pixels, _, by_params = self.model.project_with_jacobians(state, self.rays)
        root = torch.sqrt(self.weights)[:, None]
        residual = (root * (pixels - self.pixels)).reshape(-1)
        jacobian = (root[..., None] * by_params).reshape(-1, by_params.shape[-1])
        return _without_blocks(0.5 * residual @ residual, jacobian.T @ jacobian, jacobian.T @ residual)

    def retract(self, state: Tensor, shared_step: Tensor, block_steps: Tensor) -> Tensor:
        return within_bounds(self.model, state + shared_step)


@dataclass(frozen=True)
class _SplineRayProblem:
    model: SplinedStereographic
    rays: Tensor
    pixels: Tensor
    weights: Tensor

    def linearize(self, state: Tensor) -> ArrowSystem:
        local = self.model.project_locally(state, self.rays[None])
        root = torch.sqrt(self.weights)[None]
        residual = root[..., None] * (local.pixels - self.pixels)
        products = spline_normals(local, state[:2], root, residual[..., None], self.model.nx * self.model.ny)
        prior, shape = self.model.prior_precision(), state[len(AFFINE_NAMES) :]
        cost = 0.5 * ((residual * residual).sum() + shape @ prior @ shape)
        return _without_blocks(cost, products.shape + prior, products.other[0, :, 0] + prior @ shape)

    def retract(self, state: Tensor, shared_step: Tensor, block_steps: Tensor) -> Tensor:
        return torch.cat([state[: len(AFFINE_NAMES)], state[len(AFFINE_NAMES) :] + shared_step])


def _without_blocks(cost: Tensor, matrix: Tensor, gradient: Tensor) -> ArrowSystem:
    none = gradient.new_zeros(0, 1)
    return ArrowSystem(
        cost=float(cost),
        shared=matrix,
        shared_gradient=gradient,
        blocks=none[..., None],
        block_gradients=none,
        coupling=gradient.new_zeros(0, 1, len(gradient)),
    )
