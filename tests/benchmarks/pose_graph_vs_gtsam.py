"""Pose graphs beside GTSAM: the same file, the same start, both in one process, one thread each, alternating.

    CV3D_DATA=shared/data python tests/benchmarks/pose_graph_vs_gtsam.py --repeats 5

Needs the PyPI package gtsam. Both read the file's information as being about rotation vectors. "guess" starts from the
poses of the file, "none" without them: GTSAM by its chordal initialisation, cv3d by its relaxed start; GTSAM minimises
by Gauss and Newton, as its own examples do. Costs are half of chi squared, of both results by both programs: their
errors differ in the translation's part, which is the logarithm's of the whole motion in GTSAM. Times of the processor
stand beside those of the clock, for the sake of machines that do other things as well.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import gtsam
import numpy as np
import scipy
import torch

import cv3d
from cv3d.formats.g2o import read_g2o
from cv3d.geometry.pose_graph import PoseGraph, PoseGraphOptions, RotationError, Start, optimize_pose_graph
from cv3d.geometry.transforms import SE3

GRAPHS = ("sphere2500", "parking-garage")
TIGHT = 1e9
"""Information of the prior that holds GTSAM's first frame."""


def gtsam_problem(path: Path, tolerance: float) -> tuple[gtsam.NonlinearFactorGraph, gtsam.Values, object]:
    """GTSAM's graph with its first frame held, the file's poses, and its parameters."""
    graph, guess = gtsam.readG2o(str(path), True)
    graph.add(gtsam.PriorFactorPose3(0, guess.atPose3(0), gtsam.noiseModel.Isotropic.Precision(6, TIGHT)))
    params = gtsam.GaussNewtonParams()
    params.setRelativeErrorTol(tolerance)
    params.setAbsoluteErrorTol(0.0)
    return graph, guess, params


def as_values(poses: SE3) -> gtsam.Values:
    """cv3d's poses as GTSAM has them."""
    values = gtsam.Values()
    for key, matrix in enumerate(poses.as_matrix().numpy()):
        values.insert(key, gtsam.Pose3(matrix))
    return values


def as_poses(values: gtsam.Values, count: int) -> SE3:
    """GTSAM's poses as cv3d has them."""
    return SE3.from_matrix(torch.from_numpy(np.stack([values.atPose3(key).matrix() for key in range(count)])))


def timed(work: Callable[[], object]) -> tuple[object, float, float]:
    """Result, seconds of the clock and of the processor."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - clock, time.process_time() - cpu


def cost_of(graph: PoseGraph[SE3], poses: SE3) -> float:
    """cv3d's cost of poses."""
    start = PoseGraphOptions(start=Start.GUESS, max_iterations=0)
    return optimize_pose_graph(graph.with_poses(poses), start).cost


def compare(path: Path, start: str, repeats: int, tolerance: float) -> None:
    """Solve one file `repeats` times by both and print the medians."""
    graph = read_g2o(path, RotationError.VECTOR).graph
    factors, guess, params = gtsam_problem(path, tolerance)
    options = PoseGraphOptions(start=Start.GUESS if start == "guess" else Start.RELAXED, relative_decrease=tolerance)

    def theirs() -> gtsam.GaussNewtonOptimizer:
        first = guess if start == "guess" else gtsam.InitializePose3.initialize(factors)
        optimizer = gtsam.GaussNewtonOptimizer(factors, first, params)
        optimizer.optimize()
        return optimizer

    rows = []
    for _ in range(repeats):
        ours, clock, cpu = timed(lambda: optimize_pose_graph(graph, options))
        other, other_clock, other_cpu = timed(theirs)
        rows.append((clock, cpu, other_clock, other_cpu, clock / other_clock, cpu / other_cpu))
    clock, cpu, other_clock, other_cpu, ratio, cpu_ratio = (
        statistics.median(column) for column in zip(*rows, strict=True)
    )
    values = other.values()
    print(
        f"{path.stem:<15} {start:<6} cv3d {clock:6.2f} s ({cpu:5.2f} cpu) {ours.iterations:3d} it.  "
        f"GTSAM {other_clock:6.2f} s ({other_cpu:5.2f} cpu) {other.iterations():3d} it.  "
        f"cv3d/GTSAM {ratio:.2f} ({cpu_ratio:.2f} cpu)"
    )
    print(
        f"{'':<22} cost by cv3d: cv3d {ours.cost:.6f}, GTSAM {cost_of(graph, as_poses(values, len(graph))):.6f}; "
        f"by GTSAM: cv3d {factors.error(as_values(ours.world_from_node)):.6f}, GTSAM {factors.error(values):.6f}"
    )
    _, clock, cpu = timed(ours.covariance)
    nodes = range(len(graph))
    marginals = gtsam.Marginals(factors, values)
    theirs_all, other_clock, other_cpu = timed(lambda: [marginals.marginalCovariance(k) for k in nodes])
    # GTSAM's tangent has the rotation first.
    order = [3, 4, 5, 0, 1, 2]
    stated = np.stack(theirs_all)[1:][:, order][:, :, order]
    spread = np.abs(
        np.sqrt(np.diagonal(ours.covariance()[1:], axis1=1, axis2=2) / np.diagonal(stated, axis1=1, axis2=2)) - 1.0
    )
    print(
        f"{'':<22} all covariances: cv3d {clock:.2f} s ({cpu:.2f} cpu), GTSAM {other_clock:.2f} s "
        f"({other_cpu:.2f} cpu), deviations differ by {100.0 * spread.max():.2g} % at most"
    )


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tolerance", type=float, default=1e-6, help="relative decrease of the cost at which to stop")
    args = parser.parse_args()
    torch.set_num_threads(1)
    root = Path(os.environ.get("CV3D_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.platform()}; "
        f"cv3d {cv3d.__version__}, GTSAM {version('gtsam')}, torch {torch.__version__}, scipy {scipy.__version__}, "
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}"
    )
    for name in GRAPHS:
        for start in ("guess", "none"):
            compare(root / "graphs" / f"{name}.g2o", start, args.repeats, args.tolerance)


if __name__ == "__main__":
    main()
