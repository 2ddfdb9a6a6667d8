"""What the comparison of two surfaces found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.evaluation.surface.depth_error import DepthErrors

Floats = NDArray[np.float64]

SCHEMA = "cv3d.evaluate_surface/1"
_PLAIN = (
    "accuracy",
    "completeness",
    "accuracy_median",
    "completeness_median",
    "chamfer",
    "normal_consistency",
    "fscore",
    "precision",
    "recall",
    "depth_mean_abs",
    "depth_median_abs",
    "depth_rmse",
    "depth_covered",
)


def threshold_name(threshold_m: float) -> str:
    """A threshold in the name of a figure: "5mm", "2_5mm"."""
    return f"{1000.0 * threshold_m:g}mm".replace(".", "_")


def measure_names(thresholds_m: Sequence[float]) -> tuple[str, ...]:
    """The figures that `--require` knows: metres, and shares between 0 and 1.

    Those without a threshold in their name are at the first of the thresholds.
    """
    at = [f"{name}_{threshold_name(t)}" for t in thresholds_m for name in ("fscore", "precision", "recall")]
    return (*_PLAIN, *at)


@dataclass(frozen=True)
class Score:
    """Shares of two surfaces that are near each other."""

    threshold_m: float
    """How near, metres."""
    precision: float
    """Share of the mesh that is so near the reference."""
    recall: float
    """Share of the reference that is so near the mesh."""

    @property
    def fscore(self) -> float:
        """Harmonic mean of the two (Knapitsch et al., Tanks and Temples, 2017)."""
        total = self.precision + self.recall
        return 2.0 * self.precision * self.recall / total if total > 0.0 else 0.0


@dataclass(frozen=True, eq=False)
class SurfaceEvaluation:
    """A mesh against the reference, by points spread evenly over both."""

    points: Floats
    """(n, 3) on the mesh, aligned."""
    to_reference: Floats
    """(n,) distance of each from the reference, metres."""
    reference_points: Floats
    """(m, 3) on the part of the reference that is compared."""
    to_mesh: Floats
    """(m,) distance of each from the mesh, metres."""
    scores: tuple[Score, ...]
    """At each threshold."""
    normal_consistency: float | None
    """Mean of the absolute cosine between the normals at a point and at the nearest one, both ways; None where a cloud
    has no normals."""
    reference_from_mesh: Floats
    """(4, 4): the motion that was taken out."""
    observed_share: float
    """Share of the reference that is compared: what the frames saw, or all."""
    mesh_size: tuple[int, int]
    """Vertices and triangles of the mesh."""
    reference_size: tuple[int, int]
    """Likewise of the reference."""
    depth: DepthErrors | None = None
    """Against measured depth, where frames with depth were given."""
    warnings: tuple[str, ...] = ()

    @property
    def accuracy_m(self) -> float:
        """Mean distance of the mesh from the reference, metres."""
        return float(self.to_reference.mean())

    @property
    def completeness_m(self) -> float:
        """Mean distance of the reference from the mesh, metres."""
        return float(self.to_mesh.mean())

    @property
    def chamfer_m(self) -> float:
        """Mean of accuracy and completeness, metres."""
        return 0.5 * (self.accuracy_m + self.completeness_m)

    def measures(self) -> dict[str, float | None]:
        """The figures that a requirement can be put on, by name."""
        first = self.scores[0]
        values: dict[str, float | None] = {
            "accuracy": self.accuracy_m,
            "completeness": self.completeness_m,
            "accuracy_median": float(np.median(self.to_reference)),
            "completeness_median": float(np.median(self.to_mesh)),
            "chamfer": self.chamfer_m,
            "normal_consistency": self.normal_consistency,
            "fscore": first.fscore,
            "precision": first.precision,
            "recall": first.recall,
            "depth_mean_abs": None if self.depth is None else self.depth.mean_abs_m,
            "depth_median_abs": None if self.depth is None else self.depth.median_abs_m,
            "depth_rmse": None if self.depth is None else self.depth.rmse_m,
            "depth_covered": None if self.depth is None else self.depth.covered,
        }
        for score in self.scores:
            at = threshold_name(score.threshold_m)
            values |= {f"fscore_{at}": score.fscore, f"precision_{at}": score.precision, f"recall_{at}": score.recall}
        return values

    def as_dict(self) -> dict[str, object]:
        """The result as plain data, without single points."""
        return {
            "schema": SCHEMA,
            "accuracy_m": _figures(self.to_reference),
            "completeness_m": _figures(self.to_mesh),
            "chamfer_m": self.chamfer_m,
            "scores": [
                {
                    "threshold_m": score.threshold_m,
                    "fscore": score.fscore,
                    "precision": score.precision,
                    "recall": score.recall,
                }
                for score in self.scores
            ],
            "normal_consistency": self.normal_consistency,
            "depth": None if self.depth is None else self.depth.as_dict(),
            "alignment": {"reference_from_mesh": self.reference_from_mesh.tolist()},
            "observed_share": self.observed_share,
            "samples": {"mesh": len(self.points), "reference": len(self.reference_points)},
            "mesh_size": {"vertices": self.mesh_size[0], "triangles": self.mesh_size[1]},
            "reference_size": {"vertices": self.reference_size[0], "triangles": self.reference_size[1]},
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        lines = [
            f"chamfer {_mm(self.chamfer_m)} mm: mesh to reference {_mm(self.accuracy_m)} mm, reference to mesh "
            f"{_mm(self.completeness_m)} mm (means)",
            "",
            "within        F-score  precision   recall",
        ]
        lines += [
            f"{1000.0 * one.threshold_m:>6g} mm    {one.fscore:>7.4f}    {one.precision:>7.4f}  {one.recall:>7.4f}"
            for one in self.scores
        ]
        if self.normal_consistency is not None:
            lines += ["", f"normals        {self.normal_consistency:.4f} (mean cosine)"]
        if self.observed_share < 1.0:
            lines.append(f"compared       {100.0 * self.observed_share:.1f} % of the reference, which the frames saw")
        if self.depth is not None:
            lines.append(
                f"frames' depth  median {_mm(self.depth.median_abs_m)} mm, mean {_mm(self.depth.mean_abs_m)} mm off "
                f"over {self.depth.frames} frames, {100.0 * self.depth.covered:.1f} % covered"
            )
        return "\n".join(lines)


def _figures(distances: Floats) -> dict[str, float]:
    median, p90, p95 = np.percentile(distances, [50, 90, 95])
    return {
        "mean": float(distances.mean()),
        "rmse": math.sqrt(float((distances**2).mean())),
        "median": float(median),
        "p90": float(p90),
        "p95": float(p95),
        "max": float(distances.max()),
    }


def _mm(metres: float) -> str:
    return f"{1000.0 * metres:.3g}"
