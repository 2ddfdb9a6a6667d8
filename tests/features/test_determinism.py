"""Same seed, same device: same bytes, from the picture to the matches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from cv3d.compute import Compute
from cv3d.features import weights
from cv3d.features.extractors.base import ExtractorOptions, Features
from cv3d.features.extractors.registry import EXTRACTORS, create_extractor
from cv3d.features.matchers.base import Matches
from cv3d.features.matchers.registry import MATCHERS, create_matcher

PAIRS = [
    pytest.param("xfeat", "mutual", marks=pytest.mark.slow),
    ("xfeat", "lighterglue"),
    pytest.param("xfeat-dense", "mutual-refined", marks=pytest.mark.slow),
    ("sift", "ratio"),
    pytest.param("aliked", "lightglue-aliked", marks=pytest.mark.slow),
    pytest.param("disk", "lightglue-disk", marks=pytest.mark.slow),
]


def matched(extractor: str, matcher: str, pictures: Tensor) -> tuple[Features, Matches]:
    compute = Compute.choose("cpu")
    features = create_extractor(extractor, compute, ExtractorOptions(200)).extract(pictures)
    return features, create_matcher(matcher, compute).match(features[:1], features[1:])


@pytest.fixture
def _restored_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_restored_threads")
@pytest.mark.parametrize(("extractor", "matcher"), PAIRS)
def test_the_same_pictures_give_the_same_bytes(extractor: str, matcher: str, small: Tensor) -> None:
    needed = {*EXTRACTORS[extractor].weights, *MATCHERS[matcher].weights}
    if not all(weights.is_here(name) for name in needed):
        pytest.skip(f"the weights of {matcher} are not installed")
    results = []
    for threads in (1, 1, 2):
        torch.set_num_threads(threads)
        results.append(matched(extractor, matcher, small))
    first, second = results[:2]
    for name in ("keypoints", "descriptors", "scores", "mask"):
        assert torch.equal(getattr(first[0], name), getattr(second[0], name))
    assert torch.equal(first[1].indices, second[1].indices)
    assert torch.equal(first[1].scores, second[1].scores)
    if first[1].keypoints1 is not None:
        assert second[1].keypoints1 is not None
        assert torch.equal(first[1].keypoints1, second[1].keypoints1)
    # ALIKED sums in another order on another number of threads, so that keypoints close to a tie may change places.
    (features1, matches1), (features2, matches2) = results[1:3]
    if extractor != "aliked":
        assert torch.equal(features1.keypoints, features2.keypoints)
        assert torch.equal(matches1.indices, matches2.indices)
    else:
        near = torch.cdist(features1.keypoints, features2.keypoints, compute_mode="donot_use_mm_for_euclid_dist") < 0.05
        assert near.any(2).float().mean() > 0.97
