"""The comparison of two trajectories from beginning to end."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

import numpy as np

from cv3d.errors import EstimationError, InputError, UsageError
from cv3d.evaluation.trajectory.alignment import LEAST_POSES, align
from cv3d.evaluation.trajectory.choices import Alignment
from cv3d.evaluation.trajectory.coverage import coverage
from cv3d.evaluation.trajectory.drift import kitti_drift
from cv3d.evaluation.trajectory.pose_errors import absolute_errors
from cv3d.evaluation.trajectory.relative import Delta, relative_errors
from cv3d.evaluation.trajectory.result import TrajectoryEvaluation
from cv3d.formats.trajectories import TrajectoryFile, read_trajectory_file
from cv3d.geometry.trajectory import DEFAULT_MAX_DIFF_S, Floats, Indices, Trajectory, associate

_SAME_FRAME = 0.5
"""Frame numbers closer than that are the same."""


@dataclass(frozen=True)
class TrajectoryOptions:
    """How two trajectories are compared.

    Raises:
        UsageError: a value is out of range.
    """

    alignment: Alignment = Alignment.SE3
    """What is taken out first."""
    n_to_align: int | None = None
    """So many of the first matched poses decide on the alignment; None: all."""
    max_diff_s: float = DEFAULT_MAX_DIFF_S
    """How far apart two stamps of one moment may be, seconds."""
    offset_s: float = 0.0
    """Added to the stamps of the estimate, seconds."""
    delta: Delta = field(default_factory=Delta)
    """The pairs of the relative errors."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.max_diff_s) and self.max_diff_s >= 0.0):
            raise UsageError(f"the largest difference of two stamps is 0 or more seconds, not {self.max_diff_s:g}")
        if not math.isfinite(self.offset_s):
            raise UsageError(f"the offset of the stamps is a number of seconds, not {self.offset_s:g}")
        if self.n_to_align is not None and self.n_to_align < LEAST_POSES:
            raise UsageError(f"an alignment needs {LEAST_POSES} poses, not {self.n_to_align}")


def evaluate_trajectory_files(
    estimate: str | os.PathLike[str],
    reference: str | os.PathLike[str],
    options: TrajectoryOptions | None = None,
    times: str | os.PathLike[str] | None = None,
) -> TrajectoryEvaluation:
    """Compare the trajectories of two files or folders, each in any known format.

    Args:
        estimate: what is judged.
        reference: the truth.
        options: how.
        times: a file with a time a line, for those of them that have no time stamps.

    Raises:
        InputError: a file cannot be read or is in no known format, or the two cannot be matched.
        EstimationError: the matched poses do not determine the alignment.
    """
    own, true = read_trajectory_file(estimate, times), read_trajectory_file(reference, times)
    _check_counts(own, true, (str(estimate), str(reference)))
    return evaluate_trajectory(
        own.trajectory,
        true.trajectory,
        options,
        names=(str(estimate), str(reference)),
        warnings=own.warnings + true.warnings,
    )


def evaluate_trajectory(
    estimate: Trajectory,
    reference: Trajectory,
    options: TrajectoryOptions | None = None,
    *,
    names: tuple[str, str] = ("the estimate", "the reference"),
    warnings: tuple[str, ...] = (),
) -> TrajectoryEvaluation:
    """Compare an estimated trajectory with the true one.

    Args:
        estimate: what is judged.
        reference: the truth.
        options: how.
        names: how messages call the two.
        warnings: what is known to be odd already.

    Raises:
        InputError: the two cannot be matched, or fewer than 3 poses match.
        EstimationError: the matched poses do not determine the alignment.
    """
    options = options or TrajectoryOptions()
    estimate_index, reference_index = _matched(estimate, reference, options, names)
    own, true = estimate.select(estimate_index), reference.select(reference_index)
    aligned = align(own, true, options.alignment, options.n_to_align)
    try:
        relative = relative_errors(aligned.estimate, true, options.delta)
    except EstimationError as error:
        relative, warnings = None, (*warnings, f"there are no relative errors: {error}")
    max_diff = options.max_diff_s if reference.is_timed else _SAME_FRAME
    return TrajectoryEvaluation(
        aligned,
        true,
        reference,
        estimate_index,
        reference_index,
        len(estimate),
        absolute_errors(aligned.estimate, true),
        relative,
        kitti_drift(aligned.estimate, true),
        coverage(estimate, reference, max_diff, options.offset_s),
        options.max_diff_s,
        options.offset_s,
        options.n_to_align,
        warnings,
    )


def _check_counts(own: TrajectoryFile, true: TrajectoryFile, names: tuple[str, str]) -> None:
    """See that poses which are only counted are as many in both."""
    counts = len(own.trajectory), len(true.trajectory)
    if own.is_counted and true.is_counted and counts[0] != counts[1]:
        raise InputError(
            f"{names[0]} holds {counts[0]} poses and {names[1]} {counts[1]}, and neither says which belong together: "
            "KITTI's format has no time stamps; put a times.txt beside each, or write TUM's format"
        )


def _matched(
    estimate: Trajectory, reference: Trajectory, options: TrajectoryOptions, names: tuple[str, str]
) -> tuple[Indices, Indices]:
    """Indices of the poses that belong together.

    Raises:
        InputError: there are fewer than 3.
    """
    for name, one in zip(names, (estimate, reference), strict=True):
        if len(one) < LEAST_POSES:
            raise InputError(f"{name}: holds {len(one)} poses, and a comparison needs {LEAST_POSES}")
    if estimate.is_timed != reference.is_timed:
        timed, counted = names if estimate.is_timed else reversed(names)
        raise InputError(f"{timed} has time stamps and {counted} has none; give them with --times FILE or a times.txt")
    max_diff = options.max_diff_s if estimate.is_timed else _SAME_FRAME
    first, second = associate(reference, estimate, max_diff, options.offset_s)
    if len(first) >= LEAST_POSES:
        return second, first
    own, true = _range(estimate, options.offset_s), _range(reference)
    unit = "s" if estimate.is_timed else "frames"
    if len(first):
        found = f"only {len(first)} poses of {names[0]} and {names[1]} belong together, and {LEAST_POSES} are needed"
    else:
        found = f"no pose of {names[0]} is within {max_diff:g} {unit} of one of {names[1]}"
    overlap = min(own[1], true[1]) - max(own[0], true[0])
    if overlap < 0.0:
        found = f"{names[0]} and {names[1]} do not overlap in time"
        advice = "--offset moves the estimate's stamps"
    else:
        apart = np.abs(estimate.times[:, None] + options.offset_s - _nearest_of(reference, estimate, options.offset_s))
        advice = f"the nearest are {float(apart.min()):.3g} {unit} apart; --max-diff allows more, --offset moves stamps"
    raise InputError(
        f"{found}: from {own[0]:.6f} to {own[1]:.6f} and from {true[0]:.6f} to {true[1]:.6f} {unit}; {advice}"
    )


def _range(trajectory: Trajectory, offset_s: float = 0.0) -> tuple[float, float]:
    return float(trajectory.times[0]) + offset_s, float(trajectory.times[-1]) + offset_s


def _nearest_of(reference: Trajectory, estimate: Trajectory, offset_s: float) -> Floats:
    """The stamps of the reference before and after each of the estimate, (n, 2)."""
    after = np.searchsorted(reference.times, estimate.times + offset_s)
    last = len(reference) - 1
    return reference.times[np.stack([np.clip(after - 1, 0, last), np.clip(after, 0, last)], axis=1)]
