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
from dataclasses import dataclass, field, replace

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
class Asynchrony:
    """How the board moved from a frame's time to that of each view of a camera, and how well that is known.

    A view sees the board at `displacement @ cam_from_cam0 @ cam0_from_board`, up to a random motion of which only the
    covariance is known. That motion is not estimated: the residuals of a view are weighted by the inverse of the
    covariance that it adds to theirs (generalised least squares), so that a view of a fast board tells less about the
    rig and no less about its camera.
    """

    rotation: Tensor
    """Of the displacement, (V, 3, 3)."""
    translation: Tensor
    """(V, 3), board units."""
    velocity: Tensor
    """Derivative by the view's time of the perturbation of its pose, (V, 6), per second."""
    slack: Tensor
    """L of the random motion's covariance L @ L^T as a perturbation of the view's pose, (V, 6, S)."""
    offset_s: float
    """What was added to the camera's stamps for the displacements, seconds."""
    offset_std_s: float
    """How well that is known beforehand; 0: it is not estimated."""


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
    offsets_s: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    """What is added to each camera's stamps, (C,), seconds; empty where frames are instants."""

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
    offsets: tuple[slice, ...]
    """Offset of each camera's clock; empty where it is not estimated."""

    @property
    def size(self) -> int:
        """Number of shared unknowns K."""
        return int(self.offsets[-1].stop)

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
    asynchrony: tuple[Asynchrony, ...] = ()
    """Of each camera; empty: frames are instants."""
    unit_px: float = 1.0
    """Standard deviation of a weighted residual, pixels: the unit in which slack and clocks compare with corners."""

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
        offsets = tuple(
            take(1 if self.asynchrony and self.asynchrony[c].offset_std_s > 0.0 else 0)
            for c in range(len(self.cameras))
        )
        return Layout(intrinsics, warp, poses, offsets)

    def camera_state(self, state: RigState, camera: int) -> CalibrationState:
        """One camera's own state: its intrinsics, and its pose of the board at the time of each of its views."""
        own = state.of_camera(camera, self.cameras[camera].frames)
        if not self.asynchrony:
            return own
        rotation, translation = self._displacement(state, camera)
        shift = (rotation @ own.translation[..., None])[..., 0] + translation
        return replace(own, rotation=rotation @ own.rotation, translation=shift)

    def _displacement(self, state: RigState, camera: int) -> tuple[Tensor, Tensor]:
        """How the board moved from the frame's time to each view's, (V, 3, 3) and (V, 3)."""
        moved = self.asynchrony[camera]
        late = float(state.offsets_s[camera]) - moved.offset_s
        return _moved(moved.rotation, moved.translation, late * moved.velocity)

    def prior(self, camera: int) -> IntrinsicsPrior | None:
        """What is known of a camera's intrinsics beforehand; None where they do not move, or nothing is."""
        if not self.priors or self.cameras[camera].held or not self.with_intrinsics:
            return None
        return self.priors[camera]

    def residuals(self, state: RigState) -> tuple[Tensor, ...]:
        """Projected minus observed of each camera, (V, N, 2), pixels; zero where nothing was seen."""
        return tuple(self.camera_problem(c).residuals(self.camera_state(state, c)) for c in range(len(self.cameras)))

    def inside_domain(self, state: RigState) -> tuple[bool, ...]:
        """Of each camera, whether every corner lies where its model is one-to-one."""
        return tuple(
            bool(self.camera_problem(c).inside_domain(self.camera_state(state, c)).all())
            for c in range(len(self.cameras))
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
            clock = layout.offsets[c]
            if clock.stop > clock.start:
                known = (self.unit_px / self.asynchrony[c].offset_std_s) ** 2
                late = float(state.offsets_s[c]) - self.asynchrony[c].offset_s
                cost += 0.5 * known * late**2
                shared[clock, clock] += known
                gradient[clock] += known * late
            if len(views.frames) == 0:
                continue
            own = self.view_system(state, c)
            cost += own.cost
            at = layout.of_camera(c)
            shared[at[:, None], at] += own.shared
            gradient[at] += own.shared_gradient
            carry, moves, by_moves = self.lever(state, c)
            carried = carry.mT @ own.blocks
            blocks.index_add_(0, views.frames, carried @ carry)
            block_gradients.index_add_(0, views.frames, (own.block_gradients[:, None] @ carry)[:, 0])
            mixed = torch.zeros(len(own.blocks), POSE_SIZE, size, dtype=torch.float64)
            mixed[..., at] = carry.mT @ own.coupling
            if len(moves):
                turned = by_moves.mT @ own.blocks
                shared[moves[:, None], moves] += (turned @ by_moves).sum(dim=0)
                across = (by_moves.mT @ own.coupling).sum(dim=0)
                shared[moves[:, None], at] += across
                shared[at[:, None], moves] += across.T
                gradient[moves] += (own.block_gradients[:, None] @ by_moves).sum(dim=0)[0]
                mixed[..., moves] = carried @ by_moves
            coupling.index_add_(0, views.frames, mixed)
        return ArrowSystem(cost, shared, gradient, blocks, block_gradients, coupling)

    def view_system(self, state: RigState, camera: int) -> ArrowSystem:
        """One camera's own normal equations, a block per view, weighted by what is known of each view's time.

        With M = L^T B L + unit^2, where B is a view's block, the inverse of the covariance of its residuals is
        I - J L M^-1 L^T J^T up to a factor (Woodbury), so that nothing but the blocks is needed.
        """
        views = self.cameras[camera]
        own = self.camera_problem(camera).linearize(self.camera_state(state, camera))
        weight = views.weight**2
        own = ArrowSystem(
            weight * own.cost,
            weight * own.shared,
            weight * own.shared_gradient,
            weight * own.blocks,
            weight * own.block_gradients,
            weight * own.coupling,
        )
        if not self.asynchrony:
            return own
        slack = self.asynchrony[camera].slack
        taken, middle = self.slack_normals(own, slack)
        by_block = torch.cholesky_solve(taken.mT, middle)
        by_gradient = slack.mT @ own.block_gradients[..., None]
        solved_gradient = torch.cholesky_solve(by_gradient, middle)
        by_coupling = slack.mT @ own.coupling
        solved_coupling = torch.cholesky_solve(by_coupling, middle)
        return ArrowSystem(
            own.cost - 0.5 * float((by_gradient * solved_gradient).sum()),
            own.shared - (by_coupling.mT @ solved_coupling).sum(dim=0),
            own.shared_gradient - (by_coupling.mT @ solved_gradient).sum(dim=0)[:, 0],
            own.blocks - taken @ by_block,
            own.block_gradients - (taken @ solved_gradient)[..., 0],
            own.coupling - taken @ solved_coupling,
        )

    def slack_normals(self, own: ArrowSystem, slack: Tensor) -> tuple[Tensor, Tensor]:
        """B L, (V, 6, S), and the Cholesky factor of L^T B L + unit^2, (V, S, S), of a camera's weighted blocks B."""
        taken = own.blocks @ slack
        inner = slack.mT @ taken
        identity = self.unit_px**2 * torch.eye(inner.shape[-1], dtype=torch.float64)
        return taken, torch.linalg.cholesky(inner + identity)

    def lever(self, state: RigState, camera: int) -> tuple[Tensor, Tensor, Tensor]:
        """How unknowns besides a camera's intrinsics perturb the poses of its views.

        Returns:
            By the frames' poses, (V or 1, 6, 6); positions of the shared unknowns that matter, its pose and its clock's
            offset, (m,); and by those, (V or 1, 6, m).
        """
        layout = self.layout()
        carry = _view_from_frame(state.rotation[camera], state.translation[camera])[None]
        by_pose = torch.eye(POSE_SIZE, dtype=torch.float64)[None]
        pose, offset = layout.poses[camera], layout.offsets[camera]
        moves = torch.tensor([*range(pose.start, pose.stop), *range(offset.start, offset.stop)], dtype=torch.int64)
        parts = [by_pose[..., : pose.stop - pose.start]]
        if self.asynchrony:
            by_pose = _view_from_frame(*self._displacement(state, camera))
            carry = by_pose @ carry
            parts = [by_pose[..., : pose.stop - pose.start]]
            if offset.stop > offset.start:
                parts.append(self.asynchrony[camera].velocity[..., None])
        return carry, moves, torch.cat(parts, dim=-1)

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
            camera_steps[1:] = shared_step[layout.warp.stop : layout.poses[-1].stop].reshape(-1, POSE_SIZE)
        rotation, translation = _moved(state.rotation, state.translation, camera_steps)
        frame_rotation, frame_translation = _moved(state.frame_rotation, state.frame_translation, block_steps)
        warp = self.deformation.moved(state.warp, shared_step[layout.warp])
        offsets = state.offsets_s.clone()
        for c, clock in enumerate(layout.offsets):
            if clock.stop > clock.start:
                offsets[c] += float(shared_step[clock])
        return RigState(tuple(params), warp, rotation, translation, frame_rotation, frame_translation, offsets)


def perturbed(state: CalibrationState, steps: Tensor) -> CalibrationState:
    """A camera's state with the poses of its views perturbed by `exp(rotation) pose + translation`, steps (V, 6)."""
    rotation, translation = _moved(state.rotation, state.translation, steps)
    return replace(state, rotation=rotation, translation=translation)


def frames_of(cameras: Sequence[CameraViews]) -> Tensor:
    """The frames in which any camera has a view, ascending, (K,)."""
    return torch.from_numpy(np.unique(np.concatenate([views.frames.numpy() for views in cameras])))


def renumbered(cameras: Sequence[CameraViews], frames: Tensor) -> tuple[CameraViews, ...]:
    """The same views with their frames counted as positions in `frames` (K,), ascending, which holds them all."""
    return tuple(replace(views, frames=torch.searchsorted(frames, views.frames)) for views in cameras)


def _view_from_frame(rotation: Tensor, translation: Tensor) -> Tensor:
    """How a perturbation of cam0_from_board perturbs cam_from_board, (..., 6, 6), of cam_from_cam0 (..., 3, 3).

    The point x = R y + t of the camera moves by R (w × y + d) = (R w) × x + R d + t × (R w).
    """
    carry = torch.zeros(*rotation.shape[:-2], POSE_SIZE, POSE_SIZE, dtype=torch.float64)
    carry[..., :3, :3] = rotation
    carry[..., 3:, 3:] = rotation
    carry[..., 3:, :3] = skew(translation) @ rotation
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
