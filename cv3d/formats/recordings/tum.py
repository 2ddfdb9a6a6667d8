"""The TUM RGB-D benchmark's recordings (Sturm et al., "A benchmark for the evaluation of RGB-D SLAM", IROS 2012).

`rgb.txt` and `depth.txt` are lists of `stamp file`, seconds, files relative to the lists; `associations.txt` has a pair
of them on every line, in either order. Depth pictures are registered to the colour pictures, 5000 units a metre, 0
where nothing was measured. The lists' comments name the recording they are of, and so the camera: `freiburg1` to
`freiburg3`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cv3d.errors import FormatError
from cv3d.formats.recordings.text import read_text
from cv3d.formats.trajectories.number_table import data_lines, fields_of
from cv3d.geometry.cameras.camera import Camera

METRES_PER_UNIT = 1.0 / 5000.0
ASSOCIATED_WITHIN_S = 0.02
"""How far apart the benchmark's own tool takes two stamps for one moment's."""

_FREIBURG = re.compile(r"freiburg([123])")
_PUBLISHED = {
    "1": (517.3, 516.5, 318.6, 255.3, 0.2624, -0.9531, -0.0054, 0.0026, 1.1633),
    "2": (520.9, 521.0, 325.1, 249.7, 0.2312, -0.7849, -0.0033, -0.0001, 0.9172),
    "3": (535.4, 539.2, 320.1, 247.6),
}
"""fx fy cx cy and OpenCV's k1 k2 p1 p2 k3 of the colour cameras, from the benchmark's page; of the third, none."""
_SIZE = (640, 480)


@dataclass(frozen=True)
class StampedFile:
    """A line of a list."""

    time: float
    """Seconds."""
    file: Path


def read_list(path: Path) -> list[StampedFile]:
    """The lines of a list of pictures, in the order of the file.

    Raises:
        FormatError: a line is not a stamp and a file, or there is none.
        InputError: it cannot be read.
    """
    entries = []
    for number, line in data_lines(read_text(path)):
        fields = fields_of(line)
        if len(fields) < 2:
            raise FormatError(f"{path}:{number}: should hold a time stamp and a file")
        entries.append(StampedFile(_stamp(fields[0], path, number), path.parent / fields[1]))
    if not entries:
        raise FormatError(f"{path}: lists no pictures")
    return entries


def read_associations(path: Path) -> list[tuple[StampedFile, StampedFile]]:
    """The pairs of a list of associations, (colour, depth) each.

    Raises:
        FormatError: a line is not two stamps with a file each, one of them of depth.
        InputError: it cannot be read.
    """
    pairs = []
    for number, line in data_lines(read_text(path)):
        fields = fields_of(line)
        if len(fields) < 4:
            raise FormatError(f"{path}:{number}: should hold a stamp and a file of colour, then of depth")
        first = StampedFile(_stamp(fields[0], path, number), path.parent / fields[1])
        second = StampedFile(_stamp(fields[2], path, number), path.parent / fields[3])
        is_swapped = "depth" in fields[1].lower() and "depth" not in fields[3].lower()
        pairs.append((second, first) if is_swapped else (first, second))
    if not pairs:
        raise FormatError(f"{path}: lists no pictures")
    return pairs


def looks_like_associations(path: Path) -> bool:
    """Whether the first line of a file is a pair of stamped files."""
    lines = data_lines(read_text(path))
    fields = fields_of(lines[0][1]) if lines else []
    return len(fields) >= 4 and all(_is_number(field) for field in (fields[0], fields[2])) and not _is_number(fields[1])


def published_camera(lists: list[Path], width: int, height: int) -> tuple[Camera, str] | None:
    """The colour camera that the benchmark publishes for the recording that its lists name; None: they name none.

    Args:
        lists: files whose comments may name the recording.
        width: of the pictures, pixels.
        height: of the pictures, pixels.

    Returns:
        The camera and the recording's series, e.g. "freiburg1".
    """
    if (width, height) != _SIZE:
        return None
    for path in lists:
        comments = "\n".join(line for line in read_text(path).splitlines()[:5] if line.startswith("#"))
        found = _FREIBURG.search(comments) or _FREIBURG.search(str(path.resolve().parent))
        if found is not None:
            params = _PUBLISHED[found[1]]
            return Camera("brown5" if len(params) > 4 else "pinhole", width, height, params), found[0]
    return None


def _stamp(field: str, path: Path, number: int) -> float:
    try:
        return float(field)
    except ValueError:
        raise FormatError(f"{path}:{number}: '{field[:40]}' is not a time stamp") from None


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
