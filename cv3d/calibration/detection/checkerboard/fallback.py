"""OpenCV's two checkerboard detectors, for pictures in which the lattice of a board of known size stays incomplete.

What they propose is held to the same checks as our own lattices.
"""

from __future__ import annotations

import cv2
import numpy as np

from cv3d.calibration.boards import Board
from cv3d.calibration.detection.base import Gray
from cv3d.calibration.detection.checkerboard.lattice import Lattice, make_lattice
from cv3d.calibration.detection.checkerboard.pyramid import Float64, Pyramid
from cv3d.calibration.detection.checkerboard.verify import lattice_scores, verified

SEARCH_SIDE_PX = 1300
"""Larger pictures are searched at reduced size."""
LEAST_FOUND = 0.9
"""Part of the board's corners that must pass the checks."""


def opencv_lattice(pyramid: Pyramid, board: Board) -> Lattice | None:
    """The board as found by `findChessboardCornersSB` or else `findChessboardCorners`; None where neither holds."""
    gray = pyramid.gray
    factor = max(1, int(np.ceil(max(gray.shape) / SEARCH_SIDE_PX)))
    if factor > 1:
        height, width = (side // factor for side in gray.shape)
        cut = gray[: height * factor, : width * factor]
        gray = np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    for find in (_sectors, _quadrangles):
        corners = find(gray, board)
        if corners is None:
            continue
        lattice = _as_lattice(pyramid, (corners + 0.5) * factor - 0.5, board)
        if lattice is not None:
            return lattice
    return None


def _sectors(gray: Gray, board: Board) -> Float64 | None:
    size = (board.cols, board.rows)
    for flags in (0, cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE):
        found, corners = cv2.findChessboardCornersSB(gray, size, flags=flags)
        if found:
            return np.asarray(corners, dtype=np.float64).reshape(-1, 2)
    return None


def _quadrangles(gray: Gray, board: Board) -> Float64 | None:
    flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE
    found, corners = cv2.findChessboardCorners(gray, (board.cols, board.rows), flags=flags)
    return np.asarray(corners, dtype=np.float64).reshape(-1, 2) if found else None


def _as_lattice(pyramid: Pyramid, corners: Float64, board: Board) -> Lattice | None:
    grid = corners.reshape(board.rows, board.cols, 2)
    to_col = (grid[:, -1] - grid[:, 0]).mean(axis=0)
    to_row = (grid[-1] - grid[0]).mean(axis=0)
    if to_col[0] * to_row[1] - to_col[1] * to_row[0] < 0:
        grid = grid[:, ::-1]
    cells = np.argwhere(np.ones((board.rows, board.cols), dtype=bool)).astype(np.int64)
    even = cells.sum(axis=1) % 2 == 0
    lattice = make_lattice(cells, grid.reshape(-1, 2), even)
    if np.median(lattice_scores(pyramid, lattice).correlation) < 0:
        lattice = make_lattice(cells, grid.reshape(-1, 2), ~even)
    checked = verified(pyramid, lattice)
    if checked is None or len(checked) < LEAST_FOUND * board.rows * board.cols:
        return None
    return checked
