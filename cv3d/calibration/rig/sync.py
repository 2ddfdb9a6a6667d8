"""Bringing recordings of unsynchronised cameras together by the motion of the board that they saw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.rig.board_motion import AttitudeTrack, CameraMotion, turn_quaternions
from cv3d.calibration.rig.clocks import Clocks, find_clocks
from cv3d.calibration.rig.frames import Moment, Timeline
from cv3d.calibration.rig.offsets import find_coarse_offset, find_offset
from cv3d.calibration.rig.result import Synchronisation, SyncMethod
from cv3d.calibration.rig.stamps import group_nearest, moment_spreads, moment_stamps, time_names

__all__ = ["CameraMotion", "Clocks", "check_timeline", "find_clocks", "find_timeline"]

_OFF_FRAMES = 0.5
"""Stamps that are off by more than this many frames do not hold."""
_OFF_SIGMAS = 5.0
_LEAST_CONTRAST = 5.0
"""Contrast of an offset that contradicts what names or stamps say."""
_MOST_RIVALRY = 0.65
_WORTH_S = 2e-3
"""Differences in time up to which moments are alike good."""


@dataclass(frozen=True)
class _Moments:
    """All moments of a rig's pictures."""

    members: NDArray[np.int64]
    """(M, C) indices of pictures, -1 for none."""
    stamps: NDArray[np.float64]
    """(M, C) on the first camera's clock, seconds; NaN for none."""
    spreads_s: NDArray[np.float64]
    """(M,) seconds; NaN for a single picture."""
    seen: NDArray[np.bool_]
    """(M, C), whether the board was seen."""
    smear: NDArray[np.float64]
    """(M,), how far the board moved within the spread: in the image, pixels, where that is known, else as an angle."""


def find_timeline(
    cameras: Sequence[CameraMotion],
    board_turns: NDArray[np.float64] | None = None,
    *,
    clocks: Clocks | None = None,
    max_moments: int | None = None,
) -> Timeline:
    """Find which pictures of unsynchronised cameras were taken at one moment.

    The clocks are brought together by :func:`find_clocks`; then pictures nearest in time form a moment. Where moments
    are to be chosen, those go first that most cameras saw the board in, then those in which it moved least between the
    pictures.

    Args:
        cameras: the board's attitude before each camera over its own clock; the moments' indices are into their times.
        board_turns: (S, 3, 3) turns of the board onto itself between which its pictures do not tell, the identity
            among them; by default it and half a turn about the board's normal.
        clocks: the clocks, where they are known already.
        max_moments: the most moments to return, spread over the recording; None: all, those of one picture included.

    Returns:
        The moments, with `SyncMethod.OFFSET`.

    Raises:
        EstimationError: as :func:`find_clocks`.
    """
    clocks = find_clocks(cameras, board_turns) if clocks is None else clocks
    moments = _moments(cameras, clocks)
    chosen = np.arange(len(moments.members)) if max_moments is None else _chosen(moments, max_moments)
    several = (moments.members[chosen] >= 0).sum(axis=1) > 1
    joint = chosen[several & (moments.seen[chosen].sum(axis=1) > 1)]
    spreads = moments.spreads_s[chosen][several]
    spread = float(spreads.max()) if len(spreads) else math.nan
    times = np.nanmean(moments.stamps, axis=1)
    first = moments.stamps[:, 0]
    times = np.where(np.isnan(first), times, first)
    names = time_names(times)
    return Timeline(
        tuple(
            Moment(
                names[index],
                float(times[index]),
                tuple(None if member < 0 else int(member) for member in moments.members[index]),
            )
            for index in chosen
        ),
        Synchronisation(
            SyncMethod.OFFSET,
            _sentence(cameras, clocks, moments, joint),
            clocks.offsets_s,
            clocks.offsets_std_s,
            spread,
        ),
        clocks.warnings,
    )


def _moments(cameras: Sequence[CameraMotion], clocks: Clocks) -> _Moments:
    common = [clocks.on_first(index, camera.times) for index, camera in enumerate(cameras)]
    members = group_nearest(common)
    nothing = np.zeros(len(cameras))
    spreads = moment_spreads(members, common, nothing)
    seen = np.zeros(members.shape, np.bool_)
    speeds = np.full(members.shape, np.nan)
    image = [camera.image_speed() for camera in cameras]
    is_image = all(own is not None for own in image)
    for index, camera in enumerate(cameras):
        there = members[:, index] >= 0
        seen[there, index] = camera.seen[members[there, index]]
        own = image[index]
        speed = own if is_image and own is not None else camera.turning_speed()
        speeds[there, index] = speed[members[there, index]]
    known = np.isfinite(speeds).any(axis=1)
    fastest = np.full(len(members), np.nan)
    fastest[known] = np.nanmax(speeds[known], axis=1)
    smear = fastest * np.maximum(spreads, _WORTH_S)
    return _Moments(members, moment_stamps(members, common, nothing), spreads, seen, smear)


def _chosen(moments: _Moments, limit: int) -> NDArray[np.int64]:
    """The best moment of each of `limit` equal stretches of time."""
    worth = np.flatnonzero(moments.seen.sum(axis=1) > 1)
    if len(worth) <= limit:
        return worth
    times = np.nanmean(moments.stamps[worth], axis=1)
    stretches = np.floor((times - times[0]) / (times[-1] - times[0]) * (limit - 1e-6)).astype(np.int64)
    smear = np.where(np.isfinite(moments.smear[worth]), moments.smear[worth], np.inf)
    order = np.lexsort([smear, -moments.seen[worth].sum(axis=1), stretches])
    fresh = np.concatenate([[True], np.diff(stretches[order]) > 0])
    return np.sort(worth[order[fresh]])


def _sentence(cameras: Sequence[CameraMotion], clocks: Clocks, moments: _Moments, joint: NDArray[np.int64]) -> str:
    pairs = zip(clocks.names[1:], clocks.offsets_s[1:], clocks.offsets_std_s[1:], strict=True)
    told = ", ".join(f"{name} {offset:+.4f} s ± {1000.0 * std:.1f} ms" for name, offset, std in pairs)
    sentence = f"{len(joint)} moments, clocks brought to that of {clocks.names[0]} by the board's motion: {told}"
    spreads = moments.spreads_s[joint]
    if len(spreads):
        sentence += (
            f"; frames of one moment are {1000.0 * float(np.median(spreads)):.1f} ms apart in the median and at most "
            f"{1000.0 * float(spreads.max()):.1f} ms"
        )
    smear = moments.smear[joint]
    if all(camera.image_speed() is not None for camera in cameras) and np.isfinite(smear).any():
        sentence += f", in which the board moved by {float(np.nanmedian(smear)):.2f} px in the median"
    return sentence


def check_timeline(
    cameras: Sequence[CameraMotion],
    board_turns: NDArray[np.float64] | None = None,
    *,
    are_stamps: bool = True,
) -> tuple[str, ...]:
    """Check by the board's motion that stamps which are said to be of one clock are.

    Where pictures were matched by names or order, the number of the moment serves as the stamp.

    Args:
        cameras: the board's attitude before each camera over the common clock.
        board_turns: as for :func:`find_clocks`.
        are_stamps: whether `times` are seconds; else they are numbers of moments.

    Returns:
        Warnings about pairs of cameras whose stamps are off by more than half a frame. Pairs that say nothing, as the
        board was still or not seen together, are passed over.
    """
    turns = turn_quaternions(board_turns)
    tracks = [AttitudeTrack.of(camera, turns) for camera in cameras]
    warnings = []
    for second in range(1, len(cameras)):
        for first in range(second):
            found = find_coarse_offset(tracks[first], tracks[second], turns)
            if found is None or found.contrast < _LEAST_CONTRAST or found.rival_share > _MOST_RIVALRY:
                continue
            fine = find_offset(tracks[first], tracks[second], turns)
            offset, std = (found.offset_s, 0.0) if fine is None else (fine.offset_s, fine.std_s)
            period = max(tracks[first].period, tracks[second].period)
            time = f" ({abs(offset):.3f} s)" if are_stamps else ""
            if abs(offset) > max(_OFF_FRAMES * period, _OFF_SIGMAS * std):
                warnings.append(
                    f"{cameras[second].name} is not in step with {cameras[first].name}: by the board's motion its "
                    f"pictures were taken {abs(offset) / period:.2f} frames{time} "
                    f"{'later' if offset > 0.0 else 'earlier'} than their {'stamps' if are_stamps else 'names'} say"
                )
            break
    return tuple(warnings)
