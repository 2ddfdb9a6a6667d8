"""Calibrating one camera from pictures of a board: the whole way, from inputs to a judged result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from cv3d.calibration.assembling import Candidate, Finished, assemble, restated
from cv3d.calibration.boards import Board
from cv3d.calibration.cleaning import judge_observations
from cv3d.calibration.deformation import UNDEFORMED, Deformation
from cv3d.calibration.deforming import judge_deformation, stretch_stands
from cv3d.calibration.detecting import BoardSightings, Source, find_board
from cv3d.calibration.framing import AS_IS, Size, common_frame, framings
from cv3d.calibration.journal import Journal
from cv3d.calibration.models import AUTO, AUTO_MODELS, SPLINE_STARTS, SPLINED, resolve_model
from cv3d.calibration.problem import CalibrationState, Observations, spread_indices
from cv3d.calibration.result import Calibration, Seconds
from cv3d.calibration.seeding import SEED_MODEL, Seed, best_poses, seed_camera
from cv3d.calibration.selection import (
    ModelScore,
    choose_model,
    consider_spline,
    fit_candidates,
    fit_spline,
    refit,
)
from cv3d.calibration.solving import Solution, solve
from cv3d.compute import torch_threads
from cv3d.errors import EstimationError, InputError, QualityError
from cv3d.geometry.cameras import get_model
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.levenberg import LmOptions
from cv3d.geometry.robust import Loss, LossKind
from cv3d.progress import SILENT, Progress

_MIN_VIEW_CORNERS = 6
_LINE = 0.05
"""Ratio of a point set's extents below which it counts as a line."""
_SELECTION_VIEWS = 60
_FEW_VIEWS = 8
_FEW_VIEWS_PARAMETERS = 9
"""With fewer than :data:`_FEW_VIEWS` views, models of more parameters are not tried: held-out views cannot judge
them."""
_WARP_VIEWS = 6
_CONTRADICTION = (
    "the pictures contradict each other: no camera explains the board in two of them; "
    "are they of one camera, with one zoom, of one flat board?"
)
_GIVEN_SCALE = 1e-3
"""Residual beyond which a corner counts as doubtful under a camera that is given, in units of the image's size."""
_FINAL = LmOptions(max_iterations=300, relative_decrease=1e-11)


class BoardWarp(StrEnum):
    """Whether it is estimated how the board bends, and how its rows and columns differ in scale."""

    AUTO = "auto"
    """Each where it lowers the held-out error by more than noise."""
    ON = "on"
    """Bending in any case, the difference in scale where the pictures show it."""
    OFF = "off"
    """Neither: the board is taken as drawn."""


@dataclass(frozen=True)
class CalibrateOptions:
    """What a user may decide."""

    board: Board | None = None
    """The board; None: found out."""
    square_m: float | None = None
    """Side of a square, side of a tag or distance of circles, metres; None: unknown, the result is up to scale. Where
    rows and columns turn out to differ in scale it is the geometric mean of both directions."""
    model: str = AUTO
    """The lens model; `auto`: chosen by the data."""
    board_warp: BoardWarp = BoardWarp.AUTO
    seed: int = 0
    """Deals the views to cross-validation folds."""
    workers: int | None = None
    """Threads for detection; None: one per core."""


def calibrate_sources(
    sources: Sequence[Source],
    options: CalibrateOptions | None = None,
    journal: Journal | None = None,
    progress: Progress = SILENT,
) -> Calibration:
    """Calibrate a camera from pictures.

    Args:
        sources: the pictures.
        options: the user's decisions.
        journal: keeps detections between runs.
        progress: told about the course.

    Returns:
        The calibration. Where the views do not determine the camera its verdict is `unobservable` and its
        uncertainty NaN.

    Raises:
        EstimationError: no board, or a board in one picture only.
        QualityError: all pictures are copies of one.
    """
    options = options or CalibrateOptions()
    began = time.perf_counter()
    sightings = find_board(sources, options.board, options.square_m, journal, progress, options.workers)
    detected = time.perf_counter()
    progress.start("solve")
    with torch_threads(1):
        result = assemble(estimate(sightings, options), options.seed)
    progress.finish("solve")
    ended = time.perf_counter()
    return replace(result, seconds=Seconds(detected - began, ended - detected, ended - began))


def estimate(sightings: BoardSightings, options: CalibrateOptions, given: Camera | None = None) -> Finished:
    """Estimate a camera from what its pictures show.

    Args:
        sightings: the board, and its points in each picture.
        options: the user's decisions; the board is that of the sightings.
        given: the camera, where it is known and held: only the poses are estimated then, and one view is enough.

    Returns:
        The solution and the fate of every picture.

    Raises:
        EstimationError: too few usable views, or pictures that contradict each other.
        InputError: all pictures are of another size than the camera that is given.
        QualityError: all pictures are copies of one.
    """
    return _Estimator(sightings, options, given).run()


class _Estimator:
    """Holds the set while views are judged."""

    def __init__(self, sightings: BoardSightings, options: CalibrateOptions, given: Camera | None) -> None:
        self.board = sightings.board
        self.options = options
        self.given = given
        self.model = resolve_model(options.model) if given is None else given.model
        self.free = None if given is None else (False,) * len(given.params)
        self.least_views = 2 if given is None else 1
        self.points = torch.from_numpy(self.board.points_m())
        self.candidates = [Candidate(seen) for seen in sightings.pictures]
        self.size = self._frame()

    def run(self) -> Finished:
        """Seed, choose the model (or take what was given), solve, judge."""
        width, height = self.size
        seed_views = [c for c in self.candidates if not c.reason and c.framing is not None]
        self._check_enough(seed_views)
        observations = self._observations(seed_views)
        if self.given is None:
            seed = seed_camera(observations, width, height)
            views, observations, state = self._without_strays(seed_views, observations, seed)
            scores, solution = self._choose(observations, state)
        else:
            views, scores, solution = seed_views, (), self._posed(observations, self.given)
        views, observations, solution = self._add_reframed(views, observations, solution)
        views, observations, solution = self._clean_and_finish(views, observations, solution)
        return Finished(
            self.board, self.size, tuple(self.candidates), tuple(views), observations, self._whole, solution, scores
        )

    def _posed(self, observations: Observations, camera: Camera) -> Solution:
        """The poses of all views under a camera that is given."""
        params = torch.tensor(camera.params, dtype=torch.float64)
        rough = self._loss(_GIVEN_SCALE * max(self.size))
        state = best_poses(observations, camera.model, params, rough)
        found = solve(observations, camera.model, state, rough, free=self.free, options=_FINAL)
        fine = self._loss(_median_norm(observations, found.residuals))
        return solve(observations, camera.model, found.state, fine, free=self.free, options=_FINAL)

    def _frame(self) -> Size:
        """The common image frame; pictures in another one get their alternatives or a reason."""
        found = [c for c in self.candidates if self._mark_unusable(c)]
        if not found:
            raise EstimationError(self._too_few([]))
        sizes = [c.seen.size for c in found if c.seen.size is not None]
        orientations = [c.seen.exif_orientation for c in found]
        size, orientation = common_frame(sizes, orientations)
        if self.given is not None:
            size = (self.given.width, self.given.height)
            alike = [turn for one, turn in zip(sizes, orientations, strict=True) if one == size]
            if not alike:
                raise InputError(
                    f"the intrinsics given are of {size[0]}x{size[1]} pictures, and none of these "
                    f"({sizes[0][0]}x{sizes[0][1]}) is"
                )
            size, orientation = common_frame([size] * len(alike), alike)
        for candidate in found:
            if candidate.seen.size is None:
                continue
            ways = framings(candidate.seen.size, candidate.seen.exif_orientation, size, orientation)
            if candidate.seen.size == size and candidate.seen.exif_orientation == orientation:
                candidate.framing = AS_IS
            elif ways:
                candidate.alternatives = tuple(ways)
            else:
                w, h = candidate.seen.size
                candidate.reason = f"its size {w}x{h} differs from the others' {size[0]}x{size[1]}"
        return size

    def _mark_unusable(self, candidate: Candidate) -> bool:
        count = len(candidate.seen.detection.point_ids)
        if count == 0 or candidate.seen.size is None:
            reason = candidate.seen.detection.reason.removeprefix(f"{candidate.seen.name}: ")
            candidate.reason = reason or "no board found"
        elif count < _MIN_VIEW_CORNERS:
            candidate.reason = f"only {count} points of the board found"
        elif _nearly_collinear(self.points[torch.from_numpy(candidate.seen.detection.point_ids), :2]):
            candidate.reason = "the points of the board found lie on one line"
        return not candidate.reason

    def _check_enough(self, views: list[Candidate]) -> None:
        if len(views) + sum(1 for c in self.candidates if c.alternatives) >= self.least_views:
            return
        copies = [c for c in self.candidates if c.reason.startswith("a copy of")]
        if views and copies:
            raise QualityError(
                f"unobservable: all pictures with a board are copies of {views[0].seen.name}; "
                "take 10 to 20 pictures with the board at different tilts and places"
            )
        raise EstimationError(self._too_few(views))

    def _too_few(self, views: list[Candidate]) -> str:
        total = len(self.candidates)
        if not views:
            reasons = [c.reason for c in self.candidates if c.reason]
            return f"the board ({self.board}) is usable in none of {total} pictures ({reasons[0] if reasons else ''})"
        return (
            f"the board ({self.board}) is usable in one picture only ({views[0].seen.name}, of {total}); "
            "a calibration needs at least 2, and 10 to 20 at different tilts and places to be good"
        )

    def _observations(self, views: Sequence[Candidate]) -> Observations:
        found = [(c.seen.detection, c.framing or AS_IS) for c in views]
        return Observations.gather(self.points, [(seen.point_ids, how.apply(seen.pixels)) for seen, how in found])

    def _without_strays(
        self, views: list[Candidate], observations: Observations, seed: Seed
    ) -> tuple[list[Candidate], Observations, CalibrationState]:
        """Drop views that even the robust seed cannot place."""
        problem = solve(observations, SEED_MODEL, seed.state, self._loss(seed.scale_px), options=LmOptions(20, 1e-5))
        norms = torch.linalg.vector_norm(problem.residuals, dim=-1)
        limit = max(12.0 * seed.scale_px, 0.02 * max(self.size))
        keep = []
        for v, candidate in enumerate(views):
            median = float(norms[v][observations.seen[v]].median())
            if median > limit:
                candidate.reason = f"its corners do not fit the camera (median {median:.1f} px)"
            else:
                keep.append(v)
        if len(keep) < 2 <= len(views):
            raise EstimationError(_CONTRADICTION)
        index = torch.tensor(keep)
        return [views[v] for v in keep], observations.select(index), problem.state.select(index)

    def _loss(self, scale_px: float) -> Loss:
        return Loss(LossKind.CAUCHY, max(3.0 * scale_px, 0.2))

    def _choose(self, observations: Observations, state: CalibrationState) -> tuple[tuple[ModelScore, ...], Solution]:
        """The lens model, with its solution on all views."""
        rng = np.random.default_rng(self.options.seed)
        index = spread_indices(observations.views, _SELECTION_VIEWS)
        sample, start = observations.select(index), state.select(index)
        names = {AUTO: AUTO_MODELS, SPLINED: SPLINE_STARTS}.get(self.model, (self.model,))
        if len(names) > 1 and sample.views < _FEW_VIEWS:
            names = tuple(n for n in names if get_model(n).param_count <= _FEW_VIEWS_PARAMETERS)
        scale = _median_norm(sample, solve(sample, SEED_MODEL, start, options=LmOptions(0)).residuals)
        robust = fit_candidates(sample, start, SEED_MODEL, names, self._loss(scale))
        if not robust:
            raise EstimationError(f"the lens model {self.model} does not fit these pictures at all")
        best = min(robust.values(), key=lambda s: _robust_rank(s, sample))
        sample, kept = self._cleaned(sample, best, torch.arange(sample.views))
        solutions = refit(sample, {name: _restricted(s, kept) for name, s in robust.items()})
        choice = choose_model(sample, solutions, rng)
        chosen = choice.solutions[choice.model]
        deformation = self._deformation(sample, chosen, rng)
        if deformation:
            choice = choose_model(sample, refit(sample, solutions, deformation), rng)
            chosen = choice.solutions[choice.model]
            if not stretch_stands(sample, chosen, self.size):
                # What another model explains as well is not the board's.
                deformation &= ~Deformation.STRETCHED
                choice = choose_model(sample, refit(sample, solutions, deformation), rng)
        if self.model == AUTO:
            choice = consider_spline(sample, choice, self.size)
        elif self.model == SPLINED:
            choice = fit_spline(sample, choice, self.size)
        chosen = choice.solutions[choice.model]
        state = best_poses(observations, choice.model, chosen.state.params, self._loss(scale), chosen.state.warp)
        full = solve(
            observations,
            choice.model,
            state,
            self._loss(max(scale, 0.05)),
            deformation=chosen.state.deformation,
            options=_FINAL,
        )
        return choice.scores[-1:] if self.model == SPLINED else choice.scores, full

    def _deformation(self, sample: Observations, plain: Solution, rng: np.random.Generator) -> Deformation:
        if self.options.board_warp is BoardWarp.OFF:
            return UNDEFORMED
        known = Deformation.BENT if self.options.board_warp is BoardWarp.ON else UNDEFORMED
        if sample.views < _WARP_VIEWS:
            return known
        return judge_deformation(sample, plain, known, self.size, rng)

    def _cleaned(self, observations: Observations, solution: Solution, index: Tensor) -> tuple[Observations, Tensor]:
        """Observations without outliers and bad views, and the positions of the views kept."""
        judgement = judge_observations(observations, solution, max(self.size))
        keep = [v for v in range(observations.views) if v not in judgement.bad_views]
        if len(keep) < 2:
            return observations, index
        kept = torch.tensor(keep)
        return observations.without(judgement.outliers).select(kept), index[kept]

    def _add_reframed(
        self, views: list[Candidate], observations: Observations, solution: Solution
    ) -> tuple[list[Candidate], Observations, Solution]:
        """Let the solved camera tell how pictures of another size or orientation lie, and take those that fit."""
        waiting = [c for c in self.candidates if c.alternatives and not c.reason]
        if not waiting:
            return views, observations, solution
        typical = _median_norm(observations, solution.residuals)
        limit = 4.0 * max(typical, 0.1)
        for candidate in waiting:
            trials = []
            for framing in candidate.alternatives:
                alone = self._observations([replace(candidate, framing=framing)])
                state = best_poses(
                    alone, solution.model, solution.state.params, self._loss(typical), solution.state.warp
                )
                residuals = solve(alone, solution.model, state, options=LmOptions(0)).residuals
                trials.append((_median_norm(alone, residuals), framing))
            error, framing = min(trials, key=lambda trial: trial[0])
            if error > limit:
                size = candidate.seen.size or (0, 0)
                candidate.reason = (
                    f"its size {size[0]}x{size[1]} or orientation differs from the others' "
                    f"{self.size[0]}x{self.size[1]}, and no scaling or turning makes it fit (median {error:.2f} px)"
                )
            else:
                candidate.framing = framing
        used = set(map(id, views))
        views = [
            c for c in self.candidates if id(c) in used or (c.alternatives and c.framing is not None and not c.reason)
        ]
        observations = self._observations(views)
        loss, known = self._loss(typical), solution.state
        state = best_poses(observations, solution.model, known.params, loss, known.warp)
        solution = solve(observations, solution.model, state, loss, known.deformation, self.free, _FINAL)
        return views, observations, solution

    def _clean_and_finish(
        self, views: list[Candidate], observations: Observations, solution: Solution
    ) -> tuple[list[Candidate], Observations, Solution]:
        """Take out what contradicts the solution, and solve by plain least squares.

        Twice, as the first look is blurred by what it takes out.
        """
        deformation = solution.state.deformation
        whole = observations
        for _ in range(2):
            judgement = judge_observations(whole, restated(whole, solution), max(self.size))
            keep = [v for v in range(whole.views) if v not in judgement.bad_views]
            if len(keep) < self.least_views:
                raise EstimationError(_CONTRADICTION)
            for v, reason in judgement.bad_views.items():
                views[v].reason = reason
            index = torch.tensor(keep)
            views = [views[v] for v in keep]
            whole = whole.select(index)
            cleaned = whole.without(judgement.outliers[index])
            start = solution.state.select(index)
            solution = solve(cleaned, solution.model, start, deformation=deformation, free=self.free, options=_FINAL)
            observations = cleaned
        self._whole = whole
        return views, observations, solution


def _nearly_collinear(points: Tensor) -> bool:
    spread = torch.linalg.svdvals(points - points.mean(dim=0))
    return bool(spread[1] < _LINE * spread[0])


def _restricted(solution: Solution, kept: Tensor) -> Solution:
    return replace(solution, state=solution.state.select(kept))


def _median_norm(observations: Observations, residuals: Tensor) -> float:
    return float(torch.linalg.vector_norm(residuals, dim=-1)[observations.seen].median())


def _robust_rank(solution: Solution, observations: Observations) -> float:
    """Robust cost, with a small price per parameter so that equals go to the simpler."""
    price = 1.0 + 0.002 * len(solution.state.params)
    return _median_norm(observations, solution.residuals) * price + (0.0 if solution.inside else 1e6)
