"""Semi-global matching: costs summed along eight paths that pay for every change of disparity.

Hirschmüller, "Stereo processing by semiglobal matching and mutual information", 2008, equations 11 to 14. A large
change costs less where the brightness changes as well.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

EDGE_GRAY = 10
"""Change of brightness that halves the penalty of a large step, grey values."""
BARRED = 20000
"""Stands for a disparity out of range: more than any sum along a path, and no more than 16 bits hold."""


def large_steps(small_step: int, large_step: int) -> NDArray[np.int16]:
    """Penalty of a large step by change of brightness, (256,): never less than a small one."""
    change = np.arange(256)
    return np.maximum(large_step * EDGE_GRAY // (EDGE_GRAY + change), small_step).astype(np.int16)


def path_sums(volume: Tensor, gray: Tensor, small_step: int, large: Tensor) -> Tensor:
    """Costs summed along eight paths.

    Args:
        volume: costs, (h, w, count) uint8.
        gray: the left picture, (h, w) int32.
        small_step: penalty of one step of disparity.
        large: (256,) int32, see :func:`large_steps`.

    Returns:
        (h, w, count) int32.
    """
    down = _sums_down(volume, gray, small_step, large)
    across = _sums_along(volume.transpose(0, 1), gray.T, small_step, large).transpose(0, 1)
    return down + across


def _sums_down(volume: Tensor, gray: Tensor, small_step: int, large: Tensor) -> Tensor:
    """Of the six paths from row to row: straight and both diagonals, downwards and upwards at once."""
    height, width, count = volume.shape
    both = torch.stack((volume, volume.flip(0)))
    grays = torch.stack((gray, gray.flip(0)))
    before = torch.nn.functional.pad(grays, (1, 1))[:, :-1]
    sums = torch.zeros((2, height, width, count), dtype=torch.int32, device=volume.device)
    # Before the first row and beside the picture stand zeros: a path that begins there pays nothing.
    state = torch.zeros((3, 2, width + 2, count), dtype=torch.int32, device=volume.device)
    for y in range(height):
        costs = both[:, y].to(torch.int32)
        came = torch.stack([state[k, :, k : k + width] for k in range(3)])
        if y:
            change = torch.stack([(grays[:, y] - before[:, y - 1, k : k + width]).abs() for k in range(3)])
        else:
            change = torch.zeros((3, 2, width), dtype=gray.dtype, device=gray.device)
        now = _step(came, costs, small_step, large[change.clamp(max=255)])
        sums[:, y] = now.sum(0)
        state = torch.nn.functional.pad(now, (0, 0, 1, 1))
    return sums[0] + sums[1].flip(0)


def _sums_along(volume: Tensor, gray: Tensor, small_step: int, large: Tensor) -> Tensor:
    """Of the straight paths along the first axis of (n, m, count), in both senses at once."""
    both = torch.stack((volume, volume.flip(0)))
    grays = torch.stack((gray, gray.flip(0)))
    sums = torch.zeros((2, *volume.shape), dtype=torch.int32, device=volume.device)
    state = torch.zeros((2, *volume.shape[1:]), dtype=torch.int32, device=volume.device)
    for y in range(volume.shape[0]):
        change = (grays[:, y] - grays[:, max(y - 1, 0)]).abs()
        state = _step(state, both[:, y].to(torch.int32), small_step, large[change])
        sums[:, y] = state
    return sums[0] + sums[1].flip(0)


def _step(before: Tensor, costs: Tensor, small_step: int, large: Tensor) -> Tensor:
    """One pixel further along paths (..., count) whose large steps cost `large` (...)."""
    least = before.amin(-1, keepdim=True)
    beside = torch.nn.functional.pad(before, (1, 1), value=BARRED)
    near = torch.minimum(beside[..., :-2], beside[..., 2:]) + small_step
    best = torch.minimum(torch.minimum(before, near), least + large[..., None])
    return costs + best - least
