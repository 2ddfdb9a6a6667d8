"""The device path of fusion, as Metal runs it: its operations only, no float64, at most two waits a batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from cv3d.compute import Compute
from cv3d.fusion import DepthFrame, VoxelGrid, engines, extracting, viewing
from cv3d.geometry.cameras import Camera

METAL = Compute(torch.device("cpu"), torch.float32)
"""What Metal's policy decides, on the CPU: float32, reference kernels."""
CAMERA = Camera("pinhole", 80, 60, (70.0, 70.0, 39.5, 29.5))


@pytest.fixture(autouse=True)
def _reference_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "TWINS", {})
    monkeypatch.setattr(viewing, "CASTERS", {})
    monkeypatch.setattr(extracting, "SURFACES", {})


def frames(count: int) -> list[DepthFrame]:
    rng = np.random.default_rng(1)
    result = []
    for i in range(count):
        depth = (1.0 + 0.002 * rng.normal(size=(60, 80))).astype(np.float32)
        depth[:, 60:] = 1.6
        pose = np.eye(4)
        pose[0, 3] = 0.03 * i
        result.append(DepthFrame(depth, rng.integers(0, 255, (60, 80, 3), dtype=np.uint8), CAMERA, pose))
    return result


@pytest.mark.parametrize("sign", [1, -1])
def test_a_batch_is_fused_natively(sign: int, record: Callable) -> None:
    grid = VoxelGrid(0.04, compute=METAL)
    some = frames(2)
    grid.integrate_batch(some)
    one = some[0]
    work = record(
        (lambda: grid.integrate_batch(some))
        if sign > 0
        else (lambda: grid.deintegrate(one.depth, one.color, one.camera, one.cam_from_world))
    )
    assert work.missing == set()
    assert work.wide == set()
    # The keys of a frame's blocks: how many there are is only known there.
    assert len(work.waits) <= len(some)


def test_rays_are_cast_natively(record: Callable) -> None:
    grid = VoxelGrid(0.04, compute=METAL)
    grid.integrate_batch(frames(3))
    grid.ray_cast(CAMERA, np.eye(4))
    seen = []
    work = record(lambda: seen.append(grid.ray_cast(CAMERA, np.eye(4))))
    assert (work.missing, work.wide, work.waits) == (set(), set(), [])
    assert (seen[0].depth > 0).mean() > 0.5


def test_the_surface_is_extracted_natively(record: Callable) -> None:
    grid = VoxelGrid(0.04, compute=METAL)
    grid.integrate_batch(frames(3))
    meshes = []
    work = record(lambda: meshes.append(grid.extract_mesh()))
    assert (work.missing, work.wide) == (set(), set())
    assert len(meshes[0].triangles) > 100
