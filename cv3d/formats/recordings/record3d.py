"""Record3D's export "EXR + JPG sequence" (record3d.app): rgb/0.jpg, depth/0.exr, metadata.json.

metadata.json: `K` column by column for pictures of `w` by `h`; `fps`; `poses`, a list of qx qy qz qw x y z for every
frame: world_from_cam for a camera whose axes are x right, y up, z backward (OpenGL); `frameTimestamps` perhaps,
seconds. Depth is float, metres, of the same camera at `dw` by `dh`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cv3d.errors import FormatError
from cv3d.formats.content import Content
from cv3d.formats.fields import Fields
from cv3d.formats.trajectories.trajectory_file import rigid
from cv3d.geometry.cameras.camera import Camera

FILE = "metadata.json"
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Record3dMetadata:
    """What metadata.json holds."""

    camera: Camera
    fps: float | None
    """Frames per second; None where it is not said."""
    times: Floats | None
    """(n,) stamps of the frames, seconds; None where they are not said."""
    world_from_cam: Floats | None
    """(n, 4, 4), metres; None where they are not said."""


def is_recording(folder: Path) -> bool:
    """Whether a folder has a metadata.json of this kind."""
    path = folder / FILE
    if not path.is_file():
        return False
    whole = Content.of_file(path).json
    return isinstance(whole, dict) and "K" in whole and ("poses" in whole or "w" in whole)


def read_metadata(folder: Path) -> Record3dMetadata:
    """The camera, times and poses of a recording.

    Raises:
        FormatError: a field is missing or not what it should be.
    """
    path = folder / FILE
    whole = Content.of_file(path).json
    if not isinstance(whole, dict):
        raise FormatError(f"{path}: not readable as JSON")
    fields = Fields(whole, str(path))
    matrix = np.reshape(fields.numbers("K", 9), (3, 3)).T
    params = matrix[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
    camera = fields.camera("pinhole", fields.integer("w"), fields.integer("h"), params)
    times = np.array(fields.numbers("frameTimestamps")) if "frameTimestamps" in fields else None
    fps = fields.number("fps") if "fps" in fields else None
    return Record3dMetadata(camera, fps, times, _poses(fields) if "poses" in fields else None)


def _poses(fields: Fields) -> Floats:
    numbers = np.array(fields.numbers("poses"))
    if not numbers.size or numbers.size % 7:
        fields.fail("field 'poses' should hold seven numbers for every frame: qx qy qz qw x y z")
    rows = numbers.reshape(-1, 7)
    if (np.abs(np.linalg.norm(rows[:, :4], axis=1) - 1.0) > 5e-3).any():
        fields.fail("field 'poses' holds a quaternion that is not of unit length")
    poses: Floats = rigid(Rotation.from_quat(rows[:, :4]).as_matrix(), rows[:, 4:]) @ _OPENGL
    return poses
