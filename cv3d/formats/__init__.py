"""The files that other tools read and write. The only place that knows their conventions.

Nothing is imported until a format is used: this package is also on the way to `cv3d --help`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from cv3d.geometry.cameras.camera import Camera

__all__ = ["CAMERA_FORMATS", "CameraFormat"]


class _CameraModule(Protocol):
    def dumps(self, camera: Camera) -> str: ...

    def loads(self, text: str, source: str = "") -> Camera: ...


@dataclass(frozen=True)
class CameraFormat:
    """A text format for one camera."""

    title: str
    """How a person calls it."""
    file_name: str
    """The usual name of such a file."""
    module: str
    """The module with its `dumps` and `loads`."""

    def dumps(self, camera: Camera) -> str:
        """The file's text.

        Raises:
            FormatError: the format cannot say this camera's model.
        """
        return self._load().dumps(camera)

    def loads(self, text: str, source: str = "") -> Camera:
        """The camera that a text describes; `source` is how messages call it, usually the file's path.

        Raises:
            FormatError: it is not what the format prescribes, or a camera that cv3d has no model for.
        """
        return self._load().loads(text, source)

    def _load(self) -> _CameraModule:
        return cast(_CameraModule, import_module(self.module))


CAMERA_FORMATS: dict[str, CameraFormat] = {
    "cv3d": CameraFormat("cv3d", "camera.json", "cv3d.formats.cv3d_camera"),
    "opencv": CameraFormat("OpenCV", "camera_opencv.yaml", "cv3d.formats.opencv_yaml"),
    "ros": CameraFormat("ROS camera_info", "camera_info.yaml", "cv3d.formats.ros_camera_info"),
    "kalibr": CameraFormat("Kalibr camchain", "camchain.yaml", "cv3d.formats.kalibr"),
    "colmap": CameraFormat("COLMAP cameras.txt", "cameras.txt", "cv3d.formats.colmap"),
}
"""Every camera format by its name in options."""
