"""What every choice of pairs gives, and ranked neighbours, which several of them start from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]
"""Places of two pictures in the set, ascending."""


class PairSelector(Protocol):
    """Chooses which pictures to match."""

    def pairs(self, count: int) -> Iterator[Pair]:
        """The pairs among `count` pictures, each once, in an order that depends on nothing but the choice.

        Raises:
            InputError: the choice was made for another number of pictures.
        """


@dataclass(frozen=True, eq=False)
class Neighbours:
    """For each picture of a set the pictures most like it, best first.

    Raises:
        ValueError: the arrays do not belong together.
    """

    indices: NDArray[np.int64]
    """(n, k) places in the set, -1 where there are no more; never the picture itself."""
    similarities: NDArray[np.float32]
    """(n, k), descending; minus infinity where there are no more."""

    def __post_init__(self) -> None:
        if self.indices.ndim != 2 or self.indices.shape != self.similarities.shape:
            raise ValueError(f"indices {self.indices.shape} and similarities {self.similarities.shape} are not (n, k)")

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.indices)

    def pairs(self) -> Iterator[Pair]:
        """Every picture with its neighbours, each pair once, by picture and then by rank."""
        for picture, row in enumerate(self.indices.tolist()):
            for neighbour in row:
                already = neighbour < picture and picture in self.indices[neighbour]
                if neighbour >= 0 and not already:
                    yield min(picture, neighbour), max(picture, neighbour)


def retrieval_recall(neighbours: Neighbours, relevant: Sequence[Collection[int]], at: int) -> float:
    """How many of the pictures to be found are among the first neighbours.

    Args:
        neighbours: of n pictures.
        relevant: for each picture the places of those that see the same.
        at: how many of its first neighbours count.

    Returns:
        The mean over pictures that have something to find: the number found among the first `at`, over the number that
        could be found there.

    Raises:
        ValueError: `relevant` is not as long as the set, or nothing is to be found.
    """
    if len(relevant) != len(neighbours):
        raise ValueError(f"{len(relevant)} lists of relevant pictures for {len(neighbours)} pictures")
    shares = [
        len(set(row[:at].tolist()) & set(wanted)) / min(at, len(set(wanted)))
        for row, wanted in zip(neighbours.indices, relevant, strict=True)
        if wanted
    ]
    if not shares:
        raise ValueError("no picture has a relevant one")
    return float(np.mean(shares))
