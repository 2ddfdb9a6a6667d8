"""Blocks in bounded memory that becomes less."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cv3d.fusion.block_store import BlockStore
from cv3d.fusion.layout import VOXELS, Fields, bytes_per_block

MOST = 1_500_000
STEP, COUNT = 50, 6_000


def filled(numbers: np.ndarray) -> Fields:
    """Voxels that tell which block they are of."""
    values = np.repeat(numbers.astype(np.int32)[:, None], VOXELS, 1) + np.arange(VOXELS, dtype=np.int32)
    return Fields(values, values + 1, (values % 100).astype(np.int8), None)


def test_memory_becomes_less_and_nothing_is_lost(tmp_path: Path) -> None:
    store = BlockStore(torch.device("cpu"), False, MOST, tmp_path)
    least = 2 * STEP * bytes_per_block(False)
    allowed = [MOST]
    for first in range(0, COUNT, STEP):
        numbers = np.arange(first, first + STEP, dtype=np.int32)
        store.add(np.stack([numbers, numbers % 7, numbers % 5], 1).astype(np.int32))
        store.put(numbers, filled(numbers))
        # Some of long ago come back, and their places are others each time.
        store.rows(np.arange(0, first, max(first // 20, 1), dtype=np.int32))
        if first % 500 == 450:
            store.lower_memory(100_000, least)
            allowed.append(max(allowed[-1] - 100_000, least))
        assert store.memory_bytes <= allowed[-1]
    assert allowed[-1] == least
    for first in range(0, COUNT, 1000):
        numbers = np.arange(first, first + 1000, dtype=np.int32)
        for kept, wanted in zip(store.gather(numbers).arrays, filled(numbers).arrays, strict=True):
            np.testing.assert_array_equal(kept, wanted)
    store.close()
    assert not list(tmp_path.iterdir())


def test_memory_that_was_not_bounded_becomes_so(tmp_path: Path) -> None:
    store = BlockStore(torch.device("cpu"), False, None, tmp_path)
    numbers = np.arange(600, dtype=np.int32)
    store.add(np.stack([numbers, numbers, numbers], 1).astype(np.int32))
    store.put(numbers, filled(numbers))
    had = store.memory_bytes
    store.lower_memory(had // 2, 0)
    assert store.memory_bytes <= had - had // 2
    assert store.spilled_count > 200
    np.testing.assert_array_equal(store.gather(numbers).sums, filled(numbers).sums)
    store.close()
