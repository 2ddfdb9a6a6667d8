from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cv3d.geometry.fused import fused


def test_kernels_run_where_nothing_can_be_cached() -> None:
    # A function without a file has no place beside which its machine code could be kept.
    names: dict[str, Callable[[float], float]] = {}
    exec("def double(x):\n    return 2.0 * x\n", names)
    assert fused(names["double"])(1.5) == 3.0


def test_nan_and_infinity_keep_their_meaning() -> None:
    @fused
    def largest(values: np.ndarray) -> tuple[float, int]:
        most, missing = -np.inf, 0
        for value in values:
            if math.isnan(value):
                missing += 1
            elif value > most:
                most = value
        return most, missing

    assert largest(np.array([1.0, np.nan, 3.0, np.nan])) == (3.0, 2)
    assert largest(np.array([np.nan])) == (-math.inf, 1)
    assert largest(np.array([math.inf])) == (math.inf, 0)
