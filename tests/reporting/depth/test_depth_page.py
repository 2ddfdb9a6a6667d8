"""The report of dense depth: it says what is there, stays within its bounds, and loads nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cv3d.depth.result import DepthMap, DepthResult, LeftOutView
from cv3d.reporting.depth_page import depth_page
from cv3d.reporting.depth_summary import MEASURES, depth_result, describe_depth, headline, measures

from ...sensor_maps import sensor_maps


@pytest.fixture(scope="module")
def result(project_root: Path) -> DepthResult:
    return sensor_maps(project_root / "data" / "samples")


def markup(page: str) -> str:
    """A page without the library that draws in space."""
    return page.partition("<script>")[0]


def test_every_picture_is_shown_with_its_depth(result: DepthResult) -> None:
    page = markup(depth_page(result, depth_result(result, is_metric=True), "Depth of <a walk>"))
    assert "Depth of &lt;a walk&gt;" in page
    for one in result.maps:
        assert f'alt="{one.name}"' in page
        assert f'alt="depth of {one.name}"' in page
        assert f'alt="confidence of {one.name}"' in page
    assert page.count("data:image/jpeg;base64,") == 3 * len(result.maps)
    assert "it sees nothing that another picture sees" in page
    assert "the light changes" in page
    assert "http://" not in page
    assert "https://" not in page


def small(one: DepthMap, name: str) -> DepthMap:
    """A map with a quarter of the pixels across and down."""
    arrays = {key: np.ascontiguousarray(getattr(one, key)[::4, ::4]) for key in ("depth", "confidence", "color")}
    return replace(one, name=name, camera=one.camera.scaled(0.25), **arrays)


def test_the_size_of_a_page_is_bounded(result: DepthResult) -> None:
    maps = [small(result.maps[i % 6], f"p{i:04d}.png") for i in range(400)]
    many = replace(result, maps=tuple(maps), left_out=tuple(LeftOutView(f"{i}", "why") for i in range(500)))
    content = depth_result(many, is_metric=False)
    page = depth_page(many, content)
    assert len(page) < 20_000_000
    assert "250 more are not shown here" in page
    assert "300 more are not shown here" in page


def test_no_depth_at_all_is_said(result: DepthResult) -> None:
    nothing = replace(result, maps=())
    content = depth_result(nothing, is_metric=False)
    assert headline(content) == "no depth of 1 pictures"
    assert "no depth" in depth_page(nothing, content)


def test_the_summary_is_readable_at_80_columns(result: DepthResult) -> None:
    content = depth_result(result, is_metric=True)
    text = describe_depth(content, "walk", "walk_depth", ["images/", "report.html"], False)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.startswith("walk: depth of 6 of 7 pictures, ")
    assert "warning" in text
    assert "walk/099.png" in text
    assert "written to walk_depth:" in text


def test_measures_have_their_names(result: DepthResult) -> None:
    figures = measures(depth_result(result, is_metric=True))
    assert tuple(figures) == MEASURES
    assert figures["maps"] == 6.0
    assert figures["maps_share"] == pytest.approx(6.0 / 7.0)
    assert 0.5 < figures["coverage"] <= 1.0
