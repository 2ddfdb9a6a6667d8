"""The device expressions: Lucas-Kanade beside its OpenCV twin, and alignment of reference patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cv3d.features.tracks.alignment import AlignmentOptions, References, align
from cv3d.features.tracks.lucas_kanade import FlowOptions, follow
from cv3d.features.tracks.opencv_flow import follow_opencv
from cv3d.features.tracks.pyramid import affine_basis, build_pyramid, sample, sample_warped, window

OPTIONS = FlowOptions()


def grid(size: tuple[int, int], margin: int = 40, step: int = 14) -> Tensor:
    x = torch.arange(margin, size[0] - margin, step).float()
    y = torch.arange(margin, size[1] - margin, step).float()
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((xx.reshape(-1), yy.reshape(-1)), 1) + 0.25


def pyramid(plane: Any, moment: float) -> tuple[np.ndarray, object]:
    pixels = plane.frame(moment).pixels
    return pixels, build_pyramid(torch.from_numpy(pixels).float(), OPTIONS.levels)


def test_the_opencv_twin_gives_the_numbers_of_the_reference(plane: Any) -> None:
    (image0, first), (image1, second) = pyramid(plane, 0.0), pyramid(plane, 2.0)
    points = grid(plane.size)
    is_guessed = torch.arange(len(points)) % 3 == 0
    near = torch.from_numpy(plane.carried(points.numpy(), 0.0, 2.0)).float() + 1.0
    guess = torch.where(is_guessed[:, None], near, points)
    ours, is_good = follow(first, second, points, guess, OPTIONS)
    theirs, is_good_too = follow_opencv(image0, image1, points.numpy(), guess.numpy(), OPTIONS)
    distance = np.linalg.norm(ours.numpy() - theirs, axis=1)
    # OpenCV rounds pyramids to bytes and windows to 1/32 grey level.
    assert (is_good.numpy() == is_good_too).mean() > 0.98
    assert np.median(distance) < 0.005
    assert np.quantile(distance, 0.95) < 0.05


def test_points_are_followed_to_their_true_places(plane: Any) -> None:
    (_, first), (_, second) = pyramid(plane, 0.0), pyramid(plane, 3.0)
    points = grid(plane.size)
    found, is_good = follow(first, second, points, points, OPTIONS)
    error = np.linalg.norm(found.numpy() - plane.carried(points.numpy(), 0.0, 3.0), axis=1)
    assert is_good.float().mean() > 0.9
    assert np.median(error[is_good.numpy()]) < 0.1


def test_a_window_without_texture_is_not_good() -> None:
    flat = build_pyramid(torch.full((64, 64), 100.0), 3)
    points = torch.tensor([[32.0, 32.0]])
    _, is_good = follow(flat, flat, points, points, OPTIONS)
    assert not is_good.any()


def test_warped_sampling_is_sampling_at_warped_places() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand((2, 30, 40), generator=generator)
    pixels = torch.tensor([[10.3, 12.8], [20.0, 9.5]])
    warps = torch.eye(2) + 0.2 * torch.rand((2, 2, 2), generator=generator)
    offsets = window(3, torch.device("cpu"))
    expected = sample(maps, pixels[:, None] + offsets @ warps.transpose(1, 2))
    found = sample_warped(maps, pixels, warps, affine_basis(offsets))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(sample(maps, torch.tensor([[[7.0, 5.0]]]))[:, 0, 0], maps[:, 5, 7])


def aligned_at(
    plane: Any, moment: float, gain: float = 1.0, bias: float = 0.0
) -> tuple[np.ndarray, np.ndarray, object]:
    options = AlignmentOptions(iterations=12, stiffness=0.0, floor=0.0)
    points = grid(plane.size)
    start = build_pyramid(torch.from_numpy(plane.frame(0.0).pixels).float(), 1).levels[0]
    references = References.empty(len(points) + 1, options, torch.device("cpu"))
    rows = torch.arange(len(points)) + 1
    references.take(start, points, rows)
    gray = torch.from_numpy(plane.frame(moment).pixels).float() * gain + bias
    true = plane.carried(points.numpy(), 0.0, moment)
    begin = torch.from_numpy(true).float() + torch.tensor([0.6, -0.5])
    eye = torch.eye(2).expand(len(points), 2, 2)
    found = align(build_pyramid(gray, 1).levels[0], references, rows, begin, eye, options)
    return found.pixels.numpy() - true, true, found


def test_alignment_finds_place_and_warp(plane: Any) -> None:
    offset, _, found = aligned_at(plane, 12.0)
    assert np.median(np.linalg.norm(offset, axis=1)) < 0.08
    assert found.ncc.median() > 0.97
    true = plane.pixels_from_texture(12.0) @ np.linalg.inv(plane.pixels_from_texture(0.0))
    np.testing.assert_allclose(found.warps.median(0).values.numpy(), true[:2, :2], atol=0.01)


def test_alignment_does_not_see_gain_and_bias(plane: Any) -> None:
    offset, _, _ = aligned_at(plane, 6.0)
    dimmed, _, _ = aligned_at(plane, 6.0, gain=0.5, bias=40.0)
    assert np.abs(offset - dimmed).max() < 0.02


def test_covariances_predict_the_errors(plane: Any) -> None:
    offset, _, found = aligned_at(plane, 4.0)
    xx, yy, xy = found.covariance.numpy().T.astype(np.float64)
    determinant = xx * yy - xy**2
    dx, dy = offset.T
    mahalanobis = (yy * dx**2 - 2.0 * xy * dx * dy + xx * dy**2) / determinant
    # The median of a chi-square of two degrees of freedom is 1.39.
    assert 0.2 < np.median(mahalanobis) < 3.0
