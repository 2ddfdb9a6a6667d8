"""The fused kernels of fusion, held to the torch expressions that say the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cv3d.compute import Compute
from cv3d.fusion import DepthFrame, GridOptions, VoxelGrid, engines, extracting, viewing
from cv3d.fusion.block_finding import Search
from cv3d.fusion.block_store import BlockStore
from cv3d.fusion.carving import carve, nearest_depths
from cv3d.fusion.fused_engine import FusedEngine
from cv3d.fusion.layout import SIDE
from cv3d.fusion.motions import anchor_of, cam_from_anchor
from cv3d.fusion.torch_engine import TorchEngine

from .scenes import CAMERA, around_sphere, looking_at, noisy_wall, plane_depth

VOXEL, TRUNCATION = 0.02, 0.08
CPU = Compute(torch.device("cpu"), torch.float32)


def weighted(frames: list[DepthFrame]) -> list[DepthFrame]:
    """The same frames, each depth counting as it happens; a tenth not at all."""
    rng = np.random.default_rng(5)
    result = []
    for frame in frames:
        weight = np.maximum(rng.random(frame.depth.shape) * 1.1 - 0.1, 0.0).clip(0.0, 1.0).astype(np.float32)
        result.append(replace(frame, weight=weight))
    return result


@pytest.fixture(params=["all alike", "weighted"])
def batches(request: pytest.FixtureRequest) -> tuple:
    frames = noisy_wall(3)
    if request.param == "weighted":
        frames = [frame.undistorted() for frame in weighted(frames)]
    options = GridOptions(threads=1)
    fused = FusedEngine(VOXEL, TRUNCATION, options).prepare(frames)
    return frames, fused, TorchEngine(CPU, VOXEL, TRUNCATION, options).prepare(frames)


def test_pixels_are_judged_alike(batches: tuple) -> None:
    _, fused, plain = batches
    assert fused.kept == plain.kept
    for k, expected in enumerate(plain._judged):
        records, wanted = fused._records[k, :-1].reshape(120, 160, 4), expected.numpy()
        assert np.abs(records[..., 0] - wanted[..., 0]).max() <= 2, "2 µm"
        np.testing.assert_array_equal(records[..., 3], wanted[..., 3])
        parts = [(words[..., 1] >> 16, words[..., 1] & 0xFFFF, words[..., 2] >> 16) for words in (records, wanted)]
        for part, other in zip(*parts, strict=True):
            assert np.abs(part - other).max() <= 1
            assert (part != other).mean() < 0.01


def test_the_same_blocks_are_found(batches: tuple) -> None:
    frames, fused, plain = batches
    for k, frame in enumerate(frames):
        anchor = anchor_of(frame.cam_from_world, VOXEL)
        search = Search.of(VOXEL, TRUNCATION, 4.0, 140.0)
        ours, wanted = np.sort(fused.find(k, anchor, search)), plain.find(k, anchor, search)
        assert len(np.setxor1d(ours, wanted)) <= 0.005 * len(wanted)
        assert len(np.unique(ours)) == len(ours)


@pytest.mark.parametrize(("has_color", "has_weight"), [(True, False), (False, False), (True, True)])
def test_voxels_are_changed_alike(has_color: bool, has_weight: bool) -> None:
    grids = {}
    frames = weighted(noisy_wall(3)) if has_weight else noisy_wall(3)
    if not has_color:
        frames = [type(f)(f.depth, None, f.camera, f.cam_from_world) for f in frames]
    for name, twins in (("fused", engines.TWINS), ("plain", {})):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engines, "TWINS", twins)
            grids[name] = VoxelGrid(VOXEL)
            grids[name].integrate_batch(frames)
    stores: dict[str, BlockStore] = {name: grid._store for name, grid in grids.items()}
    assert np.array_equal(stores["fused"].index.blocks, stores["plain"].index.blocks)
    numbers = np.arange(len(stores["fused"]), dtype=np.int32)
    ours, wanted = (stores[name].gather(numbers) for name in ("fused", "plain"))
    assert wanted.weights.any()
    for mine, other in zip(ours.arrays, wanted.arrays, strict=True):
        # Where a voxel lies on the border of two pixels, or its distance on one of two steps, the last bit decides.
        assert (mine != other).mean() < 2e-3
    far = np.abs(ours.sums / np.maximum(ours.weights, 1) - wanted.sums / np.maximum(wanted.weights, 1)) > 2.0
    assert far.mean() < 2e-4


def test_the_surface_is_extracted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = VoxelGrid(VOXEL)
    grid.integrate_batch(noisy_wall(2) + around_sphere(4))
    ours = grid.extract_mesh()
    monkeypatch.setattr(extracting, "SURFACES", {})
    wanted = grid.extract_mesh()
    assert len(wanted.triangles) > 1000
    np.testing.assert_array_equal(ours.triangles, wanted.triangles)
    np.testing.assert_allclose(ours.vertices, wanted.vertices, atol=1e-6)
    assert np.percentile(np.abs(ours.normals - wanted.normals), 99.9) < 1e-4
    assert np.abs(ours.colors.astype(int) - wanted.colors).max() <= 1
    np.testing.assert_array_equal(grid.extract_points().vertices, wanted.vertices)


def test_rays_meet_the_surface_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = around_sphere(10)
    grid = VoxelGrid(VOXEL)
    grid.integrate_batch(frames)
    camera = CAMERA.scaled(0.5)
    ours = grid.ray_cast(camera, frames[3].cam_from_world, 1)
    monkeypatch.setattr(viewing, "CASTERS", {})
    wanted = grid.ray_cast(camera, frames[3].cam_from_world, 1)
    assert ((ours.depth > 0) != (wanted.depth > 0)).sum() <= 3
    both = (ours.depth > 0) & (wanted.depth > 0)
    assert both.sum() > 1000
    assert np.percentile(np.abs(ours.depth - wanted.depth)[both], 99) < 1e-5
    assert np.percentile(np.abs(ours.normals - wanted.normals)[both], 99) < 1e-3
    assert ours.color is not None
    assert wanted.color is not None
    assert (ours.color != wanted.color).mean() < 1e-3


def test_a_block_is_carved_if_all_of_it_is_looked_through() -> None:
    pose = looking_at(np.zeros(3), np.array([0.0, 0.0, 1.0]))
    depth = plane_depth(pose, np.array([0.0, 0.0, 1.0]), 2.0)
    depth[50:56, 60:70] = 0.0
    depth[:, 120:] = 0.9
    blocks = np.stack(np.meshgrid(*[np.arange(-6, 14)] * 3), -1).reshape(-1, 3).astype(np.int32)
    anchor = anchor_of(pose, VOXEL)
    free = np.zeros(len(blocks), np.int32)
    lengths = np.float32(VOXEL), np.float32(TRUNCATION), np.array([0.002, 0.0015], np.float32)
    intrinsics, motion = np.array(CAMERA.params, np.float32), cam_from_anchor(pose, anchor, VOXEL)
    carve(blocks, anchor, intrinsics, motion, nearest_depths(depth), (160, 120), *lengths, 1, free)
    # The plain rule: every voxel is in the picture and nearer than what is seen there.
    place = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3), -1).reshape(-1, 3)
    points = ((blocks[:, None] * SIDE + place) * VOXEL).reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3]
    pixel = np.rint(CAMERA.project(points / np.maximum(points[:, 2:], 1e-3)))
    inside = (points[:, 2] > 0.05) & ((pixel >= 0) & (pixel < [160, 120])).all(1)
    column, row = np.where(inside[:, None], pixel, 0).astype(int).T
    is_free = (inside & (points[:, 2] + TRUNCATION < depth[row, column])).reshape(len(blocks), -1).all(1)
    assert (free > 0).sum() >= 20
    assert not (free > 0)[~is_free].any(), "never more than the rule allows"
    assert (free > 0).sum() > 0.1 * is_free.sum()
    carve(blocks, anchor, intrinsics, motion, nearest_depths(depth), (160, 120), *lengths, -1, free)
    assert not free.any()
