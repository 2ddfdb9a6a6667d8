"""What is asked of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cv3d.errors import UsageError
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
