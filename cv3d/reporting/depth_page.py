"""The report of dense depth: one self-contained page with every picture beside its depth, and all of it in space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cv3d
from cv3d.depth.result import DepthMap, DepthResult
from cv3d.reporting.depth_pictures import bgr, confidence_colors, depth_colors, small_jpeg
from cv3d.reporting.depth_space import depth_in_space
from cv3d.reporting.depth_summary import headline, picture_result
from cv3d.reporting.page import Html, data_uri, figure, joined, number, page, percent, section, table, tag
from cv3d.reporting.report_parts import bar, small_note, tile
from cv3d.reporting.scenes.plotly_scene import plotly_library

_MOST_CARDS = 150
_SIDES = ((12, 520), (40, 360), (_MOST_CARDS, 240))
"""Up to how many cards a picture's longer side is so many pixels."""
_BYTES = 9_000_000
"""Of all pictures together."""
_MOST_BYTES = 60_000
_MOST_LEFT_OUT = 200
_GOOD, _USABLE = 0.4, 0.15
"""Coverage from which on depth is dense, and from which on it is of use."""
_GALLERY = "grid-template-columns:repeat(auto-fill,minmax(min(100%,{width}px),1fr))"
_BESIDE = "display:grid;grid-template-columns:repeat({count},1fr);gap:2px;background:var(--grid)"
_PICTURE = "display:block;width:100%;height:auto"


def depth_page(result: DepthResult, content: Mapping[str, Any], title: str = "Depth") -> str:
    """Dense depth as one HTML page, which needs no network. Its size is bounded.

    Args:
        result: the maps.
        content: of :func:`cv3d.reporting.depth_summary.depth_result`.
        title: any text.
    """
    parts: list[tuple[str, str, Html]] = []
    scripts: list[str] = []
    if result.maps:
        parts.append(("pictures", "Pictures", _picture_section(result, content)))
        drawn = depth_in_space(result.maps, "m" if content["is_metric"] else "")
        if drawn is not None:
            scripts = [plotly_library(), drawn.script]
            words = "Depth of confidence above one half, thinned. Drag to turn, scroll to zoom."
            parts.append(("space", "In space", section("space", "In space", figure(drawn.markup, "Points", words))))
        parts.append(("table", "Table", _table_section(content)))
    if content["left_out"]:
        parts.append(("left-out", "Left out", _left_out_section(content)))
    links = [(anchor, words) for anchor, words, _ in parts]
    foot = tag("footer", joined([f"cv3d {cv3d.__version__} · {result.device} · seed {result.seed}"]))
    return page(title, [_head(content, title, links), *(one for _, _, one in parts), foot], scripts)


def _head(content: Mapping[str, Any], title: str, links: Sequence[tuple[str, str]]) -> Html:
    words, level = _judged(content)
    said = headline(content)
    notes = list(content["warnings"])
    warned = [tag("div", tag("b", "Warnings"), tag("ul", *(tag("li", one) for one in notes)), class_="note")]
    return tag(
        "header",
        tag("div", tag("h1", title), tag("span", words, class_=f"badge {level}"), class_="head"),
        tag("div", tag("p", f"{said[:1].upper()}{said[1:]}."), class_=f"verdict {level}"),
        *(warned if notes else []),
        tag("dl", *_tiles(content), class_="tiles"),
        tag("nav", *(tag("a", name, href=f"#{anchor}") for anchor, name in links)),
    )


def _judged(content: Mapping[str, Any]) -> tuple[str, str]:
    if not content["maps"]:
        return "no depth", "poor"
    if content["coverage"] >= _GOOD:
        return ("dense", "good") if content["maps"] == content["total"] else ("dense in parts", "usable")
    return ("sparse", "usable") if content["coverage"] >= _USABLE else ("little found", "poor")


def _tiles(content: Mapping[str, Any]) -> list[Html]:
    sizes = {(one["width"], one["height"]) for one in content["pictures"]}
    size = " × ".join(map(str, max(sizes))) if sizes else "–"
    left_out = content["total"] - content["maps"]
    confidence = content["median_confidence"]
    tiles = [
        tile("Maps", f"{content['maps']:,} of {content['total']:,}", f"{left_out:,} left out"),
        tile("Coverage", percent(content["coverage"]), "of the pixels have depth"),
        tile("Confidence", number(confidence, 2) if confidence is not None else "–", "median over these pixels"),
        tile("Size", size, "pixels" if len(sizes) < 2 else f"pixels, the largest of {len(sizes)} sizes"),
        tile("Unit", "metres" if content["is_metric"] else "arbitrary", "of depth, along the optical axis"),
    ]
    if "total" in content["seconds"]:
        tiles.append(tile("Time", f"{number(content['seconds']['total'])} s", content["device"]))
    return tiles


def _picture_section(result: DepthResult, content: Mapping[str, Any]) -> Html:
    cards = picture_cards(result, is_metric=content["is_metric"], most=_MOST_CARDS)
    words = (
        "The undistorted picture; its depth, red near and blue far, in even steps of the inverse depth over the range "
        "that is named; its confidence, the brighter the surer. Dark is where there is none."
    )
    hidden = len(result.maps) - min(len(result.maps), _MOST_CARDS)
    more = [small_note(f"{hidden:,} more are not shown here; the table has all.")] if hidden else []
    return section("pictures", "Pictures", cards, small_note(words), *more)


def picture_cards(result: DepthResult, *, is_metric: bool, most: int) -> Html:
    """Pictures beside their depth and confidence.

    Args:
        result: the maps.
        is_metric: whether lengths are metres.
        most: cards; of more maps, some from the whole range.
    """
    picked = np.unique(np.linspace(0, len(result.maps) - 1, min(len(result.maps), most)).astype(int)).tolist()
    side = next(side for count, side in _SIDES if len(picked) <= count)
    room = min(_MOST_BYTES, _BYTES // (3 * max(len(picked), 1)))
    unit = " m" if is_metric else ""
    cards = [_card(result.maps[i], picture_result(result.maps[i]), side, room, unit) for i in picked]
    style = _GALLERY.format(width=560 if len(picked) <= _SIDES[0][0] else 400)
    return tag("div", *cards, class_="gallery", style=style)


def _card(one: DepthMap, said: Mapping[str, Any], side: int, room: int, unit: str) -> Html:
    shown = {
        one.name: bgr(one.color),
        f"depth of {one.name}": depth_colors(one.depth),
        f"confidence of {one.name}": confidence_colors(one.confidence),
    }
    words = f"{percent(one.coverage)} covered"
    if said["near"] is not None:
        words += f", {number(said['near'])} to {number(said['far'])}{unit}, confidence {said['median_confidence']:.2f}"
    caption = tag("div", tag("b", one.name), tag("br"), words, class_="cap")
    return tag("div", side_by_side(shown, side, room), caption, class_="view")


def side_by_side(shown: Mapping[str, NDArray[np.uint8]], side: int, room: int) -> Html:
    """Pictures beside each other.

    Args:
        shown: by their descriptions, (h, w, 3) BGR.
        side: largest side of each, pixels.
        room: for each, bytes.
    """
    pictures = [
        tag(
            "img", src=data_uri(small_jpeg(pixels, side, room), "image/jpeg"), alt=words, loading="lazy", style=_PICTURE
        )
        for words, pixels in shown.items()
    ]
    return tag("div", *pictures, style=_BESIDE.format(count=len(pictures)))


def _table_section(content: Mapping[str, Any]) -> Html:
    rows = []
    for one in content["pictures"]:
        confidence = one["median_confidence"]
        figures = [number(one[key]) if one[key] is not None else "–" for key in ("near", "median", "far")]
        cells = [
            one["name"],
            f"{one['width']} × {one['height']}",
            percent(one["coverage"]),
            bar(one["coverage"], 1.0),
            number(confidence, 2) if confidence is not None else "–",
            *figures,
        ]
        rows.append(("", cells))
    unit = ", m" if content["is_metric"] else ""
    head = ("picture", "size", "coverage", "", "confidence", f"near{unit}", f"median{unit}", f"far{unit}")
    grid = table(head, rows, numeric=(1, 2, 4, 5, 6, 7))
    folded = tag("details", tag("summary", f"{len(rows):,} pictures"), grid) if len(rows) > _SIDES[1][0] else grid
    note = small_note("Confidence: median. Near and far: the 2nd and the 98th hundredth of the depths.")
    return section("table", "Table", folded, note)


def _left_out_section(content: Mapping[str, Any]) -> Html:
    rows = [("", [one["name"], one["reason"]]) for one in content["left_out"][:_MOST_LEFT_OUT]]
    hidden = len(content["left_out"]) - len(rows)
    more = [small_note(f"{hidden:,} more are not shown here; result.json lists all.")] if hidden > 0 else []
    return section("left-out", "Left out", table(("picture", "why"), rows), *more)
