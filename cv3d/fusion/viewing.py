"""Ray casting by the kernel of a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.fusion.block_finding import LOCAL_BITS, LOCAL_REACH
from cv3d.fusion.block_store import BlockStore
from cv3d.fusion.fused_engine import Workers
from cv3d.fusion.integration import VoxelTensors
from cv3d.fusion.layout import SIDE, Fields
from cv3d.fusion.motions import anchor_from_cam, anchor_of
from cv3d.fusion.ray_cache import Scene
from cv3d.fusion.ray_casting import MAX_STEPS, Model, RayCast, cast, check_view, rays_of
from cv3d.fusion.ray_kernel import TILE, cast_tiles
from cv3d.fusion.voxel_view import view_of
from cv3d.geometry.cameras import Camera

Lengths = tuple[float, float, float, float]
"""Near, far, voxel and truncation, metres."""
Found = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8] | None]
Caster = Callable[
    [BlockStore, NDArray[np.float32], NDArray[np.float32], NDArray[np.int32], Lengths, int, int | None], Found
]


def view(
    store: BlockStore,
    camera: Camera,
    cam_from_world: NDArray[np.float64],
    lengths: Lengths,
    least: int,
    threads: int | None,
    device: torch.device,
) -> RayCast:
    """What a camera sees of the voxels; where some lie on disk, those in its range are fetched for the while.

    Raises:
        InputError: the pose is none.
    """
    check_view(cam_from_world)
    voxel = lengths[2]
    anchor = anchor_of(cam_from_world, voxel)
    motion = anchor_from_cam(cam_from_world, anchor, voxel)
    caster = CASTERS.get(device.type, _cast_reference)
    shape = (camera.height, camera.width)
    rays = rays_of(camera).reshape(*shape, 3)
    depth, normals, colors = caster(store, rays, motion, anchor, lengths, least, threads)
    color = None if colors is None else colors.reshape(*shape, 3)
    return RayCast(depth.reshape(shape), normals.reshape(*shape, 3), color)


def _at_hand(
    store: BlockStore, anchor: NDArray[np.int32], lengths: Lengths, rays: NDArray[np.float32]
) -> tuple[NDArray[np.int32], Fields | None]:
    """Numbers of the blocks that rays can reach, and their voxels where they have to be fetched."""
    _, far, voxel, _ = lengths
    longest = float(np.sqrt(np.nanmax((rays.astype(np.float64) ** 2).sum(-1)))) if np.isfinite(rays).any() else 1.0
    reach = int(far * longest / (SIDE * voxel)) + 2
    near = (np.abs(store.index.blocks - anchor) <= min(reach, LOCAL_REACH - 1)).all(1)
    numbers = np.flatnonzero(near).astype(np.int32)
    return numbers, None if store.all_rows() is not None else store.gather(numbers)


def _cast_fused(
    store: BlockStore,
    rays: NDArray[np.float32],
    motion: NDArray[np.float32],
    anchor: NDArray[np.int32],
    lengths: Lengths,
    least: int,
    threads: int | None,
) -> Found:
    numbers, fetched = _at_hand(store, anchor, lengths, rays)
    rows = store.all_rows()
    if rows is None or fetched is not None:
        rows = np.full(len(store), -1, np.int32)
        rows[numbers] = np.arange(len(numbers), dtype=np.int32)
    voxels = view_of(store.fields if fetched is None else fetched, rows, store.free, least)
    scene = Scene(voxels, store.index.table, anchor)
    depth, normals = np.empty(rays.shape[:2], np.float32), np.empty(rays.shape, np.float32)
    colors = np.empty(rays.shape if store.has_color else (0, 0, 3), np.uint8)
    far = np.array(lengths, np.float32)

    def some(first: int, last: int) -> None:
        cast_tiles(first, last, rays, motion, scene, far, MAX_STEPS, depth, normals, colors)

    Workers(threads).over(len(rays), TILE, some)
    return depth, normals, colors if store.has_color else None


@torch.no_grad()
def _cast_reference(
    store: BlockStore,
    rays: NDArray[np.float32],
    motion: NDArray[np.float32],
    anchor: NDArray[np.int32],
    lengths: Lengths,
    least: int,
    threads: int | None,
) -> Found:
    device = store.device
    rays = rays.reshape(-1, 3)
    numbers, fetched = _at_hand(store, anchor, lengths, rays)
    local = store.index.blocks[numbers] - anchor + LOCAL_REACH
    keys = (local[:, 2] << (2 * LOCAL_BITS)) | (local[:, 1] << LOCAL_BITS) | local[:, 0]
    order = np.argsort(keys)
    if not len(order):
        nothing = np.zeros((len(rays), 3), np.uint8) if store.has_color else None
        return np.zeros(len(rays), np.float32), np.zeros((len(rays), 3), np.float32), nothing
    if fetched is None:
        resident = store.all_rows()
        assert resident is not None
        fields, rows = store.tensors, resident[numbers]
    else:
        parts = [torch.from_numpy(array).to(device) for array in fetched.arrays]
        fields = VoxelTensors(parts[0], parts[1], parts[2], parts[3] if store.has_color else None)
        rows = np.arange(len(numbers), dtype=np.int32)
    model = Model(
        torch.from_numpy(keys[order].astype(np.int32)).to(device),
        torch.from_numpy(rows[order].astype(np.int64)).to(device),
        torch.from_numpy(store.free[numbers][order].astype(np.float32)).to(device),
        fields,
        least,
    )
    placed = torch.from_numpy(rays.copy()).to(device), torch.from_numpy(motion).to(device)
    depth, normals, colors = cast(model, *placed, *lengths)
    return depth.cpu().numpy(), normals.cpu().numpy(), None if colors is None else colors.cpu().numpy()


CASTERS: Mapping[str, Caster] = {"cpu": _cast_fused}
"""What replaces the torch reference, by kind of device."""
