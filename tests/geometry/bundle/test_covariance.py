"""Predicted against measured spread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.errors import EstimationError
from cv3d.geometry.bundle import (
    BundleOptions,
    BundleProblem,
    FreeIntrinsics,
    GaussianPrior,
    Observations,
    adjust_bundle,
    bundle_covariance,
)
from cv3d.geometry.bundle.reference import dense_system
from cv3d.geometry.cameras import Camera
from cv3d.geometry.transforms import SE3

Floats = NDArray[np.float64]
MakeScene = Callable[..., Any]

TO_THE_END = BundleOptions(relative_decrease=1e-12, max_iterations=50)


def pose_offsets(found: Floats, truth: Floats) -> Floats:
    """x of exp(x) truth = found, (P, 6)."""
    product = SE3.from_matrix(torch.from_numpy(found)) @ SE3.from_matrix(torch.from_numpy(truth)).inverse()
    return product.log().numpy()


def test_covariance_is_the_inverse_of_the_dense_normal_equations(
    make_scene: MakeScene, lenses: dict[str, Camera]
) -> None:
    problem = replace(
        make_scene(lenses["brown4"], poses=5, points=25).noisy(0.4),
        held_poses=np.arange(5) < 2,
        held_points=np.arange(25) == 3,
        free_intrinsics=(FreeIntrinsics(("fx", "cx", "k1"), one_focal=True),),
    )
    result = adjust_bundle(problem, TO_THE_END)
    found = bundle_covariance(result, variance=2.5)
    dense = dense_system(result.as_problem())
    free = np.diagonal(dense.hessian) > 0.0
    inverse = np.zeros_like(dense.hessian)
    inverse[np.ix_(free, free)] = 2.5 * np.linalg.inv(dense.hessian[np.ix_(free, free)])
    size = dense.columns.total
    np.testing.assert_allclose(found.joint, inverse[:size, :size], rtol=1e-6, atol=1e-14)
    assert not found.points[3].any()
    for point in range(25):
        at = size + 3 * point
        np.testing.assert_allclose(found.points[point], inverse[at : at + 3, at : at + 3], rtol=1e-5, atol=1e-12)
    assert not found.poses[:2].any()
    np.testing.assert_allclose(found.poses[2], inverse[:6, :6], rtol=1e-6, atol=1e-14)
    np.testing.assert_allclose(found.between_poses(2, 3), inverse[:6, 6:12], rtol=1e-6, atol=1e-14)
    assert not found.between_poses(0, 3).any()
    (intrinsics,) = found.intrinsics
    fx, fy = result.cameras[0].params[:2]
    assert intrinsics[1, 1] / intrinsics[0, 0] == pytest.approx((fy / fx) ** 2, rel=1e-9)
    assert not intrinsics[3].any()


def normalized_spread(
    scene: Any, runs: int, sigma: float, fixed_distance: tuple[int, int] | None
) -> tuple[Floats, Floats]:
    """Mean of x^T C^-1 x over its dimension, for poses and for points, over many runs."""
    truth: BundleProblem = scene.truth
    poses, points = [], []
    for seed in range(runs):
        noisy = scene.noisy(sigma, seed)
        problem = replace(
            truth, observations=replace(noisy.observations, sigma=sigma), held_poses=np.arange(len(truth.poses)) == 0
        )
        result = adjust_bundle(problem, TO_THE_END)
        # The gauge is the first pose and the distance to the last one: bring the result there.
        centres = -np.einsum("pji,pj->pi", result.poses[:, :3, :3], result.poses[:, :3, 3])
        wanted = -np.einsum("pji,pj->pi", truth.poses[:, :3, :3], truth.poses[:, :3, 3])
        assert fixed_distance is not None
        a, b = fixed_distance
        scale = np.linalg.norm(wanted[b] - wanted[a]) / np.linalg.norm(centres[b] - centres[a])
        moved = result.poses.copy()
        grown = centres[a] + scale * (centres - centres[a])
        moved[:, :3, 3] = -np.einsum("pij,pj->pi", moved[:, :3, :3], grown)
        cloud = centres[a] + scale * (result.points - centres[a])
        covariance = bundle_covariance(replace(result, poses=moved, points=cloud), fixed_distance=fixed_distance)
        away = pose_offsets(moved, truth.poses)
        poses.append([x @ np.linalg.solve(c, x) / 6 for x, c in zip(away[1:b], covariance.poses[1:b], strict=True)])
        off = cloud - truth.points
        points.append(np.einsum("ni,nij,nj->n", off, np.linalg.inv(covariance.points), off) / 3)
    return np.mean(poses, axis=0), np.mean(points, axis=0)


def test_covariance_predicts_the_spread_of_poses_and_points(make_scene: MakeScene) -> None:
    scene = make_scene(poses=4, points=25, share=0.9)
    poses, points = normalized_spread(scene, 60, 0.5, (0, 3))
    # 60 runs of 6 and 25 x 3 numbers: deviations of the means are 0.075 and 0.02.
    np.testing.assert_allclose(poses, 1.0, atol=0.3)
    assert float(points.mean()) == pytest.approx(1.0, abs=0.08)


@pytest.mark.slow
def test_covariance_predicts_the_spread_of_a_larger_scene(make_scene: MakeScene) -> None:
    scene = make_scene(poses=12, points=200, share=0.6, seed=3)
    poses, points = normalized_spread(scene, 400, 0.5, (0, 11))
    np.testing.assert_allclose(poses, 1.0, atol=0.12)
    np.testing.assert_allclose(points, 1.0, atol=0.25)


def test_a_fixed_distance_is_without_error(make_scene: MakeScene) -> None:
    problem = replace(make_scene(poses=4, points=25).noisy(0.5), held_poses=np.arange(4) == 0)
    result = adjust_bundle(problem, TO_THE_END)
    found = bundle_covariance(result, fixed_distance=(1, 3))
    rotations, translations = result.poses[:, :3, :3], result.poses[:, :3, 3]
    centres = -np.einsum("pji,pj->pi", rotations, translations)
    between = (centres[3] - centres[1]) / np.linalg.norm(centres[3] - centres[1])
    row = np.zeros(18)
    row[0:3], row[12:15] = rotations[1] @ between, -rotations[3] @ between
    assert row @ found.joint @ row < 1e-12 * np.trace(found.joint)
    # Which distance is the unit does not change shape: the relative error of another distance's ratio is the same.
    other = bundle_covariance(result, fixed_distance=(0, 3))
    assert (other.joint != found.joint).any()


def test_a_free_gauge_is_named(make_scene: MakeScene) -> None:
    problem = make_scene(poses=4, points=25).noisy(0.5)
    with pytest.raises(EstimationError, match="hold a pose"):
        bundle_covariance(adjust_bundle(problem))
    one = replace(problem, held_poses=np.arange(4) == 0)
    with pytest.raises(EstimationError, match="whose distance is the unit"):
        bundle_covariance(adjust_bundle(one))
    result = adjust_bundle(replace(problem, held_poses=np.arange(4) < 2))
    with pytest.raises(EstimationError, match="both poses"):
        bundle_covariance(result, fixed_distance=(0, 1))
    assert np.isfinite(bundle_covariance(result).poses).all()
    prior = GaussianPrior.on_pose(0, problem.poses[0], np.eye(6) * 1e-4)
    second = GaussianPrior.on_pose(3, problem.poses[3], np.eye(6) * 1e-4)
    result = adjust_bundle(replace(problem, priors=(prior, second)))
    assert np.isfinite(bundle_covariance(result).poses).all()


def test_a_point_that_is_not_determined_has_no_covariance(make_scene: MakeScene) -> None:
    problem = replace(make_scene(poses=4, points=25).noisy(0.5), held_poses=np.arange(4) < 2)
    seen = problem.observations
    # Two observations from one place give a ray.
    keep = (seen.point != 7) | (seen.view == 2)
    again = np.flatnonzero((seen.point == 7) & (seen.view == 2))
    pick = np.concatenate([np.flatnonzero(keep), again])
    problem = replace(problem, observations=Observations(seen.pixels[pick], seen.view[pick], seen.point[pick]))
    found = bundle_covariance(adjust_bundle(problem))
    assert np.isnan(found.points[7]).all()
    assert np.isfinite(np.delete(found.points, 7, axis=0)).all()
