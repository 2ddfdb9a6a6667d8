"""Names and intrinsics that the user gives for the cameras of a rig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cv3d.errors import UsageError
from cv3d.formats.reading import read_cameras
from cv3d.geometry.cameras.camera import Camera

CameraSource = Camera | str | Path
"""A camera, or a file of one in any format that cv3d reads."""
Intrinsics = CameraSource | Sequence[CameraSource | None] | Mapping[str, CameraSource]
"""One file of all cameras, or one source for each camera in their order (None: estimated), or by camera name."""


def camera_names(found: Sequence[str], names: Sequence[str] | None) -> tuple[str, ...]:
    """How the cameras are called.

    Args:
        found: after their inputs.
        names: by the user; None: as found.

    Raises:
        UsageError: the names are not as many as the cameras, or not distinct, or one is empty.
    """
    if names is None:
        return tuple(found)
    chosen = tuple(name.strip() for name in names)
    if len(chosen) != len(found):
        raise UsageError(f"{len(chosen)} names for {len(found)} cameras: {', '.join(chosen)} for {', '.join(found)}")
    if "" in chosen or len(set(chosen)) < len(chosen):
        raise UsageError(f"the cameras' names have to be distinct and not empty, not '{', '.join(chosen)}'")
    return chosen


def parse_intrinsics(texts: Sequence[str]) -> Intrinsics | None:
    """Intrinsics from the command line: files, or NAME=FILE for some of the cameras.

    Raises:
        UsageError: both kinds are mixed, or a name is there twice.
    """
    named: dict[str, CameraSource] = {}
    plain: list[str] = []
    for text in texts:
        name, equals, file = text.partition("=")
        # A file may have an equals sign in its own name.
        if not equals or Path(text).exists():
            plain.append(text)
        elif not name or not file:
            raise UsageError(f"--intrinsics '{text}': write FILE or NAME=FILE")
        elif name in named:
            raise UsageError(f"--intrinsics: camera {name} is given twice")
        else:
            named[name] = file
    if named and plain:
        raise UsageError(f"--intrinsics '{plain[0]}': write NAME=FILE for all files or for none")
    return named or plain or None


def given_cameras(intrinsics: Intrinsics | None, names: Sequence[str]) -> tuple[Camera | None, ...]:
    """The camera given for each camera of a rig; None where its intrinsics are to be estimated.

    One file of as many cameras as the rig has serves all: by name where the names are the same, else in its order.

    Args:
        intrinsics: what the user gave.
        names: the rig's cameras, (C,).

    Raises:
        InputError: a file cannot be read as a camera file.
        UsageError: they are not as many as the cameras, a name is no camera's, or a file holds several cameras where
            one is meant.
    """
    if intrinsics is None:
        return (None,) * len(names)
    if isinstance(intrinsics, Mapping):
        if unknown := [name for name in intrinsics if name not in names]:
            raise UsageError(f"intrinsics for '{unknown[0]}', but the cameras are {', '.join(names)}")
        return tuple(_one(intrinsics[name]) if name in intrinsics else None for name in names)
    sources = [intrinsics] if isinstance(intrinsics, str | Path | Camera) else list(intrinsics)
    if len(sources) == 1 and len(names) > 1 and isinstance(sources[0], str | Path):
        return _all_of_one_file(sources[0], names)
    if len(sources) != len(names):
        raise UsageError(
            f"intrinsics for {len(sources)} cameras, but there are {len(names)} ({', '.join(names)}); give one file "
            "for each in their order, one file of all, or NAME=FILE for some"
        )
    return tuple(None if source is None else _one(source) for source in sources)


def _one(source: CameraSource) -> Camera:
    if isinstance(source, Camera):
        return source
    rig = read_cameras(source)
    if len(rig.cameras) > 1:
        held = [one.name for one in rig.cameras]
        raise UsageError(
            f"{source}: holds {len(held)} cameras ({', '.join(held)}) where one is meant; "
            f"choose one, as in '{source}#{held[0]}'"
        )
    return rig.cameras[0].camera


def _all_of_one_file(file: str | Path, names: Sequence[str]) -> tuple[Camera, ...]:
    cameras = read_cameras(file).cameras
    if len(cameras) != len(names):
        raise UsageError(
            f"{file}: holds {len(cameras)} camera{'s' if len(cameras) != 1 else ''}, but the rig has {len(names)} "
            f"({', '.join(names)}); give one file for each, or NAME=FILE for some"
        )
    by_name = {one.name: one.camera for one in cameras}
    if set(by_name) == set(names):
        return tuple(by_name[name] for name in names)
    return tuple(one.camera for one in cameras)
