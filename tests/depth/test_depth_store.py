"""Finished maps in files: bit for bit the same, or nothing."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cv3d.depth.result import DepthMap
from cv3d.depth.store import DepthStore
from cv3d.errors import OutputError
from cv3d.geometry.cameras.camera import Camera


def a_map(name: str = "a/b c.jpg") -> DepthMap:
    rng = np.random.default_rng(3)
    return DepthMap(
        name,
        Camera("pinhole", 9, 7, (10.0 / 3.0, 10.1, 4.0, 3.0)),
        rng.normal(size=(4, 4)),
        rng.random((7, 9), np.float32),
        rng.random((7, 9), np.float32),
        rng.integers(0, 256, (7, 9, 3), np.uint8),
    )


def assert_same(one: DepthMap, other: DepthMap | None) -> None:
    assert other is not None
    assert (one.name, one.camera) == (other.name, other.camera)
    for name in ("cam_from_world", "depth", "confidence", "color"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_a_map_comes_back_bit_for_bit(tmp_path: Path) -> None:
    store = DepthStore(tmp_path / "maps", "options")
    assert store.load("a/b c.jpg", "inputs") is None
    for name in ("a/b c.jpg", "clip.mp4#000012", "ü\udcff.png"):
        store.save(a_map(name), "inputs")
    for name in ("a/b c.jpg", "clip.mp4#000012", "ü\udcff.png"):
        assert_same(a_map(name), DepthStore(tmp_path / "maps", "options").load(name, "inputs"))


def test_a_map_of_other_inputs_or_options_is_none(tmp_path: Path) -> None:
    DepthStore(tmp_path, "options").save(a_map(), "inputs")
    assert DepthStore(tmp_path, "options").load("a/b c.jpg", "others") is None
    assert DepthStore(tmp_path, "others").load("a/b c.jpg", "inputs") is None
    assert DepthStore(tmp_path, "options").load("b.jpg", "inputs") is None


def test_a_newer_map_replaces_the_older(tmp_path: Path) -> None:
    store = DepthStore(tmp_path, "")
    store.save(a_map(), "old")
    newer = replace(a_map(), depth=np.zeros((7, 9), np.float32))
    store.save(newer, "new")
    assert store.load("a/b c.jpg", "old") is None
    assert_same(newer, store.load("a/b c.jpg", "new"))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_harmed_map_is_none(tmp_path: Path) -> None:
    store = DepthStore(tmp_path, "")
    store.save(a_map(), "")
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for harmed in (b"", whole[: len(whole) // 2], whole[:-1] + b"x", b"something else\n" + whole):
        path.write_bytes(harmed)
        assert store.load("a/b c.jpg", "") is None


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = DepthStore(tmp_path, "")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="cannot be written: No space left"):
        store.save(a_map(), "")
    assert not list(tmp_path.iterdir())


def test_a_cleared_store_leaves_nothing(tmp_path: Path) -> None:
    store = DepthStore(tmp_path / "maps", "")
    store.save(a_map(), "")
    store.clear()
    assert not (tmp_path / "maps").exists()
    assert store.load("a/b c.jpg", "") is None
