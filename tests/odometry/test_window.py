"""The sliding window: what is held stays, what moves is mended, what does not fit is given up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.compute import torch_threads
from cv3d.geometry.cameras import Camera
from cv3d.odometry.keys import Key, inverse
from cv3d.odometry.points import CANDIDATE, FREE, MAPPED, PointTable
from cv3d.odometry.window import adjust, gather

from .simulated import CAMERAS, angle_between, points_in_view, rigid

Floats = NDArray[np.float64]
SIGMA = 0.4
COUNT = 6


@dataclass(eq=False)
class World:
    """Key frames that look at one cloud of points, and the truth."""

    camera: Camera
    keys: list[Key]
    table: PointTable
    poses: list[Floats]
    points: Floats
    """By row."""

    def disturb(self, held: int, seed: int = 0) -> None:
        """Spoil points, and poses from the first that is not held on."""
        rng = np.random.default_rng(seed)
        for key in self.keys[held:]:
            noise = rigid(tuple(rng.normal(0.0, 0.01, 3)), tuple(rng.normal(0.0, 0.03, 3)))
            key.cam_from_world = noise @ key.cam_from_world
        mapped = self.table.kind == MAPPED
        self.table.xyz[mapped] += rng.normal(0.0, 0.05, (int(mapped.sum()), 3))


def world(model: str = "pinhole", depth: bool = False, seed: int = 0) -> World:
    camera = CAMERAS[model]
    rng = np.random.default_rng(seed)
    table = PointTable()
    points, _ = points_in_view(camera, 200, seed)
    rows = table.take(len(points))
    table.kind[rows] = MAPPED
    table.xyz[rows] = points
    keys, poses = [], []
    for number in range(COUNT):
        pose = rigid((0.0, -0.03 * number, 0.01 * number), (-0.15 * number, 0.02 * number, 0.0))
        seen = points @ pose[:3, :3].T + pose[:3, 3]
        pixels = camera.project(seen)
        inside = ((pixels > 0.0) & (pixels < [camera.width - 1, camera.height - 1])).all(1)
        count = int(inside.sum())
        noisy = (pixels[inside] + rng.normal(0.0, SIGMA, (count, 2))).astype(np.float32)
        covariance = np.tile(np.array([SIGMA**2, 0.0, SIGMA**2], np.float32), (count, 1))
        measured = seen[inside, 2] + rng.normal(0.0, 0.01, count) if depth else np.zeros(count)
        keys.append(
            Key(
                number,
                10 * number,
                0.3 * number,
                "",
                0,
                pose.copy(),
                rows[inside].copy(),
                noisy,
                covariance,
                measured,
                np.full(count, 0.01),
            )
        )
        poses.append(pose)
    everywhere = np.zeros_like(table.xyz)
    everywhere[rows] = points
    return World(camera, keys, table, poses, everywhere)


def adjusted(scene: World, held: list[bool], iterations: int = 20):  # noqa: ANN201
    job = gather(scene.keys, held, scene.table, scene.camera)
    assert job is not None
    with torch_threads(1):
        return adjust(job, iterations)


HELD = [True, True, False, False, False, False]


@pytest.mark.parametrize("model", ["pinhole", "kannala_brandt4"])
def test_the_window_is_mended_and_the_held_stay(model: str) -> None:
    scene = world(model)
    scene.disturb(held=2)
    done = adjusted(scene, HELD)
    assert done.job.keys == tuple(range(COUNT))
    for number, (pose, truth) in enumerate(zip(done.poses, scene.poses, strict=True)):
        if HELD[number]:
            assert np.array_equal(pose, scene.keys[number].cam_from_world)
            continue
        assert angle_between(pose, truth) < 2e-3
        assert np.linalg.norm(inverse(pose)[:3, 3] - inverse(truth)[:3, 3]) < 0.01
    truth = scene.points[done.job.rows]
    error = np.linalg.norm(done.points - truth, axis=1) / np.linalg.norm(truth, axis=1)
    assert np.median(error) < 0.015
    # Points that two views see fit themselves: a little less than what was expected.
    assert 0.6 < done.noise < 1.1
    assert done.outliers.mean() < 0.01


def test_depth_gives_the_scale() -> None:
    scene = world(depth=True)
    for key in scene.keys[1:]:
        # All is a tenth too large.
        key.cam_from_world = key.cam_from_world.copy()
        key.cam_from_world[:3, 3] *= 1.1
    scene.table.xyz *= 1.1
    done = adjusted(scene, [True] + [False] * (COUNT - 1))
    baseline = np.linalg.norm(inverse(done.poses[-1])[:3, 3])
    assert baseline == pytest.approx(np.linalg.norm(inverse(scene.poses[-1])[:3, 3]), rel=0.01)


def test_outliers_are_named() -> None:
    scene = world()
    rng = np.random.default_rng(4)
    wrong = {
        (number, int(key.rows[i])): i for number, key in enumerate(scene.keys) for i in range(0, len(key.rows), 23)
    }
    for (number, _), i in wrong.items():
        angle = rng.uniform(0.0, 2.0 * np.pi)
        scene.keys[number].pixels[i] += np.float32(15.0) * np.array([np.cos(angle), np.sin(angle)], np.float32)
    done = adjusted(scene, HELD)
    given_up = {(int(number), int(row)) for number, row in done.job.entries[done.outliers]}
    assert len(given_up & set(wrong)) > 0.9 * len(wrong)
    assert len(given_up - set(wrong)) < 0.02 * len(done.job.entries)


def test_only_points_that_tell_something_take_part() -> None:
    scene = world()
    table, keys = scene.table, scene.keys
    candidate, gone, lonely, old = keys[0].rows[:4]
    table.kind[candidate], table.kind[gone] = CANDIDATE, FREE
    for number, key in enumerate(keys):
        kept = np.ones(len(key.rows), np.bool_)
        if number != 3:
            kept &= key.rows != lonely
        if not HELD[number]:
            kept &= key.rows != old
        key.keep(kept)
    job = gather(keys, HELD, table, scene.camera)
    assert job is not None
    # No candidate, none that was given up, none of one view, none that only held key frames see.
    assert not np.isin([candidate, gone, lonely, old], job.rows).any()
    assert np.isin(job.entries[:, 1], job.rows).all()
    assert len(job.entries) == len(job.problem.observations.pixels)
    observed = job.problem.observations
    assert np.array_equal(job.rows[observed.point], job.entries[:, 1])
    assert np.array_equal(np.array(job.keys)[observed.view], job.entries[:, 0])


def test_one_view_with_depth_holds_a_point() -> None:
    scene = world(depth=True)
    row = scene.keys[4].rows[0]
    for number, key in enumerate(scene.keys):
        if number != 4:
            key.keep(key.rows != row)
    job = gather(scene.keys, HELD, scene.table, scene.camera)
    assert job is not None
    assert row in job.rows


def test_where_nothing_can_move_there_is_no_job() -> None:
    scene = world()
    assert gather(scene.keys, [True] * COUNT, scene.table, scene.camera) is None
    scene.table.kind[:] = CANDIDATE
    assert gather(scene.keys, HELD, scene.table, scene.camera) is None


def test_the_map_stays_until_the_result_is_taken_over() -> None:
    scene = world()
    scene.disturb(held=2)
    before = scene.table.xyz.copy(), [key.cam_from_world.copy() for key in scene.keys]
    adjusted(scene, HELD)
    assert np.array_equal(scene.table.xyz, before[0])
    for key, pose in zip(scene.keys, before[1], strict=True):
        assert np.array_equal(key.cam_from_world, pose)
