"""Bundle adjustment beside Ceres, as pycolmap runs it, on the same problems in one process, alternating.

    CV3D_DATA=shared/data python tests/benchmarks/bundle_vs_ceres.py --repeats 5
    python tests/benchmarks/bundle_vs_ceres.py --cases window walk-500 --threads 2

Both get the same poses, points, pixels and intrinsics, the same tolerance on the cost, no robust loss, and one thread
unless told otherwise; pycolmap chooses its linear solver itself (dense or sparse Schur complement). cv3d's time is
that of `adjust_bundle`, everything included; Ceres' is that of its `solve`, without building its problem. Seconds of
the processor stand beside those of the clock, for the sake of machines that do other things as well.

The problems: `window` is a sliding window of ten key frames, two of them and the intrinsics held, five iterations;
`ladybug` is BAL's ladybug-49-7776, `dubrovnik` three cameras and seven points of BAL's Dubrovnik; `walk-N` are N
pictures along a loop with tracks of about six pictures; `around-N` are N pictures of one object, each point in up to
ten of them or, for few pictures, a third of them. The rendered ones share one camera whose focal length and two radial
coefficients are free, pixels have 0.5 px of noise.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numba
import numpy as np
import pycolmap
import scipy
import torch
from numpy.typing import NDArray

import cv3d
from cv3d.formats.bal import read_bal
from cv3d.geometry.bundle import (
    BundleOptions,
    BundleProblem,
    BundleResult,
    FreeIntrinsics,
    Observations,
    Views,
    adjust_bundle,
)
from cv3d.geometry.cameras import Camera
from cv3d.geometry.transforms import SE3

Floats = NDArray[np.float64]

CASES = ("window", "dubrovnik", "ladybug", "walk-16", "around-16", "walk-100", "around-100", "walk-500", "around-500")
BAL = {"dubrovnik": "dubrovnik-3-7-pre.txt", "ladybug": "ladybug-49-7776-pre.txt"}
CAMERA = Camera("brown4", 1280, 960, (1000.0, 1000.0, 639.5, 479.5, -0.15, 0.04, 0.0, 0.0))
FREE = FreeIntrinsics(("fx", "k1", "k2"), one_focal=True)
NOISE_PX = 0.5


@dataclass(frozen=True)
class Case:
    """One problem with its stopping tests."""

    problem: BundleProblem
    max_iterations: int = 100
    relative_decrease: float = 1e-6


@dataclass(frozen=True)
class Outcome:
    """What one solver reached."""

    wall: float
    cpu: float
    initial: float
    final: float
    iterations: int
    solver: str


def look_at(centres: Floats, targets: Floats) -> Floats:
    """cam_from_world (n, 4, 4) of cameras at `centres` that look at `targets` with y down."""
    forward = targets - centres
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)
    poses = np.tile(np.eye(4), (len(centres), 1, 1))
    poses[:, :3, :3] = rotation
    poses[:, :3, 3] = -np.einsum("nij,nj->ni", rotation, centres)
    return poses


def observed(
    poses: Floats, points: Floats, view: NDArray[np.intp], point: NDArray[np.intp], seed: int
) -> BundleProblem:
    """The problem of noisy observations inside the picture; points seen less than twice are left out."""
    rng = np.random.default_rng(seed)
    seen = np.einsum("nij,nj->ni", poses[view, :3, :3], points[point]) + poses[view, :3, 3]
    pixels = CAMERA.project(seen)
    inside = (seen[:, 2] > 0.3) & (pixels > 0.0).all(axis=1) & (pixels < [CAMERA.width, CAMERA.height]).all(axis=1)
    enough = np.bincount(point[inside], minlength=len(points)) >= 2
    inside &= enough[point]
    view, point, pixels = view[inside], (np.cumsum(enough) - 1)[point[inside]], pixels[inside]
    pixels = pixels + rng.normal(0.0, NOISE_PX, pixels.shape)
    return BundleProblem(
        (CAMERA,), poses, points[enough], Views.one_per_pose(len(poses)), Observations(pixels, view, point)
    )


def disturbed(problem: BundleProblem, place: float, rotation: float, depth: float, seed: int) -> BundleProblem:
    """Free poses and points moved; the camera's focal length off by two per cent where it is free."""
    rng = np.random.default_rng(seed + 1)
    steps = rng.normal(size=(len(problem.poses), 6)) * np.array([place] * 3 + [rotation] * 3)
    if problem.held_poses is not None:
        steps[problem.held_poses] = 0.0
    poses = SE3.exp(torch.from_numpy(steps)).as_matrix().numpy() @ problem.poses
    points = problem.points + rng.normal(0.0, depth, problem.points.shape)
    camera = problem.cameras[0]
    if problem.free_intrinsics:
        camera = camera.with_params((camera.params[0] * 1.02, camera.params[1] * 1.02, *camera.params[2:4], 0, 0, 0, 0))
    return replace(problem, poses=poses, points=points, cameras=(camera,))


def window() -> BundleProblem:
    """Ten key frames, 500 points, 2,500 observations."""
    rng = np.random.default_rng(0)
    centres = np.stack([0.15 * np.arange(10), 0.02 * rng.normal(size=10), 0.02 * rng.normal(size=10)], axis=1)
    poses = look_at(centres, centres + [0.0, 0.0, 5.0] + 0.1 * rng.normal(size=(10, 3)))
    depth = rng.uniform(2.0, 8.0, 500)
    points = np.stack([rng.uniform(-0.35, 0.35, 500) * depth + 0.7, rng.uniform(-0.3, 0.3, 500) * depth, depth], axis=1)
    first = rng.integers(0, 6, 500)
    view = np.repeat(first, 5) + np.tile(np.arange(5), 500)
    problem = observed(poses, points, view, np.repeat(np.arange(500), 5), 0)
    return disturbed(replace(problem, held_poses=np.arange(10) < 2), 0.01, 0.003, 0.05, 0)


def walk(count: int) -> BundleProblem:
    """Pictures along a closed loop that look outwards, 200 points for each, tracks of about six pictures."""
    rng = np.random.default_rng(count)
    radius = 0.25 * count / (2.0 * math.pi)
    angle = np.linspace(0.0, 2.0 * math.pi, count, endpoint=False)
    outward = np.stack([np.sin(angle), np.zeros(count), np.cos(angle)], axis=1)
    poses = look_at(radius * outward, (radius + 5.0) * outward + rng.normal(0.0, 0.2, (count, 3)))
    owner = np.repeat(np.arange(count), 200)
    depth = rng.uniform(2.0, 6.0, len(owner))
    local = np.stack([rng.uniform(-0.5, 0.5, len(owner)) * depth, rng.uniform(-0.4, 0.4, len(owner)) * depth, depth], 1)
    points = np.einsum("nji,nj->ni", poses[owner, :3, :3], local - poses[owner, :3, 3])
    view = (owner[:, None] + np.arange(-3, 4)) % count
    point = np.broadcast_to(np.arange(len(owner))[:, None], view.shape)
    problem = observed(poses, points, view.ravel(), point.ravel(), count)
    return disturbed(replace(problem, free_intrinsics=(FREE,)), 0.02, 0.003, 0.05, count)


def around(count: int) -> BundleProblem:
    """Pictures around one object, 60 points for each, every point in ten of those that face it."""
    rng = np.random.default_rng(count)
    angle = np.linspace(0.0, 2.0 * math.pi, count, endpoint=False)
    centres = np.stack([5.0 * np.sin(angle), rng.normal(0.0, 0.5, count), -5.0 * np.cos(angle)], axis=1)
    poses = look_at(centres, rng.normal(0.0, 0.1, (count, 3)))
    points = rng.normal(size=(60 * count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    point, view = np.nonzero(points @ centres.T > 2.5)
    few = rng.uniform(size=len(view)) < min(1.0, 30.0 / count)
    problem = observed(poses, points, view[few], point[few], count)
    return disturbed(replace(problem, free_intrinsics=(FREE,)), 0.02, 0.003, 0.03, count)


def make_case(name: str, data: Path) -> Case:
    """The problem of a name."""
    if name == "window":
        return Case(window(), max_iterations=5, relative_decrease=0.0)
    if name in BAL:
        return Case(read_bal(data / "graphs" / BAL[name]), 300, 1e-8)
    kind, count = name.split("-")
    return Case({"walk": walk, "around": around}[kind](int(count)))


def reconstruction_of(problem: BundleProblem) -> pycolmap.Reconstruction:
    """The same problem as pycolmap holds it, its pixels counted from the corner of the first one."""
    result = pycolmap.Reconstruction()
    for index, camera in enumerate(problem.cameras):
        fx, fy, cx, cy, k1, k2, p1, p2 = camera.params
        radial = not problem.free_intrinsics or problem.free_intrinsics[index] == FREE
        name, params = "OPENCV", [fx, fy, cx + 0.5, cy + 0.5, k1, k2, p1, p2]
        if radial and fx == fy and p1 == p2 == 0.0:
            name, params = "RADIAL", [fx, cx + 0.5, cy + 0.5, k1, k2]
        result.add_camera_with_trivial_rig(
            pycolmap.Camera(camera_id=index + 1, model=name, width=camera.width, height=camera.height, params=params)
        )
    seen = problem.observations
    order = np.argsort(seen.view, kind="stable")
    within = np.empty(len(seen), np.intp)
    starts = np.searchsorted(seen.view[order], np.arange(len(problem.poses) + 1))
    for index, pose in enumerate(problem.poses):
        mine = order[starts[index] : starts[index + 1]]
        within[mine] = np.arange(len(mine))
        image = pycolmap.Image(
            name=str(index),
            keypoints=seen.pixels[mine] + 0.5,
            camera_id=int(problem.views.camera[index]) + 1,
            image_id=index + 1,
        )
        result.add_image_with_trivial_frame(image, pycolmap.Rigid3d(pose[:3]))
    tracks = [pycolmap.Track() for _ in problem.points]
    for view, point, number in zip(seen.view.tolist(), seen.point.tolist(), within.tolist(), strict=True):
        tracks[point].add_element(view + 1, number)
    for point, track in zip(problem.points, tracks, strict=True):
        result.add_point3D(point, track)
    return result


def solve_ceres(case: Case, threads: int) -> Outcome:
    """pycolmap's bundle adjustment of a fresh copy."""
    problem = case.problem
    reconstruction = reconstruction_of(problem)
    config = pycolmap.BundleAdjustmentConfig()
    for image in reconstruction.images:
        config.add_image(image)
    if not problem.free_intrinsics:
        for camera in reconstruction.cameras:
            config.set_constant_cam_intrinsics(camera)
    if problem.held_poses is not None:
        for pose in np.flatnonzero(problem.held_poses):
            config.set_constant_rig_from_world_pose(reconstruction.images[int(pose) + 1].frame_id)
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.ceres.min_num_residuals_for_cpu_multi_threading = 0
    solver = options.ceres.solver_options
    solver.max_num_iterations = case.max_iterations
    solver.function_tolerance = case.relative_decrease
    solver.gradient_tolerance = solver.parameter_tolerance = 0.0
    solver.num_threads = threads
    options.ceres.solver_options = solver
    adjuster = pycolmap.create_default_ceres_bundle_adjuster(options, config, reconstruction)
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    summary = adjuster.solve().ceres_summary
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    done = summary.num_successful_steps + summary.num_unsuccessful_steps
    return Outcome(
        wall, cpu, summary.initial_cost, summary.final_cost, done, str(summary.linear_solver_type_used).split(".")[-1]
    )


def solve_cv3d(case: Case, threads: int) -> Outcome:
    """cv3d's."""
    options = BundleOptions(
        max_iterations=case.max_iterations,
        relative_decrease=case.relative_decrease,
        gradient=0.0,
        threads=threads,
    )
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    result: BundleResult = adjust_bundle(case.problem, options)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Outcome(wall, cpu, result.initial_cost, result.final_cost, result.iterations, result.solver)


def cpu_name() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def median_of(outcomes: list[Outcome], value: Callable[[Outcome], float]) -> float:
    """Median of one figure."""
    return statistics.median(value(outcome) for outcome in outcomes)


def compare(name: str, args: argparse.Namespace) -> None:
    """Measure one problem and print one row."""
    case = make_case(name, args.data)
    seen = case.problem.observations
    solve_cv3d(case, args.threads)
    ours: list[Outcome] = []
    theirs: list[Outcome] = []
    for _ in range(args.repeats):
        ours.append(solve_cv3d(case, args.threads))
        theirs.append(solve_ceres(case, args.threads))
    wall = statistics.median(a.wall / b.wall for a, b in zip(ours, theirs, strict=True))
    cpu = statistics.median(a.cpu / b.cpu for a, b in zip(ours, theirs, strict=True))
    mine, peer = ours[0], theirs[0]
    size = f"{len(case.problem.poses)}/{len(case.problem.points)}/{len(seen)}"
    print(
        f"{name:11s} {size:>18s} {median_of(ours, lambda o: o.wall):8.3f} {median_of(theirs, lambda o: o.wall):8.3f} "
        f"{wall:6.2f} {median_of(ours, lambda o: o.cpu):8.3f} {median_of(theirs, lambda o: o.cpu):8.3f} {cpu:6.2f} "
        f"{mine.iterations:4d} {peer.iterations:4d} {mine.initial:13.7g} {mine.final:14.9g} {peer.final:14.9g} "
        f"{mine.final / peer.final - 1.0:+9.1e}  {mine.solver}, {peer.solver}",
        flush=True,
    )
    if abs(mine.initial / peer.initial - 1.0) > 1e-6:
        print(f"{'':11s} NOT the same problem: Ceres starts at {peer.initial:.9g}", flush=True)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CV3D_DATA", "../shared/data")))
    args = parser.parse_args()
    print(
        f"cv3d {cv3d.__version__}, pycolmap {pycolmap.__version__} with Ceres {pycolmap.__ceres_version__}, numba "
        f"{numba.__version__}, torch {torch.__version__}, scipy {scipy.__version__}, numpy {np.__version__}"
    )
    print(f"{cpu_name()}, {os.cpu_count()} cores, {platform.platform()}; {args.threads} thread(s) each")
    print(f"medians of {args.repeats}; seconds by the clock and of the processor; ratio = median of cv3d / Ceres")
    print(
        f"{'problem':11s} {'poses/points/obs':>18s} {'cv3d s':>8s} {'Ceres s':>8s} {'ratio':>6s} {'cv3d cpu':>8s} "
        f"{'Ceres':>8s} {'ratio':>6s} {'iterations':>9s} {'initial':>12s} {'cv3d final':>14s} {'Ceres final':>14s} "
        f"{'diff':>9s}  solvers"
    )
    for name in args.cases:
        compare(name, args)


if __name__ == "__main__":
    main()
