"""`cv3d doctor`: what this installation has and lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cv3d.cli.common import Run

if TYPE_CHECKING:
    from cv3d.doctor import Diagnosis


def doctor(run: Run) -> None:
    """Say what this installation has, what it lacks, and the exact line that installs it.

    Exits with 0 when everything that the default commands need is there, and with 1 otherwise. With --device,
    also fails when that device is not available.
    """
    from cv3d.compute import DeviceName
    from cv3d.doctor import diagnose
    from cv3d.errors import DependencyError

    diagnosis = diagnose()
    run.emit(diagnosis.as_result(), lambda: describe(diagnosis))
    required = [one for one in diagnosis.missing if one.required]
    if required:
        raise DependencyError(f"missing: {', '.join(one.what for one in required)}; first: {required[0].install}")
    if run.options.device is not DeviceName.AUTO:
        _ = run.compute


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
