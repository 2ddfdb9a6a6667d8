"""Paper, as a user names it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cv3d.calibration.board_text import parse_length
from cv3d.errors import UsageError
from cv3d.formats.vector_page import MOST_MM

PAPERS: dict[str, tuple[float, float]] = {
    "a5": (148.0, 210.0),
    "a4": (210.0, 297.0),
    "a3": (297.0, 420.0),
    "a2": (420.0, 594.0),
    "a1": (594.0, 841.0),
    "a0": (841.0, 1189.0),
    "letter": (215.9, 279.4),
    "legal": (215.9, 355.6),
    "tabloid": (279.4, 431.8),
}
"""Width and height in mm, upright."""


@dataclass(frozen=True)
class Paper:
    """A sheet of paper as it lies before the reader."""

    name: str
    """As the user wrote it."""
    width_mm: float
    height_mm: float

    @property
    def turned(self) -> Paper:
        """The same sheet, turned by a quarter."""
        return Paper(self.name, self.height_mm, self.width_mm)

    def __str__(self) -> str:
        size = f"{self.width_mm:g}x{self.height_mm:g} mm"
        return size if self.name not in PAPERS else f"{self.name.upper()} ({size})"


def parse_paper(text: str) -> Paper:
    """Paper from "a4", "letter", "300x200mm" or "24x36in".

    Raises:
        UsageError: it is no paper size, or larger than a page can be.
    """
    name = text.strip().lower()
    if name in PAPERS:
        return Paper(name, *PAPERS[name])
    match = re.fullmatch(r"([0-9.]+)\s*[x*]\s*([0-9.]+)\s*(mm|cm|m|in)", name)
    if match is None:
        raise UsageError(f"'{text}' is not a paper size; write {', '.join(PAPERS)}, or WIDTHxHEIGHTmm")
    width, height = (round(1000.0 * parse_length(match[k] + match[3]), 6) for k in (1, 2))
    if max(width, height) > MOST_MM:
        raise UsageError(f"'{text}': a page can be at most {MOST_MM / 1000:.2f} m long")
    return Paper(name, width, height)
