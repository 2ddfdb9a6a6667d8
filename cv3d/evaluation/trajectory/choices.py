"""The choices of a comparison. Nothing heavy is imported here: the command line shows them in its help."""

from __future__ import annotations

from enum import StrEnum


class Alignment(StrEnum):
    """What is taken out before the errors are measured."""

    NONE = "none"
    """Nothing."""
    SE3 = "se3"
    """The rigid motion that brings the positions closest."""
    SIM3 = "sim3"
    """The same with a scale: for estimates from one camera, which have none of their own."""
    SCALE = "scale"
    """The scale of SIM3 alone, about the origin of the estimate."""
    ORIGIN = "origin"
    """The rigid motion that brings the first pose onto that of the reference."""


class DeltaUnit(StrEnum):
    """What the distance of two poses is counted in."""

    FRAMES = "frames"
    SECONDS = "seconds"
    METRES = "metres"
    """Along the path."""
    DEGREES = "degrees"
    """Of turning."""


class PairsFrom(StrEnum):
    """Which of the trajectories says how far apart two poses are."""

    ESTIMATE = "estimate"
    REFERENCE = "reference"
