"""The scripts in examples/, each run as a user would."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cv3d.schemas import load

from .tiny_inputs import make_tiny_inputs

Run = Callable[..., subprocess.CompletedProcess[str]]
SCRIPTS = {"calibrate_once", "odometry_parallel", "fail_fast", "collect_csv", "watch_progress"}
CV3D = f'#!/bin/sh\nexec "{sys.executable}" -m cv3d "$@"\n'
FINDS_NO_INPUT = '#!/bin/sh\necho "error: $2: no such file or folder" >&2\nexit 1\n'
"""What cv3d says of an input that does not exist; cv3d itself takes seconds to load before it does."""

EVENTS: list[dict[str, object]] = [
    {"event": "start", "stage": "choose frames", "total": 110},
    {"event": "progress", "done": 40, "total": 110, "seconds": 0.8, "rate": 50.0, "left_s": 1.4},
    {"event": "progress", "done": 110, "total": 110, "seconds": 2.2, "rate": 50.0, "left_s": 0.0},
    {"event": "finish", "done": 110, "seconds": 2.2},
]


def tells_events() -> str:
    """What `cv3d frames CLIP --json --progress json` writes."""
    validator = Draft202012Validator(load("progress"))
    told = [{"v": 1, "stage": "choose frames"} | event for event in EVENTS]
    failed = {"v": 1, "event": "error", "message": "nowhere.mp4: no such file or folder", "exit_code": 1}
    assert [error.message for event in [*told, failed] for error in validator.iter_errors(event)] == []
    lines = "\n".join(map(json.dumps, told))
    return (
        f"#!/bin/sh\nif [ ! -e \"$2\" ]; then echo '{json.dumps(failed)}' >&2; exit 1; fi\n"
        f"cat >&2 <<'END'\n{lines}\nEND\necho '{json.dumps({'schema': 'cv3d.frames/1'})}'\n"
    )


def stood_in_by(program: str) -> pytest.MarkDecorator:
    """Runs a test with a program in the place of cv3d, and as a slow test with cv3d itself."""
    rows = [pytest.param(program, id="stand-in"), pytest.param(CV3D, id="cv3d", marks=pytest.mark.slow)]
    return pytest.mark.parametrize("program", rows)


@pytest.fixture
def program() -> str:
    """What stands on the path as cv3d."""
    return CV3D


@pytest.fixture
def run(program: str, project_root: Path, tmp_path: Path) -> Run:
    """Runs a script of the folder with `cv3d` on the path, in an empty folder, or in that of `cwd`."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "cv3d").write_text(program, encoding="utf-8")
    (programs / "cv3d").chmod(0o755)

    def go(script: str, *arguments: str, cwd: Path = tmp_path, **environ: str) -> subprocess.CompletedProcess[str]:
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        whole = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "CV3D_DEVICE": "cpu"} | environ
        command = [str(project_root / "examples" / f"{script}.sh"), *arguments]
        return subprocess.run(
            command, cwd=cwd, env=whole, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )

    return go


@pytest.fixture
def needs_jq() -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")


def test_every_script_is_known_here_and_in_the_readme(project_root: Path) -> None:
    folder = project_root / "examples"
    assert {path.stem for path in folder.glob("*.sh")} == SCRIPTS
    readme = (folder / "README.md").read_text(encoding="utf-8")
    for path in folder.glob("*.sh"):
        assert f"]({path.name})" in readme
        assert os.access(path, os.X_OK)
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0] == "#!/usr/bin/env bash"
        assert "set -euo pipefail" in lines


@pytest.mark.parametrize("script", sorted(SCRIPTS - {"watch_progress"}))
def test_a_bare_call_says_how_it_is_called(script: str, run: Run) -> None:
    done = run(script)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")


@stood_in_by(FINDS_NO_INPUT)
def test_the_first_failure_stops_the_others(run: Run, tmp_path: Path) -> None:
    done = run("fail_fast", "paths", "nowhere.mp4", "never_tried.mp4")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nowhere.mp4: failed, stopped" in done.stderr
    assert "never_tried" not in done.stderr


@stood_in_by(FINDS_NO_INPUT)
def test_a_failing_clip_is_named_and_stops_no_other(run: Run, tmp_path: Path) -> None:
    done = run("odometry_parallel", "paths", "no where.mp4", "nowhere.mp4", JOBS="2")
    assert (done.returncode, done.stdout) == (1, "")
    told = sorted(done.stderr.splitlines())
    assert [line.partition(": error: ")[0] for line in told] == ["no where.mp4", "nowhere.mp4"]
    assert (tmp_path / "paths" / "no where.log").read_text().startswith("error: ")


@stood_in_by(FINDS_NO_INPUT)
def test_a_calibration_that_fails_names_no_camera(run: Run) -> None:
    done = run("calibrate_once", "nowhere", "out", "--square", "25mm")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")


def odometry_result(source: str, **more: Any) -> dict[str, Any]:
    """A result as `cv3d odometry` leaves it."""
    camera = {"model": "pinhole", "width": 640, "height": 480, "params": {"fx": 500.0, "fy": 500.0}}
    plain = {"schema": "cv3d.odometry/1", "source": source, "sensor": "mono", "frames": 9, "tracked_frames": 9}
    plain |= {"tracked_fraction": 1.0, "segments": 1, "segment_sizes": [9], "keyframes": 2, "points": 90, "loops": 0}
    plain |= {"loop_closures": [], "path_length": 1.5, "fps": 30.0, "ms": {"p50": 20.0, "p95": 30.5, "p99": 40.0}}
    plain |= {"realtime_factor": 1.0, "elapsed_s": 0.3, "scale": "arbitrary", "intrinsics": "given"}
    plain |= {"focal_deviation_px": None, "camera": camera, "states": {"ok": 9}, "doubts": [], "warnings": []}
    plain |= {"truth": None, "interrupted": False, "seed": 0, "files": [], "run_digest": ""}
    assert [error.message for error in Draft202012Validator(load("odometry")).iter_errors(plain | more)] == []
    return plain | more


@pytest.mark.usefixtures("needs_jq")
def test_a_table_of_results(run: Run, tmp_path: Path) -> None:
    ate = {"rmse_m": 0.02, "percent": 1.0, "rmse_deg": 0.1}
    truth = {"source": "t", "alignment": "se3", "matched": 9, "ate": ate, "rpe": None, "drift": None}
    truth |= {"scale": 1.0, "path_length_m": 2.0}
    contents = [odometry_result('a, "b".mp4'), odometry_result("c.mp4", truth=truth), {"schema": "cv3d.fuse/1"}]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.json").write_text(json.dumps(content), encoding="utf-8")
    done = run("collect_csv", "0.json", "1.json", "2.json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["source"] for row in rows] == ['a, "b".mp4', "c.mp4"]
    assert [row["ate_rmse_m"] for row in rows] == ["", "0.02"]
    assert rows[0]["p95_ms"] == "30.5"


@stood_in_by(tells_events())
@pytest.mark.usefixtures("needs_jq")
def test_the_progress_is_watched_by_its_events(run: Run, project_root: Path, tmp_path: Path) -> None:
    clip = project_root / "data" / "samples" / "room.mp4"
    done = run("watch_progress", "frames", str(clip), "--max-frames", "2", "-o", "frames")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == "cv3d.frames/1"
    told = done.stderr.splitlines()
    assert any(line.startswith("choose frames: 110 of 110") for line in told)
    assert any(line.endswith(" s left") for line in told)
    failed = run("watch_progress", "frames", "nowhere.mp4")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("error: nowhere.mp4")


@pytest.mark.slow
@pytest.mark.usefixtures("needs_jq")
def test_from_photos_to_a_table_of_paths(run: Run, project_root: Path, tmp_path: Path) -> None:
    inputs = make_tiny_inputs(project_root / "data" / "samples", tmp_path / "inputs")
    options = ("--square", "25mm", "--board", "checkerboard:9x6", "--model", "brown5")
    for _ in range(2):
        done = run("calibrate_once", "board", "camera", *options, cwd=inputs)
        assert (done.returncode, done.stdout, done.stderr) == (0, "camera/camera.json\n", "")
    shutil.copytree(inputs / "rgbd", inputs / "again")
    done = run("odometry_parallel", "paths", "rgbd", "again", cwd=inputs, JOBS="2")
    assert (done.returncode, done.stderr) == (0, "")
    done = run("fail_fast", "paths", "rgbd", "again", cwd=inputs)
    assert (done.returncode, done.stdout) == (0, "rgbd: good\nagain: good\n")
    done = run("collect_csv", "paths/rgbd/result.json", "paths/again/result.json", cwd=inputs)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["source"] for row in rows] == ["rgbd", "again"]
    assert all(float(row["tracked_fraction"]) == 1.0 and float(row["ate_rmse_m"]) < 0.01 for row in rows)
    done = run("fail_fast", "paths", "rgbd", "board", cwd=inputs)
    assert done.returncode != 0
    assert done.stdout == "rgbd: good\n"
