"""The course of a job as bars on a terminal."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from cv3d.reporting.progress_lines import Detail

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


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

    def expect(self, message: str) -> None:
        """A line above the bars."""
        if self._detail.warnings:
            self._print(message)

    def warn(self, message: str) -> None:
        """A line above the bars that begins with "warning:"."""
        if self._detail.warnings:
            self._print(f"warning: {message}")

    def result(self, result: Mapping[str, object]) -> None:
        """Take the bars away: the result is printed on standard output, often the same terminal."""
        self.close()

    def error(self, message: str, exit_code: int, traceback: str = "") -> None:
        """Take the bars away, print the traceback, if there is one, and a line that begins with "error:"."""
        self.close()
        self._print(f"{traceback}error: {message}")

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
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.progress import Task as RichTask
    from rich.table import Column
    from rich.text import Text

    class Rate(ProgressColumn):
        """Steps a second."""

        def render(self, task: RichTask) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.3g}/s", style="progress.data.speed")

    class Stage(ProgressColumn):
        """What is being done."""

        def render(self, task: RichTask) -> Text:
            return Text(task.description, no_wrap=True, overflow="ellipsis")

    class Note(ProgressColumn):
        """How it goes."""

        def render(self, task: RichTask) -> Text:
            return Text(str(task.fields["note"]), no_wrap=True, overflow="ellipsis")

    # Where a line is too narrow for all of it, stage, bar and note give way: numbers are never cut.
    return RichProgress(
        Stage(Column()),
        BarColumn(None, table_column=Column(ratio=1, max_width=40)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        Rate(Column(no_wrap=True)),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        Note(Column()),
        console=Console(file=stream, force_terminal=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
