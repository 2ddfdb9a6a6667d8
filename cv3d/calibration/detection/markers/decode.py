"""Reading the bits of square markers, in every dictionary at once.

A quadrilateral is sampled on the grid of each marker size, split into dark and light cells, checked for a uniform
border and compared with all codes of all dictionaries in their four rotations. The dictionaries are OpenCV's. Those
of one ArUco size are nested (4X4_50 is the beginning of 4X4_1000), so each size is read with its largest and named
after the smallest that fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.base import Gray
from cv3d.errors import UsageError

_NESTED = (50, 100, 250, 1000)
_FAMILY_NAMES = (
    *(f"{bits}X{bits}_{_NESTED[-1]}" for bits in (4, 5, 6, 7)),
    "ARUCO_ORIGINAL",
    "ARUCO_MIP_36h12",
    "APRILTAG_16h5",
    "APRILTAG_25h9",
    "APRILTAG_36h10",
    "APRILTAG_36h11",
)
_SUBSAMPLES = np.array([-0.25, 0.0, 0.25])
_MIN_CONTRAST = 10.0
"""Least difference between the light and the dark cells, grey levels."""
_MAX_BORDER_ERRORS = 0.1
_CORRECTION_RATE = 0.6
"""Share of a dictionary's correctable bits that is used, OpenCV's default."""


@dataclass(frozen=True)
class Family:
    """One dictionary, or the largest of a chain of nested ones."""

    name: str
    """OpenCV's name without its prefix."""
    bits: int
    """Bits along a side."""
    borders: tuple[int, ...]
    """Widths of the uniform border that are tried, in bits."""
    codes: NDArray[np.uint64]
    """Codes in their four rotations, (count, 4); rotation k is turned by k quarter turns counter-clockwise."""
    max_errors: int
    """How many wrong bits are accepted."""

    @property
    def chance(self) -> float:
        """Probability that random bits with a proper border are taken for a marker."""
        cells = self.bits * self.bits
        volume, term = 1.0, 1.0
        for k in range(self.max_errors):
            term *= (cells - k) / (k + 1)
            volume += term
        return float(min(1.0, self.codes.size * volume / 2.0**cells))


@dataclass(frozen=True)
class Reading:
    """Markers read in one picture; under different families the same quadrilateral may be listed more than once."""

    family: NDArray[np.int64]
    """Index into :func:`families`, (n,)."""
    border: NDArray[np.int64]
    """Width of the border in bits, (n,)."""
    inverted: NDArray[np.bool_]
    """Whether black and white are exchanged, (n,)."""
    ids: NDArray[np.int64]
    """Marker id, (n,)."""
    errors: NDArray[np.int64]
    """Wrong bits, border included, (n,)."""
    corners: NDArray[np.float64]
    """Pixels, (n, 4, 2), clockwise from the marker's own top-left corner."""

    def __len__(self) -> int:
        """Number of readings."""
        return len(self.ids)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Reading:
        """The readings chosen by a mask or by indices."""
        return Reading(
            self.family[keep],
            self.border[keep],
            self.inverted[keep],
            self.ids[keep],
            self.errors[keep],
            self.corners[keep],
        )


@cache
def families() -> tuple[Family, ...]:
    """Every dictionary that is tried, in a fixed order."""
    return tuple(_family(name) for name in _FAMILY_NAMES)


def family_of(dictionary: str) -> int:
    """Index in :func:`families` of the family that holds `dictionary` (any nested size; letters' case does not matter).

    Raises:
        UsageError: there is no such dictionary.
    """
    wanted = dictionary.upper().removeprefix("DICT_")
    for index, family in enumerate(families()):
        if wanted in (name.upper() for name, _ in members(index)) or wanted == family.name.upper():
            return index
    known = ", ".join(name for index in range(len(families())) for name, _ in members(index))
    raise UsageError(f"there is no marker dictionary {dictionary}; known are {known}")


def members(family: int) -> tuple[tuple[str, int], ...]:
    """Names and sizes of the dictionaries nested in a family, ascending."""
    chosen = families()[family]
    if chosen.name.endswith(f"_{_NESTED[-1]}"):
        stem = chosen.name.rsplit("_", 1)[0]
        return tuple((f"{stem}_{size}", size) for size in _NESTED)
    return ((chosen.name, len(chosen.codes)),)


def smallest_member(family: int, max_id: int) -> str:
    """Name of the smallest dictionary of the family that has the id `max_id`."""
    return next(name for name, size in members(family) if max_id < size)


def _family(name: str) -> Family:
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{name}"))
    bits = int(dictionary.markerSize)
    count, length, _ = dictionary.bytesList.shape
    # A row holds the four rotations one after the other, although OpenCV gives it four channels.
    stored = np.unpackbits(np.asarray(dictionary.bytesList, dtype=np.uint8).reshape(count, -1)[:, :length], axis=1)
    # Eight bits a byte, the first one highest; a last byte that is not full has its bits at the low end.
    spare = stored.shape[1] - bits * bits
    flat = np.delete(stored, np.arange(stored.shape[1] - 8, stored.shape[1] - 8 + spare), axis=1)
    patterns = flat.reshape(-1, bits, bits).astype(np.uint64)
    rotated = [
        np.rot90(patterns, turn, axes=(1, 2)).reshape(len(patterns), -1) @ _bit_weights(bits) for turn in range(4)
    ]
    return Family(
        name=name,
        bits=bits,
        borders=(1, 2) if name.startswith("APRILTAG") else (1,),
        codes=np.stack(rotated, axis=1),
        max_errors=int(dictionary.maxCorrectionBits * _CORRECTION_RATE),
    )


def _bit_weights(bits: int) -> NDArray[np.uint64]:
    return np.uint64(1) << np.arange(bits * bits, dtype=np.uint64)


def square_homographies(quads: NDArray[np.float64]) -> NDArray[np.float64]:
    """Homographies from the unit square (0, 0), (1, 0), (1, 1), (0, 1) to quadrilaterals, (n, 4, 2) to (n, 3, 3).

    Closed form of Heckbert, "Fundamentals of Texture Mapping and Image Warping", 1989, section 2.2.3.
    """
    p0, p1, p2, p3 = (quads[:, k] for k in range(4))
    d1, d2, d3 = p1 - p2, p3 - p2, p0 - p1 + p2 - p3
    det = d1[:, 0] * d2[:, 1] - d2[:, 0] * d1[:, 1]
    g = (d3[:, 0] * d2[:, 1] - d2[:, 0] * d3[:, 1]) / det
    h = (d1[:, 0] * d3[:, 1] - d3[:, 0] * d1[:, 1]) / det
    result = np.empty((len(quads), 3, 3))
    result[:, :2, 0] = p1 - p0 + g[:, None] * p1
    result[:, :2, 1] = p3 - p0 + h[:, None] * p3
    result[:, :2, 2] = p0
    result[:, 2, 0], result[:, 2, 1], result[:, 2, 2] = g, h, 1.0
    return result


def apply_homographies(homographies: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (k, 2) or (n, k, 2) under each of n homographies, (n, k, 2)."""
    points = np.broadcast_to(points, (len(homographies), *points.shape[-2:]))
    mapped = points @ homographies[:, :, :2].transpose(0, 2, 1) + homographies[:, None, :, 2]
    return np.asarray(mapped[..., :2] / mapped[..., 2:])


def sample_cells(gray: Gray, quads: NDArray[np.float64], width: int) -> NDArray[np.float32]:
    """Mean grey level of each of `width` x `width` cells of each quadrilateral, (n, width, width)."""
    if not len(quads):
        return np.zeros((0, width, width), np.float32)
    ticks = (np.arange(width)[:, None] + 0.5 + _SUBSAMPLES).ravel() / width
    grid = np.stack(np.meshgrid(ticks, ticks), axis=2).reshape(-1, 2)
    pixels = apply_homographies(square_homographies(quads), grid).astype(np.float32)
    taken = cv2.remap(gray, pixels[..., 0], pixels[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(
        np.float32
    )
    side = len(_SUBSAMPLES)
    return np.asarray(taken.reshape(len(quads), width, side, width, side).mean(axis=(2, 4)), dtype=np.float32)


def _split(cells: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Light cells by Otsu's threshold on each marker's own cells, (n, w, w), and the contrast of the classes, (n,)."""
    count = cells.shape[1] * cells.shape[2]
    flat = np.sort(cells.reshape(len(cells), -1), axis=1)
    below = np.arange(1, count)
    total = np.cumsum(flat, axis=1)
    dark = total[:, :-1] / below
    light = (total[:, -1:] - total[:, :-1]) / (count - below)
    between = (light - dark) ** 2 * below * (count - below)
    cut = between.argmax(axis=1)
    rows = np.arange(len(cells))
    threshold = 0.5 * (dark[rows, cut] + light[rows, cut])
    return cells > threshold[:, None, None], light[rows, cut] - dark[rows, cut]


@dataclass(frozen=True)
class Patterns:
    """Quadrilaterals that have the border of one kind of marker, and the bits inside it."""

    family: int
    """Index into :func:`families`."""
    border: int
    inverted: bool
    quads: NDArray[np.int64]
    """Which of the quadrilaterals, (n,)."""
    bits: NDArray[np.bool_]
    """(n, bits, bits), rows from the top."""
    wrong: NDArray[np.int64]
    """Wrong cells of the border, (n,)."""


def sample_patterns(gray: Gray, quads: NDArray[np.float64]) -> list[Patterns]:
    """The bits of those quadrilaterals, (n, 4, 2) clockwise, that may be markers, for every family."""
    layouts: dict[int, list[tuple[int, int]]] = {}
    for index, family in enumerate(families()):
        for border in family.borders:
            layouts.setdefault(family.bits + 2 * border, []).append((index, border))
    found = []
    for width, readers in layouts.items() if len(quads) else ():
        light, contrast = _split(sample_cells(gray, quads, width))
        for border in sorted({border for _, border in readers}):
            rim = np.ones((width, width), bool)
            rim[border:-border, border:-border] = False
            lit = light[:, rim].sum(axis=1)
            for inverted in (False, True):
                wrong = rim.sum() - lit if inverted else lit
                use = np.flatnonzero((wrong <= _MAX_BORDER_ERRORS * rim.sum()) & (contrast >= _MIN_CONTRAST))
                inner = light[use, border:-border, border:-border] ^ inverted
                found += [
                    Patterns(index, border, inverted, use, inner, wrong[use])
                    for index, wide in readers
                    if wide == border
                ]
    return found


def match_patterns(patterns: Sequence[Patterns], quads: NDArray[np.float64], mirrored: bool = False) -> Reading:
    """The patterns that are markers.

    Args:
        patterns: what :func:`sample_patterns` gave.
        quads: the quadrilaterals, (n, 4, 2) clockwise.
        mirrored: whether the picture shows left and right exchanged. Corners then go against the clock.
    """
    # Columns: quadrilateral, family, border, inverted, id, turn, errors.
    found = [np.zeros((0, 7), np.int64)]
    for group in patterns:
        # A mirrored quadrilateral that is read from the same first corner has its rows and columns exchanged.
        bits = group.bits.transpose(0, 2, 1) if mirrored else group.bits
        which, ids, turn, errors = _match(families()[group.family], bits)
        kind = np.tile([group.family, group.border, int(group.inverted)], (len(which), 1))
        found.append(np.column_stack([group.quads[which], kind, ids, turn, errors + group.wrong[which]]))
    quad, index_of, border_of, inverted_of, ids, turn, errors = np.concatenate(found).T
    order = (np.arange(4) - turn[:, None]) % 4
    if mirrored:
        order = -order % 4
    return Reading(index_of, border_of, inverted_of.astype(bool), ids, errors, quads[quad[:, None], order])


def _match(
    family: Family, inner: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Which bit patterns (n, bits, bits) are markers: their indices, ids, quarter turns and wrong bits."""
    if not len(inner):
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing, nothing
    words = (inner.reshape(len(inner), -1).astype(np.uint64) * _bit_weights(family.bits)).sum(axis=1)
    distance = np.bitwise_count(words[:, None] ^ family.codes.ravel()[None])
    best = distance.argmin(axis=1)
    errors = distance[np.arange(len(words)), best].astype(np.int64)
    which = np.flatnonzero(errors <= family.max_errors)
    return which, best[which] // 4, best[which] % 4, errors[which]


def sample_levels(gray: Gray, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Grey levels at pixel positions (n, k, 2), bilinear, (n, k)."""
    maps = places.astype(np.float32)
    return np.asarray(
        cv2.remap(gray, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), dtype=np.float64
    )


def wrong_bits(
    gray: Gray, corners: NDArray[np.float64], ids: NDArray[np.int64], family: int, border: int, inverted: bool
) -> NDArray[np.float64]:
    """Share of bits, border included, in which the picture differs from the markers said to be there, (n,).

    Args:
        gray: (H, W) uint8.
        corners: (n, 4, 2) pixels, clockwise from each marker's own top-left corner.
        ids: the ids expected, (n,).
        family: index into :func:`families`.
        border: width of the border in bits.
        inverted: whether black and white are exchanged.

    Returns:
        Between 0 and 1; 1 where the picture is without contrast.
    """
    if not len(ids):
        return np.zeros(0)
    chosen = families()[family]
    light, contrast = _split(sample_cells(gray, corners, chosen.bits + 2 * border))
    bits = (chosen.codes[ids, 0][:, None] >> np.arange(chosen.bits**2, dtype=np.uint64)) & np.uint64(1)
    expected = np.zeros(light.shape, bool)
    expected[:, border:-border, border:-border] = bits.astype(bool).reshape(len(ids), chosen.bits, chosen.bits)
    wrong = (light != (expected ^ inverted)).mean(axis=(1, 2))
    return np.where(contrast >= _MIN_CONTRAST, wrong, 1.0)
