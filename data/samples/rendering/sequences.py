"""The moving samples: a hand-held video clip of the room, and an RGB-D sequence from the same path."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rendering.calibration_sets import write_json
from rendering.lens import Brown, Floats, Lens
from rendering.photo import Picture, Sensor, expose, save_jpeg
from rendering.room import Room
from rendering.solids import Triangles
from rendering.trajectory import HandHeld, quaternion_xyzw

_CHUNK = 80_000
_MAGIC = np.array([[2, 7, 6], [9, 5, 1], [4, 3, 8]]) - 5
"""Order in which the nine rays of a pixel are taken: a magic square, so that time and place do not correlate."""


@dataclass(frozen=True)
class Clip:
    """A video of the room: every frame's pose is that of the middle of its exposure."""

    lens: Brown
    path: HandHeld
    frames: int
    fps: int
    shutter: float
    """Exposure time, seconds."""
    seed: int
    quality: int
    """x264's constant rate factor."""

    def time(self, frame: int) -> float:
        """Stamp of a frame, seconds."""
        return frame / self.fps

    def frame(self, index: int) -> Picture:
        """One rendered frame: nine rays a pixel, each at its own moment of the exposure."""
        room, offsets = _room(self.seed), (np.arange(3) - 1) / 3.0
        light = np.zeros((self.lens.height, self.lens.width, 3))
        for row in range(3):
            for col in range(3):
                moment = self.time(index) + self.shutter * _MAGIC[row, col] / 9.0
                rays = _grid_rays(self.lens, (offsets[col], offsets[row]))
                light += _look(room, self.path.world_from_cam(moment), rays, self.lens) / 9.0
        drift = 1.15 * (1.0 + 0.13 * math.sin(2.0 * math.pi * index / self.frames + 0.7))
        return expose(light, Sensor(0.45, drift, 0.22), np.random.default_rng([self.seed, index]))

    def render(self, folder: Path, workers: int) -> None:
        """Write the video, the ground truth, the trajectory and the mesh."""
        folder.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(workers) as pool:
            encode(folder / "room.mp4", pool.map(self.frame, range(self.frames)), self.fps, self.quality)
        poses = [self.path.world_from_cam(self.time(index)) for index in range(self.frames)]
        truth = {
            "camera": self.lens.describe(),
            "fps": self.fps,
            "frame_count": self.frames,
            "shutter_s": self.shutter,
            "frames": [
                {"index": index, "time_s": self.time(index), "world_from_cam": pose.tolist()}
                for index, pose in enumerate(poses)
            ],
        }
        write_json(folder / "room_ground_truth.json", truth)
        lines = ["# time_s tx ty tz qx qy qz qw: world_from_cam"]
        for index, pose in enumerate(poses):
            values = (*pose[:3, 3], *quaternion_xyzw(pose[:3, :3]))
            lines.append(f"{self.time(index):.6f} " + " ".join(f"{value:.9f}" for value in values))
        (folder / "room_trajectory.tum").write_text("\n".join(lines) + "\n", encoding="utf-8")
        write_ply(folder / "room_mesh.ply", _room(self.seed).triangles())


@dataclass(frozen=True)
class DepthSequence:
    """Colour and depth pictures of a part of a clip, through an ideal pinhole camera."""

    clip: Clip
    lens: Brown
    every: int
    """Every how many frames of the clip."""
    count: int
    noise: float = 1.5e-3
    """Standard deviation of depth per square metre of depth, 1/m (Khoshelham and Elberink, 2012)."""
    step: float = 2e-3
    """Inverse depth is rounded to multiples of this, as a structured-light sensor rounds its disparity, 1/m."""
    grazing_deg: float = 78.0
    """Angle of incidence beyond which the sensor sees nothing."""

    def clip_frame(self, index: int) -> int:
        """The clip's frame that shows the same moment."""
        return index * self.every

    def colour(self, index: int) -> Picture:
        """One colour picture, sharp, nine rays a pixel."""
        room, pose = _room(self.clip.seed), self._pose(index)
        light = np.zeros((self.lens.height, self.lens.width, 3))
        for x in (-1, 0, 1):
            for y in (-1, 0, 1):
                light += _look(room, pose, _grid_rays(self.lens, (x / 3.0, y / 3.0)), self.lens) / 9.0
        return expose(light, Sensor(0.4, 1.15, 0.0), np.random.default_rng([self.clip.seed, 1, index]))

    def depth_m(self, index: int) -> tuple[Floats, Floats]:
        """Exact depth along z (h, w) in metres through the pixel centres, and the cosine of incidence (h, w)."""
        pose, rays = self._pose(index), _grid_rays(self.lens, (0.0, 0.0))
        distance, cosine = _room(self.clip.seed).depth(pose[:3, 3], pose[:3, :3] @ rays)
        shape = (self.lens.height, self.lens.width)
        return (distance * rays[2]).reshape(shape), cosine.reshape(shape)

    def depth_mm(self, index: int) -> NDArray[np.uint16]:
        """One depth picture as the sensor gives it: 16 bits, millimetres, 0 where it sees nothing."""
        exact, cosine = self.depth_m(index)
        rng = np.random.default_rng([self.clip.seed, 2, index])
        # A structured-light sensor matches windows: its noise is smooth over about a window.
        grain = cv2.GaussianBlur(rng.standard_normal(exact.shape), (0, 0), 1.5)
        measured = exact + self.noise * exact**2 * grain / grain.std()
        rounded = np.rint(1000.0 / (self.step * np.rint(1.0 / (self.step * measured))))
        seen = cosine > math.cos(math.radians(self.grazing_deg))
        return np.where(seen, rounded, 0.0).astype(np.uint16)

    def write(self, folder: Path, index: int) -> None:
        """Write one colour picture and one depth picture."""
        save_jpeg(folder / "color" / f"{index:06d}.jpg", self.colour(index), 85)
        path = folder / "depth" / f"{index:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), self.depth_mm(index), [cv2.IMWRITE_PNG_COMPRESSION, 9]):
            raise OSError(f"cannot write {path}")

    def render(self, folder: Path, workers: int) -> None:
        """Write all pictures, the intrinsics, the times and the poses."""
        folder.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(self.write, [folder] * self.count, range(self.count)))
        camera = {**self.lens.describe(), "depth_scale": 1000.0, "depth_none": 0}
        (folder / "intrinsics.json").write_text(json.dumps(camera, indent=1) + "\n", encoding="utf-8")
        lens = self.lens
        matrix = [[lens.fx, 0.0, lens.cx], [0.0, lens.fy, lens.cy], [0.0, 0.0, 1.0]]
        _write_rows(folder / "camera-intrinsics.txt", matrix)
        _write_rows(folder / "times.txt", [[self.clip.time(self.clip_frame(i))] for i in range(self.count)])
        _write_rows(folder / "poses.txt", [self._pose(i)[:3].ravel().tolist() for i in range(self.count)])

    def _pose(self, index: int) -> Floats:
        return self.clip.path.world_from_cam(self.clip.time(self.clip_frame(index)))


@lru_cache(maxsize=1)
def _room(seed: int) -> Room:
    """The room, furnished once a process."""
    return Room(seed)


@lru_cache(maxsize=9)
def _grid_rays(lens: Lens, offset: tuple[float, float]) -> Floats:
    """Rays (3, h*w) through all pixels, at an offset from their centres."""
    columns, rows = np.arange(lens.width) + offset[0], np.arange(lens.height) + offset[1]
    return lens.rays(np.stack(np.meshgrid(columns, rows)).reshape(2, -1))


def _look(room: Room, world_from_cam: Floats, rays: Floats, lens: Lens) -> Floats:
    """Light (h, w, 3) along camera-frame rays (3, h*w)."""
    parts = [
        room.radiance(world_from_cam[:3, 3], world_from_cam[:3, :3] @ rays[:, start : start + _CHUNK])
        for start in range(0, rays.shape[1], _CHUNK)
    ]
    return np.concatenate(parts, axis=1).T.reshape(lens.height, lens.width, 3)


def encode(path: Path, pictures: Iterable[Picture] | Iterator[Picture], fps: int, quality: int) -> None:
    """Write an H.264 video, 4:2:0, one thread so that the same pictures give the same file."""
    with av.open(str(path), "w", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, fps)
        stream.codec_context.thread_count = 1
        stream.options = {"crf": str(quality), "preset": "slow", "g": str(fps)}
        for index, picture in enumerate(pictures):
            if index == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_ply(path: Path, mesh: Triangles) -> None:
    """Write a triangle mesh as binary little-endian PLY, metres."""
    vertices, faces = mesh
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(faces), np.dtype([("count", "u1"), ("indices", "<i4", 3)]))
    rows["count"], rows["indices"] = 3, faces
    path.write_bytes(header.encode("ascii") + vertices.astype("<f4").tobytes() + rows.tobytes())


def _write_rows(path: Path, rows: Iterable[Iterable[float]]) -> None:
    path.write_text("\n".join(" ".join(f"{v:.9f}" for v in row) for row in rows) + "\n", encoding="utf-8")


CLIP = Clip(
    lens=Brown(640, 480, 525.3, 524.6, 322.4, 238.1, -0.06, 0.02, 0.0003, -0.0002, 0.0),
    path=HandHeld(110 / 30, 11),
    frames=110,
    fps=30,
    shutter=1 / 90,
    seed=404,
    quality=22,
)
DEPTH_SEQUENCE = DepthSequence(CLIP, Brown(320, 240, 262.5, 262.5, 160.2, 119.4), every=3, count=30)
