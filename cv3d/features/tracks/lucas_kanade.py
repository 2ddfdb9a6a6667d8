"""Where points of one frame are in the next: pyramidal Lucas-Kanade, as one torch expression for every device.

Lucas and Kanade, "An iterative image registration technique with an application to stereo vision", 1981, in the
pyramidal form of Bouguet, "Pyramidal implementation of the affine Lucas Kanade feature tracker", 2001: gradients are
those of the first frame, so the normal matrix of a window is inverted once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.features.tracks.pyramid import Pyramid, sample, window

_OPENCV_UNIT = 32.0**2


@dataclass(frozen=True)
class FlowOptions:
    """How points are followed from frame to frame."""

    radius: int = 10
    """Half the side of the window, less half a pixel."""
    levels: int = 4
    """Most levels of the pyramid."""
    iterations: int = 12
    """Steps at each level."""
    min_step: float = 0.02
    """A point that moves less in a step is done at that level, pixels."""
    min_eigenvalue: float = 1e-4
    """Least of a window's mean structure tensor's smaller eigenvalue, halved, (32 grey levels a pixel)²: OpenCV's
    `minEigThreshold`."""


def follow(
    first: Pyramid, second: Pyramid, points: Tensor, guess: Tensor, options: FlowOptions
) -> tuple[Tensor, Tensor]:
    """Follow points from one frame to another.

    Args:
        first: the frame that they are in.
        second: the frame to find them in, of the same size.
        points: (N, 2) x and y in the first frame, pixels.
        guess: (N, 2) where in the second to begin.
        options: window, levels, steps.

    Returns:
        (N, 2) places in the second frame, and (N,) bool: whether the window had texture and stayed inside.
    """
    offsets = window(options.radius, points.device)
    count = len(offsets)
    top = len(first.levels) - 1
    place = guess / 2.0**top
    is_good = torch.ones(len(points), dtype=torch.bool, device=points.device)
    for level in range(top, -1, -1):
        start = points / 2.0**level
        gray, gx, gy = sample(first.levels[level], start[:, None] + offsets)
        xx, xy, yy = (gx * gx).sum(1), (gx * gy).sum(1), (gy * gy).sum(1)
        determinant = xx * yy - xy * xy
        least = (xx + yy - ((xx - yy) ** 2 + 4.0 * xy * xy).sqrt()) / (2.0 * count * _OPENCV_UNIT)
        has_texture = (least > options.min_eigenvalue) & (determinant > 1e-6)
        scale = torch.where(has_texture, 1.0 / determinant.clamp(min=1e-6), 0.0)
        image = second.levels[level][:1]
        is_moving = has_texture
        before = torch.zeros_like(place)
        for step in range(options.iterations):
            difference = sample(image, place[:, None] + offsets)[0] - gray
            bx, by = (difference * gx).sum(1), (difference * gy).sum(1)
            delta = torch.stack((xy * by - yy * bx, xy * bx - xx * by), -1) * scale[:, None]
            delta = delta * is_moving[:, None]
            place = place + delta
            # A point that jumps to and fro between two places is put between them.
            swings = is_moving & ((delta + before).abs() < 0.01).all(1) if step else torch.zeros_like(is_moving)
            place = place - 0.5 * delta * swings[:, None]
            is_moving = is_moving & ~swings & ((delta * delta).sum(1) > options.min_step**2)
            before = delta
        if level == 0:
            is_good = is_good & has_texture
        else:
            place = place * 2.0
    width, height = second.size
    limit = place.new_tensor((width - 1.0, height - 1.0))
    return place, is_good & (place >= 0.0).all(1) & (place <= limit).all(1)
