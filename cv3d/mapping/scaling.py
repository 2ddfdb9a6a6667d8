"""From what the unit of length is taken: a known distance in the scene, or a board of known size that is seen."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from cv3d.calibration.boards import Board
from cv3d.errors import UsageError

_PIXEL = re.compile(r"(.+):([0-9.]+),([0-9.]+)")


@dataclass(frozen=True)
class ScenePlace:
    """A place in the scene, named by a picture."""

    picture: str
    """The picture's name."""
    pixel: tuple[float, float] | None = None
    """Column and row; the place is the point that the picture sees nearest to them. None: where it was taken."""


@dataclass(frozen=True)
class KnownDistance:
    """How far two places are from each other.

    Raises:
        UsageError: it is no distance, or both places are one.
    """

    first: ScenePlace
    second: ScenePlace
    metres: float

    def __post_init__(self) -> None:
        if not 0.0 < self.metres < math.inf:
            raise UsageError(f"a distance of {self.metres:g} m gives no scale")
        if self.first == self.second:
            raise UsageError("a distance gives a scale between two places; here both are one")


@dataclass(frozen=True)
class KnownBoard:
    """A calibration board or marker that is seen.

    Raises:
        UsageError: its squares have no size.
    """

    board: Board | None
    """What it is; None: found out."""
    square_m: float
    """Side of its squares or tags, metres."""

    def __post_init__(self) -> None:
        if not 0.0 < self.square_m < math.inf:
            raise UsageError(f"squares of {self.square_m:g} m give no scale")


Scaling = KnownDistance | KnownBoard


def parse_place(text: str) -> ScenePlace:
    """A place from "a.jpg", where that picture was taken, or from "a.jpg:310,220.5", what it sees there.

    Raises:
        UsageError: it names nothing, or numbers that are none.
    """
    match = _PIXEL.fullmatch(text)
    if not text.strip():
        raise UsageError("a place is the name of a picture, or NAME:x,y for what it sees at a pixel")
    if match is None:
        return ScenePlace(text)
    try:
        return ScenePlace(match[1], (float(match[2]), float(match[3])))
    except ValueError:
        raise UsageError(f"'{text}': write a pixel as NAME:x,y, e.g. a.jpg:310,220.5") from None
