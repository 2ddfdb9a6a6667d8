"""Blocks that lie on disk for want of memory."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import OutputError
from cv3d.fusion.layout import VOXELS, Fields, bytes_per_block


def _remove(stream: FileIO, folder: Path) -> None:
    stream.close()
    shutil.rmtree(folder, ignore_errors=True)


class SpillFile:
    """A temporary file of blocks, removed with the object or when the process ends."""

    def __init__(self, has_color: bool, parent: Path | None) -> None:
        """Make the folder and the file.

        Raises:
            OutputError: they cannot be made.
        """
        self._has_color = has_color
        self._record = bytes_per_block(has_color)
        # By number: where a block lies, -1 for one that was never kept. A dictionary takes thirty times as much memory.
        self._places = np.zeros(0, np.int32)
        self._count = 0
        try:
            folder = Path(tempfile.mkdtemp(prefix="cv3d-voxels-", dir=parent))
        except OSError as error:
            raise OutputError(f"no folder for voxels in {parent or tempfile.gettempdir()}: {error.strerror}") from error
        self._path = folder / "blocks"
        self._stream = self._path.open("w+b", buffering=0)
        self._finalizer = weakref.finalize(self, _remove, self._stream, folder)

    def close(self) -> None:
        """Remove the file and its folder."""
        self._finalizer()

    def write(self, numbers: NDArray[np.integer], fields: Fields) -> None:
        """Keep blocks; those that were kept before are replaced.

        Raises:
            OutputError: the disk is full or cannot be written. What was kept before is still there.
        """
        self._number(numbers)
        parts = [array.reshape(len(fields), -1).view(np.uint8) for array in fields.arrays]
        records = np.concatenate(parts, 1)
        try:
            for number, record in zip(numbers.tolist(), records, strict=True):
                known = int(self._places[number])
                place = self._count if known < 0 else known
                self._stream.seek(place * self._record)
                left = memoryview(record.data)
                while left:
                    left = left[self._stream.write(left) :]
                if known < 0:
                    self._places[number] = place
                    self._count += 1
        except OSError as error:
            raise OutputError(
                f"{self._path}: voxels cannot be put aside: {error.strerror or error}; "
                "free space there, choose another folder, or allow more memory"
            ) from error

    def _number(self, numbers: NDArray[np.integer]) -> None:
        """Room for the places of blocks."""
        size = int(numbers.max(initial=-1)) + 1
        if size > len(self._places):
            grown = np.full(max(size, len(self._places) * 5 // 4), -1, np.int32)
            grown[: len(self._places)] = self._places
            self._places = grown

    def read(self, numbers: NDArray[np.integer]) -> Fields:
        """The blocks as they were kept.

        Raises:
            OutputError: the file cannot be read any more.
        """
        records = np.empty((len(numbers), self._record), np.uint8)
        for number, record in zip(numbers.tolist(), records, strict=True):
            self._stream.seek(int(self._places[number]) * self._record)
            if self._stream.readinto(record.data) != self._record:
                raise OutputError(f"{self._path}: is shorter than it was written")
        cuts = np.cumsum([4 * VOXELS, 4 * VOXELS, VOXELS])
        sums, weights, counts, colors = (np.ascontiguousarray(part) for part in np.split(records, cuts, 1))
        return Fields(
            sums.view(np.int32),
            weights.view(np.int32),
            counts.view(np.int8),
            colors.view(np.int16).reshape(len(numbers), 3, VOXELS) if self._has_color else None,
        )
