"""The state of the points that a builder follows or looks for: parallel arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass
class Points:
    """Points, one an entry. What happens to entries together stands in the builder."""

    ids: NDArray[np.int32]
    """(n,) of their tracks."""
    rows: NDArray[np.int64]
    """(n,) of their reference patches."""
    first: NDArray[np.int32]
    """(n,) frame of their first observation."""
    last: NDArray[np.int32]
    """(n,) frame of their last observation."""
    last_time: NDArray[np.float64]
    """(n,) its stamp, seconds."""
    pixels: NDArray[np.float32]
    """(n, 2) in the present frame; for a lost point, where it is expected."""
    last_pixels: NDArray[np.float32]
    """(n, 2) at the last observation."""
    velocity: NDArray[np.float32]
    """(n, 2) pixels a second."""
    warps: NDArray[np.float32]
    """(n, 2, 2) of the reference patch in the present frame; for a lost point, in the last that observed it."""
    covariance: NDArray[np.float32]
    """(n, 3) (xx, yy, xy), pixels²."""
    error: NDArray[np.float32]
    """(n,) forward-backward error, pixels."""
    flags: NDArray[np.uint8]
    """(n,) in the present frame."""
    key_pixels: NDArray[np.float32]
    """(n, 2) in the last key frame that was verified; NaN for a point that it did not observe."""
    astray: NDArray[np.int32]
    """(n,) frames since the reference patch last fitted."""
    is_blind: NDArray[np.bool_]
    """(n,) for a lost point: whether it was without neighbours that tell where it goes."""
    descriptors: NDArray[np.float32]
    """(n, D) of the nearest keypoint when one was last looked for."""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Points:
        return Points(*(getattr(self, item.name)[index] for item in fields(self)))

    @staticmethod
    def joined(parts: Sequence[Points]) -> Points:
        """One after the other."""
        return Points(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Points)))

    @staticmethod
    def none(descriptor_size: int) -> Points:
        """No points."""
        return Points.begun(
            np.zeros(0, np.int32),
            np.zeros(0, np.int64),
            0,
            0.0,
            np.zeros((0, 2), np.float32),
            np.zeros((0, descriptor_size), np.float32),
            0,
        )

    @staticmethod
    def begun(
        ids: NDArray[np.int32],
        rows: NDArray[np.int64],
        frame: int,
        time: float,
        pixels: NDArray[np.float32],
        descriptors: NDArray[np.float32],
        flag: int,
    ) -> Points:
        """Points that are new in a frame."""
        count = len(ids)
        return Points(
            ids=ids,
            rows=rows,
            first=np.full(count, frame, np.int32),
            last=np.full(count, frame, np.int32),
            last_time=np.full(count, time),
            pixels=pixels,
            last_pixels=pixels.copy(),
            velocity=np.zeros((count, 2), np.float32),
            warps=np.tile(np.eye(2, dtype=np.float32), (count, 1, 1)),
            covariance=np.full((count, 3), np.nan, np.float32),
            error=np.full(count, np.nan, np.float32),
            flags=np.full(count, flag, np.uint8),
            key_pixels=np.full((count, 2), np.nan, np.float32),
            astray=np.zeros(count, np.int32),
            is_blind=np.zeros(count, bool),
            descriptors=descriptors,
        )
