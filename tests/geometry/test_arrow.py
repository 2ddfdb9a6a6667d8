"""The block-structured normal equations against the dense ones that they stand for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cv3d.errors import EstimationError
from cv3d.geometry.arrow import ArrowSystem

SHARED, VIEWS, BLOCK = 4, 5, 3
SIZE = SHARED + VIEWS * BLOCK


def random_system(seed: int = 0, shared: int = SHARED) -> ArrowSystem:
    """Normal equations of a random well-posed linear problem."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    by_shared, by_block, residual = normal(VIEWS, 12, shared), normal(VIEWS, 12, BLOCK), normal(VIEWS, 12)
    return ArrowSystem(
        cost=float(0.5 * (residual**2).sum()),
        shared=torch.einsum("vni,vnj->ij", by_shared, by_shared),
        shared_gradient=torch.einsum("vni,vn->i", by_shared, residual),
        blocks=by_block.transpose(-1, -2) @ by_block,
        block_gradients=torch.einsum("vni,vn->vi", by_block, residual),
        coupling=by_block.transpose(-1, -2) @ by_shared,
    )


def dense(system: ArrowSystem) -> tuple[Tensor, Tensor]:
    """H and g, the shared parameters first, then block after block."""
    shared, views, block = system.shared.shape[0], *system.block_gradients.shape
    size = shared + views * block
    hessian = torch.zeros(size, size, dtype=torch.float64)
    hessian[:shared, :shared] = system.shared
    for v in range(views):
        rows = slice(shared + v * block, shared + (v + 1) * block)
        hessian[rows, rows] = system.blocks[v]
        hessian[rows, :shared] = system.coupling[v]
        hessian[:shared, rows] = system.coupling[v].T
    return hessian, torch.cat([system.shared_gradient, system.block_gradients.flatten()])


def place(view: int) -> slice:
    return slice(SHARED + view * BLOCK, SHARED + (view + 1) * BLOCK)


@pytest.mark.parametrize("damping", [0.0, 1e-3, 10.0])
@pytest.mark.parametrize("shared", [0, 1, SHARED])
def test_solve_is_the_dense_solution(damping: float, shared: int) -> None:
    system = random_system(shared=shared)
    hessian, gradient = dense(system)
    expected = torch.linalg.solve(hessian + damping * torch.diag(torch.diagonal(hessian)), -gradient)
    step = system.solve(damping)
    assert step is not None
    torch.testing.assert_close(torch.cat([step[0], step[1].flatten()]), expected, rtol=1e-9, atol=1e-12)


def test_solve_survives_parameters_of_very_different_size() -> None:
    system = random_system()
    units = torch.tensor([1e-4, 1.0, 1e3, 1e6], dtype=torch.float64)
    scaled = ArrowSystem(
        system.cost,
        system.shared * units[:, None] * units,
        system.shared_gradient * units,
        system.blocks,
        system.block_gradients,
        system.coupling * units,
    )
    reference, step = system.solve(0.0), scaled.solve(0.0)
    assert reference is not None
    assert step is not None
    torch.testing.assert_close(step[0] * units, reference[0], rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(
        scaled.covariance().shared * units[:, None] * units, system.covariance().shared, rtol=1e-8, atol=1e-12
    )


def test_predicted_decrease_is_that_of_the_quadratic_model() -> None:
    system = random_system(1)
    hessian, gradient = dense(system)
    step = system.solve(0.1)
    assert step is not None
    flat = torch.cat([step[0], step[1].flatten()])
    expected = float(-(gradient @ flat + 0.5 * flat @ hessian @ flat))
    assert system.predicted_decrease(*step) == pytest.approx(expected, rel=1e-12)
    full = system.solve(0.0)
    assert full is not None
    assert system.predicted_decrease(*full) > system.predicted_decrease(*step) > 0.0


def test_gradient_norm_is_the_largest_component() -> None:
    system = random_system(2)
    assert system.gradient_norm() == pytest.approx(float(dense(system)[1].abs().max()))


def test_every_part_of_the_covariance_is_the_dense_inverse() -> None:
    system = random_system(3)
    inverse = torch.linalg.inv(dense(system)[0])
    covariance = system.covariance()
    torch.testing.assert_close(covariance.shared, inverse[:SHARED, :SHARED], rtol=1e-9, atol=1e-12)
    for v in range(VIEWS):
        torch.testing.assert_close(covariance.block(v), inverse[place(v), place(v)], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(covariance.blocks()[v], inverse[place(v), place(v)], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(covariance.cross(v), inverse[:SHARED, place(v)], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(covariance.between_blocks(1, 3), inverse[place(1), place(3)], rtol=1e-9, atol=1e-12)


def test_joint_covariance_with_the_mean_block() -> None:
    system = random_system(4)
    average = torch.zeros(SHARED + BLOCK, SIZE, dtype=torch.float64)
    average[:SHARED, :SHARED] = torch.eye(SHARED)
    for v in range(VIEWS):
        average[SHARED:, place(v)] = torch.eye(BLOCK, dtype=torch.float64) / VIEWS
    expected = average @ torch.linalg.inv(dense(system)[0]) @ average.T
    joint = system.covariance().shared_and_mean_block()
    torch.testing.assert_close(joint, expected, rtol=1e-9, atol=1e-12)


def test_joint_covariance_with_a_weighted_mean() -> None:
    system = random_system(5)
    hessian, _ = dense(system)
    weights = torch.tensor([0.1, 0.4, 0.05, 0.25, 0.2], dtype=torch.float64)
    picker = torch.zeros(SHARED + BLOCK, SIZE, dtype=torch.float64)
    picker[:SHARED, :SHARED] = torch.eye(SHARED)
    for view in range(VIEWS):
        picker[SHARED:, place(view)] = weights[view] * torch.eye(BLOCK, dtype=torch.float64)
    joint = system.covariance().shared_and_mean_block(weights)
    torch.testing.assert_close(joint, picker @ torch.linalg.inv(hessian) @ picker.T, rtol=1e-8, atol=1e-12)


def test_the_reduced_system_is_the_inverse_of_the_shared_covariance() -> None:
    system = random_system(6)
    torch.testing.assert_close(torch.linalg.inv(system.reduced()), system.covariance().shared, rtol=1e-8, atol=1e-12)
    singular = replace(system, blocks=torch.zeros_like(system.blocks))
    assert bool(singular.reduced().isnan().all())


def test_covariance_without_shared_parameters() -> None:
    system = random_system(5, shared=0)
    torch.testing.assert_close(system.covariance().blocks(), torch.linalg.inv(system.blocks), rtol=1e-9, atol=1e-12)


def test_undetermined_shared_parameters_are_an_error() -> None:
    system = random_system(6)
    twice = torch.tensor([0, 1, 2, 2])
    singular = ArrowSystem(
        system.cost,
        system.shared[twice][:, twice],
        system.shared_gradient[twice],
        system.blocks,
        system.block_gradients,
        system.coupling[:, :, twice],
    )
    with pytest.raises(EstimationError, match="intrinsics"):
        singular.covariance()


def test_an_undetermined_block_is_an_error() -> None:
    system = random_system(7)
    blocks = system.blocks.clone()
    blocks[2] = 0.0
    singular = ArrowSystem(
        system.cost, system.shared, system.shared_gradient, blocks, system.block_gradients, system.coupling
    )
    with pytest.raises(EstimationError, match="pose"):
        singular.covariance()
    assert singular.solve(0.0) is None
