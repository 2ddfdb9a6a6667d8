"""The calibration problem: one camera, one board, a pose per view.

Residuals are `projected - observed` in pixels. Unknowns are the free intrinsics and the board's deformation (shared),
and one rigid transform per view (blocks), perturbed on the left: `cam_from_board <- exp(rotation) cam_from_board +
translation`.

A splined lens model has hundreds of intrinsics of which a corner touches a few. Its normal equations are summed from
those few, its affine parameters are held unless asked for, and its prior is part of the cost: solution and covariance
are those of the regularised problem.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.calibration.deformation import UNDEFORMED, Deformation, by_coefficients, deformed, mode_fields
from cv3d.geometry.arrow import ArrowSystem
from cv3d.geometry.cameras.base import AFFINE_NAMES, CameraModel
from cv3d.geometry.cameras.brown import Brown, exact_domain_angle
from cv3d.geometry.cameras.fit import within_bounds
from cv3d.geometry.cameras.splined import SplinedStereographic
from cv3d.geometry.cameras.splined_normals import spline_normals
from cv3d.geometry.robust import SQUARED, Loss
from cv3d.geometry.transforms import SO3

_AFFINE = len(AFFINE_NAMES)
POSE_SIZE = 6
_CHUNK_POINTS = 16384
_CHUNK_COLUMNS = 32
"""Dense rows wider than this are made for accordingly fewer points at a time."""


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
    """Smallest and largest x, y of the whole board, (2, 2), to which its modes of deformation are normalised."""

    @classmethod
    def gather(
        cls, board_points: Tensor, views: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]
    ) -> Observations:
        """From what was found in each view.

        Args:
            board_points: the board's points, (M, 3), metres (or squares).
            views: of each view the indices of the points found, (n,), and their pixels, (n, 2).
        """
        widest = max((len(ids) for ids, _ in views), default=0)
        points = torch.zeros(len(views), widest, 3, dtype=torch.float64)
        found = torch.zeros(len(views), widest, 2, dtype=torch.float64)
        seen = torch.zeros(len(views), widest, dtype=torch.bool)
        for v, (ids, pixels) in enumerate(views):
            points[v, : len(ids)] = board_points[torch.from_numpy(ids)]
            found[v, : len(ids)] = torch.from_numpy(pixels)
            seen[v, : len(ids)] = True
        plane = board_points[:, :2]
        return cls(points, found, seen, torch.stack([plane.amin(dim=0), plane.amax(dim=0)]))

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

    def modes(self) -> Tensor:
        """Displacement of every corner by each of the board's modes of deformation, (V, N, 5)."""
        return mode_fields(self.points, self.extent)


@dataclass(frozen=True)
class CalibrationState:
    """All unknowns."""

    params: Tensor
    """Intrinsics in the model's order, (P,); (V, P) where every view has its own, all of them held."""
    warp: Tensor
    """Coefficients of the board's modes of deformation, (4,) or (V, 1, 4): three heights in board units and a stretch
    (see :func:`cv3d.calibration.deformation.mode_fields`); zeros for a board that is as it should be."""
    rotation: Tensor
    """Rotation of cam_from_board, (V, 3, 3)."""
    translation: Tensor
    """Translation of cam_from_board, (V, 3), board units."""

    @property
    def deformation(self) -> Deformation:
        """In what way the board is not as it should be."""
        return Deformation.of(self.warp)

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
    """Which intrinsics may move; None: all, but for the affine ones of a splined model, which its surface makes
    redundant."""
    deformation: Deformation = UNDEFORMED
    """Which of the board's modes of deformation are estimated; the others stay as the state has them."""

    def free_indices(self) -> list[int]:
        """Positions of the free intrinsics."""
        free = free_by_default(self.model) if self.free is None else self.free
        return [i for i, is_free in enumerate(free) if is_free]

    def residuals(self, state: CalibrationState) -> Tensor:
        """Projected minus observed, (V, N, 2), pixels; zero where nothing was seen."""
        observed = self.observations
        modes = observed.modes() if state.deformation else None
        parts = []
        for chunk in self._chunks():
            camera_points = _to_camera(state, observed.points[chunk], None if modes is None else modes[chunk], chunk)
            parts.append(self.model.project(_params_of(state, chunk), camera_points) - observed.pixels[chunk])
        residuals = torch.cat(parts) if parts else torch.zeros_like(observed.pixels)
        return torch.where(observed.seen[..., None], residuals, torch.zeros_like(residuals))

    def inside_domain(self, state: CalibrationState) -> Tensor:
        """Which corners lie where the model is one-to-one, (V, N), bool; True where nothing was seen."""
        observed = self.observations
        modes = observed.modes() if state.deformation else None
        camera_points = _to_camera(state, observed.points, modes, slice(None))
        inside = self.model.valid_points(_params_of(state, slice(None)), camera_points)
        if isinstance(self.model, Brown) and state.params.dim() == 1:
            limit = math.tan(exact_domain_angle(state.params[4:].tolist()))
            inside = inside & (torch.linalg.vector_norm(camera_points[..., :2], dim=-1) < limit * camera_points[..., 2])
        return inside | ~observed.seen

    def linearize(self, state: CalibrationState) -> ArrowSystem:
        """Normal equations at `state`, those of the model's prior included."""
        if isinstance(self.model, SplinedStereographic) and state.params.dim() == 1 and self.free_indices():
            return self._with_prior(self._linearize_locally(self.model, state), state)
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
        """Robust cost, and every view's own normal matrix of `[shared, pose, residual]`, (V, K + 7, K + 7).

        Of the corners alone: a prior of the model (:meth:`prior_normals`) belongs to no view.
        """
        indices = self.free_indices()
        observed = self.observations
        modes = observed.modes() if self.deformation | state.deformation else None
        cost = torch.zeros((), dtype=torch.float64)
        normals = []
        for chunk in self._chunks(len(indices)):
            chunk_cost, rows = self._weighted_rows(state, indices, chunk, None if modes is None else modes[chunk])
            cost = cost + chunk_cost
            normals.append(rows.transpose(-1, -2) @ rows)
        return float(cost), torch.cat(normals)

    def prior_normals(self, state: CalibrationState) -> tuple[float, Tensor, Tensor]:
        """Cost, normal matrix (K, K) and gradient (K,) of the model's prior in the shared parameters.

        Zeros for a model without a prior.
        """
        indices = self.free_indices()
        size = len(indices) + len(self.deformation.modes)
        matrix = torch.zeros(size, size, dtype=torch.float64)
        gradient = torch.zeros(size, dtype=torch.float64)
        if not isinstance(self.model, SplinedStereographic):
            return 0.0, matrix, gradient
        precision = self.model.prior_precision()
        pull = precision @ state.params[_AFFINE:]
        places = [k for k, index in enumerate(indices) if index >= _AFFINE]
        shape = torch.tensor(indices, dtype=torch.int64)[places] - _AFFINE
        matrix[: len(indices), : len(indices)][torch.tensor(places)[:, None], torch.tensor(places)] = precision[
            shape[:, None], shape
        ]
        gradient[places] = pull[shape]
        return float(0.5 * state.params[_AFFINE:] @ pull), matrix, gradient

    def retract(self, state: CalibrationState, shared_step: Tensor, block_steps: Tensor) -> CalibrationState:
        """Move the state; shape parameters stay inside the model's bounds."""
        indices = self.free_indices()
        params = state.params
        if indices:
            params = params.clone()
            params[indices] = params[indices] + shared_step[: len(indices)]
            params = within_bounds(self.model, params)
        warp = self.deformation.moved(state.warp, shared_step[len(indices) :])
        turn = SO3.exp(block_steps[..., :3]).as_matrix()
        return CalibrationState(
            params=params,
            warp=warp,
            rotation=turn @ state.rotation,
            translation=(turn @ state.translation[..., None])[..., 0] + block_steps[..., 3:],
        )

    def _with_prior(self, system: ArrowSystem, state: CalibrationState) -> ArrowSystem:
        cost, matrix, gradient = self.prior_normals(state)
        return replace(
            system,
            cost=system.cost + cost,
            shared=system.shared + matrix,
            shared_gradient=system.shared_gradient + gradient,
        )

    def _linearize_locally(self, model: SplinedStereographic, state: CalibrationState) -> ArrowSystem:
        """Normal equations of the corners, each touching its own control points only."""
        indices = self.free_indices()
        affine = [i for i in indices if i < _AFFINE]
        observed = self.observations
        modes = observed.modes() if self.deformation | state.deformation else None
        controls = model.nx * model.ny
        cost = torch.zeros((), dtype=torch.float64)
        shape = torch.zeros(2 * controls, 2 * controls, dtype=torch.float64)
        normals, mixed = [], []
        for chunk in self._chunks():
            chunk_modes = None if modes is None else modes[chunk]
            camera_points = _to_camera(state, observed.points[chunk], chunk_modes, chunk)
            local = model.project_locally(state.params, camera_points)
            leading = _by_affine(state.params, local.pixels)[..., affine]
            chunk_cost, root, rows = self._rows_of(
                state, chunk, chunk_modes, camera_points, (local.pixels, local.by_points, leading)
            )
            products = spline_normals(local, state.params[:2], root, rows, controls)
            cost, shape = cost + chunk_cost, shape + products.shape
            rows = rows.flatten(1, 2)
            normals.append(rows.transpose(-1, -2) @ rows)
            mixed.append(products.other)
        dense, other = torch.cat(normals), torch.cat(mixed)

        size = dense.shape[-1] - POSE_SIZE - 1
        pose = slice(size, size + POSE_SIZE)
        used = len(affine)
        # The shared parameters in order: affine, all control values, deformation.
        surface = slice(used, used + 2 * controls)
        rest = torch.tensor([*range(used), *range(used + 2 * controls, size + 2 * controls)], dtype=torch.int64)
        total = dense[:, :size].sum(dim=0)
        shared = torch.zeros(size + 2 * controls, size + 2 * controls, dtype=torch.float64)
        shared[surface, surface] = shape
        shared[rest[:, None], rest] = total[:, :size]
        shared[surface, rest] = other[..., :size].sum(dim=0)
        shared[rest, surface] = shared[surface, rest].T
        gradient = torch.zeros(size + 2 * controls, dtype=torch.float64)
        gradient[surface] = other[..., -1].sum(dim=0)
        gradient[rest] = total[:, -1]
        coupling = torch.zeros(len(dense), POSE_SIZE, size + 2 * controls, dtype=torch.float64)
        coupling[..., surface] = other[..., pose].transpose(-1, -2)
        coupling[..., rest] = dense[:, pose, :size]
        shape_places = [used + i - _AFFINE for i in indices if i >= _AFFINE]
        if len(shape_places) < 2 * controls:
            keep = torch.cat([rest[:used], torch.tensor(shape_places, dtype=torch.int64), rest[used:]])
            shared, gradient, coupling = shared[keep[:, None], keep], gradient[keep], coupling[..., keep]
        return ArrowSystem(float(cost), shared, gradient, dense[:, pose, pose], dense[:, pose, -1], coupling)

    def _chunks(self, columns: int = 0) -> Iterator[slice]:
        views, width = self.observations.seen.shape
        points = _CHUNK_POINTS * _CHUNK_COLUMNS // max(columns, _CHUNK_COLUMNS)
        step = max(1, points // max(width, 1))
        for first in range(0, views, step):
            yield slice(first, min(first + step, views))

    def _weighted_rows(
        self, state: CalibrationState, indices: list[int], chunk: slice, modes: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Robust cost of a chunk and its rows `sqrt(weight) * [J_shared, J_pose, residual]`, (v, 2 N, K + 7)."""
        camera_points = _to_camera(state, self.observations.points[chunk], modes, chunk)
        params = _params_of(state, chunk)
        if not indices and isinstance(self.model, SplinedStereographic):
            local = self.model.project_locally(params, camera_points)
            projection = local.pixels, local.by_points, local.pixels.new_empty(*local.pixels.shape, 0)
        else:
            pixels, by_point, by_params = self.model.project_with_jacobians(params, camera_points)
            projection = (
                pixels,
                by_point,
                by_params if len(indices) == by_params.shape[-1] else by_params[..., indices],
            )
        cost, _, rows = self._rows_of(state, chunk, modes, camera_points, projection)
        return cost, rows.flatten(1, 2)

    def _rows_of(
        self,
        state: CalibrationState,
        chunk: slice,
        modes: Tensor | None,
        camera_points: Tensor,
        projection: tuple[Tensor, Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Robust cost, roots of the corners' weights (v, N), and weighted rows (v, N, 2, C + modes + 7).

        `projection` holds the pixels, their derivatives by the points and by any C of the intrinsics.
        """
        pixels, by_point, by_intrinsics = projection
        seen = self.observations.seen[chunk]
        residuals = torch.where(seen[..., None], pixels - self.observations.pixels[chunk], torch.zeros_like(pixels))
        cost, weight = self.loss.evaluate((residuals * residuals).sum(dim=-1))
        root = torch.sqrt(weight * seen)
        used = by_intrinsics.shape[-1]
        size = used + len(self.deformation.modes)
        rows = torch.empty(*pixels.shape, size + POSE_SIZE + 1, dtype=torch.float64)
        rows[..., :used] = by_intrinsics
        if self.deformation and modes is not None:
            rows[..., used:size] = by_coefficients(by_point, state.rotation[chunk], modes, self.deformation)
        x, y, z = camera_points[..., None, :].unbind(dim=-1)
        gx, gy, gz = by_point.unbind(dim=-1)
        rows[..., size + 0] = y * gz - z * gy
        rows[..., size + 1] = z * gx - x * gz
        rows[..., size + 2] = x * gy - y * gx
        rows[..., size + 3 : size + 6] = by_point
        rows[..., -1] = residuals
        rows *= root[..., None, None]
        return 0.5 * cost.sum(), root, rows


def free_by_default(model: CameraModel) -> tuple[bool, ...]:
    """Which intrinsics of a model calibration estimates where nothing else is said, (P,)."""
    if isinstance(model, SplinedStereographic):
        return tuple(not held for held in model.held_by_default)
    return (True,) * model.param_count


def _by_affine(params: Tensor, pixels: Tensor) -> Tensor:
    """Derivatives of pixels (..., 2) by fx, fy, cx, cy, (..., 2, 4)."""
    m = (pixels - params[2:4]) / params[:2]
    return torch.cat([torch.diag_embed(m), torch.eye(2, dtype=m.dtype).expand(*m.shape, 2)], dim=-1)


def spread_indices(count: int, most: int) -> Tensor:
    """At most `most` of the indices 0 to `count - 1`, evenly spread, (K,)."""
    return torch.from_numpy(np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)))


def _params_of(state: CalibrationState, chunk: slice) -> Tensor:
    return state.params if state.params.dim() == 1 else state.params[chunk]


def _to_camera(state: CalibrationState, points: Tensor, modes: Tensor | None, chunk: slice) -> Tensor:
    if modes is not None:
        points = deformed(points, modes, state.warp if state.warp.dim() == 1 else state.warp[chunk])
    rotation, translation = state.rotation[chunk], state.translation[chunk]
    return points @ rotation.transpose(-1, -2) + translation[:, None, :]
