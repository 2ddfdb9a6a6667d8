"""Saying a camera in a format that does not know its model: the closest model that the format does know."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from cv3d.errors import FormatError
from cv3d.formats import CameraFormat
from cv3d.geometry.cameras import get_model
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.fit import fit_model, starting_params

_STAND_INS = ("brown4", "brown5", "brown8", "kannala_brandt4")
_GRID = (40, 30)
_WORST_PX = 2.0
"""A stand-in that is off by more than this anywhere in the image is not written."""


@dataclass(frozen=True)
class WrittenCamera:
    """The text of a camera file, and how true it is."""

    text: str
    model: str
    """The model that the file holds."""
    rms_px: float
    """RMS difference of the two cameras' projections over the image, pixels; 0 where the file holds the camera
    itself."""
    max_px: float
    """Largest difference, pixels."""


def write_camera(camera: Camera, camera_format: CameraFormat) -> WrittenCamera:
    """The camera in a format; exactly where the format knows its model, else as the closest model that it knows.

    Args:
        camera: the camera.
        camera_format: one of `cv3d.formats.CAMERA_FORMATS`.

    Returns:
        The text with its fit error over the image.

    Raises:
        FormatError: no model that the format knows comes near this camera.
    """
    try:
        return WrittenCamera(camera_format.dumps(camera), camera.model, 0.0, 0.0)
    except FormatError as refusal:
        written = [w for name in _STAND_INS if (w := _stand_in(camera, camera_format, name)) is not None]
        close = [w for w in written if w.max_px <= _WORST_PX]
        if close:
            return min(close, key=lambda w: w.rms_px)
        nearest = (
            f"; the nearest stand-in, {min(written, key=lambda w: w.rms_px).model}, is too far off" if written else ""
        )
        raise FormatError(f"{refusal}{nearest}") from refusal


def _stand_in(camera: Camera, camera_format: CameraFormat, name: str) -> WrittenCamera | None:
    """The camera refitted as model `name`; None where the format does not know that either."""
    x = torch.linspace(0, camera.width - 1, _GRID[0], dtype=torch.float64)
    y = torch.linspace(0, camera.height - 1, _GRID[1], dtype=torch.float64)
    pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
    params = torch.tensor(camera.params, dtype=torch.float64)
    pixels = pixels[camera.lens.valid_pixels(params, pixels)]
    rays = camera.lens.unproject(params, pixels)
    model = get_model(name)
    if name != "kannala_brandt4" and bool((rays[:, 2] < 0.1).any()):
        return None
    fit = fit_model(model, rays, pixels, starting_params(model, params[:2], params[2:4]), max_iterations=100)
    if not bool(torch.isfinite(fit.params).all()) or not bool(model.valid_points(fit.params, rays).all()):
        return None
    stand_in = replace(camera, model=name, params=tuple(fit.params.tolist()))
    try:
        text = camera_format.dumps(stand_in)
    except FormatError:
        return None
    return WrittenCamera(text, name, float(torch.sqrt((fit.errors**2).mean())), float(fit.errors.max()))
