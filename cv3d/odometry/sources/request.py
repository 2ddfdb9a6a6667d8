"""What is asked of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cv3d.errors import InputError, UsageError
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import Rig
from cv3d.odometry.results import Sensor

ASSUMED_FPS = 30.0


@dataclass(frozen=True, eq=False)
class Request:
    """How a recording is to be read, as far as the user said it."""

    camera: Camera | Rig | Path | None = None
    """The calibration, in place of the recording's own."""
    sensor: Sensor | None = None
    """None: the best that there is, RGB-D before stereo before mono."""
    depth_scale: float | None = None
    """Metres per stored unit of depth, in place of what the layout says."""
    fps: float | None = None
    """Of pictures that bring no time stamps."""


def stereo_or_mono(request: Request, is_placed: bool, name: str) -> tuple[Sensor, tuple[str, ...]]:
    """Stereo where it is known how the cameras stand to each other, else mono, and what to note.

    Raises:
        InputError: stereo is asked for, and it is not known.
    """
    if is_placed:
        return Sensor.STEREO, ()
    reason = "nothing says in metres how its two cameras stand to each other; name a rig with --camera"
    if request.sensor is Sensor.STEREO:
        raise InputError(f"{name}: {reason}")
    return Sensor.MONO, (f"read as mono: {reason}",)


def choose_sensor(request: Request, offered: tuple[Sensor, ...], name: str) -> Sensor:
    """What a recording is read as.

    Raises:
        UsageError: what is asked for is not there.
    """
    if request.sensor is None:
        return next(sensor for sensor in (Sensor.RGBD, Sensor.STEREO, Sensor.MONO) if sensor in offered)
    if request.sensor not in offered:
        missing = {Sensor.RGBD: "depth pictures", Sensor.STEREO: "pictures of a right camera"}[request.sensor]
        option = {Sensor.RGBD: "--depth", Sensor.STEREO: "--stereo"}[request.sensor]
        raise UsageError(f"{name}: has no {missing}; name them with {option}, or read it as {offered[0]}")
    return request.sensor
