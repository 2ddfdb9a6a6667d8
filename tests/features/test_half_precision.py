"""Half precision finds what single precision finds, on the CPU, at the tolerance that `Precision` states."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cv3d.compute import Compute
from cv3d.features import weights
from cv3d.features.extractors.base import ExtractorOptions, Features
from cv3d.features.extractors.registry import EXTRACTORS, create_extractor
from cv3d.features.matchers.base import Matches
from cv3d.features.matchers.registry import create_matcher

HALF = Compute.choose("cpu", precision="float16")
PAIRS = [
    ("xfeat", "mutual"),
    ("xfeat", "lighterglue"),
    ("xfeat-dense", "mutual-refined"),
    pytest.param("aliked", "lightglue-aliked", marks=pytest.mark.slow),
    pytest.param("disk", "lightglue-disk", marks=pytest.mark.slow),
]


def found(extractor: str, matcher: str, compute: Compute, frames: Tensor) -> tuple[Features, Matches]:
    features = create_extractor(extractor, compute, ExtractorOptions(512)).extract(frames)
    return features, create_matcher(matcher, compute).match(features[:1], features[1:])


def distances(these: Tensor, those: Tensor) -> Tensor:
    """(..., N) from each point to the nearest of the others."""
    return torch.cdist(these, those, compute_mode="donot_use_mm_for_euclid_dist").amin(-1)


@pytest.mark.parametrize(("extractor", "matcher"), PAIRS)
@pytest.mark.slow
def test_half_precision_finds_what_single_precision_finds(
    extractor: str, matcher: str, compute: Compute, frames: Tensor
) -> None:
    if not all(weights.is_here(name) for name in EXTRACTORS[extractor].weights):
        pytest.skip(f"the weights of {extractor} are not installed")
    single, half = (found(extractor, matcher, policy, frames) for policy in (compute, HALF))
    assert half[0].descriptors.dtype is torch.float16
    assert half[0].keypoints.dtype is half[1].scores.dtype is torch.float32
    near = distances(single[0].keypoints, half[0].keypoints) < 0.5
    assert near[single[0].mask].float().mean() > 0.98
    matches = [torch.cat(m.points_of_pair(0, f[:1], f[1:]), 1) for f, m in (single, half)]
    assert len(matches[0]) > 150
    assert (distances(*matches) < 1.0).float().mean() > 0.96
