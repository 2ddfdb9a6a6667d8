"""Normal equations of a splined model, from the few control points that each corner touches.

A row of the Jacobian has (order + 1)^2 entries among hundreds of columns; products of whole rows would spend almost all
their time on zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.geometry.cameras.splined import LocalProjection


@dataclass(frozen=True)
class SplineNormals:
    """Products J_shape^T J_shape and J_shape^T J_other of the weighted rows."""

    shape: Tensor
    """Over all points, (S, S), S = 2 * control points."""
    other: Tensor
    """Of every group of points by itself, (G, S, D)."""


def spline_normals(
    local: LocalProjection, focal: Tensor, root: Tensor, other: Tensor, control_count: int
) -> SplineNormals:
    """Products of the Jacobian by control values with itself and with other columns.

    Args:
        local: the projection of G groups of N points, its tensors (G, N, ...).
        focal: fx and fy, (2,), pixels.
        root: square root of every point's weight, (G, N).
        other: further columns of the same rows, weighted already, (G, N, 2, D): other parameters, residuals.
        control_count: control points of the model.
    """
    groups, points, support = local.controls.shape
    controls = local.controls.reshape(groups * points, support)
    basis = (local.basis * root[..., None]).reshape(groups * points, support)
    pair = controls[:, :, None] * control_count + controls[:, None, :]
    product = basis[:, :, None] * basis[:, None, :]
    gram = basis.new_zeros(control_count * control_count).index_add_(0, pair.flatten(), product.flatten())
    gram = gram.reshape(control_count, control_count)
    shape = basis.new_zeros(control_count, 2, control_count, 2)
    shape[:, 0, :, 0] = focal[0] ** 2 * gram
    shape[:, 1, :, 1] = focal[1] ** 2 * gram

    size = other.shape[-1]
    first = torch.arange(groups).repeat_interleave(points)[:, None] * control_count
    place = (first + controls).flatten()
    mixed = basis.new_empty(groups, control_count, 2, size)
    for axis in range(2):
        columns = focal[axis] * other[:, :, axis].reshape(groups * points, 1, size)
        sums = basis.new_zeros(groups * control_count, size)
        sums.index_add_(0, place, (basis[..., None] * columns).flatten(0, 1))
        mixed[:, :, axis] = sums.reshape(groups, control_count, size)
    return SplineNormals(
        shape.reshape(2 * control_count, 2 * control_count), mixed.reshape(groups, 2 * control_count, size)
    )
