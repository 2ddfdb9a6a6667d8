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
    run.emit(said, lambda: describe(result, comparison) + f"\nwritten to {file}")


def describe(result: BenchResult, comparison: Comparison | None) -> str:
    """The timings as plain text of at most 80 columns where names allow it."""
    machine = result.machine
    hardware = [machine.processor, f"{machine.cores} cores", f"{machine.memory_gb:.0f} GB", machine.gpu]
    lines = [
        f"cv3d {result.versions['cv3d']}, torch {result.versions['torch']}, {machine.system}",
        ", ".join(part for part in hardware if part),
    ]
    if result.load > 0.5:
        lines += ["others were at work when it began, so times are too long:", f"load {result.load:.1f} for each core"]
    lines += ["", f"{'stage':19}{'program':17}{'on':5}{'ms':>9}{'CPU ms':>9}{'runs':>5}  for each"]
    ours = {one.stage: one for one in result.timings if (one.program, one.device) == ("cv3d", "cpu")}
    for one in result.timings:
        lines += _lines(one, comparison)
        mine = ours.get(one.stage)
        if one.program != "cv3d" and mine is not None and mine.repeats and one.repeats:
            ratios = f"{mine.median_ms / one.median_ms:9.2f}{mine.cpu_ms / one.cpu_ms:9.2f}"
            lines.append(f"  {'cv3d over it':39}{ratios}")
    if comparison is not None:
        lines += ["", *_wrapped(f"×: over the time in {comparison.file}", "")]
        lines += _wrapped(f"by cv3d {comparison.version} on {comparison.machine}", "   ")
    return "\n".join([*lines, "", f"seed {result.seed}, {result.seconds:.0f} s in all"])


def _lines(one: Timing, comparison: Comparison | None) -> list[str]:
    """One timing with its parts."""
    label = f"{one.stage:19}{one.program:17}{one.device:5}"
    if not one.repeats:
        return [f"{label}{'-':>9}", *_wrapped(one.note)]
    lines = [f"{label}{one.median_ms:9.2f}{one.cpu_ms:9.2f}{one.repeats:5}  {one.counted}"]
    ratio = None if comparison is None else comparison.ratios.get((one.stage, one.program, one.device))
    if ratio is not None:
        lines.append(f"  {'×':39}{ratio:9.2f}")
    lines += [f"  {name:39}{ms:9.2f}" for name, ms in one.parts.items()]
    return lines + (_wrapped(one.note) if one.note else [])


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    from textwrap import wrap

    return wrap(
        text, 80, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
