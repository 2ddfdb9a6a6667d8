"""`cv3d.diff`: the library function behind the command of the same name."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.board_text import parse_length
from cv3d.calibration.camera_difference import CameraDifference
from cv3d.calibration.differencing import compare_cameras
from cv3d.compute import torch_threads
from cv3d.errors import InputError
from cv3d.formats.cv3d_camera import SCHEMA
from cv3d.formats.reading import read_camera
from cv3d.geometry.cameras.camera import Camera

_OWN_FILE = "camera.json"


@dataclass(frozen=True, eq=False)
class StatedCamera:
    """A camera, and what its file says about how well it is known."""

    camera: Camera
    covariance: NDArray[np.float64] | None
    """Of its parameters, (P, P); None where the file does not state it, or the data did not determine it."""


def diff(
    a: str | Path | Camera,
    b: str | Path | Camera,
    *,
    where: Sequence[float] | None = None,
    radius_px: float | None = None,
    distance: str | float | None = None,
) -> CameraDifference:
    """Compare two calibrations of one camera over the image, the implied rotation taken out.

    Args:
        a: a camera file of any format, a folder that `cv3d calibrate` wrote, or a camera.
        b: likewise.
        where: the rotation is fitted around this place, x and y in pixels of A; None: over the whole image.
        radius_px: so far around.
        distance: of the points compared, as "2m" or in metres; None: infinity.

    Returns:
        The difference; see :func:`compare_cameras`.

    Raises:
        InputError: a file cannot be read, or the cameras' pictures differ in shape.
        UsageError: an option cannot be understood.
        EstimationError: the cameras have nothing in common.
    """
    first, second = read_stated(a), read_stated(b)
    away = parse_length(distance) if isinstance(distance, str) else distance
    try:
        with torch_threads(1):
            return compare_cameras(
                first.camera,
                second.camera,
                covariance_a=first.covariance,
                covariance_b=second.covariance,
                where=where,
                radius_px=radius_px,
                distance_m=math.inf if away is None else away,
            )
    except InputError as error:
        files = " and ".join(str(source) for source in (a, b) if not isinstance(source, Camera))
        raise InputError(f"{files}: {error}" if files else str(error)) from error


def read_stated(source: str | Path | Camera) -> StatedCamera:
    """A camera with the covariance that its file states; cv3d's own files do.

    Raises:
        InputError: it cannot be read.
    """
    if isinstance(source, Camera):
        return StatedCamera(source, None)
    camera = read_camera(source)
    file = Path(source)
    if file.is_dir():
        file = file / _OWN_FILE
    if file.suffix.lower() != ".json" or not file.is_file():
        return StatedCamera(camera, None)
    content = json.loads(file.read_text(encoding="utf-8-sig"))
    if content.get("schema") != SCHEMA or content.get("covariance") is None:
        return StatedCamera(camera, None)
    size = len(camera.params)
    # JSON has no NaN: what the data did not determine is null.
    covariance = np.array(content["covariance"], dtype=np.float64)
    usable = covariance.shape == (size, size) and bool(np.isfinite(covariance).all())
    return StatedCamera(camera, covariance if usable else None)
