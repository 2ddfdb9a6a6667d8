"""Aligning many observations of many pictures, with few pictures in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.features.refinement.alignment import ReferencePatches
from cv3d.features.refinement.options import RefinementOptions
from cv3d.features.refinement.results import Floats, Refinement
from cv3d.features.refinement.views import Picture, View, view_of
from cv3d.progress import SILENT, Progress

Ints = NDArray[np.int64]
STAGE = "refine"
_WINDOW = 1 << 16
"""Patches held between reading and aligning, 1.4 kB each."""
Pictures = Callable[[int], Picture]
"""Gives a picture by its number, grey, (H, W), uint8 or float32 in [0, 1]."""


class PictureCache:
    """The pictures used last, prepared: as many as fit into a budget of pixels, but at least two."""

    def __init__(self, pictures: Pictures, compute: Compute, max_pixels: int) -> None:
        self._pictures = pictures
        self._compute = compute
        self._max_pixels = max_pixels
        self._held: OrderedDict[int, View] = OrderedDict()

    def __getitem__(self, picture: int) -> View:
        """A picture, prepared."""
        if picture in self._held:
            self._held.move_to_end(picture)
            return self._held[picture]
        view = view_of(self._pictures(picture), self._compute)
        self._held[picture] = view
        while len(self._held) > 2 and sum(one.pixels for one in self._held.values()) > self._max_pixels:
            self._held.popitem(last=False)
        return view


@dataclass(frozen=True, eq=False)
class Tasks:
    """Observations to align, each with a place in a reference picture."""

    references: Ints
    """(m,), the reference picture."""
    targets: Ints
    """(m,), the picture of the observation."""
    keypoints0: Floats
    """(m, 2), in the reference picture, pixels."""
    keypoints1: Floats
    """(m, 2), where to start in the target, pixels."""
    affinities: Floats
    """(m, 2, 2), derivatives of target pixels by reference pixels."""


def align_observations(
    tasks: Tasks,
    pictures: PictureCache,
    compute: Compute,
    options: RefinementOptions | None = None,
    progress: Progress = SILENT,
) -> Refinement:
    """Align observations to their references.

    Patches are read reference by reference and aligned target by target, so that a call has as many as possible.

    Raises:
        InputError: a picture is not grey, or of another type.
    """
    options = options or RefinementOptions()
    count = len(tasks.references)
    found = Refinement(
        tasks.keypoints1.astype(np.float64),
        np.full((count, 2, 2), np.nan),
        tasks.affinities.astype(np.float64),
        np.zeros(count, dtype=np.float32),
        np.zeros(count, dtype=np.float32),
        np.zeros(count, dtype=bool),
    )
    progress.start(STAGE, count)
    order = np.lexsort((tasks.targets, tasks.references))
    for start in range(0, count, _WINDOW):
        rows = order[start : start + _WINDOW]
        read = []
        for part in groups(tasks.references[rows]):
            own = rows[part]
            reference = pictures[int(tasks.references[own[0]])]
            read.append(reference.read(tasks.keypoints0[own], tasks.affinities[own], options))
        patches = ReferencePatches.join(read)
        for part in groups(tasks.targets[rows]):
            own = rows[part]
            target = pictures[int(tasks.targets[own[0]])]
            index = torch.from_numpy(part).to(compute.device)
            result = target.align(patches[index], tasks.keypoints1[own], tasks.affinities[own], options)
            for name in ("keypoints", "covariance", "affinities", "ncc", "shift", "mask"):
                getattr(found, name)[own] = getattr(result, name)
            progress.advance(STAGE, len(own))
    progress.finish(STAGE)
    return found


def groups(values: Ints) -> list[Ints]:
    """Where each value is found, in ascending order of the values."""
    order = np.argsort(values, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(values[order])) + 1)
