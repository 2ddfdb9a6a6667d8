"""From what the user typed (folders, globs, files, videos) to an ordered list of pictures and videos."""

from __future__ import annotations

import difflib
import glob
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

from cv3d.errors import InputError
from cv3d.media.picture import Picture

PICTURE_SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".heic", ".heif"]
)
VIDEO_SUFFIXES = frozenset([".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm"])

_KNOWN = "pictures: jpg png bmp tif webp pgm ppm heic; videos: mp4 mov m4v avi mkv webm"


@dataclass(frozen=True)
class Video:
    """A reference to a video file; nothing has been decoded yet."""

    name: str
    """Relative to its input, e.g. "clip.mp4"."""
    source: Path
    """The file."""


@dataclass(frozen=True)
class Pictures(Sequence[Picture]):
    """What the inputs hold. As a sequence: its pictures."""

    pictures: tuple[Picture, ...]
    """Picture files, in the order of the inputs, naturally sorted within each."""
    videos: tuple[Video, ...]
    """Video files, in the same order."""

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Picture, ...]: ...
    def __getitem__(self, index: int | slice) -> Picture | tuple[Picture, ...]:
        return self.pictures[index]

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(frozen=True)
class _Found:
    """One file of one input."""

    name: str
    path: Path
    input_label: str
    """Distinguishes equal names of different inputs."""


def find_pictures(inputs: str | Path | Sequence[str | Path]) -> Pictures:
    """Find the pictures and videos that the inputs name.

    An input is a folder (its own pictures; its videos where it has no picture), a glob (``**`` descends), a picture or
    a video. Hidden files are passed over, and so is everything else in a folder. A file named twice counts once.

    Args:
        inputs: a path or glob, or several.

    Raises:
        InputError: an input does not exist, is neither, or holds nothing usable; the message names it.
    """
    if isinstance(inputs, str | Path):
        inputs = [inputs]
    if not inputs:
        raise InputError("no input given: name a folder, a glob, pictures or a video")
    found = [item for given in inputs for item in _expand(str(given))]
    by_path = {item.path.resolve(): item for item in reversed(found)}
    kept = [item for item in found if by_path[item.path.resolve()] is item]
    kept = _with_distinct_names(kept)
    pictures = tuple(Picture(item.name, item.path) for item in kept if item.path.suffix.lower() in PICTURE_SUFFIXES)
    videos = tuple(Video(item.name, item.path) for item in kept if item.path.suffix.lower() in VIDEO_SUFFIXES)
    return Pictures(pictures, videos)


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which "img2" comes before "img10"."""
    parts = re.split(r"(\d+)", name.casefold())
    return (*((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part), (-1, 0, name))


def _expand(given: str) -> list[_Found]:
    path = Path(given).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.exists():
        if path.suffix.lower() not in PICTURE_SUFFIXES | VIDEO_SUFFIXES:
            raise InputError(f"{given}: neither a picture nor a video by its name ({_KNOWN})")
        return [_Found(path.name, path, _label(path.parent))]
    if glob.has_magic(given):
        return _matching(str(path), given)
    raise InputError(f"{given}: no such file or folder{_did_you_mean(path)}")


def _in_folder(folder: Path) -> list[_Found]:
    try:
        files = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error
    chosen = _of_kind(files, PICTURE_SUFFIXES) or _of_kind(files, VIDEO_SUFFIXES)
    if chosen:
        return [_Found(path.name, path, _label(folder)) for path in sorted(chosen, key=lambda p: natural_key(p.name))]
    below = _sub_folders_with_pictures(files)
    if below:
        names = ", ".join(f"{name} ({count})" for name, count in below[:5]) + (", …" if len(below) > 5 else "")
        first = folder / below[0][0]
        raise InputError(
            f"{folder}: no pictures in this folder itself, but in its sub-folders {names}; "
            f"name those you mean, e.g. {first}"
        )
    raise InputError(f"{folder}: no pictures and no videos in this folder ({_KNOWN})")


def _matching(pattern: str, given: str) -> list[_Found]:
    matches = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - Path.glob wants a root
    visible = [path for path in matches if not path.name.startswith(".")]
    chosen = _of_kind(visible, PICTURE_SUFFIXES | VIDEO_SUFFIXES)
    if chosen:
        root = _fixed_part(pattern)
        named = [(path.relative_to(root).as_posix(), path) for path in chosen]
        return [_Found(name, path, _label(root)) for name, path in sorted(named, key=lambda item: natural_key(item[0]))]
    folders = sorted((path for path in visible if path.is_dir()), key=lambda p: natural_key(str(p)))
    if folders and "**" not in pattern:
        return [item for folder in folders for item in _in_folder(folder)]
    if not matches:
        raise InputError(f"{given}: nothing matches this pattern")
    raise InputError(f"{given}: matches {len(matches)} files, but no picture or video among them ({_KNOWN})")


def _fixed_part(pattern: str) -> Path:
    """The folder that every match of a glob lies in."""
    parts: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _of_kind(paths: Sequence[Path], suffixes: frozenset[str]) -> list[Path]:
    return [path for path in paths if path.suffix.lower() in suffixes and path.is_file()]


def _sub_folders_with_pictures(entries: Sequence[Path]) -> list[tuple[str, int]]:
    counted = [(entry.name, sum(1 for _ in _visible_media(entry))) for entry in entries if entry.is_dir()]
    return sorted(((name, count) for name, count in counted if count), key=lambda item: natural_key(item[0]))


def _visible_media(folder: Path) -> Iterator[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    for path in entries:
        if not path.name.startswith(".") and path.suffix.lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES:
            yield path


def _label(folder: Path) -> str:
    return folder.resolve().name


def _with_distinct_names(found: list[_Found]) -> list[_Found]:
    """Put the input's folder before names that occur in several inputs, or the whole path where that is not enough."""
    for rename in (lambda item: f"{item.input_label}/{item.name}", lambda item: item.path.as_posix()):
        counts = Counter(item.name for item in found)
        found = [replace(item, name=rename(item)) if counts[item.name] > 1 else item for item in found]
    return found


def _did_you_mean(path: Path) -> str:
    """The nearest existing name beside the one that is missing."""
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        path, parent = parent, parent.parent
    try:
        names = [entry.name for entry in parent.iterdir()]
    except OSError:
        return ""
    by_folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(path.name.casefold(), list(by_folded), n=1, cutoff=0.7)
    return f"; did you mean {parent / by_folded[close[0]]}?" if close else ""
