from __future__ import annotations

import io
import json
import re
import threading
import time
from collections.abc import Callable

import pytest

from cv3d.progress import Progress
from cv3d.reporting.pace import Pace, time_words
from cv3d.reporting.progress import (
    Bar,
    Detail,
    JsonEvents,
    Lines,
    ProgressStyle,
    Reporter,
    asked_for,
    make_reporter,
)


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
    steps = [line.partition(",")[0] for line in stream.getvalue().splitlines()[1:-1]]
    assert steps == [f"detect: {2**power}" for power in range(10)]


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
        reporter.note("lost")
        reporter.advance("track")
        reporter.note("")
        reporter.advance("track")
        reporter.finish("track")
        reporter.close()
    assert plain.getvalue().splitlines()[1:3] == [
        "track: 1/2 (50%), 0.0167/s, 1 min 00 s left, lost",
        "track: 2/2 (100%), 0.0167/s",
    ]
    steps = [json.loads(line) for line in events.getvalue().splitlines() if '"progress"' in line]
    assert [step.get("note") for step in steps] == ["lost", None]


def test_plain_lines_tell_rate_and_time_left() -> None:
    stream = io.StringIO()
    run_job(Lines(stream, Detail(steps=True), Clock(3.0)), 100, 100)
    lines = stream.getvalue().splitlines()
    assert lines[1] == "detect: 10/100 (10%), 0.333/s, 4 min 30 s left"
    assert lines[9] == "detect: 90/100 (90%), 0.333/s, 30 s left"
    assert lines[10] == "detect: 100/100 (100%), 0.333/s"


def test_events_tell_rate_and_time_left_where_they_are_known() -> None:
    stream = io.StringIO()
    clock = Clock(0.5)
    events = JsonEvents(stream, clock)
    run_job(events, 10, 10)
    run_job(events, 10, None)
    steps = [json.loads(line) for line in stream.getvalue().splitlines() if '"progress"' in line]
    assert [step["seconds"] for step in steps[:10]] == [0.5 * (k + 1) for k in range(10)]
    assert {step["rate"] for step in steps} == {2.0}
    assert [step["left_s"] for step in steps[:10]] == [0.5 * (9 - k) for k in range(10)]
    assert {step["left_s"] for step in steps[10:]} == {None}
    # Doublings, and once a second between them.
    assert [step["done"] for step in steps[10:]] == [1, 2, 4, 6, 8, 10]


def test_the_pace_is_that_of_late() -> None:
    pace = Pace(0.0)
    assert (pace.rate, pace.left_s(10)) == (None, None)
    for k in range(1000):
        pace.update(0.1 * (k + 1), k + 1)
    assert pace.rate == pytest.approx(10.0)
    for k in range(100):
        pace.update(100.0 + 2.0 * (k + 1), 1001 + k)
    assert pace.rate == pytest.approx(0.5)
    assert pace.left_s(1110) == pytest.approx(20.0)
    pace.update(400.0, 1101)  # one step that takes longer than the pace looks back
    assert pace.rate == pytest.approx(1.0 / 100.0, rel=0.1)
    assert pace.left_s(1000) == 0.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.4, "59 s"), (60.0, "1 min 00 s"), (3599.4, "59 min 59 s"), (7500, "2 h 05 min")],
)
def test_time_spans(seconds: float, words: str) -> None:
    assert time_words(seconds) == words


def test_numbers_are_never_cut_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    bar = Bar(stream, Detail())
    bar.start("look for the board in every picture of the left camera", 12000)
    bar.note("a remark that is longer than what is left of a line")
    give_up = time.monotonic() + 20
    while not (drawn := lines_with_a_rate(stream)) and time.monotonic() < give_up:
        bar.advance("look for the board in every picture of the left camera", 10)
        time.sleep(0.02)
    time.sleep(0.2)
    bar.close()
    drawn = lines_with_a_rate(stream)
    assert all(len(line) <= 80 for line in drawn)
    assert re.search(r"\d+/12000 +[\d.e+]+/s \d\d:\d\d ", drawn[-1])


def lines_with_a_rate(stream: io.StringIO) -> list[str]:
    """What stood on the screen, without colours and movements of the cursor."""
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    return [line for line in re.split(r"[\r\n]+", plain) if "/s " in line]


@pytest.mark.parametrize(
    ("argv", "environ", "style"),
    [
        (["toy"], {}, "none"),
        (["toy", "--progress", "json", "--nonsense"], {}, "json"),
        (["toy", "--progress=json"], {}, "json"),
        (["toy", "--progress", "bar"], {"CV3D_PROGRESS": "json"}, "none"),
        (["toy", "--progress"], {"CV3D_PROGRESS": "json"}, "json"),
    ],
)
def test_wrong_usage_is_said_in_the_style_asked_for(argv: list[str], environ: dict[str, str], style: str) -> None:
    assert asked_for(argv, environ) == style


@pytest.mark.parametrize("style", ["plain", "bar", "json"])
def test_a_traceback_stays_within_the_style(style: str) -> None:
    stream = Terminal()
    make_reporter(ProgressStyle(style), stream, {}).error("no", 70, "Traceback\n  here\n")
    if style == "json":
        (event,) = map(json.loads, stream.getvalue().splitlines())
        assert event == {"v": 1, "event": "error", "message": "no", "exit_code": 70, "traceback": "Traceback\n  here\n"}
    else:
        assert stream.getvalue() == "Traceback\n  here\nerror: no\n"
