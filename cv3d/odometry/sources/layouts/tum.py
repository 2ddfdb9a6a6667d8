"""TUM RGB-D: lists of stamped files beside the folders of pictures."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

from cv3d.errors import InputError
from cv3d.formats.recordings import tum
from cv3d.formats.trajectories import read_trajectory
from cv3d.media.sequences import FrameFiles
from cv3d.odometry.sources.assembling import Recording
from cv3d.odometry.sources.calibration import Calibration, Size
from cv3d.odometry.sources.camera_files import calibration_beside
from cv3d.odometry.sources.depth_scale import DepthRule
from cv3d.odometry.sources.pairing import note_of_missing, pair_stamped
from cv3d.odometry.sources.request import ASSUMED_FPS, Request

_ASSOCIATIONS = ("associations.txt", "association.txt", "associated.txt", "associate.txt", "assoc.txt")
_COUNTED_STEP = 1.0


def recognised(folder: Path) -> bool:
    """Whether a folder has the lists of this layout."""
    if (folder / "rgb.txt").is_file():
        return True
    found = _associations(folder)
    return found is not None and tum.looks_like_associations(found)


def read(folder: Path, request: Request) -> Recording:
    """The recording of a folder.

    Raises:
        FormatError: a list is not what it should be.
        InputError: none of the pictures listed is there.
    """
    colors, depths, lists, notes = _listed(folder)
    there = [index for index, one in enumerate(colors) if one.file.is_file()]
    if not there:
        raise InputError(f"{lists[0]}: none of its {len(colors)} pictures is there, e.g. {colors[0].file}")
    if len(there) < len(colors):
        notes += (f"{len(colors) - len(there)} of {len(colors)} pictures that {lists[0].name} lists are not there",)
    colors, depths = [colors[index] for index in there], [depths[index] for index in there]
    is_timed = not _are_counted([one.time for one in colors])
    step = 1.0 if is_timed else 1.0 / (request.fps or ASSUMED_FPS)
    if not is_timed:
        notes += (f"the stamps only count the frames; {1.0 / step:g} Hz is assumed",)
    moments = tuple(
        FrameFiles(one.time * step, one.file, depth=depth) for one, depth in zip(colors, depths, strict=True)
    )
    if any(depths):
        notes += note_of_missing(depths, 0, "depth picture")
    truth = folder / "groundtruth.txt"
    return Recording(
        "tum",
        folder.resolve().name,
        moments,
        partial(_calibration, folder, lists),
        DepthRule(tum.METRES_PER_UNIT, "as the TUM RGB-D benchmark has it"),
        is_timed,
        partial(read_trajectory, truth) if truth.is_file() else None,
        ("recognised as a recording of the TUM RGB-D benchmark's layout", *notes),
        (*lists, *([truth] if truth.is_file() else [])),
    )


def _listed(folder: Path) -> tuple[list[tum.StampedFile], list[Path | None], list[Path], tuple[str, ...]]:
    """The colour pictures, the depth picture of each, the lists that say so, and what to note."""
    if (folder / "rgb.txt").is_file():
        colors = tum.read_list(folder / "rgb.txt")
        lists = [folder / "rgb.txt"]
        if not (folder / "depth.txt").is_file():
            return colors, [None] * len(colors), lists, ()
        depths = tum.read_list(folder / "depth.txt")
        partners = pair_stamped(colors, depths, tum.ASSOCIATED_WITHIN_S)
        return colors, partners, [*lists, folder / "depth.txt"], ()
    found = _associations(folder)
    if found is None:
        raise InputError(f"{folder}: has neither rgb.txt nor associations.txt")
    pairs = tum.read_associations(found)
    return [color for color, _ in pairs], [depth.file for _, depth in pairs], [found], ()


def _calibration(folder: Path, lists: list[Path], size: Size) -> Calibration:
    beside = calibration_beside(folder, size)
    if beside is not None and beside.camera is not None:
        return beside
    said = () if beside is None else beside.notes
    published = tum.published_camera(lists, *size)
    if published is None:
        return Calibration(notes=said)
    camera, series = published
    return Calibration(camera, notes=(*said, f"calibration: that which the benchmark publishes for {series}"))


def _associations(folder: Path) -> Path | None:
    return next((folder / name for name in _ASSOCIATIONS if (folder / name).is_file()), None)


def _are_counted(times: list[float]) -> bool:
    """Whether stamps are whole numbers from 0 or 1 on: no clock, but the numbers of frames."""
    steps = {later - earlier for earlier, later in pairwise(times)}
    return len(times) > 1 and times[0] in (0.0, 1.0) and steps == {_COUNTED_STEP}
