"""What a check of a device says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

SCHEMA = "cv3d.device_checks/1"


class Verdict(StrEnum):
    """Of one kernel on one device."""

    PASS = "pass"
    FAIL = "fail"
    SKIPPED = "skipped"
    """Its weights are not on this machine."""


@dataclass(frozen=True)
class KernelVerdict:
    """How one kernel fared."""

    name: str
    verdict: Verdict
    commands: tuple[str, ...]
    """Commands that run it."""
    cases: int
    """Sets of inputs that it was run on."""
    figure: str
    """The figure that came nearest to its limit, or passed it; empty where nothing was compared."""
    error: float
    """That figure's difference from the CPU."""
    limit: float
    """What is allowed."""
    reason: str
    """Why it failed or was left out, in a line; empty where it passed."""
    device_ms: float
    """Median wall time of the timed case on the device, with bringing it there and back; NaN where it failed."""
    cpu_ms: float
    """The same on the CPU, as commands run it there."""

    def as_result(self) -> dict[str, object]:
        """The object that JSON carries."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "commands": self.commands,
            "cases": self.cases,
            "figure": self.figure,
            "error": self.error,
            "limit": self.limit,
            "reason": self.reason,
            "device_ms": self.device_ms,
            "cpu_ms": self.cpu_ms,
        }


@dataclass(frozen=True)
class DeviceReport:
    """How all kernels fared on one device."""

    device: str
    """cpu, cuda or mps."""
    detail: str
    """Its name."""
    torch: str
    """Version."""
    falls_back: bool
    """Whether torch was told to run on the CPU what Metal lacks, which hides what is missing."""
    kernels: tuple[KernelVerdict, ...]
    seed: int
    seconds: float

    @property
    def failed(self) -> tuple[KernelVerdict, ...]:
        """The kernels that did."""
        return tuple(one for one in self.kernels if one.verdict is Verdict.FAIL)

    @property
    def safe_commands(self) -> tuple[str, ...]:
        """Commands none of whose kernels failed."""
        unsafe = set(self.unsafe_commands)
        return tuple(sorted({name for one in self.kernels for name in one.commands} - unsafe))

    @property
    def unsafe_commands(self) -> Mapping[str, Sequence[str]]:
        """Commands with kernels that failed, and which."""
        found: dict[str, list[str]] = {}
        for one in self.failed:
            for name in one.commands:
                found.setdefault(name, []).append(one.name)
        return dict(sorted(found.items()))

    def as_result(self) -> dict[str, object]:
        """The object that JSON carries."""
        return {
            "schema": SCHEMA,
            "ok": not self.failed,
            "device": self.device,
            "detail": self.detail,
            "torch": self.torch,
            "falls_back": self.falls_back,
            "kernels": [one.as_result() for one in self.kernels],
            "safe_commands": self.safe_commands,
            "unsafe_commands": self.unsafe_commands,
            "seed": self.seed,
            "seconds": self.seconds,
        }
