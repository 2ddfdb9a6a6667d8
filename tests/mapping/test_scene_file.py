"""Scenes in files: bit for bit what was written, or nothing."""

from __future__ import annotations

import contextlib
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cv3d.errors import FormatError, OutputError
from cv3d.geometry.cameras.camera import Camera
from cv3d.mapping.scene import (
    IntrinsicsSource,
    LeftOut,
    ScaleSource,
    Scene,
    SceneCamera,
    SceneImage,
    SceneModel,
    ViewGraph,
)
from cv3d.mapping.scene_file import load_scene, save_scene
from cv3d.media.picture import Picture


def same(a: Any, b: Any) -> bool:
    """Whether two values are the same to the last bit, arrays by type, shape and content."""
    if is_dataclass(a):
        kept = [one.name for one in fields(a) if one.compare or not isinstance(a, Picture)]
        return type(a) is type(b) and all(same(getattr(a, name), getattr(b, name)) for name in kept)
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(one, other) for one, other in zip(a, b, strict=True))
    if isinstance(a, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes()
    return bool(a == b and type(a) is type(b))


def model(rng: np.random.Generator, pictures: int, points: int) -> SceneModel:
    camera = Camera("brown4", 640, 480, (500.0 / 3.0, 1e-300 + 500.1, 320.1, 239.9, -0.1, 0.01, 1e-5, 0.1 + 0.2))
    pinhole = Camera("pinhole", 64, 48, (50.0, 50.0, 32.0, 24.0))
    images = []
    for i in range(pictures):
        count = int(rng.integers(0, 30))
        images.append(
            SceneImage(
                Picture(f"clip.mp4#{i:06d}", Path("/a folder/clip.mp4"), i, i / 29.97)
                if i % 2
                else Picture(f"ü\udcff{i}.jpg", Path(f"pictures/ü\udcff{i}.jpg"), held_gray=b"grey"),
                i % 2,
                rng.normal(size=(4, 4)),
                None if i % 3 == 0 else rng.normal(size=(6, 6)),
                rng.normal(size=(count, 2)),
                rng.integers(-1, points, count).astype(np.intp),
                float("nan") if i == 0 else float(rng.random()),
            )
        )
    cameras = (
        SceneCamera(camera, IntrinsicsSource.EXIF, ("f", "k1"), tuple(rng.random(8).tolist())),
        SceneCamera(pinhole, IntrinsicsSource.GIVEN, (), (0.0, float("inf"), float("nan"), -0.0)),
    )
    return SceneModel(
        cameras,
        tuple(images),
        rng.normal(size=(points, 3)),
        rng.integers(0, 256, (points, 3), np.uint8),
        rng.random(points),
        is_oriented_only=points == 1,
    )


def scene() -> Scene:
    rng = np.random.default_rng(7)
    graph = ViewGraph(
        ("a", "b", "c\nd"), np.array([[0, 1], [1, 2]], np.intp), np.array([40, 3]), np.array([True, False])
    )
    return Scene(
        (model(rng, 7, 50), model(rng, 2, 1), replace(model(rng, 0, 1), cameras=())),
        (LeftOut("c\nd", "It is dark.", ""),),
        graph,
        "incremental",
        ScaleSource.GPS,
        True,
        (48.1 + 1e-14, 11.5, 520.25),
        ("one doubt", "another"),
        {"total": 12.3, "matches": 1e-9},
        True,
        5,
        "mps",
        Path("/out/ü"),
    )


def test_a_scene_comes_back_bit_for_bit(tmp_path: Path) -> None:
    written = scene()
    save_scene(written, tmp_path / "deep" / "scene.bin", digest="abc")
    read = load_scene(tmp_path / "deep" / "scene.bin", digest="abc")
    assert read is not None
    assert same(written, read)


def test_an_empty_scene_comes_back(tmp_path: Path) -> None:
    nothing = Scene(
        (), (), ViewGraph((), np.zeros((0, 2), np.intp), np.zeros(0, np.intp), np.zeros(0, np.bool_)), "global"
    )
    save_scene(nothing, tmp_path / "scene.bin", digest="")
    assert same(nothing, load_scene(tmp_path / "scene.bin", digest=""))


def test_a_scene_of_other_inputs_or_none_is_none(tmp_path: Path) -> None:
    path = tmp_path / "scene.bin"
    assert load_scene(path, digest="abc") is None
    save_scene(scene(), path, digest="abc")
    assert load_scene(path, digest="abd") is None
    later = path.read_bytes().replace(b"cv3d.scene/1", b"cv3d.scene/2", 1)
    path.write_bytes(later)
    assert load_scene(path, digest="abc") is None


def test_every_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "scene.bin"
    save_scene(scene(), path, digest="abc")
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for at in rng.integers(0, len(whole), 300).tolist():
        flipped = bytearray(whole)
        flipped[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with contextlib.suppress(FormatError):
            assert load_scene(path, digest="abc") is None, f"a flipped bit at {at} went unseen"
    for length in (0, 5, 40, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            load_scene(path, digest="abc")


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scene.bin"
    np.savez(path.with_suffix(".npz"), a=np.zeros(3))
    with pytest.raises(FormatError, match="not what cv3d keeps"):
        load_scene(path.with_suffix(".npz"), digest="")
    with pytest.raises(FormatError, match="cannot be read"):
        load_scene(tmp_path, digest="")


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save_scene(scene(), tmp_path / "file" / "scene.bin", digest="")
