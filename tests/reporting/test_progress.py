from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable

import pytest

from cv3d.progress import Progress
from cv3d.reporting.progress import Bar, Detail, JsonEvents, Lines, ProgressStyle, Reporter, make_reporter


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run_job(progress: Progress, steps: int, total: int | None) -> None:
    progress.start("detect", total)
    for _ in range(steps):
        progress.advance("detect")
    progress.finish("detect")


class Clock:
    """A clock that moves on by a fixed step each time it is read."""

    def __init__(self, step_s: float) -> None:
        self.now = 0.0
        self.step_s = step_s

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


def test_a_stage_of_less_than_two_seconds_has_only_its_start_and_end() -> None:
    stream = io.StringIO()
    run_job(Lines(stream, Detail(steps=True), Clock(0.01)), 100, 100)
    assert stream.getvalue().splitlines() == ["detect: 0/100", "detect: done in 1.0 s"]


def test_lines_of_one_stage_are_two_seconds_apart() -> None:
    stream = io.StringIO()
    run_job(Lines(stream, Detail(steps=True), Clock(0.0625)), 100, 100)
    assert [line.split()[1] for line in stream.getvalue().splitlines()[1:-1]] == ["32/100", "64/100", "96/100"]


@pytest.mark.parametrize("total", [1, 3, 7, 10, 50, 99, 1000])
def test_plain_lines_come_every_ten_percent(total: int) -> None:
    stream = io.StringIO()
    run_job(Lines(stream, Detail(steps=True), Clock(60.0)), total, total)
    first, *steps, last = stream.getvalue().splitlines()
    counts = [int(line.split()[1].partition("/")[0]) for line in steps]
    assert first == f"detect: 0/{total}"
    assert last.startswith("detect: done")
    assert counts == sorted(set(counts))
    assert counts[-1] == total
    assert len(counts) == min(total, 10)
    assert all(b - a <= total / 10 + 1 for a, b in zip([0, *counts], counts, strict=False))


def test_without_a_total_plain_lines_come_at_doublings() -> None:
    stream = io.StringIO()
    run_job(Lines(stream, Detail(steps=True), Clock(60.0)), 1000, None)
    assert [line for line in stream.getvalue().splitlines() if line[-1].isdigit()] == [
        f"detect: {2**power}" for power in range(10)
    ]


def test_more_steps_than_announced_and_stages_never_started_do_no_harm() -> None:
    for reporter in (Lines(io.StringIO(), Detail(steps=True)), JsonEvents(io.StringIO()), Bar(Terminal(), Detail())):
        run_job(reporter, 5, 0)
        run_job(reporter, 5, 2)
        reporter.advance("unannounced")
        reporter.finish("unannounced")
        reporter.finish("never heard of")
        reporter.close()


def test_events_are_one_json_object_a_line_with_a_version() -> None:
    stream = io.StringIO()
    reporter = JsonEvents(stream)
    run_job(reporter, 4, 4)
    reporter.info("note")
    reporter.warn("größe\nof two lines")
    reporter.result({"schema": "x/1", "rms_px": 0.5})
    reporter.error("no", 1)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {event["v"] for event in events} == {1}
    kinds = ["start", *["progress"] * 4, "finish", "info", "warning", "result", "error"]
    assert [event["event"] for event in events] == kinds
    assert events[0]["total"] == 4
    assert [event["done"] for event in events[1:5]] == [1, 2, 3, 4]
    assert events[-2]["result"] == {"schema": "x/1", "rms_px": 0.5}
    assert events[-1]["exit_code"] == 1


def test_a_long_stage_has_at_most_about_a_hundred_events() -> None:
    stream = io.StringIO()
    run_job(JsonEvents(stream), 100_000, 100_000)
    assert 100 <= len(stream.getvalue().splitlines()) <= 105


def test_the_bar_shows_rate_and_time_left_and_leaves_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    bar = Bar(stream, Detail())
    bar.start("detect", 10)
    bar.advance("detect", 2)
    bar.advance("detect", 2)
    bar.warn("a [bold]picture[/bold] is dark")
    give_up = time.monotonic() + 20
    while "/s" not in stream.getvalue() and time.monotonic() < give_up:
        time.sleep(0.02)  # the bar draws itself at its own pace
    bar.finish("detect")
    shown = stream.getvalue()
    assert "detect" in shown
    assert "4/10" in shown
    assert "/s" in shown
    assert "warning: a [bold]picture[/bold] is dark" in shown
    assert "\x1b[?25h" in shown  # the cursor is back
    stream.truncate(0)
    bar.error("it failed", 1)
    assert stream.getvalue().lstrip("\x00") == "error: it failed\n"


def test_the_bar_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    run_job(Bar(stream, Detail()), 2, 2)
    assert "\x1b[3" not in stream.getvalue()
    assert "\x1b[38" not in stream.getvalue()


@pytest.mark.parametrize(
    ("stream", "style", "environ", "expected"),
    [
        (Terminal, "auto", {}, Bar),
        (Terminal, "auto", {"TERM": "dumb"}, Lines),
        (Terminal, "auto", {"CV3D_NO_PROGRESS": "1"}, Lines),
        (Terminal, "bar", {"CV3D_NO_PROGRESS": "1"}, Bar),
        (Terminal, "plain", {}, Lines),
        (io.StringIO, "auto", {}, Lines),
        (io.StringIO, "json", {"CV3D_NO_PROGRESS": "1"}, JsonEvents),
    ],
)
def test_the_style_follows_option_terminal_and_environment(
    stream: Callable[[], io.StringIO], style: str, environ: dict[str, str], expected: type
) -> None:
    assert type(make_reporter(ProgressStyle(style), stream(), environ)) is expected


def speak(reporter: Reporter) -> None:
    run_job(reporter, 2, 2)
    reporter.info("an info")
    reporter.warn("a warning")
    reporter.error("an error", 1)


@pytest.mark.parametrize(
    ("style", "quiet", "verbose", "environ", "words"),
    [
        ("plain", False, False, {}, {"detect", "warning", "error"}),
        ("plain", False, True, {}, {"detect", "info", "warning", "error"}),
        ("plain", True, False, {}, {"error"}),
        ("none", False, False, {}, {"warning", "error"}),
        ("auto", False, False, {"CV3D_NO_PROGRESS": "1"}, {"warning", "error"}),
        ("json", True, False, {}, {"detect", "info", "warning", "error"}),
    ],
)
def test_quiet_and_verbose(style: str, quiet: bool, verbose: bool, environ: dict[str, str], words: set[str]) -> None:
    stream = io.StringIO()
    speak(make_reporter(ProgressStyle(style), stream, environ, quiet=quiet, verbose=verbose))
    assert {word for word in ("detect", "info", "warning", "error") if word in stream.getvalue()} == words


@pytest.mark.parametrize("make", [lambda out: Lines(out, Detail(steps=True), Clock(60.0)), JsonEvents])
def test_threads_lose_no_steps_and_no_lines(make: Callable[[io.StringIO], Reporter]) -> None:
    stream = io.StringIO()
    reporter = make(stream)
    reporter.start("detect", 8000)
    threads = [threading.Thread(target=lambda: [reporter.advance("detect") for _ in range(1000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    if isinstance(reporter, JsonEvents):
        counts = [json.loads(line)["done"] for line in lines[1:]]
        assert counts[-1] > 7900
    else:
        counts = [int(line.split()[1].partition("/")[0]) for line in lines[1:]]
        assert counts[-1] == 8000
    assert counts == sorted(counts)


def test_a_remark_stands_beside_the_progress() -> None:
    plain, events, terminal = io.StringIO(), io.StringIO(), Terminal()
    reporters: list[Reporter] = [
        Lines(plain, Detail(steps=True), Clock(60.0)),
        JsonEvents(events),
        Bar(terminal, Detail()),
    ]
    for reporter in reporters:
        reporter.start("track", 2)
        reporter.note("31 frames/s, ok")
        reporter.advance("track")
        reporter.note("")
        reporter.advance("track")
        reporter.finish("track")
        reporter.close()
    assert plain.getvalue().splitlines()[1:3] == ["track: 1/2 (50%), 31 frames/s, ok", "track: 2/2 (100%)"]
    steps = [json.loads(line) for line in events.getvalue().splitlines() if '"progress"' in line]
    assert [step.get("note") for step in steps] == ["31 frames/s, ok", None]
