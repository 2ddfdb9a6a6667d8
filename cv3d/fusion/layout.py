"""How a grid keeps its voxels: blocks of 8³, whole numbers, and where a block lies.

The fields of a voxel are sums of whole numbers, so the order in which frames are added does not matter to the last
bit, adding and taking away cancel, and threads and devices agree. The signed distance of a voxel is

    truncation * sums / (2047 * weights)

Voxel (i, j, k) of block (bx, by, bz) lies at (8 bx + i, 8 by + j, 8 bz + k) * voxel; its place in a field's last axis
is i + 8 j + 64 k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int32]
Number: TypeAlias = Any
"""A scalar as kernels take it: numpy's or Python's."""

SIDE = 8
"""Voxels along the edge of a block."""
VOXELS = SIDE**3
DISTANCE_STEPS = 2047
"""Steps of a distance from 0 to the truncation: 0.02 mm at a truncation of 4 cm."""
WEIGHT_STEPS = 255
"""The weight of the best measurement that there is."""
MAX_WEIGHT = 1 << 20
"""Sums and weights are halved beyond it: 2^20 * 2047 fits an int32 with room for a frame."""
MAX_COUNT = 127
"""Counts and colours are halved beyond it: 127 * 255 fits an int16."""
MAX_FREE = 1 << 19
REACH = 1 << 20
"""Blocks from the origin to the farthest that a key can name: 21 bits a coordinate."""


@dataclass(frozen=True, eq=False)
class Fields:
    """The voxels of some blocks."""

    sums: Ints
    """(n, 512) sum of weight times distance, in steps."""
    weights: Ints
    """(n, 512) sum of weights, in steps; 0: never seen."""
    counts: NDArray[np.int8]
    """(n, 512) frames whose surface lay within the truncation distance; halved where it would exceed 127."""
    colors: NDArray[np.int16] | None
    """(n, 3, 512) sum of red, green and blue over those frames."""

    @staticmethod
    def zeros(count: int, has_color: bool) -> Fields:
        """Blocks that nothing was seen of."""
        return Fields(
            np.zeros((count, VOXELS), np.int32),
            np.zeros((count, VOXELS), np.int32),
            np.zeros((count, VOXELS), np.int8),
            np.zeros((count, 3, VOXELS), np.int16) if has_color else None,
        )

    @property
    def arrays(self) -> tuple[NDArray[np.signedinteger], ...]:
        """The fields that are there, in a fixed order."""
        colors = () if self.colors is None else (self.colors,)
        return (self.sums, self.weights, self.counts, *colors)

    def __len__(self) -> int:
        return len(self.sums)

    def take(self, rows: NDArray[np.integer]) -> Fields:
        """A copy of some blocks."""
        return Fields(
            self.sums[rows],
            self.weights[rows],
            self.counts[rows],
            None if self.colors is None else self.colors[rows],
        )

    def plus(self, other: Fields) -> Fields:
        """The sums of both."""
        weights = self.weights + other.weights
        shift = (weights > MAX_WEIGHT).astype(np.int32)
        # Shifted before they are added: the sum of two sums need not fit.
        sums = (self.sums >> shift) + (other.sums >> shift)
        counts = self.counts.astype(np.int32) + other.counts
        fade = (counts > MAX_COUNT).astype(np.int32)
        colors = None
        if self.colors is not None and other.colors is not None:
            colors = ((self.colors.astype(np.int32) + other.colors) >> fade[:, None]).astype(np.int16)
        return Fields(sums, weights >> shift, (counts >> fade).astype(np.int8), colors)

    @staticmethod
    def join(parts: Sequence[Fields]) -> Fields:
        """The blocks of all parts, one after the other."""
        columns: list[Any] = [np.concatenate(column) for column in zip(*(part.arrays for part in parts), strict=True)]
        return Fields(columns[0], columns[1], columns[2], columns[3] if len(columns) > 3 else None)


def bytes_per_block(has_color: bool) -> int:
    """Memory of one block's voxels."""
    return VOXELS * (4 + 4 + 1 + (6 if has_color else 0))


def pack_keys(blocks: NDArray[np.integer]) -> NDArray[np.int64]:
    """One number for each block (n, 3), in the order of z, then y, then x."""
    shifted = blocks.astype(np.int64) + REACH
    return np.asarray((shifted[:, 2] << 42) | (shifted[:, 1] << 21) | shifted[:, 0])


def unpack_keys(keys: NDArray[np.int64]) -> Ints:
    """The blocks (n, 3) of keys."""
    mask = (1 << 21) - 1
    return np.stack([keys & mask, (keys >> 21) & mask, keys >> 42], 1).astype(np.int32) - np.int32(REACH)
