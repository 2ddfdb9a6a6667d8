"""The page of a path: whole, self-contained, bounded, true to its numbers."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from cv3d.odometry.results import Sensor, State
from cv3d.reporting.odometry_page import STATE_COLOURS, odometry_page
from cv3d.reporting.odometry_summary import odometry_result
from cv3d.reporting.odometry_truth import compare_with_truth
from cv3d.reporting.time_figures import Timeline, line_over_time, strip

Maker = Callable[..., Any]
VOID = {"br", "col", "hr", "img", "input", "meta", "wbr"}
MOST_BYTES = 1_500_000
"""Without plotly's library, which is 4.8 MB of it."""


class Balance(HTMLParser):
    """Sees that what is opened is closed, and collects scripts, ids and what would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        named = dict(attrs)
        if tag == "script":
            self.scripts.append("")
        if named.get("http-equiv") == "Content-Security-Policy":
            self.policy = named["content"] or ""
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith(("data:", "#")):
                self.loaded.append(value)
            if name == "href" and value and value.startswith("#"):
                self.links.append(value[1:])
            if name == "id" and value:
                self.ids.append(value)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def rendered(result: Any, title: str = "a walk") -> str:
    truth = compare_with_truth(result)
    return odometry_page(result, truth, odometry_result(result, truth), title)


CASES: dict[str, dict[str, Any]] = {
    "whole": {},
    "segments": {"segments": 8, "frames": 200, "loops": 3, "warnings": ("<b>careful</b>",)},
    "mono": {"sensor": Sensor.MONO, "estimated": True, "truth": False, "is_timed": False},
    "nothing": {"tracked": False, "interrupted": True},
    "one frame": {"frames": 1, "troubles": False},
    "no frame": {"frames": 0, "tracked": False, "interrupted": True},
    "long": {"frames": 12_000, "truth": False},
}


@pytest.mark.parametrize("case", CASES)
def test_the_page_is_whole_and_loads_nothing(case: str, make_odometry: Maker) -> None:
    text = rendered(make_odometry(**CASES[case]), "<a> & b")
    page = Balance()
    page.feed(text)
    page.close()
    assert page.open == []
    assert page.loaded == []
    assert set(page.links) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "&lt;a&gt; &amp; b" in text
    assert "<b>careful" not in text
    assert len(text) - sum(map(len, page.scripts[:1])) < MOST_BYTES
    assert "nan" not in re.sub(r"<script.*</script>", "", text, flags=re.DOTALL).lower()


def test_the_policy_names_the_scripts_and_nothing_else_may_run(make_odometry: Maker) -> None:
    page = Balance()
    page.feed(rendered(make_odometry()))
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.scripts]
    assert len(digests) == 2
    assert page.policy.endswith("; script-src " + " ".join(f"'sha256-{digest}'" for digest in digests))
    nothing = Balance()
    nothing.feed(rendered(make_odometry(tracked=False)))
    assert nothing.scripts == []
    assert "script-src" not in nothing.policy


def test_the_view_holds_the_path(make_odometry: Maker) -> None:
    result = make_odometry(segments=2, troubles=False)
    page = Balance()
    page.feed(rendered(result))
    found = re.search(r"const figure=(\{.*\});const place", page.scripts[1])
    assert found is not None
    traces = {trace["name"]: trace for trace in json.loads(found[1])["data"]}
    for number in (0, 1):
        trace = traces[f"path, segment {number}"]
        drawn = np.array([trace["x"], trace["y"], trace["z"]], np.float64).T
        np.testing.assert_allclose(drawn, result.segment(number).positions, atol=1e-3)
        assert trace["visible"] == (True if number == 0 else "legendonly")
    # The truth is brought into the world of the path.
    truth = np.array([traces["truth"][axis] for axis in "xyz"], np.float64).T
    assert np.abs(truth - result.segment(0).positions).max() < 0.03


def test_every_state_has_a_colour() -> None:
    assert set(STATE_COLOURS) == set(State)
    assert len(set(STATE_COLOURS.values())) == len(State)


def test_a_strip_shows_the_worst_of_what_has_no_room() -> None:
    ranks = np.zeros(10_000, np.intp)
    ranks[5_000] = 2
    drawn = strip(Timeline.of(np.arange(10_000.0).tolist(), True), ranks, ["green", "blue", "red"], "states")
    rects = re.findall(r'<rect x="(\d+)" y="0" width="(\d+)" height="1" fill="(\w+)">', drawn)
    assert [(int(x), int(w), c) for x, w, c in rects] == [(0, 600, "green"), (600, 1, "red"), (601, 599, "green")]


def test_a_strip_of_few_frames_with_gaps_covers_its_time() -> None:
    drawn = strip(Timeline.of([0.0, 0.1, 5.0], True), np.array([0, 1, -1]), ["green", "blue"], "states")
    assert re.findall(r'fill="(\w+)"', drawn) == ["blue"]


def test_lines_keep_their_spikes() -> None:
    values = np.ones(50_000)
    values[31_234] = 100.0
    drawn = line_over_time(Timeline.of(np.arange(50_000.0).tolist(), False), values, "y", "spike")
    heights = [float(y) for y in re.findall(r"[\d.]+ ([\d.]+)(?=L|\")", drawn)]
    assert min(heights) < 30.0
    assert len(drawn) < 60_000


@pytest.mark.parametrize("times", [[0.0, 0.2, 0.1], [0.0, float("nan"), 1.0]])
def test_stamps_that_say_nothing_are_replaced_by_the_count(times: list[float]) -> None:
    timeline = Timeline.of(times, True)
    np.testing.assert_array_equal(timeline.values, [0.0, 1.0, 2.0])
    assert timeline.title == "frame"
