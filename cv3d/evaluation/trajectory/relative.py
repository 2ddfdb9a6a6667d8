"""Relative pose errors: how far a motion over a given frame count, time, way or turn is off."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import EstimationError, UsageError
from cv3d.evaluation.trajectory.choices import DeltaUnit, PairsFrom
from cv3d.evaluation.trajectory.pose_errors import relative_motions, rotation_angles
from cv3d.geometry.trajectory import Floats, Indices, Trajectory

_LETTERS = {
    "": DeltaUnit.FRAMES,
    "f": DeltaUnit.FRAMES,
    "frames": DeltaUnit.FRAMES,
    "s": DeltaUnit.SECONDS,
    "m": DeltaUnit.METRES,
    "deg": DeltaUnit.DEGREES,
}
_DELTA = re.compile(r"\s*([0-9.eE+-]+)\s*([A-Za-z]*)\s*")


@dataclass(frozen=True)
class Delta:
    """How far apart the poses of a pair are.

    Raises:
        UsageError: it is not positive, or no whole number of frames.
    """

    value: float = 1.0
    unit: DeltaUnit = DeltaUnit.FRAMES
    all_pairs: bool = False
    """Whether a pair starts at every pose; else one starts where the one before ends."""
    tolerance: float = 0.1
    """For all pairs in seconds, metres or degrees: what share of `value` a pair may be off."""
    pairs_from: PairsFrom = PairsFrom.ESTIMATE

    def __post_init__(self) -> None:
        if not (np.isfinite(self.value) and self.value > 0.0):
            raise UsageError(f"a delta is larger than 0, not {self.value:g}")
        if self.unit is DeltaUnit.FRAMES and not float(self.value).is_integer():
            raise UsageError(f"a delta in frames is a whole number, not {self.value:g}")

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"


def parse_delta(text: str) -> tuple[float, DeltaUnit]:
    """A delta from "10" or "10f" (frames), "0.5s", "1m" or "10deg".

    Raises:
        UsageError: it is none.
    """
    match = _DELTA.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        return float(match[1]), _LETTERS[match[2]]
    except (ValueError, KeyError):
        raise UsageError(f"--delta '{text}': write 10f (frames), 0.5s, 1m or 10deg") from None


@dataclass(frozen=True, eq=False)
class RelativeErrors:
    """Errors of the motions between pairs of poses."""

    delta: Delta
    """How the pairs were chosen."""
    first: Indices
    """Where each pair starts, (k,)."""
    second: Indices
    """Where it ends, (k,)."""
    translation_m: Floats
    """(k,), metres."""
    rotation_deg: Floats
    """(k,), degrees."""


def relative_errors(estimate: Trajectory, reference: Trajectory, delta: Delta) -> RelativeErrors:
    """Relative pose errors (Sturm et al. 2012, "A benchmark for the evaluation of RGB-D SLAM systems", eq. 1).

    Args:
        estimate: n poses.
        reference: the n poses that belong to them.
        delta: which pairs.

    Raises:
        EstimationError: there is no such pair.
    """
    first, second = pairs(estimate if delta.pairs_from is PairsFrom.ESTIMATE else reference, delta)
    if not len(first):
        where = "the reference" if delta.pairs_from is PairsFrom.REFERENCE else "the estimate"
        raise EstimationError(f"no two poses of {where} are {delta} apart; choose a smaller --delta")
    own = relative_motions(estimate.world_from_cam[first], estimate.world_from_cam[second])
    true = relative_motions(reference.world_from_cam[first], reference.world_from_cam[second])
    error = relative_motions(true, own)
    translation = np.linalg.norm(error[:, :3, 3], axis=1)
    return RelativeErrors(delta, first, second, translation, np.rad2deg(rotation_angles(error[:, :3, :3])))


def pairs(trajectory: Trajectory, delta: Delta) -> tuple[Indices, Indices]:
    """Indices of the first and second poses of the pairs, (k,) each; there may be none."""
    if delta.unit is DeltaUnit.FRAMES:
        step = int(delta.value)
        every = np.arange(len(trajectory))
        return (every[:-step], every[step:]) if delta.all_pairs else (every[::step][:-1], every[::step][1:])
    if delta.all_pairs and delta.unit is DeltaUnit.DEGREES:
        return _turned_by(trajectory, delta)
    progress = _progress(trajectory, delta.unit)
    if delta.all_pairs:
        return _nearest_pairs(progress, delta)
    ids = [0] if len(progress) else []
    while ids and (following := _reached(progress, ids[-1], delta.value)) < len(progress):
        ids.append(following)
    return np.array(ids[:-1], dtype=np.int64), np.array(ids[1:], dtype=np.int64)


def _progress(trajectory: Trajectory, unit: DeltaUnit) -> Floats:
    """What has passed at each pose since the first, (n,), in `unit`."""
    if unit is DeltaUnit.SECONDS:
        return trajectory.times - trajectory.times[:1]
    if unit is DeltaUnit.METRES:
        return trajectory.travelled_m
    rotations = trajectory.rotations
    turns = rotation_angles(rotations[:-1].transpose(0, 2, 1) @ rotations[1:])
    turned: Floats = np.rad2deg(np.concatenate([np.zeros(min(len(rotations), 1)), np.cumsum(turns)]))
    return turned


def _reached(progress: Floats, start: int, value: float) -> int:
    """The first pose at which `value` has passed since `start`, up to the rounding of the sums."""
    rounding = 1e-9 * value
    return int(np.searchsorted(progress, progress[start] + value - rounding, side="left"))


def _nearest_pairs(progress: Floats, delta: Delta) -> tuple[Indices, Indices]:
    """From every pose to that whose progress is nearest to `delta` further, the earliest of equals, if near enough."""
    first = np.arange(len(progress))
    wanted = progress + delta.value
    after = np.minimum(np.searchsorted(progress, wanted, side="left"), len(progress) - 1)
    before = np.searchsorted(progress, progress[np.maximum(after - 1, 0)], side="left")
    second = np.where(np.abs(progress[before] - wanted) <= np.abs(progress[after] - wanted), before, after)
    near = np.abs(progress[second] - wanted) <= delta.tolerance * delta.value
    near &= second > first
    return first[near], second[near].astype(np.int64)


def _turned_by(trajectory: Trajectory, delta: Delta) -> tuple[Indices, Indices]:
    """All pairs that are turned against each other by the delta, within its tolerance."""
    rotations = trajectory.rotations
    slack = delta.tolerance * delta.value
    firsts: list[NDArray[np.int64]] = []
    seconds: list[NDArray[np.int64]] = []
    for start in range(len(rotations) - 1):
        turned = np.rad2deg(rotation_angles(rotations[start].T @ rotations[start + 1 :]))
        found = np.flatnonzero(np.abs(turned - delta.value) <= slack) + start + 1
        firsts.append(np.full(len(found), start, dtype=np.int64))
        seconds.append(found.astype(np.int64))
    if not firsts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(firsts), np.concatenate(seconds)
