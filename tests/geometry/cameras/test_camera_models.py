"""Properties that every camera model shares: derivatives, inverses, domains, batching, precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import jacfwd

from cv3d.errors import UsageError
from cv3d.geometry.cameras import MODELS, get_model

WIDTH, HEIGHT = 640, 480

# Realistic lenses: focal length and shape, with the widest angle off the axis, in degrees, to test.
LENSES: dict[str, list[tuple[float, tuple[float, ...], float]]] = {
    "pinhole": [(520.0, (), 60.0)],
    "brown4": [(430.0, (-0.28, 0.07, 2e-4, -3e-4), 45.0), (900.0, (0.12, -0.3, -1e-3, 2e-3), 25.0)],
    "brown5": [(430.0, (-0.31, 0.12, 1e-3, -8e-4, -0.02), 45.0), (900.0, (0.1, -0.4, -1e-3, 1e-3, 0.9), 25.0)],
    "brown8": [(330.0, (0.9, 0.25, 2e-4, -3e-4, 0.01, 1.25, 0.45, 0.05), 60.0)],
    "brown12": [(330.0, (0.9, 0.25, 2e-4, -3e-4, 0.01, 1.25, 0.45, 0.05, 1e-3, -2e-4, -8e-4, 3e-4), 60.0)],
    "kannala_brandt4": [(190.0, (-0.013, 0.02, -0.012, 0.0022), 100.0), (285.0, (0.3, -0.1, 0.02, -1e-3), 80.0)],
    "ucm": [(260.0, (0.62,), 105.0), (520.0, (0.3,), 80.0), (600.0, (-0.05,), 50.0), (300.0, (0.0,), 55.0)],
    "omni": [
        (420.0, (1.3, -0.12, 0.02, 3e-4, -5e-4), 75.0),
        (560.0, (0.9, -0.2, 0.05, -5e-4, 1e-3), 75.0),
        (400.0, (1.3, 0.0, 0.0, 0.0, 0.0), 120.0),
        (300.0, (0.0, 0.0, 0.0, 0.0, 0.0), 55.0),
    ],
    "eucm": [(260.0, (0.6, 1.1), 100.0), (300.0, (0.45, 0.9), 90.0), (400.0, (0.0, 1.0), 50.0)],
    "double_sphere": [(160.0, (-0.2, 0.59), 105.0), (190.0, (0.25, 0.45), 90.0), (300.0, (0.0, 0.0), 55.0)],
    "division": [(300.0, (-0.25,), 100.0), (500.0, (0.08,), 50.0), (400.0, (1e-13,), 55.0), (400.0, (0.0,), 55.0)],
}
CASES = [(name, *lens) for name, lenses in LENSES.items() for lens in lenses]


def camera_params(focal: float, shape: tuple[float, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor([focal, 1.02 * focal, 321.7, 236.4, *shape], dtype=dtype)


def rays_within(max_angle_deg: float, count: int, seed: int = 0) -> Tensor:
    """Points at distances of 0.3 to 3, in directions up to the angle off the axis, (count, 3)."""
    generator = np.random.default_rng(seed)
    theta = np.radians(max_angle_deg) * np.sqrt(generator.uniform(size=count))
    phi = generator.uniform(0, 2 * np.pi, count)
    rays = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1)
    return torch.from_numpy(rays * generator.uniform(0.3, 3.0, (count, 1)))


def image_grid(step: int = 16) -> Tensor:
    y, x = np.mgrid[0:HEIGHT:step, 0:WIDTH:step]
    return torch.from_numpy(np.stack([x.ravel(), y.ravel()], -1).astype(np.float64))


def test_registry_builds_every_model() -> None:
    assert set(LENSES) == set(MODELS)
    for name, model in MODELS.items():
        assert get_model(name) is model
        assert model.name == name
        assert model.param_names[:4] == ("fx", "fy", "cx", "cy")
        assert model.param_names[4:] == model.shape_names
        assert len(model.shape_names) == len(model.neutral_shape) == len(model.shape_bounds) == model.param_count - 4
        for value, (low, high) in zip(model.neutral_shape, model.shape_bounds, strict=True):
            assert low < value < high


def test_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"brown5.*division"):
        get_model("fisheye624")


@pytest.mark.parametrize("name", MODELS)
def test_neutral_shape_is_a_pinhole_near_the_axis(name: str) -> None:
    model = MODELS[name]
    points = rays_within(0.5, 50)
    neutral = model.project(camera_params(400.0, model.neutral_shape), points)
    torch.testing.assert_close(neutral, MODELS["pinhole"].project(camera_params(400.0, ()), points), atol=1e-4, rtol=0)


# Forward-mode differentiation makes torch itself use what it has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
@pytest.mark.parametrize(("name", "focal", "shape", "max_angle_deg"), CASES)
def test_jacobians_match_automatic_differentiation(
    name: str, focal: float, shape: tuple[float, ...], max_angle_deg: float
) -> None:
    model, params = MODELS[name], camera_params(focal, shape)
    near_axis = torch.tensor([[0.0, 0.0, 1.5], [1e-9, -2e-9, 1.0], [3e-7, 0.0, 0.4], [0.0, 1e-5, 2.0]]).double()
    points = torch.cat([near_axis, rays_within(max_angle_deg, 60)])
    assert bool(model.valid_points(params, points).all())
    pixels, by_points, by_params = model.project_with_jacobians(params, points)
    # A pixel depends on its own point alone: moving all points alike differentiates each by its own.
    expected_by_points = jacfwd(lambda step: model.project(params, points + step))(torch.zeros(3, dtype=points.dtype))
    expected_by_params = jacfwd(lambda p: model.project(p, points))(params)
    torch.testing.assert_close(pixels, model.project(params, points), atol=1e-11, rtol=1e-12)
    torch.testing.assert_close(by_points, expected_by_points, atol=1e-8, rtol=1e-10)
    torch.testing.assert_close(by_params, expected_by_params, atol=1e-8, rtol=1e-10)


@pytest.mark.parametrize(("name", "focal", "shape", "max_angle_deg"), CASES)
def test_unproject_inverts_project(name: str, focal: float, shape: tuple[float, ...], max_angle_deg: float) -> None:
    model, params = MODELS[name], camera_params(focal, shape)
    points = rays_within(max_angle_deg, 500)
    pixels = model.project(params, points)
    rays = model.unproject(params, pixels)
    assert bool(model.valid_pixels(params, pixels).all())
    torch.testing.assert_close(rays, points / torch.linalg.vector_norm(points, dim=-1, keepdim=True), atol=1e-9, rtol=0)


@pytest.mark.parametrize(("name", "focal", "shape", "max_angle_deg"), CASES)
def test_project_inverts_unproject_over_the_image(
    name: str, focal: float, shape: tuple[float, ...], max_angle_deg: float
) -> None:
    model, params = MODELS[name], camera_params(focal, shape)
    pixels = image_grid()
    rays = model.unproject(params, pixels)
    valid = model.valid_pixels(params, pixels)
    assert float(valid.double().mean()) > 0.6
    assert bool(model.valid_points(params, rays)[valid].all())
    torch.testing.assert_close(torch.linalg.vector_norm(rays, dim=-1), torch.ones(len(rays)).double())
    torch.testing.assert_close(model.project(params, rays)[valid], pixels[valid], atol=1e-9 * focal, rtol=0)


EXTREME_SHAPES = [
    *((name, shape) for name, _, shape, _ in CASES),
    ("brown5", (-0.6, 0.1, 0.0, 0.0, 0.0)),
    ("brown8", (0.1, 0.0, 0.0, 0.0, 0.0, -0.7, 0.0, 0.0)),
    ("kannala_brandt4", (-0.2, 0.01, 0.0, 0.0)),
    ("kannala_brandt4", (0.0, 0.0, 0.0, 0.0)),
    ("ucm", (0.95,)),
    ("ucm", (0.5,)),
    ("eucm", (0.9, 3.0)),
    ("double_sphere", (0.6, 0.1)),
    ("double_sphere", (-0.6, 0.1)),
    ("double_sphere", (0.7, 0.8)),
    ("double_sphere", (-0.7, 0.8)),
    ("omni", (2.5, 0.0, 0.0, 0.0, 0.0)),
    ("omni", (0.5, 0.0, 0.0, 0.0, 0.0)),
    ("division", (1.0,)),
    ("division", (-3.0,)),
]


@pytest.mark.parametrize(("name", "shape"), EXTREME_SHAPES)
def test_domain_is_where_the_radius_grows(name: str, shape: tuple[float, ...]) -> None:
    """Along a meridian: valid up to one angle; the radius grows up to there, and not beyond where it is bounded."""
    model = MODELS[name]
    radial_only = tuple(0.0 if n[0] in "ps" else v for n, v in zip(model.shape_names, shape, strict=True))
    params = torch.tensor([1.0, 1.0, 0.0, 0.0, *radial_only], dtype=torch.float64)
    theta = torch.linspace(1e-3, math.pi - 1e-3, 4001, dtype=torch.float64)
    points = 1.7 * torch.stack([0.6 * theta.sin(), 0.8 * theta.sin(), theta.cos()], -1)
    radius = torch.linalg.vector_norm(model.project(params, points), dim=-1)
    valid = model.valid_points(params, points)
    count = int(valid.sum())
    assert count > 500
    assert bool(valid[:count].all())
    assert bool((radius[1:count] > radius[: count - 1]).all())
    unbounded = radius[count - 1] > 300.0 or (name.startswith("brown") and theta[count] > math.radians(89.9))
    if count < len(theta) - 1 and not unbounded and name != "division":
        assert radius[count + 1] <= radius[count - 1] * (1 + 1e-6)
        beyond = 1.001 * radius[count - 1] * torch.tensor([[0.6, 0.8]], dtype=torch.float64)
        assert not bool(model.valid_pixels(params, beyond).any())
        edge = model.unproject(params, beyond)[0] @ points[count - 1] / 1.7
        assert edge > math.cos(0.1)


def test_strong_barrel_is_invalid_beyond_its_turning_point() -> None:
    model, k1 = MODELS["brown5"], -0.4
    params = torch.tensor([500.0, 500.0, 320.0, 240.0, k1, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    turning = math.sqrt(-1.0 / (3.0 * k1))
    points = torch.tensor([[turning * (1 - 1e-6), 0.0, 1.0], [0.0, turning * (1 + 1e-6), 1.0]], dtype=torch.float64)
    assert model.valid_points(params, points).tolist() == [True, False]


def adversarial_points(dtype: torch.dtype) -> Tensor:
    small = [[0, 0, 0], [0, 0, -1], [0, 0, 1], [1, 0, 0], [0, -1, 0], [1, 1, -1], [1e-30, 0, -1], [1e-30, 1e-30, 1e-30]]
    large = [[1e30, 1e30, 1e30], [-1e30, 0, 1], [0, 0, 1e30], [1, 1, -1e30], [1e-9, 0, -1e9], [1e15, 0, 1e-15]]
    return torch.tensor(small + large, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "shape"), EXTREME_SHAPES)
def test_never_nan(name: str, shape: tuple[float, ...], dtype: torch.dtype) -> None:
    model, params = MODELS[name], camera_params(300.0, shape, dtype)
    points = adversarial_points(dtype)
    for result in (model.project(params, points), *model.project_with_jacobians(params, points)):
        assert result.dtype == dtype
        assert bool(result.isfinite().all())
    valid = model.valid_points(params, points)
    assert valid.dtype == torch.bool
    assert not bool(valid[0])
    assert bool(valid[2])
    pixels = torch.tensor([[321.7, 236.4], [0, 0], [1e4, -1e4], [-1e9, 1e9], [1e15, 0.0]], dtype=dtype)
    rays = model.unproject(params, pixels)
    assert rays.dtype == dtype
    torch.testing.assert_close(torch.linalg.vector_norm(rays, dim=-1), torch.ones(len(rays), dtype=dtype))
    assert bool(model.valid_pixels(params, pixels)[0])


@pytest.mark.parametrize(("name", "focal", "shape", "max_angle_deg"), CASES)
def test_float32_agrees_with_float64(name: str, focal: float, shape: tuple[float, ...], max_angle_deg: float) -> None:
    model = MODELS[name]
    points = rays_within(max_angle_deg, 300)
    exact = model.project(camera_params(focal, shape), points)
    params = camera_params(focal, shape, torch.float32)
    single = model.project(params, points.float())
    assert float((single.double() - exact).abs().max()) < 5e-3
    cosine = (model.unproject(params, single).double() * points).sum(-1) / torch.linalg.vector_norm(points, dim=-1)
    assert float(cosine.min()) > math.cos(1e-3)
    assert bool(model.valid_pixels(params, single).all())


@pytest.mark.parametrize("name", MODELS)
def test_batching_equals_looping(name: str) -> None:
    """(B, V) cameras and points that broadcast against each other give what one camera and one view give."""
    model = MODELS[name]
    focal, shape, angle = LENSES[name][0]
    cameras = torch.stack([camera_params(focal * s, tuple(v * s for v in shape)) for s in (1.0, 0.98)])[:, None]
    views = torch.stack([rays_within(0.9 * angle, 7, seed) for seed in range(3)])
    pixels, by_points, by_params = model.project_with_jacobians(cameras, views)
    valid_points = model.valid_points(cameras, views)
    rays, valid_pixels = model.unproject(cameras, pixels), model.valid_pixels(cameras, pixels)
    assert pixels.shape == (2, 3, 7, 2)
    assert by_points.shape == (2, 3, 7, 2, 3)
    assert by_params.shape == (2, 3, 7, 2, model.param_count)
    assert valid_points.shape == valid_pixels.shape == (2, 3, 7)
    assert rays.shape == (2, 3, 7, 3)
    for b in range(2):
        for v in range(3):
            one = model.project_with_jacobians(cameras[b, 0], views[v])
            for batched, single in zip((pixels, by_points, by_params), one, strict=True):
                torch.testing.assert_close(batched[b, v], single, atol=1e-12, rtol=1e-13)
            torch.testing.assert_close(rays[b, v], model.unproject(cameras[b, 0], one[0]), atol=1e-12, rtol=0)
            assert bool((valid_points[b, v] == model.valid_points(cameras[b, 0], views[v])).all())
            assert bool((valid_pixels[b, v] == model.valid_pixels(cameras[b, 0], one[0])).all())
    one_set = model.project(cameras, views[:1])
    torch.testing.assert_close(one_set[:, 0], pixels[:, 0], atol=1e-12, rtol=1e-13)


@pytest.mark.parametrize("name", MODELS)
def test_projection_ignores_the_length_of_the_ray(name: str) -> None:
    model = MODELS[name]
    focal, shape, angle = LENSES[name][0]
    params, points = camera_params(focal, shape), rays_within(angle, 50)
    pixels, by_points, _ = model.project_with_jacobians(params, points)
    torch.testing.assert_close(model.project(params, 37.0 * points), pixels, atol=1e-10, rtol=0)
    along_ray = (by_points @ points[..., None]).squeeze(-1)
    torch.testing.assert_close(along_ray, torch.zeros_like(pixels), atol=1e-9, rtol=0)


def test_pixels_called_valid_round_trip_for_any_brown_lens() -> None:
    """Lenses drawn at random, most with folds or poles: what is called valid is right, and much is valid."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([0.4, 0.3, 0.01, 0.01, 0.1, 0.4, 0.3, 0.1, 0.01, 0.01, 0.01, 0.01]).double()
    shapes = spread * torch.randn(100, 12, generator=generator, dtype=torch.float64)
    params = torch.cat([torch.tensor([400.0, 400.0, 320.0, 240.0]).double().expand(100, 4), shapes], -1)
    model, pixels = MODELS["brown12"], image_grid(32)
    valid = model.valid_pixels(params, pixels)
    errors = torch.linalg.vector_norm(model.project(params, model.unproject(params, pixels)) - pixels, dim=-1)
    assert float(valid.double().mean()) > 0.7
    assert float(errors[valid].max()) < 1e-9
