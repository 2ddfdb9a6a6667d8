"""The joint problem of a rig: several cameras, one board, a pose per frame.

    cam_from_board = cam_from_cam0 @ cam0_from_board

Shared unknowns are the free intrinsics of every camera, the board's deformation and the pose of every camera but the
first; a block is the pose of the board in one frame, in the first camera's frame. Poses are perturbed on the left as
everywhere: `pose <- exp(rotation) pose + translation`.

Each camera's own problem (:class:`CalibrationProblem`) has a block per view. Moving the camera moves all of its views
alike, and moving the board in the first camera's frame moves a view by a linear map that is the same for all views of
the camera. So the joint normal equations are sums of each camera's own, and nothing of a lens is differentiated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cv3d.calibration.deformation import UNDEFORMED, Deformation
from cv3d.calibration.problem import POSE_SIZE, CalibrationProblem, CalibrationState, Observations
from cv3d.geometry.arrow import ArrowSystem
from cv3d.geometry.cameras.base import CameraModel
from cv3d.geometry.cameras.fit import within_bounds
from cv3d.geometry.robust import SQUARED, Loss
from cv3d.geometry.transforms import SO3
from cv3d.geometry.transforms.algebra import skew


@dataclass(frozen=True)
class CameraViews:
    """What one camera saw."""

    model: CameraModel
    observations: Observations
    """Of its V views."""
    frames: Tensor
    """Which frame each view belongs to, (V,), int64; none twice."""
    size: int
    """The larger side of the image, pixels."""
    held: bool = False
    """Whether its intrinsics are given."""
    weight: float = 1.0
    """What its residuals are multiplied by, so that all cameras' have one standard deviation."""

    def select(self, views: Tensor) -> CameraViews:
        """The given views only, (K,) indices or (V,) bool."""
        return replace(self, observations=self.observations.select(views), frames=self.frames[views])


@dataclass(frozen=True)
class IntrinsicsPrior:
    """What is known of a camera's free intrinsics besides what it saw in common frames."""

    mean: Tensor
    """(K,)."""
    information: Tensor
    """Inverse covariance in units of one over the variance of a weighted residual, (K, K)."""


@dataclass(frozen=True)
class RigState:
    """All unknowns of C cameras and F frames. float64 on the CPU."""

    params: tuple[Tensor, ...]
    """Intrinsics of each camera, (P,)."""
    warp: Tensor
    """Coefficients of the board's modes of deformation, (4,), as of :class:`CalibrationState`: one board for all."""
    rotation: Tensor
    """Rotation of cam_from_cam0, (C, 3, 3); the first is the identity."""
    translation: Tensor
    """Translation of cam_from_cam0, (C, 3), board units; the first is zero."""
    frame_rotation: Tensor
    """Rotation of cam0_from_board, (F, 3, 3)."""
    frame_translation: Tensor
    """Translation of cam0_from_board, (F, 3), board units."""

    def of_camera(self, camera: int, frames: Tensor) -> CalibrationState:
        """One camera's own state: its intrinsics, and its pose of the board in `frames` (V,)."""
        turn = self.rotation[camera]
        return CalibrationState(
            self.params[camera],
            self.warp,
            turn @ self.frame_rotation[frames],
            self.frame_translation[frames] @ turn.T + self.translation[camera],
        )

    def cam_from_cam0(self) -> Tensor:
        """Poses of the cameras, (C, 4, 4)."""
        return _matrices(self.rotation, self.translation)

    def cam0_from_board(self) -> Tensor:
        """Poses of the board, (F, 4, 4)."""
        return _matrices(self.frame_rotation, self.frame_translation)

    def select_frames(self, frames: Tensor) -> RigState:
        """The same with the given frames only, (K,) indices."""
        return replace(
            self, frame_rotation=self.frame_rotation[frames], frame_translation=self.frame_translation[frames]
        )


@dataclass(frozen=True)
class Layout:
    """Where each unknown stands among the shared ones."""

    intrinsics: tuple[slice, ...]
    """Free intrinsics of each camera."""
    warp: slice
    """Those of the board's modes of deformation that are estimated."""
    poses: tuple[slice, ...]
    """Pose of each camera; empty for the first, and where poses do not move."""

    @property
    def size(self) -> int:
        """Number of shared unknowns K."""
        return int(self.poses[-1].stop)

    def of_camera(self, camera: int) -> Tensor:
        """Positions of what moves one camera's residuals besides its views' poses: intrinsics, warp, (k,)."""
        own = self.intrinsics[camera]
        return torch.tensor([*range(own.start, own.stop), *range(self.warp.start, self.warp.stop)], dtype=torch.int64)


@dataclass(frozen=True)
class RigProblem:
    """Implements :class:`cv3d.geometry.levenberg.ArrowProblem` over :class:`RigState`."""

    cameras: tuple[CameraViews, ...]
    losses: tuple[Loss, ...] = ()
    """Robust loss of each camera, in its own pixels; empty: the squared one."""
    deformation: Deformation = UNDEFORMED
    """Which of the board's modes of deformation are estimated."""
    with_intrinsics: bool = True
    """Whether intrinsics move at all, apart from those of held cameras, which never do."""
    with_poses: bool = True
    """Whether the cameras' poses move."""
    priors: tuple[IntrinsicsPrior | None, ...] = ()
    """Of each camera; empty: none has one."""

    def camera_problem(self, camera: int) -> CalibrationProblem:
        """The problem of one camera with a pose per view."""
        views = self.cameras[camera]
        held = views.held or not self.with_intrinsics
        free = (False,) * views.model.param_count if held else None
        loss = self.losses[camera] if self.losses else SQUARED
        return CalibrationProblem(views.model, views.observations, loss, free, self.deformation)

    def layout(self) -> Layout:
        """Where each shared unknown stands: intrinsics camera by camera, warp, poses."""
        place = 0

        def take(count: int) -> slice:
            nonlocal place
            place += count
            return slice(place - count, place)

        intrinsics = tuple(take(len(self.camera_problem(c).free_indices())) for c in range(len(self.cameras)))
        warp = take(len(self.deformation.modes))
        poses = tuple(take(POSE_SIZE if self.with_poses and c > 0 else 0) for c in range(len(self.cameras)))
        return Layout(intrinsics, warp, poses)

    def prior(self, camera: int) -> IntrinsicsPrior | None:
        """What is known of a camera's intrinsics beforehand; None where they do not move, or nothing is."""
        if not self.priors or self.cameras[camera].held or not self.with_intrinsics:
            return None
        return self.priors[camera]

    def residuals(self, state: RigState) -> tuple[Tensor, ...]:
        """Projected minus observed of each camera, (V, N, 2), pixels; zero where nothing was seen."""
        return tuple(
            self.camera_problem(c).residuals(state.of_camera(c, views.frames)) for c, views in enumerate(self.cameras)
        )

    def inside_domain(self, state: RigState) -> tuple[bool, ...]:
        """Of each camera, whether every corner lies where its model is one-to-one."""
        return tuple(
            bool(self.camera_problem(c).inside_domain(state.of_camera(c, views.frames)).all())
            for c, views in enumerate(self.cameras)
        )

    def linearize(self, state: RigState) -> ArrowSystem:
        """Normal equations at `state`."""
        layout = self.layout()
        frames, size = len(state.frame_rotation), layout.size
        cost = 0.0
        shared = torch.zeros(size, size, dtype=torch.float64)
        gradient = torch.zeros(size, dtype=torch.float64)
        blocks = torch.zeros(frames, POSE_SIZE, POSE_SIZE, dtype=torch.float64)
        block_gradients = torch.zeros(frames, POSE_SIZE, dtype=torch.float64)
        coupling = torch.zeros(frames, POSE_SIZE, size, dtype=torch.float64)
        for c, views in enumerate(self.cameras):
            prior = self.prior(c)
            if prior is not None:
                own_slice = layout.intrinsics[c]
                away = state.params[c][self.camera_problem(c).free_indices()] - prior.mean
                cost += 0.5 * float(away @ prior.information @ away)
                shared[own_slice, own_slice] += prior.information
                gradient[own_slice] += prior.information @ away
            if len(views.frames) == 0:
                continue
            own = self.camera_problem(c).linearize(state.of_camera(c, views.frames))
            weight = views.weight**2
            cost += weight * own.cost
            at, pose = layout.of_camera(c), layout.poses[c]
            shared[at[:, None], at] += weight * own.shared
            gradient[at] += weight * own.shared_gradient
            carry = _view_from_frame(state.rotation[c], state.translation[c])
            carried = weight * carry.T @ own.blocks
            blocks.index_add_(0, views.frames, carried @ carry)
            block_gradients.index_add_(0, views.frames, weight * own.block_gradients @ carry)
            mixed = torch.zeros(len(own.blocks), POSE_SIZE, size, dtype=torch.float64)
            mixed[..., at] = weight * carry.T @ own.coupling
            if c > 0 and self.with_poses:
                shared[pose, pose] += weight * own.blocks.sum(dim=0)
                across = weight * own.coupling.sum(dim=0)
                shared[pose, at] += across
                shared[at, pose] += across.T
                gradient[pose] += weight * own.block_gradients.sum(dim=0)
                mixed[..., pose] = carried
            coupling.index_add_(0, views.frames, mixed)
        return ArrowSystem(cost, shared, gradient, blocks, block_gradients, coupling)

    def retract(self, state: RigState, shared_step: Tensor, block_steps: Tensor) -> RigState:
        """Move the state; shape parameters stay inside their models' bounds."""
        layout = self.layout()
        params = []
        for c, views in enumerate(self.cameras):
            indices = self.camera_problem(c).free_indices()
            values = state.params[c]
            if indices:
                values = values.clone()
                values[indices] = values[indices] + shared_step[layout.intrinsics[c]]
                values = within_bounds(views.model, values)
            params.append(values)
        camera_steps = torch.zeros(len(self.cameras), POSE_SIZE, dtype=torch.float64)
        if self.with_poses:
            camera_steps[1:] = shared_step[layout.warp.stop :].reshape(-1, POSE_SIZE)
        rotation, translation = _moved(state.rotation, state.translation, camera_steps)
        frame_rotation, frame_translation = _moved(state.frame_rotation, state.frame_translation, block_steps)
        warp = self.deformation.moved(state.warp, shared_step[layout.warp])
        return RigState(tuple(params), warp, rotation, translation, frame_rotation, frame_translation)


def frames_of(cameras: Sequence[CameraViews]) -> Tensor:
    """The frames in which any camera has a view, ascending, (K,)."""
    return torch.from_numpy(np.unique(np.concatenate([views.frames.numpy() for views in cameras])))


def renumbered(cameras: Sequence[CameraViews], frames: Tensor) -> tuple[CameraViews, ...]:
    """The same views with their frames counted as positions in `frames` (K,), ascending, which holds them all."""
    return tuple(replace(views, frames=torch.searchsorted(frames, views.frames)) for views in cameras)


def _view_from_frame(rotation: Tensor, translation: Tensor) -> Tensor:
    """How a perturbation of cam0_from_board perturbs cam_from_board, (6, 6).

    The point x = R y + t of the camera moves by R (w × y + d) = (R w) × x + R d + t × (R w).
    """
    carry = torch.zeros(POSE_SIZE, POSE_SIZE, dtype=torch.float64)
    carry[:3, :3] = rotation
    carry[3:, 3:] = rotation
    carry[3:, :3] = skew(translation) @ rotation
    return carry


def _moved(rotation: Tensor, translation: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    turn = SO3.exp(steps[..., :3]).as_matrix()
    return turn @ rotation, (turn @ translation[..., None])[..., 0] + steps[..., 3:]


def _matrices(rotation: Tensor, translation: Tensor) -> Tensor:
    matrix = torch.zeros(*rotation.shape[:-2], 4, 4, dtype=torch.float64)
    matrix[..., :3, :3] = rotation
    matrix[..., :3, 3] = translation
    matrix[..., 3, 3] = 1.0
    return matrix
