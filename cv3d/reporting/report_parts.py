"""Pieces that every calibration report has: its head, tiles, bars, parameters with their deviations, its foot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import cv3d
from cv3d.calibration.boards import Board
from cv3d.calibration.quality import Verdict
from cv3d.calibration.result import Seconds
from cv3d.geometry.cameras.camera import Camera
from cv3d.reporting.page import Html, joined, number, table, tag, with_sigma

MOST_REJECTED = 24
"""Rejected pictures shown with their picture."""
_MOST_PARAMETERS = 40
_MEANINGS = {
    "fx": "focal length along rows, px",
    "fy": "focal length along columns, px",
    "cx": "principal point, column, px",
    "cy": "principal point, row, px",
}


def page_head(
    title: str, verdict: Verdict, warnings: Sequence[str], tiles: Iterable[Html], links: Iterable[tuple[str, str]]
) -> Html:
    """The head of a report.

    Args:
        title: any text.
        verdict: level, sentence and advice.
        warnings: what the user should know although the job is done.
        tiles: the figures that matter most; see :func:`tile`.
        links: anchor and words of every section.
    """
    level = verdict.level.value
    top = tag("div", tag("h1", title), tag("span", level, class_=f"badge {level}"), class_="head")
    # The badge says the level, and the list below the advice: neither is said twice.
    sentence = verdict.sentence.removeprefix(f"{level}: ").removesuffix(f"; {'; '.join(verdict.advice)}")
    listed = [line for line in verdict.advice if line not in sentence]
    advice = [tag("ul", *(tag("li", line) for line in listed))] if listed else []
    judged = tag("div", tag("p", sentence[:1].upper() + sentence[1:]), *advice, class_=f"verdict {level}")
    notes = []
    if warnings:
        lines = tag("ul", *(tag("li", line) for line in warnings))
        notes.append(tag("div", tag("b", "Warnings"), lines, class_="note"))
    navigation = tag("nav", *(tag("a", words, href=f"#{anchor}") for anchor, words in links))
    return tag("header", top, judged, *notes, tag("dl", *tiles, class_="tiles"), navigation)


def tile(name: str, value: str, note: str) -> Html:
    """One figure with its name above and a remark below."""
    return tag("div", tag("dt", name), tag("dd", value, tag("small", note)), class_="tile")


def breakable(name: str) -> Html:
    """A name that may be broken after its underscores where room is short."""
    words = name.split("_")
    return joined([*(joined([word, Html("_<wbr>")]) for word in words[:-1]), words[-1]])


def in_pixels(value: float, digits: int = 3) -> str:
    """A length in pixels with its unit; a dash alone for NaN."""
    return f"{number(value, digits)} px" if not math.isnan(value) else number(value)


def board_words(board: Board) -> tuple[str, str]:
    """Size of a board, and what it is."""
    kind = board.type.value.replace("_", " ")
    size = f"{board.square_m * 1000:g} mm" if board.square_m is not None else "size unknown: up to scale"
    dictionary = f"{board.dictionary}, " if board.dictionary else ""
    return f"{board.cols} × {board.rows}", f"{kind}, {dictionary}{size}"


def bar(value: float, longest: float, on: bool = False) -> Html:
    """A horizontal bar of a table cell, as long as `value` is of `longest`; nothing for NaN."""
    if not math.isfinite(value):
        return Html("")
    share = 100.0 * value / longest if longest > 0 else 0.0
    drawn = tag("span", class_="bar on" if on else "bar", style=f"width:{min(share, 100.0):.1f}%")
    return tag("div", drawn, class_="wide")


def plus_minus(sigma_text: str, sigma: float) -> str:
    """A standard deviation as :func:`with_sigma` wrote it, with its sign where it is a number to be read so."""
    return f"± {sigma_text}" if math.isfinite(sigma) and sigma > 0.0 else sigma_text


def parameter_table(camera: Camera, deviations: Mapping[str, float]) -> Html:
    """The parameters of a camera with their standard deviations and meanings.

    Of a model with hundreds of parameters, none of which says anything by itself, only the first.
    """
    rows = []
    shown = len(camera.params) if len(camera.params) <= _MOST_PARAMETERS else len(_MEANINGS)
    for (name, sigma), value in list(zip(deviations.items(), camera.params, strict=True))[:shown]:
        value_text, sigma_text = with_sigma(value, sigma)
        cells = [tag("b", name), value_text, plus_minus(sigma_text, sigma), _MEANINGS.get(name, "lens shape")]
        rows.append(("", cells))
    if shown < len(camera.params):
        rows.append(("off", [f"and {len(camera.params) - shown} more", "", "", "the lens's surface"]))
    return table(["parameter", "value", "standard deviation", "meaning"], rows, numeric=(1, 2))


def small_note(words: str) -> Html:
    """A remark below a table."""
    return tag("p", words, class_="soft", style="margin-top:10px;font-size:13.5px")


def page_footer(seed: int, seconds: Seconds) -> Html:
    """Version, seed and times."""
    words = [
        f"cv3d {cv3d.__version__}",
        f"seed {seed}",
        f"detection {seconds.detect:.2f} s",
        f"solution {seconds.solve:.2f} s",
        f"in all {seconds.total:.2f} s",
    ]
    return tag("footer", joined([" · ".join(words)]))
