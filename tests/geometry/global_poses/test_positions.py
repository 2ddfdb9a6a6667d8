"""Positions of cameras from rays: paths of every shape, noise, wrong rays, parts, and real cameras."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cv3d.errors import InputError
from cv3d.formats.posed_pictures import read_posed_pictures
from cv3d.geometry.absolute_orientation import absolute_orientation
from cv3d.geometry.global_poses import GlobalPositions, PositioningOptions, position_globally

AHEAD = np.array([0.0, 0.0, 1.0])
Rays = tuple[np.ndarray, np.ndarray, np.ndarray]


def path(make: SimpleNamespace, kind: str, count: int, points: int, seed: int = 0) -> SimpleNamespace:
    """Cameras along a ring, a line they look across, a corridor they look along, or a wall."""
    rng = np.random.default_rng(seed)
    even = np.linspace(0.0, 1.0, count)
    if kind == "ring":
        return make.around(count, seed, arc=6.2)
    if kind == "line":
        centres = np.outer(even, [20.0, 0.0, 0.0])
        targets = centres + AHEAD
        seen = rng.uniform([-3.0, -2.0, 4.0], [23.0, 2.0, 10.0], (points, 3))
    elif kind == "corridor":
        centres = np.outer(even, [0.0, 0.0, 30.0]) + 0.02 * rng.normal(size=(count, 3))
        targets = centres + AHEAD
        turn = rng.uniform(0.0, 2.0 * np.pi, points)
        seen = np.stack([2.0 * np.cos(turn), 1.5 * np.sin(turn), rng.uniform(1.0, 42.0, points)], axis=1)
    else:
        side = round(count**0.5)
        centres = np.stack([*np.divmod(np.arange(side * side), side), np.zeros(side * side)], axis=1) * 2.0
        targets = centres + AHEAD + 0.1 * rng.normal(size=centres.shape)
        seen = rng.uniform([-3.0, -3.0, 8.0], [2.0 * side + 3.0, 2.0 * side + 3.0, 11.0], (points, 3))
    return make.Scene(make.look_at(centres, targets), centres, seen)


def observed(scene: SimpleNamespace, noise: float, wrong: float = 0.0, far: float = 15.0, seed: int = 0) -> Rays:
    """Unit rays with their cameras and tracks; of each camera those within 40 degrees of its axis."""
    rng = np.random.default_rng(seed)
    rays = scene.rays()
    distance = np.linalg.norm(scene.points - scene.centres[:, None], axis=2)
    sees = (rays[..., 2] > 0.77) & (distance < far) & (rng.uniform(size=distance.shape) < 0.7)
    image, track = np.nonzero(sees)
    seen = rays[image, track] + noise * rng.normal(size=(len(image), 3))
    bad = rng.uniform(size=len(image)) < wrong
    seen[bad] = rng.normal(size=(int(bad.sum()), 3)) * [0.5, 0.5, 0.0] + [0.0, 0.0, 1.0]
    return seen / np.linalg.norm(seen, axis=1, keepdims=True), image, track


def off(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distances of centres from the truth after a similarity, as shares of the extent."""
    onto = absolute_orientation(found, truth, np.ones(len(found))).as_matrix()
    extent = np.sqrt(((truth - truth.mean(axis=0)) ** 2).sum(axis=1).mean())
    return np.linalg.norm(found @ onto[:3, :3].T + onto[:3, 3] - truth, axis=1) / extent


KINDS = ["ring", "line", "corridor", "wall"]


@pytest.mark.parametrize("kind", KINDS)
def test_exact_rays_give_exact_positions(make: SimpleNamespace, kind: str) -> None:
    scene = path(make, kind, 16, 400)
    found = position_globally(scene.rotations, *observed(scene, 0.0))
    assert off(found.centres, scene.centres).max() < 1e-3
    assert np.nanmax(found.angles) < 1e-3
    assert found.converged
    assert (found.component == 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [pytest.param(0.0, marks=pytest.mark.slow), 0.2])
def test_noise_and_wrong_rays(make: SimpleNamespace, kind: str, wrong: float) -> None:
    """Rays off by a thousandth, rotations by a tenth of a degree."""
    scene = path(make, kind, 36, 1500)
    turns = Rotation.from_rotvec(np.radians(0.1) * np.random.default_rng(1).normal(size=(36, 3))).as_matrix()
    found = position_globally(turns @ scene.rotations, *observed(scene, 1e-3, wrong))
    assert np.median(off(found.centres, scene.centres)) < 0.02
    assert off(found.centres, scene.centres).max() < 0.05
    assert found.inliers[np.isfinite(found.angles)].mean() == pytest.approx(1.0 - wrong, abs=0.06)


def test_the_frame_is_that_of_the_first_camera_with_unit_scale(make: SimpleNamespace) -> None:
    scene = path(make, "ring", 12, 300)
    found = position_globally(scene.rotations, *observed(scene, 1e-3))
    np.testing.assert_array_equal(found.centres[0], 0.0)
    middle = found.centres.mean(axis=0)
    assert np.linalg.norm(found.centres - middle, axis=1).mean() == pytest.approx(1.0)
    # The world's axes are those of the rotations: a similarity without a turn is enough.
    spread = np.linalg.norm(scene.centres - scene.centres.mean(axis=0), axis=1).mean()
    np.testing.assert_allclose(found.centres, (scene.centres - scene.centres[0]) / spread, atol=0.02)


@pytest.mark.parametrize("kind", ["ring", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("line", "wall"))])
def test_random_starts_end_at_the_same_place(make: SimpleNamespace, kind: str) -> None:
    scene = path(make, kind, 16, 400)
    seen = observed(scene, 1e-3)
    plain = position_globally(scene.rotations, *seen)
    options = PositioningOptions(random_starts=3, seed=5)
    first, again = (position_globally(scene.rotations, *seen, options) for _ in range(2))
    np.testing.assert_array_equal(first.centres, again.centres)
    assert first.seed == 5
    assert off(first.centres, plain.centres).max() < 0.01


@pytest.mark.parametrize("count", [2, 3])
def test_two_and_three_cameras(make: SimpleNamespace, count: int) -> None:
    scene = make.around(count, 3, arc=1.0)
    found = position_globally(scene.rotations, *observed(scene, 1e-4))
    ahead, truth = found.centres[1] - found.centres[0], scene.centres[1] - scene.centres[0]
    cosine = ahead @ truth / np.linalg.norm(ahead) / np.linalg.norm(truth)
    assert cosine > np.cos(np.radians(0.2))
    if count == 3:
        assert off(found.centres, scene.centres).max() < 0.005


def test_parts_are_placed_apart_and_loose_cameras_left_out(make: SimpleNamespace) -> None:
    small, large = make.around(4, 1), make.around(6, 2)
    rays, image, track = (list(each) for each in zip(observed(small, 0.0), observed(large, 0.0), strict=True))
    rotations = np.concatenate([small.rotations, large.rotations, np.tile(np.eye(3), (2, 1, 1))])
    rotations[-1] = np.nan
    ahead = np.tile([0.0, 0.0, 1.0], (6, 1))
    # One camera sees what no other does, another has no rotation.
    images = np.concatenate([image[0], image[1] + 4, [10, 10, 10, 11, 11, 11]])
    tracks = np.concatenate([track[0], track[1] + 300, [600, 601, 602, 0, 1, 2]])
    found: GlobalPositions = position_globally(rotations, np.concatenate([*rays, ahead]), images, tracks)
    np.testing.assert_array_equal(found.component, [1] * 4 + [0] * 6 + [-1] * 2)
    assert off(found.centres[:4], small.centres).max() < 1e-3
    assert off(found.centres[4:10], large.centres).max() < 1e-3
    assert np.isnan(found.centres[10:]).all()
    assert np.isnan(found.angles[-6:]).all()
    assert not found.inliers[-6:].any()
    assert np.isnan(found.points[600:]).all()


def test_order_of_observations_is_of_no_consequence(make: SimpleNamespace) -> None:
    scene = path(make, "ring", 8, 200)
    rays, image, track = observed(scene, 1e-3)
    order = np.random.default_rng(0).permutation(len(rays))
    found = position_globally(scene.rotations, rays, image, track)
    other = position_globally(scene.rotations, rays[order], image[order], track[order])
    np.testing.assert_allclose(other.centres, found.centres, atol=1e-5)
    np.testing.assert_allclose(other.angles, found.angles[order], atol=1e-5)


def test_nothing_to_place() -> None:
    none = np.zeros(0, dtype=np.int64)
    found = position_globally(np.tile(np.eye(3), (2, 1, 1)), np.zeros((0, 3)), none, none)
    assert np.isnan(found.centres).all()
    assert (found.component == -1).all()


def test_bad_arrays_are_named(make: SimpleNamespace) -> None:
    scene = path(make, "ring", 4, 50)
    rays, image, track = observed(scene, 0.0)
    with pytest.raises(InputError, match="beyond the 3"):
        position_globally(scene.rotations[:3], rays, image, track)
    with pytest.raises(InputError, match="do not match"):
        position_globally(scene.rotations, rays[1:], image, track)
    rays[2] *= 1.1
    with pytest.raises(InputError, match="observation 2 is not of length one"):
        position_globally(scene.rotations, rays, image, track)


@pytest.mark.parametrize("name", ["fox", "fountain-P11"])
def test_cameras_of_real_sets(data_root: Path, name: str, make: SimpleNamespace) -> None:
    """Real poses around points made for them, with a tenth of the rays wrong."""
    posed = read_posed_pictures(data_root / "views" / name).pictures
    poses = np.stack([one.cam_from_world for one in posed])
    rotations = poses[:, :3, :3]
    centres = -np.einsum("nji,nj->ni", rotations, poses[:, :3, 3])
    extent = np.linalg.norm(centres - centres.mean(axis=0), axis=1).mean()
    middle = (centres + 2.0 * extent * rotations[:, 2]).mean(axis=0)
    points = middle + 0.7 * extent * np.random.default_rng(0).normal(size=(1500, 3))
    scene = make.Scene(rotations, centres, points)
    turns = Rotation.from_rotvec(np.radians(0.1) * np.random.default_rng(1).normal(size=(len(posed), 3))).as_matrix()
    found = position_globally(turns @ rotations, *observed(scene, 5e-4, 0.1, far=np.inf))
    assert (found.component == 0).all()
    assert off(found.centres, centres).max() < 0.02
