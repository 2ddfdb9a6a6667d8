"""The folder of a rig's results: what is in it, what other tools read in it, what an interrupted write leaves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.calibration.quality import Level
from cv3d.calibration.rig.result import RIG_SCHEMA, RigCalibration
from cv3d.formats.json_text import jsonable
from cv3d.formats.reading import read_cameras
from cv3d.geometry.cameras.camera import Camera
from cv3d.reporting import rig_files
from cv3d.reporting.result_folder import look_at_output
from cv3d.reporting.rig_files import file_stems, write_rig
from cv3d.reporting.rig_summary import RIG_MEASURES, rig_measures

Make = Callable[..., Any]

COMMON = {"rig.json", "camchain.yaml", "cameras.txt", "rigs.txt", "report.html", "result.json"}


def members(*stems: str) -> set[str]:
    return {f"{stem}{end}" for stem in stems for end in (".json", "_opencv.yaml", "_camera_info.yaml")}


@pytest.fixture(scope="module")
def pair(make_rig: Make) -> RigCalibration:
    return make_rig(frames=4, cameras=[make_rig.brown4, make_rig.brown5])


@pytest.fixture(scope="module")
def plain(make_rig: Make) -> RigCalibration:
    """A pair whose lens model every format knows."""
    return make_rig(frames=2)


@pytest.fixture(scope="module")
def written(pair: RigCalibration, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    out = tmp_path_factory.mktemp("pair") / "new" / "out"
    return SimpleNamespace(out=out, result=jsonable(write_rig(pair, out, "stereo", "digest")))


@pytest.fixture(scope="module")
def storage(written: SimpleNamespace) -> Callable[[str], NDArray[np.float64]]:
    file = cv2.FileStorage(str(written.out / "stereo_opencv.yaml"), cv2.FILE_STORAGE_READ)
    return lambda name: file.getNode(name).mat()


def test_every_file_is_written_and_listed(written: SimpleNamespace) -> None:
    expected = COMMON | members("left", "right") | {"stereo_opencv.yaml"}
    assert {path.name for path in written.out.iterdir()} == expected
    assert set(written.result["files"]) == expected
    kept = json.loads((written.out / "result.json").read_text())
    assert kept == written.result
    assert (kept["schema"], kept["run_digest"]) == (RIG_SCHEMA, "digest")


@pytest.mark.parametrize("name", ["rig.json", "camchain.yaml", "cameras.txt", "stereo_opencv.yaml"])
def test_the_rig_comes_back_from_its_files(name: str, pair: RigCalibration, written: SimpleNamespace) -> None:
    rig = read_cameras(written.out / name)
    assert rig.is_posed
    np.testing.assert_allclose(rig.cameras[1].cam_from_cam0, pair.cameras[1].cam_from_cam0, atol=1e-12)
    # Kalibr has no brown5, which is the second camera's.
    known = rig.cameras[:1] if name == "camchain.yaml" else rig.cameras
    for one, item in zip(known, pair.cameras, strict=False):
        np.testing.assert_allclose(one.camera.params, item.camera.params, rtol=1e-12)


@pytest.mark.parametrize("end", [".json", "_opencv.yaml", "_camera_info.yaml"])
def test_each_camera_comes_back_from_its_own_files(end: str, pair: RigCalibration, written: SimpleNamespace) -> None:
    for item in pair.cameras:
        (one,) = read_cameras(written.out / f"{item.name}{end}").cameras
        np.testing.assert_allclose(one.camera.params, item.camera.params, rtol=1e-12)
        assert (one.camera.width, one.camera.height) == (640, 480)


def test_opencv_s_epipolar_matrices_hold_for_the_corners(
    pair: RigCalibration, storage: Callable[[str], NDArray[np.float64]]
) -> None:
    frame = next(frame for frame in pair.frames if all(pair.views[i].used for i in frame.views))
    views = [pair.views[i] for i in frame.views]
    exact = [view.pixels + view.residuals for view in views]
    straight = [
        cv2.undistortPoints(pixels[:, None], storage(f"M{k}"), storage(f"D{k}"))[:, 0]
        for k, pixels in enumerate(exact, 1)
    ]
    normalised = [np.column_stack([points, np.ones(len(points))]) for points in straight]
    off = np.einsum("ni,ij,nj->n", normalised[1], storage("E"), normalised[0])
    assert np.abs(off).max() < 1e-7 * np.linalg.norm(storage("T"))
    pixels = [points @ storage(f"M{k}").T for k, points in enumerate(normalised, 1)]
    lines = pixels[0] @ storage("F").T
    distance = (lines * pixels[1]).sum(axis=1) / np.hypot(lines[:, 0], lines[:, 1])
    assert np.abs(distance).max() < 1e-3


def test_opencv_s_rectification_lays_corners_on_rows(
    pair: RigCalibration, storage: Callable[[str], NDArray[np.float64]]
) -> None:
    for frame in pair.frames:
        views = [pair.views[i] for i in frame.views]
        if not all(view.used for view in views):
            continue
        points = [
            cv2.undistortPoints(
                (view.pixels + view.residuals)[:, None],
                storage(f"M{k}"),
                storage(f"D{k}"),
                R=storage(f"R{k}"),
                P=storage(f"P{k}"),
            )[:, 0]
            for k, view in enumerate(views, 1)
        ]
        np.testing.assert_allclose(points[0][:, 1], points[1][:, 1], atol=1e-3)
        disparity = points[0][:, 0] - points[1][:, 0]
        homogeneous = np.column_stack([points[0], disparity, np.ones(len(disparity))]) @ storage("Q").T
        seen = homogeneous[:, :3] / homogeneous[:, 3:]
        pose = frame.cam0_from_board
        assert pose is not None
        board = pair.board.points_m()[views[0].point_ids] @ pose[:3, :3].T + pose[:3, 3]
        np.testing.assert_allclose(seen @ storage("R1"), board, atol=1e-4)


def test_ros_is_told_the_rectification(written: SimpleNamespace, storage: Callable[[str], NDArray[np.float64]]) -> None:
    import yaml

    for k, name in enumerate(("left", "right"), 1):
        info = yaml.safe_load((written.out / f"{name}_camera_info.yaml").read_text())
        np.testing.assert_allclose(info["rectification_matrix"]["data"], storage(f"R{k}").ravel(), atol=1e-12)
        np.testing.assert_allclose(info["projection_matrix"]["data"], storage(f"P{k}").ravel(), atol=1e-9)
    fx, tx = info["projection_matrix"]["data"][0], info["projection_matrix"]["data"][3]
    assert tx / fx == pytest.approx(-written.result["pairs"][0]["baseline"], rel=1e-9)


def test_where_each_camera_sits_is_in_the_result(pair: RigCalibration, written: SimpleNamespace) -> None:
    first, second = (camera["from_first"] for camera in written.result["cameras"])
    assert (first["distance"], first["distance_std"]) == (0.0, 0.0)
    assert second["distance"] == pytest.approx(pair.pairs[0].baseline, rel=1e-12)
    assert second["distance_std"] > 0.0


def test_stand_ins_are_named_with_their_error(written: SimpleNamespace) -> None:
    entries = {(item["format"], item["camera"], item["file"]): item for item in written.result["formats"]}
    kalibr = entries["kalibr", "right", "camchain.yaml"]
    assert kalibr["model"] != kalibr["camera_model"] == "brown5"
    assert 0.0 < kalibr["fit_rms_px"] < kalibr["fit_max_px"] < 2.0
    assert entries["kalibr", "left", "camchain.yaml"]["fit_max_px"] == 0.0
    for name, model in (("left", "brown4"), ("right", "brown5")):
        assert entries["opencv", name, "stereo_opencv.yaml"]["model"] == model
        assert entries["ros", name, f"{name}_camera_info.yaml"]["model"] == model


OMNI = Camera("omni", 640, 480, (450.0, 452.5, 320.0, 240.0, 1.1, -0.2, 0.05, 1e-3, -2e-3))
TILTED = Camera("brown12", 640, 480, (480.0, 480.0, 320.0, 240.0, 0.3, *([0.0] * 7), 0.5, 0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("strange", "refusing", "there", "missing"),
    [
        (OMNI, {"colmap", "ros"}, {"camchain.yaml"}, {"cameras.txt"}),
        pytest.param(
            TILTED,
            {"kalibr", "colmap", "ros"},
            {"stereo_opencv.yaml"},
            {"camchain.yaml", "cameras.txt"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_format_that_cannot_say_a_camera_is_left_out_with_its_reason(
    strange: Camera, refusing: set[str], there: set[str], missing: set[str], make_rig: Make, tmp_path: Path
) -> None:
    calibration = make_rig(frames=3, cameras=[strange, make_rig.brown4])
    result = write_rig(calibration, tmp_path, "stereo")
    reasons = {item["format"]: item["reason"] for item in result["formats"] if item["file"] is None}  # type: ignore[attr-defined]
    assert set(reasons) == refusing
    assert all(strange.model in reason for reason in reasons.values())
    files = {path.name for path in tmp_path.iterdir()}
    assert files == set(result["files"])  # type: ignore[call-overload]
    assert {"rig.json", "left_opencv.yaml", "right_camera_info.yaml"} | there <= files
    assert not ({"left_camera_info.yaml"} | missing) & files


def test_four_cameras_with_unknown_scale(make_rig: Make, tmp_path: Path) -> None:
    calibration = make_rig(make_rig.ring(4), ("cam0", "cam1", "cam2", "cam3"), frames=4, square_m=None)
    result = write_rig(calibration, tmp_path, "ring")
    assert {path.name for path in tmp_path.iterdir()} == COMMON | members("cam0", "cam1", "cam2", "cam3")
    rig = read_cameras(tmp_path / "rig.json")
    assert not rig.is_metric
    for name in ("rig.json", "camchain.yaml", "cameras.txt"):
        for one, item in zip(read_cameras(tmp_path / name).cameras, calibration.cameras, strict=True):
            np.testing.assert_allclose(one.cam_from_cam0, item.cam_from_cam0, atol=1e-9)
    losses = {item["file"]: item["loss"] for item in result["losses"]}  # type: ignore[attr-defined]
    assert set(losses) == {"camchain.yaml", "cameras.txt"}
    assert all("squares" in words for words in losses.values())


def test_an_identical_run_is_found(plain: RigCalibration, written: SimpleNamespace, tmp_path: Path) -> None:
    assert look_at_output(written.out, "digest", False, RIG_SCHEMA).result == written.result
    write_rig(plain, tmp_path, "stereo", "digest")
    (tmp_path / "right.json").unlink()
    assert look_at_output(tmp_path, "digest", False, RIG_SCHEMA).result is None


def test_files_of_an_earlier_rig_do_not_stay(plain: RigCalibration, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("the user's own")
    write_rig(plain, tmp_path, "stereo")
    renamed = tuple(replace(item, name=name) for item, name in zip(plain.cameras, ("a", "b"), strict=True))
    write_rig(replace(plain, cameras=renamed), tmp_path, "stereo")
    expected = COMMON | members("a", "b") | {"stereo_opencv.yaml", "notes.txt"}
    assert {path.name for path in tmp_path.iterdir()} == expected


@pytest.mark.parametrize("already", [False, True])
@pytest.mark.parametrize("last", ["rig.json", "right_camera_info.yaml", "report.html", "result.json"])
def test_an_interrupted_write_leaves_no_result_json(
    last: str, already: bool, plain: RigCalibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if already:
        (tmp_path / "result.json").write_text(json.dumps({"schema": RIG_SCHEMA, "run_digest": "x", "files": []}))
    monkeypatch.setattr(rig_files, "rig_page", lambda *_: "")
    monkeypatch.setattr(rig_files, "rectify_pair", lambda _: None)

    def stopping(real: Callable[[Path, Any], None]) -> Callable[[Path, Any], None]:
        def write(path: Path, content: Any) -> None:
            if path.name == last:
                raise KeyboardInterrupt
            real(path, content)

        return write

    for name in ("atomic_write_text", "atomic_write_bytes"):
        monkeypatch.setattr(rig_files, name, stopping(getattr(rig_files, name)))
    with pytest.raises(KeyboardInterrupt):
        write_rig(plain, tmp_path, "stereo", "digest")
    assert not (tmp_path / "result.json").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_is_unknown_is_null(make_rig: Make, tmp_path: Path) -> None:
    calibration = make_rig(frames=3, level=Level.UNOBSERVABLE)
    second = replace(calibration.cameras[1], pose_covariance=np.full((6, 6), math.nan))
    write_rig(replace(calibration, cameras=(calibration.cameras[0], second)), tmp_path, "stereo")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for name in ("rig.json", "left.json", "result.json"):
        json.loads((tmp_path / name).read_text(), parse_constant=refuse)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["cameras"][1]["from_first"]["distance_std"] is None
    values = rig_measures(result)
    assert set(values) == set(RIG_MEASURES)
    assert values["baseline_std"] is None
    assert values["rotation_std"] is None


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["left", "right"], ["left", "right"]),
        (["cam/0", "cam/1"], ["cam_0", "cam_1"]),
        (["Cam", "cam"], ["Cam", "camera_cam"]),
        (["rig", "Result"], ["camera_rig", "camera_Result"]),
        (["stereo", ".."], ["camera_stereo", "camera"]),
        (["a b", "a_b", "a/b", "a?b"], ["a_b", "camera_a_b", "a_b_2", "a_b_3"]),
        (["kamera_ä", "カメラ"], ["kamera_ä", "カメラ"]),
    ],
)
def test_names_become_files_that_never_collide(names: list[str], stems: list[str]) -> None:
    assert file_stems(names) == stems
