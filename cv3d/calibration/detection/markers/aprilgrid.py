"""Grids of square tags: Kalibr's AprilGrid, and grids of any other of OpenCV's markers.

Olson, "AprilTag: A robust and flexible visual fiducial system", ICRA 2011, for the tags; the grid with small squares
at the corners is Kalibr's (Furgale et al., IROS 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detection.base import Detection, Gray, Scan
from cv3d.calibration.detection.markers.corners import extrapolate, predict
from cv3d.calibration.detection.markers.decode import smallest_member, wrong_bits
from cv3d.calibration.detection.markers.layout import Layout, board_numbering, find_layout, marker_count
from cv3d.calibration.detection.markers.placing import Group, Placed, common_kind, common_lattices, groups, place
from cv3d.calibration.detection.markers.scanning import scan_markers, to_scan
from cv3d.calibration.detection.markers.spacing import Spacing, TagView, measure_spacing
from cv3d.calibration.detection.markers.tags import TagCorners, border_share, refine_tags

_MAX_WRONG_BITS = 0.15
"""Share of wrong bits up to which a tag is taken for the one that its neighbours predict."""
_ROUGH_GAP = 0.2
_LEAST_GAP = 0.05
_NEAREST_TAGS = 4
_NEAREST_TAGS_BENT = 6


class AprilGridDetector:
    """Finds grids of tags of any OpenCV dictionary, size, spacing, border width and numbering."""

    def scan(self, gray: Gray) -> Scan:
        """Every marker of every dictionary, tags refined; `points` counts those that stand as on a grid of tags."""
        findings = scan_markers(gray)
        reading = findings.reading
        found = groups(findings)
        if not found or not found[0].trusted:
            return to_scan(findings, 0)
        best = found[0]
        lattice = best.lattice
        if lattice is not None and lattice.checkered and len(lattice.members) >= 3:
            return to_scan(findings, 0)
        gap = lattice.step - 1.0 if lattice is not None and not lattice.checkered else _ROUGH_GAP
        own = np.flatnonzero(
            (reading.family == best.family) & (reading.border == best.border) & (reading.inverted == best.inverted)
        )
        refined = refine_tags(
            gray,
            reading.corners[own],
            gap=float(np.clip(gap, _LEAST_GAP, 1.0)),
            rim=border_share(best.family, best.border),
            inverted=best.inverted,
        )
        corners = reading.corners.copy()
        corners[own] = refined.pixels
        return to_scan(replace(findings, reading=replace(reading, corners=corners)), best.trusted)

    def identify(self, scans: Sequence[Scan]) -> Board | None:
        """The grid on which all scans agree; rows that no picture shows are not known to exist."""
        found = self._survey(scans)
        if found is None:
            return None
        kind, layout, spacing = found
        return Board(
            BoardType.APRILGRID,
            rows=layout.rows,
            cols=layout.numbering.cols,
            dictionary=smallest_member(kind.family, layout.max_id),
            marker_ratio=spacing.nominal,
            first_marker=layout.first_marker,
            inverted=kind.inverted,
            ids_upward=layout.numbering.upward,
        )

    def spacing(self, scans: Sequence[Scan]) -> Spacing | None:
        """The tag spacing as measured, with its standard deviation; None where the scans show no grid."""
        found = self._survey(scans)
        return found[2] if found is not None else None

    def locate(self, gray: Gray, board: Board, scan: Scan | None = None) -> Detection:
        """The corners of all tags, those included that the scan missed and whose neighbours tell where they are."""
        if scan is None:
            scan = self.scan(gray)
        numbering, top_row = board_numbering(board)
        step = 1.0 + board.marker_ratio if board.marker_ratio else None
        placed = place(board, numbering, top_row, marker_count(board), scan, step)
        if isinstance(placed, str):
            return Detection.nothing(placed)
        return _refined(gray, board, _with_missed(gray, board, placed))

    def _survey(self, scans: Sequence[Scan]) -> tuple[Group, Layout, Spacing] | None:
        found = common_kind(scans, checkered=False)
        if not found:
            return None
        sightings = common_lattices(found, checkered=False)
        layout = find_layout([(group.reading.ids, lattice) for group, lattice in sightings])
        if layout is None:
            return None
        views = []
        for group, lattice in sightings:
            cells = layout.numbering.cells(group.reading.ids[lattice.members])
            corners = np.roll(group.reading.corners[lattice.members], -layout.numbering.turn, axis=1)
            views.append(TagView(cells, corners, group.shape))
        start = float(np.median([lattice.step for _, lattice in sightings])) - 1.0
        return found[0], layout, measure_spacing(views, start)


def _tag_points(cells: NDArray[np.int64], period: float) -> NDArray[np.float64]:
    """Corners of the tags on the cells (n, 2), in tag sides, (n, 4, 2)."""
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    return np.asarray(cells[:, None] * period + corners)


def _all_tags(board: Board) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids (n,) and cells (n, 2) of every tag of the board."""
    numbering, top_row = board_numbering(board)
    ids = board.first_marker + np.arange(marker_count(board), dtype=np.int64)
    return ids, numbering.cells(ids) - np.array([0, top_row])


def _predicted(placed: Placed, cells: NDArray[np.int64], *, bent: bool = False) -> NDArray[np.float64]:
    """Where the tags of `cells` (n, 2) must be after those beside them, by a homography or a parabola, (n, 4, 2)."""
    known = _tag_points(placed.cells, placed.step).reshape(-1, 2)
    targets = _tag_points(cells, placed.step).reshape(-1, 2)
    seen = placed.corners.reshape(-1, 2)
    if bent:
        return extrapolate(targets, known, seen, 4 * _NEAREST_TAGS_BENT).reshape(-1, 4, 2)
    return predict(targets, known, seen, 4 * _NEAREST_TAGS)[0].reshape(-1, 4, 2)


def _inside(gray: Gray, corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which corners (n, 4, 2) lie in the picture, (n, 4)."""
    return np.asarray(((corners >= 0) & (corners <= np.array(gray.shape[::-1]) - 1)).all(axis=2))


def _mismatch(
    gray: Gray, board: Board, placed: Placed, ids: NDArray[np.int64], corners: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of wrong bits of the tags `ids` (n,) at `corners` (n, 4, 2); 1 where they are not wholly in the picture."""
    upright = np.roll(corners, placed.turn, axis=1)
    wrong = wrong_bits(gray, upright, ids, placed.family, placed.border, board.inverted)
    return np.where(_inside(gray, corners).all(axis=1), wrong, 1.0)


def _with_missed(gray: Gray, board: Board, placed: Placed) -> Placed:
    """The tags found and those that the picture shows where the found ones predict them."""
    all_ids, all_cells = _all_tags(board)
    tried = np.zeros(len(all_ids), dtype=np.int64)
    while True:
        beside = np.abs(all_cells[:, None] - placed.cells[None]).max(axis=2) == 1
        support = beside.sum(axis=1)
        wanted = np.flatnonzero(~np.isin(all_ids, placed.ids) & (support > tried))
        if not len(wanted):
            return placed
        tried[wanted] = support[wanted]
        corners = _predicted(placed, all_cells[wanted])
        wrong = _mismatch(gray, board, placed, all_ids[wanted], corners)
        bent = _predicted(placed, all_cells[wanted], bent=True)
        wrong_bent = _mismatch(gray, board, placed, all_ids[wanted], bent)
        corners = np.where((wrong_bent < wrong)[:, None, None], bent, corners)
        good = np.minimum(wrong, wrong_bent) <= _MAX_WRONG_BITS
        if good.any():
            fresh = _refine(gray, board, placed, corners[good]).pixels
            placed = replace(
                placed,
                cells=np.concatenate([placed.cells, all_cells[wanted[good]]]),
                corners=np.concatenate([placed.corners, fresh]),
                ids=np.concatenate([placed.ids, all_ids[wanted[good]]]),
            )


def _refine(gray: Gray, board: Board, placed: Placed, corners: NDArray[np.float64]) -> TagCorners:
    """Refine tags (n, 4, 2) of the kind that was placed."""
    gap, rim = max(placed.step - 1.0, _LEAST_GAP), border_share(placed.family, placed.border)
    return refine_tags(gray, corners, gap=gap, rim=rim, inverted=board.inverted)


def _refined(gray: Gray, board: Board, placed: Placed) -> Detection:
    """Refined corners of the placed tags and of those cut by the rim of the picture, in the order of the points."""
    whole = _refine(gray, board, placed, placed.corners)
    all_ids, all_cells = _all_tags(board)
    beside = (np.abs(all_cells[:, None] - placed.cells[None]).max(axis=2) == 1).any(axis=1)
    cut_cells = all_cells[~np.isin(all_ids, placed.ids) & beside]
    cut_corners = _predicted(placed, cut_cells)
    inside = _inside(gray, cut_corners)
    partly = inside.any(axis=1) & ~inside.all(axis=1)
    cut_cells, cut_corners = cut_cells[partly], cut_corners[partly]
    cut = _refine(gray, board, placed, cut_corners)
    cells = np.concatenate([placed.cells, cut_cells])
    sound = np.concatenate([whole.sound, cut.clear])
    pixels = np.concatenate([whole.pixels, cut.pixels])
    tag = cells[:, 1] * board.cols + cells[:, 0]
    ids = (4 * tag[:, None] + np.arange(4))[sound]
    if not len(ids):
        return Detection.nothing("tags found, but none of their corners is sharp enough to be placed")
    order = np.argsort(ids)
    return Detection(ids[order].astype(np.int64), pixels[sound][order])
