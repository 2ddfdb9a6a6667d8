"""Holding tracks to the patches that they began with, so that small errors of frame after frame do not add up.

A reference patch is aligned with the present frame under an affine warp, a gain and a bias: the inverse-compositional
algorithm of Baker and Matthews ("Lucas-Kanade 20 years on: part 1", 2002; gain and bias projected out, part 3, 2003).
Everything that depends on the reference alone is computed once, when it is taken, and kept for the life of the track:
the frame that it came from is not needed any more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.features.tracks.pyramid import affine_basis, derivatives, sample, sample_warped, window

_TINY = 1e-6
_CORRELATED = 6.0
"""Residuals of neighbouring pixels are alike: as many of them count as one."""
_LEAST_GAIN = 1.0
"""Contrast of a patch in the frame, grey levels, below which it counts as this."""
_DAMPING = 1e-3
"""Levenberg damping of the warp, as a share of the mean curvature: keeps a bare edge from sliding along itself."""


@dataclass(frozen=True)
class AlignmentOptions:
    """How reference patches are aligned."""

    radius: int = 7
    """Half the side of a reference patch, less half a pixel."""
    iterations: int = 5
    """Gauss-Newton steps in a frame."""
    stiffness: float = 0.02
    """How much a warp resists change from one frame to the next, in units of a normalised patch's mean square gradient:
    where a patch says little about its warp, the warp stays as it is instead of taking the place with it."""
    floor: float = 0.15
    """Standard deviation of a coordinate that residuals do not tell, pixels: blur and compression move them whole."""
    max_step: float = 1.0
    """Longest step of the patch's middle, and of its rim relative to it, pixels."""


@dataclass
class References:
    """Reference patches in numbered rows, with what their alignment needs. On the device; rows are overwritten."""

    values: Tensor
    """(R, P) patches, weighted mean 0 and weighted variance 1."""
    descent: Tensor
    """(R, 7, P) what a patch read in a frame is multiplied with, times the window's weights: how the normalised
    reference changes with the warp, gain and bias projected out, and for the gain the reference itself. The warp's
    first two parameters move the middle, the other four the rim, in pixels of the reference."""
    inverse: Tensor
    """(R, 6, 6) inverse of the damped normal matrix."""
    contrast: Tensor
    """(R,) weighted standard deviation of the patch, grey levels."""
    offsets: Tensor
    """(P, 2) pixels of a patch about its middle."""
    basis: Tensor
    """(6, 2·P) of the offsets, see :func:`cv3d.features.tracks.pyramid.affine_basis`."""
    weights: Tensor
    """(P,) of the window, sum 1."""
    radius: int
    """Half the side of a patch, less half a pixel."""
    stiffness: float
    """As in the options."""

    @staticmethod
    def empty(count: int, options: AlignmentOptions, device: torch.device) -> References:
        """Room for `count` patches."""
        offsets = window(options.radius, device)
        size = len(offsets)
        spread = 0.6 * (options.radius + 0.5)
        weights = torch.exp(-0.5 * (offsets / spread).square().sum(1))
        return References(
            torch.zeros((count, size), device=device),
            torch.zeros((count, 7, size), device=device),
            torch.zeros((count, 6, 6), device=device),
            torch.zeros(count, device=device),
            offsets,
            affine_basis(offsets),
            weights / weights.sum(),
            options.radius,
            options.stiffness,
        )

    def take(self, maps: Tensor, pixels: Tensor, rows: Tensor) -> None:
        """Make the surroundings of places in a frame the reference patches of some rows.

        Args:
            maps: (1 or 3, H, W) the finest level of the frame's pyramid, of which the grey is read.
            pixels: (n, 2).
            rows: (n,) int64, all different.
        """
        # A pixel more on each side: interpolated derivatives are the derivatives of what is interpolated.
        around = sample(maps[:1], pixels[:, None] + window(self.radius + 1, pixels.device))[0]
        side = 2 * self.radius + 3
        around = around.view(-1, side, side)
        by_x, by_y = (part.flatten(1) for part in derivatives(around))
        values = around[:, 1:-1, 1:-1].flatten(1)
        values = values - (values @ self.weights)[:, None]
        contrast = ((values * values) @ self.weights).sqrt().clamp(min=_TINY)
        values = values / contrast[:, None]
        gx, gy = by_x / contrast[:, None], by_y / contrast[:, None]
        x, y = (self.offsets / self.radius).T
        fields = torch.stack((gx, gy, gx * x, gx * y, gy * x, gy * y), 1)
        fields = fields - (fields @ self.weights)[..., None]
        fields = fields - (fields @ (values * self.weights)[..., None]) * values[:, None]
        descent = fields * self.weights
        normal = descent @ fields.transpose(1, 2)
        damping = _DAMPING * normal.diagonal(dim1=1, dim2=2).mean(1) + _TINY
        eye = torch.eye(6, device=pixels.device)
        stiff = self.stiffness * torch.diag_embed((torch.arange(6) >= 2).float()).to(pixels.device)
        factor = torch.linalg.cholesky_ex(normal + damping[:, None, None] * eye + stiff)[0]
        inverse = torch.cholesky_inverse(factor)
        self.values.index_copy_(0, rows, values)
        self.descent.index_copy_(0, rows, torch.cat((descent, (values * self.weights)[:, None]), 1))
        self.inverse.index_copy_(0, rows, inverse)
        self.contrast.index_copy_(0, rows, contrast)


@dataclass(frozen=True)
class Aligned:
    """Where reference patches are in a frame."""

    pixels: Tensor
    """(n, 2) the middle."""
    warps: Tensor
    """(n, 2, 2) offsets in the frame per offset in the reference."""
    ncc: Tensor
    """(n,) weighted normalised cross-correlation as found."""
    covariance: Tensor
    """(n, 3) of the middle (xx, yy, xy), pixels², from the residuals."""


def align(
    maps: Tensor, references: References, rows: Tensor, pixels: Tensor, warps: Tensor, options: AlignmentOptions
) -> Aligned:
    """Find reference patches in a frame, starting nearby.

    Args:
        maps: (1 or 3, H, W) the finest level of the frame's pyramid, of which the grey is read.
        references: the patches.
        rows: (n,) int64, which of them.
        pixels: (n, 2) where to start.
        warps: (n, 2, 2) the warp to start with.
        options: the number of steps.
    """
    image = maps[:1]
    values, descent, inverse = references.values[rows], references.descent[rows], references.inverse[rows]
    weights, radius = references.weights, float(references.radius)
    eye = torch.eye(2, device=pixels.device)
    for _ in range(options.iterations):
        read = sample_warped(image, pixels, warps, references.basis)[0]
        products = (descent @ read[..., None])[..., 0]
        gain = products[:, 6:].clamp(min=_LEAST_GAIN)
        step = (inverse @ products[:, :6, None])[..., 0] / gain
        middle, rim = step[:, :2], step[:, 2:]
        middle = middle * (options.max_step / middle.norm(dim=1, keepdim=True).clamp(min=options.max_step))
        rim = rim * (options.max_step / rim.norm(dim=1, keepdim=True).clamp(min=options.max_step))
        change = eye + rim.view(-1, 2, 2) / radius
        warps = warps @ _inverse_2x2(change)
        pixels = pixels - (warps @ middle[..., None])[..., 0]
    read = _normalised(sample_warped(image, pixels, warps, references.basis)[0], weights)
    ncc = (read * values) @ weights
    # With both patches normalised the mean square residual is 2 (1 - ncc).
    variance = 2.0 * (1.0 - ncc).clamp(min=1e-4)
    spread = variance * _CORRELATED * (weights * weights).sum()
    middle = warps @ inverse[:, :2, :2] @ warps.transpose(1, 2) * spread[:, None, None] + options.floor**2 * eye
    covariance = torch.stack((middle[:, 0, 0], middle[:, 1, 1], middle[:, 0, 1]), 1)
    return Aligned(pixels, warps, ncc, covariance)


def _normalised(patches: Tensor, weights: Tensor) -> Tensor:
    """(n, P) patches with weighted mean 0 and weighted variance 1."""
    centred = patches - (patches @ weights)[:, None]
    return centred / ((centred * centred) @ weights).sqrt().clamp(min=_TINY)[:, None]


def _inverse_2x2(matrices: Tensor) -> Tensor:
    a, b, c, d = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 0], matrices[:, 1, 1]
    adjugate = torch.stack((d, -b, -c, a), 1).view(-1, 2, 2)
    return adjugate / (a * d - b * c)[:, None, None]
