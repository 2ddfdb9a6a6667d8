"""One printed page of filled outlines and lines of text, as PDF or SVG at true scale.

Positions are millimetres from the page's top-left corner, y down. The PDF (ISO 32000-1) sets up that frame with one
transformation and then holds the millimetres themselves, so that nothing is rounded on the way to points; it asks
viewers not to scale when printing. The SVG has its size in mm and a view box of as many units. Text is set in the
fonts that every PDF viewer has, in the SVG in the system's own stretched to the same width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from html import escape

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError

POINTS_PER_MM = 72.0 / 25.4
MOST_MM = 14400.0 / POINTS_PER_MM
"""Longest side of a page that a PDF can have without a unit of its own (ISO 32000-1, annex C)."""
_ARCS = 8
"""Cubic curves to a circle; with eight its radius is right to 4e-6."""
_HELVETICA_ASCII = (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 "
    "584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 "
    "667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 "
    "278 556 500 722 500 500 500 334 260 334 584"
)
"""Advance widths of the characters 32 to 126, thousandths of the size (Adobe's font metrics)."""
_HELVETICA_WIDTHS = {chr(32 + k): int(width) / 1000.0 for k, width in enumerate(_HELVETICA_ASCII.split())}
_COURIER_WIDTH = 0.6


class Font(Enum):
    """The fonts that text can have: name in a PDF, and family in an SVG."""

    SANS = ("Helvetica", "Helvetica, Arial, sans-serif")
    MONO = ("Courier", "Courier New, Courier, monospace")


@dataclass(frozen=True)
class Circle:
    """A circular outline."""

    x: float
    """Of the centre, mm."""
    y: float
    """Likewise."""
    radius: float
    """mm."""


Outline = NDArray[np.float64] | Circle
"""A closed polygon, (n, 2) mm, or a circle."""


@dataclass(frozen=True)
class Text:
    """One line of printable ASCII."""

    x: float
    """Where it starts, mm."""
    y: float
    """Its base line, mm."""
    content: str
    size: float
    """Height of the font, mm."""
    font: Font = Font.SANS

    @property
    def width(self) -> float:
        """How long the line is, mm."""
        return text_width(self.content, self.size, self.font)


@dataclass(frozen=True)
class VectorPage:
    """A page of black print on white.

    Raises:
        FormatError: a text has characters beyond printable ASCII, or the page is larger than a PDF can be.
    """

    width: float
    """mm."""
    height: float
    """mm."""
    outlines: tuple[Outline, ...]
    """All of them are one shape, filled where an odd number of them lies around (even-odd rule)."""
    texts: tuple[Text, ...] = ()
    title: str = ""

    def __post_init__(self) -> None:
        if not (0.0 < self.width <= MOST_MM and 0.0 < self.height <= MOST_MM):
            raise FormatError(f"a page is between 0 and {MOST_MM:.0f} mm wide and high")
        for content in (self.title, *(text.content for text in self.texts)):
            if not all(" " <= character <= "~" for character in content):
                raise FormatError(f"'{content}' cannot be printed: only ASCII characters can")

    def svg(self) -> str:
        """The page as an SVG document."""
        width, height = _number(self.width), _number(self.height)
        path = "".join(_svg_outline(outline) for outline in self.outlines)
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" '
            f'viewBox="0 0 {width} {height}">',
            f"<title>{escape(self.title)}</title>",
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            f'<path fill="#000" fill-rule="evenodd" d="{path}"/>',
            *(_svg_text(text) for text in self.texts),
            "</svg>",
        ]
        return "\n".join(lines) + "\n"

    def pdf(self) -> bytes:
        """The page as a PDF file of one page."""
        return _pdf_file(self)


def text_width(content: str, size: float, font: Font) -> float:
    """Width of a line in the unit of `size`."""
    if font is Font.MONO:
        return _COURIER_WIDTH * size * len(content)
    return size * sum(_HELVETICA_WIDTHS[character] for character in content)


def rectangle(x: float, y: float, width: float, height: float) -> NDArray[np.float64]:
    """The outline, (4, 2), of a rectangle with its top-left corner at (x, y)."""
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])


def _number(value: float) -> str:
    """A plain decimal to the nanometre."""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _pair(point: Sequence[float]) -> str:
    return f"{_number(point[0])} {_number(point[1])}"


def _svg_outline(outline: Outline) -> str:
    if isinstance(outline, Circle):
        r = _number(outline.radius)
        left, across = _pair((outline.x - outline.radius, outline.y)), _number(2.0 * outline.radius)
        return f"M{left}a{r} {r} 0 1 0 {across} 0a{r} {r} 0 1 0 -{across} 0z"
    return f"M{'L'.join(_pair(point) for point in outline.tolist())}z"


def _svg_text(text: Text) -> str:
    return (
        f'<text x="{_number(text.x)}" y="{_number(text.y)}" font-family="{text.font.value[1]}" '
        f'font-size="{_number(text.size)}" textLength="{_number(text.width)}" lengthAdjust="spacingAndGlyphs" '
        f'xml:space="preserve">{escape(text.content)}</text>'
    )


def _pdf_outline(outline: Outline) -> str:
    if isinstance(outline, Circle):
        return _pdf_circle(outline)
    first, *others = (_pair(point) for point in outline.tolist())
    return " ".join([f"{first} m", *(f"{point} l" for point in others), "h"])


def _pdf_circle(circle: Circle) -> str:
    """A circle as Bezier curves that touch it, in position and direction, at both ends and meet it in the middle."""
    angle = 2.0 * math.pi / _ARCS
    handle = 4.0 / 3.0 * math.tan(0.25 * angle)
    ends = np.arange(_ARCS + 1) * angle
    radial = np.stack([np.cos(ends), np.sin(ends)], axis=1)
    tangent = np.stack([-np.sin(ends), np.cos(ends)], axis=1)
    centre = np.array([circle.x, circle.y])
    on = centre + circle.radius * radial
    after, before = on + circle.radius * handle * tangent, on - circle.radius * handle * tangent
    curves = [f"{_pair(after[k])} {_pair(before[k + 1])} {_pair(on[k + 1])} c" for k in range(_ARCS)]
    return " ".join([f"{_pair(on[0])} m", *curves, "h"])


def _pdf_content(page: VectorPage) -> str:
    scale = f"{POINTS_PER_MM:.10f}"
    lines = ["q", f"{scale} 0 0 -{scale} 0 {_number(page.height * POINTS_PER_MM)} cm", "0 g"]
    if page.outlines:
        lines += [_pdf_outline(outline) for outline in page.outlines]
        lines.append("f*")
    names = {font: f"/F{k}" for k, font in enumerate(Font)}
    for text in page.texts:
        content = text.content.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        # The frame's y points down: glyphs are turned upright again.
        lines.append(f"BT {names[text.font]} {_number(text.size)} Tf 1 0 0 -1 {_pair((text.x, text.y))} Tm")
        lines.append(f"({content}) Tj ET")
    return "\n".join([*lines, "Q"])


def _pdf_file(page: VectorPage) -> bytes:
    """Header, numbered objects, the table of their places, trailer (ISO 32000-1, 7.5)."""
    box = f"[0 0 {_number(page.width * POINTS_PER_MM)} {_number(page.height * POINTS_PER_MM)}]"
    content = _pdf_content(page)
    title = page.title.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    font_objects = [
        f"<< /Type /Font /Subtype /Type1 /BaseFont /{font.value[0]} /Encoding /WinAnsiEncoding >>" for font in Font
    ]
    fonts = " ".join(f"/F{k} {6 + k} 0 R" for k in range(len(font_objects)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents 4 0 R /Resources << /Font << {fonts} >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        f"<< /Title ({title}) /Producer (cv3d) >>",
        *font_objects,
    ]
    body = b"%PDF-1.6\n%\xe2\xe3\xcf\xd3\n"
    places = []
    for number, written in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj\n{written}\nendobj\n".encode("ascii")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    return body + (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info 5 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    ).encode("ascii")
