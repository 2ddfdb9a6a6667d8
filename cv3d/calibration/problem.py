"""The calibration problem: one camera, one board, a pose per view.

Residuals are `projected - observed` in pixels. Unknowns are the free intrinsics and the board's warp (shared), and
one rigid
transform per view (blocks), perturbed on the left: `cam_from_board <- exp(rotation) cam_from_board + translation`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cv3d.geometry.arrow import ArrowSystem
from cv3d.geometry.cameras.base import CameraModel
from cv3d.geometry.cameras.brown import Brown, exact_domain_angle
from cv3d.geometry.cameras.fit import within_bounds
from cv3d.geometry.robust import SQUARED, Loss
from cv3d.geometry.transforms import SO3

POSE_SIZE = 6
WARP_SIZE = 3
_CHUNK_POINTS = 16384


@dataclass(frozen=True)
class Observations:
    """Corners of V views, padded to the largest count N. float64 on the CPU."""

    points: Tensor
    """Board-frame coordinates, (V, N, 3), metres (or squares)."""
    pixels: Tensor
    """Where they were seen, (V, N, 2), pixels."""
    seen: Tensor
    """Which entries are real, (V, N), bool."""
    extent: Tensor
    """Smallest and largest x, y of the whole board, (2, 2), to which its bending modes are normalised."""

    @property
    def views(self) -> int:
        """Number of views V."""
        return int(self.points.shape[0])

    @property
    def count(self) -> int:
        """Number of corners seen in all views together."""
        return int(self.seen.sum())

    def select(self, views: Tensor) -> Observations:
        """The given views only; `views` is an index or bool tensor, (K,) or (V,)."""
        return replace(self, points=self.points[views], pixels=self.pixels[views], seen=self.seen[views])

    def without(self, outliers: Tensor) -> Observations:
        """The same with the corners flagged in `outliers` (V, N) taken out."""
        return replace(self, seen=self.seen & ~outliers)

    def warp_basis(self) -> Tensor:
        """The board's bending modes at every corner, (V, N, 3): `1 - u^2`, `1 - v^2` and `u v` of the normalised board.

        u and v run from -1 to 1 over the board; a coefficient is a height in board units.
        """
        low, high = self.extent
        unit = (self.points[..., :2] - 0.5 * (low + high)) / (0.5 * (high - low))
        u, v = unit[..., 0], unit[..., 1]
        return torch.stack([1.0 - u * u, 1.0 - v * v, u * v], dim=-1)


@dataclass(frozen=True)
class CalibrationState:
    """All unknowns."""

    params: Tensor
    """Intrinsics in the model's order, (P,); (V, P) where every view has its own, all of them held."""
    warp: Tensor
    """Coefficients of the board's bending modes, (3,) or (V, 1, 3), board units; zeros for a flat board."""
    rotation: Tensor
    """Rotation of cam_from_board, (V, 3, 3)."""
    translation: Tensor
    """Translation of cam_from_board, (V, 3), board units."""

    @property
    def bent(self) -> bool:
        """Whether the board is anything but flat."""
        return bool((self.warp != 0).any())

    def select(self, views: Tensor) -> CalibrationState:
        """The same with the given views only."""
        return replace(self, rotation=self.rotation[views], translation=self.translation[views])

    def cam_from_board(self) -> Tensor:
        """Poses as matrices, (V, 4, 4)."""
        matrix = torch.zeros(*self.rotation.shape[:-2], 4, 4, dtype=self.rotation.dtype)
        matrix[..., :3, :3] = self.rotation
        matrix[..., :3, 3] = self.translation
        matrix[..., 3, 3] = 1.0
        return matrix


@dataclass(frozen=True)
class CalibrationProblem:
    """Implements :class:`cv3d.geometry.levenberg.ArrowProblem` over :class:`CalibrationState`."""

    model: CameraModel
    observations: Observations
    loss: Loss = SQUARED
    free: tuple[bool, ...] | None = None
    """Which intrinsics may move; None: all."""
    with_warp: bool = False

    def free_indices(self) -> list[int]:
        """Positions of the free intrinsics."""
        size = len(self.model.param_names)
        return [i for i in range(size) if self.free is None or self.free[i]]

    def residuals(self, state: CalibrationState) -> Tensor:
        """Projected minus observed, (V, N, 2), pixels; zero where nothing was seen."""
        observed = self.observations
        basis = observed.warp_basis() if state.bent else None
        parts = []
        for chunk in self._chunks():
            camera_points = _to_camera(state, observed.points[chunk], None if basis is None else basis[chunk], chunk)
            parts.append(self.model.project(_params_of(state, chunk), camera_points) - observed.pixels[chunk])
        residuals = torch.cat(parts) if parts else torch.zeros_like(observed.pixels)
        return torch.where(observed.seen[..., None], residuals, torch.zeros_like(residuals))

    def inside_domain(self, state: CalibrationState) -> Tensor:
        """Which corners lie where the model is one-to-one, (V, N), bool; True where nothing was seen."""
        observed = self.observations
        basis = observed.warp_basis() if state.bent else None
        camera_points = _to_camera(state, observed.points, basis, slice(None))
        inside = self.model.valid_points(_params_of(state, slice(None)), camera_points)
        if isinstance(self.model, Brown) and state.params.dim() == 1:
            limit = math.tan(exact_domain_angle(state.params[4:].tolist()))
            inside = inside & (torch.linalg.vector_norm(camera_points[..., :2], dim=-1) < limit * camera_points[..., 2])
        return inside | ~observed.seen

    def linearize(self, state: CalibrationState) -> ArrowSystem:
        """Normal equations at `state`."""
        cost, normals = self.view_normals(state)
        size = normals.shape[-1] - POSE_SIZE - 1
        pose = slice(size, size + POSE_SIZE)
        total = normals[:, :size].sum(dim=0)
        return ArrowSystem(
            cost=cost,
            shared=total[:, :size],
            shared_gradient=total[:, -1],
            blocks=normals[:, pose, pose],
            block_gradients=normals[:, pose, -1],
            coupling=normals[:, pose, :size],
        )

    def view_normals(self, state: CalibrationState) -> tuple[float, Tensor]:
        """Robust cost, and every view's own normal matrix of `[shared, pose, residual]`, (V, K + 7, K + 7)."""
        indices = self.free_indices()
        observed = self.observations
        basis = observed.warp_basis() if self.with_warp or state.bent else None
        cost = torch.zeros((), dtype=torch.float64)
        normals = []
        for chunk in self._chunks():
            chunk_cost, rows = self._weighted_rows(state, indices, chunk, None if basis is None else basis[chunk])
            cost = cost + chunk_cost
            normals.append(rows.transpose(-1, -2) @ rows)
        return float(cost), torch.cat(normals)

    def retract(self, state: CalibrationState, shared_step: Tensor, block_steps: Tensor) -> CalibrationState:
        """Move the state; shape parameters stay inside the model's bounds."""
        indices = self.free_indices()
        params = state.params
        if indices:
            params = params.clone()
            params[indices] = params[indices] + shared_step[: len(indices)]
            params = within_bounds(self.model, params)
        warp = state.warp + shared_step[len(indices) :] if self.with_warp else state.warp
        turn = SO3.exp(block_steps[..., :3]).as_matrix()
        return CalibrationState(
            params=params,
            warp=warp,
            rotation=turn @ state.rotation,
            translation=(turn @ state.translation[..., None])[..., 0] + block_steps[..., 3:],
        )

    def _chunks(self) -> Iterator[slice]:
        views, width = self.observations.seen.shape
        step = max(1, _CHUNK_POINTS // max(width, 1))
        for first in range(0, views, step):
            yield slice(first, min(first + step, views))

    def _weighted_rows(
        self, state: CalibrationState, indices: list[int], chunk: slice, basis: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Robust cost of a chunk and its rows `sqrt(weight) * [J_shared, J_pose, residual]`, (v, 2 N, K + 7)."""
        observed = self.observations
        camera_points = _to_camera(state, observed.points[chunk], basis, chunk)
        pixels, by_point, by_params = self.model.project_with_jacobians(_params_of(state, chunk), camera_points)
        seen = observed.seen[chunk]
        residuals = torch.where(seen[..., None], pixels - observed.pixels[chunk], torch.zeros_like(pixels))
        cost, weight = self.loss.evaluate((residuals * residuals).sum(dim=-1))
        root = torch.sqrt(weight * seen)[..., None]
        used = len(indices)
        size = used + (WARP_SIZE if self.with_warp else 0)
        rows = torch.empty(*pixels.shape, size + POSE_SIZE + 1, dtype=torch.float64)
        rows[..., :used] = by_params if used == by_params.shape[-1] else by_params[..., indices]
        if self.with_warp and basis is not None:
            depth = (by_point @ state.rotation[chunk][:, None, :, 2:3])[..., 0]
            rows[..., used:size] = depth[..., None] * basis[..., None, :]
        x, y, z = camera_points[..., None, :].unbind(dim=-1)
        gx, gy, gz = by_point.unbind(dim=-1)
        rows[..., size + 0] = y * gz - z * gy
        rows[..., size + 1] = z * gx - x * gz
        rows[..., size + 2] = x * gy - y * gx
        rows[..., size + 3 : size + 6] = by_point
        rows[..., -1] = residuals
        rows *= root[..., None]
        return 0.5 * cost.sum(), rows.flatten(1, 2)


def spread_indices(count: int, most: int) -> Tensor:
    """At most `most` of the indices 0 to `count - 1`, evenly spread, (K,)."""
    return torch.from_numpy(np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)))


def _params_of(state: CalibrationState, chunk: slice) -> Tensor:
    return state.params if state.params.dim() == 1 else state.params[chunk]


def _to_camera(state: CalibrationState, points: Tensor, basis: Tensor | None, chunk: slice) -> Tensor:
    if basis is not None:
        warp = state.warp if state.warp.dim() == 1 else state.warp[chunk]
        height = (basis * warp).sum(dim=-1)
        points = torch.cat([points[..., :2], (points[..., 2] + height)[..., None]], dim=-1)
    rotation, translation = state.rotation[chunk], state.translation[chunk]
    return points @ rotation.transpose(-1, -2) + translation[:, None, :]
