"""Lists of picture pairs with their true relative pose, in the format of SuperGlue's evaluation.

One line a pair, from its match_pairs.py: "name0 name1 turns0 turns1 K0 K1 cam1_from_cam0", K0 and K1 with 9 numbers and
the pose with 16, row by row. Axes are x right, y down, z forward. Names are relative to a folder of pictures. Pixel
origin: K is applied to keypoints as OpenCV gives them, so it is that of cv3d.

`turns` says by how many quarters counterclockwise a picture is to be turned before it is matched (as numpy.rot90 does);
K and the pose are those of the picture as stored. Lines with only "name0 name1", or with "turns0 turns1" after that,
have no truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.formats.fields import Fields
from cv3d.formats.poses import read_transform

_WITH_TRUTH = 2 + 2 + 9 + 9 + 16


@dataclass(frozen=True, eq=False)
class ListedPair:
    """One line of a list."""

    names: tuple[str, str]
    """Of both pictures, relative to the folder of pictures."""
    turns: tuple[int, int]
    """Quarter turns counterclockwise that set each picture upright, 0 to 3."""
    matrices: tuple[NDArray[np.float64], NDArray[np.float64]]
    """K, (3, 3), of both pictures as stored, pixels."""
    cam1_from_cam0: NDArray[np.float64]
    """(4, 4), of the pictures as stored; the unit is the list's own."""


def read_pair_list(path: str | Path) -> tuple[ListedPair, ...]:
    """The pairs of a list with truth.

    Raises:
        InputError: the file cannot be read.
        FormatError: a line is not a pair with its truth, or there is none.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: is no list of pairs: it is no text") from error
    pairs = tuple(
        _pair(line.split(), f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    )
    if not pairs:
        raise FormatError(f"{path}: holds no pair")
    return pairs


def _pair(words: list[str], where: str) -> ListedPair:
    if len(words) in (2, 4):
        raise FormatError(
            f"{where}: names two pictures but not their cameras and pose; a pair to evaluate has 38 words"
        )
    if len(words) != _WITH_TRUTH:
        raise FormatError(
            f"{where}: should be NAME0 NAME1 TURNS0 TURNS1, 9 + 9 numbers of K0 and K1 and 16 of the pose: "
            f"{_WITH_TRUTH} words, but has {len(words)}"
        )
    fields = Fields(
        {"turns": words[2:4], "K0": words[4:13], "K1": words[13:22], "cam1_from_cam0": words[22:]},
        where,
    )
    turns = fields.numbers("turns")
    if any(turn not in (0, 1, 2, 3) for turn in turns):
        fields.fail(f"pictures are turned by 0, 1, 2 or 3 quarters, not by {words[2]} and {words[3]}")
    pose = read_transform(fields, "cam1_from_cam0", fields.numbers("cam1_from_cam0"))
    return ListedPair(
        (words[0], words[1]),
        (int(turns[0]), int(turns[1])),
        (_matrix(fields, "K0"), _matrix(fields, "K1")),
        pose,
    )


def _matrix(fields: Fields, key: str) -> NDArray[np.float64]:
    matrix = np.array(fields.numbers(key)).reshape(3, 3)
    is_camera = min(matrix[0, 0], matrix[1, 1]) > 0.0 and not matrix[[0, 1, 2, 2], [1, 0, 0, 1]].any()
    if not is_camera or matrix[2, 2] != 1.0:
        fields.fail(f"{key} is not a calibration matrix fx 0 cx, 0 fy cy, 0 0 1")
    return matrix
