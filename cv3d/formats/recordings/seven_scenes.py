"""7-Scenes' recordings (Shotton et al., "Scene coordinate regression forests", CVPR 2013).

A folder of `frame-000012.color.png`, `.depth.png` and `.pose.txt`. Depth is in millimetres, 65535 where nothing was
measured, and not registered to the colours to the pixel. Kinect's frame rate is 30 Hz; there are no time stamps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cv3d.geometry.cameras.camera import Camera

FPS = 30.0
METRES_PER_UNIT = 0.001
NOTHING = 65535.0
INTRINSICS_FILE = "camera-intrinsics.txt"

_COLOR = re.compile(r"^(?P<stem>.*?(?P<number>\d+))\.color\.(png|jpg|jpeg|bmp)$", re.IGNORECASE)
_PUBLISHED = (585.0, 585.0, 320.0, 240.0)
"""fx fy cx cy of the depth camera at 640x480, from the set's page."""


@dataclass(frozen=True)
class SceneFrame:
    """The files of one frame."""

    number: int
    color: Path
    depth: Path | None
    pose: Path | None


def frames_of(folder: Path) -> list[SceneFrame]:
    """The frames of a folder in order; none where it is of another kind."""
    names = {path.name for path in folder.iterdir()}
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


def published_camera(width: int, height: int) -> Camera:
    """The camera that the set's page gives, for pictures of another size in proportion."""
    return (
        Camera("pinhole", 640, 480, _PUBLISHED)
        if width == 640
        else (Camera("pinhole", 640, 480, _PUBLISHED).scaled(width / 640.0))
    )
