"""A recording that was opened: what it offers, what was chosen, and its frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras import Camera
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.sequences import SequenceFrames
from cv3d.media.sequences.stream import Produce, nothing
from cv3d.odometry.results import Sensor

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sequence:
    """A recording, recognised and ready to be read; its pictures are decoded only by :meth:`frames`."""

    name: str
    """How results call it."""
    kind: str
    """What it was recognised as: "tum", "kitti", "euroc", "seven_scenes", "scannet", "stray_scanner", "record3d",
    "folder", "pictures", "video" or "live"."""
    sensors: tuple[Sensor, ...]
    """What it can be read as."""
    sensor: Sensor
    """What it is read as."""
    camera: Camera | None
    """The only, the left or the colour camera; None where nothing says it."""
    right_camera: Camera | None = None
    """Of a stereo pair."""
    right_from_left: Floats | None = None
    """(4, 4), metres; None where there is no pair, or nothing says it."""
    depth_camera: Camera | None = None
    """Of the depth pictures; None where they have the colour pictures' own pixels, or nothing says it."""
    color_from_depth: Floats | None = None
    """(4, 4), metres, from the depth camera's frame to the colour camera's; None where they are one."""
    depth_scale: float | None = None
    """Metres per stored unit of depth; None where there is no depth. A note says how it was decided."""
    frame_count: int | None = None
    """How many frames there are, readable or not; None where it is not known before the end."""
    fps: float | None = None
    """Frames per second by the median step of the stamps; None where it is not known before the end."""
    is_live: bool = False
    """Whether it comes from a camera at this moment, at its own pace and once only."""
    is_timed: bool = True
    """Whether the stamps are the source's own; else they were made from the frames' numbers, and a note says so."""
    notes: tuple[str, ...] = ()
    """Sentences for the user: what was recognised, and what was assumed."""
    inputs: tuple[Path, ...] = field(default=(), repr=False)
    """The files it consists of, for telling later whether a result is still of them."""
    _produce: Produce = field(default=nothing, repr=False)
    _read_truth: Callable[[], Trajectory] | None = field(default=None, repr=False)

    def frames(self) -> SequenceFrames:
        """The frames in order, decoded a few ahead of their use; `problems` of it says what could not be read.

        Raises:
            PictureError: (at the end) not one of them can be decoded.
            InputError: a live camera cannot be opened.
        """
        return SequenceFrames(self._produce, self.name, in_thread=not self.is_live)

    @property
    def has_truth(self) -> bool:
        """Whether the recording brings a path to compare with."""
        return self._read_truth is not None

    @cached_property
    def truth(self) -> Trajectory | None:
        """The recording's own path of the (left or colour) camera with the stamps of its frames, for comparison only.

        Raises:
            FormatError: its file is not what it should be.
            InputError: its file cannot be read.
        """
        return None if self._read_truth is None else self._read_truth()
