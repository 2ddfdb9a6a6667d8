"""A source of posed pictures, read, tested, and given sparse points where it has none."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.depth.posed import PosedSet, PosedView
from cv3d.depth.result import LeftOutView
from cv3d.depth.sources.findings import Verdict, nothing_fits, sentences
from cv3d.depth.sources.matching import MatchedViews, linked, match_views, scales_of
from cv3d.depth.sources.placed import Placed, read_placed
from cv3d.depth.sources.pose_check import LIMIT_PX, PairFit, fitting_views, likely_cause, pair_fit
from cv3d.depth.sources.sights import Sights, reprojection_errors, triangulate
from cv3d.errors import EstimationError, InputError
from cv3d.geometry.cameras.camera import Camera
from cv3d.progress import SILENT, Progress

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ENOUGH_POINTS = 30
"""Of a view: with fewer, nothing is known of the depths in it."""
_ENOUGH_SHARE = 0.5
"""Of the views of a model: with fewer that see enough of its points, the pictures are matched instead."""


@dataclass(frozen=True, eq=False)
class PosedSource:
    """What a source gives."""

    posed: PosedSet
    left_out: tuple[LeftOutView, ...]
    """Its pictures that cannot be used: not there, not readable, or with a pose that does not fit."""


def read_posed_set(
    source: str | Path,
    *,
    camera: Camera | None = None,
    images: str | Path | None = None,
    work: str | Path | None = None,
    seed: int = 0,
    compute: Compute | None = None,
    progress: Progress = SILENT,
) -> PosedSet:
    """The posed set of a source; see :func:`read_posed_source`, which says what was left out as well."""
    return read_posed_source(
        source, camera=camera, images=images, work=work, seed=seed, compute=compute, progress=progress
    ).posed


def read_posed_source(
    source: str | Path,
    *,
    camera: Camera | None = None,
    images: str | Path | None = None,
    work: str | Path | None = None,
    seed: int = 0,
    compute: Compute | None = None,
    progress: Progress = SILENT,
) -> PosedSource:
    """Read pictures with their cameras and poses, and see whether these are true.

    Reconstructions bring points, whose errors say whether the poses fit. Of other sources the pictures are matched,
    and the matches held against the poses and triangulated with them.

    Args:
        source: a folder of `cv3d reconstruct`, a project or dense workspace of COLMAP, or a folder with transforms.json
            or Strecha's `.camera` files.
        camera: of all pictures, instead of the source's own.
        images: where the pictures are; None: where the source has them.
        work: a folder for matches, from which a later run goes on; None: they are not kept.
        seed: of matching.
        compute: where matching runs; the best device of this machine by default.
        progress: told of the stages.

    Raises:
        InputError: the source holds no poses or no pictures.
        FormatError: a file holds something else.
        EstimationError: the poses do not fit the pictures, or nothing can be said of them.
    """
    placed = read_placed(Path(source), camera, None if images is None else Path(images))
    if len(placed.views) < 2:
        raise InputError(f"{source}: depth needs two pictures with a pose, and one can be used")
    if _has_points(placed):
        verdict, points, sights = _of_model(placed)
    else:
        compute = compute or Compute.choose()
        with ExitStack() as stack:
            folder = work or stack.enter_context(tempfile.TemporaryDirectory(prefix="cv3d-depth-"))
            verdict, points, sights = _of_matches(placed, Path(folder), seed, compute, progress)
    return _assembled(placed, verdict, points, sights)


def source_content(
    source: str | Path, camera: Camera | None = None, images: str | Path | None = None
) -> tuple[list[Path], str]:
    """What the depth of a source depends on: the files of its pictures, and a digest of all else that it says.

    Raises:
        InputError: the source holds no poses or no pictures.
        FormatError: a file holds something else.
    """
    placed = read_placed(Path(source), camera, None if images is None else Path(images))
    hasher = sha256(repr([one.name for one in placed.left_out]).encode())
    for view in placed.views:
        hasher.update(repr((view.picture.name, view.camera)).encode())
        hasher.update(view.cam_from_world.tobytes())
    for array in (placed.points, placed.sights.view, placed.sights.point, placed.sights.pixels):
        hasher.update(array.tobytes())
    return [view.picture.source for view in placed.views], hasher.hexdigest()


def _has_points(placed: Placed) -> bool:
    seen = np.bincount(placed.sights.view, minlength=len(placed.views))
    return float((seen >= _ENOUGH_POINTS).mean()) >= _ENOUGH_SHARE


def _of_model(placed: Placed) -> tuple[Verdict, Floats, Sights]:
    """A model's own points; sights that are off go, and views whose sights are."""
    views, sights = placed.views, placed.sights
    errors = reprojection_errors(views, placed.points, sights) / scales_of(views)[sights.view]
    counts = np.bincount(sights.view, minlength=len(views))
    medians = np.array([np.median(errors[sights.view == i]) if counts[i] else np.nan for i in range(len(views))])
    verdict = Verdict(medians <= LIMIT_PX, counts > 0, medians, counts, ("",) * len(views))
    if verdict.fits.sum() < 2:
        raise EstimationError(nothing_fits(verdict, None))
    kept = verdict.fits[sights.view] & (errors <= LIMIT_PX)
    lonely = np.bincount(sights.point[kept], minlength=len(placed.points)) < 2
    return verdict, placed.points, sights.where(kept & ~lonely[sights.point])


def _of_matches(
    placed: Placed, folder: Path, seed: int, compute: Compute, progress: Progress
) -> tuple[Verdict, Floats, Sights]:
    """Points of matches that agree with the poses; the learned matcher is asked where views are left without."""
    views, scales = placed.views, scales_of(placed.views)
    for asks_again in (False, True):
        matched = match_views(views, folder, asks_again=asks_again, seed=seed, compute=compute, progress=progress)
        fits = [pair_fit(views, pair, scales) for pair in matched.pairs]
        verdict = _verdict(matched, fits, len(views))
        if bool(verdict.tested.all()):
            break
    if not matched.pairs:
        raise EstimationError("the poses cannot be tested, nor depth be found: no two pictures show the same")
    if verdict.fits.sum() < 2:
        raise EstimationError(nothing_fits(verdict, likely_cause(views, matched.pairs, scales)))
    good = [
        (pair, fit.errors <= LIMIT_PX)
        for pair, fit in zip(matched.pairs, fits, strict=True)
        if fit.fits and verdict.fits[[pair.first, pair.second]].all()
    ]
    sights = linked(matched, [pair for pair, _ in good], [kept for _, kept in good])
    points, agrees = triangulate(views, sights, LIMIT_PX * scales[sights.view])
    if not agrees.any():
        raise EstimationError(
            "no match of the pictures meets in a point under their poses: the cameras are too near to one another, or "
            "their positions do not fit together"
        )
    return verdict, points, sights.where(agrees)


def _verdict(matched: MatchedViews, fits: list[PairFit], count: int) -> Verdict:
    fitting, tested = fitting_views(count, matched.pairs, fits)
    errors: list[list[Floats]] = [[] for _ in range(count)]
    for pair, fit in zip(matched.pairs, fits, strict=True):
        if not fit.is_known:
            continue
        # A view is judged by those that are right, as long as there are any.
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            if fitting[other] or not fitting.any():
                errors[one].append(fit.errors)
    joined = [np.concatenate([np.zeros(0), *parts]) for parts in errors]
    medians = np.array([np.median(part) if len(part) else np.nan for part in joined])
    return Verdict(fitting, tested, medians, np.array([len(part) for part in joined]), matched.reasons)


def _assembled(placed: Placed, verdict: Verdict, points: Floats, sights: Sights) -> PosedSource:
    """Views that fit or could not be tested, with the points that they see, numbered anew."""
    used, numbers = np.unique(sights.point, return_inverse=True)
    warnings, left_out = sentences(placed.views, verdict)
    views: list[PosedView] = []
    for index, view in enumerate(placed.views):
        if verdict.fits[index] or not verdict.tested[index]:
            views.append(replace(view, points=np.unique(numbers[sights.view == index]).astype(np.intp)))
    posed = PosedSet(tuple(views), points[used], (*placed.warnings, *warnings), placed.is_metric)
    return PosedSource(posed, (*placed.left_out, *left_out))
