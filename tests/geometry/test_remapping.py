"""Ideal views of one camera: what they show, where their pixels come from, what is valid."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cv3d.errors import EstimationError, InputError, UsageError
from cv3d.geometry.cameras import Camera
from cv3d.geometry.views import Projection, View, Window, choose_view, largest_window, pixel_map
from cv3d.geometry.views.remapping import seen_share

BROWN = Camera("brown5", 640, 480, (531.2, 530.6, 316.9, 243.7, -0.21, 0.052, 6e-4, -4e-4, -0.004))
WIDE = Camera("kannala_brandt4", 512, 384, (186.1, 186.2, 257.3, 190.1, -0.021, 0.0042, -0.0031, 0.00046))
PINHOLE = Camera("pinhole", 640, 480, (500.0, 503.0, 330.0, 230.0))
ALL_ROUND = Camera("kannala_brandt4", 400, 400, (112.0, 112.0, 199.5, 199.5, 0.0, 0.0, 0.0, 0.0))
CAMERAS = {
    "pinhole": PINHOLE.scaled(0.5),
    "brown5": BROWN.scaled(0.5),
    "brown8": Camera(
        "brown8", 640, 480, (500.0, 500.0, 320.0, 240.0, 0.9, 0.25, 2e-4, -3e-4, 0.01, 1.25, 0.45, 0.05)
    ).scaled(0.5),
    "kannala_brandt4": WIDE.scaled(0.5),
    "omni": Camera("omni", 640, 480, (600.0, 600.0, 320.0, 240.0, 1.0, -0.2, 0.05, 0.0, 0.0)).scaled(0.5),
    "eucm": Camera("eucm", 640, 480, (300.0, 300.0, 320.0, 240.0, 0.6, 1.1)).scaled(0.5),
    "double_sphere": Camera("double_sphere", 640, 480, (300.0, 300.0, 320.0, 240.0, 0.1, 0.55)).scaled(0.5),
    "division": Camera("division", 640, 480, (400.0, 400.0, 320.0, 240.0, -0.2)).scaled(0.5),
    "all_round": ALL_ROUND.scaled(0.5),
}


@cache
def framed(name: str, projection: Projection, alpha: float = 0.0) -> View:
    return choose_view(CAMERAS[name], projection, alpha)


def border(camera: Camera) -> NDArray[np.float64]:
    x, y = np.linspace(0, camera.width - 1, 41), np.linspace(0, camera.height - 1, 41)
    sides = [(x, 0 * x), (x, 0 * x + camera.height - 1), (0 * y, y), (0 * y + camera.width - 1, y)]
    return np.concatenate([np.stack(side, -1) for side in sides])


def shown(camera: Camera, view: View, pixels: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    places, valid = view.project(torch.from_numpy(camera.unproject(pixels)))
    return places.numpy(), valid.numpy()


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("projection", Projection)
def test_alpha_0_shows_valid_pixels_only(name: str, projection: Projection) -> None:
    assert pixel_map(CAMERAS[name], framed(name, projection)).valid.all()


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("projection", Projection)
def test_alpha_0_touches_what_the_camera_sees(name: str, projection: Projection) -> None:
    """A view larger by one percent would show what was not seen, or end at the widest angle of a pinhole."""
    camera, view = CAMERAS[name], framed(name, projection)
    wider = View(projection, view.width, view.height, view.fx * 0.99, view.fy * 0.99, view.cx, view.cy)
    corner, _ = wider.unproject(torch.tensor([[0.0, 0.0]], dtype=torch.float64))
    widest = math.degrees(math.acos(float(corner[0, 2] / corner.norm())))
    is_whole = projection is Projection.EQUIRECT and view.field_of_view()[1] > 3.1
    assert not pixel_map(camera, wider).valid.all() or widest > 69.5 or is_whole


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("projection", Projection)
def test_alpha_1_keeps_everything(name: str, projection: Projection) -> None:
    camera, view = CAMERAS[name], framed(name, projection, 1.0)
    pixels = border(camera)
    rays = camera.unproject(pixels)
    places, valid = shown(camera, view, pixels)
    if projection is Projection.PINHOLE:
        kept = np.degrees(np.arctan2(np.hypot(rays[:, 0], rays[:, 1]), rays[:, 2])) < 79.9
        places, valid = places[kept], valid[kept]
    assert valid.all()
    assert (places > -1e-3).all()
    assert (places < np.array([view.width, view.height]) - 1 + 1e-3).all()


def test_alpha_between_is_between() -> None:
    focal = [choose_view(BROWN, alpha=alpha).fx for alpha in (0.0, 0.25, 0.5, 1.0)]
    assert focal == sorted(focal, reverse=True)
    assert focal[2] == pytest.approx(0.5 * (focal[0] + focal[3]))
    kept = [seen_share(BROWN, choose_view(BROWN, alpha=alpha)) for alpha in (0.0, 0.5, 1.0)]
    assert kept == sorted(kept)
    assert kept[2] == 1.0


def test_a_pinhole_is_its_own_view() -> None:
    view = choose_view(PINHOLE)
    assert (view.fx, view.fy, view.cx, view.cy) == pytest.approx(PINHOLE.params, abs=1e-6)
    columns, rows = np.meshgrid(np.arange(640), np.arange(480))
    np.testing.assert_allclose(pixel_map(PINHOLE, view).source, np.stack([columns, rows], -1), atol=1e-4)


def test_an_equidistant_fisheye_is_its_own_view() -> None:
    view = choose_view(ALL_ROUND, Projection.FISHEYE)
    assert view.camera is not None
    assert view.camera.params == pytest.approx(ALL_ROUND.params, abs=1e-5)


@pytest.mark.parametrize(("alpha", "size"), [(0.0, (640, 480)), (1.0, (800, 500)), (0.3, (321, 777))])
def test_brown_maps_are_opencvs(alpha: float, size: tuple[int, int]) -> None:
    view = choose_view(BROWN, alpha=alpha, size=size)
    assert view.camera is not None
    ours = pixel_map(BROWN, view)
    theirs = cv2.initUndistortRectifyMap(
        BROWN.matrix, np.array(BROWN.shape), None, view.camera.matrix, size, cv2.CV_32FC2
    )[0]
    assert np.abs(ours.source - theirs)[ours.valid].max() < 1e-3


def test_fisheye_maps_are_opencvs() -> None:
    view = choose_view(WIDE, alpha=0.5)
    assert view.camera is not None
    ours = pixel_map(WIDE, view)
    theirs = np.dstack(
        cv2.fisheye.initUndistortRectifyMap(
            WIDE.matrix, np.array(WIDE.shape), np.eye(3), view.camera.matrix, ours.size, cv2.CV_32F
        )
    )
    assert np.abs(ours.source - theirs)[ours.valid].max() < 1e-3


@pytest.mark.parametrize("projection", Projection)
def test_maps_invert_the_view(projection: Projection) -> None:
    view = choose_view(WIDE, projection, 0.7)
    pixels = pixel_map(WIDE, view)
    rows, columns = (index[::17] for index in np.nonzero(pixels.valid))
    places, valid = shown(WIDE, view, pixels.source[rows, columns].astype(np.float64))
    assert valid.all()
    np.testing.assert_allclose(places, np.stack([columns, rows], -1), atol=2e-3)


def test_directions_land_where_longitude_and_latitude_say() -> None:
    view = choose_view(ALL_ROUND, Projection.EQUIRECT, 1.0)
    assert view.width == pytest.approx(2 * view.height, abs=2)
    points = torch.tensor(
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, -1.0, 1e-9]], dtype=torch.float64
    )
    places, valid = view.project(points)
    expected = np.array([[0.0, 0.0], [90.0, 0.0], [-45.0, 0.0], [0.0, 45.0], [0.0, -90.0]])
    assert valid.all()
    measured = np.degrees((places.numpy() - [view.cx, view.cy]) / [view.fx, view.fy])
    np.testing.assert_allclose(measured, expected, atol=1e-6)
    source = pixel_map(ALL_ROUND, view).source
    column, row = (round(value) for value in (places[1]).tolist())
    assert source[row, column] == pytest.approx((199.5 + 112.0 * math.pi / 2, 199.5), abs=1.0)


def test_nothing_folds_back_into_a_wide_pinhole() -> None:
    """The polynomial of a strong barrel turns round; beyond that, formula and picture meet again."""
    camera = Camera("brown5", 640, 480, (300.0, 300.0, 320.0, 240.0, -0.3, 0.0, 0.0, 0.0, 0.0))
    pixels = pixel_map(camera, View(Projection.PINHOLE, 640, 480, 60.0, 60.0, 320.0, 240.0))
    row = pixels.source[240, pixels.valid[240], 0]
    assert (np.diff(row) > 0.0).all()
    assert not pixels.valid[240, :100].any()
    assert (pixels.source[240, :100] < -8.0).all()


def test_what_is_behind_is_not_valid() -> None:
    view = View(Projection.FISHEYE, 800, 800, 112.0, 112.0, 399.5, 399.5)
    pixels = pixel_map(PINHOLE, view)
    assert not pixels.valid[400, 400 + 180]
    assert pixels.valid[400, 400]
    assert 0.0 < pixels.valid_share < 0.2


def test_a_rotation_turns_the_view() -> None:
    quarter = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    view = View(Projection.FISHEYE, 101, 101, 30.0, 30.0, 50.0, 50.0)
    pixels = pixel_map(ALL_ROUND, view, view_from_cam=quarter)
    ray = quarter.T @ np.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(pixels.source[50, 50], ALL_ROUND.project(ray), atol=1e-3)


def brute_force(valid: NDArray[np.bool_]) -> int:
    height, width = valid.shape
    return max(
        (
            (bottom - top) * (right - left)
            for top in range(height)
            for bottom in range(top + 1, height + 1)
            for left in range(width)
            for right in range(left + 1, width + 1)
            if valid[top:bottom, left:right].all()
        ),
        default=0,
    )


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=6))
def test_the_largest_window_is_the_largest(rows: list[list[bool]]) -> None:
    valid = np.array(rows)
    best = brute_force(valid)
    if best == 0:
        with pytest.raises(EstimationError):
            largest_window(valid)
        return
    window = largest_window(valid)
    assert valid[window.slices].all()
    assert window.width * window.height == best


def test_a_cropped_view_is_the_same_view() -> None:
    view = choose_view(WIDE, alpha=1.0)
    pixels = pixel_map(WIDE, view)
    window = largest_window(pixels.valid)
    part = view.cropped(window.left, window.top, window.width, window.height)
    cropped = pixels.cropped(window)
    assert cropped.valid.all()
    np.testing.assert_allclose(pixel_map(WIDE, part).source, cropped.source, atol=1e-3)
    assert Window(3, 4, 7, 9).even() == Window(3, 4, 6, 8)


@pytest.mark.parametrize(("camera", "step", "extent"), [(BROWN, 0.1, (5, 3)), (WIDE.scaled(2.0), 0.3, (5, 3))])
def test_a_drawn_grid_becomes_straight(camera: Camera, step: float, extent: tuple[int, int]) -> None:
    """Rows and columns of dots, bent by the lens, are straight to 0.1 pixel in the pixels of the view."""
    columns, rows = np.meshgrid(np.arange(-extent[0], extent[0] + 1), np.arange(-extent[1], extent[1] + 1))
    plane = np.stack([columns * step, rows * step, np.ones_like(columns, dtype=float)], -1)
    centres = camera.project(plane).reshape(-1, 2)
    x, y = np.arange(camera.width), np.arange(camera.height)
    across, down = (np.exp(-0.5 * ((at - centres[:, [i]]) / 1.3) ** 2) for i, at in enumerate((x, y)))
    picture = (200.0 * down.T @ across).round().astype(np.uint8)
    view = choose_view(camera)
    straight = cv2.remap(picture, pixel_map(camera, view).source, None, cv2.INTER_LINEAR).astype(np.float64)
    expected = plane[..., :2] * [view.fx, view.fy] + [view.cx, view.cy]
    found = np.empty_like(expected)
    for index in np.ndindex(expected.shape[:2]):
        left, top = (round(value) - 8 for value in expected[index])
        patch = straight[top : top + 17, left : left + 17]
        assert patch.shape == (17, 17)
        found[index] = (patch.sum(0) @ np.arange(17), patch.sum(1) @ np.arange(17)) / patch.sum() + (left, top)
    assert np.abs(found - expected).max() < 0.1
    for line in [*found, *found.swapaxes(0, 1)]:
        centred = line - line.mean(0)
        assert np.abs(centred @ np.linalg.svd(centred)[2][1]).max() < 0.1


def test_fields_of_view() -> None:
    pinhole = View(Projection.PINHOLE, 200, 100, 100.0, 50.0, 99.5, 49.5)
    assert np.degrees(pinhole.field_of_view()) == pytest.approx([90.0, 90.0])
    equirect = View(Projection.EQUIRECT, 360, 180, 57.29577951308232, 57.29577951308232, 179.5, 89.5)
    assert np.degrees(equirect.field_of_view()) == pytest.approx([360.0, 180.0])
    assert equirect.camera is None


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_alpha_out_of_range(alpha: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        choose_view(BROWN, alpha=alpha)


def test_sizes_and_numbers_out_of_range() -> None:
    with pytest.raises(UsageError, match="too small"):
        choose_view(BROWN, size=(1, 100))
    with pytest.raises(InputError):
        View(Projection.PINHOLE, 10, 10, 0.0, 1.0, 5.0, 5.0)
    with pytest.raises(InputError):
        View(Projection.PINHOLE, 10, 10, math.inf, 1.0, 5.0, 5.0)
