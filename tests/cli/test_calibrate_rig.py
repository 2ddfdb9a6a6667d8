"""`cv3d calibrate --rig` as a user meets it: good runs, bad input, exit codes, streams."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.cli import main
from cv3d.formats import FORMATS
from cv3d.formats.reading import read_cameras

FAST = ("--board", "7x5", "--model", "brown5", "--board-warp", "off")
FILES = {
    "rig.json",
    "camchain.yaml",
    "cameras.txt",
    "rigs.txt",
    "stereo_opencv.yaml",
    *(f"{name}{end}" for name in ("left", "right") for end in (".json", "_opencv.yaml", "_camera_info.yaml")),
    "report.html",
    "result.json",
}


def run(*arguments: object) -> SimpleNamespace:
    """A command line in this process: its `code`, `out`, `err`, the `errors` among the lines, and the JSON `result`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in ("calibrate", *arguments)])
    errors = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    result = json.loads(out.getvalue()) if out.getvalue().startswith("{") else None
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue(), errors=errors, result=result)


def fails(outcome: SimpleNamespace, code: int, *fragments: object) -> None:
    """The run ended with `code` and one line that holds `fragments`, without a traceback and without a result."""
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert len(outcome.errors) == 1
    assert outcome.err.endswith(outcome.errors[0] + "\n")
    assert "Traceback" not in outcome.err
    for fragment in fragments:
        assert str(fragment) in outcome.errors[0]


@dataclass(frozen=True)
class GoodRun:
    pictures: Path
    out: Path
    outcome: SimpleNamespace


@pytest.fixture(scope="module")
def samples(project_root: Path) -> Path:
    return project_root / "data" / "samples" / "stereo"


@pytest.fixture(scope="module")
def truth(samples: Path) -> dict[str, Any]:
    return json.loads((samples / "ground_truth.json").read_text())


def first_frames(samples: Path, folder: Path, count: int) -> Path:
    """The first frames of the sample, copied to `folder`."""
    for name in ("left", "right"):
        (folder / name).mkdir(parents=True)
        for path in sorted((samples / name).glob("*.jpg"))[:count]:
            shutil.copy(path, folder / name)
    return folder


@pytest.fixture(scope="module")
def good(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> GoodRun:
    """Seven frames of the sample, one folder given that holds both cameras'."""
    root = tmp_path_factory.mktemp("good")
    pictures, out = first_frames(samples, root / "stereo", 7), root / "out"
    return GoodRun(pictures, out, run("--rig", pictures, *FAST, "--square", "40mm", "--json", "-o", out))


@pytest.fixture(scope="module")
def few(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames of the sample."""
    return first_frames(samples, tmp_path_factory.mktemp("few"), 4)


def rotation_vector(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return cv2.Rodrigues(np.ascontiguousarray(matrix))[0].ravel()


class TestGoodRun:
    def test_the_json_says_what_every_pipeline_needs(self, good: GoodRun) -> None:
        assert good.outcome.code == 0, good.outcome.err
        assert good.outcome.out.count("\n") == 1
        result = good.outcome.result
        assert result["schema"] == "cv3d.rig_calibration/1"
        assert result["unit"] == "m"
        assert [camera["name"] for camera in result["cameras"]] == ["left", "right"]
        assert [camera["views"]["used"] for camera in result["cameras"]] == [7, 7]
        assert result["frames"]["used"] == 7
        assert result["frames"]["synchronisation"]["method"] == "name"
        assert 0.0 < result["rms_px"] < 0.05
        (pair,) = result["pairs"]
        assert (pair["first"], pair["second"], pair["frames"]) == ("left", "right", 7)
        assert 0.0 < pair["epipolar_px"] < 0.05
        assert result["verdict"] in ("good", "usable")

    def test_the_relative_pose_is_within_three_sigma_of_the_truth(self, good: GoodRun, truth: dict[str, Any]) -> None:
        second = good.outcome.result["cameras"][1]
        pose, true = np.array(second["cam_from_cam0"]), np.array(truth["cam1_from_cam0"])
        turn = np.degrees(rotation_vector(pose[:3, :3] @ true[:3, :3].T))
        assert (np.abs(turn) <= 3.0 * np.array(second["rotation_std_deg"])).all()
        shift = pose[:3, 3] - true[:3, 3]
        assert (np.abs(shift) <= 3.0 * np.array(second["translation_std"])).all()
        place = second["from_first"]
        assert abs(place["distance"] - np.linalg.norm(true[:3, 3])) <= 3.0 * place["distance_std"]
        assert 0.0 < place["distance_std"] < 1e-4

    def test_the_cameras_are_within_three_sigma_of_the_truth(self, good: GoodRun, truth: dict[str, Any]) -> None:
        for camera, true in zip(good.outcome.result["cameras"], truth["cameras"], strict=True):
            for name, value in true["params"].items():
                assert abs(camera["params"][name] - value) <= 3.0 * camera["std"][name], (camera["name"], name)

    def test_every_file_is_there_and_result_json_is_what_was_printed(self, good: GoodRun) -> None:
        assert {path.name for path in good.out.iterdir()} == FILES | {"detections.jsonl"}
        assert set(good.outcome.result["files"]) == FILES
        assert json.loads((good.out / "result.json").read_text()) == good.outcome.result

    def test_the_page_names_the_cameras_and_loads_nothing(self, good: GoodRun) -> None:
        page = (good.out / "report.html").read_text()
        assert page.startswith("<!DOCTYPE html>")
        assert "<h1>stereo</h1>" in page
        for name in ("left", "right"):
            assert f">{name}<" in page
        assert "Rectified pair" in page
        assert not re.search(r'(?:src|href)="(?!data:|#)', page)
        assert "<script" not in page

    def test_a_second_run_is_skipped(self, good: GoodRun) -> None:
        before = {path.name: path.stat().st_mtime_ns for path in good.out.iterdir()}
        again = run("--rig", good.pictures, *FAST, "--square", "40mm", "-o", good.out)
        assert again.code == 0
        assert "up to date in" in again.out
        assert "find corners" not in again.err
        assert {path.name: path.stat().st_mtime_ns for path in good.out.iterdir()} == before
        assert max(map(len, again.out.splitlines())) <= 80

    def test_another_run_does_not_replace_it_unasked(self, good: GoodRun) -> None:
        other = ("--rig", good.pictures / "left", good.pictures / "right", *FAST, "--names", "a,b", "-o", good.out)
        fails(run(*other), 1, good.out, "--overwrite")
        fails(run(good.pictures / "left", *FAST, "-o", good.out), 1, good.out, "--overwrite")

    def test_a_requirement_that_is_not_met_is_3(self, good: GoodRun) -> None:
        same = ("--rig", good.pictures, *FAST, "--square", "40mm", "-o", good.out)
        outcome = run(*same, "--require", "rms<0.05", "--require", "epipolar<1e-4", "--json")
        assert outcome.code == 3
        assert outcome.result == good.outcome.result
        assert outcome.errors[0].startswith("error: epipolar<0.0001 is required, but epipolar is 0.01")
        assert run(*same, "--require", "baseline_std<0.001", "--require", "views>=7", "-q").code == 0


class TestGivenIntrinsics:
    @pytest.mark.slow
    def test_a_rig_file_of_all_is_held(self, good: GoodRun, few: Path, tmp_path: Path) -> None:
        known = read_cameras(good.out / "rig.json")
        outcome = run("--rig", few, *FAST, "--intrinsics", good.out, "--json", "-o", tmp_path / "out")
        assert outcome.code == 0, outcome.err
        for camera, one in zip(outcome.result["cameras"], known.cameras, strict=True):
            assert camera["held"]
            assert camera["rms_alone_px"] is None
            assert tuple(camera["params"].values()) == one.camera.params
            assert set(camera["std"].values()) == {0.0}
        turned = np.array(outcome.result["cameras"][1]["cam_from_cam0"])[:3, :3]
        pose = known.cameras[1].cam_from_cam0
        assert pose is not None
        assert math.degrees(float(np.linalg.norm(rotation_vector(turned @ pose[:3, :3].T)))) < 0.05
        text = run("--rig", few, *FAST, "--intrinsics", good.out, "-o", tmp_path / "out").out
        assert text.count(" held") == 2

    @pytest.mark.slow
    def test_one_of_them_by_name(self, good: GoodRun, few: Path, tmp_path: Path) -> None:
        file = good.out / "right_camera_info.yaml"
        outcome = run("--rig", few, *FAST, "--intrinsics", f"right={file}", "--json", "-o", tmp_path / "out")
        assert outcome.code in (0, 3), outcome.err
        assert [camera["held"] for camera in outcome.result["cameras"]] == [False, True]

    def test_of_another_picture_size(self, good: GoodRun, few: Path, tmp_path: Path) -> None:
        half = tmp_path / "half.yaml"
        half.write_text(FORMATS["opencv"].dumps(read_cameras(good.out / "left.json").cameras[0].camera.scaled(0.5)))
        outcome = run("--rig", few, *FAST, "--intrinsics", f"left={half}", "-o", tmp_path / "out")
        fails(outcome, 1, "320x240", "640x480", "left")
        assert not (tmp_path / "out" / "result.json").exists()

    @pytest.mark.parametrize(
        ("texts", "code", "fragments"),
        [
            (["{good}/left.json"], 2, ["left.json", "holds 1 camera", "left, right"]),
            (["{good}/left.json"] * 3, 2, ["for 3 cameras", "there are 2"]),
            (["middle={good}/left.json"], 2, ["'middle'", "left, right"]),
            (["left={good}/rig.json"], 2, ["rig.json", "rig.json#left"]),
            (["left={good}/left.json", "{good}/right.json"], 2, ["right.json", "NAME=FILE"]),
            (["left={few}/missing.yaml"], 1, ["missing.yaml"]),
            (["left={few}/empty.yaml"], 1, ["empty.yaml"]),
            (["left={few}/strange.json"], 1, ["strange.json", "no_such_lens"]),
        ],
    )
    def test_that_do_not_fit(
        self, texts: list[str], code: int, fragments: list[str], good: GoodRun, few: Path, tmp_path: Path
    ) -> None:
        (few / "empty.yaml").write_text("")
        (few / "strange.json").write_text(
            '{"schema": "cv3d.camera/1", "model": "no_such_lens", "width": 640, "height": 480, "params": {}}'
        )
        given = [word for text in texts for word in ("--intrinsics", text.format(good=good.out, few=few))]
        outcome = run("--rig", few / "left", few / "right", *FAST, *given, "-o", tmp_path / "out")
        fails(outcome, code, *fragments)
        assert not (tmp_path / "out").exists()


class TestWrongUsage:
    @pytest.mark.parametrize(
        ("arguments", "fragment"),
        [
            (["--names", "a"], "1 names for 2 cameras"),
            (["--names", "a,a"], "distinct"),
            (["--board", "nonsense"], "'nonsense'"),
            (["--model", "lens"], "'lens'"),
            (["--require", "uncertainty_corner<1"], "baseline_std, camera_rms, epipolar, frames, holdout_rms, rms"),
            (["--require", "rms"], "'rms'"),
        ],
    )
    def test_is_2_and_names_the_word(self, arguments: list[str], fragment: str, few: Path, tmp_path: Path) -> None:
        fails(run("--rig", few, *arguments, "-o", tmp_path / "out", "--json"), 2, fragment)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("option", [["--names", "a,b"], ["--intrinsics", "a.yaml"], ["--stamps", "t.csv"]])
    def test_options_of_a_rig_need_the_flag(self, option: list[str], few: Path) -> None:
        fails(run(few / "left", *option), 2, option[0], "--rig")


class TestBadInput:
    def test_one_camera_only(self, few: Path, tmp_path: Path) -> None:
        fails(run("--rig", few / "left", "-o", tmp_path / "out"), 1, "000.jpg", "two or more cameras")
        assert not (tmp_path / "out").exists()

    def test_a_camera_that_does_not_exist(self, few: Path) -> None:
        fails(run("--rig", few / "left", few / "rigth"), 1, few / "rigth", "did you mean")

    def test_a_table_of_stamps_that_is_none(self, few: Path, tmp_path: Path) -> None:
        table = tmp_path / "stamps.csv"
        table.write_text("")
        fails(run("--rig", few, "--stamps", table, "-o", tmp_path / "out"), 1, table)
        fails(run("--rig", few, "--stamps", tmp_path / "no.csv", "-o", tmp_path / "out"), 1, tmp_path / "no.csv")

    @pytest.mark.slow
    def test_cameras_that_never_see_the_board_together(self, samples: Path, tmp_path: Path) -> None:
        blank = np.full((480, 640), 120, np.uint8)
        for name, seen in (("left", range(3)), ("right", range(3, 6))):
            (tmp_path / name).mkdir()
            for i in range(6):
                path = tmp_path / name / f"{i:03d}.png"
                picture = cv2.imread(str(samples / name / f"{i:03d}.jpg")) if i in seen else blank + i
                cv2.imwrite(str(path), picture)
        outcome = run("--rig", tmp_path / "left", tmp_path / "right", *FAST, "-o", tmp_path / "out")
        fails(outcome, 1, "do not hang together", "left", "right")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["detections.jsonl"]

    def test_an_output_that_cannot_be_written(self, few: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        fails(run("--rig", few, *FAST, "-o", tmp_path / "file"), 1, tmp_path / "file", "cannot be written")


class TestProcess:
    @pytest.mark.slow
    def test_an_interruption_keeps_what_was_found(self, samples: Path, tmp_path: Path) -> None:
        for name in ("left", "right"):
            folder = tmp_path / "rig" / name
            folder.mkdir(parents=True)
            picture = cv2.imread(str(samples / name / "000.jpg"))
            for i in range(150):
                picture[0, 0] = (i, i // 2, len(name))
                cv2.imwrite(str(folder / f"{i:03d}.bmp"), picture)
        out = tmp_path / "out"
        process = subprocess.Popen(
            [sys.executable, "-m", "cv3d", "calibrate", "--rig", str(tmp_path / "rig"), *FAST, "-o", str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        journal = out / "detections.jsonl"
        give_up = time.monotonic() + 90
        while _lines(journal) < 4 and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert err.splitlines()[-1].startswith("error: interrupted")
        assert "Traceback" not in err
        assert [path.name for path in out.iterdir()] == ["detections.jsonl"]
        assert 4 <= _lines(journal) < 300


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
