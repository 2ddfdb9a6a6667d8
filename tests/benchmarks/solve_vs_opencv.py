"""Solving a calibration beside OpenCV: time, cost and memory on the same synthetic corners, in one process,
alternating.

    python tests/benchmarks/solve_vs_opencv.py --views 50 300 1000 3000 --points 88 --repeats 5

cv3d's time is everything from corners to uncertainty: the seed without a guess, the solution of one lens model, and the
joint covariance of intrinsics and poses. OpenCV's is `calibrateCamera` (`fisheye.calibrate` for the fisheye), which
returns no covariance. Both start from the corners alone.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import math
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import cv3d
from cv3d.calibration.problem import Observations
from cv3d.calibration.seeding import SEED_MODEL, seed_camera
from cv3d.calibration.solving import Solution, solve, start_from
from cv3d.calibration.uncertainty import camera_covariance
from cv3d.compute import torch_threads
from cv3d.errors import EstimationError

WIDTH, HEIGHT = 1280, 720
SQUARE_M = 0.03
MODELS = ("brown5", "brown8", "kannala_brandt4")
BROWN5 = np.array([-0.28, 0.09, 8e-4, -5e-4, -0.01])
BROWN8 = np.array([0.9, 0.25, 2e-4, -3e-4, 0.01, 1.25, 0.45, 0.05])
KANNALA = np.array([-0.021, 0.0042, -0.0031, 0.00046])
FISHEYE_FLAGS = cv2.CALIB_RECOMPUTE_EXTRINSIC | cv2.CALIB_FIX_SKEW

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CornerSet:
    """Corners of one board in many views."""

    points: Floats
    """Board points, (N, 3), metres."""
    pixels: Floats
    """(V, N, 2), pixels."""

    def observations(self) -> Observations:
        """The same as the solver takes it."""
        views, count = self.pixels.shape[:2]
        points = torch.from_numpy(self.points).expand(views, count, 3).contiguous()
        plane = points[0, :, :2]
        extent = torch.stack([plane.amin(dim=0), plane.amax(dim=0)])
        return Observations(points, torch.from_numpy(self.pixels), torch.ones(views, count, dtype=torch.bool), extent)


def true_camera(model: str) -> tuple[Floats, Floats]:
    """Camera matrix (3, 3) and distortion of the lens that took the corners."""
    focal, distortion = {"brown5": (900.0, BROWN5), "brown8": (760.0, BROWN8), "kannala_brandt4": (560.0, KANNALA)}[
        model
    ]
    matrix = np.array([[focal, 0.0, 646.3], [0.0, 1.002 * focal, 351.8], [0.0, 0.0, 1.0]])
    return matrix, distortion


def project(model: str, points: Floats, rotation: Floats, translation: Floats) -> Floats:
    """OpenCV's own projection, (N, 2)."""
    matrix, distortion = true_camera(model)
    if model == "kannala_brandt4":
        pixels, _ = cv2.fisheye.projectPoints(points[None], rotation, translation, matrix, distortion)
    else:
        pixels, _ = cv2.projectPoints(points[None], rotation, translation, matrix, distortion)
    return np.asarray(pixels, np.float64).reshape(-1, 2)


def make_corners(model: str, views: int, points: int, noise_px: float, seed: int) -> CornerSet:
    """Whole boards at random places, distances and tilts up to 40 degrees; noise is Gaussian, per coordinate."""
    rng = np.random.default_rng(seed)
    rows = max(3, round(math.sqrt(points * 8 / 11)))
    cols = math.ceil(points / rows)
    y, x = np.mgrid[0:rows, 0:cols]
    board = np.stack([x.ravel(), y.ravel(), np.zeros(rows * cols)], axis=1) * SQUARE_M
    centre = board.mean(axis=0)
    focal = true_camera(model)[0][0, 0]
    seen: list[Floats] = []
    while len(seen) < views:
        tilt = np.radians(rng.uniform(-40.0, 40.0, 2))
        turn = np.array([tilt[0], tilt[1], rng.uniform(-math.pi, math.pi)])
        rotation = cv2.Rodrigues(turn)[0]
        depth = rng.uniform(0.35, 1.2) * focal / 700.0
        place = np.array([rng.uniform(-0.6, 0.6) * WIDTH, rng.uniform(-0.6, 0.6) * HEIGHT]) / focal * depth
        translation = np.array([*place, depth]) - rotation @ centre
        if (board @ rotation.T + translation)[:, 2].min() < 0.05:
            continue
        pixels = project(model, board, turn, translation)
        if pixels.min() >= 0.0 and pixels[:, 0].max() <= WIDTH - 1 and pixels[:, 1].max() <= HEIGHT - 1:
            seen.append(pixels)
    noise = rng.normal(0.0, noise_px, (views, len(board), 2))
    # OpenCV takes single precision: both get the numbers that survive it.
    return CornerSet(
        board.astype(np.float32).astype(np.float64), (np.stack(seen) + noise).astype(np.float32).astype(np.float64)
    )


def solve_cv3d(corners: CornerSet, model: str) -> Solution:
    """From corners to covariance."""
    observations = corners.observations()
    with torch_threads(1):  # as `cv3d.calibrate` runs it
        return _solve(observations, model)


def _solve(observations: Observations, model: str) -> Solution:
    seed = seed_camera(observations, WIDTH, HEIGHT)
    start = start_from(observations, seed.state, SEED_MODEL, model)
    solution = solve(observations, model, start)
    # Random corners may leave the rational model undetermined; the time is spent all the same.
    with contextlib.suppress(EstimationError):
        camera_covariance(solution)
    return solution


def solve_opencv(corners: CornerSet, model: str) -> float:
    """OpenCV's RMS, pixels."""
    points = [corners.points[None].astype(np.float32)] * len(corners.pixels)
    pixels = [p[None].astype(np.float32) for p in corners.pixels]
    if model == "kannala_brandt4":
        # The fisheye solver wants double precision inside and (1, N, c) arrays.
        points = [p.astype(np.float64) for p in points]
        pixels = [p.astype(np.float64) for p in pixels]
        criteria = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 200, 1e-12)
        rms = cv2.fisheye.calibrate(
            points, pixels, (WIDTH, HEIGHT), np.eye(3), np.zeros(4), flags=FISHEYE_FLAGS, criteria=criteria
        )[0]
    else:
        flags = cv2.CALIB_RATIONAL_MODEL if model == "brown8" else 0
        rms = cv2.calibrateCamera(points, pixels, (WIDTH, HEIGHT), None, None, flags=flags)[0]
    return float(rms)


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """Seconds and result."""
    gc.collect()
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def resident_mib() -> float:
    """Largest resident size of this process so far, MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux hands the parent's peak on to `getrusage` of a new process; this one is the process's own.
        return next(float(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line[:5] == "VmHWM")
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def memory_growth(model: str, views: int, points: int, noise_px: float, threads: int) -> float:
    """How much the largest resident size grows over one estimate, MiB; to be run in a fresh process."""
    torch.set_num_threads(threads)
    solve_cv3d(make_corners(model, 10, points, noise_px, 0), model)
    corners = make_corners(model, views, points, noise_px, 0)
    before = resident_mib()
    solve_cv3d(corners, model)
    return resident_mib() - before


def cpu_name() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def compare(model: str, views: int, args: argparse.Namespace) -> None:
    """Measure one model at one size and print one row."""
    corners = make_corners(model, views, args.points, args.noise, args.seed)
    ours: list[float] = []
    theirs: list[float] = []
    solution: Solution | None = None
    rms, failure = math.nan, ""
    for _ in range(args.repeats):
        seconds, result = timed(lambda: solve_cv3d(corners, model))
        assert isinstance(result, Solution)
        solution = result
        ours.append(seconds)
        if views <= args.opencv_max_views and not failure:
            try:
                seconds, result = timed(lambda: solve_opencv(corners, model))
            except cv2.error as error:
                failure = f"OpenCV failed: {error.err}"
                continue
            assert isinstance(result, float)
            theirs.append(seconds)
            rms = result
    assert solution is not None
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        job = pool.submit(memory_growth, model, views, args.points, args.noise, torch.get_num_threads())
        growth = job.result()
    mine = statistics.median(ours)
    row = f"{model:16s} {views:5d} {corners.pixels.shape[1]:4d} {mine:9.3f}"
    if theirs:
        peer = statistics.median(theirs)
        cost = solution.rms_px**2 / rms**2 - 1.0
        row += f" {peer:9.3f} {mine / peer:7.2f} {solution.rms_px:11.8f} {rms:11.8f} {cost:+10.1e}"
    else:
        row += f" {'-':>9s} {'-':>7s} {solution.rms_px:11.8f} {'-':>11s} {'-':>10s}"
    print(f"{row} {growth:8.1f} {growth * 1024 / views:8.1f} {solution.iterations:5d}  {failure}", flush=True)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, nargs="+", default=[50, 300, 1000, 3000])
    parser.add_argument("--points", type=int, default=88, help="corners of the board (rounded up to a rectangle)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--noise", type=float, default=0.2, help="standard deviation per coordinate, pixels")
    parser.add_argument("--opencv-max-views", type=int, default=300, help="OpenCV is left out above this")
    parser.add_argument("--threads", type=int, default=None, help="threads of torch and OpenCV (default: their own)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    print(f"cv3d {cv3d.__version__}, OpenCV {cv2.__version__}, torch {torch.__version__}, numpy {np.__version__}")
    print(f"{cpu_name()}, {os.cpu_count()} cores; torch threads {torch.get_num_threads()}, {platform.platform()}")
    print(f"median of {args.repeats}, noise {args.noise} px per coordinate; seconds; cv3d: seed, solve and covariance")
    print(
        f"{'model':16s} {'views':>5s} {'pts':>4s} {'cv3d s':>9s} {'OpenCV s':>9s} {'ratio':>7s} {'cv3d RMS':>11s} "
        f"{'OpenCV RMS':>11s} {'cost diff':>10s} {'MiB':>8s} {'KiB/view':>8s} {'iter':>5s}"
    )
    for model in args.models:
        solve_cv3d(make_corners(model, 10, args.points, args.noise, args.seed), model)
        for views in args.views:
            compare(model, views, args)


if __name__ == "__main__":
    main()
