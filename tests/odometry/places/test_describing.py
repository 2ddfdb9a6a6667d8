from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features.extractors.xfeat import XFeat, XFeatOptions
from cv3d.odometry.places import Describer
from cv3d.odometry.places.pooling import pooled

Picture = NDArray[np.uint8]


def test_keypoints_are_those_of_the_extractor(describer: Describer, compute: Compute, frames: list[Picture]) -> None:
    expected = XFeat(compute, XFeatOptions(512)).extract(torch.from_numpy(frames[0])[None, None])
    found = describer.describe(frames[0])
    assert found.keypoint_count == len(found) == int(expected.counts()[0])
    assert np.allclose(found.pixels, expected.keypoints[0].numpy(), atol=1e-4)
    assert np.allclose(found.descriptors, expected.descriptors[0].numpy(), atol=1e-5)


def test_given_pixels_get_the_descriptors_that_keypoints_there_have(
    describer: Describer, frames: list[Picture]
) -> None:
    first = describer.describe(frames[0])
    again = describer.describe(frames[0], first.pixels[:300])
    assert again.keypoint_count == first.keypoint_count
    assert len(again) == len(first) + 300
    assert np.allclose(again.descriptors[again.keypoint_count :], first.descriptors[:300], atol=1e-5)
    assert np.array_equal(again.pixels[again.keypoint_count :], first.pixels[:300])


def test_pixels_outside_the_picture_match_nothing(describer: Describer, frames: list[Picture]) -> None:
    at = np.array([[10.0, 10.0], [-20.0, 5.0], [np.nan, 4.0], [640.0, 4.0], [639.4, 479.4]])
    rows = describer.describe(frames[0], at)
    lengths = np.linalg.norm(rows.descriptors[rows.keypoint_count :], axis=1)
    assert np.allclose(lengths, [1.0, 0.0, 0.0, 0.0, 1.0], atol=1e-5)


def test_a_smaller_network_picture_sees_the_same_places(compute: Compute, frames: list[Picture]) -> None:
    at = np.array([[100.0, 90.0], [301.5, 222.0], [500.0, 400.0]])
    full = Describer(compute, 512, None).describe(frames[0], at)
    small = Describer(compute, 512, 480).describe(frames[0], at)
    assert (full.pixel_size, small.pixel_size) == (1.0, 640 / 480)
    off = full.pixels[:, None] - small.pixels[None, : small.keypoint_count]
    nearest = np.linalg.norm(off, axis=2).argmin(axis=0)
    off = off[nearest, np.arange(len(nearest))]
    shared = np.linalg.norm(off, axis=1) < 1.5
    assert shared.mean() > 0.2
    assert np.abs(off[shared].mean(axis=0)).max() < 0.3
    own = (full.descriptors[full.keypoint_count :] * small.descriptors[small.keypoint_count :]).sum(axis=1)
    other = (full.descriptors[full.keypoint_count :] * np.roll(small.descriptors[-3:], 1, axis=0)).sum(axis=1)
    assert (own > other + 0.2).all()


def test_the_whole_picture_is_most_like_itself(describer: Describer, frames: list[Picture]) -> None:
    first, second, mirrored, noise = (
        describer.describe(picture).whole
        for picture in (
            *frames,
            np.ascontiguousarray(frames[0][:, ::-1]),
            np.random.default_rng(0).integers(0, 256, (480, 640), dtype=np.uint8),
        )
    )
    assert np.isclose(first @ first, 1.0, atol=1e-5)
    assert first @ second > max(first @ mirrored, first @ noise) + 0.002
    assert len(first) == 64 * 65 // 2


def test_pictures_without_texture_are_described(describer: Describer) -> None:
    black = describer.describe(np.zeros((480, 640), np.uint8), np.array([[5.0, 5.0]]))
    assert black.keypoint_count < 20
    assert np.isfinite(black.descriptors).all()
    assert np.isfinite(black.whole).all()


def test_read_only_and_odd_pictures_are_welcome(describer: Describer, frames: list[Picture]) -> None:
    picture = frames[0][:301, :397]
    picture.setflags(write=False)
    assert describer.describe(picture).size == (397, 301)


def test_other_arrays_are_refused(describer: Describer, compute: Compute) -> None:
    for bad in (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32), np.zeros((0, 4), np.uint8)):
        with pytest.raises(InputError, match="a grey picture"):
            describer.describe(bad)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="pixels to describe"):
        describer.describe(np.zeros((40, 40), np.uint8), np.zeros(3))
    with pytest.raises(InputError, match="max_side"):
        Describer(compute, 512, 10)


def test_inner_products_are_those_of_the_matrix_roots() -> None:
    rng = np.random.default_rng(0)
    matrices = []
    for _ in range(2):
        rows = rng.normal(size=(200, 8))
        matrices.append(rows.T @ rows / 200)
    roots = []
    for matrix in matrices:
        values, vectors = np.linalg.eigh(matrix)
        root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
        assert np.allclose(root @ root, matrix)
        roots.append(root / np.linalg.norm(root))
    assert np.isclose(pooled(matrices[0]) @ pooled(matrices[1]), (roots[0] * roots[1]).sum(), atol=1e-6)
