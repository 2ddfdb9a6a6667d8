"""The progress protocol that long-running library functions are handed.

The library never prints. It tells a :class:`Progress` what it is doing; `cv3d.reporting` implements the protocol
for a terminal, for plain lines and for machine-readable events, and :data:`SILENT` is the default.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the course of one job. All calls may come from worker threads."""

    def start(self, stage: str, total: int | None = None) -> None:
        """A stage begins; `total` is its number of steps where known."""

    def advance(self, stage: str, steps: int = 1) -> None:
        """`steps` further steps of `stage` are done."""

    def finish(self, stage: str) -> None:
        """The stage is over."""

    def info(self, message: str) -> None:
        """Something worth a line in a log."""

    def expect(self, message: str) -> None:
        """What is about to come, and how long it will take: a line for whoever waits."""

    def warn(self, message: str) -> None:
        """Something the user should know although the job goes on."""


class Silent:
    """A :class:`Progress` that discards everything."""

    def start(self, stage: str, total: int | None = None) -> None:
        """Discard."""

    def advance(self, stage: str, steps: int = 1) -> None:
        """Discard."""

    def finish(self, stage: str) -> None:
        """Discard."""

    def info(self, message: str) -> None:
        """Discard."""

    def expect(self, message: str) -> None:
        """Discard."""

    def warn(self, message: str) -> None:
        """Discard."""


SILENT: Progress = Silent()
