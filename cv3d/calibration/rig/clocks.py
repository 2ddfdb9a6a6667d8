"""The clocks of all cameras brought to the first one's, through every pair of cameras whose difference is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.rig.board_motion import AttitudeTrack, CameraMotion, turn_quaternions
from cv3d.calibration.rig.offsets import PairOffset, find_offset
from cv3d.errors import EstimationError

_LEAST_CONTRAST = 3.0
"""How many times more the board's attitudes must scatter than what is left of them after the alignment."""
_AMBIGUOUS = 0.85
"""A second peak with this share of the best one's score leaves open which is right."""
_DOUBTFUL = 0.65
"""And with this share it is worth a word."""
_DRIFT_SIGMAS = 5.0
"""A rate this many standard deviations from zero is taken for real."""
_DISAGREE_SIGMAS = 5.0
_HALF = 0.5
_LEAST_TURN_DEG = 3.0
"""A board that turned less than this before a camera says nothing about time."""


@dataclass(frozen=True)
class Clocks:
    """How every camera's stamps become the first camera's: t0 = t + offset + rate * (t - centre)."""

    names: tuple[str, ...]
    offsets_s: tuple[float, ...]
    """What is added to each camera's stamps, (C,), seconds."""
    offsets_std_s: tuple[float, ...]
    """Their standard deviations, (C,), seconds."""
    rates: tuple[float, ...]
    """Drift of each clock, seconds per second, (C,); zero where none is significant."""
    centres_s: tuple[float, ...]
    """Where each offset holds, on the camera's own clock, (C,), seconds."""
    warnings: tuple[str, ...] = ()
    """What the user should know, e.g. that a clock drifts."""

    def on_first(self, camera: int, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """A camera's stamps, (n,), on the first camera's clock, (n,), seconds."""
        since = times - self.centres_s[camera]
        return np.asarray(times + self.offsets_s[camera] + self.rates[camera] * since, np.float64)


def find_clocks(cameras: Sequence[CameraMotion], board_turns: NDArray[np.float64] | None = None) -> Clocks:
    """Find how far the clocks of the cameras are apart, from the board's motion.

    Every pair of cameras that saw the board move together gives one difference; all of them are adjusted together, so
    that a camera which never saw the board together with the first one is reached through others.

    Args:
        cameras: the board's attitude before each camera over its own clock.
        board_turns: (S, 3, 3) turns of the board onto itself between which its pictures do not tell, the identity
            among them; by default it and half a turn about the board's normal.

    Raises:
        EstimationError: the board hardly turned, a camera cannot be reached, or several differences fit alike.
    """
    turns = turn_quaternions(board_turns)
    tracks = [AttitudeTrack.of(camera, turns) for camera in cameras]
    for camera, track in zip(cameras, tracks, strict=True):
        _check_motion(camera, track)
    pairs: dict[tuple[int, int], PairOffset] = {}
    for first in range(len(tracks)):
        for second in range(first + 1, len(tracks)):
            found = find_offset(tracks[first], tracks[second], turns)
            if found is not None and found.contrast >= _LEAST_CONTRAST and math.isfinite(found.std_s):
                pairs[first, second] = found
    return _adjusted(cameras, pairs)


def _check_motion(camera: CameraMotion, track: AttitudeTrack) -> None:
    """Refuse a camera that saw no motion.

    Raises:
        EstimationError: it did not.
    """
    if len(track.times) < 2:
        raise EstimationError(
            f"{camera.name}: the board was seen in {len(track.times)} of {len(camera.times)} frames only, too few to "
            "tell its clock by the board's motion; show the board to this camera longer, or give a table of stamps"
        )
    likeness = np.abs(track.quaternions @ track.quaternions[len(track.quaternions) // 2])
    turned = math.degrees(2.0 * math.acos(min(1.0, float(np.quantile(likeness, 0.1)))))
    if turned < _LEAST_TURN_DEG:
        raise EstimationError(
            f"{camera.name}: the board turned by {turned:.1f}° only, too little to tell how far the clocks are apart; "
            "tilt and turn the board briskly for some seconds while the cameras run, or give a table of stamps"
        )


def _adjusted(cameras: Sequence[CameraMotion], pairs: dict[tuple[int, int], PairOffset]) -> Clocks:
    """All clocks from the differences of pairs, by least squares over those that are not ambiguous."""
    sure = {key: pair for key, pair in pairs.items() if pair.rival_share < _AMBIGUOUS}
    _check_connected(cameras, sure, pairs)
    kept, warnings = _without_contradictions(cameras, sure)
    offsets, _ = _offsets(len(cameras), kept, [(0.0, 0.0)] * len(kept))
    middle = 0.5 * (float(cameras[0].times.min()) + float(cameras[0].times.max()))
    centres = [middle - float(offset) for offset in offsets]
    # A rate moves what an offset means away from the pair's own centre, and makes it less certain there.
    moved = [
        ((pair.rate, centres[second] - pair.centre_s) if _is_drift(pair) else (0.0, 0.0))
        for (_, second), pair in kept.items()
    ]
    rates, rate_stds = _rates(len(cameras), kept)
    significant = np.abs(rates) > _DRIFT_SIGMAS * rate_stds
    rates = np.where(significant, rates, 0.0)
    offsets, deviations = _offsets(len(cameras), kept, moved)
    for (first, second), pair in kept.items():
        if pair.rival_share > _DOUBTFUL and pair.rival_s is not None:
            warnings.append(
                f"the clocks of {cameras[first].name} and {cameras[second].name}: an offset of {pair.rival_s:+.2f} s "
                f"fits nearly as well as {pair.offset_s:+.3f} s, as the board's motion repeats itself"
            )
    warnings += [text for index in range(1, len(cameras)) if (text := _drift(cameras[index], float(rates[index])))]
    return Clocks(
        tuple(camera.name for camera in cameras),
        tuple(float(value) for value in offsets),
        tuple(float(value) for value in deviations),
        tuple(float(value) for value in rates),
        tuple(centres),
        tuple(warnings),
    )


def _is_drift(pair: PairOffset) -> bool:
    return abs(pair.rate) > _DRIFT_SIGMAS * pair.rate_std


def _drift(camera: CameraMotion, rate: float) -> str | None:
    """A warning about a clock that drifts by more than half a frame over the recording."""
    span = float(np.ptp(camera.times))
    period = float(np.median(np.diff(np.sort(camera.times))))
    if abs(rate) * span <= _HALF * period:
        return None
    return (
        f"the clock of {camera.name} drifts against the first camera's: {1e6 * rate:+.0f} ppm, "
        f"{1e3 * rate * span:+.0f} ms over {span:.0f} s; frames are matched along the drifting clock"
    )


def _check_connected(
    cameras: Sequence[CameraMotion],
    sure: dict[tuple[int, int], PairOffset],
    pairs: dict[tuple[int, int], PairOffset],
) -> None:
    """Refuse cameras whose clock nothing ties to the first one's.

    Raises:
        EstimationError: there are some.
    """
    reached = _reached(sure)
    missing = [index for index in range(len(cameras)) if index not in reached]
    if not missing:
        return
    name = cameras[missing[0]].name
    for (first, second), pair in pairs.items():
        if missing[0] in (first, second) and (first in reached or second in reached) and pair.rival_s is not None:
            raise EstimationError(
                f"the clocks of {cameras[first].name} and {cameras[second].name} may be {pair.offset_s:+.2f} s or "
                f"{pair.rival_s:+.2f} s apart, as the board's motion repeats itself; move the board irregularly, or "
                "give a table of stamps"
            )
    others = ", ".join(cameras[index].name for index in sorted(reached))
    raise EstimationError(
        f"the clock of {name} cannot be told from that of {others}: no motion of the board was seen by it and one of "
        "them together; turn the board for some seconds where both see it, or give a table of stamps"
    )


def _reached(pairs: dict[tuple[int, int], PairOffset]) -> set[int]:
    """Cameras tied to the first one, itself included."""
    reached = {0}
    while grown := {index for key in pairs if reached & set(key) for index in key} - reached:
        reached |= grown
    return reached


def _without_contradictions(
    cameras: Sequence[CameraMotion], pairs: dict[tuple[int, int], PairOffset]
) -> tuple[dict[tuple[int, int], PairOffset], list[str]]:
    """Leave out pairs that disagree with the rest by more than half a frame, the worst first."""
    kept = dict(pairs)
    warnings: list[str] = []
    while len(kept) >= len(cameras):
        offsets, _ = _offsets(len(cameras), kept, [(0.0, 0.0)] * len(kept))
        apart = {key: pair.offset_s - float(offsets[key[1]] - offsets[key[0]]) for key, pair in kept.items()}
        scored = {
            key: abs(apart[key]) / max(kept[key].std_s, 1e-9)
            for key in kept
            if abs(apart[key]) > _HALF * _period(cameras, key) and len(_reached(_without(kept, key))) == len(cameras)
        }
        if not scored or max(scored.values()) < _DISAGREE_SIGMAS:
            break
        # Of a loop that does not close, the pair with least evidence is the one that is wrong.
        worst = min(scored, key=lambda key: kept[key].score)
        warnings.append(
            f"the clocks of {cameras[worst[0]].name} and {cameras[worst[1]].name} by themselves seem "
            f"{1e3 * apart[worst]:+.0f} ms off from what the other cameras say; not used"
        )
        kept = _without(kept, worst)
    return kept, warnings


def _without(pairs: dict[tuple[int, int], PairOffset], key: tuple[int, int]) -> dict[tuple[int, int], PairOffset]:
    return {other: pair for other, pair in pairs.items() if other != key}


def _period(cameras: Sequence[CameraMotion], key: tuple[int, int]) -> float:
    return min(float(np.median(np.diff(np.sort(cameras[index].times)))) for index in key)


def _offsets(
    count: int, pairs: dict[tuple[int, int], PairOffset], moved: Sequence[tuple[float, float]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least squares over differences: what is added to each clock, (C,), and its standard deviation, (C,).

    Args:
        count: cameras, C.
        pairs: their differences.
        moved: for each pair its rate and how far from its centre the offset is asked for, seconds.
    """
    values = [pair.offset_s + rate * far for pair, (rate, far) in zip(pairs.values(), moved, strict=True)]
    stds = [
        math.hypot(pair.std_s, pair.rate_std * far if rate else 0.0)
        for pair, (rate, far) in zip(pairs.values(), moved, strict=True)
    ]
    return _least_squares(count, list(pairs), values, stds)


def _rates(count: int, pairs: dict[tuple[int, int], PairOffset]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same for the drift of the clocks."""
    usable = {key: pair for key, pair in pairs.items() if math.isfinite(pair.rate_std)}
    if len(_reached(usable)) < count:
        return np.zeros(count), np.full(count, np.inf)
    values = [pair.rate for pair in usable.values()]
    return _least_squares(count, list(usable), values, [pair.rate_std for pair in usable.values()])


def _least_squares(
    count: int, keys: Sequence[tuple[int, int]], values: Sequence[float], stds: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values x of nodes, x[0] = 0, from differences x[second] - x[first], with their standard deviations."""
    design = np.zeros((len(keys), count))
    for row, (first, second) in zip(design, keys, strict=True):
        row[second], row[first] = 1.0, -1.0
    weights = 1.0 / np.maximum(np.asarray(stds), 1e-9)
    covariance = np.linalg.pinv((design[:, 1:] * weights[:, None]).T @ (design[:, 1:] * weights[:, None]))
    solved = covariance @ (design[:, 1:] * weights[:, None]).T @ (weights * np.asarray(values))
    misfit = (design[:, 1:] @ solved - np.asarray(values)) * weights
    surplus = len(keys) - (count - 1)
    # Where the pairs agree less well than their deviations say, the deviations are too small.
    inflation = max(1.0, math.sqrt(float((misfit**2).sum()) / surplus)) if surplus > 0 else 1.0
    deviations = inflation * np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return np.concatenate([[0.0], solved]), np.concatenate([[0.0], deviations])
