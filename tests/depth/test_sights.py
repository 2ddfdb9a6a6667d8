"""Triangulation of sights and the test of poses, on simulated views."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cv3d.depth.posed import PosedView
from cv3d.depth.sources.pose_check import MatchedPair, PairFit, fitting_views, likely_cause, pair_fit
from cv3d.depth.sources.sights import Sights, reprojection_errors, triangulate
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.media.picture import Picture

CAMERA = Camera("brown4", 640, 480, (520.0, 520.0, 322.0, 236.0, -0.05, 0.01, 0.0, 0.0))
FISHEYE = Camera("kannala_brandt4", 640, 480, (260.0, 260.0, 318.0, 241.0, 0.01, -0.005, 0.0, 0.0))
NONE = np.zeros(0, np.intp)


def arc(count: int, camera: Camera = CAMERA) -> list[PosedView]:
    """Views on an arc of 60 degrees about a box, 5 from its middle."""
    views = []
    for i, angle in enumerate(np.radians(np.linspace(-30.0, 30.0, count)).tolist()):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("yx", [angle, 0.1 * math.sin(3.0 * angle)]).as_matrix()
        pose[:3, 3] = (0.1 * math.cos(5.0 * angle), 0.0, 5.0)
        views.append(PosedView(Picture(f"{i}.jpg", Path(f"{i}.jpg")), camera, pose, NONE))
    return views


def cloud(count: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(-1.0, 1.0, (count, 3)) * (1.4, 1.0, 1.2)


def seen(views: list[PosedView], points: np.ndarray, noise: float = 0.0) -> Sights:
    rng = np.random.default_rng(6)
    view = np.tile(np.arange(len(views)), len(points))
    point = np.repeat(np.arange(len(points)), len(views))
    pixels = np.stack(
        [v.camera.project(points @ v.cam_from_world[:3, :3].T + v.cam_from_world[:3, 3]) for v in views], 1
    )
    return Sights(view, point, pixels.reshape(-1, 2) + rng.normal(0.0, noise, (len(view), 2)))


def pairs_of(views: list[PosedView], sights: Sights) -> list[MatchedPair]:
    table = sights.pixels.reshape(-1, len(views), 2)
    indices = np.stack([np.arange(len(table))] * 2, axis=1)
    couples = itertools.combinations(range(len(views)), 2)
    return [MatchedPair(i, j, indices, (table[:, i], table[:, j])) for i, j in couples]


def wrong(view: PosedView, degrees: float) -> PosedView:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(np.radians([degrees, 0.5 * degrees, 0.0])).as_matrix()
    return replace(view, cam_from_world=turn @ view.cam_from_world)


@pytest.mark.parametrize("camera", [CAMERA, FISHEYE], ids=lambda one: one.model)
def test_exact_sights_give_exact_points(camera: Camera) -> None:
    views, points = arc(5, camera), cloud(200)
    sights = seen(views, points)
    found, agrees = triangulate(views, sights, np.full(len(sights), 1.0))
    assert agrees.all()
    np.testing.assert_allclose(found, points, atol=1e-8)
    assert reprojection_errors(views, found, sights).max() < 1e-6


def test_noise_is_averaged_and_wrong_sights_are_found() -> None:
    views, points = arc(6), cloud(400)
    sights = seen(views, points, noise=0.5)
    rng = np.random.default_rng(8)
    is_wrong = rng.random(len(sights)) < 0.1
    pixels = sights.pixels + np.where(is_wrong[:, None], rng.choice([-1.0, 1.0], (len(sights), 2)) * 40.0, 0.0)
    found, agrees = triangulate(views, replace(sights, pixels=pixels), np.full(len(sights), 3.0))
    assert not (agrees & is_wrong).any()
    assert agrees[~is_wrong].mean() > 0.97
    # Half a pixel at 5 units and 520 pixels is 0.005 across; depth is worse by about the inverse of the parallax.
    assert np.nanmedian(np.linalg.norm(found - points, axis=1)) < 0.006


def test_parallel_rays_and_single_sights_give_no_point() -> None:
    views, points = arc(2), cloud(50)
    near = [
        views[0],
        replace(views[0], cam_from_world=views[0].cam_from_world + 1e-3 * np.eye(4)[:, 3:] * np.eye(4)[3]),
    ]
    sights = seen(near, points)
    found, agrees = triangulate(near, sights, np.full(len(sights), 3.0))
    assert np.isnan(found).all()
    assert not agrees.any()
    alone = sights.where(sights.view == 0)
    found, agrees = triangulate(near, alone, np.full(len(alone), 3.0))
    assert np.isnan(found).all()
    found, agrees = triangulate(near, sights.where(sights.view == 7), np.zeros(0))
    assert found.shape == (0, 3)


def test_a_point_behind_the_camera_is_infinitely_off() -> None:
    views = arc(2)
    behind = (inverse_rigid(views[0].cam_from_world) @ (0.1, 0.1, -2.0, 1.0))[None, :3]
    sights = Sights(np.array([0]), np.array([0]), np.array([[300.0, 200.0]]))
    assert np.isinf(reprojection_errors(views, behind, sights)).all()


@pytest.mark.parametrize("camera", [CAMERA, FISHEYE], ids=lambda one: one.model)
@pytest.mark.parametrize("bad", [{2}, {0, 3, 7}, {1, 2, 5, 6}])
def test_views_with_wrong_poses_are_found(camera: Camera, bad: set[int]) -> None:
    views = arc(9, camera)
    pairs = pairs_of(views, seen(views, cloud(100), noise=0.5))
    given = [wrong(view, 2.0 + i) if i in bad else view for i, view in enumerate(views)]
    fits = [pair_fit(given, pair, np.ones(9)) for pair in pairs]
    fitting, tested = fitting_views(9, pairs, fits)
    assert tested.all()
    assert set(np.flatnonzero(~fitting).tolist()) == bad


def test_true_poses_fit_to_the_noise() -> None:
    views = arc(4)
    for pair in pairs_of(views, seen(views, cloud(300), noise=0.5)):
        fit = pair_fit(views, pair, np.ones(4))
        assert fit.fits
        # Distances to epipolar lines of noisy counterparts: about sqrt(2) of 0.5 px, the larger of two.
        assert 0.3 < fit.median < 0.9
        assert pair_fit(views, pair, np.full(4, 2.0)).median == pytest.approx(0.5 * fit.median)


def test_views_from_one_place_say_nothing() -> None:
    view = arc(1)[0]
    views = [view, wrong(view, 5.0)]
    (pair,) = pairs_of(views, seen(views, cloud(50)))
    fit = pair_fit(views, pair, np.ones(2))
    assert not fit.is_known
    fitting, tested = fitting_views(2, [pair], [fit])
    assert not fitting.any()
    assert not tested.any()


def test_two_views_that_contradict_each_other_do_not_fit() -> None:
    views = arc(2)
    pairs = pairs_of(views, seen(views, cloud(50)))
    fitting, tested = fitting_views(2, pairs, [PairFit(np.full(50, 9.0), True)])
    assert tested.all()
    assert not fitting.any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: replace(v, cam_from_world=inverse_rigid(v.cam_from_world)), "inverted"),
        (lambda v: replace(v, cam_from_world=np.diag([1.0, -1.0, -1.0, 1.0]) @ v.cam_from_world), "OpenGL"),
        (lambda v: replace(v, camera=Camera("pinhole", 640, 480, (260.0, 260.0, 160.75, 117.75))), "half the size"),
    ],
    ids=["inverted", "OpenGL", "half"],
)
def test_the_usual_mistakes_are_named(change: Callable[[PosedView], PosedView], words: str) -> None:
    views = arc(6, Camera("pinhole", 640, 480, (520.0, 520.0, 322.0, 236.0)))
    pairs = pairs_of(views, seen(views, cloud(100), noise=0.5))
    assert words in (likely_cause([change(view) for view in views], pairs, np.ones(6)) or "")


def test_poses_of_chance_have_no_likely_cause() -> None:
    views = arc(6)
    pairs = pairs_of(views, seen(views, cloud(100)))
    shuffled = [replace(view, cam_from_world=views[(i * 5 + 3) % 6].cam_from_world) for i, view in enumerate(views)]
    assert likely_cause([wrong(view, 30.0 * (i - 3)) for i, view in enumerate(shuffled)], pairs, np.ones(6)) is None
