"""The groups of transforms: group axioms, exponential maps, derivatives, precision."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.spatial.transform import Rotation
from torch import Tensor

from cv3d.geometry.transforms import SE3, SO3, LieGroup, Sim3
from cv3d.geometry.transforms.algebra import skew, stumpff

GROUPS: list[type[LieGroup]] = [SO3, SE3, Sim3]
RIGID: list[type[SO3] | type[SE3]] = [SO3, SE3]
ANGLES = [0.0, 1e-12, 1e-7, 1e-4, 1e-2, 0.1, 1.0, 1.999999, 2.000001, 3.0, math.pi - 1e-6]

every_group = pytest.mark.parametrize("group", GROUPS)
rigid_group = pytest.mark.parametrize("group", RIGID)
# Loading torch's forward-mode rules scripts them with an API that torch itself has deprecated.
forward_mode = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def tangents(group: type[LieGroup], per_angle: int = 4, seed: int = 0) -> Tensor:
    """Tangent vectors whose rotation angles are ANGLES, the other parts both as small as that and of order one."""
    rng = torch.Generator().manual_seed(seed)
    angle = torch.tensor(ANGLES, dtype=torch.float64)[:, None, None]
    axis = torch.randn((len(ANGLES), per_angle, 3), generator=rng, dtype=torch.float64)
    phi = angle * axis / axis.norm(dim=-1, keepdim=True)
    size = torch.where(torch.arange(per_angle) % 2 == 0, angle[..., 0], torch.ones(())).to(torch.float64)[..., None]
    rho = 2.0 * size * torch.randn((len(ANGLES), per_angle, 3), generator=rng, dtype=torch.float64)
    sigma = 0.5 * size * torch.randn((len(ANGLES), per_angle, 1), generator=rng, dtype=torch.float64)
    parts = {SO3: [phi], SE3: [rho, phi], Sim3: [rho, phi, sigma]}[group]
    return torch.cat(parts, dim=-1).flatten(0, 1)


def samples(group: type[LieGroup], seed: int = 0) -> LieGroup:
    return group.exp(tangents(group, seed=seed))


def generators(group: type[LieGroup]) -> Tensor:
    """The basis of the Lie algebra as matrices, (tangent_dim, matrix_dim, matrix_dim)."""
    rotations = skew(torch.eye(3, dtype=torch.float64))
    if group is SO3:
        return rotations
    basis = torch.zeros((group.tangent_dim, 4, 4), dtype=torch.float64)
    basis[:3, :3, 3] = torch.eye(3, dtype=torch.float64)
    basis[3:6, :3, :3] = rotations
    basis[6:, :3, :3] = torch.eye(3, dtype=torch.float64)
    return basis


def assert_close(actual: Tensor, expected: Tensor, atol: float = 1e-13, rtol: float = 1e-13) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=rtol)


# Group axioms


@every_group
def test_products_stay_in_the_group(group: type[LieGroup]) -> None:
    product = samples(group, 0) @ samples(group, 1)
    assert type(product) is group
    assert_close(product.parameters[..., :4].norm(dim=-1), torch.ones(product.batch_shape, dtype=torch.float64))
    linear = product.as_matrix()[..., :3, :3]
    scale = product.scale() if isinstance(product, Sim3) else torch.ones(product.batch_shape, dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    assert_close(linear @ linear.mT, scale.square()[:, None, None] * eye, atol=1e-12)
    assert_close(torch.linalg.det(linear), scale**3, atol=1e-12)


@every_group
def test_composition_is_the_matrix_product(group: type[LieGroup]) -> None:
    a, b = samples(group, 0), samples(group, 1)
    assert_close((a @ b).as_matrix(), a.as_matrix() @ b.as_matrix(), atol=1e-12)


@every_group
def test_identity_and_inverse(group: type[LieGroup]) -> None:
    member = samples(group)
    identity = group.identity(member.batch_shape, dtype=torch.float64)
    assert_close(identity.as_matrix(), torch.eye(group.matrix_dim, dtype=torch.float64).expand_as(member.as_matrix()))
    assert_close((identity @ member).parameters, member.parameters)
    assert_close((member @ identity).parameters, member.parameters)
    assert_close((member @ member.inverse()).parameters, identity.parameters, atol=1e-12)
    assert_close((member.inverse() @ member).parameters, identity.parameters, atol=1e-12)


@every_group
def test_associativity(group: type[LieGroup]) -> None:
    a, b, c = (samples(group, seed) for seed in range(3))
    assert_close(((a @ b) @ c).parameters, (a @ (b @ c)).parameters, atol=1e-12)


@every_group
def test_action_on_points_agrees_with_matrix_and_composition(group: type[LieGroup]) -> None:
    b_from_a, c_from_b = samples(group, 0), samples(group, 1)
    points = torch.randn((len(b_from_a), 3), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    matrix = b_from_a.as_matrix()
    by_matrix = (matrix[:, :3, :3] @ points[..., None])[..., 0]
    if group is not SO3:
        by_matrix = by_matrix + matrix[:, :3, 3]
    assert_close(b_from_a @ points, by_matrix, atol=1e-12)
    assert_close((c_from_b @ b_from_a) @ points, c_from_b @ (b_from_a @ points), atol=1e-11)


# Exponential map


@every_group
def test_exp_is_the_matrix_exponential(group: type[LieGroup]) -> None:
    tangent = tangents(group)
    algebra = torch.einsum("bk,kij->bij", tangent, generators(group))
    assert_close(group.exp(tangent).as_matrix(), torch.from_numpy(np.stack([expm(m) for m in algebra.numpy()])), 1e-12)


@every_group
def test_log_inverts_exp(group: type[LieGroup]) -> None:
    tangent = tangents(group)
    assert_close(group.exp(tangent).log(), tangent, atol=1e-13, rtol=1e-12)


@every_group
def test_small_tangents_keep_their_relative_precision(group: type[LieGroup]) -> None:
    rng = torch.Generator().manual_seed(3)
    for size in (1e-12, 1e-7, 1e-4):
        tangent = size * torch.randn((20, group.tangent_dim), generator=rng, dtype=torch.float64)
        # A scale next to 1 holds its logarithm to an absolute rounding only.
        kept = slice(0, 6)
        assert_close(group.exp(tangent).log()[:, kept], tangent[:, kept], atol=1e-15 * size + 1e-27, rtol=1e-12)


@every_group
def test_exp_inverts_log_on_either_quaternion_sign(group: type[LieGroup]) -> None:
    member = samples(group)
    flip = torch.ones(group.parameter_dim, dtype=torch.float64)
    flip[:4] = -1.0
    for same in (member, group(member.parameters * flip)):
        assert_close(group.exp(same.log()).as_matrix(), member.as_matrix(), atol=1e-12)
        assert_close(same.log(), member.log())


def test_log_at_exactly_half_a_turn() -> None:
    half_turns = SO3(torch.cat([torch.zeros(3, 1), torch.eye(3)], dim=1).double())
    assert_close(half_turns.log(), math.pi * torch.eye(3, dtype=torch.float64))
    beyond = SO3.exp(torch.tensor([math.pi + 0.25, 0.0, 0.0], dtype=torch.float64))
    assert_close(beyond.log(), torch.tensor([0.25 - math.pi, 0.0, 0.0], dtype=torch.float64))


def test_similarity_exponential_over_the_stated_range_of_scale() -> None:
    sigma = torch.tensor([-20.0, -10.0, -1.0, -1e-5, -1e-9, 0.0, 1e-9, 1e-5, 1.0, 10.0, 20.0], dtype=torch.float64)
    phi = torch.tensor([[0.0, 0.0, 0.0], [1e-9, 0.0, 0.0], [1e-5, 2e-5, 0.0], [0.0, 3.1, 0.0]], dtype=torch.float64)
    tangent = torch.zeros((len(phi), len(sigma), 7), dtype=torch.float64)
    tangent[..., :3] = torch.tensor([0.3, -1.0, 2.0])
    tangent[..., 3:6] = phi[:, None]
    tangent[..., 6] = sigma
    member = Sim3.exp(tangent)
    assert_close(member.log(), tangent, atol=1e-12, rtol=1e-12)
    # Along the rotation axis, and without rotation everywhere, the translation is rho (e^sigma - 1) / sigma.
    stretch = torch.where(sigma == 0, 1.0, torch.expm1(sigma) / torch.where(sigma == 0, 1.0, sigma))
    assert_close(member.translation()[0], stretch[:, None] * tangent[0, :, :3])
    assert_close(member.translation()[3, :, 1], stretch * tangent[3, :, 1])


# Adjoint and Jacobians


@every_group
def test_adjoint_carries_tangents_across(group: type[LieGroup]) -> None:
    member = samples(group)
    x = tangents(group, seed=4)
    moved = (member.adjoint() @ x[..., None])[..., 0]
    assert_close((member @ group.exp(x) @ member.inverse()).as_matrix(), group.exp(moved).as_matrix(), 1e-11, 1e-11)


@every_group
def test_adjoint_is_a_representation(group: type[LieGroup]) -> None:
    a, b = samples(group, 0), samples(group, 1)
    assert_close((a @ b).adjoint(), a.adjoint() @ b.adjoint(), atol=1e-11)
    eye = torch.eye(group.tangent_dim, dtype=torch.float64).expand_as(a.adjoint())
    assert_close(a.inverse().adjoint() @ a.adjoint(), eye, atol=1e-11)


@forward_mode
@rigid_group
@pytest.mark.parametrize("side", ["left", "right"])
def test_jacobians_against_automatic_differentiation(group: type[SO3] | type[SE3], side: str) -> None:
    jacobian = group.left_jacobian if side == "left" else group.right_jacobian
    inverse = group.left_jacobian_inverse if side == "left" else group.right_jacobian_inverse

    def step(x: Tensor, d: Tensor) -> Tensor:
        at, beside = group.exp(x), group.exp(x + d)
        return (beside @ at.inverse() if side == "left" else at.inverse() @ beside).log()

    x = tangents(group)
    automatic = torch.func.vmap(torch.func.jacfwd(step, argnums=1))(x, torch.zeros_like(x))
    assert_close(jacobian(x), automatic, atol=1e-11)
    eye = torch.eye(group.tangent_dim, dtype=torch.float64).expand_as(automatic)
    assert_close(inverse(x) @ jacobian(x), eye, atol=1e-12)


@rigid_group
def test_left_and_right_jacobians_differ_by_the_adjoint(group: type[SO3] | type[SE3]) -> None:
    x = tangents(group)
    assert_close(group.left_jacobian(x), group.exp(x).adjoint() @ group.right_jacobian(x), atol=1e-12)


def test_jacobian_against_finite_differences() -> None:
    x = tangents(SE3)
    h = 1e-6
    columns = [
        ((SE3.exp(x + h * e) @ SE3.exp(x).inverse()).log() - (SE3.exp(x - h * e) @ SE3.exp(x).inverse()).log())
        / (2 * h)
        for e in torch.eye(6, dtype=torch.float64)
    ]
    assert_close(SE3.left_jacobian(x), torch.stack(columns, dim=-1), atol=2e-9, rtol=1e-8)


@forward_mode
@every_group
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivatives_at_the_identity_are_exact(group: type[LieGroup], dtype: torch.dtype) -> None:
    zero = torch.zeros(group.tangent_dim, dtype=dtype)
    for transform in (torch.func.jacfwd, torch.func.jacrev):
        derivative = transform(lambda x: group.exp(x).as_matrix())(zero)
        assert_close(derivative.permute(2, 0, 1), generators(group).to(dtype), atol=2e-7, rtol=0)
        round_trip = transform(lambda x: group.exp(x).log())(zero)
        assert_close(round_trip, torch.eye(group.tangent_dim, dtype=dtype), atol=2e-7, rtol=0)


@every_group
def test_gradients_are_those_of_finite_differences(group: type[LieGroup]) -> None:
    x = tangents(group, per_angle=1).requires_grad_()

    def value(x: Tensor) -> Tensor:
        member = group.exp(x)
        return torch.cat([member.as_matrix().flatten(1), (member @ member).log()], dim=-1)

    assert torch.autograd.gradcheck(value, (x,), eps=1e-6, atol=1e-6, rtol=1e-6, fast_mode=True)


@forward_mode
@every_group
def test_second_derivatives_are_finite_at_the_identity(group: type[LieGroup]) -> None:
    hessian = torch.func.hessian(lambda x: group.exp(x).log().square().sum())(torch.zeros(group.tangent_dim))
    assert_close(hessian, 2.0 * torch.eye(group.tangent_dim), atol=1e-6, rtol=0)


# Interpolation


@every_group
def test_interpolation_meets_its_ends(group: type[LieGroup]) -> None:
    a, b = samples(group, 0), samples(group, 5)
    assert_close(a.interpolate(b, 0.0).as_matrix(), a.as_matrix(), atol=1e-12)
    assert_close(a.interpolate(b, 1.0).as_matrix(), b.as_matrix(), atol=1e-11, rtol=1e-11)


@every_group
def test_interpolation_has_constant_velocity(group: type[LieGroup]) -> None:
    a, b = samples(group, 0)[5], samples(group, 5)[30]
    path = a.interpolate(b, torch.linspace(0.0, 1.0, 11, dtype=torch.float64))
    steps = (path[:-1].inverse() @ path[1:]).log()
    assert path.batch_shape == (11,)
    assert_close(steps, 0.1 * (a.inverse() @ b).log().expand_as(steps), atol=1e-13, rtol=1e-11)


@every_group
def test_interpolation_takes_one_fraction_per_pair(group: type[LieGroup]) -> None:
    a, b = samples(group, 0), samples(group, 5)
    alpha = torch.linspace(-0.5, 1.5, len(a), dtype=torch.float64)
    together = a.interpolate(b, alpha)
    assert_close(together[7].parameters, a[7].interpolate(b[7], float(alpha[7])).parameters)


# Matrices and other representations


@every_group
def test_matrix_round_trip(group: type[LieGroup]) -> None:
    member = samples(group)
    assert_close(group.from_matrix(member.as_matrix()).as_matrix(), member.as_matrix(), atol=1e-14, rtol=1e-14)


def test_rigid_and_similarity_matrices_need_no_last_row() -> None:
    for group in (SE3, Sim3):
        matrix = samples(group).as_matrix()
        assert torch.equal(group.from_matrix(matrix[..., :3, :]).parameters, group.from_matrix(matrix).parameters)


def test_matrices_of_exact_half_turns() -> None:
    axes = torch.tensor(
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, -1], [0, -1, 1], [1, 1, 1], [-1, 2, 3], [1e-9, 1, 0]],
        dtype=torch.float64,
    )
    axes = axes / axes.norm(dim=-1, keepdim=True)
    half_turn = 2.0 * axes[:, :, None] * axes[:, None, :] - torch.eye(3, dtype=torch.float64)
    rotation = SO3.from_matrix(half_turn)
    assert_close(rotation.as_matrix(), half_turn, atol=1e-15)
    assert_close(rotation.log().norm(dim=-1), torch.full((len(axes),), math.pi, dtype=torch.float64))


def test_matrix_to_quaternion_has_finite_exact_derivatives_at_every_angle() -> None:
    x = tangents(SO3)
    through_matrix = torch.func.vmap(torch.func.jacrev(lambda x: SO3.from_matrix(SO3.exp(x).as_matrix()).log()))(x)
    assert_close(through_matrix, torch.eye(3, dtype=torch.float64).expand_as(through_matrix), atol=1e-8, rtol=0)


def test_agreement_with_scipy() -> None:
    ours, theirs = samples(SO3), Rotation.from_rotvec(tangents(SO3).numpy())
    assert_close(ours.wxyz[:, [1, 2, 3, 0]], torch.from_numpy(theirs.as_quat()))
    assert_close(ours.as_matrix(), torch.from_numpy(theirs.as_matrix()))
    assert_close(ours.log(), torch.from_numpy(theirs.as_rotvec()))
    assert_close(SO3.from_matrix(torch.from_numpy(theirs.as_matrix())).log(), ours.log(), atol=1e-9)
    other = samples(SO3, 1)
    product = theirs * Rotation.from_rotvec(tangents(SO3, seed=1).numpy())
    assert_close((ours @ other).as_matrix(), torch.from_numpy(product.as_matrix()))


def test_from_wxyz_normalises() -> None:
    quaternion = torch.tensor([[2.0, 0.0, 0.0, 0.0], [3.0, 0.0, 4.0, 0.0]])
    assert_close(SO3.from_wxyz(quaternion).wxyz, torch.tensor([[1.0, 0, 0, 0], [0.6, 0, 0.8, 0]]), atol=1e-7)


@every_group
def test_normalized_removes_drift(group: type[LieGroup]) -> None:
    step = group.exp(torch.full((group.tangent_dim,), 1e-3, dtype=torch.float32))
    drifted = group.identity(dtype=torch.float32)
    for _ in range(300):
        drifted = drifted @ step
    normalized = drifted.normalized().parameters
    assert abs(float(normalized[:4].norm()) - 1.0) < 1.5e-7
    assert torch.equal(normalized[4:], drifted.parameters[4:])


def test_parts_are_put_together_and_taken_apart() -> None:
    rotation = samples(SO3)
    translation = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    scale = torch.full((len(rotation),), 2.5, dtype=torch.float64)
    rigid = SE3.from_rotation_and_translation(rotation, translation)
    similar = Sim3.from_rotation_translation_and_scale(rotation, translation, scale)
    for member in (rigid, similar):
        assert torch.equal(member.rotation().wxyz, rotation.wxyz)
        assert torch.equal(member.translation(), translation.expand(len(rotation), 3))
    assert torch.equal(similar.scale(), scale)
    assert rotation.rotation() is rotation
    assert torch.equal(Sim3.from_rigid(rigid).as_matrix(), rigid.as_matrix())


# Batches, dtypes, borders


@every_group
def test_batches_broadcast(group: type[LieGroup]) -> None:
    members = samples(group)
    one, row, column = members[3], members[:5], members[10:14, None]
    assert (one.batch_shape, row.batch_shape, column.batch_shape) == ((), (5,), (4, 1))
    grid = column @ row
    assert grid.batch_shape == (4, 5)
    assert_close(grid[2, 3].parameters, (members[12] @ members[3]).parameters)
    points = torch.randn((5, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert_close((row @ points)[4], row[4] @ points[4])
    assert_close((row[..., None] @ points)[1, 4], row[1] @ points[4])
    assert (column @ points).shape == (4, 5, 3)
    assert (one @ points).shape == (5, 3)
    assert (row @ points[0]).shape == (5, 3)


@every_group
def test_batch_axes_are_indexed_like_a_tensors(group: type[LieGroup]) -> None:
    grid = group(samples(group).parameters[:12].reshape(3, 4, -1))
    mask = torch.tensor([True, False, True])
    assert grid[..., None].batch_shape == (3, 4, 1)
    assert grid[:, None].batch_shape == (3, 1, 4)
    assert grid[mask].batch_shape == (2, 4)
    assert grid[..., 1].batch_shape == (3,)
    assert torch.equal(grid[torch.tensor([2, 0])].parameters, grid.parameters[[2, 0]])
    assert [member.batch_shape for member in grid] == [(4,)] * 3
    with pytest.raises(IndexError):
        grid[0, 0, 0]
    with pytest.raises(TypeError, match="single"):
        iter(grid[0, 0])


@every_group
def test_stacking_joins_batches(group: type[LieGroup]) -> None:
    a, b = samples(group)[:4], samples(group)[4:8]
    assert group.stack([a, b]).batch_shape == (2, 4)
    assert group.stack([a, b], dim=-1).batch_shape == (4, 2)
    assert torch.equal(group.cat([a, b], dim=-1).parameters, samples(group).parameters[:8])
    assert a[0].expand(3, 2).batch_shape == (3, 2)


@every_group
def test_empty_batches_pass_through(group: type[LieGroup]) -> None:
    empty = group.exp(torch.zeros((0, group.tangent_dim)))
    assert (empty @ empty.inverse()).log().shape == (0, group.tangent_dim)
    assert group.from_matrix(empty.as_matrix()).batch_shape == (0,)


@every_group
def test_single_precision_stays_single_and_agrees_with_double(group: type[LieGroup]) -> None:
    x = tangents(group)
    single, double = group.exp(x.float()), group.exp(x)
    point = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    operations: list[Callable[[LieGroup, Tensor], Tensor]] = [
        lambda member, _: member.as_matrix(),
        lambda member, _: member.adjoint(),
        lambda member, _: member.inverse().parameters,
        lambda member, point: member @ point,
        lambda member, _: (member @ member).as_matrix(),
        lambda member, _: member.interpolate(group.identity(dtype=member.dtype), 0.3).as_matrix(),
        lambda member, _: group.from_matrix(member.as_matrix()).normalized().as_matrix(),
    ]
    for operation in operations:
        result = operation(single, point.float())
        assert result.dtype == torch.float32
        assert_close(result.double(), operation(double, point), atol=1e-5, rtol=1e-5)
    assert single.log().dtype == torch.float32
    assert_close(single.log().double(), x, atol=2e-6, rtol=2e-6)
    if issubclass(group, (SO3, SE3)):
        for jacobian in (group.left_jacobian, group.left_jacobian_inverse):
            assert jacobian(x.float()).dtype == torch.float32
            assert_close(jacobian(x.float()).double(), jacobian(x), atol=2e-6, rtol=2e-6)


@every_group
def test_dtype_conversion_and_defaults(group: type[LieGroup]) -> None:
    assert group.identity().dtype == torch.float32
    assert group.identity((2, 3), dtype=torch.float64).batch_shape == (2, 3)
    assert group.identity().to(dtype=torch.float64).dtype == torch.float64
    assert group.identity().to("cpu").device == torch.device("cpu")


@every_group
def test_wrong_tensors_are_refused(group: type[LieGroup]) -> None:
    with pytest.raises(ValueError, match=r"is stored as"):
        group(torch.zeros(3, group.parameter_dim + 1))
    with pytest.raises(ValueError, match=r"floating dtype"):
        group(torch.zeros(group.parameter_dim, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"got \(2, 2\)"):
        group.from_matrix(torch.eye(2))
    with pytest.raises(TypeError):
        group.identity() @ 3.0


def test_groups_do_not_mix() -> None:
    with pytest.raises(TypeError):
        SE3.identity() @ SO3.identity()


# Scalar functions


@pytest.mark.parametrize("k", range(6))
def test_stumpff_functions_are_accurate_on_both_sides_of_the_switch(k: int) -> None:
    x = torch.cat([torch.logspace(-12, 1.5, 60, dtype=torch.float64), torch.tensor([0.0, 4.0 - 1e-12, 4.0])])
    exact = [math.fsum((-v) ** j / math.factorial(2 * j + k) for j in range(40)) for v in x.tolist()]
    tolerance = 1e-13 / math.factorial(k)
    assert_close(stumpff(x, 6)[k], torch.tensor(exact, dtype=torch.float64), atol=tolerance, rtol=0)
    if k < 2:
        assert_close(stumpff(x, 2)[k], stumpff(x, 6)[k], atol=1e-15, rtol=0)
