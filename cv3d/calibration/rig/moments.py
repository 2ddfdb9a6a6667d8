"""Which pictures are of one moment, as far as the board's motion tells, and when every picture was taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board
from cv3d.calibration.calibrating import BoardWarp, CalibrateOptions
from cv3d.calibration.detecting import BoardSightings
from cv3d.calibration.rig.alone import CameraAlone, calibrate_alone
from cv3d.calibration.rig.clocks import Clocks
from cv3d.calibration.rig.frames import RigInput, RigSources, Timeline
from cv3d.calibration.rig.pose_track import PoseTrack
from cv3d.calibration.rig.result import SyncMethod
from cv3d.calibration.rig.stamps import median_period
from cv3d.calibration.rig.symmetry import board_turns
from cv3d.calibration.rig.sync import CameraMotion, check_timeline, find_clocks, find_timeline
from cv3d.errors import EstimationError, InputError
from cv3d.geometry.cameras.camera import Camera

_MOST_MOMENTS = 120
"""Moments taken from videos whose clocks were brought together."""
_STAMPED = (SyncMethod.STAMP, SyncMethod.TABLE)
_STEADY_MODEL = "kannala_brandt4"
"""A lens model that suits narrow and wide lenses, and has so few parameters that it never bends to the board's poses:
what follows the board has to be smooth rather than right."""
_HALF = 0.5


@dataclass(frozen=True)
class Followed:
    """The board followed before every camera of a rig with clocks."""

    cameras: tuple[CameraAlone, ...]
    """Each by itself, by one lens model for all: only its poses count."""
    times: tuple[NDArray[np.float64], ...]
    """When each picture of each camera was taken on the first camera's clock, as far as it is known, seconds."""
    timeline: Timeline
    clocks: Clocks | None
    """Where names, stamps or tables did not tell or did not hold; None: their word stands."""

    def tracks(self, pictures: Sequence[Sequence[int]], others: Sequence[CameraAlone]) -> tuple[PoseTrack, ...]:
        """How the board moved before each camera.

        Args:
            pictures: of each camera, the pictures that make up its track.
            others: cameras whose poses stand in for pictures that could not be followed.
        """
        board = self.cameras[0].finished.board
        middle = board.points_m().mean(axis=0)
        turns = [turn.turned_from_board for turn in board_turns(board)]
        result = []
        for own, other, times, wanted in zip(self.cameras, others, self.times, pictures, strict=True):
            poses = {**_poses(other), **_poses(own)}
            stacked = np.stack([poses[picture] for picture in wanted]) if len(wanted) else np.zeros((0, 4, 4))
            result.append(PoseTrack.of(times[np.asarray(wanted, np.int64)], stacked, middle, turns))
        return tuple(result)


def follow(
    sources: RigSources,
    sightings: Sequence[BoardSightings],
    given: Sequence[Camera | None],
    clocks: Clocks | None = None,
) -> Followed | None:
    """Follow the board, and bring the clocks together where nothing else does or what does is wrong.

    Args:
        sources: the pictures, with or without a timeline.
        sightings: what they show.
        given: intrinsics that are known, by camera.
        clocks: where they are known already, those of the sources' timeline.

    Returns:
        The board's motion and the timeline; None where pictures are matched and have no stamps.

    Raises:
        InputError: neither a timeline nor stamps.
        EstimationError: a camera's own pictures do not suffice, or the board's motion does not tell.
    """
    timeline = sources.timeline
    for camera in sources.cameras:
        if camera.times is None:
            if timeline is not None:
                return None
            raise InputError(f"camera {camera.name}: its pictures have no time stamps, and nothing else pairs them")
    if timeline is not None and clocks is None and timeline.synchronisation.method not in _STAMPED:
        return None
    board = sightings[0].board
    steady = CalibrateOptions(board, board.square_m, _STEADY_MODEL, BoardWarp.OFF)
    alone = tuple(
        calibrate_alone(camera.name, seen, steady, known)
        for camera, seen, known in zip(sources.cameras, sightings, given, strict=True)
    )
    if timeline is None or clocks is None:
        motions = [
            _motion(camera, own, np.asarray(camera.times, np.float64))
            for camera, own in zip(sources.cameras, alone, strict=True)
        ]
        if timeline is None:
            clocks = find_clocks(motions, _turns(board))
            timeline = find_timeline(motions, _turns(board), clocks=clocks, max_moments=_MOST_MOMENTS)
        else:
            timeline, clocks = _corrected(timeline, motions, _turns(board))
    times = tuple(
        _on_first(c, camera, timeline) if clocks is None else clocks.on_first(c, np.asarray(camera.times, np.float64))
        for c, camera in enumerate(sources.cameras)
    )
    return Followed(alone, times, timeline, clocks)


def _corrected(
    timeline: Timeline, motions: Sequence[CameraMotion], turns: NDArray[np.float64]
) -> tuple[Timeline, Clocks | None]:
    """The timeline with the clocks set right by the board's motion, where that contradicts it; else as it is."""
    warnings = check_timeline(motions, turns)
    if not warnings:
        return timeline, None
    try:
        clocks = find_clocks(motions, turns)
    except EstimationError:
        return replace(timeline, warnings=(*timeline.warnings, *warnings)), None
    found = find_timeline(motions, turns, clocks=clocks)
    by = timeline.synchronisation.method
    wrong = f"the stamps{' of the table' if by is SyncMethod.TABLE else ''} do not hold: "
    kept = replace(found.synchronisation, sentence=wrong + found.synchronisation.sentence)
    said = tuple(f"{warning}; the clocks were set right by that" for warning in warnings)
    return Timeline(found.moments, kept, (*timeline.warnings, *said, *found.warnings)), clocks


def _on_first(camera: int, source: RigInput, timeline: Timeline) -> NDArray[np.float64]:
    """Times of a camera's pictures on the first one's clock, by the moments of a timeline, (n,), seconds.

    Stamps of one clock are taken as they are; others differ by a constant.
    """
    times = np.asarray(source.times, np.float64)
    apart = [
        moment.time - times[member]
        for moment in timeline.moments
        if moment.time is not None and (member := moment.members[camera]) is not None
    ]
    shift = float(np.median(apart)) if apart else 0.0
    return times + shift if abs(shift) > _HALF * median_period(times) else times


def timeline_warnings(
    inputs: Sequence[RigInput], alone: Sequence[CameraAlone], board: Board, timeline: Timeline
) -> tuple[str, ...]:
    """What the board's motion says against a timeline that was made from names or order."""
    motions = []
    for c, (source, camera) in enumerate(zip(inputs, alone, strict=True)):
        times = np.full(len(source.pictures), np.nan)
        for m, moment in enumerate(timeline.moments):
            member = moment.members[c]
            if member is not None:
                times[member] = float(m)
        motions.append(_motion(source, camera, times))
    return check_timeline(motions, _turns(board), are_stamps=False)


def _motion(source: RigInput, camera: CameraAlone, times: NDArray[np.float64]) -> CameraMotion:
    """The board's poses before a camera, of pictures that have a time."""
    rotation = np.full((len(source.pictures), 3, 3), np.nan)
    translation = np.full((len(source.pictures), 3), np.nan)
    state = camera.finished.solution.state
    pictures = camera.pictures()
    rotation[pictures] = state.rotation.numpy()
    translation[pictures] = state.translation.numpy()
    timed = np.isfinite(times)
    if not timed.all():
        # Indices of moments are into the times, so only a check, which returns none, may leave pictures out.
        times, rotation, translation = times[timed], rotation[timed], translation[timed]
    focal = float(state.params[:2].mean())
    return CameraMotion(source.name, times, rotation, translation, focal)


def _poses(camera: CameraAlone) -> dict[int, NDArray[np.float64]]:
    """cam_from_board, (4, 4), by picture."""
    poses = camera.finished.solution.state.cam_from_board().numpy()
    return dict(zip(camera.pictures(), poses, strict=True))


def _turns(board: Board) -> NDArray[np.float64]:
    """Rotations of the board onto itself, (S, 3, 3)."""
    return np.stack([turn.turned_from_board[:3, :3] for turn in board_turns(board)])
