"""What a kernel to check is: what it works on, what it gives, and how far that may be off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute

Outputs = Mapping[str, NDArray[Any]]
"""What a kernel gave, brought to the host."""


@dataclass(frozen=True)
class Difference:
    """How far one figure of a device is from the CPU's."""

    figure: str
    value: float
    """In the figure's own unit; infinity where the two cannot be compared."""
    limit: float

    @property
    def is_within(self) -> bool:
        """Whether it is small enough. What is no number is not."""
        return self.value <= self.limit

    @property
    def share(self) -> float:
        """The value as a share of the limit."""
        return self.value / self.limit if self.limit > 0.0 else (0.0 if self.value == 0.0 else np.inf)


Comparison = Callable[[Outputs, Outputs], Sequence[Difference]]
"""Of what a device gave with what is expected."""


Work = Callable[[], Outputs]
Start = Callable[[Compute], Work]
"""Gets ready what is not part of the kernel, such as a network on its device; and what then brings the inputs to the
device, runs the kernel there and brings its results back."""


@dataclass(frozen=True)
class Case:
    """One set of inputs, drawn on the host."""

    label: str
    """Shapes and strides in a few words."""
    start: Start
    """The kernel on these inputs."""
    twin: Start | None = None
    """The CPU's fused twin on the same inputs, where there is one."""


def at_once(run: Callable[[Compute], Outputs]) -> Start:
    """Of a kernel that needs nothing got ready."""
    return lambda compute: partial(run, compute)


@dataclass(frozen=True)
class Kernel:
    """Something that runs on a device."""

    name: str
    commands: tuple[str, ...]
    """Commands that run it."""
    cases: Callable[[int], Sequence[Case]]
    """Its cases, by seed; the last one is the one that is timed."""
    compare: Comparison
    weights: tuple[str, ...] = ()
    """Names in the catalogue of weights without which it cannot run."""
    twin_slack: float = 1.0
    """How many times the limits the fused twin may be off: some are other algorithms."""


@dataclass(frozen=True)
class Limit:
    """How far the numbers of one output may be off."""

    absolute: float
    relative: float = 0.0
    """Of the expected number, besides."""
    strays: float = 0.0
    """Share of the numbers that may be off further: those that a last bit tips to the other side of a threshold."""


def numbers_within(**limits: Limit) -> Comparison:
    """Compares outputs number by number, each by its limit. What is not finite has to be so on both sides."""

    def compare(found: Outputs, expected: Outputs) -> list[Difference]:
        return [_difference(name, found[name], expected[name], limit) for name, limit in limits.items()]

    return compare


def _difference(name: str, found: NDArray[Any], expected: NDArray[Any], limit: Limit) -> Difference:
    if found.shape != expected.shape:
        return Difference(f"{name} of {found.shape} for {expected.shape}", np.inf, limit.absolute)
    if not found.size:
        return Difference(name, 0.0, limit.absolute)
    one, other = found.astype(np.float64).reshape(-1), expected.astype(np.float64).reshape(-1)
    is_same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        off = np.where(is_same, 0.0, np.abs(one - other) - limit.relative * np.abs(other))
    off = np.where(np.isfinite(off), np.maximum(off, 0.0), np.inf)
    kept = max(1, off.size - int(limit.strays * off.size))
    return Difference(name, float(np.partition(off, kept - 1)[kept - 1]), limit.absolute)
