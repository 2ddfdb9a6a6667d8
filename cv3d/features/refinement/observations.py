"""Aligning many observations of many pictures, a pair of pictures at a time, with few pictures in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.features.refinement.options import RefinementOptions
from cv3d.features.refinement.pairs import Floats, Picture, Refinement, as_pyramid, refine_matches
from cv3d.features.refinement.pyramid import Pyramid
from cv3d.progress import SILENT, Progress

Ints = NDArray[np.int64]
STAGE = "refine"
Pictures = Callable[[int], Picture]
"""Gives a picture by its number, grey, (H, W), uint8 or float32 in [0, 1]."""


class PictureCache:
    """The pyramids of the pictures used last, as many as fit into a budget of pixels, but at least two."""

    def __init__(self, pictures: Pictures, compute: Compute, max_pixels: int) -> None:
        self._pictures = pictures
        self._compute = compute
        self._max_pixels = max_pixels
        self._held: OrderedDict[int, Pyramid] = OrderedDict()

    def __getitem__(self, picture: int) -> Pyramid:
        """The pyramid of a picture."""
        if picture in self._held:
            self._held.move_to_end(picture)
            return self._held[picture]
        pyramid = as_pyramid(self._pictures(picture), self._compute)
        self._held[picture] = pyramid
        while len(self._held) > 2 and sum(p.plane.numel() for p in self._held.values()) > self._max_pixels:
            self._held.popitem(last=False)
        return pyramid


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
    """Align observations to their references; pairs of pictures with a common reference follow one another.

    Raises:
        InputError: a picture is not grey, or of another type.
    """
    count = len(tasks.references)
    found = Refinement(
        tasks.keypoints1.astype(np.float64),
        np.full((count, 2, 2), np.nan),
        tasks.affinities.astype(np.float64),
        np.zeros(count, dtype=np.float32),
        np.zeros(count, dtype=np.float32),
        np.zeros(count, dtype=bool),
    )
    order = np.lexsort((tasks.targets, tasks.references))
    changes = (np.diff(tasks.references[order]) != 0) | (np.diff(tasks.targets[order]) != 0)
    groups = np.split(order, np.flatnonzero(changes) + 1) if count else []
    progress.start(STAGE, count)
    for rows in groups:
        part = refine_matches(
            pictures[int(tasks.references[rows[0]])],
            pictures[int(tasks.targets[rows[0]])],
            tasks.keypoints0[rows],
            tasks.keypoints1[rows],
            tasks.affinities[rows],
            compute,
            options,
        )
        for name in ("keypoints", "covariance", "affinities", "ncc", "shift", "mask"):
            getattr(found, name)[rows] = getattr(part, name)
        progress.advance(STAGE, len(rows))
    progress.finish(STAGE)
    return found
