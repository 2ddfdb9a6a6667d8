"""Paths made up from exact geometry: nothing is tracked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.geometry.cameras import Camera
from cv3d.geometry.trajectory import Trajectory
from cv3d.odometry.results import FrameResult, KeyFrame, Loop, OdometryResult, Sensor, SparseMap, State

CAMERA = Camera("pinhole", 640, 480, (525.0, 525.0, 319.5, 239.5))


def circle(count: int, radius: float = 2.0, share: float = 0.9) -> NDArray[np.float64]:
    """world_from_cam of a camera that walks round, looking where it goes, (n, 4, 4); the first pose is the world."""
    turn = np.linspace(0.0, share * 2.0 * math.pi, count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 0] = poses[:, 2, 2] = np.cos(turn)
    poses[:, 0, 2], poses[:, 2, 0] = np.sin(turn), -np.sin(turn)
    poses[:, 0, 3] = radius * (1.0 - np.cos(turn))
    poses[:, 2, 3] = radius * np.sin(turn)
    poses[:, 1, 3] = 0.05 * radius * np.sin(3.0 * turn)
    return poses


class ResultMaker:
    """Makes results of odometry."""

    def __call__(
        self,
        frames: int = 120,
        *,
        segments: int = 1,
        loops: int = 1,
        sensor: Sensor = Sensor.RGBD,
        troubles: bool = True,
        truth: bool = True,
        estimated: bool = False,
        interrupted: bool = False,
        warnings: tuple[str, ...] = (),
        camera: Camera = CAMERA,
        tracked: bool = True,
        source: str = "walk.mp4",
        is_timed: bool = True,
    ) -> OdometryResult:
        """A walk round a place; the first of the segments is the largest, and frames between two have no pose."""
        rng = np.random.default_rng(5)
        poses = circle(frames)
        start, numbers = self._segments(frames, segments)
        made = []
        for i in range(frames):
            state, reason = self._state(i, int(numbers[i]), troubles)
            has_pose = tracked and numbers[i] >= 0 and state not in (State.LOST, State.RELOCALIZING)
            is_key = bool(has_pose) and (i - start[numbers[i]]) % 8 == 0
            pose = np.linalg.inv(poses[start[numbers[i]]]) @ poses[i] if has_pose else None
            made.append(
                FrameResult(
                    i,
                    self._time(i),
                    f"walk.mp4#{i:06d}",
                    state if tracked else State.INITIALIZING,
                    reason if tracked else "the camera does not move",
                    pose,
                    int(numbers[i]) if has_pose else -1,
                    int(rng.integers(80, 300)) if has_pose else 0,
                    float(rng.uniform(0.2, 3.0)) if has_pose else math.nan,
                    is_key,
                    float((55.0 if is_key else 14.0) + rng.gamma(2.0, 2.0)),
                )
            )
        keys, sparse = self._map(made, camera, rng)
        closed = tuple(Loop(frames - 1 - 8 * k, 8 * k, 61 + k, k == 1) for k in range(loops if tracked else 0))
        return OdometryResult(
            sensor=sensor,
            camera=camera,
            is_camera_estimated=estimated,
            is_metric=sensor is not Sensor.MONO,
            frames=tuple(made),
            key_frames=keys,
            map=sparse,
            loops=closed,
            warnings=warnings,
            elapsed_s=frames / 40.0,
            focal_deviation=3.21 if estimated else None,
            interrupted=interrupted,
            source=source,
            is_timed=is_timed,
            truth=self._truth(poses) if truth else None,
            truth_source="poses.txt" if truth else "",
        )

    @staticmethod
    def _time(index: int) -> float:
        return 1_700_000_000.25 + index / 30.0

    @staticmethod
    def _segments(frames: int, segments: int) -> tuple[list[int], NDArray[np.intp]]:
        """First frame of each segment, and the segment of every frame; three frames between two belong to none."""
        numbers = np.zeros(frames, np.intp)
        start = [0]
        for number in range(1, segments):
            first = round(frames * (0.55 + 0.45 * number / segments))
            numbers[first - 3 : first] = -1
            numbers[first:] = number
            start.append(first)
        return start, numbers

    @staticmethod
    def _state(i: int, number: int, troubles: bool) -> tuple[State, str]:
        if number < 0:
            return State.LOST, "the place was not found again"
        if not troubles:
            return State.OK, ""
        if i < 4:
            return State.INITIALIZING, "the camera has hardly moved"
        if 30 <= i < 35:
            return State.BLUR, "the picture is blurred: 12 of 240 points were found"
        if 35 <= i < 38:
            return State.RELOCALIZING, "lost: looked for among 5 key frames"
        return State.OK, ""

    @staticmethod
    def _map(
        frames: list[FrameResult], camera: Camera, rng: np.random.Generator
    ) -> tuple[tuple[KeyFrame, ...], SparseMap]:
        """Points before each key frame, exact but for the rounding of their pixels; the last point is seen by none."""
        points: list[NDArray[np.float64]] = []
        segments: list[int] = []
        keys = []
        for frame in frames:
            pose = frame.world_from_cam
            if not frame.is_key or pose is None:
                continue
            pixels = rng.uniform([20, 20], [camera.width - 20, camera.height - 20], (25, 2)).astype(np.float32)
            rays = camera.unproject(pixels.astype(np.float64))
            seen = (rays / rays[:, 2:]) * rng.uniform(2.0, 5.0, (25, 1))
            index = np.arange(len(segments), len(segments) + 25)
            points.append(seen @ pose[:3, :3].T + pose[:3, 3])
            segments += [frame.segment] * 25
            keys.append(KeyFrame(frame.index, frame.time, frame.name, frame.segment, pose, index, pixels))
        points.append(np.full((1, 3), 9.0))
        segments.append(0)
        stacked = np.concatenate(points)
        colors = rng.integers(0, 256, (len(stacked), 3)).astype(np.uint8)
        views = np.ones(len(stacked), np.intp)
        return tuple(keys), SparseMap(stacked, colors, np.array(segments, np.intp), views)

    def _truth(self, poses: NDArray[np.float64]) -> Trajectory:
        """The same walk in another frame, a centimetre off here and there."""
        world = np.eye(4)
        world[:3, :3] = [[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]
        world[:3, 3] = [3.0, -2.0, 1.0]
        true = world @ poses
        true[:, :3, 3] += 0.01 * np.sin(np.arange(len(poses)) / 5.0)[:, None]
        return Trajectory(np.array([self._time(i) for i in range(len(poses))]), true)

    circle = staticmethod(circle)


@pytest.fixture(scope="session")
def make_odometry() -> Callable[..., Any]:
    """Makes results of odometry; see :class:`ResultMaker`."""
    return ResultMaker()
