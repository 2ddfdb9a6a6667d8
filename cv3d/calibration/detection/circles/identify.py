"""Which dot board a set of pictures shows.

Square or hexagonal follows from the dots' own metric (see `lattice`): each lattice has a shape, the ratio of its two
shortest steps as a complex number in the modular domain, where the square one is i and the hexagonal one is exp(i pi
/ 3). Regular and asymmetric boards are both square lattices; they differ in the outline, which is a rectangle along
the lattice steps or along their diagonals. The size is the largest extent that well filled outlines show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detection.circles.frames import Frame, candidate_frames, trimmed

SQUARE = 1j
HEXAGONAL = complex(np.exp(1j * np.pi / 3.0))
MAX_SHAPE_DISTANCE = 0.33
"""Hyperbolic distance from both regular shapes beyond which dots are not a board; the two are 0.55 apart."""
RATIO_TOLERANCE = 0.25
"""Difference of the dot ratio from the set's, relative; blur makes small dots look up to a tenth smaller."""
TRIM_SHARE = 0.5
WELL_FILLED = 0.85


@dataclass(frozen=True)
class DotLattice:
    """What one picture shows: lattice cells (n, 2) and their Gram matrix (2, 2), in dot radii squared."""

    cells: NDArray[np.int64]
    gram: NDArray[np.float64]


@dataclass(frozen=True)
class DotBoard:
    """A dot board as read off a set of pictures."""

    type: BoardType
    rows: int
    cols: int
    dot_ratio: float
    """Diameter of a dot over the unit of `Board.points()`: the distance of neighbours in a row."""
    confidence: float
    """0 to 1: how clearly the type differs from the next best one."""
    first_row_shifted: bool = False
    """As in :class:`cv3d.calibration.boards.Board`."""

    @property
    def board(self) -> Board:
        """The board, its scale unknown."""
        return Board(self.type, self.rows, self.cols, first_row_shifted=self.first_row_shifted)


def shape_distances(gram: NDArray[np.float64]) -> tuple[float, float]:
    """Hyperbolic distances of a lattice with reduced Gram matrix `gram` (2, 2) from the square and hexagonal ones."""
    area = float(np.sqrt(max(float(np.linalg.det(gram)), 1e-12)))
    tau = complex(abs(float(gram[0, 1])), area) / float(min(gram[0, 0], gram[1, 1]))
    return _hyperbolic(tau, SQUARE), _hyperbolic(tau, HEXAGONAL)


def plausible_type(gram: NDArray[np.float64], board_type: BoardType) -> bool:
    """Whether a lattice may belong to a board of `board_type`, judged by its shape alone."""
    square, hexagonal = shape_distances(gram)
    own = hexagonal if board_type is BoardType.CIRCLES_HEX else square
    other = square if board_type is BoardType.CIRCLES_HEX else hexagonal
    return own <= max(other, 0.2)


def identify_board(lattices: Sequence[DotLattice]) -> DotBoard | None:
    """The board that `lattices` agree on; None where there are none or they are neither square nor hexagonal."""
    if not lattices:
        return None
    lattices = _alike(lattices)
    weights = np.sqrt([float(len(lattice.cells)) for lattice in lattices])
    distances = np.array([shape_distances(lattice.gram) for lattice in lattices])
    square, hexagonal = (_weighted_median(distances[:, k], weights) for k in range(2))
    if min(square, hexagonal) > MAX_SHAPE_DISTANCE:
        return None
    shape_confidence = abs(square - hexagonal) / _hyperbolic(SQUARE, HEXAGONAL)
    if hexagonal < square:
        board_type, outline_confidence = BoardType.CIRCLES_HEX, 1.0
    else:
        board_type, outline_confidence = _square_type(lattices)
    agreeing = [lattice for lattice in lattices if plausible_type(lattice.gram, board_type)]
    if not agreeing:
        return None
    rows, cols, shifted = _outline(agreeing, board_type)
    confidence = float(min(1.0, shape_confidence, outline_confidence))
    return DotBoard(board_type, rows, cols, dot_ratio(agreeing, board_type), confidence, shifted)


def dot_ratio(lattices: Sequence[DotLattice], board_type: BoardType) -> float:
    """Diameter of a dot over the distance of neighbours in a row, median over `lattices`."""
    return float(np.median([2.0 / step_in_radii(lattice.gram, board_type) for lattice in lattices]))


def step_in_radii(gram: NDArray[np.float64], board_type: BoardType) -> float:
    """The unit of `Board.points()` in units of the dot's radius, from the area of a lattice cell."""
    area = float(np.sqrt(np.linalg.det(gram)))
    if board_type is BoardType.CIRCLES_HEX:
        return float(np.sqrt(area / (0.5 * np.sqrt(3.0))))
    return float(np.sqrt(2.0 * area if board_type is BoardType.CIRCLES_ASYMMETRIC else area))


def best_frame(lattice: DotLattice, board_type: BoardType) -> Frame:
    """The frame with the fewest dots missing, clutter beside the board trimmed.

    Turned half round, a staggered board of odd rows that starts on the right starts on the left: that is preferred.
    """
    frames = [
        trimmed(frame, lattice.cells, TRIM_SHARE) for frame in candidate_frames(board_type, lattice.cells, lattice.gram)
    ]
    # Trimming drops dots: what counts against a frame is what it lacks and what it drops.
    return min(frames, key=lambda frame: (frame.missing + 2 * (len(lattice.cells) - len(frame.row)), frame.shifted))


def _alike(lattices: Sequence[DotLattice]) -> list[DotLattice]:
    """Those whose dots are as large, against their distance, as most: others are something else with holes."""
    weights = np.array([float(len(lattice.cells)) for lattice in lattices])
    size = np.array([0.25 * np.log(np.linalg.det(lattice.gram)) for lattice in lattices])
    typical = _weighted_median(size, weights)
    return [lattice for lattice, s in zip(lattices, size, strict=True) if abs(s - typical) < RATIO_TOLERANCE]


def _square_type(lattices: Sequence[DotLattice]) -> tuple[BoardType, float]:
    """Regular or asymmetric, by the share of the dots that the outlines lack, and how clear that is."""
    lacking = {}
    total = sum(len(lattice.cells) for lattice in lattices)
    for board_type in (BoardType.CIRCLES, BoardType.CIRCLES_ASYMMETRIC):
        lost = 0
        for lattice in lattices:
            frame = best_frame(lattice, board_type)
            lost += frame.missing + 2 * (len(lattice.cells) - len(frame.row))
        lacking[board_type] = lost / total
    regular, asymmetric = lacking[BoardType.CIRCLES], lacking[BoardType.CIRCLES_ASYMMETRIC]
    confidence = min(1.0, 2.0 * abs(regular - asymmetric))
    return BoardType.CIRCLES if regular <= asymmetric else BoardType.CIRCLES_ASYMMETRIC, confidence


def _outline(lattices: Sequence[DotLattice], board_type: BoardType) -> tuple[int, int, bool]:
    """Rows, columns and whether the first row is the shifted one.

    Those of the largest well filled outline, or of the best one where none is well filled.
    """
    frames = [best_frame(lattice, board_type) for lattice in lattices]
    fills = np.array([frame.fill for frame in frames])
    threshold = min(WELL_FILLED, float(fills.max()))
    chosen = [frame for frame, fill in zip(frames, fills, strict=True) if fill >= threshold]
    if board_type is BoardType.CIRCLES:
        rows = max(min(frame.rows, frame.cols) for frame in chosen)
        return rows, max(max(frame.rows, frame.cols) for frame in chosen), False
    # A staggered outline that is cut may be read in a wrong direction: the board is one of the outlines, the largest,
    # of equally large ones that which most pictures show.
    outlines = Counter((frame.rows, frame.cols, frame.shifted) for frame in chosen)
    return max(outlines, key=lambda outline: (outline[0] * outline[1], outlines[outline]))


def _hyperbolic(tau: complex, other: complex) -> float:
    """Distance in the upper half-plane; lattices of the same shape are at zero."""
    return float(np.arccosh(1.0 + abs(tau - other) ** 2 / (2.0 * tau.imag * other.imag)))


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(share, 0.5 * share[-1])])
