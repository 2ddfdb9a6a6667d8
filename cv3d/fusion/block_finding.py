"""Which blocks a depth picture's surface passes through.

Each second pixel stands for its neighbours: a box of their footprint around the stretch of its ray near the surface.
The box is smaller than a block, so it meets at most two along each axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.fusion.layout import SIDE
from cv3d.fusion.prepared import Intrinsics

LOCAL_BITS = 10
LOCAL_REACH = 1 << (LOCAL_BITS - 1)
"""Blocks from the anchor to the farthest that a frame can reach: three coordinates fit an int32."""
_BAND = 2.0
"""Voxels before and behind the surface whose blocks are wanted: twice what a cube around the surface reaches."""


@dataclass(frozen=True)
class Search:
    """How the blocks of a frame are searched for."""

    voxel: float
    """Edge of a voxel, metres."""
    band: float
    """Half the stretch of a ray, metres."""
    stride: int
    """Pixels from one ray to the next."""

    @staticmethod
    def of(voxel_m: float, truncation_m: float, max_depth_m: float, focal: float) -> Search:
        """For a camera and a range."""
        stride = 2 if 2.0 * max_depth_m / focal <= 0.5 * SIDE * voxel_m else 1
        return Search(voxel_m, min(truncation_m, _BAND * voxel_m), stride)


def find_blocks(depth: Tensor, camera: Intrinsics, world_from_cam: tuple[Tensor, Tensor], search: Search) -> Tensor:
    """Local keys of the blocks that the surface in a depth picture passes through.

    Args:
        depth: (h, w) metres, 0 where there is none.
        camera: of the picture.
        world_from_cam: rotation (3, 3) and translation (3,), from the anchor block's origin.
        search: how.

    Returns:
        (n,) int32 keys, each once, ascending: z, y, x from the anchor plus 512, 10 bits each. Blocks farther from the
        anchor than 512 are left out.
    """
    sampled = depth[:: search.stride, :: search.stride].contiguous()
    height, width = sampled.shape
    device = depth.device
    x = (torch.arange(width, device=device, dtype=torch.float32) * search.stride - camera.cx) / camera.fx
    y = (torch.arange(height, device=device, dtype=torch.float32) * search.stride - camera.cy)[:, None] / camera.fy
    rays = torch.stack([x.expand(height, width), y.expand(height, width), torch.ones_like(sampled)], -1).reshape(-1, 3)
    rotation, translation = world_from_cam
    rays = (rays[:, None, :] * rotation).sum(-1)
    flat = sampled.reshape(-1, 1)
    centre = rays * flat + translation
    room = 0.5 * SIDE * search.voxel - search.band
    margin = (flat * (0.5 * search.stride / min(camera.fx, camera.fy))).clamp(max=room)
    half = rays.abs() * search.band
    half = half.clamp(max=search.band) + margin
    size = SIDE * search.voxel
    low = torch.floor((centre - half) / size).to(torch.int32)
    high = torch.floor((centre + half) / size).to(torch.int32)
    keys = []
    is_there = flat[:, 0] > 0
    for corner in range(8):
        at = torch.stack([(low, high)[corner >> axis & 1][:, axis] for axis in range(3)], 1)
        inside = is_there & ((at >= -LOCAL_REACH) & (at < LOCAL_REACH)).all(1)
        at = at + LOCAL_REACH
        key = (at[:, 2] << (2 * LOCAL_BITS)) | (at[:, 1] << LOCAL_BITS) | at[:, 0]
        keys.append(torch.where(inside, key, torch.full_like(key, -1)))
    # Not `unique`: Metal's is wrong beyond 2^24.
    ordered = torch.sort(torch.cat(keys)).values
    is_new = torch.ones_like(ordered, dtype=torch.bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_new & (ordered >= 0)]
