"""Dense depth: matching of pairs, planes by sweeps, and what other views bear out."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from cv3d.compute import Compute
from cv3d.depth.checking import Tolerance, borne_out
from cv3d.depth.levels import Level
from cv3d.depth.problem import Problem, make_problem
from cv3d.depth.propagating import Course, improved, planes_by_chance
from cv3d.depth.sharpening import sharpened
from cv3d.depth.stereo.engines import matching_for
from cv3d.depth.stereo.options import StereoOptions
from cv3d.depth.sweepers import make_sweeper
from cv3d.device_checks.inputs import fetched, shifted_pair, textured
from cv3d.device_checks.kernels import Case, Difference, Kernel, Limit, Outputs, at_once, numbers_within

_COMMANDS = ("depth",)
_DISTANCE_M = 2.0
_TEXELS_PER_M = 160.0


def _stereo(seed: int) -> list[Case]:
    def case(height: int, width: int, count: int) -> Case:
        right, left = shifted_pair(np.random.default_rng(seed + width), height, width, (7.4, 0.0))

        def run(compute: Compute) -> Outputs:
            found = matching_for(compute)(left, right, count, StereoOptions(threads=1))
            return {
                "disparity": found.whole + found.fraction,
                "right disparity": found.right,
                "least sum": found.best,
                "second sum": found.second,
            }

        return Case(f"{width}×{height}, {count} disparities", at_once(run), at_once(run))

    return [case(41, 67, 16), case(60, 83, 33), case(120, 160, 32)]


def wall(seed: int, height: int, width: int, count: int) -> list[Level]:
    """Views of a textured wall two metres off, from places beside each other."""
    rng = np.random.default_rng(seed)
    size = 600
    texture = (255.0 * textured(rng, size, size, 2.0)).astype(np.uint8)
    matrix = np.array([[0.913 * width, 0.0, 0.507 * width], [0.0, 0.917 * width, 0.489 * height], [0.0, 0.0, 1.0]])
    # From texels to metres on the wall, the middle of the texture straight ahead.
    metres = np.array([[1.0, 0.0, -size / 2], [0.0, 1.0, -size / 2], [0.0, 0.0, _TEXELS_PER_M]]) / _TEXELS_PER_M
    levels = []
    for i in range(count):
        angle = 0.02 * i
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(np.array([0.0, angle, 0.3 * angle]))[0]
        pose[:3, 3] = -0.11 * i, 0.05 * (i % 2), 0.013 * i
        pixel_from_wall = matrix @ np.stack([pose[:3, 0], pose[:3, 1], _DISTANCE_M * pose[:3, 2] + pose[:3, 3]], axis=1)
        picture = cv2.warpPerspective(texture, pixel_from_wall @ metres, (width, height), flags=cv2.INTER_LINEAR)
        levels.append(Level(np.ascontiguousarray(picture, np.uint8), matrix, pose))
    return levels


def _problem(seed: int, height: int, width: int, sources: int, geometric: float) -> Problem:
    levels = wall(seed, height, width, sources + 1)
    known = [np.full(level.size, 1.0 / _DISTANCE_M, np.float32) for level in levels[1:]]
    return make_problem(levels[0], levels[1:], (0.25, 1.0), known if geometric else None, geometric)


def _costs(seed: int) -> list[Case]:
    def case(height: int, width: int, sources: int, geometric: float) -> Case:
        problem = _problem(seed, height, width, sources, geometric)

        def run(compute: Compute) -> Outputs:
            planes = planes_by_chance(problem, seed, compute)
            return fetched(costs=make_sweeper(problem, compute).evaluate(planes))

        return Case(f"{width}×{height}, {sources} sources", at_once(run), at_once(run))

    return [case(45, 61, 2, 0.0), case(62, 47, 3, 0.2), case(90, 120, 4, 0.2)]


def _planes(seed: int) -> list[Case]:
    def case(height: int, width: int, sources: int, geometric: float) -> Case:
        problem = _problem(seed, height, width, sources, geometric)

        def run(compute: Compute) -> Outputs:
            course = Course(2, 4.0, is_wide=True)
            planes, costs = improved(problem, planes_by_chance(problem, seed, compute), course, seed, compute)
            return fetched(inverse=planes[0], costs=costs)

        return Case(f"{width}×{height}, {sources} sources", at_once(run), at_once(run))

    return [case(45, 61, 2, 0.0), case(62, 47, 3, 0.2), case(48, 64, 3, 0.2)]


def _same_planes(found: Outputs, expected: Outputs) -> list[Difference]:
    """Sweeps pass on what costs a last bit less, so single pixels may end elsewhere; most have to agree."""
    if not np.isfinite(found["costs"]).all():
        return [Difference("cost", float("inf"), 0.0)]
    apart = np.abs(found["inverse"] / np.maximum(expected["inverse"], 1e-9) - 1.0)
    costs = np.abs(found["costs"] - expected["costs"])
    return [
        Difference("share of pixels with another depth", float((apart > 0.02).mean()), 0.05),
        Difference("depth, share", float(np.median(apart)), 2e-3),
        Difference("mean cost", float(np.abs(costs.mean())), 0.01),
    ]


def _sharpening(seed: int) -> list[Case]:
    def case(height: int, width: int) -> Case:
        rng = np.random.default_rng(seed)
        v, u = np.mgrid[:height, :width]
        is_near = (u - 0.5 * width) ** 2 + (v - 0.4 * height) ** 2 < (0.3 * height) ** 2
        planes = np.zeros((3, height, width), np.float32)
        planes[0] = np.where(is_near, 0.8, 0.4) * (1.0 + 0.002 * rng.normal(size=(height, width)))
        costs = rng.uniform(0.0, 0.4, (height, width)).astype(np.float32)
        color = np.where(is_near[..., None], 150.0, 90.0) + rng.normal(0.0, 20.0, (height, width, 3))

        @torch.no_grad()
        def run(compute: Compute) -> Outputs:
            there = [torch.from_numpy(one).to(compute.device) for one in (planes, costs)]
            return fetched(inverse=sharpened(there[0], there[1], color.clip(0.0, 255.0).astype(np.uint8))[0])

        return Case(f"{width}×{height}", at_once(run), at_once(run))

    return [case(45, 61), case(62, 47), case(120, 160)]


def _bearing_out(seed: int) -> list[Case]:
    def case(height: int, width: int, sources: int) -> Case:
        problem = _problem(seed, height, width, sources, 0.2)
        rng = np.random.default_rng(seed)
        planes = np.zeros((3, height, width), np.float32)
        planes[0] = 1.0 / _DISTANCE_M + 0.002 * rng.normal(size=(height, width))

        @torch.no_grad()
        def run(compute: Compute) -> Outputs:
            own = torch.from_numpy(planes).to(compute.device)
            others = [torch.from_numpy(one).to(compute.device) for one in problem.inverses]
            found = borne_out(problem, own, others, Tolerance(2, 1.0, 0.01), compute)
            return fetched(inverse=found.inverse, confidence=found.confidence)

        return Case(f"{width}×{height}, {sources} sources", at_once(run), at_once(run))

    return [case(45, 61, 2), case(62, 47, 3), case(120, 160, 4)]


DEPTH_KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "matching of stereo pairs",
        _COMMANDS,
        _stereo,
        numbers_within(
            **{
                "disparity": Limit(1e-3, strays=0.002),
                "right disparity": Limit(0.0, strays=0.002),
                "least sum": Limit(0.0, strays=0.002),
                "second sum": Limit(0.0, strays=0.002),
            }
        ),
    ),
    Kernel("costs of planes", _COMMANDS, _costs, numbers_within(costs=Limit(2e-3, strays=0.01))),
    Kernel("sweeps of planes", _COMMANDS, _planes, _same_planes),
    # Where half of the weight is reached, a last bit may decide between two surfaces.
    Kernel("edges of depth", _COMMANDS, _sharpening, numbers_within(inverse=Limit(1e-4, strays=0.005))),
    Kernel(
        "depth that other views bear out",
        _COMMANDS,
        _bearing_out,
        numbers_within(inverse=Limit(1e-4, strays=0.005), confidence=Limit(1e-3, strays=0.005)),
    ),
)
"""What dense depth runs on a device."""
