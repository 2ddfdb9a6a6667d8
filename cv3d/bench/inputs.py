"""What stages and their peers work on, decoded beforehand, so that both get the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.depth.posed import PosedSet, PosedView
from cv3d.fusion import DepthFrame
from cv3d.geometry.cameras import Camera
from cv3d.media.picture import Picture
from cv3d.media.video import video_frames

Gray = NDArray[np.uint8]
CLIP = "room.mp4"
_DEPTH_STEPS_PER_M = 1000.0
_POSED = range(0, 20, 5)
"""Frames of the recording with depth that multi-view depth is timed on."""
_GRID_PX = 16
_SAME_DEPTH = 0.02


@dataclass(frozen=True)
class Inputs:
    """The samples, read when they are first asked for."""

    samples: Path
    seed: int

    @cached_property
    def clip(self) -> list[Gray]:
        """Frames (480, 640) of the walk through the room."""
        with video_frames(self.samples / CLIP) as frames:
            return [np.ascontiguousarray(frame.gray()) for frame in islice(frames, 60)]

    @cached_property
    def clip_rgb(self) -> list[NDArray[np.uint8]]:
        """Some of them in colour, 5 frames apart, (480, 640, 3)."""
        with video_frames(self.samples / CLIP) as frames:
            return [np.ascontiguousarray(frame.rgb()) for frame in islice(frames, 0, 60, 5)]

    @cached_property
    def clip_camera(self) -> Camera:
        """What the walk was taken with."""
        truth = json.loads((self.samples / "room_ground_truth.json").read_text(encoding="utf-8"))
        return Camera.from_dict(truth["camera"])

    @cached_property
    def photos(self) -> list[Path]:
        """Of a checkerboard with 9 × 6 inner corners, 1280 × 960."""
        return sorted((self.samples / "checkerboard").glob("*.jpg"))

    @cached_property
    def stereo(self) -> tuple[Gray, Gray]:
        """A pair, 640 × 480. It is not rectified: the time of dense matching does not depend on what is seen."""
        left, right = (
            np.asarray(cv2.imread(str(sorted((self.samples / "stereo" / side).glob("*"))[0]), cv2.IMREAD_GRAYSCALE))
            for side in ("left", "right")
        )
        return np.ascontiguousarray(left, np.uint8), np.ascontiguousarray(right, np.uint8)

    @cached_property
    def depth_frames(self) -> list[DepthFrame]:
        """Depth and colour 320 × 240 of the walk, with true poses."""
        folder = self.samples / "rgbd"
        camera = Camera.from_dict(json.loads((folder / "intrinsics.json").read_text(encoding="utf-8")))
        poses = np.loadtxt(folder / "poses.txt").reshape(-1, 3, 4)
        frames = []
        for pose, depth, color in zip(
            poses, sorted((folder / "depth").glob("*")), sorted((folder / "color").glob("*")), strict=True
        ):
            world_from_cam = np.vstack([pose, [0.0, 0.0, 0.0, 1.0]])
            stored = np.asarray(cv2.imread(str(depth), cv2.IMREAD_UNCHANGED))
            rgb = cv2.cvtColor(np.asarray(cv2.imread(str(color))), cv2.COLOR_BGR2RGB)
            metres = (stored / _DEPTH_STEPS_PER_M).astype(np.float32)
            frames.append(DepthFrame(metres, np.asarray(rgb, np.uint8), camera, np.linalg.inv(world_from_cam)))
        return frames

    @cached_property
    def posed(self) -> PosedSet:
        """Four of those pictures with true poses, and points on what they see."""
        files = sorted((self.samples / "rgbd" / "color").glob("*"))
        frames = [self.depth_frames[i] for i in _POSED]
        points = np.concatenate([_points_of(frame) for frame in frames])
        views = tuple(
            PosedView(Picture(files[i].name, files[i]), frame.camera, frame.cam_from_world, _seen(points, frame))
            for i, frame in zip(_POSED, frames, strict=True)
        )
        return PosedSet(views, points, is_metric=True)


def _points_of(frame: DepthFrame) -> NDArray[np.float64]:
    """Points in the world on a coarse grid of pixels, (n, 3)."""
    height, width = frame.depth.shape
    v, u = (grid.ravel() for grid in np.mgrid[0:height:_GRID_PX, 0:width:_GRID_PX])
    depth = frame.depth[v, u].astype(np.float64)
    fx, fy, cx, cy = frame.camera.params[:4]
    points = np.stack([(u - cx) / fx * depth, (v - cy) / fy * depth, depth], axis=1)[depth > 0.0]
    rotation, shift = frame.cam_from_world[:3, :3], frame.cam_from_world[:3, 3]
    return np.asarray((points - shift) @ rotation, np.float64)


def _seen(points: NDArray[np.float64], frame: DepthFrame) -> NDArray[np.intp]:
    """Which points of the world a picture sees, by its depth."""
    there = points @ frame.cam_from_world[:3, :3].T + frame.cam_from_world[:3, 3]
    ahead = np.flatnonzero(there[:, 2] > 0.1)
    u, v = np.rint(frame.camera.project(there[ahead])).astype(int).T
    height, width = frame.depth.shape
    inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
    measured = frame.depth[v[inside], u[inside]]
    z = there[ahead[inside], 2]
    seen: NDArray[np.intp] = ahead[inside][np.abs(measured - z) < _SAME_DEPTH * z]
    return seen
