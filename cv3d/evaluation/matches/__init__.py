"""Matchers against pairs of pictures whose true geometry is known."""

from cv3d.evaluation.matches.evaluating import MatchEvaluationOptions, evaluate_matches
from cv3d.evaluation.matches.homography_error import corner_error
from cv3d.evaluation.matches.pairs import HomographyTruth, PairMatcher, PairMatches, PairView, PoseTruth, TruePair
from cv3d.evaluation.matches.pose_error import PoseError, relative_pose_error
from cv3d.evaluation.matches.recall_curve import area_under_recall
from cv3d.evaluation.matches.result import MatchEvaluation, PairOutcome
from cv3d.evaluation.matches.sets import pairs_of_folder, pairs_of_list

__all__ = [
    "HomographyTruth",
    "MatchEvaluation",
    "MatchEvaluationOptions",
    "PairMatcher",
    "PairMatches",
    "PairOutcome",
    "PairView",
    "PoseError",
    "PoseTruth",
    "TruePair",
    "area_under_recall",
    "corner_error",
    "evaluate_matches",
    "pairs_of_folder",
    "pairs_of_list",
    "relative_pose_error",
]
