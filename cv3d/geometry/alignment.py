"""The similarity or rigid motion that carries one set of points onto another."""

from __future__ import annotations

import torch
from torch import Tensor

from cv3d.errors import EstimationError
from cv3d.geometry.absolute_orientation import absolute_orientation
from cv3d.geometry.transforms import SO3, Sim3
from cv3d.geometry.transforms.algebra import broadcast_shapes


def umeyama(points_a: Tensor, points_b: Tensor, weights: Tensor | None = None, with_scale: bool = True) -> Sim3:
    """The similarity `b_from_a` that minimises sum_i w_i |b_from_a @ a_i - b_i|^2, in closed form.

    The optimum over proper rotations is taken also where a reflection would fit better (Umeyama 1991, "Least-squares
    estimation of transformation parameters between two point patterns", eqs. 40-43).

    Args:
        points_a: (..., N, 3) points in frame a.
        points_b: (..., N, 3) the same points in frame b; the leading axes broadcast with those of `points_a`.
        weights: (..., N), not negative; 0 leaves a point out. None: all equal.
        with_scale: False keeps the scale at 1, for the best rigid motion.

    Returns:
        `b_from_a` with the broadcast batch, in float64 on the CPU.

    Raises:
        EstimationError: fewer than 3 points of positive weight, points that are not finite, or points that leave the
            rotation open: collinear or coincident in either frame, or no correspondence between the two.
        ValueError: shapes that do not match, or weights that are negative or not finite.
    """
    a, b, w = _checked(points_a, points_b, weights)
    found = absolute_orientation(a.numpy(), b.numpy(), w.numpy(), with_scale)
    undetermined = torch.from_numpy(found.is_open)
    if undetermined.any():
        raise EstimationError(
            f"{_which(undetermined)}the rotation between the two sets of points is not determined: "
            "they are collinear or coincident, or do not correspond; alignment needs 3 points that span a plane"
        )
    rotation, translation, scale = map(torch.from_numpy, (found.rotation, found.translation, found.scale))
    return Sim3.from_rotation_translation_and_scale(SO3.from_matrix(rotation), translation, scale)


def _checked(points_a: Tensor, points_b: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The points and weights in float64 on the CPU, with a common batch, after checking them."""
    if points_a.shape[-1:] != (3,) or points_a.ndim < 2 or points_a.shape[-2:] != points_b.shape[-2:]:
        raise ValueError(f"alignment needs two sets (..., N, 3), got {tuple(points_a.shape)}, {tuple(points_b.shape)}")
    count = points_a.shape[-2]
    a, b = (points.detach().to("cpu", torch.float64) for points in (points_a, points_b))
    w = torch.ones(count, dtype=torch.float64) if weights is None else weights.detach().to("cpu", torch.float64)
    if w.shape[-1:] != (count,):
        raise ValueError(f"alignment of {count} points needs weights (..., {count}), got {tuple(w.shape)}")
    if not bool((torch.isfinite(w) & (w >= 0)).all()):
        raise ValueError("alignment weights must be finite and not negative")

    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2], w.shape[:-1])
    a, b, w = a.expand(*batch, count, 3), b.expand(*batch, count, 3), w.expand(*batch, count)
    used = w > 0
    too_few = used.sum(dim=-1) < 3
    if too_few.any():
        raise EstimationError(f"{_which(too_few)}alignment needs at least 3 points, got {int(used.sum(dim=-1).min())}")
    broken = (used & ~(torch.isfinite(a) & torch.isfinite(b)).all(dim=-1)).any(dim=-1)
    if broken.any():
        raise EstimationError(f"{_which(broken)}the points to align hold values that are not finite")
    return torch.where(used[..., None], a, 0.0), torch.where(used[..., None], b, 0.0), w


def _which(failed: Tensor) -> str:
    """Names the first item of a batch that failed."""
    return f"item {tuple(failed.nonzero()[0].tolist())}: " if failed.ndim else ""
