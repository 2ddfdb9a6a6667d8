"""The course of a job as plain lines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TextIO

from cv3d.reporting.stage_count import StageCount

_BETWEEN_LINES_S = 2.0


@dataclass(frozen=True)
class Detail:
    """What a reporter for people prints beside errors."""

    steps: bool = False
    """Lines while a stage advances."""
    infos: bool = False
    """Informational messages."""
    warnings: bool = True
    """Warnings."""


class Lines:
    """Plain lines: a stage's start, every 10 % of it, its end; warnings; errors. No control characters.

    Lines on the way tell the rate and the time left. Two of one stage are at least two seconds apart, so that short
    stages take only their start and end.
    """

    def __init__(self, stream: TextIO, detail: Detail, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._detail = detail
        self._clock = clock
        self._stages: dict[str, StageCount] = {}
        self._note = ""
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """Words at the end of the lines of progress."""
        self._note = text

    def start(self, stage: str, total: int | None = None) -> None:
        """A stage begins."""
        with self._lock:
            first = 1 if total is None else max(1, -(-total // 10))
            self._stages[stage] = StageCount(total, self._clock(), first)
            if self._detail.steps:
                self._print(f"{stage}: started" if total is None else f"{stage}: 0/{total}")

    def advance(self, stage: str, steps: int = 1) -> None:
        """`steps` further steps of `stage` are done."""
        with self._lock:
            now = self._clock()
            state = self._stages.setdefault(stage, StageCount(None, now))
            state.advance(steps, now)
            if not self._detail.steps or now - state.told < _BETWEEN_LINES_S or not _is_due(state):
                return
            state.told = now
            note = f", {self._note}" if self._note else ""
            of_total = f"/{state.total} ({100 * state.done // state.total}%)" if state.total else ""
            self._print(f"{stage}: {state.done}{of_total}{state.pace.words(state.total)}{note}")

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

    def expect(self, message: str) -> None:
        """A line."""
        if self._detail.warnings:
            with self._lock:
                self._print(message)

    def warn(self, message: str) -> None:
        """A line that begins with "warning:"."""
        if self._detail.warnings:
            with self._lock:
                self._print(f"warning: {message}")

    def result(self, result: Mapping[str, object]) -> None:
        """Nothing: the result is printed on standard output."""

    def error(self, message: str, exit_code: int, traceback: str = "") -> None:
        """The traceback, if there is one, and a line that begins with "error:"."""
        with self._lock:
            self._print(f"{traceback}error: {message}")

    def close(self) -> None:
        """Nothing to give back."""

    def _print(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def _is_due(state: StageCount) -> bool:
    """Whether a line is due at the present count; plans the next one 10 % (or, unbounded, a doubling) later."""
    if state.done < state.next_told:
        return False
    if state.total is None:
        state.next_told = 2 * state.done
    else:
        tenths = 10 * state.done // max(state.total, 1)
        state.next_told = -(-(tenths + 1) * state.total // 10)
    return True
