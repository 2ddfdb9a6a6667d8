"""Grids as files: numpy's `.npz` with the blocks that anything was seen of."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats.atomic import atomic_write_bytes
from cv3d.fusion.block_store import BlockStore
from cv3d.fusion.layout import REACH, VOXELS, Fields, pack_keys

_SCHEMA = "cv3d.voxel_grid/1"
_GROUP = 4096


@dataclass(frozen=True, eq=False)
class GridContent:
    """What a file of a grid holds."""

    voxel_m: float
    truncation_m: float
    frame_count: int
    blocks: NDArray[np.int32]
    """(n, 3) coordinates, in the order of z, y, x."""
    free: NDArray[np.int32]
    """(n,) free weight."""
    fields: Fields
    """Their voxels."""


def write_grid(
    path: str | os.PathLike[str], store: BlockStore, voxel_m: float, truncation_m: float, frame_count: int
) -> None:
    """Write a grid; blocks that nothing was seen of are left out.

    Raises:
        OutputError: the file cannot be written.
    """
    order = np.argsort(pack_keys(store.index.blocks)).astype(np.int32)
    kept: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    parts = [Fields.zeros(0, store.has_color)]
    for first in range(0, len(order), _GROUP):
        numbers = order[first : first + _GROUP]
        fields = store.gather(numbers)
        here = np.flatnonzero(fields.weights.any(1))
        kept.append(numbers[here])
        parts.append(fields.take(here))
    numbers = np.concatenate(kept)
    fields = Fields.join(parts)
    content = {
        "schema": np.array(_SCHEMA),
        "voxel_m": np.array(voxel_m),
        "truncation_m": np.array(truncation_m),
        "frame_count": np.array(frame_count),
        "blocks": store.index.blocks[numbers],
        "free": store.free[numbers],
        **dict(zip(("sums", "weights", "counts", "colors"), fields.arrays, strict=False)),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **content)
    atomic_write_bytes(path, buffer.getbuffer())  # type: ignore[arg-type]


def read_grid(path: str | os.PathLike[str]) -> GridContent:
    """What a file of a grid holds.

    Raises:
        FormatError: it is none, or damaged.
    """
    try:
        with np.load(Path(path), allow_pickle=False) as content:
            if "schema" not in content or str(content["schema"]) != _SCHEMA:
                raise FormatError(f"{path}: is no voxel grid of cv3d")
            fields = Fields(
                content["sums"],
                content["weights"],
                content["counts"],
                content.get("colors"),
            )
            result = GridContent(
                float(content["voxel_m"]),
                float(content["truncation_m"]),
                int(content["frame_count"]),
                content["blocks"],
                content["free"],
                fields,
            )
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path}: is no voxel grid of cv3d, or damaged: {error}") from error
    count = len(result.blocks)
    shapes = [(count, VOXELS)] * 3 + [(count, 3, VOXELS)]
    expected = [(np.dtype(t), s) for t, s in zip((np.int32, np.int32, np.int8, np.int16), shapes, strict=True)]
    is_sound = result.blocks.shape == (count, 3) and result.free.shape == (count,)
    is_sound &= all((a.dtype, a.shape) == wanted for a, wanted in zip(result.fields.arrays, expected, strict=False))
    is_sound = is_sound and result.blocks.dtype == np.int32 and bool((np.abs(result.blocks) < REACH).all())
    if not is_sound or len(np.unique(pack_keys(result.blocks))) != count:
        raise FormatError(f"{path}: is damaged: its arrays do not fit together")
    return result


def add_content(store: BlockStore, blocks: NDArray[np.int32], free: NDArray[np.int32], fields: Fields) -> None:
    """Add other voxels to those of a store, block by block.

    Raises:
        UsageError: memory does not hold a group of blocks.
        OutputError: voxels cannot be put aside.
    """
    group = _GROUP if store.max_rows is None else max(1, min(_GROUP, store.max_rows))
    for first in range(0, len(blocks), group):
        some = slice(first, first + group)
        numbers = store.number(blocks[some])
        store.put(numbers, store.gather(numbers).plus(fields.take(np.arange(len(blocks))[some])))
        store.add_free(numbers, free[some])
