"""Folders of pictures of one plane with their true homographies: HPatches and the Oxford affine covariant regions.

HPatches (Balntas et al. 2017) has the pictures 1.ppm to 6.ppm and the text files H_1_2 to H_1_6; Oxford (Mikolajczyk et
al. 2005) img1.ppm to img6.ppm and H1to2p to H1to6p. Both hold nine numbers, H row by row with x_k ~ H x_1, and pixel
(0, 0) is the centre of the top-left pixel. Pictures may be of any kind (Oxford has PGM too, and conversions are about).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.formats.fields import Fields

_NAMES = re.compile(r"H(?:_(\d+)_(\d+)|(\d+)to(\d+)p?)(?:\.txt)?")
_PICTURE_NAMES = ("{}", "img{}")
_SINGULAR = 1e-12


@dataclass(frozen=True, eq=False)
class PlanarPair:
    """Two pictures of a plane."""

    files: tuple[Path, Path]
    """Of both pictures."""
    homography: NDArray[np.float64]
    """H with x1 ~ H x0 in pixels, (3, 3)."""


def is_homography_set(folder: Path) -> bool:
    """Whether a folder holds homographies by their names, itself or in sub-folders of one level."""
    return bool(_sequences(folder))


def read_homography_set(folder: Path, picture_suffixes: frozenset[str]) -> tuple[PlanarPair, ...]:
    """The pairs of a folder, or of all its sub-folders that hold homographies.

    Args:
        folder: one sequence, or a folder of sequences.
        picture_suffixes: in lower case, of the files that count as pictures.

    Raises:
        InputError: there are no homographies, or a picture that one names is missing.
        FormatError: a file of a homography holds something else.
    """
    sequences = _sequences(folder)
    if not sequences:
        raise InputError(f"{folder}: holds no homographies by name (H_1_2 or H1to2p), itself or in its sub-folders")
    return tuple(pair for one in sequences for pair in _read_sequence(one, picture_suffixes))


def _sequences(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
        if _homographies(entries):
            return [folder]
        return [entry for entry in entries if entry.is_dir() and _homographies(entry.iterdir())]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error


def _homographies(entries: Iterable[Path]) -> dict[tuple[int, int], Path]:
    found: dict[tuple[int, int], Path] = {}
    for path in entries:
        match = _NAMES.fullmatch(path.name)
        if match is not None and path.is_file():
            first, second = (number for number in match.groups() if number is not None)
            found[int(first), int(second)] = path
    return found


def _read_sequence(folder: Path, picture_suffixes: frozenset[str]) -> list[PlanarPair]:
    entries = list(folder.iterdir())
    pictures = {path.stem: path for path in sorted(entries) if path.suffix.lower() in picture_suffixes}
    pairs = []
    for numbers, path in sorted(_homographies(entries).items()):
        first, second = (_picture(pictures, number, path) for number in numbers)
        pairs.append(PlanarPair((first, second), _read_homography(path)))
    return pairs


def _picture(pictures: dict[str, Path], number: int, homography: Path) -> Path:
    for pattern in _PICTURE_NAMES:
        if pattern.format(number) in pictures:
            return pictures[pattern.format(number)]
    wanted = " or ".join(f"{pattern.format(number)}.ppm" for pattern in _PICTURE_NAMES)
    raise InputError(f"{homography}: the picture that it names is missing: {wanted} (or another kind of picture)")


def _read_homography(path: Path) -> NDArray[np.float64]:
    try:
        words = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: is no homography: {error}") from error
    matrix = np.array(Fields({"H": words}, str(path)).numbers("H", 9)).reshape(3, 3)
    # Compared in a unit of a thousand pixels, where all entries are of one order.
    scale = np.diag([1e3, 1e3, 1.0])
    scaled = np.linalg.inv(scale) @ matrix @ scale
    if abs(float(np.linalg.det(scaled))) <= _SINGULAR * max(float(np.abs(scaled).max()) ** 3, 1e-300):
        raise FormatError(f"{path}: is no homography: the matrix is singular")
    return matrix
