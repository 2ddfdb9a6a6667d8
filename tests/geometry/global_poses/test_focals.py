"""Focal lengths from fundamental matrices: simulated photographs, what cannot be known, and real pictures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from cv3d.errors import InputError
from cv3d.formats.posed_pictures import read_posed_pictures
from cv3d.geometry.global_poses import FocalCalibration, FocalOptions, calibrate_focals
from cv3d.geometry.global_poses.focal_kernels import essential_residuals
from cv3d.geometry.two_view import estimate_two_view


def solved(
    make: SimpleNamespace, known: tuple[np.ndarray, np.ndarray, np.ndarray], camera: np.ndarray
) -> FocalCalibration:
    cameras = int(camera.max()) + 1
    return calibrate_focals(*known, camera, np.tile(make.centre, (cameras, 1)), np.tile(make.size, (cameras, 1)))


def wrong(count: int, size: np.ndarray, seed: int) -> np.ndarray:
    scale = np.diag([1.0 / size[0], 1.0 / size[1], 1.0])
    return scale @ np.random.default_rng(seed).normal(size=(count, 3, 3)) @ scale


def test_residuals_are_distances_to_the_nearest_essential_matrix() -> None:
    """Held to the step along the manifold's normals that the singular values of the definition ask for."""
    rng = np.random.default_rng(0)
    f, g = 1.4, 0.8
    for _ in range(20):
        left, _, right = np.linalg.svd(rng.normal(size=(3, 3)))
        exact = np.diag([1 / g, 1 / g, 1.0]) @ left @ np.diag([1.0, 1.0, 0.0]) @ right @ np.diag([1 / f, 1 / f, 1.0])
        noisy = exact / np.linalg.norm(exact) + 1e-6 * rng.normal(size=(3, 3))
        u, s, vt = np.linalg.svd(noisy)
        rank2 = np.ascontiguousarray((u * [s[0], s[1], 0.0]) @ vt)
        out = np.empty((1, 1, 2))
        lengths = np.array([[g]]), np.array([[f]])
        essential_residuals(rank2[None], u[:, 2][None].copy(), vt[2][None].copy(), *lengths, out)

        def essential(
            p: np.ndarray, left: np.ndarray = left, right: np.ndarray = right, exact: np.ndarray = exact
        ) -> np.ndarray:
            turns = [cv2.Rodrigues(p[k : k + 3])[0] for k in (0, 3)]
            core = turns[0] @ np.diag([1.0, 1.0, 0.0]) @ turns[1]
            whole = np.diag([1 / g, 1 / g, 1.0]) @ left @ core @ right @ np.diag([1 / f, 1 / f, 1.0])
            return ((1.0 + p[6]) * whole / np.linalg.norm(exact)).ravel()

        step = 1e-6
        basis = [(essential(step * e) - essential(-step * e)) / (2 * step) for e in np.eye(7)]
        off = rank2.ravel() - essential(np.zeros(7))
        off -= np.linalg.lstsq(np.array(basis).T, off, rcond=None)[0] @ np.array(basis)
        assert np.linalg.norm(out) == pytest.approx(np.linalg.norm(off), rel=1e-3)


@pytest.mark.parametrize("count", [2, 3, 6])
def test_one_camera_is_found_within_its_deviation(make: SimpleNamespace, count: int) -> None:
    off = []
    for seed in range(4):
        scene = make.around(count, seed, arc=0.5 * count)
        found = solved(make, make.fundamentals(scene.pixels(1500.0, 0.3, seed)), np.zeros(count, dtype=np.int64))
        assert found.determined.all()
        assert found.deviation[0] < 0.2 * 1500.0
        off.append((found.focal[0] - 1500.0) / found.deviation[0])
    assert np.abs(off).max() < 3.0


def test_every_picture_may_have_a_camera_of_its_own(make: SimpleNamespace) -> None:
    focal = np.random.default_rng(1).uniform(1000.0, 2500.0, 8)
    known = make.fundamentals(make.around(8, 1).pixels(focal, 0.3, 0))
    found = solved(make, known, np.arange(8))
    np.testing.assert_allclose(found.focal, focal, rtol=0.02)
    assert (found.deviation < 0.02 * focal).all()


def test_wrong_matrices_are_told_apart(make: SimpleNamespace) -> None:
    edges, matrices, weights = make.fundamentals(make.around(8, 2).pixels(1500.0, 0.3, 0))
    bad = np.random.default_rng(0).choice(len(edges), int(0.3 * len(edges)), replace=False)
    matrices[bad] = wrong(len(bad), make.size, 0)
    found = solved(make, (edges, matrices, weights), np.zeros(8, dtype=np.int64))
    assert found.focal[0] == pytest.approx(1500.0, rel=0.02)
    assert found.inliers[bad].mean() < 0.2
    assert np.delete(found.inliers, bad).mean() > 0.9


def test_motion_along_the_axis_says_nothing(make: SimpleNamespace) -> None:
    known = make.fundamentals(make.ahead(6).pixels(1500.0, 0.3, 0))
    assert len(known[0]) > 5
    found = solved(make, known, np.zeros(6, dtype=np.int64))
    assert not found.determined.any()
    assert np.isinf(found.deviation[0])


def test_axes_that_meet_say_nothing(make: SimpleNamespace) -> None:
    scene = make.around(6, wander=0.0)
    found = solved(make, make.fundamentals(scene.pixels(1500.0, 0.3, 0)), np.zeros(6, dtype=np.int64))
    assert not found.determined.any()


def test_matrices_that_agree_on_nothing_determine_nothing(make: SimpleNamespace) -> None:
    """As those of a plane are, with an epipole that noise has chosen."""
    edges = np.array([(i, j) for i in range(6) for j in range(i)])
    found = solved(
        make, (edges, wrong(len(edges), make.size, 3), np.full(len(edges), 100.0)), np.zeros(6, dtype=np.int64)
    )
    assert not found.determined.any()
    assert found.noise > FocalOptions().max_noise


def test_a_turn_in_place_tells_the_focal_length(make: SimpleNamespace) -> None:
    """Any epipole makes a valid matrix of a turn, and the right focal length makes any of them essential."""
    scene = make.around(5, 4)
    turning = make.Scene(scene.rotations, np.zeros((5, 3)), np.zeros((0, 3)))
    inverse = np.linalg.inv(np.array([[1500.0, 0.0, make.centre[0]], [0.0, 1500.0, make.centre[1]], [0.0, 0.0, 1.0]]))
    edges = np.array([(i, j) for i in range(5) for j in range(i)])
    rng = np.random.default_rng(0)
    matrices = []
    for i, j in edges:
        x, y, z = rng.normal(size=3)
        cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        matrices.append(inverse.T @ cross @ turning.rotations[j] @ turning.rotations[i].T @ inverse)
    found = solved(make, (edges, np.array(matrices), np.full(len(edges), 100.0)), np.zeros(5, dtype=np.int64))
    assert found.focal[0] == pytest.approx(1500.0, rel=1e-6)


def test_cameras_without_matrices_stay_open(make: SimpleNamespace) -> None:
    edges, matrices, weights = make.fundamentals(make.around(5, 1).pixels(1500.0, 0.3, 0))
    found = solved(make, (edges, matrices, weights), np.array([0, 0, 0, 0, 0, 1]))
    assert found.focal[0] == pytest.approx(1500.0, rel=0.02)
    assert np.isnan(found.focal[1])
    assert np.isinf(found.deviation[1])
    nothing = solved(make, (edges[:0], matrices[:0], weights[:0]), np.zeros(5, dtype=np.int64))
    assert np.isnan(nothing.focal).all()
    assert len(nothing.errors) == 0


def test_left_out_matrices_have_no_say(make: SimpleNamespace) -> None:
    edges, matrices, weights = make.fundamentals(make.around(5, 1).pixels(1500.0, 0.3, 0))
    camera = np.zeros(5, dtype=np.int64)
    without = solved(make, (edges[1:], matrices[1:], weights[1:]), camera)
    weights[0], matrices[0] = 0.0, wrong(1, make.size, 0)[0]
    found = solved(make, (edges, matrices, weights), camera)
    np.testing.assert_array_equal(found.focal, without.focal)
    assert np.isnan(found.errors[0])
    assert not found.inliers[0]


def test_bad_arrays_are_named(make: SimpleNamespace) -> None:
    edges, matrices, weights = np.array([[0, 1], [1, 2]]), wrong(2, make.size, 0), np.ones(2)
    camera = np.zeros(3, dtype=np.int64)
    with pytest.raises(InputError, match="beyond the 2"):
        solved(make, (edges, matrices, weights), camera[:2])
    with pytest.raises(InputError, match="do not match"):
        solved(make, (edges, matrices[:1], weights), camera)
    matrices[1, 0, 0] = np.nan
    with pytest.raises(InputError, match="edge 1 is not finite"):
        solved(make, (edges, matrices, weights), camera)


@pytest.mark.slow
def test_the_fountain_s_focal_length(data_root: Path) -> None:
    """2,760 px of pictures 3,072 wide; nearer with the true principal point, 20 px from the middle."""
    posed = read_posed_pictures(data_root / "views" / "fountain-P11").pictures
    sift = cv2.SIFT_create(3000)
    seen = []
    for one in posed:
        grey = cv2.resize(cv2.imread(str(one.file), cv2.IMREAD_GRAYSCALE), None, fx=0.5, fy=0.5)
        keypoints, descriptors = sift.detectAndCompute(grey, None)
        seen.append((2.0 * np.array([k.pt for k in keypoints]) + 0.5, descriptors))
    edges, matrices, weights = [], [], []
    matcher = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True)
    for i in range(len(seen)):
        for j in range(i + 1, min(i + 4, len(seen))):
            matches = np.array([(m.queryIdx, m.trainIdx) for m in matcher.match(seen[i][1], seen[j][1])])
            found = estimate_two_view(seen[i][0][matches[:, 0]], seen[j][0][matches[:, 1]])
            if found.verified and found.model == "F":
                edges.append((i, j))
                matrices.append(found.matrix)
                weights.append(float(found.inlier_count))
    known = np.array(edges), np.array(matrices), np.array(weights), np.zeros(len(posed), dtype=np.int64)
    size = np.array([[3072.0, 2048.0]])
    truth = posed[0].camera.matrix
    with_truth = calibrate_focals(*known, truth[None, :2, 2], size)
    with_middle = calibrate_focals(*known, (size - 1.0) / 2.0, size)
    assert with_truth.determined.all()
    assert with_truth.focal[0] == pytest.approx(truth[0, 0], rel=0.01)
    assert with_middle.focal[0] == pytest.approx(truth[0, 0], rel=0.04)
