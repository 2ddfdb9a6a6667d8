"""`cv3d diff`: how far two calibrations of one camera differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cv3d.cli.common import RequireOption, Run

if TYPE_CHECKING:
    from cv3d.calibration.camera_difference import CameraDifference


_DUST = 1e-9
"""Degrees and millimetres below which a motion is the rounding of its computation."""


def diff(
    run: Run,
    camera_a: Annotated[
        str,
        typer.Argument(metavar="A", help="A camera file of any format, rig.json#name, or a folder of cv3d calibrate."),
    ],
    camera_b: Annotated[str, typer.Argument(metavar="B", help="The camera to compare with A.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Folder for report.html and result.json. Without it nothing is written.",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="Fit the rotation around this pixel of A.", show_default=False),
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(metavar="PX", help="So far around it. Otherwise a sixth of the image.", show_default=False),
    ] = None,
    distance: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help="Compare points at this distance, e.g. 2m, a translation taken out too. Otherwise at infinity.",
            show_default=False,
        ),
    ] = None,
    require: RequireOption = None,
) -> None:
    """Compare two calibrations of one camera over the image.

    Every pixel of A is sent along its ray, turned by the rotation that makes both cameras agree best, and projected
    by B: how far it lands from where it was is the difference. Where both files state their covariance, it is
    compared with what is to be expected. Exits with 3 when a --require is not met.

    Example: cv3d diff january/ june/camera.json -o diff --require 'max<0.5'
    """
    from cv3d.calibration.diff import diff as compare
    from cv3d.errors import QualityError
    from cv3d.evaluation.requirements import check, check_names, parse_requirement
    from cv3d.reporting.diff_page import MEASURES, difference_result, measures, write_difference

    requirements = [parse_requirement(text) for text in require or []]
    check_names(requirements, MEASURES)
    focus = None if where is None else parse_place(where)
    difference = compare(camera_a, camera_b, where=focus, radius_px=radius, distance=distance)
    for warning in difference.warnings:
        run.progress.warn(warning)
    names = (camera_a, camera_b)
    if output is None:
        result = difference_result(difference, names)
    else:
        result = write_difference(difference, names, output, run.options.overwrite)
    run.emit(result, lambda: describe(difference, names, output))
    failures = check(requirements, measures(difference))
    if failures:
        raise QualityError("; ".join(str(failure) for failure in failures))


def parse_place(text: str) -> tuple[float, float]:
    """A pixel from "320,240".

    Raises:
        UsageError: it is none.
    """
    from cv3d.errors import UsageError

    parts = text.split(",")
    try:
        x, y = (float(part) for part in parts)
    except ValueError:
        raise UsageError(f"--where '{text}' is not a place; write X,Y in pixels, like 320,240") from None
    return x, y


def describe(difference: CameraDifference, names: tuple[str, str], out: Path | None) -> str:
    """The difference for a person, at most 80 columns where the names allow it."""
    import textwrap

    a, b = difference.a, difference.b
    turn = ", ".join(_signed(value) for value in difference.rotation_vector_deg)
    shares = ", ".join(f"{difference.percentile_px(k):.3g} ({k} %)" for k in (50, 95, 99))
    lines = [
        *textwrap.wrap(difference.sentence, 80),
        "",
        f"A          {a.model} {a.width}x{a.height}  {names[0]}",
        f"B          {b.model} {b.width}x{b.height}  {names[1]}",
        f"rotation   {_without_dust(difference.rotation_deg):.4g} degrees (about x, y, z: {turn})",
    ]
    if difference.translation_m is not None:
        shift = ", ".join(_signed(1000.0 * value) for value in difference.translation_m)
        lines.append(f"shift      {shift} mm, for points at {difference.distance_m:g} m")
    lines += [
        f"over image RMS {difference.rms_px:.3g} px, mean {difference.mean_px:.3g}, max {difference.max_px:.3g}",
        f"within     {shares}",
        f"at         center {difference.center_px:.3g}, edge {difference.edge_px:.3g}, "
        f"corner {difference.corner_px:.3g}",
    ]
    if difference.valid_share < 1.0:
        lines.append(
            f"compared   {difference.valid_share:.0%} of the image: the rest is outside of a lens model's domain"
        )
    if out is not None:
        lines += ["", f"written to {out}: report.html, result.json"]
    return "\n".join(lines)


def _without_dust(value: float) -> float:
    return value if abs(value) > _DUST else 0.0


def _signed(value: float) -> str:
    value = _without_dust(value)
    return f"{value:+.3g}" if value else "0"
