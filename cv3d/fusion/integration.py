"""Adding frames to voxels: the torch expression that every device runs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.fusion.layout import DISTANCE_STEPS, MAX_COUNT, MAX_WEIGHT, SIDE, VOXELS
from cv3d.fusion.options import DepthNoise
from cv3d.fusion.prepared import DEPTH_STEPS, GRADIENT_STEP_M, SLOPE_STEPS, Intrinsics

REACH_SPREADS = 4.0
"""How far behind the surface voxels are told that they are inside, in spreads of the depth, where that is more than the
truncation: else what is measured too near would count for more than what is measured too far."""
FULL_SPREADS = 2.0
"""How far behind they are told so with full weight."""
_CHUNK = 4096
"""Blocks at a time: bounds what the expression takes beside the grid."""


@dataclass(frozen=True)
class Picture:
    """A judged depth picture on a device, and where it was taken."""

    records: Tensor
    """(h, w, 4) as :func:`cv3d.fusion.prepared.prepare` gives them."""
    camera: Intrinsics
    rotation: Tensor
    """(3, 3) cam_from_anchor."""
    translation: Tensor
    """(3,) cam_from_anchor."""


@dataclass(frozen=True)
class VoxelTensors:
    """The fields of :class:`cv3d.fusion.layout.Fields` as tensors, changed in place."""

    sums: Tensor
    weights: Tensor
    counts: Tensor
    colors: Tensor | None


@dataclass(frozen=True)
class Lengths:
    """Of a grid, metres."""

    voxel: float
    """Edge of a voxel."""
    truncation: float
    """Distance that is kept at most."""
    base: float
    """Spread of a depth z: base + quadratic z²; an upper bound of :class:`cv3d.fusion.options.DepthNoise`'s."""
    quadratic: float

    @staticmethod
    def of(voxel_m: float, truncation_m: float, noise: DepthNoise) -> Lengths:
        """Those of a grid."""
        return Lengths(voxel_m, truncation_m, noise.base_m, noise.quadratic)


def voxel_offsets(device: torch.device) -> Tensor:
    """(512, 3) lattice coordinates in a block by a voxel's place in a field."""
    place = torch.arange(VOXELS, device=device, dtype=torch.int32)
    return torch.stack([place % SIDE, (place // SIDE) % SIDE, place // SIDE**2], 1)


def integrate(
    fields: VoxelTensors, rows: Tensor, blocks: Tensor, picture: Picture, lengths: Lengths, sign: int
) -> None:
    """Add one picture to the voxels of some blocks, or take it away again.

    Args:
        fields: changed in place.
        rows: (n,) int64, where the blocks lie in the fields, each once.
        blocks: (n, 3) int32 coordinates from the anchor block.
        picture: what is added.
        lengths: of voxel, truncation and noise.
        sign: 1 to add, -1 to take away.
    """
    for start in range(0, len(rows), _CHUNK):
        _integrate(fields, rows[start : start + _CHUNK], blocks[start : start + _CHUNK], picture, lengths, sign)


def _integrate(
    fields: VoxelTensors, rows: Tensor, blocks: Tensor, picture: Picture, lengths: Lengths, sign: int
) -> None:
    voxel, truncation = lengths.voxel, lengths.truncation
    camera, (height, width) = picture.camera, picture.records.shape[:2]
    lattice = blocks[:, None, :] * SIDE + voxel_offsets(blocks.device)
    points = lattice.to(torch.float32) * voxel
    x, y, z = ((points * picture.rotation[i]).sum(-1) + picture.translation[i] for i in range(3))
    is_ahead = z > voxel
    per_z = torch.where(is_ahead, 1.0 / z, torch.zeros_like(z))
    u, v = camera.fx * x * per_z + camera.cx, camera.fy * y * per_z + camera.cy
    column, row = torch.floor(u + 0.5), torch.floor(v + 0.5)
    is_seen = is_ahead & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixel = torch.where(is_seen, row * width + column, torch.zeros_like(z)).to(torch.int64)
    far, quality, gradient, rgb = picture.records.reshape(-1, 4)[pixel].unbind(-1)
    depth = far.to(torch.float32) * (1.0 / DEPTH_STEPS)
    weight, slope = (quality >> 16).to(torch.float32), (quality & 0xFFFF).to(torch.float32)
    gx, gy = (gradient >> 16).to(torch.float32), ((gradient << 16) >> 16).to(torch.float32)
    behind = depth - z + GRADIENT_STEP_M * (gx * (u - column) + gy * (v - row))
    distance = behind * slope * (1.0 / SLOPE_STEPS)
    spread = lengths.base + lengths.quadratic * depth * depth
    reach, full = (REACH_SPREADS * spread).clamp(min=truncation), (FULL_SPREADS * spread).clamp(min=voxel)
    is_seen = is_seen & (depth > 0) & (distance > -reach)
    is_near = is_seen & (distance < reach)
    # Less weight the farther behind the surface (Oleynikova et al. 2017, Voxblox): there may be another one there.
    fading = ((reach + distance) / (reach - full)).clamp(max=1.0)
    weight = torch.where(is_seen, torch.floor(weight * fading + 0.5), torch.zeros_like(z)).to(torch.int32)
    steps = torch.floor((distance / truncation).clamp(-1.0, 1.0) * DISTANCE_STEPS + 0.5).to(torch.int32)
    sums = fields.sums[rows] + sign * weight * torch.where(is_seen, steps, torch.zeros_like(steps))
    weights = fields.weights[rows] + sign * weight
    is_heavy = weights > MAX_WEIGHT
    weights = torch.where(is_heavy, weights >> 1, weights).clamp(min=0)
    sums = torch.where(is_heavy, sums >> 1, sums)
    fields.sums[rows] = torch.where(weights > 0, sums, torch.zeros_like(sums))
    fields.weights[rows] = weights
    counts = fields.counts[rows].to(torch.int32) + sign * is_near.to(torch.int32)
    is_full = counts > MAX_COUNT
    fields.counts[rows] = torch.where(is_full, counts >> 1, counts).clamp(min=0).to(torch.int8)
    if fields.colors is not None:
        seen = torch.stack([rgb & 0xFF, rgb >> 8 & 0xFF, rgb >> 16 & 0xFF], 1) * is_near[:, None]
        colors = fields.colors[rows].to(torch.int32) + sign * seen
        colors = torch.where(is_full[:, None], colors >> 1, colors).clamp(min=0)
        fields.colors[rows] = colors.to(torch.int16)
