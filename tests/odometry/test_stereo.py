"""Depths from two cameras: known scenes, lenses of all kinds, and what cannot be told."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.formats.reading import read_cameras
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.odometry.corners import find_corners
from cv3d.odometry.curve_search import search_kernel
from cv3d.odometry.epipolar_strips import SIDE
from cv3d.odometry.patches import build_levels
from cv3d.odometry.stereo import StereoDepths

from .simulated import CAMERAS, Texture, rigid, rounded

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]

LENSES = {name: camera.scaled(0.5) for name, camera in CAMERAS.items()}
PINHOLE = LENSES["pinhole"]
SIDEWAYS = rigid((0.0, 0.0, 0.0), (-0.12, 0.0, 0.0))
ASKEW = rigid((0.02, -0.03, 0.04), (-0.12, 0.015, 0.01))
STEEP = rigid((0.01, 0.02, -0.02), (0.01, -0.13, 0.005))
TEXTURE = Texture.random(4, count=32, shortest=6.0, longest=90.0)
PLANE = np.array([0.15, 0.1, 1.0])
"""Normal of the planes that are seen, not of length 1: their equation is PLANE . x = distance."""


def distances(camera: Camera, pixels: Floats, distance: float, cam_from_left: Floats | None = None) -> Floats:
    """Where rays meet the plane: points (n, 3) in the left camera's frame."""
    left_from_cam = np.eye(4) if cam_from_left is None else inverse_rigid(cam_from_left)
    rays = camera.unproject(pixels) @ left_from_cam[:3, :3].T
    centre = left_from_cam[:3, 3]
    along = (distance - centre @ PLANE) / (rays @ PLANE)
    points: Floats = centre + along[..., None] * rays
    return points


def picture(
    camera: Camera, distance: float, cam_from_left: Floats | None = None, texture: Texture = TEXTURE, noise: float = 1.0
) -> Picture:
    """What a camera sees of a plane with a texture as fine as the left camera's pixels."""
    grid = np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), -1).astype(np.float64)
    points = distances(camera, grid.reshape(-1, 2), distance, cam_from_left)
    values = texture.at(points[:, :2] * (250.0 / distance))
    values = values + np.random.default_rng(camera.height).normal(0.0, noise, values.shape)
    seen: Picture = rounded(values.reshape(camera.height, camera.width))
    return seen


def corners(levels: tuple[Picture, ...], count: int = 200) -> NDArray[np.float32]:
    return find_corners(levels, np.zeros((0, 2), np.float32), count, 8.0)


def measured(
    left: Camera,
    right: Camera,
    right_from_left: Floats,
    distance: float,
    expected: tuple[float, ...] = (0.0,),
    noise: float = 1.0,
) -> list[tuple[Floats, Floats, Floats]]:
    """Depths, deviations and the truth, at corners; expected are these multiples of the truth."""
    first = build_levels(picture(left, distance, noise=noise))
    second = build_levels(picture(right, distance, right_from_left, noise=noise))
    pixels = corners(first)
    truth = distances(left, pixels.astype(np.float64), distance)[:, 2]
    stereo = StereoDepths(left, right, right_from_left)
    return [(*stereo.measure(first, second, pixels, factor * truth), truth) for factor in expected]


@pytest.mark.parametrize(
    ("left", "right", "right_from_left"),
    [
        ("pinhole", "pinhole", SIDEWAYS),
        ("pinhole", "brown5", ASKEW),
        ("brown5", "brown5", STEEP),
        ("kannala_brandt4", "kannala_brandt4", ASKEW),
        ("eucm", "kannala_brandt4", STEEP),
    ],
)
def test_a_plane_is_where_it_is(left: str, right: str, right_from_left: Floats) -> None:
    for depth, sigma, truth in measured(LENSES[left], LENSES[right], right_from_left, 1.5, (0.0, 1.12)):
        known = depth > 0.0
        off = np.abs(depth - truth)[known] / truth[known]
        assert len(depth) > 100
        assert known.mean() > 0.8
        assert np.median(off) < 0.01
        assert (off > 0.1).mean() < 0.02
        assert (sigma[known] > 0.0).all()
        assert (sigma[~known] == 0.0).all()


def test_the_expected_depth_bounds_what_is_found() -> None:
    [(depth, _, truth)] = measured(PINHOLE, PINHOLE, ASKEW, 1.0, (1.8,))
    known = depth > 0.0
    # A fifth of the inverse depth, or three pixels of a disparity of some thirty; the alignment may add three.
    assert (np.abs(truth[known] * 1.8 / depth[known] - 1.0) < 0.55).all()
    assert known.mean() < 0.2


def test_a_deviation_covers_the_error_and_grows_with_the_square_of_the_depth() -> None:
    medians = []
    for distance in (1.0, 3.0):
        [(depth, sigma, truth)] = measured(PINHOLE, LENSES["brown5"], ASKEW, distance, noise=3.0)
        known = depth > 0.0
        errors = np.abs(depth - truth)[known] / sigma[known]
        assert 0.05 < np.median(errors) < 1.0
        assert (errors < 3.0).mean() > 0.97
        medians.append(np.median(sigma[known] / truth[known] ** 2))
    assert medians[1] == pytest.approx(medians[0], rel=0.35)


def test_what_is_too_far_has_no_depth() -> None:
    [(depth, sigma, truth)] = measured(PINHOLE, PINHOLE, ASKEW, 1000.0)
    assert len(truth) > 100
    # Half a pixel of error looks like a depth; more than a few of those would be too many.
    assert (depth > 0.0).mean() < 0.03
    assert (sigma[depth == 0.0] == 0.0).all()


def test_exposure_and_contrast_do_not_matter() -> None:
    first, second = picture(PINHOLE, 2.0), picture(PINHOLE, 2.0, ASKEW)
    stereo = StereoDepths(PINHOLE, PINHOLE, ASKEW)
    levels = build_levels(first)
    pixels = corners(levels)
    unknown = np.zeros(len(pixels))
    same, _ = stereo.measure(levels, build_levels(second), pixels, unknown)
    other, _ = stereo.measure(levels, build_levels(rounded(0.6 * second + 40.0)), pixels, unknown)
    both = (same > 0.0) & (other > 0.0)
    assert both.sum() > 0.95 * (same > 0.0).sum()
    assert np.median(np.abs(other[both] / same[both] - 1.0)) < 0.003


def test_stripes_are_ambiguous_unless_the_depth_is_expected() -> None:
    # Eight periods of the stripes fit into the curves that are searched.
    stripes = Texture(np.array([[2.0 * np.pi / 10.0, 0.0], [0.0, 2.0 * np.pi / 14.0]]), np.array([0.0, 1.0]))
    first = build_levels(picture(PINHOLE, 1.5, texture=stripes))
    second = build_levels(picture(PINHOLE, 1.5, SIDEWAYS, texture=stripes))
    pixels = corners(first)
    truth = distances(PINHOLE, pixels.astype(np.float64), 1.5)[:, 2]
    stereo = StereoDepths(PINHOLE, PINHOLE, SIDEWAYS)
    depth, _ = stereo.measure(first, second, pixels, np.zeros(len(pixels)))
    assert (depth > 0.0).mean() < 0.1
    depth, _ = stereo.measure(first, second, pixels, 1.03 * truth)
    known = depth > 0.0
    assert known.mean() > 0.7
    assert (np.abs(depth / truth - 1.0)[known] < 0.1).mean() > 0.95


def test_another_scene_is_no_match() -> None:
    first = build_levels(picture(PINHOLE, 1.5))
    second = build_levels(picture(PINHOLE, 1.5, ASKEW, texture=Texture.random(9, count=32, shortest=6.0)))
    pixels = corners(first)
    depth, _ = StereoDepths(PINHOLE, PINHOLE, ASKEW).measure(first, second, pixels, np.zeros(len(pixels)))
    # So smooth a texture is like any other here and there.
    assert (depth > 0.0).mean() < 0.1


def test_no_texture_no_points_and_no_pixel_of_the_picture() -> None:
    stereo = StereoDepths(PINHOLE, PINHOLE, ASKEW)
    flat = build_levels(np.full((PINHOLE.height, PINHOLE.width), 90, np.uint8))
    pixels = np.array([[100.0, 100.0], [3.0, 2.0], [-50.0, 40.0], [1e6, 1e6], [np.nan, 10.0]], np.float32)
    for expected in (np.zeros(5), np.array([1.0, np.nan, -1.0, 3.0, np.inf])):
        for levels in (flat, build_levels(picture(PINHOLE, 2.0))):
            depth, sigma = stereo.measure(levels, flat, pixels, expected)
            assert (depth == 0.0).all()
            assert (sigma == 0.0).all()
    depth, sigma = stereo.measure(flat, flat, pixels[:0], np.zeros(0))
    assert depth.shape == sigma.shape == (0,)


def test_cameras_in_one_place_are_no_pair() -> None:
    with pytest.raises(InputError, match="same place"):
        StereoDepths(PINHOLE, PINHOLE, rigid((0.0, 0.1, 0.0), (0.0, 0.0, 0.0)))


def test_the_search_is_what_sliding_the_patch_by_hand_finds() -> None:
    first, second = picture(PINHOLE, 1.5, noise=6.0), picture(PINHOLE, 1.5, SIDEWAYS, noise=6.0)
    rng = np.random.default_rng(2)
    # Half-way between pixels, a patch of an even side has whole pixels.
    whole = np.stack([rng.integers(100, 300, 50), rng.integers(20, 220, 50)], 1)
    pixels = (whole + 0.5).astype(np.float32)
    reach, nodes = 64.0, 5
    xs, ys = np.arange(0.0, 321.0, 20.0), np.arange(0.0, 241.0, 20.0)
    table = np.empty((len(ys), len(xs), nodes, 2), np.float32)
    table[..., 0] = xs[None, :, None] - np.arange(nodes) * (reach / (nodes - 1))
    table[..., 1] = ys[:, None, None]
    bounds = np.tile(np.array([0.0, nodes - 1.0], np.float32), (len(pixels), 1))
    found = np.empty((len(pixels), 9), np.float32)
    grid = np.full(2, 20.0, np.float32)
    search_kernel(build_levels(first), build_levels(second), table, grid, pixels, bounds, 1000, found)
    half = SIDE // 2
    for (x, y), row in zip(whole, found, strict=True):
        template = first[y - half + 1 : y + half + 1, x - half + 1 : x + half + 1].ravel()
        scores = []
        for shift in range(int(reach) + 1):
            patch = second[y - half + 1 : y + half + 1, x - half + 1 - shift : x + half + 1 - shift].ravel()
            scores.append(np.corrcoef(template, patch)[0, 1])
        best = int(np.argmax(scores))
        assert row[0] * reach / (nodes - 1) == pytest.approx(best, abs=1e-3)
        assert row[1] == pytest.approx(scores[best], abs=1e-3)
        assert row[3:5] == pytest.approx((x + 0.5 - best, y + 0.5), abs=1e-3)
        assert row[5:] == pytest.approx((1.0, 0.0, 0.0, 1.0), abs=1e-5)


@pytest.mark.parametrize("name", ["cones", "teddy"])
def test_middlebury(data_root: Path, name: str) -> None:
    folder = data_root / "stereo" / name
    if not folder.is_dir():
        pytest.skip("no stereo pictures")
    first, second = (np.asarray(cv2.imread(str(folder / f"im{k}.png"), cv2.IMREAD_GRAYSCALE), np.uint8) for k in (2, 6))
    disparity = np.asarray(cv2.imread(str(folder / "disp2.png"), cv2.IMREAD_UNCHANGED), np.float64) / 4.0
    camera = Camera("pinhole", 450, 375, (500.0, 500.0, 224.5, 187.0))
    levels = build_levels(first)
    pixels = corners(levels, 400)
    stereo = StereoDepths(camera, camera, rigid((0.0, 0.0, 0.0), (-0.1, 0.0, 0.0)))
    depth, _ = stereo.measure(levels, build_levels(second), pixels, np.zeros(len(pixels)))
    x, y = np.rint(pixels).astype(int).T
    known = disparity[y, x] > 0.0
    both = known & (depth > 0.0)
    off = np.abs(50.0 / depth[both] / disparity[y, x][both] - 1.0)
    assert both.sum() > 0.7 * known.sum()
    assert np.median(off) < 0.01
    # Corners on the borders of things belong to either side.
    assert (off > 0.1).mean() < 0.12


def test_euroc_agrees_with_dense_matching_of_rectified_pictures(data_root: Path) -> None:
    folder = data_root / "vo" / "euroc_v101" / "mav0"
    if not folder.is_dir():
        pytest.skip("no EuRoC recording")
    left, right = read_cameras(folder).cameras[:2]
    assert left.cam_from_cam0 is not None
    assert right.cam_from_cam0 is not None
    pose = right.cam_from_cam0 @ inverse_rigid(left.cam_from_cam0)
    path = sorted((folder / "cam0" / "data").iterdir())[40]
    first, second = (
        np.asarray(cv2.imread(str(at), cv2.IMREAD_GRAYSCALE), np.uint8)
        for at in (path, folder / "cam1" / "data" / path.name)
    )
    levels = build_levels(first)
    pixels = corners(levels, 300)
    depth, sigma = StereoDepths(left.camera, right.camera, pose).measure(
        levels, build_levels(second), pixels, np.zeros(len(pixels))
    )
    reference = dense_depths(left.camera, right.camera, pose, first, second, pixels)
    both = (reference > 0.0) & (depth > 0.0)
    off = np.abs(depth[both] / reference[both] - 1.0)
    assert (depth > 0.0).mean() > 0.75
    assert both.sum() > 100
    assert np.median(off) < 0.012
    assert (off > 0.1).mean() < 0.06
    assert np.median(sigma[both] / depth[both]) < 0.03


def dense_depths(
    left: Camera, right: Camera, pose: Floats, first: Picture, second: Picture, pixels: NDArray[np.float32]
) -> Floats:
    """Depths by OpenCV's rectification and semi-global matching, 0 where it has none."""
    size = (left.width, left.height)
    shapes = [np.array([camera.shape]) for camera in (left, right)]
    turn0, turn1, project0, project1, *_ = cv2.stereoRectify(
        left.matrix, shapes[0], right.matrix, shapes[1], size, pose[:3, :3].copy(), pose[:3, 3:].copy(), alpha=0
    )
    views = [
        cv2.remap(view, *cv2.initUndistortRectifyMap(camera.matrix, shape, turn, project, size, cv2.CV_32FC1), 1)
        for view, camera, shape, turn, project in (
            (first, left, shapes[0], turn0, project0),
            (second, right, shapes[1], turn1, project1),
        )
    ]
    matcher = cv2.StereoSGBM_create(0, 160, 5, 200, 800, 1, 0, 10, 100, 2, cv2.STEREO_SGBM_MODE_SGBM_3WAY)
    disparity = matcher.compute(views[0], views[1]) / 16.0
    rays = left.unproject(pixels.astype(np.float64)) @ turn0.T
    places = rays @ project0[:, :3].T
    x, y = np.rint(places[:, :2] / places[:, 2:]).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < size[0]) & (y < size[1])
    found = np.where(inside, disparity[y.clip(0, size[1] - 1), x.clip(0, size[0] - 1)], -1.0)
    with np.errstate(divide="ignore"):
        depth = np.where(found > 0.0, project0[0, 0] * np.linalg.norm(pose[:3, 3]) / found, 0.0)
    points = rays / rays[:, 2:] * depth[:, None]
    result: Floats = (points @ turn0)[:, 2]
    return result
