"""Pieces that every calibration's summary on a terminal has: the verdict, the board, what was not used, the files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLOURS = {"good": "green", "usable": "yellow", "poor": "red", "unobservable": "red"}
_MOST_REASONS = 12
_MOST_NAMES = 4
_EXACT_PX = 1e-3


def verdict_line(result: Mapping[str, Any]) -> Text:
    """The one sentence that a user needs."""
    return Text(str(result["sentence"]), style=_COLOURS.get(str(result["verdict"]), ""))


def warning_lines(warnings: Iterable[str]) -> list[RenderableType]:
    """What the user should know although the job is done."""
    return [Text(f"warning: {warning}", style="yellow") for warning in warnings]


def add_board_rows(grid: Table, board: Mapping[str, Any]) -> None:
    """What the board is, how it bends and how it is stretched, as rows of a grid of two columns."""
    size = f"{1000 * board['square_m']:g} mm" if board["square_m"] is not None else "size unknown: up to scale"
    dictionary = f" {board['dictionary']}" if board["dictionary"] else ""
    grid.add_row("board", f"{board['type']} {board['cols']}x{board['rows']}{dictionary}, {size}")
    warp = board["warp"]
    if warp is not None and any(warp["coefficients"]):
        unit, factor = ("mm", 1000.0) if board["square_m"] is not None else ("squares", 1.0)
        heights = ", ".join(f"{factor * value:.2g}" for value in warp["coefficients"])
        grid.add_row("", f"bent: {heights} {unit} (across, along, twisted)")
    if warp is not None and warp["stretch"] is not None:
        grid.add_row("", f"stretched by {stretch_words(warp['stretch'])}: the printer scaled it")


def stretch_words(stretch: float) -> str:
    """By how much and in which direction a board is stretched."""
    return f"{100.0 * abs(stretch):.2g} % along its {'rows' if stretch > 0 else 'columns'}"


def seconds_words(seconds: Mapping[str, float]) -> str:
    """Where the time went."""
    return f"{seconds['detect']:.1f} s detection, {seconds['solve']:.1f} s solving"


def px(value: float | None, digits: int = 2) -> str:
    """A length in pixels with its unit."""
    return "unknown" if value is None else f"{value:.{digits}f} px"


def rejected_lines(rejected: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """The pictures that were not used, those with one reason together."""
    by_reason: dict[str, list[str]] = {}
    for item in rejected:
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


def stand_in_lines(formats: Mapping[str, Mapping[str, Any]], model: str) -> list[RenderableType]:
    """Which files hold another model than the camera's own, files of one stand-in together.

    Args:
        formats: what the result says of each format.
        model: the camera's own.
    """
    lines: list[RenderableType] = []
    refitted: dict[tuple[str, float], list[str]] = {}
    for name, item in formats.items():
        if item["file"] is None:
            lines.append(Text(f"not written for {name}: {refusal_words(item['reason'])}"))
        elif item["model"] != model:
            refitted.setdefault((item["model"], item["fit_max_px"]), []).append(item["file"])
    for (stand_in, error), files in refitted.items():
        lines.append(Text(f"{', '.join(files)}: refitted as {stand_in}, {off_words(error)}"))
    return [Text(""), *lines] if lines else []


def refusal_words(reason: str) -> str:
    """Why a format was not written, without advice that is about `cv3d convert`."""
    return "; ".join(clause for clause in reason.split("; ") if not clause.startswith("--"))


def off_words(error_px: float) -> str:
    """How far a stand-in is off."""
    off = f"{error_px:.2g} px" if error_px >= _EXACT_PX else f"under {_EXACT_PX:g} px"
    return f"off by {off} at most"


def file_lines(files: Iterable[object], out: Path, up_to_date: bool) -> list[RenderableType]:
    """The files written, or found there already."""
    state = "up to date in" if up_to_date else "written to"
    names = Text(", ".join(map(str, files)))
    return [Text(""), Text(f"{state} {out}:"), Padding(names, (0, 0, 0, 2))]
