"""How matches are shown: two pictures side by side, and lines chosen spread out and coloured by where they start."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Size = tuple[int, int]

_GAP = 0.012
"""Between the pictures, of the longer side of both together."""
_SHAPE = 1.5
"""Width to height that both together should have."""


@dataclass(frozen=True)
class Placement:
    """Where two pictures lie on one canvas, beside each other or one above the other."""

    size: tuple[float, float]
    """Width and height of the canvas, in its own units: the longer side is 1."""
    corners: tuple[tuple[float, float], tuple[float, float]]
    """Left and top of each picture."""
    shown: tuple[tuple[float, float], tuple[float, float]]
    """Width and height of each picture on the canvas."""
    pictures: tuple[Size, Size]
    """Width and height of each, pixels."""

    def place(self, side: int, pixels: Points) -> Points:
        """Where pixels, (n, 2), of a picture lie on the canvas: whole numbers are the centres of pixels."""
        scale = np.array(self.shown[side]) / np.array(self.pictures[side])
        placed: Points = np.array(self.corners[side]) + (pixels + 0.5) * scale
        return placed


def place_pair(size0: Size, size1: Size) -> Placement:
    """Two pictures on one canvas, whatever their sizes and shapes: as equals, in the arrangement that is less long.

    Args:
        size0: width and height of the first, pixels.
        size1: of the second.
    """
    ratios = size0[0] / size0[1], size1[0] / size1[1]
    # Beside each other with one height, or above each other with one width.
    beside = ratios[0] + ratios[1]
    above = 1.0 / (1.0 / ratios[0] + 1.0 / ratios[1])
    if abs(math.log(beside / _SHAPE)) <= abs(math.log(above / _SHAPE)):
        height = min(1.0, (1.0 - _GAP) / beside)
        widths = ratios[0] * height, ratios[1] * height
        corners = (0.0, 0.0), (widths[0] + _GAP, 0.0)
        return Placement(
            (sum(widths) + _GAP, height), corners, ((widths[0], height), (widths[1], height)), (size0, size1)
        )
    width = min(1.0, (1.0 - _GAP) * above)
    heights = width / ratios[0], width / ratios[1]
    corners = (0.0, 0.0), (0.0, heights[0] + _GAP)
    return Placement((width, sum(heights) + _GAP), corners, ((width, heights[0]), (width, heights[1])), (size0, size1))


def spread_out(points: Points, count: int) -> NDArray[np.int64]:
    """Entries of `points` (n, d) that lie far apart, at most `count`; always the same ones for the same points.

    Each is the one furthest from those before it (Gonzalez, Theoretical Computer Science 1985).
    """
    if len(points) <= count:
        return np.arange(len(points))
    distance = ((points - points.mean(axis=0)) ** 2).sum(axis=1)
    chosen = [int(distance.argmin())]
    distance = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return np.sort(np.array(chosen))


def chosen_lines(points0: Points, points1: Points, placement: Placement, count: int) -> NDArray[np.int64]:
    """Entries of matches, (n, 2) each, to be drawn: at most `count`, spread over both pictures."""
    return spread_out(np.concatenate([placement.place(0, points0), placement.place(1, points1)], axis=1), count)


def hues(points: Points, size: Size) -> NDArray[np.float64]:
    """A hue in [0, 1) for each of `points` (n, 2): its direction from the picture's centre.

    Neighbours have almost the same, so a false match stands out among those that start where it does.
    """
    offset = (points - 0.5 * (np.array(size) - 1.0)) / np.array(size)
    turns: NDArray[np.float64] = (np.arctan2(offset[:, 1], offset[:, 0]) / (2.0 * math.pi)) % 1.0
    return turns


def hue_colour(hue: float) -> str:
    """A strong colour of a hue, as #rrggbb; equally light to the eye, more or less, on a photograph."""
    red, green, blue = colorsys.hls_to_rgb(hue, 0.56, 0.95)
    return "#" + "".join(f"{round(255 * value):02x}" for value in (red, green, blue))


def shrunk(pixels: NDArray[np.uint8], longest: float) -> NDArray[np.uint8]:
    """A picture, (H, W) or (H, W, 3), whose longer side is at most `longest` pixels."""
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1.0:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
