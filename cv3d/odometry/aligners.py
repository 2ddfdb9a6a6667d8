"""What keeps the patches of all points and finds them in pictures, by kind of device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.compute import Compute, DeviceName
from cv3d.odometry.patches import LEVELS, STORED, Levels
from cv3d.odometry.patches_kernel import align_kernel, take_kernel
from cv3d.odometry.patches_reference import align_reference, take_reference

Pixels = NDArray[np.float32]
Rows = NDArray[np.int64]
Image = NDArray[np.uint8]

_SHAPE = LEVELS, 2 * STORED + 1, 2 * STORED + 1
_PADDED = 128
"""Points are handed to a device in multiples of this."""


class Aligner(Protocol):
    """A table of patches, one row for each point, and where they are in a picture.

    Pictures come as their pyramids on the host, see :func:`cv3d.odometry.patches.build_levels`: corners and the look of
    a picture are found there. An aligner brings a pyramid to its device once, as long as the same one is named.
    """

    def reserve(self, capacity: int) -> None:
        """Have at least so many rows; those that there are stay as they are."""
        ...

    def take(self, levels: Levels, pixels: Pixels, rows: Rows) -> None:
        """Make the surroundings of places (n, 2) in a picture the patches of rows (n,)."""
        ...

    def align(
        self, levels: Levels, rows: Rows, inverse_warps: Pixels, guess: Pixels, coarsest: int, finest: int = 0
    ) -> Pixels:
        """Find patches in a picture; see :func:`cv3d.odometry.patches_reference.align_reference`.

        Args:
            levels: pyramid of the picture, finest first.
            rows: (n,) which patches.
            inverse_warps: (n, 2, 2) from offsets in the picture to offsets in the reference.
            guess: (n, 2) where to start, pixels.
            coarsest: level to begin on.
            finest: level to end on.

        Returns:
            (n, 6): the place, its correlation, its covariance (xx, xy, yy).
        """
        ...

    def patches(self) -> Image:
        """(R, LEVELS, S, S) all patches, on the host; not to be written to."""
        ...


class FusedAligner:
    """The twin for the CPU. 300 points on three levels, one core: 40 ms become 1.4."""

    def __init__(self) -> None:
        self._table = np.zeros((0, *_SHAPE), np.uint8)

    def reserve(self, capacity: int) -> None:
        """See :class:`Aligner`."""
        have = len(self._table)
        if capacity > have:
            self._table = np.concatenate([self._table, np.zeros((capacity - have, *_SHAPE), np.uint8)])

    def take(self, levels: Levels, pixels: Pixels, rows: Rows) -> None:
        """See :class:`Aligner`."""
        places = np.ascontiguousarray(pixels, np.float32)
        taken = np.empty((len(rows), *_SHAPE[1:]), np.uint8)
        for level, image in enumerate(levels):
            take_kernel(image, places, 1.0 / (1 << level), taken)
            self._table[rows, level] = taken

    def align(
        self, levels: Levels, rows: Rows, inverse_warps: Pixels, guess: Pixels, coarsest: int, finest: int = 0
    ) -> Pixels:
        """See :class:`Aligner`."""
        out = np.empty((len(rows), 6), np.float32)
        warps, start = np.ascontiguousarray(inverse_warps, np.float32), np.ascontiguousarray(guess, np.float32)
        align_kernel(levels, self._table, rows, warps, start, coarsest, finest, out)
        return out

    def patches(self) -> Image:
        """See :class:`Aligner`."""
        return self._table


class TorchAligner:
    """The reference, on any device: patches stay there, and the host waits once for every alignment."""

    def __init__(self, compute: Compute) -> None:
        self._device = compute.device
        self._table = torch.zeros((0, *_SHAPE), dtype=torch.uint8, device=self._device)
        self._brought: tuple[Levels, list[Tensor]] = ((), [])

    def reserve(self, capacity: int) -> None:
        """See :class:`Aligner`."""
        more = capacity - len(self._table)
        if more > 0:
            room = torch.zeros((more, *_SHAPE), dtype=torch.uint8, device=self._device)
            self._table = torch.cat((self._table, room))

    @torch.no_grad()
    def take(self, levels: Levels, pixels: Pixels, rows: Rows) -> None:
        """See :class:`Aligner`."""
        if len(rows):
            places, index = self._bring(_padded(pixels, np.float32)), self._bring(_padded(rows, np.int64))
            take_reference(self._pyramid(levels), self._table, places, index)

    @torch.no_grad()
    def align(
        self, levels: Levels, rows: Rows, inverse_warps: Pixels, guess: Pixels, coarsest: int, finest: int = 0
    ) -> Pixels:
        """See :class:`Aligner`."""
        count = len(rows)
        if not count:
            return np.empty((0, 6), np.float32)
        index = self._bring(_padded(rows, np.int64))
        numbers = self._bring(_padded(np.concatenate([inverse_warps.reshape(-1, 4), guess], 1), np.float32))
        warps, start = numbers[:, :4].reshape(-1, 2, 2), numbers[:, 4:].contiguous()
        found = align_reference(self._pyramid(levels), self._table, index, warps, start, coarsest, finest)
        return found.cpu().numpy()[:count]

    def patches(self) -> Image:
        """See :class:`Aligner`. The host waits for all of them."""
        found: Image = self._table.cpu().numpy()
        return found

    def _pyramid(self, levels: Levels) -> list[Tensor]:
        if self._brought[0] is not levels:
            self._brought = levels, [self._bring(level).float() for level in levels]
        return self._brought[1]

    def _bring(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values).to(self._device)


def _padded(values: NDArray[np.generic], kind: type[np.float32] | type[np.int64]) -> NDArray[np.generic]:
    """The values with the last one repeated behind them, up to a whole multiple of :data:`_PADDED`."""
    size = _PADDED * -(-len(values) // _PADDED)
    result = np.empty((size, *values.shape[1:]), kind)
    result[: len(values)] = values
    result[len(values) :] = values[-1]
    return result


TWINS: Mapping[str, Callable[[], Aligner]] = {"cpu": FusedAligner}
"""What replaces the torch reference, by kind of device."""


def aligner_for(compute: Compute | None = None) -> Aligner:
    """An empty aligner for a device; without one, for the CPU."""
    policy = compute or Compute.choose(DeviceName.CPU)
    twin = TWINS.get(policy.device.type)
    return TorchAligner(policy) if twin is None else twin()
