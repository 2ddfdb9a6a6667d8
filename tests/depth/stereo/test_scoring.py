"""Scores against truth, which pixels both pictures see, and depth."""

from __future__ import annotations

import numpy as np
import pytest

from cv3d.depth.stereo import score, stereo_depth, visible_in_both
from cv3d.errors import InputError
from cv3d.geometry.cameras import Camera

from .planes import Plane, pair_of

CAMERA = Camera("pinhole", 4, 2, (100.0, 100.0, 1.5, 0.5))


def test_scores_count_holes_as_bad_and_unknown_truth_not_at_all() -> None:
    truth = np.array([[10.0, 10.0, 10.0, 0.0, np.inf, 10.0]], np.float32)
    found = score(np.array([[10.5, 11.5, 0.0, 3.0, 3.0, 13.0]], np.float32), truth)
    assert (found.pixels, found.bad_1, found.bad_2, found.coverage) == (4, 0.75, 0.5, 0.75)
    assert found.mean_error == pytest.approx((0.5 + 1.5 + 3.0) / 3)


def test_a_mask_says_what_is_judged() -> None:
    truth = np.full((1, 4), 5.0, np.float32)
    found = score(np.array([[5.0, 9.0, 9.0, 9.0]], np.float32), truth, np.array([[True, True, False, False]]))
    assert (found.pixels, found.bad_2) == (2, 0.5)
    with pytest.raises(InputError, match="no pixel"):
        score(truth, truth, np.zeros((1, 4), bool))
    with pytest.raises(InputError, match="one shape"):
        score(truth, truth[:, :3])


def test_what_lies_behind_a_box_is_not_visible_in_both() -> None:
    pair = pair_of([Plane(5.0), Plane(21.0, columns=(80.0, 120.0))])
    visible = visible_in_both(pair.truth, pair.right_truth)
    assert visible[:, 81:119].all()
    assert visible[:, 125:].all()
    # 16 columns left of the box are hidden behind it in the right picture, and 5 lie beyond its border.
    assert not visible[:, 65:79].any()
    assert not visible[:, :4].any()
    assert visible[:, 7:62].all()
    with pytest.raises(InputError):
        visible_in_both(pair.truth, pair.right_truth[:-1])


def test_depth_is_focal_length_times_baseline_over_disparity() -> None:
    disparity = np.array([[5.0, 0.0, 2.5, 10.0]] * 2, np.float32)
    depth = stereo_depth(disparity, CAMERA, 0.1)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth[0], [2.0, 0.0, 4.0, 1.0])
    # With a principal offset, disparities count from it: 5 px become 2.5, and 2.5 are at infinity.
    np.testing.assert_allclose(stereo_depth(disparity, CAMERA, 0.1, -2.5)[0], [4.0, 0.0, 0.0, 4.0 / 3.0], rtol=1e-6)


def test_depth_needs_a_fitting_pinhole_camera_and_a_baseline() -> None:
    disparity = np.ones((2, 4), np.float32)
    for camera, baseline, message in (
        (Camera("pinhole", 5, 2, CAMERA.params), 0.1, "4x2, its camera 5x2"),
        (Camera("division", 4, 2, (*CAMERA.params, 0.0)), 0.1, "pinhole"),
        (CAMERA, 0.0, "positive"),
        (CAMERA, float("nan"), "positive"),
    ):
        with pytest.raises(InputError, match=message):
            stereo_depth(disparity, camera, baseline)
