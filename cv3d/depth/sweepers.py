"""Which implementation of the sweeps a device has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cv3d.compute import Compute, usable_cores
from cv3d.depth.problem import Bytes, Problem, window
from cv3d.depth.sweep_kernel import evaluate_rows, sweep_rows
from cv3d.depth.sweep_reference import TorchSweeper

_BAND = 8
"""Rows that a thread takes at a time."""


class Sweeper(Protocol):
    """Costs of planes, and better ones: see :class:`cv3d.depth.sweep_reference.TorchSweeper`."""

    def evaluate(self, planes: Tensor) -> Tensor:
        """The cost of every pixel's plane."""
        ...

    def sweep(self, planes: Tensor, costs: Tensor, parity: int, chances: Tensor, tries: Tensor) -> None:
        """Better planes for the pixels of one colour."""
        ...


class FusedSweeper:
    """The twin for the CPU, on all cores."""

    def __init__(self, problem: Problem, compute: Compute) -> None:
        places, near = window()
        self._narrow, self._regions = int(problem.is_narrow), problem.regions
        self._height, self._width = problem.reference.shape
        self._known = (
            problem.reference,
            problem.camera,
            problem.lenses,
            problem.backs,
            packed(problem.images).reshape(-1),
            problem.images.shape[2],
            problem.inverses,
            problem.sizes,
            places,
            near,
            problem.scalars,
            problem.best,
        )

    def evaluate(self, planes: Tensor) -> Tensor:
        """The cost of every pixel's plane."""
        costs = planes.new_empty(planes.shape[1:])
        self._over_rows(evaluate_rows, planes.numpy(), costs.numpy(), *self._known)
        return costs

    def sweep(self, planes: Tensor, costs: Tensor, parity: int, chances: Tensor, tries: Tensor) -> None:
        """Better planes for the pixels of one colour."""
        arrays = [one.numpy() for one in (planes, costs, chances, tries)]
        known = (*self._known, self._narrow)
        self._over_rows(sweep_rows, parity, arrays[0], arrays[1], self._regions, arrays[2], arrays[3], *known)

    def _over_rows(self, kernel: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401 - the kernel's own
        def work(first: int) -> None:
            kernel(first, min(first + _BAND, self._height), *arguments)

        for _ in _pool().map(work, range(0, self._height, _BAND)):
            pass


def packed(images: Bytes) -> NDArray[np.uint32]:
    """Each pixel with its right, lower and lower right neighbours in one word: one look-up instead of four."""
    padded = np.pad(images, ((0, 0), (0, 1), (0, 1)), mode="edge").astype(np.uint32)
    right, low = padded[:, :-1, 1:] << 8, padded[:, 1:, :-1] << 16
    return np.ascontiguousarray(padded[:, :-1, :-1] | right | low | (padded[:, 1:, 1:] << 24))


TWINS: Mapping[str, Callable[[Problem, Compute], Sweeper]] = {"cpu": FusedSweeper}
"""Fused implementations by the kind of device; where there is none, torch's expression runs."""


def make_sweeper(problem: Problem, compute: Compute) -> Sweeper:
    """The sweeps of a problem on a device."""
    return TWINS.get(compute.device.type, TorchSweeper)(problem, compute)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(usable_cores(), "cv3d-depth")
