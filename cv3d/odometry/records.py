"""What is kept of every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.odometry.keys import Key, inverse
from cv3d.odometry.results import FrameResult, State

Floats = NDArray[np.float64]


@dataclass(eq=False, slots=True)
class Record:
    """A frame. Its place is told by that of a key frame, so that it follows that one's corrections."""

    index: int
    time: float
    name: str
    state: State
    reason: str
    segment: int
    key: int
    """Number of the key frame that its place hangs on; -1: it has none."""
    cam_from_key: Floats | None
    """(4, 4)"""
    inliers: int
    parallax_deg: float
    is_key: bool
    ms: float

    def hang_on(self, key: Key, cam_from_world: Floats) -> None:
        """Give it a place."""
        self.key = key.number
        self.segment = key.segment
        self.cam_from_key = cam_from_world @ inverse(key.cam_from_world)

    def cam_from_world(self, keys: list[Key]) -> Floats | None:
        """Its place as the key frames are now, (4, 4)."""
        if self.key < 0 or self.cam_from_key is None:
            return None
        moved: Floats = self.cam_from_key @ keys[self.key].cam_from_world
        return moved

    def result(self, keys: list[Key]) -> FrameResult:
        """For the user, as the key frames are now."""
        cam_from_world = self.cam_from_world(keys)
        return FrameResult(
            self.index,
            self.time,
            self.name,
            self.state,
            self.reason,
            None if cam_from_world is None else inverse(cam_from_world),
            -1 if cam_from_world is None else self.segment,
            self.inliers,
            self.parallax_deg,
            self.is_key,
            self.ms,
        )
