"""Patches taken and aligned, as torch expressions for every device: the reference of :mod:`cv3d.odometry.patches`.

The work does not depend on the data: every point takes all steps, and stands still once it is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cv3d.features.tracks.pyramid import sample, window
from cv3d.odometry.patches import (
    CONVERGED,
    CORRELATED,
    COUNT,
    GRADIENT_NOISE,
    ITERATIONS,
    LEAST_NOISE,
    LEAST_SQUARE,
    LONGEST_STEP,
    MODEL_VARIANCE,
    RADIUS,
    SIDE,
    STORED,
    UNKNOWN,
)
from cv3d.odometry.structure_tensor import STRAIGHT


def take_reference(levels: Sequence[Tensor], table: Tensor, pixels: Tensor, rows: Tensor) -> None:
    """Make the surroundings of places in a picture the patches of some rows; beyond its border, the border's grey.

    Args:
        levels: the picture's pyramid, finest first, each (H, W) float32 in 0 … 255.
        table: (R, L, S, S) uint8 of all patches, written to; L is at least the number of levels.
        pixels: (n, 2) float32.
        rows: (n,) int64; a row that is named twice must have the same place.
    """
    offsets = window(STORED, pixels.device)
    taken = torch.zeros((len(rows), *table.shape[1:]), device=pixels.device)
    for level, image in enumerate(levels):
        places = (pixels + 0.5) * 0.5**level - 0.5
        taken[:, level] = sample(image[None], places[:, None] + offsets)[0].view_as(taken[:, level])
    table.index_copy_(0, rows, (taken + 0.5).clamp(0.0, 255.0).to(table.dtype))


@dataclass(frozen=True, eq=False)
class _Templates:
    """What alignment knows of the references, (n, C, …) for C levels from the finest on, P pixels each."""

    middle: Tensor
    """(n, C) grey of the middle, about which everything is taken."""
    fields: Tensor
    """(n, C, 3, P) the patch, its derivatives along x and y, each with mean 0."""
    products: Tensor
    """(n, C, 3, 3) of the fields with one another."""


def align_reference(
    levels: Sequence[Tensor],
    table: Tensor,
    rows: Tensor,
    inverse_warps: Tensor,
    guess: Tensor,
    coarsest: int,
    finest: int = 0,
) -> Tensor:
    """Find patches in a picture, starting nearby.

    Args:
        levels: the picture's pyramid, finest first, each (H, W) float32 in 0 … 255.
        table: (R, L, S, S) uint8 or float32, of all patches.
        rows: (n,) int64, which of them.
        inverse_warps: (n, 2, 2) from offsets in the picture to offsets in the reference.
        guess: (n, 2) where to start, pixels.
        coarsest: level to begin on.
        finest: level to end on.

    Returns:
        (n, 6): the place, pixels; its correlation with the reference on the finest level, -1 where it left the picture
        or has no texture; its covariance (xx, xy, yy), pixels squared: along an edge it is large.
    """
    known = _templates(table[rows, finest : coarsest + 1].float(), inverse_warps)
    pixels, ncc = guess, torch.full_like(guess[:, 0], -1.0)
    for level in range(coarsest, finest - 1, -1):
        c = level - finest
        scale = float(1 << level)
        fields, products = known.fields[:, c], known.products[:, c]
        is_flat = products[:, 0, 0] < LEAST_SQUARE
        start = (pixels + 0.5) / scale - 0.5
        reached, found = _descend(levels[level], start, known.middle[:, c], fields, products, is_flat)
        pixels = torch.where(is_flat[:, None], pixels, (reached + 0.5) * scale - 0.5)
        ncc = torch.where(is_flat, -1.0 if level == finest else ncc, found)
    covariance = _covariance(known.products[:, 0], ncc, float(1 << finest))
    return torch.cat((pixels, ncc[:, None], covariance), 1)


def _templates(stored: Tensor, inverse_warps: Tensor) -> _Templates:
    """Warp stored patches (n, C, S, S), one pixel more on each side than what is compared, and differentiate."""
    count, _, side, _ = stored.shape
    half = side // 2
    offsets = window(RADIUS + 1, stored.device)
    places = (offsets @ inverse_warps.transpose(1, 2) + float(half)).clamp(0.0, side - 1.001)
    grid = (places * (2.0 / (side - 1)) - 1.0).view(count, SIDE + 2, SIDE + 2, 2)
    around = functional.grid_sample(stored, grid, padding_mode="border", align_corners=True)
    middle = stored[:, :, half, half]
    value = around[:, :, 1:-1, 1:-1] - middle[:, :, None, None]
    by_x = 0.5 * (around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2])
    by_y = 0.5 * (around[:, :, 2:, 1:-1] - around[:, :, :-2, 1:-1])
    fields = torch.stack((value, by_x, by_y), 2).flatten(3)
    fields = fields - fields.mean(3, keepdim=True)
    return _Templates(middle, fields, fields @ fields.transpose(2, 3))


def _descend(
    image: Tensor, start: Tensor, middle: Tensor, fields: Tensor, products: Tensor, is_flat: Tensor
) -> tuple[Tensor, Tensor]:
    """Gauss-Newton on one level: places (n, 2) in it, and the correlation (n,) before each one's last step."""
    height, width = image.shape
    limit = start.new_tensor((float(width - SIDE - 1), float(height - SIDE - 1)))
    # What `grid_sample` counts in: -1 to 1 from the first pixel to the last.
    per_pixel = start.new_tensor((2.0 / (width - 1), 2.0 / (height - 1)))
    around = window(RADIUS, start.device) * per_pixel - 1.0
    energy = products[:, 0, 0].clamp(min=1.0)
    bias = products[:, 0, 1:]
    inverse = _steps(products[:, 1:, 1:])
    place = start
    ncc = torch.full_like(middle, -1.0)
    is_moving = ~is_flat
    for _ in range(ITERATIONS):
        corner = place - float(RADIUS)
        is_inside = ((corner >= 0.0) & (corner < limit)).all(1)
        grid = (place * per_pixel)[:, None] + around
        now = functional.grid_sample(image[None, None], grid[None], padding_mode="border", align_corners=True)[0, 0]
        now = now - middle[:, None]
        now = now - now.mean(1, keepdim=True)
        square = (now * now).sum(1)
        is_seen = is_moving & is_inside & (square >= LEAST_SQUARE)
        gain = (energy / square.clamp(min=LEAST_SQUARE)).sqrt()
        along = (fields @ now[..., None])[..., 0] * gain[:, None]
        step = (inverse @ (along[:, 1:] - bias)[..., None])[..., 0]
        size = (step * step).sum(1)
        step = step * (LONGEST_STEP / size.sqrt().clamp(min=LONGEST_STEP))[:, None]
        place = torch.where(is_seen[:, None], place - step, place)
        ncc = torch.where(is_moving, torch.where(is_seen, along[:, 0] / energy, -1.0), ncc)
        is_moving = is_seen & (size >= CONVERGED**2)
    return place, ncc


def _steps(tensors: Tensor) -> Tensor:
    """Inverses of structure tensors (n, 2, 2), for steps: none along a direction whose gradients are noise."""
    low, high = _eigenvalues(tensors)
    by_low, by_high = (
        (value - GRADIENT_NOISE).clamp(min=0.0) / value.square().clamp(min=1e-6) for value in (low, high)
    )
    return _with_eigenvalues(tensors, low, high, by_low, by_high)


def _covariance(products: Tensor, ncc: Tensor, scale: float) -> Tensor:
    """(n, 3) of places on a level whose pixels are `scale` of the picture's, from what the fit leaves over."""
    energy, tensors = products[:, 0, 0], products[:, 1:, 1:]
    misfit = (energy * (1.0 - ncc * ncc) / COUNT).clamp(min=LEAST_NOISE**2)
    # Half of what the fit leaves over is the reference's noise, and half of that is in each derivative.
    noise = (0.25 * COUNT * misfit).clamp(min=GRADIENT_NOISE)
    low, high = _eigenvalues(tensors)
    least = STRAIGHT * high.clamp(min=1e-6)
    by_low, by_high = (1.0 / torch.maximum(value - noise, least) for value in (low, high))
    spread = _with_eigenvalues(tensors, low, high, by_low, by_high) * (scale**2 * CORRELATED * misfit)[:, None, None]
    spread = spread + MODEL_VARIANCE * torch.eye(2, device=ncc.device)
    found = torch.stack((spread[:, 0, 0], spread[:, 0, 1], spread[:, 1, 1]), 1)
    return torch.where((energy < LEAST_SQUARE)[:, None], UNKNOWN, found)


def _eigenvalues(tensors: Tensor) -> tuple[Tensor, Tensor]:
    """Of symmetric (n, 2, 2), the smaller first, and never the same."""
    middle = 0.5 * (tensors[:, 0, 0] + tensors[:, 1, 1])
    half = (0.25 * (tensors[:, 0, 0] - tensors[:, 1, 1]).square() + tensors[:, 0, 1].square()).sqrt()
    half = half + 3e-7 * middle + 1e-9
    return middle - half, middle + half


def _with_eigenvalues(tensors: Tensor, low: Tensor, high: Tensor, new_low: Tensor, new_high: Tensor) -> Tensor:
    """Symmetric matrices (n, 2, 2) with other eigenvalues: a function of one is linear in it."""
    slope = (new_high - new_low) / (high - low)
    level = new_high - slope * high
    return slope[:, None, None] * tensors + level[:, None, None] * torch.eye(2, device=tensors.device)
