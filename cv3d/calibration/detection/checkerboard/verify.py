"""Is this lattice a checkerboard? Colours around every corner, smooth spacing, closed squares, plain cells.

The same checks serve lattices grown here and those proposed by other detectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from cv3d.calibration.detection.checkerboard.lattice import Lattice, frames, shifted
from cv3d.calibration.detection.checkerboard.pyramid import Float64, Pyramid

Mask = NDArray[np.bool_]

_OFFSETS = np.array([-0.36, -0.28, -0.2, -0.12, 0.12, 0.2, 0.28, 0.36])
_S, _T = (axis.ravel() for axis in np.meshgrid(_OFFSETS, _OFFSETS))
_CLOSE = np.maximum(np.abs(_S), np.abs(_T)) < 0.24
_FAR = np.minimum(np.abs(_S), np.abs(_T)) > 0.24
_TEMPLATE = np.sign(_S * _T)
_INNER = (0.25, 0.375, 0.5, 0.625, 0.75)
_INNER_WEIGHTS = np.array([[(1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b] for a in _INNER for b in _INNER])
LEAST_CORRELATION = 0.72
"""Of the surroundings of a corner with the ideal four sectors; three light sectors and a dark one give 0.58."""
LEAST_GAP = 0.15
"""Darkest light sector minus lightest dark sector, relative to the contrast of the corner."""
LEAST_CONTRAST = 5.0
"""Least difference between light and dark sectors, in grey levels."""
LEAST_RELATIVE_CONTRAST = 0.12
"""Least contrast of a corner relative to the median of its lattice."""
MOST_UNEVEN = 0.9
"""Largest difference of the two steps on either side of a corner, relative to their mean (0.9: a factor of 2.6)."""
MOST_ZIGZAG = 0.6
"""A step is out of turn where it is shorter than this part of both its neighbours, or longer by as much."""
LEAST_TYPICAL_CORRELATION = 0.86
"""Least median correlation of a lattice; the gaps between dots of a circle grid reach 0.8."""
MOST_IMBALANCE = 0.1
"""Largest median :attr:`CornerScores.imbalance` of a lattice; dots have 0.16 and more, checkerboards below 0.03."""
LOWER_THAN_TYPICAL = 0.2
"""A corner whose correlation is lower than the median by more is dropped: rims seen against a dark background."""
LEAST_PLAIN = 0.85
"""Least part of the inside of squares that has the colour of the square; boards with markers in their squares fail."""
MOST_IRREGULAR = 0.06
"""Largest :func:`irregularity`: weaves and keyboards have more."""
UNSHARP_PX = 0.3
"""How far a corner may be from its place before refinement, pixels."""
LEAST_ROWS = 3
LEAST_CORNERS = 9


@dataclass(frozen=True)
class Typical:
    """Medians over the corners of a lattice."""

    correlation: float
    contrast: float


@dataclass(frozen=True)
class CornerScores:
    """How well the surroundings of corners match four alternating sectors."""

    correlation: Float64
    """Normalised correlation with the ideal pattern of the expected polarity, (n,)."""
    contrast: Float64
    """Light sectors minus dark sectors, grey levels, (n,)."""
    gap: Float64
    """Darkest light sector minus lightest dark one, grey levels, (n,)."""
    middle: Float64
    """Mean grey value of the surroundings, half way between light and dark, (n,)."""
    imbalance: Float64
    """Mean grey value close to the corner minus that farther out, relative to the contrast, (n,): near 0 where edges
    cross, positive in the light gap between two dark dots."""

    def typical(self) -> Typical:
        """What most of these corners are like."""
        return Typical(float(np.median(self.correlation)), float(np.median(self.contrast)))

    def good(self, typical: Typical) -> Mask:
        """Which corners are accepted in a lattice whose corners are typically like that."""
        floor = max(LEAST_CONTRAST, LEAST_RELATIVE_CONTRAST * typical.contrast)
        return (
            (self.correlation > max(LEAST_CORRELATION, typical.correlation - LOWER_THAN_TYPICAL))
            & (self.contrast > floor)
            & (self.gap > LEAST_GAP * np.maximum(self.contrast, 0))
        )


def score_corners(pyramid: Pyramid, pixels: Float64, frame: Float64, light: Mask) -> CornerScores:
    """Compare the four sectors around corners with the pattern that their lattice prescribes.

    Args:
        pyramid: the picture.
        pixels: corner positions, (n, 2).
        frame: local steps to the four neighbours, (n, 4, 2), as :func:`frames` gives them.
        light: whether the sectors towards (+col, +row) and (-col, -row) are the light ones, (n,).
    """
    n = len(pixels)
    values = np.zeros((n, len(_S)))
    spacing = np.linalg.norm(frame, axis=2).min(axis=1)
    places = (
        pixels[:, None]
        + np.where(_S > 0, _S, 0.0)[:, None] * frame[:, None, 0]
        - np.where(_S < 0, _S, 0.0)[:, None] * frame[:, None, 2]
        + np.where(_T > 0, _T, 0.0)[:, None] * frame[:, None, 1]
        - np.where(_T < 0, _T, 0.0)[:, None] * frame[:, None, 3]
    )
    scales = pyramid.scale_for(spacing)
    for scale in np.unique(scales):
        members = scales == scale
        values[members] = pyramid.level(int(scale)).sample(places[members])
    sign = np.where(light, 1.0, -1.0)
    inside = np.isfinite(values)
    enough = inside.mean(axis=1) > 0.6
    values = np.where(inside, values, 0.0)
    count = np.maximum(inside.sum(axis=1), 1)
    middle = values.sum(axis=1) / count
    centred = np.where(inside, values - middle[:, None], 0.0)
    template = np.where(inside, _TEMPLATE, 0.0)
    power = np.sqrt((centred**2).sum(axis=1) * count)
    correlation = sign * (centred * template).sum(axis=1) / np.maximum(power, 1e-9)

    sectors = [(_S > 0) & (_T > 0), (_S < 0) & (_T > 0), (_S < 0) & (_T < 0), (_S > 0) & (_T < 0)]
    members = np.stack([inside[:, s].sum(axis=1) for s in sectors], axis=1)
    sums = np.stack([centred[:, s].sum(axis=1) for s in sectors], axis=1)
    means = np.where(members > 0, sums / np.maximum(members, 1), np.nan)
    signed = means * sign[:, None]
    plus, minus = signed[:, [0, 2]], signed[:, [1, 3]]
    whole = np.isfinite(signed).all(axis=1)
    contrast = np.where(whole, plus.mean(axis=1) - minus.mean(axis=1), 0.0)
    gap = np.where(whole, plus.min(axis=1) - minus.max(axis=1), -1.0)
    seen = inside.all(axis=1)
    imbalance = (centred[:, _CLOSE].mean(axis=1) - centred[:, _FAR].mean(axis=1)) / np.maximum(contrast, 1.0)
    return CornerScores(np.where(enough, correlation, -1.0), contrast, gap, middle, np.where(seen, imbalance, 0.0))


def lattice_scores(pyramid: Pyramid, lattice: Lattice) -> CornerScores:
    """The scores of every corner of a lattice in its own local frame."""
    return score_corners(pyramid, lattice.pixels, corner_frames(lattice), lattice.light(lattice.cells))


def corner_frames(lattice: Lattice) -> Float64:
    """Local steps to the four neighbours of every corner, (n, 4, 2); zero where no neighbour tells."""
    rows, cols = lattice.cells.T
    return np.asarray(np.nan_to_num(frames(lattice.dense())[rows, cols]))


def corner_steps(lattice: Lattice) -> tuple[Float64, Float64]:
    """Local steps to the next column and the next row, (n, 2) each: mean direction, length of the shorter side."""
    frame = corner_frames(lattice)
    steps = []
    for ahead, behind in ((frame[:, 0], frame[:, 2]), (frame[:, 1], frame[:, 3])):
        mean = ahead - behind
        length = np.linalg.norm(mean, axis=1, keepdims=True)
        shorter = np.minimum(np.linalg.norm(ahead, axis=1), np.linalg.norm(behind, axis=1))[:, None]
        steps.append(mean / np.maximum(length, 1e-9) * shorter)
    return steps[0], steps[1]


def verified(pyramid: Pyramid, lattice: Lattice) -> Lattice | None:
    """The part of a lattice that is a checkerboard beyond doubt; None where less than 3x3 corners remain."""
    while len(lattice) >= LEAST_CORNERS:
        scores = lattice_scores(pyramid, lattice)
        keep = scores.good(scores.typical())
        keep &= _even(lattice)
        keep &= _in_largest_part(lattice, keep)
        if keep.all():
            break
        lattice = lattice.take(keep)
    if len(lattice) < LEAST_CORNERS or min(lattice.shape) < LEAST_ROWS:
        return None
    scores = lattice_scores(pyramid, lattice)
    if scores.typical().correlation < LEAST_TYPICAL_CORRELATION or np.median(np.abs(scores.imbalance)) > MOST_IMBALANCE:
        return None
    if irregularity(lattice) > MOST_IRREGULAR:
        return None
    return lattice if plainness(pyramid, lattice) >= LEAST_PLAIN else None


def _even(lattice: Lattice) -> Mask:
    """Corners on either side of which the steps along a row and along a column do not differ too much.

    Perspective and wide lenses change the spacing by up to a factor from cell to cell, but steadily: a step that is
    shorter or longer than both its neighbours tells of gaps between tags or keys.
    """
    grid = lattice.dense()
    even = np.ones(grid.shape[:2], dtype=bool)
    for axis in (0, 1):
        ahead = shifted(grid, -1, axis) - grid
        behind = grid - shifted(grid, 1, axis)
        change = np.linalg.norm(ahead - behind, axis=-1)
        even &= ~(change > MOST_UNEVEN * (np.linalg.norm(ahead, axis=-1) + np.linalg.norm(behind, axis=-1)) / 2)
        step = np.linalg.norm(ahead, axis=-1)
        before, after = shifted(step, 1, axis), shifted(step, -1, axis)
        zigzag = (step < MOST_ZIGZAG * np.fmin(before, after)) | (MOST_ZIGZAG * step > np.fmax(before, after))
        zigzag &= np.isfinite(before) & np.isfinite(after)
        even &= ~(zigzag | (shifted(zigzag.astype(np.float64), 1, axis) == 1.0))
    rows, cols = lattice.cells.T
    return np.asarray(even[rows, cols])


def _in_largest_part(lattice: Lattice, keep: Mask) -> Mask:
    """Corners of closed squares in the largest part that hangs together through such squares."""
    rows, cols = lattice.shape
    present = np.zeros((rows, cols), dtype=bool)
    present[lattice.cells[keep, 0], lattice.cells[keep, 1]] = True
    squares = present[:-1, :-1] & present[1:, :-1] & present[:-1, 1:] & present[1:, 1:]
    parts, count = label(squares)
    if count == 0:
        return np.zeros(len(lattice), dtype=bool)
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    member = np.zeros((rows, cols), dtype=bool)
    for dr in (0, 1):
        for dc in (0, 1):
            member[dr : rows - 1 + dr, dc : cols - 1 + dc] |= largest
    return np.asarray(member[lattice.cells[:, 0], lattice.cells[:, 1]])


def plainness(pyramid: Pyramid, lattice: Lattice) -> float:
    """How plain the squares are inside: the part of their inner area that has their colour, 0 to 1.

    The worse of the two colours counts, so that a board with markers in its light squares does not pass as plain.
    """
    grid = lattice.dense()
    corners = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]])
    rows, cols = np.nonzero(np.isfinite(corners).all(axis=(0, 3)))
    if len(rows) == 0:
        return 0.0
    corners = corners[:, rows, cols]
    inner = np.einsum("pk,knx->npx", _INNER_WEIGHTS, corners)
    spacing = float(np.median(np.linalg.norm(corners[0] - corners[3], axis=1))) / np.sqrt(2)
    values = pyramid.level_for(spacing / 2).sample(inner)
    middle = np.full(grid.shape[:2], np.nan)
    middle[lattice.cells[:, 0], lattice.cells[:, 1]] = lattice_scores(pyramid, lattice).middle
    threshold = (middle[rows, cols] + middle[rows, cols + 1] + middle[rows + 1, cols] + middle[rows + 1, cols + 1]) / 4
    light = lattice.light(np.stack([rows, cols], axis=1))
    right = ((values > threshold[:, None]) == light[:, None]).mean(axis=1)
    return float(min(right[light].mean() if light.any() else 1.0, right[~light].mean() if (~light).any() else 1.0))


def median_spacing(lattice: Lattice) -> float:
    """Median over the corners of the shorter local step, pixels."""
    return float(np.median(np.linalg.norm(corner_frames(lattice), axis=2).min(axis=1)))


def irregularity(lattice: Lattice) -> float:
    """Median scatter of the corners relative to their spacing; infinite where none has all eight neighbours.

    The prediction (twice the sum of the four neighbours minus the four diagonal ones, over four) is exact for positions
    that vary as any cubic of the cell coordinates: what remains is the scatter of the corners, not distortion.
    """
    grid = lattice.dense()
    beside = sum(shifted(grid, by, axis) for by in (-1, 1) for axis in (0, 1))
    diagonal = sum(shifted(shifted(grid, by, 0), across, 1) for by in (-1, 1) for across in (-1, 1))
    apart = np.linalg.norm(grid - (2 * beside - diagonal) / 4, axis=-1)
    spacing = np.linalg.norm(frames(grid), axis=-1).min(axis=-1)
    known = np.isfinite(apart)
    return float(np.median((apart[known] - UNSHARP_PX) / spacing[known])) if known.any() else np.inf
