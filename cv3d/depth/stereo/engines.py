"""What matches a pair, by kind of device: the torch reference, or a fused twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute, usable_cores
from cv3d.depth.stereo.choice import Choice, choose
from cv3d.depth.stereo.choice_kernel import choose_rows
from cv3d.depth.stereo.cost import CENSUS_RADIUS, cost_volume, describe
from cv3d.depth.stereo.cost_kernel import cost_rows, describe_rows
from cv3d.depth.stereo.options import StereoOptions
from cv3d.depth.stereo.paths import large_steps, path_sums
from cv3d.depth.stereo.paths_kernel import sweep

Gray = NDArray[np.uint8]
Matching = Callable[[Gray, Gray, int, StereoOptions], Choice]
"""From the left and the right picture, (h, w) grey, and the number of disparities."""

_ROWS = 16
"""Rows that a thread takes at a time."""


def match_by_torch(compute: Compute, left: Gray, right: Gray, count: int, options: StereoOptions) -> Choice:
    """The reference, on any device."""
    grays = [torch.from_numpy(one).to(compute.device).to(torch.int32) for one in (left, right)]
    large = torch.from_numpy(large_steps(options.small_step, options.large_step)).to(compute.device).to(torch.int32)
    volume = cost_volume(describe(grays[0]), describe(grays[1]), count)
    return choose(path_sums(volume, grays[0], options.small_step, large))


def match_fused(left: Gray, right: Gray, count: int, options: StereoOptions) -> Choice:
    """The twin for the CPU: two sweeps of four paths each beside one another, all else by rows."""
    height, width = left.shape
    threads = options.threads or usable_cores()
    with ThreadPoolExecutor(threads, "cv3d-stereo") as pool:

        def by_rows(work: Callable[[int, int], None]) -> None:
            list(pool.map(lambda first: work(first, min(first + _ROWS, height)), range(0, height, _ROWS)))

        described = [_described(one, count * side, by_rows) for side, one in enumerate((left, right))]
        (planes, census), (right_planes, right_census) = described
        volume = np.empty((height, width, count), np.uint8)
        by_rows(lambda first, last: cost_rows(planes, right_planes, census, right_census, first, last, volume))
        large = large_steps(options.small_step, options.large_step)
        sums = [np.empty((height, width, count), np.int16) for _ in range(2)]
        list(pool.map(lambda back: sweep(volume, left, options.small_step, large, bool(back), sums[back]), range(2)))
        whole, right_whole, best, second = (np.empty((height, width), np.int32) for _ in range(4))
        fraction = np.empty((height, width), np.float32)
        by_rows(
            lambda first, last: choose_rows(sums[0], sums[1], first, last, whole, fraction, right_whole, best, second)
        )
    return Choice(whole, fraction, right_whole, best, second)


def _described(
    gray: Gray, beyond: int, by_rows: Callable[[Callable[[int, int], None]], None]
) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Planes and census of a picture; with `beyond`, of the right one: reversed and longer by one column less."""
    height, width = gray.shape
    padded = np.pad(gray, CENSUS_RADIUS, mode="edge")
    planes, census = np.empty((5, height, width), np.uint8), np.empty((height, width), np.uint64)
    by_rows(lambda first, last: describe_rows(padded, first, last, planes, census))
    if beyond > 0:
        planes = np.pad(planes[:, :, ::-1], ((0, 0), (0, 0), (0, beyond - 1)), mode="edge")
        census = np.pad(census[:, ::-1], ((0, 0), (0, beyond - 1)), mode="edge")
    return planes, census


TWINS: Mapping[str, Matching] = {"cpu": match_fused}
"""What replaces the torch reference, by kind of device."""


def matching_for(compute: Compute) -> Matching:
    """What matches on a device."""
    return TWINS.get(compute.device.type, partial(match_by_torch, compute))
