"""Focal lengths of simulated key frames: found from afar, with honest deviations, and not where nothing tells them."""

from __future__ import annotations

import numpy as np
import pytest

from cv3d.odometry.focal_fit import fit_focal, refit_focal

from .simulated_keys import ahead, around, camera_of, key_frames

STARTS = (1.0, 0.65, 1.5)


@pytest.mark.parametrize("assumed", [380.0, 560.0, 850.0])
def test_the_focal_length_is_found_whatever_was_assumed(assumed: float) -> None:
    keys, points = key_frames(camera_of(560.0), around())
    fit = fit_focal(keys, points, camera_of(assumed), STARTS)
    assert fit is not None
    assert fit.focal == pytest.approx(560.0, rel=0.01)
    assert fit.camera.shape == (0.0, 0.0, 0.0, 0.0)
    assert fit.camera.params[0] == fit.camera.params[1]
    assert fit.camera.params[2:4] == (319.5, 239.5)
    assert fit.observations > 1000


def test_a_radial_term_is_found_where_there_is_one() -> None:
    keys, points = key_frames(camera_of(560.0, -0.12), around())
    fit = fit_focal(keys, points, camera_of(520.0), STARTS)
    assert fit is not None
    assert fit.camera.model == "brown4"
    assert fit.camera.params[4] == pytest.approx(-0.12, abs=0.02)
    assert fit.focal == pytest.approx(560.0, rel=0.01)


def test_a_radial_term_that_was_found_is_looked_at_again() -> None:
    keys, points = key_frames(camera_of(560.0, -0.12), around())
    fit = fit_focal(keys, points, camera_of(520.0, -0.05), (1.0,))
    assert fit is not None
    assert fit.camera.params[4] == pytest.approx(-0.12, abs=0.02)
    straight, points = key_frames(camera_of(560.0), around())
    fit = fit_focal(straight, points, camera_of(520.0, -0.05), (1.0,))
    assert fit is not None
    assert fit.camera.params[4] == 0.0


def test_driving_straight_ahead_tells_far_less() -> None:
    deviations = []
    for path in (around(), ahead()):
        keys, points = key_frames(camera_of(560.0), path, noise=1.0)
        fit = refit_focal(keys, points, camera_of(560.0))
        assert fit is not None
        assert abs(fit.focal - 560.0) < 4.0 * fit.deviation
        deviations.append(fit.deviation)
    assert deviations[1] > 1.5 * deviations[0]


def test_the_deviation_covers_the_error() -> None:
    errors = []
    for seed in range(12):
        keys, points = key_frames(camera_of(560.0), around(12)[:5], noise=0.7, points=80, seed=seed)
        fit = refit_focal(keys, points, camera_of(560.0))
        assert fit is not None
        errors.append((fit.focal - 560.0) / fit.deviation)
    assert float(np.sqrt(np.mean(np.square(errors)))) < 1.6


def test_other_lenses_keep_what_is_known_of_them() -> None:
    camera = camera_of(560.0, -0.12)
    keys, points = key_frames(camera, around())
    fit = refit_focal(keys, points, camera.with_params((600.0, 600.0, *camera.params[2:])))
    assert fit is not None
    assert fit.focal == pytest.approx(560.0, rel=0.005)
    assert fit.camera.params[2:] == camera.params[2:]


def test_too_little_is_not_fitted_to() -> None:
    keys, points = key_frames(camera_of(560.0), around())
    assert fit_focal(keys[:2], points, camera_of(560.0), (1.0,)) is None
    few, points = key_frames(camera_of(560.0), around(3), points=20)
    assert fit_focal(few, points, camera_of(560.0), (1.0,)) is None
