"""Whether depth pictures can be what they are said to be."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_FARTHEST_M = 100.0
_NEAREST_M = 0.05
_PLAUSIBLE_M = (0.2, 15.0)
"""Where the median depth of a hand-held depth camera's picture lies."""
_MOST_HOLES = 0.9
_MOST = 0.5
_FACTORS = (5000.0, 1000.0, 256.0, 100.0, 10.0, 5.0, 1.0)
"""Units a metre that depth cameras and their tools write, and ratios between them."""
_STRIDE = 4


def judge_depth(depths: Iterable[NDArray[np.float32]], metres_per_unit: float | None = None) -> list[str]:
    """What is implausible about depth pictures, a sentence each; empty where nothing is.

    Args:
        depths: depth of some frames, (h, w) each, metres, 0 where nothing was measured.
        metres_per_unit: the scale they were read with, for advice on a better one.
    """
    medians, shares = [], []
    for depth in depths:
        # Every fourth pixel of every fourth row tells as much.
        sampled = depth[::_STRIDE, ::_STRIDE]
        valid = sampled[sampled > 0.0]
        shares.append(valid.size / max(sampled.size, 1))
        if valid.size:
            medians.append(float(np.median(valid)))
    if not shares:
        return []
    if not medians:
        return [f"no depth is measured in any of {len(shares)} frames: these are no depth pictures, or all are empty"]
    found = []
    holes = 1.0 - float(np.median(shares))
    if holes > _MOST_HOLES:
        found.append(f"{100.0 * holes:.0f} % of the depth pictures is holes: too little to rest on")
    empty = sum(share == 0.0 for share in shares)
    if empty > _MOST * len(shares):
        found.append(f"{empty} of {len(shares)} frames have no depth at all")
    return found + _of_scale(medians, metres_per_unit)


def _of_scale(medians: list[float], metres_per_unit: float | None) -> list[str]:
    count = len(medians)
    far = sum(median > _FARTHEST_M for median in medians)
    near = sum(median < _NEAREST_M for median in medians)
    if max(far, near) <= _MOST * count:
        return []
    usual = float(np.median(medians))
    where = f"beyond {_FARTHEST_M:.0f} m" if far > near else f"below {100.0 * _NEAREST_M:.0f} cm"
    sentence = f"the median depth of {max(far, near)} of {count} frames is {where} ({usual:.3g} m): is the scale wrong?"
    advice = None if metres_per_unit is None else better_scale(usual, metres_per_unit)
    if advice is None or metres_per_unit is None:
        return [sentence]
    better = usual / metres_per_unit * advice
    return [f"{sentence} With a depth scale of {advice:g} m a unit it would be {better:.3g} m"]


def better_scale(median_m: float, metres_per_unit: float) -> float | None:
    """The usual scale, metres a unit, that brings a median nearest to what a hand-held camera sees; None: none does.

    Args:
        median_m: the median depth, metres, as read with `metres_per_unit`.
        metres_per_unit: the present scale.
    """
    stored = median_m / metres_per_unit
    scaled = [(stored / factor, 1.0 / factor) for factor in _FACTORS]
    fitting = [
        (abs(np.log(median / 1.5)), scale) for median, scale in scaled if _PLAUSIBLE_M[0] <= median <= _PLAUSIBLE_M[1]
    ]
    return min(fitting)[1] if fitting else None
