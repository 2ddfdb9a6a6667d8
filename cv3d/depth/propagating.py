"""Planes of one picture at one size: begun by chance, taken over from half the size, improved by sweeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cv3d.compute import Compute
from cv3d.depth.problem import RADIUS, Problem
from cv3d.depth.sweepers import make_sweeper

_TRIES = 3
"""Planes by chance for a pixel in each iteration: another depth, another slant, both."""


@dataclass(frozen=True)
class Course:
    """How planes are improved."""

    iterations: int
    first_px: float
    """Greatest change by chance in the first iteration, pixels of disparity; half of it in the next, and so on."""


def planes_by_chance(problem: Problem, seed: int, compute: Compute) -> Tensor:
    """Planes anywhere in the range that face the camera, (3, h, w)."""
    planes = torch.zeros((3, *problem.reference.shape))
    planes[0].uniform_(problem.farthest, problem.nearest, generator=_generator(seed))
    return planes.to(compute.device)


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


def improved(problem: Problem, planes: Tensor, course: Course, seed: int, compute: Compute) -> tuple[Tensor, Tensor]:
    """Better planes, and what they cost.

    Args:
        problem: the picture and its sources.
        planes: (3, h, w), left as they are.
        course: how often, and how far.
        seed: of what is left to chance.
        compute: where it runs.

    Returns:
        Planes (3, h, w) and costs (h, w).
    """
    sweeper, planes = make_sweeper(problem, compute), planes.clone()
    planes[0].clamp_(problem.farthest, problem.nearest)
    costs = sweeper.evaluate(planes)
    generator = _generator(seed)
    for iteration in range(course.iterations):
        chances = torch.empty((3 * _TRIES, *costs.shape)).uniform_(-1.0, 1.0, generator=generator).to(compute.device)
        steps = torch.from_numpy(_steps(problem.pixel_step * course.first_px * 0.5**iteration)).to(compute.device)
        for parity in (0, 1):
            sweeper.sweep(planes, costs, parity, chances, steps)
    return planes, costs


def _steps(size: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Of the tries' inverse depth and slants."""
    slant = size / RADIUS
    return np.array([size, 0.0, 0.0, 0.0, slant, slant, 0.5 * size, 0.5 * slant, 0.5 * slant], np.float32)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
