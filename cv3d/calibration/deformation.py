"""How a board differs from its drawing: it bends, and its rows and columns differ in scale.

A board on foam or thin wood is not flat, and printers feed paper at another scale than they write across it. Both are
the same in all pictures. A deformation is a vector of four coefficients of fixed displacement fields ("modes").
"""

from __future__ import annotations

from enum import Flag, auto

import torch
from torch import Tensor

_BENDING = 3


class Deformation(Flag):
    """Groups of modes: which are estimated, or which are at work."""

    BENT = auto()
    """The three modes along the board's normal."""
    STRETCHED = auto()
    """The mode in its plane."""

    @classmethod
    def of(cls, warp: Tensor) -> Deformation:
        """The groups at work in coefficients (..., 4)."""
        bent = cls.BENT if bool((warp[..., :_BENDING] != 0).any()) else UNDEFORMED
        return bent | (cls.STRETCHED if bool((warp[..., _BENDING:] != 0).any()) else UNDEFORMED)

    @property
    def modes(self) -> list[int]:
        """Positions of their coefficients."""
        bending = list(range(_BENDING)) if Deformation.BENT in self else []
        return bending + ([_BENDING] if Deformation.STRETCHED in self else [])

    @property
    def mask(self) -> Tensor:
        """Which of the coefficients are theirs, (4,), bool."""
        result = torch.zeros(_BENDING + 1, dtype=torch.bool)
        result[self.modes] = True
        return result

    def moved(self, warp: Tensor, step: Tensor) -> Tensor:
        """Coefficients (4,) after a step (k,) of the k in these groups."""
        if not self:
            return warp
        result = warp.clone()
        result[self.modes] += step
        return result


UNDEFORMED = Deformation(0)
"""A board that is as it should be; or: nothing of it is estimated."""
STRETCH = _BENDING
"""Position of the stretch among the coefficients."""


def undeformed() -> Tensor:
    """The coefficients of a board that is as it should be, (4,)."""
    return torch.zeros(_BENDING + 1, dtype=torch.float64)


def mode_fields(points: Tensor, extent: Tensor) -> Tensor:
    """Displacement of points of the board by a unit of each mode, (..., 5).

    First along the normal: `1 - u^2`, `1 - v^2` and `u v`, where u and v run from -1 to 1 over the board, so that a
    coefficient is a height in board units. Then, in the plane, the x and y of the fourth mode, `(x, -y) / 2` about the
    board's middle: a coefficient s scales rows by 1 + s / 2 and columns by 1 - s / 2, and to first order keeps the
    geometric mean of both scales.

    Args:
        points: board-frame coordinates, (..., 3).
        extent: smallest and largest x, y of the whole board, (2, 2).
    """
    low, high = extent
    from_middle = points[..., :2] - 0.5 * (low + high)
    u, v = (from_middle / (0.5 * (high - low))).unbind(dim=-1)
    heights = torch.stack([1.0 - u * u, 1.0 - v * v, u * v], dim=-1)
    return torch.cat([heights, from_middle * from_middle.new_tensor([0.5, -0.5])], dim=-1)


def deformed(points: Tensor, modes: Tensor, warp: Tensor) -> Tensor:
    """Where the points of a deformed board are, (..., N, 3).

    Args:
        points: where they should be, (..., N, 3).
        modes: their displacements by unit of each mode, (..., N, 5).
        warp: the coefficients, (4,), or such that they broadcast with (..., N, 4).
    """
    height = (modes[..., :_BENDING] * warp[..., :_BENDING]).sum(dim=-1, keepdim=True)
    shift = modes[..., _BENDING:] * warp[..., STRETCH:]
    return points + torch.cat([shift, height], dim=-1)


def by_coefficients(by_point: Tensor, rotation: Tensor, modes: Tensor, deformation: Deformation) -> Tensor:
    """Derivatives of pixels by the coefficients of some modes, (V, N, 2, k).

    Args:
        by_point: derivatives of pixels by points in the camera's frame, (V, N, 2, 3).
        rotation: of cam_from_board, (V, 3, 3).
        modes: displacements by unit of each mode, (V, N, 5).
        deformation: the modes.
    """
    columns = []
    if Deformation.BENT in deformation:
        along_normal = by_point @ rotation[:, None, :, 2:]
        columns.append(along_normal * modes[..., None, :_BENDING])
    if Deformation.STRETCHED in deformation:
        in_plane = by_point @ rotation[:, None, :, :2]
        columns.append((in_plane * modes[..., None, _BENDING:]).sum(dim=-1, keepdim=True))
    return torch.cat(columns, dim=-1)
