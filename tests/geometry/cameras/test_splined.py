"""The splined stereographic model: mrcal's definition, derivatives, inverse, domain, prior."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from torch import Tensor
from torch.func import jacfwd

from cv3d.errors import InputError, UsageError
from cv3d.geometry.cameras import MODELS, Camera, get_model
from cv3d.geometry.cameras.fit import fit_model, starting_params
from cv3d.geometry.cameras.splined import SplinedStereographic

CUBIC = SplinedStereographic.configured(3, 14, 10, 120)
QUADRATIC = SplinedStereographic.configured(2, 9, 11, 150)
NARROW = SplinedStereographic.configured(3, 8, 7, 9)
BOTH = pytest.mark.parametrize("model", [CUBIC, QUADRATIC, NARROW], ids=lambda model: model.name)


def wavy(model: SplinedStereographic, size: float = 0.25, seed: int = 0) -> Tensor:
    """A camera whose surface wanders by `size` knot intervals from one control point to the next, (P,)."""
    generator = torch.Generator().manual_seed(seed)
    shape = size * model.spacing * torch.randn(len(model.shape_names), generator=generator, dtype=torch.float64)
    return torch.cat([torch.tensor([400.0, 405.0, 321.7, 236.4], dtype=torch.float64), shape])


def points_at(u: Tensor) -> Tensor:
    """Points of lengths 0.5 to 3 whose stereographic projection is `u` (..., 2)."""
    rays = torch.cat([u, 1.0 - 0.25 * (u * u).sum(-1, keepdim=True)], -1)
    lengths = 0.5 + 2.5 * torch.rand(u.shape[:-1], generator=torch.Generator().manual_seed(1), dtype=u.dtype)
    return rays / torch.linalg.vector_norm(rays, dim=-1, keepdim=True) * lengths[..., None]


def inner_u(model: SplinedStereographic, count: int, share: float = 1.0) -> Tensor:
    """Places all over the region of the spline, (count, 2)."""
    half = torch.tensor(model.half_extent, dtype=torch.float64) * share
    return (2.0 * torch.rand(count, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 1.0) * half


def test_a_name_carries_the_configuration() -> None:
    model = get_model("splined_stereographic_o3_30x20_fov150")
    assert isinstance(model, SplinedStereographic)
    assert (model.order, model.nx, model.ny, model.fov_x_deg) == (3, 30, 20, 150)
    assert get_model(model.name) is model is SplinedStereographic.configured(3, 30, 20, 150)
    assert model.param_count == 4 + 2 * 30 * 20
    assert model.param_names[:8] == ("fx", "fy", "cx", "cy", "x_0_0", "y_0_0", "x_0_1", "y_0_1")
    assert model.param_names[4 + 2 * 30] == "x_1_0"
    assert model.param_names[-1] == "y_19_29"
    assert not any(name.startswith("splined") for name in MODELS)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("splined_stereographic_o4_8x8_fov90", "unknown camera model"),
        ("splined_stereographic_o3_8_fov90", "unknown camera model"),
        ("splined_stereographic_o3_3x8_fov90", "4 to 200 control points"),
        ("splined_stereographic_o2_8x2_fov90", "3 to 200 control points"),
        ("splined_stereographic_o3_999x999_fov90", "control points"),
        ("splined_stereographic_o3_8x8_fov0", "1 to 359 degrees"),
        ("splined_stereographic_o3_8x8_fov360", "1 to 359 degrees"),
    ],
)
def test_a_senseless_configuration_is_refused(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        get_model(name)
    with pytest.raises(UsageError, match="order 2 or 3"):
        SplinedStereographic.configured(4, 8, 8, 90)


def test_knots_are_where_mrcal_puts_them() -> None:
    # The example of mrcal's documentation of knots_for_splined_models.
    model = SplinedStereographic.configured(2, 4, 3, 200)
    x = (np.arange(4) - 1.5) * model.spacing
    y = (np.arange(3) - 1.0) * model.spacing
    np.testing.assert_allclose(x, [-3.57526078, -1.19175359, 1.19175359, 3.57526078], atol=1e-8)
    np.testing.assert_allclose(y, [-2.38350719, 0.0, 2.38350719], atol=1e-8)


@BOTH
def test_the_surface_is_a_uniform_b_spline_over_the_knots(model: SplinedStereographic) -> None:
    """Against a sum over all control points of the cardinal B-spline centred at each, by another library."""
    params, u = wavy(model), inner_u(model, 300).numpy()
    bump = BSpline.basis_element(np.arange(model.order + 2) - 0.5 * (model.order + 1), extrapolate=False)
    across = [(np.arange(n) - 0.5 * (n - 1)) * model.spacing for n in (model.nx, model.ny)]
    x, y = (np.nan_to_num(bump((u[:, k, None] - across[k]) / model.spacing)) for k in (0, 1))
    values = params[4:].numpy().reshape(model.ny, model.nx, 2)
    warped = u + np.einsum("nj,ni,jik->nk", y, x, values)
    expected = warped * params[:2].numpy() + params[2:4].numpy()
    np.testing.assert_allclose(model.project(params, points_at(torch.from_numpy(u))).numpy(), expected, atol=1e-10)


def test_without_a_surface_it_is_the_stereographic_projection() -> None:
    params = starting_params(CUBIC, torch.tensor([300.0, 310.0]).double(), torch.tensor([320.0, 240.0]).double())
    theta = torch.linspace(0.0, 0.99 * math.pi, 50, dtype=torch.float64)
    rays = torch.stack([0.6 * theta.sin(), 0.8 * theta.sin(), theta.cos()], -1)
    radius = 2.0 * torch.tan(0.5 * theta)
    expected = torch.stack([300.0 * 0.6 * radius + 320.0, 310.0 * 0.8 * radius + 240.0], -1)
    torch.testing.assert_close(CUBIC.project(params, rays), expected, rtol=1e-12, atol=1e-9)


# Forward-mode differentiation makes torch itself use what it has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
@BOTH
def test_jacobians_match_automatic_differentiation(model: SplinedStereographic) -> None:
    params = wavy(model)
    near_axis = torch.tensor([[0.0, 0.0, 1.5], [1e-9, -2e-9, 1.0], [0.0, 1e-5, 2.0]], dtype=torch.float64)
    points = torch.cat([near_axis, points_at(inner_u(model, 60, share=1.4))])
    pixels, by_points, by_params = model.project_with_jacobians(params, points)
    # A pixel depends on its own point alone: moving all points alike differentiates each by its own.
    expected_by_points = jacfwd(lambda step: model.project(params, points + step))(torch.zeros(3, dtype=points.dtype))
    expected_by_params = jacfwd(lambda p: model.project(p, points))(params)
    torch.testing.assert_close(pixels, model.project(params, points), atol=1e-11, rtol=1e-12)
    torch.testing.assert_close(by_points, expected_by_points, atol=1e-8, rtol=1e-10)
    torch.testing.assert_close(by_params, expected_by_params, atol=1e-8, rtol=1e-10)


@BOTH
def test_the_local_projection_is_the_whole_one(model: SplinedStereographic) -> None:
    params, points = wavy(model), points_at(inner_u(model, 100))
    pixels, by_points, by_params = model.project_with_jacobians(params, points)
    local = model.project_locally(params, points)
    assert local.basis.shape[-1] == (model.order + 1) ** 2
    torch.testing.assert_close(local.pixels, pixels)
    torch.testing.assert_close(local.by_points, by_points)
    assert bool((local.basis >= 0.0).all())
    torch.testing.assert_close(local.basis.sum(-1), torch.ones(100, dtype=torch.float64))
    scattered = torch.zeros_like(by_params[..., 4:])
    for axis in range(2):
        scattered[:, axis].scatter_(-1, 2 * local.controls + axis, params[axis] * local.basis)
    torch.testing.assert_close(scattered, by_params[..., 4:])


@BOTH
def test_unproject_inverts_project(model: SplinedStereographic) -> None:
    params, points = wavy(model), points_at(inner_u(model, 600))
    pixels, inside = model.project(params, points), model.valid_points(params, points)
    assert float(inside.double().mean()) > 0.9
    rays = model.unproject(params, pixels)
    unit = points / torch.linalg.vector_norm(points, dim=-1, keepdim=True)
    torch.testing.assert_close(rays[inside], unit[inside], atol=1e-9, rtol=0)
    assert bool(model.valid_pixels(params, pixels)[inside].all())


@BOTH
def test_project_inverts_unproject(model: SplinedStereographic) -> None:
    params = wavy(model)
    u = inner_u(model, 500)
    pixels = 1.2 * u * params[:2] + params[2:4]
    valid, rays = model.valid_pixels(params, pixels), model.unproject(params, pixels)
    assert 0.5 < float(valid.double().mean()) < 1.0
    assert bool(torch.isfinite(rays).all())
    assert bool(model.valid_points(params, rays)[valid].all())
    torch.testing.assert_close(model.project(params, rays)[valid], pixels[valid], atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", ["brown5", "kannala_brandt4"])
def test_a_strongly_curved_surface_is_inverted_too(name: str) -> None:
    """A perspective lens, far from stereographic at 60 degrees, and a fisheye beyond 90."""
    params = {
        "brown5": [300.0, 302.0, 320.0, 240.0, 0.02, 0.0, 1e-3, -1e-3, 0.0],
        "kannala_brandt4": [190.0, 190.0, 320.0, 240.0, -0.013, 0.02, -0.012, 0.0022],
    }[name]
    model = SplinedStereographic.configured(3, 20, 16, 124 if name == "brown5" else 230)
    lens, true = get_model(name), torch.tensor(params, dtype=torch.float64)
    across = torch.linspace(-1.0, 1.0, 55, dtype=torch.float64)
    u = torch.cartesian_prod(across, across) * torch.tensor(model.half_extent, dtype=torch.float64)
    rays = points_at(u)
    widest = math.radians(65.0 if name == "brown5" else 110.0)
    rays = rays[torch.atan2(torch.linalg.vector_norm(rays[:, :2], dim=-1), rays[:, 2]) < widest]
    fit = fit_model(model, rays, lens.project(true, rays), starting_params(model, true[:2], true[2:4]))
    assert float(fit.errors.max()) < 0.5
    assert torch.equal(fit.params[:4], true[:4])
    pixels = model.project(fit.params, rays)
    inside = model.valid_points(fit.params, rays)
    assert float(inside.double().mean()) > 0.97
    unit = rays / torch.linalg.vector_norm(rays, dim=-1, keepdim=True)
    torch.testing.assert_close(model.unproject(fit.params, pixels)[inside], unit[inside], atol=1e-9, rtol=0)


def test_batches_of_cameras_and_points() -> None:
    cameras = torch.stack([wavy(QUADRATIC, seed=seed) for seed in range(3)])
    points = points_at(inner_u(QUADRATIC, 2 * 3 * 20)).reshape(2, 3, 20, 3)
    every = QUADRATIC.project(cameras, points)
    local = QUADRATIC.project_locally(cameras, points)
    rays, valid = QUADRATIC.unproject(cameras, every), QUADRATIC.valid_pixels(cameras, every)
    inside = QUADRATIC.valid_points(cameras, points)
    torch.testing.assert_close(local.pixels, every)
    for b in range(2):
        for c in range(3):
            one = QUADRATIC.project_with_jacobians(cameras[c], points[b, c])
            torch.testing.assert_close(every[b, c], one[0])
            torch.testing.assert_close(local.by_points[b, c], one[1])
            torch.testing.assert_close(rays[b, c], QUADRATIC.unproject(cameras[c], every[b, c]))
            assert torch.equal(valid[b, c], QUADRATIC.valid_pixels(cameras[c], every[b, c]))
            assert torch.equal(inside[b, c], QUADRATIC.valid_points(cameras[c], points[b, c]))
    one_set = QUADRATIC.project_with_jacobians(cameras, points[0, 0])
    torch.testing.assert_close(one_set[2][1], QUADRATIC.project_with_jacobians(cameras[1], points[0, 0])[2])


@BOTH
def test_nothing_is_ever_nan(model: SplinedStereographic) -> None:
    directions = torch.tensor([[0, 0, -1], [0, 0, 0], [1e-7, 0, -1], [1, 0, -1], [1, 1, 0]], dtype=torch.float64)
    points = torch.cat([directions, 1e-30 * directions, 1e30 * directions])
    pixels = torch.tensor([[0.0, 0.0], [1e6, -1e6], [1e12, 1e12], [-3.0, 1e3]], dtype=torch.float64)
    for dtype in (torch.float64, torch.float32):
        params = wavy(model, size=1.0).to(dtype)
        results = [
            *model.project_with_jacobians(params, points.to(dtype)),
            model.project(params, points.to(dtype)),
            model.unproject(params, pixels.to(dtype)),
        ]
        assert all(bool(torch.isfinite(result).all()) for result in results)
        assert all(result.dtype == dtype for result in results)
        assert not bool(model.valid_points(params, points.to(dtype)[:4]).any())
        assert not bool(model.valid_pixels(params, pixels.to(dtype)[1:3]).any())


def test_single_precision_is_near_double() -> None:
    params, points = wavy(CUBIC), points_at(inner_u(CUBIC, 200, share=0.9))
    pixels = CUBIC.project(params, points)
    torch.testing.assert_close(CUBIC.project(params.float(), points.float()).double(), pixels, atol=1e-3, rtol=0)
    rays = CUBIC.unproject(params.float(), pixels.float()).double()
    valid = CUBIC.valid_points(params, points)
    torch.testing.assert_close(rays[valid], CUBIC.unproject(params, pixels)[valid], atol=1e-4, rtol=0)


@BOTH
def test_the_domain_is_the_region_of_the_spline(model: SplinedStereographic) -> None:
    params = wavy(model, size=0.0)
    half = torch.tensor(model.half_extent, dtype=torch.float64)
    for axis in range(2):
        edge = torch.zeros(2, 2, dtype=torch.float64)
        edge[:, axis] = half[axis] * torch.tensor([1.0 - 1e-6, 1.0 + 1e-6])
        assert model.valid_points(params, points_at(edge)).tolist() == [True, False]
        assert model.valid_pixels(params, edge * params[:2] + params[2:4]).tolist() == [True, False]


def test_a_fold_ends_the_domain() -> None:
    """A surface that turns back at 60 % of the way: nothing beyond is valid, everything before is, and is inverted."""
    x = (torch.arange(CUBIC.nx, dtype=torch.float64) - 0.5 * (CUBIC.nx - 1)) * CUBIC.spacing
    turn = 0.6 * CUBIC.half_extent[0]
    values = torch.zeros(CUBIC.ny, CUBIC.nx, 2, dtype=torch.float64)
    values[..., 0] = -(x**3) / (3.0 * turn**2)
    params = torch.cat([torch.tensor([400.0, 400.0, 320.0, 240.0], dtype=torch.float64), values.flatten()])
    u = inner_u(CUBIC, 2000)
    points, share = points_at(u), u[:, 0].abs() / turn
    valid = CUBIC.valid_points(params, points)
    # Beyond the turn the image runs back over places that points before it have taken.
    assert not bool(valid[share > 1.02].any())
    assert float(valid[share < 0.8].double().mean()) > 0.99
    pixels = CUBIC.project(params, points)
    unit = points / torch.linalg.vector_norm(points, dim=-1, keepdim=True)
    torch.testing.assert_close(CUBIC.unproject(params, pixels)[valid], unit[valid], atol=1e-8, rtol=0)


def test_the_prior_asks_for_smoothness_and_fixes_the_centre() -> None:
    precision = CUBIC.prior_precision()
    values = torch.linalg.eigvalsh(precision)
    size = float(values[-1])
    assert float(values[0]) > -1e-12 * size
    # What it leaves open: magnification along two axes and the symmetric shear.
    assert int((values < 1e-10 * size).sum()) == 3
    x = (torch.arange(CUBIC.nx, dtype=torch.float64) - 0.5 * (CUBIC.nx - 1)) * CUBIC.spacing
    y = (torch.arange(CUBIC.ny, dtype=torch.float64) - 0.5 * (CUBIC.ny - 1)) * CUBIC.spacing
    ys, xs = torch.meshgrid(y, x, indexing="ij")
    zero = torch.zeros_like(xs)
    free = [(xs, zero), (zero, ys), (ys, xs)]
    pinned = [(xs * 0 + 1, zero), (zero, ys * 0 + 1), (-ys, xs), (xs * xs, zero)]
    for surface in free:
        shape = torch.stack(surface, -1).flatten()
        assert float(shape @ precision @ shape) < 1e-9 * size * float(shape @ shape)
    for surface in pinned:
        shape = torch.stack(surface, -1).flatten()
        assert float(shape @ precision @ shape) > 1.0


def test_a_camera_survives_its_description() -> None:
    camera = Camera(NARROW.name, 640, 480, tuple(wavy(NARROW).tolist()))
    assert Camera.from_dict(camera.as_dict()) == camera
    assert camera.field_of_view()[0] == pytest.approx(math.radians(9.0), rel=0.2)
    with pytest.raises(InputError, match="parameters"):
        Camera(NARROW.name, 640, 480, (400.0, 400.0, 320.0, 240.0))
