"""7-Scenes' recordings (Shotton et al., "Scene coordinate regression forests", CVPR 2013).

A folder of `frame-000012.color.png`, `.depth.png` and `.pose.txt`. Depth is in millimetres, 65535 where nothing was
measured, and not registered to the colours to the pixel. Kinect's frame rate is 30 Hz; there are no time stamps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cv3d.errors import FormatError, InputError
from cv3d.formats.recordings.text import read_text
from cv3d.geometry.cameras.camera import Camera

FPS = 30.0
METRES_PER_UNIT = 0.001
NOTHING = 65535.0
INTRINSICS_FILE = "camera-intrinsics.txt"

_COLOR = re.compile(r"^(?P<stem>.*?(?P<number>\d+))\.color\.(png|jpg|jpeg|bmp)$", re.IGNORECASE)
_PUBLISHED = (585.0, 585.0, 320.0, 240.0)
"""fx fy cx cy of the depth camera, from the set's page."""
_SIZE = (640, 480)
INFO_FILES = ("info.txt", "_info.txt")
_INFO = re.compile(r"m_calibrationColorIntrinsic\s*=\s*([-+0-9.eE \t]+)")


@dataclass(frozen=True)
class SceneFrame:
    """The files of one frame."""

    number: int
    color: Path
    depth: Path | None
    pose: Path | None


def frames_of(folder: Path) -> list[SceneFrame]:
    """The frames of a folder in order; none where it is of another kind.

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error
    frames = []
    for name in names:
        found = _COLOR.match(name)
        if found is None:
            continue
        depth = next(
            (
                f"{found['stem']}.depth{end}"
                for end in (".png", ".tiff", ".npy", ".exr")
                if f"{found['stem']}.depth{end}" in names
            ),
            None,
        )
        pose = f"{found['stem']}.pose.txt"
        frames.append(
            SceneFrame(
                int(found["number"]),
                folder / name,
                None if depth is None else folder / depth,
                folder / pose if pose in names else None,
            )
        )
    return sorted(frames, key=lambda frame: (frame.number, frame.color.name))


def published_camera(width: int, height: int) -> Camera | None:
    """The camera that the set's page gives, in proportion; None for pictures that are not like the set's."""
    if 3 * width != 4 * height or width > _SIZE[0]:
        return None
    published = Camera("pinhole", *_SIZE, _PUBLISHED)
    return published if width == _SIZE[0] else published.scaled(width / _SIZE[0])


def info_camera(folder: Path, width: int, height: int) -> tuple[Camera, Path] | None:
    """The colour camera of the `info.txt` that BundleFusion's recordings of this layout have; None: there is none.

    Raises:
        FormatError: the file holds no such camera.
        InputError: it cannot be read.
    """
    path = next((folder / name for name in INFO_FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    found = _INFO.search(read_text(path))
    numbers = [float(field) for field in found[1].split()] if found is not None else []
    if len(numbers) != 16:
        raise FormatError(f"{path}: holds no m_calibrationColorIntrinsic of 16 numbers")
    return Camera("pinhole", width, height, (numbers[0], numbers[5], numbers[2], numbers[6])), path
