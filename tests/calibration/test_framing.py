"""Pictures of other sizes and orientations, brought into the common frame."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.calibration.framing import AS_IS, Framing, common_frame, framings

SENSOR = (1280, 960)
CLOCKWISE = {1: 0, 6: 1, 3: 2, 8: 3}


def displayed(exif_orientation: int) -> NDArray[np.float64]:
    """A sensor picture, turned as a viewer turns it for an EXIF orientation; each value names its sensor pixel."""
    width, height = SENSOR[0] // 40, SENSOR[1] // 40
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    return np.rot90(np.stack([x, y], axis=-1), k=-CLOCKWISE[exif_orientation])


@pytest.mark.parametrize("orientation", sorted(CLOCKWISE))
@pytest.mark.parametrize("common_orientation", sorted(CLOCKWISE))
def test_every_exif_turn_leads_to_the_same_sensor_pixel(orientation: int, common_orientation: int) -> None:
    picture, common = displayed(orientation), displayed(common_orientation)
    size, common_size = picture.shape[1::-1], common.shape[1::-1]
    ways = framings(size, orientation, common_size, common_orientation)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    mapped = ways[0].apply(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64))
    column, row = np.rint(mapped).astype(int).T
    np.testing.assert_allclose(mapped, np.stack([column, row], axis=1), atol=1e-9)
    np.testing.assert_array_equal(common[row, column], picture.reshape(-1, 2))


@pytest.mark.parametrize("size", [(640, 480), (2560, 1920), (320, 240)])
def test_scaling_maps_the_borders_of_the_picture(size: tuple[int, int]) -> None:
    (way,) = framings(size, 1, SENSOR, 1)
    borders = np.array([[-0.5, -0.5], [size[0] - 0.5, size[1] - 0.5]])
    np.testing.assert_allclose(way.apply(borders), [[-0.5, -0.5], [SENSOR[0] - 0.5, SENSOR[1] - 0.5]], atol=1e-9)
    assert f"{size[0]}x{size[1]}" in way.note


def test_a_row_and_a_column_more_is_a_crop_or_a_scaling() -> None:
    ways = framings((1281, 721), 1, (1280, 720), 1)
    corners = np.array([[0.0, 0.0], [1280.0, 720.0]])
    mapped = [way.apply(corners) for way in ways]
    assert any(np.allclose(m, corners) for m in mapped)
    assert any(np.allclose(m, (corners + 0.5) * [1280 / 1281, 720 / 721] - 0.5) for m in mapped)
    assert all(way.note for way in ways)


def test_another_shape_has_no_way() -> None:
    assert framings((1000, 1000), 1, SENSOR, 1) == []
    assert framings((1280, 720), 1, SENSOR, 1) == []


def test_portrait_without_exif_may_be_turned_either_way() -> None:
    ways = framings((960, 1280), 1, SENSOR, 1)
    assert len(ways) == 2
    corner = np.array([[0.0, 0.0]])
    assert {tuple(way.apply(corner)[0]) for way in ways} == {(1279.0, 0.0), (0.0, 959.0)}
    for way in ways:
        assert np.linalg.det(way.matrix) == pytest.approx(1.0)
        assert "turned" in way.note


def test_a_turned_and_scaled_copy() -> None:
    way = framings((480, 640), 6, SENSOR, 1)
    # Orientation 6: the sensor's left column is displayed on top; its first pixel is the displayed top right one.
    expected = (np.array([0.0, 0.0]) + 0.5) * 2.0 - 0.5
    assert any(np.allclose(w.apply(np.array([[479.0, 0.0]]))[0], expected) for w in way)


def test_the_commonest_frame_wins() -> None:
    sizes = [(1280, 720), (1281, 721), (1280, 720), (720, 1280)]
    assert common_frame(sizes, [1, 1, 1, 6]) == ((1280, 720), 1)


def test_as_is_changes_nothing() -> None:
    pixels = np.array([[1.5, 2.5], [100.0, 7.25]])
    np.testing.assert_array_equal(AS_IS.apply(pixels), pixels)
    assert AS_IS.note == ""
    assert isinstance(AS_IS, Framing)
