"""Solving a splined lens model: time and error by grid, beside formulas, on synthetic corners of an uneven lens.

    python tests/benchmarks/solve_splined.py --views 100 --repeats 5

A wide lens with bumps of a few pixels that no formula knows, 88 corners a view at 0.1 px noise. Of each model, the time
from the seed to the solution, and that to the joint covariance; of the spline, for each of the grids that calibration
would try.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time

import numpy as np
import torch

import cv3d
from cv3d.calibration.any_lens import splined_grids
from cv3d.calibration.problem import CalibrationState, Observations
from cv3d.calibration.seeding import SEED_MODEL, seed_camera
from cv3d.calibration.selection import holdout_squares
from cv3d.calibration.solving import solve, start_from
from cv3d.calibration.uncertainty import camera_covariance
from cv3d.compute import torch_threads
from cv3d.geometry.cameras.splined import SplinedStereographic
from cv3d.geometry.transforms import SO3

SIZE = (1280, 720)
FOCAL = 560.0
ROWS, COLS, SQUARE_M = 8, 11, 0.03
FORMULAS = ("brown5", "brown8", "kannala_brandt4")


def uneven_lens(rng: np.random.Generator) -> tuple[SplinedStereographic, torch.Tensor]:
    """The lens, a quadratic spline on a grid of its own, and its parameters (P,)."""
    model = SplinedStereographic.configured(2, 31, 21, 116)
    x = (torch.arange(model.nx, dtype=torch.float64) - 0.5 * (model.nx - 1)) * model.spacing
    y = (torch.arange(model.ny, dtype=torch.float64) - 0.5 * (model.ny - 1)) * model.spacing
    u = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    delta = -0.06 * u * (u * u).sum(-1, keepdim=True)
    for _ in range(14):
        middle = torch.from_numpy(rng.uniform(-0.5, 0.5, 2) * SIZE / FOCAL)
        height = torch.from_numpy(rng.normal(size=2) * 1.5 / FOCAL)
        away = ((u - middle) ** 2).sum(-1, keepdim=True) * (FOCAL / 140.0) ** 2
        delta = delta + height * torch.exp(-0.5 * away)
    affine = torch.tensor([FOCAL, 1.002 * FOCAL, 645.0, 355.0], dtype=torch.float64)
    return model, torch.cat([affine, delta.flatten()])


def make_corners(views: int, noise_px: float, rng: np.random.Generator) -> Observations:
    """Whole boards at random places, distances and tilts up to 40 degrees; noise is Gaussian, per coordinate."""
    model, params = uneven_lens(rng)
    y, x = np.mgrid[0:ROWS, 0:COLS]
    board = torch.from_numpy(np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1) * SQUARE_M)
    seen: list[torch.Tensor] = []
    while sum(map(len, seen)) < views:
        count = 4 * views
        tilts = torch.from_numpy(np.radians(rng.uniform(-40.0, 40.0, (count, 3))) * (1.0, 1.0, 0.0))
        turns = torch.from_numpy(rng.uniform(-math.pi, math.pi, (count, 3)) * (0.0, 0.0, 1.0))
        rotation = (SO3.exp(tilts) @ SO3.exp(turns)).as_matrix()
        depth = rng.uniform(0.25, 0.6, count)
        places = np.stack([rng.uniform(-1.0, 1.0, count), rng.uniform(-0.6, 0.6, count), np.ones(count)], 1)
        points = (board - board.mean(dim=0)) @ rotation.transpose(-1, -2)
        points = points + torch.from_numpy(places * depth[:, None])[:, None]
        pixels = model.project(params, points)
        fits = (pixels >= 0.0).all(-1) & (pixels[..., 0] < SIZE[0]) & (pixels[..., 1] < SIZE[1])
        seen.append(pixels[(fits & model.valid_points(params, points)).all(-1)])
    pixels = torch.cat(seen)[:views]
    pixels = pixels + torch.from_numpy(rng.normal(0.0, noise_px, tuple(pixels.shape)))
    extent = torch.stack([board[:, :2].amin(dim=0), board[:, :2].amax(dim=0)])
    every = board.expand(views, -1, -1).contiguous()
    return Observations(every, pixels, torch.ones(pixels.shape[:2], dtype=torch.bool), extent)


def measure(observations: Observations, seed: CalibrationState, name: str, repeats: int) -> str:
    """One line of the table."""
    solving: list[float] = []
    judging: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        solution = solve(observations, name, start_from(observations, seed, SEED_MODEL, name))
        solved = time.perf_counter()
        camera_covariance(solution)
        solving.append(solved - began)
        judging.append(time.perf_counter() - solved)
    order = np.random.default_rng(0).permutation(observations.views)
    squares = holdout_squares(observations, solution, [np.sort(order[k::5]) for k in range(5)])
    held_out = math.sqrt(squares.sum() / observations.count)
    return (
        f"{name:40s} {len(solution.state.params):6d} {solution.iterations:6d} {statistics.median(solving):8.2f} "
        f"{statistics.median(judging):8.2f} {solution.rms_px:9.4f} {held_out:9.4f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--noise", type=float, default=0.1, help="pixels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(
        f"cv3d {cv3d.__version__}, torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores, one thread"
    )
    with torch_threads(1):
        observations = make_corners(options.views, options.noise, np.random.default_rng(options.seed))
        seed = seed_camera(observations, *SIZE).state
        print(
            f"{options.views} views, {observations.count} corners; noise floor {options.noise * math.sqrt(2.0):.4f} px"
        )
        print(
            f"{'model':40s} {'params':>6s} {'iter.':>6s} {'solve s':>8s} {'cov. s':>8s} {'RMS px':>9s} {'held out':>9s}"
        )
        grids = [grid.name for grid in splined_grids(observations, seed, SEED_MODEL, SIZE)]
        for name in [*FORMULAS, *grids]:
            print(measure(observations, seed, name, options.repeats), flush=True)


if __name__ == "__main__":
    main()
