"""Which picture of one camera goes with which of another: by stamps, numbers in the names, or the order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.formats.recordings.stamps import stamps_of_names
from cv3d.formats.recordings.tum import StampedFile

_NUMBERS = re.compile(r"\d+")
_LEAST_COMMON = 0.5


def number_of(path: Path) -> int | None:
    """The last number in a picture's name, which counts frames; None where there is none."""
    found = _NUMBERS.findall(path.stem)
    return int(found[-1]) if found else None


def numbers_of(files: Sequence[Path]) -> list[int] | None:
    """The numbers in the names of pictures; None where one has none, or two have the same."""
    numbers = [number_of(path) for path in files]
    known = [number for number in numbers if number is not None]
    return known if len(set(known)) == len(files) else None


def pair_by_time(
    first: Sequence[float] | NDArray[np.float64], second: Sequence[float] | NDArray[np.float64], within_s: float
) -> dict[int, int]:
    """Index into `second` by the index into `first`: those nearest to each other come first, each is taken once.

    Args:
        first: stamps, seconds, in any order.
        second: the other's.
        within_s: how far apart stamps of one moment may be, seconds.
    """
    ones, others = np.asarray(first, np.float64), np.asarray(second, np.float64)
    order = np.argsort(others, kind="stable")
    lower = np.searchsorted(others[order], ones - within_s, side="left")
    upper = np.searchsorted(others[order], ones + within_s, side="right")
    near = [
        (abs(ones[i] - others[order[j]]), i, int(order[j])) for i in range(len(ones)) for j in range(lower[i], upper[i])
    ]
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(near):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return pairs


def pair_stamped(first: Sequence[StampedFile], second: Sequence[StampedFile], within_s: float) -> list[Path | None]:
    """For each of the first its partner's file; None where it has none."""
    pairs = pair_by_time([one.time for one in first], [other.time for other in second], within_s)
    return [second[pairs[index]].file if index in pairs else None for index in range(len(first))]


def pair_files(first: Sequence[Path], second: Sequence[Path], within_s: float) -> list[Path | None] | None:
    """For each of the first its partner: by stamps in the names, else by their numbers, else by the order.

    Returns:
        None where neither names nor numbers of files say which go together.
    """
    stamps, others = stamps_of_names(first), stamps_of_names(second)
    if stamps is not None and others is not None:
        pairs = pair_by_time(stamps.times, others.times, within_s)
        if len(pairs) >= _LEAST_COMMON * min(len(first), len(second)):
            return [second[pairs[index]] if index in pairs else None for index in range(len(first))]
    numbers, other_numbers = numbers_of(first), numbers_of(second)
    if numbers is not None and other_numbers is not None:
        by_number = dict(zip(other_numbers, second, strict=True))
        found = [by_number.get(number) for number in numbers]
        if sum(path is not None for path in found) >= _LEAST_COMMON * min(len(first), len(second)):
            return found
    by_stem = {path.stem: path for path in second}
    found = [by_stem.get(path.stem) for path in first]
    if sum(path is not None for path in found) >= _LEAST_COMMON * min(len(first), len(second)):
        return found
    return list(second) if len(first) == len(second) else None


def note_of_missing(partners: Sequence[Path | None], unused: int, what: str) -> tuple[str, ...]:
    """What to note about pictures without a partner.

    Args:
        partners: of each picture.
        unused: how many partners belong to no picture.
        what: how the partner is called, e.g. "right picture".
    """
    alone = sum(partner is None for partner in partners)
    notes = []
    if alone:
        notes.append(f"{alone} of {len(partners)} frames have no {what}")
    if unused:
        notes.append(f"{unused} {what}s belong to no frame")
    return tuple(notes)
