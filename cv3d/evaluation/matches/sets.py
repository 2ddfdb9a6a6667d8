"""From files with truth to the pairs that matchers are evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from cv3d.errors import InputError
from cv3d.evaluation.matches.pairs import HomographyTruth, PairView, PoseTruth, TruePair
from cv3d.formats.homography_sets import PlanarPair, is_homography_set, read_homography_set
from cv3d.formats.pair_lists import ListedPair, read_pair_list
from cv3d.formats.posed_pictures import has_posed_pictures, read_posed_pictures
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.media.inputs import PICTURE_SUFFIXES
from cv3d.media.picture import Picture
from cv3d.progress import SILENT, Progress


def pairs_of_list(path: str | Path, images: str | Path | None = None) -> tuple[TruePair, ...]:
    """The pairs of a list in SuperGlue's format.

    Args:
        path: the list.
        images: the folder that its names are relative to; None: the list's own.

    Raises:
        InputError: the list cannot be read, or none of its pictures is there.
        FormatError: it is no such list.
    """
    listed = read_pair_list(path)
    folder = Path(path).parent if images is None else Path(images)
    pairs = tuple(_listed_pair(one, folder) for one in listed)
    if not any(view.picture.source.is_file() for pair in pairs for view in (pair.first, pair.second)):
        raise InputError(f"{path}: none of its pictures is in {folder}, e.g. {listed[0].names[0]}; --images says where")
    return pairs


def pairs_of_folder(folder: str | Path, progress: Progress = SILENT) -> tuple[TruePair, ...]:
    """The pairs of a folder with truth, whose kind is recognised by its content.

    Homographies (HPatches, Oxford) give the pairs that they name; cameras with poses (Strecha's `.camera` files, a
    transforms.json) all pairs of their pictures.

    Args:
        folder: one set, or a folder of sequences with homographies.
        progress: is told of pictures that are missing.

    Raises:
        InputError: the folder is missing or holds no truth of a known kind, or fewer than two pictures.
        FormatError: a file of the truth holds something else.
    """
    path = Path(folder)
    if not path.is_dir():
        reason = "is no folder; a list of pairs goes with --pairs" if path.exists() else "no such folder"
        raise InputError(f"{folder}: {reason}")
    if is_homography_set(path):
        return tuple(_planar_pair(one, path) for one in read_homography_set(path, PICTURE_SUFFIXES))
    if not has_posed_pictures(path):
        raise InputError(
            f"{folder}: holds no ground truth that cv3d knows: homographies (H_1_2 or H1to2p), NAME.camera files "
            "or a transforms.json"
        )
    posed = read_posed_pictures(path)
    if posed.missing:
        progress.warn(f"{folder}: {len(posed.missing)} posed pictures are not there, e.g. {posed.missing[0]}")
    if len(posed.pictures) < 2:
        raise InputError(f"{folder}: holds one posed picture; a pair takes two")
    return tuple(
        TruePair(
            f"{one.name} {other.name}",
            PairView(Picture(one.name, one.file), camera=one.camera),
            PairView(Picture(other.name, other.file), camera=other.camera),
            PoseTruth(other.cam_from_world @ inverse_rigid(one.cam_from_world)),
        )
        for one, other in combinations(posed.pictures, 2)
    )


def _listed_pair(listed: ListedPair, folder: Path) -> TruePair:
    first, second = (
        PairView(Picture(name, folder / name), turns=turns, matrix=matrix)
        for name, turns, matrix in zip(listed.names, listed.turns, listed.matrices, strict=True)
    )
    return TruePair(" ".join(listed.names), first, second, PoseTruth(listed.cam1_from_cam0))


def _planar_pair(planar: PlanarPair, folder: Path) -> TruePair:
    names = [file.relative_to(folder).as_posix() for file in planar.files]
    first, second = (PairView(Picture(name, file)) for name, file in zip(names, planar.files, strict=True))
    return TruePair(" ".join(names), first, second, HomographyTruth(planar.homography))


def is_about_poses(pairs: Sequence[TruePair]) -> bool:
    """Whether the truth of the pairs is of poses, not of homographies.

    Raises:
        InputError: there are no pairs, or of both kinds, whose figures cannot be put together.
    """
    kinds = {isinstance(pair.truth, PoseTruth) for pair in pairs}
    if len(kinds) != 1:
        reason = "there are no pairs" if not kinds else "some pairs have true poses and some homographies"
        raise InputError(f"{reason}: one evaluation takes pairs of one kind")
    return kinds.pop()
