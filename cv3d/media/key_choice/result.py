"""What was chosen of a clip, and why the rest was not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cv3d.media.picture import Picture


class PassedOver(StrEnum):
    """Why a frame was not chosen."""

    NEAR = "near"
    """It shows what the key frame before it shows."""
    REPEATED = "repeated"
    """It is the frame before it once more."""
    BLURRED = "less sharp"
    """A frame close to it was sharper, or lay better between its neighbours."""
    EXPOSURE = "exposure"
    """A frame close to it was exposed better."""
    BLANK = "blank"
    """It shows nothing: black, white or without any contrast."""
    LIMIT = "limit"
    """It would have been one more than were asked for."""


@dataclass(frozen=True)
class KeyFrameChoice:
    """The key frames of one clip."""

    pictures: tuple[Picture, ...]
    """In order of time. Their grey pixels are kept in memory, losslessly compressed, up to the limit that was set."""
    sharpness: tuple[float, ...]
    """Of each picture, as :func:`cv3d.media.sharpness.sharpness` measures it."""
    motion: tuple[float, ...]
    """How far what is seen moved since the key frame before, shares of the picture's diagonal; 0 for the first of a
    scene."""
    scenes: tuple[int, ...]
    """Number of the stretch between two cuts that each picture is from, from 0."""
    passed_over: Mapping[PassedOver, int]
    """How many of the other frames were not chosen for what reason."""
    frame_count: int
    """How many frames the clip really holds."""
    step: float
    """The motion that was aimed at between neighbours, share of the diagonal: longer than asked for where that would
    have made too many."""
    is_still: bool
    """Whether the view did not move at all."""
    damaged: str | None
    """What is missing of the clip, in words for the user; None where it is whole."""

    @property
    def cuts(self) -> int:
        """Cuts between the pictures."""
        return len(set(self.scenes)) - 1
