"""Which boards the pictures show beside the one that is calibrated with, and whether it is printed white on black."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.checks.base import Finding, Severity, listed
from cv3d.calibration.detection import DETECTORS, Family, family_of
from cv3d.calibration.detection.base import Scan
from cv3d.calibration.detection.markers.decode import family_of as dictionary_of
from cv3d.calibration.detection.markers.placing import groups
from cv3d.calibration.detection.markers.scanning import from_scan, marker_sides, to_scan

if TYPE_CHECKING:
    from cv3d.calibration.detecting import SeenPicture

_CLEAR_POINTS = 12
"""Corners or circles of another board that are no accident."""
_CLEAR_MARKERS = 4
_ONE_PICTURE_POINTS = 30
"""A board in one picture only has to show so many."""


def other_board(scan: Scan, family: Family, board: Board) -> Board | None:
    """Another board than `board` that a picture shows; None where nothing speaks for one.

    Args:
        scan: of the picture, for boards of `family`.
        family: what was looked for.
        board: the board of the set, of this family or another one.
    """
    if family is Family.CHECKERBOARD:
        return _other_checkerboard(scan, board)
    if family is not Family.CIRCLES and family_of(board.type) is family:
        return _other_markers(scan, board)
    if scan.points < (_CLEAR_POINTS if family is Family.CIRCLES else _CLEAR_MARKERS):
        return None
    found = DETECTORS[family].identify([scan])
    if found is None or may_be(found, board):
        return None
    return found


def _other_checkerboard(scan: Scan, board: Board) -> Board | None:
    """The largest lattice seen to end on all sides, without gaps, that is not the board's."""
    if scan.points < _CLEAR_POINTS:
        return None
    whole = [
        Board(BoardType.CHECKERBOARD, min(rows, cols), max(rows, cols))
        for rows, cols, corners, *ends in np.asarray(scan.arrays["extent"], dtype=np.int64).tolist()
        if corners == rows * cols and corners >= _CLEAR_POINTS and all(ends)
    ]
    others = [found for found in whole if not may_be(found, board)]
    return max(others, key=lambda found: found.rows * found.cols, default=None)


def _other_markers(scan: Scan, board: Board) -> Board | None:
    """A board of another dictionary or polarity, alone or beside the one that is used."""
    findings = from_scan(scan)
    reading = findings.reading
    own = reading.family == dictionary_of(board.dictionary) if board.dictionary is not None else reading.family < 0
    own = own & (reading.inverted == board.inverted)
    # A marker of the board may be read as one of another dictionary too.
    centres, side = reading.corners.mean(axis=1), marker_sides(reading.corners)
    apart = np.linalg.norm(centres[:, None] - centres[None, own], axis=2) > 0.5 * side[:, None]
    rest = reading.select(~own & apart.all(axis=1))
    if len(rest) < _CLEAR_MARKERS:
        return None
    other = replace(findings, reading=rest)
    clearest = groups(other)[0]
    if clearest.trusted < _CLEAR_MARKERS:
        return None
    alone = to_scan(replace(other, reading=clearest.reading), clearest.trusted)
    found = (DETECTORS[family].identify([alone]) for family in (Family.CHARUCO, Family.APRILGRID))
    return next((one for one in found if one is not None), None)


def may_be(found: Board, board: Board) -> bool:
    """Whether what one picture shows, `found`, may be a part of the board."""
    small, large = sorted((found.rows, found.cols))
    inner = 1 if board.type is BoardType.CHARUCO else 0
    fits = small <= min(board.rows, board.cols) - inner and large <= max(board.rows, board.cols) - inner
    if found.type is BoardType.CHECKERBOARD:
        # A row or two may be lost at the rim, or be hidden by a finger; the gaps between tags look like corners too.
        if board.type is BoardType.APRILGRID:
            return small <= min(board.rows, board.cols) + 1 and large <= max(board.rows, board.cols) + 1
        same_size = fits and large >= max(board.rows, board.cols) - inner - 2
        return same_size and board.type in (BoardType.CHECKERBOARD, BoardType.CHARUCO)
    if family_of(found.type) is not family_of(board.type):
        return False
    if found.dictionary is not None and board.dictionary is not None:
        # The extent of a numbering that a single picture shows in part is not certain; its dictionary is.
        same = dictionary_of(found.dictionary) == dictionary_of(board.dictionary)
        return same and found.inverted == board.inverted
    return found.type is board.type and fits


def other_boards_finding(pictures: Sequence[SeenPicture]) -> Finding | None:
    """What to say of pictures that show another board, alone or beside the one that is used.

    Args:
        pictures: all of them.
    """
    shown: dict[str, list[SeenPicture]] = defaultdict(list)
    for picture in pictures:
        if picture.other_board is not None:
            shown[str(picture.other_board)].append(picture)
    parts, views = [], []
    for description, group in shown.items():
        points = max(p.other_board.point_count for p in group if p.other_board is not None)
        if len(group) == 1 and points < _ONE_PICTURE_POINTS:
            continue
        alone = [p.name for p in group if not len(p.detection.point_ids)]
        beside = [p.name for p in group if len(p.detection.point_ids)]
        if alone:
            verb = "shows" if len(alone) == 1 else "show"
            parts.append(f"{listed(alone)} {verb} another board ({description}), left out")
        if beside:
            parts.append(f"in {listed(beside)} a second board ({description}) is in view, not used")
        views += alone + beside
    if not parts:
        return None
    return Finding(
        kind="other_board",
        severity=Severity.WARNING if any("another" in part for part in parts) else Severity.INFO,
        sentence=f"{'; '.join(parts)}: keep other boards out of the pictures",
        figures={"pictures": float(len(views))},
        views=tuple(views),
    )


def inverted_finding(board: Board, pictures: Sequence[SeenPicture]) -> Finding | None:
    """That the board is printed white on black, where it is one that is usually black on white.

    Args:
        board: the board.
        pictures: all of them.
    """
    shown = [p for p in pictures if len(p.detection.point_ids)]
    if not board.inverted and not sum(p.light_on_dark for p in shown) > 0.5 * len(shown):
        return None
    what = "circles" if family_of(board.type) is Family.CIRCLES else "markers"
    return Finding(
        kind="inverted_board",
        severity=Severity.INFO,
        sentence=f"the board is inverted, its {what} white on black: recognised, nothing to do",
    )
