"""The device paths of the features, as Metal runs them: its operations only, no float64, no waiting for the device."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from cv3d.compute import Compute
from cv3d.features import weights
from cv3d.features.extractors import fused
from cv3d.features.extractors.base import ExtractorOptions, Features
from cv3d.features.extractors.registry import EXTRACTORS, create_extractor
from cv3d.features.extractors.xfeat import XFeat, XFeatOptions
from cv3d.features.extractors.xfeat_dense import XFeatDense
from cv3d.features.matchers.lightglue import WEIGHTS, LightGlue, LightGlueOptions
from cv3d.features.matchers.mutual import MutualNearest
from cv3d.features.matchers.ratio import RatioTest
from cv3d.features.matchers.refined import MutualRefined, RefinedOptions

METAL = Compute(torch.device("cpu"), torch.float32)
"""What Metal's policy decides, on the CPU: float32, reference kernels."""


@pytest.fixture(autouse=True)
def _reference_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "TWINS", {})


def pictures(height: int, width: int) -> torch.Tensor:
    return torch.rand((2, 3, height, width), generator=torch.Generator().manual_seed(1))


def random_features(count: int, size: int, seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    descriptors = torch.nn.functional.normalize(torch.randn((2, count, size), generator=generator), dim=-1)
    mask = torch.arange(count) < torch.tensor([[count], [count // 2]])
    keypoints = torch.rand((2, count, 2), generator=generator) * 100.0
    return Features(keypoints, descriptors, mask.float(), mask, torch.full((2, 2), 100.0), mask.float())


def test_the_recorder_sees_what_metal_lacks(record: Callable) -> None:
    work = record(lambda: torch.linalg.eigvalsh(torch.eye(3)))
    assert any("eigh" in name for name in work.missing)
    assert record(lambda: torch.ones(2).double() * 2).wide
    assert record(lambda: float(torch.ones(2).sum())).waits == ["_local_scalar_dense"]


@pytest.mark.parametrize("name", ["xfeat", "xfeat-dense", "aliked", "disk"])
def test_extraction_runs_natively_and_never_waits(name: str, record: Callable) -> None:
    if not all(weights.is_here(w) for w in EXTRACTORS[name].weights):
        pytest.skip(f"the weights of {name} are not installed")
    extractor = create_extractor(name, METAL, ExtractorOptions(64))
    work = record(lambda: extractor.extract(pictures(70, 100)))
    assert work.missing == set()
    assert work.wide == set()
    assert work.waits == []


@pytest.mark.parametrize("kind", [XFeat, XFeatDense])
def test_tiles_run_natively_and_never_wait(kind: type[XFeat | XFeatDense], record: Callable) -> None:
    extractor = kind(METAL, XFeatOptions(64, tile=1024))
    work = record(lambda: extractor.extract(torch.zeros((1, 1, 40, 1100), dtype=torch.uint8)))
    assert (work.missing, work.wide, work.waits) == (set(), set(), [])


@pytest.mark.parametrize("matcher", [MutualNearest(), RatioTest()], ids=lambda m: m.name)
def test_nearest_neighbours_run_natively_and_never_wait(matcher: MutualNearest | RatioTest, record: Callable) -> None:
    work = record(lambda: matcher.match(random_features(300, 64, 1), random_features(140, 64, 2)))
    assert (work.missing, work.wide, work.waits) == (set(), set(), [])


def test_refinement_runs_natively_and_never_waits(record: Callable) -> None:
    matcher = MutualRefined(METAL, RefinedOptions(is_compact=False))
    work = record(lambda: matcher.match(random_features(300, 64, 1), random_features(70, 64, 2)))
    assert (work.missing, work.wide, work.waits) == (set(), set(), [])


@pytest.mark.parametrize("kind", list(WEIGHTS))
def test_lightglue_runs_natively_and_never_waits(kind: str, record: Callable) -> None:
    if not weights.is_here(WEIGHTS[kind]):
        pytest.skip(f"the weights of LightGlue for {kind} are not installed")
    matcher = LightGlue(kind, METAL, LightGlueOptions(is_compact=False))
    size = 64 if kind == "xfeat" else 128
    work = record(lambda: matcher.match(random_features(50, size, 1), random_features(40, size, 2)))
    assert (work.missing, work.wide, work.waits) == (set(), set(), [])
