"""All markers of one picture, at a size of the picture where they are found fast, as plain arrays that can be kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.base import Gray, Scan
from cv3d.calibration.detection.markers.decode import Reading, families, match_patterns, sample_patterns
from cv3d.calibration.detection.markers.quads import find_quads

_PIXELS = 2.2e6
"""Larger pictures are searched at about this many pixels first."""
_SMALL_SIDE = 22.0
"""Markers below this side (pixels of the reduced picture) call for a second look at full size."""
_SAME_MARKER = 0.35
"""Two readings of one id are the same marker where their centres are closer than this share of its side."""
_MIN_CLEAR = 3
"""Different markers of a kind that settle which way round the picture is."""
_MAX_CHANCE = 1e-3
"""Single markers are believed where chance would give fewer than this many of them in the picture."""


@dataclass(frozen=True)
class Findings:
    """What one picture shows in the way of markers."""

    reading: Reading
    """One reading per marker, dictionary, border width and polarity."""
    looked_at: int
    """How many quadrilaterals were tried."""
    shape: tuple[int, int]
    """Height and width of the picture."""
    mirrored: int = 0
    """How many different markers are read in a mirror, where as good as none is read without."""


def scan_markers(gray: Gray) -> Findings:
    """Every marker of every dictionary in one picture; corners in pixels of `gray`, unrefined.

    Pictures above two megapixels are searched at that size, and again in full where the markers turn out to be small.
    """
    reduction = math.sqrt(gray.size / _PIXELS)
    if reduction <= 1.2:
        return _search(gray)
    size = (round(gray.shape[1] / reduction), round(gray.shape[0] / reduction))
    small = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    found = _search(small)
    reading = found.reading
    trusted = reading.errors <= 1
    if trusted.any() and np.median(marker_sides(reading.corners[trusted])) < _SMALL_SIDE:
        return _search(gray)
    scale = np.array([gray.shape[1] / size[0], gray.shape[0] / size[1]])
    corners = (reading.corners + 0.5) * scale - 0.5
    return Findings(replace(reading, corners=corners), found.looked_at, _shape(gray), found.mirrored)


def marker_sides(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean side of each marker, (n, 4, 2) to (n,), pixels."""
    return np.asarray(np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2).mean(axis=1))


def _search(gray: Gray) -> Findings:
    quads = find_quads(gray)
    patterns = sample_patterns(gray, quads)
    reading = _without_copies(match_patterns(patterns, quads))
    mirrored = 0
    if not _clearest(reading, len(quads)):
        mirrored = _clearest(_without_copies(match_patterns(patterns, quads, mirrored=True)), len(quads))
    return Findings(reading, len(quads), _shape(gray), mirrored)


def _clearest(reading: Reading, looked_at: int) -> int:
    """How many different markers the kind has that is furthest beyond chance; 0 where they may be chance.

    Args:
        reading: markers of any kinds.
        looked_at: how many quadrilaterals were tried.
    """
    kinds = np.column_stack([reading.family, reading.border, reading.inverted])
    counts = [0]
    for kind in np.unique(kinds, axis=0):
        chosen = reading.select((kinds == kind).all(axis=1))
        if believable(chosen, looked_at):
            counts.append(len(np.unique(chosen.ids)))
    return max(counts) if max(counts) >= _MIN_CLEAR else 0


def _shape(gray: Gray) -> tuple[int, int]:
    return int(gray.shape[0]), int(gray.shape[1])


def _without_copies(reading: Reading) -> Reading:
    """One reading for each marker that was found by several thresholds: the best read one, the largest among equals.

    A tag with a border of two bits is also read as one of a single bit where its outline was taken too small: the wide
    reading replaces the narrow one inside it.
    """
    sides = marker_sides(reading.corners)
    centres = reading.corners.mean(axis=1)
    order = np.lexsort((-sides, reading.errors, -reading.border))
    kept: dict[tuple[int, bool, int], list[int]] = {}
    for k in order:
        key = (int(reading.family[k]), bool(reading.inverted[k]), int(reading.ids[k]))
        others = kept.setdefault(key, [])
        if all(np.linalg.norm(centres[k] - centres[other]) > _SAME_MARKER * sides[other] for other in others):
            others.append(int(k))
    return reading.select(np.array(sorted(k for group in kept.values() for k in group), dtype=np.int64))


def believable(reading: Reading, looked_at: int) -> bool:
    """Whether markers of one family, too few for a lattice, are more than chance among `looked_at` quadrilaterals."""
    if not len(reading):
        return False
    expected = looked_at * families()[int(reading.family[0])].chance
    distinct = len(np.unique(reading.ids))
    # Poisson: the probability of as many chance markers is below expected^n / n!.
    log_chance = distinct * math.log(expected) - math.lgamma(distinct + 1)
    return bool(log_chance < math.log(_MAX_CHANCE) and (distinct > 1 or reading.errors.min() <= 1))


def to_scan(findings: Findings, points: int) -> Scan:
    """The findings as arrays."""
    reading = findings.reading
    return Scan(
        points,
        {
            "family": reading.family.astype(np.int16),
            "border": reading.border.astype(np.int16),
            "inverted": reading.inverted,
            "ids": reading.ids.astype(np.int32),
            "errors": reading.errors.astype(np.int16),
            "corners": reading.corners.astype(np.float64),
            "looked_at": np.array(findings.looked_at, dtype=np.int64),
            "shape": np.array(findings.shape, dtype=np.int64),
            "mirrored": np.array(findings.mirrored, dtype=np.int64),
        },
    )


def from_scan(scan: Scan) -> Findings:
    """The findings that :func:`to_scan` stored; none where the scan holds no arrays."""
    if not scan.arrays:
        nothing = np.zeros(0, np.int64)
        return Findings(
            Reading(nothing, nothing, nothing.astype(bool), nothing, nothing, np.zeros((0, 4, 2))), 0, (0, 0)
        )
    arrays = scan.arrays
    reading = Reading(
        arrays["family"].astype(np.int64),
        arrays["border"].astype(np.int64),
        arrays["inverted"].astype(bool),
        arrays["ids"].astype(np.int64),
        arrays["errors"].astype(np.int64),
        arrays["corners"].astype(np.float64),
    )
    shape = (int(arrays["shape"][0]), int(arrays["shape"][1]))
    return Findings(reading, int(arrays["looked_at"]), shape, int(arrays["mirrored"]))
