"""Disparities of pairs whose truth is known, and what becomes of pairs that have none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cv3d.compute import Compute
from cv3d.depth.stereo import StereoOptions, score, stereo_disparity, visible_in_both
from cv3d.errors import EstimationError, InputError, UsageError

from .planes import HEIGHT, WIDTH, Plane, PlanePair, pair_of

CPU = Compute(torch.device("cpu"), torch.float32)
WALL = Plane(7.3, 0.02, -0.01)
BOX = Plane(24.6, columns=(80.0, 140.0), rows=(30.0, 90.0))
UP_TO_47 = StereoOptions(max_disparity=47)


def matched(pair: PlanePair, options: StereoOptions = UP_TO_47) -> np.ndarray:
    return stereo_disparity(pair.left, pair.right, options=options, compute=CPU).disparity


@pytest.fixture(scope="module")
def pair() -> PlanePair:
    return pair_of([WALL, BOX], gain=1.08)


def test_a_box_before_a_slanted_wall(pair: PlanePair) -> None:
    visible = visible_in_both(pair.truth, pair.right_truth)
    visible[:, :32] = False  # what the right picture shows of it lies beyond its border
    found = score(matched(pair), pair.truth, visible)
    assert found.coverage > 0.95
    assert found.mean_error < 0.2
    assert found.bad_1 < 0.06


def test_what_the_right_picture_does_not_see_stays_a_hole(pair: PlanePair) -> None:
    occluded = np.zeros((HEIGHT, WIDTH), bool)
    # Left of the box lies as much wall behind it as the disparities differ.
    occluded[35:85, 68:77] = True
    assert not visible_in_both(pair.truth, pair.right_truth)[occluded].any()
    assert (matched(pair)[occluded] > 0.0).mean() < 0.1


@pytest.mark.parametrize("fraction", np.arange(0.0, 1.0, 0.125))
def test_disparities_between_whole_pixels_are_unbiased(fraction: float) -> None:
    found = matched(pair_of([Plane(9.0 + fraction)], noise=0.5))[:, 30:-10]
    assert (found > 0.0).mean() > 0.97
    assert abs(np.median(found) - 9.0 - fraction) < 0.03
    # Without steps of whole pixels the spread is that of the noise.
    assert np.percentile(np.abs(found[found > 0.0] - 9.0 - fraction), 90) < 0.12


def test_whole_pixels_where_nothing_between_is_asked_for(pair: PlanePair) -> None:
    found = matched(pair, replace(UP_TO_47, is_subpixel=False))
    np.testing.assert_array_equal(found, np.rint(found))


def test_filling_takes_the_farther_side(pair: PlanePair) -> None:
    filled = matched(pair, replace(UP_TO_47, is_filled=True))
    assert (filled > 0.0).all()
    hidden = (slice(35, 85), slice(68, 77))
    assert np.median(np.abs(filled[hidden] - pair.truth[hidden])) < 1.0
    found = matched(pair)
    np.testing.assert_array_equal(filled[found > 0.0], found[found > 0.0])


def test_confidence_tells_right_from_wrong(pair: PlanePair) -> None:
    loose = replace(UP_TO_47, min_confidence=0.0, speckle_area=0, consistency_px=5.0)
    result = stereo_disparity(pair.left, pair.right, options=loose, compute=CPU)
    found = result.disparity > 0.0
    wrong = np.abs(result.disparity - pair.truth) > 1.0
    assert (result.confidence[~found] == 0.0).all()
    assert result.confidence[found & ~wrong].mean() > result.confidence[found & wrong].mean() + 0.2
    assert 0.0 < result.confidence[found].min() <= result.confidence[found].max() <= 1.0
    strict = stereo_disparity(pair.left, pair.right, options=replace(loose, min_confidence=0.9), compute=CPU)
    assert 0.0 < strict.coverage < result.coverage
    assert strict.confidence[strict.disparity > 0.0].min() >= 0.9


def test_the_range_is_found(pair: PlanePair) -> None:
    result = stereo_disparity(pair.left, pair.right, compute=CPU)
    assert pair.truth.max() <= result.max_disparity < 2.0 * pair.truth.max()


def test_bands_of_rows_agree_with_the_whole(pair: PlanePair) -> None:
    whole, banded = matched(pair), matched(pair, replace(UP_TO_47, max_voxels=WIDTH * 48 * 40))
    assert (np.abs(whole - banded) > 0.25).mean() < 0.01


def test_threads_do_not_change_the_result(pair: PlanePair) -> None:
    one, three = (matched(pair, replace(UP_TO_47, threads=threads)) for threads in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_colour_and_grey_go_together(pair: PlanePair) -> None:
    colour = PlanePair(np.repeat(pair.left[..., None], 3, axis=2), pair.right, pair.truth, pair.right_truth)
    np.testing.assert_array_equal(matched(colour), matched(pair))


@pytest.mark.parametrize("kind", ["black", "white", "noise", "other", "swapped"])
def test_without_counterparts_there_are_holes_and_no_range(pair: PlanePair, kind: str) -> None:
    rng = np.random.default_rng(3)
    flat = {"black": 0.0, "white": 255.0}.get(kind, 128.0)
    spread = 2.0 if kind == "noise" else 0.0
    left, right = (np.clip(rng.normal(flat, spread, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8) for _ in range(2))
    if kind == "other":
        left, right = pair.left, pair_of([WALL], seed=50).right
    if kind == "swapped":
        left, right = pair.right, pair.left
    result = stereo_disparity(left, right, options=UP_TO_47, compute=CPU)
    assert result.coverage < 0.02
    if kind == "swapped":
        with pytest.raises(InputError, match="swapped"):
            stereo_disparity(left, right, compute=CPU)
    else:
        with pytest.raises(EstimationError, match="nothing in common"):
            stereo_disparity(left, right, compute=CPU)


def test_pictures_that_cannot_be_matched_are_refused(pair: PlanePair) -> None:
    for right, message in (
        (pair.right[:-2], "200x120, the right one 200x118"),
        (pair.right.astype(np.uint16) * 256, "uint16"),
        (np.dstack([pair.right] * 2), "shape"),
    ):
        with pytest.raises(InputError, match=message):
            stereo_disparity(pair.left, right, compute=CPU)
    with pytest.raises(InputError, match="16 pixels"):
        stereo_disparity(pair.left[:9], pair.right[:9], compute=CPU)


@pytest.mark.parametrize(
    "settings",
    [{"max_disparity": 0}, {"small_step": 130}, {"consistency_px": -1.0}, {"min_confidence": 1.1}, {"threads": 0}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        StereoOptions(**settings)  # type: ignore[arg-type]
