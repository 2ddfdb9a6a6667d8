"""Runs every kernel of the catalogue on a device and on the CPU, and compares."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cv3d.compute import Compute
from cv3d.device_checks.catalogue import KERNELS
from cv3d.device_checks.kernels import Case, Difference, Kernel, Outputs
from cv3d.device_checks.reference import reference_kernels
from cv3d.device_checks.result import DeviceReport, KernelVerdict, Verdict
from cv3d.features import weights
from cv3d.progress import SILENT, Progress

_STAGE = "kernels"
_REPEATS = 3
_LONG_ENOUGH_S = 0.5
_FALLBACK = "PYTORCH_ENABLE_MPS_FALLBACK"
_CPU = Compute(torch.device("cpu"), torch.float32)


@dataclass
class _Found:
    """What is known of a kernel so far."""

    worst: Difference | None = None
    reason: str = ""


def check_device(
    compute: Compute, *, kernels: Sequence[Kernel] | None = None, seed: int = 0, progress: Progress = SILENT
) -> DeviceReport:
    """Compare every kernel on a device with the CPU, and time it.

    Each runs on the device and on the CPU by the same torch expressions, and where the CPU has a fused twin it is held
    to that, too. A kernel that raises has failed; the others are checked all the same.

    Args:
        compute: the device to check.
        kernels: what to check; None: the whole catalogue.
        seed: of the inputs.
        progress: told of each kernel.
    """
    kernels = KERNELS if kernels is None else kernels
    started = time.perf_counter()
    progress.start(_STAGE, len(kernels))
    verdicts = []
    for kernel in kernels:
        verdicts.append(_checked(kernel, compute, seed))
        progress.advance(_STAGE)
    progress.finish(_STAGE)
    return DeviceReport(
        compute.device.type,
        _detail(compute.device),
        torch.__version__,
        os.environ.get(_FALLBACK) == "1",
        tuple(verdicts),
        seed,
        time.perf_counter() - started,
    )


def _checked(kernel: Kernel, compute: Compute, seed: int) -> KernelVerdict:
    missing = [name for name in kernel.weights if not weights.is_here(name)]
    if missing:
        reason = f"the weights '{missing[0]}' are not here"
        return _verdict(kernel, Verdict.SKIPPED, 0, _Found(reason=reason), np.nan, np.nan)
    cases = kernel.cases(seed)
    found, device_ms, cpu_ms = _Found(), np.nan, np.nan
    for case in cases:
        _compare(kernel, case, compute, found, runs=2 if case is cases[0] else 1)
    if not found.reason:
        last = cases[-1]
        with reference_kernels():
            device_ms = _median_ms(last.start(compute))
        cpu_ms = _median_ms((last.twin or last.start)(_CPU))
    verdict = Verdict.FAIL if found.reason else Verdict.PASS
    return _verdict(kernel, verdict, len(cases), found, device_ms, cpu_ms)


def _compare(kernel: Kernel, case: Case, compute: Compute, found: _Found, runs: int) -> None:
    """Run one case and take down the worst of its differences, and the first reason to fail."""
    given: Outputs | None = None
    with reference_kernels():
        expected, failure = _tried(case, _CPU)
        if expected is None:
            found.reason = found.reason or f"{case.label}: fails on the CPU: {failure}"
            return
        # Some wrong kernels are right only the first time, or only on fresh memory.
        for _ in range(runs):
            given, failure = _tried(case, compute)
            if given is None or failure:
                found.reason = found.reason or f"{case.label}: {failure}"
                return
            _take_down(found, case.label, kernel.compare(given, expected), 1.0)
    if case.twin is not None and given is not None:
        twin = case.twin(_CPU)()
        _take_down(found, f"{case.label}, fused twin", kernel.compare(given, twin), kernel.twin_slack)


def _take_down(found: _Found, label: str, differences: Sequence[Difference], slack: float) -> None:
    for one in differences:
        allowed = Difference(one.figure, one.value, one.limit * slack)
        if found.worst is None or not allowed.share <= found.worst.share:
            found.worst = allowed
        if not allowed.is_within and not found.reason:
            found.reason = f"{label}: {one.figure} is off by {one.value:.3g}, {allowed.limit:.3g} is allowed"


def _tried(case: Case, compute: Compute) -> tuple[Outputs | None, str]:
    """What it gives, and the first line of what is wrong: an exception, or torch moving work to the CPU."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            outputs = case.start(compute)()
        # Whatever a device's kernels raise is the finding; it must not end the check of the others.
        except Exception as error:
            lines = str(error).strip().splitlines()
            return None, f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
    moved = [str(one.message) for one in said if "fall back" in str(one.message)]
    return outputs, moved[0].splitlines()[0] if moved else ""


def _median_ms(work: Callable[[], Outputs]) -> float:
    """Results are on the host, so the device has finished. The first run may compile, and does not count."""
    work()
    times: list[float] = []
    while len(times) < _REPEATS and sum(times) < 1e3 * _LONG_ENOUGH_S:
        started = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - started))
    return float(np.median(times))


def _verdict(
    kernel: Kernel, verdict: Verdict, cases: int, found: _Found, device_ms: float, cpu_ms: float
) -> KernelVerdict:
    worst = found.worst or Difference("", np.nan, np.nan)
    return KernelVerdict(
        kernel.name,
        verdict,
        kernel.commands,
        cases,
        worst.figure,
        worst.value,
        worst.limit,
        found.reason,
        float(device_ms),
        float(cpu_ms),
    )


def _detail(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    return f"{torch.get_num_threads()} threads"
