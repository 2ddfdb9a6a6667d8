"""How long depth will take on this machine, told before it begins."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cv3d.compute import Compute
from cv3d.depth.options import DepthOptions
from cv3d.depth.problem import BEST, REGIONS, Problem
from cv3d.depth.propagating import Course, improved, planes_by_chance

_TRIED, _NEAR = len(REGIONS), 4
_LOCAL, _WIDE = 3, 4
"""Planes by chance for a pixel in an iteration, without and with planes anywhere in the range."""
_MORE = 1.2
"""What is not measured: edges and checking, and that planes which are nearly right are given up later than those by
chance."""


def costs_of_view(levels: Sequence[tuple[int, int]], sources: int, options: DepthOptions) -> float:
    """How many costs of a plane in a source are computed for a view.

    Args:
        levels: height and width of the view's sizes, the whole first.
        sources: that it is compared with.
        options: how depth is estimated.
    """
    pixels = [height * width for height, width in levels]
    top = min(1 if options.fine_iterations else 0, len(pixels) - 1)
    wide = (_TRIED + _WIDE + 1) * min(sources, options.coarse_sources)
    narrow = (_NEAR + _LOCAL) * min(BEST, sources) + 2 * sources
    coarse = pixels[-1] * options.coarse_iterations + sum(pixels[top:-1]) * options.iterations
    return float(coarse * wide + (pixels[top] * options.rounds + pixels[0] * options.fine_iterations) * narrow)


def seconds_per_cost(problem: Problem, compute: Compute) -> float:
    """How long one cost takes here, by sweeps over a small problem.

    Args:
        problem: a view at its smallest size.
        compute: where it runs.
    """
    planes = planes_by_chance(problem, 0, compute)
    # The first time, kernels are loaded or compiled.
    improved(problem, planes, Course(1, 1.0, is_wide=True), 0, compute)
    began = time.perf_counter()
    improved(problem, planes, Course(1, 1.0, is_wide=True), 0, compute)
    elapsed = time.perf_counter() - began
    return _MORE * elapsed / ((_TRIED + _WIDE + 1) * len(problem.lenses) * problem.reference.size)


def duration_words(seconds: float) -> str:
    """A forecast: "20 seconds", "3 minutes"."""
    if seconds < 90.0:
        count, unit = max(5, 5 * round(seconds / 5.0)), "second"
    elif seconds < 5400.0:
        count, unit = round(seconds / 60.0), "minute"
    else:
        count, unit = round(seconds / 3600.0), "hour"
    return f"{count} {unit}{'' if count == 1 else 's'}"
