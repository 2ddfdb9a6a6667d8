"""The blocks of a grid: their voxels in memory or on disk, and what is known of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.errors import UsageError
from cv3d.fusion.block_index import BlockIndex
from cv3d.fusion.integration import VoxelTensors
from cv3d.fusion.layout import MAX_FREE, Fields, bytes_per_block, pack_keys
from cv3d.fusion.spilling import SpillFile

Numbers = NDArray[np.int32]

_LEAST_GROWTH = 512
_GROUP = 512
"""Blocks that are written or read at a time."""


class BlockStore:
    """Blocks by their number. On the CPU voxels are numpy arrays, elsewhere tensors of the device."""

    def __init__(
        self, device: torch.device, has_color: bool, max_memory_bytes: int | None, spill_folder: Path | None
    ) -> None:
        self.index = BlockIndex()
        self.has_color = has_color
        self._device = device
        self._is_host = device.type == "cpu"
        self._host = Fields.zeros(0, has_color)
        self._tensors = _tensors(self._host, device)
        self._capacity = 0
        self._used = 0
        self._vacant: list[int] = []
        self._max_memory = max_memory_bytes
        self._spill_folder = spill_folder
        self._spill: SpillFile | None = None
        self._rows = np.zeros(0, np.int32)
        self._touched = np.zeros(0, np.int32)
        self._free = np.zeros(0, np.int32)
        self._clock = 0

    def __len__(self) -> int:
        return len(self.index)

    @property
    def free(self) -> NDArray[np.int32]:
        """(n,) free weight of the blocks by number, to be changed in place."""
        return self._free[: len(self)]

    @property
    def max_rows(self) -> int | None:
        """Blocks whose voxels memory may hold."""
        return None if self._max_memory is None else self._max_memory // bytes_per_block(self.has_color)

    @property
    def spilled_count(self) -> int:
        """Blocks that lie on disk."""
        return int((self._rows[: len(self)] < 0).sum())

    @property
    def memory_bytes(self) -> int:
        """Memory of voxels, now."""
        return self._capacity * bytes_per_block(self.has_color)

    @property
    def fields(self) -> Fields:
        """The voxels in memory, by row, on the CPU."""
        return self._host

    @property
    def tensors(self) -> VoxelTensors:
        """The voxels in memory, by row, on the device."""
        return _tensors(self._host, self._device) if self._is_host else self._tensors

    def close(self) -> None:
        """Remove what lies on disk."""
        if self._spill is not None:
            self._spill.close()
            self._spill = None

    def lower_memory(self, bytes_less: int, least: int) -> None:
        """Make do with less memory than voxels have, or may have, now, but with no less than `least` bytes.

        Raises:
            OutputError: the disk is full. Nothing is lost.
        """
        have = self.memory_bytes if self._max_memory is None else min(self._max_memory, self.memory_bytes)
        self._max_memory = max(have - bytes_less, min(have, least))
        self._clock += 1
        self._make_room(0)
        self._shrink()

    def add(self, blocks: NDArray[np.int32]) -> None:
        """Number new blocks (n, 3), each once and none of them there yet. They have no voxels until they are wanted."""
        self.index.add(pack_keys(blocks), blocks)
        count = len(self)
        if count > len(self._rows):
            size = max(count, len(self._rows) * 3 // 2)
            self._rows, self._touched, self._free = (
                _extended(values, size) for values in (self._rows, self._touched, self._free)
            )
        fresh = slice(count - len(blocks), count)
        self._rows[fresh] = _NOWHERE

    def rows(self, numbers: Numbers) -> NDArray[np.int64]:
        """Where the voxels of blocks lie in memory, after bringing them there.

        Raises:
            UsageError: memory is not allowed for that many.
            OutputError: others cannot be put aside for them. Nothing is lost.
        """
        most = self.max_rows
        if most is not None and len(numbers) > most:
            size = bytes_per_block(self.has_color) / 1e6
            raise UsageError(
                f"{len(numbers)} blocks are needed at once, {len(numbers) * size:.0f} MB; the memory allowed holds "
                f"{most}: allow more, or use larger voxels or a shorter range"
            )
        self._clock += 1
        self._touched[numbers] = self._clock
        missing = numbers[self._rows[numbers] < 0]
        if len(missing):
            self._make_room(len(missing))
            places = self._vacate(len(missing))
            is_new = self._rows[missing] == _NOWHERE
            self._put(places[is_new], None)
            if not is_new.all():
                self._fetch(missing[~is_new], places[~is_new])
            self._rows[missing] = places
        return self._rows[numbers].astype(np.int64)

    def number(self, blocks: NDArray[np.int32]) -> Numbers:
        """The numbers of blocks (n, 3), each once, after adding those that are not there."""
        keys = pack_keys(blocks)
        is_new = self.index.numbers(keys) < 0
        if is_new.any():
            self.add(blocks[is_new])
        return self.index.numbers(keys)

    def put(self, numbers: Numbers, values: Fields) -> None:
        """Replace the voxels of blocks."""
        self._put(self.rows(numbers), values)

    def add_free(self, numbers: Numbers, free: NDArray[np.int32]) -> None:
        """Add to the free weight of blocks."""
        self._free[numbers] = np.minimum(self._free[numbers] + free, MAX_FREE)

    def gather(self, numbers: Numbers) -> Fields:
        """A copy of the voxels of blocks, wherever they are, on the host."""
        result = Fields.zeros(len(numbers), self.has_color)
        rows = self._rows[numbers]
        is_here = rows >= 0
        if is_here.any():
            _assign(result, is_here, self._download(rows[is_here].astype(np.int64)))
        is_away = rows == _ON_DISK
        if is_away.any():
            assert self._spill is not None
            away = np.flatnonzero(is_away)
            for first in range(0, len(away), _GROUP):
                some = away[first : first + _GROUP]
                _assign(result, some, self._spill.read(numbers[some]))
        return result

    def all_rows(self) -> NDArray[np.int32] | None:
        """Rows by number where no block lies on disk; else None."""
        rows = self._rows[: len(self)]
        return rows if bool((rows >= 0).all()) else None

    @property
    def device(self) -> torch.device:
        """Where voxels in memory are."""
        return self._device

    @property
    def is_host(self) -> bool:
        """Whether they are numpy arrays."""
        return self._is_host

    def _make_room(self, count: int) -> None:
        """Put aside the blocks touched longest ago until `count` more fit."""
        most = self.max_rows
        if most is None:
            return
        room = most - self._used + len(self._vacant)
        if room >= count:
            return
        here = np.flatnonzero(self._rows[: len(self)] >= 0)
        here = here[self._touched[here] < self._clock]
        # More than is needed, so that not every frame writes.
        wanted = min(len(here), max(count - room, most // 8))
        self._put_aside(here[np.argsort(self._touched[here], kind="stable")[:wanted]])

    def _shrink(self) -> None:
        """Give back the memory beyond that which is allowed, of which rows are vacant."""
        most = self.max_rows
        if most is None or self._capacity <= most:
            return
        high = np.flatnonzero(self._rows[: len(self)] >= most)
        low = [row for row in self._vacant if row < most]
        places = np.array(low[: len(high)], np.int64)
        for first in range(0, len(high), _GROUP):
            some = slice(first, first + _GROUP)
            self._put(places[some], self._download(self._rows[high[some]].astype(np.int64)))
        self._rows[high] = places
        self._vacant, self._used = low[len(high) :], min(self._used, most)
        self._resize(most)

    def _put_aside(self, numbers: NDArray[np.integer]) -> None:
        """Lay blocks on disk, a few at a time: copies of all would take the memory that is wanted.

        Raises:
            OutputError: the disk is full. What could not be put aside is still in memory.
        """
        if self._spill is None:
            self._spill = SpillFile(self.has_color, self._spill_folder)
        for first in range(0, len(numbers), _GROUP):
            some = numbers[first : first + _GROUP]
            rows = self._rows[some].astype(np.int64)
            self._spill.write(some, self._download(rows))
            self._rows[some] = _ON_DISK
            self._vacant.extend(rows.tolist())

    def _fetch(self, numbers: Numbers, places: NDArray[np.int64]) -> None:
        """Bring blocks from disk to rows, a few at a time."""
        assert self._spill is not None
        for first in range(0, len(numbers), _GROUP):
            some = slice(first, first + _GROUP)
            self._put(places[some], self._spill.read(numbers[some]))

    def release(self) -> None:
        """Where blocks lie on disk already, lay all of them there and give back their memory: other work needs it.

        Raises:
            OutputError: the disk is full. What could not be put aside is still in memory.
        """
        if self._spill is None:
            return
        self._put_aside(np.flatnonzero(self._rows[: len(self)] >= 0))
        self._vacant, self._used = [], 0
        self._resize(0)

    def _vacate(self, count: int) -> NDArray[np.int64]:
        """Rows that are free, after growing where there are too few."""
        reused = min(count, len(self._vacant))
        places = [self._vacant.pop() for _ in range(reused)]
        end = self._used + count - reused
        if end > self._capacity:
            size = max(end, self._capacity + max(_LEAST_GROWTH, self._capacity // 8))
            most = self.max_rows
            self._resize(size if most is None else max(end, min(size, most)))
        places.extend(range(self._used, end))
        self._used = end
        return np.array(places, np.int64)

    def _resize(self, size: int) -> None:
        if self._is_host:
            # In place: the system moves the pages, and there are never two copies.
            for array in self._host.arrays:
                array.resize((size, *array.shape[1:]), refcheck=False)
        else:
            self._tensors = VoxelTensors(*(_resized(tensor, size) for tensor in _parts(self._tensors)))  # type: ignore[arg-type]
        self._capacity = size

    def _put(self, rows: NDArray[np.int64], values: Fields | None) -> None:
        if self._is_host:
            for at, array in enumerate(self._host.arrays):
                array[rows] = 0 if values is None else values.arrays[at]
            return
        index = torch.from_numpy(rows).to(self._device)
        for at, tensor in enumerate(part for part in _parts(self._tensors) if part is not None):
            tensor[index] = 0 if values is None else torch.from_numpy(values.arrays[at]).to(self._device)

    def _download(self, rows: NDArray[np.int64]) -> Fields:
        if self._is_host:
            return self._host.take(rows)
        index = torch.from_numpy(rows).to(self._device)
        parts = (None if part is None else part[index].cpu().numpy() for part in _parts(self._tensors))
        return Fields(*parts)  # type: ignore[arg-type]


_NOWHERE, _ON_DISK = -2, -1
"""Rows of blocks that have no voxels yet, and of those on disk."""


def _tensors(fields: Fields, device: torch.device) -> VoxelTensors:
    colors = None if fields.colors is None else torch.from_numpy(fields.colors).to(device)
    sums, weights, counts = (torch.from_numpy(array).to(device) for array in fields.arrays[:3])
    return VoxelTensors(sums, weights, counts, colors)


def _parts(tensors: VoxelTensors) -> tuple[torch.Tensor | None, ...]:
    return (tensors.sums, tensors.weights, tensors.counts, tensors.colors)


def _resized(tensor: torch.Tensor | None, size: int) -> torch.Tensor | None:
    if tensor is None:
        return None
    result = torch.zeros((size, *tensor.shape[1:]), dtype=tensor.dtype, device=tensor.device)
    kept = min(size, len(tensor))
    result[:kept] = tensor[:kept]
    return result


def _extended(values: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    result = np.zeros(size, np.int32)
    result[: len(values)] = values
    return result


def _assign(target: Fields, where: NDArray[np.bool_] | NDArray[np.intp], values: Fields) -> None:
    for into, array in zip(target.arrays, values.arrays, strict=True):
        into[where] = array
