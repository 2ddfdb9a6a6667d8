"""The surface of a grid: marching cubes as a torch expression, which every device runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cv3d.fusion.integration import VoxelTensors, voxel_offsets
from cv3d.fusion.layout import DISTANCE_STEPS, SIDE, VOXELS
from cv3d.fusion.marching_table import CORNERS, EDGES, marching_table
from cv3d.geometry.mesh import Mesh

_CHUNK = 1024
"""Blocks at a time: bounds what the expression takes beside the grid."""
_EDGES = 3 * VOXELS


@dataclass(frozen=True)
class Lattice:
    """Blocks in the order of their place, and their voxels."""

    blocks: Tensor
    """(n, 3) int32 coordinates."""
    neighbours: Tensor
    """(n, 27) int64 the blocks around each, x fastest; -1 for none."""
    rows: Tensor
    """(n,) int64 where they lie in the fields."""
    free: Tensor
    """(n,) float32 free weight."""
    fields: VoxelTensors
    least: int
    """Frames that a voxel has to have been seen by."""

    def find(self, block: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """The block, -1 for none, and the place in it of coordinates (..., 3) from -8 to 15 in a block (...)."""
        side = (at >> 3) + 1
        other = self.neighbours[block, (side[..., 0] + 3 * side[..., 1] + 9 * side[..., 2]).to(torch.int64)]
        local = at & 7
        return other, (local[..., 0] + SIDE * local[..., 1] + SIDE * SIDE * local[..., 2]).to(torch.int64)

    def values(self, block: Tensor, at: Tensor) -> Tensor:
        """Signed distances there in units of the truncation; NaN where a voxel was seen too seldom."""
        other, place = self.find(block, at)
        known = other.clamp(min=0)
        row = self.rows[known]
        weight = self.fields.weights[row, place].to(torch.float32)
        is_seen = (other >= 0) & (weight > 0) & (self.fields.counts[row, place] >= self.least)
        free = self.free[known]
        distance = self.fields.sums[row, place].to(torch.float32) / DISTANCE_STEPS
        value = (distance + free) / (weight + free).clamp(min=1.0)
        return torch.where(is_seen, value, torch.full_like(value, torch.nan))


@torch.no_grad()
def extract_reference(lattice: Lattice, voxel_m: float, has_triangles: bool) -> Mesh:
    """Marching cubes; vertices and triangles come in the order of the fused kernels.

    Args:
        lattice: the voxels.
        voxel_m: edge of a voxel, metres.
        has_triangles: False: points only.
    """
    corners = _crossings(lattice)
    # Sorted and compared with the one before: Metal's `unique` is wrong beyond 2^24.
    ordered = torch.sort(corners.reshape(-1)).values
    is_new = torch.ones_like(ordered, dtype=torch.bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    edges = ordered[is_new]
    points, normals, colors = _vertices(lattice, edges)
    blocks = lattice.blocks[(edges // _EDGES).to(torch.int64)].cpu().numpy().astype(np.float64)
    vertices = ((SIDE * blocks + points.cpu().numpy()) * voxel_m).astype(np.float32)
    triangles = torch.searchsorted(edges, corners.contiguous()).to(torch.int32).reshape(-1, 3).cpu().numpy()
    return Mesh(
        vertices,
        triangles if has_triangles else np.zeros((0, 3), np.int32),
        normals.cpu().numpy(),
        None if colors is None else colors.cpu().numpy(),
    )


def _crossings(lattice: Lattice) -> Tensor:
    """(t, 3) int32 the edges on which the corners of all triangles lie."""
    device, table = lattice.blocks.device, marching_table()
    counts = torch.from_numpy(table.counts.astype(np.int32)).to(device)
    edges = torch.from_numpy(table.edges.astype(np.int64)).to(device).reshape(256, -1, 3)
    lower = torch.from_numpy(CORNERS[EDGES[:, 0]]).to(device)
    steps = torch.from_numpy(CORNERS).to(device)
    found = [torch.zeros((0, 3), dtype=torch.int32, device=device)]
    for first in range(0, len(lattice.blocks), _CHUNK):
        block = torch.arange(first, min(first + _CHUNK, len(lattice.blocks)), device=device)[:, None, None]
        values = lattice.values(block, voxel_offsets(device)[None, :, None] + steps)
        bits = ((values < 0).to(torch.int32) << torch.arange(8, device=device, dtype=torch.int32)).sum(-1)
        case = torch.where(torch.isfinite(values).all(-1), bits, torch.zeros_like(bits)).to(torch.int64)
        cube = torch.nonzero(counts[case.reshape(-1)])[:, 0]
        case = case.reshape(-1)[cube]
        numbers = torch.arange(edges.shape[1], device=device)
        which, triangle = torch.nonzero(numbers < counts[case][:, None]).unbind(1)
        edge = edges[case[which], triangle]
        owner = (cube[which] // VOXELS + first)[:, None]
        at = voxel_offsets(device)[cube[which] % VOXELS][:, None] + lower[edge]
        other, _ = lattice.find(owner, at)
        x, y, z = (at & 7).to(torch.int64).unbind(-1)
        found.append((other * _EDGES + (3 * z + edge // 4) * SIDE * SIDE + SIDE * y + x).to(torch.int32))
    return torch.cat(found)


def _vertices(lattice: Lattice, edges: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Places in their blocks, voxels (v, 3); unit normals (v, 3); and colours (v, 3) uint8."""
    block, within = (edges // _EDGES).to(torch.int64), edges % _EDGES
    word, bit = within // (SIDE * SIDE), within % (SIDE * SIDE)
    low = torch.stack([bit & 7, bit >> 3, word // 3], 1)
    along = torch.nn.functional.one_hot((word % 3).to(torch.int64), 3).to(torch.int32)
    high = low + along
    a, b = lattice.values(block, low), lattice.values(block, high)
    share = a / (a - b)
    here, there = _gradient(lattice, block, low, a), _gradient(lattice, block, high, b)
    gradient = here + share[:, None] * (there - here)
    length = (gradient * gradient).sum(1, keepdim=True).sqrt()
    upwards = torch.tensor([0.0, 0.0, 1.0], device=edges.device).expand_as(gradient)
    normals = torch.where(length > 0, gradient / length, upwards)
    places = low.to(torch.float32) + share[:, None] * along
    if lattice.fields.colors is None:
        return places, normals, None
    one, two = _color(lattice, block, low), _color(lattice, block, high)
    colors = (one + share[:, None] * (two - one) + 0.5).clamp(max=255.0).to(torch.uint8)
    return places, normals, colors


def _gradient(lattice: Lattice, block: Tensor, at: Tensor, value: Tensor) -> Tensor:
    """(v, 3) derivatives of the distance at lattice points: central where both neighbours are known."""
    parts = []
    for axis in range(3):
        step = torch.zeros(3, dtype=torch.int32, device=at.device)
        step[axis] = 1
        back, ahead = lattice.values(block, at - step), lattice.values(block, at + step)
        one = torch.where(torch.isnan(back), ahead - value, value - back)
        both = torch.where(torch.isnan(back) | torch.isnan(ahead), one, 0.5 * (ahead - back))
        parts.append(torch.where(torch.isnan(both), torch.zeros_like(both), both))
    return torch.stack(parts, 1)


def _color(lattice: Lattice, block: Tensor, at: Tensor) -> Tensor:
    """(v, 3) mean colours of voxels."""
    assert lattice.fields.colors is not None
    other, place = lattice.find(block, at)
    row = lattice.rows[other]
    count = lattice.fields.counts[row, place].to(torch.float32).clamp(min=1.0)
    return lattice.fields.colors[row, :, place].to(torch.float32) / count[:, None]
