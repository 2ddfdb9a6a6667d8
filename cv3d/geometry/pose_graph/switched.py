"""Losses of loops: what any of them has, and the one that switches wrong ones off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class RobustLoss(Protocol):
    """A loss of squared errors, as :class:`cv3d.geometry.robust.Loss` is."""

    @property
    def scale(self) -> float:
        """Error, in standard deviations, at which the loss leaves the square."""

    def evaluate(self, squared_norm: Tensor) -> tuple[Tensor, Tensor]:
        """Cost and weight of squared errors."""


@dataclass(frozen=True)
class SwitchedLoss:
    """Dynamic covariance scaling (Agarwal et al., "Robust map optimization using dynamic covariance scaling", 2013).

    It is what switchable constraints (Suenderhauf and Protzel, IROS 2012) cost once their switches are at their
    optimum: a square up to `scale`, and never more than three times its square.
    """

    scale: float = 1.0
    """Error in standard deviations from which a measurement begins to be switched off."""

    def evaluate(self, squared_norm: Tensor) -> tuple[Tensor, Tensor]:
        """Cost and weight of squared errors, any shape, in squared standard deviations."""
        limit = self.scale**2
        outside = torch.clamp(squared_norm, min=limit)
        switch = 2.0 * limit / (limit + outside)
        inside = squared_norm <= limit
        cost = torch.where(inside, squared_norm, limit * (3.0 * outside - limit) / (limit + outside))
        return cost, torch.where(inside, torch.ones_like(squared_norm), switch * switch)
