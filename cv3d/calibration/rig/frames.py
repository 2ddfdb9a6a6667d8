"""The pictures of a rig, camera by camera, and which of them are of one moment."""

from __future__ import annotations

from dataclasses import dataclass

from cv3d.calibration.detecting import Source
from cv3d.calibration.rig.result import Synchronisation


@dataclass(frozen=True)
class RigInput:
    """What one camera recorded."""

    name: str
    """How results call the camera, e.g. "left"."""
    pictures: tuple[Source, ...]
    """In the order of time."""
    times: tuple[float, ...] | None
    """Stamp of each picture, seconds on this camera's clock; None where there are none."""


@dataclass(frozen=True)
class Moment:
    """Pictures of different cameras that were taken at one time."""

    name: str
    """What they have in common, e.g. "07" or "12.345 s"."""
    time: float | None
    """Stamp on the first camera's clock, seconds; None where there are none."""
    members: tuple[int | None, ...]
    """For each camera, (C,), the index of its picture; None where it has none."""


@dataclass(frozen=True)
class Timeline:
    """All moments, and how they were found."""

    moments: tuple[Moment, ...]
    synchronisation: Synchronisation
    warnings: tuple[str, ...] = ()
    """What the user should know, e.g. that stamps drift or that frame counts differ."""


@dataclass(frozen=True)
class RigSources:
    """The inputs of a rig calibration."""

    cameras: tuple[RigInput, ...]
    timeline: Timeline | None
    """None where the clocks of the cameras differ by an offset that only the board's motion can tell."""
    warnings: tuple[str, ...] = ()
