from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cv3d.odometry.places import similarity
from cv3d.odometry.places.similarity import BothWays, SimilarityModel


@pytest.mark.parametrize("baseline", [0.0, 0.5])
@pytest.mark.parametrize("scale", [0.2, 1.0, 7.0])
def test_scale_and_motion_are_found_among_wrong_depths(scene: Callable, baseline: float, scale: float) -> None:
    made = scene(5, depth_noise=0.02, wrong=0.3, baseline=baseline, query_scale=scale)
    found = similarity(made.query_place, made.place, made.camera)
    assert found is not None
    assert abs(np.log(found.scale / scale)) < 0.01
    expected = made.query_from_place.copy()
    expected[:3] *= scale
    off = np.linalg.inv(expected) @ found.query_from_place
    assert np.linalg.norm(off[:3, 3]) < 0.03
    assert np.abs(off[:3, :3] - np.eye(3)).max() < 0.015
    assert made.is_right[found.place_rows].mean() > 0.97
    assert abs(np.log(found.depth / scale / 4.2)) < 0.2


@pytest.mark.parametrize("baseline", [pytest.param(0.0, marks=pytest.mark.slow), 0.3])
def test_the_spread_of_the_scale_is_as_told(scene: Callable, baseline: float) -> None:
    relative = []
    for seed in range(12):
        made = scene(seed, count=120, depth_noise=0.05, wrong=0.2, baseline=baseline, query_scale=2.0)
        found = similarity(made.query_place, made.place, made.camera)
        assert found is not None
        relative.append(np.log(found.scale / 2.0) / found.scale_deviation)
    assert 0.3 < np.sqrt(np.mean(np.square(relative))) < 1.6


@pytest.mark.parametrize("seed", range(6))
def test_unlike_places_are_not_similar(scene: Callable, seed: int) -> None:
    made = scene(seed, wrong=1.0)
    assert similarity(made.query_place, made.place, made.camera) is None


def test_depth_is_needed_on_both_sides(scene: Callable) -> None:
    made = scene(0, wrong=0.0)
    points = made.query_place.points_in_cam.astype(np.float64)
    points[12:] = np.nan
    assert similarity(made.query_place.with_points(points), made.place, made.camera) is None


def test_derivatives_are_those_of_the_residuals(scene: Callable) -> None:
    made = scene(0, count=40, wrong=0.0, depth_noise=0.03, query_scale=2.0)
    order = np.argmax(made.place.descriptors.astype(float) @ made.query.descriptors.T.astype(float), axis=1)
    problem = BothWays(
        made.query_place.points_in_cam[order].astype(float),
        made.query.pixels[order].astype(float),
        made.place.points_in_cam.astype(float),
        made.place.pixels.astype(float),
        made.camera,
        7.0,
    )
    start = made.query_from_place.copy()
    start[:3] *= 2.0
    model, chosen = SimilarityModel(start), np.ones(40, dtype=bool)
    residuals, jacobians = problem.linearize(model, chosen)
    step = 1e-6
    numeric = np.stack(
        [
            problem.linearize(model.moved(step * axis), chosen)[0]
            - problem.linearize(model.moved(-step * axis), chosen)[0]
            for axis in np.eye(7)
        ],
        axis=-1,
    ) / (2 * step)
    assert np.abs(numeric - jacobians).max() < 1e-6 * np.abs(jacobians).max()
    assert np.allclose(problem.errors(model), np.linalg.norm(residuals, axis=1))
