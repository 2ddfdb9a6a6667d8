"""What the comparison of two trajectories found."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from cv3d.evaluation.trajectory.alignment import Aligned
from cv3d.evaluation.trajectory.coverage import Coverage
from cv3d.evaluation.trajectory.drift import Drift
from cv3d.evaluation.trajectory.pose_errors import AbsoluteErrors
from cv3d.evaluation.trajectory.relative import RelativeErrors
from cv3d.evaluation.trajectory.statistics import ErrorStatistics
from cv3d.geometry.trajectory import Indices, Trajectory

SCHEMA = "cv3d.evaluate_trajectory/1"
_STATISTICS = tuple(ErrorStatistics.__dataclass_fields__)
_ERRORS = ("ate", "ate_rot", "rpe", "rpe_rot")
MEASURES = (
    *(f"{error}_{statistic}" for error in _ERRORS for statistic in _STATISTICS),
    "ate_percent",
    "t_rel",
    "r_rel",
    "scale",
    "tracked_fraction",
    "longest_gap",
    "matched",
)
"""The figures that `--require` knows: metres, degrees, per cent, degrees per 100 m, seconds."""


@dataclass(frozen=True, eq=False)
class TrajectoryEvaluation:
    """An estimate against the reference. All rows belong to the matched poses."""

    aligned: Aligned
    """The matched poses of the estimate in the reference's frame, and how they came there."""
    reference: Trajectory
    """The poses of the reference that belong to them."""
    full_reference: Trajectory
    """All of the reference."""
    estimate_index: Indices
    """Which pose of the whole estimate each is, (n,)."""
    reference_index: Indices
    """Which pose of the whole reference each is, (n,)."""
    estimate_poses: int
    """Poses of the whole estimate."""
    absolute: AbsoluteErrors
    """Of each pose (APE; ATE in the older name)."""
    relative: RelativeErrors | None
    """Of each pair (RPE); None where no two poses are as far apart as asked for."""
    drift: Drift | None
    """KITTI's figures; None for a path shorter than 100 m."""
    coverage: Coverage
    """How much of the reference the whole estimate covers."""
    max_diff_s: float
    """How far apart two stamps of one moment could be, seconds."""
    offset_s: float
    """What was added to the stamps of the estimate, seconds."""
    n_to_align: int | None
    """So many of the first poses decided on the alignment; None: all."""
    warnings: tuple[str, ...] = ()
    """What is odd, one line each."""

    @property
    def estimate(self) -> Trajectory:
        """The matched poses of the estimate, aligned."""
        return self.aligned.estimate

    @property
    def ate(self) -> ErrorStatistics:
        """Figures of the absolute translation errors, metres."""
        return ErrorStatistics.of(self.absolute.translation_m)

    @property
    def ate_rotation(self) -> ErrorStatistics:
        """Figures of the absolute rotation errors, degrees."""
        return ErrorStatistics.of(self.absolute.rotation_deg)

    @property
    def rpe(self) -> ErrorStatistics | None:
        """Figures of the relative translation errors, metres."""
        return None if self.relative is None else ErrorStatistics.of(self.relative.translation_m)

    @property
    def rpe_rotation(self) -> ErrorStatistics | None:
        """Figures of the relative rotation errors, degrees."""
        return None if self.relative is None else ErrorStatistics.of(self.relative.rotation_deg)

    @property
    def ate_percent(self) -> float:
        """RMS of the absolute translation errors over the length of the matched reference, per cent; NaN at rest."""
        length = self.reference.length_m
        return 100.0 * self.ate.rmse / length if length > 0.0 else math.nan

    def measures(self) -> dict[str, float | None]:
        """The figures that a requirement can be put on, by name; None for what could not be determined."""
        values: dict[str, float | None] = dict.fromkeys(MEASURES)
        for name, figures in zip(_ERRORS, (self.ate, self.ate_rotation, self.rpe, self.rpe_rotation), strict=True):
            if figures is not None:
                values.update({f"{name}_{key}": value for key, value in figures.as_dict().items()})
        if self.drift is not None:
            values |= {"t_rel": self.drift.t_rel_percent, "r_rel": self.drift.r_rel_deg_per_100m}
        return values | {
            "ate_percent": self.ate_percent,
            "scale": self.aligned.scale,
            "tracked_fraction": self.coverage.tracked_fraction,
            "longest_gap": self.coverage.longest_gap_s,
            "matched": float(len(self.reference)),
        }

    def as_dict(self) -> dict[str, object]:
        """The result as plain data, without what belongs to single poses."""
        rpe = None
        if self.relative is not None and self.rpe is not None and self.rpe_rotation is not None:
            rpe = {
                "delta": asdict(self.relative.delta),
                "pairs": len(self.relative.first),
                "translation_m": self.rpe.as_dict(),
                "rotation_deg": self.rpe_rotation.as_dict(),
            }
        return {
            "schema": SCHEMA,
            "ate": {
                "translation_m": self.ate.as_dict(),
                "rotation_deg": self.ate_rotation.as_dict(),
                "percent_of_path": self.ate_percent,
            },
            "rpe": rpe,
            "drift": None if self.drift is None else asdict(self.drift),
            "alignment": {
                "kind": self.aligned.kind,
                "n_to_align": self.n_to_align,
                "scale": self.aligned.scale,
                "reference_from_estimate": self.aligned.reference_from_estimate.tolist(),
            },
            "association": {
                "max_diff_s": self.max_diff_s,
                "offset_s": self.offset_s,
                "by": "time" if self.reference.is_timed else "frame number",
                "matched": len(self.reference),
                "estimate_poses": self.estimate_poses,
                "reference_poses": len(self.full_reference),
            },
            "tracked_fraction": self.coverage.tracked_fraction,
            "longest_gap_s": self.coverage.longest_gap_s if self.reference.is_timed else None,
            "path_length_m": {"estimate": self.estimate.length_m, "reference": self.reference.length_m},
            "duration_s": self.reference.duration_s if self.reference.is_timed else None,
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        scale = f", scale {self.aligned.scale:.6g}" if self.aligned.kind in ("sim3", "scale") else ""
        rows = [("ATE", "m", self.ate), ("", "deg", self.ate_rotation)]
        if self.rpe is not None and self.rpe_rotation is not None:
            rows += [("RPE", "m", self.rpe), ("", "deg", self.rpe_rotation)]
        lines = [
            f"ATE {self.ate.rmse:.4g} m RMS over {len(self.reference)} poses, {self.ate_percent:.3g} % of "
            f"{self.reference.length_m:.4g} m (alignment {self.aligned.kind}{scale})",
            "",
            "         " + "".join(f"{name:>10}" for name in _STATISTICS),
        ]
        for name, unit, figures in rows:
            lines.append(f"{name:<4}{unit:<5}" + "".join(f"{value:>10.4g}" for value in figures.as_dict().values()))
        if self.relative is not None:
            kind = "all pairs" if self.relative.delta.all_pairs else "consecutive pairs"
            lines.append(f"RPE over {self.relative.delta}, {len(self.relative.first)} {kind}")
        if self.drift is not None:
            lines.append(
                f"drift over 100 to 800 m: {self.drift.t_rel_percent:.4g} %, {self.drift.r_rel_deg_per_100m:.4g} "
                f"deg/100m ({self.drift.segments} segments)"
            )
        gap = f", longest gap {self.coverage.longest_gap_s:.3g} s" if self.reference.is_timed else ""
        lines += [
            f"tracked {self.coverage.tracked_fraction:.1%} of the reference's {len(self.full_reference)} stamps{gap}",
            f"matched {len(self.reference)} of {self.estimate_poses} poses",
        ]
        return "\n".join(lines)
