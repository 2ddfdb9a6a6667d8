"""The refinement of keypoints, as Metal runs it: its operations only, no float64, no waiting for the device."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from cv3d.compute import Compute
from cv3d.features.refinement import Pyramid, RefinementOptions, align_patches

METAL = Compute(torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_pyramid_is_built_natively(dtype: torch.dtype, record: Callable) -> None:
    picture = (torch.rand((90, 131), generator=torch.Generator().manual_seed(1)) * 255).to(dtype)
    work = record(lambda: Pyramid.build(picture, METAL))
    assert (work.missing, work.wide, work.waits) == (set(), set(), [])


@pytest.mark.parametrize("affine_iterations", [0, 2])
def test_alignment_runs_natively_and_never_waits(affine_iterations: int, record: Callable) -> None:
    generator = torch.Generator().manual_seed(1)
    pictures = [torch.rand((1, 80, 100), generator=generator) for _ in range(2)]
    pyramids = [Pyramid.build(picture, METAL) for picture in pictures]
    places = torch.rand((50, 2), generator=generator) * 80.0
    warps = torch.eye(2) + 0.3 * torch.randn((50, 2, 2), generator=generator)
    warps[3] = torch.nan
    options = RefinementOptions(iterations=2, affine_iterations=affine_iterations, chunk=20)
    work = record(lambda: align_patches(*pyramids, places, places + 0.5, warps, options))
    assert (work.missing, work.wide, work.waits) == (set(), set(), [])
