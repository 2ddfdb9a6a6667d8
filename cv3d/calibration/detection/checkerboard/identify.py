"""The size of the board, by vote over all pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detection.checkerboard.extent import Extent

Size = tuple[int, int]

NEARLY_WHOLE = 0.9
"""Part of the corners that a lattice must show to vote for its size."""
FURTHER_LATTICE = 0.25
"""Weight of a lattice that is not the best one of its picture."""
CONTRADICTION = 0.5
"""Weight of a lattice against sizes that it does not fit into."""
LARGER_IS_REAL = 0.34
"""A size with more rows or more columns and this part of the votes wins: rows get lost more easily than they get
invented. One with more of both is another board."""
SMALL_BOARD = 20
"""A size with fewer corners needs a second picture, where there are several."""
SEVERAL_PICTURES = 4


def vote(pictures: Sequence[Sequence[Extent]]) -> Board | None:
    """The board that the lattices of all pictures, best first in each, agree on; None where there is none.

    A lattice without gaps that is seen to end on all four sides votes for its size. One that the picture cuts off, or
    that has gaps, only speaks against sizes that are too small for it.
    """
    tally: dict[Size, float] = defaultdict(float)
    backers: dict[Size, int] = defaultdict(int)
    seen: list[tuple[Size, float]] = []
    for extents in pictures:
        for rank, extent in enumerate(extents):
            weight = 1.0 if rank == 0 else FURTHER_LATTICE
            own = _sorted(extent)
            seen.append((own, weight))
            full = extent.corners / (extent.rows * extent.cols)
            if extent.ends.all() and full >= NEARLY_WHOLE:
                tally[own] += weight * full
                backers[own] += 1
    leading = {_sorted(extents[0]) for extents in pictures if extents}
    votes = {size: count for size, count in tally.items() if size in leading}
    size: Size | None = _winner(votes, seen) if votes else _largest(pictures)
    if size is None:
        return None
    agreeing = backers[size] or sum(_fits(other, size) for other, _ in seen)
    if len(pictures) >= SEVERAL_PICTURES and size[0] * size[1] < SMALL_BOARD and agreeing < 2:
        return None
    return Board(BoardType.CHECKERBOARD, rows=size[0], cols=size[1])


def _winner(votes: Mapping[Size, float], seen: Sequence[tuple[Size, float]]) -> Size:
    against = {size: CONTRADICTION * sum(weight for other, weight in seen if not _fits(other, size)) for size in votes}
    best = max(votes, key=lambda size: (votes[size] - against[size], size[0] * size[1], size))
    larger = [
        size
        for size in votes
        if _larger_one_way(size, best) and votes[size] >= max(2.0 * NEARLY_WHOLE, LARGER_IS_REAL * votes[best])
    ]
    return max(larger, key=lambda size: (votes[size], size)) if larger else best


def _larger_one_way(size: Size, best: Size) -> bool:
    return (size[0] == best[0] and size[1] > best[1]) or (size[1] == best[1] and size[0] > best[0])


def _largest(pictures: Sequence[Sequence[Extent]]) -> Size | None:
    """Where no picture shows a whole board: the largest lattice that is the best one of its picture."""
    sizes = [(extents[0].corners, _sorted(extents[0])) for extents in pictures if extents]
    return max(sizes)[1] if sizes else None


def _sorted(extent: Extent) -> Size:
    return min(extent.rows, extent.cols), max(extent.rows, extent.cols)


def _fits(part: Size, whole: Size) -> bool:
    return part[0] <= whole[0] and part[1] <= whole[1]
