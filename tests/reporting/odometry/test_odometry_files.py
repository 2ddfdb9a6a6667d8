"""The files of odometry: whole, of each segment, read back by others; the tables and summaries true to the result."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cv3d.formats.colmap_reconstruction import read_reconstruction
from cv3d.formats.ply import read_ply
from cv3d.formats.reading import read_camera
from cv3d.formats.trajectories import read_trajectory, read_trajectory_file
from cv3d.geometry.cameras import Camera
from cv3d.odometry.results import Sensor
from cv3d.reporting.odometry_colmap import reconstruction
from cv3d.reporting.odometry_files import FRAME_COLUMNS, write_odometry
from cv3d.reporting.odometry_summary import describe_odometry, measures, odometry_result
from cv3d.reporting.odometry_truth import compare_with_truth

Maker = Callable[..., Any]


def write(result: Any, out: Path, **options: Any) -> dict[str, Any]:
    return write_odometry(result, compare_with_truth(result), out, **options)


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("forms", [(), ("tum", "kitti", "euroc")])
def test_every_segment_has_its_files(forms: tuple[str, ...], make_odometry: Maker, tmp_path: Path) -> None:
    result = make_odometry(segments=2)
    content = write(result, tmp_path, forms=forms)
    assert everything(tmp_path) == sorted(content["files"])
    for number, ending in ((0, ""), (1, "_segment1")):
        path = result.segment(number)
        assert result.segment_sizes[number] == len(path)
        for name in (f"trajectory{ending}.tum", f"trajectory{ending}_euroc.csv")[: 1 + bool(forms)]:
            back = read_trajectory(tmp_path / name)
            np.testing.assert_allclose(back.world_from_cam, path.world_from_cam, atol=1e-12)
            np.testing.assert_allclose(back.times, path.times, rtol=0.0, atol=5e-7)
        if forms:
            kitti = read_trajectory_file(tmp_path / f"trajectory{ending}_kitti.txt", tmp_path / f"times{ending}.txt")
            np.testing.assert_array_equal(kitti.trajectory.times, path.times)
        keys = [key for key in result.key_frames if key.segment == number]
        assert len(read_trajectory(tmp_path / f"keyframes{ending}.tum")) == len(keys)
        cloud = read_ply(tmp_path / f"map{ending}.ply")
        chosen = result.map.segments == number
        np.testing.assert_array_equal(cloud.vertices, result.map.points[chosen].astype(np.float32))
        np.testing.assert_array_equal(np.asarray(cloud.colors), result.map.colors[chosen])
    # The times of the largest segment are found by those who read its path in KITTI's form.
    if forms:
        assert read_trajectory(tmp_path / "trajectory_kitti.txt").is_timed


def test_the_colmap_model_has_the_key_frames_and_what_they_see(make_odometry: Maker, tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    result = make_odometry(segments=2)
    write(result, tmp_path)
    for number, folder in ((0, "colmap"), (1, "colmap_segment1")):
        theirs = pycolmap.Reconstruction(str(tmp_path / folder))
        keys = [key for key in result.key_frames if key.segment == number]
        assert [image.name for _, image in sorted(theirs.images.items())] == [key.name for key in keys]
        # The one point that no key frame sees is left out.
        assert theirs.num_points3D() == int((result.map.segments == number).sum()) - (number == 0)
        assert theirs.compute_mean_reprojection_error() < 1e-3
        for point in theirs.points3D.values():
            assert point.error < 1e-3
        ours = read_reconstruction(tmp_path / folder)
        # Single precision of the pixels, measured in place.
        np.testing.assert_allclose(ours.images[0].pixels, keys[0].pixels, atol=1e-4)


def test_a_camera_that_colmap_lacks_is_replaced_by_the_nearest(make_odometry: Maker) -> None:
    fisheye = Camera("double_sphere", 640, 480, (300.0, 300.0, 320.0, 240.0, 0.1, 0.55))
    scene = reconstruction(make_odometry(frames=20, camera=fisheye), 0)
    assert scene.cameras[0].model != "double_sphere"
    # The stand-in has the same rays to a fraction of a pixel.
    assert np.nanmax(scene.errors) < 1.0


def test_the_table_has_a_line_for_every_frame(make_odometry: Maker, tmp_path: Path) -> None:
    result = make_odometry(segments=2)
    write(result, tmp_path)
    with (tmp_path / "frames.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == FRAME_COLUMNS
    assert len(rows) == len(result.frames)
    for row, frame in zip(rows, result.frames, strict=True):
        assert (int(row["index"]), float(row["time"])) == (frame.index, frame.time)
        assert (row["name"], row["state"], row["reason"]) == (frame.name, frame.state, frame.reason)
        assert row["segment"] == ("" if frame.segment < 0 else str(frame.segment))
        assert (row["key"] == "1") is frame.is_key
        assert (row["parallax_deg"] == "") is bool(np.isnan(frame.parallax_deg))


def test_what_an_earlier_run_left_and_this_one_lacks_is_removed(make_odometry: Maker, tmp_path: Path) -> None:
    write(make_odometry(segments=2), tmp_path, forms=("kitti",))
    (tmp_path / "notes.txt").write_text("mine")
    content = write(make_odometry(), tmp_path)
    assert everything(tmp_path) == sorted([*content["files"], "notes.txt"])


def test_a_result_that_names_files_elsewhere_removes_none(make_odometry: Maker, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    names = ["../outside.txt", str(outside)]
    (out / "result.json").write_text(json.dumps({"schema": "cv3d.odometry/1", "files": names}))
    write(make_odometry(), out)
    assert outside.read_text() == "mine"


def test_an_interruption_while_writing_leaves_no_result(
    make_odometry: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = make_odometry()
    write(result, tmp_path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cv3d.reporting.odometry_files.write_ply", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(result, tmp_path)
    assert not (tmp_path / "result.json").exists()
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".partial"]


def test_without_one_pose_the_rest_is_written(make_odometry: Maker, tmp_path: Path) -> None:
    content = write(make_odometry(tracked=False), tmp_path)
    assert content["files"] == ["camera.json", "frames.csv", "report.html", "result.json"]
    assert (content["tracked_fraction"], content["segments"], content["keyframes"]) == (0.0, 0, 0)
    assert "problem" in content["truth"]


def test_an_estimated_camera_says_so(make_odometry: Maker, tmp_path: Path) -> None:
    result = make_odometry(estimated=True, sensor=Sensor.MONO)
    content = write(result, tmp_path)
    assert read_camera(tmp_path / "camera.json") == result.camera
    assert json.loads((tmp_path / "camera.json").read_text())["focal_deviation_px"] == 3.21
    assert (content["intrinsics"], content["scale"]) == ("estimated", "arbitrary")
    assert "f 525.0 ± 3.2 px, estimated" in describe_odometry(content, "out", [])


@pytest.mark.parametrize("scale", [1.0, 1.03])
@pytest.mark.parametrize("sensor", [Sensor.MONO, Sensor.RGBD])
def test_the_truth_is_compared_with(sensor: Sensor, scale: float, make_odometry: Maker) -> None:
    result = make_odometry(sensor=sensor, troubles=False)
    object.__setattr__(result, "truth", result.truth.scaled(scale))
    compared = compare_with_truth(result)
    assert compared is not None
    assert compared.evaluation is not None
    assert compared.scale == pytest.approx(scale, abs=2e-3)
    # One camera has no scale to be wrong; with depth a wrong one is an error.
    error = compared.evaluation.ate.rmse
    assert (error < 0.02) is (sensor is Sensor.MONO or scale == 1.0)
    figures = measures(odometry_result(result, compared))
    assert figures["ate_rmse"] == pytest.approx(error)
    assert figures["rpe_rmse"] is not None


def test_a_truth_by_frame_numbers_is_matched_by_these(make_odometry: Maker) -> None:
    result = make_odometry()
    numbers = np.arange(float(len(result.truth)))
    numbered = type(result.truth)(numbers, result.truth.world_from_cam, is_timed=False)
    object.__setattr__(result, "truth", numbered)
    compared = compare_with_truth(result)
    assert compared is not None
    assert compared.evaluation is not None
    assert compared.evaluation.ate.rmse < 0.02


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"segments": 4, "loops": 9, "warnings": ("the depth seems to be " + "very " * 30 + "long",)},
        {"estimated": True, "sensor": Sensor.MONO, "truth": False, "is_timed": False},
        {"tracked": False, "interrupted": True},
        {"frames": 1, "troubles": False},
        {"frames": 0, "tracked": False, "interrupted": True},
        {"source": "/a/" + "long name " * 12 + ".mp4"},
    ],
)
def test_the_summary_fits_a_terminal_and_says_what_matters(options: dict[str, Any], make_odometry: Maker) -> None:
    result = make_odometry(**options)
    content = odometry_result(result, compare_with_truth(result))
    text = describe_odometry(content, "out", ["a.tum", "b.ply"])
    assert all(len(line) <= 80 for line in text.splitlines())
    flat = " ".join(text.split())
    assert ("interrupted" in flat) is result.interrupted
    assert ("real time" in flat) is (content["realtime_factor"] is not None)
    for doubt in content["doubts"]:
        assert doubt["state"] in flat
        assert doubt["reason"] in flat
    for warning in result.warnings:
        assert f"warning: {warning}" in flat
    if content["truth"] is not None and "problem" not in content["truth"]:
        assert "compared with poses.txt, which was not used" in flat
