"""Fused kernels for the CPU: functions that numba compiles.

A kernel is the twin of an expression that says the same in numpy or torch, and is held to it by a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}
"""Sums may be reordered and products fused into them; NaN and infinity keep their meaning. Division by 0 gives them and
raises nothing: the check would keep loops from becoming vector instructions."""


def fused(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function when it is first called, and run it without the interpreter's lock.

    The machine code is kept beside the source file, or in the user's cache folder, for the next process; where neither
    can be written, every process compiles anew.
    """
    try:
        kernel: Callable[P, R] = njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        kernel = njit(**_OPTIONS)(function)
    return kernel
