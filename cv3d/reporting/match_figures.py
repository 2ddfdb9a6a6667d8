"""The picture of a matched pair: both pictures with their matches as lines."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import UsageError
from cv3d.features.matching import PairMatch
from cv3d.formats.atomic import atomic_write_bytes
from cv3d.reporting.match_lines import Placement, chosen_lines, hue_colour, hues, place_pair, shrunk

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".jpg", ".jpeg", ".pdf", ".svg")
_MOST_LINES = 250
_MOST_REJECTED = 120
_INCHES = 12.0
"""The longer side of both pictures together."""
_DPI = 130
_TEXT_INCHES = 0.62
"""Room for the lines above and below."""
_LEAST_WIDTH = 5.0
_MOST_LETTERS = 16
"""Of a line of text, for each inch."""


def check_plot_name(path: str | os.PathLike[str]) -> None:
    """See that a plot can be written under a name.

    Raises:
        UsageError: its ending is none of a picture that can be drawn.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UsageError(f"--plot '{path}': the file's name ends with one of {', '.join(SUFFIXES)}")


def draw_pair(
    result: PairMatch, pixels0: NDArray[np.uint8], pixels1: NDArray[np.uint8], path: str | os.PathLike[str]
) -> None:
    """Draw a matched pair into a file, which appears whole: verified matches as lines, rejected ones faint.

    Of very many matches those are drawn that lie far apart; the caption says how many.

    Args:
        result: the pair.
        pixels0: the first picture, (H, W) or (H, W, 3) RGB; it may be smaller or larger than the one matched.
        pixels1: the second.
        path: a .png, .jpg, .pdf or .svg file.

    Raises:
        UsageError: the ending is another.
        OutputError: the file cannot be written.
    """
    check_plot_name(path)
    placement = place_pair(*result.sizes)
    kind = Path(path).suffix.lower().removeprefix(".").replace("jpeg", "jpg")
    atomic_write_bytes(path, _drawn(result, (pixels0, pixels1), placement, kind))


def _drawn(result: PairMatch, pictures: tuple[NDArray[np.uint8], ...], placement: Placement, kind: str) -> bytes:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = placement.size
    inches = max(_INCHES * width, _LEAST_WIDTH), _INCHES * height + 2.0 * _TEXT_INCHES
    figure = Figure(figsize=inches, dpi=_DPI)
    FigureCanvasAgg(figure)
    share = _TEXT_INCHES / inches[1]
    axes = figure.add_axes((0.5 - 0.5 * _INCHES * width / inches[0], share, _INCHES * width / inches[0], 1 - 2 * share))
    axes.set_axis_off()
    for side, pixels in enumerate(pictures):
        (x, y), (w, h) = placement.corners[side], placement.shown[side]
        small = shrunk(pixels, _DPI * _INCHES * max(w, h))
        axes.imshow(small, extent=(x, x + w, y + h, y), cmap="gray", vmin=0, vmax=255, aspect="equal")
    drawn = _draw_lines(axes, result, placement)
    axes.set_xlim(0.0, width)
    axes.set_ylim(height, 0.0)
    letters = int(_MOST_LETTERS * inches[0])
    names = [_shown_name(name, letters // 2 - 5) for name in result.names]
    middle = 0.5 * _TEXT_INCHES / inches[1]
    style: dict[str, Any] = {"ha": "center", "va": "center", "parse_math": False}
    figure.text(0.5, 1.0 - middle, f"{names[0]}  ·  {names[1]}", fontsize=10, color="#444444", **style)
    lines = [result.sentence(), _caption(result, *drawn)]
    # A reason may be long; the picture's width is what there is.
    text = "\n".join(line if len(line) <= letters else f"{line[: letters - 1]}…" for line in lines)
    figure.text(0.5, middle, text, fontsize=10, color="#222222", linespacing=1.4, **style)
    stream = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}.get(kind)
    # A fixed salt makes the ids in an SVG the same in every run.
    with mpl.rc_context({"svg.hashsalt": "cv3d"}), warnings.catch_warnings():
        # Letters that the font lacks become boxes: no reason to fail over a file's name.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()


def _draw_lines(axes: Axes, result: PairMatch, placement: Placement) -> tuple[int, int]:
    """Draw the matches; how many verified and rejected ones."""
    from matplotlib.collections import LineCollection

    inliers = result.geometry.inliers if result.verified else np.zeros(len(result.indices), dtype=bool)
    rejected = np.flatnonzero(~inliers)
    verified = np.flatnonzero(inliers)
    rejected = rejected[chosen_lines(result.points0[rejected], result.points1[rejected], placement, _MOST_REJECTED)]
    verified = verified[chosen_lines(result.points0[verified], result.points1[verified], placement, _MOST_LINES)]

    def segments(entries: NDArray[np.int64]) -> NDArray[np.float64]:
        ends = placement.place(0, result.points0[entries]), placement.place(1, result.points1[entries])
        return np.stack(ends, axis=1)

    # Light on dark, so that they are seen on any picture, and both so faint that they hide none of it.
    for colour, width, alpha in (("#000000", 1.1, 0.22), ("#ffffff", 0.5, 0.5)):
        axes.add_collection(LineCollection(list(segments(rejected)), colors=colour, linewidths=width, alpha=alpha))
    colours = [hue_colour(hue) for hue in hues(result.points0[verified], result.sizes[0]).tolist()]
    lines = segments(verified)
    axes.add_collection(LineCollection(list(lines), colors=colours, linewidths=0.8, alpha=0.75))
    for side in (0, 1):
        axes.scatter(lines[:, side, 0], lines[:, side, 1], s=7.0, c=colours, linewidths=0.3, edgecolors="#000000")
    return len(verified), len(rejected)


def _caption(result: PairMatch, verified: int, rejected: int) -> str:
    inliers = result.inlier_count if result.verified else 0
    counts = f"{len(result.keypoints0)} and {len(result.keypoints1)} keypoints ({result.extractor})"
    parts = [counts, f"{len(result.indices)} matches ({result.matcher})"]
    if inliers:
        parts.append(f"{inliers} verified" + (f", {verified} drawn" if verified < inliers else ""))
    others = len(result.indices) - inliers
    if others:
        parts.append(f"{others} rejected, in grey" + (f", {rejected} drawn" if rejected < others else ""))
    return " · ".join(parts)


def _shown_name(name: str, most: int) -> str:
    text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    return text if len(text) <= most else f"…{text[1 - most :]}"
