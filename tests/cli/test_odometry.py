"""`cv3d odometry` as a user meets it: outputs, exit codes, interruptions. What tracks is a stand-in here."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from cv3d.formats.trajectories import read_trajectory_file
from cv3d.geometry.cameras import Camera
from cv3d.odometry.results import FrameResult, OdometryResult, Sensor, SparseMap, State

Main = Callable[..., SimpleNamespace]
FRAMES = 12


def walk(tracked: bool = True) -> OdometryResult:
    """A curve that a metric camera followed."""
    frames = []
    for i in range(FRAMES):
        pose = np.eye(4)
        pose[:3, 3] = [0.1 * i, 0.0, 0.02 * i * i]
        state = State.OK if tracked else State.LOW_TEXTURE
        reason = "" if tracked else "hardly any points"
        known = pose if tracked else None
        segment = 0 if tracked else -1
        frames.append(FrameResult(i, 0.1 * i, f"{i}.png", state, reason, known, segment, 99, math.nan, False, 10.0 + i))
    return OdometryResult(
        sensor=Sensor.RGBD,
        camera=Camera("pinhole", 64, 48, (60.0, 60.0, 31.5, 23.5)),
        is_camera_estimated=False,
        is_metric=True,
        frames=tuple(frames),
        key_frames=(),
        map=SparseMap(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0, np.intp), np.zeros(0, np.intp)),
        loops=(),
        warnings=("the clip is short",),
        elapsed_s=0.6,
        source="pictures",
    )


class Tracker:
    """Stands for what tracks: keeps what it is called with, shows every frame, and gives what it is told to."""

    def __init__(self) -> None:
        self.result = walk()
        self.calls: list[dict[str, Any]] = []

    def odometry(self, source: str, *, on_frame: Any, progress: Any, **options: Any) -> OdometryResult:
        self.calls.append({"source": source, **options})
        progress.start("odometry", FRAMES)
        for frame in self.result.frames:
            on_frame(frame, np.zeros((48, 64), np.uint8))
            progress.advance("odometry")
        progress.finish("odometry")
        return self.result


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """In the place of cv3d.odometry.running."""
    stands = Tracker()
    module = ModuleType("cv3d.odometry.running")
    module.odometry = stands.odometry  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv3d.odometry.running", module)
    return stands


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures, which are never decoded."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((48, 64), 40 * i, np.uint8))
    return folder


def the_error(text: str) -> str:
    assert "Traceback" not in text
    (error,) = (line for line in text.splitlines() if line.startswith("error: "))
    return error


def test_a_folder_gets_everything_and_a_second_run_does_nothing(
    cv3d_main: Main, tracker: Tracker, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = cv3d_main("odometry", str(pictures), "-o", str(out), "--json")
    assert (first.code, len(tracker.calls)) == (0, 1), first.err
    content = json.loads(first.out)
    assert content == json.loads((out / "result.json").read_text())
    assert content["schema"] == "cv3d.odometry/1"
    assert (content["sensor"], content["scale"], content["intrinsics"]) == ("rgbd", "metric", "given")
    assert (content["frames"], content["tracked_fraction"], content["segments"]) == (FRAMES, 1.0, 1)
    assert content["ms"] == {"p50": 15.5, "p95": 20.45, "p99": 20.89}
    assert content["realtime_factor"] == pytest.approx(2.0)
    assert content["interrupted"] is False
    assert all((out / name).is_file() for name in content["files"])
    assert len(read_trajectory_file(out / "trajectory.tum").trajectory) == FRAMES
    again = cv3d_main("odometry", str(pictures), "-o", str(out))
    assert (again.code, len(tracker.calls)) == (0, 1)
    assert f"up to date in {out}" in again.out.replace("\n", " ")
    other = cv3d_main("odometry", str(pictures), "-o", str(out), "--no-loops")
    assert (other.code, len(tracker.calls)) == (1, 1)
    assert "--overwrite" in the_error(other.err)
    forced = cv3d_main("odometry", str(pictures), "-o", str(out), "--no-loops", "--overwrite")
    assert (forced.code, len(tracker.calls)) == (0, 2)


def test_options_arrive(cv3d_main: Main, tracker: Tracker, pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "path.tum"
    options = ("--sensor", "rgbd", "--depth", "d", "--depth-scale", "0.001", "--fps", "20", "--seed", "7")
    outcome = cv3d_main("odometry", str(pictures), "-o", str(path), *options, "--no-loops", "--stereo", "a", "b")
    assert outcome.code == 0, outcome.err
    (call,) = tracker.calls
    assert (call["source"], call["sensor"], call["depth"]) == (str(pictures), "rgbd", Path("d"))
    assert (call["depth_scale"], call["fps"], call["seed"], call["loops"]) == (0.001, 20.0, 7, False)
    assert (tuple(call["stereo"]), call["camera"]) == (("a", "b"), None)


@pytest.mark.parametrize(
    ("name", "forms", "kind"),
    [("a.tum", (), "tum"), ("a.csv", (), "euroc"), ("a.txt", ("--format", "kitti"), "kitti")],
)
def test_a_file_gets_the_path_alone(
    name: str, forms: tuple[str, ...], kind: str, cv3d_main: Main, tracker: Tracker, pictures: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    outcome = cv3d_main("odometry", str(pictures), "-o", str(path), *forms)
    assert outcome.code == 0, outcome.err
    written = read_trajectory_file(path)
    assert (written.format, len(written.trajectory)) == (kind, FRAMES)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "pictures"])
    again = cv3d_main("odometry", str(pictures), "-o", str(path), *forms)
    assert again.code == 2
    assert "--overwrite" in the_error(again.err)
    assert len(tracker.calls) == 1


def test_without_a_name_the_folder_is_called_after_the_input(
    cv3d_main: Main, tracker: Tracker, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cv3d_main("odometry", "pictures", "--format", "kitti").code == 0
    assert (tmp_path / "pictures_odometry" / "trajectory_kitti.txt").is_file()
    assert (tmp_path / "pictures_odometry" / "times.txt").is_file()
    live = cv3d_main("odometry", "camera:0")
    assert live.code == 0, live.err
    assert (tmp_path / "camera0_odometry" / "trajectory.tum").is_file()


def test_an_interrupted_run_is_written_and_not_taken_for_a_whole_one(
    cv3d_main: Main, tracker: Tracker, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    whole = tracker.result
    tracker.result = replace(whole, frames=whole.frames[:5], interrupted=True)
    outcome = cv3d_main("odometry", str(pictures), "-o", str(out), "--json")
    assert outcome.code == 130
    assert the_error(outcome.err) == f"error: interrupted: 5 frames were seen, and what they gave is written to {out}"
    assert json.loads(outcome.out)["interrupted"] is True
    assert len(read_trajectory_file(out / "trajectory.tum").trajectory) == 5
    tracker.result = whole
    assert cv3d_main("odometry", str(pictures), "-o", str(out)).code == 0
    assert len(read_trajectory_file(out / "trajectory.tum").trajectory) == FRAMES


def test_an_interrupted_path_is_written_too(cv3d_main: Main, tracker: Tracker, pictures: Path, tmp_path: Path) -> None:
    tracker.result = replace(tracker.result, frames=tracker.result.frames[:5], interrupted=True)
    path = tmp_path / "a.tum"
    assert cv3d_main("odometry", str(pictures), "-o", str(path)).code == 130
    assert len(read_trajectory_file(path).trajectory) == 5


def test_requirements(cv3d_main: Main, tracker: Tracker, pictures: Path, tmp_path: Path) -> None:
    run = ("odometry", str(pictures), "-o", str(tmp_path / "out"), "--require")
    assert cv3d_main(*run, "tracked_fraction>0.9").code == 0
    slow = cv3d_main(*run, "p50_ms<15")
    assert (slow.code, the_error(slow.err)) == (3, "error: p50_ms<15 is required, but p50_ms is 15.5")
    unknown = cv3d_main(*run, "ate_rmse<1")
    assert (unknown.code, the_error(unknown.err)) == (3, "error: ate_rmse<1 is required, but ate_rmse is not known")
    wrong = cv3d_main(*run, "speed>1")
    assert wrong.code == 2
    assert "no figure 'speed'" in the_error(wrong.err)


def test_where_nothing_is_tracked_all_is_written_and_said(
    cv3d_main: Main, tracker: Tracker, pictures: Path, tmp_path: Path
) -> None:
    tracker.result = walk(tracked=False)
    out = tmp_path / "out"
    outcome = cv3d_main("odometry", str(pictures), "-o", str(out))
    assert outcome.code == 3
    assert "not one of 12 frames could be tracked: hardly any points" in the_error(outcome.err)
    assert (out / "frames.csv").is_file()
    assert not (out / "trajectory.tum").exists()
    alone = cv3d_main("odometry", str(pictures), "-o", str(tmp_path / "a.tum"))
    assert alone.code == 3
    assert not (tmp_path / "a.tum").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--depth-scale", "-1"), "--depth-scale -1"),
        (("--format", "bvh"), "tum, kitti, euroc"),
        (("-o", "a.tum", "--format", "kitti", "--format", "euroc"), "one form"),
    ],
)
def test_wrong_usage_is_said_before_anything_runs(
    arguments: tuple[str, ...], says: str, cv3d_main: Main, tracker: Tracker, pictures: Path
) -> None:
    outcome = cv3d_main("odometry", str(pictures), *arguments)
    assert outcome.code == 2
    assert says in the_error(outcome.err)
    assert not tracker.calls


def test_results_do_not_go_into_the_recording(cv3d_main: Main, tracker: Tracker, pictures: Path) -> None:
    outcome = cv3d_main("odometry", str(pictures), "-o", f"{pictures}{os.sep}")
    assert outcome.code == 2
    assert "is the recording itself" in the_error(outcome.err)


def test_a_missing_recording_is_named(cv3d_main: Main, tmp_path: Path) -> None:
    outcome = cv3d_main("odometry", str(tmp_path / "gone.mp4"), "-o", str(tmp_path / "out"))
    assert outcome.code == 1
    assert "gone.mp4" in the_error(outcome.err)


def test_the_summary_fits_a_terminal(cv3d_main: Main, tracker: Tracker, pictures: Path, tmp_path: Path) -> None:
    outcome = cv3d_main("odometry", str(pictures), "-o", str(tmp_path / "out"))
    assert all(len(line) <= 80 for line in outcome.out.splitlines() if str(tmp_path) not in line)
    assert "12 of 12 frames tracked (100 %) in one piece" in outcome.out
    assert "warning: the clip is short" in outcome.out


def test_rerun_that_is_missing_is_said(
    cv3d_main: Main, tracker: Tracker, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    outcome = cv3d_main("odometry", str(pictures), "-o", str(tmp_path / "out"), "--rerun")
    assert outcome.code == 1
    assert "pip install 'cv3d[rerun]'" in the_error(outcome.err)
