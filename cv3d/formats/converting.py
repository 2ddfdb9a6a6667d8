"""Camera files from one format to another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from cv3d.compute import torch_threads
from cv3d.errors import OutputError, UsageError
from cv3d.formats import FORMATS
from cv3d.formats.atomic import atomic_write_bytes
from cv3d.formats.camera_file import WORST_PX, CameraFile, ReadOptions
from cv3d.formats.reading import read_camera_file
from cv3d.formats.writing import WrittenCameras, write_cameras

CONVERT_SCHEMA = "cv3d.convert/1"


@dataclass(frozen=True)
class ConvertedCamera:
    """One camera before and after."""

    name: str
    """Its name in the input."""
    model_in: str
    """The model in the input; its own tool's name where cv3d has no such model."""
    model_out: str
    """The model in the output."""
    rms_px: float
    """RMS difference of the two cameras' projections over the image, pixels; 0 where they are one and the same."""
    max_px: float
    """Largest difference, pixels."""
    share: float
    """The share of the image that the differences were judged on."""


@dataclass(frozen=True, eq=False)
class Conversion:
    """What a conversion read and wrote."""

    source: str
    """The input."""
    format_in: str
    """Its format."""
    format: str
    """The format written."""
    cameras: tuple[ConvertedCamera, ...]
    """Every camera."""
    content: WrittenCameras
    """What was written, or is to be."""
    files: tuple[Path, ...]
    """The files written, none where no output was named."""

    @property
    def rms_px(self) -> float:
        """The largest RMS difference of any camera, pixels."""
        return max(camera.rms_px for camera in self.cameras)

    @property
    def max_px(self) -> float:
        """The largest difference of any camera, pixels."""
        return max(camera.max_px for camera in self.cameras)

    def as_dict(self) -> dict[str, object]:
        """The result as `--json` prints it."""
        models_in, models_out = {c.model_in for c in self.cameras}, {c.model_out for c in self.cameras}
        return {
            "schema": CONVERT_SCHEMA,
            "input": self.source,
            "format_in": self.format_in,
            "format": self.format,
            "model_in": models_in.pop() if len(models_in) == 1 else "several",
            "model_out": models_out.pop() if len(models_out) == 1 else "several",
            "rms_px": self.rms_px,
            "max_px": self.max_px,
            "cameras": self.cameras,
            "notes": self.content.losses,
            "files": self.files,
        }


def convert(
    source: str | Path,
    to: str,
    output: str | Path | None = None,
    *,
    camera: str | None = None,
    size: tuple[int, int] | None = None,
    allow_error_px: float = WORST_PX,
    within: float = 1.0,
    overwrite: bool = False,
) -> Conversion:
    """Write the cameras of a file in another format.

    A model that the target does not know is written as the closest that it knows, fitted over the part of the image in
    which the camera is valid; the differences are in the result.

    Args:
        source: a camera file or folder, see :func:`cv3d.formats.reading.read_cameras`.
        to: name of the target format, a key of `cv3d.formats.FORMATS`.
        output: a file, or a folder, which it is when it exists as one, has no ending, or takes a file for each camera.
            None: nothing is written, and the content is in the result only.
        camera: name or number of the one camera to convert.
        size: width and height of the pictures, pixels, for files that do not say it.
        allow_error_px: how far a camera in the output may be off anywhere in the image, pixels.
        within: the middle part of width and height that counts for a stand-in, 0 to 1.
        overwrite: replace files that exist.

    Raises:
        UsageError: there is no such format, or a number makes no sense.
        InputError: the input cannot be read.
        FormatError: the target cannot say the cameras.
        OutputError: a file exists, or cannot be written.
    """
    if to not in FORMATS:
        raise UsageError(f"unknown format '{to}'; known are {', '.join(FORMATS)}")
    if not (0.0 < within <= 1.0 and 0.0 <= allow_error_px < math.inf):
        raise UsageError("the part of the image is above 0 and at most 1, and the error allowed not negative")
    path = source if camera is None else f"{source}#{camera}"
    with torch_threads(1):
        read = read_camera_file(path, ReadOptions(size, allow_error_px))
        lost = max((one.max_px for one in read.stand_ins.values()), default=0.0)
        content = write_cameras(read.rig, FORMATS[to], allow_error_px - lost, within)
    if output is not None and content.is_single:
        _check_ending(Path(output), to)
    targets = () if output is None else _targets(Path(output), str(output).endswith("/"), content)
    for target in targets:
        if target.exists() and not overwrite:
            raise OutputError(f"{target}: exists; --overwrite replaces it")
    for target, data in zip(targets, content.files.values(), strict=False):
        atomic_write_bytes(target, data)
    return Conversion(str(source), read.format, to, _compared(read, content), content, targets)


def _check_ending(output: Path, to: str) -> None:
    """See that a file's name does not promise another format.

    Raises:
        UsageError: it does.
    """
    own = _kind_of_ending(FORMATS[to].file_name)
    kind = _kind_of_ending(output.name)
    if kind is None or kind == own or output.is_dir():
        return
    others = ", ".join(name for name, one in FORMATS.items() if _kind_of_ending(one.file_name) == kind)
    raise UsageError(f"{output}: ends like a file of {others}, but --to {to} writes {FORMATS[to].file_name}")


def _kind_of_ending(name: str) -> str | None:
    """The ending of a file's name, if it is one of the formats'."""
    ending = {".yml": ".yaml"}.get(Path(name).suffix.lower(), Path(name).suffix.lower())
    return ending if any(Path(one.file_name).suffix == ending for one in FORMATS.values()) else None


def _targets(output: Path, is_folder: bool, content: WrittenCameras) -> tuple[Path, ...]:
    """Where each file goes."""
    names = list(content.files)
    if not content.is_single:
        if output.is_file() or (not output.is_dir() and not is_folder and _kind_of_ending(output.name)):
            raise OutputError(
                f"{output}: would be one file, but {len(names)} are to be written, one for each camera: name a folder"
            )
        return tuple(output / name for name in names)
    if output.is_dir() or is_folder or (not output.suffix and not output.is_file()):
        return tuple(output / name for name in names)
    return (output, *(output.parent / name for name in names[1:]))


def _compared(read: CameraFile, content: WrittenCameras) -> tuple[ConvertedCamera, ...]:
    """Reading and writing may each have taken a stand-in; the sum of their errors bounds the whole."""
    compared = []
    for one, said in zip(read.rig.cameras, content.cameras, strict=True):
        before = read.stand_ins.get(one.name)
        compared.append(
            ConvertedCamera(
                one.name,
                one.camera.model if before is None else before.original,
                said.camera.model,
                said.rms_px + (0.0 if before is None else before.rms_px),
                said.max_px + (0.0 if before is None else before.max_px),
                said.share,
            )
        )
    return tuple(compared)
