"""One picture and its sources as the sweeps take them: small arrays of plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.depth.levels import Level

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]

BEST = 3
"""Sources whose costs count: few see what is half hidden."""
UNLIKE = 0.4
"""Cost from which on planes are searched for no better: the source may not see the place at all."""
RADIUS = 5
"""Of a window, pixels."""
_STEP = 2
NOISE = 2.0
"""Standard deviation of a grey value, of 255: what varies less than that correlates with nothing."""
_TONE = 25.0
"""Difference of grey values, of 255, at which a pixel of a window counts for little: it may lie on another surface."""
GEOMETRIC_LIMIT_PX = 3.0
"""Largest reprojection error that counts."""
_LEAST_COSINE = 0.15
"""Of the angle between a surface's normal and the ray."""
_SAME_PX = 0.2
"""Planes so near to each other, in pixels of disparity, are not tried: they would follow the noise."""


def window() -> tuple[Floats, Floats]:
    """Where the samples of a window lie, (2, 32) pixels off its middle, and how much each counts by that, (32,)."""
    line = range(-RADIUS, RADIUS + 1, _STEP)
    places = np.array([(x, y) for y in line for x in line if abs(x) + abs(y) < 2 * RADIUS], np.float32)
    near = np.exp(-(places**2).sum(axis=1) / (2.0 * (0.75 * RADIUS) ** 2))
    return np.ascontiguousarray(places.T), near.astype(np.float32)


def _regions() -> Ints:
    """Where planes are taken from, (8, 3, 2) pixels: of each region, the cheapest of three; all of the other colour."""
    up = [(0, -1), (-1, -2), (1, -2)]
    far = [(0, -3), (0, -5), (0, -9)]
    turns = [((1, 0), (0, 1)), ((1, 0), (0, -1)), ((0, 1), (1, 0)), ((0, -1), (-1, 0))]

    def turned(part: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
        return [[(a * x + b * y, c * x + d * y) for x, y in part] for (a, b), (c, d) in turns]

    return np.array([*turned(up), *turned(far)], np.int32)


REGIONS = _regions()


@dataclass(frozen=True, eq=False)
class Problem:
    """What the depth of one picture is found from, at one size.

    A plane is its inverse depth at a pixel and the change of that along a row and a column: inverse depth is linear in
    the pixels of a pinhole camera. A pixel p = (u, v, 1) with inverse depth w lies at A p + w b in a source.
    """

    reference: Bytes
    """(h, w)."""
    camera: Floats
    """fx, fy, cx, cy of the reference, (4,)."""
    lenses: Floats
    """A, row by row, and b of each source, (s, 12)."""
    backs: Floats
    """The same from each source to the reference, (s, 12)."""
    images: Bytes
    """Grey values of the sources, (s, H, W), each in the top left corner."""
    sizes: Ints
    """Height and width of each source, (s, 2)."""
    inverses: Floats
    """Inverse depth of each source, (s, H, W), 0 for none; (s, 1, 1) where none is known."""
    nearest: float
    """Largest inverse depth."""
    farthest: float
    """Smallest inverse depth."""
    pixel_step: float
    """Change of the inverse depth that moves a pixel by one in a typical source."""
    best: int
    """Sources whose costs count: those with the least."""
    geometric: float
    """Cost of a pixel of reprojection error; 0: the depth of the sources is not looked at."""
    unlike: float = UNLIKE
    """Cost of windows that are not alike, or that a source does not see: more is not worse."""

    @property
    def is_narrow(self) -> bool:
        """Whether a pixel asks only those sources that are best for the plane that it has.

        It is, once the depth of the sources is known: planes are then right nearly everywhere.
        """
        return self.geometric > 0.0

    @property
    def regions(self) -> Ints:
        """Where planes are taken from, (k, 3, 2) pixels; the near ones alone, once they are right nearly everywhere."""
        return REGIONS[:4] if self.is_narrow else REGIONS

    @property
    def scalars(self) -> Floats:
        """Numbers for the sweeps, (10,): see there."""
        return np.array(
            [
                NOISE**2,
                self.geometric,
                GEOMETRIC_LIMIT_PX,
                self.farthest,
                self.nearest,
                _LEAST_COSINE**2,
                1.0 / (2.0 * _TONE**2),
                _SAME_PX * self.pixel_step,
                float(RADIUS),
                self.unlike,
            ],
            np.float32,
        )


def make_problem(
    reference: Level,
    sources: Sequence[Level],
    inverse_range: tuple[float, float],
    inverses: Sequence[Floats] | None = None,
    geometric: float = 0.0,
) -> Problem:
    """The problem of a picture and its sources.

    Args:
        reference: the picture.
        sources: one at least.
        inverse_range: least and greatest inverse depth.
        inverses: inverse depth of each source, of its size, where known.
        geometric: cost of a pixel of reprojection error.
    """
    lenses = np.stack([_lens(reference, one) for one in sources])
    backs = np.stack([_lens(one, reference) for one in sources])
    sizes = np.array([one.size for one in sources], np.int32)
    height, width = sizes.max(axis=0)
    images = np.zeros((len(sources), height, width), np.uint8)
    known = np.zeros((len(sources), height, width) if inverses is not None else (len(sources), 1, 1), np.float32)
    for i, one in enumerate(sources):
        h, w = one.size
        images[i, :h, :w] = one.gray
        if inverses is not None:
            known[i, :h, :w] = inverses[i]
    matrix = reference.matrix
    return Problem(
        reference.gray,
        np.array([matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]], np.float32),
        lenses.astype(np.float32),
        backs.astype(np.float32),
        images,
        sizes,
        known,
        inverse_range[1],
        inverse_range[0],
        _pixel_step(reference, lenses, inverse_range),
        min(BEST, len(sources)),
        geometric,
    )


def _lens(reference: Level, source: Level) -> NDArray[np.float64]:
    """A and b of :class:`Problem`, (12,)."""
    source_from_reference = source.cam_from_world @ np.linalg.inv(reference.cam_from_world)
    matrix = source.matrix @ source_from_reference[:3, :3] @ np.linalg.inv(reference.matrix)
    return np.concatenate([matrix.ravel(), source.matrix @ source_from_reference[:3, 3]])


def _pixel_step(reference: Level, lenses: NDArray[np.float64], inverse_range: tuple[float, float]) -> float:
    """How far the inverse depth of the picture's middle has to change for a pixel of disparity, median of sources."""
    height, width = reference.size
    middle = np.array([0.5 * (width - 1), 0.5 * (height - 1), 1.0])
    least, most = inverse_range
    steps = []
    for lens in lenses:
        there = lens[:9].reshape(3, 3) @ middle
        near, far = there + most * lens[9:], there + least * lens[9:]
        if near[2] > 0.0 and far[2] > 0.0:
            steps.append((most - least) / max(float(np.hypot(*(near[:2] / near[2] - far[:2] / far[2]))), 1e-3))
    return float(np.median(steps)) if steps else (most - least) / max(height, width)
