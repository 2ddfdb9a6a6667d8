"""Patches are found between pixels, under changes of light and shape, and it is known how well."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.odometry.aligners import Aligner, FusedAligner, TorchAligner, aligner_for
from cv3d.odometry.patches import LEVELS, MODEL_VARIANCE, RADIUS, STORED, UNKNOWN, build_levels
from cv3d.odometry.patches_kernel import take_kernel
from cv3d.odometry.patches_reference import take_reference

from .simulated import Texture, rotation, rounded

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
SIZE = (200, 160)
TEXTURE = Texture.random(3, shortest=10.0, longest=40.0)
PICTURE = TEXTURE.picture(SIZE)


def places(count: int, seed: int = 0, margin: float = 40.0) -> Pixels:
    rng = np.random.default_rng(seed)
    return rng.uniform(margin, np.array(SIZE) - 1.0 - margin, (count, 2)).astype(np.float32)


def identities(count: int) -> Pixels:
    return np.tile(np.eye(2, dtype=np.float32), (count, 1, 1))


def aligned(
    first: Floats,
    second: Floats,
    pixels: Pixels,
    guess: Pixels,
    warps: Pixels | None = None,
    coarsest: int = 2,
    aligner: Aligner | None = None,
) -> Pixels:
    """Patches of one picture found in another."""
    used = FusedAligner() if aligner is None else aligner
    used.reserve(len(pixels))
    rows = np.arange(len(pixels))
    used.take(build_levels(rounded(first)), pixels, rows)
    inverse_warps = identities(len(pixels)) if warps is None else warps
    return used.align(build_levels(rounded(second)), rows, inverse_warps, guess, coarsest)


@pytest.mark.parametrize("size", [(64, 48), (65, 49), (87, 63)])
def test_a_level_is_the_mean_of_four_pixels(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, size[::-1], dtype=np.uint8)
    levels = build_levels(image)
    assert len(levels) == (3 if min(size) < 80 else LEVELS) or min(levels[-1].shape) < 4 * RADIUS
    for fine, coarse in pairwise(levels):
        height, width = coarse.shape
        assert (height, width) == (fine.shape[0] // 2, fine.shape[1] // 2)
        four = fine[: 2 * height, : 2 * width].astype(float).reshape(height, 2, width, 2).mean((1, 3))
        assert np.abs(coarse - four).max() <= 0.5
        pooled = torch.nn.functional.avg_pool2d(torch.from_numpy(fine)[None, None].float(), 2)[0, 0]
        assert np.array_equal(coarse, (pooled + 0.5).floor().numpy())


def test_levels_show_the_same_places_whatever_the_size() -> None:
    # A ramp of half a grey level a pixel: the value tells the place.
    for width in (400, 401, 403, 407):
        ramp = np.tile(0.5 * np.arange(width), (64, 1))
        for level, image in enumerate(build_levels(rounded(ramp))):
            x = 2.0**level * (np.arange(image.shape[1]) + 0.5) - 0.5
            assert np.abs(image[0] - 0.5 * x).max() <= 1.0


def test_small_pictures_have_fewer_levels() -> None:
    assert len(build_levels(np.zeros((18, 300), np.uint8))) == 1
    assert len(build_levels(np.zeros((480, 640), np.uint8))) == LEVELS


def test_taken_patches_are_the_picture_around() -> None:
    image = rounded(PICTURE)
    taken = np.empty((1, 2 * STORED + 1, 2 * STORED + 1), np.uint8)
    take_kernel(image, np.array([[70.0, 60.0]], np.float32), 1.0, taken)
    assert np.array_equal(taken[0], image[60 - STORED : 61 + STORED, 70 - STORED : 71 + STORED])
    take_kernel(image, np.array([[0.0, SIZE[1] - 1.0]], np.float32), 1.0, taken)
    around = cv2.copyMakeBorder(image, STORED, STORED, STORED, STORED, cv2.BORDER_REPLICATE)
    assert np.array_equal(taken[0], around[-2 * STORED - 1 :, : 2 * STORED + 1])


def test_the_reference_takes_the_same_patches() -> None:
    levels = build_levels(rounded(PICTURE))
    pixels = np.random.default_rng(1).uniform(-8.0, np.array(SIZE) + 8.0, (300, 2)).astype(np.float32)
    side = 2 * STORED + 1
    taken = np.empty((300, LEVELS, side, side), np.uint8)
    for level, image in enumerate(levels):
        out = np.empty((300, side, side), np.uint8)
        take_kernel(image, pixels, 0.5**level, out)
        taken[:, level] = out
    table = torch.zeros((300, LEVELS, side, side), dtype=torch.uint8)
    pyramid = [torch.from_numpy(level).float() for level in levels]
    take_reference(pyramid, table, torch.from_numpy(pixels), torch.arange(300))
    difference = np.abs(table.numpy().astype(int) - taken)
    # Halves may be rounded either way.
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize(("gain", "bias"), [(1.0, 0.0), (0.6, 30.0), (1.3, -50.0)])
def test_shifts_between_pixels_are_found_whatever_the_exposure(gain: float, bias: float) -> None:
    pixels = places(60)
    for seed in range(3):
        shift = np.random.default_rng(seed).uniform(-4.0, 4.0, 2)
        second = gain * TEXTURE.picture(SIZE, shift=-shift) + bias
        found = aligned(PICTURE, second, pixels, pixels)
        error = np.linalg.norm(found[:, :2] - pixels - shift, axis=1)
        good = found[:, 2] > 0.95
        assert good.mean() > 0.95
        assert np.quantile(error[good], 0.95) < 0.05
        assert np.median(error) < 0.02


def test_shapes_that_the_motion_predicts_are_found() -> None:
    middle, pixels = np.array(SIZE) / 2.0, places(60)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        warp = np.eye(2) + rng.uniform(-0.25, 0.25, (2, 2))
        warp = rotation((0.0, 0.0, rng.uniform(-0.5, 0.5)))[:2, :2] @ warp
        inverse = np.linalg.inv(warp)
        # Offsets from the middle move by the warp, and a little more.
        shift = rng.uniform(-1.0, 1.0, 2)
        second = TEXTURE.picture(SIZE, inverse, middle - inverse @ (middle + shift))
        truth = (pixels - middle) @ warp.T + middle + shift
        near = np.abs(truth - middle).max(1) < 55.0
        warps = np.tile(inverse.astype(np.float32), (len(pixels), 1, 1))
        guess = (truth - shift).astype(np.float32)
        found = aligned(PICTURE, second, pixels, guess, warps)[near]
        error = np.linalg.norm(found[:, :2] - truth[near], axis=1)
        assert (found[:, 2] > 0.97).mean() > 0.9
        # Both the reference and the frame were interpolated by now.
        assert np.quantile(error, 0.9) < 0.08
        assert np.median(error) < 0.04


def test_coarse_levels_reach_far() -> None:
    pixels, shift = places(60, margin=60.0), np.array([11.0, -9.0])
    smooth = Texture.random(8, shortest=16.0, longest=120.0)
    first, second = smooth.picture(SIZE), smooth.picture(SIZE, shift=-shift)
    far = aligned(first, second, pixels, pixels, coarsest=3)
    near = aligned(first, second, pixels, pixels, coarsest=0)
    reached = [(np.linalg.norm(found[:, :2] - pixels - shift, axis=1) < 0.2).mean() for found in (far, near)]
    assert reached[0] > 0.9
    assert reached[0] > reached[1] + 0.2


def test_the_covariance_predicts_the_spread() -> None:
    # Noise as compression and demosaicing leave it: neighbours err alike.
    pixels, shift, trials = places(40), np.array([0.3, -0.4]), 40
    second = TEXTURE.picture(SIZE, shift=-shift)
    rng = np.random.default_rng(0)

    def noisy(picture: Floats) -> Floats:
        noise = cv2.GaussianBlur(rng.normal(0.0, 1.0, picture.shape), (0, 0), 0.8)
        return picture + 5.0 * noise / noise.std()

    found = np.stack([aligned(noisy(PICTURE), noisy(second), pixels, pixels + shift.astype(np.float32), coarsest=0)
                      for _ in range(trials)])  # fmt: skip
    errors = found[:, :, :2] - pixels - shift
    for axis, column in ((0, 3), (1, 5)):
        spread = errors[:, :, axis].std(0)
        predicted = np.sqrt(np.median(found[:, :, column] - MODEL_VARIANCE, axis=0))
        ratio = np.median(spread / predicted)
        assert 0.5 < ratio < 2.0
        # It is also known which points are the better ones.
        assert np.corrcoef(spread, predicted)[0, 1] > 0.5


def test_along_an_edge_a_place_is_uncertain() -> None:
    pixels = np.array([[100.0, 80.0]], np.float32)
    for degrees in (0.0, 30.0, 77.0, 135.0):
        normal = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        along = np.array([-normal[1], normal[0]])
        grid = np.stack(np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1])), -1) - pixels[0]
        edge = 128.0 + 80.0 * np.tanh(grid @ normal / 2.0)
        shifted = 128.0 + 80.0 * np.tanh((grid @ normal - 0.6) / 2.0)
        found = aligned(edge, shifted, pixels, pixels)[0]
        covariance = np.array([[found[3], found[4]], [found[4], found[5]]])
        assert along @ covariance @ along > 400.0
        assert normal @ covariance @ normal < 4.0
        moved = found[:2] - pixels[0]
        # Across it is found, along it stays.
        assert moved @ normal == pytest.approx(0.6, abs=0.05)
        assert moved @ along == pytest.approx(0.0, abs=0.05)


def test_what_cannot_be_found_is_said() -> None:
    flat = np.full(SIZE[::-1], 90.0)
    pixels = places(5)
    from_nothing, to_nothing = aligned(flat, PICTURE, pixels, pixels), aligned(PICTURE, flat, pixels, pixels)
    assert (from_nothing[:, 2] == -1.0).all()
    assert (from_nothing[:, 3:] == UNKNOWN).all()
    assert (to_nothing[:, 2] == -1.0).all()
    for outside in ((-30.0, 50.0), (50.0, 1e6), (np.nan, 50.0), (np.inf, -np.inf), (RADIUS - 0.5, 50.0)):
        guess = np.tile(np.array(outside, np.float32), (5, 1))
        for aligner in (FusedAligner(), TorchAligner(Compute.choose("cpu"))):
            assert (aligned(PICTURE, PICTURE, pixels, guess, coarsest=0, aligner=aligner)[:, 2] == -1.0).all()
    # Warps that reach beyond what is stored, or are no numbers, do no harm.
    for size in (5.0, -1e9, np.nan):
        assert aligned(PICTURE, PICTURE, pixels, pixels, np.full((5, 2, 2), size, np.float32)).shape == (5, 6)


def test_a_point_does_not_depend_on_the_others() -> None:
    pixels = places(30)
    second = TEXTURE.picture(SIZE, shift=np.array([1.3, 0.4]))
    together = aligned(PICTURE, second, pixels, pixels)
    for i in (0, 7, 29):
        assert np.array_equal(aligned(PICTURE, second, pixels[i : i + 1], pixels[i : i + 1])[0], together[i])


def test_the_twin_gives_what_the_reference_gives() -> None:
    rng = np.random.default_rng(5)
    pixels = rng.uniform(0.0, np.array(SIZE) - 1.0, (500, 2)).astype(np.float32)
    guess = (pixels + rng.normal(0.0, 3.0, pixels.shape)).astype(np.float32)
    warps = identities(500) + rng.uniform(-0.2, 0.2, (500, 2, 2)).astype(np.float32)
    first = PICTURE.copy()
    first[:, :60] = 90.0
    second = 0.8 * TEXTURE.picture(SIZE, shift=np.array([1.3, 0.4])) + rng.normal(0.0, 3.0, PICTURE.shape)
    for coarsest in (0, 2, 3):
        twin = aligned(first, second, pixels, guess, warps, coarsest)
        reference = aligned(first, second, pixels, guess, warps, coarsest, aligner=TorchAligner(Compute.choose("cpu")))
        # A point may leave the picture in one that just stays inside in the other, and steps near the limit may be
        # taken or not: a few differ, and what is badly placed may wander.
        assert ((twin[:, 2] > 0.8) != (reference[:, 2] > 0.8)).mean() <= 0.004
        both = (twin[:, 2] > 0.8) & (reference[:, 2] > 0.8)
        assert both.sum() > 100
        apart = np.linalg.norm(twin[both, :2] - reference[both, :2], axis=1)
        assert np.quantile(apart, 0.99) < 0.002
        assert apart.max() < 0.05
        assert np.quantile(np.abs(twin[both, 2] - reference[both, 2]), 0.99) < 1e-3
        scale = twin[both, 3:4] + twin[both, 5:6]
        assert np.quantile(np.abs(twin[both, 3:] - reference[both, 3:]) / scale, 0.99) < 1e-2


def test_every_kind_of_device_has_an_aligner() -> None:
    assert isinstance(aligner_for(), FusedAligner)
    assert isinstance(aligner_for(Compute.choose("cpu")), FusedAligner)
    assert isinstance(aligner_for(Compute(torch.device("meta"), torch.float32)), TorchAligner)


@pytest.mark.parametrize("kind", ["twin", "reference"])
def test_rows_stay_as_the_table_grows(kind: str) -> None:
    aligner: Aligner = FusedAligner() if kind == "twin" else TorchAligner(Compute.choose("cpu"))
    levels, pixels = build_levels(rounded(PICTURE)), places(7)
    rows = np.array([3, 0, 9, 5, 1, 8, 2])
    aligner.reserve(10)
    aligner.take(levels, pixels, rows)
    before = aligner.patches().copy()
    assert before.any((1, 2, 3)).sum() == 7
    aligner.reserve(40)
    aligner.reserve(4)
    assert np.array_equal(aligner.patches()[:10], before)
    assert aligner.patches().shape[0] == 40
    nothing = np.zeros(0, np.int64), np.zeros((0, 2), np.float32)
    aligner.take(levels, nothing[1], nothing[0])
    assert aligner.align(levels, nothing[0], identities(0), nothing[1], 2).shape == (0, 6)
    found = aligner.align(levels, rows[::-1].copy(), identities(7), pixels[::-1], 2)
    assert np.abs(found[:, :2] - pixels[::-1]).max() < 0.05
