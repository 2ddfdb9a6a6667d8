"""Which pictures are of one moment, as far as the board's motion tells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board
from cv3d.calibration.rig.alone import CameraAlone
from cv3d.calibration.rig.frames import RigInput, Timeline
from cv3d.calibration.rig.result import SyncMethod
from cv3d.calibration.rig.symmetry import board_turns
from cv3d.calibration.rig.sync import CameraMotion, check_timeline, find_timeline
from cv3d.errors import InputError

_MOST_MOMENTS = 120
"""Moments taken from videos whose clocks were brought together."""
_STAMPED = (SyncMethod.STAMP, SyncMethod.TABLE)


def timeline_by_motion(inputs: Sequence[RigInput], alone: Sequence[CameraAlone], board: Board) -> Timeline:
    """The moments of cameras whose clocks differ by unknown offsets.

    Raises:
        InputError: a camera's pictures have no time stamps.
        EstimationError: the board's motion does not tell.
    """
    motions = []
    for source, camera in zip(inputs, alone, strict=True):
        if source.times is None:
            raise InputError(f"camera {source.name}: its pictures have no time stamps, and nothing else pairs them")
        motions.append(_motion(source, camera, np.asarray(source.times, np.float64)))
    return find_timeline(motions, _turns(board), max_moments=_MOST_MOMENTS)


def timeline_warnings(
    inputs: Sequence[RigInput], alone: Sequence[CameraAlone], board: Board, timeline: Timeline
) -> tuple[str, ...]:
    """What the board's motion says against a timeline that was made from names, stamps or a table."""
    if timeline.synchronisation.method is SyncMethod.OFFSET:
        return ()
    are_stamps = timeline.synchronisation.method in _STAMPED and all(source.times is not None for source in inputs)
    motions = []
    for c, (source, camera) in enumerate(zip(inputs, alone, strict=True)):
        times = np.full(len(source.pictures), np.nan)
        if are_stamps and source.times is not None:
            times[:] = source.times
        else:
            for m, moment in enumerate(timeline.moments):
                member = moment.members[c]
                if member is not None:
                    times[member] = float(m)
        motions.append(_motion(source, camera, times))
    return check_timeline(motions, _turns(board), are_stamps=are_stamps)


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


def _turns(board: Board) -> NDArray[np.float64]:
    """Rotations of the board onto itself, (S, 3, 3)."""
    return np.stack([turn.turned_from_board[:3, :3] for turn in board_turns(board)])
