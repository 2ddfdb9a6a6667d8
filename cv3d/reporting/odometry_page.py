"""The report of `cv3d odometry`: one self-contained HTML page with the path, the states, the timing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import cv3d
from cv3d.odometry.results import OdometryResult, State
from cv3d.reporting.odometry_drawings import segment_drawings
from cv3d.reporting.odometry_summary import headline, speed_words, state_counts, truth_words
from cv3d.reporting.odometry_truth import TruthComparison
from cv3d.reporting.page import Html, figure, joined, number, page, section, table, tag
from cv3d.reporting.path_figures import key, three_sides
from cv3d.reporting.path_view import ViewedSegment, view_element, view_scripts
from cv3d.reporting.report_parts import small_note, tile
from cv3d.reporting.time_figures import Level, Timeline, dots_over_time, line_over_time, strip, ticks_below

STATE_COLOURS = {
    State.OK: "#3a9a5b",
    State.INITIALIZING: "#8d97a2",
    State.LOW_PARALLAX: "#4da3e0",
    State.LOW_TEXTURE: "#d3a41b",
    State.BLUR: "#9a5bd8",
    State.EXPOSURE: "#e07b39",
    State.RELOCALIZING: "#e0559a",
    State.LOST: "#b3301f",
}
"""Of every state, in the order in which one hides the other where a strip has no room for both."""
_MOST_SEGMENTS = 6
"""Segments drawn; a recording in more of them has no path worth looking at."""
_MOST_LOOPS = 100
_TRACKED_WELL, _TRACKED_USABLY = 0.95, 0.5
_PARALLAX_COLOUR = "#9a5bd8"
_TIMING_ROOM = 1.6
"""How far above the 99th percentile a drawing of times reaches."""


def odometry_page(
    result: OdometryResult, truth: TruthComparison | None, content: Mapping[str, Any], title: str = ""
) -> str:
    """A path as one HTML page, which needs no network; the one script of it turns the view in three dimensions.

    Args:
        result: the path.
        truth: how it compares, if there is a truth.
        content: of :func:`cv3d.reporting.odometry_summary.odometry_result`.
        title: any text.
    """
    viewed = segment_drawings(result, truth)[:_MOST_SEGMENTS]
    unit = "m" if result.is_metric else ""
    parts: list[tuple[str, str, Html]] = []
    if viewed:
        parts.append(("path", "Path", _path_section(result, viewed, unit)))
        parts.append(("view", "In three dimensions", _view_section(viewed)))
    if result.frames:
        parts.append(("states", "States", _state_section(result)))
        parts.append(("signals", "Tracking and timing", _signal_section(result)))
    if result.loops:
        parts.append(("loops", "Loops", _loop_section(result)))
    parts.append(("facts", "Facts", _fact_section(content)))
    links = [(anchor, words) for anchor, words, _ in parts]
    scripts = view_scripts(viewed, result.camera, unit) if viewed else ()
    name = title or "Odometry"
    body = [_head(name, content, links), *(one for _, _, one in parts), _footer(content)]
    return page(name, body, scripts)


def _head(title: str, content: Mapping[str, Any], links: Sequence[tuple[str, str]]) -> Html:
    share, segments = content["tracked_fraction"], content["segments"]
    words, level = ("tracked", "good") if share >= _TRACKED_WELL else ("in parts", "usable")
    if share < _TRACKED_USABLY:
        words, level = ("mostly lost" if segments else "not tracked"), "poor"
    top = tag("div", tag("h1", title), tag("span", words, class_=f"badge {level}"), class_="head")
    judged = tag("div", tag("p", f"{headline(content)}."), class_=f"verdict {level}")
    notes = []
    if content["warnings"]:
        lines = tag("ul", *(tag("li", line) for line in content["warnings"]))
        notes.append(tag("div", tag("b", "Warnings"), lines, class_="note"))
    navigation = tag("nav", *(tag("a", name, href=f"#{anchor}") for anchor, name in links))
    return tag("header", top, judged, *notes, tag("dl", *_tiles(content), class_="tiles"), navigation)


def _tiles(content: Mapping[str, Any]) -> list[Html]:
    factor, truth = content["realtime_factor"], content["truth"]
    real_time = f"{number(factor)} × real time" if factor is not None else "no times to compare with"
    focal = content["camera"]["params"]["fx"]
    sigma = content["focal_deviation_px"]
    source = content["intrinsics"] + (f", ± {number(sigma, 2)} px" if sigma is not None else "")
    tiles = [
        tile(
            "Tracked",
            f"{number(100.0 * content['tracked_fraction'])} %",
            f"{content['tracked_frames']:,} of {content['frames']:,}",
        ),
        tile("Segments", f"{content['segments']}", "connected stretches of tracking"),
        tile("Path", _length(content), f"scale {content['scale']}"),
        tile("Key frames", f"{content['keyframes']:,}", f"{content['points']:,} points"),
        tile("Loops", f"{content['loops']}", "closed"),
        tile("Speed", f"{_figure(content['fps'])} frames/s", real_time),
        tile("Focal length", f"{focal:.1f} px", source),
    ]
    if truth is not None and "problem" not in truth:
        share = truth["ate"]["percent"]
        tiles.append(tile("Error", f"{number(truth['ate']['rmse_m'])} m", f"{_figure(share, 2)} % of the path, RMS"))
    return tiles


def _figure(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where it is not known."""
    return number(math.nan if value is None else value, digits)


def _length(content: Mapping[str, Any]) -> str:
    return number(content["path_length"]) + (" m" if content["scale"] == "metric" else "")


def _path_section(result: OdometryResult, viewed: Sequence[ViewedSegment], unit: str) -> Html:
    blocks: list[Html] = []
    for place, segment in enumerate(viewed):
        drawn = three_sides(segment.path, unit, f"path{place}")
        kinds = [(segment.path.colour, "", "path, with key frames as dots")]
        kinds += [("var(--mute)", "1 3", "points of the map")] if len(segment.path.points) else []
        kinds += [("var(--warm)", "2 3", "loops")] if len(segment.path.loops) else []
        kinds += [("var(--soft)", "5 4", "truth, aligned")] if segment.path.truth is not None else []
        if len(viewed) > 1:
            blocks.append(tag("h3", f"{segment.name}: {len(segment.path.positions):,} frames", style="margin-top:18px"))
        blocks.append(key(kinds))
        (name, above), *others = drawn
        first = figure(above, name, "The disc is the first pose, the cross the last.")
        beside = tag("div", *(figure(one, words, "") for words, one in others), class_="stack")
        blocks.append(tag("div", first, beside, class_="pair"))
    words = "All three at one scale, in the frame of the first camera."
    hidden = sum(size > 0 for size in result.segment_sizes) - len(viewed)
    if len(viewed) > 1:
        words += " Every segment has a world of its own: nothing says where in one another's they lie."
    if hidden:
        words += f" {hidden} smaller segments are not drawn."
    return section("path", "Path", tag("p", words, class_="soft"), *blocks)


def _view_section(viewed: Sequence[ViewedSegment]) -> Html:
    words = "Drag to turn, scroll to zoom, click the legend to hide or show."
    if len(viewed) > 1:
        words += " Every segment has a world of its own; the legend shows the others."
    return section("view", "In three dimensions", figure(view_element(), "Path and map", words))


def _state_section(result: OdometryResult) -> Html:
    timeline = _timeline(result)
    order = list(STATE_COLOURS)
    ranks = np.array([order.index(frame.state) for frame in result.frames], np.intp)
    counts = state_counts(result)
    legend = [_swatch(STATE_COLOURS[one.state], f"{one.state} {one.frames:,}") for one in counts]
    band = strip(timeline, ranks, list(STATE_COLOURS.values()), "State of every frame over time")
    content = [tag("ul", *legend, class_="legend"), band, ticks_below(timeline)]
    doubts = [one for one in counts if one.state is not State.OK]
    rows = [
        ("", [one.state.value, f"{one.frames:,}", str(one.first.index), one.first.name, one.reason]) for one in doubts
    ]
    head = ["state", "frames", "first", "its name", "why, mostly"]
    drawn = [figure(joined(content), "What became of every frame", "Where there is no room, the worst state is shown.")]
    if rows:
        drawn.append(tag("div", table(head, rows, numeric=(1, 2)), style="margin-top:14px"))
        drawn.append(small_note("The state and reason of every frame are in frames.csv."))
    return section("states", "States", *drawn)


def _swatch(colour: str, words: str) -> Html:
    dot = tag("span", style=f"display:inline-block;width:11px;height:11px;border-radius:3px;background:{colour}")
    return tag("li", dot, " ", words)


def _timeline(result: OdometryResult) -> Timeline:
    return Timeline.of([frame.time for frame in result.frames], result.is_timed)


def _signal_section(result: OdometryResult) -> Html:
    timeline = _timeline(result)
    inliers = np.array([frame.inliers for frame in result.frames], np.float64)
    parallax = np.array([frame.parallax_deg for frame in result.frames], np.float64)
    spent = np.array([frame.ms for frame in result.frames], np.float64)
    is_key = np.array([frame.is_key for frame in result.frames], np.bool_)
    timing = result.timing
    levels = [
        Level(timing.p50, f"median {number(timing.p50)} ms", ""),
        Level(timing.p95, f"p95 {number(timing.p95)} ms", "6 3"),
        Level(timing.p99, f"p99 {number(timing.p99)} ms", "2 3"),
    ]
    top = max(_TIMING_ROOM * timing.p99, 1e-3)
    times, above = dots_over_time(timeline, spent, is_key, levels, top, "Time spent on every frame")
    more = f" {above} frames took longer than is drawn, up to {number(float(spent.max()))} ms." if above else ""
    cards = [
        figure(
            line_over_time(timeline, inliers, "inliers", "Inliers of every frame"),
            "Inliers",
            "Mapped points that the pose of a frame agrees with.",
        )
    ]
    if np.isfinite(parallax).any():
        drawn = line_over_time(timeline, parallax, "parallax, degrees", "Parallax of every frame", _PARALLAX_COLOUR)
        reading = "Between the rays to the points followed, from here and from the last key frame."
        cards.append(figure(drawn, "Parallax", reading))
    cards.append(figure(times, "Time per frame", f"Decoding not included. Key frames stand out in colour.{more}"))
    return section("signals", "Tracking and timing", tag("div", *cards, class_="pair"))


def _loop_section(result: OdometryResult) -> Html:
    rows = [
        (
            "",
            [
                str(one.frame),
                str(one.earlier_frame),
                f"{one.inliers:,}",
                "joined two segments" if one.joined_segments else "",
            ],
        )
        for one in result.loops[:_MOST_LOOPS]
    ]
    more = len(result.loops) - _MOST_LOOPS
    notes = [small_note(f"{more} more are in result.json.")] if more > 0 else []
    return section("loops", "Loops", table(["frame", "sees again", "inliers", ""], rows, numeric=(0, 1, 2)), *notes)


def _fact_section(content: Mapping[str, Any]) -> Html:
    camera = content["camera"]
    params = ", ".join(f"{name} {number(value, 6)}" for name, value in list(camera["params"].items())[:12])
    more = len(camera["params"]) - 12
    rows = [
        ("source", content["source"]),
        ("sensor", content["sensor"]),
        ("frames", f"{content['frames']:,}, of which {content['tracked_frames']:,} have a pose in the largest segment"),
        ("speed", speed_words(content)),
        ("wall time", f"{content['elapsed_s']:.1f} s"),
        ("camera", f"{camera['model']}, {camera['width']} × {camera['height']}, {content['intrinsics']}"),
        ("parameters", params + (f" and {more} more" if more > 0 else "")),
        ("scale", content["scale"]),
    ]
    if content["truth"] is not None:
        rows.append(("truth", truth_words(content["truth"])))
    if content["interrupted"]:
        rows.append(("interrupted", "the run ended before the recording did"))
    return section("facts", "Facts", table(["fact", "value"], [("", [tag("b", name), words]) for name, words in rows]))


def _footer(content: Mapping[str, Any]) -> Html:
    return tag("footer", joined([f"cv3d {cv3d.__version__} · seed {content['seed']}"]))
