"""Absolute orientation: recovery, optimality, weights, reflections, degenerate input."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from cv3d.errors import EstimationError
from cv3d.geometry.alignment import umeyama
from cv3d.geometry.transforms import Sim3


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cost(b_from_a: Sim3, a: Tensor, b: Tensor, weights: Tensor | float = 1.0) -> Tensor:
    return (weights * (b_from_a[..., None] @ a - b).square().sum(dim=-1)).sum(dim=-1)


@pytest.mark.parametrize("count", [3, 4, 50])
def test_exact_points_give_the_exact_similarity(count: int) -> None:
    truth = Sim3.exp(normal(20, 7))
    a = normal(20, count, 3, seed=1)
    found = umeyama(a, truth[..., None] @ a)
    torch.testing.assert_close(found.as_matrix(), truth.as_matrix(), atol=1e-9, rtol=1e-9)


def test_planar_points_and_half_turns_are_recovered() -> None:
    half_turns = torch.cat([normal(3, 3), math.pi * torch.eye(3), torch.zeros(3, 1)], dim=-1).double()
    a = normal(12, 3, seed=1) * torch.tensor([1.0, 2.0, 0.0])
    truth = Sim3.exp(half_turns)
    found = umeyama(a, truth[..., None] @ a)
    torch.testing.assert_close(found.as_matrix(), truth.as_matrix(), atol=1e-12, rtol=0)


# Loading torch's forward-mode rules scripts them with an API that torch itself has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("with_scale", [True, False])
def test_no_neighbouring_transform_fits_noisy_weighted_points_better(with_scale: bool) -> None:
    a = normal(30, 3)
    b = Sim3.exp(normal(7, seed=1)) @ a + 0.1 * normal(30, 3, seed=2)
    weights = normal(30, seed=3).square()
    best = umeyama(a, b, weights, with_scale=with_scale)
    tangent = torch.zeros(7, dtype=torch.float64)
    gradient = torch.func.grad(lambda x: cost(Sim3.exp(x) @ best, a, b, weights))(tangent)
    hessian = torch.func.hessian(lambda x: cost(Sim3.exp(x) @ best, a, b, weights))(tangent)
    free = 7 if with_scale else 6
    # Without scale the left perturbation of rotation and translation alone must be stationary.
    torch.testing.assert_close(gradient[:free], torch.zeros(free, dtype=torch.float64), atol=1e-9, rtol=0)
    assert bool((torch.linalg.eigvalsh(hessian[:free, :free]) > 0).all())
    assert (abs(float(best.scale()) - 1.0) < 1e-15) == (not with_scale)


def test_rotation_agrees_with_scipy() -> None:
    a, b, weights = normal(10, 3), normal(10, 3, seed=1), normal(10, seed=2).square()
    fraction = (weights / weights.sum())[:, None]
    theirs, _ = Rotation.align_vectors(b - (fraction * b).sum(0), a - (fraction * a).sum(0), weights=weights)
    ours = umeyama(a, b, weights, with_scale=False).rotation().as_matrix()
    torch.testing.assert_close(ours, torch.from_numpy(theirs.as_matrix()), atol=1e-9, rtol=0)


def test_mirrored_points_give_a_rotation_and_the_best_one() -> None:
    a = normal(40, 3) * torch.tensor([3.0, 2.0, 1.0])
    mirrored = a * torch.tensor([1.0, 1.0, -1.0])
    found = umeyama(a, mirrored, with_scale=False)
    assert abs(float(torch.linalg.det(found.rotation().as_matrix())) - 1.0) < 1e-12
    sampled = Sim3.exp(torch.cat([torch.zeros(500, 3), 3.0 * normal(500, 3, seed=4), torch.zeros(500, 1)], dim=-1))
    centred, target = a - a.mean(0), mirrored - mirrored.mean(0)
    assert float(cost(found, a, mirrored)) <= float(cost(sampled, centred, target).min())


def test_weights_count_repetitions_and_zero_removes() -> None:
    a, b = normal(6, 3), normal(6, 3, seed=1)
    repeats = torch.tensor([1, 2, 0, 3, 1, 1])
    weighted = umeyama(a, b, repeats.double())
    repeated = umeyama(a.repeat_interleave(repeats, 0), b.repeat_interleave(repeats, 0))
    torch.testing.assert_close(weighted.as_matrix(), repeated.as_matrix())
    a[2], b[2] = math.nan, math.inf
    torch.testing.assert_close(umeyama(a, b, repeats.double()).as_matrix(), repeated.as_matrix())


def test_batches_broadcast_and_agree_with_single_calls() -> None:
    a, b = normal(8, 3), normal(4, 5, 8, 3, seed=1)
    together = umeyama(a, b)
    assert together.batch_shape == (4, 5)
    torch.testing.assert_close(together[2, 3].as_matrix(), umeyama(a, b[2, 3]).as_matrix())


def test_single_precision_input_is_solved_in_double() -> None:
    found = umeyama(normal(5, 3).float(), normal(5, 3, seed=1).float())
    assert found.dtype == torch.float64


def test_far_away_coordinates_are_aligned() -> None:
    truth = Sim3.exp(torch.tensor([0.0, 0.0, 0.0, 0.1, 2.0, -0.4, 0.0], dtype=torch.float64))
    a = normal(20, 3)
    offset = torch.tensor([4.2e5, 5.4e6, 3e2], dtype=torch.float64)
    found = umeyama(a + offset, truth @ a + offset)
    torch.testing.assert_close(found.rotation().as_matrix(), truth.rotation().as_matrix(), atol=1e-8, rtol=0)


@pytest.mark.parametrize("offset", [0.0, 5e6])
@pytest.mark.parametrize("noise_in_b", [0.0, 0.01])
def test_collinear_points_are_refused(offset: float, noise_in_b: float) -> None:
    line = normal(30, 1) * torch.tensor([0.3, -1.0, 2.0]) + offset
    other = Sim3.exp(normal(7, seed=1)) @ line + noise_in_b * normal(30, 3, seed=2)
    with pytest.raises(EstimationError, match="collinear"):
        umeyama(line, other)
    with pytest.raises(EstimationError, match="collinear"):
        umeyama(other, line)


def test_nearly_collinear_points_are_solved() -> None:
    a = normal(30, 3) * torch.tensor([1.0, 1e-3, 1e-3])
    truth = Sim3.exp(normal(7, seed=1))
    torch.testing.assert_close(umeyama(a, truth @ a).as_matrix(), truth.as_matrix(), atol=1e-9, rtol=0)


def test_other_undetermined_input_is_refused_by_name() -> None:
    a, b = normal(4, 6, 3), normal(4, 6, 3, seed=1)
    with pytest.raises(EstimationError, match="at least 3 points, got 2"):
        umeyama(a[0, :2], b[0, :2])
    with pytest.raises(EstimationError, match="got 2"):
        umeyama(a[0], b[0], torch.tensor([1.0, 1.0, 0, 0, 0, 0]))
    with pytest.raises(EstimationError, match="coincident"):
        umeyama(torch.ones(5, 3), normal(5, 3))
    cube = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    with pytest.raises(EstimationError, match="not determined"):
        umeyama(cube, -cube)
    a[2] = 7.0
    with pytest.raises(EstimationError, match=r"item \(2,\)"):
        umeyama(a, b)
    a[2] = math.nan
    with pytest.raises(EstimationError, match=r"item \(2,\).*not finite"):
        umeyama(a, b)


def test_wrong_shapes_and_weights_are_refused() -> None:
    a = normal(5, 3)
    with pytest.raises(ValueError, match="two sets"):
        umeyama(a, a[:4])
    with pytest.raises(ValueError, match="two sets"):
        umeyama(a.mT, a.mT)
    with pytest.raises(ValueError, match="needs weights"):
        umeyama(a, a, torch.ones(4))
    with pytest.raises(ValueError, match="not negative"):
        umeyama(a, a, torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0]))
