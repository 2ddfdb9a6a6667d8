"""What a check reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

_MOST_NAMES = 4


class Severity(StrEnum):
    """How much a finding matters."""

    INFO = "info"
    """Worth knowing; the calibration stands."""
    WARNING = "warning"
    """The calibration is worse than its figures say, or holds for something else than the user thinks."""


@dataclass(frozen=True)
class Finding:
    """One thing that the user should know about the pictures."""

    kind: str
    """What it is about, one word for scripts, e.g. `autofocus`."""
    severity: Severity
    sentence: str
    """What was found and what to do, one line."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """The numbers behind it; the unit is in the name."""
    views: tuple[str, ...] = ()
    """The pictures that it is about, by name; empty: all."""
    advice: str = ""
    """What would make the calibration better, where the verdict should say so; else empty."""

    def as_dict(self) -> dict[str, object]:
        """The finding as plain data."""
        return {
            "kind": self.kind,
            "severity": self.severity.value,
            "sentence": self.sentence,
            "figures": dict(self.figures),
            "views": list(self.views),
        }


def listed(names: Sequence[str]) -> str:
    """Some names in words, the first few where there are many."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
