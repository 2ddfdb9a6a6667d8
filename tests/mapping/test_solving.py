"""From matches to maps: simulated scenes of which everything is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.mapping.globally import map_globally
from cv3d.mapping.graph import MatchGraph, build_tracks
from cv3d.mapping.growing import GrowOptions
from cv3d.mapping.intrinsics import KnownCamera, given, guessed
from cv3d.mapping.merging import common_similarity, moved_poses
from cv3d.mapping.options import SharedCamera
from cv3d.mapping.preparing import plan_cameras, with_pairs_geometry
from cv3d.mapping.relating import contradicting_pairs
from cv3d.mapping.solving import Solved, map_incrementally
from cv3d.mapping.turned import find_turns
from tests.mapping.simulated import (
    CAMERA,
    Truth,
    arc,
    centre_errors,
    cloud,
    geometry,
    looking,
    rotation_errors_deg,
    simulated,
    street,
    united,
)


def solved_of(truth: Truth, known: KnownCamera, mapper: str = "incremental") -> Solved:
    graph = truth.graph
    solve = map_globally if mapper == "global" else map_incrementally
    return solve(graph, build_tracks(graph), [known], np.zeros(len(graph), np.intp), GrowOptions())


@pytest.mark.parametrize("mapper", ["incremental", "global"])
def test_all_pictures_are_placed_to_a_fraction_of_the_noise(mapper: str) -> None:
    truth = simulated(arc(12), cloud(700, np.random.default_rng(1)))
    solved = solved_of(truth, given(CAMERA), mapper)
    assert len(solved.maps) == 1
    state = solved.maps[0]
    assert state.placed.all()
    assert centre_errors(state.poses, truth.cam_from_world).max() < 5e-4
    assert rotation_errors_deg(state.poses, truth.cam_from_world).max() < 0.05
    assert state.counts().min() > 200
    rows = np.flatnonzero(state.active)
    rms = np.sqrt((state.errors(rows) ** 2).mean())
    assert 0.3 < rms < 0.3 * np.sqrt(2.0) * 1.1, "two coordinates of 0.3 pixels each"


def test_an_unknown_camera_is_found_with_the_poses() -> None:
    rng = np.random.default_rng(2)
    # Axes that all meet in one point would leave the focal length open.
    centres = inverse_rigid(arc(14))[:, :3, 3]
    poses = np.stack([looking(centre, rng.uniform(-0.8, 0.8, 3)) for centre in centres])
    truth = simulated(poses, cloud(900, rng), noise=0.2)
    plan = plan_cameras(truth.graph.pictures, truth.graph.sizes, None, SharedCamera.YES)
    plan = with_pairs_geometry(plan, truth.graph)
    # The fundamental matrices of a bent picture, and of one whose middle is not that of the lens, say it roughly.
    assert plan.known[0].camera.params[0] == pytest.approx(520.0, rel=0.05)
    solved = map_incrementally(truth.graph, build_tracks(truth.graph), plan.known, plan.camera_of, GrowOptions())
    found = solved.maps[0].cameras[0]
    assert solved.maps[0].placed.all()
    assert found.params[0] == pytest.approx(520.0, rel=0.003)
    assert found.params[2:4] == pytest.approx(CAMERA.params[2:4], abs=2.0)
    assert found.params[4] == pytest.approx(-0.05, abs=0.01)
    assert centre_errors(solved.maps[0].poses, truth.cam_from_world).max() < 2e-3


def test_a_bad_guess_of_the_focal_length_is_mended_while_the_map_grows() -> None:
    truth = simulated(arc(10), cloud(700, np.random.default_rng(3)))
    known = guessed((CAMERA.width, CAMERA.height))
    assert known.camera.params[0] > 1.4 * 520.0
    state = solved_of(truth, known).maps[0]
    assert state.placed.all()
    assert state.cameras[0].params[0] == pytest.approx(520.0, rel=0.01)


@pytest.mark.slow
def test_a_long_street_keeps_its_length() -> None:
    rng = np.random.default_rng(4)
    points = np.stack([rng.uniform(-3.0, 23.0, 2500), rng.uniform(-1.5, 1.5, 2500), rng.uniform(-0.5, 0.8, 2500)], 1)
    truth = simulated(street(24), points)
    state = solved_of(truth, given(CAMERA)).maps[0]
    assert state.placed.all()
    assert centre_errors(state.poses, truth.cam_from_world).max() < 2e-3


def test_scenes_that_do_not_hang_together_become_two_maps() -> None:
    rng = np.random.default_rng(5)
    truth = united(simulated(arc(8), cloud(500, rng)), simulated(arc(6), cloud(500, rng), seed=1))
    solved = solved_of(truth, given(CAMERA))
    assert [np.flatnonzero(state.placed).tolist() for state in solved.maps] == [list(range(8)), list(range(8, 14))]
    for state in solved.maps:
        assert centre_errors(state.poses[state.placed], truth.cam_from_world[state.placed]).max() < 1e-3


def test_a_picture_that_shows_something_else_is_left_out_with_a_reason() -> None:
    truth = simulated(arc(8), cloud(500, np.random.default_rng(6)))
    graph, rng = truth.graph, np.random.default_rng(0)
    keypoints = list(graph.keypoints)
    keypoints[3] = rng.uniform(0.0, [640.0, 480.0], keypoints[3].shape)
    spoiled = MatchGraph(graph.pictures, graph.sizes, tuple(keypoints), graph.noise, graph.pairs, graph.reasons)
    solved = solved_of(Truth(spoiled, truth.cam_from_world, truth.points, truth.point_of_keypoint), given(CAMERA))
    state = solved.maps[0]
    assert np.flatnonzero(~state.placed).tolist() == [3]
    assert "agree on a place" in solved.attempts.reasons[3]
    assert centre_errors(state.poses[state.placed], truth.cam_from_world[state.placed]).max() < 1e-3


def test_nothing_but_noise_gives_no_map() -> None:
    truth = simulated(arc(5), cloud(200, np.random.default_rng(7)))
    rng = np.random.default_rng(0)
    keypoints = tuple(rng.uniform(0.0, [640.0, 480.0], points.shape) for points in truth.graph.keypoints)
    graph = MatchGraph(
        truth.graph.pictures, truth.graph.sizes, keypoints, truth.graph.noise, truth.graph.pairs, truth.graph.reasons
    )
    assert solved_of(Truth(graph, truth.cam_from_world, truth.points, ()), given(CAMERA)).maps == []


def test_pairs_of_look_alikes_are_found_by_their_rotations() -> None:
    truth = simulated(arc(10, 60.0), cloud(600, np.random.default_rng(8)))
    graph, poses = truth.graph, truth.cam_from_world
    wrong = looking(np.array([2.0, 1.0, -3.0]), np.array([1.0, 0.5, 0.0]))
    spoiled = [
        replace(pair, geometry=geometry(poses[pair.first], wrong, CAMERA, len(pair.matches)))
        if (pair.first, pair.second) in {(0, 9), (2, 7)}
        else pair
        for pair in graph.pairs
    ]
    graph = MatchGraph(graph.pictures, graph.sizes, graph.keypoints, graph.noise, tuple(spoiled), graph.reasons)
    dropped = contradicting_pairs(graph, [CAMERA] * len(graph))
    found = {(pair.first, pair.second) for pair, out in zip(graph.pairs, dropped, strict=True) if out}
    assert found == {(0, 9), (2, 7)}
    assert not contradicting_pairs(truth.graph, [CAMERA] * len(graph)).any()


def test_a_camera_that_only_turns_is_oriented() -> None:
    centre = np.array([0.0, 0.0, 0.0])
    angles = np.radians(np.linspace(0.0, 80.0, 9))
    poses = np.stack([looking(centre, np.array([np.sin(a), 0.1 * np.sin(3 * a), np.cos(a)])) for a in angles])
    rng = np.random.default_rng(9)
    around = rng.normal(size=(3000, 3))
    points = 8.0 * around / np.linalg.norm(around, axis=1, keepdims=True)
    camera = Camera("brown4", 640, 480, (520.0, 520.0, 319.5, 239.5, 0.0, 0.0, 0.0, 0.0))
    truth = simulated(poses, points, camera=camera, wrong=0.0)
    plan = plan_cameras(truth.graph.pictures, truth.graph.sizes, None, SharedCamera.YES)
    turned = find_turns(truth.graph, plan)
    assert turned is not None
    assert turned.placed.all()
    assert turned.known[0].camera.params[0] == pytest.approx(520.0, rel=0.01)
    assert rotation_errors_deg(turned.cam_from_world, truth.cam_from_world).max() < 0.5
    moved = simulated(arc(9), cloud(500, rng), camera=camera)
    assert find_turns(moved.graph, plan) is None


def test_a_similarity_is_found_among_wrong_points() -> None:
    rng = np.random.default_rng(10)
    a = cloud(300, rng)
    matrix = np.eye(4)
    matrix[:3, :3] = 2.5 * looking(np.array([1.0, 2.0, 3.0]), np.zeros(3))[:3, :3]
    matrix[:3, 3] = [4.0, -1.0, 0.5]
    b = a @ matrix[:3, :3].T + matrix[:3, 3]
    b[:100] += rng.normal(0.0, 3.0, (100, 3))
    found = common_similarity(a, b, np.full(300, 10.0), 0)
    assert found is not None
    assert found[0] == pytest.approx(matrix, abs=1e-2)
    assert found[1][100:].all()


def test_poses_in_another_frame_see_the_same() -> None:
    rng = np.random.default_rng(11)
    poses, points = arc(4), cloud(20, rng)
    b_from_a = np.eye(4)
    b_from_a[:3, :3] = 0.3 * looking(np.array([1.0, 2.0, 3.0]), np.zeros(3))[:3, :3]
    b_from_a[:3, 3] = [1.0, 2.0, -4.0]
    moved, elsewhere = moved_poses(poses, b_from_a), points @ b_from_a[:3, :3].T + b_from_a[:3, 3]
    for before, after in zip(poses, moved, strict=True):
        assert np.linalg.det(after[:3, :3]) == pytest.approx(1.0)
        seen = CAMERA.project(points @ before[:3, :3].T + before[:3, 3])
        assert CAMERA.project(elsewhere @ after[:3, :3].T + after[:3, 3]) == pytest.approx(seen, abs=1e-8)


def test_the_same_seed_gives_the_same_map() -> None:
    truth = simulated(arc(8), cloud(400, np.random.default_rng(12)))
    one, two = (solved_of(truth, given(CAMERA)).maps[0] for _ in range(2))
    assert np.array_equal(one.poses, two.poses)
    assert np.array_equal(one.points, two.points, equal_nan=True)
