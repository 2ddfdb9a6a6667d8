"""Calibrating several cameras on one rigid body: from their pictures to a judged result."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
import torch

from cv3d.calibration.calibrating import CalibrateOptions
from cv3d.calibration.detecting import BoardSightings, find_board
from cv3d.calibration.journal import Journal
from cv3d.calibration.models import resolve_model
from cv3d.calibration.result import Seconds
from cv3d.calibration.rig.alone import CameraAlone, calibrate_alone
from cv3d.calibration.rig.assembling import FinishedRig, Labels, assemble_rig
from cv3d.calibration.rig.films import resample_rig, skips_frames
from cv3d.calibration.rig.frames import RigSources, Timeline
from cv3d.calibration.rig.in_motion import Timing
from cv3d.calibration.rig.joint import JointFit, Standing
from cv3d.calibration.rig.moments import Followed, follow, timeline_warnings
from cv3d.calibration.rig.options import RigOptions
from cv3d.calibration.rig.placed import Detected, PlacedCamera, common_views
from cv3d.calibration.rig.problem import CameraViews
from cv3d.calibration.rig.result import RigCalibration
from cv3d.calibration.rig.seeding import Link, find_links, groups, place
from cv3d.calibration.rig.strays import without_strays
from cv3d.calibration.rig.symmetry import board_turns
from cv3d.calibration.rig.together import JointSolver
from cv3d.compute import torch_threads
from cv3d.errors import EstimationError, InputError, UsageError
from cv3d.geometry.cameras.camera import Camera
from cv3d.progress import SILENT, Progress

_MOST_WEIGHT = 8.0
"""Largest ratio of the weights that cameras get for the precision of their corners."""


def calibrate_rig_sources(
    sources: RigSources,
    options: RigOptions | None = None,
    journal: Journal | None = None,
    progress: Progress = SILENT,
) -> RigCalibration:
    """Calibrate a rig from the pictures of its cameras.

    Args:
        sources: the pictures, and which of them are of one moment.
        options: the user's decisions.
        journal: keeps detections between runs.
        progress: told about the course.

    Returns:
        The calibration. Where the pictures do not determine the rig its verdict is `unobservable` and its
        uncertainty NaN.

    Raises:
        EstimationError: no board, a camera whose own pictures do not suffice, or cameras that nothing ties together.
        InputError: fewer than two cameras, or intrinsics of another picture size.
        QualityError: all pictures of a camera are copies of one.
        UsageError: intrinsics are not given for as many cameras as there are.
    """
    options = options or RigOptions()
    resolve_model(options.model)
    count = len(sources.cameras)
    if count < 2:
        raise InputError(f"a rig has at least two cameras, not {count}")
    if options.intrinsics and len(options.intrinsics) != count:
        raise UsageError(f"intrinsics are given for {len(options.intrinsics)} cameras, and there are {count}")
    began = time.perf_counter()
    sightings = _sightings(sources, options, journal, progress)
    with torch_threads(1):
        followed = follow(sources, sightings, _given(options, count))
    if followed is not None and followed.clocks is not None and skips_frames(sources):
        sources = resample_rig(sources, followed.clocks, followed.timeline, progress=progress)
        sightings = _sightings(sources, options, journal, progress)
        with torch_threads(1):
            followed = follow(sources, sightings, _given(options, count), followed.clocks)
    detected = time.perf_counter()
    progress.start("solve", count + 1)
    with torch_threads(1):
        result = _Estimator(sources, sightings, options, progress, followed).run()
    progress.finish("solve")
    ended = time.perf_counter()
    return replace(result, seconds=Seconds(detected - began, ended - detected, ended - began))


def estimate_rig(
    sources: RigSources, sightings: Sequence[BoardSightings], options: RigOptions, progress: Progress = SILENT
) -> RigCalibration:
    """Estimate a rig from what its pictures show, the times of the result left at zero.

    Args:
        sources: the pictures, and which of them are of one moment.
        sightings: the board, and its points in the pictures of each camera, (C,).
        options: the user's decisions; the board is that of the sightings.
        progress: told about the course.

    Raises:
        EstimationError: as :func:`calibrate_rig_sources`, as are the others.
        InputError: likewise.
        QualityError: likewise.
    """
    with torch_threads(1):
        followed = follow(sources, sightings, _given(options, len(sources.cameras)))
        return _Estimator(sources, sightings, options, progress, followed).run()


def _given(options: RigOptions, count: int) -> tuple[Camera | None, ...]:
    return options.intrinsics or (None,) * count


def _sightings(
    sources: RigSources, options: RigOptions, journal: Journal | None, progress: Progress
) -> tuple[BoardSightings, ...]:
    """What each camera's pictures show of the one board."""
    pictures = [picture for camera in sources.cameras for picture in camera.pictures]
    owners = [c for c, camera in enumerate(sources.cameras) for _ in camera.pictures]
    found = find_board(pictures, options.board, options.square_m, journal, progress, options.workers, owners)
    ends = list(accumulate(len(camera.pictures) for camera in sources.cameras))
    starts = [0, *ends[:-1]]
    return tuple(
        BoardSightings(found.board, found.pictures[start:end]) for start, end in zip(starts, ends, strict=True)
    )


class _Estimator:
    """Holds the rig while it is put together."""

    def __init__(
        self,
        sources: RigSources,
        sightings: Sequence[BoardSightings],
        options: RigOptions,
        progress: Progress,
        followed: Followed | None,
    ) -> None:
        self.sources = sources
        self.sightings = sightings
        self.options = options
        self.progress = progress
        self.board = sightings[0].board
        self.followed = followed
        self.warnings: list[str] = []

    def run(self) -> RigCalibration:
        """Each camera alone, then all together; again without pictures that turned out to be another camera's."""
        alone = self._each_alone()
        finished = self._together(alone)
        if self.followed is None:
            refused = finished.fit.refused
            cleared = without_strays(alone, self.sightings, refused, self._alone_options())
            if cleared is not None:
                finished = self._together(cleared)
        self.progress.advance("solve")
        return assemble_rig(finished, self.options.seed)

    def _together(self, alone: Sequence[CameraAlone]) -> FinishedRig:
        """The links between the cameras, then all of them jointly."""
        self.warnings = [*self.sources.warnings]
        timeline = self._timeline(alone)
        frames, frame_count = self._frames(alone, timeline)
        placed = [camera.placed(own) for camera, own in zip(alone, frames, strict=True)]
        self._check_pictures_differ(placed)
        turns = board_turns(self.board)
        links = self._links(placed, find_links(placed, self.board, turns))
        start = place(placed, links, frame_count, turns)
        placed = [camera.relabelled(self.board, own) for camera, own in zip(placed, start.labels, strict=True)]
        pictures = [camera.pictures() for camera in alone]
        labels: Labels = {
            (c, picture): ids
            for c, camera in enumerate(placed)
            for picture, (ids, _) in zip(pictures[c], camera.detections, strict=True)
        }
        standing = Standing(
            cameras=_weighted(placed),
            frames=torch.arange(frame_count),
            state=start.state,
            pictures=tuple(torch.tensor(own, dtype=torch.int64) for own in pictures),
        )
        fit, timing = JointSolver(alone, self.followed, self.options, self.progress).solve(standing)
        self._check_still_linked(alone, fit)
        if timing is not None:
            timeline = self._timed(timeline, timing, fit)
        return FinishedRig(self.board, tuple(alone), timeline, fit, labels, tuple(self.warnings))

    def _alone_options(self) -> CalibrateOptions:
        return CalibrateOptions(
            self.board, self.board.square_m, self.options.model, self.options.board_warp, self.options.seed
        )

    def _each_alone(self) -> list[CameraAlone]:
        options = self._alone_options()
        given = _given(self.options, len(self.sources.cameras))
        alone = []
        for source, seen, camera in zip(self.sources.cameras, self.sightings, given, strict=True):
            alone.append(calibrate_alone(source.name, seen, options, camera))
            self.progress.advance("solve")
        return alone

    def _timeline(self, alone: Sequence[CameraAlone]) -> Timeline:
        """Which pictures are of one moment, with warnings where the board's motion speaks against it."""
        timeline = self.sources.timeline if self.followed is None else self.followed.timeline
        assert timeline is not None
        self.warnings += timeline.warnings
        if self.followed is None:
            self.warnings += timeline_warnings(self.sources.cameras, alone, self.board, timeline)
        return timeline

    def _timed(self, timeline: Timeline, timing: Timing, fit: JointFit) -> Timeline:
        """The timeline with what the joint solution says of the clocks."""
        names = [camera.name for camera in self.sources.cameras]
        known = timeline.synchronisation
        clocks = ", ".join(
            f"{name} {before + late:+.4f} s ± {1000.0 * std:.1f} ms"
            for name, before, late, std in zip(
                names[1:], known.offsets_s[1:], timing.offsets_s[1:], timing.offsets_std_s[1:], strict=True
            )
        )
        said = (
            f"the board moved between the exposures of a moment, which is part of the solution: clocks {clocks}; "
            f"stamps scatter by {1000.0 * timing.jitter_s:.1f} ms; of the RMS of {fit.solution.rms_px:.3f} px all but "
            f"{math.sqrt(2.0) * fit.solution.noise_px:.3f} px is motion between frames"
        )
        if timing.parted:
            said += (
                f"; in {timing.parted} of {timing.common} pictures of common moments the board moved too fast, and "
                "they tell about their own camera only"
            )
        return replace(
            timeline,
            synchronisation=replace(
                known,
                sentence=f"{known.sentence}; {said}",
                offsets_s=tuple(float(a + b) for a, b in zip(known.offsets_s, timing.offsets_s, strict=True)),
                offsets_std_s=tuple(float(std) for std in timing.offsets_std_s),
            ),
        )

    def _frames(self, alone: Sequence[CameraAlone], timeline: Timeline) -> tuple[list[list[int]], int]:
        """The frame of every view used, for each camera, and the number of frames.

        Frames are moments in which any camera saw the board, in their order; a picture of no moment is a frame by
        itself, which still tells about its camera.
        """
        moment = {
            (c, picture): m
            for m, one in enumerate(timeline.moments)
            for c, picture in enumerate(one.members)
            if picture is not None
        }
        keys = [
            [(0, moment[c, p]) if (c, p) in moment else (1 + c, p) for p in camera.pictures()]
            for c, camera in enumerate(alone)
        ]
        order = {key: frame for frame, key in enumerate(sorted({key for own in keys for key in own}))}
        return [[order[key] for key in own] for own in keys], len(order)

    def _check_pictures_differ(self, placed: Sequence[PlacedCamera]) -> None:
        """Two cameras never see a board at the very same pixels: then it is one camera's picture in both places."""
        for second in range(len(placed)):
            for first in range(second):
                pairs = [pair.tolist() for pair in common_views(placed[first], placed[second])]
                same = sum(
                    _same(placed[first].detections[a], placed[second].detections[b])
                    for a, b in zip(*pairs, strict=True)
                )
                if same and 2 * same >= len(pairs[0]):
                    raise InputError(
                        f"{placed[first].name} and {placed[second].name} hold the same pictures ({same} of "
                        f"{len(pairs[0])} frames): each camera needs its own"
                    )

    def _links(self, placed: Sequence[PlacedCamera], links: Sequence[Link]) -> list[Link]:
        """The links to be believed.

        Raises:
            EstimationError: they do not tie all cameras together.
        """
        names = [camera.name for camera in placed]
        credible = [link for link in links if link.credible]
        if len(groups(len(placed), [(link.first, link.second) for link in credible])) > 1:
            raise EstimationError(_apart(names, links, credible))
        for link in credible:
            if 2 * link.agreeing < link.common:
                self.warnings.append(
                    f"{names[link.first]} and {names[link.second]} contradict each other in "
                    f"{link.common - link.agreeing} of {link.common} frames: are the pictures of one moment paired?"
                )
        for link in links:
            if not link.credible:
                self.warnings.append(
                    f"{names[link.first]} and {names[link.second]} contradict each other in almost all of "
                    f"{link.common} common frames"
                )
        return credible

    def _check_still_linked(self, alone: Sequence[CameraAlone], fit: JointFit) -> None:
        cameras = fit.standing.cameras
        linked = [
            (first, second)
            for second in range(len(cameras))
            for first in range(second)
            if bool(torch.isin(cameras[first].frames, cameras[second].frames).any())
        ]
        apart = groups(len(cameras), linked)
        if len(apart) > 1:
            parts = "; ".join(_hanging([alone[c].name for c in group]) for group in apart)
            raise EstimationError(
                f"what ties the cameras together contradicts itself ({parts}): are the pictures of one moment paired, "
                "and are the cameras fixed to each other?"
            )


def _weighted(placed: Sequence[PlacedCamera]) -> tuple[CameraViews, ...]:
    """What each camera saw, residuals weighted by the precision of its corners."""
    scales = np.array([camera.scale_px for camera in placed])
    typical = float(np.median(scales))
    weights = np.clip(typical / scales, 1.0 / _MOST_WEIGHT, _MOST_WEIGHT)
    return tuple(
        CameraViews(camera.model, camera.observations, camera.frames, camera.size, camera.held, float(weight))
        for camera, weight in zip(placed, weights, strict=True)
    )


def _same(one: Detected, other: Detected) -> bool:
    return np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


def _apart(names: Sequence[str], links: Sequence[Link], credible: Sequence[Link]) -> str:
    """Which cameras hang together, which do not, and why."""
    apart = groups(len(names), [(link.first, link.second) for link in credible])
    member = {c: g for g, group in enumerate(apart) for c in group}
    parts = "; ".join(_hanging([names[c] for c in group]) for group in apart)
    refused = [link for link in links if member[link.first] != member[link.second]]
    if refused:
        reasons = "; ".join(
            f"{names[link.first]} and {names[link.second]} see the board in {link.common} common frames, "
            "which contradict each other"
            for link in refused
        )
        return f"the cameras do not hang together: {parts}; {reasons}: are the pictures of one moment paired?"
    return (
        f"the cameras do not hang together: {parts}; take pictures in which a camera of each group sees the board at "
        "the same moment"
    )


def _hanging(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} sees the board with no other camera"
    return f"{', '.join(names[:-1])} and {names[-1]} hang together"
