"""`cv3d undistort` as a user meets it: good runs, bad input, exit codes, files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest

from cv3d.formats import cv3d_camera, cv3d_rig
from cv3d.formats.reading import read_camera
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

Main = Callable[..., SimpleNamespace]

CAMERA = Camera("brown5", 160, 120, (130.0, 130.0, 79.0, 60.5, -0.2, 0.05, 0.0, 0.0, 0.0))


def fails(outcome: SimpleNamespace, code: int, *fragments: object) -> None:
    """The run ended with `code` and one line that holds `fragments`, without a traceback and without a result."""
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in outcome.err
    for fragment in fragments:
        assert str(fragment) in errors[0]


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    path = tmp_path / "camera.json"
    path.write_text(cv3d_camera.dumps(CAMERA))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{i}.png"), cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.fixture(scope="module")
def stereo(project_root: Path) -> Path:
    return project_root / "data" / "samples" / "stereo"


@pytest.fixture(scope="module")
def truth(stereo: Path) -> dict[str, Any]:
    return json.loads((stereo / "ground_truth.json").read_text())


@pytest.fixture
def rig_file(tmp_path: Path, truth: dict[str, Any]) -> Path:
    left, right = (Camera.from_dict(one) for one in truth["cameras"])
    pose = np.array(truth["cam1_from_cam0"])
    path = tmp_path / "rig.json"
    path.write_text(cv3d_rig.dumps(Rig((RigCamera("left", left, np.eye(4)), RigCamera("right", right, pose)))))
    return path


def test_a_folder(cv3d_main: Main, tmp_path: Path, photos: Path, camera: Path) -> None:
    out = tmp_path / "out"
    outcome = cv3d_main("undistort", str(photos), "--camera", str(camera), "-o", str(out), "--alpha", "0.5", "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result["schema"] == "cv3d.undistort/1"
    assert result == json.loads((out / "result.json").read_text())
    assert {path.name for path in out.iterdir()} == {
        "0.png", "1.png", "2.png", "camera.json", "camera_opencv.yaml", "result.json"
    }  # fmt: skip
    assert read_camera(out / "camera.json").as_dict() == result["camera_after"]
    assert result["camera_before"] == CAMERA.as_dict()
    assert 0.5 < result["valid_share"] < 1.0
    assert 0.5 < result["source_share"] < 1.0
    assert [item["frames"] for item in result["inputs"]] == [1, 1, 1]


def test_the_same_again_is_not_done_again(cv3d_main: Main, tmp_path: Path, photos: Path, camera: Path) -> None:
    command = ("undistort", str(photos), "--camera", str(camera), "-o", str(tmp_path / "out"))
    assert cv3d_main(*command).code == 0
    written = (tmp_path / "out" / "0.png").stat().st_mtime_ns
    again = cv3d_main(*command)
    assert (again.code, (tmp_path / "out" / "0.png").stat().st_mtime_ns) == (0, written)
    assert "were there already" in again.out
    fails(cv3d_main(*command, "--alpha", "1"), 1, "--overwrite")
    assert cv3d_main(*command, "--alpha", "1", "--overwrite").code == 0
    assert (tmp_path / "out" / "0.png").stat().st_mtime_ns > written


def test_without_o_the_folder_is_named_after_the_input(
    cv3d_main: Main, tmp_path: Path, photos: Path, camera: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cv3d_main("undistort", "photos", "--camera", str(camera), "--size", "100x80", "--to", "fisheye").code == 0
    assert cv2.imread(str(tmp_path / "photos_undistorted" / "0.png")).shape[:2] == (80, 100)
    assert read_camera(tmp_path / "photos_undistorted" / "camera.json").model == "kannala_brandt4"


def test_an_equirectangular_view_is_no_camera_file(cv3d_main: Main, tmp_path: Path, photos: Path, camera: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--camera", str(camera), "-o", str(out), "--to", "equirect", "--maps", "--json")
    result = json.loads(cv3d_main("undistort", str(photos), *arguments).out)
    assert result["camera_after"]["projection"] == "equirect"
    assert {path.name for path in out.iterdir()} == {"0.png", "1.png", "2.png", "maps.npz", "result.json"}
    with np.load(out / "maps.npz") as maps:
        assert maps["160x120_map"].shape == (*cv2.imread(str(out / "0.png")).shape[:2], 2)


def test_unreadable_pictures_are_listed(cv3d_main: Main, tmp_path: Path, photos: Path, camera: Path) -> None:
    (photos / "1.png").write_bytes((photos / "1.png").read_bytes()[:100])
    outcome = cv3d_main("undistort", str(photos), "--camera", str(camera), "-o", str(tmp_path / "out"))
    assert outcome.code == 0
    assert "1 skipped:\n  1.png: damaged or truncated" in outcome.out
    assert "1.png: skipped: damaged or truncated" in outcome.err


def test_a_pair(cv3d_main: Main, tmp_path: Path, stereo: Path, rig_file: Path, truth: dict[str, Any]) -> None:
    out = tmp_path / "out"
    sides = (str(stereo / "left"), str(stereo / "right"))
    outcome = cv3d_main("undistort", "--pair", *sides, "--camera", str(rig_file), "-o", str(out), "--maps", "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    names = sorted(path.name for path in (stereo / "left").iterdir())
    assert sorted(path.name for path in (out / "left").iterdir()) == names
    assert sorted(path.name for path in (out / "right").iterdir()) == names
    assert result["baseline"] == pytest.approx(np.linalg.norm(np.array(truth["cam1_from_cam0"])[:3, 3]))
    written = json.loads((out / "rectification.json").read_text())
    storage = cv2.FileStorage(str(out / "rectification.yaml"), cv2.FILE_STORAGE_READ)
    for name in ("R1", "R2", "P1", "P2", "Q"):
        np.testing.assert_array_equal(storage.getNode(name).mat(), np.array(written[name]))
    # OpenCV, with nothing but the yaml and the rig, makes the pictures that we made.
    camera = Camera.from_dict(truth["cameras"][1])
    size = (int(storage.getNode("image_width").real()), int(storage.getNode("image_height").real()))
    theirs = cv2.initUndistortRectifyMap(
        camera.matrix, np.array(camera.shape), storage.getNode("R2").mat(), storage.getNode("P2").mat(), size,
        cv2.CV_32FC2,
    )[0]  # fmt: skip
    with np.load(out / "maps.npz") as maps:
        assert np.abs(maps["right_map"] - theirs)[maps["right_valid"]].max() < 1e-3


def test_a_video(cv3d_main: Main, tmp_path: Path, camera: Path) -> None:
    with av.open(str(tmp_path / "clip.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for i in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), 20 * i, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    out = tmp_path / "out"
    outcome = cv3d_main("undistort", str(tmp_path / "clip.avi"), "--camera", str(camera), "-o", str(out), "--json")
    result = json.loads(outcome.out)
    assert (result["inputs"][0]["output"], result["inputs"][0]["frames"]) == ("clip.mp4", 8)
    assert result["fps"] > 0.0


def test_camera_files_that_do_not_serve(
    cv3d_main: Main, tmp_path: Path, photos: Path, camera: Path, rig_file: Path
) -> None:
    out = ("-o", str(tmp_path / "out"))
    fails(cv3d_main("undistort", str(photos), "--camera", str(tmp_path / "no.json"), *out), 1, "no.json")
    fails(cv3d_main("undistort", str(photos), "--camera", str(rig_file), *out), 1, "left, right")
    (tmp_path / "empty.yaml").write_text("")
    fails(cv3d_main("undistort", str(photos), "--camera", str(tmp_path / "empty.yaml"), *out), 1, "empty.yaml")
    fails(cv3d_main("undistort", "--pair", str(photos), str(photos), "--camera", str(camera), *out), 2, "rig")
    one = f"{rig_file}#left"
    assert cv3d_main("undistort", str(photos), "--camera", one, *out).code == 0


def test_usage(cv3d_main: Main, tmp_path: Path, photos: Path, camera: Path, rig_file: Path) -> None:
    base = ("undistort", str(photos), "--camera", str(camera), "-o", str(tmp_path / "out"))
    fails(cv3d_main(*base, "--size", "big"), 2, "--size", "1280x720")
    fails(cv3d_main(*base, "--to", "cylinder"), 2, "equirect")
    fails(cv3d_main(*base, "--alpha", "2"), 2, "alpha")
    fails(cv3d_main(*base, "--codec", "vp9"), 2, "mpeg4")
    fails(cv3d_main(*base, "--pair"), 2, "LEFT and RIGHT")
    fails(cv3d_main(*base, "--cameras", "a,b"), 2, "--pair")
    pair = ("undistort", "--pair", str(photos), str(photos), "--camera", str(rig_file), "-o", str(tmp_path / "out"))
    fails(cv3d_main(*pair, "--cameras", "left,middle"), 2, "left, right")
    fails(cv3d_main("undistort", str(tmp_path / "nothing"), "--camera", str(camera)), 1, "nothing")
    assert not (tmp_path / "out").exists()


def test_pictures_of_another_shape(cv3d_main: Main, tmp_path: Path, photos: Path, camera: Path) -> None:
    for path in photos.iterdir():
        cv2.imwrite(str(path), np.zeros((90, 160), np.uint8))
    outcome = cv3d_main("undistort", str(photos), "--camera", str(camera), "-o", str(tmp_path / "out"))
    fails(outcome, 1, "0.png: is 160x90, but the camera was calibrated at 160x120")


def test_results_do_not_replace_their_input(cv3d_main: Main, photos: Path, camera: Path) -> None:
    before = (photos / "0.png").read_bytes()
    outcome = cv3d_main("undistort", str(photos), "--camera", str(camera), "-o", str(photos), "--overwrite")
    fails(outcome, 1, "input itself")
    assert (photos / "0.png").read_bytes() == before


@pytest.mark.slow
def test_an_interrupted_run_leaves_whole_files_only(tmp_path: Path, camera: Path) -> None:
    rng = np.random.default_rng(0)
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        stream.options = {"preset": "ultrafast"}
        picture = rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)
        for _ in range(240):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    out = tmp_path / "out"
    command = [sys.executable, "-m", "cv3d", "undistort", str(tmp_path / "clip.mp4"), "--camera", str(camera)]
    with subprocess.Popen([*command, "-o", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not list(out.glob(".clip.partial*")):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert list(out.iterdir()) == []
