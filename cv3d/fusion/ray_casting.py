"""Views of the model: where the rays of a camera meet the surface."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.errors import InputError
from cv3d.fusion.block_finding import LOCAL_BITS, LOCAL_REACH
from cv3d.fusion.integration import VoxelTensors
from cv3d.fusion.layout import DISTANCE_STEPS, SIDE
from cv3d.geometry.cameras import Camera

MAX_STEPS = 256
"""Steps of a ray: a block, or four fifths of a known distance, and a voxel at least."""
STEP = 0.8
"""Share of the known free way that is stepped: the distance is that to a plane, and surfaces bend."""


@dataclass(frozen=True, eq=False)
class RayCast:
    """What a camera sees of the model."""

    depth: NDArray[np.float32]
    """(h, w) metres along z, 0 where no surface is met from outside."""
    normals: NDArray[np.float32]
    """(h, w, 3) unit normals in the world, pointing outside; 0 where no surface is met."""
    color: NDArray[np.uint8] | None
    """(h, w, 3) RGB."""


@lru_cache(maxsize=4)
def rays_of(camera: Camera) -> NDArray[np.float32]:
    """(h w, 3) the rays of all pixels, with z = 1; not finite where a pixel has none, or none that looks ahead."""
    u, v = np.meshgrid(np.arange(camera.width, dtype=np.float64), np.arange(camera.height, dtype=np.float64))
    pixels = torch.from_numpy(np.stack([u, v], -1).reshape(-1, 2))
    rays, is_there = camera.lens.unproject_checked(torch.tensor(camera.params, dtype=torch.float64), pixels)
    ahead = is_there & (rays[:, 2] > 1e-3)
    scaled = torch.where(ahead[:, None], rays / rays[:, 2:].clamp(min=1e-3), torch.full_like(rays, torch.nan))
    result = scaled.to(torch.float32).numpy()
    result.setflags(write=False)
    return result


@dataclass(frozen=True)
class Model:
    """A grid's voxels as the reference reads them."""

    keys: Tensor
    """(n,) int32 local keys of the blocks at hand, ascending."""
    rows: Tensor
    """(n,) int64 where they lie in the fields."""
    free: Tensor
    """(n,) float32 free weight."""
    fields: VoxelTensors
    least: int
    """Frames that a voxel has to have been seen by."""

    def values(self, lattice: Tensor) -> tuple[Tensor, Tensor]:
        """Signed distances at lattice coordinates (..., 3) from the anchor, NaN where not known; and the block there.

        Returns:
            (...) float32, and (...) int64: the block's place in `keys`, -1 for none.
        """
        block = (lattice >> 3) + LOCAL_REACH
        inside = ((block >= 0) & (block < 2 * LOCAL_REACH)).all(-1)
        key = (block[..., 2] << (2 * LOCAL_BITS)) | (block[..., 1] << LOCAL_BITS) | block[..., 0]
        key = torch.where(inside, key, torch.full_like(key, -1))
        at = torch.searchsorted(self.keys, key.contiguous()).clamp(max=max(len(self.keys) - 1, 0))
        is_there = inside & (self.keys[at] == key)
        at = torch.where(is_there, at, torch.zeros_like(at))
        local = lattice & 7
        place = (local[..., 0] + SIDE * local[..., 1] + SIDE * SIDE * local[..., 2]).to(torch.int64)
        row = self.rows[at]
        weight = self.fields.weights[row, place].to(torch.float32)
        seen = is_there & (weight > 0) & (self.fields.counts[row, place] >= self.least)
        free = self.free[at]
        value = (self.fields.sums[row, place].to(torch.float32) / DISTANCE_STEPS + free) / (weight + free).clamp(
            min=1.0
        )
        return torch.where(seen, value, torch.full_like(value, torch.nan)), torch.where(is_there, at, -1)

    def between(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Trilinear distances (n,) at points (n, 3), voxels from the anchor, and their gradients (n, 3) a voxel."""
        base = torch.floor(points)
        share = points - base
        corners = torch.arange(8, device=points.device, dtype=torch.int32)
        steps = torch.stack([corners & 1, corners >> 1 & 1, corners >> 2], 1)
        values, _ = self.values(base.to(torch.int32)[:, None] + steps)
        weights = torch.where(steps > 0, share[:, None], 1.0 - share[:, None])
        signs = 2.0 * steps.to(torch.float32) - 1.0
        x, y, z = weights.unbind(-1)
        parts = torch.stack([signs[:, 0] * y * z, signs[:, 1] * x * z, signs[:, 2] * x * y], -1)
        return (x * y * z * values).sum(1), (parts * values[..., None]).sum(1)


def cast(
    model: Model, rays: Tensor, motion: Tensor, near: float, far: float, voxel: float, truncation: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Where rays meet the surface from outside: the torch expression that every device runs.

    Args:
        model: the voxels.
        rays: (n, 3) in the camera, z = 1; not finite for none.
        motion: (3, 4) anchor_from_cam.
        near: least depth, metres.
        far: largest depth, metres.
        voxel: edge, metres.
        truncation: metres.

    Returns:
        Depths (n,), 0 for none; normals (n, 3); and colours (n, 3) uint8 where the model has them.
    """
    is_ray = torch.isfinite(rays[:, 0])
    safe = torch.where(is_ray[:, None], rays, torch.ones_like(rays))
    direction = (safe[:, None, :] * motion[:, :3]).sum(-1) / voxel
    origin = motion[:, 3] / voxel
    per_length = 1.0 / (direction * direction).sum(-1).sqrt()
    t = torch.full_like(per_length, near)
    before, known = t.clone(), torch.full_like(t, torch.nan)
    low, high, first, second = t.clone(), t.clone(), known.clone(), known.clone()
    is_done = ~is_ray
    has_met = torch.zeros_like(is_done)
    for _ in range(MAX_STEPS):
        is_done = is_done | (t > far)
        point = origin + t[:, None] * direction
        lattice = torch.floor(point + 0.5).to(torch.int32)
        value, block = model.values(lattice)
        meets = ~is_done & (value <= 0) & (known > 0)
        low, high = torch.where(meets, before, low), torch.where(meets, t, high)
        first, second = torch.where(meets, known, first), torch.where(meets, value, second)
        has_met, is_done = has_met | meets, is_done | meets
        border = SIDE * (lattice >> 3).to(torch.float32) - 0.5
        border = torch.where(direction > 0, border + SIDE, border)
        safe_direction = torch.where(direction == 0, torch.ones_like(direction), direction)
        leave = torch.where(direction == 0, torch.full_like(point, 1e9), (border - point) / safe_direction).amin(-1)
        ahead = torch.where(value > 0, (STEP * truncation / voxel * value).clamp(min=1.0), torch.ones_like(value))
        step = torch.where(block < 0, leave.clamp(min=0.0) + 0.5 * per_length, ahead * per_length)
        before = torch.where(block < 0, before, t)
        known = torch.where(block < 0, torch.full_like(known, torch.nan), value)
        t = torch.where(is_done, t, t + step)
    a, _ = model.between(origin + low[:, None] * direction)
    b, _ = model.between(origin + high[:, None] * direction)
    # The nearest voxels' signs differ there; the surface between voxels may lie up to one voxel before or behind.
    low, high = torch.where(a <= 0, low - per_length, low), torch.where(b > 0, high + per_length, high)
    a, _ = model.between(origin + low[:, None] * direction)
    b, _ = model.between(origin + high[:, None] * direction)
    is_sound = (a > 0) & (b <= 0)
    a, b = torch.where(is_sound, a, first), torch.where(is_sound, b, second)
    at = low + (high - low) * a / (a - b)
    gradient = torch.zeros_like(direction)
    for _ in range(2):
        middle, gradient = model.between(origin + at[:, None] * direction)
        low, a = torch.where(middle > 0, at, low), torch.where(middle > 0, middle, a)
        high, b = torch.where(middle <= 0, at, high), torch.where(middle <= 0, middle, b)
        at = torch.where(a > b, low + (high - low) * a / (a - b), at)
    length = (gradient * gradient).sum(-1).sqrt()
    has_met = has_met & (length > 0)
    depth = torch.where(has_met, at, torch.zeros_like(at))
    normals = torch.where(has_met[:, None], gradient / length[:, None], torch.zeros_like(gradient))
    if model.fields.colors is None:
        return depth, normals, None
    lattice = torch.floor(torch.where(has_met, at, torch.zeros_like(at))[:, None] * direction + origin + 0.5)
    return depth, normals, _colors(model, lattice.to(torch.int32), has_met)


def _colors(model: Model, lattice: Tensor, has_met: Tensor) -> Tensor:
    """(n, 3) uint8 colours of the voxels at lattice coordinates, 0 where nothing was met."""
    assert model.fields.colors is not None
    _, block = model.values(lattice)
    row = model.rows[block.clamp(min=0)]
    local = lattice & 7
    place = (local[:, 0] + SIDE * local[:, 1] + SIDE * SIDE * local[:, 2]).to(torch.int64)
    count = model.fields.counts[row, place].to(torch.float32).clamp(min=1.0)
    rgb = model.fields.colors[row, :, place].to(torch.float32) / count[:, None] + 0.5
    return torch.where((has_met & (block >= 0))[:, None], rgb.clamp(max=255.0), torch.zeros_like(rgb)).to(torch.uint8)


def check_view(cam_from_world: NDArray[np.float64]) -> None:
    """Refuse what is no pose.

    Raises:
        InputError: it is not a finite (4, 4) matrix.
    """
    if cam_from_world.shape != (4, 4) or not np.isfinite(cam_from_world).all():
        raise InputError("cam_from_world is a finite 4x4 matrix")
