"""Describing places, as Metal runs it: its operations only, no float64, and one wait, for the result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from cv3d.compute import Compute
from cv3d.features.extractors import fused
from cv3d.odometry.places import Describer

METAL = Compute(torch.device("cpu"), torch.float32)


@pytest.fixture(autouse=True)
def _reference_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "TWINS", {})


@pytest.mark.parametrize("count", [0, 5, 300])
def test_describing_runs_natively_and_waits_only_for_the_result(count: int, record: Callable) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (96, 130), dtype=np.uint8)
    describer = Describer(METAL, 64, 100)
    work = record(lambda: describer.describe(picture, rng.uniform(0, 90, (count, 2))))
    assert (work.missing, work.wide, work.waits) == (set(), set(), [])
