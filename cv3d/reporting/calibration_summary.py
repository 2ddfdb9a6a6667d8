"""A calibration's result as a terminal shows it: readable at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from cv3d.reporting.summary_parts import (
    add_board_rows,
    file_lines,
    px,
    rejected_lines,
    seconds_words,
    stand_in_lines,
    verdict_line,
    warning_lines,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

MEASURES = (
    "rms",
    "holdout_rms",
    "uncertainty_center",
    "uncertainty_edge",
    "uncertainty_corner",
    "views",
    "coverage",
    "coverage_corner",
)
"""The figures that `--require` knows."""

_MOST_PARAMETERS = 30
"""A camera of more (a spline) is shown by its first few."""
_FOLDED_PARAMETERS = 4


def measures(result: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures that a requirement can be put on, by name, from a result."""
    uncertainty, coverage = result["uncertainty_px"], result["coverage"]
    values = (
        result["rms_px"],
        result["holdout_rms_px"],
        uncertainty["center"],
        uncertainty["edge"],
        uncertainty["corner"],
        result["views"]["used"],
        coverage["total"],
        coverage["corner"],
    )
    return dict(zip(MEASURES, values, strict=True))


def summary(result: Mapping[str, Any], out: Path, up_to_date: bool) -> RenderableType:
    """The summary of a result.

    Args:
        result: what `result.json` holds.
        out: where it was written.
        up_to_date: whether it was found there already.
    """
    parts: list[RenderableType] = [verdict_line(result), Text("")]
    parts += [_facts(result), Text(""), parameter_table(result)]
    if len(result["models"]) > 1:
        parts += [Text(""), _models(result)]
    parts += rejected_lines(result["views"]["rejected"])
    parts += warning_lines(result["warnings"])
    notes = [finding["sentence"] for finding in result["findings"] if finding["severity"] == "info"]
    parts += [Text(f"note: {sentence}") for sentence in notes]
    parts += stand_in_lines(result["formats"], result["camera"]["model"])
    parts += file_lines(result["files"], out, up_to_date)
    return Group(*parts)


def _facts(result: Mapping[str, Any]) -> Table:
    camera, views = result["camera"], result["views"]
    uncertainty, coverage = result["uncertainty_px"], result["coverage"]
    grid = Table.grid(padding=(0, 2))
    add_board_rows(grid, result["board"])
    grid.add_row("pictures", f"{views['used']} of {views['total']} used, {camera['width']}x{camera['height']}")
    grid.add_row("RMS", f"{px(result['rms_px'], 3)}, held out {px(result['holdout_rms_px'], 3)}")
    grid.add_row(
        "uncertainty",
        f"center {px(uncertainty['center'])}, edge {px(uncertainty['edge'])}, corner {px(uncertainty['corner'])}",
    )
    grid.add_row(
        "coverage",
        f"center {coverage['center']:.0%}, edge {coverage['edge']:.0%}, corner {coverage['corner']:.0%}; "
        f"{result['tilt']['tilted_views']} views tilted",
    )
    grid.add_row("time", seconds_words(result["seconds"]))
    return grid


def parameter_table(result: Mapping[str, Any]) -> Table:
    """Every parameter of a result's camera with its deviation; of very many the first few."""
    camera = result["camera"]
    table = Table(box=None, pad_edge=False, title=f"camera: {camera['model']}", title_justify="left")
    table.add_column("parameter")
    table.add_column("value", justify="right")
    table.add_column("std", justify="right")
    named = list(camera["params"].items())
    shown = named if len(named) <= _MOST_PARAMETERS else named[:_FOLDED_PARAMETERS]
    for name, value in shown:
        deviation = camera["std"].get(name)
        table.add_row(name, f"{value:.6g}", "-" if deviation is None else f"{deviation:.2g}")
    if len(shown) < len(named):
        table.caption = f"and {len(named) - len(shown)} more, in camera.json"
        table.caption_justify = "left"
    return table


def _models(result: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, title="lens models by held-out error", title_justify="left")
    table.add_column("model")
    table.add_column("params", justify="right")
    table.add_column("RMS px", justify="right")
    table.add_column("held out", justify="right")
    table.add_column("")
    for row in result["models"]:
        held_out = row["holdout_rms_px"]
        style = "bold" if row["model"] == result["camera"]["model"] else ""
        cells = (
            row["model"],
            str(row["parameters"]),
            f"{row['rms_px']:.4g}",
            "-" if held_out is None else f"{held_out:.4g}",
        )
        table.add_row(*cells, row["verdict"], style=style)
    return table
