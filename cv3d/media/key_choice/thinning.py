"""Key frames made fewer where there are more than were asked for."""

from __future__ import annotations

from dataclasses import dataclass

from cv3d.media.picture import Picture

CUT = 1.0
"""How far a cut counts as moving the view: all of it is another."""
_GROWTH = 1.2


@dataclass(frozen=True)
class Key:
    """A key frame."""

    picture: Picture
    sharpness: float
    quality: float
    """Sharpness, less where it is exposed badly."""
    place: float
    """Length of the way to it along the key frames, shares of the diagonal; a cut counts as :data:`CUT`."""
    scene: int


def thin(keys: list[Key], limit: int, step: float) -> tuple[list[Key], float]:
    """The best of each stretch, the stretches being just long enough for at most `limit` of them.

    Args:
        keys: in order.
        limit: most that may be left, at least 1.
        step: length of a stretch to begin with, share of the diagonal.

    Returns:
        What is left, and the length of a stretch.
    """
    left = keys
    while len(left) > limit:
        step *= _GROWTH
        left = _best_of_each(keys, step)
    return left, step


def _best_of_each(keys: list[Key], step: float) -> list[Key]:
    best: list[Key] = []
    start = float("-inf")
    for key in keys:
        if key.place - start >= step:
            best.append(key)
            start = key.place
        elif key.quality > best[-1].quality:
            best[-1] = key
    return best
