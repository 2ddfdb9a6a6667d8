"""Pictures of a calibration as cards: what was detected in them, and by how much the camera disagrees."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board
from cv3d.calibration.framing import Framing
from cv3d.reporting import svg
from cv3d.reporting.figures import exaggeration
from cv3d.reporting.page import Html, data_uri, joined, number, tag
from cv3d.reporting.svg import Points

LoadGray = Callable[[str], NDArray[np.uint8] | None]
"""A picture's own grey pixels (H, W) by its name; None where it cannot be read."""

_DOT, _ROW, _ARROW, _OUTLIER = "#2fe0c8", "#ffb11a", "#ff5ad1", "#ff4433"
_LONGEST_SIDE = 960
_ALL_BYTES = 4_500_000
_MOST_BYTES = 240_000
_QUALITIES = (82, 64, 45)


class ShownView(Protocol):
    """What a card shows of a picture; a view of one camera's calibration or of a rig's."""

    @property
    def name(self) -> str:
        """As the user knows the picture."""

    @property
    def reason(self) -> str:
        """Why it was rejected; empty for a view that was used."""

    @property
    def used(self) -> bool:
        """Whether the view took part in the fit."""

    @property
    def rms_px(self) -> float:
        """RMS of the corners used, pixels."""

    @property
    def framing(self) -> Framing:
        """How the picture's own pixels map into the common image frame."""

    @property
    def point_ids(self) -> NDArray[np.int64]:
        """Indices into the board's points, (n,)."""

    @property
    def pixels(self) -> NDArray[np.float64]:
        """Corners in the common image frame, (n, 2), pixels."""

    @property
    def residuals(self) -> NDArray[np.float64]:
        """Projected minus observed, (n, 2), pixels."""

    @property
    def outliers(self) -> NDArray[np.bool_]:
        """Corners left out of the fit, (n,)."""


@dataclass(frozen=True)
class Gallery:
    """How the cards of one report are drawn."""

    board: Board
    size: tuple[int, int]
    """Width and height of the common image frame, pixels."""
    load_gray: LoadGray
    factor: float
    """By how much residuals are drawn longer than they are."""
    bytes_each: int
    """Room for each picture, bytes of JPEG."""


def gallery_for(
    board: Board, size: tuple[int, int], load_gray: LoadGray, used: Sequence[ShownView], pictures: int
) -> Gallery:
    """The common scale of residuals and the room that each of `pictures` cards gets."""
    lengths = [np.hypot(*(view.residuals[~view.outliers]).T) for view in used]
    factor = exaggeration(np.concatenate([np.zeros(0), *lengths]), 0.055 * max(size))
    return Gallery(board, size, load_gray, factor, min(_MOST_BYTES, _ALL_BYTES // max(pictures, 1)))


def used_card(gallery: Gallery, view: ShownView) -> Html:
    """A view that was used: its corners, residuals and outliers over the picture."""
    outliers = int(view.outliers.sum())
    numbers = f"RMS {number(view.rms_px)} px · {len(view.pixels)} corners"
    if outliers:
        numbers += f", {outliers} left out"
    lines = [tag("b", view.name), tag("br"), numbers]
    if view.framing.note:
        lines += [tag("br"), tag("span", view.framing.note, class_="soft")]
    alt = f"{view.name}: detected corners and residuals"
    return _card(_picture(gallery, view, alt), lines)


def rejected_card(gallery: Gallery, view: ShownView, with_picture: bool) -> Html:
    """A picture that was not used, and why."""
    lines = [tag("b", view.name), tag("br"), reason_of(view)]
    return _card(_picture(gallery, view, f"{view.name}: rejected") if with_picture else None, lines)


def reason_of(view: ShownView) -> str:
    """Why a view was rejected, without the name that stands beside it anyway."""
    return view.reason.removeprefix(f"{view.name}: ")


def legend(factor: float, has_outliers: bool) -> Html:
    """What the marks on the pictures mean."""

    def entry(mark: Html, words: str) -> Html:
        sample = tag("svg", mark, viewBox="0 0 26 12", aria_hidden="true")
        return tag("li", sample, words)

    middle = np.array([[13.0, 6.0]])
    arrow = svg.arrows(np.array([[3.0, 6.0]]), np.array([[23.0, 6.0]]), 6.0)
    entries = [
        entry(svg.dots(middle, _DOT, 7.0), "detected corner"),
        entry(svg.path("M2 6H24", _ROW, 2.5), "first row of the board, from the ringed corner on"),
        entry(svg.path(arrow, _ARROW, 2.0), f"residual (detected to projected), ×{factor:g}"),
    ]
    if has_outliers:
        entries.append(entry(svg.crosses(middle, _OUTLIER, 4.5, 2.2), "corner left out of the fit"))
    return tag("ul", *entries, class_="legend")


def _card(picture: Html | None, lines: Sequence[str]) -> Html:
    caption = tag("div", *lines, class_="cap")
    if picture is None:
        return tag("div", tag("div", "no picture", class_="none"), caption, class_="view")
    # A check box is what enlarges a picture without a script; the style sheet does the rest.
    toggle = tag("input", type="checkbox", aria_label="enlarge")
    return tag("div", tag("label", toggle, picture), caption, class_="view")


def _picture(gallery: Gallery, view: ShownView, alt: str) -> Html | None:
    gray = gallery.load_gray(view.name)
    if gray is None or gray.size == 0:
        return None
    framing = view.framing
    own_frame = bool(np.array_equal(framing.matrix, np.eye(2)) and not framing.offset.any())
    width, height = (gray.shape[1], gray.shape[0]) if own_frame else gallery.size
    jpeg = _encoded(gray, framing.matrix, framing.offset, (width, height), gallery.bytes_each)
    parts = [svg.image(data_uri(jpeg, "image/jpeg"), 0.0, 0.0, float(width), float(height)), _overlay(gallery, view)]
    return svg.drawing(float(width), float(height), alt, *parts)


def _encoded(
    gray: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    size: tuple[int, int],
    room: int,
) -> bytes:
    """The picture in the common frame as JPEG, made smaller until it is within `room` bytes."""
    scale = min(1.0, _LONGEST_SIDE / max(size))
    while True:
        shown = _framed(gray, matrix, offset, size, scale)
        for quality in _QUALITIES:
            _, jpeg = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if len(jpeg) <= room or (quality == _QUALITIES[-1] and max(shown.shape) <= 96):
                return jpeg.tobytes()
        scale *= min(0.8, math.sqrt(room / len(jpeg)))


def _framed(
    gray: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    size: tuple[int, int],
    scale: float,
) -> NDArray[np.uint8]:
    """`gray` in the common frame of `size`, scaled; pixel centres are at whole numbers in both frames."""
    target = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    # Area averaging first, in the picture's own frame: warping alone would alias.
    own = scale * float(np.sqrt(abs(np.linalg.det(matrix))))
    small = gray
    if own < 1.0:
        own_size = (max(1, round(gray.shape[1] * own)), max(1, round(gray.shape[0] * own)))
        small = np.asarray(cv2.resize(gray, own_size, interpolation=cv2.INTER_AREA), np.uint8)
        if np.array_equal(matrix, np.eye(2)) and not offset.any():
            return small
    elif np.array_equal(matrix, np.eye(2)) and not offset.any():
        return small
    own_from_small = _resizing(small.shape[1] / gray.shape[1], small.shape[0] / gray.shape[0], inverse=True)
    target_from_common = _resizing(target[0] / size[0], target[1] / size[1], inverse=False)
    common_from_own = np.vstack([np.column_stack([matrix, offset]), [0.0, 0.0, 1.0]])
    warp = (target_from_common @ common_from_own @ own_from_small)[:2]
    return np.asarray(cv2.warpAffine(small, warp, target, flags=cv2.INTER_LINEAR), np.uint8)


def _resizing(x: float, y: float, inverse: bool) -> NDArray[np.float64]:
    """Pixel coordinates after resizing by factors `x` and `y`, (3, 3): edges stay, so centres move by half a pixel."""
    after_from_before = np.array([[x, 0.0, 0.5 * x - 0.5], [0.0, y, 0.5 * y - 0.5], [0.0, 0.0, 1.0]])
    return np.linalg.inv(after_from_before) if inverse else after_from_before


def _overlay(gallery: Gallery, view: ShownView) -> Html:
    # The drawing's origin is the picture's corner, a pixel's is its centre.
    pixels = view.pixels + 0.5
    kept = ~view.outliers
    size = max(gallery.size)
    row = _first_row(gallery.board, view, pixels)
    parts = [svg.path(svg.polyline(row), _ROW, 1.6, stroke_opacity="0.9")] if len(row) > 1 else []
    if view.used:
        ends = pixels + gallery.factor * view.residuals
        visible = kept & np.isfinite(ends).all(axis=1)
        parts.append(svg.path(svg.arrows(pixels[visible], ends[visible], 0.009 * size), _ARROW, 1.3))
    parts.append(svg.dots(pixels[kept], _DOT, 3.0))
    if len(row):
        x, y = row[0]
        parts.append(
            tag(
                "circle",
                cx=f"{x:.1f}",
                cy=f"{y:.1f}",
                r=f"{0.011 * size:.1f}",
                fill="none",
                stroke=_ROW,
                stroke_width="1.6",
                vector_effect="non-scaling-stroke",
            )
        )
    if view.outliers.any():
        parts.append(svg.crosses(pixels[view.outliers], _OUTLIER, 0.008 * size, 2.0))
    return joined(parts)


def _first_row(board: Board, view: ShownView, pixels: Points) -> Points:
    """The seen points of the board's first row, in their order, (n, 2)."""
    points = board.points()
    own = points[view.point_ids]
    first = np.flatnonzero(np.abs(own[:, 1] - points[:, 1].min()) < 1e-9)
    ordered: Points = pixels[first[np.argsort(own[first, 0])]]
    return ordered
