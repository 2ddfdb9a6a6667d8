"""`cv3d doctor`: what this installation has and lacks, and whether a device computes what the CPU computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cv3d.cli.common import Run

if TYPE_CHECKING:
    from cv3d.device_checks.result import DeviceReport, KernelVerdict
    from cv3d.doctor import Diagnosis


def doctor(run: Run) -> None:
    """Say what this installation has, what it lacks, and the exact line that installs it.

    Exits with 0 when everything that the default commands need is there, and with 1 otherwise. With --device mps, cuda
    or cpu it also runs every dense kernel on that device, on odd shapes and strides, compares it with the CPU and times
    it, which takes a minute or two: 1 when the device is not there, 3 when a kernel fails.
    """
    from cv3d.compute import DeviceName
    from cv3d.device_checks import check_device
    from cv3d.doctor import diagnose
    from cv3d.errors import DependencyError, DeviceError, QualityError

    diagnosis = diagnose()
    required = [one for one in diagnosis.missing if one.required]
    if required or run.options.device is DeviceName.AUTO:
        run.emit(diagnosis.as_result(), lambda: describe(diagnosis))
        if required:
            raise DependencyError(f"missing: {', '.join(one.what for one in required)}; first: {required[0].install}")
        return
    try:
        compute = run.compute
    except DeviceError:
        run.emit(diagnosis.as_result(), lambda: describe(diagnosis))
        raise
    report = check_device(compute, seed=run.options.seed, progress=run.progress)
    result = {**diagnosis.as_result(), "ok": diagnosis.ok and not report.failed, "device_checks": report.as_result()}
    run.emit(result, lambda: describe(diagnosis) + "\n\n" + describe_device(report))
    if report.failed:
        names = ", ".join(one.name for one in report.failed)
        raise QualityError(
            f"{len(report.failed)} of {len(report.kernels)} kernels are wrong on {report.device}: {names}; "
            f"use --device cpu for: {', '.join(report.unsafe_commands)}"
        )


def describe(diagnosis: Diagnosis) -> str:
    """The diagnosis as plain text of at most 80 columns where its contents allow it."""
    import cv3d

    lines = [f"cv3d {cv3d.__version__}, Python {diagnosis.python}, {diagnosis.platform}", "", "packages"]
    lines += [f"  {name:24}{version or '-'}" for name, version in diagnosis.packages.items()]
    lines += ["", "devices"]
    lines += [f"  {one.kind:24}{'yes' if one.available else 'no'}: {one.detail}" for one in diagnosis.devices]
    lines += ["", "weights"]
    lines += [f"  {one.file:24}{one.bytes / 1e6:.1f} MB, sha256 {one.sha256}…" for one in diagnosis.weights]
    lines += ["", "decoders"]
    lines += [f"  {name:24}{'yes' if present else 'no'}" for name, present in diagnosis.codecs.items()]
    lines += ["", f"open3d: {diagnosis.open3d}"]
    for heading, required in (("missing, and needed", True), ("missing, only for some features", False)):
        items = [one for one in diagnosis.missing if one.required is required]
        if items:
            lines += ["", heading]
            for one in items:
                lines += [f"  {one.what}", f"    {one.install}"]
    lines += ["", "everything needed is there" if diagnosis.ok else "something needed is missing"]
    return "\n".join(lines)


def describe_device(report: DeviceReport) -> str:
    """The check of a device as plain text of at most 80 columns, a line for each kernel."""
    lines = [
        f"kernels on {report.device} ({report.detail}), torch {report.torch}, seed {report.seed}",
        f"  {'':40}{'error':>9}{'allowed':>9}{report.device + ' ms':>10}{'CPU ms':>9}",
    ]
    for one in report.kernels:
        lines += _kernel_lines(one)
    if report.falls_back:
        lines += ["", "PYTORCH_ENABLE_MPS_FALLBACK is set: what Metal lacks ran on the CPU"]
    lines += ["", *_wrapped(f"safe on {report.device}: {', '.join(report.safe_commands) or 'none'}", "")]
    for name, kernels in report.unsafe_commands.items():
        lines += _wrapped(f"not safe: {name} ({', '.join(kernels)})", "")
    lines += ["all other commands run on the CPU whatever --device says"]
    return "\n".join(lines)


def _kernel_lines(one: KernelVerdict) -> list[str]:
    label = f"  {one.verdict.upper():8}{one.name:32}"
    if one.reason:
        return [label.rstrip(), *_wrapped(one.reason, " " * 10)]
    return [f"{label}{one.error:9.1e}{one.limit:9.1e}{one.device_ms:10.1f}{one.cpu_ms:9.1f}"]


def _wrapped(text: str, indent: str) -> list[str]:
    from textwrap import wrap

    return wrap(
        text,
        80,
        initial_indent=indent,
        subsequent_indent=indent or "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
