"""Errors of pose graphs: analytic derivatives against differences, invariance to the world's frame."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cv3d.geometry.pose_graph.residuals import RotationError, errors, linearize, retract
from cv3d.geometry.transforms import SE3, Sim3

KINDS = [SE3, Sim3]
FIRST, SECOND = np.array([0, 1, 2, 0, 4]), np.array([1, 2, 3, 4, 3])


def scene(make: SimpleNamespace, kind: type[SE3] | type[Sim3], off: float) -> tuple[SE3 | Sim3, SE3 | Sim3]:
    """Poses, and inverse measurements that are off by so much."""
    poses = kind.exp(make.tangents(5, kind.tangent_dim, 1))
    exact = poses[torch.from_numpy(FIRST)].inverse() @ poses[torch.from_numpy(SECOND)]
    return poses, (exact @ kind.exp(make.tangents(5, kind.tangent_dim, 2, off))).inverse()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turn", list(RotationError))
@pytest.mark.parametrize("off", [0.0, 1e-6, 0.3, 1.2])
def test_derivatives_are_those_of_the_errors(
    make: SimpleNamespace, kind: type[SE3] | type[Sim3], turn: RotationError, off: float
) -> None:
    poses, inverse = scene(make, kind, off)
    at = linearize(poses, FIRST, SECOND, inverse, turn)
    torch.testing.assert_close(at.error, errors(poses, FIRST, SECOND, inverse, turn))
    h, nodes = 1e-6, 5
    # A copy of the graph for each node and direction and both signs, in which that node alone has moved.
    single = torch.eye(nodes * kind.tangent_dim, dtype=torch.float64).reshape(-1, nodes, kind.tangent_dim)
    steps = h * torch.cat([single, -single])
    copies = np.arange(len(steps))[:, None]
    again = torch.arange(nodes).repeat(len(steps))
    moved = retract(poses[again], steps.reshape(-1, kind.tangent_dim))
    first, second = ((nodes * copies + ends).ravel() for ends in (FIRST, SECOND))
    off_by = errors(moved, first, second, inverse[again], turn).reshape(2, nodes, kind.tangent_dim, len(FIRST), -1)
    slopes = (off_by[0] - off_by[1]) / (2.0 * h)
    for ends, analytic in ((FIRST, at.by_first), (SECOND, at.by_second)):
        for edge, node in enumerate(ends.tolist()):
            torch.testing.assert_close(analytic[edge], slopes[node, :, edge].T, rtol=1e-7, atol=2e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_and_derivatives_do_not_depend_on_the_worlds_frame(
    make: SimpleNamespace, kind: type[SE3] | type[Sim3]
) -> None:
    poses, inverse = scene(make, kind, 0.4)
    other = kind.exp(make.tangents(1, kind.tangent_dim, 9, 2.0))
    here = linearize(poses, FIRST, SECOND, inverse, RotationError.VECTOR)
    there = linearize(other @ poses, FIRST, SECOND, inverse, RotationError.VECTOR)
    for name in ("error", "by_first", "by_second"):
        torch.testing.assert_close(getattr(here, name), getattr(there, name), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_measurement_that_is_met_has_no_error(make: SimpleNamespace, kind: type[SE3] | type[Sim3]) -> None:
    poses, inverse = scene(make, kind, 0.0)
    assert float(errors(poses, FIRST, SECOND, inverse, RotationError.VECTOR).abs().max()) < 1e-12


def test_a_quaternions_error_is_the_sine_of_half_the_angle_whatever_its_sign() -> None:
    angle = 2.8
    turned = SE3.exp(torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, angle]], dtype=torch.float64))
    poses = SE3.stack([SE3.identity(dtype=torch.float64), turned[0]])
    still = SE3.identity((1,), dtype=torch.float64)
    for flipped in (still, SE3(-still.wxyz_xyz)):
        found = errors(poses, np.array([0]), np.array([1]), flipped, RotationError.QUATERNION)
        assert float(found[0, 5]) == pytest.approx(math.sin(angle / 2.0))
