"""What an evaluation of matches gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

from cv3d.evaluation.matches.recall_curve import area_under_recall

SCHEMA = "cv3d.evaluate_matches/1"
POSE_THRESHOLDS = (5, 10, 20)
"""Degrees."""
HOMOGRAPHY_THRESHOLDS = (1, 3, 5)
"""Pixels."""
MEASURES = (
    *(f"auc{threshold}" for threshold in (*HOMOGRAPHY_THRESHOLDS, *POSE_THRESHOLDS[1:])),
    "precision",
    "matching_score",
    "failures",
    "error",
)
"""The figures that `--require` knows: percent, but for the number of failed pairs and the median error."""


@dataclass(frozen=True)
class PairOutcome:
    """How one pair went."""

    name: str
    error: float
    """Of the estimate: degrees for a pose, pixels at the corners for a homography; infinite where it failed."""
    rotation_deg: float
    """The rotation's part of a pose's error; NaN where there is none."""
    direction_deg: float
    """The translation direction's part of a pose's error; NaN where there is none."""
    keypoints: tuple[int, int]
    """In either picture."""
    matches: int
    correct: int
    """Matches that agree with the truth."""
    inliers: int
    """Matches that agree with the estimate."""
    verify_ms: float
    """Time of the estimation; NaN where there was none."""
    match_ms: float
    """Time of the matching; NaN where there was none."""
    extract_ms: tuple[float, ...]
    """Times of the extractions that were done for this pair first."""
    failure: str
    """Why there is no estimate; empty where there is one."""

    @property
    def precision(self) -> float:
        """Share of the matches that are correct; 0 where there is none."""
        return self.correct / self.matches if self.matches else 0.0

    @property
    def matching_score(self) -> float:
        """Share of the first picture's keypoints with a correct match; 0 where there is none."""
        return self.correct / self.keypoints[0] if self.keypoints[0] else 0.0


@dataclass(frozen=True)
class MatchEvaluation:
    """How good matches are over a set of pairs."""

    kind: str
    """"pose" or "homography": what the truth is of."""
    pairs: tuple[PairOutcome, ...]
    seed: int
    """Of the estimator."""

    @property
    def thresholds(self) -> tuple[int, ...]:
        """Degrees for poses, pixels for homographies."""
        return POSE_THRESHOLDS if self.kind == "pose" else HOMOGRAPHY_THRESHOLDS

    @property
    def auc(self) -> dict[int, float]:
        """Area under the recall curve up to each threshold, percent."""
        errors = np.array([pair.error for pair in self.pairs])
        return {threshold: 100.0 * area_under_recall(errors, threshold) for threshold in self.thresholds}

    @property
    def precision(self) -> float:
        """Mean over the pairs, percent."""
        return 100.0 * _mean(pair.precision for pair in self.pairs)

    @property
    def matching_score(self) -> float:
        """Mean over the pairs, percent."""
        return 100.0 * _mean(pair.matching_score for pair in self.pairs)

    @property
    def median_error(self) -> float:
        """Over all pairs, degrees or pixels; infinite where half of them failed."""
        return median(pair.error for pair in self.pairs)

    @property
    def failures(self) -> tuple[PairOutcome, ...]:
        """Pairs without an estimate."""
        return tuple(pair for pair in self.pairs if pair.failure)

    @property
    def ms(self) -> dict[str, float]:
        """Median times in milliseconds: of an extraction, of matching and of verifying a pair; NaN without any."""
        times = {
            "extract": [ms for pair in self.pairs for ms in pair.extract_ms],
            "match": [pair.match_ms for pair in self.pairs if not math.isnan(pair.match_ms)],
            "verify": [pair.verify_ms for pair in self.pairs if not math.isnan(pair.verify_ms)],
        }
        return {stage: median(values) if values else math.nan for stage, values in times.items()}

    def measures(self) -> dict[str, float | None]:
        """The figures that a requirement can be put on; None for the areas of the other kind of truth."""
        figures: dict[str, float | None] = dict.fromkeys(MEASURES)
        figures |= {f"auc{threshold}": area for threshold, area in self.auc.items()}
        figures |= {
            "precision": self.precision,
            "matching_score": self.matching_score,
            "failures": float(len(self.failures)),
            "error": self.median_error,
        }
        return figures

    def as_dict(self) -> dict[str, object]:
        """As `--json` prints it."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "pairs": len(self.pairs),
            "auc": {str(threshold): area for threshold, area in self.auc.items()},
            "precision": self.precision,
            "matching_score": self.matching_score,
            "median_error": self.median_error,
            "ms": self.ms,
            "seed": self.seed,
            "failures": [{"pair": pair.name, "reason": pair.failure} for pair in self.failures],
        }

    def rows(self) -> list[Mapping[str, object]]:
        """One row a pair, for a table."""
        unit = "deg" if self.kind == "pose" else "px"
        return [
            {
                "pair": pair.name,
                f"error_{unit}": pair.error,
                **({"rotation_deg": pair.rotation_deg, "direction_deg": pair.direction_deg} if unit == "deg" else {}),
                "keypoints0": pair.keypoints[0],
                "keypoints1": pair.keypoints[1],
                "matches": pair.matches,
                "correct": pair.correct,
                "inliers": pair.inliers,
                "match_ms": pair.match_ms,
                "verify_ms": pair.verify_ms,
                "failure": pair.failure,
            }
            for pair in self.pairs
        ]


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else math.nan
