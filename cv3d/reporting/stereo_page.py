"""The report of dense stereo: the left picture beside its disparity, how that was judged, and the points in space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv3d
from cv3d.depth.stereo import StereoResult
from cv3d.reporting.depth_page import side_by_side
from cv3d.reporting.depth_pictures import bgr, confidence_colors, disparity_colors
from cv3d.reporting.depth_space import depth_in_space
from cv3d.reporting.page import Html, figure, joined, number, page, percent, section, table, tag
from cv3d.reporting.report_parts import small_note, tile
from cv3d.reporting.scenes.plotly_scene import plotly_library

_SIDE = 900
_BYTES = 400_000
_WORDS = (
    "The left picture as it was matched; the disparity, red near and blue far; the confidence, the brighter the surer. "
    "Dark is where there is none."
)


def stereo_page(result: StereoResult, content: Mapping[str, Any], title: str = "Stereo") -> str:
    """Dense stereo as one HTML page, which needs no network.

    Args:
        result: of the pair.
        content: of :func:`cv3d.reporting.stereo_summary.stereo_content`.
        title: any text.
    """
    shown = {
        result.names[0]: bgr(result.color),
        "disparity": disparity_colors(result.disparity.disparity),
        "confidence": confidence_colors(result.disparity.confidence),
    }
    pictures = tag("div", side_by_side(shown, _SIDE, _BYTES), class_="view")
    parts = [section("disparity", "Disparity", pictures, small_note(_WORDS))]
    if content["truth"] is not None:
        parts.append(_truth_section(content["truth"]))
    scripts: list[str] = []
    found = result.depth_map
    drawn = None if found is None else depth_in_space([found], "m" if result.is_metric else "")
    if drawn is not None:
        scripts = [plotly_library(), drawn.script]
        words = "Depth of confidence above one half, thinned. Drag to turn, scroll to zoom."
        parts.append(section("space", "In space", figure(drawn.markup, "Points", words)))
    foot = tag("footer", joined([f"cv3d {cv3d.__version__} · {result.disparity.device}"]))
    return page(title, [_head(content, title), *parts, foot], scripts)


def _head(content: Mapping[str, Any], title: str) -> Html:
    lines = [tag("li", one) for one in content["warnings"]]
    notes = [tag("div", tag("b", "Warnings"), tag("ul", *lines), class_="note")] if lines else []
    top = tag("div", tag("h1", title), class_="head")
    return tag("header", top, *notes, tag("dl", *_tiles(content), class_="tiles"))


def _tiles(content: Mapping[str, Any]) -> list[Html]:
    tiles = [
        tile("Coverage", percent(content["coverage"]), "of the pixels have a disparity"),
        tile("Confidence", number(content["mean_confidence"], 2), "mean over these pixels"),
        tile("Size", f"{content['width']} × {content['height']}", "pixels"),
        tile("Disparities", f"up to {content['max_disparity']} px", "looked for"),
    ]
    offset = content["row_offset_px"]
    if offset is not None:
        tiles.append(tile("Rows", f"{number(offset, 2)} px", f"off by, median of {content['row_matches']:,} matches"))
    if content["median_depth"] is not None:
        unit = " m" if content["is_metric"] else ""
        note = f"median; baseline {number(content['baseline'])}{unit}"
        tiles.append(tile("Depth", f"{number(content['median_depth'])}{unit}", note))
    tiles.append(tile("Time", f"{number(content['seconds']['total'])} s", content["device"]))
    return tiles


def _truth_section(truth: Mapping[str, Any]) -> Html:
    error = truth["mean_error_px"]
    rows = [
        ("", ["off by more than 1 px, or nothing", percent(truth["bad_1"])]),
        ("", ["off by more than 2 px, or nothing", percent(truth["bad_2"])]),
        ("", ["mean error where there is one", f"{number(error)} px" if error is not None else "–"]),
        ("", ["pixels with a disparity", percent(truth["coverage"])]),
    ]
    words = f"Over the {truth['pixels']:,} pixels whose true disparity is known."
    return section("truth", "Against the truth", table(("", "share"), rows, numeric=(1,)), small_note(words))
