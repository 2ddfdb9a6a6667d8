"""Extractor and matcher put together for pairs: places of keypoints in the pictures as they are."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features.direct_matcher import DirectMatcher, DirectMatcherOptions
from cv3d.features.extractors.base import ExtractorOptions
from cv3d.features.extractors.registry import create_extractor
from cv3d.features.matchers.registry import create_matcher


@dataclass
class Still:
    key: str
    pixels: NDArray[np.uint8]
    reads: int = 0

    def read(self) -> NDArray[np.uint8]:
        self.reads += 1
        return self.pixels


@pytest.fixture
def picture(frames: Tensor) -> NDArray[np.uint8]:
    """(480, 640, 3)."""
    return np.ascontiguousarray((frames[0].permute(1, 2, 0) * 255.0).round().byte().numpy())


def matcher(compute: Compute, **options: object) -> DirectMatcher:
    sift = create_extractor("sift", compute, ExtractorOptions(600))
    return DirectMatcher(sift, create_matcher("ratio", compute), compute, DirectMatcherOptions(**options))  # type: ignore[arg-type]


def test_a_picture_matches_itself_where_it_is(picture: NDArray[np.uint8], compute: Compute) -> None:
    first, second = Still("a", picture), Still("b", picture)
    found = matcher(compute)(first, second)
    assert found.sizes == ((640, 480), (640, 480))
    # Points with several directions, and repeated patterns, have no match that is clearly the nearest.
    assert 0.5 * found.keypoints[0] < len(found.points0) <= found.keypoints[0] <= 600
    np.testing.assert_array_equal(found.points0, found.points1)
    assert len(found.scores) == len(found.points0)


def test_keypoints_of_a_shrunk_picture_are_where_they_are_in_the_large_one(
    picture: NDArray[np.uint8], compute: Compute
) -> None:
    # Nothing in the border may shift anything, so some is put around the large picture.
    large = np.asarray(cv2.resize(picture, (1920, 1440), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    bordered = cv2.copyMakeBorder(large, 21, 0, 33, 0, cv2.BORDER_CONSTANT)
    found = matcher(compute, max_side=640)(Still("a", picture), Still("b", np.asarray(bordered, dtype=np.uint8)))
    expected = (found.points0 + 0.5) * 3.0 - 0.5 + (33.0, 21.0)
    off = np.abs(found.points1 - expected)
    near = (off < 6.0).all(axis=1)
    assert near.mean() > 0.9
    # A convention wrong by half a pixel of either picture would shift them all by one pixel of the large one.
    assert np.abs(np.median((found.points1 - expected)[near], axis=0)).max() < 0.4
    assert found.sizes[1] == (1953, 1461)


def test_a_border_is_left_out_only_where_asked_for(picture: NDArray[np.uint8], compute: Compute) -> None:
    bordered = Still("a", np.asarray(cv2.copyMakeBorder(picture, 20, 20, 20, 20, cv2.BORDER_CONSTANT), dtype=np.uint8))
    for trims in (True, False):
        found = matcher(compute, trims_border=trims)(bordered, bordered)
        inside = ((found.points0 >= 20.0) & (found.points0 <= (660.0, 500.0))).all(axis=1)
        assert inside.all() or not trims


def test_a_picture_is_extracted_once_as_long_as_it_is_remembered(picture: NDArray[np.uint8], compute: Compute) -> None:
    stills = [Still(name, picture[:240, :320]) for name in "abc"]
    match = matcher(compute, kept_pictures=2)
    assert len(match(stills[0], stills[1]).extract_seconds) == 2
    assert len(match(stills[0], stills[2]).extract_seconds) == 1
    assert len(match(stills[2], stills[0]).extract_seconds) == 0
    assert len(match(stills[1], stills[0]).extract_seconds) == 1
    assert [still.reads for still in stills] == [1, 2, 1]


def test_a_picture_without_anything(compute: Compute, picture: NDArray[np.uint8]) -> None:
    found = matcher(compute)(Still("a", np.zeros((64, 64, 3), np.uint8)), Still("b", picture))
    assert found.points0.shape == found.points1.shape == (0, 2)
    assert found.keypoints[0] == 0


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(InputError, match="32 at least"):
        DirectMatcherOptions(max_side=8)
