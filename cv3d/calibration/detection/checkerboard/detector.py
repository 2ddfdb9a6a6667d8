"""The checkerboard family: finds lattices of any size, agrees on one size, and names the corners."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detection.base import Detection, Gray, Scan
from cv3d.calibration.detection.checkerboard.completion import predictions
from cv3d.calibration.detection.checkerboard.extent import Extent, extent_of, without_sparse_rims
from cv3d.calibration.detection.checkerboard.fallback import opencv_lattice
from cv3d.calibration.detection.checkerboard.identify import vote
from cv3d.calibration.detection.checkerboard.lattice import Lattice
from cv3d.calibration.detection.checkerboard.placement import Placement, place
from cv3d.calibration.detection.checkerboard.pyramid import Pyramid
from cv3d.calibration.detection.checkerboard.search import find_lattices
from cv3d.calibration.detection.checkerboard.subpixel import refine_lattice
from cv3d.calibration.detection.checkerboard.verify import lattice_scores

LEAST_CORNERS = 12
LEAST_ROWS = 3
PROMISING = 0.25
"""OpenCV's detectors are asked where this part of the board's corners has been linked into squares, if only loosely."""
WORSE_RIM = 0.05
"""An extra rim row is an accident where its median correlation is lower than the lattice's by more than this..."""
FAINTER_RIM = 0.75
"""...or its median contrast is lower than this part of the lattice's."""


class CheckerboardDetector:
    """Checkerboards of any size from 3x3 inner corners on, whole or in part.

    A scan holds, for all lattices of the picture one after the other (best first): `cells` (n, 2), `pixels` (n, 2),
    `lattice` (n,) the number of the lattice, `light_origin` one flag per lattice, `extent` (lattices, 7) rows, columns,
    corners and the four sides on which the board is seen to end, `linked` the number of corners in squares,
    verified or not.
    """

    def scan(self, gray: Gray) -> Scan:
        """Every checkerboard lattice of a picture, best first."""
        found = find_lattices(Pyramid(gray))
        lattices = [without_sparse_rims(lattice) for lattice in found.lattices]
        lattices = [lattice for lattice in lattices if min(lattice.shape) >= LEAST_ROWS]
        return _pack(lattices, gray.shape, found.linked)

    def identify(self, scans: Sequence[Scan]) -> Board | None:
        """The size that the pictures agree on, with no more rows than columns; None where none shows a checkerboard."""
        return vote([_extents(scan) for scan in scans if scan.points > 0])

    def locate(self, gray: Gray, board: Board, scan: Scan | None = None) -> Detection:
        """The inner corners of `board`, whole or in part, refined below the pixel.

        A lattice that shows a checkerboard of another size is not forced onto the board: the reason names its size.
        """
        if board.type is not BoardType.CHECKERBOARD:
            return Detection.nothing(f"the board asked for is a {board.type.value}, not a checkerboard")
        scan = self.scan(gray) if scan is None else scan
        picture = (gray.shape[0], gray.shape[1])
        pyramid = Pyramid(gray)
        lattices = _unpack(scan)
        placement = _best(lattices, board, pyramid)
        full = board.rows * board.cols
        if int(scan.arrays["linked"][0]) >= PROMISING * full and _may_be_whole(placement, board, picture):
            proposed = opencv_lattice(pyramid, board)
            if proposed is not None and (placement is None or len(proposed) > len(placement.lattice)):
                placement = place(proposed, board, picture)
        if placement is None:
            return Detection.nothing(_reason(lattices, board, picture))
        return _refined(gray, placement, board)


def _may_be_whole(placement: Placement | None, board: Board, picture: tuple[int, int]) -> bool:
    """Whether the picture may show the whole board although our lattice is not complete."""
    if placement is None:
        return True
    if len(placement.lattice) == board.rows * board.cols:
        return False
    missing = predictions(placement.lattice)
    board_cells = missing.cells + np.array([placement.row, placement.col])
    on_board = ((board_cells >= 0) & (board_cells < (board.rows, board.cols))).all(axis=1)
    places = missing.predicted[on_board]
    return bool(((places > 0) & (places < (picture[1] - 1, picture[0] - 1))).all())


def _best(lattices: Sequence[Lattice], board: Board, pyramid: Pyramid) -> Placement | None:
    """The best lattice that can be the board; a whole one outranks larger parts."""
    picture = (pyramid.gray.shape[0], pyramid.gray.shape[1])
    placements = []
    for lattice in lattices:
        fitting = _without_false_rims(pyramid, lattice, board)
        if fitting is None or (len(fitting) < LEAST_CORNERS and len(fitting) < board.rows * board.cols):
            continue
        if _other_board(extent_of(fitting, picture), board):
            continue
        placement = place(fitting, board, picture)
        if placement is not None:
            placements.append(placement)
    whole = [p for p in placements if len(p.lattice) == board.rows * board.cols]
    return next(iter(whole or placements), None)


def _without_false_rims(pyramid: Pyramid, lattice: Lattice, board: Board) -> Lattice | None:
    """Drop rim rows beyond the board's size that look worse than the rest; None where the lattice stays too large."""
    for _ in range(4):
        if _fits(lattice.shape, board):
            return lattice
        scores = lattice_scores(pyramid, lattice)
        typical = scores.typical()
        worst: tuple[float, NDArray[np.bool_]] | None = None
        for axis in (0, 1):
            for rim in (0, lattice.shape[axis] - 1):
                on_rim = lattice.cells[:, axis] == rim
                correlation = float(np.median(scores.correlation[on_rim]))
                contrast = float(np.median(scores.contrast[on_rim]))
                bad = correlation < typical.correlation - WORSE_RIM or contrast < FAINTER_RIM * typical.contrast
                if bad and (worst is None or correlation < worst[0]):
                    worst = correlation, on_rim
        if worst is None:
            return None
        lattice = lattice.take(~worst[1])
    return lattice if _fits(lattice.shape, board) else None


def _fits(shape: tuple[int, int], board: Board) -> bool:
    return min(shape) <= min(board.rows, board.cols) and max(shape) <= max(board.rows, board.cols)


def _other_board(extent: Extent, board: Board) -> bool:
    """Whether a lattice that fits is a whole, smaller board: fewer rows and fewer columns, none hidden."""
    small, large = sorted((extent.rows, extent.cols))
    return extent.whole and small < min(board.rows, board.cols) and large < max(board.rows, board.cols)


def _reason(lattices: Sequence[Lattice], board: Board, picture: tuple[int, int]) -> str:
    for lattice in lattices:
        extent = extent_of(lattice, picture)
        if len(lattice) >= LEAST_CORNERS and (not _fits(lattice.shape, board) or _other_board(extent, board)):
            size = f"{max(lattice.shape)}x{min(lattice.shape)}"
            least = "" if extent.ends.all() else "at least "
            asked = f"{max(board.rows, board.cols)}x{min(board.rows, board.cols)}"
            return f"a checkerboard of {least}{size} inner corners is in the picture, not {asked}"
    if lattices:
        return f"too little of the checkerboard is seen: {len(lattices[0])} inner corners"
    return "no checkerboard found"


def _refined(gray: Gray, placement: Placement, board: Board) -> Detection:
    lattice = placement.lattice
    refined = refine_lattice(gray, lattice)
    good = refined.good
    if good.sum() < min(LEAST_CORNERS, board.rows * board.cols):
        return Detection.nothing("the corners of the checkerboard are too blurred or too noisy to be measured")
    cells = lattice.cells[good] + np.array([placement.row, placement.col])
    ids = cells[:, 0] * board.cols + cells[:, 1]
    order = np.argsort(ids)
    return Detection(ids[order].astype(np.int64), refined.pixels[good][order])


def _pack(lattices: Sequence[Lattice], picture: tuple[int, ...], linked: int) -> Scan:
    size = (picture[0], picture[1])
    extents = [extent_of(lattice, size) for lattice in lattices]
    arrays: dict[str, NDArray[np.generic]] = {
        "cells": np.concatenate([lattice.cells for lattice in lattices] or [np.zeros((0, 2), np.int64)]),
        "pixels": np.concatenate([lattice.pixels for lattice in lattices] or [np.zeros((0, 2))]),
        "lattice": np.repeat(np.arange(len(lattices)), [len(lattice) for lattice in lattices]),
        "light_origin": np.array([lattice.light_origin for lattice in lattices], dtype=bool),
        "extent": np.array([[e.rows, e.cols, e.corners, *e.ends] for e in extents], dtype=np.int64).reshape(-1, 7),
        "linked": np.array([linked], dtype=np.int64),
    }
    return Scan(len(lattices[0]) if lattices else 0, arrays)


def _unpack(scan: Scan) -> list[Lattice]:
    if scan.points == 0:
        return []
    cells = np.asarray(scan.arrays["cells"], dtype=np.int64)
    pixels = np.asarray(scan.arrays["pixels"], dtype=np.float64)
    number = np.asarray(scan.arrays["lattice"])
    return [
        Lattice(cells[number == i], pixels[number == i], bool(light))
        for i, light in enumerate(scan.arrays["light_origin"])
    ]


def _extents(scan: Scan) -> list[Extent]:
    return [
        Extent(int(row[0]), int(row[1]), int(row[2]), row[3:].astype(bool))
        for row in np.asarray(scan.arrays["extent"], dtype=np.int64)
    ]
