from __future__ import annotations

import base64
import math
import re

import cv2
import numpy as np
import pytest

from cv3d.reporting import svg
from cv3d.reporting.figures import averaged, exaggeration
from cv3d.reporting.heatmap import colour_bar, colour_scale, contours, heat_map, interior, picture_area
from cv3d.reporting.page import Html, table, tag
from cv3d.reporting.svg import Axis

AREA = picture_area(640, 480)


def cone(centre: tuple[float, float] = (320.0, 240.0)) -> np.ndarray:
    """Distance from `centre` on a map of 64 x 48 nodes over 640 x 480 pixels."""
    y, x = np.meshgrid(np.linspace(0, 479, 48), np.linspace(0, 639, 64), indexing="ij")
    return np.hypot(x - centre[0], y - centre[1])


def ends_of_segments(markup: str) -> np.ndarray:
    commands = re.search(r'd="([^"]*)"', markup)
    assert commands is not None
    moves = re.findall(r"M(\S+) (\S+?)l(\S+) ([^\sM]+)", commands[1])
    parts = np.array(moves, dtype=np.float64)
    return np.concatenate([parts[:, :2], parts[:, :2] + parts[:, 2:]])


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.03, 0.41), (2.0, 2.0001), (-1e6, 3e6), (0.0, 640.0)])
def test_linear_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    ticks = Axis(low, high, 0.0, 100.0).ticks(6)
    assert 2 <= len(ticks) <= 7
    margin = 1e-6 * (high - low)
    assert all(low - margin <= tick <= high + margin for tick in ticks)
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert steps[0] == pytest.approx(svg.round_step(steps[0]))


@pytest.mark.parametrize(("low", "high"), [(0.05, 1.0), (0.02, 2.0), (1e-4, 1e4), (0.31, 2.9), (1e-9, 1e9)])
def test_logarithmic_ticks_are_few_and_inside(low: float, high: float) -> None:
    axis = Axis(low, high, 200.0, 0.0, log=True)
    ticks = axis.ticks(6)
    assert 2 <= len(ticks) <= 7
    assert all(0.99 * low <= tick <= 1.01 * high for tick in ticks)
    places = axis.place(np.array(ticks))
    assert (np.diff(places) < 0).all()
    assert axis.at(low) == pytest.approx(200.0)
    assert axis.at(high) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (1241, 376), (100, 4000)])
def test_a_picture_keeps_its_proportions(width: int, height: int) -> None:
    area = picture_area(width, height)
    across, down = area.x.end - area.x.start, area.y.end - area.y.start
    assert across / down == pytest.approx(width / height)
    centre = area.place(np.array([[(width - 1) / 2, (height - 1) / 2]]))[0]
    np.testing.assert_allclose(centre, [(area.x.start + area.x.end) / 2, (area.y.start + area.y.end) / 2])


def test_contours_follow_the_level() -> None:
    scale = Axis(0.0, 250.0, AREA.y.end, AREA.y.start)
    ends = ends_of_segments(contours(cone(), scale, AREA))
    pixels = (ends - [AREA.x.start, AREA.y.start]) / AREA.units_per_pixel - 0.5
    radius = np.hypot(pixels[:, 0] - 320.0, pixels[:, 1] - 240.0)
    to_level = np.abs(radius[:, None] - np.array([50.0, 100.0, 150.0, 200.0, 250.0])).min(axis=1)
    assert to_level.max() < 1.5
    turn = np.degrees(np.arctan2(pixels[:, 1] - 240.0, pixels[:, 0] - 320.0))[np.abs(radius - 100.0) < 2.0]
    assert np.diff(np.sort(turn)).max() < 10.0


def test_contours_are_labelled_once_each_and_apart() -> None:
    scale = Axis(0.0, 250.0, AREA.y.end, AREA.y.start)
    labels = re.findall(r'<text x="([^"]*)" y="([^"]*)"[^>]*>([^<]*)</text>', contours(cone(), scale, AREA))
    assert [text for _, _, text in labels] == ["50", "100", "150", "200", "250"]
    spots = np.array([[float(x), float(y)] for x, y, _ in labels])
    for i, spot in enumerate(spots):
        apart = np.abs(spots[:i] - spot)
        assert ((apart[:, 0] > 43.0) | (apart[:, 1] > 19.0)).all()


def pixels_of(markup: str) -> np.ndarray:
    encoded = re.search(r"data:image/png;base64,([^\"]*)", markup)
    assert encoded is not None
    return cv2.imdecode(np.frombuffer(base64.b64decode(encoded[1]), np.uint8), cv2.IMREAD_UNCHANGED)


def test_unknown_parts_of_a_map_are_transparent_and_known_ones_keep_their_colour() -> None:
    values = cone()
    values[:, :32] = math.nan
    scale = colour_scale([values], AREA)
    assert scale is not None
    shown = pixels_of(heat_map(values, scale, AREA))
    cols = shown.shape[1]
    assert (shown[:, : cols // 2 - 2, 3] == 0).all()
    assert (shown[:, cols // 2 + 2 :, 3] == 255).all()
    whole = pixels_of(heat_map(cone(), scale, AREA))
    np.testing.assert_array_equal(shown[:, cols // 2 + 4 :], whole[:, cols // 2 + 4 :])


def test_colours_get_brighter_with_the_value() -> None:
    ramp = np.linspace(1.0, 9.0, 64)[None, :].repeat(48, axis=0)
    scale = colour_scale([ramp], AREA)
    assert scale is not None
    assert scale.log
    shown = cv2.cvtColor(pixels_of(heat_map(ramp, scale, AREA))[..., :3], cv2.COLOR_BGR2LAB)[20, :, 0].astype(int)
    assert (np.diff(shown) >= -1).all()
    assert shown[-1] - shown[0] > 150


def test_nothing_known_has_no_scale_and_a_constant_has_one() -> None:
    assert colour_scale([np.full((4, 5), math.nan)], AREA) is None
    for constant in (0.0, 3.0, -2.0):
        scale = colour_scale([np.full((4, 5), constant)], AREA)
        assert scale is not None
        assert scale.low < constant < scale.high
        assert "nan" not in colour_bar(scale, AREA, "px")


def test_what_borders_on_the_unknown_is_not_interior() -> None:
    values = np.ones((6, 6))
    values[0, 0] = math.nan
    assert np.isnan(interior(values)).sum() == 4
    assert np.isfinite(interior(np.ones((3, 3)))).all()


def test_averages_over_cells_find_a_common_shift_and_leave_lonely_samples_out() -> None:
    rng = np.random.default_rng(5)
    pixels = rng.uniform([0, 0], [319.4, 479], (2000, 2))
    vectors = np.where(pixels[:, :1] < 159.5, [[0.3, 0.0]], [[0.0, -0.2]])
    field = averaged(np.concatenate([pixels, [[600.0, 10.0]]]), np.concatenate([vectors, [[9.0, 9.0]]]), 640, 480)
    assert field.counts.sum() == 2000
    left = field.centres[:, 0] < 159.5
    np.testing.assert_allclose(field.means[left], np.tile([0.3, 0.0], (left.sum(), 1)), atol=1e-12)
    np.testing.assert_allclose(field.means[~left], np.tile([0.0, -0.2], ((~left).sum(), 1)), atol=1e-12)


@pytest.mark.parametrize("size", [1e-6, 0.013, 0.2, 5.0, 400.0])
def test_exaggeration_is_round_and_never_shrinks(size: float) -> None:
    factor = exaggeration(np.full(50, size), 30.0)
    assert factor >= 1.0
    assert float(f"{factor:.0e}") == pytest.approx(factor)
    assert size * factor < max(40.0, 1.01 * size)


def test_no_residuals_are_not_exaggerated() -> None:
    assert exaggeration(np.zeros(0), 30.0) == 1.0
    assert exaggeration(np.zeros(10), 30.0) == 1.0


def test_broken_lines_are_drawn_in_pieces() -> None:
    points = np.array([[0, 0], [1, 1], [2, 2], [3, 3], [4, 4.25]], dtype=np.float64)
    valid = np.array([True, True, False, True, True])
    assert svg.polylines(points, valid) == "M0 0L1 1M3 3L4 4.2"


def test_markup_is_only_what_says_so() -> None:
    assert tag("td", "<i>") == "<td>&lt;i&gt;</td>"
    assert tag("td", Html("<i>")) == "<td><i></td>"
    grid = table(["a", "b"], [("on", ["<x>", "1"])], numeric=(1,))
    assert '<tr class="on"><td>&lt;x&gt;</td><td class="n">1</td></tr>' in grid
