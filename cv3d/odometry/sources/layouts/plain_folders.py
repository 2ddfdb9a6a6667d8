"""Where a folder of no known tool has its pictures, by the names that people give."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cv3d.errors import InputError
from cv3d.media.inputs import PICTURE_SUFFIXES
from cv3d.media.sequences.depth_files import DEPTH_SUFFIXES
from cv3d.odometry.sources.finding import depths_in, pictures_in

# fmt: off
_COLOR = frozenset([
    "rgb", "rgbs", "color", "colour", "colors", "colours", "image", "images", "imgs", "img", "frames", "gray", "grey",
])
_LEFT = frozenset(["left", "l", "cam0", "image_0", "image_l"])
_RIGHT = frozenset(["right", "r", "cam1", "image_1", "image_r"])
_DEPTH = frozenset(["depth", "depths", "depthmap", "depthmaps"])
_NOT_PICTURES = frozenset([
    "confidence", "conf", "mask", "masks", "normal", "normals", "semantic", "semantics", "seg", "label", "labels",
])
# fmt: on
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class PlainFolders:
    """The pictures of a folder."""

    pictures: tuple[Path, ...]
    """Of the only, the left or the colour camera, in order."""
    right: tuple[Path, ...] = ()
    depth: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    """Where they were found, for a note."""


def find_folders(folder: Path) -> PlainFolders | None:
    """The pictures below a folder; None where it has none under a usual name.

    Raises:
        InputError: several folders could be meant.
    """
    below = _below(folder)
    depth = depth_folder(folder)
    depths = () if depth is None else tuple(depths_in(depth))
    named = () if depth is None else (depth.name,)
    left, right = _the_one(folder, below, _LEFT, pictures_in), _the_one(folder, below, _RIGHT, pictures_in)
    if left is not None and right is not None:
        names = (left.name, right.name, *named)
        return PlainFolders(tuple(pictures_in(left)), tuple(pictures_in(right)), depths, names)
    color = _the_one(folder, below, _COLOR, pictures_in) or left
    if color is not None:
        return PlainFolders(tuple(pictures_in(color)), (), depths, (color.name, *named))
    own = tuple(pictures_in(folder))
    if own and depths:
        return PlainFolders(own, (), depths, ("its own pictures", *named))
    return _by_names(folder)


def depth_folder(folder: Path) -> Path | None:
    """The folder of depth pictures below a folder; None where it has none under a usual name.

    Raises:
        InputError: several folders could be meant.
    """
    return _the_one(folder, _below(folder), _DEPTH, depths_in)


def _below(folder: Path) -> dict[str, Path]:
    return {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}


def _the_one(
    folder: Path, below: Mapping[str, Path], names: frozenset[str], files: Callable[[Path], list[Path]]
) -> Path | None:
    """The folder whose name is one of `names`, else that which has one of them as a word, if there is any."""
    exact = [path for name, path in below.items() if name in names and files(path)]
    candidates = exact or [path for name, path in below.items() if _has_word(name, names) and files(path)]
    if len(candidates) > 1:
        seen = ", ".join(f"{path.name} ({len(files(path))} pictures)" for path in candidates)
        raise InputError(f"{folder}: several of its folders could be meant: {seen}; name the one, e.g. {candidates[0]}")
    return candidates[0] if candidates else None


def _has_word(name: str, names: frozenset[str]) -> bool:
    words = set(_WORD.findall(name))
    others = (_DEPTH | _LEFT | _RIGHT | _NOT_PICTURES) - names
    return bool(words & names) and not words & others


def _by_names(folder: Path) -> PlainFolders | None:
    """Pictures of several cameras in one folder, told apart by a word in their names."""
    own = pictures_in(folder, PICTURE_SUFFIXES | DEPTH_SUFFIXES)
    kinds = {path: set(_WORD.findall(path.stem.lower())) for path in own}
    depths = tuple(path for path in own if kinds[path] & _DEPTH)
    rights = tuple(path for path in own if "right" in kinds[path])
    lefts = tuple(path for path in own if "left" in kinds[path])
    others = tuple(path for path in pictures_in(folder) if path not in {*depths, *rights, *lefts})
    if lefts and rights:
        return PlainFolders(lefts, rights, depths, ("left and right in its pictures' names",))
    if depths and others:
        return PlainFolders(others, (), depths, ("depth in its pictures' names",))
    return None
