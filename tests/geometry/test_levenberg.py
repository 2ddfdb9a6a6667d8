"""Levenberg-Marquardt on problems with known minima."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from cv3d.geometry.arrow import ArrowSystem
from cv3d.geometry.levenberg import LmOptions, levenberg_marquardt


@dataclass
class SharedOnly:
    """Least squares over a vector of shared parameters; derivatives by automatic differentiation."""

    residual: Callable[[Tensor], Tensor]
    costs: list[float] = field(default_factory=list)

    def linearize(self, state: Tensor) -> ArrowSystem:
        r = self.residual(state)
        slope = jacobian(self.residual, state)
        self.costs.append(float(0.5 * r @ r))
        empty = r.new_zeros(0, 1, 1)
        return ArrowSystem(
            self.costs[-1],
            slope.T @ slope,
            slope.T @ r,
            empty,
            empty[..., 0],
            r.new_zeros(0, 1, len(state)),
        )

    def retract(self, state: Tensor, shared_step: Tensor, block_steps: Tensor) -> Tensor:
        return state + shared_step


@dataclass(frozen=True)
class Growth:
    """Curves `a exp(-b t) + c_v`, one offset and one slope (c_v, d_v) a curve: shared a, b; blocks of two."""

    times: Tensor
    values: Tensor

    def linearize(self, state: tuple[Tensor, Tensor]) -> ArrowSystem:
        (a, b), offsets = state[0], state[1]
        decay = torch.exp(-b * self.times)
        r = a * decay + offsets[:, :1] + offsets[:, 1:] * self.times - self.values
        by_shared = torch.stack([decay, -a * self.times * decay], dim=-1).expand(*r.shape, 2)
        by_block = torch.stack([torch.ones_like(self.times), self.times], dim=-1).expand(*r.shape, 2)
        return ArrowSystem(
            float(0.5 * (r * r).sum()),
            torch.einsum("vni,vnj->ij", by_shared, by_shared),
            torch.einsum("vni,vn->i", by_shared, r),
            by_block.transpose(-1, -2) @ by_block,
            torch.einsum("vni,vn->vi", by_block, r),
            by_block.transpose(-1, -2) @ by_shared,
        )

    def retract(self, state: tuple[Tensor, Tensor], shared_step: Tensor, block_steps: Tensor) -> tuple[Tensor, Tensor]:
        return state[0] + shared_step, state[1] + block_steps


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_rosenbrock_from_the_classic_start() -> None:
    problem = SharedOnly(lambda x: torch.stack([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]]))
    result = levenberg_marquardt(problem, vector(-1.2, 1.0))
    assert result.converged
    torch.testing.assert_close(result.state, vector(1.0, 1.0), rtol=0.0, atol=1e-8)
    # The valley bends: full Gauss-Newton steps overshoot it and have to be rejected on the way.
    assert max(b - a for a, b in zip(problem.costs, problem.costs[1:], strict=False)) > 0.0
    assert result.system.cost == min(problem.costs)


def test_curves_with_shared_and_own_parameters() -> None:
    times = torch.linspace(0, 3, 20, dtype=torch.float64)
    own = torch.tensor([[0.3, -0.2], [1.5, 0.1], [-2.0, 0.4]], dtype=torch.float64)
    values = 2.0 * torch.exp(-1.3 * times) + own[:, :1] + own[:, 1:] * times
    problem = Growth(times, values)
    result = levenberg_marquardt(problem, (vector(1.0, 0.5), torch.zeros_like(own)))
    assert result.converged
    torch.testing.assert_close(result.state[0], vector(2.0, 1.3), rtol=1e-7, atol=0.0)
    torch.testing.assert_close(result.state[1], own, rtol=1e-6, atol=1e-8)


def test_the_gradient_vanishes_at_a_minimum_with_residuals() -> None:
    generator = torch.Generator().manual_seed(0)
    times = torch.linspace(0, 3, 20, dtype=torch.float64)
    noise = 0.05 * torch.randn(3, 20, generator=generator, dtype=torch.float64)
    problem = Growth(times, 2.0 * torch.exp(-1.3 * times) + noise)
    start = (vector(1.0, 0.5), torch.zeros(3, 2, dtype=torch.float64))
    result = levenberg_marquardt(problem, start, LmOptions(relative_decrease=1e-15))
    assert result.system.cost > 0.0
    assert result.system.gradient_norm() < 1e-6 * problem.linearize(start).gradient_norm()


def test_a_state_outside_the_domain_is_never_taken() -> None:
    def residual(x: Tensor) -> Tensor:
        # sqrt is NaN below zero, where a full step from the start leads.
        return torch.stack([torch.sqrt(x[0]) - 0.1, x[0] - 0.01])

    result = levenberg_marquardt(SharedOnly(residual), vector(4.0))
    assert result.converged
    assert math.isfinite(result.system.cost)
    torch.testing.assert_close(result.state, vector(0.01), rtol=1e-6, atol=0.0)


def test_a_start_at_the_minimum_stays() -> None:
    problem = SharedOnly(lambda x: x - vector(1.0, 2.0))
    result = levenberg_marquardt(problem, vector(1.0, 2.0))
    assert result.converged
    assert result.iterations == 1
    assert torch.equal(result.state, vector(1.0, 2.0))


def test_running_out_of_iterations_is_told() -> None:
    problem = SharedOnly(lambda x: torch.stack([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]]))
    result = levenberg_marquardt(problem, vector(-1.2, 1.0), LmOptions(max_iterations=3))
    assert not result.converged
    assert result.system.cost <= problem.costs[0]


@pytest.mark.parametrize("iterations", [0, 1])
def test_without_iterations_the_start_is_judged_as_it_is(iterations: int) -> None:
    problem = SharedOnly(lambda x: x**3 - 2.0)
    result = levenberg_marquardt(problem, vector(5.0), LmOptions(max_iterations=iterations))
    assert result.system.cost <= 0.5 * 123.0**2


def test_a_parameter_without_influence_stays() -> None:
    problem = SharedOnly(lambda x: torch.stack([x[0] - 3.0, 2.0 * x[0] - 6.0 + 0.0 * x[1]]))
    result = levenberg_marquardt(problem, vector(0.0, 7.0))
    assert result.converged
    torch.testing.assert_close(result.state, vector(3.0, 7.0), rtol=1e-6, atol=1e-6)
