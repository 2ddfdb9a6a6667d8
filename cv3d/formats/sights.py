"""What a camera sees where, sampled over the valid part of its image and along the rim of that."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.geometry.cameras.camera import Camera

_FIT_GRID = (36, 27)
_DENSE_GRID = (64, 49)
_CHECK_GRID = (81, 61)
_DIRECTIONS = 240
_HALVINGS = 11
_RETURNS_PX = 1e-6
_SHORT_OF_A_FOLD = 0.98
"""The share of the way from the middle to a fold of the lens model up to which pixels count."""
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Sights:
    """What a camera sees where: a mapping between pixels and rays over its image."""

    width: int
    """Picture width, pixels."""
    height: int
    """Picture height, pixels."""
    fit: tuple[Tensor, Tensor]
    """Pixels (N, 2) and unit rays (N, 3) that models are fitted to."""
    dense: tuple[Tensor, Tensor]
    """More of the same, for models of many parameters."""
    check: tuple[Tensor, Tensor]
    """A denser set of the same that reaches the border of the image, on which they are judged."""
    share: float
    """How much of the image these cover: where the lens model is valid, and what was asked for; 0 to 1."""
    at: Callable[[Tensor], tuple[Tensor, Tensor]]
    """From pixels (M, 2) to those of them, (N, 2), that are covered, and their unit rays (N, 3)."""

    def near(self, pixels: Tensor, reach: float, steps: int) -> tuple[Tensor, Tensor]:
        """More sights around some of those that are judged on, as :attr:`at`.

        Args:
            pixels: (N, 2).
            reach: how far to go to each side, in distances between neighbours among :attr:`check`.
            steps: positions to each side.
        """
        low, high = self.check[0].amin(0), self.check[0].amax(0)
        offsets = torch.linspace(-reach, reach, 2 * steps + 1, dtype=torch.float64)
        cell = (high - low) / (torch.tensor(_CHECK_GRID, dtype=torch.float64) - 1.0)
        around = torch.cartesian_prod(offsets, offsets) * cell
        return self.at((pixels[:, None] + around).reshape(-1, 2).clamp(low, high))


def sights_of(
    width: int,
    height: int,
    unproject: Callable[[Tensor], tuple[Tensor, Tensor]],
    within: float = 1.0,
) -> Sights:
    """The sights of a camera that is given by its inverse projection.

    Args:
        width: picture width, pixels.
        height: picture height, pixels.
        unproject: from pixels (N, 2) to unit rays (N, 3) and whether the camera is valid there, (N,).
        within: the middle part of width and height that counts, 0 to 1.

    Returns:
        The sights in the valid part of the image; there may be none.
    """
    everywhere = _grid((-0.5, -0.5), (width - 0.5, height - 0.5), _CHECK_GRID, within)
    rays, valid = unproject(everywhere)
    if not bool(valid.any()):
        nothing = (everywhere[:0], rays[:0])
        return Sights(width, height, nothing, nothing, nothing, 0.0, unproject)
    rim = _rim(unproject, everywhere[valid], everywhere[0], everywhere[-1])

    def sights(pixels: Tensor) -> tuple[Tensor, Tensor]:
        rays, valid = unproject(pixels)
        inside = valid & rim.surrounds(pixels)
        return pixels[inside], rays[inside]

    corners = rim.box(everywhere[0], everywhere[-1])
    edge = rim.pixels
    fit = sights(torch.cat([_grid(*corners, _FIT_GRID), edge[::4]]))
    dense = sights(torch.cat([_grid(*corners, _DENSE_GRID), edge[::2]]))
    check = sights(torch.cat([_grid(*corners, _CHECK_GRID), edge]))
    share = within**2 * float((valid & rim.surrounds(everywhere)).double().mean())
    return Sights(width, height, fit, dense, check, share, sights)


def sights_of_camera(camera: Camera, within: float = 1.0) -> Sights:
    """The sights of a camera, in the part of its image where its model is valid; `within` as of :func:`sights_of`."""
    params = torch.tensor(camera.params, dtype=torch.float64)

    def unproject(pixels: Tensor) -> tuple[Tensor, Tensor]:
        # One inversion instead of two: a pixel that has no ray comes back as another one.
        rays = camera.lens.unproject(params, pixels)
        returns = (camera.lens.project(params, rays) - pixels).abs().amax(-1) < _RETURNS_PX
        return rays, returns & camera.lens.valid_points(params, rays)

    return sights_of(camera.width, camera.height, unproject, within)


def _grid(low: tuple[float, float], high: tuple[float, float], count: tuple[int, int], within: float = 1.0) -> Tensor:
    """Positions (columns * rows, 2) over the middle part of a rectangle, its border included."""
    axes = [
        0.5 * (low[axis] + high[axis])
        + 0.5 * within * (high[axis] - low[axis]) * torch.linspace(-1.0, 1.0, count[axis], dtype=torch.float64)
        for axis in (0, 1)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="xy"), dim=-1).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class _Rim:
    """Where the valid part of an image ends, in directions all round a pixel in its middle."""

    middle: Tensor
    """(2,)."""
    reach: Tensor
    """Distance of the outermost pixel that counts, by direction, (D,), pixels; a bit less than that of a fold."""
    limit: Tensor
    """The same where it is a fold, infinite where it is the image's border, (D,)."""

    @property
    def pixels(self) -> Tensor:
        """The outermost pixels that count, (D, 2): where stand-ins differ most."""
        return self.middle + self.reach[:, None] * _directions()

    def surrounds(self, pixels: Tensor) -> Tensor:
        """Whether pixels (N, 2) are inside, (N,)."""
        offset = pixels - self.middle
        at = torch.atan2(offset[:, 1], offset[:, 0]) * (_DIRECTIONS / (2.0 * math.pi))
        first = at.floor()
        share = at - first
        one, other = self.limit[first.long() % _DIRECTIONS], self.limit[(first.long() + 1) % _DIRECTIONS]
        inside: Tensor = offset.norm(dim=-1) * ((1.0 - share) / one + share / other) <= 1.0 + _ROUNDING
        return inside

    def box(self, low: Tensor, high: Tensor) -> tuple[tuple[float, float], tuple[float, float]]:
        """The upright rectangle around the rim, inside that from `low` to `high`: two corners."""
        margin = 0.02 * (high - low)
        start = torch.maximum(self.pixels.amin(0) - margin, low)
        stop = torch.minimum(self.pixels.amax(0) + margin, high)
        return (float(start[0]), float(start[1])), (float(stop[0]), float(stop[1]))


def _directions() -> Tensor:
    """Unit vectors all round, (D, 2)."""
    angle = torch.arange(_DIRECTIONS, dtype=torch.float64) * (2.0 * math.pi / _DIRECTIONS)
    return torch.stack([angle.cos(), angle.sin()], -1)


def _rim(unproject: Callable[[Tensor], tuple[Tensor, Tensor]], seen: Tensor, low: Tensor, high: Tensor) -> _Rim:
    """The rim of the valid part of an image.

    Where it is a fold of the camera's own model, at which the ray turns infinitely fast from pixel to pixel, the
    outermost pixels are left out.

    Args:
        unproject: as of :func:`sights_of`.
        seen: valid pixels, (N, 2).
        low: top left corner of the part of the image that counts, (2,).
        high: bottom right corner.
    """
    middle = seen[(seen - seen.mean(0)).norm(dim=-1).argmin()]
    direction = _directions()
    room = torch.where(direction > 0.0, high - middle, middle - low) / direction.abs().clamp(min=_ROUNDING)
    room = room.amin(-1)

    def is_valid(share: Tensor) -> Tensor:
        return unproject(middle + (share * room)[:, None] * direction)[1]

    outer = torch.ones_like(room)
    is_whole = is_valid(outer)
    inner = torch.where(is_whole, outer, 0.0)
    for _ in range(0 if bool(is_whole.all()) else _HALVINGS):
        half = 0.5 * (inner + outer)
        valid = is_valid(half)
        inner, outer = torch.where(valid, half, inner), torch.where(valid, outer, half)
    reach = (room * torch.where(is_whole, 1.0, _SHORT_OF_A_FOLD * inner)).clamp(min=_ROUNDING)
    return _Rim(middle, reach, torch.where(is_whole, torch.inf, reach))
