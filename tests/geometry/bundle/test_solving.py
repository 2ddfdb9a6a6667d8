"""Bundle adjustment as a whole: recovery, invariances, what is held, robustness, named failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.errors import EstimationError, InputError, UsageError
from cv3d.geometry.bundle import (
    BundleOptions,
    BundleProblem,
    FreeIntrinsics,
    GaussianPrior,
    LinearSolver,
    Observations,
    PointPriors,
    Termination,
    Views,
    adjust_bundle,
)
from cv3d.geometry.cameras import Camera
from cv3d.geometry.robust import Loss, LossKind
from cv3d.geometry.transforms import SE3, Sim3
from cv3d.progress import Silent

Floats = NDArray[np.float64]
MakeScene = Callable[..., Any]
Disturb = Callable[..., BundleProblem]
Lenses = dict[str, Camera]

TO_THE_END = BundleOptions(relative_decrease=1e-14, max_iterations=100)


def held(count: int, *which: int) -> NDArray[np.bool_]:
    return np.isin(np.arange(count), which)


@pytest.mark.parametrize("model", ["pinhole", "brown5", "kannala_brandt4", "double_sphere", "omni", "splined"])
def test_recovers_the_scene_exactly_without_noise(
    model: str, make_scene: MakeScene, disturb: Disturb, lenses: Lenses
) -> None:
    truth = replace(make_scene(lenses[model], poses=5, points=30).truth, held_poses=held(5, 0, 4))
    found = adjust_bundle(disturb(truth, 0.01, 0.05), TO_THE_END)
    assert found.final_cost < 1e-18
    np.testing.assert_allclose(found.poses, truth.poses, atol=1e-9)
    np.testing.assert_allclose(found.points, truth.points, atol=1e-9)
    assert found.rms_px < 1e-9
    assert not found.outliers.any()


@pytest.mark.parametrize("shared", [True, False])
def test_self_calibrates_exactly_without_noise(
    shared: bool, make_scene: MakeScene, disturb: Disturb, lenses: Lenses
) -> None:
    camera = lenses["brown4"]
    cameras = camera if shared else (camera,) * 6
    truth = replace(make_scene(cameras, poses=6, points=60).truth, held_poses=held(6, 0, 5))
    count = len(truth.cameras)
    wrong = camera.with_params(np.array(camera.params) * [1.03, 1.03, 1, 1, 0.8, 0.8, 1, 1])
    start = replace(
        disturb(truth, 0.005, 0.02),
        cameras=(wrong,) * count,
        free_intrinsics=(FreeIntrinsics(("fx", "fy", "k1", "k2")),) * count,
    )
    found = adjust_bundle(start, TO_THE_END)
    for result in found.cameras:
        np.testing.assert_allclose(result.params, camera.params, rtol=1e-6)
        assert result.params[2:4] == camera.params[2:4]


def test_one_focal_keeps_the_ratio(make_scene: MakeScene, lenses: Lenses) -> None:
    camera = lenses["pinhole"]
    truth = replace(make_scene(camera, poses=5).truth, held_poses=held(5, 0, 4))
    wide = camera.with_params((camera.params[0] * 1.1, camera.params[1] * 1.1, *camera.params[2:]))
    start = replace(truth, cameras=(wide,), free_intrinsics=(FreeIntrinsics(("fx",), one_focal=True),))
    (found,) = adjust_bundle(start, TO_THE_END).cameras
    np.testing.assert_allclose(found.params, camera.params, rtol=1e-9)
    assert found.params[1] / found.params[0] == pytest.approx(camera.params[1] / camera.params[0], rel=1e-14)


def test_rigs_share_one_pose_and_give_scale(make_scene: MakeScene, disturb: Disturb, lenses: Lenses) -> None:
    step = SE3.exp(torch.tensor([[0.0] * 6, [-0.4, 0.01, 0.0, 0.01, 0.05, 0.0]], dtype=torch.float64))
    scene = make_scene((lenses["brown5"], lenses["pinhole"]), poses=4, points=30, rig=step.as_matrix().numpy())
    truth = replace(scene.truth, held_poses=held(4, 0))
    found = adjust_bundle(disturb(truth, 0.01, 0.05), TO_THE_END)
    np.testing.assert_allclose(found.poses, truth.poses, atol=1e-8)
    np.testing.assert_allclose(found.points, truth.points, atol=1e-8)


def test_depth_gives_scale(make_scene: MakeScene, disturb: Disturb) -> None:
    truth = replace(make_scene(poses=4, points=30).truth, held_poses=held(4, 0))
    seen = truth.observations
    depth = np.array(
        [
            truth.poses[v, 2, :3] @ truth.points[p] + truth.poses[v, 2, 3]
            for v, p in zip(seen.view, seen.point, strict=True)
        ]
    )
    depth[::3], depth[1::3] = np.nan, 0.0
    truth = replace(truth, observations=replace(seen, depth=depth, depth_sigma=0.02))
    found = adjust_bundle(disturb(truth, 0.01, 0.05), TO_THE_END)
    np.testing.assert_allclose(found.points, truth.points, atol=1e-8)
    assert found.depth_errors is not None
    assert np.array_equal(np.isnan(found.depth_errors), ~(np.nan_to_num(depth) > 0.0))
    # A point seen once is determined by its depth.
    last = seen.point == 29
    first = np.flatnonzero(last)[0]
    keep = ~last
    keep[first] = True
    depth = depth.copy()
    depth[first] = (truth.poses[seen.view[first], 2] @ np.append(truth.points[29], 1.0)).item()
    fewer = Observations(seen.pixels[keep], seen.view[keep], seen.point[keep], depth=depth[keep], depth_sigma=0.02)
    found = adjust_bundle(disturb(replace(truth, observations=fewer), 0.01, 0.05), TO_THE_END)
    np.testing.assert_allclose(found.points, truth.points, atol=1e-7)


def test_what_is_held_stays_bit_for_bit(make_scene: MakeScene, disturb: Disturb, lenses: Lenses) -> None:
    scene = make_scene((lenses["brown5"], lenses["pinhole"]), poses=6, points=40)
    start = replace(
        scene.noisy(2.0),
        held_poses=held(6, 1, 3),
        held_points=held(40, 0, 7, 39),
        free_intrinsics=(FreeIntrinsics(("cx", "k1")), FreeIntrinsics()),
    )
    found = adjust_bundle(start)
    assert found.accepted > 1
    assert np.array_equal(found.poses[[1, 3]], start.poses[[1, 3]])
    assert np.array_equal(found.points[[0, 7, 39]], start.points[[0, 7, 39]])
    assert (found.poses[[0, 2, 4, 5]] != start.poses[[0, 2, 4, 5]]).any(axis=(1, 2)).all()
    assert found.cameras[1] is start.cameras[1]
    before, after = np.array(start.cameras[0].params), np.array(found.cameras[0].params)
    assert np.array_equal(np.flatnonzero(before != after), [2, 4])


def test_only_poses_only_points_and_only_intrinsics(make_scene: MakeScene, lenses: Lenses) -> None:
    problem = replace(make_scene(lenses["brown5"], poses=4).noisy(1.0), held_poses=np.ones(4, bool))
    all_points = np.ones(40, bool)
    one = adjust_bundle(problem)
    assert one.final_cost < one.initial_cost
    two = adjust_bundle(replace(problem, held_poses=None, held_points=all_points))
    assert two.final_cost < two.initial_cost
    three = adjust_bundle(
        replace(problem, held_points=all_points, free_intrinsics=(FreeIntrinsics(("fx", "fy", "cx", "cy")),))
    )
    assert three.final_cost < three.initial_cost
    with pytest.raises(EstimationError, match="nothing to adjust"):
        adjust_bundle(replace(problem, held_points=all_points))


def test_result_does_not_depend_on_frame_scale_or_order(make_scene: MakeScene, disturb: Disturb) -> None:
    start = disturb(make_scene(poses=5, points=30, share=0.7).noisy(1.0), 0.005, 0.03)
    found = adjust_bundle(start, TO_THE_END)
    turn = Sim3.exp(torch.tensor([3.0, -2.0, 1.0, 0.4, 1.2, -0.3, 0.8], dtype=torch.float64)).as_matrix().numpy()
    scale = np.linalg.det(turn[:3, :3]) ** (1 / 3)
    moved = start.poses @ np.linalg.inv(turn)
    moved[:, :3] *= scale
    points = start.points @ turn[:3, :3].T + turn[:3, 3]
    elsewhere = adjust_bundle(replace(start, poses=moved, points=points), TO_THE_END)
    assert elsewhere.final_cost == pytest.approx(found.final_cost, rel=1e-9)
    np.testing.assert_allclose(elsewhere.errors, found.errors, atol=1e-4)
    seen = start.observations
    order = np.random.default_rng(0).permutation(len(seen))
    shuffled = replace(start, observations=Observations(seen.pixels[order], seen.view[order], seen.point[order]))
    again = adjust_bundle(shuffled, TO_THE_END)
    np.testing.assert_allclose(again.errors, found.errors[order], atol=1e-4)


@pytest.mark.parametrize("solver", [LinearSolver.DENSE, LinearSolver.BANDED, LinearSolver.ITERATIVE])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_solver_reaches_the_same_minimum(
    solver: LinearSolver, shared: bool, threads: int, make_scene: MakeScene, disturb: Disturb, lenses: Lenses
) -> None:
    poses, points = 12, 120
    camera = lenses["brown4"]
    scene = make_scene(camera if shared else (camera,) * poses, poses=poses, points=points)
    problem = scene.noisy(0.5)
    seen = problem.observations
    # Every point is seen by four neighbouring pictures, in an order that hides it.
    hidden = np.random.default_rng(2).permutation(poses)
    near = (hidden[seen.view] - seen.point % (poses - 3) >= 0) & (hidden[seen.view] - seen.point % (poses - 3) < 4)
    problem = replace(
        problem,
        observations=Observations(seen.pixels[near], seen.view[near], seen.point[near]),
        held_poses=held(poses, 2, 9),
        free_intrinsics=(FreeIntrinsics(("fx", "k1"), one_focal=True),) * len(problem.cameras),
    )
    start = disturb(problem, 0.005, 0.02)
    tight = replace(TO_THE_END, relative_decrease=1e-12)
    expected = adjust_bundle(start, replace(tight, linear_solver=LinearSolver.DENSE, threads=1))
    found = adjust_bundle(start, replace(tight, linear_solver=solver, threads=threads))
    assert found.solver == solver
    assert found.final_cost == pytest.approx(expected.final_cost, rel=1e-8)
    np.testing.assert_allclose(found.points, expected.points, atol=2e-4)


def test_the_solver_is_chosen_by_size_and_overlap(make_scene: MakeScene) -> None:
    full = make_scene(poses=12, points=40).noisy(0.5)
    seen = full.observations
    near = (seen.view - seen.point % 10 >= 0) & (seen.view - seen.point % 10 < 3)
    chain = replace(full, observations=Observations(seen.pixels[near], seen.view[near], seen.point[near]))
    for problem, options, expected in (
        (full, BundleOptions(), LinearSolver.DENSE),
        (full, BundleOptions(dense_up_to=10), LinearSolver.DENSE),
        (full, BundleOptions(dense_up_to=10, direct_up_to=50), LinearSolver.ITERATIVE),
        (chain, BundleOptions(), LinearSolver.DENSE),
        (chain, BundleOptions(dense_up_to=10), LinearSolver.BANDED),
        (chain, BundleOptions(dense_up_to=10, direct_up_to=50), LinearSolver.BANDED),
    ):
        assert adjust_bundle(problem, options).solver == expected


def test_progress_is_told_of_every_iteration(make_scene: MakeScene, disturb: Disturb) -> None:
    class Recorder(Silent):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def start(self, stage: str, total: int | None = None) -> None:
            self.heard.append(f"start {stage} {total}")

        def advance(self, stage: str, steps: int = 1) -> None:
            self.heard.append("advance")

        def finish(self, stage: str) -> None:
            self.heard.append("finish")

    recorder = Recorder()
    found = adjust_bundle(disturb(make_scene().noisy(0.5), 0.01, 0.05), BundleOptions(max_iterations=20), recorder)
    assert recorder.heard == ["start bundle adjustment 20", *["advance"] * found.iterations, "finish"]


def test_equal_runs_are_equal_to_the_bit(make_scene: MakeScene, disturb: Disturb) -> None:
    start = disturb(make_scene(poses=5, points=200).noisy(0.5), 0.01, 0.05)
    first, second = (adjust_bundle(start, BundleOptions(threads=2)) for _ in range(2))
    assert np.array_equal(first.points, second.points)
    assert np.array_equal(first.poses, second.poses)


@pytest.mark.parametrize("kind", [LossKind.HUBER, LossKind.CAUCHY])
def test_robust_losses_withstand_a_fifth_of_outliers(kind: LossKind, make_scene: MakeScene, disturb: Disturb) -> None:
    truth = replace(make_scene(poses=6, points=150).truth, held_poses=held(6, 0, 5))
    rng = np.random.default_rng(0)
    seen = truth.observations
    wrong = rng.uniform(size=len(seen)) < 0.2
    pixels = seen.pixels + rng.normal(0.0, 0.5, seen.pixels.shape)
    pixels[wrong] += rng.uniform(-60.0, 60.0, (int(wrong.sum()), 2))
    start = disturb(replace(truth, observations=replace(seen, pixels=pixels, sigma=0.5)), 0.003, 0.02)
    plain = adjust_bundle(start)
    robust = adjust_bundle(start, BundleOptions(loss=Loss(kind, 1.0)))
    plain_error, error = (np.sqrt(((r.poses - truth.poses) ** 2).mean()) for r in (plain, robust))
    assert error < 0.15 * plain_error
    far = np.hypot(*(pixels - seen.pixels).T) > 6.0
    agreement = (robust.outliers == far).mean()
    assert agreement > 0.95
    assert 0.8 < robust.noise < 1.8


def test_weights_are_honoured(make_scene: MakeScene) -> None:
    scene = make_scene(poses=4, points=30)
    problem = replace(scene.noisy(1.0), held_poses=held(4, 0, 3))
    seen = problem.observations
    count = len(seen)
    sigma = np.random.default_rng(0).uniform(0.5, 3.0, count)
    by_sigma = adjust_bundle(replace(problem, observations=replace(seen, sigma=sigma)), TO_THE_END)
    covariance = np.eye(2) * sigma[:, None, None] ** 2
    by_covariance = adjust_bundle(replace(problem, observations=replace(seen, covariance=covariance)), TO_THE_END)
    np.testing.assert_allclose(by_covariance.points, by_sigma.points, atol=1e-9)
    # Equal scaling changes the cost, not the minimiser.
    scaled = adjust_bundle(replace(problem, observations=replace(seen, sigma=10.0 * sigma)), TO_THE_END)
    np.testing.assert_allclose(scaled.points, by_sigma.points, atol=1e-7)
    assert scaled.final_cost == pytest.approx(by_sigma.final_cost / 100.0, rel=1e-6)
    # An observation without weight decides nothing: moving it moves nothing.
    sigma[5] = 1e9
    pixels = seen.pixels.copy()
    loose = adjust_bundle(replace(problem, observations=replace(seen, sigma=sigma)), TO_THE_END)
    pixels[5] += 40.0
    moved = adjust_bundle(replace(problem, observations=replace(seen, pixels=pixels, sigma=sigma)), TO_THE_END)
    np.testing.assert_allclose(moved.points, loose.points, atol=1e-7)


def test_a_certain_direction_is_followed_and_an_uncertain_one_is_not(make_scene: MakeScene) -> None:
    problem = make_scene(poses=3, points=20).truth
    seen = problem.observations
    axis = np.array([np.cos(0.3), np.sin(0.3)])
    along = np.outer(axis, axis)
    covariance = np.repeat((1e-4 * (np.eye(2) - along) + 1e4 * along)[None], len(seen), axis=0)
    shifted = seen.pixels.copy()
    shifted[seen.point == 3] += 5.0 * axis * np.random.default_rng(0).normal(size=((seen.point == 3).sum(), 1))
    moved = replace(problem, observations=replace(seen, pixels=shifted, covariance=covariance))
    fixed = replace(moved, held_poses=np.ones(3, bool))
    found = adjust_bundle(fixed, TO_THE_END)
    np.testing.assert_allclose(found.points, problem.points, atol=1e-3)


def test_priors_pull_where_they_say(make_scene: MakeScene) -> None:
    problem = replace(make_scene(poses=4, points=30).truth, held_poses=held(4, 0))
    # A prior that agrees with the truth fixes the scale that the pictures leave open.
    prior = GaussianPrior.on_pose(3, problem.poses[3], np.eye(6) * 1e-6)
    grown = problem.poses.copy()
    centre = -grown[0, :3, :3].T @ grown[0, :3, 3]
    for pose in grown[1:]:
        own = -pose[:3, :3].T @ pose[:3, 3]
        pose[:3, 3] = -pose[:3, :3] @ (centre + 1.3 * (own - centre))
    start = replace(problem, poses=grown, points=centre + 1.3 * (problem.points - centre), priors=(prior,))
    found = adjust_bundle(start, TO_THE_END)
    np.testing.assert_allclose(found.poses, problem.poses, atol=1e-7)
    # Without pictures to contradict it, a pose goes to its prior.
    target = SE3.exp(torch.tensor([0.1, 0.2, -0.1, 0.3, -0.2, 0.1], dtype=torch.float64)).as_matrix().numpy()
    lonely = replace(
        problem,
        poses=np.concatenate([problem.poses, np.eye(4)[None]]),
        held_poses=held(5, 0),
        priors=(prior, GaussianPrior.on_pose(4, target, np.diag([1e-2, 1e-2, 4e-2, 1e-3, 1e-3, 1e-3]))),
    )
    found = adjust_bundle(lonely, TO_THE_END)
    np.testing.assert_allclose(found.poses[4], target, atol=1e-8)


def test_point_priors_are_weighed_against_pictures(make_scene: MakeScene) -> None:
    problem = replace(make_scene(poses=3, points=20).truth, held_poses=np.ones(3, bool))
    pull = np.array([0.01, -0.02, 0.03])
    priors = PointPriors.from_covariance(np.array([4]), problem.points[4:5] + pull, np.eye(3)[None] * 1e-4)
    found = adjust_bundle(replace(problem, point_priors=priors), TO_THE_END)
    rotations = problem.poses[:, :3, :3]
    information = np.zeros((3, 3))
    for rotation, translation in zip(rotations, problem.poses[:, :3, 3], strict=True):
        seen = rotation @ problem.points[4] + translation
        fx, fy = problem.cameras[0].params[:2]
        jacobian = np.array(
            [[fx / seen[2], 0, -fx * seen[0] / seen[2] ** 2], [0, fy / seen[2], -fy * seen[1] / seen[2] ** 2]]
        )
        information += (jacobian @ rotation).T @ (jacobian @ rotation)
    expected = np.linalg.solve(information + 1e4 * np.eye(3), 1e4 * pull)
    np.testing.assert_allclose(found.points[4] - problem.points[4], expected, rtol=1e-2)
    np.testing.assert_allclose(np.delete(found.points, 4, axis=0), np.delete(problem.points, 4, axis=0), atol=1e-9)


def test_a_prior_on_a_focal_length_is_weighed_against_pictures(make_scene: MakeScene, lenses: Lenses) -> None:
    camera = lenses["pinhole"]
    problem = replace(
        make_scene(camera, poses=4, points=20).truth,
        held_poses=np.ones(4, bool),
        held_points=np.ones(20, bool),
        free_intrinsics=(FreeIntrinsics(("fx",), one_focal=True),),
    )
    # With everything else held the information about the focal length is that of the ideal image coordinates.
    ratio = camera.params[1] / camera.params[0]
    pulled = (camera.params[0] + 2.0, camera.params[1] + 2.0 * ratio, *camera.params[2:])
    prior = GaussianPrior.on_camera(0, pulled, np.array([[1e-2]]))
    found = adjust_bundle(replace(problem, priors=(prior,)), TO_THE_END)
    ideal = (problem.observations.pixels - camera.params[2:4]) / camera.params[:2]
    information = float((ideal**2 * [1.0, ratio**2]).sum())
    expected = camera.params[0] + 2.0 * 100.0 / (information + 100.0)
    assert found.cameras[0].params[0] == pytest.approx(expected, rel=1e-9)
    with pytest.raises(InputError, match="a prior has 2 unknowns"):
        adjust_bundle(replace(problem, priors=(GaussianPrior.on_camera(0, pulled, np.eye(2)),)))


def test_points_behind_a_camera_do_not_count(make_scene: MakeScene) -> None:
    truth = replace(make_scene(poses=4, points=30).truth, held_poses=held(4, 0, 3))
    points = np.concatenate([truth.points, [[0.0, 0.0, -60.0]]])
    seen = truth.observations
    more = Observations(
        np.concatenate([seen.pixels, [[320.0, 240.0], [300.0, 200.0]]]),
        np.append(seen.view, [0, 1]),
        np.append(seen.point, [30, 30]),
    )
    found = adjust_bundle(replace(truth, points=points, observations=more), TO_THE_END)
    assert found.used.sum() == len(seen)
    assert not found.used[-2:].any()
    assert found.outliers[-2:].all()
    assert not found.outliers[:-2].any()
    np.testing.assert_allclose(found.points, points, atol=1e-9)


def test_ends_when_told_to(make_scene: MakeScene, disturb: Disturb) -> None:
    start = disturb(make_scene(poses=5, points=40).noisy(0.5), 0.02, 0.1)
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 2

    found = adjust_bundle(start, TO_THE_END, cancelled=cancelled)
    assert found.termination is Termination.CANCELLED
    assert found.iterations == 2
    assert found.final_cost < found.initial_cost
    assert not found.termination.converged
    found = adjust_bundle(start, BundleOptions(max_iterations=3, relative_decrease=0.0))
    assert found.termination is Termination.ITERATIONS
    assert found.iterations == 3
    found = adjust_bundle(start, BundleOptions(max_seconds=1e-9))
    assert found.termination is Termination.TIME
    assert found.iterations == 1
    zero = adjust_bundle(start, BundleOptions(max_iterations=0))
    assert np.array_equal(zero.poses, start.poses)
    assert zero.final_cost == zero.initial_cost
    assert adjust_bundle(start).termination.converged


def test_costs_only_fall(make_scene: MakeScene, disturb: Disturb) -> None:
    start = disturb(make_scene(poses=5, points=40).noisy(0.5), 0.05, 0.3)
    found = adjust_bundle(start)
    assert (np.diff(found.costs) < 0.0).all()
    assert found.costs[0] == found.initial_cost
    assert found.costs[-1] == found.final_cost
    half_sum = 0.5 * (found.errors**2).sum()
    assert found.final_cost == pytest.approx(half_sum, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: replace(p, poses=np.concatenate([p.poses, p.poses[:1]])), "pose 4 has no observations"),
        (lambda p: replace(p, points=np.concatenate([p.points, p.points[:1]])), "point 20 is seen never"),
        (
            lambda p: replace(
                p,
                cameras=p.cameras * 2,
                free_intrinsics=(FreeIntrinsics(), FreeIntrinsics(("fx",))),
            ),
            "camera 1 has free intrinsics but no observations",
        ),
        (lambda p: replace(p, free_intrinsics=(FreeIntrinsics(("k1",)),)), "no parameter k1"),
        (
            lambda p: replace(p, observations=_with(p, pixels=_nan(p.observations.pixels, 3))),
            "observation 3 is not finite",
        ),
        (lambda p: replace(p, points=_nan(p.points, 2)), "point 2 is not finite"),
        (lambda p: replace(p, poses=_nan(p.poses, 1)), "pose 1 is not finite"),
        (lambda p: replace(p, observations=_with(p, sigma=0.0)), "sigma must be positive"),
        (lambda p: replace(p, observations=_with(p, view=p.observations.view + 1)), "names view 4, but there are 4"),
        (lambda p: replace(p, observations=_with(p, point=p.observations.point - 1)), "names point -1"),
        (
            lambda p: replace(p, observations=_with(p, covariance=np.zeros((len(p.observations), 2, 2)))),
            "observation 0 is not positive definite",
        ),
        (lambda p: replace(p, held_poses=np.zeros(3, bool)), "held_poses has shape"),
        (lambda p: replace(p, views=Views(p.views.pose, p.views.camera + 1)), "names camera 1, but there are 1"),
    ],
)
def test_senseless_problems_are_named(change: Any, message: str, make_scene: MakeScene) -> None:
    problem = make_scene(poses=4, points=20).truth
    with pytest.raises(InputError, match=message):
        adjust_bundle(change(problem))


def test_a_point_seen_once_is_named(make_scene: MakeScene) -> None:
    problem = make_scene(poses=4, points=20).truth
    seen = problem.observations
    keep = (seen.point != 6) | (seen.view == 0)
    with pytest.raises(InputError, match="point 6 is seen once"):
        adjust_bundle(replace(problem, observations=Observations(seen.pixels[keep], seen.view[keep], seen.point[keep])))


def test_senseless_options_are_named() -> None:
    with pytest.raises(UsageError, match="max_iterations"):
        BundleOptions(max_iterations=-1)
    with pytest.raises(UsageError, match="cg_tolerance"):
        BundleOptions(cg_tolerance=1.0)
    with pytest.raises(UsageError, match="threads"):
        BundleOptions(threads=0)


def _with(problem: BundleProblem, **changes: Any) -> Observations:
    return replace(problem.observations, **changes)


def _nan(array: Floats, row: int) -> Floats:
    result = array.copy()
    result[row].flat[0] = np.nan
    return result
