"""What is expected of the surface of a splined model before any data: a smooth departure from an ordinary lens."""

from __future__ import annotations

import torch
from torch import Tensor

_UNEVENNESS_PX = 1.0
_CURVATURE_PX = 0.02
_GAUGE_PX = 100.0
_POLE = 1.1
"""Where the perspective projection's pole at 90 degrees lies inside the grid, it is moved out to this multiple of the
grid's half diagonal."""
_DEPENDENT = 1e-12


def prior_precision(order: int, nx: int, ny: int, spacing: float, gauge: Tensor) -> Tensor:
    """The matrix A of the cost `0.5 shape^T A shape`, (S, S), px^2.

    Args:
        order: degree of the spline.
        nx: control points along x.
        ny: control points along y.
        spacing: distance of the knots.
        gauge: rows (G, S) of what is to vanish although no data can tell.
    """
    plate = _thin_plate(nx, ny) / spacing**4
    bent = torch.zeros(2 * len(plate), 2 * len(plate), dtype=torch.float64)
    bent[0::2, 0::2] = plate
    bent[1::2, 1::2] = plate
    ordinary = _ordinary_lenses(order, nx, ny, spacing)
    forces = bent @ ordinary
    # The bending energy that is left when the nearest ordinary lens is taken away.
    values, vectors = torch.linalg.eigh(ordinary.T @ forces)
    kept = values > _DEPENDENT * values[-1]
    half = forces @ vectors[:, kept] / values[kept].sqrt()
    uneven = bent - half @ half.T
    precision: Tensor = _UNEVENNESS_PX**2 * uneven + _CURVATURE_PX**2 * bent + _GAUGE_PX**2 * gauge.T @ gauge
    return precision


def _thin_plate(nx: int, ny: int) -> Tensor:
    """Sum of the squared second differences of one component, the mixed ones twice, (nx ny, nx ny)."""
    number = torch.arange(ny * nx).reshape(ny, nx)
    stencils = [
        (1.0, (number[:, :-2], number[:, 1:-1], number[:, 2:]), (1.0, -2.0, 1.0)),
        (1.0, (number[:-2], number[1:-1], number[2:]), (1.0, -2.0, 1.0)),
        (2.0, (number[1:, 1:], number[1:, :-1], number[:-1, 1:], number[:-1, :-1]), (1.0, -1.0, -1.0, 1.0)),
    ]
    plate = torch.zeros(number.numel(), number.numel(), dtype=torch.float64)
    for count, members, factors in stencils:
        for one, factor_one in zip(members, factors, strict=True):
            for other, factor_other in zip(members, factors, strict=True):
                value = torch.full((one.numel(),), count * factor_one * factor_other, dtype=torch.float64)
                plate.index_put_((one.flatten(), other.flatten()), value, accumulate=True)
    return plate


def _ordinary_lenses(order: int, nx: int, ny: int, spacing: float) -> Tensor:
    """Control values, (S, F), of the surfaces of lenses that formulas describe, scaled to like size.

    The classical projections (perspective, equidistant, equisolid, orthographic), their polynomial distortion, and
    decentring and thin prism (Brown 1966).
    """
    x = (torch.arange(-1, nx + 1, dtype=torch.float64) - 0.5 * (nx - 1)) * spacing
    y = (torch.arange(-1, ny + 1, dtype=torch.float64) - 0.5 * (ny - 1)) * spacing
    y, x = torch.meshgrid(y, x, indexing="ij")
    square = x * x + y * y
    radius = square.clamp(min=1e-24).sqrt()
    pole = max(4.0, _POLE**2 * float(square.max()))
    gains = [
        1.0 / (1.0 - square / pole),
        2.0 * torch.atan(0.5 * radius) / radius,
        1.0 / (1.0 + 0.25 * square).sqrt(),
        1.0 / (1.0 + 0.25 * square),
        square,
        square * square,
        square**3,
    ]
    fields = [torch.stack([x * gain, y * gain], -1) for gain in gains]
    fields += [torch.stack(pair, -1) for pair in ((2 * x * y, square + 2 * y * y), (square + 2 * x * x, 2 * x * y))]
    fields += [torch.stack(pair, -1) for pair in ((square, 0 * x), (0 * x, square))]
    controls = torch.stack([_controls_of(field, order).flatten() for field in fields], -1)
    lengths: Tensor = torch.linalg.vector_norm(controls, dim=0)
    return controls / lengths


def _controls_of(field: Tensor, order: int) -> Tensor:
    """Control values (ny, nx, 2) of a smooth field sampled at the knots and one further around, (ny + 2, nx + 2, 2).

    A B-spline smooths: f + h^2 f'' / 6 (cubic) or / 8 (quadratic), which is taken off beforehand.
    """
    inner = field[1:-1, 1:-1]
    spread = field[1:-1, 2:] + field[1:-1, :-2] + field[2:, 1:-1] + field[:-2, 1:-1] - 4.0 * inner
    return inner - spread / (6.0 if order == 3 else 8.0)
