"""An estimated path against the truth that lay with its recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv3d.errors import Cv3dError
from cv3d.evaluation.trajectory.alignment import align
from cv3d.evaluation.trajectory.choices import Alignment
from cv3d.evaluation.trajectory.evaluating import TrajectoryOptions, evaluate_trajectory
from cv3d.evaluation.trajectory.result import TrajectoryEvaluation
from cv3d.geometry.trajectory import Trajectory
from cv3d.odometry.results import OdometryResult


@dataclass(frozen=True, eq=False)
class TruthComparison:
    """How the largest segment compares with the truth."""

    source: str
    """The file of the truth."""
    evaluation: TrajectoryEvaluation | None
    """Aligned with a rigid motion where the path is metric, else with a scale too; None: it could not be."""
    scale: float | None
    """Lengths of the truth over lengths of the estimate; None where the path does not determine it."""
    problem: str = ""
    """Why it could not be compared."""

    def as_dict(self) -> dict[str, object]:
        """JSON-ready: RMS errors in metres and degrees of the aligned path, relative ones from frame to frame."""
        found = self.evaluation
        if found is None:
            return {"source": self.source, "problem": self.problem}
        relative = None
        if found.rpe is not None and found.rpe_rotation is not None:
            relative = {"rmse_m": found.rpe.rmse, "rmse_deg": found.rpe_rotation.rmse}
        drift = None
        if found.drift is not None:
            drift = {"t_rel_percent": found.drift.t_rel_percent, "r_rel_deg_per_100m": found.drift.r_rel_deg_per_100m}
        return {
            "source": self.source,
            "alignment": found.aligned.kind,
            "matched": len(found.reference),
            "ate": {"rmse_m": found.ate.rmse, "percent": found.ate_percent, "rmse_deg": found.ate_rotation.rmse},
            "rpe": relative,
            "drift": drift,
            "scale": self.scale,
            "path_length_m": found.reference.length_m,
        }


def compare_with_truth(result: OdometryResult) -> TruthComparison | None:
    """The comparison; None where the recording had no truth, and with a reason where the two cannot be compared."""
    if result.truth is None:
        return None
    try:
        own = _estimate(result, result.truth)
        kind = Alignment.SE3 if result.is_metric else Alignment.SIM3
        names = ("the estimated path", result.truth_source)
        evaluation = evaluate_trajectory(own, result.truth, TrajectoryOptions(kind), names=names)
    except Cv3dError as error:
        return TruthComparison(result.truth_source, None, None, str(error))
    return TruthComparison(result.truth_source, evaluation, _scale(evaluation))


def _estimate(result: OdometryResult, truth: Trajectory) -> Trajectory:
    """The largest segment, by the frames' numbers where the truth knows only these."""
    if truth.is_timed:
        return result.trajectory
    largest = result.largest_segment
    kept = [frame for frame in result.frames if frame.segment == largest and frame.world_from_cam is not None]
    poses = [frame.world_from_cam for frame in kept if frame.world_from_cam is not None]
    numbers = np.array([float(frame.index) for frame in kept])
    return Trajectory(numbers, np.stack(poses) if poses else np.zeros((0, 4, 4)), is_timed=False)


def _scale(evaluation: TrajectoryEvaluation) -> float | None:
    if evaluation.aligned.kind is Alignment.SIM3:
        return evaluation.aligned.scale
    try:
        return align(evaluation.estimate, evaluation.reference, Alignment.SIM3).scale
    except Cv3dError:
        return None
