"""From pictures or a clip to a scene: what the command does, as one function."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, overload

import numpy as np

from cv3d.compute import Compute, torch_threads
from cv3d.errors import OutputError
from cv3d.features.matching import SetMatch, match_pictures
from cv3d.features.matching.collection import STORE_FILE
from cv3d.features.matching.set_extraction import SetCameras, extract_set
from cv3d.features.store import FeatureStore
from cv3d.geometry.cameras.camera import Camera
from cv3d.mapping.frames import SceneFrames, list_frames
from cv3d.mapping.framing import frame_scene
from cv3d.mapping.graph import load_graph
from cv3d.mapping.options import MapOptions, Stage
from cv3d.mapping.placing import Placing, is_whole
from cv3d.mapping.scene import Scene, ViewGraph
from cv3d.progress import SILENT, Progress


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
        scene = None if self.options.matching.learned is None else self._map(clock, asks_again=False)
        return scene or self._map(clock, asks_again=True)

    @overload
    def _map(self, clock: _Clock, *, asks_again: Literal[True]) -> Scene: ...
    @overload
    def _map(self, clock: _Clock, *, asks_again: Literal[False]) -> Scene | None: ...
    def _map(self, clock: _Clock, *, asks_again: bool) -> Scene | None:
        """The scene; None where pictures are left without a place, and the learned matcher is still to be asked."""
        matched = self.match(asks_again=asks_again)
        clock.matched(matched)
        graph = load_graph(matched.store, matched, self.frames.pictures, self.options.matching)
        # Many small operations: further threads would mostly wait for one another.
        with FeatureStore.open(matched.store, read_only=True) as store, torch_threads(1):
            placing = Placing(graph, matched, store, self.options, self.compute, self.progress)
            plan, mapper, solved = placing.solve(self.camera)
            scene = placing.scene(plan, mapper, solved) if asks_again or is_whole(graph, solved) else None
        clock.lap(Stage.POSES)
        return scene


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
