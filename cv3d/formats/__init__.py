"""The files that other tools read and write. The only place that knows their conventions.

Nothing is imported until a format is used: this package is also on the way to `cv3d --help`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from cv3d.formats.camera_file import CameraFile, ReadOptions
    from cv3d.formats.content import Content
    from cv3d.geometry.cameras.camera import Camera
    from cv3d.geometry.cameras.rig import Rig

__all__ = ["CAMERA_FORMATS", "FORMATS", "CameraFormat"]


class FormatModule(Protocol):
    """What the module of a format has."""

    MODELS: tuple[str, ...]
    """The models that it says exactly, simpler ones first; `*` stands for a family's sizes."""

    def encode(self, rig: Rig) -> bytes:
        """The file of a rig whose models are all among `MODELS`."""
        ...

    def decode(self, content: Content, options: ReadOptions) -> CameraFile:
        """The cameras of a file."""
        ...


@dataclass(frozen=True)
class CameraFormat:
    """A file format for cameras."""

    name: str
    """Its name in options."""
    title: str
    """How a person calls it."""
    file_name: str
    """The usual name of such a file."""
    module: str
    """The module that reads and writes it."""
    max_cameras: int | None = 1
    """How many cameras go into one file; None: any number."""
    member_name: str = ""
    """Name of one camera's file among several, where a file holds one: `{name}` is the camera's."""
    has_poses: bool = False
    """Whether it says how cameras stand to each other."""
    is_binary: bool = False
    """Whether the file is no text."""

    @property
    def models(self) -> tuple[str, ...]:
        """The models that it says exactly, simpler ones first; `*` stands for a family's sizes."""
        return self.load().MODELS

    def says(self, model: str) -> bool:
        """Whether it knows a camera model."""
        return any(fnmatchcase(model, known) for known in self.models)

    def encode(self, rig: Rig) -> bytes:
        """The file of cameras.

        Raises:
            FormatError: the format does not know one of the models, or holds fewer cameras in a file.
        """
        from cv3d.errors import FormatError

        for one in rig.cameras:
            if not self.says(one.camera.model):
                known = ", ".join(self.models)
                raise FormatError(f"{self.title} has no camera model for '{one.camera.model}'; it can say {known}")
        if self.max_cameras is not None and len(rig.cameras) > self.max_cameras:
            raise FormatError(f"a file of {self.title} holds {self.max_cameras}, not {len(rig.cameras)} cameras")
        return self.load().encode(rig)

    def decode(self, content: Content, options: ReadOptions) -> CameraFile:
        """The cameras of a file.

        Raises:
            FormatError: it is not what the format prescribes, or contradicts itself, or holds a camera that cv3d has
                no model for.
        """
        from cv3d.formats.camera_file import check_plausible

        cameras = self.load().decode(content, options)
        if self.name != "cv3d":
            check_plausible(cameras.rig, content.source)
        return cameras

    def dumps(self, camera: Camera) -> str:
        """The text of a file of one camera.

        Raises:
            FormatError: the format cannot say this camera's model.
        """
        from cv3d.geometry.cameras.rig import Rig, RigCamera

        return self.encode(Rig((RigCamera("camera", camera),))).decode("utf-8")

    def loads(self, text: str, source: str = "") -> Camera:
        """The camera that a text describes; `source` is how messages call it, usually the file's path.

        Raises:
            FormatError: as of :meth:`decode`, or there are several cameras.
        """
        from cv3d.formats.camera_file import ReadOptions, the_one
        from cv3d.formats.content import Content

        return the_one(self.decode(Content(text.encode("utf-8"), source), ReadOptions()).rig, source)

    def load(self) -> FormatModule:
        """The module."""
        return cast(FormatModule, import_module(f"cv3d.formats.{self.module}"))


FORMATS: dict[str, CameraFormat] = {
    one.name: one
    for one in (
        CameraFormat("cv3d", "cv3d", "camera.json", "cv3d_file", max_cameras=None, has_poses=True),
        CameraFormat(
            "opencv",
            "OpenCV",
            "camera_opencv.yaml",
            "opencv_yaml",
            max_cameras=2,
            member_name="{name}_opencv.yaml",
            has_poses=True,
        ),
        CameraFormat(
            "opencv-xml",
            "OpenCV XML",
            "camera_opencv.xml",
            "opencv_xml",
            max_cameras=2,
            member_name="{name}_opencv.xml",
            has_poses=True,
        ),
        CameraFormat(
            "ros", "ROS camera_info", "camera_info.yaml", "ros_camera_info", member_name="{name}_camera_info.yaml"
        ),
        CameraFormat("kalibr", "Kalibr camchain", "camchain.yaml", "kalibr", max_cameras=None, has_poses=True),
        CameraFormat("colmap", "COLMAP cameras.txt", "cameras.txt", "colmap", max_cameras=None, has_poses=True),
        CameraFormat(
            "colmap-bin",
            "COLMAP cameras.bin",
            "cameras.bin",
            "colmap_binary",
            max_cameras=None,
            has_poses=True,
            is_binary=True,
        ),
        CameraFormat(
            "mrcal",
            "mrcal cameramodel",
            "camera.cameramodel",
            "mrcal",
            member_name="{name}.cameramodel",
            has_poses=True,
        ),
        CameraFormat(
            "nerfstudio",
            "nerfstudio transforms.json",
            "transforms.json",
            "nerfstudio",
            member_name="{name}_transforms.json",
        ),
        CameraFormat("basalt", "Basalt", "calibration_basalt.json", "basalt", max_cameras=None, has_poses=True),
        CameraFormat(
            "euroc", "EuRoC sensor.yaml", "sensor.yaml", "euroc", member_name="{name}/sensor.yaml", has_poses=True
        ),
    )
}
"""Every format that cv3d reads and writes, by its name in options."""

CAMERA_FORMATS: dict[str, CameraFormat] = {
    name: FORMATS[name] for name in ("cv3d", "opencv", "ros", "kalibr", "colmap")
}
"""Those that `cv3d calibrate` leaves beside its result."""
