"""How the pictures of a set hang together by verified pairs."""

from __future__ import annotations

Pair = tuple[int, int]


class Groups:
    """Which pictures hang together, and how many thick pairs each has."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}
        self._thick: dict[int, int] = {}

    def join(self, pair: Pair, *, is_thick: bool) -> None:
        """Take in a verified pair."""
        one, other = map(self._root, pair)
        self._parents[max(one, other)] = min(one, other)
        for picture in pair if is_thick else ():
            self._thick[picture] = self._thick.get(picture, 0) + 1

    def holds(self, pair: Pair) -> bool:
        """Whether the two hang together already."""
        one, other = map(self._root, pair)
        return one == other

    def wants(self, pair: Pair, neighbours: int) -> bool:
        """Whether the two do not hang together yet, or one of them has fewer thick pairs than so many."""
        return not self.holds(pair) or min(self._thick.get(picture, 0) for picture in pair) < neighbours

    def _root(self, picture: int) -> int:
        while (parent := self._parents.get(picture, picture)) != picture:
            self._parents[picture] = self._parents.get(parent, parent)
            picture = parent
        return picture
