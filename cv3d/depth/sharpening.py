"""Edges of depth where the picture has them.

A window that lies across the outline of something near follows the near surface, so that what is near comes out some
pixels too large, and with equal error in all pictures. The picture knows better: pixels of one surface mostly look
alike. Near edges of depth, each pixel takes the weighted median of the surfaces around it, weighted by how alike the
pixels are and by how well their windows match (weighted median filtering, Ma et al., ICCV 2013; of planes here, each
continued to the pixel).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d

_RADIUS, _STEP = 5, 2
"""Of the pixels around that are asked."""
_TONE = 10.0
"""Difference of colours, of 255 along each axis of CIELAB, by which a pixel's weight falls to 1 / e."""
_COST = 0.3
"""Cost of a plane by which it does."""
_JUMP = 1.03
"""Ratio of inverse depths of neighbouring pixels from which on there is an edge."""
_SAME = 0.01
"""Share of the inverse depth by which a pixel may be off the median and stay as it is."""


def sharpened(planes: Tensor, costs: Tensor, color: NDArray[np.uint8]) -> Tensor:
    """Planes whose edges lie where those of the picture do, (3, h, w).

    Args:
        planes: inverse depth and its change along a row and a column, (3, h, w), left as they are.
        costs: what they cost, (h, w).
        color: the picture, RGB, (H, W, 3), of that size or larger.
    """
    _, height, width = planes.shape
    device = planes.device
    v, u = torch.nonzero(_near_edges(planes[0]), as_tuple=True)
    if v.numel() == 0:
        return planes
    across, down = _places(device)
    at_u, at_v = u[:, None] + across, v[:, None] + down
    inside = (at_u >= 0) & (at_v >= 0) & (at_u < width) & (at_v < height)
    at = at_v.clamp(0, height - 1) * width + at_u.clamp(0, width - 1)
    own = v * width + u
    flat = planes.reshape(3, -1)
    inverse = flat[0][at] - flat[1][at] * across - flat[2][at] * down
    lab = _lab(color, height, width).to(device).reshape(3, -1)
    apart = sum(((channel[at] - channel[own][:, None]) ** 2 for channel in lab), start=torch.zeros_like(inverse))
    weights = torch.exp(-torch.sqrt(apart) / _TONE - costs.reshape(-1)[at] / _COST)
    weights = torch.where(inside & (inverse > 0.0), weights, 0.0)

    order = torch.argsort(inverse, dim=1)
    below = torch.cumsum(torch.gather(weights, 1, order), dim=1)
    middle = (below < 0.5 * below[:, -1:]).sum(dim=1, keepdim=True)
    chosen = torch.gather(order, 1, middle)
    median = torch.gather(inverse, 1, chosen)[:, 0]
    source = torch.gather(at, 1, chosen)[:, 0]
    stays = (median - flat[0][own]).abs() < _SAME * median
    taken = torch.stack([median, flat[1][source], flat[2][source]])
    result = flat.clone()
    result[:, own] = torch.where(stays, flat[:, own], taken)
    return result.reshape(planes.shape)


def _near_edges(inverse: Tensor) -> Tensor:
    """Which pixels have an edge of depth within the radius, (h, w)."""
    image = inverse[None, None]
    nearest, farthest = max_pool2d(image, 3, 1, 1), -max_pool2d(-image, 3, 1, 1)
    edges = (nearest > _JUMP * farthest).to(torch.float32)
    return max_pool2d(edges, 2 * _RADIUS + 1, 1, _RADIUS)[0, 0] > 0.0


def _places(device: torch.device) -> tuple[Tensor, Tensor]:
    """Columns and rows that are asked, off the pixel: its own among them; each (1, k)."""
    line = range(-_RADIUS, _RADIUS + 1, _STEP)
    places = [(x, y) for y in line for x in line if x * x + y * y <= _RADIUS * _RADIUS + 1]
    both = torch.tensor(places, dtype=torch.int64, device=device)
    return both[None, :, 0], both[None, :, 1]


def _lab(color: NDArray[np.uint8], height: int, width: int) -> Tensor:
    """CIELAB of the picture at a size, 0 to 255 each, (3, height, width)."""
    small = cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA)
    lab = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.float32)
    return torch.from_numpy(np.ascontiguousarray(lab.transpose(2, 0, 1)))
