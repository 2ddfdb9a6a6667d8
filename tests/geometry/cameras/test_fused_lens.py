"""Fused lenses for arrays say what the models say on tensors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.geometry.cameras import MODELS, Camera
from cv3d.geometry.cameras.fused_lens import TWINS, FusedLens, fused_lens
from cv3d.geometry.pixel_rays import pixel_rays

from .test_camera_models import EXTREME_SHAPES

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

WIDTH, HEIGHT = 640, 480
SHAPES = [
    *((name, shape) for name, shape in EXTREME_SHAPES if name in TWINS),
    ("brown4", (0.0,) * 4),
    ("brown8", (0.0,) * 8),
    ("brown5", (-0.4, 0.0, 2e-3, -3e-3, 0.0)),
    ("brown4", (0.2, 0.3, 0.02, -0.01)),
]
LENSES = [
    Camera(name, WIDTH, HEIGHT, (focal, 1.02 * focal, 321.7, 236.4, *shape))
    for (name, shape), focal in itertools.product(SHAPES, (150.0, 400.0))
]
NAMES = [f"{lens.model}-{number}" for number, lens in enumerate(LENSES)]


def twin_of(camera: Camera) -> FusedLens:
    twin = fused_lens(camera.model, camera.params)
    assert twin is not None
    return twin


def reference_rays(camera: Camera, pixels: Floats) -> tuple[Floats, Bools]:
    params = torch.tensor(camera.params, dtype=torch.float64)
    rays, valid = camera.lens.unproject_checked(params, torch.from_numpy(pixels))
    return rays.numpy(), valid.numpy()


def pixels_far_and_near() -> Floats:
    rng = np.random.default_rng(0)
    inside = rng.uniform(-0.2, 1.2, (1500, 2)) * [WIDTH, HEIGHT]
    # Beyond some 250 focal lengths rounding decides whether a lens with a pole meets a pixel, in the model as well.
    outside = rng.normal(0.0, 1.0, (500, 2)) * 10.0 ** rng.uniform(2.0, 4.0, (500, 1))
    return np.concatenate([inside, outside, [[321.7, 236.4], [321.7, 0.0], [321.7 + 1e-9, 236.4]]])


def test_every_twin_belongs_to_a_model() -> None:
    assert set(TWINS) <= set(MODELS)
    assert fused_lens("division", (300.0, 300.0, 320.0, 240.0, 0.1)) is None


@pytest.mark.parametrize("camera", LENSES, ids=NAMES)
def test_rays_are_those_of_the_model(camera: Camera) -> None:
    pixels = pixels_far_and_near()
    rays, valid = twin_of(camera).unproject_checked(pixels)
    expected, expected_valid = reference_rays(camera, pixels)
    np.testing.assert_array_equal(valid, expected_valid)
    assert valid[:1500].mean() > 0.02
    np.testing.assert_allclose(rays[valid], expected[valid], rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("camera", LENSES, ids=NAMES)
def test_pixels_are_those_of_the_model(camera: Camera) -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(0.0, 1.0, (1000, 3)) * 10.0 ** rng.uniform(-20.0, 20.0, (1000, 1))
    points = np.concatenate([points, np.eye(3), -np.eye(3)[:2], np.zeros((1, 3)), [[1e200, 1e199, 1e200]]])
    expected = camera.lens.project(torch.tensor(camera.params, dtype=torch.float64), torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(twin_of(camera).project(points), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("camera", LENSES, ids=NAMES)
def test_derivatives_of_rays_are_pseudo_inverses_of_those_of_pixels(camera: Camera) -> None:
    pixels = pixels_far_and_near()
    seen = pixel_rays(camera, pixels)
    params = torch.tensor(camera.params, dtype=torch.float64)
    _, by_point, _ = camera.lens.project_with_jacobians(params, torch.from_numpy(seen.rays[seen.valid]))
    expected = np.linalg.pinv(by_point.numpy())
    close = np.linalg.cond(by_point.numpy()) < 1e3
    assert close.mean() > 0.8
    found = seen.jacobians[seen.valid]
    np.testing.assert_allclose(found[close], expected[close], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("camera", LENSES, ids=NAMES)
def test_the_edge_of_the_domain_is_where_the_model_has_it(camera: Camera) -> None:
    """Along meridians, up to a millionth of the radius from the edge."""
    limit = _edge(camera)
    if limit is None:
        return
    turns = np.linspace(0.0, 2.0 * np.pi, 40)
    directions = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    radii = limit * np.array([1.0 - 1e-3, 1.0 - 1e-6, 1.0 + 1e-6, 1.0 + 1e-3, 1.1])
    m = (radii[:, None, None] * directions).reshape(-1, 2)
    pixels = m * np.array(camera.params[:2]) + np.array(camera.params[2:4])
    rays, valid = twin_of(camera).unproject_checked(pixels)
    expected, expected_valid = reference_rays(camera, pixels)
    np.testing.assert_array_equal(valid, expected_valid)
    np.testing.assert_allclose(rays[valid], expected[valid], rtol=0, atol=1e-9)


def _edge(camera: Camera) -> float | None:
    values = twin_of(camera).values
    return float(values[-1]) if len(values) and values[-1] < 100.0 else None


@pytest.mark.parametrize("camera", LENSES, ids=NAMES)
def test_what_is_not_a_number_gives_none(camera: Camera) -> None:
    pixels = np.array([[np.nan, 3.0], [3.0, np.nan], [np.inf, 0.0], [-np.inf, np.inf]])
    rays, valid = twin_of(camera).unproject_checked(pixels)
    expected, expected_valid = reference_rays(camera, pixels)
    assert not valid.any()
    assert not expected_valid.any()
    np.testing.assert_array_equal(np.isnan(rays), np.isnan(expected))
    points = np.array([[np.nan, 0.0, 1.0], [0.0, np.nan, 1.0]])
    assert np.isnan(twin_of(camera).project(points)).any(axis=1).all()
    seen = pixel_rays(camera, pixels)
    assert not seen.valid.any()
    assert np.isfinite(seen.rays).all()
    assert np.isfinite(seen.jacobians).all()


def test_arrays_of_any_shape() -> None:
    camera = LENSES[0]
    for lead in ((), (0,), (3, 5)):
        pixels = np.full((*lead, 2), 200.0)
        rays, valid = camera.unproject_checked(pixels)
        assert rays.shape == (*lead, 3)
        assert valid.shape == lead
        assert camera.project(rays).shape == (*lead, 2)
    strided = np.full((7, 4), 200.0)[:, ::2]
    np.testing.assert_array_equal(camera.unproject(strided), camera.unproject(strided.copy()))
