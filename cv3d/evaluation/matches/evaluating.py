"""Matchers measured on pairs of pictures whose true geometry is known."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cv3d.errors import InputError
from cv3d.evaluation.matches.correctness import agree_with_homography, agree_with_pose
from cv3d.evaluation.matches.homography_error import corner_error
from cv3d.evaluation.matches.pairs import HomographyTruth, PairMatcher, PairMatches, PoseTruth, TruePair
from cv3d.evaluation.matches.pose_error import relative_pose_error
from cv3d.evaluation.matches.result import MatchEvaluation, PairOutcome
from cv3d.evaluation.matches.sets import is_about_poses
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import TwoView, TwoViewOptions, estimate_two_view
from cv3d.progress import SILENT, Progress

STAGE = "evaluate"


@dataclass(frozen=True)
class MatchEvaluationOptions:
    """How matches are verified and judged."""

    max_error_px: float = 2.0
    """Largest error of an inlier of the estimate, in pixels of the pictures as they are."""
    correct_px: float | None = None
    """Largest error of a match that counts as correct, pixels. None: SuperGlue's normalised 5e-4 where there are poses,
    3 pixels where there are homographies."""
    seed: int = 0
    """Of the sample consensus."""

    def __post_init__(self) -> None:
        if not self.max_error_px > 0.0 or not (self.correct_px is None or self.correct_px > 0.0):
            raise InputError("the largest errors have to be positive")


def evaluate_matches(
    pairs: Sequence[TruePair],
    match: PairMatcher,
    options: MatchEvaluationOptions | None = None,
    progress: Progress = SILENT,
) -> MatchEvaluation:
    """Match pairs of pictures, estimate their geometry from the matches, and compare it with the truth.

    Pairs with true poses get a relative pose for their known cameras, pairs with true homographies a homography. Every
    estimate counts, verified or not, as in the benchmarks of the field. A pair that cannot be matched or estimated is
    a failure with an infinite error; the others go on.

    Args:
        pairs: pictures and truth, all of one kind.
        match: the matcher.
        options: thresholds and seed.
        progress: is told of every pair.

    Raises:
        InputError: there are no pairs, or of both kinds.
    """
    options = options or MatchEvaluationOptions()
    kind = "pose" if is_about_poses(pairs) else "homography"
    outcomes = []
    progress.start(STAGE, len(pairs))
    for pair in pairs:
        outcomes.append(_evaluate(pair, match, options))
        progress.advance(STAGE)
    progress.finish(STAGE)
    return MatchEvaluation(kind, tuple(outcomes), options.seed)


def _evaluate(pair: TruePair, match: PairMatcher, options: MatchEvaluationOptions) -> PairOutcome:
    failed = PairOutcome(
        pair.name, math.inf, math.nan, math.nan, (0, 0), 0, 0, 0, math.nan, math.nan, (), "not matched"
    )
    try:
        matches = match(pair.first, pair.second)
        outcome = replace(
            failed,
            keypoints=matches.keypoints,
            matches=len(matches.points0),
            match_ms=1e3 * matches.match_seconds,
            extract_ms=tuple(1e3 * seconds for seconds in matches.extract_seconds),
        )
        if isinstance(pair.truth, PoseTruth):
            return _judge_pose(pair, pair.truth, matches, outcome, options)
        return _judge_homography(pair.truth, matches, outcome, options)
    except InputError as error:
        return replace(failed, failure=str(error))


def _judge_pose(
    pair: TruePair, truth: PoseTruth, matches: PairMatches, outcome: PairOutcome, options: MatchEvaluationOptions
) -> PairOutcome:
    cameras = _cameras(pair, matches)
    true = truth.between(pair.first, pair.second)
    if np.any(true[:3, 3]):
        correct = agree_with_pose(matches.points0, matches.points1, cameras, true, options.correct_px)
        outcome = replace(outcome, correct=int(correct.sum()))
    start = time.perf_counter()
    found = estimate_two_view(matches.points0, matches.points1, *cameras, _estimator(options))
    outcome = _with_estimate(outcome, found, start)
    if found.cam1_from_cam0 is None:
        return replace(outcome, failure=found.reason or "no pose was found")
    error = relative_pose_error(found.cam1_from_cam0, true)
    return replace(
        outcome,
        error=error.max_deg,
        rotation_deg=error.rotation_deg,
        direction_deg=error.direction_deg,
        failure="",
    )


def _judge_homography(
    truth: HomographyTruth, matches: PairMatches, outcome: PairOutcome, options: MatchEvaluationOptions
) -> PairOutcome:
    correct = agree_with_homography(matches.points0, matches.points1, truth.matrix, options.correct_px)
    outcome = replace(outcome, correct=int(correct.sum()))
    start = time.perf_counter()
    estimator = replace(_estimator(options), only_homography=True)
    found = estimate_two_view(matches.points0, matches.points1, options=estimator)
    outcome = _with_estimate(outcome, found, start)
    if found.matrix is None:
        return replace(outcome, failure=found.reason)
    error = corner_error(found.matrix, truth.matrix, *matches.sizes[0])
    failure = "" if math.isfinite(error) else "the homography found sends a part of the picture to infinity"
    return replace(outcome, error=error, failure=failure)


def _estimator(options: MatchEvaluationOptions) -> TwoViewOptions:
    # Benchmarks count every estimate; what is not trusted here would only be told apart by leaving it out.
    return TwoViewOptions(max_error=options.max_error_px, keep_unsupported=True, seed=options.seed)


def _with_estimate(outcome: PairOutcome, found: TwoView, start: float) -> PairOutcome:
    return replace(outcome, inliers=found.inlier_count, verify_ms=1e3 * (time.perf_counter() - start))


def _cameras(pair: TruePair, matches: PairMatches) -> tuple[Camera, Camera]:
    first = pair.first.camera_of(*matches.sizes[0])
    second = pair.second.camera_of(*matches.sizes[1])
    if first is None or second is None:
        raise InputError(f"{pair.name}: a pose can only be estimated where both cameras are known")
    return first, second
