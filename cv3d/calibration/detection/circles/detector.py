"""The detector of dot boards: scan, identify, locate."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board
from cv3d.calibration.detection.base import Detection, Gray, Scan
from cv3d.calibration.detection.circles.blobs import find_candidates
from cv3d.calibration.detection.circles.centres import projected_centres
from cv3d.calibration.detection.circles.edges import EdgeFit, fit_ellipses, has_step
from cv3d.calibration.detection.circles.frames import CIRCLE_TYPES
from cv3d.calibration.detection.circles.identify import (
    MAX_SHAPE_DISTANCE,
    DotBoard,
    DotLattice,
    identify_board,
    plausible_type,
    shape_distances,
    step_in_radii,
)
from cv3d.calibration.detection.circles.lattice import Lattice, arrange, consistent_shapes, find_lattice, predict_empty
from cv3d.calibration.detection.circles.placement import place

MIN_POINTS = 12
MIN_LINES = 3
MAX_SQUARENESS = 0.02
"""Median fourth harmonic of the outlines, as a fraction of their size: 0.03 and more for the squares of a blurred
checkerboard, below 0.01 for circles."""
RECOVERY_ROUNDS = 20
"""How often gaps and the surroundings of the lattice are searched anew: it grows by a line at most each time."""
CLEAN_OUTLINE, OUTLINE_SPREADS = 0.1, 4.0
"""How rough the outline of a dot may be, in pixels, and against the median of the lattice: more is partly covered."""
SMOOTHING = 0.8
"""Pixels. Profiles sample the outlines sparsely: unsmoothed, sharp edges alias and pixels in between go unused."""


class CirclesDetector:
    """Finds boards of dots: regular, asymmetric (OpenCV's) and hexagonal; dark on light or light on dark.

    `rows` and `cols` follow :class:`cv3d.calibration.boards.Board`: `cols` counts the circles of one row. Tools that
    count half-steps call the same hexagonal board of 24 rows of 14 circles "24 x 28" (BoofCV); OpenCV's asymmetric 4
    x 11 is 11 rows of 4 here as well. Regular boards are described with at least as many columns as rows.

    Staggered boards begin with a row that starts further left than the next one wherever some rotation makes them do
    so. None does for an even number of equal rows of which the first starts further right, as in BoofCV's hexagonal
    boards of even rows: these are described with `first_row_shifted`. Boards whose odd rows have one circle less than
    the even ones are described by the even rows; the circles that do not exist are never found.
    """

    def scan(self, gray: Gray) -> Scan:
        """Dots on a lattice in `gray` (H, W), refined below the pixel.

        The arrays are `centres` (n, 2) and `shapes` (n, 2, 2) of the ellipses, `light` (n,) whether dots are lighter
        than the board, `cells` (n, 2) lattice coordinates, and `gram` (2, 2) the scalar products of the lattice steps
        on the board in dot radii squared.
        """
        found = _find_dots(gray)
        if found is None:
            return Scan(0)
        fit, lattice = found
        dots = fit.ellipses[lattice.members]
        arrays: dict[str, NDArray[np.generic]] = {
            "centres": dots.centres,
            "shapes": dots.shapes,
            "light": dots.light,
            "cells": lattice.cells,
            "gram": lattice.gram,
        }
        return Scan(len(dots), arrays)

    def identify(self, scans: Sequence[Scan]) -> Board | None:
        """The dot board that `scans` agree on; None where they show none."""
        measured = self.measure(scans)
        return None if measured is None else measured.board

    def measure(self, scans: Sequence[Scan]) -> DotBoard | None:
        """As :meth:`identify`, with the dots' size and how sure the type is."""
        return identify_board([_lattice_of(scan) for scan in scans if scan.points >= MIN_POINTS])

    def locate(self, gray: Gray, board: Board, scan: Scan | None = None) -> Detection:
        """The dots of `board` in `gray` (H, W): projected centres of the circles, corrected for perspective.

        A board that is cut or covered is placed at the edge that is in view, or else at an offset that fits. At least
        :data:`MIN_POINTS` dots on three rows and columns.
        """
        if board.type not in CIRCLE_TYPES:
            return Detection.nothing(f"a {board} has no circles")
        if scan is None:
            scan = self.scan(gray)
        if scan.points < MIN_POINTS:
            return Detection.nothing("no grid of circles in the picture")
        lattice = _lattice_of(scan)
        if not plausible_type(lattice.gram, board.type):
            return Detection.nothing(f"the picture shows {_describe(lattice)}, not {board}")
        placed = place(gray, lattice, board, scan)
        if placed is None:
            return Detection.nothing(f"the picture shows {_describe(lattice)}, not {board}")
        frame, (row_offset, col_offset) = placed
        if len(frame.row) < MIN_POINTS or min(frame.rows, frame.cols) < MIN_LINES:
            return Detection.nothing(f"only {len(frame.row)} circles of the board are visible")
        ids = (frame.row + row_offset) * board.cols + frame.col + col_offset
        points = board.points()[ids][:, :2]
        radius = 1.0 / step_in_radii(lattice.gram, board.type)
        centres = np.asarray(scan.arrays["centres"], np.float64)[frame.kept]
        pixels = projected_centres(centres, points, radius)
        order = np.argsort(ids)
        return Detection(ids[order].astype(np.int64), pixels[order])


def _find_dots(gray: Gray) -> tuple[EdgeFit, Lattice] | None:
    """Fitted ellipses of a picture, all of them members of the lattice that most of them form."""
    gray = np.asarray(cv2.GaussianBlur(gray, (5, 5), SMOOTHING), np.uint8)
    candidates = find_candidates(gray)
    candidates = candidates[has_step(gray, candidates)]
    fit = fit_ellipses(gray, candidates)
    fit = fit[fit.good]
    lattice = find_lattice(fit.ellipses)
    if lattice is None:
        return None
    # Fitting where the lattice has gaps finds dots that touch a shadow, a reflection or each other in the threshold.
    asked: set[tuple[int, int]] = set()
    for _ in range(RECOVERY_ROUNDS):
        grown = _recover(gray, fit, lattice, asked)
        if grown is None:
            break
        fit, lattice = grown
    fit = fit[lattice.members]
    final = fit_ellipses(gray, fit.ellipses, fit.blur)
    return _checked(final, lattice)


def _recover(gray: Gray, fit: EdgeFit, lattice: Lattice, asked: set[tuple[int, int]]) -> tuple[EdgeFit, Lattice] | None:
    """Looks for dots where `lattice` predicts them and none is known; None where there are no more.

    `asked` remembers the places, rounded to a few pixels, that were looked at before.
    """
    cells, guesses = predict_empty(fit.ellipses, lattice, (gray.shape[0], gray.shape[1]))
    places = [(round(x / 4), round(y / 4)) for x, y in guesses.centres]
    fresh = np.array([place not in asked for place in places], np.bool_)
    asked.update(places)
    fresh &= has_step(gray, guesses)
    index = np.flatnonzero(fresh)
    found = fit_ellipses(gray, guesses[index])
    good = found.good & (found.ellipses.light == guesses.light[index])
    if not good.any():
        return None
    assigned = {(int(a), int(b)): int(i) for (a, b), i in zip(lattice.cells, lattice.members, strict=True)}
    for offset, i in enumerate(index[good]):
        assigned[cells[i]] = len(fit.ellipses) + offset
    fit = EdgeFit.join(fit, found[good])
    grown = arrange(fit.ellipses, assigned)
    return None if grown is None or len(grown) <= len(lattice) else (fit, grown)


def _checked(fit: EdgeFit, lattice: Lattice) -> tuple[EdgeFit, Lattice] | None:
    """The lattice of the dots of `fit` that are good, None where it is none of a board of circles."""
    assigned = {(int(a), int(b)): i for i, (a, b) in enumerate(lattice.cells) if fit.good[i]}
    whole = arrange(fit.ellipses, assigned)
    if whole is None:
        return None
    roughness = fit.roughness[whole.members]
    fits = consistent_shapes(fit.ellipses, whole)
    fits &= roughness < np.maximum(CLEAN_OUTLINE, OUTLINE_SPREADS * np.median(roughness))
    cells, members = whole.cells[fits], whole.members[fits]
    final = arrange(fit.ellipses, {(int(a), int(b)): int(i) for (a, b), i in zip(cells, members, strict=True)})
    if final is None or len(final) < MIN_POINTS or min(shape_distances(final.gram)) > MAX_SHAPE_DISTANCE:
        return None
    squareness = fit.squareness[final.members]
    if np.hypot(np.median(squareness.real), np.median(squareness.imag)) > MAX_SQUARENESS:
        return None
    return fit, final


def _lattice_of(scan: Scan) -> DotLattice:
    return DotLattice(np.asarray(scan.arrays["cells"], np.int64), np.asarray(scan.arrays["gram"], np.float64))


def _describe(lattice: DotLattice) -> str:
    """What one picture shows, in words."""
    seen = identify_board([lattice])
    return "an irregular grid of circles" if seen is None else str(seen.board)
