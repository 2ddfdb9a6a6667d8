"""From pictures or a clip to a surface: what the command does, as one function."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import cv3d
from cv3d.compute import Compute
from cv3d.depth.multi_view import depth_maps
from cv3d.depth.result import DepthResult
from cv3d.depth.store import DepthStore
from cv3d.errors import EstimationError, FormatError
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.sources import PosedDepth
from cv3d.fusion.view_result import ViewSurface
from cv3d.fusion.view_surface import fuse_views
from cv3d.geometry.cameras.camera import Camera
from cv3d.mapping.running import reconstruct as place_pictures
from cv3d.mapping.scene import Scene
from cv3d.mapping.scene_file import load_scene, save_scene
from cv3d.media.inputs import find_pictures
from cv3d.progress import SILENT, Progress
from cv3d.reconstruction.options import ReconstructOptions, Stage
from cv3d.reconstruction.posing import posed_set
from cv3d.reconstruction.scene import DenseScene, as_dense

WORK_FOLDER = "work"
"""Within an output folder: what a later run goes on from. It may be deleted."""
_SCENE_FILE, _MAPS_FOLDER = "scene.bin", "maps"
_LEAST_CONFIDENCE = 0.4
"""Of depth that goes into the surface."""


def reconstruct(
    source: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    options: ReconstructOptions | None = None,
    camera: Camera | None = None,
    compute: Compute | None = None,
    progress: Progress = SILENT,
) -> DenseScene:
    """Where pictures were taken, what they show, and its surface.

    A scene whose poses are found comes back even where depth or a surface is not to be had: what was missing is among
    its warnings.

    Args:
        source: folders, globs, pictures or videos.
        output: the folder that keeps what every stage finds, for a later run to go on from; None: nothing is kept.
        options: stages, quality, how each stage works.
        camera: of all pictures, where it is known. Else each camera is estimated from EXIF tags and the pictures.
        compute: where dense work runs; the best device of this machine by default.
        progress: told of every stage.

    Returns:
        The scene, with depth and surface of its largest model, as far as `options.to_stage` goes.

    Raises:
        UsageError: options contradict each other.
        InputError: nothing can be read, or there are fewer than two pictures.
        PictureError: a clip cannot be decoded, or a picture has another shape than the camera's.
        DependencyError: weights are not here.
        OutputError: the folder cannot be written.
    """
    options, compute = options or ReconstructOptions(), compute or Compute.choose()
    job = _Job(options, compute, progress, None if output is None else Path(output) / WORK_FOLDER)
    began = time.perf_counter()
    scene = as_dense(job.placed(source, output, camera))
    if options.reaches(Stage.DEPTH) and scene.models and not scene.models[0].is_oriented_only:
        scene = job.densified(scene)
    return replace(scene, seconds={**scene.seconds, "total": time.perf_counter() - began})


@dataclass(frozen=True)
class _Job:
    options: ReconstructOptions
    compute: Compute
    progress: Progress
    work: Path | None

    def placed(
        self, source: str | Path | Sequence[str | Path], output: str | Path | None, camera: Camera | None
    ) -> Scene:
        """The sparse scene; an earlier run's, where it is of the same."""
        options = self.options
        is_kept = self.work is not None and options.reaches(Stage.DEPTH)
        digest = self._digest(source, camera) if is_kept else ""
        if self.work is not None and is_kept and not options.redoes(Stage.POSES):
            kept = self._kept_scene(digest)
            if kept is not None:
                self.progress.info("poses are those of the earlier run")
                return replace(kept, folder=Path(output) if output is not None else None)
        scene = place_pictures(
            source,
            output,
            options=options.map_options,
            camera=camera,
            compute=self.compute,
            progress=self.progress,
        )
        if self.work is not None and is_kept and not scene.interrupted:
            save_scene(scene, self.work / _SCENE_FILE, digest=digest)
        return scene

    def _kept_scene(self, digest: str) -> Scene | None:
        assert self.work is not None
        try:
            return load_scene(self.work / _SCENE_FILE, digest=digest)
        except FormatError as error:
            self.progress.warn(f"{error}; poses are found again")
            return None

    def _digest(self, source: str | Path | Sequence[str | Path], camera: Camera | None) -> str:
        """Of everything that poses depend on."""
        known = sha256()
        found = find_pictures(source)
        for picture in [*found, *found.videos]:
            status = picture.source.stat()
            known.update(repr((str(picture.source), status.st_size, status.st_mtime_ns)).encode())
        plain = replace(self.options.mapping, from_stage=None, resume=True)
        options = repr(
            (cv3d.__version__, plain, self.compute.device.type, None if camera is None else camera.as_dict())
        )
        known.update(options.encode())
        return known.hexdigest()

    def densified(self, scene: DenseScene) -> DenseScene:
        """The scene with depth and, where asked for, a surface."""
        posed = posed_set(scene)
        warnings = list(scene.warnings)
        if len(scene.models) > 1:
            warnings.append(f"depth and surface are of the largest of {len(scene.models)} models alone")
        scene = replace(scene, posed=posed)
        began = time.perf_counter()
        try:
            depth = depth_maps(
                posed,
                options=self.options.depth_options,
                compute=self.compute,
                progress=self.progress,
                keep=self._store(),
            )
        except EstimationError as error:
            return replace(scene, warnings=(*warnings, f"no depth: {error}"))
        seconds = {**scene.seconds, Stage.DEPTH.value: time.perf_counter() - began}
        scene = replace(scene, depth=depth, seconds=seconds)
        surface = None
        if self.options.reaches(Stage.SURFACE):
            began = time.perf_counter()
            try:
                surface = self._surface(depth)
                warnings += surface.warnings
            except EstimationError as error:
                warnings.append(f"no surface: {error}")
            seconds = {**seconds, Stage.SURFACE.value: time.perf_counter() - began}
        return replace(scene, surface=surface, seconds=seconds, warnings=tuple(dict.fromkeys(warnings)))

    def _store(self) -> DepthStore | None:
        if self.work is None:
            return None
        version = sha256(cv3d.__version__.encode()).hexdigest()
        store = DepthStore(self.work / _MAPS_FOLDER, version)
        if self.options.redoes(Stage.DEPTH):
            store.clear()
        return store

    def _surface(self, depth: DepthResult) -> ViewSurface:
        return fuse_views(
            lambda: _frames(depth),
            options=self.options.surface_options,
            compute=self.compute,
            progress=self.progress,
            name="the scene",
        )


def _frames(depth: DepthResult) -> Iterator[PosedDepth]:
    """Depth maps as fusion takes them: doubtful depth is left out, and surer depth counts for more."""
    for index, one in enumerate(depth.maps):
        sure = one.confidence >= _LEAST_CONFIDENCE
        frame = DepthFrame(one.depth * sure, one.color, one.camera, one.cam_from_world, one.confidence * sure)
        yield PosedDepth(index, float(index), one.name, frame)
