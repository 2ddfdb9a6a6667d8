"""Folders of no known tool: pictures with what lies beside them, recognised by the usual names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from cv3d.errors import InputError
from cv3d.formats.posed_pictures import has_posed_pictures, read_posed_pictures
from cv3d.media.sequences import FrameFiles
from cv3d.odometry.sources.assembling import Recording
from cv3d.odometry.sources.calibration import Calibration, Size
from cv3d.odometry.sources.camera_files import calibration_beside
from cv3d.odometry.sources.depth_scale import UNSAID
from cv3d.odometry.sources.layouts.plain_times import times_of
from cv3d.odometry.sources.layouts.plain_truth import truth_beside
from cv3d.odometry.sources.pairing import note_of_missing, pair_files
from cv3d.odometry.sources.request import Request

_DEPTH_WITHIN_S = 0.02
_STEREO_WITHIN_S = 0.005


def read(
    folder: Path,
    pictures: Sequence[Path],
    request: Request,
    *,
    right: Sequence[Path] = (),
    depth: Sequence[Path] = (),
    kind: str = "folder",
    name: str = "",
    notes: tuple[str, ...] = (),
) -> Recording:
    """The recording of pictures.

    Args:
        folder: where times, calibration and poses may lie.
        pictures: of the only, the left or the colour camera, in order.
        request: what the user said.
        right: pictures of the right camera, if any.
        depth: depth pictures, if any.
        kind: what the recording is called.
        name: how results call it; the folder's name where empty.
        notes: to put before the others.

    Raises:
        InputError: depth or right pictures do not go with the others.
    """
    rights, said = _partners(pictures, right, _STEREO_WITHIN_S, "right picture")
    depths, also_said = _partners(pictures, depth, _DEPTH_WITHIN_S, "depth picture")
    stamped = times_of(folder, pictures, request)
    read_truth, truth_files = truth_beside(folder, pictures, stamped.times)
    times = stamped.times
    # A file with times says the order of the moments; names may sort otherwise.
    order = np.argsort(times, kind="stable") if stamped.file is None else np.arange(len(times))
    moments = tuple(FrameFiles(times[i], pictures[i], rights[i], depths[i]) for i in order.tolist())
    return Recording(
        kind,
        name or folder.resolve().name,
        moments,
        partial(_calibration, folder),
        UNSAID,
        stamped.is_timed,
        read_truth,
        (*notes, *said, *also_said, *stamped.notes),
        (*(() if stamped.file is None else (stamped.file,)), *truth_files),
    )


def _partners(
    pictures: Sequence[Path], others: Sequence[Path], within_s: float, what: str
) -> tuple[list[Path | None], tuple[str, ...]]:
    if not others:
        return [None] * len(pictures), ()
    paired = pair_files(pictures, others, within_s)
    if paired is None:
        raise InputError(
            f"{others[0].parent}: its {len(others)} {what}s do not go with the {len(pictures)} pictures of "
            f"{pictures[0].parent}: neither by stamps nor by numbers in their names, and they are not as many"
        )
    return paired, note_of_missing(paired, len(others) - len({*paired} - {None}), what)


def _calibration(folder: Path, size: Size) -> Calibration:
    beside = calibration_beside(folder, size)
    if beside is not None and beside.camera is not None:
        return beside
    said = () if beside is None else beside.notes
    if not has_posed_pictures(folder):
        return Calibration(notes=said)
    cameras = {one.camera for one in read_posed_pictures(folder).pictures}
    if len(cameras) > 1:
        return Calibration(notes=(*said, f"its posed pictures are of {len(cameras)} cameras: none of them is taken"))
    return Calibration(cameras.pop(), notes=(*said, "calibration: that of its posed pictures"))
