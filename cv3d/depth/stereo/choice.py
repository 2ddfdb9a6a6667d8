"""The best disparity of every pixel of either picture, and how clearly it is the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_BITS = 16
"""A sum and its disparity lie in one integer, the disparity in the lower bits: of equal sums the nearest to 0 wins."""
_LOW = (1 << _BITS) - 1


@dataclass(frozen=True, eq=False)
class Choice:
    """What matching says of a pair, on the host."""

    whole: NDArray[np.int32]
    """(h, w) best disparity of the left picture's pixels, whole pixels."""
    fraction: NDArray[np.float32]
    """(h, w) what the sums beside the best one add to it, -0.5 to 0.5."""
    right: NDArray[np.int32]
    """(h, w) best disparity of the right picture's pixels."""
    best: NDArray[np.int32]
    """(h, w) sum of the best disparity."""
    second: NDArray[np.int32]
    """(h, w) least sum of those not beside it."""

    def rows(self, first: int, last: int) -> Choice:
        """The rows first to last."""
        return Choice(*(one[first:last] for one in self._arrays()))

    @staticmethod
    def joined(parts: Sequence[Choice]) -> Choice:
        """One below the other."""
        return Choice(*(np.concatenate(bands) for bands in zip(*(part._arrays() for part in parts), strict=True)))

    def _arrays(self) -> tuple[NDArray[Any], ...]:
        return self.whole, self.fraction, self.right, self.best, self.second


def choose(sums: Tensor) -> Choice:
    """Choose from sums along paths, (h, w, count) int32."""
    _, width, count = sums.shape
    disparities = torch.arange(count, dtype=torch.int32, device=sums.device)
    keys = (sums << _BITS) | disparities
    best = keys.amin(-1)
    whole = best & _LOW
    right = torch.full_like(best, torch.iinfo(torch.int32).max)
    for d in range(min(count, width)):
        part = right[:, : width - d]
        part.copy_(torch.minimum(part, keys[:, d:, d]))
    lowest = best >> _BITS
    far = (disparities - whole[..., None]).abs() > 1
    second = torch.where(far, sums, torch.full_like(sums, _LOW)).amin(-1)
    at = whole.clamp(1, max(1, count - 2)).to(torch.int64)[..., None]
    below, above = (sums.gather(-1, (at + k).clamp(0, count - 1))[..., 0] - lowest for k in (-1, 1))
    is_inside = (whole > 0) & (whole < count - 1)
    fraction = torch.where(is_inside, between(below, above), torch.zeros((), device=sums.device))
    # float32 holds all of them exactly, and the host waits once.
    together = torch.stack([one.to(torch.float32) for one in (whole, fraction, right & _LOW, lowest, second)])
    arrays = together.cpu().numpy()
    return Choice(arrays[0].astype(np.int32), arrays[1], *(one.astype(np.int32) for one in arrays[2:]))


def between(below: Tensor, above: Tensor) -> Tensor:
    """Where between whole disparities the minimum lies, by two lines of equal slope.

    Shimizu and Okutomi, "Sub-pixel estimation error cancellation on area-based matching", 2005: sums of absolute
    differences have the shape of a V, to which a parabola would be biased towards whole pixels.

    Args:
        below: by how much the sum of the disparity below is greater than the best one.
        above: that of the disparity above.

    Returns:
        -0.5 to 0.5, float32.
    """
    steeper = torch.maximum(below, above).clamp(min=1)
    return 0.5 * (below - above).to(torch.float32) / steeper.to(torch.float32)
