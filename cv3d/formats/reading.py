"""Camera files of any format, recognised by what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cv3d.errors import FormatError, InputError
from cv3d.formats import FORMATS
from cv3d.formats.camera_file import CameraFile, ReadOptions, StandIn, check_plausible, the_one
from cv3d.formats.content import Content
from cv3d.formats.poses import relative_to_first
from cv3d.formats.recognition import recognise
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

_FOLDER_FILES = (
    "rig.json",
    "camera.json",
    "cameras.bin",
    "cameras.txt",
    "camchain.yaml",
    "transforms.json",
    "camera_opencv.yaml",
    "camera_opencv.xml",
    "camera_info.yaml",
    "calibration_basalt.json",
    "intrinsics.yml",
)
_FOLDER_SETS = (
    "*.cameramodel",
    "cam*/sensor.yaml",
    "mav0/cam*/sensor.yaml",
    "sensor.yaml",
    "*/sensor.yaml",
    "*_camera_info.yaml",
    "*_transforms.json",
    "*_opencv.yaml",
    "*_opencv.xml",
)
"""Files of one camera each, which may stand alone; those that `cv3d convert` writes where a format has it so."""


def read_cameras(path: str | Path, options: ReadOptions | None = None) -> Rig:
    """Every camera of a file or folder, in any format that cv3d knows.

    Args:
        path: a camera file; or a folder: one that `cv3d calibrate` wrote, COLMAP's with a cameras.txt or cameras.bin,
            EuRoC's with cam0/sensor.yaml, one of mrcal's .cameramodel files. `#` and a camera's name, or its number
            from 0, choose one of several: `rig.json#left`, `camchain.yaml#0`.
        options: the pictures' size, for files that do not say it, and how far off a foreign model may be read.

    Returns:
        The cameras, with their relative poses where the file has them.

    Raises:
        InputError: there is no such file, or it is not a camera file, or it lacks something.
    """
    return read_camera_file(path, options).rig


def read_camera(path: str | Path, options: ReadOptions | None = None) -> Camera:
    """The one camera of a file, or of several the one that is named as in `rig.json#left`.

    Raises:
        InputError: as of :func:`read_cameras`, or there are several cameras and none is named.
    """
    return the_one(read_cameras(path, options), str(path))


def read_camera_file(path: str | Path, options: ReadOptions | None = None) -> CameraFile:
    """As :func:`read_cameras`, with the format that it was in and how true stand-ins for foreign models are."""
    options = options or ReadOptions()
    file, chosen = _split(path)
    files = _in_folder(file)
    read = _read_one(files[0], options) if len(files) == 1 else _read_set(files, file, options)
    return read if chosen is None else _only(read, chosen, file)


def _read_one(path: Path, options: ReadOptions) -> CameraFile:
    content = Content.of_file(path)
    name = recognise(content)
    if name == "caliscope":
        from cv3d.formats import caliscope

        cameras = caliscope.decode(content, options)
        check_plausible(cameras.rig, content.source)
        return cameras
    read = FORMATS[name].decode(content, options)
    if len(read.rig.cameras) == 1 and name != "cv3d":
        # A pose relative to a frame that no other camera shares says nothing.
        one = read.rig.cameras[0]
        return CameraFile(Rig((RigCamera(one.name, one.camera),), read.rig.is_metric), read.format, read.stand_ins)
    return read


def _read_set(files: Sequence[Path], folder: Path, options: ReadOptions) -> CameraFile:
    """Files of one camera each, whose poses share a frame."""
    names = [_camera_name(file) for file in files]
    cameras: list[RigCamera] = []
    stand_ins: dict[str, StandIn] = {}
    formats = set()
    for name, file in zip(names, files, strict=True):
        content = Content.of_file(file)
        format_name = recognise(content)
        read = FORMATS[format_name].decode(content, options) if format_name in FORMATS else None
        if read is None or len(read.rig.cameras) != 1:
            raise FormatError(f"{file}: is not a file of one camera as the others in {folder}")
        formats.add(read.format)
        one = read.rig.cameras[0]
        cameras.append(RigCamera(name, one.camera, one.cam_from_cam0))
        for stand_in in read.stand_ins.values():
            stand_ins[name] = stand_in
    if len(formats) > 1:
        raise FormatError(f"{folder}: its camera files are of several formats: {', '.join(sorted(formats))}")
    return CameraFile(_related(cameras), formats.pop(), stand_ins)


def _camera_name(file: Path) -> str:
    """What a file of one camera calls it by its place: the folder of a sensor.yaml, else its own name."""
    if file.name == "sensor.yaml":
        return file.parent.name
    for pattern in _FOLDER_SETS:
        if pattern.startswith("*_") and file.name.endswith(pattern[1:]):
            return file.name.removesuffix(pattern[1:])
    return file.stem


def _related(cameras: list[RigCamera]) -> Rig:
    """The cameras relative to the first; without poses, where one is missing or all are one, as files without have."""
    poses = [one.cam_from_cam0 for one in cameras if one.cam_from_cam0 is not None]
    if len(poses) < len(cameras) or all((pose == poses[0]).all() for pose in poses):
        return Rig(tuple(RigCamera(one.name, one.camera) for one in cameras))
    relative = relative_to_first(poses)
    return Rig(tuple(RigCamera(one.name, one.camera, pose) for one, pose in zip(cameras, relative, strict=True)))


def _split(path: str | Path) -> tuple[Path, str | None]:
    """The file, and the name after the last `#`; a file whose own name holds a `#` is taken as it is."""
    if Path(path).exists() or "#" not in str(path):
        return Path(path), None
    file, _, name = str(path).rpartition("#")
    return Path(file), name


def _in_folder(path: Path) -> list[Path]:
    """The file itself, or what there is in a folder."""
    if not path.is_dir():
        return [path]
    for name in _FOLDER_FILES:
        if (path / name).is_file():
            return [path / name]
    for pattern in _FOLDER_SETS:
        if found := sorted(path.glob(pattern)):
            return found
    raise InputError(
        f"{path}: holds no camera file under a usual name, such as camera.json, rig.json, camchain.yaml or "
        "cameras.txt; name the file itself"
    )


def _only(read: CameraFile, chosen: str, path: Path) -> CameraFile:
    """The one camera of that name, or else of that number."""
    cameras = {str(index): one for index, one in enumerate(read.rig.cameras)}
    cameras |= {one.name: one for one in read.rig.cameras}
    if chosen not in cameras:
        known = ", ".join(one.name for one in read.rig.cameras)
        raise InputError(f"{path}: has no camera '{chosen}'; it has {known}")
    one = cameras[chosen]
    stand_ins = {name: stand_in for name, stand_in in read.stand_ins.items() if name == one.name}
    return CameraFile(Rig((RigCamera(one.name, one.camera),), read.rig.is_metric), read.format, stand_ins)
