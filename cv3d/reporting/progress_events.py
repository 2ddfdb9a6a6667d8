"""The course of a job for programs: one JSON event a line, of the form `cv3d.progress/1`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from cv3d.formats.json_text import to_json
from cv3d.reporting.stage_count import StageCount

EVENT_VERSION = 1
"""The `v` of every event; raised when an event changes its meaning."""
_SECOND = 1.0


class JsonEvents:
    """One JSON object a line: start, progress, finish, info, warning, result and error, each with its version `v`.

    `progress` comes at most once per percent of a stage, so that a stage of a million steps stays readable; where the
    length is unknown, at every doubling and at most a second after the one before.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._stages: dict[str, StageCount] = {}
        self._note = ""
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """The field `note` of the events `progress`, where there is one."""
        self._note = text

    def start(self, stage: str, total: int | None = None) -> None:
        """Event `start` with stage and total."""
        with self._lock:
            self._stages[stage] = StageCount(total, self._clock())
            self._write("start", stage=stage, total=total)

    def advance(self, stage: str, steps: int = 1) -> None:
        """Event `progress` with stage, done, total, seconds since its start, rate and seconds left."""
        with self._lock:
            now = self._clock()
            state = self._stages.setdefault(stage, StageCount(None, now))
            state.advance(steps, now)
            if state.done < state.next_told and (state.total is not None or now - state.told < _SECOND):
                return
            state.told = now
            state.next_told = 2 * state.done if state.total is None else state.done + max(1, state.total // 100)
            self._write(
                "progress",
                stage=stage,
                done=state.done,
                total=state.total,
                seconds=round(now - state.started, 3),
                rate=_rounded(state.pace.rate),
                left_s=_rounded(state.pace.left_s(state.total)),
                **({"note": self._note} if self._note else {}),
            )

    def finish(self, stage: str) -> None:
        """Event `finish` with stage, done and seconds."""
        with self._lock:
            state = self._stages.pop(stage, None)
            if state is not None:
                self._write("finish", stage=stage, done=state.done, seconds=round(self._clock() - state.started, 3))

    def info(self, message: str) -> None:
        """Event `info` with message."""
        with self._lock:
            self._write("info", message=message)

    def expect(self, message: str) -> None:
        """Event `info` with message."""
        self.info(message)

    def warn(self, message: str) -> None:
        """Event `warning` with message."""
        with self._lock:
            self._write("warning", message=message)

    def result(self, result: Mapping[str, object]) -> None:
        """Event `result` with the whole result."""
        with self._lock:
            self._write("result", result=result)

    def error(self, message: str, exit_code: int, traceback: str = "") -> None:
        """Event `error` with message, exit_code and, if there is one, the traceback."""
        with self._lock:
            self._write(
                "error", message=message, exit_code=exit_code, **({"traceback": traceback} if traceback else {})
            )

    def close(self) -> None:
        """Nothing to give back."""

    def _write(self, event: str, **fields: object) -> None:
        self._stream.write(to_json({"v": EVENT_VERSION, "event": event, **fields}, ascii_only=True) + "\n")
        self._stream.flush()


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
