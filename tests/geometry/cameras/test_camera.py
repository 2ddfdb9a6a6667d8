from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from cv3d.errors import FormatError, InputError, UsageError
from cv3d.geometry.cameras import Camera

BROWN = Camera("brown5", 640, 480, (430.0, 432.0, 318.2, 242.9, -0.3, 0.1, 1e-4, -2e-4, -0.01))


def test_numpy_in_numpy_out_and_torch_in_torch_out() -> None:
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (3, 5, 3)) + np.array([0.0, 0.0, 1.0])
    pixels = BROWN.project(points)
    assert isinstance(pixels, np.ndarray)
    assert pixels.shape == (3, 5, 2)
    as_tensor = BROWN.project(torch.from_numpy(points))
    assert isinstance(as_tensor, torch.Tensor)
    np.testing.assert_allclose(as_tensor.numpy(), pixels, atol=1e-12)
    rays = BROWN.unproject(pixels)
    np.testing.assert_allclose(rays, points / np.linalg.norm(points, axis=-1, keepdims=True), atol=1e-12)
    assert BROWN.project(points[0, 0]).shape == (2,)


def test_principal_point_is_where_the_axis_meets_the_image() -> None:
    pixel = BROWN.project(np.array([0.0, 0.0, 2.0]))
    np.testing.assert_allclose(pixel, BROWN.matrix[:2, 2], atol=1e-12)


def test_dict_round_trip_through_json() -> None:
    data = json.loads(json.dumps(BROWN.as_dict()))
    assert data["params"]["k3"] == -0.01
    assert Camera.from_dict(data) == BROWN


@pytest.mark.parametrize("missing", ["model", "width", "params"])
def test_from_dict_names_what_is_missing(missing: str) -> None:
    data = {key: value for key, value in BROWN.as_dict().items() if key != missing}
    with pytest.raises(FormatError, match=missing):
        Camera.from_dict(data)


def test_from_dict_refuses_wrong_parameters() -> None:
    data = BROWN.as_dict()
    with pytest.raises(FormatError, match="k2"):
        Camera.from_dict({**data, "params": {k: v for k, v in data["params"].items() if k != "k2"}})
    with pytest.raises(FormatError, match="k9"):
        Camera.from_dict({**data, "params": {**data["params"], "k9": 0.0}})
    with pytest.raises(FormatError, match="cannot be read"):
        Camera.from_dict({**data, "params": {**data["params"], "k1": "wide"}})


def test_impossible_cameras_are_refused() -> None:
    with pytest.raises(UsageError, match="fishy"):
        Camera("fishy", 640, 480, (1.0, 1.0, 0.0, 0.0))
    with pytest.raises(InputError, match="4 parameters, not 5"):
        Camera("pinhole", 640, 480, (1.0, 1.0, 0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="finite"):
        Camera("pinhole", 640, 480, (1.0, 1.0, math.nan, 0.0))
    with pytest.raises(InputError, match="positive"):
        Camera("pinhole", 640, 480, (-1.0, 1.0, 0.0, 0.0))


def test_field_of_view_of_a_pinhole() -> None:
    camera = Camera("pinhole", 200, 100, (100.0, 100.0, 99.5, 49.5))
    horizontal, vertical, diagonal = camera.field_of_view()
    assert horizontal == pytest.approx(math.pi / 2)
    assert vertical == pytest.approx(2 * math.atan(0.5))
    assert diagonal == pytest.approx(2 * math.atan(math.hypot(1.0, 0.5)))


def test_field_of_view_of_a_crop_beside_the_principal_point() -> None:
    horizontal, _, _ = Camera("pinhole", 100, 100, (100.0, 100.0, -100.5, 49.5)).field_of_view()
    assert horizontal == pytest.approx(math.atan(2.0) - math.atan(1.0))


def test_field_of_view_beyond_a_half_turn() -> None:
    camera = Camera("kannala_brandt4", 400, 400, (100.0, 100.0, 199.5, 199.5, 0.0, 0.0, 0.0, 0.0))
    horizontal, vertical, diagonal = camera.field_of_view()
    assert horizontal == vertical == pytest.approx(4.0)
    assert diagonal == pytest.approx(4.0 * math.sqrt(2.0))


def test_scaling_keeps_the_rays() -> None:
    half = BROWN.scaled(0.5)
    assert (half.width, half.height) == (320, 240)
    np.testing.assert_allclose(half.field_of_view(), BROWN.field_of_view(), rtol=1e-12)
    pixels = np.array([[10.0, 20.0], [600.0, 400.0]])
    np.testing.assert_allclose(half.unproject((pixels + 0.5) / 2 - 0.5), BROWN.unproject(pixels), atol=1e-12)


def test_with_params_takes_a_tensor() -> None:
    params = torch.tensor([*BROWN.params[:4], 0.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert BROWN.with_params(params).shape == (0.0,) * 5
