"""Pictures in which fused kernels align patches, in threads of the host."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.compute import Compute, usable_cores
from cv3d.features.refinement.alignment import SMALLEST_SCALE, ReferencePatches
from cv3d.features.refinement.alignment_kernel import Grid, Steps, align_kernel, read_kernel
from cv3d.features.refinement.options import RefinementOptions
from cv3d.features.refinement.pyramid import MARGIN, grey_plane, level_sizes
from cv3d.features.refinement.results import Bools, Floats, Refinement
from cv3d.features.refinement.sampling_kernel import Plane, halve
from cv3d.features.refinement.template_kernel import PAD

Ints = NDArray[np.int64]

_CHUNK = 256
"""Patches that a thread takes at a time. What comes out does not depend on the number of threads."""


class FusedView:
    """The twin of :class:`cv3d.features.refinement.views.TorchView` for the CPU; levels are made when they are needed.

    An observation of fountain-P11, pictures of 6 megapixels prepared but not decoded: 0.26 ms of a core become
    0.09.
    """

    def __init__(self, picture: Tensor, compute: Compute, threads: int | None = None) -> None:
        """Prepare a picture.

        Args:
            picture: (H, W) or (1, H, W), grey, uint8 or floating point in [0, 1].
            compute: the host.
            threads: of the kernels; without a number, all cores.

        Raises:
            InputError: the picture has another shape or type, or is empty.
        """
        plane = grey_plane(picture.to(compute.device)).numpy()
        self._levels: list[Plane] = [np.ascontiguousarray(plane)]
        self._sizes = level_sizes(*plane.shape)
        self._threads = threads or usable_cores()

    @property
    def pixels(self) -> int:
        """Pixels in memory."""
        return int(sum(level.size for level in self._levels))

    def read(self, places: Floats, affinities: Floats, options: RefinementOptions) -> ReferencePatches:
        """See :class:`cv3d.features.refinement.views.View`."""
        side = options.patch + 2
        usable, warps = _usable(affinities)
        usable &= np.isfinite(places).all(axis=1)
        start = np.where(usable[:, None], places, 0.0)
        step = _step(warps)
        own = step[:, None, None] * np.eye(2)
        levels = self._levels_for(step)
        axis = np.arange(side, dtype=np.float32) - side // 2
        across, down = np.tile(axis, side), np.repeat(axis, side)
        patches = np.zeros((len(places), side * side), np.float32)

        def work(rows: Ints, image: Plane, shrink: float) -> None:
            out = np.empty((len(rows), side * side), np.float32)
            read_kernel(image, shrink, start[rows], own[rows], side, across, down, out)
            patches[rows] = out

        self._over(levels, usable, work)
        usable &= self._contains(start, own, options.patch // 2 + 1, levels)
        return ReferencePatches(torch.from_numpy(patches), torch.from_numpy(usable))

    def align(
        self, references: ReferencePatches, places: Floats, affinities: Floats, options: RefinementOptions
    ) -> Refinement:
        """See :class:`cv3d.features.refinement.views.View`."""
        count = len(places)
        usable, warps = _usable(affinities)
        usable &= np.isfinite(places).all(axis=1) & references.inside.numpy()
        start = np.where(usable[:, None], places, 0.0)
        step = _step(warps)[:, None, None]
        local = warps * step
        levels = self._levels_for(np.sqrt(np.abs(np.linalg.det(local))))
        moved, estimated, patches = start.copy(), local.copy(), references.patches.numpy()
        covariances, scores = np.zeros((count, 2, 2)), np.full((count, 2), -1.0)
        grid = _grid(options.patch, options.window * options.patch)
        steps = Steps(options.patch, options.iterations, options.affine_iterations, options.affine_deviation)

        def work(rows: Ints, image: Plane, shrink: float) -> None:
            parts = moved[rows], estimated[rows], covariances[rows], scores[rows]
            align_kernel(image, shrink, patches[rows], parts[0], parts[1], grid, steps, parts[2], parts[3])
            moved[rows], estimated[rows], covariances[rows], scores[rows] = parts

        self._over(levels, usable, work)
        covariances += options.min_deviation**2 * np.eye(2)
        shift = np.linalg.norm((np.linalg.inv(local) @ (moved - start)[:, :, None])[..., 0], axis=1)
        mask = usable & self._contains(moved, estimated, options.patch // 2, levels)
        mask &= (scores[:, 0] >= options.min_ncc) & (shift <= options.max_shift)
        mask &= (scores[:, 1] >= options.min_conditioning) & (_largest_deviation(covariances) <= options.max_deviation)
        keep = mask[:, None, None]
        return Refinement(
            np.where(mask[:, None], moved, places),
            np.where(keep, estimated @ covariances @ np.swapaxes(estimated, 1, 2), np.nan),
            np.where(keep, estimated / step, affinities),
            scores[:, 0].astype(np.float32),
            shift.astype(np.float32),
            mask,
        )

    def _level(self, index: int) -> Plane:
        while len(self._levels) <= index:
            self._levels.append(halve(self._levels[-1]))
        return self._levels[index]

    def _levels_for(self, step: Floats) -> Ints:
        nearest = np.rint(np.log2(np.maximum(step, 1.0))).astype(np.int64)
        return np.minimum(nearest, len(self._sizes) - 1)

    def _over(self, levels: Ints, usable: Bools, work: Callable[[Ints, Plane, float], None]) -> None:
        """Run `work` on the usable rows of each level, some at a time."""
        tasks = []
        for level in np.unique(levels[usable]).tolist():
            rows, image = np.flatnonzero(usable & (levels == level)), self._level(level)
            tasks += [(rows[i : i + _CHUNK], image, 0.5**level) for i in range(0, len(rows), _CHUNK)]
        if min(self._threads, len(tasks)) < 2:
            for task in tasks:
                work(*task)
            return
        with ThreadPoolExecutor(min(self._threads, len(tasks)), "cv3d-refinement") as pool:
            for done in [pool.submit(work, *task) for task in tasks]:
                done.result()

    def _contains(self, places: Floats, warps: Floats, reach: int, levels: Ints) -> Bools:
        """See :meth:`cv3d.features.refinement.pyramid.Pyramid.contains`."""
        shrink = (0.5**levels)[:, None]
        middle = (places + 0.5) * shrink - 0.5
        extent = reach * np.abs(warps).sum(axis=2) * shrink + MARGIN
        limits = np.array(self._sizes)[levels][:, ::-1] - 1.0
        inside: Bools = ((middle - extent >= 0.0) & (middle + extent <= limits)).all(axis=1)
        return inside


def _usable(affinities: Floats) -> tuple[Bools, Floats]:
    """Whether affinities can be used, (n,), and the affinities with the identity where not."""
    warps = np.asarray(affinities, np.float64)
    finite: Bools = np.asarray(np.isfinite(warps).all(axis=(1, 2)))
    warps = np.where(finite[:, None, None], warps, np.eye(2))
    usable: Bools = finite & (np.abs(np.linalg.det(warps)) > SMALLEST_SCALE**2)
    return usable, np.where(usable[:, None, None], warps, np.eye(2))


def _step(warps: Floats) -> Floats:
    """(n,), reference pixels between samples: a sample is a pixel of the coarser view."""
    step: Floats = np.maximum(1.0 / np.sqrt(np.abs(np.linalg.det(warps))), 1.0)
    return step


def _largest_deviation(covariances: Floats) -> Floats:
    a, b, d = covariances[:, 0, 0], covariances[:, 0, 1], covariances[:, 1, 1]
    with np.errstate(over="ignore", invalid="ignore"):
        largest: Floats = np.sqrt(np.maximum(0.5 * (a + d) + np.sqrt(0.25 * (a - d) ** 2 + b**2), 0.0))
    return largest


def _grid(side: int, spread: float) -> Grid:
    """Samples about the middle, in padded rows; padding is read where the row ends. `spread` is the weights'."""
    axis = np.arange(side, dtype=np.float32) - side // 2
    weights = np.exp(np.square(axis) * (-0.5 / spread**2))
    shape = side, side + PAD
    values = np.zeros((4, *shape), np.float32)
    values[0, :, :side], values[0, :, side:] = axis, axis[-1]
    values[1] = axis[:, None]
    values[2, :, :side] = weights[:, None] * weights / weights.sum() ** 2
    values[3, :, :side] = 1.0
    # The last row's padding would lie beyond the reference's patch.
    across, down, weights, is_sample = np.ascontiguousarray(values.reshape(4, -1)[:, :-PAD])
    return Grid(across, down, weights, is_sample)
