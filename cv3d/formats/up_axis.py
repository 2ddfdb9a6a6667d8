"""Which axis of cv3d's world is up."""

from __future__ import annotations

from enum import StrEnum


class Up(StrEnum):
    """The direction of cv3d's world that shall be up in formats whose y axis is: glTF and USD."""

    MINUS_Y = "-y"
    """As in a camera's axes, whose y points down: right for worlds that are the first camera's frame."""
    PLUS_Z = "z"
    """As in surveys, robotics and most recordings with a motion-capture system."""
    PLUS_Y = "y"
    """As in those formats themselves."""
