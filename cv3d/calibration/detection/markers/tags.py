"""The corners of tags that stand on a grid, refined below the pixel, and tags that were missed but must be there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.base import Gray
from cv3d.calibration.detection.markers.corners import CornerFit, refine_corners
from cv3d.calibration.detection.markers.decode import apply_homographies, families, sample_levels, square_homographies

_CLEAR = 0.8
"""Share of the free strip beside an edge that is used, so that blur does not carry other print into it."""
_LONE_REACH = 0.45
_SEARCH = 0.12
"""How far from its first place a corner may move, in tag sides."""
_CLEAR_SADDLE = 0.85
"""Share of the variance around a clear saddle that the model explains."""
_UNIT_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


@dataclass(frozen=True)
class TagCorners:
    """Refined corners of tags."""

    pixels: NDArray[np.float64]
    """Corners, (n, 4, 2); where they could not be refined, as they were."""
    sound: NDArray[np.bool_]
    """Which of them were refined, (n, 4)."""
    clear: NDArray[np.bool_]
    """Which of them are saddles so clear that they need no tag to be read beside them, (n, 4)."""


def border_share(family: int, border: int) -> float:
    """Width of a tag's uniform border, in tag sides."""
    return border / (families()[family].bits + 2 * border)


def refine_tags(gray: Gray, corners: NDArray[np.float64], *, gap: float, rim: float, inverted: bool) -> TagCorners:
    """Refine the four corners of each tag; those outside of the picture are left alone.

    Kalibr joins the corners of its tags by small squares, which makes saddles of them; other tags end there. Each
    corner is fitted as what the picture shows.

    Args:
        gray: (H, W) uint8.
        corners: (n, 4, 2) pixels, clockwise.
        gap: white between neighbouring tags, in tag sides.
        rim: width of the tags' uniform border, in tag sides.
        inverted: whether the tags are light on dark ground.
    """
    count = len(corners)
    if not count:
        return TagCorners(corners, np.zeros((0, 4), bool), np.zeros((0, 4), bool))
    axes = _corner_axes(corners)
    guess = corners.reshape(-1, 2)
    saddle = _meets_square(gray, guess, axes, gap, rim, inverted)
    result = CornerFit(guess.copy(), np.zeros(len(guess), bool), np.zeros(len(guess)), np.zeros(len(guess)))
    for kind in (True, False):
        chosen = np.flatnonzero(saddle == kind)
        sign = -1.0 if kind != inverted else 1.0
        fit = refine_corners(
            gray,
            guess[chosen],
            axes[chosen],
            polarity=np.full(len(chosen), sign),
            saddle=np.full(len(chosen), kind),
            strip=_CLEAR * min(gap, rim),
            reach=_CLEAR * gap if kind else _LONE_REACH,
            backwards=_CLEAR * gap,
            search=_SEARCH,
        )
        result.pixels[chosen[fit.sound]] = fit.pixels[fit.sound]
        result.sound[chosen] = fit.sound
        result.explained[chosen] = fit.explained
    clear = result.sound & saddle & (result.explained >= _CLEAR_SADDLE)
    return TagCorners(result.pixels.reshape(count, 4, 2), result.sound.reshape(count, 4), clear.reshape(count, 4))


def _corner_axes(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """At each corner the pixel steps of one tag side towards the next and towards the previous corner, (4 n, 2, 2)."""
    maps = square_homographies(corners)
    small = 1e-3
    towards_next = np.roll(_UNIT_CORNERS, -1, axis=0) - _UNIT_CORNERS
    towards_previous = np.roll(_UNIT_CORNERS, 1, axis=0) - _UNIT_CORNERS
    base = apply_homographies(maps, _UNIT_CORNERS)
    first = (apply_homographies(maps, _UNIT_CORNERS + small * towards_next) - base) / small
    second = (apply_homographies(maps, _UNIT_CORNERS + small * towards_previous) - base) / small
    return np.stack([first, second], axis=3).reshape(-1, 2, 2)


def _meets_square(
    gray: Gray, corner: NDArray[np.float64], axes: NDArray[np.float64], gap: float, rim: float, inverted: bool
) -> NDArray[np.bool_]:
    """Whether the quadrant opposite to the tag is as dark as the tag itself, (m,)."""
    inwards = 0.5 * min(gap, rim)
    outwards = 0.5 * gap
    spots = np.array([[inwards, inwards], [-outwards, -outwards], [inwards, -outwards], [-outwards, inwards]])
    places = corner[:, None] + np.einsum("nij,kj->nki", axes, spots)
    tag, opposite, *beside = sample_levels(gray, places).T
    light = 0.5 * (beside[0] + beside[1])
    sign = -1.0 if inverted else 1.0
    return np.asarray(sign * opposite < sign * 0.5 * (tag + light))
