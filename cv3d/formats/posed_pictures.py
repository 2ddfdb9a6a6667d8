"""Folders of pictures with a known camera and pose each, whatever dataset or tool they are from.

Known are the multi-view sets of Strecha et al. 2008 (a `.camera` file for every picture) and transforms.json of
nerfstudio and instant-ngp.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.cameras.camera import Camera


@dataclass(frozen=True, eq=False)
class PosedPicture:
    """One picture whose camera and pose are known."""

    name: str
    """As its set calls it."""
    file: Path
    camera: Camera
    cam_from_world: NDArray[np.float64]
    """(4, 4), in the set's own unit of length."""


@dataclass(frozen=True, eq=False)
class PosedPictures:
    """What a folder holds."""

    kind: str
    """"strecha" or "transforms.json"."""
    pictures: tuple[PosedPicture, ...]
    """Those that are there, in the set's order."""
    missing: tuple[str, ...]
    """Names of pictures that have a pose but no file."""


def has_posed_pictures(folder: Path) -> bool:
    """Whether a folder holds poses of a kind that :func:`read_posed_pictures` knows."""
    from cv3d.formats import nerfstudio_frames, strecha

    return strecha.is_set(folder) or nerfstudio_frames.is_set(folder)


def read_posed_pictures(folder: Path) -> PosedPictures:
    """The pictures of a folder with their cameras and poses.

    Raises:
        InputError: no known kind of poses is there, or none of the pictures.
        FormatError: a file of poses holds something else.
    """
    from cv3d.formats import nerfstudio_frames, strecha

    if strecha.is_set(folder):
        posed = PosedPictures("strecha", *_split(strecha.read_set(folder)))
    elif nerfstudio_frames.is_set(folder):
        posed = PosedPictures("transforms.json", *_split(nerfstudio_frames.read_set(folder)))
    else:
        raise InputError(f"{folder}: holds no poses that cv3d knows: NAME.camera files or a transforms.json")
    if not posed.pictures:
        raise InputError(f"{folder}: none of its {len(posed.missing)} posed pictures is there, e.g. {posed.missing[0]}")
    return posed


def _split(listed: list[PosedPicture]) -> tuple[tuple[PosedPicture, ...], tuple[str, ...]]:
    there = tuple(one for one in listed if one.file.is_file())
    return there, tuple(one.name for one in listed if not one.file.is_file())
