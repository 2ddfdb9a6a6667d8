"""The page that shows how two cameras differ, and the folder of `cv3d diff`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import cv3d
from cv3d.calibration.camera_difference import Agreement, CameraDifference
from cv3d.formats.atomic import atomic_directory, atomic_write_text
from cv3d.formats.json_text import jsonable, to_json
from cv3d.geometry.cameras.camera import Camera
from cv3d.reporting.diff_figures import difference_figure, radius_figure, sigma_figure
from cv3d.reporting.page import Html, escaped, figure, number, page, percent, section, table, tag
from cv3d.reporting.report_parts import breakable, in_pixels, tile

REPORT_FILE = "report.html"
RESULT_FILE = "result.json"
MEASURES = ("max", "mean", "rms", "median", "p95", "p99", "center", "edge", "corner", "rotation", "sigmas")
"""The figures that `--require` knows: pixels; degrees; the RMS in units of the one to be expected."""
_BADGES = {Agreement.WITHIN: ("agree", "good"), Agreement.BEYOND: ("differ", "poor")}


def measures(difference: CameraDifference) -> dict[str, float | None]:
    """The figures that a requirement can be put on, by name."""
    values = (
        difference.max_px,
        difference.mean_px,
        difference.rms_px,
        difference.percentile_px(50),
        difference.percentile_px(95),
        difference.percentile_px(99),
        difference.center_px,
        difference.edge_px,
        difference.corner_px,
        difference.rotation_deg,
        difference.sigmas,
    )
    return dict(zip(MEASURES, values, strict=True))


def write_difference(
    difference: CameraDifference, names: tuple[str, str], out: Path, overwrite: bool = False
) -> dict[str, object]:
    """Write the report and the result of a comparison as one folder, which appears whole.

    Args:
        difference: the comparison.
        names: what the user calls the two cameras.
        out: the folder.
        overwrite: whether a folder that is there may be replaced.

    Returns:
        The result as `result.json` holds it.

    Raises:
        OutputError: the folder is there and not empty, or cannot be written.
    """
    result = difference_result(difference, names) | {"files": [REPORT_FILE, RESULT_FILE]}
    with atomic_directory(out, overwrite) as folder:
        atomic_write_text(folder / REPORT_FILE, diff_page(difference, names))
        atomic_write_text(folder / RESULT_FILE, to_json(result, indent=2) + "\n")
    return result


def difference_result(difference: CameraDifference, names: tuple[str, str]) -> dict[str, object]:
    """A comparison as plain data, with the names of its cameras."""
    plain = jsonable(difference.as_dict())
    if not isinstance(plain, dict):
        raise TypeError("a result is an object")
    plain["cameras"] = [{"name": name, **camera} for name, camera in zip(names, plain["cameras"], strict=True)]
    return plain


def diff_page(difference: CameraDifference, names: tuple[str, str]) -> str:
    """A comparison as one self-contained HTML page, which needs no network and runs no script.

    Args:
        difference: the comparison.
        names: what the user calls the two cameras; any text.
    """
    sections = [_map_section(difference), _cameras_section(difference, names)]
    footer = tag("footer", f"cv3d {cv3d.__version__}")
    return page(f"{names[0]} against {names[1]}", [_headline(difference, names), *sections, footer])


def _headline(difference: CameraDifference, names: tuple[str, str]) -> Html:
    words, level = _BADGES.get(difference.agreement, ("", "usable"))
    badge = [tag("span", words, class_=f"badge {level}")] if words else []
    head = tag("div", tag("h1", f"{names[0]} against {names[1]}"), *badge, class_="head")
    sentence = difference.sentence
    judged = tag("div", tag("p", sentence[:1].upper() + sentence[1:] + "."), class_=f"verdict {level}")
    notes = []
    if difference.warnings:
        lines = tag("ul", *(tag("li", line) for line in difference.warnings))
        notes.append(tag("div", tag("b", "Warnings"), lines, class_="note"))
    turn = ", ".join(number(float(value), 2) for value in difference.rotation_vector_deg)
    tiles = [
        tile("RMS difference", in_pixels(difference.rms_px), f"mean {in_pixels(difference.mean_px)}"),
        tile("Largest difference", in_pixels(difference.max_px), f"99 %: {in_pixels(difference.percentile_px(99))}"),
        tile("At the centre", in_pixels(difference.center_px), "of the image"),
        tile("At the edges", in_pixels(difference.edge_px), "worst of four"),
        tile("At the corners", in_pixels(difference.corner_px), "worst of four"),
        tile("Implied rotation", f"{number(difference.rotation_deg)}°", f"about x, y, z: {turn}"),
    ]
    if difference.translation_m is not None:
        shift = " ".join(number(1000.0 * float(value), 3) for value in difference.translation_m)
        note = f"mm along x, y, z, at {number(difference.distance_m)} m"
        tiles.append(tile("Implied translation", shift, note))
    if difference.expected is not None:
        expected = f"{in_pixels(difference.expected.rms_px)} RMS"
        tiles.append(tile("To be expected", expected, "from the stated uncertainty of both"))
        tiles.append(tile("Beyond 3 σ", percent(difference.share_beyond), "of the image"))
    return tag("header", head, judged, *notes, tag("dl", *tiles, class_="tiles"))


def _map_section(difference: CameraDifference) -> Html:
    drawn, factor = difference_figure(difference)
    scaled = f", drawn ×{factor:g}" if factor > 1.0 else ""
    caption = (
        f"Arrows lead from a pixel of A to where B sees the same thing{scaled}; colour and lines: how far that is."
    )
    if difference.valid_share < 1.0:
        caption += " Hatched: outside of a lens model's domain."
    if difference.focus is not None:
        caption += " Dashed: where the rotation was fitted."
    cards = [figure(drawn, "Difference over the image", caption)]
    if difference.expected is not None:
        words = "How far the cameras differ in units of what their uncertainties lead to expect (worst direction)."
        cards.append(figure(sigma_figure(difference), "In standard deviations", words))
    curve = "Over rings around the principal point of A; the largest within each ring, and its RMS."
    cards.append(figure(radius_figure(difference), "Against the distance from the principal point", curve))
    cards.append(_numbers(difference))
    return section("map", "Difference", tag("div", *cards, class_="pair"))


def _numbers(difference: CameraDifference) -> Html:
    rows = [("", ["mean", in_pixels(difference.mean_px, 4)]), ("", ["RMS", in_pixels(difference.rms_px, 4)])]
    rows += [("", [f"{k} % within", in_pixels(difference.percentile_px(k), 4)]) for k in (50, 90, 95, 99)]
    rows.append(("", ["largest", in_pixels(difference.max_px, 4)]))
    rows.append(("", ["image compared", percent(difference.valid_share)]))
    return table(["over the image", "difference"], rows, numeric=(1,))


def _cameras_section(difference: CameraDifference, names: tuple[str, str]) -> Html:
    a, b = difference.a, difference.b
    first, second = _named_params(a), _named_params(b)
    rows = [("", ["lens model", breakable(a.model), breakable(b.model), ""])]
    for name in [*first, *(other for other in second if other not in first)]:
        shared = name in first and name in second and (a.model == b.model or name in ("fx", "fy", "cx", "cy"))
        apart = second[name] - first[name] if shared else math.nan
        cells = [_value(first, name), _value(second, name), number(apart, 3) if shared else ""]
        rows.append(("", [tag("b", name), *cells]))
    head = ["parameter", escaped(f"A: {names[0]}"), escaped(f"B: {names[1]}"), "B minus A"]
    note = (
        "Parameters of one camera may differ much and its projections little: they stand in for one another, and for "
        "the rotation. What counts is the map."
    )
    return section(
        "cameras",
        "Parameters",
        table(head, rows, numeric=(1, 2, 3)),
        tag("p", note, class_="soft", style="margin-top:10px;font-size:13.5px"),
    )


_MOST_PARAMS = 40


def _named_params(camera: Camera) -> Mapping[str, float]:
    """The parameters by name; of a model with very many, as a spline has, the first four."""
    named = dict(zip(camera.lens.param_names, camera.params, strict=True))
    return named if len(named) <= _MOST_PARAMS else dict(list(named.items())[:4])


def _value(params: Mapping[str, float], name: str) -> str:
    return number(params[name], 7) if name in params and np.isfinite(params[name]) else ""
