"""The ideal view of a posed picture: its camera tells the truth about its pixels, at any size and with any lens."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cv3d.depth.posed import PosedView
from cv3d.depth.undistorting import ideal_camera, ideal_view
from cv3d.errors import PictureError, UsageError
from cv3d.geometry.cameras.camera import Camera
from cv3d.media.picture import Picture

PINHOLE = Camera("pinhole", 320, 240, (250.0, 252.0, 161.3, 118.2))
BARREL = Camera("brown5", 320, 240, (250.0, 252.0, 161.3, 118.2, -0.25, 0.08, 0.001, -0.0005, 0.0))
PINCUSHION = Camera("brown5", 320, 240, (250.0, 252.0, 161.3, 118.2, 0.1, 0.0, 0.0, 0.0, 0.0))
FISHEYE = Camera("kannala_brandt4", 320, 240, (150.0, 150.0, 158.0, 121.0, 0.02, -0.01, 0.0, 0.0))


def pattern(rays: np.ndarray) -> np.ndarray:
    """A smooth colour of each direction, its value known everywhere."""
    x, y = rays[..., 0] / rays[..., 2], rays[..., 1] / rays[..., 2]
    waves = [np.sin(3.0 * x + 1.0) * np.cos(2.0 * y), np.cos(2.5 * x - 3.0 * y), np.sin(4.0 * y + x)]
    return 127.5 + 100.0 * np.stack(waves, -1)


def pixel_rays(camera: Camera) -> np.ndarray:
    grid = np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), -1).astype(float)
    return camera.unproject(grid)


def taken(camera: Camera, folder: Path) -> PosedView:
    file = folder / "taken.png"
    rgb = np.rint(pattern(pixel_rays(camera))).astype(np.uint8)
    assert cv2.imwrite(str(file), np.ascontiguousarray(rgb[..., ::-1]))
    return PosedView(Picture("taken.png", file), camera, np.eye(4), np.zeros(0, np.intp))


@pytest.mark.parametrize("camera", [PINHOLE, BARREL, PINCUSHION, FISHEYE], ids=lambda one: one.model)
@pytest.mark.parametrize("max_side", [1000, 240, 97, 60])
def test_every_pixel_shows_its_own_direction(camera: Camera, max_side: int, tmp_path: Path) -> None:
    ideal, color = ideal_view(taken(camera, tmp_path), max_side)
    assert ideal.model == "pinhole"
    assert color.shape == (ideal.height, ideal.width, 3)
    assert max(color.shape) <= max_side
    assert ideal.params[0] <= camera.params[0] * 1.001
    error = np.abs(color - pattern(pixel_rays(ideal)))
    assert error.mean() < 0.8
    assert np.quantile(error, 0.999) < 4.0


@pytest.mark.parametrize("max_side", [320, 160, 75])
def test_nothing_dark_comes_in_at_the_edges(max_side: int, tmp_path: Path) -> None:
    view = taken(BARREL, tmp_path)
    assert cv2.imwrite(str(view.picture.source), np.full((240, 320, 3), 200, np.uint8))
    _, color = ideal_view(view, max_side)
    assert color.min() == color.max() == 200


def test_a_reduced_pixel_is_a_mean_over_its_area(tmp_path: Path) -> None:
    view = taken(BARREL, tmp_path)
    noise = np.random.default_rng(3).integers(0, 256, (240, 320, 3), np.uint8)
    assert cv2.imwrite(str(view.picture.source), noise)
    for max_side in (150, 40):
        _, color = ideal_view(view, max_side)
        reduction = BARREL.params[0] / ideal_camera(BARREL, max_side).params[0]
        # The mean of n independent samples has 1/sqrt(n) of their spread; interpolation smooths a little more.
        assert color.std() < 1.15 * noise.std() / reduction


def test_a_pinhole_picture_of_the_right_size_stays_bit_for_bit(tmp_path: Path) -> None:
    view = taken(PINHOLE, tmp_path)
    ideal, color = ideal_view(view, 320)
    assert ideal == PINHOLE
    np.testing.assert_array_equal(color, view.picture.read_rgb().array)


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    view = taken(PINHOLE, tmp_path)
    other = PosedView(view.picture, PINHOLE.scaled(2.0), view.cam_from_world, view.points)
    with pytest.raises(PictureError, match=r"taken.png: is 320x240, but its camera is one of 640x480"):
        ideal_view(other, 200)


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="too small for depth"):
        ideal_camera(BARREL, 8)
