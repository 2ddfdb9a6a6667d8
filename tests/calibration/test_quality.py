"""Coverage, tilt, the uncertainty map and the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cv3d.calibration.quality import (
    Coverage,
    Evidence,
    Level,
    Tilt,
    UncertaintyMap,
    cell_centres,
    cell_grid,
    coverage,
    judge,
    tilt,
    uncertainty_map,
    unobservable,
)
from cv3d.calibration.solving import solve
from cv3d.calibration.uncertainty import camera_covariance
from cv3d.geometry.transforms import SO3

Maker = Callable[..., Any]
WIDTH, HEIGHT = 1200, 900


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Corners of a rectangle given in shares of the image, (4, 2), pixels."""
    x, y = np.array([left, right]) * WIDTH - 0.5, np.array([top, bottom]) * HEIGHT - 0.5
    return np.array([[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[1]]])


def test_a_board_over_the_whole_image_covers_everything() -> None:
    found = coverage([box(0, 0, 1, 1)], WIDTH, HEIGHT)
    assert found.center == found.edge == found.corner == found.total == 1.0
    assert bool((found.density == 1).all())


def test_no_views_cover_nothing() -> None:
    found = coverage([], WIDTH, HEIGHT)
    assert found.center == found.edge == found.corner == found.total == 0.0


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ((1 / 3, 1 / 3, 2 / 3, 2 / 3), "center"),
        ((0, 1 / 3, 1 / 3, 2 / 3), "edge"),
        ((1 / 3, 2 / 3, 2 / 3, 1), "edge"),
        ((2 / 3, 0, 1, 1 / 3), "corner"),
    ],
)
def test_each_zone_counts_its_own(place: tuple[float, float, float, float], zone: str) -> None:
    found = coverage([box(*place)], WIDTH, HEIGHT)
    zones = {"center": found.center, "edge": found.edge, "corner": found.corner}
    expected = {"center": 1.0, "edge": 0.25, "corner": 0.25}[zone]
    # A hull is drawn with its border, which may spill by a cell of forty-eight.
    assert zones.pop(zone) == pytest.approx(expected, abs=0.02)
    assert max(zones.values()) < 0.15
    assert found.total == pytest.approx(1 / 9, abs=0.02)


def test_area_of_a_tilted_hull() -> None:
    diamond = np.array([[0.5, 0.1], [0.9, 0.5], [0.5, 0.9], [0.1, 0.5]]) * [WIDTH, HEIGHT] - 0.5
    found = coverage([diamond, diamond[:3]], WIDTH, HEIGHT)
    # A cell that the hull's border touches counts as covered.
    assert found.total == pytest.approx(0.32, abs=0.04)
    assert int(found.density.max()) == 2


def test_what_the_lens_cannot_see_does_not_count() -> None:
    valid = np.zeros(cell_grid(WIDTH, HEIGHT), bool)
    valid[12:24, 16:32] = True
    found = coverage([box(1 / 3, 1 / 3, 2 / 3, 2 / 3)], WIDTH, HEIGHT, valid)
    assert found.total == found.center == 1.0
    assert found.corner == 0.0


@pytest.mark.parametrize(("width", "height"), [(1200, 900), (900, 1200), (640, 640), (4000, 100)])
def test_cells_tile_the_image(width: int, height: int) -> None:
    rows, cols = cell_grid(width, height)
    centres = cell_centres(width, height)
    assert centres.shape == (rows, cols, 2)
    assert max(rows, cols) == 48
    # Symmetric about the image's middle, which is at (width - 1) / 2.
    torch.testing.assert_close(
        centres[0, 0] + centres[-1, -1], torch.tensor([width - 1.0, height - 1.0], dtype=torch.float64)
    )
    step = centres[0, 1:, 0].diff() if cols > 2 else torch.tensor([width / cols])
    torch.testing.assert_close(step, torch.full_like(step, width / cols))


def facing(angles_deg: list[tuple[float, float]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Boards straight ahead at 1 m, turned about x and y."""
    vectors = torch.tensor([[math.radians(x), math.radians(y), 0.0] for x, y in angles_deg], dtype=torch.float64)
    return SO3.exp(vectors).as_matrix(), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(len(angles_deg), 3)


def test_tilt_of_known_poses() -> None:
    rotation, translation = facing([(0.0, 0.0), (30.0, 0.0), (0.0, -20.0), (10.0, 0.0)])
    found = tilt(rotation, translation, torch.zeros(3, dtype=torch.float64))
    assert found.max_deg == pytest.approx(30.0, abs=1e-6)
    assert found.tilted_views == 2
    assert 10.0 < found.spread_deg < 25.0


def test_parallel_boards_have_no_spread_wherever_they_are() -> None:
    rotation, _ = facing([(20.0, 0.0)] * 3)
    translation = torch.tensor([[0.0, 0.0, 1.0], [0.5, 0.0, 1.0], [0.0, -0.5, 1.0]], dtype=torch.float64)
    found = tilt(rotation, translation, torch.zeros(3, dtype=torch.float64))
    assert found.spread_deg == pytest.approx(0.0, abs=1e-5)
    assert found.max_deg > 20.0


def test_turning_a_board_in_its_plane_is_no_tilt() -> None:
    turns = torch.tensor([[0.0, 0.0, a] for a in (0.0, 1.0, 2.0)], dtype=torch.float64)
    found = tilt(SO3.exp(turns).as_matrix(), torch.tensor([[0.0, 0.0, 1.0]] * 3).double(), torch.zeros(3).double())
    assert found.max_deg == pytest.approx(0.0, abs=1e-5)
    assert found.tilted_views == 0


def test_the_map_holds_the_named_places(make_scene: Maker) -> None:
    scene = make_scene(views=10)
    covariance = camera_covariance(solve(scene.observations, "brown5", scene.truth))
    found = uncertainty_map(covariance, scene.width, scene.height, 0.5)
    assert found.at_infinity.shape == found.at_board.shape == (len(found.y), len(found.x))
    assert found.x[0] == found.y[0] == 0.0
    assert (found.x[-1], found.y[-1]) == (scene.width - 1, scene.height - 1)
    corners = found.at_infinity[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert found.corner == pytest.approx(float(corners.max()), rel=1e-9)
    middle = torch.tensor([[0.5 * (scene.width - 1), 0.5 * (scene.height - 1)]], dtype=torch.float64)
    assert found.center == pytest.approx(float(covariance.projection_std(middle)[0]))
    assert found.center < found.edge < found.corner


def test_places_in_the_black_of_a_fisheye_move_inwards(make_scene: Maker) -> None:
    params = (300.0, 300.0, 640.0, 360.0, -0.02, -0.01, 0.0, -0.003)
    scene = make_scene("kannala_brandt4", params, views=10)
    covariance = camera_covariance(solve(scene.observations, scene.model, scene.truth))
    found = uncertainty_map(covariance, scene.width, scene.height, 0.5)
    assert bool(np.isnan(found.at_infinity[0, 0]))
    assert math.isfinite(found.corner)
    assert found.corner > found.center


EVERYWHERE = Coverage(1.0, 0.9, 0.8, 0.9, np.ones((36, 48), np.int64))
VARIED = Tilt(40.0, 12, 20.0)
NOWHERE = np.zeros((2, 2))
SURE = UncertaintyMap(NOWHERE[0], NOWHERE[0], NOWHERE, NOWHERE, 0.5, 0.1, 0.2, 0.3)
GOOD = Evidence(15, 0.25, 0.27, 1280, 1e-3, EVERYWHERE, VARIED, SURE)


def test_a_good_calibration() -> None:
    verdict = judge(GOOD)
    assert verdict.level is Level.GOOD
    assert str(verdict) == verdict.sentence
    assert "0.30 px" in verdict.sentence
    assert verdict.advice == ()


@pytest.mark.parametrize(
    ("evidence", "level", "word"),
    [
        (replace(GOOD, uncertainty=replace(SURE, corner=3.0)), Level.USABLE, "more pictures"),
        (replace(GOOD, rms_px=2.0, holdout_rms_px=2.1), Level.USABLE, "flat"),
        (replace(GOOD, holdout_rms_px=0.5), Level.USABLE, "varied"),
        (replace(GOOD, uncertainty=replace(SURE, corner=40.0)), Level.POOR, "poor"),
        (replace(GOOD, uncertainty=replace(SURE, corner=math.nan)), Level.POOR, "poor"),
        (replace(GOOD, focal_std_share=0.1), Level.POOR, "poor"),
        (replace(GOOD, coverage=replace(EVERYWHERE, corner=0.1)), Level.GOOD, "corners of the image"),
        (replace(GOOD, coverage=replace(EVERYWHERE, edge=0.1)), Level.GOOD, "edges"),
        (replace(GOOD, coverage=replace(EVERYWHERE, center=0.1)), Level.GOOD, "middle"),
        (replace(GOOD, tilt=replace(VARIED, tilted_views=1)), Level.GOOD, "tilted"),
        (replace(GOOD, views=4), Level.GOOD, "4 are used"),
    ],
)
def test_levels_and_advice(evidence: Evidence, level: Level, word: str) -> None:
    verdict = judge(evidence)
    assert verdict.level is level
    assert word in verdict.sentence
    assert verdict.sentence.startswith(level.value)


def test_limits_grow_with_the_image() -> None:
    unsure = replace(GOOD, uncertainty=replace(SURE, edge=1.2, corner=2.0))
    assert judge(unsure).level is Level.USABLE
    assert judge(replace(unsure, width=4000)).level is Level.GOOD


def test_more_evidence_never_lowers_the_level() -> None:
    order = [Level.POOR, Level.USABLE, Level.GOOD]
    levels = [
        order.index(judge(replace(GOOD, uncertainty=replace(SURE, edge=0.5 * c, corner=c))).level)
        for c in (100.0, 20.0, 5.0, 2.0, 1.0, 0.5, 0.1)
    ]
    assert levels == sorted(levels)


def test_unobservable_says_why_and_what_to_do() -> None:
    verdict = unobservable("all alike")
    assert verdict.level is Level.UNOBSERVABLE
    assert "all alike" in verdict.sentence
    assert "tilted" in verdict.sentence
