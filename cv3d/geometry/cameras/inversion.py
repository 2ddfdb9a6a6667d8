"""Where a radial function stops being monotone, and its inverse up to there.

Both work on whole batches with a fixed number of steps and without looking at the data on the host.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cv3d.geometry.cameras.base import broadcast_shape

_NODES = 128
_LEVELS = 4
_TABLE = 65
_NEWTON_STEPS = 12


def first_turning_point(slope: Callable[[Tensor], Tensor], upper: float, like: Tensor) -> Tensor:
    """The largest t up to which `slope` is positive on all of (0, t].

    Samples, and samples again inside the first interval at whose end the slope is not positive; a dip narrower than
    upper / 127 can go unseen.

    Args:
        slope: derivative of the function, from t (..., K) to (..., K); positive near 0.
        upper: where to stop looking.
        like: the batch of cameras, (..., 1), giving shape, dtype and device.

    Returns:
        (..., 1); `upper` where there is no turning point. The slope is positive there to the resolution of the dtype.
    """
    steps = torch.linspace(0.0, 1.0, _NODES, dtype=like.dtype, device=like.device)
    low, width = torch.zeros_like(like), torch.full_like(like, upper)
    limit = torch.full_like(like, upper)
    for _ in range(_LEVELS):
        nodes = low + width * steps
        falling = slope(nodes) <= 0.0
        first = torch.where(falling, nodes, low + width).amin(-1, keepdim=True)
        width = width / (_NODES - 1)
        low = (first - width).clamp(min=0.0)
        limit = torch.where(falling.any(-1, keepdim=True), low, limit)
    return limit


def invert_monotone(
    function: Callable[[Tensor], tuple[Tensor, Tensor]], target: Tensor, limit: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve f(t) = target on [0, limit], where f increases from f(0) = 0.

    A table brackets the solution; Newton steps that leave the bracket are replaced by bisection.

    Args:
        function: from t (..., K) to f(t) and f'(t), both (..., K).
        target: (..., N), not negative.
        limit: (..., 1), where f stops increasing.

    Returns:
        t (..., N), `limit` where the target is never reached, and whether it is reached, (..., N).
    """
    nodes, values = bracket_table(function, limit)
    batch = broadcast_shape(target.shape[:-1], values.shape[:-1])
    target = target.expand(*batch, target.shape[-1]).contiguous()
    nodes, values = nodes.expand(*batch, _TABLE).contiguous(), values.expand(*batch, _TABLE).contiguous()
    above = torch.searchsorted(values, target).clamp(1, _TABLE - 1)
    low, high = nodes.gather(-1, above - 1), nodes.gather(-1, above)
    f_low, f_high = values.gather(-1, above - 1), values.gather(-1, above)
    tiny = torch.finfo(target.dtype).tiny
    t = low + (high - low) * ((target - f_low) / (f_high - f_low).clamp(min=tiny)).clamp(0.0, 1.0)
    for _ in range(_NEWTON_STEPS):
        f, slope = function(t)
        excess = f - target
        low, high = torch.where(excess <= 0.0, t, low), torch.where(excess >= 0.0, t, high)
        step = t - excess / slope.clamp(min=tiny)
        t = torch.where((step >= low) & (step <= high), step, 0.5 * (low + high))
    reached = target <= values[..., -1:]
    return torch.where(reached, t, limit), reached


def bracket_table(function: Callable[[Tensor], tuple[Tensor, Tensor]], limit: Tensor) -> tuple[Tensor, Tensor]:
    """Arguments from 0 to `limit` (..., 1), and the values of a function there, both (..., T)."""
    nodes = limit * torch.linspace(0.0, 1.0, _TABLE, dtype=limit.dtype, device=limit.device)
    return nodes, function(nodes)[0]
