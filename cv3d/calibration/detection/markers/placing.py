"""Putting the markers of one picture on a known board, and saying what is wrong where they do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board
from cv3d.calibration.detection.base import Scan
from cv3d.calibration.detection.markers.corners import predict
from cv3d.calibration.detection.markers.decode import Reading, family_of, smallest_member
from cv3d.calibration.detection.markers.lattice import Lattice, find_lattice, find_pairs, fit_lattice, largest_group
from cv3d.calibration.detection.markers.layout import Numbering, turned
from cv3d.calibration.detection.markers.scanning import Findings, believable, from_scan

_OFF_BOARD = 0.35
"""How far from its place a marker may be seen by its neighbours, in lattice steps."""
_MIN_PAIRS = 3
_MIN_AGREEMENT = 0.5
"""Least share of the pairs of neighbours that must stand to each other as on the board."""
_FEW = 4
"""A kind of marker with no more than this many does not outweigh the one that was asked for."""


@dataclass(frozen=True)
class Group:
    """The readings of one picture that belong to one kind of marker."""

    family: int
    """Index into :func:`families`."""
    border: int
    """Width of the border in bits."""
    inverted: bool
    """Whether black and white are exchanged."""
    reading: Reading
    """The readings of this kind."""
    lattice: Lattice | None
    """What they form."""
    shape: tuple[int, int]
    """Height and width of the picture."""
    trusted: int
    """How many different markers are certain: those on the lattice, or all where they are more than chance."""


def groups(findings: Findings) -> list[Group]:
    """The readings sorted by kind of marker, the best supported kind first."""
    result = []
    reading, looked_at = findings.reading, findings.looked_at
    kinds = np.column_stack([reading.family, reading.border, reading.inverted])
    for family, border, inverted in np.unique(kinds, axis=0):
        chosen = reading.select((kinds == (family, border, inverted)).all(axis=1))
        lattice = find_lattice(chosen.corners)
        on_lattice = len(np.unique(chosen.ids[lattice.members])) if lattice is not None else 0
        trusted = on_lattice if on_lattice >= 2 else 0
        if believable(chosen, looked_at):
            trusted = max(trusted, len(np.unique(chosen.ids)))
        result.append(Group(int(family), int(border), bool(inverted), chosen, lattice, findings.shape, trusted))
    return sorted(result, key=lambda group: (-group.trusted, -len(group.reading)))


def common_kind(scans: Sequence[Scan], checkered: bool) -> list[Group]:
    """Of a set of pictures, the groups of the kind of marker that has the most lattice steps of the wanted lattice."""
    steps: dict[tuple[int, int, bool], int] = {}
    everything: list[Group] = []
    for scan in scans:
        for group in groups(from_scan(scan)):
            everything.append(group)
            if group.lattice is not None and len(group.lattice.members) >= 2:
                key = (group.family, group.border, group.inverted)
                sign = 1 if group.lattice.checkered == checkered else -1
                steps[key] = steps.get(key, 0) + sign * len(group.lattice.moves)
    if not steps:
        return []
    kind = max(steps, key=lambda key: steps[key])
    if steps[kind] <= 0:
        return []
    return [group for group in everything if (group.family, group.border, group.inverted) == kind]


def common_lattices(found: Sequence[Group], checkered: bool) -> list[tuple[Group, Lattice]]:
    """The groups that form a lattice of the step that the whole set agrees on, and this lattice."""
    own = [group.lattice for group in found if group.lattice is not None and group.lattice.checkered == checkered]
    weights = np.array([len(lattice.moves) for lattice in own], dtype=np.float64)
    steps = np.array([lattice.step for lattice in own])
    order = np.argsort(steps)
    middle = np.searchsorted(np.cumsum(weights[order]), 0.5 * weights.sum())
    step = float(steps[order][middle])
    result = []
    for group in found:
        lattice = fit_lattice(find_pairs(group.reading.corners, 2.9 * step), step, checkered)
        if lattice is not None:
            result.append((group, lattice))
    return result


@dataclass(frozen=True)
class Placed:
    """Markers of one picture on their cells of the board."""

    cells: NDArray[np.int64]
    """Column and row, (n, 2)."""
    corners: NDArray[np.float64]
    """Pixels in the order top-left, top-right, bottom-right, bottom-left of the board, (n, 4, 2)."""
    ids: NDArray[np.int64]
    """Marker ids, (n,)."""
    family: int
    """Index into :func:`families`."""
    border: int
    """Width of their border in bits."""
    turn: int
    """Quarter turns from the board's axes to those of the markers."""
    step: float
    """Distance of neighbouring lattice points, in marker sides."""


def place(board: Board, numbering: Numbering, top_row: int, count: int, scan: Scan, step: float | None) -> Placed | str:
    """The markers of the picture on the board's cells; where none fits, the reason in words.

    Args:
        board: the board looked for.
        numbering: where its ids stand.
        top_row: row of the numbering that is the board's first.
        count: how many markers the board has.
        scan: the findings in this picture.
        step: distance of lattice points in marker sides; None: measured in the picture.
    """
    findings = from_scan(scan)
    seen = groups(findings)
    strange = next((group for group in seen if group.trusted), None)
    if board.dictionary is not None:
        family = family_of(board.dictionary)
    elif strange is not None:
        family = strange.family
    else:
        return "no marker in the picture"
    own = [group for group in seen if group.family == family and group.inverted == board.inverted]
    if not own:
        return (
            "no marker in the picture"
            if strange is None
            else f"the picture shows {_described(strange)}, not {board.dictionary}"
        )
    own.sort(key=lambda group: -len(group.reading))
    group = own[0]
    if (
        strange is not None
        and strange.family != family
        and strange.trusted > max(_FEW, 2 * len(np.unique(group.reading.ids)))
    ):
        return f"the picture shows {_described(strange)}, not {board.dictionary}"
    chosen = (group.reading.ids >= board.first_marker) & (group.reading.ids < board.first_marker + count)
    if not chosen.any():
        if not group.trusted:
            return "no marker in the picture"
        low, high = int(group.reading.ids.min()), int(group.reading.ids.max())
        last = board.first_marker + count - 1
        return f"the markers seen (ids {low} to {high}) are not on the board (ids {board.first_marker} to {last})"
    reading = group.reading.select(chosen)
    cells = numbering.cells(reading.ids) - np.array([0, top_row])
    return _consistent(reading, cells, numbering, group, findings.looked_at, step)


def _consistent(
    reading: Reading, cells: NDArray[np.int64], numbering: Numbering, group: Group, looked_at: int, step: float | None
) -> Placed | str:
    """Keep the markers that see each other where the board has them."""
    pairs = find_pairs(reading.corners, 12.0)
    if step is None and len(pairs.first):
        ratio = np.linalg.norm(pairs.offset, axis=1) / np.maximum(
            np.linalg.norm(cells[pairs.second] - cells[pairs.first], axis=1), 1e-9
        )
        step = float(np.median(ratio))
    if step is None:
        return "too few markers in the picture to measure their size, which the board does not state"
    members = np.zeros(0, np.int64)
    turn = numbering.turn
    if len(pairs.first):
        move = cells[pairs.second] - cells[pairs.first]
        # Tags may be printed turned on the board; the pairs say which way, the board's own rule decides where they
        # cannot.
        turns = [numbering.turn, *(k for k in range(4) if k != numbering.turn and not numbering.checkered)]
        agree = [
            (
                np.abs(pairs.offset / step - turned(move, k)).max(axis=1)
                < _OFF_BOARD * np.maximum(1.0, np.abs(move).max(axis=1))
            )
            & (np.abs(move).max(axis=1) > 0)
            for k in turns
        ]
        best = int(np.argmax([mask.sum() for mask in agree]))
        turn, good = turns[best], agree[best]
        near = np.linalg.norm(pairs.offset / step, axis=1) < 2.3
        if near.sum() >= _MIN_PAIRS and good[near].mean() < _MIN_AGREEMENT:
            return (
                "the markers in the picture stand in another arrangement than on the board; check its rows and columns"
            )
        if good.any():
            members = largest_group(pairs.first[good], pairs.second[good])
    if len(members) < 2:
        if not believable(reading, looked_at):
            return "too few markers in the picture"
        members = np.array([int(np.argmin(reading.errors))])
    corners = np.roll(reading.corners, -turn, axis=1)
    members = _adopt(members, cells, corners)
    unique = members[np.unique(reading.ids[members], return_index=True)[1]]
    return Placed(cells[unique], corners[unique], reading.ids[unique], group.family, group.border, turn, step)


def _adopt(members: NDArray[np.int64], cells: NDArray[np.int64], corners: NDArray[np.float64]) -> NDArray[np.int64]:
    """Add markers too far from the group to be linked to it, where the group predicts them."""
    if len(members) < 3:
        return members
    others = np.setdiff1d(np.arange(len(cells)), members)
    if not len(others):
        return members
    centres = corners.mean(axis=1)
    expected, axes = predict(cells[others].astype(np.float64), cells[members].astype(np.float64), centres[members], 12)
    unit = np.sqrt(np.abs(np.linalg.det(axes)))
    near = np.linalg.norm(expected - centres[others], axis=1) < _OFF_BOARD * unit
    fresh = ~np.isin(cells[others], cells[members]).all(axis=1)
    return np.sort(np.concatenate([members, others[near & fresh]]))


def _described(group: Group) -> str:
    name = smallest_member(group.family, int(group.reading.ids.max()))
    low, high = int(group.reading.ids.min()), int(group.reading.ids.max())
    return f"{'inverted ' if group.inverted else ''}{name} markers (ids {low} to {high})"
