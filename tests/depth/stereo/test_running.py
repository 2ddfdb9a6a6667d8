"""Pairs of files: rectified or not, side by side or one above the other, swapped, of other sizes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cv3d.compute import Compute
from cv3d.depth.stereo import StereoOptions, stereo
from cv3d.errors import EstimationError, InputError, PictureError, UsageError
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

from .planes import HEIGHT, WIDTH, Plane, PlanePair, pair_of

CPU = Compute(torch.device("cpu"), torch.float32)
FOCAL, BASELINE = 180.0, 0.1
CAMERA = Camera("pinhole", WIDTH, HEIGHT, (FOCAL, FOCAL, 99.5, 59.5))
OPTIONS = StereoOptions(max_disparity=47)
WALL_M = FOCAL * BASELINE / 9.0
"""Distance of a wall of disparity 9."""


def rig_of(x: float, y: float = 0.0, camera: Camera = CAMERA) -> Rig:
    pose = np.eye(4)
    pose[:2, 3] = -x, -y
    return Rig((RigCamera("left", CAMERA, np.eye(4)), RigCamera("right", camera, pose)))


@pytest.fixture(scope="module")
def pair() -> PlanePair:
    return pair_of([Plane(9.0), Plane(20.0, columns=(90.0, 140.0), rows=(30.0, 90.0))])


@pytest.fixture
def files(pair: PlanePair, tmp_path: Path) -> tuple[Path, Path]:
    return written(tmp_path, pair.left, pair.right)


def written(folder: Path, left: np.ndarray, right: np.ndarray) -> tuple[Path, Path]:
    paths = folder / "left.png", folder / "right.png"
    for path, picture in zip(paths, (left, right), strict=True):
        assert cv2.imwrite(str(path), picture)
    return paths


def test_rectified_files_without_a_calibration(files: tuple[Path, Path]) -> None:
    result = stereo(*files, options=OPTIONS, compute=CPU)
    assert result.names == ("left.png", "right.png")
    assert (result.depth, result.camera, result.depth_map, result.rectification) == (None, None, None, None)
    assert result.color.shape == (HEIGHT, WIDTH, 3)
    assert abs(np.median(result.disparity.disparity[:20, 40:]) - 9.0) < 0.1
    assert result.rows.matches > 20
    assert abs(result.rows.offset_px) < 0.2
    assert result.warnings == ()
    figures = result.as_result()
    assert figures["coverage"] == result.disparity.coverage
    assert figures["median_depth"] is None


@pytest.mark.parametrize("is_rectified", [True, False])
def test_depth_in_metres_with_a_calibration(files: tuple[Path, Path], is_rectified: bool) -> None:
    result = stereo(*files, rig=rig_of(BASELINE), is_rectified=is_rectified, options=OPTIONS, compute=CPU)
    assert result.baseline_m == pytest.approx(BASELINE)
    assert result.is_metric
    depths = result.depth_map
    assert depths is not None
    assert result.depth is not None
    wall = depths.depth[:20, 40:]
    assert np.median(wall[wall > 0.0]) == pytest.approx(WALL_M, rel=0.01)
    np.testing.assert_array_equal(depths.depth > 0.0, result.disparity.disparity > 0.0)
    np.testing.assert_array_equal(depths.cam_from_world, np.eye(4))


def test_a_turned_camera_is_rectified_first(pair: PlanePair, tmp_path: Path) -> None:
    # The right camera is turned by 3 degrees about its axis: its picture is turned, and its pose says so.
    angle = np.radians(3.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    matrix = CAMERA.matrix
    turned = cv2.warpPerspective(pair.right, matrix @ turn @ np.linalg.inv(matrix), (WIDTH, HEIGHT))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, turn @ (-BASELINE, 0.0, 0.0)
    rig = Rig((RigCamera("left", CAMERA, np.eye(4)), RigCamera("right", CAMERA, pose)))
    files = written(tmp_path, pair.left, turned)
    with pytest.raises(InputError, match="not on the same rows"):
        stereo(*files, options=OPTIONS, compute=CPU)
    result = stereo(*files, rig=rig, options=OPTIONS, compute=CPU)
    assert result.depth is not None
    assert result.camera is not None
    points = result.depth[result.depth > 0.0]
    # Most of the scene is the wall, seen now at up to a degree and a half off its axis.
    assert np.median(points) == pytest.approx(WALL_M, rel=0.03)


def test_cameras_one_above_the_other(pair: PlanePair, tmp_path: Path) -> None:
    files = written(tmp_path, np.ascontiguousarray(pair.left.T), np.ascontiguousarray(pair.right.T))
    upright = Camera("pinhole", HEIGHT, WIDTH, (FOCAL, FOCAL, 59.5, 99.5))
    pose = np.eye(4)
    pose[1, 3] = -BASELINE
    rig = Rig((RigCamera("upper", upright, np.eye(4)), RigCamera("lower", upright, pose)))
    result = stereo(*files, rig=rig, options=OPTIONS, compute=CPU)
    assert result.depth is not None
    assert result.depth.shape == (WIDTH, HEIGHT)
    wall = result.depth[40:, :20]
    assert np.median(wall[wall > 0.0]) == pytest.approx(WALL_M, rel=0.01)


def test_swapped_pictures_are_named(files: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="swapped"):
        stereo(files[1], files[0], options=OPTIONS, compute=CPU)
    with pytest.raises(InputError, match="left of the first"):
        stereo(*files, rig=rig_of(-BASELINE), compute=CPU)


def test_a_shifted_picture_is_not_rectified(pair: PlanePair, tmp_path: Path) -> None:
    files = written(tmp_path, pair.left[:-6], pair.right[6:])
    with pytest.raises(InputError, match=r"6\.0 px higher in the right picture.*give the pair's calibration"):
        stereo(*files, options=OPTIONS, compute=CPU)


def test_pictures_without_texture_have_no_disparities(tmp_path: Path) -> None:
    black = np.zeros((HEIGHT, WIDTH), np.uint8)
    files = written(tmp_path, black, black)
    with pytest.raises(EstimationError, match="no texture"):
        stereo(*files, compute=CPU)
    result = stereo(*files, options=OPTIONS, compute=CPU)
    assert result.disparity.coverage == 0.0
    assert "too few sparse matches" in result.warnings[0]
    assert result.as_result()["median_disparity_px"] is None


def test_sixteen_bits_and_colour_are_read(pair: PlanePair, tmp_path: Path) -> None:
    colour = np.repeat(pair.right[..., None], 3, axis=2)
    files = written(tmp_path, pair.left.astype(np.uint16) * 257, colour)
    found = stereo(*files, options=OPTIONS, compute=CPU)
    assert found.disparity.coverage > 0.8
    assert "16 and 8 bits" in found.warnings[0]


def test_pairs_that_do_not_fit_are_refused(files: tuple[Path, Path], pair: PlanePair, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    assert cv2.imwrite(str(other), pair.right[:100])
    with pytest.raises(InputError, match=r"left\.png is 200x120, other\.png is 200x100"):
        stereo(files[0], other, compute=CPU)
    with pytest.raises(PictureError, match="another shape"):
        stereo(files[0], other, rig=rig_of(BASELINE), compute=CPU)
    with pytest.raises(PictureError, match=r"missing\.png"):
        stereo(files[0], tmp_path / "missing.png", compute=CPU)
    with pytest.raises(UsageError, match="two different cameras"):
        stereo(*files, rig=rig_of(BASELINE), cameras=(0, 2), compute=CPU)
    with pytest.raises(UsageError, match="do not take rectified pictures"):
        stereo(*files, rig=rig_of(BASELINE, 0.02), is_rectified=True, compute=CPU)
