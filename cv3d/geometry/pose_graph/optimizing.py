"""Nonlinear least squares on pose graphs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch

from cv3d.errors import EstimationError
from cv3d.geometry.pose_graph.graph import Pose, PoseGraph
from cv3d.geometry.pose_graph.initializing import along_a_tree, relaxed
from cv3d.geometry.pose_graph.residuals import RotationError, retract
from cv3d.geometry.pose_graph.solution import PoseGraphSolution
from cv3d.geometry.pose_graph.switched import SwitchedLoss
from cv3d.geometry.pose_graph.system import Floats, GraphPattern, GraphProblem, GraphSystem
from cv3d.geometry.robust import SQUARED, Loss, LossKind

_STAGE_ITERATIONS = 1
_STAGE_SHRINK = 2.0
_MOST_STAGES = 24
_MAX_DAMPING = 1e12
_NOTHING = 1e-22
"""Cost of a measurement below which nothing but rounding is left."""


class Start(StrEnum):
    """Where the search starts."""

    BEST = "best"
    """Whichever of the others costs least."""
    GUESS = "guess"
    """The poses of the graph."""
    TREE = "tree"
    """Poses along a spanning tree from the fixed frames."""
    RELAXED = "relaxed"
    """Poses of the relaxed linear problems."""


@dataclass(frozen=True)
class PoseGraphOptions:
    """How a pose graph is optimised."""

    loss: Loss = SQUARED
    """Loss of measurements between frames that follow each other; its scale is in standard deviations."""
    loop_loss: Loss | SwitchedLoss = SQUARED
    """Loss of loops; Cauchy's or the switched one takes out wrong ones."""
    graduated: bool = True
    """Whether a loss that leaves the square starts so wide that no loop is beyond it and narrows from there."""
    start: Start = Start.BEST
    rotation_error: RotationError = RotationError.VECTOR
    """What of a rotation is squared; the information is taken to be that of a rotation vector either way."""
    max_iterations: int = 100
    relative_decrease: float = 1e-9
    """Stop when a step lowers the cost, or could lower it, by less than this fraction of it."""
    initial_damping: float = 1e-9
    """Of Levenberg and Marquardt; so small it is a step of Gauss and Newton."""


def optimize_pose_graph(graph: PoseGraph[Pose], options: PoseGraphOptions | None = None) -> PoseGraphSolution[Pose]:
    """The most likely poses of a pose graph, given its measurements.

    Levenberg and Marquardt's method on the manifold, with Nielsen's damping and sparse Cholesky factors. A robust loss
    is approached from a wide one (graduated non-convexity, Blake and Zisserman 1987; Yang et al. 2020), because a wrong
    loop and a true one after long drift look alike at first.

    Args:
        graph: the measurements, and poses to start from.
        options: losses, start, stopping tests.

    Raises:
        EstimationError: a frame hangs together with no fixed one, or the measurements leave a direction open.
    """
    options = options or PoseGraphOptions()
    graph.check_connected()
    graph = _informed(graph, options.rotation_error)
    pattern = GraphPattern.of(graph, graph.tangent_dim)
    problem = GraphProblem.of(graph, options.rotation_error, pattern)
    start, poses, start_cost = _started(graph, problem, pattern, options)
    iterations = 0
    for loop_loss in _stages(problem, poses, options):
        stage = replace(options, loop_loss=loop_loss, max_iterations=_STAGE_ITERATIONS)
        poses, _, done, _ = _minimised(problem, poses, stage)
        iterations += done
    poses, system, done, converged = _minimised(problem, poses, options)
    squared = problem.squared_errors(poses)
    _, weights = problem.robust(squared, options.loss, options.loop_loss)
    return PoseGraphSolution(
        poses,
        system.cost,
        squared.numpy(),
        weights.numpy(),
        start,
        start_cost,
        iterations + done,
        converged,
        system,
    )


def _informed(graph: PoseGraph[Pose], kind: RotationError) -> PoseGraph[Pose]:
    """The graph with information about the rotation's error of this kind: half a rotation vector has four times it."""
    if kind is RotationError.VECTOR:
        return graph
    factor = torch.ones(graph.tangent_dim, dtype=torch.float64)
    factor[3:6] = 2.0
    return replace(graph, information=factor[:, None] * graph.information * factor)


def _started(
    graph: PoseGraph[Pose], problem: GraphProblem[Pose], pattern: GraphPattern, options: PoseGraphOptions
) -> tuple[Start, Pose, float]:
    """Where to start, the poses and their cost."""
    starts = [options.start] if options.start is not Start.BEST else [Start.GUESS, Start.TREE, Start.RELAXED]
    if not len(pattern.free):
        starts = [Start.GUESS]
    best: tuple[Start, Pose, float] | None = None
    for start in starts:
        if start is Start.GUESS:
            poses = graph.world_from_node
        elif start is Start.TREE:
            poses = along_a_tree(graph)
        else:
            poses = relaxed(graph, pattern)
        cost = problem.cost(poses, options.loss, options.loop_loss)
        if best is None or cost < best[2]:
            best = start, poses, cost
    if best is None or not math.isfinite(best[2]):
        raise EstimationError("the cost of the pose graph is not finite where the search starts")
    return best


def _stages(problem: GraphProblem[Pose], poses: Pose, options: PoseGraphOptions) -> list[Loss | SwitchedLoss]:
    """Losses that narrow to the one of the options, which is not among them."""
    loss = options.loop_loss
    is_square = isinstance(loss, Loss) and loss.kind is LossKind.SQUARED
    if is_square or not options.graduated or not bool(problem.is_loop.any()):
        return []
    widest = math.sqrt(float(problem.squared_errors(poses)[problem.is_loop].max()))
    count = math.ceil(math.log(max(widest / loss.scale, 1.0), _STAGE_SHRINK))
    return [replace(loss, scale=loss.scale * _STAGE_SHRINK**k) for k in range(min(count, _MOST_STAGES), 0, -1)]


def _minimised(
    problem: GraphProblem[Pose], poses: Pose, options: PoseGraphOptions
) -> tuple[Pose, GraphSystem, int, bool]:
    """Poses of least cost from where they are, their normal equations, the steps tried and whether that converged.

    Raises:
        EstimationError: the equations are singular however much they are damped.
    """
    system = problem.system(poses, options.loss, options.loop_loss)
    damping, growth = options.initial_damping, 2.0
    nothing = _NOTHING * max(len(problem.first), 1)
    if not len(problem.pattern.free):
        return poses, system, 0, True
    for iteration in range(1, options.max_iterations + 1):
        step = _step(system, damping)
        if step is None:
            damping, growth = max(damping, options.initial_damping) * growth, growth * 2.0
            if damping > _MAX_DAMPING:
                raise EstimationError("the measurements of the pose graph leave a direction open")
            continue
        predicted = 0.5 * float((step * (damping * system.scaling() * step - system.gradient)).sum())
        if predicted <= options.relative_decrease * system.cost + nothing:
            return poses, system, iteration, True
        trial = retract(poses, torch.from_numpy(problem.pattern.spread(step)))
        # Almost every step is taken, so the equations at its end are set up with its cost.
        trial_system = problem.system(trial, options.loss, options.loop_loss)
        if math.isfinite(trial_system.cost) and trial_system.cost < system.cost:
            ratio = (system.cost - trial_system.cost) / predicted
            poses, system = trial, trial_system
            damping, growth = damping * max(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3), 2.0
        else:
            damping, growth = max(damping, options.initial_damping) * growth, growth * 2.0
            if damping > _MAX_DAMPING:
                return poses, system, iteration, True
    return poses, system, options.max_iterations, False


def _step(system: GraphSystem, damping: float) -> Floats | None:
    """The step, (F, d); None where the damped equations are singular."""
    try:
        step = system.damped(damping).solve(-system.gradient)
    except EstimationError:
        return None
    return step if bool(np.isfinite(step).all()) else None
