"""Depth maps of a set of posed pictures: each compared with its neighbours, then held against their depth.

Coarse to fine: planes are begun by chance on the smallest pictures and handed on to larger ones. At half the size all
pictures look at each other's depth, round by round, and edges of depth are drawn to those of the picture; at the full
size once more. What too few others bear out in the end is dropped.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.compute import Compute
from cv3d.depth.checking import Tolerance, borne_out
from cv3d.depth.choosing import Sources, choose_sources
from cv3d.depth.forecast import costs_of_view, duration_words, seconds_per_cost
from cv3d.depth.levels import Level, pyramid
from cv3d.depth.options import DepthOptions
from cv3d.depth.posed import PosedSet
from cv3d.depth.problem import Problem, make_problem
from cv3d.depth.propagating import Course, enlarged, enlarged_costs, improved, planes_between
from cv3d.depth.result import DepthMap, DepthResult, LeftOutView
from cv3d.depth.sharpening import sharpened
from cv3d.depth.steps import Steps, set_digest
from cv3d.depth.store import DepthStore
from cv3d.depth.undistorting import ideal_view
from cv3d.errors import EstimationError, PictureError
from cv3d.geometry.cameras.camera import Camera
from cv3d.progress import SILENT, Progress

STAGE = "depth"
_COARSE_PX = 4.0
"""Change by chance on the smallest pictures, pixels of disparity."""
_GEOMETRIC = 0.2
"""Cost of a pixel of reprojection error; a correlation goes from 0 to 2."""


State = tuple[Tensor, Tensor]
"""Planes (3, h, w) and what they cost (h, w)."""


@dataclass(frozen=True, eq=False)
class _View:
    """One view, read."""

    name: str
    camera: Camera
    color: NDArray[np.uint8]
    levels: tuple[Level, ...]
    sources: tuple[int, ...]
    """Keys of the views that it is compared with."""
    inverse_range: tuple[float, float]
    points: NDArray[np.float64]
    """Where it sees points of the set, and their inverse depth, (k, 3)."""

    def level(self, number: int) -> Level:
        """The view at a size: 0 for the whole."""
        return self.levels[min(number, len(self.levels) - 1)]


def depth_maps(
    posed: PosedSet,
    *,
    options: DepthOptions | None = None,
    compute: Compute | None = None,
    progress: Progress = SILENT,
    keep: DepthStore | None = None,
) -> DepthResult:
    """Estimate the depth of every picture of a set.

    Args:
        posed: pictures with cameras and poses, and points that they see.
        options: how; None: the default.
        compute: where it runs; None: the best device of this machine.
        progress: told how far it is.
        keep: where finished maps are kept, and what is done on the way to them, so that a later run goes on from there;
            None: nowhere.

    Returns:
        The maps, in the set's order, and the views that have none.

    Raises:
        EstimationError: no view has another that it could be compared with.
        OutputError: what is to be kept cannot be written.
        PictureError: a picture cannot be read.
    """
    options, compute = options or DepthOptions(), compute or Compute.choose()
    began = time.perf_counter()
    chosen, left_out = _chosen(posed, options)
    digest = set_digest(posed, options, compute.device.type)
    views = _read(posed, chosen, options, left_out)
    maps = _finished(views, keep, digest)
    seconds: dict[str, float] = {}
    if maps is None:
        job = _Job(views, options, compute, progress, Steps(_folder(keep), digest))
        maps = job.run()
        seconds = job.seconds
        if keep is not None:
            for one in maps:
                keep.save(one, digest)
            job.steps.clear()
    seconds["total"] = time.perf_counter() - began
    return DepthResult(tuple(maps), tuple(left_out), posed.warnings, seconds, compute.device.type, options.seed)


def _folder(keep: DepthStore | None) -> Path | None:
    return None if keep is None else keep.folder / "steps"


def _chosen(posed: PosedSet, options: DepthOptions) -> tuple[dict[int, Sources], list[LeftOutView]]:
    """The views that have sources, and those that have none."""
    chosen, left_out = {}, []
    for i, choice in enumerate(choose_sources(posed, options.sources)):
        if isinstance(choice, Sources):
            chosen[i] = choice
        else:
            left_out.append(LeftOutView(posed.views[i].picture.name, choice.reason))
    if not chosen:
        reason = left_out[0].reason if left_out else "there are none"
        raise EstimationError(f"no picture has another that its depth could be found from: {reason}")
    return chosen, left_out


def _finished(views: dict[int, _View], keep: DepthStore | None, digest: str) -> list[DepthMap] | None:
    """The maps of an earlier run, if all are there."""
    if keep is None:
        return None
    found = []
    for view in views.values():
        one = keep.load(view.name, digest)
        if one is None:
            return None
        found.append(one)
    return found


def _read(
    posed: PosedSet, chosen: dict[int, Sources], options: DepthOptions, left_out: list[LeftOutView]
) -> dict[int, _View]:
    """The pictures; one that cannot be read is left out."""
    views = {}
    for i, choice in chosen.items():
        view = posed.views[i]
        try:
            camera, color = ideal_view(view, options.max_side)
        except PictureError as error:
            left_out.append(LeftOutView(view.picture.name, str(error)))
            continue
        levels = pyramid(color, camera, view.cam_from_world)
        views[i] = _View(
            view.picture.name, camera, color, levels, choice.views, choice.inverse_range, _seen(posed, i, camera)
        )
    read = {}
    for i, view_ in views.items():
        sources = tuple(j for j in view_.sources if j in views)
        if sources:
            read[i] = replace(view_, sources=sources)
        else:
            left_out.append(LeftOutView(view_.name, "no other picture that can be read sees the same"))
    # A view without sources of its own is no source either: it never gets a depth that could bear others out.
    kept = {i: replace(one, sources=tuple(j for j in one.sources if j in read)) for i, one in read.items()}
    if not any(one.sources for one in kept.values()):
        raise EstimationError("no two of the pictures that can be read see the same")
    return {i: one for i, one in kept.items() if one.sources}


def _seen(posed: PosedSet, i: int, camera: Camera) -> NDArray[np.float64]:
    """Column, row and inverse depth of the points that a view sees, (k, 3)."""
    view = posed.views[i]
    points = posed.points[view.points] @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    points = points[points[:, 2] > 0.0]
    return np.concatenate([camera.project(points), 1.0 / points[:, 2:]], axis=1)


class _Job:
    """The estimation of all maps, step by step."""

    def __init__(
        self, views: dict[int, _View], options: DepthOptions, compute: Compute, progress: Progress, steps: Steps
    ) -> None:
        self._views, self._options, self._compute, self._progress = views, options, compute, progress
        self.steps = steps
        self.seconds: dict[str, float] = {}
        self._states: dict[int, State] = {}
        self._top = 1 if options.fine_iterations else 0

    def run(self) -> list[DepthMap]:
        """All steps, one after the other."""
        options = self._options
        names = ["coarse", *(f"round{k}" for k in range(options.rounds)), *(["fine"] if self._top else [])]
        self._forecast(names)
        self._progress.start(STAGE, len(names) * len(self._views))
        try:
            for k, name in enumerate(names):
                work = self._coarse if name == "coarse" else self._fine if name == "fine" else self._round
                with self._timed(name.rstrip("0123456789")):
                    self._step(name, work)
                if k:
                    self.steps.forget(names[k - 1], max(self._views) + 1)
        finally:
            self._progress.finish(STAGE)
        with self._timed("check"):
            return list(self._checked())

    def _forecast(self, names: Sequence[str]) -> None:
        """Say how long it will take; nothing of what an earlier run has done is looked at."""
        if self.steps.has(names[0], self._views):
            return
        costs = [
            costs_of_view([one.size for one in view.levels], len(view.sources), self._options)
            for view in self._views.values()
        ]
        first = next(iter(self._views))
        smallest = self._problem(first, len(self._views[first].levels) - 1, most=self._options.coarse_sources)
        each = seconds_per_cost(smallest, self._compute)
        width, height = max((view.camera.width, view.camera.height) for view in self._views.values())
        count = len(self._views)
        self._progress.expect(
            f"depth of {count} picture{'' if count == 1 else 's'} at {width}x{height}: about "
            f"{duration_words(each * sum(costs))} on this machine"
        )

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - began

    def _step(self, name: str, work: Callable[[int, int], State]) -> None:
        """Do a step for each view; all of them see what the step before has found."""
        found = {}
        for i, view in self._views.items():
            state = self.steps.load(name, i)
            if state is None:
                state = work(i, zlib.crc32(f"{self._options.seed} {name} {view.name}".encode()))
                self.steps.save(name, i, *state)
            found[i] = (state[0].to(self._compute.device), state[1].to(self._compute.device))
            self._progress.advance(STAGE)
        self._states = found

    def _coarse(self, i: int, seed: int) -> State:
        """From nothing to the size of the rounds."""
        view, options = self._views[i], self._options
        planes: Tensor | None = None
        costs = torch.zeros(0)
        top = min(self._top, len(view.levels) - 1)
        for number in range(len(view.levels) - 1, top - 1, -1):
            problem = self._problem(i, number, most=options.coarse_sources)
            if planes is None:
                course = Course(options.coarse_iterations, _COARSE_PX, is_wide=True)
                share = view.level(number).gray.shape[1] / view.camera.width
                points = view.points * (share, share, 1.0) + (0.5 * share - 0.5, 0.5 * share - 0.5, 0.0)
                planes = planes_between(points, problem, seed, self._compute)
            else:
                course = Course(options.iterations, 1.0, is_wide=True)
                planes = enlarged(planes, *view.levels[number].size)
            planes, costs = improved(problem, planes, course, seed + number, self._compute)
        assert planes is not None
        return sharpened(planes, costs, view.color), costs

    def _round(self, i: int, seed: int) -> State:
        """Once more, in the light of what the others have found."""
        inverses = [self._states[j][0][0] for j in self._views[i].sources]
        problem = self._problem(i, self._top, inverses)
        planes, costs = self._states[i]
        planes, costs = improved(problem, planes, Course(1, 1.0, is_wide=False), seed, self._compute, costs)
        return sharpened(planes, costs, self._views[i].color), costs

    def _fine(self, i: int, seed: int) -> State:
        """At the full size."""
        view = self._views[i]
        inverses = [enlarged(self._states[j][0], *self._views[j].levels[0].size)[0] for j in view.sources]
        planes = enlarged(self._states[i][0], *view.levels[0].size)
        course = Course(self._options.fine_iterations, 1.0, is_wide=False)
        costs = enlarged_costs(self._states[i][1], *view.levels[0].size)
        return improved(self._problem(i, 0, inverses), planes, course, seed, self._compute, costs)

    def _problem(self, i: int, number: int, inverses: list[Tensor] | None = None, most: int | None = None) -> Problem:
        """That of a view at a size; with so many of its sources at most."""
        view = self._views[i]
        sources = [self._views[j].level(number) for j in view.sources[:most]]
        known = None if inverses is None else [one.cpu().numpy() for one in inverses]
        return make_problem(
            view.level(number), sources, view.inverse_range, known, 0.0 if inverses is None else _GEOMETRIC
        )

    def _checked(self) -> Iterator[DepthMap]:
        """What of each map others bear out."""
        options = self._options
        tolerance = Tolerance(options.least_views, options.reprojection_px, options.relative_depth)
        for i, view in self._views.items():
            inverses = [self._states[j][0][0] for j in view.sources]
            found = borne_out(self._problem(i, 0), self._states[i][0], inverses, tolerance, self._compute)
            inverse = found.inverse.cpu().numpy()
            depth = np.divide(1.0, inverse, out=np.zeros_like(inverse), where=inverse > 0.0)
            yield DepthMap(
                view.name, view.camera, view.levels[0].cam_from_world, depth, found.confidence.cpu().numpy(), view.color
            )
