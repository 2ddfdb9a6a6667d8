"""The state of observations while they are aligned to one another, and what their covariances become."""

from __future__ import annotations

import numpy as np

from cv3d.compute import Compute
from cv3d.features.refinement.observations import Ints, PictureCache, Tasks, align_observations
from cv3d.features.refinement.options import RefinementOptions
from cv3d.features.refinement.results import Bools, Floats
from cv3d.progress import Progress


class Course:
    """Where all keypoints are, while they are refined."""

    def __init__(self, places: Floats, pictures: Ints, is_reference: Bools) -> None:
        self.start = places
        self.places = places.copy()
        self.pictures = pictures
        self.is_reference = is_reference
        self.mask = is_reference.copy()
        self.covariances = np.where(is_reference[:, None, None], 0.0, np.full((len(places), 2, 2), np.nan))
        self.tried: set[tuple[int, int]] = set()
        self._shares: list[tuple[Ints, Floats]] = []

    def align(
        self,
        rows: Ints,
        sources: Ints,
        affinities: Floats,
        cache: PictureCache,
        compute: Compute,
        options: RefinementOptions,
        progress: Progress,
    ) -> None:
        """Align keypoints `rows` to keypoints `sources` of other pictures."""
        tasks = Tasks(self.pictures[sources], self.pictures[rows], self.places[sources], self.start[rows], affinities)
        found = align_observations(tasks, cache, compute, options, progress)
        failed = ~found.mask
        self.tried |= set(zip(sources[failed].tolist(), rows[failed].tolist(), strict=True))
        good = rows[found.mask]
        self.places[good] = found.keypoints[found.mask]
        self.mask[good] = True
        # The noise is that of both patches; each has half of it, so that observations of a track are independent.
        half, warps = 0.5 * found.covariance[found.mask], found.affinities[found.mask]
        origin = sources[found.mask]
        carried = warps @ self.covariances[origin] @ np.swapaxes(warps, 1, 2)
        self.covariances[good] = half + np.where(self.is_reference[origin][:, None, None], 0.0, half + carried)
        back = np.linalg.inv(warps)
        first = self.is_reference[origin]
        self._shares.append((origin[first], (back @ half @ np.swapaxes(back, 1, 2))[first]))

    def result(self) -> tuple[Floats, Floats, Bools, Bools]:
        """Places (N, 2), covariances (N, 2, 2), what is refined (N,), and what of that is a reference (N,).

        A reference that nothing was aligned to is not refined.
        """
        origin = np.concatenate([np.zeros(0, dtype=np.int64), *(share[0] for share in self._shares)])
        noise = np.concatenate([np.zeros((0, 2, 2)), *(share[1] for share in self._shares)])
        count = np.bincount(origin, minlength=len(self.places))
        total = np.zeros((len(self.places), 2, 2))
        np.add.at(total, origin, noise)
        held = self.is_reference & (count > 0)
        mask = self.mask & (held | ~self.is_reference)
        covariances = self.covariances.copy()
        covariances[self.is_reference] = np.nan
        covariances[held] = total[held] / count[held][:, None, None]
        return self.places, covariances, mask, held
