"""From a first state of a rig to its solution: what contradicts the rig is taken out on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cv3d.calibration.cleaning import judge_residuals
from cv3d.calibration.deformation import UNDEFORMED, Deformation
from cv3d.calibration.rig.problem import (
    Asynchrony,
    CameraViews,
    IntrinsicsPrior,
    RigProblem,
    RigState,
    frames_of,
    renumbered,
)
from cv3d.calibration.rig.solving import FINAL, QUICK, RigSolution, solve_rig
from cv3d.geometry.robust import Loss, LossKind

_ROUGH = 5e-3
"""Residual at which a corner counts as doubtful at first, in units of the image's larger side."""
_CONTRADICTING = 1e-2
"""Median residual below which no view is said to contradict others, in units of the image's larger side."""
_CONTRADICTING_RATIO = 8.0
"""The same as a multiple of what is typical of the camera."""
_CONTRADICT = (
    "it and the other camera's picture of this moment contradict each other: one of them is of another moment or of "
    "another camera, or something moved"
)
_SIGMAS = 3.0
_LEAST_SCALE = 0.2
_RAYLEIGH_MEDIAN = 1.1774
"""Median length of a 2-D Gaussian vector of unit standard deviation per coordinate."""


@dataclass(frozen=True)
class Standing:
    """The views that are still believed, and the state they are explained by."""

    cameras: tuple[CameraViews, ...]
    """Their frames counted over the whole set."""
    frames: Tensor
    """The frames that still have views, ascending, (F,): the state's blocks."""
    state: RigState
    pictures: tuple[Tensor, ...]
    """Of each camera which picture each view is, (V,)."""

    def keep(self, masks: Sequence[Tensor]) -> Standing:
        """The same with some views only; a mask (V,) bool for each camera."""
        cameras = tuple(views.select(mask) for views, mask in zip(self.cameras, masks, strict=True))
        pictures = tuple(own[mask] for own, mask in zip(self.pictures, masks, strict=True))
        frames = frames_of(cameras)
        return Standing(cameras, frames, self.state.select_frames(torch.searchsorted(self.frames, frames)), pictures)

    def solved(
        self,
        losses: tuple[Loss, ...] = (),
        deformation: Deformation = UNDEFORMED,
        with_intrinsics: bool = True,
        outliers: Sequence[Tensor] | None = None,
        priors: tuple[IntrinsicsPrior | None, ...] = (),
    ) -> tuple[Standing, RigSolution]:
        """Move the state to the minimum, leaving out `outliers` (V, N) of each camera."""
        cameras = self.cameras
        if outliers is not None:
            cameras = tuple(
                replace(views, observations=views.observations.without(wrong))
                for views, wrong in zip(cameras, outliers, strict=True)
            )
        problem = RigProblem(renumbered(cameras, self.frames), losses, deformation, with_intrinsics, priors=priors)
        solution = solve_rig(problem, self.state, QUICK if losses else FINAL)
        return replace(self, state=solution.state), solution

    def shares(self) -> tuple[Tensor, ...]:
        """Of each camera, which views share their frame with another camera's, (V,) bool."""
        last = 1 + int(self.frames[-1])
        total = torch.zeros(last, dtype=torch.int64)
        for views in self.cameras:
            total[views.frames] += 1
        return tuple(total[views.frames] > 1 for views in self.cameras)

    def residuals(self, asynchrony: tuple[Asynchrony, ...] = ()) -> tuple[Tensor, ...]:
        """Projected minus observed of every corner of every view, outliers included: (V, N, 2) for each camera."""
        return RigProblem(renumbered(self.cameras, self.frames), asynchrony=asynchrony).residuals(self.state)


@dataclass(frozen=True)
class Refused:
    """A view that was taken out."""

    camera: int
    picture: int
    reason: str
    contradicts: bool = False
    """Whether as a whole it shows the board elsewhere than the rig does."""


@dataclass(frozen=True)
class JointFit:
    """The joint solution."""

    standing: Standing
    """The views used, with all their corners."""
    solution: RigSolution
    """By plain least squares, outliers left out."""
    refused: tuple[Refused, ...]
    inflation: float = 1.0
    """By what the covariance exceeds that of independent corners: their errors are alike within a view where the board
    moved between the cameras' exposures."""

    def residuals(self) -> tuple[Tensor, ...]:
        """Projected minus observed of every corner of every view, outliers included: (V, N, 2) for each camera."""
        return self.standing.residuals(self.solution.problem.asynchrony)


def fit_jointly(
    standing: Standing,
    noise_px: Sequence[float],
    deformation: Deformation,
    priors: tuple[IntrinsicsPrior | None, ...] = (),
) -> JointFit:
    """Solve a rig from a first state.

    First the poses alone, robustly, which shows the frames whose pictures are not of one moment; then everything
    robustly; then, twice, without what does not fit, by plain least squares. The rules for single corners and views
    are those of one camera (see `cv3d.calibration.cleaning`).

    Args:
        standing: all views and the first state.
        noise_px: standard deviation of a coordinate of a corner of each camera, (C,), pixels.
        deformation: which of the board's modes of deformation are estimated.
        priors: what is known of each camera's intrinsics besides; empty: nothing.
    """
    standing, refused = fit_poses(standing)
    standing, solution = standing.solved(_fine_losses(standing, noise_px), deformation, priors=priors)
    for _ in range(2):
        standing, outliers, bad = _judged(standing)
        refused += bad
        standing, solution = standing.solved((), deformation, outliers=outliers, priors=priors)
    return JointFit(standing, solution, tuple(refused))


def fit_poses(standing: Standing) -> tuple[Standing, list[Refused]]:
    """Solve for poses alone, robustly, and take out the views that contradict the rig.

    Args:
        standing: all views and the first state.

    Returns:
        The views that are left with their state, and those taken out.
    """
    rough = tuple(Loss(LossKind.CAUCHY, _ROUGH * views.size) for views in standing.cameras)
    standing, _ = standing.solved(rough, with_intrinsics=False)
    standing, refused = _without_contradictions(standing)
    if refused:
        standing, _ = standing.solved(rough, with_intrinsics=False)
    return standing, refused


def together_px(standing: Standing) -> tuple[float, ...]:
    """Of each camera, the typical residual of one coordinate in frames shared with others, robustly, pixels.

    NaN where it shares none.
    """
    result = []
    for medians, shared in zip(view_medians(standing), standing.shares(), strict=True):
        result.append(float(medians[shared].median()) / _RAYLEIGH_MEDIAN if bool(shared.any()) else math.nan)
    return tuple(result)


def _fine_losses(standing: Standing, noise_px: Sequence[float]) -> tuple[Loss, ...]:
    """Robust losses at the scale of what is normal in this rig, which is never less than the cameras' own noise."""
    losses = []
    for noise, medians, shared in zip(noise_px, view_medians(standing), standing.shares(), strict=True):
        together = float(medians[shared].median()) / _RAYLEIGH_MEDIAN if bool(shared.any()) else 0.0
        losses.append(Loss(LossKind.CAUCHY, max(_SIGMAS * max(noise, together), _LEAST_SCALE)))
    return tuple(losses)


def view_medians(standing: Standing) -> tuple[Tensor, ...]:
    """Median length of the residuals of each view, (V,) for each camera, pixels."""
    return tuple(
        torch.nanmedian(
            torch.where(
                views.observations.seen,
                torch.linalg.vector_norm(residuals, dim=-1),
                torch.full_like(residuals[..., 0], torch.nan),
            ),
            dim=-1,
        ).values
        for views, residuals in zip(standing.cameras, standing.residuals(), strict=True)
    )


def _without_contradictions(standing: Standing) -> tuple[Standing, list[Refused]]:
    """Take out the views of frames that the rig cannot explain.

    Where two or more cameras agree in a frame, only the others are wrong; where one stands against one, nothing tells
    which of them is, and both go.
    """
    medians = view_medians(standing)
    wrong = []
    for views, errors, shared in zip(standing.cameras, medians, standing.shares(), strict=True):
        typical = float(errors[shared].median()) if bool(shared.any()) else 0.0
        wrong.append(errors > max(_CONTRADICTING_RATIO * typical, _CONTRADICTING * views.size))
    last = 1 + max(int(views.frames.max()) for views in standing.cameras if len(views.frames))
    total, disputed = torch.zeros(last, dtype=torch.int64), torch.zeros(last, dtype=torch.int64)
    for views, mask in zip(standing.cameras, wrong, strict=True):
        total[views.frames] += 1
        disputed[views.frames] += mask.to(torch.int64)
    undecided = (disputed > 0) & (total - disputed < 2) & (total > 1)
    refused, kept = [], []
    for c, (views, mask, errors) in enumerate(zip(standing.cameras, wrong, medians, strict=True)):
        out = mask | undecided[views.frames]
        for v in torch.nonzero(out)[:, 0].tolist():
            reason = f"it contradicts what the other cameras saw at this moment (median {float(errors[v]):.1f} px)"
            if undecided[views.frames[v]]:
                reason = _CONTRADICT
            refused.append(Refused(c, int(standing.pictures[c][v]), reason, contradicts=True))
        kept.append(~out)
    return (standing.keep(kept) if refused else standing), refused


def _judged(standing: Standing) -> tuple[Standing, list[Tensor], list[Refused]]:
    """The views that are not wrong as a whole, the wrong corners of each camera's (V, N), and the views taken out.

    Views that share their frame with another camera's are judged by their like: a board that moves between the
    cameras' exposures leaves larger residuals there than in a view that has the board's pose to itself.
    """
    kept, outliers, refused = [], [], []
    residuals = standing.residuals()
    for c, shared in enumerate(standing.shares()):
        views = standing.cameras[c]
        keep = torch.ones(views.observations.views, dtype=torch.bool)
        wrong = torch.zeros_like(views.observations.seen)
        for group in (shared, ~shared):
            index = torch.nonzero(group)[:, 0]
            if len(index) == 0:
                continue
            judgement = judge_residuals(views.observations.select(index), residuals[c][index], views.size)
            wrong[index] = judgement.outliers
            for k, reason in judgement.bad_views.items():
                v = int(index[k])
                keep[v] = False
                refused.append(Refused(c, int(standing.pictures[c][v]), reason.replace("the camera", "the rig")))
        kept.append(keep)
        outliers.append(wrong[keep])
    return standing.keep(kept), outliers, refused
