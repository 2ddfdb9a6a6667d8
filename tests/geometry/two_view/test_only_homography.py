"""A homography where nothing more general is looked for."""

from __future__ import annotations

import numpy as np
import pytest

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import ModelKind, TwoViewOptions, UnknownFocal, estimate_two_view


def test_it_is_found_although_an_epipolar_geometry_explains_more() -> None:
    rng = np.random.default_rng(0)
    camera = Camera("pinhole", 640, 480, (500.0, 500.0, 319.5, 239.5))
    depths = np.where(np.arange(200) < 120, 5.0, rng.uniform(3.0, 10.0, 200))
    points = np.column_stack([rng.uniform(-1.5, 1.5, (200, 2)), np.ones(200)]) * depths[:, None] / 3.0
    first, second = camera.project(points), camera.project(points + np.array([1.0, 0.2, 0.1]))
    general = estimate_two_view(first, second)
    assert general.model is ModelKind.FUNDAMENTAL
    planar = estimate_two_view(first, second, camera, camera, TwoViewOptions(only_homography=True))
    assert planar.model is ModelKind.HOMOGRAPHY
    assert planar.inliers[:120].mean() > 0.99
    assert planar.inliers[120:].mean() < 0.3
    assert planar.matrix is not None
    carried = np.column_stack([first, np.ones(200)]) @ planar.matrix.T
    np.testing.assert_allclose((carried[:, :2] / carried[:, 2:])[:120], second[:120], atol=0.5)


def test_six_matches_are_enough() -> None:
    points = np.array([[0.0, 0.0], [100.0, 3.0], [97.0, 80.0], [5.0, 90.0], [50.0, 40.0], [20.0, 60.0]])
    options = TwoViewOptions(only_homography=True, keep_unsupported=True)
    found = estimate_two_view(points, 2.0 * points + 5.0, options=options)
    assert found.matrix is not None
    np.testing.assert_allclose(found.matrix / found.matrix[2, 2], [[2, 0, 5], [0, 2, 5], [0, 0, 1]], atol=1e-6)
    assert estimate_two_view(points[:5], points[:5], options=options).matrix is None


def test_it_does_not_go_with_focal_lengths() -> None:
    with pytest.raises(ValueError, match="focal"):
        TwoViewOptions(only_homography=True, unknown_focal=UnknownFocal.SHARED)
