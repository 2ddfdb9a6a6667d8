"""Time stamps that cannot be a clock's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def odd_stamps(times: Sequence[float]) -> tuple[str, ...]:
    """What is odd about the stamps of frames in the order in which they came, a sentence each.

    Args:
        times: seconds.
    """
    steps = np.diff(np.asarray(times, np.float64))
    notes = []
    if repeated := int((steps == 0.0).sum()):
        notes.append(f"{repeated} frames repeat the time stamp of the one before")
    if back := int((steps < 0.0).sum()):
        notes.append(f"the time stamps go back {back} times")
    return tuple(notes)
