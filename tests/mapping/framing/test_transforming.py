from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cv3d.geometry.transforms import SE3, Sim3
from cv3d.mapping.framing import camera_centres, transformed

from .towns import circle, model_of

TANGENT = torch.tensor([0.3, -2.0, 1.0, 0.4, 1.1, -0.6, np.log(2.5)], dtype=torch.float64)


def test_pictures_see_the_same() -> None:
    model = model_of(circle(6))
    moved = transformed(model, Sim3.exp(TANGENT))
    assert moved.mean_reprojection_px < 1e-9
    new = Sim3.exp(TANGENT).apply(torch.from_numpy(camera_centres(model))).numpy()
    assert np.allclose(camera_centres(moved), new)
    for image in moved.images:
        assert np.allclose(image.cam_from_world[:3, :3] @ image.cam_from_world[:3, :3].T, np.eye(3))


def test_there_and_back() -> None:
    model = model_of(circle(6), covariance=True)
    back = transformed(transformed(model, Sim3.exp(TANGENT)), Sim3.exp(TANGENT).inverse())
    assert np.allclose(back.points, model.points)
    for a, b in zip(back.images, model.images, strict=True):
        assert np.allclose(a.cam_from_world, b.cam_from_world)
        assert np.allclose(a.covariance, b.covariance)


def test_covariances_are_those_of_moved_samples() -> None:
    model = model_of(circle(3), covariance=True)
    moved = transformed(model, Sim3.exp(TANGENT))
    image = model.images[1]
    rng = np.random.default_rng(0)
    steps = rng.multivariate_normal(np.zeros(6), image.covariance, 500)
    shaken = SE3.exp(torch.from_numpy(steps)).as_matrix().numpy() @ image.cam_from_world
    poses = [
        transformed(replace(model, images=(replace(image, cam_from_world=pose),)), Sim3.exp(TANGENT)).images[0]
        for pose in shaken
    ]
    there = moved.images[1]
    relative = np.stack([pose.cam_from_world for pose in poses]) @ np.linalg.inv(there.cam_from_world)
    sampled = np.cov(SE3.from_matrix(torch.from_numpy(relative)).log().numpy().T)
    assert np.diag(sampled) == pytest.approx(np.diag(there.covariance), rel=0.3)


def test_a_camera_that_only_turned_stays_where_it_is() -> None:
    poses = circle(4)
    for pose in poses:
        pose[:3, 3] = 0.0
    model = replace(model_of(poses, points=np.zeros((0, 3))), is_oriented_only=True)
    moved = transformed(model, Sim3.exp(TANGENT))
    assert not camera_centres(moved).any()
    turn = Sim3.exp(TANGENT).rotation().as_matrix().numpy()
    assert np.allclose(moved.images[2].cam_from_world[:3, :3] @ turn, poses[2][:3, :3])
