"""The files of dense depth: other tools' readers find in them what was found, and they appear whole."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cv3d.depth.posed import PosedSet
from cv3d.depth.result import DepthMap, DepthResult
from cv3d.errors import OutputError
from cv3d.formats.colmap_depth import read_colmap_depth
from cv3d.formats.colmap_reconstruction import read_reconstruction
from cv3d.fusion import colmap_frames
from cv3d.fusion.sources import PosedDepth
from cv3d.reporting.depth_files import check_own, write_depth
from cv3d.reporting.depth_pictures import (
    confidence_colors,
    depth_colors,
    depth_in_steps,
    depth_step,
    own_names,
    shown_range,
    small_jpeg,
)

from ...sensor_maps import posed_of, sensor_maps


@pytest.fixture(scope="module")
def result(project_root: Path) -> DepthResult:
    return sensor_maps(project_root / "data" / "samples")


@pytest.fixture(scope="module")
def posed(result: DepthResult) -> PosedSet:
    return posed_of(result)


def test_the_workspace_is_read_back_as_it_was(result: DepthResult, posed: PosedSet, tmp_path: Path) -> None:
    content = write_depth(result, tmp_path, posed=posed, digest="abc")
    assert colmap_frames.is_workspace(tmp_path)
    frames = [one for one in colmap_frames.posed_depth(tmp_path) if isinstance(one, PosedDepth)]
    assert len(frames) == len(result.maps)
    for frame, one in zip(frames, result.maps, strict=True):
        np.testing.assert_array_equal(frame.frame.depth, one.depth)
        np.testing.assert_allclose(frame.frame.cam_from_world, one.cam_from_world, atol=1e-12)
        assert frame.frame.camera == one.camera
        assert frame.frame.color is not None
        assert np.abs(frame.frame.color.astype(int) - one.color).mean() < 3.0
    assert content["files"] == sorted(set(content["files"]), key=content["files"].index)
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert there == set(content["files"])
    assert json.loads((tmp_path / "result.json").read_text()) == content


def test_the_model_has_the_points_where_the_pictures_show_them(
    result: DepthResult, posed: PosedSet, tmp_path: Path
) -> None:
    write_depth(result, tmp_path, posed=posed)
    model = read_reconstruction(tmp_path / "sparse")
    first = model.images[0]
    assert (first.points >= 0).all()
    assert len(first.points) == len(posed.points)
    depth = read_colmap_depth(tmp_path / "stereo" / "depth_maps" / f"{first.name}.geometric.bin")
    column, row = np.rint(first.pixels).astype(int).T
    seen = model.points[first.points] @ first.cam_from_world[:3, :3].T + first.cam_from_world[:3, 3]
    np.testing.assert_allclose(seen[:, 2], depth[row, column], rtol=1e-6)
    assert np.nanmax(model.errors) < 1e-6
    assert all(((one.pixels + 0.5 >= 0) & (one.pixels < (319.5, 239.5))).all() for one in model.images)


def test_pictures_of_depth_say_the_depth(result: DepthResult, tmp_path: Path) -> None:
    content = write_depth(result, tmp_path, is_metric=True)
    assert content["depth_step"] == 0.001
    for one, said in zip(result.maps, content["pictures"], strict=True):
        steps = cv2.imread(str(tmp_path / said["depth"]), cv2.IMREAD_UNCHANGED)
        assert steps is not None
        assert steps.dtype == np.uint16
        np.testing.assert_array_equal(steps > 0, one.depth > 0.0)
        np.testing.assert_allclose(steps * content["depth_step"], one.depth, atol=0.0005001)
        confidence = cv2.imread(str(tmp_path / said["confidence"]), cv2.IMREAD_UNCHANGED)
        assert confidence is not None
        np.testing.assert_allclose(confidence / 255.0, one.confidence, atol=0.002)


def test_the_table_has_a_line_for_every_picture(result: DepthResult, tmp_path: Path) -> None:
    write_depth(result, tmp_path)
    rows = list(csv.DictReader((tmp_path / "maps.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == [*(one.name for one in result.maps), "walk/099.png"]
    assert float(rows[0]["coverage"]) == pytest.approx(result.maps[0].coverage, rel=1e-4)
    assert rows[-1]["reason"].startswith("it sees nothing")


def test_a_later_run_leaves_nothing_of_the_earlier(result: DepthResult, posed: PosedSet, tmp_path: Path) -> None:
    write_depth(result, tmp_path, posed=posed)
    (tmp_path / "images" / "mine.txt").write_text("kept")
    fewer = replace(result, maps=result.maps[:2])
    content = write_depth(fewer, tmp_path, posed=posed)
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert there == {*content["files"], "images/mine.txt"}


def test_no_maps_are_a_result_too(tmp_path: Path) -> None:
    content = write_depth(DepthResult(()), tmp_path)
    assert content["maps"] == 0
    assert content["median_confidence"] is None
    assert (tmp_path / "report.html").is_file()


def test_a_map_without_depth_is_one(result: DepthResult, tmp_path: Path) -> None:
    one = result.maps[0]
    empty = replace(one, depth=np.zeros_like(one.depth), confidence=np.zeros_like(one.confidence))
    content = write_depth(DepthResult((empty,)), tmp_path)
    assert content["coverage"] == 0.0
    assert content["pictures"][0]["near"] is None


def test_what_cannot_be_written_leaves_no_result(
    result: DepthResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_depth(result, tmp_path)
    monkeypatch.setattr("cv3d.reporting.depth_files.depth_page", failing)
    with pytest.raises(OutputError):
        write_depth(result, tmp_path)
    assert not (tmp_path / "result.json").exists()
    check_own(tmp_path)


def failing(*_: object) -> str:
    raise OutputError("no room")


@pytest.mark.parametrize("name", ["sparse/0", "sparse/images.bin", "images", "stereo/depth_maps"])
def test_what_others_have_there_is_not_written_over(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(OutputError, match="not from cv3d depth"):
        check_own(tmp_path)


def test_names_of_files_are_distinct_and_below_the_folder() -> None:
    given = ["a.jpg", "a.png", "../a.jpg", "/b c/d.jpg", "clip.mp4#000007", "clip.mov#000007", "#000001", "x#y.jpg"]
    names = own_names(given)
    assert len(set(names.values())) == len(given)
    for own in names.values():
        assert not Path(own).is_absolute()
        assert ".." not in Path(own).parts
        assert own.split() == [own]
        assert own.endswith(".jpg")
    assert names["clip.mp4#000007"] == "clip_000007.jpg"


@pytest.mark.parametrize("farthest", [0.0004, 0.9, 3.0, 65.535, 66.0, 1234.5, 8e7])
@pytest.mark.parametrize("is_metric", [True, False])
def test_steps_reach_the_farthest_depth_and_are_as_small_as_can_be(
    farthest: float, is_metric: bool, result: DepthResult
) -> None:
    depth = np.array([[0.0, farthest / 3.0, farthest]], np.float32)
    one = with_depth(result.maps[0], depth)
    step = depth_step([one], is_metric)
    assert farthest <= 65535.0 * step * (1.0 + 1e-6)
    if not (is_metric and farthest < 65.5):
        assert farthest > 65535.0 * step / 2.6
    steps = depth_in_steps(depth, step)
    assert steps[0, 0] == 0
    assert (steps[0, 1:] > 0).all()


def with_depth(one: DepthMap, depth: np.ndarray) -> DepthMap:
    return replace(one, depth=depth, confidence=(depth > 0.0).astype(np.float32))


def test_colours_tell_near_from_far_and_nothing(result: DepthResult) -> None:
    depth = np.tile(np.linspace(1.0, 4.0, 400, dtype=np.float32), (10, 1))
    depth[:, 0] = 0.0
    colors = depth_colors(depth).astype(int)
    near, far = colors[5, 20], colors[5, 395]
    assert near[2] > near[0]
    assert far[0] > far[2]
    assert (colors[:, 0] == colors[0, 0]).all()
    assert (depth_colors(np.zeros((4, 4), np.float32)) == colors[0, 0]).all()
    sure = confidence_colors(np.array([[0.0, 0.1, 1.0]], np.float32)).astype(int).sum(axis=2)[0]
    assert sure[2] > sure[1]
    low, high = shown_range(depth)
    assert 0.0 < low < high <= 4.0
    assert np.isnan(shown_range(np.zeros((2, 2), np.float32))).all()


def test_small_pictures_keep_their_shape_and_room() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
    jpeg = small_jpeg(noise, 160, 9000)
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape == (120, 160, 3)
    assert len(jpeg) < 13_000
