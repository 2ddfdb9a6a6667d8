"""`cv3d depth` as a user meets it: outputs, exit codes, interruptions. What estimates depth is a stand-in here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import cv3d
from cv3d.depth.api import WORK_FOLDER, SourceDepth
from cv3d.depth.options import DepthOptions, Quality
from cv3d.depth.result import DepthResult
from cv3d.depth.stereo import Disparity, RowCheck, StereoOptions, StereoResult
from cv3d.formats.cv3d_camera import dumps
from cv3d.fusion import colmap_frames
from cv3d.geometry.cameras.camera import Camera
from cv3d.schemas import load

from ..sensor_maps import posed_of, sensor_maps

Main = Callable[..., SimpleNamespace]
CAMERA = Camera("pinhole", 320, 240, (262.5, 262.5, 160.2, 119.4))


class Estimating:
    """Stands for what estimates depth: keeps what it is called with, and gives or raises what it is told to."""

    def __init__(self, result: DepthResult) -> None:
        self.result = result
        self.posed = posed_of(result)
        self.failure: BaseException | None = None
        self.calls: list[dict[str, Any]] = []

    def depth_of(self, source: Path, output: Path, **options: Any) -> SourceDepth:
        self.calls.append({"source": source, "output": output, **options})
        maps = output / WORK_FOLDER / "maps"
        maps.mkdir(parents=True, exist_ok=True)
        (maps / "one").write_text("kept")
        if self.failure is not None:
            raise self.failure
        return SourceDepth(self.result, self.posed)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "transforms.json").write_text("{}")
    return tmp_path / "room"


@pytest.fixture
def estimating(monkeypatch: pytest.MonkeyPatch, project_root: Path) -> Estimating:
    """In the place of what estimates depth."""
    stands = Estimating(sensor_maps(project_root / "data" / "samples", 3))
    monkeypatch.setattr("cv3d.depth.api.depth_of", stands.depth_of)
    monkeypatch.setattr("cv3d.depth.sources.source_content", content_of)
    return stands


def content_of(source: Path, *_: object) -> tuple[list[Path], str]:
    """A source's own file alone is what it is told by."""
    return [source / "transforms.json"], ""


def the_error(text: str) -> str:
    assert "Traceback" not in text
    (error,) = (line for line in text.splitlines() if line.startswith("error: "))
    return error


def valid(content: object, form: str) -> bool:
    from jsonschema import Draft202012Validator

    return not list(Draft202012Validator(load(form)).iter_errors(content))


def test_a_folder_gets_everything_and_a_second_run_does_nothing(
    cv3d_main: Main, estimating: Estimating, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = cv3d_main("depth", str(source), "-o", str(out), "--json")
    assert (first.code, len(estimating.calls)) == (0, 1), first.err
    content = json.loads(first.out)
    assert content == json.loads((out / "result.json").read_text())
    assert valid(content, "cv3d.depth/1")
    assert (content["maps"], content["total"]) == (3, 4)
    assert all((out / name).is_file() for name in content["files"])
    assert colmap_frames.is_workspace(out)
    # What was kept on the way is not needed any more.
    assert not (out / WORK_FOLDER / "maps").exists()
    again = cv3d_main("depth", str(source), "-o", str(out))
    assert (again.code, len(estimating.calls)) == (0, 1)
    assert f"up to date in {out}" in again.out.replace("\n", " ")
    other = cv3d_main("depth", str(source), "-o", str(out), "--quality", "draft")
    assert (other.code, len(estimating.calls)) == (1, 1)
    assert "--overwrite" in the_error(other.err)
    forced = cv3d_main("depth", str(source), "-o", str(out), "--quality", "draft", "--overwrite")
    assert (forced.code, len(estimating.calls)) == (0, 2)
    (source / "transforms.json").write_text("{ }")
    assert cv3d_main("depth", str(source), "-o", str(out), "--quality", "draft").code == 1


def test_options_arrive(cv3d_main: Main, estimating: Estimating, source: Path, tmp_path: Path) -> None:
    (tmp_path / "camera.json").write_text(dumps(CAMERA))
    (tmp_path / "pictures").mkdir()
    options = ["--quality", "high", "--max-size", "777", "--views", "4", "--seed", "5", "--device", "cpu"]
    options += ["--camera", str(tmp_path / "camera.json"), "--images", str(tmp_path / "pictures")]
    assert cv3d_main("depth", str(source), "-o", str(tmp_path / "out"), *options).code == 0
    (call,) = estimating.calls
    assert call["options"] == replace(DepthOptions.of(Quality.HIGH, 5), max_side=777, sources=4)
    assert (call["camera"], call["images"], call["source"]) == (CAMERA, tmp_path / "pictures", source)
    assert call["compute"].device.type == "cpu"


def test_the_default_is_the_library_s(
    cv3d_main: Main, estimating: Estimating, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cv3d_main("depth", "room")
    assert done.code == 0, done.err
    assert estimating.calls[0]["options"] == DepthOptions()
    assert (tmp_path / "room_depth" / "report.html").is_file()
    assert "room: depth of 3 of 4 pictures" in done.out
    assert max(len(line) for line in done.out.splitlines()) <= 80


def test_an_interruption_says_what_is_kept(
    cv3d_main: Main, estimating: Estimating, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    estimating.failure = KeyboardInterrupt()
    stopped = cv3d_main("depth", str(source), "-o", str(out))
    assert stopped.code == 130
    assert f"what is finished is kept in {out}" in the_error(stopped.err)
    assert (out / WORK_FOLDER / "maps" / "one").is_file()
    assert not (out / "result.json").exists()
    estimating.failure = None
    assert cv3d_main("depth", str(source), "-o", str(out)).code == 0
    assert len(estimating.calls) == 2


def test_requirements_and_no_maps_exit_with_3(
    cv3d_main: Main, estimating: Estimating, source: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    assert cv3d_main("depth", str(source), "-o", out, "--require", "coverage>0.9", "--require", "maps>=3").code == 0
    failed = cv3d_main("depth", str(source), "-o", out, "--require", "maps_share>0.9")
    assert failed.code == 3
    assert "maps_share is 0.75" in the_error(failed.err)
    estimating.result = replace(estimating.result, maps=())
    empty = cv3d_main("depth", str(source), "-o", str(tmp_path / "empty"))
    assert empty.code == 3
    assert "no picture got a depth map" in the_error(empty.err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name either SOURCE"),
        (["room", "--stereo", "a", "b"], "name either SOURCE"),
        (["room", "--rig", "rig.json"], "--rig: only with --stereo"),
        (["room", "--fill", "--truth", "x"], "only with --stereo"),
        (["--stereo", "a", "b", "--quality", "draft"], "--quality: only with SOURCE"),
        (["--stereo", "a", "b", "--truth-scale", "4"], "only with --truth"),
        (["--stereo", "a", "b", "--rectified"], "only with --rig"),
        (["--stereo", "a", "b", "--require", "maps>1"], "maps"),
        (["room", "--quality", "best"], "draft, normal, high"),
        (["room", "--require", "bad_1<1"], "bad_1"),
        (["room", "-o", "room"], "is the source itself"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str],
    words: str,
    cv3d_main: Main,
    estimating: Estimating,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(source.parent)
    done = cv3d_main("depth", *arguments)
    assert done.code == 2
    assert words in the_error(done.err)
    assert not estimating.calls


def test_other_people_s_folders_are_left_alone(
    cv3d_main: Main, estimating: Estimating, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine" / "images").mkdir(parents=True)
    refused = cv3d_main("depth", str(source), "-o", str(tmp_path / "mine"))
    assert refused.code == 1
    assert "not from cv3d depth" in the_error(refused.err)
    assert cv3d_main("depth", str(source), "-o", str(tmp_path / "mine"), "--overwrite").code == 0


def test_a_source_without_poses_is_one_line(cv3d_main: Main, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = cv3d_main("depth", str(tmp_path / "empty"), "-o", str(tmp_path / "out"))
    assert done.code == 1
    assert "holds no poses" in the_error(done.err)


def test_the_package_is_the_function_too(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr("cv3d.depth.api.depth", lambda *given, **_: calls.append(given) or DepthResult(()))
    assert cv3d.depth("room", "out").maps == ()
    assert calls == [("room", "out")]
    assert cv3d.depth.__name__ == "cv3d.depth"


class Matching:
    """Stands for what matches pairs."""

    def __init__(self, *, is_calibrated: bool) -> None:
        self.calls: list[dict[str, Any]] = []
        self.is_calibrated = is_calibrated

    def stereo(self, left: Path, right: Path, **options: Any) -> StereoResult:
        self.calls.append({"left": left, "right": right, **options})
        disparity = np.tile(np.linspace(5.0, 20.0, 32, dtype=np.float32), (24, 1))
        disparity[:, :4] = 0.0
        confidence = np.where(disparity > 0.0, np.float32(0.9), np.float32(0.0))
        found = Disparity(disparity, confidence, 24, {"total": 0.1})
        depth = np.divide(2.0, disparity, out=np.zeros_like(disparity), where=disparity > 0.0)
        return StereoResult(
            (left.name, right.name),
            found,
            np.full((24, 32, 3), 90, np.uint8),
            RowCheck(50, 0.1, 0.2, (5.0, 20.0)),
            Camera("pinhole", 32, 24, (20.0, 20.0, 16.0, 12.0)) if self.is_calibrated else None,
            0.1 if self.is_calibrated else None,
            depth if self.is_calibrated else None,
            is_metric=self.is_calibrated,
            warnings=("it is dim",),
            seconds={"total": 0.2},
        )


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    for name in ("l.png", "r.png"):
        (tmp_path / name).write_bytes(name.encode())
    return str(tmp_path / "l.png"), str(tmp_path / "r.png")


def test_a_pair_gets_its_files(
    cv3d_main: Main, pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matching = Matching(is_calibrated=True)
    monkeypatch.setattr("cv3d.depth.stereo.stereo", matching.stereo)
    (tmp_path / "rig.json").write_text("{}")
    out = tmp_path / "out"
    line = ["depth", "--stereo", *pair, "--rig", str(tmp_path / "rig.json"), "--rectified", "--fill"]
    line += ["--max-disparity", "24", "-o", str(out)]
    done = cv3d_main(*line, "--json")
    assert done.code == 0, done.err
    content = json.loads(done.out)
    assert valid(content, "cv3d.stereo/1")
    assert content == json.loads((out / "result.json").read_text())
    assert {path.name for path in out.iterdir()} == set(content["files"])
    (call,) = matching.calls
    assert call["options"] == StereoOptions(max_disparity=24, is_filled=True)
    assert (call["rig"], call["is_rectified"]) == (tmp_path / "rig.json", True)
    exact = cv2.imread(str(out / "disparity.pfm"), cv2.IMREAD_UNCHANGED)
    steps = cv2.imread(str(out / "disparity.png"), cv2.IMREAD_UNCHANGED)
    depth = cv2.imread(str(out / "depth.png"), cv2.IMREAD_UNCHANGED)
    assert exact is not None
    assert steps is not None
    assert depth is not None
    np.testing.assert_allclose(exact[0, 4:], np.linspace(5.0, 20.0, 32)[4:], rtol=1e-6)
    np.testing.assert_allclose(steps / 256.0, exact, atol=0.002)
    np.testing.assert_allclose(depth[:, 4:] * content["depth_step"], 2.0 / exact[:, 4:], atol=0.0006)
    again = cv3d_main(*line)
    assert (again.code, len(matching.calls)) == (0, 1)
    assert "up to date" in again.out
    assert max(map(len, again.out.splitlines())) <= 80


def test_a_pair_is_judged_by_the_truth(
    cv3d_main: Main, pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cv3d.depth.stereo.stereo", Matching(is_calibrated=False).stereo)
    truth = np.tile(np.rint(4.0 * np.linspace(5.0, 20.0, 32)), (24, 1)).astype(np.uint8)
    truth[:12] += 6
    assert cv2.imwrite(str(tmp_path / "truth.png"), truth)
    line = ["depth", "--stereo", *pair, "--truth", str(tmp_path / "truth.png"), "--truth-scale", "4"]
    done = cv3d_main(*line, "-o", str(tmp_path / "a"), "--json", "--require", "bad_2<0.2")
    assert done.code == 0, done.err
    judged = json.loads(done.out)["truth"]
    # Half of the pixels are off by 1.5, and 4 of 32 columns have nothing.
    assert judged["bad_1"] == pytest.approx(0.5 + 0.5 * 4 / 32)
    assert judged["bad_2"] == pytest.approx(4 / 32)
    assert "depth.png" not in json.loads(done.out)["files"]
    failed = cv3d_main(*line, "-o", str(tmp_path / "a"), "--require", "bad_1<0.2")
    assert failed.code == 3
    assert cv2.imwrite(str(tmp_path / "truth.png"), truth[:20])
    wrong = cv3d_main(*line, "-o", str(tmp_path / "b"))
    assert wrong.code == 1
    assert "is 32x20, the disparities are 32x24" in the_error(wrong.err)
