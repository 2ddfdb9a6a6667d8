"""Planes of one picture at one size: begun by chance, taken over from half the size, improved by sweeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError
from torch import Tensor

from cv3d.compute import Compute
from cv3d.depth.problem import RADIUS, Problem
from cv3d.depth.sweepers import make_sweeper

Floats = NDArray[np.float64]

_STEEPEST = 1.5
"""Tangent of the slant, along a row or a column, of planes by chance."""


@dataclass(frozen=True)
class Course:
    """How planes are improved."""

    iterations: int
    first_px: float
    """Greatest change by chance in the first iteration, pixels of disparity; half of it in the next, and so on."""
    is_wide: bool
    """Whether planes anywhere in the range are tried, too."""


def planes_by_chance(problem: Problem, seed: int, compute: Compute) -> Tensor:
    """Planes anywhere in the range, (3, h, w)."""
    generator = _generator(seed)
    planes = torch.empty((3, *problem.reference.shape)).uniform_(-1.0, 1.0, generator=generator)
    planes[0].uniform_(problem.farthest, problem.nearest, generator=generator)
    planes[1:] *= planes[0] * (_STEEPEST / float(problem.camera[0]))
    return planes.to(compute.device)


def planes_between(points: Floats, problem: Problem, seed: int, compute: Compute) -> Tensor:
    """Planes through points that are known, by chance where there are none around, (3, h, w).

    Triangles between the points are planes, and inverse depth is linear on them.

    Args:
        points: column and row, pixels, and inverse depth, (n, 3).
        problem: the picture.
        seed: of what is left to chance.
        compute: where it runs.
    """
    planes = planes_by_chance(problem, seed, compute)
    if len(points) < 3:
        return planes
    try:
        triangles = Delaunay(points[:, :2])
    except QhullError:
        # All on a line.
        return planes
    height, width = problem.reference.shape
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    which = triangles.find_simplex(np.stack([u.ravel(), v.ravel()], axis=1))
    corners = points[triangles.simplices]
    edges = corners[:, 1:] - corners[:, :1]
    determinant = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    flat = np.abs(determinant) < 1e-9
    per = 1.0 / np.where(flat, 1.0, determinant)
    a = np.where(flat, 0.0, (edges[:, 0, 2] * edges[:, 1, 1] - edges[:, 1, 2] * edges[:, 0, 1]) * per)
    b = np.where(flat, 0.0, (edges[:, 1, 2] * edges[:, 0, 0] - edges[:, 0, 2] * edges[:, 1, 0]) * per)
    first = corners[which, 0]
    w = first[:, 2] + a[which] * (u.ravel() - first[:, 0]) + b[which] * (v.ravel() - first[:, 1])
    known = torch.from_numpy(np.stack([w, a[which], b[which]]).astype(np.float32)).reshape(planes.shape)
    is_known = torch.from_numpy(which >= 0).reshape(planes.shape[1:])
    return torch.where(is_known.to(compute.device), known.to(compute.device), planes)


def enlarged(planes: Tensor, height: int, width: int) -> Tensor:
    """Planes of a smaller picture at the pixels of a larger one, each from the nearest, (3, height, width)."""
    _, h, w = planes.shape
    device = planes.device
    x = (torch.arange(width, device=device) + 0.5) * (w / width) - 0.5
    y = (torch.arange(height, device=device) + 0.5) * (h / height) - 0.5
    i, j = torch.round(x).clamp(0, w - 1), torch.round(y).clamp(0, h - 1)
    near = planes[:, j.long()][:, :, i.long()]
    off = near[1] * (x - i)[None, :] + near[2] * (y - j)[:, None]
    return torch.stack([near[0] + off, near[1] * (w / width), near[2] * (h / height)])


def enlarged_costs(costs: Tensor, height: int, width: int) -> Tensor:
    """Costs of a smaller picture's planes at the pixels of a larger one, each the nearest's, (height, width)."""
    flat = torch.zeros((3, *costs.shape), device=costs.device)
    flat[0] = costs
    return enlarged(flat, height, width)[0]


def improved(
    problem: Problem, planes: Tensor, course: Course, seed: int, compute: Compute, costs: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Better planes, and what they cost.

    Args:
        problem: the picture and its sources.
        planes: (3, h, w), left as they are.
        course: how often, and how far.
        seed: of what is left to chance.
        compute: where it runs.
        costs: about what the planes cost, (h, w): they tell which plane of a region is tried. None: computed.

    Returns:
        Planes (3, h, w) and costs (h, w).
    """
    sweeper, planes = make_sweeper(problem, compute), planes.clone()
    planes[0].clamp_(problem.farthest, problem.nearest)
    costs = sweeper.evaluate(planes) if costs is None or not problem.is_narrow else costs.clone()
    generator = _generator(seed)
    for iteration in range(course.iterations):
        tries = tries_of(problem, course, iteration)
        chances = torch.empty((3 * len(tries), *costs.shape)).uniform_(-1.0, 1.0, generator=generator)
        # The tries stay on the host: their few numbers are read there.
        chances = chances.to(compute.device)
        for parity in (0, 1):
            sweeper.sweep(planes, costs, parity, chances, tries)
    return planes, costs


def tries_of(problem: Problem, course: Course, iteration: int) -> Tensor:
    """What planes are made of three numbers c by chance, (k, 5).

    With a row's numbers t, a plane (w, a, b) becomes w' = t0 w + t1 + t2 c0, t0 a + (t3 + t4 w') c1 and t0 b +
    (t3 + t4 w') c2.
    """
    size = problem.pixel_step * course.first_px * 0.5**iteration
    slant = size / RADIUS
    tries = [(1.0, 0.0, size, 0.0, 0.0), (1.0, 0.0, 0.0, slant, 0.0), (1.0, 0.0, 0.5 * size, 0.5 * slant, 0.0)]
    if course.is_wide:
        middle, half = 0.5 * (problem.nearest + problem.farthest), 0.5 * (problem.nearest - problem.farthest)
        tries.insert(0, (0.0, middle, half, 0.0, _STEEPEST / float(problem.camera[0])))
    return torch.tensor(tries, dtype=torch.float32)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
