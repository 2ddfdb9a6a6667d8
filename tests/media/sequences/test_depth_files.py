"""Depth pictures: every form they are stored in, what is no measurement, and what is no depth picture."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.errors import PictureError
from cv3d.media.sequences.depth_checks import better_scale, judge_depth
from cv3d.media.sequences.depth_files import DepthReader, read_stored_depth


@pytest.fixture
def metres() -> NDArray[np.float32]:
    rng = np.random.default_rng(5)
    return np.round(rng.uniform(0.4, 6.0, (37, 51)), 3).astype(np.float32)


def write_exr(path: Path, channels: dict[str, NDArray[np.generic]], compression: int) -> None:
    """A scan-line file, written from the specification: channels in the order of their names."""
    kinds = {"uint32": 0, "float16": 1, "float32": 2}
    height, width = next(iter(channels.values())).shape
    names = sorted(channels)

    def attribute(name: str, kind: str, data: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(data)) + data

    listed = b"".join(
        name.encode() + b"\0" + struct.pack("<iiii", kinds[str(channels[name].dtype)], 0, 1, 1) for name in names
    )
    box = struct.pack("<4i", 0, 5, width - 1, height + 4)
    header = b"\x76\x2f\x31\x01\x02\x00\x00\x00"
    header += attribute("channels", "chlist", listed + b"\0")
    header += attribute("compression", "compression", bytes([compression]))
    header += attribute("dataWindow", "box2i", box) + attribute("displayWindow", "box2i", box) + b"\0"
    lines = 16 if compression == 3 else 1
    blocks = []
    for first in range(0, height, lines):
        rows = range(first, min(first + lines, height))
        raw = b"".join(channels[name][row].tobytes() for row in rows for name in names)
        blocks.append(struct.pack("<ii", first + 5, len(packed := _packed(raw, compression))) + packed)
    starts = np.cumsum([len(header) + 8 * len(blocks), *(len(block) for block in blocks[:-1])])
    path.write_bytes(header + struct.pack(f"<{len(blocks)}Q", *starts.tolist()) + b"".join(blocks))


def _packed(raw: bytes, compression: int) -> bytes:
    if compression == 0:
        return raw
    data = np.frombuffer(raw, np.uint8)
    halves = np.concatenate([data[0::2], data[1::2]]).astype(np.int64)
    steps = halves.copy()
    steps[1:] = (np.diff(halves) + 128) % 256
    split = steps.astype(np.uint8).tobytes()
    if compression == 1:
        # Runs of one byte, and literal stretches, by turns.
        packed = b"".join(
            bytes([2, split[i]])
            if split[i : i + 3] == split[i : i + 1] * 3
            else struct.pack("b", -3) + split[i : i + 3]
            for i in range(0, len(split) - 2, 3)
        )
        rest = split[len(split) - len(split) % 3 :]
        packed += struct.pack("b", -len(rest)) + rest if rest else b""
    else:
        packed = zlib.compress(split)
    return packed if len(packed) < len(raw) else raw


def test_sixteen_bit_pictures(metres: NDArray[np.float32], tmp_path: Path) -> None:
    stored = np.round(metres * 1000.0).astype(np.uint16)
    stored[0, :3] = (0, 65535, 1)
    for suffix in (".png", ".tiff", ".pgm"):
        path = tmp_path / f"d{suffix}"
        assert cv2.imwrite(str(path), stored)
        read = DepthReader(0.001, 65535.0).read(path)
        assert read.dtype == np.float32
        assert read[0, :3].tolist() == [0.0, 0.0, np.float32(0.001)]
        np.testing.assert_allclose(read[1:], metres[1:], rtol=1e-6)


@pytest.mark.parametrize("unmeasured", [np.nan, np.inf, -np.inf, -1.0, 0.0])
def test_floating_point_forms(metres: NDArray[np.float32], unmeasured: float, tmp_path: Path) -> None:
    metres[3, 4] = unmeasured
    np.save(tmp_path / "d.npy", metres.astype(np.float64))
    assert cv2.imwrite(str(tmp_path / "d.tiff"), metres)
    for compression in (0, 1, 2, 3):
        write_exr(tmp_path / f"d{compression}.exr", {"Z": metres}, compression)
    for path in sorted(tmp_path.iterdir()):
        read = DepthReader(1.0).read(path)
        assert read[3, 4] == 0.0
        read[3, 4] = metres[3, 4]
        np.testing.assert_array_equal(read, metres)


def test_the_depth_channel_of_several_is_taken(metres: NDArray[np.float32], tmp_path: Path) -> None:
    others = {"A": metres.astype(np.float16), "R": metres * 2.0, "Z": metres}
    for compression in (0, 3):
        write_exr(tmp_path / "d.exr", dict(others), compression)
        np.testing.assert_array_equal(read_stored_depth(tmp_path / "d.exr"), metres)
    write_exr(tmp_path / "half.exr", {"R": metres.astype(np.float16)}, 2)
    np.testing.assert_array_equal(read_stored_depth(tmp_path / "half.exr"), metres.astype(np.float16))


def test_lossy_and_broken_exr_files_are_refused(metres: NDArray[np.float32], tmp_path: Path) -> None:
    write_exr(tmp_path / "d.exr", {"Z": metres}, 3)
    whole = (tmp_path / "d.exr").read_bytes()
    for cut in (20, 200, len(whole) // 2, len(whole) - 3):
        (tmp_path / "cut.exr").write_bytes(whole[:cut])
        with pytest.raises(PictureError, match=r"cut\.exr: damaged or truncated"):
            read_stored_depth(tmp_path / "cut.exr")
    place = whole.index(b"compression\0compression\0") + len(b"compression\0compression\0") + 4
    (tmp_path / "piz.exr").write_bytes(whole[:place] + b"\x04" + whole[place + 1 :])
    with pytest.raises(PictureError, match=r"PIZ is not read"):
        read_stored_depth(tmp_path / "piz.exr")


def test_what_is_no_depth_picture(metres: NDArray[np.float32], tmp_path: Path) -> None:
    stored = np.round(metres * 1000.0).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "whole.png"), stored)
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "flipped.png").write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no picture")
    cv2.imwrite(str(tmp_path / "grey.png"), (stored >> 8).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "color.png"), np.dstack([stored] * 3))
    np.save(tmp_path / "many.npy", np.zeros((2, 3, 4)))
    for name, reason in {
        "cut.png": "truncated",
        "flipped.png": "check sum",
        "empty.png": "0 bytes",
        "text.png": "no picture",
        "grey.png": "uint8, not 16-bit",
        "color.png": "not one channel",
        "many.npy": "not one channel",
        "missing.png": "No such file",
    }.items():
        with pytest.raises(PictureError, match=rf"{name}.*{reason}"):
            read_stored_depth(tmp_path / name)


def test_plausible_depth_is_not_complained_of(metres: NDArray[np.float32]) -> None:
    holed = metres.copy()
    holed[:, :20] = 0.0
    assert judge_depth([metres, holed], 0.001) == []
    assert judge_depth([]) == []


@pytest.mark.parametrize(("said", "true"), [(1.0, 0.001), (0.001, 1.0), (1e-5, 0.001), (1.0, 1.0 / 5000.0)])
def test_a_wrong_scale_is_seen_and_a_better_one_named(metres: NDArray[np.float32], said: float, true: float) -> None:
    stored = metres / true
    sentences = judge_depth([(stored * said).astype(np.float32)] * 3, said)
    assert len(sentences) == 1
    assert "is the scale wrong?" in sentences[0]
    found = better_scale(float(np.median(stored * said)), said)
    assert found is not None
    # Factors two apart cannot be told; a plausible room is what counts.
    assert 0.2 <= float(np.median(stored)) * found <= 15.0
    assert f"{found:g} m a unit" in sentences[0]


def test_holes_are_told(metres: NDArray[np.float32]) -> None:
    assert "no depth is measured in any of 4 frames" in judge_depth([np.zeros_like(metres)] * 4)[0]
    sparse = np.where(np.random.default_rng(1).uniform(size=metres.shape) < 0.05, metres, np.float32(0.0))
    assert "% of the depth pictures is holes" in judge_depth([sparse] * 3)[0]
    assert any("2 of 3 frames have no depth at all" in one for one in judge_depth([metres, sparse * 0, sparse * 0]))
