"""The evaluation itself, with matchers whose quality is known because it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cv3d.errors import InputError, PictureError
from cv3d.evaluation.matches import (
    HomographyTruth,
    MatchEvaluationOptions,
    PairView,
    PoseTruth,
    TruePair,
    evaluate_matches,
)
from cv3d.evaluation.matches.result import MEASURES
from cv3d.evaluation.requirements import check, check_names, parse_requirement
from cv3d.geometry.cameras.camera import Camera
from cv3d.media.picture import Picture

Floats = NDArray[np.float64]

SIZE = (640, 480)
CAMERA = Camera("pinhole", *SIZE, (500.0, 505.0, 320.0, 240.0))


@dataclass(frozen=True, eq=False)
class Made:
    points0: Floats
    points1: Floats
    keypoints: tuple[int, int] = (400, 400)
    sizes: tuple[tuple[int, int], tuple[int, int]] = (SIZE, SIZE)
    extract_seconds: tuple[float, ...] = (0.02, 0.04)
    match_seconds: float = 0.5


def posed_pairs(count: int) -> tuple[list[TruePair], dict[str, Made]]:
    """Pairs of a scene in depth, with exact matches of a hundred points each."""
    rng = np.random.default_rng(3)
    pairs, made = [], {}
    for index in range(count):
        motion = np.eye(4)
        motion[:3, :3] = Rotation.from_rotvec(rng.normal(0.0, 0.1, 3)).as_matrix()
        motion[:3, 3] = rng.normal(0.0, 1.0, 3)
        points = np.column_stack([rng.uniform(-1.0, 1.0, (100, 2)), rng.uniform(4.0, 9.0, 100)])
        second = CAMERA.project(points @ motion[:3, :3].T + motion[:3, 3])
        name = f"pair{index}"
        views = [PairView(Picture(f"{name}{side}", Path(f"{name}{side}")), camera=CAMERA) for side in "ab"]
        pairs.append(TruePair(name, *views, PoseTruth(motion)))  # type: ignore[arg-type]
        made[views[0].key] = Made(CAMERA.project(points), second)
    return pairs, made


def test_exact_matches_are_perfect() -> None:
    pairs, made = posed_pairs(4)
    result = evaluate_matches(pairs, lambda first, _: made[first.key])
    assert all(area > 99.9 for area in result.auc.values())
    assert set(result.auc) == {5, 10, 20}
    assert result.precision == pytest.approx(100.0)
    assert result.matching_score == pytest.approx(25.0)
    assert result.median_error < 1e-3
    assert not result.failures
    assert (result.ms["extract"], result.ms["match"]) == (pytest.approx(30.0), pytest.approx(500.0))
    assert result.ms["verify"] > 0.0


def test_noise_and_outliers_cost_what_they_should() -> None:
    pairs, made = posed_pairs(4)
    rng = np.random.default_rng(0)
    for key, exact in made.items():
        points1 = exact.points1 + rng.normal(0.0, 1.0, exact.points1.shape)
        points1[:30] = rng.uniform((0.0, 0.0), SIZE, (30, 2))
        made[key] = replace(exact, points1=points1)
    result = evaluate_matches(pairs, lambda first, _: made[first.key])
    assert 70.0 <= result.precision < 85.0
    assert 0.01 < result.median_error < 5.0
    assert all(50 < pair.inliers < 90 for pair in result.pairs)
    assert result.auc[5] < result.auc[10] < result.auc[20] < 100.0
    strict = evaluate_matches(pairs, lambda first, _: made[first.key], MatchEvaluationOptions(correct_px=0.5, seed=1))
    assert strict.precision < result.precision
    assert strict.seed == 1
    again = evaluate_matches(pairs, lambda first, _: made[first.key])
    assert [pair.error for pair in again.pairs] == [pair.error for pair in result.pairs]


def test_a_pair_that_fails_is_listed_and_the_others_go_on() -> None:
    pairs, made = posed_pairs(3)
    few = made[pairs[1].first.key]
    made[pairs[1].first.key] = replace(few, points0=few.points0[:3], points1=few.points1[:3])

    def match(first: PairView, second: PairView) -> Made:
        if first.key == pairs[0].first.key:
            raise PictureError("pair0a: truncated")
        return made[first.key]

    result = evaluate_matches(pairs, match)
    assert [pair.name for pair in result.failures] == ["pair0", "pair1"]
    assert result.failures[0].failure == "pair0a: truncated"
    assert "3 usable matches" in result.failures[1].failure
    assert math.isinf(result.median_error)
    # One of three pairs is right: recall is a third from its tiny error on.
    assert result.auc[20] == pytest.approx(100.0 / 3.0, abs=0.1)
    plain = result.as_dict()
    assert plain["pairs"] == 3
    assert plain["failures"] == [{"pair": pair.name, "reason": pair.failure} for pair in result.failures]
    assert [row["failure"] for row in result.rows()][2] == ""


def test_homographies() -> None:
    truth = np.array([[0.9, 0.1, 20.0], [-0.05, 1.1, -10.0], [1e-4, -5e-5, 1.0]])
    rng = np.random.default_rng(1)
    points = rng.uniform((0.0, 0.0), SIZE, (200, 2))
    carried = np.column_stack([points, np.ones(200)]) @ truth.T
    second = carried[:, :2] / carried[:, 2:]
    second[:40] += rng.uniform(20.0, 60.0, (40, 2))
    views = [PairView(Picture(name, Path(name))) for name in "ab"]
    pair = TruePair("a b", *views, HomographyTruth(truth))  # type: ignore[arg-type]
    result = evaluate_matches([pair], lambda first, _second: Made(points, second))
    assert result.kind == "homography"
    assert set(result.auc) == {1, 3, 5}
    assert result.median_error < 0.01
    assert result.precision == pytest.approx(80.0)
    assert math.isnan(result.pairs[0].rotation_deg)
    lone = evaluate_matches([pair], lambda first, _second: Made(points[:2], second[:2]))
    assert lone.failures[0].failure


def test_requirements_on_every_figure() -> None:
    pairs, made = posed_pairs(1)
    measures = evaluate_matches(pairs, lambda first, _: made[first.key]).measures()
    assert set(measures) == set(MEASURES)
    met = [parse_requirement(text) for text in ("auc5>99", "precision>=99", "failures<1", "error<0.1")]
    check_names(met, MEASURES)
    assert check(met, measures) == []
    # A figure of the other kind of truth is not known, and meets no bound.
    (failure,) = check([parse_requirement("auc3>0")], measures)
    assert "not known" in str(failure)


def test_options_that_cannot_be() -> None:
    for bad in ({"max_error_px": 0.0}, {"correct_px": -1.0}):
        with pytest.raises(InputError):
            MatchEvaluationOptions(**bad)
