"""The course of a job for people (a bar, or plain lines) and for programs (one JSON event a line).

Everything here writes to the one stream that it is given, the command line's standard error, and may be called from
several threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Protocol, TextIO

from cv3d.progress import Progress
from cv3d.reporting.progress_bar import Bar
from cv3d.reporting.progress_events import JsonEvents
from cv3d.reporting.progress_lines import Detail, Lines

__all__ = ["Bar", "Detail", "JsonEvents", "Lines", "ProgressStyle", "Reporter", "asked_for", "make_reporter"]

PROGRESS_OPTION, PROGRESS_VARIABLE = "--progress", "CV3D_PROGRESS"


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

    def error(self, message: str, exit_code: int, traceback: str = "") -> None:
        """The job has failed with a message of one line; the traceback, if it is to be seen, ends with a line break."""

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


def asked_for(argv: Sequence[str], environ: Mapping[str, str]) -> ProgressStyle:
    """The style that a command line asks for, as far as can be told before it is parsed: events, or else none.

    What is wrong with the command line itself is said in this style.
    """
    words = [word for word in argv if word != "--"]
    given = [after for word, after in pairwise(words) if word == PROGRESS_OPTION]
    given += [word.partition("=")[2] for word in words if word.startswith(f"{PROGRESS_OPTION}=")]
    style = given[-1] if given else environ.get(PROGRESS_VARIABLE, "")
    return ProgressStyle.JSON if style == ProgressStyle.JSON else ProgressStyle.NONE
