"""Marginalisation: what it keeps of what left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.errors import UsageError
from cv3d.geometry.bundle import (
    BundleOptions,
    BundleProblem,
    FreeIntrinsics,
    GaussianPrior,
    Observations,
    adjust_bundle,
    bundle_covariance,
    marginalize,
)
from cv3d.geometry.bundle.covariance import reduced_at_start
from cv3d.geometry.cameras import Camera
from cv3d.geometry.robust import SQUARED

Floats = NDArray[np.float64]
MakeScene = Callable[..., Any]

TO_THE_END = BundleOptions(relative_decrease=1e-14, max_iterations=60)


def window(make_scene: MakeScene, sigma: float = 0.5, **options: Any) -> BundleProblem:
    """Six poses with prior on the first two, in which the first two see points of their own."""
    scene = make_scene(poses=6, points=60, **options)
    problem: BundleProblem = scene.noisy(sigma)
    seen = problem.observations
    # Points 0 to 19 are seen by poses 0 to 2 only, and all others by poses 1 to 5.
    old = seen.point < 20
    keep = np.where(old, seen.view <= 2, seen.view >= 1)
    tight = np.diag([1e-4] * 3 + [1e-5] * 3)
    return replace(
        problem,
        observations=Observations(seen.pixels[keep], seen.view[keep], seen.point[keep]),
        priors=tuple(GaussianPrior.on_pose(i, problem.poses[i], tight) for i in (0, 1)),
    )


def test_the_step_of_the_rest_is_that_of_the_whole(make_scene: MakeScene) -> None:
    """The linear case: one undamped Gauss-Newton step from the linearisation point, with and without what left."""
    problem = window(make_scene)
    left = marginalize(problem, [0], np.arange(60) < 20)
    assert left.dropped == 0
    _, whole, _ = reduced_at_start(problem, SQUARED, SQUARED)
    _, rest, _ = reduced_at_start(left.problem, SQUARED, SQUARED)
    expected = np.linalg.solve(whole.dense(), -whole.right)[6:]
    found = np.linalg.solve(rest.dense(), -rest.right)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-10)
    # And so is the covariance of what stays.
    np.testing.assert_allclose(np.linalg.inv(rest.dense()), np.linalg.inv(whole.dense())[6:, 6:], rtol=1e-5, atol=1e-14)


def test_at_the_minimum_the_rest_stays_where_the_whole_put_it(make_scene: MakeScene) -> None:
    result = adjust_bundle(window(make_scene), TO_THE_END)
    left = marginalize(result.as_problem(), [0], np.arange(60) < 20)
    again = adjust_bundle(left.problem, TO_THE_END)
    assert again.initial_cost == pytest.approx(result.final_cost, rel=1e-9)
    assert again.final_cost == pytest.approx(result.final_cost, rel=1e-7)
    np.testing.assert_allclose(again.poses, result.poses[1:], atol=2e-6)
    np.testing.assert_allclose(again.points, result.points[20:], atol=1e-5)
    full, rest = bundle_covariance(result), bundle_covariance(again)
    np.testing.assert_allclose(rest.poses, full.poses[1:], rtol=1e-3, atol=1e-12)


def test_shared_intrinsics_keep_what_was_learnt_of_them(make_scene: MakeScene, lenses: dict[str, Camera]) -> None:
    problem = replace(
        window(make_scene, cameras=lenses["brown4"]), free_intrinsics=(FreeIntrinsics(("fx", "k1"), one_focal=True),)
    )
    result = adjust_bundle(problem, TO_THE_END)
    left = marginalize(result.as_problem(), [0], np.arange(60) < 20)
    assert left.prior is not None
    assert left.prior.cameras == (0,)
    again = adjust_bundle(left.problem, TO_THE_END)
    np.testing.assert_allclose(again.cameras[0].params, result.cameras[0].params, rtol=1e-6)
    full, rest = bundle_covariance(result), bundle_covariance(again)
    np.testing.assert_allclose(rest.intrinsics[0], full.intrinsics[0], rtol=1e-3, atol=1e-12)


def test_a_window_may_slide_again_and_again(make_scene: MakeScene) -> None:
    """Marginalising two poses one after the other is marginalising both, at one linearisation point."""
    result = adjust_bundle(window(make_scene), TO_THE_END)
    problem = result.as_problem()
    both = marginalize(problem, [0, 1], np.arange(60) < 20)
    first = marginalize(problem, [0], np.arange(60) < 20)
    second = marginalize(first.problem, [0], np.zeros(40, bool))
    assert second.prior is not None
    assert both.prior is not None
    assert [p.poses for p in second.problem.priors] == [second.prior.poses]
    size = np.abs(both.prior.information).max()
    np.testing.assert_allclose(second.prior.information, both.prior.information, atol=1e-7 * size)
    assert np.array_equal(second.prior.at_poses, both.prior.at_poses)


def test_the_prior_keeps_its_linearisation_point(make_scene: MakeScene) -> None:
    result = adjust_bundle(window(make_scene))
    left = marginalize(result.as_problem(), [0], np.arange(60) < 20)
    assert left.prior is not None
    np.testing.assert_array_equal(left.prior.at_poses, left.problem.poses[list(left.prior.poses)])
    moved = adjust_bundle(replace(left.problem, observations=shifted(left.problem.observations)))
    carried = moved.as_problem().priors
    assert any(prior is left.prior for prior in carried)
    assert (moved.poses[list(left.prior.poses)] != left.prior.at_poses).any()


def shifted(seen: Observations) -> Observations:
    return replace(seen, pixels=seen.pixels + np.random.default_rng(5).normal(0.0, 1.0, seen.pixels.shape))


def test_numbers_follow_what_stays(make_scene: MakeScene) -> None:
    problem = replace(window(make_scene), held_poses=np.arange(6) == 3, held_points=np.arange(60) == 30)
    left = marginalize(problem, [0], np.arange(60) < 20)
    assert left.pose_index.tolist() == [-1, 0, 1, 2, 3, 4]
    assert (left.point_index[:20] == -1).all()
    assert left.point_index[20:].tolist() == list(range(40))
    rest = left.problem
    rest.check()
    assert rest.held_poses is not None
    assert rest.held_poses.tolist() == [False, False, True, False, False]
    assert rest.held_points is not None
    assert np.flatnonzero(rest.held_points).tolist() == [10]
    for k in (0, 17, len(rest.observations) - 1):
        view, point = rest.observations.view[k], rest.observations.point[k]
        old = (problem.observations.view == view + 1) & (problem.observations.point == point + 20)
        assert np.array_equal(problem.observations.pixels[old][0], rest.observations.pixels[k])


def test_by_default_points_leave_that_nobody_else_holds(make_scene: MakeScene) -> None:
    problem = window(make_scene)
    left = marginalize(problem, [0, 1])
    # Poses 0 and 1 leave: points 0 to 19 are then seen by pose 2 only.
    assert np.flatnonzero(left.point_index == -1).tolist() == list(range(20))
    assert left.dropped == (problem.observations.view[problem.observations.point >= 20] == 1).sum()


def test_points_seen_once_say_nothing(make_scene: MakeScene) -> None:
    problem = window(make_scene)
    seen = problem.observations
    keep = (seen.point >= 20) | (seen.view == 0)
    alone = replace(problem, observations=Observations(seen.pixels[keep], seen.view[keep], seen.point[keep]), priors=())
    left = marginalize(alone, [0])
    assert left.prior is None
    assert left.problem.priors == ()


def test_what_cannot_leave_is_named(make_scene: MakeScene) -> None:
    problem = window(make_scene)
    with pytest.raises(UsageError, match="every pose"):
        marginalize(problem, range(6))
    with pytest.raises(UsageError, match="point 0 would stay in the window and be seen less than twice"):
        marginalize(problem, [0, 1], np.zeros(60, bool))
