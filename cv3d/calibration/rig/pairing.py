"""The corners that two cameras saw at one moment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.calibration.rig.problem import CameraViews


@dataclass(frozen=True)
class PairedCorners:
    """n corners, each seen by both of two cameras in one frame."""

    frames: Tensor
    """The frame of each, (n,), int64."""
    pixels_first: Tensor
    """(n, 2)."""
    pixels_second: Tensor
    """(n, 2)."""


def paired_corners(first: CameraViews, second: CameraViews) -> PairedCorners:
    """The corners that both cameras saw and that are not left out, told to be the same by their place on the board."""
    frames, pixels_first, pixels_second = [], [], []
    pairs = torch.nonzero(first.frames[:, None] == second.frames[None, :])
    one, other = first.observations, second.observations
    for a, b in pairs.tolist():
        same = (one.points[a][:, None] == other.points[b][None]).all(dim=-1)
        same = same & one.seen[a][:, None] & other.seen[b][None]
        i, j = torch.nonzero(same).unbind(dim=-1)
        frames.append(first.frames[a].expand(len(i)))
        pixels_first.append(one.pixels[a, i])
        pixels_second.append(other.pixels[b, j])
    if not frames:
        return PairedCorners(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2), torch.zeros(0, 2))
    return PairedCorners(torch.cat(frames), torch.cat(pixels_first), torch.cat(pixels_second))
