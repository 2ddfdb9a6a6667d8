"""`cv3d bench`: how fast each stage is on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cv3d.cli.common import Run

if TYPE_CHECKING:
    from cv3d.bench import BenchResult, Comparison, Timing


def bench(
    run: Run,
    samples: Annotated[
        Path | None,
        typer.Option("--samples", metavar="DIR", help="Folder of cv3d's samples.", show_default="beside the package"),
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option("--stages", metavar="A,B", help="Only these stages, with commas between.", show_default="all"),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs: rougher, in a third of the time.")] = False,
    peers: Annotated[bool, typer.Option("--peers", help="Time other programs too, where installed.")] = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="FILE", help="Show times over those of an earlier file.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="JSON file to write.", show_default="named by the time"),
    ] = None,
) -> None:
    """Time each stage on this machine and its devices, with the shipped samples.

    Writes a JSON file with times, machine and versions, so that machines can be compared: --against FILE shows the
    ratios to an earlier one. Without --device, stages that run on a device are timed on the CPU and on the best other
    device. Keep the machine idle meanwhile; the load when it began is in the result.
    """
    from datetime import datetime

    from cv3d.bench import bench as measure
    from cv3d.bench import compare_with, read_bench
    from cv3d.compute import DeviceName
    from cv3d.errors import OutputError
    from cv3d.formats.atomic import atomic_write_text
    from cv3d.formats.json_text import to_json

    file = output or Path(f"cv3d-bench-{datetime.now():%Y%m%d-%H%M%S}.json")
    if file.exists() and not run.options.overwrite:
        raise OutputError(f"{file}: is there already; name another with -o, or use --overwrite")
    if against is not None:
        read_bench(against)
    result = measure(
        samples,
        stages=None if stages is None else [name.strip() for name in stages.split(",") if name.strip()],
        quick=quick,
        peers=peers,
        computes=None if run.options.device is DeviceName.AUTO else [run.compute],
        seed=run.options.seed,
        progress=run.progress,
    )
    atomic_write_text(file, to_json(result.as_result(), indent=2) + "\n")
    comparison = None if against is None else compare_with(result, against)
    said = {**result.as_result(), "file": file, "against": None if comparison is None else comparison.as_result()}
    run.emit(said, lambda: describe(result, comparison) + f"\n\nwritten to {file}")


def describe(result: BenchResult, comparison: Comparison | None) -> str:
    """The timings as plain text, a line for each."""
    machine = result.machine
    lines = [
        f"cv3d {result.versions['cv3d']}, torch {result.versions['torch']}, {machine.system}",
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gb:.0f} GB"
        + f", {machine.gpu}" * bool(machine.gpu),
    ]
    if result.load > 0.5:
        lines.append(f"others were at work when it began (load {result.load:.1f} for each core): times are too long")
    lines += [
        "",
        f"{'stage':19}{'program':18}{'device':8}{'median ms':>11}{'least':>10}{'CPU ms':>10}{'runs':>6}" + "  for each",
    ]
    by_stage = {(one.stage, one.device): one for one in result.timings if one.program == "cv3d"}
    for one in result.timings:
        lines.append(_line(one, comparison))
        lines += [f"  {name:17}{'':18}{'':8}{ms:11.2f}" for name, ms in one.parts.items()]
        ours = by_stage.get((one.stage, one.device))
        if one.program != "cv3d" and ours is not None and ours.repeats and one.repeats:
            lines.append(f"  {'cv3d over it':35}{'':8}{ours.median_ms / one.median_ms:11.2f}")
    if comparison is not None:
        lines += ["", f"×: over the times of {comparison.file} (cv3d {comparison.version}, {comparison.machine})"]
    lines += ["", f"seed {result.seed}, {result.seconds:.0f} s in all"]
    return "\n".join(lines)


def _line(one: Timing, comparison: Comparison | None) -> str:
    label = f"{one.stage:19}{one.program:18}{one.device:8}"
    if not one.repeats:
        return f"{label}{'-':>11}{'':26}  {one.note}"
    note = f" ({one.note})" if one.note else ""
    ratio = None if comparison is None else comparison.ratios.get((one.stage, one.program, one.device))
    times = f"{one.median_ms:11.2f}{one.least_ms:10.2f}{one.cpu_ms:10.2f}{one.repeats:6}"
    return f"{label}{times}  {one.counted}{note}" + (f"  × {ratio:.2f}" if ratio is not None else "")
