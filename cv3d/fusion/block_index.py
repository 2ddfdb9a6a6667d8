"""Which blocks there are: a hash table from a block's key to its number, on the host."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.layout import REACH, Number, pack_keys
from cv3d.geometry.fused import fused

_EMPTY = -1
_START = 1 << 12


class IndexTable(NamedTuple):
    """The hash table as kernels read it."""

    keys: NDArray[np.int64]
    """(2^bits,) -1 where empty."""
    numbers: NDArray[np.int32]
    """(2^bits,) of the blocks with these keys."""
    bits: int


@fused
def slot_of(key: Number, bits: int) -> Number:
    """Where a key is looked for first, in a table of 2^bits entries (Fibonacci hashing, Knuth TAOCP 3, 6.4)."""
    return ((key * 0x9E3779B97F4A7C1) & 0x7FFFFFFFFFFFFFF) >> (59 - bits)


@fused
def find(table: NDArray[np.int64], numbers: NDArray[np.int32], bits: int, keys: NDArray[np.int64]) -> NDArray[np.int32]:
    """The numbers of keys, -1 where they are not in the table."""
    found = np.empty(keys.size, np.int32)
    mask = (1 << bits) - 1
    for i in range(keys.size):
        at = slot_of(keys[i], bits)
        while table[at] != keys[i] and table[at] != -1:
            at = (at + 1) & mask
        found[i] = numbers[at] if table[at] == keys[i] else -1
    return found


@fused
def insert(
    table: NDArray[np.int64], numbers: NDArray[np.int32], bits: int, keys: NDArray[np.int64], first: int
) -> None:
    """Number keys that are not in the table, from `first` on."""
    mask = (1 << bits) - 1
    for i in range(keys.size):
        at = slot_of(keys[i], bits)
        while table[at] != -1:
            at = (at + 1) & mask
        table[at] = keys[i]
        numbers[at] = first + i


@fused
def number_of(bx: Number, by: Number, bz: Number, table: IndexTable) -> Number:
    """The number of a block, -1 where it is not there."""
    key = ((np.int64(bz) + REACH) << 42) | ((np.int64(by) + REACH) << 21) | (np.int64(bx) + REACH)
    at, mask = slot_of(key, table.bits), (1 << table.bits) - 1
    while table.keys[at] != key and table.keys[at] != -1:
        at = (at + 1) & mask
    return table.numbers[at] if table.keys[at] == key else -1


class BlockIndex:
    """The blocks of a grid, numbered from 0 in the order in which they came."""

    def __init__(self) -> None:
        self._bits = _START.bit_length() - 1
        self._table = np.full(_START, _EMPTY, np.int64)
        self._numbers = np.zeros(_START, np.int32)
        self._blocks = np.zeros((_START, 3), np.int32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def blocks(self) -> NDArray[np.int32]:
        """(n, 3) coordinates of the blocks by their number."""
        return self._blocks[: self._count]

    @property
    def table(self) -> IndexTable:
        """The hash table."""
        return IndexTable(self._table, self._numbers, self._bits)

    def numbers(self, keys: NDArray[np.int64]) -> NDArray[np.int32]:
        """The numbers of keys (n,), -1 for those that are not there."""
        return find(self._table, self._numbers, self._bits, keys)

    def add(self, keys: NDArray[np.int64], blocks: NDArray[np.int32]) -> None:
        """Number new blocks: keys (n,) that are not there yet, each once, and their coordinates (n, 3)."""
        total = self._count + len(keys)
        if total > len(self._blocks):
            grown = np.zeros((max(total, len(self._blocks) * 5 // 4), 3), np.int32)
            grown[: self._count] = self.blocks
            self._blocks = grown
        self._blocks[self._count : total] = blocks
        if 2 * total > len(self._table):
            # A quarter full at most.
            self._bits = (2 * total).bit_length()
            # The old table is given back before the new one is taken.
            self._table, self._numbers = np.zeros(0, np.int64), np.zeros(0, np.int32)
            self._table = np.full(1 << self._bits, _EMPTY, np.int64)
            self._numbers = np.zeros(1 << self._bits, np.int32)
            insert(self._table, self._numbers, self._bits, pack_keys(self._blocks[:total]), 0)
        else:
            insert(self._table, self._numbers, self._bits, keys, self._count)
        self._count = total
