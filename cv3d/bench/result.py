"""What a benchmark says."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import cv3d
from cv3d.compute import usable_cores

SCHEMA = "cv3d.bench/1"
PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "numba",
    "opencv-python-headless",
    "kornia",
    "poselib",
    "av",
    "open3d",
    "pycolmap",
)
"""Whose versions are told: what speed comes from, and peers."""


@dataclass(frozen=True)
class Machine:
    """What was measured on."""

    system: str
    processor: str
    cores: int
    """Those that the process may use."""
    memory_gb: float
    """NaN where the system does not tell."""
    python: str
    gpu: str
    """Its name; empty for none."""

    @staticmethod
    def here() -> Machine:
        """This one."""
        import torch

        gpu = ""
        if torch.cuda.is_available():
            gpu = torch.cuda.get_device_name()
        elif torch.backends.mps.is_available():
            gpu = "Apple GPU"
        system = f"{platform.system()} {platform.release()} {platform.machine()}"
        return Machine(system, _processor(), usable_cores(), _memory_gb(), platform.python_version(), gpu)


def versions() -> dict[str, str | None]:
    """Of cv3d and what it is fast by; None for what is not installed."""
    found: dict[str, str | None] = {"cv3d": cv3d.__version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


@dataclass(frozen=True)
class Timing:
    """How long one stage takes, by one program on one device."""

    stage: str
    program: str
    """cv3d, or the peer."""
    device: str
    """cpu, cuda or mps."""
    counted: str
    """What the time is for one of: photo, frame, pair."""
    count: int
    """How many were done in a run."""
    median_ms: float
    """Of the runs, for each; NaN where it could not be measured."""
    least_ms: float
    most_ms: float
    cpu_ms: float
    """Median time of all the process's threads, for each."""
    repeats: int
    """Runs that were timed, after one that was not."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Where the stage's time goes, ms for each, of the last run."""
    note: str = ""
    """What the peer does differently, or why there is no time."""

    def as_result(self) -> dict[str, object]:
        """The object that JSON carries."""
        return {
            "stage": self.stage,
            "program": self.program,
            "device": self.device,
            "counted": self.counted,
            "count": self.count,
            "median_ms": self.median_ms,
            "least_ms": self.least_ms,
            "most_ms": self.most_ms,
            "cpu_ms": self.cpu_ms,
            "repeats": self.repeats,
            "parts": dict(self.parts),
            "note": self.note,
        }


@dataclass(frozen=True)
class BenchResult:
    """All timings of one machine."""

    machine: Machine
    versions: Mapping[str, str | None]
    timings: tuple[Timing, ...]
    quick: bool
    seed: int
    seconds: float
    load: float
    """Work that waited for a core in the minute before, for each core, when it began; NaN where not known. Above 0.5,
    others were at work and times are long."""

    def as_result(self) -> dict[str, object]:
        """The object that JSON carries."""
        return {
            "schema": SCHEMA,
            "machine": self.machine,
            "versions": self.versions,
            "timings": [one.as_result() for one in self.timings],
            "quick": self.quick,
            "seed": self.seed,
            "seconds": self.seconds,
            "load": self.load,
        }


def load_of_a_core() -> float:
    """See :attr:`BenchResult.load`."""
    try:
        return os.getloadavg()[0] / usable_cores()
    except OSError:
        return float("nan")


def _processor() -> str:
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Hardware"))]
    return names[0] if names else platform.machine()


def _memory_gb() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError):
        return float("nan")
