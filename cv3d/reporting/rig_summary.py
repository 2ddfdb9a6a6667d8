"""A rig's calibration as a terminal shows it: readable at 80 columns and without colour."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cv3d.reporting.page import with_sigma
from cv3d.reporting.summary_parts import (
    add_board_rows,
    file_lines,
    off_words,
    px,
    refusal_words,
    seconds_words,
    verdict_line,
    warning_lines,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

_MOST_PAIRS = 12
_MOST_REASONS = 5
_MOST_NAMES = 2
_FIGURES = re.compile(r" \([^()]*\)$")

RIG_MEASURES = (
    "rms",
    "camera_rms",
    "holdout_rms",
    "epipolar",
    "baseline_std",
    "rotation_std",
    "frames",
    "views",
)
"""The figures that `--require` knows: RMS of all cameras, worst RMS of one, worst held-out RMS of one by itself and
worst pair's mean epipolar error, pixels; worst standard deviation of a distance from the first camera (metres or
squares) and of a rotation (degrees); frames used; fewest views used of one camera."""


def rig_measures(result: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures that a requirement can be put on, by name, from a result."""
    cameras = result["cameras"]
    places = [camera["from_first"] for camera in cameras[1:]]
    return {
        "rms": result["rms_px"],
        "camera_rms": _worst(camera["rms_px"] for camera in cameras),
        "holdout_rms": _worst(camera["holdout_rms_px"] for camera in cameras if not camera["held"]),
        "epipolar": _worst(pair["epipolar_px"] for pair in result["pairs"]),
        "baseline_std": _worst(place["distance_std"] for place in places),
        "rotation_std": _worst(place["rotation_std_deg"] for place in places),
        "frames": result["frames"]["used"],
        "views": min(camera["views"]["used"] for camera in cameras),
    }


def _worst(values: Iterable[float | None]) -> float | None:
    """The largest; None where one is not known, or there is none."""
    listed = list(values)
    known = [value for value in listed if value is not None]
    return max(known) if known and len(known) == len(listed) else None


def rig_summary(result: Mapping[str, Any], out: Path, up_to_date: bool) -> RenderableType:
    """The summary of a result.

    Args:
        result: what `result.json` holds.
        out: where it was written.
        up_to_date: whether it was found there already.
    """
    parts: list[RenderableType] = [verdict_line(result), Text(""), _facts(result), Text(""), _cameras(result)]
    if len(result["cameras"]) > 2:
        parts += [Text(""), *_places(result)]
    if result["pairs"]:
        parts += [Text(""), _pairs(result)]
    parts += _spaced(_rejected(result))
    parts += _spaced([*warning_lines([*result["warnings"], *_findings(result, "warning")]), *_notes(result)])
    parts += _spaced([*_stand_ins(result), *_losses(result)])
    parts += file_lines(result["files"], out, up_to_date)
    return Group(*parts)


def _spaced(lines: list[RenderableType]) -> list[RenderableType]:
    return [Text(""), *lines] if lines else []


def _findings(result: Mapping[str, Any], severity: str) -> list[str]:
    """What the watch-out checks found of the cameras, those of which they found the same together."""
    cameras: dict[str, list[str]] = {}
    for camera in result["cameras"]:
        for finding in camera["findings"]:
            if finding["severity"] == severity:
                cameras.setdefault(finding["sentence"], []).append(camera["name"])
    return [
        f"camera{'s' if len(names) > 1 else ''} {', '.join(names)}: {sentence}" for sentence, names in cameras.items()
    ]


def _notes(result: Mapping[str, Any]) -> list[RenderableType]:
    return [Text(f"note: {sentence}") for sentence in _findings(result, "info")]


def _rejected(result: Mapping[str, Any]) -> list[RenderableType]:
    """The pictures that were not used, by camera and reason."""
    lines: list[RenderableType] = []
    for camera in result["cameras"]:
        groups = _by_reason(camera["views"]["rejected"])
        shown = [f"{camera['name']}: {words}" for words in groups[:_MOST_REASONS]]
        if len(groups) > _MOST_REASONS:
            shown.append(f"{camera['name']}: and for more reasons, see report.html")
        lines += [Padding(Text(line), (0, 0, 0, 2)) for line in shown]
    return [Text("not used:"), *lines] if lines else []


def _by_reason(rejected: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every kind of reason with the first of its pictures, the most frequent first.

    Reasons that differ only in the figures in brackets at their end are of one kind.
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for item in rejected:
        name, reason = str(item["file"]), str(item["reason"])
        reason = reason.removeprefix(f"{name}: ")
        kinds.setdefault(_FIGURES.sub("", reason), []).append((name, reason))
    lines = []
    for kind, members in sorted(kinds.items(), key=lambda entry: -len(entry[1])):
        names = ", ".join(name for name, _ in members[:_MOST_NAMES])
        more = f" and {len(members) - _MOST_NAMES} more" if len(members) > _MOST_NAMES else ""
        lines.append(f"{names}{more}: {members[0][1] if len(members) == 1 else kind}")
    return lines


def _stand_ins(result: Mapping[str, Any]) -> list[RenderableType]:
    """What is not written, and which files hold another model than a camera's own."""
    lines: list[RenderableType] = []
    refitted: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for item in result["formats"]:
        if item["file"] is None:
            whose = "" if item["camera"] is None else f" of {item['camera']}"
            lines.append(Text(f"not written for {item['format']}{whose}: {refusal_words(item['reason'])}"))
        elif item["model"] != item["camera_model"]:
            refitted.setdefault((item["file"], item["model"]), []).append(item)
    for (file, model), items in refitted.items():
        cameras = ", ".join(item["camera"] for item in items)
        lines.append(Text(f"{file}: {cameras} as {model}, {off_words(max(item['fit_max_px'] for item in items))}"))
    return lines


def _losses(result: Mapping[str, Any]) -> list[RenderableType]:
    """What files do not say, those of one loss together."""
    by_words: dict[str, list[str]] = {}
    for item in result["losses"]:
        by_words.setdefault(item["loss"], []).append(item["file"])
    return [Text(f"{', '.join(files)}: {words}") for words, files in by_words.items()]


def _facts(result: Mapping[str, Any]) -> Table:
    frames = result["frames"]
    grid = Table.grid(padding=(0, 2))
    add_board_rows(grid, result["board"])
    grid.add_row("frames", f"{frames['used']} of {frames['total']} used; {frames['synchronisation']['sentence']}")
    grid.add_row("RMS", f"{px(result['rms_px'], 3)} over all cameras, corner noise {px(result['noise_px'], 3)}")
    grid.add_row("time", seconds_words(result["seconds"]))
    return grid


def _cameras(result: Mapping[str, Any]) -> Table:
    table = _table("cameras", "camera", "model", "views", "RMS px", "alone", "fx px", "std")
    for camera in result["cameras"]:
        focal, deviation = _with_std(camera["params"]["fx"], camera["std"]["fx"])
        alone = camera["rms_alone_px"]
        views = f"{camera['views']['used']}/{camera['views']['total']}"
        fit = _figure(camera["rms_px"])
        table.add_row(
            camera["name"], camera["model"], views, fit, "-" if alone is None else f"{alone:.3f}", focal, deviation
        )
    return table


def _places(result: Mapping[str, Any]) -> list[RenderableType]:
    """Where each camera sits relative to the first, and through which others that is known."""
    first = result["cameras"][0]["name"]
    table = _table(f"places relative to {first}", "camera", f"distance {result['unit']}", "std", "angle deg", "std")
    chains: list[RenderableType] = []
    for camera in result["cameras"][1:]:
        place = camera["from_first"]
        distance, deviation = _with_std(place["distance"], place["distance_std"])
        spread = place["rotation_std_deg"]
        turned = "unknown" if spread is None else f"{spread:.2g}"
        table.add_row(camera["name"], distance, deviation, f"{place['angle_deg']:.2f}", turned)
        if camera["linked_through"]:
            chains.append(Text(f"{camera['name']} is tied to {first} through {', '.join(camera['linked_through'])}"))
    return [table, *chains]


def _pairs(result: Mapping[str, Any]) -> Table:
    shown = sorted(result["pairs"], key=_epipolar, reverse=True)[:_MOST_PAIRS]
    some = f", the worst {_MOST_PAIRS} of {len(result['pairs'])}" if len(shown) < len(result["pairs"]) else ""
    table = _table(f"pairs{some}", "pair", "frames", "epipolar px", f"baseline {result['unit']}", "std", "angle deg")
    for pair in result["pairs"] if not some else shown:
        baseline, deviation = _with_std(pair["baseline"], pair["baseline_std"])
        name = f"{pair['first']} - {pair['second']}"
        angle = f"{pair['angle_deg']:.2f}"
        table.add_row(name, str(pair["frames"]), _figure(pair["epipolar_px"]), baseline, deviation, angle)
    return table


def _epipolar(pair: Mapping[str, Any]) -> float:
    return math.inf if pair["epipolar_px"] is None else float(pair["epipolar_px"])


def _table(title: str, *columns: str) -> Table:
    """A plain table whose columns hold numbers but for the first one and lens models."""
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 or name == "model" else "right")
    return table


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _with_std(value: float, deviation: float | None) -> tuple[str, str]:
    """A figure to the digits that its deviation supports, in characters that any terminal has."""
    texts = with_sigma(value, math.nan if deviation is None else deviation)
    plain = [text.replace("\u2212", "-") for text in texts]
    return plain[0], "unknown" if deviation is None else plain[1]
