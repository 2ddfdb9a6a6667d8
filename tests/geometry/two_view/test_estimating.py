"""Two pictures and their matches: scenes with exact truth, and photographs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.geometry.cameras import Camera
from cv3d.geometry.pixel_rays import tangent_basis
from cv3d.geometry.two_view import Degeneracy, ModelKind, TwoView, TwoViewOptions, UnknownFocal, estimate_two_view
from cv3d.geometry.two_view.parameters import rotation_exp

Floats = NDArray[np.float64]

PINHOLE = Camera("pinhole", 1280, 960, (900.0, 905.0, 640.0, 480.0))
PINHOLE_SQUARE = Camera("pinhole", 1280, 960, (900.0, 900.0, 640.0, 480.0))
DISTORTED = Camera("brown5", 1280, 960, (800.0, 805.0, 630.0, 470.0, -0.28, 0.09, 1e-4, -2e-4, -0.01))
FISHEYE = Camera("kannala_brandt4", 1200, 1200, (330.0, 330.0, 600.0, 600.0, 0.01, -0.003, 0.0, 0.0))


@dataclass(frozen=True, eq=False)
class Pair:
    """Matches of two posed cameras."""

    points0: Floats
    points1: Floats
    cam1_from_cam0: Floats
    inliers: NDArray[np.bool_]
    world: Floats


def pose_of(rotation_vector: tuple[float, float, float], translation: tuple[float, float, float]) -> Floats:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation_exp(np.array(rotation_vector)), translation
    return pose


SIDEWAYS = pose_of((0.05, -0.2, 0.08), (1.0, 0.1, -0.15))


def general_points(rng: np.random.Generator, count: int) -> Floats:
    """Points 3 to 9 units ahead, in the middle of what a camera of 70 degrees sees."""
    depth = rng.uniform(3.0, 9.0, count)
    return np.stack([rng.uniform(-0.5, 0.6, count) * depth, rng.uniform(-0.4, 0.4, count) * depth, depth], axis=1)


def planar_points(rng: np.random.Generator, count: int) -> Floats:
    """Points on a plane tilted by some 35 degrees."""
    x, y = rng.uniform(-2.0, 2.5, count), rng.uniform(-1.8, 1.8, count)
    return np.stack([x, y, 5.0 + 0.6 * x + 0.3 * y], axis=1)


def spherical_points(rng: np.random.Generator, count: int, max_angle: float) -> Floats:
    """Points 2 to 6 units away in all directions up to an angle off the axis."""
    z = rng.uniform(np.cos(max_angle), 1.0, count)
    around, distance = rng.uniform(0.0, 2.0 * np.pi, count), rng.uniform(2.0, 6.0, count)
    ring = np.sqrt(1.0 - z**2)
    return distance[:, None] * np.stack([ring * np.cos(around), ring * np.sin(around), z], axis=1)


def make_pair(
    world: Floats,
    cam1_from_cam0: Floats = SIDEWAYS,
    camera0: Camera = PINHOLE,
    camera1: Camera = PINHOLE,
    noise: float | Floats = 0.5,
    outlier_share: float = 0.0,
    seed: int = 0,
) -> Pair:
    """Project points into both cameras, add noise, and replace a share of the second picture's points."""
    rng = np.random.default_rng(seed)
    points0 = camera0.project(world) + rng.normal(0.0, 1.0, (len(world), 2)) * noise
    moved = world @ cam1_from_cam0[:3, :3].T + cam1_from_cam0[:3, 3]
    points1 = camera1.project(moved) + rng.normal(0.0, 1.0, (len(world), 2)) * noise
    inliers = np.ones(len(world), dtype=bool)
    wrong = rng.choice(len(world), round(outlier_share * len(world)), replace=False)
    inliers[wrong] = False
    points1[wrong] = rng.uniform(0.0, [camera1.width - 1.0, camera1.height - 1.0], (len(wrong), 2))
    return Pair(points0, points1, cam1_from_cam0, inliers, world)


def rotation_angle(rotation_a: Floats, rotation_b: Floats) -> float:
    """Angle between two rotations, radians."""
    skew = rotation_a.T @ rotation_b
    sine = np.linalg.norm([skew[2, 1] - skew[1, 2], skew[0, 2] - skew[2, 0], skew[1, 0] - skew[0, 1]])
    return float(np.arctan2(sine, np.trace(skew) - 1.0))


def direction_angle(a: Floats, b: Floats) -> float:
    """Angle between two directions, radians."""
    return float(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b))


def relate(pair: Pair, camera0: Camera = PINHOLE, camera1: Camera = PINHOLE, **changes: object) -> TwoView:
    return estimate_two_view(pair.points0, pair.points1, camera0, camera1, replace(TwoViewOptions(), **changes))


def errors_of(result: TwoView, pair: Pair) -> tuple[float, float]:
    """Angles of rotation and direction between estimate and truth, degrees."""
    assert result.cam1_from_cam0 is not None
    truth = pair.cam1_from_cam0
    return (
        np.degrees(rotation_angle(result.cam1_from_cam0[:3, :3], truth[:3, :3])),
        np.degrees(direction_angle(result.cam1_from_cam0[:3, 3], truth[:3, 3])),
    )


def recall(result: TwoView, pair: Pair) -> tuple[float, float]:
    """Share of true matches kept, and share of kept matches that are true."""
    both = int((result.inliers & pair.inliers).sum())
    return both / int(pair.inliers.sum()), both / max(result.inlier_count, 1)


POINTS = general_points(np.random.default_rng(1), 300)
PLANE = planar_points(np.random.default_rng(2), 300)
TURN = pose_of((0.05, -0.2, 0.08), (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("camera0", "camera1"), [(PINHOLE, PINHOLE), (DISTORTED, PINHOLE)], ids=["pinhole", "distorted"]
)
def test_exact_matches_give_the_exact_pose(camera0: Camera, camera1: Camera) -> None:
    pair = make_pair(POINTS, camera0=camera0, camera1=camera1, noise=0.0)
    result = relate(pair, camera0, camera1)
    assert (result.model, result.degeneracy, result.verified, result.reason) == ("E", "none", True, "")
    assert max(errors_of(result, pair)) < 1e-6
    assert result.inliers.all()
    assert result.rms < 1e-6


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_wrong_matches_do_not_disturb(share: float) -> None:
    pair = make_pair(POINTS, outlier_share=share)
    result = relate(pair)
    assert result.model is ModelKind.ESSENTIAL
    assert result.verified
    assert max(errors_of(result, pair)) < 0.4
    kept, true = recall(result, pair)
    assert kept > 0.97
    assert true > 0.97
    assert 0.4 < result.noise < 0.6
    moved = pair.world @ pair.cam1_from_cam0[:3, :3].T + pair.cam1_from_cam0[:3, 3]
    turned = pair.world @ pair.cam1_from_cam0[:3, :3].T
    cosine = (moved * turned).sum(axis=1) / np.linalg.norm(moved, axis=1) / np.linalg.norm(turned, axis=1)
    assert result.parallax == pytest.approx(float(np.median(np.arccos(cosine[pair.inliers]))), rel=0.05)


@pytest.mark.parametrize("translation", [(0.1, 0.0, -1.0), (0.05, 0.02, 1.0)], ids=["forward", "backward"])
def test_motion_along_the_axis(translation: tuple[float, float, float]) -> None:
    pair = make_pair(POINTS, pose_of((0.01, -0.02, 0.01), translation))
    result = relate(pair)
    assert result.model is ModelKind.ESSENTIAL
    assert max(errors_of(result, pair)) < 0.3


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_fisheye_beyond_180_degrees(share: float) -> None:
    world = spherical_points(np.random.default_rng(3), 300, np.radians(100.0))
    pair = make_pair(world, camera0=FISHEYE, camera1=FISHEYE, outlier_share=share)
    result = relate(pair, FISHEYE, FISHEYE)
    assert result.model is ModelKind.ESSENTIAL
    assert max(errors_of(result, pair)) < 0.25
    kept, true = recall(result, pair)
    assert kept > 0.97
    assert true > 0.95


def test_fisheye_that_only_turned() -> None:
    world = spherical_points(np.random.default_rng(3), 200, np.radians(100.0))
    pair = make_pair(world, TURN, FISHEYE, FISHEYE, outlier_share=0.3)
    result = relate(pair, FISHEYE, FISHEYE)
    assert result.degeneracy is Degeneracy.PURE_ROTATION


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_plane_is_named_and_gives_the_pose(noise: float, share: float) -> None:
    pair = make_pair(PLANE, noise=noise, outlier_share=share)
    result = relate(pair)
    assert (result.model, result.degeneracy) == ("H", "planar")
    assert result.verified
    assert "plane" in result.reason
    assert max(errors_of(result, pair)) < (0.8 if noise else 1e-5)
    assert recall(result, pair)[0] > 0.97


def test_a_few_points_off_a_dominant_plane_make_it_a_general_scene() -> None:
    pair = make_pair(np.concatenate([PLANE, POINTS[:25]]))
    result = relate(pair)
    assert result.model is ModelKind.ESSENTIAL
    assert max(errors_of(result, pair)) < 0.5
    assert result.inliers[len(PLANE) :].mean() > 0.9


def test_the_second_pose_of_a_plane_is_stated_where_nothing_rules_it_out() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.uniform(-1.0, 1.0, (2, 300))
    world = np.stack([x, y, 6.0 + 0.5 * x - 0.3 * y], axis=1)
    pair = make_pair(world, pose_of((0.02, 0.05, 0.01), (-0.5, 0.4, 1.5)), noise=0.02)
    result = relate(pair)
    assert result.degeneracy is Degeneracy.PLANAR_AMBIGUOUS
    assert result.cam1_from_cam0 is not None
    assert result.alternative is not None
    truth = pair.cam1_from_cam0
    off = [
        max(rotation_angle(pose[:3, :3], truth[:3, :3]), direction_angle(pose[:3, 3], truth[:3, 3]))
        for pose in (result.cam1_from_cam0, result.alternative)
    ]
    assert np.degrees(min(off)) < 0.5
    assert np.degrees(max(off)) > 3.0


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_camera_that_only_turned(noise: float, share: float) -> None:
    pair = make_pair(POINTS, TURN, noise=noise, outlier_share=share)
    result = relate(pair)
    assert (result.model, result.degeneracy) == ("H", "pure_rotation")
    assert result.verified
    assert result.cam1_from_cam0 is None
    assert result.rotation is not None
    assert np.degrees(rotation_angle(result.rotation, TURN[:3, :3])) < 0.05
    assert result.covariance is not None
    assert result.covariance.shape == (3, 3)


def test_a_camera_that_hardly_moved_before_a_distant_scene() -> None:
    pair = make_pair(POINTS * 400.0, SIDEWAYS)
    assert relate(pair).degeneracy is Degeneracy.PURE_ROTATION


def test_identical_pictures() -> None:
    points = PINHOLE.project(POINTS)
    result = estimate_two_view(points, points, PINHOLE, PINHOLE)
    assert (result.model, result.degeneracy) == ("H", "no_motion")
    assert "no motion" in result.reason


@pytest.mark.parametrize("cameras", [(PINHOLE, PINHOLE), (None, None)], ids=["known", "unknown"])
@pytest.mark.parametrize("seed", range(4))
def test_unrelated_pictures_are_not_verified(cameras: tuple[Camera | None, Camera | None], seed: int) -> None:
    rng = np.random.default_rng(seed)
    points0, points1 = rng.uniform(0.0, [1280.0, 960.0], (2, 200, 2))
    result = estimate_two_view(points0, points1, *cameras, TwoViewOptions(max_samples=2000))
    assert (result.model, result.verified) == ("none", False)
    assert result.degeneracy is Degeneracy.NO_SUPPORT
    assert result.reason


@pytest.mark.parametrize("cameras", [(PINHOLE, PINHOLE), (None, None)], ids=["known", "unknown"])
def test_matches_on_one_line(cameras: tuple[Camera | None, Camera | None]) -> None:
    line = np.stack([np.linspace(50.0, 1200.0, 60), np.linspace(60.0, 900.0, 60)], axis=1)
    result = estimate_two_view(line, line + np.array([40.0, 25.0]), *cameras)
    assert result.degeneracy is Degeneracy.COLLINEAR
    assert not result.verified
    assert "line" in result.reason


def test_the_best_of_an_unsupported_pair_can_be_asked_for() -> None:
    rng = np.random.default_rng(0)
    points0, points1 = rng.uniform(0.0, [1280.0, 960.0], (2, 200, 2))
    options = TwoViewOptions(max_samples=500, keep_unsupported=True)
    result = estimate_two_view(points0, points1, PINHOLE, PINHOLE, options)
    assert result.model is not ModelKind.NONE
    assert result.degeneracy is Degeneracy.NO_SUPPORT
    assert not result.verified


def test_many_keypoints_matched_to_one_place_are_no_support() -> None:
    # Whatever the first picture shows, a motion along the ray of the one place agrees with it.
    rng = np.random.default_rng(0)
    points0, points1 = rng.uniform(0.0, [1280.0, 960.0], (2, 120, 2))
    points1[:60] = np.array([500.0, 400.0]) + rng.normal(size=(60, 2)) * 0.1
    result = estimate_two_view(points0, points1, PINHOLE, PINHOLE, TwoViewOptions(max_samples=3000))
    assert not result.verified


@pytest.mark.parametrize("count", [0, 1, 4, 5, 7])
@pytest.mark.parametrize("cameras", [(PINHOLE, PINHOLE), (None, None)], ids=["known", "unknown"])
def test_too_few_matches(count: int, cameras: tuple[Camera | None, Camera | None]) -> None:
    pair = make_pair(POINTS[:count])
    result = estimate_two_view(pair.points0, pair.points1, *cameras)
    assert result.model is ModelKind.NONE
    assert not result.verified
    assert result.inliers.shape == (count,)
    if count < 6:
        assert result.degeneracy is Degeneracy.TOO_FEW


def test_few_matches_give_a_pose_that_is_not_verified() -> None:
    pair = make_pair(POINTS[:13], noise=0.2)
    result = relate(pair)
    assert result.model is ModelKind.ESSENTIAL
    assert not result.verified
    assert "15" in result.reason
    assert max(errors_of(result, pair)) < 2.0


def test_points_that_are_not_finite_or_outside_the_lens_are_left_out() -> None:
    pair = make_pair(POINTS)
    pair.points0[3] = np.nan
    pair.points1[7] = 1e7
    result = relate(pair)
    assert not result.inliers[[3, 7]].any()
    assert result.verified


@pytest.mark.parametrize(("world", "model"), [(POINTS, "F"), (PLANE, "H")], ids=["general", "plane"])
def test_unknown_cameras(world: Floats, model: str) -> None:
    pair = make_pair(world, outlier_share=0.3)
    result = estimate_two_view(pair.points0, pair.points1)
    assert result.model == model
    assert result.verified
    assert result.cam1_from_cam0 is None
    assert min(recall(result, pair)) > 0.95
    assert result.matrix is not None
    exact = make_pair(world, noise=0.0)
    first, second = (np.c_[points, np.ones(len(world))] for points in (exact.points0, exact.points1))
    if model == "F":
        lines = first @ result.matrix.T
        off = np.abs((lines * second).sum(axis=1)) / np.linalg.norm(lines[:, :2], axis=1)
    else:
        carried = first @ result.matrix.T
        off = np.linalg.norm(carried[:, :2] / carried[:, 2:] - exact.points1, axis=1)
    assert float(np.median(off)) < 0.3


CENTRES = ((640.0, 480.0), (640.0, 480.0))


@pytest.mark.parametrize("kind", list(UnknownFocal))
def test_unknown_focal_lengths(kind: UnknownFocal) -> None:
    longer = replace(PINHOLE_SQUARE, params=(1200.0, 1200.0, *CENTRES[1]))
    second = PINHOLE_SQUARE if kind is UnknownFocal.SHARED else longer
    pair = make_pair(POINTS, pose_of((0.3, -0.3, 0.1), (1.0, 0.6, -0.3)), PINHOLE_SQUARE, second, outlier_share=0.2)
    options = TwoViewOptions(unknown_focal=kind, principal_points=CENTRES)
    result = estimate_two_view(pair.points0, pair.points1, options=options)
    assert result.focal is not None, result.focal_failure
    for found, deviation, truth in zip(
        result.focal.focals, result.focal.deviations, (900.0, second.params[0]), strict=True
    ):
        assert abs(found - truth) < 4.0 * deviation < 0.08 * truth
    assert max(errors_of(result, pair)) < 1.5


def test_focal_lengths_that_the_motion_leaves_open_are_refused() -> None:
    # Parallel optical axes: every focal length explains the epipolar geometry.
    pair = make_pair(POINTS, pose_of((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)), PINHOLE_SQUARE, PINHOLE_SQUARE)
    options = TwoViewOptions(unknown_focal=UnknownFocal.SHARED, principal_points=CENTRES)
    result = estimate_two_view(pair.points0, pair.points1, options=options)
    assert result.focal is None
    assert "focal length" in result.focal_failure
    assert result.model is ModelKind.FUNDAMENTAL
    assert result.verified


@pytest.mark.parametrize("world", ["general", "plane", "turn"])
@pytest.mark.slow
def test_predicted_covariance_is_the_spread_of_repeated_estimates(world: str) -> None:
    points = PLANE[:150] if world == "plane" else POINTS[:150]
    pose = TURN if world == "turn" else SIDEWAYS
    steps, predicted = [], []
    unit = pose[:3, 3] / max(float(np.linalg.norm(pose[:3, 3])), 1e-300)
    for seed in range(60):
        pair = make_pair(points, pose, noise=0.4, seed=seed)
        result = relate(pair, max_samples=200)
        assert result.rotation is not None
        assert result.covariance is not None
        turned = result.rotation @ pose[:3, :3].T
        skew = 0.5 * (turned - turned.T)
        step = [skew[2, 1], skew[0, 2], skew[1, 0]]
        if result.cam1_from_cam0 is not None:
            step += list(tangent_basis(unit).T @ result.cam1_from_cam0[:3, 3])
        steps.append(step)
        predicted.append(np.diag(result.covariance))
    spread = np.sqrt((np.array(steps) ** 2).mean(axis=0))
    ratio = np.sqrt(np.array(predicted).mean(axis=0)) / spread
    assert 0.85 < float(np.exp(np.log(ratio).mean())) < 1.15, ratio
    assert (ratio > 0.75).all(), ratio
    assert (ratio < 1.3).all(), ratio


def test_known_noise_makes_the_estimate_better() -> None:
    rng = np.random.default_rng(8)
    sigma = np.where(rng.random(len(POINTS)) < 0.5, 0.1, 0.8)
    with_sigma, without = [], []
    for seed in range(12):
        pair = make_pair(POINTS, noise=sigma[:, None], seed=seed)
        known = estimate_two_view(pair.points0, pair.points1, PINHOLE, PINHOLE, sigma0=sigma, sigma1=sigma)
        with_sigma.append(errors_of(known, pair)[1])
        without.append(errors_of(relate(pair), pair)[1])
    assert np.mean(with_sigma) < 0.7 * np.mean(without)


@pytest.mark.parametrize("cameras", [(PINHOLE, PINHOLE), (None, None)], ids=["known", "unknown"])
def test_same_seed_same_result(cameras: tuple[Camera | None, Camera | None]) -> None:
    pair = make_pair(POINTS, outlier_share=0.5)
    one, other = (estimate_two_view(pair.points0, pair.points1, *cameras, TwoViewOptions(seed=5)) for _ in range(2))
    assert one.matrix is not None
    assert other.matrix is not None
    np.testing.assert_array_equal(one.matrix, other.matrix)
    np.testing.assert_array_equal(one.inliers, other.inliers)
    assert one.seed == 5


def test_wrong_arguments() -> None:
    pair = make_pair(POINTS)
    with pytest.raises(ValueError, match="equal length"):
        estimate_two_view(pair.points0, pair.points1[:-1])
    with pytest.raises(ValueError, match="positive"):
        estimate_two_view(pair.points0, pair.points1, sigma0=np.zeros(len(POINTS)))
    with pytest.raises(ValueError, match="principal points"):
        TwoViewOptions(unknown_focal=UnknownFocal.SHARED)


def read_strecha(path: Path) -> tuple[Floats, Floats]:
    """Calibration matrix and cam_from_world of a photograph of the fountain set."""
    rows = [np.array(line.split(), dtype=np.float64) for line in path.read_text().splitlines()]
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = np.stack(rows[4:7]).T
    cam_from_world[:3, 3] = -cam_from_world[:3, :3] @ rows[7]
    return np.stack(rows[:3]), cam_from_world


def sift(path: Path, factor: float) -> tuple[Floats, NDArray[np.float32]]:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    small = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    keypoints, descriptors = cv2.SIFT_create(2500).detectAndCompute(small, None)
    # What resizing keeps in place is the picture's corner.
    points = (np.array([keypoint.pt for keypoint in keypoints]) + 0.5) / factor - 0.5
    return points, descriptors


@pytest.mark.slow
def test_photographs_of_a_fountain(data_root: Path) -> None:
    folder = data_root / "views" / "fountain-P11"
    if not folder.is_dir():
        pytest.skip("no fountain-P11 in the data folder")
    photos = sorted((folder / "images").glob("*.jpg"))[3:8]
    cameras, poses = [], []
    for photo in photos:
        matrix, pose = read_strecha(folder / "gt_dense_cameras" / f"{photo.name}.camera")
        params = (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
        cameras.append(Camera("pinhole", 3072, 2048, params))
        poses.append(pose)
    features = [sift(photo, 0.5) for photo in photos]
    for index in range(4):
        (points0, descriptors0), (points1, descriptors1) = features[index : index + 2]
        pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(descriptors0, descriptors1, k=2)
        kept = np.array([(a.queryIdx, a.trainIdx) for a, b in pairs if a.distance < 0.8 * b.distance])
        result = estimate_two_view(
            points0[kept[:, 0]], points1[kept[:, 1]], cameras[index], cameras[index + 1], TwoViewOptions(max_error=4.0)
        )
        assert result.model is ModelKind.ESSENTIAL
        assert result.verified
        assert result.cam1_from_cam0 is not None
        truth = poses[index + 1] @ np.linalg.inv(poses[index])
        assert np.degrees(rotation_angle(result.cam1_from_cam0[:3, :3], truth[:3, :3])) < 0.3
        assert np.degrees(direction_angle(result.cam1_from_cam0[:3, 3], truth[:3, 3])) < 1.0
