"""The joint solution of a rig whose frames are not instants: the board moved between the cameras' exposures.

Each camera's own pictures tell how the board moved before it (:mod:`cv3d.calibration.rig.pose_track`), so every view
is carried to its frame's time. What that leaves is random: a stamp is off, which moves the board along its own motion,
and the motion between pictures is not quite what their interpolation says. How large both are is found from the
residuals in turn with the solution, as the variance components of a Student distribution, by expectation and
maximisation (Lange, Little and Taylor 1989). So slow moments decide where the cameras stand, and all views tell about
their lenses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.calibration.cleaning import judge_residuals
from cv3d.calibration.deformation import Deformation
from cv3d.calibration.rig.joint import JointFit, Refused, Standing
from cv3d.calibration.rig.pose_track import PoseTrack
from cv3d.calibration.rig.problem import Asynchrony, RigProblem, frames_of, perturbed, renumbered
from cv3d.calibration.rig.solving import FINAL, QUICK, RigSolution, solve_rig
from cv3d.errors import EstimationError
from cv3d.geometry.arrow import ArrowSystem
from cv3d.geometry.levenberg import LmOptions
from cv3d.geometry.transforms.algebra import skew

_CLOCK_STD_S = 0.1
"""How far a clock may be off from what names, stamps or the board's turning say."""
_JITTER_S = 5e-3
"""Standard deviation of stamps to begin with."""
_LEAST_TURN = 1e-5
"""Radians by which any interpolated attitude may be off."""
_LEAST_SHIFT = 1e-5
"""The same of positions, in units of the distance."""
_TAILS = 4.0
"""Degrees of freedom of the Student distribution."""
_ROUND = LmOptions(max_iterations=12, relative_decrease=1e-4)
"""Solutions between which the components change need not be final."""
_ROUNDS = 10
_JUDGED_AFTER = (3, 6)
"""Rounds after which corners are judged."""
_SETTLED = 0.02
"""Relative change of both components that ends the rounds."""
_TOO_FAST = 7e-4
"""Unknown motion, in units of the image's larger side, beyond which a view tells about its own camera only."""
_LEAST_COMMON = 8
"""Views in common frames that each camera keeps, however fast the board was."""


@dataclass(frozen=True)
class Timing:
    """What a joint solution says of the times of the pictures."""

    offsets_s: NDArray[np.float64]
    """What is added to each camera's times besides what was known, (C,), seconds."""
    offsets_std_s: NDArray[np.float64]
    """(C,), seconds."""
    jitter_s: float
    """Standard deviation by which stamps scatter, seconds."""
    common: int
    """Views in frames that several cameras saw."""
    parted: int
    """How many of them tell about their own camera only, as the board moved too fast."""


@dataclass(frozen=True)
class Clocked:
    """Views with times."""

    standing: Standing
    tracks: tuple[PoseTrack, ...]
    """The board before each camera, at the times of its views, on the first camera's clock as far as it is known."""
    noise_px: tuple[float, ...]
    """Standard deviation of a coordinate of a corner of each camera, pixels."""

    def frame_times(self, offsets_s: Tensor) -> NDArray[np.float64]:
        """The mean time of each frame's views, by the frame's number, seconds; 0 for a number without views."""
        count = 1 + int(self.standing.frames[-1])
        total, views = np.zeros(count), np.zeros(count)
        for c, (camera, track) in enumerate(zip(self.standing.cameras, self.tracks, strict=True)):
            np.add.at(total, camera.frames.numpy(), track.times + float(offsets_s[c]))
            np.add.at(views, camera.frames.numpy(), 1.0)
        return np.asarray(total / np.maximum(views, 1.0), np.float64)


@dataclass(frozen=True)
class _Components:
    """The random part of the board's motion between the views of a frame."""

    jitter_s: float
    """Scale of the error of a stamp, seconds."""
    roughness: float
    """By what errors of interpolation exceed what the divided differences say."""
    scales: tuple[Tensor, ...]
    """By how much more or less each view of each camera is off, in stamp and in interpolation, (V, 2)."""


def fit_in_motion(clocked: Clocked, deformation: Deformation, jitter_s: float = _JITTER_S) -> tuple[JointFit, Timing]:
    """Solve a rig whose board moved between the exposures of a frame.

    Args:
        clocked: the views with their times, and a state near the solution.
        deformation: which of the board's modes of deformation are estimated.
        jitter_s: standard deviation of stamps to begin with, seconds.

    Returns:
        The solution, by least squares under the covariance of the motion; and what it says of times.
    """
    return _Rounds(clocked, deformation).run(jitter_s)


class _Rounds:
    """Solution and variance components in turn."""

    def __init__(self, clocked: Clocked, deformation: Deformation) -> None:
        self.deformation = deformation
        self.tracks = clocked.tracks
        self.unit_px = float(np.median(clocked.noise_px))
        cameras = tuple(
            replace(views, weight=self.unit_px / noise)
            for views, noise in zip(clocked.standing.cameras, clocked.noise_px, strict=True)
        )
        state = replace(clocked.standing.state, offsets_s=torch.zeros(len(cameras), dtype=torch.float64))
        self.clocked = replace(clocked, standing=replace(clocked.standing, cameras=cameras, state=state))
        self.frame_times = clocked.frame_times(state.offsets_s)
        self.outliers = [torch.zeros_like(views.observations.seen) for views in cameras]
        self.refused: list[Refused] = []

    def run(self, jitter_s: float) -> tuple[JointFit, Timing]:
        """All rounds, then the final solution without the views of a board that was too fast."""
        ones = tuple(torch.ones(len(v.frames), 2, dtype=torch.float64) for v in self.clocked.standing.cameras)
        components = _Components(jitter_s, 1.0, ones)
        for number in range(_ROUNDS):
            solution = self._solve(components, _ROUND)
            if number in _JUDGED_AFTER:
                self._judge(solution)
            old, components = components, self._improved(solution, components)
            change = max(
                abs(math.log(components.jitter_s / old.jitter_s)), abs(math.log(components.roughness / old.roughness))
            )
            if number > _JUDGED_AFTER[-1] and change < _SETTLED:
                break
        solution = self._solve(components, QUICK)
        common = sum(int(shared.sum()) for shared in self.clocked.standing.shares())
        parted = self._part_fast(solution)
        solution = self._solve(components, FINAL)
        fit = JointFit(self.clocked.standing, solution, tuple(self.refused))
        return fit, Timing(*_offsets(solution), components.jitter_s, common, parted)

    def _solve(self, components: _Components, options: LmOptions) -> RigSolution:
        standing = self.clocked.standing
        cameras = tuple(
            replace(views, observations=views.observations.without(wrong))
            for views, wrong in zip(standing.cameras, self.outliers, strict=True)
        )
        problem = RigProblem(
            renumbered(cameras, standing.frames),
            (),
            self.deformation,
            asynchrony=tuple(self._asynchrony(c, components) for c in range(len(cameras))),
            unit_px=self.unit_px,
        )
        solution = solve_rig(problem, standing.state, options)
        self.clocked = replace(self.clocked, standing=replace(standing, state=solution.state))
        return solution

    def _asynchrony(self, camera: int, components: _Components) -> Asynchrony:
        """The displacements of a camera's views, and what is random about them."""
        standing = self.clocked.standing
        offset = float(standing.state.offsets_s[camera])
        carry = self.tracks[camera].carry(self.frame_times[standing.cameras[camera].frames.numpy()] - offset)
        distance = np.linalg.norm(carry.middle, axis=1)
        turn = torch.from_numpy(np.maximum(components.roughness * carry.turn_error, _LEAST_TURN))[:, None, None]
        shift = np.maximum(components.roughness * carry.shift_error, _LEAST_SHIFT * distance)
        velocity, middle = torch.from_numpy(carry.velocity), torch.from_numpy(carry.middle)
        identity = torch.eye(3, dtype=torch.float64)
        slack = torch.zeros(len(distance), 6, 7, dtype=torch.float64)
        slack[..., 0] = components.jitter_s * velocity
        # A turn about the board's middle m moves the point x by w × (x - m) = w × x + m × w.
        slack[:, :3, 1:4] = turn * identity
        slack[:, 3:, 1:4] = turn * skew(middle)
        slack[:, 3:, 4:] = torch.from_numpy(shift)[:, None, None] * identity
        scales = components.scales[camera]
        slack *= torch.cat([scales[:, :1], scales[:, 1:].expand(-1, 6)], dim=1)[:, None]
        return Asynchrony(
            torch.from_numpy(carry.rotation),
            torch.from_numpy(carry.translation),
            velocity,
            slack,
            offset,
            _CLOCK_STD_S if camera > 0 else 0.0,
        )

    def _improved(self, solution: RigSolution, components: _Components) -> _Components:
        """The variance components that the residuals speak for."""
        block_inverse = torch.cholesky_inverse(torch.linalg.cholesky(solution.system.blocks))
        late, rough, scales = [], [], []
        for c, shared in enumerate(self.clocked.standing.shares()):
            square = random_motion(solution, c, block_inverse).square
            both = torch.stack([square[:, 0], square[:, 1:].sum(dim=-1)], dim=1)
            late.append(both[shared, 0])
            rough.append(both[shared, 1] / 6.0)
            own = components.scales[c]
            size = torch.tensor([1.0, 6.0], dtype=torch.float64)
            scales.append(torch.where(shared[:, None], torch.sqrt((_TAILS + both * own**2) / (_TAILS + size)), own))
        return _Components(
            components.jitter_s * math.sqrt(float(torch.cat(late).mean())),
            components.roughness * math.sqrt(float(torch.cat(rough).mean())),
            tuple(scales),
        )

    def _judge(self, solution: RigSolution) -> None:
        """Mark the corners that do not fit, each view moved to where it fits best."""
        block_inverse = torch.cholesky_inverse(torch.linalg.cholesky(solution.system.blocks))
        standing = self.clocked.standing
        for c, views in enumerate(standing.cameras):
            moved = random_motion(solution, c, block_inverse).mean
            step = (solution.problem.asynchrony[c].slack @ moved[..., None])[..., 0]
            whole = replace(solution.problem, cameras=renumbered(standing.cameras, standing.frames))
            state = perturbed(whole.camera_state(solution.state, c), step)
            residuals = whole.camera_problem(c).residuals(state)
            self.outliers[c] = judge_residuals(views.observations, residuals, views.size).outliers

    def _part_fast(self, solution: RigSolution) -> int:
        """Give a frame of its own to every view in which the board's motion moves the corners by too much.

        Returns:
            How many there are.
        """
        standing, parted = self.clocked.standing, 0
        cameras, frames, state = [], standing.frames.tolist(), standing.state
        rotation, translation, times = [state.frame_rotation], [state.frame_translation], [self.frame_times]
        for c, (views, shared) in enumerate(zip(standing.cameras, standing.shares(), strict=True)):
            unknown = unknown_motion_px(solution, c)
            order = torch.argsort(torch.where(shared, unknown, torch.inf))
            fast = shared & (unknown > _TOO_FAST * views.size)
            fast[order[:_LEAST_COMMON]] = False
            index = torch.nonzero(fast)[:, 0]
            numbers = torch.arange(len(index)) + frames[-1] + 1
            own = solution.problem.camera_state(state, c)
            turn = state.rotation[c].T
            rotation.append(turn @ own.rotation[index])
            translation.append((own.translation[index] - state.translation[c]) @ turn.T)
            times.append(self.tracks[c].times[index.numpy()] + float(state.offsets_s[c]))
            renamed = views.frames.clone()
            renamed[index] = numbers
            cameras.append(replace(views, frames=renamed))
            frames += numbers.tolist()
            parted += len(index)
        every = torch.tensor(frames)
        full = replace(state, frame_rotation=torch.cat(rotation), frame_translation=torch.cat(translation))
        present = frames_of(cameras)
        state = full.select_frames(torch.searchsorted(every, present))
        self.frame_times = np.concatenate(times) if parted else self.frame_times
        self.clocked = replace(
            self.clocked, standing=replace(standing, cameras=tuple(cameras), frames=present, state=state)
        )
        return parted


@dataclass(frozen=True)
class RandomMotion:
    """What the residuals say of the random motion of each of a camera's views."""

    mean: Tensor
    """(V, S), in standard deviations."""
    square: Tensor
    """Expected squares, (V, S)."""


def random_motion(solution: RigSolution, camera: int, block_inverse: Tensor) -> RandomMotion:
    """The random motions of a camera's views, given what all views say of the frames' poses.

    Args:
        solution: of a problem with asynchrony.
        camera: which camera.
        block_inverse: inverses of the frames' blocks, (F, 6, 6).
    """
    problem, state = solution.problem, solution.state
    slack, views = problem.asynchrony[camera].slack, problem.cameras[camera]
    own = _weighted_views(solution, camera)
    _, factor = problem.slack_normals(own, slack)
    mean = -torch.cholesky_solve(slack.mT @ own.block_gradients[..., None], factor)[..., 0]
    carry = problem.lever(state, camera)[0]
    by_frame = torch.cholesky_solve(slack.mT @ own.blocks @ carry, factor)
    spread = torch.cholesky_inverse(factor) + by_frame @ block_inverse[views.frames] @ by_frame.mT
    variance = problem.unit_px**2 * torch.diagonal(spread, dim1=-2, dim2=-1)
    return RandomMotion(mean, mean**2 + variance)


def unknown_motion_px(solution: RigSolution, camera: int) -> Tensor:
    """By how much the random motion moves the corners of each of a camera's views, (V,), root mean square, pixels."""
    slack, views = solution.problem.asynchrony[camera].slack, solution.problem.cameras[camera]
    squares = torch.diagonal(slack.mT @ _weighted_views(solution, camera).blocks @ slack, dim1=-2, dim2=-1).sum(dim=-1)
    return torch.sqrt(squares / torch.clamp(views.observations.seen.sum(dim=-1), min=1)) / views.weight


def _weighted_views(solution: RigSolution, camera: int) -> ArrowSystem:
    """A camera's own normal equations, its poses known exactly."""
    problem = solution.problem
    own = problem.camera_problem(camera).linearize(problem.camera_state(solution.state, camera))
    weight = problem.cameras[camera].weight ** 2
    return replace(own, blocks=weight * own.blocks, block_gradients=weight * own.block_gradients)


def _offsets(solution: RigSolution) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is added to each camera's times, and its standard deviation, (C,) each, seconds."""
    deviations = np.zeros(len(solution.cameras))
    try:
        variances = torch.diagonal(solution.system.covariance().shared) * solution.unit_variance
    except EstimationError:
        variances = torch.full((solution.system.shared.shape[0],), math.nan, dtype=torch.float64)
    for c, place in enumerate(solution.problem.layout().offsets):
        if place.stop > place.start:
            deviations[c] = math.sqrt(max(float(variances[place]), 0.0))
    return solution.state.offsets_s.numpy(), deviations
