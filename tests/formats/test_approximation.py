"""Stand-ins for cameras that a format cannot say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cv3d.errors import FormatError
from cv3d.formats import CAMERA_FORMATS
from cv3d.formats.approximation import WrittenCamera, write_camera
from cv3d.geometry.cameras.camera import Camera

BROWN5 = Camera("brown5", 640, 480, (490.2, 491.0, 322.9, 235.6, -0.28, 0.09, 8e-4, -5e-4, -0.01))
UCM = Camera("ucm", 640, 480, (500.0, 500.0, 320.0, 240.0, 0.35))


def wide_fisheye(width: int = 800) -> Camera:
    """An equidistant lens whose horizontal view is 180 degrees."""
    focal = width / np.pi
    return Camera("kannala_brandt4", width, width, (focal, focal, width / 2 - 0.5, width / 2 - 0.5, 0.0, 0.0, 0.0, 0.0))


def differences(written: WrittenCamera, name: str, camera: Camera, steps: int = 25) -> np.ndarray:
    """Distances between the pixels of a grid and where the file's camera puts what the camera sees there."""
    x = torch.linspace(0, camera.width - 1, steps, dtype=torch.float64)
    y = torch.linspace(0, camera.height - 1, steps, dtype=torch.float64)
    pixels = torch.cartesian_prod(x, y)
    rays = camera.lens.unproject(torch.tensor(camera.params, dtype=torch.float64), pixels)
    read = CAMERA_FORMATS[name].loads(written.text)
    projected = read.lens.project(torch.tensor(read.params, dtype=torch.float64), rays)
    return torch.linalg.vector_norm(projected - pixels, dim=-1).numpy()


@pytest.mark.parametrize(("name", "camera"), [("opencv", BROWN5), ("ros", BROWN5), ("colmap", BROWN5), ("kalibr", UCM)])
def test_a_model_that_the_format_knows_is_written_as_it_is(name: str, camera: Camera) -> None:
    written = write_camera(camera, CAMERA_FORMATS[name])
    assert (written.model, written.rms_px, written.max_px) == (camera.model, 0.0, 0.0)
    assert written.text == CAMERA_FORMATS[name].dumps(camera)


@pytest.mark.parametrize("name", ["opencv", "ros", "colmap"])
def test_the_stated_error_of_a_stand_in_is_true(name: str) -> None:
    with pytest.raises(FormatError):
        CAMERA_FORMATS[name].dumps(UCM)
    written = write_camera(UCM, CAMERA_FORMATS[name])
    assert written.model != "ucm"
    off = differences(written, name, UCM)
    assert off.max() == pytest.approx(written.max_px, rel=0.2)
    assert np.sqrt((off**2).mean()) == pytest.approx(written.rms_px, rel=0.2)
    assert 0.0 < written.max_px < 0.5


def test_kalibr_gets_the_nearest_of_its_models() -> None:
    written = write_camera(BROWN5, CAMERA_FORMATS["kalibr"])
    off = differences(written, "kalibr", BROWN5)
    assert off.max() == pytest.approx(written.max_px, rel=0.2)
    assert written.max_px <= 2.0
    assert (CAMERA_FORMATS["kalibr"].loads(written.text).width, written.model) == (640, "brown4")


def test_half_a_sphere_is_no_pinhole() -> None:
    camera = wide_fisheye()
    for name in ("opencv", "kalibr", "ros", "colmap"):
        assert write_camera(camera, CAMERA_FORMATS[name]).model == "kannala_brandt4"
    double_sphere = Camera("double_sphere", 800, 800, (150.0, 150.0, 399.5, 399.5, -0.2, 0.65))
    written = write_camera(double_sphere, CAMERA_FORMATS["opencv"])
    assert written.model == "kannala_brandt4"


def test_a_camera_beyond_every_model_of_the_format_is_refused() -> None:
    camera = Camera("brown12", 640, 480, (480.0, 480.0, 320.0, 240.0, 0.3, *([0.0] * 7), 0.5, 0.5, 0.5, 0.5))
    with pytest.raises(FormatError, match=r"brown12.*too far off") as refusal:
        write_camera(camera, CAMERA_FORMATS["kalibr"])
    assert "\n" not in str(refusal.value)
