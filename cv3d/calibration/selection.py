"""Which lens model the data support: cross-validation over views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.calibration.any_lens import is_worth_a_spline, splined_grids
from cv3d.calibration.deformation import UNDEFORMED, Deformation
from cv3d.calibration.problem import CalibrationState, Observations
from cv3d.calibration.solving import Solution, sees_forward_only, solve, start_from
from cv3d.errors import EstimationError
from cv3d.geometry.cameras import get_model
from cv3d.geometry.cameras.base import CameraModel
from cv3d.geometry.levenberg import LmOptions
from cv3d.geometry.robust import SQUARED, Loss

_SIMPLER = {
    "eucm": "ucm",
    "double_sphere": "ucm",
    "omni": "ucm",
    "brown5": "brown4",
    "brown8": "brown5",
    "brown12": "brown8",
}
"""The special case from which a model is started."""

_SIDEWAYS = 0.05
"""Cosine to the optical axis below which a model that divides by depth is not tried."""
_AT_BOUND = 1e-6
_PLAUSIBLE = {("eucm", "beta"): (0.05, 20.0)}
"""Where a model's own bounds are wider than any lens: as alpha vanishes, beta runs away."""
_FOLDS = 5
_STANDARD_ERRORS = 2.0
_NEGLIGIBLE = 2e-3
"""Relative difference of mean square errors that is no reason to prefer a model."""
_TOLERATED = 1.04
"""Ratio of mean relative held-out errors up to which the view-by-view comparison decides: misfit in one or two views
at the border raises the mean difference and its standard error alike, and would pass for noise."""
_FAILED = 2.0
"""Ratio of total held-out squares beyond which a model has failed on some view."""
_NOTHING = 1e-8
"""Square pixels a corner added before errors are divided, so that perfect data compare as equal."""
_QUICK = LmOptions(max_iterations=30, relative_decrease=1e-6)
_REFIT = LmOptions(max_iterations=8, relative_decrease=1e-4)
_ROUGH = LmOptions(max_iterations=40, relative_decrease=1e-5)
_FULL = LmOptions(max_iterations=60, relative_decrease=1e-8)


@dataclass(frozen=True)
class ModelScore:
    """How one lens model fared."""

    model: str
    parameters: int
    rms_px: float
    """RMS over the views it was fitted to, pixels."""
    holdout_rms_px: float
    """RMS over views it was not fitted to (only their poses were), pixels."""
    verdict: str
    """Why it was or was not chosen, in words."""


@dataclass(frozen=True)
class Choice:
    """The model chosen, with every candidate's score."""

    model: str
    scores: tuple[ModelScore, ...]
    solutions: dict[str, Solution]
    """Fit of every candidate to all views."""
    holdout: dict[str, NDArray[np.float64]]
    """Sum of squared held-out residuals of every view, (V,), by model."""
    folds: tuple[NDArray[np.int64], ...] = ()
    """The views that were held out together."""

    @property
    def holdout_rms_px(self) -> float:
        """Held-out RMS of the chosen model, pixels."""
        return next(s.holdout_rms_px for s in self.scores if s.model == self.model)


def fit_candidates(
    observations: Observations,
    seed: CalibrationState,
    seed_model: str,
    models: Sequence[str],
    loss: Loss = SQUARED,
    deformation: Deformation = UNDEFORMED,
) -> dict[str, Solution]:
    """Fit every model to all views, each started from the seed or from the simpler model that it contains.

    Models that cannot see sideways are passed over where the seed saw the board there.

    Args:
        observations: corners of V views.
        seed: a solution of `seed_model`.
        seed_model: its model.
        models: names of the models to fit.
        loss: robust loss.
        deformation: which of the board's modes of deformation are estimated too.

    Returns:
        The solutions that are finite, by model.
    """
    rays = get_model(seed_model).unproject(seed.params, observations.pixels[observations.seen])
    wide = bool((rays[:, 2] < _SIDEWAYS).any())
    solutions: dict[str, Solution] = {}
    for name in models:
        if wide and sees_forward_only(name) and len(models) > 1:
            continue
        simpler = _SIMPLER.get(name, "")
        begin, begin_model = (solutions[simpler].state, simpler) if simpler in solutions else (seed, seed_model)
        start = start_from(observations, begin, begin_model, name)
        solution = solve(observations, name, start, loss, deformation, options=_ROUGH)
        if math.isfinite(solution.rms_px):
            solutions[name] = solution
    return solutions


def refit(
    observations: Observations, solutions: dict[str, Solution], deformation: Deformation = UNDEFORMED
) -> dict[str, Solution]:
    """The same models fitted by plain least squares to (usually cleaned) observations, from where they stand."""
    fitted = {
        name: solve(observations, name, s.state, deformation=deformation, options=_FULL)
        for name, s in solutions.items()
    }
    return {name: solution for name, solution in fitted.items() if math.isfinite(solution.rms_px)}


def choose_model(observations: Observations, solutions: dict[str, Solution], rng: np.random.Generator) -> Choice:
    """Take the simplest model whose held-out error is within noise of the best one's.

    Views are held out in folds (see :func:`holdout_squares`). The simplest model is taken that no other beats by more
    than two standard errors of the paired difference over views (after Breiman et al. 1984, whose rule is one: with
    ten candidates that errs too often). A model whose residuals on the very views it was fitted to already exceed
    another's held-out ones is not tried further.

    Args:
        observations: corners of V >= 2 views.
        solutions: fits to all views, by model, simplest first.
        rng: deals the views to folds.

    Returns:
        The choice with the table of all candidates.
    """
    folds = _folds(observations.views, rng)
    counts = _counts(observations)
    faults = {name: _fault(solution) for name, solution in solutions.items()}
    sound = [name for name in solutions if not faults[name]] or list(solutions)
    squares: dict[str, NDArray[np.float64]] = {}
    relative: dict[str, NDArray[np.float64]] = {}
    best = ""
    for name in sorted(
        sound, key=lambda name: solutions[name].rms_px * (1.0 + 0.01 * len(solutions[name].state.params))
    ):
        fitted = _view_squares(solutions[name])
        if best and _significantly_worse(_relative(fitted, squares[best], counts), np.ones_like(counts)):
            continue
        squares[name] = holdout_squares(observations, solutions[name], folds)
        relative = _contenders(squares, counts)
        best = _best(relative)
    return _judged(observations, Choice("", (), solutions, squares, tuple(folds)))


def consider_spline(observations: Observations, choice: Choice, size: tuple[int, int]) -> Choice:
    """Let a splined model compete where the chosen formula's residuals are systematic over the image.

    It is judged on the same held-out views by the same rule, as the least simple of all candidates.

    Args:
        observations: the corners that `choice` was made with.
        choice: the choice among formulas.
        size: image width and height, pixels.

    Returns:
        The choice with one more row, or the same one where no spline is called for.
    """
    if not is_worth_a_spline(observations, choice.solutions[choice.model].residuals, size):
        return choice
    return _judged(observations, fit_spline(observations, choice, size))


def fit_spline(observations: Observations, choice: Choice, size: tuple[int, int]) -> Choice:
    """Fit splined models of ever finer grids, until a finer one lowers the held-out error no more than noise does.

    Args:
        observations: the corners that `choice` was made with.
        choice: the choice among formulas; its model is where the spline starts.
        size: image width and height, pixels.

    Returns:
        The same candidates and the spline of the best grid, which is the model chosen, whatever its held-out error.

    Raises:
        EstimationError: no spline fits.
    """
    begin, begin_model = choice.solutions[choice.model], choice.model
    deformation = begin.state.deformation
    fitted: tuple[Solution, NDArray[np.float64]] | None = None
    for model in splined_grids(observations, begin.state, begin_model, size):
        start = start_from(observations, begin.state, begin_model, model.name)
        solution = solve(observations, model.name, start, deformation=deformation, options=_FULL)
        if not math.isfinite(solution.rms_px):
            break
        squares = holdout_squares(observations, solution, list(choice.folds))
        if fitted is not None:
            relative = _relative(fitted[1], squares, _counts(observations))
            if not _significantly_worse(relative, np.ones_like(relative)):
                break
        fitted = solution, squares
    if fitted is None:
        raise EstimationError("no splined lens model fits these pictures")
    solution, squares = fitted
    solutions = {**choice.solutions, solution.model: solution}
    holdout = {**choice.holdout, solution.model: squares}
    counts = _counts(observations)
    score = _score(solution, squares, counts, "chosen: asked for")
    return Choice(solution.model, (*choice.scores, score), solutions, holdout, choice.folds)


def _score(
    solution: Solution, squares: NDArray[np.float64] | None, counts: NDArray[np.float64], verdict: str
) -> ModelScore:
    holdout = math.nan if squares is None else math.sqrt(squares.sum() / counts.sum())
    return ModelScore(solution.model, len(solution.state.params), solution.rms_px, holdout, verdict)


def _judged(observations: Observations, candidates: Choice) -> Choice:
    """The choice among all candidates, those with held-out errors being compared by them."""
    counts = _counts(observations)
    solutions, squares = candidates.solutions, candidates.holdout
    faults = {name: _fault(solution) for name, solution in solutions.items()}
    sound = {name: errors for name, errors in squares.items() if not faults[name]} or squares
    relative = _contenders(sound, counts)
    best = _best(relative)
    beaten = {
        name
        for name in squares
        if name not in relative or any(_significantly_worse(relative[name], rival) for rival in relative.values())
    }
    chosen = next((name for name in solutions if name in squares and name not in beaten), best)
    scores = []
    for name, solution in solutions.items():
        if name == chosen:
            verdict = "chosen: best held-out" if chosen == best else "chosen: simplest within noise"
        elif faults[name]:
            verdict = faults[name]
        elif name == best:
            verdict = "best, but within noise"
        elif name not in squares or (squares[name].sum() > squares[chosen].sum() and name in beaten):
            verdict = "worse beyond noise"
        else:
            verdict = "as good, not simpler"
        scores.append(_score(solution, squares.get(name), counts, verdict))
    return Choice(chosen, tuple(scores), solutions, squares, candidates.folds)


def _fault(solution: Solution) -> str:
    """Why a fit cannot be used as a camera, in words; empty where it can."""
    if not solution.inside:
        return "not one-to-one over the corners seen"
    return range_fault(get_model(solution.model), solution.state.params)


def range_fault(model: CameraModel, params: Tensor) -> str:
    """Which shape parameter of (P,) ran to the end of its range, in words; empty where none did."""
    for name, value, bounds in zip(model.shape_names, params[4:].tolist(), model.shape_bounds, strict=True):
        low, high = _PLAUSIBLE.get((model.name, name), bounds)
        if not low + _AT_BOUND < value < high - _AT_BOUND:
            return f"{name} ran to the end of its range"
    return ""


def _counts(observations: Observations) -> NDArray[np.float64]:
    result: NDArray[np.float64] = observations.seen.sum(dim=-1).numpy().astype(np.float64)
    return result


def _view_squares(solution: Solution) -> NDArray[np.float64]:
    result: NDArray[np.float64] = (solution.residuals**2).sum(dim=(-1, -2)).numpy()
    return result


def warp_helps(observations: Observations, flat: Solution, warped: Solution, rng: np.random.Generator) -> bool:
    """Whether estimating (more of) the board's deformation lowers the held-out error by more than noise."""
    folds = _folds(observations.views, rng)
    counts = _counts(observations)
    without = holdout_squares(observations, flat, folds)
    with_it = holdout_squares(observations, warped, folds)
    return _significantly_worse(_relative(without, with_it, counts), np.ones_like(counts))


def holdout_squares(
    observations: Observations, solution: Solution, folds: list[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Sum of squared residuals of every view while it was held out, (V,); infinity where the fit broke.

    The model is refitted without each fold, from the fit to all; the poses of the held-out views are then found with
    the intrinsics of their fold, all folds in one solve.
    """
    if len(folds) == 1:
        return _corner_holdout(observations, solution)
    deformation = solution.state.deformation
    params = solution.state.params.repeat(observations.views, 1)
    warp = solution.state.warp.repeat(observations.views, 1)
    for fold in folds:
        held = torch.zeros(observations.views, dtype=torch.bool)
        held[torch.from_numpy(fold)] = True
        start = solution.state.select(~held)
        fitted = solve(observations.select(~held), solution.model, start, deformation=deformation, options=_REFIT)
        params[held], warp[held] = fitted.state.params, fitted.state.warp
    return _pose_only_squares(
        observations, solution.model, replace(solution.state, params=params, warp=warp[:, None, :])
    )


def _pose_only_squares(observations: Observations, model: str, start: CalibrationState) -> NDArray[np.float64]:
    fixed = (False,) * get_model(model).param_count
    posed = solve(observations, model, start, free=fixed, options=_QUICK)
    result: NDArray[np.float64] = (posed.residuals**2).sum(dim=(-1, -2)).numpy()
    return np.where(np.isfinite(result), result, np.inf)


def _corner_holdout(observations: Observations, solution: Solution) -> NDArray[np.float64]:
    """With too few views to spare one: fit to every other corner, and judge on the rest."""
    deformation = solution.state.deformation
    order = torch.cumsum(observations.seen.to(torch.int64), dim=-1)
    even = observations.seen & (order % 2 == 0)
    fitted = solve(observations.without(~even), solution.model, solution.state, deformation=deformation, options=_QUICK)
    return 2.0 * _pose_only_squares(observations.without(even), solution.model, fitted.state)


def _folds(views: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    if views < 4:
        return [np.arange(views)]
    order = rng.permutation(views)
    return [np.sort(order[k::_FOLDS]) for k in range(min(_FOLDS, views))]


def _contenders(squares: dict[str, NDArray[np.float64]], counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Relative errors, (V,), of the models that fail on no view outright: their total is near the least."""
    least = min(float(values.sum()) for values in squares.values())
    standing = {name: values for name, values in squares.items() if float(values.sum()) <= _FAILED * least}
    standing = standing or squares
    return {name: _relative(values, _typical(standing), counts) for name, values in standing.items()}


def _typical(squares: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """The middle of the models' errors in each view, (V,): how hard the view is."""
    result: NDArray[np.float64] = np.median(np.stack(list(squares.values())), axis=0)
    return result


def _relative(
    squares: NDArray[np.float64], reference: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Each view's error as a multiple of a reference, (V,).

    A blurred view, whose residuals are large under any model, then weighs no more than a sharp one.
    """
    nothing = _NOTHING * counts
    result: NDArray[np.float64] = (squares + nothing) / (np.where(np.isfinite(reference), reference, 0.0) + nothing)
    return result


def _best(relative: dict[str, NDArray[np.float64]]) -> str:
    """The model of the lowest mean logarithmic error, among those whose mean is near the least."""
    least = min(float(values.mean()) for values in relative.values())
    sound = [name for name, values in relative.items() if float(values.mean()) <= _TOLERATED * least]
    return min(sound or relative, key=lambda name: float(np.log(relative[name]).mean()))


def _significantly_worse(candidate: NDArray[np.float64], rival: NDArray[np.float64]) -> bool:
    """Whether a model's error exceeds a rival's beyond noise.

    Either by more than two standard errors of the paired logarithmic difference over views, or in the mean by more than
    :data:`_TOLERATED`.

    Args:
        candidate: relative errors of the model, (V,).
        rival: relative errors of the rival, (V,).
    """
    if not float(candidate.mean()) <= _TOLERATED * float(rival.mean()):
        return True
    difference = np.log(candidate) - np.log(rival)
    standard_error = float(difference.std(ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return float(difference.mean()) > max(_STANDARD_ERRORS * standard_error, _NEGLIGIBLE)


def simplest_within_noise(squares: dict[str, NDArray[np.float64]], counts: NDArray[np.float64]) -> str:
    """The first candidate that no other beats beyond noise, by the rule of :func:`choose_model`.

    Args:
        squares: sum of squared held-out residuals of every view, (V,), by candidate, simplest first.
        counts: corners of every view, (V,).
    """
    relative = _contenders(squares, counts)
    for name, errors in relative.items():
        if not any(_significantly_worse(errors, rival) for rival in relative.values()):
            return name
    return _best(relative)
