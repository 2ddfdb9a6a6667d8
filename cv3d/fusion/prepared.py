"""What is made of a depth picture before it meets voxels: which pixels count, how much, and how the surface lies.

Depth is judged as inverse depth, in which planes are linear in the pixel whatever their inclination.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cv3d.fusion.layout import WEIGHT_STEPS
from cv3d.fusion.options import GridOptions

DEPTH_STEPS = 1 << 20
"""Depth is kept in whole numbers of 2^-20 m."""
MAX_DEPTH_M = 2000.0
"""Farthest that an int32 holds so."""
GRADIENT_STEP_M = 1e-5
"""Unit of a depth's gradient, metres a pixel."""
SLOPE_STEPS = 32767
NORMAL_NOISE = 0.2
"""Standard deviation of the tangent of a normal's angle that the baseline of its differences is chosen for."""
MAX_BASELINE = 12
SHARED_BASES = 2.0
"""Error that weights have in common, in bases of the noise. All pixels of a frame share that of its pose and of the
camera, so near frames are not worth as much more than far ones as the pixels' own noise would make them."""
SIDE_JUMP = 2.0
"""Largest step to one side that still counts as the same surface, in units of the step that makes an edge."""


@dataclass(frozen=True)
class Judging:
    """The numbers that pixels are judged by, as the kernels take them."""

    min_depth: float
    max_depth: float
    base: float
    quadratic: float
    least_cosine: float
    edge_sigmas: float
    shared: float
    """Error that weights have in common, metres."""

    @staticmethod
    def of(options: GridOptions) -> Judging:
        """Those of a grid."""
        noise = options.noise
        cosine = math.cos(math.radians(options.max_incidence_deg))
        return Judging(
            options.min_depth_m,
            options.max_depth_m,
            noise.base_m,
            noise.quadratic,
            cosine,
            options.edge_sigmas,
            SHARED_BASES * noise.base_m,
        )


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera."""

    fx: float
    fy: float
    cx: float
    cy: float


def prepare(
    depth: Tensor, color: Tensor | None, camera: Intrinsics, judging: Judging, given: Tensor | None = None
) -> Tensor:
    """Judge the pixels of a depth picture.

    Args:
        depth: (h, w) metres.
        color: (h, w, 3) uint8.
        camera: of the picture.
        judging: what by.
        given: (h, w) how much each depth counts, 0 to 1; None: 1.

    Returns:
        (h, w, 4) int32 records, all 0 where a pixel does not count: the depth, 2^-20 m; the weight in steps (upper 16
        bits) and the distance to the surface's plane for each metre of depth, in 1/32767; the depth's gradient along x
        (upper 16 bits) and y, in 10 µm a pixel; and red, green and blue, in bytes from the lowest.
    """
    depth = torch.where((depth >= judging.min_depth) & (depth <= judging.max_depth), depth, torch.zeros_like(depth))
    is_there = depth > 0
    inverse = torch.where(is_there, 1.0 / depth, torch.zeros_like(depth))
    variance = judging.base**2 + (judging.quadratic * depth * depth) ** 2
    # Of the inverse depth.
    limit = judging.edge_sigmas * variance.sqrt() * inverse * inverse
    flies = torch.zeros_like(is_there)
    for axis in (1, 0):
        before, after = _shifted(inverse, axis, -1), _shifted(inverse, axis, 1)
        has_both = (before > 0) & (after > 0)
        flies |= has_both & ((before + after - 2.0 * inverse).abs() > limit)
        flies |= (before <= 0) & (after <= 0)
    focal = max(camera.fx, camera.fy)
    wanted = variance.sqrt() * inverse * (focal / (math.sqrt(2.0) * NORMAL_NOISE))
    baseline = torch.floor(wanted).clamp(1, MAX_BASELINE).to(torch.int32)
    along_x = _gradient(inverse, 1, baseline, limit)
    along_y = _gradient(inverse, 0, baseline, limit)
    gx, gy = -along_x * depth * depth, -along_y * depth * depth
    height, width = depth.shape
    x = (torch.arange(width, device=depth.device, dtype=torch.float32) - camera.cx) / camera.fx
    y = (torch.arange(height, device=depth.device, dtype=torch.float32)[:, None] - camera.cy) / camera.fy
    ax, ay = gx * camera.fx, gy * camera.fy
    # The normal of the surface is (-ax, -ay, depth + ax x + ay y); times the ray (x, y, 1) it gives the depth.
    forward = depth + ax * x + ay * y
    slope = depth / (ax * ax + ay * ay + forward * forward).sqrt().clamp(min=1e-12)
    cosine = slope / (x * x + y * y + 1.0).sqrt()
    keeps = is_there & ~flies & (cosine >= judging.least_cosine)
    share = judging.shared**2 / (judging.shared**2 + (judging.quadratic * depth * depth) ** 2)
    weight = (WEIGHT_STEPS * cosine * share + 0.5).floor().clamp(1, WEIGHT_STEPS)
    if given is not None:
        # Rounded a second time, as the twin does it in a pass of its own.
        weight = (weight * given + 0.5).floor().clamp(1, WEIGHT_STEPS)
    steps = [
        (depth * DEPTH_STEPS + 0.5).floor(),
        weight,
        (slope * SLOPE_STEPS + 0.5).floor().clamp(max=SLOPE_STEPS),
        (gx / GRADIENT_STEP_M + 0.5).floor().clamp(-32767, 32767),
        (gy / GRADIENT_STEP_M + 0.5).floor().clamp(-32767, 32767),
    ]
    far, heavy, slant, right, down = (
        torch.where(keeps, step, torch.zeros_like(step)).to(torch.int32) for step in steps
    )
    rgb = torch.zeros_like(far)
    if color is not None:
        red, green, blue = color.to(torch.int32).unbind(-1)
        rgb = torch.where(keeps, red | green << 8 | blue << 16, rgb)
    return torch.stack([far, heavy << 16 | slant, right << 16 | (down & 0xFFFF), rgb], -1)


def _shifted(values: Tensor, axis: int, by: int) -> Tensor:
    """values[i + by] along an axis, 0 beyond the border."""
    before, after = max(0, -by), max(0, by)
    padding = (before, after, 0, 0) if axis == 1 else (0, 0, before, after)
    padded = F.pad(values, padding)
    return padded.narrow(axis, after, values.shape[axis])


def _gradient(inverse: Tensor, axis: int, baseline: Tensor, limit: Tensor) -> Tensor:
    """Slope of the inverse depth for each pixel: over the baseline to both sides where they lie on one line with it.

    Else to the side that is nearer to it; where both are far, the surface is taken to face the camera.
    """
    lengths = torch.arange(inverse.shape[axis], device=inverse.device, dtype=torch.int32)
    place = lengths if axis == 1 else lengths[:, None]
    last = inverse.shape[axis] - 1
    sides = []
    for sign in (-1, 1):
        at = place + sign * baseline
        value = torch.gather(inverse, axis, at.clamp(0, last).to(torch.int64))
        sides.append(torch.where((at >= 0) & (at <= last), value, torch.zeros_like(value)))
    before, after = sides
    length = baseline.to(torch.float32)
    far = torch.full_like(inverse, math.inf)
    back = torch.where(before > 0, (inverse - before).abs(), far)
    ahead = torch.where(after > 0, (after - inverse).abs(), far)
    is_line = (before > 0) & (after > 0) & ((before + after - 2.0 * inverse).abs() <= limit)
    one = torch.where(ahead <= back, after - inverse, inverse - before)
    one = torch.where(torch.minimum(ahead, back) <= SIDE_JUMP * limit, one, torch.zeros_like(one))
    return torch.where(is_line, 0.5 * (after - before), one) / length
