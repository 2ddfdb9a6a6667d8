"""Opening a recording: what a folder, a file or a camera is, by what is in it."""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cv3d.errors import InputError, UsageError
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import Rig
from cv3d.media import find_pictures
from cv3d.media.inputs import VIDEO_SUFFIXES
from cv3d.odometry.results import Sensor
from cv3d.odometry.sources.assembling import Recording, assemble
from cv3d.odometry.sources.finding import depths_in, pictures_in
from cv3d.odometry.sources.layouts import euroc, kitti, phone, plain, scannet, seven_scenes, tum
from cv3d.odometry.sources.layouts.plain_folders import PlainFolders, depth_folder, find_folders
from cv3d.odometry.sources.live import PREFIX, open_live
from cv3d.odometry.sources.request import Request
from cv3d.odometry.sources.sequence import Sequence
from cv3d.odometry.sources.video import open_stereo_videos, open_video_file

PathLike = str | Path

_KNOWN = (
    "a video, pictures, folders named rgb or color (and depth) or left and right, or a recording of the layout of TUM "
    "RGB-D, KITTI odometry, EuRoC, 7-Scenes, ScanNet, Record3D or Stray Scanner"
)


def _assembled(read: Callable[[Path, Request], Recording]) -> Callable[[Path, Request], Sequence]:
    return lambda folder, request: assemble(read(folder, request), request)


@dataclass(frozen=True)
class Layout:
    """A layout of recordings."""

    recognised: Callable[[Path], bool]
    open: Callable[[Path, Request], Sequence]


LAYOUTS: dict[str, Layout] = {
    "euroc": Layout(euroc.recognised, _assembled(euroc.read)),
    "tum": Layout(tum.recognised, _assembled(tum.read)),
    "kitti": Layout(kitti.recognised, _assembled(kitti.read)),
    "seven_scenes": Layout(seven_scenes.recognised, _assembled(seven_scenes.read)),
    "scannet": Layout(scannet.recognised, _assembled(scannet.read)),
    "stray_scanner": Layout(phone.is_stray, phone.open_stray),
    "record3d": Layout(phone.is_record3d, phone.open_record3d),
}
"""Every layout that is known by its own files, the surer ones first."""


def open_sequence(
    source: PathLike,
    *,
    stereo: tuple[PathLike, PathLike] | None = None,
    depth: PathLike | None = None,
    camera: Camera | Rig | PathLike | None = None,
    sensor: Sensor | str | None = None,
    depth_scale: float | None = None,
    fps: float | None = None,
) -> Sequence:
    """Open a recording, whatever it is; only what is needed to recognise it is read.

    Args:
        source: a folder, a video, a picture, a glob, or `camera:0` for a live camera.
        stereo: folders, globs or videos of a left and a right camera; found below `source` where they are not found
            otherwise.
        depth: a folder of depth pictures for the pictures or the video; found in the same way.
        camera: the calibration, in place of the recording's own; any file that cv3d reads, or one of bare numbers.
        sensor: "auto" or None for the best that there is, or "mono", "stereo", "rgbd".
        depth_scale: metres per stored unit of depth, in place of what the recording's layout says.
        fps: frames per second of pictures without time stamps.

    Raises:
        UsageError: the options contradict each other, or the sensor asked for is not there.
        InputError: nothing is recognised, or a file is not what it should be.
        PictureError: none of the first pictures, or the video, can be read.
    """
    request = Request(
        camera if camera is None or isinstance(camera, Camera | Rig) else Path(camera).expanduser(),
        _sensor(sensor),
        depth_scale,
        fps,
    )
    if fps is not None and not 0.0 < fps < 1e5:
        raise UsageError(f"frames per second are more than 0, not {fps:g}")
    if str(source).startswith(PREFIX):
        if stereo is not None or depth is not None:
            raise UsageError(f"{source}: a live camera is read alone, without stereo or depth")
        return open_live(str(source), request)
    place = Path(source).expanduser()
    if stereo is not None:
        return _open_stereo(place, stereo, depth, request)
    if depth is not None:
        return _open_with_depth(place, _below(depth, place), request)
    if place.is_dir():
        return _open_folder(place, request)
    return _open_pictures(place, request)


def _sensor(sensor: Sensor | str | None) -> Sensor | None:
    if sensor is None or sensor == "auto":
        return None
    try:
        return Sensor(sensor)
    except ValueError:
        known = ", ".join(["auto", *Sensor])
        raise UsageError(f"no sensor '{sensor}'; known: {known}") from None


def _open_folder(folder: Path, request: Request) -> Sequence:
    for layout in LAYOUTS.values():
        if layout.recognised(folder):
            return layout.open(folder, request)
    found = find_folders(folder)
    if found is not None:
        return assemble(_of_folders(folder, found, request), request)
    if pictures_in(folder):
        return _open_pictures(folder, request)
    videos = pictures_in(folder, VIDEO_SUFFIXES)
    if len(videos) == 1:
        return open_video_file(videos[0], request, depth_folder(folder), folder)
    if videos:
        names = ", ".join(video.name for video in videos[:6]) + (", …" if len(videos) > 6 else "")
        raise InputError(f"{folder}: holds {len(videos)} videos: {names}; name one of them")
    return _open_below(folder, request)


def _of_folders(folder: Path, found: PlainFolders, request: Request) -> Recording:
    return plain.read(
        folder,
        found.pictures,
        request,
        right=found.right,
        depth=found.depth,
        notes=(f"recognised by its names: {', '.join(found.names)}",),
    )


def _open_below(folder: Path, request: Request) -> Sequence:
    """A folder around a recording, as archives often have it."""
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    candidates = [path for path in inner if _is_recording(path)]
    if len(candidates) == 1:
        pictures = pictures_in(candidates[0])
        has_more = any(path.is_file() and not path.name.startswith(".") for path in folder.iterdir())
        if pictures and has_more and not any(layout.recognised(candidates[0]) for layout in LAYOUTS.values()):
            # Pictures in a folder of their own, with times and calibration beside it.
            notes = (f"recognised by its names: {candidates[0].name}",)
            return assemble(plain.read(folder, pictures, request, notes=notes), request)
        return _open_folder(candidates[0], request)
    if candidates:
        seen = ", ".join(path.name for path in candidates[:6]) + (", …" if len(candidates) > 6 else "")
        raise InputError(
            f"{folder}: holds {len(candidates)} recordings: {seen}; name one of them, e.g. {candidates[0]}"
        )
    raise InputError(f"{folder}: no recording was recognised; looked for {_KNOWN}")


def _is_recording(folder: Path) -> bool:
    try:
        if any(layout.recognised(folder) for layout in LAYOUTS.values()):
            return True
        return find_folders(folder) is not None or bool(pictures_in(folder))
    except InputError:
        # Of a folder around it nobody said that this one is meant.
        return False


def _open_pictures(place: Path, request: Request) -> Sequence:
    """A video, or picture files of one folder or glob."""
    found = find_pictures(place)
    if not found.pictures:
        if len(found.videos) > 1:
            raise InputError(f"{place}: is of {len(found.videos)} videos; name one of them")
        return open_video_file(found.videos[0].source, request)
    files = [picture.source for picture in found.pictures]
    folder = place if place.is_dir() else files[0].parent
    return assemble(plain.read(folder, files, request, kind="pictures", name=place.resolve().name), request)


def _open_with_depth(place: Path, depth: Path, request: Request) -> Sequence:
    """Pictures or a video, with depth pictures that the user names."""
    if place.suffix.lower() in VIDEO_SUFFIXES and place.is_file():
        return open_video_file(place, request, depth)
    pictures, files = _pictures_of(place), depths_in(depth)
    if not files:
        raise InputError(f"{depth}: holds no depth pictures")
    # With depth in the same folder, its files are not the colour pictures.
    pictures = [path for path in pictures if path not in set(files)] or pictures
    folder = _around(place if place.is_dir() else pictures[0].parent, depth)
    return assemble(plain.read(folder, pictures, request, depth=files), request)


def _open_stereo(place: Path, stereo: tuple[PathLike, PathLike], depth: PathLike | None, request: Request) -> Sequence:
    """A pair of folders, globs or videos that the user names."""
    left, right = (_below(one, place) for one in stereo)
    are_videos = [one.suffix.lower() in VIDEO_SUFFIXES and one.is_file() for one in (left, right)]
    if any(are_videos):
        if not all(are_videos) or depth is not None:
            raise UsageError("a stereo pair is two videos or two folders of pictures, and of videos without depth")
        return open_stereo_videos(left, right, request)
    files = depths_in(_below(depth, place)) if depth is not None else []
    pictures = _pictures_of(left)
    folder = place if place.is_dir() and place != left else _around(pictures[0].parent, right)
    return assemble(plain.read(folder, pictures, request, right=_pictures_of(right), depth=files), request)


def _around(pictures: Path, other: Path) -> Path:
    """Where calibration and times are looked for: beside the two folders where they lie in one, else in the first."""
    parents = [path.resolve().parent for path in (pictures, other)]
    return pictures.parent if parents[0] == parents[1] else pictures


def _pictures_of(place: Path) -> list[Path]:
    """The pictures of a folder, of the one folder of colours below it, or of a glob."""
    if place.is_dir() and not pictures_in(place):
        found = find_folders(place)
        if found is not None:
            return list(found.pictures)
    files = [picture.source for picture in find_pictures(place).pictures]
    if not files:
        raise InputError(f"{place}: holds no pictures")
    return files


def _below(named: PathLike, place: Path) -> Path:
    """What the user names, from here or from below the recording's folder."""
    path = Path(named).expanduser()
    if path.exists() or glob.has_magic(str(named)):
        return path
    return place / path if (place / path).exists() else path
