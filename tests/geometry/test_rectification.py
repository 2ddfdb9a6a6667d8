"""Rectified pairs: equal rows, depth from disparity, OpenCV's matrices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.errors import EstimationError
from cv3d.geometry.cameras import Camera
from cv3d.geometry.transforms import SO3
from cv3d.geometry.views import Rectification, rectify

Floats = NDArray[np.float64]

FISHEYES = (
    Camera("kannala_brandt4", 640, 480, (230.0, 230.5, 322.0, 241.0, -0.02, 0.004, -0.003, 0.0005)),
    Camera("kannala_brandt4", 640, 480, (236.0, 235.0, 315.0, 236.0, -0.015, 0.003, -0.002, 0.0002)),
)


def pose(rotation: tuple[float, float, float], translation: tuple[float, float, float]) -> Floats:
    matrix = np.eye(4)
    matrix[:3, :3] = SO3.exp(torch.tensor(rotation, dtype=torch.float64)).as_matrix().numpy()
    matrix[:3, 3] = translation
    return matrix


def scene(seed: int = 0) -> Floats:
    """Points in front of the first camera, metres."""
    rng = np.random.default_rng(seed)
    return rng.uniform((-1.5, -1.0, 2.0), (1.5, 1.0, 5.0), (200, 3))


def rectified_pixels(pair: Rectification, index: int, pixels: Floats) -> Floats:
    """From pixels of a source picture to those of its rectified view."""
    half = (pair.first, pair.second)[index]
    return pair.target.project(half.camera.unproject(pixels) @ half.view_from_cam.T)


def depth_points(pair: Rectification, first: Floats, second: Floats) -> Floats:
    axis = int(pair.is_vertical)
    disparity = first[:, axis] - second[:, axis]
    homogeneous = np.column_stack([first, disparity, np.ones(len(first))]) @ pair.depth_from_disparity.T
    return homogeneous[:, :3] / homogeneous[:, 3:]


PAIRS = {
    "beside": pose((0.01, -0.03, 0.02), (-0.12, 0.001, 0.002)),
    "swapped": pose((0.01, -0.03, 0.02), (0.12, 0.001, 0.002)),
    "converging": pose((0.02, 0.25, -0.05), (-0.5, 0.02, 0.08)),
    "above": pose((0.03, 0.01, 0.02), (0.004, -0.2, 0.01)),
    "below": pose((0.03, 0.01, 0.02), (0.004, 0.2, 0.01)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_fisheye_pairs_share_rows_and_give_depth(name: str) -> None:
    second_from_first = PAIRS[name]
    pair = rectify(*FISHEYES, second_from_first)
    points = scene()
    in_second = points @ second_from_first[:3, :3].T + second_from_first[:3, 3]
    first = rectified_pixels(pair, 0, FISHEYES[0].project(points))
    second = rectified_pixels(pair, 1, FISHEYES[1].project(in_second))
    axis = int(pair.is_vertical)
    assert pair.is_vertical == (name in ("above", "below"))
    assert np.abs(first - second)[:, 1 - axis].max() < 1e-5
    np.testing.assert_allclose(depth_points(pair, first, second), points @ pair.first.view_from_cam.T, atol=1e-5)


@pytest.mark.parametrize("name", PAIRS)
def test_projections_take_points_to_pixels(name: str) -> None:
    second_from_first = PAIRS[name]
    pair = rectify(*FISHEYES, second_from_first)
    points = scene(1)
    in_second = points @ second_from_first[:3, :3].T + second_from_first[:3, 3]
    homogeneous = np.column_stack([points @ pair.first.view_from_cam.T, np.ones(len(points))])
    for index, seen in enumerate((FISHEYES[0].project(points), FISHEYES[1].project(in_second))):
        projected = homogeneous @ (pair.first, pair.second)[index].projection.T
        np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], rectified_pixels(pair, index, seen), atol=1e-6)


@pytest.mark.parametrize("name", PAIRS)
def test_alpha_0_is_valid_in_both(name: str) -> None:
    pair = rectify(*FISHEYES, PAIRS[name])
    assert pair.first.map.valid.all()
    assert pair.second.map.valid.all()


@pytest.mark.parametrize("name", PAIRS)
def test_rotations_are_opencvs_and_symmetric(name: str) -> None:
    left = Camera("brown5", 640, 480, (531.2, 530.6, 316.9, 243.7, -0.21, 0.052, 6e-4, -4e-4, -0.004))
    right = Camera("brown5", 640, 480, (534.9, 534.1, 324.4, 236.2, -0.205, 0.047, -3e-4, 7e-4, -0.003))
    second_from_first = PAIRS[name]
    pair = rectify(left, right, second_from_first, alpha=1.0)
    first, second, p1, p2, q = cv2.stereoRectify(
        left.matrix, np.array(left.shape), right.matrix, np.array(right.shape), (640, 480),
        second_from_first[:3, :3], second_from_first[:3, 3:], flags=cv2.CALIB_ZERO_DISPARITY, alpha=-1,
    )[:5]  # fmt: skip
    np.testing.assert_allclose(pair.first.view_from_cam, first, atol=1e-9)
    np.testing.assert_allclose(pair.second.view_from_cam, second, atol=1e-9)
    # Focal length and centre are a choice of framing; the rest of OpenCV's matrices follows from them.
    axis = int(pair.is_vertical)
    assert pair.second.projection[axis, 3] / pair.view.fx == pytest.approx(p2[axis, 3] / p1[0, 0])
    assert pair.depth_from_disparity[3, 2] == pytest.approx(q[3, 2])
    assert np.count_nonzero(pair.depth_from_disparity) == np.count_nonzero(np.abs(q) > 1e-12)


def test_opencv_makes_points_of_our_q() -> None:
    pair = rectify(*FISHEYES, PAIRS["beside"])
    disparity = np.full((pair.view.height, pair.view.width), 10.0, np.float32)
    cloud = cv2.reprojectImageTo3D(disparity, pair.depth_from_disparity)
    assert cloud[0, 0, 2] == pytest.approx(pair.view.fx * pair.baseline / 10.0, rel=1e-5)


def test_a_crop_keeps_rows_and_depth() -> None:
    second_from_first = PAIRS["converging"]
    pair = rectify(*FISHEYES, second_from_first, alpha=0.8, crop=True, is_even=True)
    assert pair.first.map.valid.all()
    assert pair.second.map.valid.all()
    assert pair.view.width % 2 == pair.view.height % 2 == 0
    assert pair.first.map.size == pair.second.map.size == (pair.view.width, pair.view.height)
    points = scene(2)
    in_second = points @ second_from_first[:3, :3].T + second_from_first[:3, 3]
    first = rectified_pixels(pair, 0, FISHEYES[0].project(points))
    second = rectified_pixels(pair, 1, FISHEYES[1].project(in_second))
    assert np.abs(first - second)[:, 1].max() < 1e-5
    np.testing.assert_allclose(depth_points(pair, first, second), points @ pair.first.view_from_cam.T, atol=1e-5)


@pytest.fixture(scope="module")
def stereo(project_root: Path) -> dict[str, Any]:
    return json.loads((project_root / "data" / "samples" / "stereo" / "ground_truth.json").read_text())


def test_sample_corners_share_their_row_and_give_the_boards_depth(stereo: dict[str, Any]) -> None:
    cameras = [Camera.from_dict(one) for one in stereo["cameras"]]
    pair = rectify(*cameras, np.array(stereo["cam1_from_cam0"]))
    board = stereo["board"]
    for left, right in zip(stereo["left"], stereo["right"], strict=True):
        shared = sorted(set(left["point_ids"]) & set(right["point_ids"]))
        assert len(shared) > 10
        pixels = [np.array([side["pixels"][side["point_ids"].index(i)] for i in shared]) for side in (left, right)]
        first, second = (rectified_pixels(pair, index, seen) for index, seen in enumerate(pixels))
        assert np.abs(first - second)[:, 1].max() < 1e-4
        ids = np.array(shared)
        flat = np.column_stack([ids % board["cols"], ids // board["cols"], 0 * ids]) * board["square_m"]
        cam_from_board = np.array(left["cam_from_board"])
        points = (flat @ cam_from_board[:3, :3].T + cam_from_board[:3, 3]) @ pair.first.view_from_cam.T
        np.testing.assert_allclose(depth_points(pair, first, second), points, atol=1e-6)


def test_corners_found_in_rectified_pictures_share_their_row(stereo: dict[str, Any], project_root: Path) -> None:
    """The pixels themselves: corners located in the resampled pictures, not computed."""
    cameras = [Camera.from_dict(one) for one in stereo["cameras"]]
    pair = rectify(*cameras, np.array(stereo["cam1_from_cam0"]))
    folder = project_root / "data" / "samples" / "stereo"
    differences = []
    for left, right in zip(stereo["left"], stereo["right"], strict=True):
        found = []
        for index, side in enumerate((left, right)):
            half = (pair.first, pair.second)[index]
            picture = cv2.imread(str(folder / side["file"]), cv2.IMREAD_GRAYSCALE)
            view = cv2.remap(picture, half.map.source, None, cv2.INTER_CUBIC)
            start = rectified_pixels(pair, index, np.array(side["pixels"])).astype(np.float32)
            corners = cv2.cornerSubPix(view, start, (4, 4), (-1, -1), (3, 60, 1e-3))
            found.append(dict(zip(side["point_ids"], corners, strict=True)))
        differences += [found[0][i][1] - found[1][i][1] for i in found[0].keys() & found[1].keys()]
    assert len(differences) > 300
    assert np.sqrt(np.mean(np.square(differences))) < 0.1
    assert abs(np.mean(differences)) < 0.02


def test_cameras_that_cannot_be_rectified() -> None:
    with pytest.raises(EstimationError, match="same place"):
        rectify(*FISHEYES, pose((0.0, 0.1, 0.0), (0.0, 0.0, 0.0)))
    with pytest.raises(EstimationError, match="in front of the other"):
        rectify(*FISHEYES, pose((0.0, 0.0, 0.0), (0.01, 0.0, -0.5)))
    narrow = Camera("pinhole", 640, 480, (1500.0, 1500.0, 320.0, 240.0))
    with pytest.raises(EstimationError, match="nothing in common"):
        rectify(narrow, narrow, pose((0.0, 1.2, 0.0), (-0.5, 0.0, 0.0)))
