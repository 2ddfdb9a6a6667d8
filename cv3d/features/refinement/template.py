"""Reference patches, with what does not change while they are aligned."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_GAIN = 0.1
"""Contrast of the target over the reference's below which a step would be noise."""
CORRELATED = 2
"""Lags up to which residuals are taken to be correlated, samples."""
FREEDOMS = 4.0
"""Unknowns of an alignment by translation: two of the place, gain and bias."""
TINY = 1e-12


class Template:
    """Patches of the reference view on a grid of n × side × side samples."""

    def __init__(self, patches: Tensor, side: int, spread: float) -> None:
        """Prepare the steps of a translation.

        Args:
            patches: (n, (side + 2)²) float32, with one sample more on each side.
            side: samples along a side.
            spread: standard deviation of the window, samples.
        """
        self.side = side
        self.offsets = square_offsets(side, patches.device)
        self.window = torch.exp(self.offsets.square().sum(1) * (-0.5 / spread**2))
        self.window = self.window / self.window.sum()
        patches = patches.view(-1, side + 2, side + 2)
        by_x = 0.5 * (patches[:, 1:-1, 2:] - patches[:, 1:-1, :-2]).flatten(1)
        by_y = 0.5 * (patches[:, 2:, 1:-1] - patches[:, :-2, 1:-1]).flatten(1)
        values = patches[:, 1:-1, 1:-1].flatten(1)
        self.values = values - (values @ self.window)[:, None]
        self.energy = (self.values.square() @ self.window).clamp(min=TINY)
        self.gradients = torch.stack((by_x, by_y), 1)
        self.fields = self.net(self.gradients)
        self.normal = (self.fields * self.window) @ self.fields.mT

    def net(self, fields: Tensor) -> Tensor:
        """What is left of fields (n, p, m) once a gain and a bias have explained what they can."""
        fields = fields - (fields @ self.window)[..., None]
        shares = (fields @ (self.values * self.window)[:, :, None]) / self.energy[:, None, None]
        return fields - shares * self.values[:, None]

    def residuals(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Patches (n, m) brought to the reference's gain and bias, less the reference, and their correlation (n,)."""
        centred = patches - (patches @ self.window)[:, None]
        product = (centred * self.values) @ self.window
        ncc = product / ((centred.square() @ self.window).clamp(min=TINY) * self.energy).sqrt()
        gain = (product / self.energy).clamp(min=LEAST_GAIN)
        return centred / gain[:, None] - self.values, ncc

    def variance(self, residuals: Tensor) -> Tensor:
        """(n,), of the residuals of one sample."""
        samples = self.side * self.side
        return residuals.square().mean(1) * (samples / (samples - FREEDOMS))

    def noise_of_step(self, fields: Tensor, inverse: Tensor, residuals: Tensor) -> Tensor:
        """Covariance (n, 2, 2) of the step that fields and the inverse of their normal matrix give.

        Residuals of neighbouring samples are correlated: by interpolation, by compression, and because what is no plane
        is taken for one. The estimator is the one of Newey and West ("A simple, positive semi-definite,
        heteroskedasticity and autocorrelation consistent covariance matrix", 1987) on a plane grid.

        Args:
            fields: (n, 2, m).
            inverse: (n, 2, 2).
            residuals: (n, m).
        """
        side, reach = self.side, CORRELATED
        scores = (fields * self.window).view(-1, 2, side, side)
        noise = residuals.view(-1, 1, side, side)
        total = torch.zeros_like(inverse)
        for dy in range(-reach, reach + 1):
            for dx in range(reach + 1):
                if dx == 0 and dy < 0:
                    continue
                rows, columns = slice(max(dy, 0), side + min(dy, 0)), slice(dx, side)
                shifted = slice(max(-dy, 0), side + min(-dy, 0)), slice(0, side - dx)
                one, two = scores[..., rows, columns].flatten(2), scores[..., shifted[0], shifted[1]].flatten(2)
                product = (noise[..., rows, columns] * noise[..., shifted[0], shifted[1]]).flatten(1).sum(1)
                taper = (1.0 - abs(dy) / (reach + 1)) * (1.0 - dx / (reach + 1))
                outer = (one @ two.mT) * (taper * product)[:, None, None]
                total = total + (outer if dx == dy == 0 else outer + outer.mT)
        return inverse @ (total / (side * side - FREEDOMS)) @ inverse


def square_offsets(side: int, device: torch.device) -> Tensor:
    """(side², 2), x and y of a square grid about its middle, row by row."""
    axis = torch.arange(side, dtype=torch.float32, device=device) - side // 2
    return torch.stack((axis.repeat(side), axis.repeat_interleave(side)), 1)
