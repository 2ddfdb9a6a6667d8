"""The course of a job for people (a bar, or plain lines) and for programs (one JSON event a line).

Everything here writes to the one stream that it is given, the command line's standard error, and may be called from
several threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TextIO

from cv3d.formats.json_text import to_json
from cv3d.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

EVENT_VERSION = 1
"""The `v` of every JSON event; raised when an event changes its meaning."""


class ProgressStyle(StrEnum):
    """How the course of a job is shown."""

    AUTO = "auto"
    BAR = "bar"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


class Reporter(Progress, Protocol):
    """A :class:`~cv3d.progress.Progress` that also carries the end of the job, and a remark on how it goes."""

    def note(self, text: str) -> None:
        """How it goes just now: shown beside the progress from its next step on. "" takes the remark away."""

    def result(self, result: Mapping[str, object]) -> None:
        """The job is done; `result` is the object that `--json` prints."""

    def error(self, message: str, exit_code: int) -> None:
        """The job has failed with a message of one line."""

    def close(self) -> None:
        """Give the terminal back. Later calls are allowed and open it again."""


def make_reporter(
    style: ProgressStyle, stream: TextIO, environ: Mapping[str, str], *, quiet: bool = False, verbose: bool = False
) -> Reporter:
    """The reporter for a style, a stream and an environment.

    "auto" is a bar where `stream` is a terminal that can redraw a line and plain lines elsewhere; `CV3D_NO_PROGRESS`
    turns it into "none", which still prints warnings and errors. `quiet` keeps errors only. `verbose` adds
    informational lines. JSON events are complete whatever `quiet` and `verbose` say: a program reads them.
    """
    if style is ProgressStyle.JSON:
        return JsonEvents(stream)
    if quiet:
        return Lines(stream, Detail(warnings=False))
    if style is ProgressStyle.AUTO:
        style = _automatic(stream, environ)
    if style is ProgressStyle.BAR:
        return Bar(stream, Detail(infos=verbose))
    return Lines(stream, Detail(steps=style is ProgressStyle.PLAIN, infos=verbose))


def _automatic(stream: TextIO, environ: Mapping[str, str]) -> ProgressStyle:
    if environ.get("CV3D_NO_PROGRESS"):
        return ProgressStyle.NONE
    if stream.isatty() and environ.get("TERM") != "dumb":
        return ProgressStyle.BAR
    return ProgressStyle.PLAIN


@dataclass(frozen=True)
class Detail:
    """What a reporter for people prints beside errors."""

    steps: bool = False
    """Lines while a stage advances."""
    infos: bool = False
    """Informational messages."""
    warnings: bool = True
    """Warnings."""


@dataclass
class _Stage:
    total: int | None
    done: int = 0
    next_line: int = 1
    """Plain lines: the count at which the next line is due."""
    started: float = 0.0
    last_line: float = 0.0
    """Plain lines: when the last one was printed."""

    def due(self) -> bool:
        """Whether a line is due at the present count; plans the next one 10 % (or, unbounded, a doubling) later."""
        if self.done < self.next_line:
            return False
        if self.total is None:
            self.next_line = 2 * self.done
        else:
            tenths = 10 * self.done // max(self.total, 1)
            self.next_line = -(-(tenths + 1) * self.total // 10)
        return True


_BETWEEN_LINES_S = 2.0


class Lines:
    """Plain lines: a stage's start, every 10 % of it, its end; warnings; errors. No control characters.

    Two lines of one stage are at least two seconds apart, so that short stages take only their start and end.
    """

    def __init__(self, stream: TextIO, detail: Detail, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._detail = detail
        self._clock = clock
        self._stages: dict[str, _Stage] = {}
        self._note = ""
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """Words at the end of the lines of progress."""
        self._note = text

    def start(self, stage: str, total: int | None = None) -> None:
        """A stage begins."""
        with self._lock:
            first = 1 if total is None else max(1, -(-total // 10))
            now = self._clock()
            self._stages[stage] = _Stage(total, next_line=first, started=now, last_line=now)
            if self._detail.steps:
                self._print(f"{stage}: started" if total is None else f"{stage}: 0/{total}")

    def advance(self, stage: str, steps: int = 1) -> None:
        """`steps` further steps of `stage` are done."""
        with self._lock:
            now = self._clock()
            state = self._stages.setdefault(stage, _Stage(None, started=now, last_line=now))
            state.done += steps
            if not self._detail.steps or now - state.last_line < _BETWEEN_LINES_S or not state.due():
                return
            state.last_line = now
            note = f", {self._note}" if self._note else ""
            if state.total:
                self._print(f"{stage}: {state.done}/{state.total} ({100 * state.done // state.total}%){note}")
            else:
                self._print(f"{stage}: {state.done}{note}")

    def finish(self, stage: str) -> None:
        """The stage is over."""
        with self._lock:
            state = self._stages.pop(stage, None)
            if state is not None and self._detail.steps:
                self._print(f"{stage}: done in {self._clock() - state.started:.1f} s")

    def info(self, message: str) -> None:
        """A line where informational lines are wanted."""
        if self._detail.infos:
            with self._lock:
                self._print(message)

    def warn(self, message: str) -> None:
        """A line that begins with "warning:"."""
        if self._detail.warnings:
            with self._lock:
                self._print(f"warning: {message}")

    def result(self, result: Mapping[str, object]) -> None:
        """Nothing: the result is printed on standard output."""

    def error(self, message: str, exit_code: int) -> None:
        """A line that begins with "error:"."""
        with self._lock:
            self._print(f"error: {message}")

    def close(self) -> None:
        """Nothing to give back."""

    def _print(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class JsonEvents:
    """One JSON object a line: start, progress, finish, info, warning, result and error, each with its version `v`.

    `progress` comes at most once per percent of a stage (or per doubling where its length is unknown), so that a
    stage of a million steps stays readable.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stages: dict[str, _Stage] = {}
        self._note = ""
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """The field `note` of the events `progress`, where there is one."""
        self._note = text

    def start(self, stage: str, total: int | None = None) -> None:
        """Event `start` with stage and total."""
        with self._lock:
            self._stages[stage] = _Stage(total, started=time.monotonic())
            self._write("start", stage=stage, total=total)

    def advance(self, stage: str, steps: int = 1) -> None:
        """Event `progress` with stage, done and total."""
        with self._lock:
            state = self._stages.setdefault(stage, _Stage(None, started=time.monotonic()))
            state.done += steps
            if state.done >= state.next_line:
                state.next_line = 2 * state.done if state.total is None else state.done + max(1, state.total // 100)
                noted = {"note": self._note} if self._note else {}
                self._write("progress", stage=stage, done=state.done, total=state.total, **noted)

    def finish(self, stage: str) -> None:
        """Event `finish` with stage, done and seconds."""
        with self._lock:
            state = self._stages.pop(stage, None)
            if state is not None:
                seconds = round(time.monotonic() - state.started, 3)
                self._write("finish", stage=stage, done=state.done, seconds=seconds)

    def info(self, message: str) -> None:
        """Event `info` with message."""
        with self._lock:
            self._write("info", message=message)

    def warn(self, message: str) -> None:
        """Event `warning` with message."""
        with self._lock:
            self._write("warning", message=message)

    def result(self, result: Mapping[str, object]) -> None:
        """Event `result` with the whole result."""
        with self._lock:
            self._write("result", result=result)

    def error(self, message: str, exit_code: int) -> None:
        """Event `error` with message and exit_code."""
        with self._lock:
            self._write("error", message=message, exit_code=exit_code)

    def close(self) -> None:
        """Nothing to give back."""

    def _write(self, event: str, **fields: object) -> None:
        self._stream.write(to_json({"v": EVENT_VERSION, "event": event, **fields}, ascii_only=True) + "\n")
        self._stream.flush()


class Bar:
    """A bar per stage with its rate and the time left. It is on the screen only while a stage runs."""

    def __init__(self, stream: TextIO, detail: Detail) -> None:
        self._stream = stream
        self._detail = detail
        self._bars: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._note = ""
        self._lock = threading.RLock()

    def note(self, text: str) -> None:
        """Words behind the bar."""
        self._note = text

    def start(self, stage: str, total: int | None = None) -> None:
        """A stage begins: its bar appears."""
        with self._lock:
            if self._bars is None:
                self._bars = _rich_bars(self._stream)
                self._bars.start()
            if stage in self._tasks:
                self._bars.remove_task(self._tasks.pop(stage))
            self._tasks[stage] = self._bars.add_task(stage, total=total, note=self._note)

    def advance(self, stage: str, steps: int = 1) -> None:
        """`steps` further steps of `stage` are done."""
        with self._lock:
            if stage not in self._tasks:
                self.start(stage)
            if self._bars is not None:
                self._bars.update(self._tasks[stage], advance=steps, note=self._note)

    def finish(self, stage: str) -> None:
        """The stage is over; with the last one the bars leave the screen."""
        with self._lock:
            task = self._tasks.pop(stage, None)
            if task is not None and self._bars is not None:
                self._bars.remove_task(task)
            if not self._tasks:
                self.close()

    def info(self, message: str) -> None:
        """A line above the bars where informational lines are wanted."""
        if self._detail.infos:
            self._print(message)

    def warn(self, message: str) -> None:
        """A line above the bars that begins with "warning:"."""
        if self._detail.warnings:
            self._print(f"warning: {message}")

    def result(self, result: Mapping[str, object]) -> None:
        """Take the bars away: the result is printed on standard output, often the same terminal."""
        self.close()

    def error(self, message: str, exit_code: int) -> None:
        """Take the bars away and print a line that begins with "error:"."""
        self.close()
        self._print(f"error: {message}")

    def close(self) -> None:
        """Take the bars away."""
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
                self._bars = None
            self._tasks.clear()

    def _print(self, line: str) -> None:
        with self._lock:
            if self._bars is not None:
                self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                self._stream.write(line + "\n")
                self._stream.flush()


def _rich_bars(stream: TextIO) -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.progress import Task as RichTask
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """Steps a second."""

        def render(self, task: RichTask) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.3g}/s", style="progress.data.speed")

    return RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(file=stream, force_terminal=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
