"""Pairs of a set: all of them, those near in a sequence, those ranked alike, those listed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cv3d.errors import InputError
from cv3d.features.pairs.base import Neighbours, Pair


@dataclass(frozen=True)
class Exhaustive:
    """Every pair."""

    def pairs(self, count: int) -> Iterator[Pair]:
        """All pairs of `count` pictures."""
        for first in range(count):
            for second in range(first + 1, count):
                yield first, second


@dataclass(frozen=True, eq=False)
class Sequential:
    """Each picture with those that follow it, for sets in the order of capture.

    Raises:
        ValueError: an option is out of range, or loops are asked for without neighbours.
    """

    overlap: int = 10
    """How many of the following pictures."""
    is_quadratic: bool = True
    """Whether to add those 1, 2, 4, 8, … further on."""
    doublings: int | None = None
    """How many of the distances 1, 2, 4, 8, …; None for as many as `overlap`."""
    loop_every: int = 0
    """Look for a place seen before with every n-th picture; 0 for never."""
    loop_candidates: int = 20
    """How many of its best neighbours, beyond the overlap, such a picture is paired with."""
    neighbours: Neighbours | None = None
    """Ranked by retrieval, for loops."""

    def __post_init__(self) -> None:
        if self.overlap < 1 or self.loop_every < 0 or self.loop_candidates < 1 or (self.doublings or 0) < 0:
            raise ValueError("overlap and loop_candidates must be positive, loop_every and doublings not negative")
        if self.loop_every and self.neighbours is None:
            raise ValueError("loops are looked for among ranked neighbours; give some")

    def pairs(self, count: int) -> Iterator[Pair]:
        """Pairs along the sequence by their first picture, then those that close loops.

        Raises:
            InputError: the neighbours are of another number of pictures.
        """
        offsets = set(range(1, self.overlap + 1))
        if self.is_quadratic:
            doublings = self.overlap if self.doublings is None else self.doublings
            offsets |= {1 << power for power in range(doublings)}
        for first in range(count):
            for offset in sorted(offsets):
                if first + offset < count:
                    yield first, first + offset
        if self.neighbours is None or not self.loop_every:
            return
        _check_count(self.neighbours, count)
        for picture in range(0, count, self.loop_every):
            for other in self._loops(self.neighbours, picture, offsets):
                asks_too = other % self.loop_every == 0 and other < picture
                if not (asks_too and picture in self._loops(self.neighbours, other, offsets)):
                    yield min(picture, other), max(picture, other)

    def _loops(self, neighbours: Neighbours, picture: int, offsets: set[int]) -> list[int]:
        ranked = neighbours.indices[picture].tolist()
        beyond = [other for other in ranked if other >= 0 and abs(other - picture) not in offsets]
        return beyond[: self.loop_candidates]


@dataclass(frozen=True, eq=False)
class Ranked:
    """Each picture with its neighbours, ranked by retrieval or by known poses."""

    neighbours: Neighbours

    def pairs(self, count: int) -> Iterator[Pair]:
        """Every picture with all its neighbours.

        Raises:
            InputError: the neighbours are of another number of pictures.
        """
        _check_count(self.neighbours, count)
        return self.neighbours.pairs()


@dataclass(frozen=True)
class Listed:
    """Pairs given one by one; see :func:`cv3d.features.pairs.read_pair_list`."""

    listed: tuple[Pair, ...]
    """Each once, ascending."""

    def pairs(self, count: int) -> Iterator[Pair]:
        """The pairs in the order given.

        Raises:
            InputError: one of them is beyond `count`.
        """
        for pair in self.listed:
            if not 0 <= pair[0] < pair[1] < count:
                raise InputError(f"the pair {pair} is not one of {count} pictures in ascending order")
            yield pair


def _check_count(neighbours: Neighbours, count: int) -> None:
    if len(neighbours) != count:
        raise InputError(f"the neighbours are those of {len(neighbours)} pictures, but the set has {count}")
