"""The recordings that odometry is compared on, as every method gets them: frames, cameras and the true path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.formats.reading import read_camera
from cv3d.formats.trajectories import read_trajectory
from cv3d.geometry.cameras import Camera
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.sequences.frame import SequenceFrame


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording on disk."""

    path: Path
    camera: Camera
    rate_hz: float
    times: list[float]
    color: list[Path]
    """Pictures; empty: a video at `path`."""
    truth: Trajectory
    """world_from_cam of the left, or colour, camera, with the frames' stamps."""
    depth: list[Path] = field(default_factory=list)
    right: list[Path] = field(default_factory=list)
    right_camera: Camera | None = None
    left_from_right: NDArray[np.float64] | None = None
    """(4, 4), metres."""

    @property
    def modes(self) -> tuple[str, ...]:
        """What the recording offers."""
        return ("mono", *["stereo"] * bool(self.right), *["rgbd"] * bool(self.depth))

    def frames(self, mode: str) -> Iterator[SequenceFrame]:
        """The frames, each decoded when it is asked for."""
        if not self.color:
            yield from self._video()
            return
        for index, (time, path) in enumerate(zip(self.times, self.color, strict=True)):
            right = cv2.imread(str(self.right[index]), cv2.IMREAD_GRAYSCALE) if mode == "stereo" else None
            depth = read_depth(self.depth[index]) if mode == "rgbd" else None
            gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            yield SequenceFrame(
                index, time, path.name, gray, right, depth, lambda path=path: cv2.imread(str(path))[..., ::-1]
            )

    def _video(self) -> Iterator[SequenceFrame]:
        capture = cv2.VideoCapture(str(self.path))
        for index, time in enumerate(self.times):
            _, picture = capture.read()
            gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
            yield SequenceFrame(index, time, f"{self.path.name}#{index:06d}", gray)
        capture.release()


def read_depth(path: Path) -> NDArray[np.float32]:
    """Metres; 65535 stands for none beside 0."""
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return np.where(raw == 65535, 0, raw).astype(np.float32) / 1000.0


def open_recording(path: Path) -> Recording:
    """A recording in one of the layouts of the test data."""
    if path.suffix == ".mp4":
        return _room(path)
    if (path / "mav0").is_dir():
        return _euroc(path)
    if (path / "image_l").is_dir():
        return _kitti(path)
    return _seven_scenes(path) if list(path.glob("*.pose.txt")) else _plain(path)


def _pinhole(matrix: NDArray[np.float64], picture: Path) -> Camera:
    height, width = cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE).shape
    return Camera("pinhole", width, height, (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]))


def _seven_scenes(path: Path) -> Recording:
    color, depth = sorted(path.glob("*.color.*")), sorted(path.glob("*.depth.png"))
    times = [index / 30.0 for index in range(len(color))]
    truth = Trajectory(np.array(times), read_trajectory(path).world_from_cam)
    camera = _pinhole(np.loadtxt(path / "camera-intrinsics.txt"), color[0])
    return Recording(path, camera, 30.0, times, color, truth, depth)


def _plain(path: Path) -> Recording:
    color, depth = sorted((path / "color").iterdir()), sorted((path / "depth").iterdir())
    times = np.loadtxt(path / "times.txt").tolist()
    camera = _pinhole(np.loadtxt(path / "camera-intrinsics.txt"), color[0])
    rate = 1.0 / float(np.median(np.diff(times)))
    return Recording(path, camera, rate, times, color, read_trajectory(path), depth)


def _kitti(path: Path) -> Recording:
    color = sorted((path / "image_l").iterdir())
    times = [index / 10.0 for index in range(len(color))]
    camera = _pinhole(np.loadtxt(path / "calib.txt")[0].reshape(3, 4), color[0])
    truth = Trajectory(np.array(times), read_trajectory(path / "poses.txt").world_from_cam)
    return Recording(path, camera, 10.0, times, color, truth)


def _euroc(path: Path) -> Recording:
    cameras, pictures, body_from_cam = [], [], []
    for name in ("cam0", "cam1"):
        folder = path / "mav0" / name
        cameras.append(read_camera(folder / "sensor.yaml"))
        pictures.append(sorted((folder / "data").iterdir()))
        storage = cv2.FileStorage(str(folder / "sensor.yaml"), cv2.FILE_STORAGE_READ)
        rows = storage.getNode("T_BS").getNode("data")
        body_from_cam.append(np.array([rows.at(i).real() for i in range(16)]).reshape(4, 4))
    times = [int(picture.stem) / 1e9 for picture in pictures[0]]
    body = read_trajectory(path)
    truth = Trajectory(body.times, body.world_from_cam @ body_from_cam[0])
    left_from_right = np.linalg.inv(body_from_cam[0]) @ body_from_cam[1]
    return Recording(path, cameras[0], 20.0, times, pictures[0], truth, [], pictures[1], cameras[1], left_from_right)


def _room(path: Path) -> Recording:
    known = json.loads((path.parent / "room_ground_truth.json").read_text())
    lens = known["camera"]
    camera = Camera(lens["model"], lens["width"], lens["height"], tuple(lens["params"].values()))
    times = [index / known["fps"] for index in range(known["frame_count"])]
    return Recording(path, camera, known["fps"], times, [], read_trajectory(path.parent / "room_trajectory.tum"))
