"""From pictures or a clip to a scene: what the command does, as one function."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute, torch_threads
from cv3d.errors import OutputError
from cv3d.features.matching import SetMatch, match_pictures
from cv3d.features.matching.collection import STORE_FILE
from cv3d.features.matching.set_extraction import SetCameras, extract_set
from cv3d.features.store import FeatureStore
from cv3d.geometry.cameras.camera import Camera
from cv3d.mapping.assembling import assemble, assemble_turned, left_out, view_graph
from cv3d.mapping.deepening import deepen
from cv3d.mapping.frames import SceneFrames, list_frames
from cv3d.mapping.framing import frame_scene
from cv3d.mapping.globally import map_globally
from cv3d.mapping.graph import MatchGraph, build_tracks, load_graph
from cv3d.mapping.growing import Grower, GrowOptions
from cv3d.mapping.options import MapOptions, Mapper, Stage
from cv3d.mapping.preparing import CameraPlan, plan_cameras, with_pairs_geometry
from cv3d.mapping.refining import refine_map
from cv3d.mapping.relating import contradicting_pairs
from cv3d.mapping.scene import LeftOut, Scene, ViewGraph
from cv3d.mapping.solving import Solved, complete, final_stage, map_incrementally
from cv3d.mapping.state import MapState
from cv3d.mapping.turned import Turned, find_turns
from cv3d.progress import SILENT, Progress

_MANY = 30
"""Pictures from which on placing all at once saves time."""
_DENSE = 0.2
"""Share of all pairs that are verified, from which on the graph is dense enough for it."""
_KNOWN = 0.1
"""Relative deviation of focal lengths up to which rotations between pairs are right enough for it."""
_NEARLY_ALL = 0.95
"""Share of the pictures that have to be placed so."""


@dataclass
class _Clock:
    """Seconds of each stage."""

    began: float = field(default_factory=time.perf_counter)
    laps: dict[str, float] = field(default_factory=dict)

    def lap(self, stage: str) -> None:
        now = time.perf_counter() - self.began
        self.laps[stage] = self.laps.get(stage, 0.0) + now - sum(self.laps.values())

    def matched(self, found: SetMatch) -> None:
        """Divide the time since the last lap between features and matches."""
        self.laps[Stage.FEATURES] = self.laps.get(Stage.FEATURES, 0.0) + found.seconds.get("extract", 0.0)
        self.lap(Stage.MATCHES)

    def total(self) -> dict[str, float]:
        return {**self.laps, "total": time.perf_counter() - self.began}


def reconstruct(
    source: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    options: MapOptions | None = None,
    camera: Camera | None = None,
    compute: Compute | None = None,
    progress: Progress = SILENT,
) -> Scene:
    """Where pictures were taken, and the points that they show.

    Args:
        source: folders, globs, pictures or videos.
        output: the folder that keeps what every stage finds, for a later run to go on from; None: nothing is kept.
        options: stages, mapper, thresholds, seed.
        camera: of all pictures, where it is known. Else each camera is estimated from EXIF tags and the pictures.
        compute: where dense work runs; the best device of this machine by default.
        progress: told of every stage.

    Returns:
        The scene; where `options.to_stage` is not the last stage, without models.

    Raises:
        UsageError: options contradict each other.
        InputError: nothing can be read, or there are fewer than two pictures.
        PictureError: a clip cannot be decoded, or a picture has another shape than the camera's.
        DependencyError: weights are not here.
        OutputError: the folder cannot be written.
    """
    options, compute, clock = options or MapOptions(), compute or Compute.choose(), _Clock()
    with ExitStack() as stack:
        if output is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cv3d-scene-")))
        else:
            folder = Path(output)
            _make(folder)
        anew = options.redoes(Stage.FRAMES)
        frames = list_frames(source, options.max_frames, folder, anew=anew, progress=progress)
        clock.lap(Stage.FRAMES)
        kept = None if output is None else folder
        if not options.reaches(Stage.FEATURES):
            return _without_models(frames, None, options, compute, clock, kept)
        _forget(folder / STORE_FILE, options)
        job = _Matching(frames, folder, camera, options, compute, progress)
        if not options.reaches(Stage.MATCHES):
            job.extract()
            clock.lap(Stage.FEATURES)
            return _without_models(frames, None, options, compute, clock, kept)
        if not options.reaches(Stage.POSES):
            matched = job.match(asks_again=True)
            clock.matched(matched)
            return _without_models(frames, matched, options, compute, clock, kept)
        scene = job.map(clock)
        scene = frame_scene(
            scene, scale=options.scale, up=options.up, gps=options.gps, seed=options.seed, progress=progress
        )
        clock.lap(Stage.POSES)
        warnings = (*frames.warnings, *scene.warnings)
        return replace(scene, warnings=warnings, seconds=clock.total(), folder=kept)


@dataclass(frozen=True)
class _Matching:
    """Features and matches of the frames, and what is mapped from them."""

    frames: SceneFrames
    folder: Path
    camera: Camera | None
    options: MapOptions
    compute: Compute
    progress: Progress

    @property
    def _cameras(self) -> list[Camera | None]:
        return [self.camera] * len(self.frames.pictures)

    def extract(self) -> None:
        """Find the features of every picture."""
        with FeatureStore.open(self.folder / STORE_FILE) as store:
            cameras = SetCameras(tuple(self._cameras))
            extract_set(self.frames.pictures, store, cameras, self.options.matching, self.compute, self.progress)

    def match(self, *, asks_again: bool) -> SetMatch:
        """Match the pictures.

        Args:
            asks_again: whether the learned matcher is asked about pairs of thin support.
        """
        matching = replace(self.options.matching, seed=self.options.seed)
        if not asks_again:
            matching = replace(matching, cascade=replace(matching.cascade, second_opinions=0.0))
        return match_pictures(
            self.frames.pictures,
            self.folder,
            matching,
            choice=self.options.pairs,
            cameras=self._cameras,
            is_video=self.frames.is_video,
            compute=self.compute,
            progress=self.progress,
        )

    def map(self, clock: _Clock) -> Scene:
        """Match and map; the learned matcher is asked only where pictures are left without it."""
        for asks_again in (False, True):
            matched = self.match(asks_again=asks_again)
            clock.matched(matched)
            graph = load_graph(matched.store, matched, self.frames.pictures, self.options.matching)
            # Many small operations: further threads would mostly wait for one another.
            with FeatureStore.open(matched.store, read_only=True) as store, torch_threads(1):
                mapping = _Mapping(graph, matched, store, self.options, self.compute, self.progress)
                plan, mapper, solved = mapping.solve(self.camera)
                if asks_again or self.options.matching.learned is None or _is_whole(graph, solved):
                    return mapping.scene(plan, mapper, solved)
            clock.lap(Stage.POSES)
        raise AssertionError("the second turn always ends")


def _is_whole(graph: MatchGraph, solved: Solved) -> bool:
    """Whether all pictures with features have a place in one map."""
    featured = np.array([len(points) > 0 for points in graph.keypoints])
    return len(solved.maps) == 1 and bool((solved.maps[0].placed | ~featured).all())


@dataclass(frozen=True)
class _Mapping:
    """The last stage."""

    graph: MatchGraph
    matched: SetMatch
    store: FeatureStore
    options: MapOptions
    compute: Compute
    progress: Progress

    def solve(self, camera: Camera | None) -> tuple[CameraPlan, Mapper, Solved]:
        """What is known of the cameras, and maps by one of the mappers."""
        graph, options = self.graph, self.options
        plan = plan_cameras(graph.pictures, graph.sizes, camera, options.shared_camera)
        plan = with_pairs_geometry(plan, graph)
        growing = replace(options.growing, seed=options.seed)
        trusted = graph.without(contradicting_pairs(graph, [plan.known[int(i)].camera for i in plan.camera_of]))
        return plan, *self._solved(trusted, plan, growing)

    def scene(self, plan: CameraPlan, mapper: Mapper, solved: Solved) -> Scene:
        """Maps completed, refined, and with reasons for what is left out."""
        graph = self.graph
        if not solved.maps and (turned := find_turns(graph, plan)) is not None:
            return self._turned(plan, turned)
        completed = [self._completed(state, plan, solved) for state in solved.maps]
        maps = [state for state in completed if state is not None]
        models = tuple(assemble(state, plan.known, final_stage(state), self._rgb) for state in maps)
        return Scene(
            models,
            left_out(graph, maps, solved.attempts),
            view_graph(graph, maps),
            mapper,
            seed=self.options.seed,
            device=self.compute.device.type,
        )

    def _solved(self, trusted: MatchGraph, plan: CameraPlan, growing: GrowOptions) -> tuple[Mapper, Solved]:
        """Maps, and by which mapper."""
        table = build_tracks(trusted)
        if self._is_global(trusted, plan):
            solved = map_globally(trusted, table, plan.known, plan.camera_of, growing, self.progress)
            placed = sum(int(state.placed.sum()) for state in solved.maps)
            if self.options.mapper is Mapper.GLOBAL or placed >= _NEARLY_ALL * int((trusted.degrees() > 0).sum()):
                return Mapper.GLOBAL, solved
            self.progress.info(f"the global mapper placed {placed} pictures; the incremental one begins anew")
        solved = map_incrementally(trusted, table, plan.known, plan.camera_of, growing, self.progress)
        return Mapper.INCREMENTAL, solved

    def _is_global(self, trusted: MatchGraph, plan: CameraPlan) -> bool:
        """Whether to place all pictures at once: where asked for, or with cameras known and many pairs of each."""
        if self.options.mapper is not Mapper.AUTO:
            return self.options.mapper is Mapper.GLOBAL
        is_known = all(one.focal_deviation <= _KNOWN for one in plan.known)
        count = int((trusted.degrees() > 0).sum())
        return is_known and count >= _MANY and 2 * len(trusted.pairs) >= _DENSE * count * (count - 1)

    def _completed(self, state: MapState, plan: CameraPlan, solved: Solved) -> MapState | None:
        """A map with more and longer tracks, and its observations refined; None where these do not look alike."""
        if self.options.deepen:
            taken = np.zeros(len(self.graph), np.bool_)
            for other in solved.maps:
                taken |= other.placed
            state = deepen(state, self._descriptors, self.compute, progress=self.progress)
            grower = Grower(state, plan.known, self.options.growing, self.progress, solved.attempts)
            complete(grower, taken & ~state.placed)
        refine = self.options.refine
        if refine and not refine_map(state, plan.known, final_stage(state), self._gray, self.compute, self.progress):
            for picture in np.flatnonzero(state.placed).tolist():
                solved.attempts.reasons[picture] = "what it seems to share with others does not look the same there"
            return None
        return state

    def _turned(self, plan: CameraPlan, turned: Turned) -> Scene:
        """A panorama: orientations without positions."""
        graph, lost = self.graph, np.flatnonzero(~turned.placed)
        reason, advice = "it does not hang together with the others", "turn less between pictures"
        outside = tuple(LeftOut(graph.pictures[i].name, graph.reasons[i] or reason, advice) for i in lost.tolist())
        doubt = (
            "the camera only turned: it is oriented in every picture, but without a motion nothing has a distance; "
            "walk a step between pictures"
        )
        self.progress.warn(doubt)
        return Scene(
            (assemble_turned(graph, plan, turned),),
            outside,
            view_graph(graph, ()),
            "rotation",
            warnings=(doubt,),
            seed=self.options.seed,
            device=self.compute.device.type,
        )

    def _gray(self, picture: int) -> NDArray[np.uint8]:
        return self.graph.pictures[picture].read_gray().array

    def _rgb(self, picture: int) -> NDArray[np.uint8]:
        return self.graph.pictures[picture].read_rgb().array

    def _descriptors(self, picture: int) -> NDArray[np.generic]:
        image_id = self.matched.pictures[picture].image_id
        if image_id is None:
            raise RuntimeError(f"{self.graph.pictures[picture].name} has a place but no features")
        return self.store.descriptors(image_id)


def _forget(store: Path, options: MapOptions) -> None:
    """Drop what an earlier run has found, as far as it is to be found anew."""
    if not store.exists():
        return
    if options.redoes(Stage.FEATURES):
        for part in (store, *store.parent.glob(f"{store.name}-*")):
            part.unlink()
    elif options.redoes(Stage.MATCHES):
        with FeatureStore.open(store) as opened:
            opened.forget_matches()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror or error}") from error


def _without_models(
    frames: SceneFrames,
    matched: SetMatch | None,
    options: MapOptions,
    compute: Compute,
    clock: _Clock,
    folder: Path | None,
) -> Scene:
    """What there is before poses are looked for."""
    names = tuple(picture.name for picture in frames.pictures)
    if matched is None:
        pairs, inliers = np.zeros((0, 2), np.intp), np.zeros(0, np.intp)
    else:
        pairs, inliers = matched.edges.astype(np.intp), matched.inliers.astype(np.intp)
    graph = ViewGraph(names, pairs, inliers, np.ones(len(pairs), np.bool_))
    return Scene(
        (),
        (),
        graph,
        "none",
        warnings=frames.warnings,
        seconds=clock.total(),
        seed=options.seed,
        device=compute.device.type,
        folder=folder,
    )
