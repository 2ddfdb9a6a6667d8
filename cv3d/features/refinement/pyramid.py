"""A picture with its reductions side by side in one plane, so that patches of any scale are read in one call."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cv3d.compute import Compute
from cv3d.errors import InputError

LEVELS = 5
"""Halvings at most, so pictures of up to 32 times another's scale are read without aliasing."""
_GAP = 4
SMALLEST = 8
MARGIN = 1.0
"""Cubic interpolation takes two pixels on each side: nearer to the border than one, it would read beyond it."""


PULL = 12.0 / (2.0 * math.pi) ** 3
"""Torch's cubic convolution (parameter -3/4) shows a ramp's value at place t between two pixels at t + B(t), where B is
the third Bernoulli polynomial, up to 0.05 pixels off: only -1/2 keeps ramps (Keys, "Cubic convolution interpolation for
digital image processing", 1981). B is a sine of this amplitude, but for an eighth of it that the inversion cancels; to
read at t - B(t) leaves a thousandth of a pixel."""


@dataclass(frozen=True, eq=False)
class Pyramid:
    """A grey picture and its halvings. Pixel (0, 0) of the picture is the centre of its top-left pixel."""

    plane: Tensor
    """(1, 1, H', W') float32: the picture at the top left, its reductions in a column on the right."""
    offsets: Tensor
    """(L, 2) float32, x and y in the plane of each level's first pixel."""
    extents: Tensor
    """(L, 2) float32, width and height of each level."""
    scale: Tensor
    """(2, 2) float32, factors for x and y and what to add then, which bring pixels of the plane to -1 … 1."""
    size: tuple[int, int]
    """Width and height of the picture, pixels."""

    @staticmethod
    def build(image: Tensor, compute: Compute) -> Pyramid:
        """The pyramid of a picture; every level is the one above at half the size.

        Args:
            image: (H, W) or (1, H, W), grey, uint8 or floating point in [0, 1].
            compute: where it goes; always float32 there, since half precision leaves too few digits to a gradient.

        Raises:
            InputError: the tensor has another shape or type, or is empty.
        """
        level = grey_plane(image.to(compute.device))[None, None]
        levels = [level]
        height, width = level.shape[-2:]
        for _ in level_sizes(height, width)[1:]:
            level = _halved(level)
            levels.append(level)
        column = sum(small.shape[-2] + _GAP for small in levels[1:])
        half = levels[1].shape[-1] if len(levels) > 1 else 0
        plane = level.new_zeros((1, 1, max(height, column), width + _GAP + half))
        corners, y = [(0, 0)], 0
        for small in levels[1:]:
            corners.append((width + _GAP, y))
            y += small.shape[-2] + _GAP
        for (x, y), small in zip(corners, levels, strict=True):
            plane[..., y : y + small.shape[-2], x : x + small.shape[-1]] = small
        across, down = plane.shape[-1], plane.shape[-2]
        extents = [(small.shape[-1], small.shape[-2]) for small in levels]
        return Pyramid(
            plane,
            torch.tensor(corners, dtype=torch.float32).to(compute.device),
            torch.tensor(extents, dtype=torch.float32).to(compute.device),
            torch.tensor(((2.0 / across, 2.0 / down), (1.0 / across - 1.0, 1.0 / down - 1.0)), dtype=torch.float32).to(
                compute.device
            ),
            (width, height),
        )

    def levels_for(self, step: Tensor) -> Tensor:
        """(n,) int64, the levels whose pixels are nearest to steps (n,) between samples, pixels of the picture."""
        return torch.log2(step.clamp(min=1.0)).round().long().clamp(max=self.offsets.shape[0] - 1)

    def sample(self, centres: Tensor, warps: Tensor, offsets: Tensor, levels: Tensor) -> Tensor:
        """Patches read at centres + warps · offsets, by cubic convolution in one level each.

        Args:
            centres: (n, 2), pixels of the picture.
            warps: (n, 2, 2), picture pixels per unit of the offsets.
            offsets: (m, 2), the same for all patches.
            levels: (n,) int64.

        Returns:
            (n, m) float32. What lies outside of the picture means nothing, see :meth:`contains`.
        """
        shrink = torch.exp2(-levels.float())[:, None]
        first = ((centres + 0.5) * shrink - 0.5 + self.offsets[levels])[..., None]
        spread = offsets.T.expand(len(centres), -1, -1)
        # Coordinate by coordinate, since products with two columns take as long as the sampling itself; then in the
        # usual order, since kernels on Metal have been wrong about others.
        places = torch.baddbmm(first, warps * shrink[..., None], spread)
        places = torch.add(places, torch.sin(places.frac() * (2.0 * math.pi)), alpha=-PULL)
        grid = torch.addcmul(self.scale[1][:, None], places, self.scale[0][:, None]).mT[None].contiguous()
        return functional.grid_sample(self.plane, grid, mode="bicubic", align_corners=False)[0, 0]

    def contains(self, centres: Tensor, warps: Tensor, reach: float, levels: Tensor) -> Tensor:
        """(n,) bool, whether a patch that goes `reach` offsets to each side lies inside the picture."""
        shrink = torch.exp2(-levels.float())[:, None]
        middle = (centres + 0.5) * shrink - 0.5
        extent = reach * warps.abs().sum(-1) * shrink + MARGIN
        inside = (middle - extent >= 0.0) & (middle + extent <= self.extents[levels] - 1.0)
        return inside.all(-1)


def grey_plane(image: Tensor) -> Tensor:
    """A picture (H, W) or (1, H, W), uint8 or floating point in [0, 1], as (H, W) float32 in [0, 1].

    Raises:
        InputError: the tensor has another shape or type, or is empty.
    """
    if image.ndim == 3 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 2 or 0 in image.shape:
        raise InputError(f"a picture to refine in has to be grey, (H, W), not {tuple(image.shape)}")
    if not (image.is_floating_point() or image.dtype == torch.uint8):
        raise InputError(f"a picture to refine in has to be float32 in [0, 1] or uint8, not {image.dtype}")
    return image.float() / 255.0 if image.dtype == torch.uint8 else image.float()


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of a picture and its halvings."""
    sizes = [(height, width)]
    while len(sizes) <= LEVELS and min(sizes[-1]) >= 2 * SMALLEST:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def _halved(image: Tensor) -> Tensor:
    """Every second pixel of an image (1, 1, H, W) under the weights 1, 3, 3, 1 in both directions.

    A mean over 2 × 2 pixels would let finer structure through that shifts what is coarse: 0.07 pixels in place of 0.03
    for a quarter of the size. An odd last row or column has no pixel of its own.
    """
    height, width = image.shape[-2] // 2, image.shape[-1] // 2
    padded = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    a, b, c, d = (padded[..., i : i + 2 * height - 1 : 2, :] for i in range(4))
    rows = (a + d) * 0.125 + (b + c) * 0.375
    a, b, c, d = (rows[..., i : i + 2 * width - 1 : 2] for i in range(4))
    return (a + d) * 0.125 + (b + c) * 0.375
