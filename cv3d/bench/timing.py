"""Runs work a few times and tells the median."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Parts = Mapping[str, float]
"""Seconds of the parts of a run; empty where it has none."""
Run = Callable[[], Parts | None]


@dataclass(frozen=True, eq=False)
class Work:
    """Something to time."""

    count: int
    """How many of what is counted one run does."""
    run: Run
    """Ends when the result is on the host."""
    is_long: bool = False
    """Seconds to minutes: run once, after a first time that pays for compiling; quickly, once and no more."""


@dataclass(frozen=True)
class Measured:
    """Milliseconds for each of what is counted."""

    median_ms: float
    least_ms: float
    most_ms: float
    cpu_ms: float
    """Median time of all the process's threads: longer than the wall's where several cores work, and about the same
    however busy the machine is with other things."""
    repeats: int
    parts: Parts


_REPEATS = 5
_BUDGET_S = 4.0
_QUICK_BUDGET_S = 1.0


def measure(work: Work, *, quick: bool) -> Measured:
    """Time it: once for warmth, then up to five times as long as a few seconds are not used up."""
    budget = _QUICK_BUDGET_S if quick else _BUDGET_S
    times: list[float] = []
    cpu: list[float] = []
    parts: Parts = {}
    if not (quick and work.is_long):
        work.run()
    repeats = 1 if work.is_long else _REPEATS
    while len(times) < repeats and sum(times) < budget:
        started, busy = time.perf_counter(), time.process_time()
        parts = work.run() or {}
        cpu.append(1e3 * (time.process_time() - busy) / work.count)
        times.append(time.perf_counter() - started)
    each = [1e3 * one / work.count for one in times]
    return Measured(
        statistics.median(each),
        min(each),
        max(each),
        statistics.median(cpu),
        len(each),
        {name: 1e3 * seconds / work.count for name, seconds in parts.items()},
    )
