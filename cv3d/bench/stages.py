"""The stages that are timed, each by the library call that the command makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle

import torch
from torch import Tensor

from cv3d.bench.inputs import CLIP, Inputs
from cv3d.bench.timing import Parts, Work
from cv3d.compute import Compute
from cv3d.features.extractors.base import Extractor, Features
from cv3d.fusion import VoxelGrid

KEYPOINTS = 2048
DISPARITIES = 64
VOXEL_M = 0.02
SCENE_FRAMES = 12


@dataclass(frozen=True)
class Stage:
    """Something that takes time."""

    name: str
    command: str
    """The command that it belongs to."""
    counted: str
    """What it is done for, one by one."""
    has_device: bool
    """Whether it runs on a device; else it runs on the CPU and is timed there alone."""
    start: Callable[[Inputs, Compute], Work]
    """Reads what it works on, and loads networks."""


def _decode(inputs: Inputs, _: Compute) -> Work:
    from cv3d.media.video import video_frames

    def run() -> None:
        with video_frames(inputs.samples / CLIP) as frames:
            for frame in frames:
                frame.gray()

    return Work(110, run)


def _calibrate(inputs: Inputs, _: Compute) -> Work:
    from cv3d.calibration import calibrate

    photos = [str(photo) for photo in inputs.photos]

    def run() -> Parts:
        seconds = calibrate(photos, seed=inputs.seed).seconds
        return {"detect": seconds.detect, "solve": seconds.solve}

    return Work(len(photos), run, is_long=True)


def _picture(inputs: Inputs, number: int, compute: Compute) -> Tensor:
    return torch.from_numpy(inputs.clip[number])[None, None].to(compute.device)


def _extractor(compute: Compute) -> Extractor:
    from cv3d.features.extractors.base import ExtractorOptions
    from cv3d.features.extractors.registry import create_extractor

    return create_extractor("xfeat", compute, ExtractorOptions(KEYPOINTS))


def _extract(inputs: Inputs, compute: Compute) -> Work:
    extractor = _extractor(compute)
    frames = cycle(range(0, 60, 10))

    def run() -> None:
        found = extractor.extract(_picture(inputs, next(frames), compute))
        found.keypoints.cpu(), found.descriptors.cpu()

    return Work(1, run)


def features_of_pair(inputs: Inputs, compute: Compute) -> tuple[Features, Features]:
    """Of two frames of the walk, ten apart."""
    extractor = _extractor(compute)
    first, second = (extractor.extract(_picture(inputs, number, compute)) for number in (0, 10))
    return first, second


def _match(name: str) -> Callable[[Inputs, Compute], Work]:
    def start(inputs: Inputs, compute: Compute) -> Work:
        from cv3d.features.matchers.registry import create_matcher

        matcher = create_matcher(name, compute)
        first, second = features_of_pair(inputs, compute)

        def run() -> None:
            matcher.match(first, second).indices.cpu()

        return Work(1, run)

    return start


def _track(inputs: Inputs, compute: Compute) -> Work:
    from cv3d.features.tracks.builder import TrackBuilder
    from cv3d.features.tracks.frame_tracks import GrayFrame

    frames = [GrayFrame(i / 30.0, gray) for i, gray in enumerate(inputs.clip[:30])]

    def run() -> None:
        builder = TrackBuilder(compute)
        for frame in frames:
            builder.add(frame)

    return Work(len(frames), run)


def _odometry(kind: str) -> Callable[[Inputs, Compute], Work]:
    def start(inputs: Inputs, compute: Compute) -> Work:
        from cv3d.odometry.running import odometry

        source = inputs.samples / (CLIP if kind == "mono" else "rgbd")
        camera = inputs.clip_camera if kind == "mono" else None

        def run() -> None:
            odometry(source, camera=camera, compute=compute, seed=inputs.seed)

        return Work(110 if kind == "mono" else len(inputs.depth_frames), run)

    return start


def _fuse(inputs: Inputs, compute: Compute) -> Work:
    frames = inputs.depth_frames

    def run() -> None:
        with VoxelGrid(VOXEL_M, compute=compute) as grid:
            for start in range(0, len(frames), 4):
                grid.integrate_batch(frames[start : start + 4])

    return Work(len(frames), run)


def _grid(inputs: Inputs, compute: Compute) -> VoxelGrid:
    grid = VoxelGrid(VOXEL_M, compute=compute)
    grid.integrate_batch(inputs.depth_frames)
    return grid


def _surface(inputs: Inputs, compute: Compute) -> Work:
    grid = _grid(inputs, compute)

    def run() -> None:
        grid.extract_mesh()

    return Work(1, run)


def _ray_cast(inputs: Inputs, compute: Compute) -> Work:
    grid, frame = _grid(inputs, compute), inputs.depth_frames[0]

    def run() -> None:
        grid.ray_cast(frame.camera, frame.cam_from_world)

    return Work(1, run)


def _stereo(inputs: Inputs, compute: Compute) -> Work:
    from cv3d.depth.stereo.engines import matching_for
    from cv3d.depth.stereo.options import StereoOptions

    left, right = inputs.stereo
    matching, options = matching_for(compute), StereoOptions()

    def run() -> None:
        matching(left, right, DISPARITIES, options)

    return Work(1, run)


def _multi_view(inputs: Inputs, compute: Compute) -> Work:
    from cv3d.depth.multi_view import depth_maps
    from cv3d.depth.options import DepthOptions, Quality

    posed, options = inputs.posed, DepthOptions.of(Quality.DRAFT, inputs.seed)

    def run() -> None:
        depth_maps(posed, options=options, compute=compute)

    return Work(len(posed.views), run, is_long=True)


def _reconstruct(inputs: Inputs, compute: Compute) -> Work:
    from cv3d.mapping.options import MapOptions
    from cv3d.mapping.running import reconstruct

    options = replace(MapOptions(), max_frames=SCENE_FRAMES, seed=inputs.seed)

    def run() -> Parts:
        scene = reconstruct(inputs.samples / CLIP, options=options, compute=compute)
        return {str(name): seconds for name, seconds in scene.seconds.items() if str(name) != "total"}

    return Work(SCENE_FRAMES, run, is_long=True)


STAGES: tuple[Stage, ...] = (
    Stage("decode", "odometry", "frame", False, _decode),
    Stage("calibrate", "calibrate", "photo", False, _calibrate),
    Stage("extract", "match", "picture", True, _extract),
    Stage("match", "match", "pair", True, _match("mutual")),
    Stage("match-lighterglue", "match", "pair", True, _match("lighterglue")),
    Stage("track", "match --tracks", "frame", True, _track),
    Stage("odometry-rgbd", "odometry", "frame", True, _odometry("rgbd")),
    Stage("odometry-mono", "odometry", "frame", True, _odometry("mono")),
    Stage("stereo", "depth", "pair", True, _stereo),
    Stage("multi-view-depth", "depth", "picture", True, _multi_view),
    Stage("fuse", "fuse", "frame", True, _fuse),
    Stage("surface", "fuse", "surface", True, _surface),
    Stage("ray-cast", "fuse", "view", True, _ray_cast),
    Stage("reconstruct", "reconstruct", "picture", True, _reconstruct),
)
"""In the order in which they are timed."""
