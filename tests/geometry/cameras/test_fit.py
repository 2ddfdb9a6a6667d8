"""Fitting a model to rays."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cv3d.geometry.cameras import get_model
from cv3d.geometry.cameras.fit import fit_model, starting_params, within_bounds

WIDTH, HEIGHT = 1280, 960
CAMERAS: dict[str, tuple[float, ...]] = {
    "pinhole": (900.0, 903.0, 645.0, 470.0),
    "brown5": (900.0, 903.0, 645.0, 470.0, -0.28, 0.09, 8e-4, -5e-4, -0.01),
    "brown8": (900.0, 903.0, 645.0, 470.0, 0.9, 0.25, 2e-4, -3e-4, 0.01, 1.25, 0.45, 0.05),
    "kannala_brandt4": (420.0, 421.0, 645.0, 470.0, -0.02, 0.004, -0.003, 5e-4),
    "ucm": (450.0, 452.0, 645.0, 470.0, 0.6),
    "eucm": (450.0, 452.0, 645.0, 470.0, 0.6, 1.1),
    "division": (700.0, 702.0, 645.0, 470.0, -0.2),
}


# The neutral shape of these is a pinhole, which sends rays near 90 degrees to infinity: no place to start from.
WIDE_SHAPES: dict[str, tuple[float, ...]] = {"ucm": (0.5,), "eucm": (0.5, 1.0), "division": (-0.1,)}


def start_of(name: str, focal: Tensor, centre: Tensor) -> Tensor:
    start = starting_params(get_model(name), focal, centre)
    return torch.cat([start[:4], start.new_tensor(WIDE_SHAPES[name])]) if name in WIDE_SHAPES else start


def image_grid(step: int = 40) -> Tensor:
    y, x = torch.meshgrid(torch.arange(0, HEIGHT, step), torch.arange(0, WIDTH, step), indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=-1).double()


def rays_of(name: str) -> tuple[Tensor, Tensor]:
    params = torch.tensor(CAMERAS[name], dtype=torch.float64)
    pixels = image_grid()
    pixels = pixels[get_model(name).valid_pixels(params, pixels)]
    return get_model(name).unproject(params, pixels), pixels


@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_a_model_recovers_its_own_parameters(name: str) -> None:
    rays, pixels = rays_of(name)
    truth = torch.tensor(CAMERAS[name], dtype=torch.float64)
    start = start_of(name, 1.05 * truth[:2], truth[2:4] + 10.0)
    fit = fit_model(get_model(name), rays, pixels, start, max_iterations=200)
    # A rational model is its own parameters only together; what it does to a ray is determined.
    assert float(fit.errors.max()) < (1e-2 if name == "brown8" else 1e-6)
    if name != "brown8":
        torch.testing.assert_close(fit.params, truth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("source", "target", "limit_px"),
    [
        ("ucm", "kannala_brandt4", 0.5),
        ("kannala_brandt4", "ucm", 15.0),
        ("kannala_brandt4", "eucm", 12.0),
        ("ucm", "division", 40.0),
        ("brown5", "kannala_brandt4", 1.5),
        ("pinhole", "brown8", 1e-6),
        ("pinhole", "ucm", 1e-6),
    ],
)
def test_other_models_come_near(source: str, target: str, limit_px: float) -> None:
    rays, pixels = rays_of(source)
    camera = torch.tensor(CAMERAS[source], dtype=torch.float64)
    start = start_of(target, camera[:2], camera[2:4])
    fit = fit_model(get_model(target), rays, pixels, start, max_iterations=200)
    assert float(fit.errors.median()) < limit_px
    start_errors = torch.linalg.vector_norm(get_model(target).project(start, rays) - pixels, dim=-1)
    assert float((fit.errors**2).sum()) <= float((start_errors**2).sum())


def test_errors_are_those_of_the_projection() -> None:
    rays, pixels = rays_of("kannala_brandt4")
    model = get_model("ucm")
    fit = fit_model(model, rays, pixels, start_of("ucm", torch.tensor([420.0, 421.0]).double(), pixels.mean(dim=0)))
    expected = torch.linalg.vector_norm(model.project(fit.params, rays) - pixels, dim=-1)
    torch.testing.assert_close(fit.errors, expected)


def test_rays_of_weight_zero_have_no_influence() -> None:
    rays, pixels = rays_of("brown5")
    model = get_model("brown5")
    start = starting_params(model, torch.tensor([900.0, 900.0]).double(), torch.tensor([640.0, 480.0]).double())
    weights = torch.ones(len(rays), dtype=torch.float64)
    weights[::7] = 0.0
    wrong = pixels.clone()
    wrong[::7] += 300.0
    fit = fit_model(model, rays, wrong, start, weights=weights, max_iterations=100)
    torch.testing.assert_close(fit.params, torch.tensor(CAMERAS["brown5"]).double(), rtol=1e-4, atol=1e-5)
    assert float(fit.errors[::7].min()) > 400.0


def test_shape_stays_within_its_bounds() -> None:
    for name in ("ucm", "eucm", "double_sphere"):
        model = get_model(name)
        wild = torch.tensor([1.0, 1.0, 0.0, 0.0, *([1e9] * len(model.shape_names))], dtype=torch.float64)
        for params in (wild, torch.cat([wild[:4], -wild[4:]]), wild.expand(3, -1)):
            bounded = within_bounds(model, params)
            assert torch.equal(bounded[..., :4], params[..., :4])
            for value, (low, high) in zip(
                bounded.reshape(-1, len(wild))[0, 4:].tolist(), model.shape_bounds, strict=True
            ):
                assert low < value < high or (math.isinf(high) and value == 1e9)
    free = torch.tensor(CAMERAS["brown5"]).double()
    assert torch.equal(within_bounds(get_model("brown5"), free), free)
