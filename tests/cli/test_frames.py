"""`cv3d frames` as a user meets it: good runs, bad input, exit codes, files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

import cv3d
from cv3d.media.writing import write_picture

Main = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A view that moves right by a hundredth of its diagonal from frame to frame."""
    path = tmp_path_factory.mktemp("clips") / "walk.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (40, 200, 3), np.uint8)
    scene = cv2.resize(noise, (1600, 320), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 240, 320, "yuv420p"
        for i in range(40):
            view = np.ascontiguousarray(scene[:, 4 * i : 4 * i + 240])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_clip(cv3d_main: Main, tmp_path: Path, walk: Path) -> None:
    out = tmp_path / "out"
    outcome = cv3d_main("frames", str(walk), "-o", str(out), "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result == json.loads((out / "result.json").read_text())
    assert result["schema"] == "cv3d.frames/1"
    assert result["frames"]["total"] == 40
    assert result["frames"]["chosen"] == len(result["pictures"]) == pytest.approx(8, abs=2)
    assert sum(result["frames"]["passed_over"].values()) + result["frames"]["chosen"] == 40
    assert all((out / name).is_file() for name in result["files"])
    assert sorted(path.name for path in out.iterdir()) == ["frames.csv", "images", "result.json"]
    rows = list(csv.DictReader((out / "frames.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == [item["file"] for item in result["pictures"]]
    second = result["pictures"][1]
    assert second["file"] == f"images/walk_{second['frame']:06d}_{second['time']:.3f}s.png"
    with av.open(str(walk)) as container:
        wanted = list(container.decode(video=0))[second["frame"]].to_ndarray(format="bgr24")
    assert np.array_equal(cv2.imread(str(out / second["file"])), wanted)


def test_limits_and_formats(cv3d_main: Main, tmp_path: Path, walk: Path) -> None:
    out = tmp_path / "out"
    outcome = cv3d_main("frames", str(walk), "-o", str(out), "--max-frames", "3", "--format", "jpg")
    assert outcome.code == 0, outcome.err
    assert 2 <= len(list((out / "images").glob("*.jpg"))) <= 3
    assert "of 40 frames chosen, 240x320" in outcome.out
    assert "passed over: " in outcome.out


def test_the_same_again_is_not_done_again(cv3d_main: Main, tmp_path: Path, walk: Path) -> None:
    out = tmp_path / "out"
    command = ("frames", str(walk), "-o", str(out))
    assert cv3d_main(*command).code == 0
    before = (out / "result.json").stat().st_mtime_ns
    again = cv3d_main(*command)
    assert (again.code, (out / "result.json").stat().st_mtime_ns) == (0, before)
    assert "nothing to do" in again.out
    other = cv3d_main(*command, "--step", "0.1")
    assert other.code == 1
    assert "--overwrite" in other.err
    replaced = cv3d_main(*command, "--step", "0.1", "--overwrite", "--json")
    assert replaced.code == 0
    names = sorted(f"images/{path.name}" for path in (out / "images").iterdir())
    assert names == [item["file"] for item in json.loads(replaced.out)["pictures"]]


def test_pictures_of_others_are_not_replaced(cv3d_main: Main, tmp_path: Path, walk: Path) -> None:
    mine = tmp_path / "out" / "images" / "holiday.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    outcome = cv3d_main("frames", str(walk), "-o", str(tmp_path / "out"), "--overwrite")
    assert outcome.code == 1
    assert "holiday.jpg" in outcome.err
    assert mine.read_bytes() == b"mine"


def test_an_interruption_leaves_no_pictures(
    cv3d_main: Main, tmp_path: Path, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def write(path: Path, samples: object) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write_picture(path, samples)  # type: ignore[arg-type]

    monkeypatch.setattr("cv3d.media.key_choice.extracting.write_picture", write)
    assert cv3d_main("frames", str(walk), "-o", str(tmp_path / "out")).code == 130
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    monkeypatch.undo()
    assert cv3d_main("frames", str(walk), "-o", str(tmp_path / "out")).code == 0


def test_a_view_at_rest_is_told(cv3d_main: Main, tmp_path: Path, walk: Path) -> None:
    path = tmp_path / "rest.mp4"
    with av.open(str(walk)) as source:
        picture = next(source.decode(video=0)).to_ndarray(format="rgb24")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 240, 320, "yuv420p"
        for _ in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    outcome = cv3d_main("frames", str(path), "-o", str(tmp_path / "out"), "--json")
    result = json.loads(outcome.out)
    assert (outcome.code, result["is_still"], result["frames"]["chosen"]) == (0, True, 1)
    assert "does not move" in outcome.err


@pytest.mark.parametrize(
    ("content", "said"), [(None, "no such file"), (b"", "empty"), (b"\0\0\0\x18ftypisom" + b"\0" * 400, "truncated")]
)
def test_no_video(cv3d_main: Main, tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    outcome = cv3d_main("frames", str(path), "-o", str(tmp_path / "out"))
    assert outcome.code == 1
    assert said in outcome.err
    assert not (tmp_path / "out" / "images").exists()


def test_wrong_usage(cv3d_main: Main, tmp_path: Path, walk: Path) -> None:
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.zeros((8, 8), np.uint8))
    assert cv3d_main("frames", str(walk), "-o", str(tmp_path / "out"), "--format", "bmp").code == 2
    assert cv3d_main("frames", str(walk), "-o", str(tmp_path / "out"), "--step", "-1").code == 2
    assert cv3d_main("frames", str(picture), "-o", str(tmp_path / "out")).code == 1


def test_from_python(walk: Path) -> None:
    result = cv3d.frames(walk, max_frames=5)
    assert len(result.choice.pictures) <= 5
    assert set(result.files) == {None}
