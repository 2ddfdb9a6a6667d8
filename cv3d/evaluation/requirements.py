"""Quality gates: `--require 'rms<0.5'` against the figures that a job reports."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cv3d.errors import UsageError

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EXPRESSION = re.compile(r"\s*([A-Za-z]\w*)\s*(<=|>=|<|>)\s*(\S+)\s*")


@dataclass(frozen=True)
class Requirement:
    """A bound on one reported figure."""

    name: str
    """Name of the figure."""
    op: str
    """One of <, <=, >, >=."""
    value: float
    """The bound, in the figure's own unit."""

    def holds(self, measured: float | None) -> bool:
        """Whether `measured` is within the bound; a figure that is missing or NaN never is."""
        return measured is not None and not math.isnan(measured) and _OPERATORS[self.op](measured, self.value)

    def __str__(self) -> str:
        return f"{self.name}{self.op}{self.value:g}"


@dataclass(frozen=True)
class Failure:
    """A requirement that is not met."""

    requirement: Requirement
    measured: float | None
    """The figure as it is; None where the job could not determine it."""

    def __str__(self) -> str:
        if self.measured is None or math.isnan(self.measured):
            return f"{self.requirement} is required, but {self.requirement.name} is not known"
        return f"{self.requirement} is required, but {self.requirement.name} is {self.measured:.4g}"


def parse_requirement(text: str) -> Requirement:
    """A requirement from an expression like "rms<0.5" or "coverage >= 0.8".

    Raises:
        UsageError: the text is not NAME, one of < <= > >=, and a finite number.
    """
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise UsageError(f"--require '{text}': write NAME<NUMBER with one of < <= > >=, such as 'rms<0.5'")
    name, op, number = match.groups()
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"--require '{text}': '{number}' is not a number")
    return Requirement(name, op, value)


def check_names(requirements: Iterable[Requirement], known: Iterable[str]) -> None:
    """See that every requirement is about a known figure; worth doing before a long job starts.

    Raises:
        UsageError: a name is unknown; the message lists the known ones.
    """
    names = sorted(known)
    for requirement in requirements:
        if requirement.name not in names:
            raise UsageError(f"--require '{requirement}': no figure '{requirement.name}'; known: {', '.join(names)}")


def check(requirements: Iterable[Requirement], values: Mapping[str, float | None]) -> list[Failure]:
    """The requirements that `values` does not meet, in the order given.

    Args:
        requirements: the bounds.
        values: every figure of the job by name; None for one that could not be determined, which meets no bound.

    Raises:
        UsageError: a requirement names a figure that `values` does not have.
    """
    wanted = list(requirements)
    check_names(wanted, values)
    return [Failure(one, values[one.name]) for one in wanted if not one.holds(values[one.name])]
