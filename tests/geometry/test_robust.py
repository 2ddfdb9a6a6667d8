"""Robust losses: weights are derivatives, small residuals are untouched, large ones bounded in influence."""

from __future__ import annotations

import pytest
import torch

from cv3d.geometry.robust import SQUARED, Loss, LossKind

KINDS = list(LossKind)
SQUARES = torch.tensor([1e-9, 1e-4, 0.3, 1.1, 3.9, 4.1, 77.0, 1e6], dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_weight_is_the_derivative_of_the_cost(kind: LossKind, scale: float) -> None:
    squares = SQUARES.clone().requires_grad_()
    cost, weight = Loss(kind, scale).evaluate(squares)
    (derivative,) = torch.autograd.grad(cost.sum(), squares)
    torch.testing.assert_close(weight, derivative, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_small_residuals_count_as_squares(kind: LossKind) -> None:
    small = torch.tensor([0.0, 1e-12, 1e-8], dtype=torch.float64)
    cost, weight = Loss(kind, 3.0).evaluate(small)
    torch.testing.assert_close(cost, small, rtol=1e-6, atol=0.0)
    torch.testing.assert_close(weight, torch.ones_like(small), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_cost_rises_and_weight_falls(kind: LossKind) -> None:
    squares = torch.logspace(-6, 8, 200, dtype=torch.float64)
    cost, weight = Loss(kind, 1.5).evaluate(squares)
    assert bool((cost.diff() > 0).all())
    assert bool((weight.diff() <= 0).all())
    assert bool(((weight > 0) & (weight <= 1)).all())
    assert bool((cost <= squares * (1.0 + 1e-12)).all())


def test_influence_of_an_outlier() -> None:
    norm = torch.tensor(1e4, dtype=torch.float64)
    scale = 2.0
    # Influence, weight times residual: constant for Huber, vanishing for Cauchy.
    assert float(Loss(LossKind.HUBER, scale).evaluate(norm**2)[1] * norm) == pytest.approx(scale)
    assert float(Loss(LossKind.CAUCHY, scale).evaluate(norm**2)[1] * norm) < 1e-3


def test_huber_leaves_the_square_at_its_scale() -> None:
    huber = Loss(LossKind.HUBER, 2.0)
    below, above = torch.tensor(3.999, dtype=torch.float64), torch.tensor(16.0, dtype=torch.float64)
    assert float(huber.evaluate(below)[0]) == pytest.approx(3.999)
    assert float(huber.evaluate(above)[0]) == pytest.approx(2 * 2.0 * 4.0 - 2.0**2)


def test_the_default_is_plain_least_squares() -> None:
    cost, weight = SQUARED.evaluate(SQUARES)
    assert torch.equal(cost, SQUARES)
    assert torch.equal(weight, torch.ones_like(SQUARES))
