"""A model laid over positions that were measured where its pictures were taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.errors import EstimationError
from cv3d.geometry.alignment import umeyama
from cv3d.geometry.transforms import Sim3
from cv3d.mapping.framing.axes import similarity, upright_rotation
from cv3d.mapping.framing.transforming import camera_centres
from cv3d.mapping.scene import SceneModel

_FEWEST = 4
"""Positions that a frame needs: three determine it, a fourth tells whether they are good."""
_TRIALS = 200
_INLIER_SIGMAS = 2.5
_LEAST_SIGMA_M = 0.02
_LEAST_SHARE = 0.5
_SCALE_DEVIATION = 0.1
"""Relative deviation of the scale up to which positions give one."""
_WIDTH_SIGMAS = 3.0
"""Standard deviations of the positions that their second extent needs to determine the rotation about the first."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class GeoFit:
    """How a model lies on the earth."""

    new_from_old: Sim3
    """From the model to metres east, north and up."""
    is_upright: bool
    """Whether up is from the positions or from edges, and not a guess."""
    deviation: float
    """Standard deviation of the scale, relative to it."""
    rms_m: float
    """Root mean square distance of the cameras that agree from their positions, horizontally."""
    used: Bools
    """Which pictures' positions agree, (n,)."""

    def with_scale(self, model: SceneModel, metres: float) -> Sim3:
        """The same place and rotation with a unit of length from elsewhere.

        Args:
            model: that was fitted.
            metres: of one of its units.
        """
        middle = camera_centres(model)[self.used].mean(axis=0)
        there = self.new_from_old.apply(torch.from_numpy(middle)).numpy()
        rotation = self.new_from_old.rotation().as_matrix().numpy()
        return similarity(metres, rotation, there - metres * rotation @ middle)


def georeference(model: SceneModel, places: Floats, up: Floats, *, is_up_known: bool, seed: int = 0) -> GeoFit:
    """The similarity that lays the cameras over measured positions, most of which are right.

    Where the direction up is known from elsewhere, only a turn about it, a scale and a shift are left to find, and a
    straight path is enough. Otherwise the positions have to say it, and it is taken as guessed where they cannot.

    Args:
        model: with poses.
        places: metres east, north and up for each of its pictures, (n, 3); NaN where there is no position, and in the
            third column alone where the height is not known.
        up: in the model, (3,).
        is_up_known: whether that is more than a guess.
        seed: of the samples drawn.

    Raises:
        EstimationError: too few positions, or positions that contradict the model or are too coarse for its size.
    """
    known: Bools = np.asarray(np.isfinite(places[:, :2]).all(axis=1))
    if model.is_oriented_only or int(known.sum()) < _FEWEST:
        raise EstimationError(f"a place on the earth needs {_FEWEST} pictures with positions that moved")
    centres = camera_centres(model)
    rng = np.random.default_rng(seed)
    if not is_up_known and np.isfinite(places[known]).all():
        try:
            return _in_space(centres, places, known, rng)
        except EstimationError:
            # A straight or level path; what is left to find with up as guessed is less.
            pass
    return _about_up(model, centres, places, known, up, is_up_known, rng)


def _in_space(centres: Floats, places: Floats, known: Bools, rng: np.random.Generator) -> GeoFit:
    """All seven parameters from the positions."""

    def fit(chosen: NDArray[np.intp]) -> Sim3:
        return umeyama(torch.from_numpy(centres[chosen]), torch.from_numpy(places[chosen]))

    def errors(found: Sim3) -> Floats:
        moved = found.apply(torch.from_numpy(centres)).numpy()
        return np.asarray(np.linalg.norm((moved - places)[:, :2], axis=1) + 0.5 * np.abs((moved - places)[:, 2]))

    found, used, sigma = _consensus(fit, errors, known, 3, rng)
    spread = np.linalg.svd(places[used] - places[used].mean(axis=0), compute_uv=False) / np.sqrt(used.sum())
    if spread[1] < _WIDTH_SIGMAS * sigma:
        raise EstimationError("the positions lie along a line, as far as they are exact")
    return _judged(found, True, centres, places, used)


def _about_up(
    model: SceneModel,
    centres: Floats,
    places: Floats,
    known: Bools,
    up: Floats,
    is_up_known: bool,
    rng: np.random.Generator,
) -> GeoFit:
    """A turn about the vertical, a scale and a shift; complex numbers are similarities of the plane."""
    rotation = upright_rotation(model, up)
    level = centres @ rotation.T
    here, there = level[:, 0] + 1j * level[:, 1], places[:, 0] + 1j * places[:, 1]

    def fit(chosen: NDArray[np.intp]) -> tuple[complex, complex]:
        a, b = here[chosen] - here[chosen].mean(), there[chosen] - there[chosen].mean()
        norm = float((np.abs(a) ** 2).sum())
        if norm <= 0.0:
            raise EstimationError("the cameras are in one place")
        factor = complex((a.conj() * b).sum() / norm)
        return factor, complex(there[chosen].mean() - factor * here[chosen].mean())

    def errors(found: tuple[complex, complex]) -> Floats:
        return np.abs(found[0] * here + found[1] - there)

    (factor, shift), used, _ = _consensus(fit, errors, known, 2, rng)
    scale, turn = abs(factor), np.angle(factor)
    about = np.array([[np.cos(turn), -np.sin(turn), 0.0], [np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])
    with_height = used & np.isfinite(places[:, 2])
    heights = places[with_height, 2] - scale * level[with_height, 2]
    height = float(np.median(heights)) if len(heights) else -scale * float(np.median(level[used, 2]))
    found = similarity(scale, about @ rotation, np.array([shift.real, shift.imag, height]))
    return _judged(found, is_up_known, centres, places, used)


def _consensus(
    fit: Callable[[NDArray[np.intp]], Found],
    errors: Callable[[Found], Floats],
    known: Bools,
    size: int,
    rng: np.random.Generator,
) -> tuple[Found, Bools, float]:
    """The fit with the least median of squares (Rousseeuw 1984), then to all that agree with it; the noise, metres."""
    members = np.flatnonzero(known)
    best: Found | None = None
    least = np.inf
    for _ in range(_TRIALS):
        try:
            found = fit(rng.choice(members, size, replace=False))
        except EstimationError:
            continue
        middle = float(np.median(errors(found)[members]))
        if middle < least:
            best, least = found, middle
    if best is None:
        raise EstimationError("the positions do not determine a frame: they lie in one place or on a line")
    sigma = 1.4826 * (1.0 + 5.0 / max(1, len(members) - size)) * least
    used = known.copy()
    for _ in range(3):
        off = np.where(known, errors(best), np.inf)
        used = off <= _INLIER_SIGMAS * max(sigma, _LEAST_SIGMA_M)
        if int(used.sum()) <= size:
            break
        best = fit(np.flatnonzero(used))
        sigma = float(np.sqrt((errors(best)[used] ** 2).sum() / (int(used.sum()) - size)))
    if int(used.sum()) < max(size + 1, _LEAST_SHARE * len(members)):
        raise EstimationError(
            f"positions of only {int(used.sum())} of {len(members)} pictures agree with the model; they are too coarse"
        )
    return best, used, sigma


def _judged(found: Sim3, is_upright: bool, centres: Floats, places: Floats, used: Bools) -> GeoFit:
    """See whether the positions are exact enough for the size of the model."""
    moved = found.apply(torch.from_numpy(centres[used])).numpy()
    level = np.linalg.norm((moved - places[used])[:, :2], axis=1)
    count = int(used.sum())
    rms = float(np.sqrt((level**2).mean()))
    extent = float(np.sqrt(((moved - moved.mean(axis=0))[:, :2] ** 2).sum()))
    if extent < _LEAST_SIGMA_M:
        raise EstimationError("all positions are one; they give no scale")
    deviation = rms * np.sqrt(count / max(1, count - 2)) / extent
    if deviation > _SCALE_DEVIATION:
        raise EstimationError(
            f"positions that are {rms:.1f} m off say too little about a path of {extent / np.sqrt(count):.1f} m around "
            "its middle; take pictures from farther apart"
        )
    return GeoFit(found, is_upright, float(deviation), rms, used)
