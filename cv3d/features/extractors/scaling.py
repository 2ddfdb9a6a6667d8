"""Pictures too large for a network that cannot run in tiles, made smaller, and keypoints carried back."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cv3d.errors import InputError


def check_max_side(max_side: int) -> None:
    """Refuse a limit too small to find anything in.

    Raises:
        InputError: below 64 pixels.
    """
    if max_side < 64:
        raise InputError(f"the longest side has to be at least 64 pixels, not {max_side}")


def within(images: Tensor, max_side: int) -> Tensor:
    """Pictures (B, C, H, W) as float32 in [0, 1], made smaller where a side is longer than `max_side` pixels.

    Sides keep their proportion to within a pixel. Bilinear, with the filter widened so that nothing aliases.
    """
    scale = 1.0 / 255.0 if images.dtype == torch.uint8 else 1.0
    height, width = images.shape[-2:]
    longest = max(height, width)
    if longest <= max_side:
        return images.float() * scale
    size = [max(round(n * max_side / longest), 1) for n in (height, width)]
    # One channel at a time: a large picture in float32 is large.
    channels = [
        functional.interpolate(images[:, c : c + 1].float(), size, mode="bilinear", antialias=True)
        for c in range(images.shape[1])
    ]
    return torch.cat(channels, 1).clamp_(0.0, 1.0 / scale) * scale


def carried_back(keypoints: Tensor, small: torch.Size, large: torch.Size) -> tuple[Tensor, Tensor | None]:
    """Keypoints of pictures that :func:`within` made smaller, in pixels of the originals.

    Args:
        keypoints: (B, K, 2) in pixels of the small.
        small: shape (..., H, W) that the pictures got.
        large: shape that they had.

    Returns:
        (B, K, 2), and (B, K) how many of the originals' pixels one is, along the longer side; None if nothing changed.
    """
    if small[-2:] == large[-2:]:
        return keypoints, None
    ratio_y, ratio_x = (large[axis] / small[axis] for axis in (-2, -1))
    x = (keypoints[..., 0] + 0.5) * ratio_x - 0.5
    y = (keypoints[..., 1] + 0.5) * ratio_y - 0.5
    return torch.stack((x, y), -1), torch.full_like(x, ratio_x if large[-1] >= large[-2] else ratio_y)
