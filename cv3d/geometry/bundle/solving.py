"""Bundle adjustment: Levenberg-Marquardt with the points eliminated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

from cv3d.compute import torch_threads
from cv3d.errors import EstimationError, InputError
from cv3d.geometry.bundle.direct import DirectSolver
from cv3d.geometry.bundle.evaluating import Evaluator
from cv3d.geometry.bundle.iterative import IterativeSolver
from cv3d.geometry.bundle.normal import Linearization, State
from cv3d.geometry.bundle.options import BundleOptions, LinearSolver, Termination
from cv3d.geometry.bundle.problem import BundleProblem, is_measured
from cv3d.geometry.bundle.result import BundleResult, BundleTimes
from cv3d.geometry.bundle.schur_kernels import mark_neighbours
from cv3d.geometry.bundle.structure import Structure, build, lay_out
from cv3d.progress import SILENT, Progress

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

STAGE = "bundle adjustment"
_LEAST_DAMPING = 1e-10
_MOST_DAMPING = 1e12
_THREADED_FROM = 10_000
"""Observations from which a second thread is worth its hand-over."""
_THREADED_COLUMNS = 1500
"""Unknowns from which a dense factorisation is worth a second thread."""
_BAND_PAYS = 0.3
"""Half bandwidth over unknowns below which a banded factorisation is the cheaper one."""
_MEDIAN_OF_RAYLEIGH = math.sqrt(2.0 * math.log(2.0))


def adjust_bundle(
    problem: BundleProblem,
    options: BundleOptions | None = None,
    progress: Progress = SILENT,
    cancelled: Callable[[], bool] | None = None,
) -> BundleResult:
    """Refine poses, points and intrinsics so that points project to where they were seen.

    Levenberg-Marquardt on the robust cost (reweighted after every step), damping after Nielsen 1999, "Damping parameter
    in Marquardt's method", relative to the diagonal of the normal equations. The points are eliminated (Triggs et al.
    2000, "Bundle adjustment: a modern synthesis", section 6); the reduced system of poses and intrinsics is factorised
    or, where large and full, solved by conjugate gradients. Without a held pose or a prior the frame, and without a
    metric measurement the scale, is left to the damping, which lets it drift no more than the data ask.

    Observations whose point begins behind the camera or beyond the fold of the lens do not count; see
    `BundleResult.used`.

    Args:
        problem: what was seen of what, and where to start.
        options: loss, stopping tests and linear solver.
        progress: told of every iteration.
        cancelled: asked before every iteration; True ends it with the best state so far.

    Raises:
        InputError: the problem makes no sense: see :meth:`BundleProblem.check`; or a free pose, camera or point has
            fewer observations than determine it.
        EstimationError: the cost is not finite at the start, or nothing is free.
    """
    options = options or BundleOptions()
    began = time.perf_counter()
    problem.check()
    _check_determined(problem)
    threads = options.threads or (1 if len(problem.observations) <= _THREADED_FROM else 2)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(threads)) if threads > 1 else None
        structure, kind, half_bandwidth = _structure(problem, options)
        stack.enter_context(torch_threads(threads if structure.columns.total >= _THREADED_COLUMNS else 1))
        if structure.columns.total == 0 and not structure.point_free.any():
            raise EstimationError("nothing to adjust: every pose, camera and point is held")
        evaluator = Evaluator.of(problem, structure, options.loss, options.depth_loss, threads, pool)
        solver: DirectSolver | IterativeSolver
        if kind == LinearSolver.ITERATIVE:
            solver = IterativeSolver(evaluator, options.cg_tolerance, options.cg_max_iterations)
        else:
            solver = DirectSolver(evaluator, half_bandwidth)
        progress.start(STAGE, options.max_iterations)
        try:
            run = _Run(evaluator, solver, options, progress, cancelled, began)
            run.minimize()
        finally:
            progress.finish(STAGE)
    return _result(problem, options, run, kind, began)


class _Run:
    """One descent, with what it found so far."""

    def __init__(
        self,
        evaluator: Evaluator,
        solver: DirectSolver | IterativeSolver,
        options: BundleOptions,
        progress: Progress,
        cancelled: Callable[[], bool] | None,
        began: float,
    ) -> None:
        self.evaluator, self.solver, self.options = evaluator, solver, options
        self.progress, self.cancelled, self.began = progress, cancelled, began
        self.structure_seconds = time.perf_counter() - began
        self.solution_seconds = 0.0
        self.state: State = evaluator.start()
        self.at: Linearization = evaluator.room()
        self.trial: Linearization = evaluator.room()
        self.iterations = self.accepted = 0
        self.termination = Termination.ITERATIONS
        evaluator.linearize(self.state, self.at)
        if not self.at.visible.all():
            evaluator.active[:] = self.at.visible
            evaluator.linearize(self.state, self.at)
        if not math.isfinite(self.at.cost):
            raise EstimationError("the cost is not finite where the adjustment starts")
        self.costs = [self.at.cost]

    def minimize(self) -> None:
        """Descend until a stopping test is met."""
        damping, growth = self.options.initial_damping, 2.0
        normal = self.evaluator.normal_equations(self.at, self.state)
        while True:
            if normal.largest_gradient() <= self.options.gradient * math.sqrt(2.0 * max(self.at.cost, 0.0)):
                self.termination = Termination.GRADIENT
                return
            if self._is_over():
                return
            self.iterations += 1
            self.progress.advance(STAGE)
            solving = time.perf_counter()
            step = self.solver.solve(normal, damping)
            self.solution_seconds += time.perf_counter() - solving
            if step is not None:
                trial = self.evaluator.moved(self.state, step.columns, step.points)
                self.evaluator.linearize(trial, self.trial)
                actual = self.at.cost - self.trial.cost
                if actual > 0.0 and step.predicted > 0.0:
                    settled = actual <= self.options.relative_decrease * self.at.cost
                    self.state, self.at, self.trial = trial, self.trial, self.at
                    self.accepted += 1
                    self.costs.append(self.at.cost)
                    ratio = actual / step.predicted
                    damping = max(damping * max(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3), _LEAST_DAMPING)
                    growth = 2.0
                    if settled:
                        self.termination = Termination.COST
                        return
                    normal = self.evaluator.normal_equations(self.at, self.state)
                    continue
                if 0.0 <= step.predicted <= self.options.relative_decrease * self.at.cost:
                    self.termination = Termination.COST
                    return
            damping, growth = damping * growth, growth * 2.0
            if damping > _MOST_DAMPING:
                self.termination = Termination.STEP
                return

    def _is_over(self) -> bool:
        if self.iterations >= self.options.max_iterations:
            self.termination = Termination.ITERATIONS
        elif self.iterations and time.perf_counter() - self.began > self.options.max_seconds:
            self.termination = Termination.TIME
        elif self.cancelled is not None and self.cancelled():
            self.termination = Termination.CANCELLED
        else:
            return False
        return True


def _structure(problem: BundleProblem, options: BundleOptions) -> tuple[Structure, LinearSolver, int | None]:
    """The structure, how to solve the reduced system, and the half bandwidth of its band where it is banded."""
    columns = lay_out(problem)
    structure = build(problem, columns)
    kind, size = options.linear_solver, columns.total
    if kind == LinearSolver.AUTO and size <= options.dense_up_to:
        kind = LinearSolver.DENSE
    if kind in (LinearSolver.DENSE, LinearSolver.ITERATIVE) or columns.border == 0:
        return structure, kind if kind != LinearSolver.BANDED else LinearSolver.DENSE, None
    narrow = lay_out(problem, _narrow_order(problem, structure))
    narrowed = build(problem, narrow)
    half_bandwidth = _half_bandwidth(problem, narrowed)
    shared = size - columns.border
    if kind == LinearSolver.BANDED or half_bandwidth + shared < _BAND_PAYS * size:
        return narrowed, LinearSolver.BANDED, half_bandwidth
    if size <= options.direct_up_to:
        return structure, LinearSolver.DENSE, None
    return structure, LinearSolver.ITERATIVE, None


def _touching(problem: BundleProblem, structure: Structure) -> tuple[Bools, NDArray[np.intp]]:
    """Which blocks share a point or a prior, (B, B), and the block that begins at each column, (n,)."""
    columns = structure.columns
    blocks = len(columns.block_offset)
    block_of = np.zeros(columns.total, np.intp)
    block_of[columns.block_offset] = np.arange(blocks)
    touching = np.zeros((blocks, blocks), np.bool_)
    mark_neighbours(structure.slot_start, structure.slots, block_of, touching)
    for prior in problem.priors:
        offsets = columns.pose_offset[list(prior.poses)]
        tied = block_of[offsets[offsets >= 0]]
        for camera in prior.cameras:
            inside = np.searchsorted(columns.block_offset, columns.camera_offset[camera], side="right") - 1
            tied = np.append(tied, inside)
        touching[np.ix_(tied, tied)] = True
    touching |= touching.T
    touching[np.diag_indices(blocks)] = True
    return touching, block_of


def _narrow_order(problem: BundleProblem, structure: Structure) -> NDArray[np.intp]:
    """All poses in reverse Cuthill-McKee order of the graph of points that they share."""
    columns = structure.columns
    touching, _ = _touching(problem, structure)
    before = int(np.searchsorted(columns.block_offset, columns.border))
    inner = csr_array(touching[:before, :before].astype(np.int8))
    order = reverse_cuthill_mckee(inner, symmetric_mode=True)
    free = np.flatnonzero(columns.pose_offset >= 0)
    ordered = free[np.argsort(columns.pose_offset[free])][order]
    return np.concatenate([ordered, np.flatnonzero(columns.pose_offset < 0)])


def _half_bandwidth(problem: BundleProblem, structure: Structure) -> int:
    columns = structure.columns
    touching, _ = _touching(problem, structure)
    before = int(np.searchsorted(columns.block_offset, columns.border))
    rows, others = np.nonzero(touching[:before, :before])
    ends = columns.block_offset[rows] + columns.block_width[rows] - 1
    return int((ends - columns.block_offset[others]).max(initial=0))


def _check_determined(problem: BundleProblem) -> None:
    """Raise for a free unknown that too few observations determine."""
    seen, views = problem.observations, problem.views
    by_view = np.bincount(seen.view, minlength=len(views.pose))
    tied = {p for prior in problem.priors for p in prior.poses}
    by_pose = np.bincount(views.pose, by_view, minlength=len(problem.poses))
    unseen = (by_pose == 0) if problem.held_poses is None else (by_pose == 0) & ~problem.held_poses
    for pose in np.flatnonzero(unseen):
        if int(pose) not in tied:
            raise InputError(f"pose {int(pose)} has no observations: hold it, or leave it out")
    by_camera = np.bincount(views.camera, by_view, minlength=len(problem.cameras))
    for index, free in enumerate(problem.free_intrinsics):
        if free.names and by_camera[index] == 0 and not any(index in prior.cameras for prior in problem.priors):
            raise InputError(f"camera {index} has free intrinsics but no observations: hold it, or leave it out")
    counts = problem.observation_counts()
    if seen.depth is not None:
        counts = counts + np.bincount(seen.point, is_measured(seen.depth), minlength=len(counts)).astype(np.intp)
    weak = counts < 2
    if problem.held_points is not None:
        weak &= ~problem.held_points
    if problem.point_priors is not None:
        weak[problem.point_priors.points] = False
    if weak.any():
        first = int(weak.argmax())
        raise InputError(
            f"point {first} is seen {('never', 'once')[int(counts[first])]} and has no depth ({int(weak.sum())} such "
            "points): hold them, or leave them out"
        )


def _result(
    problem: BundleProblem, options: BundleOptions, run: _Run, kind: LinearSolver, began: float
) -> BundleResult:
    evaluator, order = run.evaluator, run.evaluator.structure.order
    state, count = run.state, len(order)
    cameras = tuple(
        camera.with_params(state.params[index, : len(camera.params)]) if evaluator.free[index] else camera
        for index, camera in enumerate(problem.cameras)
    )
    errors = np.empty((count, run.at.errors.shape[1]))
    errors[order] = run.at.errors
    used, visible = np.empty(count, np.bool_), np.empty(count, np.bool_)
    used[order], visible[order] = evaluator.active, run.at.visible
    whitening = np.empty((count, 3))
    whitening[order] = evaluator.whitening
    u00, u01, u11 = whitening.T
    normalized = np.hypot(u00 * errors[:, 0] + u01 * errors[:, 1], u11 * errors[:, 1])
    counted = normalized[used & visible]
    noise = float(np.median(counted)) / _MEDIAN_OF_RAYLEIGH if len(counted) else float("nan")
    outliers = ~visible | (normalized > options.outlier_sigmas * max(1.0, noise))
    depth_errors = None
    if errors.shape[1] == 3:
        depths = np.empty((count, 2))
        depths[order] = evaluator.depths
        depth_errors = np.where(depths[:, 1] > 0.0, errors[:, 2], np.nan)
        outliers |= np.abs(errors[:, 2]) * depths[:, 1] > options.outlier_sigmas
    total = time.perf_counter() - began
    times = BundleTimes(
        run.structure_seconds, total - run.structure_seconds - run.solution_seconds, run.solution_seconds, total
    )
    return BundleResult(
        poses=state.poses,
        points=state.points,
        cameras=cameras,
        initial_cost=run.costs[0],
        final_cost=run.costs[-1],
        iterations=run.iterations,
        accepted=run.accepted,
        termination=run.termination,
        solver=kind,
        errors=np.ascontiguousarray(errors[:, :2]),
        depth_errors=depth_errors,
        normalized_errors=normalized,
        used=used,
        visible=visible,
        noise=noise,
        outliers=outliers,
        costs=tuple(run.costs),
        times=times,
        problem=problem,
        options=options,
    )
