"""Robust losses for least squares, as weights of iteratively reweighted least squares.

A loss maps the squared residual norm s = (r / scale)^2 to rho(s); the weight is rho'(s), so that a minimiser that
solves weighted normal equations descends the robust cost (Triggs et al. 2000, "Bundle adjustment: a modern
synthesis", 4.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor


class LossKind(StrEnum):
    """The loss functions available."""

    SQUARED = "squared"
    HUBER = "huber"
    CAUCHY = "cauchy"


def _squared(s: Tensor) -> tuple[Tensor, Tensor]:
    return s, torch.ones_like(s)


def _huber(s: Tensor) -> tuple[Tensor, Tensor]:
    root = torch.sqrt(torch.clamp(s, min=1.0))
    inside = s <= 1.0
    return torch.where(inside, s, 2.0 * root - 1.0), torch.where(inside, torch.ones_like(s), 1.0 / root)


def _cauchy(s: Tensor) -> tuple[Tensor, Tensor]:
    return torch.log1p(s), 1.0 / (1.0 + s)


_LOSSES: dict[LossKind, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    LossKind.SQUARED: _squared,
    LossKind.HUBER: _huber,
    LossKind.CAUCHY: _cauchy,
}


@dataclass(frozen=True)
class Loss:
    """A loss with its scale."""

    kind: LossKind = LossKind.SQUARED
    scale: float = 1.0
    """Residual norm at which the loss leaves the square, in the residual's unit."""

    def evaluate(self, squared_norm: Tensor) -> tuple[Tensor, Tensor]:
        """Cost and weight of residuals.

        Args:
            squared_norm: squared residual norms, any shape, in squared residual units.

        Returns:
            `(cost, weight)` of the same shape: `cost` in squared residual units (equal to the input for small
            residuals), `weight` in (0, 1].
        """
        cost, weight = _LOSSES[self.kind](squared_norm / self.scale**2)
        return cost * self.scale**2, weight


SQUARED = Loss()
