"""Every device path uses only what Metal has, no float64, and waits for the device no more often than stated."""

from __future__ import annotations

from functools import cache

import pytest

from cv3d.device_checks import KERNELS
from cv3d.device_checks.kernels import Kernel
from cv3d.features import weights
from cv3d.fusion import ray_casting

from .paths import METAL, PATHS, Path
from .recorder import Record, recorded

SLOW = ("matching: LightGlue, aliked", "matching: LightGlue, disk", "sweeps of planes")
"""What the doctor compares on larger inputs than those of the same path."""


@pytest.fixture(autouse=True)
def _short_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps of a ray are alike."""
    monkeypatch.setattr(ray_casting, "MAX_STEPS", 48)


def _skip_without(names: tuple[str, ...]) -> None:
    for name in names:
        if not weights.is_here(name):
            pytest.skip(f"the weights '{name}' are not installed")


@cache
def _record_of(path: Path) -> Record:
    return recorded(path.start())


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_path_runs_on_metal(path: Path) -> None:
    _skip_without(path.weights)
    done = _record_of(path)
    assert done.operations
    assert done.faults == {}
    assert len(done.waits) <= path.waits * path.frames


def test_the_slow_ones_are_among_what_the_doctor_compares() -> None:
    assert set(SLOW) <= {kernel.name for kernel in KERNELS}


@pytest.mark.parametrize(
    "kernel",
    [pytest.param(k, id=k.name, marks=pytest.mark.slow if k.name in SLOW else ()) for k in KERNELS],
)
def test_what_the_doctor_compares_runs_on_metal(kernel: Kernel) -> None:
    _skip_without(kernel.weights)
    case = kernel.cases(0)[0]
    work = case.start(METAL)
    # What is got ready when it is first used, on the host: rays of a camera, tables.
    work()
    assert recorded(work).faults == {}


def test_the_table_of_paths(pytestconfig: pytest.Config) -> None:
    """Run with `-n 0 -s -k table`, it prints what each path needs of a device."""
    lines = [f"{'path':40}{'for each':20}{'kinds of operations':>20}{'operations':>12}{'waits':>7}{'stated':>8}"]
    for path in PATHS:
        if not all(weights.is_here(name) for name in path.weights):
            lines.append(f"{path.name:40}{path.counted:20}{'weights not here':>20}")
            continue
        done = _record_of(path)
        counts = len(done.operations), done.operations.total() / path.frames, len(done.waits) / path.frames
        lines.append(f"{path.name:40}{path.counted:20}{counts[0]:20}{counts[1]:12.0f}{counts[2]:7.2g}{path.waits:8}")
    if pytestconfig.getoption("capture") == "no":
        print("\n" + "\n".join(lines))
    assert len(lines) == len(PATHS) + 1
