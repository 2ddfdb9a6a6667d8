"""From a solved camera to the result that a user gets: views, uncertainty, coverage, verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from cv3d.calibration.boards import Board
from cv3d.calibration.checks.base import Severity
from cv3d.calibration.checks.looking import Estimated, look_for_trouble
from cv3d.calibration.detecting import SeenPicture
from cv3d.calibration.framing import AS_IS, Framing, Size
from cv3d.calibration.problem import POSE_SIZE, Observations
from cv3d.calibration.quality import (
    Evidence,
    Level,
    Verdict,
    cell_centres,
    coverage,
    judge,
    tilt,
    uncertainty_map,
    unobservable,
)
from cv3d.calibration.result import Calibration, Seconds, View, Warp
from cv3d.calibration.selection import ModelScore
from cv3d.calibration.solving import Solution, solve
from cv3d.calibration.uncertainty import CameraCovariance, camera_covariance
from cv3d.errors import EstimationError
from cv3d.geometry.cameras import get_model
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.levenberg import LmOptions

_SAME_POSE_DEG = 1.5
"""Spread of the board's normals below which all views count as one."""
_OPEN_FOCAL = 0.2
"""Relative standard deviation of the focal length beyond which it counts as undetermined."""


@dataclass
class Candidate:
    """A picture on its way through the estimation."""

    seen: SeenPicture
    framing: Framing | None = None
    """How it maps into the common image frame; None: not known yet."""
    reason: str = ""
    """Why it is not used; empty while it is."""
    alternatives: tuple[Framing, ...] = ()
    """The ways in which it may map, where it is not in the common frame as it is."""


@dataclass(frozen=True)
class Finished:
    """Everything an estimation ends with."""

    board: Board
    size: Size
    """Of the common image frame, width and height, pixels."""
    candidates: tuple[Candidate, ...]
    """Every picture of the input."""
    views: tuple[Candidate, ...]
    """Those that took part in the fit, in the order of the observations."""
    observations: Observations
    """The corners that took part."""
    whole: Observations
    """The same views with the corners that were left out."""
    solution: Solution
    scores: tuple[ModelScore, ...]


def assemble(finished: Finished, seed: int) -> Calibration:
    """The result of an estimation, its times left at zero.

    Args:
        finished: the solved camera and the pictures.
        seed: the seed it was run with, kept in the result.
    """
    solution, state, (width, height) = finished.solution, finished.solution.state, finished.size
    warnings = [] if solution.converged else ["the solver stopped before it had fully converged"]
    if not solution.inside:
        warnings.append(f"the {solution.model} model folds within the corners seen: another model is the safer choice")
    covariance, trouble = _covariance(solution)
    warnings += trouble
    points = torch.from_numpy(finished.board.points_m())
    centre = points.mean(dim=0)
    distances = torch.linalg.vector_norm(state.rotation @ centre + state.translation, dim=-1)
    tilts = tilt(state.rotation, state.translation, centre)
    views = _views(finished)
    cells = cell_centres(width, height)
    valid = get_model(solution.model).valid_pixels(state.params, cells.reshape(-1, 2)).reshape(cells.shape[:2])
    seen = [view.pixels[~view.outliers] for view in views if view.used]
    covered = coverage(seen, width, height, valid.numpy())
    holdout = next((s.holdout_rms_px for s in finished.scores if s.model == solution.model), math.nan)
    camera = Camera(solution.model, width, height, tuple(state.params.tolist()))
    spread = uncertainty_map(covariance, width, height, float(distances.median()))
    verdict = _verdict(
        Evidence(
            len(finished.views), solution.rms_px, holdout, width, covariance.focal_std_share, covered, tilts, spread
        )
    )
    if verdict.level is Level.UNOBSERVABLE:
        covariance = replace(covariance, joint=torch.full_like(covariance.joint, math.nan))
        spread = uncertainty_map(covariance, width, height, spread.board_range)
    findings = look_for_trouble(
        Estimated(
            finished.board,
            finished.size,
            tuple(candidate.seen for candidate in finished.candidates),
            tuple(candidate.seen.name for candidate in finished.views),
            finished.observations,
            solution,
            verdict.level,
        )
    )
    warnings += [finding.sentence for finding in findings if finding.severity is Severity.WARNING]
    advice = tuple(finding.advice for finding in findings if finding.advice)
    return Calibration(
        camera=camera,
        board=finished.board,
        rms_px=solution.rms_px,
        holdout_rms_px=holdout,
        noise_px=solution.noise_px,
        covariance=covariance.params_covariance.numpy(),
        views=views,
        models=finished.scores,
        warp=_warp(solution),
        uncertainty=spread,
        coverage=covered,
        tilt=tilts,
        verdict=replace(verdict, advice=(*advice, *verdict.advice)),
        seconds=Seconds(0.0, 0.0, 0.0),
        seed=seed,
        warnings=tuple(warnings),
        findings=findings,
    )


def restated(observations: Observations, solution: Solution) -> Solution:
    """The solution with its residuals on every corner of `observations`, those left out of the fit included."""
    return solve(observations, solution.model, solution.state, options=LmOptions(0))


def _views(finished: Finished) -> tuple[View, ...]:
    residuals = restated(finished.whole, finished.solution).residuals.numpy()
    poses = finished.solution.state.cam_from_board().numpy()
    position = {id(candidate): v for v, candidate in enumerate(finished.views)}
    views = []
    for candidate in finished.candidates:
        detection = candidate.seen.detection
        count = len(detection.point_ids)
        framing = candidate.framing or AS_IS
        v = position.get(id(candidate))
        views.append(
            View(
                picture=candidate.seen.picture,
                reason=candidate.reason,
                framing=framing,
                point_ids=detection.point_ids,
                pixels=framing.apply(detection.pixels),
                residuals=np.full((count, 2), math.nan) if v is None else residuals[v, :count],
                outliers=np.zeros(count, bool) if v is None else ~finished.observations.seen[v, :count].numpy(),
                cam_from_board=None if v is None else poses[v],
            )
        )
    return tuple(views)


def _covariance(solution: Solution) -> tuple[CameraCovariance, list[str]]:
    """The covariance, NaN with a warning where the views do not determine the camera."""
    try:
        return camera_covariance(solution), []
    except EstimationError as error:
        size = len(solution.state.params) + POSE_SIZE
        joint = torch.full((size, size), math.nan, dtype=torch.float64)
        return CameraCovariance(solution.model, solution.state.params, joint, solution.noise_px), [str(error)]


def _warp(solution: Solution) -> Warp | None:
    estimated = solution.state.deformation
    if not estimated:
        return None
    std = torch.full((len(estimated.modes),), math.nan, dtype=torch.float64)
    try:
        shared = solution.system.covariance().shared * solution.noise_px**2
        std = torch.sqrt(torch.diagonal(shared)[-len(std) :])
    except EstimationError:
        pass  # the covariance of the camera has said so already
    return Warp.of(estimated, solution.state.warp, std)


def _verdict(evidence: Evidence) -> Verdict:
    if evidence.tilt.spread_deg < _SAME_POSE_DEG:
        return unobservable("the board has the same orientation in all pictures, which leaves the focal length open")
    if not math.isfinite(evidence.focal_std_share) or evidence.focal_std_share > _OPEN_FOCAL:
        return unobservable("the pictures do not determine the focal length")
    return judge(evidence)
