"""`cv3d.calibrate_rig`: the library function behind `cv3d calibrate --rig`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import cv3d
from cv3d.calibration.api import MAX_FRAMES, digest_or_fault, make_options
from cv3d.calibration.boards import Board
from cv3d.calibration.calibrating import BoardWarp
from cv3d.calibration.journal import Journal
from cv3d.calibration.models import AUTO
from cv3d.calibration.rig.estimating import calibrate_rig_sources
from cv3d.calibration.rig.given import Intrinsics, camera_names, given_cameras
from cv3d.calibration.rig.inputs import gather_rig
from cv3d.calibration.rig.options import RigOptions
from cv3d.calibration.rig.recordings import Recording, find_recordings
from cv3d.calibration.rig.result import RigCalibration
from cv3d.calibration.rig.table_match import match_tables
from cv3d.media.frame_times import frame_times
from cv3d.media.picture import Picture
from cv3d.progress import SILENT, Progress


def calibrate_rig(
    inputs: Sequence[str | Path],
    *,
    names: Sequence[str] | None = None,
    board: str | Board | None = None,
    square: str | float | None = None,
    model: str = AUTO,
    board_warp: str | BoardWarp = BoardWarp.AUTO,
    intrinsics: Intrinsics | None = None,
    stamps: str | Path | None = None,
    seed: int = 0,
    max_frames: int = MAX_FRAMES,
    workers: int | None = None,
    journal: Path | None = None,
    progress: Progress = SILENT,
) -> RigCalibration:
    """Calibrate several cameras on one rigid body from what they saw of one calibration board.

    Every camera's intrinsics and its pose relative to the first one are found together. Which pictures are of one
    moment is told by a table of stamps, by stamps in their names, by the names, or for videos by the board's motion.
    Cameras that never see the board together with the first are reached through others.

    Args:
        inputs: one folder, glob or video for each camera, or one folder that holds a folder or video for each.
        names: what the cameras are called; None: after their inputs.
        board: the board, e.g. "checkerboard:9x6"; None: found out.
        square: side of a square, side of a tag or distance of circles, as "25mm" or in metres; None: the result is
            up to scale. Of a board that turns out to be stretched it is the geometric mean of both directions.
        model: a lens model for all cameras, or "auto".
        board_warp: "auto", "on" or "off": whether the board's bending is estimated, and, where the pictures show it
            and this is not "off", that its rows and columns differ in scale.
        intrinsics: cameras that are known and held: one file of all, one source for each in their order (None where
            it is to be estimated), or by name. Files may be of any format that cv3d reads.
        stamps: a table of stamps, or a folder with one for each camera; None: looked for beside the inputs.
        seed: deals the views to cross-validation folds.
        max_frames: most frames taken from each video.
        workers: threads for detection; None: one per core.
        journal: a file that keeps detections, so that an interrupted run goes on where it was.
        progress: told about the course.

    Returns:
        The calibration. Its verdict is `unobservable` where the pictures do not determine the rig.

    Raises:
        InputError: nothing to read, one camera only, a table or camera file that cannot be used, or given intrinsics
            of another picture size.
        EstimationError: no board, or cameras that are not tied to the others by any picture.
        QualityError: all pictures of a camera are copies of one.
        UsageError: an option cannot be understood, or does not fit the cameras.
    """
    called, options = prepare_rig(
        inputs,
        names=names,
        board=board,
        square=square,
        model=model,
        board_warp=board_warp,
        intrinsics=intrinsics,
        seed=seed,
        workers=workers,
    )
    table = None if stamps is None else Path(stamps)
    sources = gather_rig(inputs, max_frames, stamps=table, progress=progress)
    cameras = tuple(replace(camera, name=name) for camera, name in zip(sources.cameras, called, strict=True))
    with Journal(journal) as kept:
        return calibrate_rig_sources(replace(sources, cameras=cameras), options, kept, progress)


def prepare_rig(
    inputs: Sequence[str | Path],
    *,
    names: Sequence[str] | None = None,
    board: str | Board | None = None,
    square: str | float | None = None,
    model: str = AUTO,
    board_warp: str | BoardWarp = BoardWarp.AUTO,
    intrinsics: Intrinsics | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> tuple[tuple[str, ...], RigOptions]:
    """Names of the cameras and options of :func:`calibrate_rig`, parsed and checked before any picture is decoded.

    Raises:
        InputError: as of :func:`calibrate_rig`.
        UsageError: likewise.
    """
    single = make_options(board, square, model, board_warp, seed, workers)
    found = find_recordings(inputs)
    called = camera_names([item.name for item in found], names)
    given = given_cameras(intrinsics, called)
    options = RigOptions(
        single.board, single.square_m, single.model, single.board_warp, single.seed, single.workers, given
    )
    return called, options


def rig_digest(
    inputs: Sequence[str | Path],
    names: Sequence[str],
    options: RigOptions,
    stamps: str | Path | None,
    max_frames: int,
) -> str:
    """A digest of everything that a rig's calibration depends on: contents of the inputs, options, version.

    Args:
        inputs: as of :func:`calibrate_rig`.
        names: of the cameras.
        options: as of :func:`prepare_rig`.
        stamps: as of :func:`calibrate_rig`.
        max_frames: likewise.

    Raises:
        InputError: there is nothing to read, or the table of stamps cannot be used.
    """
    recordings = find_recordings(inputs)
    parts = [cv3d.__version__, repr(replace(options, workers=None)), str(max_frames)]
    for name, recording in zip(names, recordings, strict=True):
        parts.append(name)
        for picture in _pictures(recording):
            parts += [picture.name, digest_or_fault(picture)]
    for table in _tables(recordings, None if stamps is None else Path(stamps)):
        parts += [table.name, sha256(table.read_bytes()).hexdigest()]
    return sha256("\x1f".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _pictures(recording: Recording) -> tuple[Picture, ...]:
    if recording.video is None:
        return recording.pictures
    return (Picture(recording.video.name, recording.video.source),)


def _tables(recordings: Sequence[Recording], stamps: Path | None) -> tuple[Path, ...]:
    """The tables of stamps that the frames are put together by."""
    clocks = [None if item.video is None else frame_times(item.video.source) for item in recordings]
    table, _ = match_tables(recordings, clocks, stamps)
    return () if table is None else table.tables
