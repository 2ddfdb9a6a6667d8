"""ChArUco boards: a checkerboard with a marker in every other square.

The markers say which corner is which; the corners themselves are the checkerboard's. Numbering and pattern follow
OpenCV's CharucoBoard (Garrido-Jurado et al., "Automatic generation and detection of highly reliable fiducial markers
under occlusion", Pattern Recognition 2014, for the markers).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detection.base import Detection, Gray, Scan
from cv3d.calibration.detection.markers.corners import CornerFit, extrapolate, predict, refine_corners
from cv3d.calibration.detection.markers.decode import smallest_member
from cv3d.calibration.detection.markers.lattice import Lattice
from cv3d.calibration.detection.markers.layout import board_numbering, find_layout, marker_count
from cv3d.calibration.detection.markers.placing import Placed, common_kind, common_lattices, groups, place
from cv3d.calibration.detection.markers.scanning import scan_markers, to_scan

_MARKER_REACH = 1.7
"""Corners further than this many squares from the centre of any marker are left to the growth from other corners."""
_GROWTH_REACH = 1.6
_GROWTH_SUPPORT = 3
_NEAREST = 8
_NEAREST_BENT = 14
_MISFIT, _CLEAR_MISFIT = 0.04, 0.12
"""How far from the place that its neighbours predict a corner may lie, in squares: any corner, and a clear one."""
_CLEAR_CORNER = 0.9
"""Share of the variance that the model explains around a clear corner."""
_MARKER_SEARCH = 0.22
"""How far from its prediction a corner may lie, in squares."""
_GROWTH_SEARCH = 0.15
_EDGE_REACH = 0.42
_GROWTH_EXPLAINED = 0.75
_MIN_CONTRAST = 0.25
"""Least contrast of a grown corner, as a share of the median over the board."""
_CLEAR = 0.8
"""Share of the white between a square's edge and its marker that is used: blur carries the marker into the rest."""
_NICE_RATIOS = (0.5, 0.55, 0.6, 0.65, 2.0 / 3.0, 0.7, 0.75, 0.8, 0.85, 0.9)
_RATIO_NOISE = 0.012


class CharucoDetector:
    """Finds ChArUco boards of any OpenCV dictionary, size, pattern and polarity."""

    def scan(self, gray: Gray) -> Scan:
        """Every marker of every dictionary; `points` counts those that stand as on a ChArUco board."""
        findings = scan_markers(gray)
        found = groups(findings)
        points = 0
        if found and found[0].trusted:
            lattice = found[0].lattice
            points = found[0].trusted if lattice is None or lattice.checkered or len(lattice.members) < 3 else 0
        return to_scan(findings, points)

    def identify(self, scans: Sequence[Scan]) -> Board | None:
        """The ChArUco board on which all scans agree; rows that no picture shows are not known to exist."""
        found = common_kind(scans, checkered=True)
        if not found:
            return None
        sightings = common_lattices(found, checkered=True)
        layout = find_layout([(group.reading.ids, lattice) for group, lattice in sightings])
        if layout is None:
            return None
        return Board(
            BoardType.CHARUCO,
            rows=layout.rows,
            cols=layout.numbering.cols,
            dictionary=smallest_member(found[0].family, layout.max_id),
            marker_ratio=_marker_ratio([lattice for _, lattice in sightings]),
            first_marker=layout.first_marker,
            markers_on_white_first=layout.top_row % 2 == 1,
            inverted=found[0].inverted,
        )

    def locate(self, gray: Gray, board: Board, scan: Scan | None = None) -> Detection:
        """The inner corners of the board's squares, those without a visible marker beside them included."""
        if scan is None:
            scan = self.scan(gray)
        numbering, top_row = board_numbering(board)
        step = 1.0 / board.marker_ratio if board.marker_ratio else None
        placed = place(board, numbering, top_row, marker_count(board), scan, step)
        if isinstance(placed, str):
            return Detection.nothing(placed)
        return _Search(gray, board, placed).run()


def _marker_ratio(lattices: Sequence[Lattice]) -> float:
    """Marker side over square side; a round figure where the measurement does not speak against it."""
    # Next neighbours only: the further apart, the more lens distortion shortens the step.
    near = [np.abs(lattice.moves).max(axis=1) == 1 for lattice in lattices]
    lengths = [np.linalg.norm(lattice.pairs.offset[k], axis=1) for lattice, k in zip(lattices, near, strict=True)]
    steps = np.concatenate(lengths) / np.sqrt(2.0)
    if not len(steps):
        return float(1.0 / np.median([lattice.step for lattice in lattices]))
    measured = float(1.0 / np.median(steps))
    nearest = min(_NICE_RATIOS, key=lambda nice: abs(nice - measured))
    return nearest if abs(nearest - measured) <= _RATIO_NOISE else measured


class _Search:
    """The search for all corners of one board in one picture."""

    def __init__(self, gray: Gray, board: Board, placed: Placed) -> None:
        self._gray = gray
        self._board = board
        ratio = 1.0 / placed.step
        half = 0.5 * ratio
        outline = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
        # The origin is the first inner corner, one square inside the board's own outline.
        self._centres = placed.cells - 0.5
        self._marker_points = (self._centres[:, None] + outline).reshape(-1, 2)
        self._marker_pixels = placed.corners.reshape(-1, 2)
        self._strip = _CLEAR * 0.5 * (1.0 - ratio)
        self._targets = board.points()[:, :2]
        x, y = self._targets.astype(np.int64).T
        light = (x + y) % 2 == 1
        self._polarity = np.where(light ^ board.markers_on_white_first ^ board.inverted, 1.0, -1.0)
        self._pixels = np.full((len(self._targets), 2), np.nan)
        self._amplitude = np.zeros(len(self._targets))
        self._explained = np.zeros(len(self._targets))

    def run(self) -> Detection:
        """From the markers outwards."""
        distance = np.linalg.norm(self._targets[:, None] - self._centres[None], axis=2).min(axis=1)
        wanted = np.flatnonzero(distance < _MARKER_REACH)
        guess, axes = predict(self._targets[wanted], self._marker_points, self._marker_pixels, 16)
        fit = self._refine(wanted, guess, axes, _MARKER_SEARCH)
        self._accept(wanted, fit, fit.sound)
        tried = np.zeros(len(self._targets), dtype=np.int64)
        while self._grow(tried):
            pass
        self._drop_misfits()
        found = np.flatnonzero(np.isfinite(self._pixels[:, 0]))
        if not len(found):
            return Detection.nothing("markers found, but none of the squares' corners beside them")
        return Detection(found.astype(np.int64), self._pixels[found])

    def _refine(
        self, which: NDArray[np.int64], guess: NDArray[np.float64], axes: NDArray[np.float64], search: float
    ) -> CornerFit:
        return refine_corners(
            self._gray,
            guess,
            axes,
            polarity=self._polarity[which],
            saddle=np.ones(len(which), bool),
            strip=self._strip,
            reach=_EDGE_REACH,
            search=search,
        )

    def _accept(self, which: NDArray[np.int64], fit: CornerFit, good: NDArray[np.bool_]) -> None:
        self._pixels[which[good]] = fit.pixels[good]
        self._amplitude[which[good]] = fit.amplitude[good]
        self._explained[which[good]] = fit.explained[good]

    def _grow(self, tried: NDArray[np.int64]) -> bool:
        """Look for missing corners beside found ones; True where this brought new ones."""
        have = np.isfinite(self._pixels[:, 0])
        if have.sum() < 4:
            return False
        beside = np.linalg.norm(self._targets[:, None] - self._targets[None, have], axis=2) < _GROWTH_REACH
        support = beside.sum(axis=1)
        wanted = np.flatnonzero(~have & (support >= _GROWTH_SUPPORT) & (support > tried))
        if not len(wanted):
            return False
        tried[wanted] = support[wanted]
        usual = float(np.median(self._amplitude[have]))
        before = int(have.sum())
        known, seen = self._targets[have], self._pixels[have]
        guess, axes = predict(self._targets[wanted], known, seen, _NEAREST)
        bent = extrapolate(self._targets[wanted], known, seen, _NEAREST_BENT)
        for places in (guess, bent):
            left = np.flatnonzero(np.isnan(self._pixels[wanted, 0]))
            fit = self._refine(wanted[left], places[left], axes[left], _GROWTH_SEARCH)
            good = fit.sound & (fit.explained >= _GROWTH_EXPLAINED) & (fit.amplitude >= _MIN_CONTRAST * usual)
            self._accept(wanted[left], fit, good)
        return int(np.isfinite(self._pixels[:, 0]).sum()) > before

    def _drop_misfits(self) -> None:
        """Remove corners that their neighbours place elsewhere."""
        have = np.flatnonzero(np.isfinite(self._pixels[:, 0]))
        if len(have) < 8:
            return
        known = self._targets[have]
        expected, axes = predict(known, known, self._pixels[have], _NEAREST, leave_out=True)
        bent = extrapolate(known, known, self._pixels[have], _NEAREST_BENT, leave_out=True)
        residual = np.minimum(
            np.linalg.norm(expected - self._pixels[have], axis=1), np.linalg.norm(bent - self._pixels[have], axis=1)
        )
        unit = np.sqrt(np.abs(np.linalg.det(axes)))
        # At the rim of the board neighbours on one side only predict badly: there a clear corner is believed.
        tolerance = np.where(self._explained[have] >= _CLEAR_CORNER, _CLEAR_MISFIT, _MISFIT) * unit
        limit = np.maximum(np.maximum(6.0 * np.median(residual), 1.0), tolerance)
        self._pixels[have[residual > limit]] = np.nan
