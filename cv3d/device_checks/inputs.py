"""Inputs drawn by seed, and laid in a device's memory in the ways that kernels have got wrong."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.compute import Compute


class Layout(StrEnum):
    """How a tensor lies in memory."""

    PLAIN = "contiguous"
    STRIDED = "strided"
    """Every second number of a larger piece, from its second on."""
    TRANSPOSED = "transposed"
    """Its last two axes swapped."""


def placed(values: NDArray[Any], compute: Compute, layout: Layout = Layout.PLAIN) -> Tensor:
    """The array on a device, laid out there as asked."""
    if layout is Layout.STRIDED:
        room = np.zeros((*values.shape[:-1], 2 * values.shape[-1] + 1), values.dtype)
        room[..., 1::2] = values
        return torch.from_numpy(room).to(compute.device)[..., 1::2]
    if layout is Layout.TRANSPOSED:
        swapped = np.ascontiguousarray(np.swapaxes(values, -1, -2))
        return torch.from_numpy(swapped).to(compute.device).transpose(-1, -2)
    return torch.from_numpy(np.ascontiguousarray(values)).to(compute.device)


def fetched(**tensors: Tensor) -> dict[str, NDArray[Any]]:
    """Tensors on the host, by name."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def textured(rng: np.random.Generator, height: int, width: int, smoothness: float = 1.5) -> NDArray[np.float32]:
    """A grey picture (H, W) in 0 to 1 that has detail at several scales, as surfaces have."""
    result = np.zeros((height, width))
    for scale in (1.0, 4.0, 12.0):
        noise = rng.normal(size=(height + 8, width + 8))
        smooth = cv2.GaussianBlur(noise, (0, 0), smoothness * scale)[4 : 4 + height, 4 : 4 + width]
        result += smooth / smooth.std()
    return np.clip(0.5 + 0.12 * result, 0.0, 1.0).astype(np.float32)


def shifted_pair(
    rng: np.random.Generator, height: int, width: int, shift: tuple[float, float]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture and the same moved by (x, y) pixels, (H, W) uint8."""
    margin = 16
    large = textured(rng, height + 2 * margin, width + 2 * margin)
    motion = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
    moved = cv2.warpAffine(large, motion, large.shape[::-1], flags=cv2.INTER_CUBIC)
    inner = np.s_[margin : margin + height, margin : margin + width]
    first, second = (np.ascontiguousarray((255.0 * np.clip(p[inner], 0, 1)).astype(np.uint8)) for p in (large, moved))
    return first, second


def unit_rows(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Random vectors of unit length along the last axis."""
    rows = rng.normal(size=shape)
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)
