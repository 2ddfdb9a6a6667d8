"""A live camera as a recording."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from cv3d.errors import InputError, UsageError
from cv3d.geometry.cameras import Camera
from cv3d.media.sequences.live import frames_of_camera, open_camera
from cv3d.odometry.results import Sensor
from cv3d.odometry.sources.calibration import fitted, read_calibration
from cv3d.odometry.sources.request import Request, choose_sensor
from cv3d.odometry.sources.sequence import Sequence

PREFIX = "camera:"


def open_live(source: str, request: Request) -> Sequence:
    """The camera that `camera:0` or `camera:/dev/video0` names; it is opened once to see whether it is there.

    Raises:
        UsageError: no camera is named, or more is asked of it than pictures.
        InputError: it cannot be opened, or gives no picture.
    """
    named = source.removeprefix(PREFIX)
    if not named:
        raise UsageError("a live camera is named by its number or path: camera:0 or camera:/dev/video0")
    device: int | str = int(named) if named.isdecimal() else named
    sensor = choose_sensor(request, (Sensor.MONO,), source)
    capture = open_camera(device)
    is_read, picture = capture.read()
    capture.release()
    if not is_read or picture is None:
        raise InputError(f"{source}: gives no picture")
    size = (picture.shape[1], picture.shape[0])
    camera: Camera | None = None
    notes: tuple[str, ...] = ("a live camera: frames that come while the last is worked on are passed over",)
    files: tuple[Path, ...] = ()
    if request.camera is None:
        notes += ("no calibration; name one with --camera, or the focal length is estimated",)
    else:
        found = read_calibration(request.camera, size)
        camera, said = fitted(found.camera, size, "the calibration")
        notes, files = notes + found.notes + said, found.files
    return Sequence(
        name=source,
        kind="live",
        sensors=(Sensor.MONO,),
        sensor=sensor,
        camera=camera,
        is_live=True,
        notes=notes,
        inputs=files,
        _produce=partial(frames_of_camera, device),
    )
