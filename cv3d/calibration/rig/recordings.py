"""What each camera of a rig recorded, found from what the user typed."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cv3d.calibration.rig.names import split_cameras
from cv3d.errors import InputError, PictureError
from cv3d.media.inputs import (
    PICTURE_SUFFIXES,
    VIDEO_SUFFIXES,
    Pictures,
    Video,
    find_pictures,
    natural_key,
)
from cv3d.media.picture import Picture

_PICTURE_FOLDERS = frozenset(["data", "image", "images", "img", "imgs", "frame", "frames", "pictures", "rgb", "gray"])
"""Names of folders that hold a camera's pictures and say nothing about which camera it is."""
_LEAST_NAMED = 3
"""Copies told one by one in a message."""
_BLANK_LEVELS = 1.0
"""Standard deviation, grey levels, of a picture that shows nothing."""


@dataclass(frozen=True)
class Recording:
    """What one camera recorded, before anything of it is decoded."""

    name: str
    """Short and distinct, e.g. "left"."""
    folder: Path
    """Where it lies."""
    pictures: tuple[Picture, ...]
    """Picture files, in natural order; empty for a video."""
    video: Video | None = None


@dataclass(frozen=True)
class _Unnamed:
    """A recording, and what it may be called, the most particular first."""

    candidates: tuple[str, ...]
    folder: Path
    pictures: tuple[Picture, ...]
    video: Video | None


def find_recordings(inputs: Sequence[str | Path]) -> tuple[Recording, ...]:
    """Find the cameras of a rig.

    Each input is one camera: a folder, a glob or a video. Where all inputs are picture files, they are dealt to cameras
    by their names; one input alone may be a folder or glob that holds a sub-folder or a video per camera.

    Args:
        inputs: paths and globs.

    Raises:
        InputError: an input does not exist or holds nothing usable, there is one camera only, or two cameras have
            recorded the same.
    """
    given = [str(item) for item in inputs]
    if not given:
        raise InputError("no input given: name a folder, a glob or a video for each camera of the rig")
    pictures = [item for item in given if _is_file_of(item, PICTURE_SUFFIXES)]
    if len(pictures) == len(given):
        found = _dealt(find_pictures(given))
    elif pictures:
        raise InputError(
            f"{pictures[0]}: a single picture among other inputs of a rig; name each camera by its folder, by a quoted "
            "glob or by its video"
        )
    elif len(given) == 1:
        found = _within(given[0])
    else:
        found = [_one_camera(item) for item in given]
    if len(found) < 2:
        raise InputError(
            f"{given[0]}: holds the pictures of one camera only; a rig needs two or more: name a folder, a quoted glob "
            "or a video for each camera"
        )
    recordings = _named(found)
    _check_distinct(recordings)
    return recordings


def _is_file_of(given: str, suffixes: frozenset[str]) -> bool:
    path = Path(given).expanduser()
    return path.suffix.lower() in suffixes and path.is_file()


def _one_camera(given: str) -> _Unnamed:
    """The camera that one input of several names."""
    path = Path(given).expanduser()
    if path.is_dir():
        return _folder_camera(path)
    return _camera(given, find_pictures(given), path)


def _folder_camera(folder: Path) -> _Unnamed:
    inner = _picture_folder(folder)
    return _camera(str(folder), find_pictures(folder if inner is None else inner), folder)


def _camera(given: str, found: Pictures, path: Path) -> _Unnamed:
    if found.pictures and found.videos:
        raise InputError(f"{given}: holds pictures and videos; name one kind for this camera")
    if len(found.videos) > 1:
        names = ", ".join(video.name for video in found.videos[:4])
        raise InputError(f"{given}: holds {len(found.videos)} videos ({names}); name one for this camera")
    first = found.pictures[0].source if found.pictures else found.videos[0].source
    folder = path if path.is_dir() else first.parent
    return _Unnamed(_candidates(path), folder, found.pictures, found.videos[0] if found.videos else None)


def _candidates(path: Path) -> tuple[str, ...]:
    """What a recording may be called: the name of its file or folder, then of those around it."""
    parts = [part for part in path.parts if part not in ("/", ".", "..")] or [path.resolve().name]
    if not path.is_dir():
        parts[-1] = Path(parts[-1]).stem
    plain = [re.sub(r"\[[^\]]*\]|[*?]", "", part).strip("_-. #") for part in reversed(parts)]
    telling = [part for part in plain if part and part.casefold() not in _PICTURE_FOLDERS]
    return tuple(telling) or tuple(part for part in plain if part)


def _within(given: str) -> list[_Unnamed]:
    """The cameras that a single input holds."""
    path = Path(given).expanduser()
    if path.is_dir():
        return _within_folder(path, given)
    if not path.exists() and glob.has_magic(given):
        matches = [Path(match) for match in glob.glob(str(path))]  # noqa: PTH207 - Path.glob wants a root
        folders = [match for match in matches if match.is_dir() and _picture_folder(match) is not None]
        if len(folders) > 1:
            return [_folder_camera(folder) for folder in sorted(folders, key=lambda p: natural_key(str(p)))]
    found = find_pictures(given)
    return _dealt(found) if found.pictures else [_video_camera(video) for video in found.videos]


def _within_folder(folder: Path, given: str) -> list[_Unnamed]:
    entries = _visible(folder)
    if any(entry.suffix.lower() in PICTURE_SUFFIXES for entry in entries if entry.is_file()):
        return _dealt(find_pictures(folder))
    if any(entry.suffix.lower() in VIDEO_SUFFIXES for entry in entries if entry.is_file()):
        return [_video_camera(video) for video in find_pictures(folder).videos]
    below = [entry for entry in entries if entry.is_dir()]
    cameras = [entry for entry in below if _picture_folder(entry) is not None]
    if len(cameras) > 1:
        return [_folder_camera(entry) for entry in sorted(cameras, key=lambda p: natural_key(p.name))]
    if len(cameras) == 1 or len(below) == 1:
        return _within_folder((cameras or below)[0], given)
    raise InputError(
        f"{given}: holds no pictures and no videos, nor sub-folders that do; name a folder, a quoted glob or a video "
        "for each camera"
    )


def _video_camera(video: Video) -> _Unnamed:
    return _Unnamed(_candidates(video.source), video.source.parent, (), video)


def _picture_folder(folder: Path) -> Path | None:
    """Where the pictures or the video of a camera's folder lie: in itself or in its only telling sub-folder."""
    entries = _visible(folder)
    if any(_is_media(entry) for entry in entries):
        return folder
    inner = [
        entry
        for entry in entries
        if entry.is_dir() and entry.name.casefold() in _PICTURE_FOLDERS and any(map(_is_media, _visible(entry)))
    ]
    return inner[0] if len(inner) == 1 else None


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES and path.is_file()


def _visible(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error


def _dealt(found: Pictures) -> list[_Unnamed]:
    """Pictures of several cameras dealt to them, by folder or else by name."""
    folders: dict[Path, list[Picture]] = {}
    for picture in found.pictures:
        folders.setdefault(picture.source.parent, []).append(picture)
    if len(folders) > 1:
        return [_Unnamed(_candidates(folder), folder, _sorted(members), None) for folder, members in folders.items()]
    pictures = found.pictures
    groups = split_cameras([picture.source.stem for picture in pictures])
    if groups is None:
        example = ", ".join(picture.name for picture in pictures[:3])
        raise InputError(
            f"{example}, …: their names do not tell which camera took which picture; a rig needs two or more cameras: "
            "name a folder, a quoted glob or a video for each"
        )
    folder = pictures[0].source.parent
    return [
        _Unnamed((name,), folder, _sorted([pictures[index] for index in members]), None)
        for name, members in groups.items()
    ]


def _sorted(pictures: Sequence[Picture]) -> tuple[Picture, ...]:
    return tuple(sorted(pictures, key=lambda picture: natural_key(picture.name)))


def _named(found: Sequence[_Unnamed]) -> tuple[Recording, ...]:
    """Give each recording the shortest name that no other has."""
    names = _distinct_names([item.candidates for item in found])
    recordings = []
    for name, item in zip(names, found, strict=True):
        recordings.append(Recording(name, item.folder, item.pictures, item.video))
    return _with_distinct_pictures(recordings)


def _distinct_names(candidates: Sequence[tuple[str, ...]]) -> list[str]:
    deepest = max((len(item) for item in candidates), default=0)
    for depth in range(deepest):
        names = [item[min(depth, len(item) - 1)] if item else "" for item in candidates]
        if all(names) and _are_distinct(names):
            return names
    for depth in range(2, deepest + 1):
        names = ["/".join(reversed(item[:depth])) for item in candidates]
        if all(names) and _are_distinct(names):
            return names
    return [f"cam{index}" for index in range(len(candidates))]


def _are_distinct(names: Sequence[str]) -> bool:
    return len({name.casefold() for name in names}) == len(names)


def _with_distinct_pictures(recordings: Sequence[Recording]) -> tuple[Recording, ...]:
    """Put the camera's name before the names of pictures that several cameras use."""
    seen: set[str] = set()
    shared: set[str] = set()
    for recording in recordings:
        own = {item.name for item in _files(recording)}
        shared |= own & seen
        seen |= own
    result = []
    for recording in recordings:
        pictures, video = recording.pictures, recording.video
        if any(item.name in shared for item in pictures):
            pictures = tuple(replace(item, name=f"{recording.name}/{item.name}") for item in pictures)
        if video is not None and video.name in shared:
            video = replace(video, name=f"{recording.name}/{video.name}")
        result.append(replace(recording, pictures=pictures, video=video))
    return tuple(result)


def _check_distinct(recordings: Sequence[Recording]) -> None:
    """No file, and no content, may belong to two cameras.

    Raises:
        InputError: one does.
    """
    holders: dict[Path, str] = {}
    by_size: dict[int, list[tuple[int, Picture]]] = {}
    for index, recording in enumerate(recordings):
        for picture in _files(recording):
            path = picture.source.resolve()
            if path in holders:
                raise InputError(
                    f"{picture.source}: given twice, for the cameras {holders[path]} and {recording.name}; name other "
                    "files for one of them"
                )
            holders[path] = recording.name
            try:
                by_size.setdefault(path.stat().st_size, []).append((index, picture))
            except OSError as error:
                raise InputError(f"{picture.source}: cannot be read: {error.strerror}") from error
    copies = []
    for size, files in by_size.items():
        if size and len({index for index, _ in files}) > 1:
            copies += _copies(files)
    if copies:
        shown = "; ".join(f"{first.source} and {second.source}" for first, second in copies[:_LEAST_NAMED])
        more = f" and {len(copies) - _LEAST_NAMED} more" if len(copies) > _LEAST_NAMED else ""
        raise InputError(
            f"two cameras have recorded the very same: {shown}{more}; one camera's folder holds another's pictures"
        )


def _files(recording: Recording) -> Iterable[Picture]:
    if recording.video is not None:
        return (Picture(recording.video.name, recording.video.source),)
    return recording.pictures


def _copies(files: Sequence[tuple[int, Picture]]) -> list[tuple[Picture, Picture]]:
    """Pairs of files of different cameras with one content."""
    first: dict[str, tuple[int, Picture]] = {}
    pairs = []
    for index, picture in files:
        digest = picture.digest()
        if digest not in first:
            first[digest] = (index, picture)
        elif first[digest][0] != index and not _is_blank(picture):
            pairs.append((first[digest][1], picture))
    return pairs


def _is_blank(picture: Picture) -> bool:
    """Whether a picture shows nothing: two cameras may well have recorded the same nothing."""
    if picture.source.suffix.lower() in VIDEO_SUFFIXES:
        return False
    try:
        gray = picture.read_gray().array
    except PictureError:
        return True
    return float(gray.std()) < _BLANK_LEVELS
