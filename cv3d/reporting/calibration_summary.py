"""A calibration's result as a terminal shows it: readable at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLOURS = {"good": "green", "usable": "yellow", "poor": "red", "unobservable": "red"}
_MOST_REASONS = 12
_MOST_NAMES = 4
_EXACT_PX = 1e-3

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
    sentence = Text(str(result["sentence"]), style=_COLOURS.get(str(result["verdict"]), ""))
    parts: list[RenderableType] = [sentence, Text("")]
    parts += [_facts(result), Text(""), _parameters(result)]
    if len(result["models"]) > 1:
        parts += [Text(""), _models(result)]
    parts += _rejected(result)
    parts += [Text(f"warning: {warning}", style="yellow") for warning in result["warnings"]]
    parts += _stand_ins(result)
    state = "up to date in" if up_to_date else "written to"
    files = ", ".join(str(name) for name in result["files"])
    parts += [Text(""), Text(f"{state} {out}:"), Padding(Text(files), (0, 0, 0, 2))]
    return Group(*parts)


def _facts(result: Mapping[str, Any]) -> Table:
    board, camera, views = result["board"], result["camera"], result["views"]
    uncertainty, coverage, seconds = result["uncertainty_px"], result["coverage"], result["seconds"]
    grid = Table.grid(padding=(0, 2))
    size = f"{1000 * board['square_m']:g} mm" if board["square_m"] is not None else "size unknown: up to scale"
    dictionary = f" {board['dictionary']}" if board["dictionary"] else ""
    grid.add_row("board", f"{board['type']} {board['cols']}x{board['rows']}{dictionary}, {size}")
    if board["warp"] is not None:
        unit, factor = ("mm", 1000.0) if board["square_m"] is not None else ("squares", 1.0)
        heights = ", ".join(f"{factor * value:.2g}" for value in board["warp"]["coefficients"])
        grid.add_row("", f"bent: {heights} {unit} (across, along, twisted)")
    grid.add_row("pictures", f"{views['used']} of {views['total']} used, {camera['width']}x{camera['height']}")
    grid.add_row("RMS", f"{_px(result['rms_px'], 3)}, held out {_px(result['holdout_rms_px'], 3)}")
    grid.add_row(
        "uncertainty",
        f"center {_px(uncertainty['center'])}, edge {_px(uncertainty['edge'])}, corner {_px(uncertainty['corner'])}",
    )
    grid.add_row(
        "coverage",
        f"center {coverage['center']:.0%}, edge {coverage['edge']:.0%}, corner {coverage['corner']:.0%}; "
        f"{result['tilt']['tilted_views']} views tilted",
    )
    grid.add_row("time", f"{seconds['detect']:.1f} s detection, {seconds['solve']:.1f} s solving")
    return grid


def _parameters(result: Mapping[str, Any]) -> Table:
    camera = result["camera"]
    table = Table(box=None, pad_edge=False, title=f"camera: {camera['model']}", title_justify="left")
    table.add_column("parameter")
    table.add_column("value", justify="right")
    table.add_column("std", justify="right")
    for name, value in camera["params"].items():
        deviation = camera["std"].get(name)
        table.add_row(name, f"{value:.6g}", "-" if deviation is None else f"{deviation:.2g}")
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


def _rejected(result: Mapping[str, Any]) -> list[RenderableType]:
    by_reason: dict[str, list[str]] = {}
    for item in result["views"]["rejected"]:
        name, reason = str(item["file"]), str(item["reason"])
        by_reason.setdefault(reason.removeprefix(f"{name}: "), []).append(name)
    if not by_reason:
        return []
    lines: list[RenderableType] = [Text(""), Text("not used:")]
    for reason, names in list(by_reason.items())[:_MOST_REASONS]:
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        lines.append(Padding(Text(f"{', '.join(names[:_MOST_NAMES])}{more}: {reason}"), (0, 0, 0, 2)))
    if len(by_reason) > _MOST_REASONS:
        lines.append(Padding(Text("and more, see report.html"), (0, 0, 0, 2)))
    return lines


def _stand_ins(result: Mapping[str, Any]) -> list[RenderableType]:
    """Which files hold another model than the camera's own, files of one stand-in together."""
    lines: list[RenderableType] = []
    refitted: dict[tuple[str, float], list[str]] = {}
    for name, item in result["formats"].items():
        if item["file"] is None:
            lines.append(Text(f"not written for {name}: {item['reason']}"))
        elif item["model"] != result["camera"]["model"]:
            refitted.setdefault((item["model"], item["fit_max_px"]), []).append(item["file"])
    for (model, error), files in refitted.items():
        off = f"{error:.2g} px" if error >= _EXACT_PX else f"under {_EXACT_PX:g} px"
        lines.append(Text(f"{', '.join(files)}: refitted as {model}, off by {off} at most"))
    return [Text(""), *lines] if lines else []


def _px(value: float | None, digits: int = 2) -> str:
    return "unknown" if value is None else f"{value:.{digits}f} px"
