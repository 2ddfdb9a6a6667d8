"""Pictures however they are handed in: a path, pixels, or a reference to a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.errors import InputError
from cv3d.media.inputs import find_pictures
from cv3d.media.picture import Picture

Image = str | Path | Picture | NDArray[np.uint8] | Tensor
"""A picture's path, its pixels (H, W) or (H, W, 3) RGB uint8, a tensor (C, H, W) uint8 or float32 in [0, 1], or a
reference."""


def image_name(image: Image, otherwise: str) -> str:
    """What to call a picture in messages and results."""
    if isinstance(image, Picture):
        return image.name
    return str(image) if isinstance(image, str | Path) else otherwise


def read_image(image: Image) -> NDArray[np.uint8]:
    """The pixels, (H, W, 3) RGB, or (H, W) where they were handed in as grey.

    Raises:
        InputError: there is no such picture, it is several, or the pixels have another shape or type.
        PictureError: it cannot be read.
    """
    if isinstance(image, str | Path):
        found = find_pictures(image)
        if len(found) != 1 or found.videos:
            raise InputError(f"{image}: is not one picture but {len(found)} pictures and {len(found.videos)} videos")
        return found[0].read_rgb().array
    if isinstance(image, Picture):
        return image.read_rgb().array
    if isinstance(image, Tensor):
        return _of_tensor(image)
    is_grey = image.ndim == 2
    if not (is_grey or (image.ndim == 3 and image.shape[2] == 3)) or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(f"pixels are (H, W) or (H, W, 3) uint8, not {image.shape} {image.dtype}")
    return image


def as_grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey pixels, (H, W), of (H, W) or (H, W, 3) RGB."""
    if pixels.ndim == 2:
        return pixels
    import cv2

    grey: NDArray[np.uint8] = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return grey


def _of_tensor(image: Tensor) -> NDArray[np.uint8]:
    if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
        raise InputError(f"a picture's tensor is (1 or 3, H, W), not {tuple(image.shape)}")
    host = image.detach().cpu()
    if host.is_floating_point():
        host = (host.float().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    if host.dtype != torch.uint8:
        raise InputError(f"a picture's tensor is float32 in [0, 1] or uint8, not {host.dtype}")
    pixels: NDArray[np.uint8] = host.permute(1, 2, 0).contiguous().numpy()
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels
