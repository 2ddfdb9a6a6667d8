"""Where tracked points truly are: rays through the sample room's mesh, depth and poses of 7-Scenes, poses of KITTI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import open3d as o3d
from numpy.typing import NDArray

from cv3d.features.tracks.tracks import Tracks
from cv3d.geometry.cameras.camera import Camera

Floats = NDArray[np.float64]
SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"


@dataclass(frozen=True)
class GrayFrame:
    """A decoded frame."""

    time: float
    pixels: NDArray[np.uint8]

    def gray(self) -> NDArray[np.uint8]:
        return self.pixels


class Room:
    """The rendered room: exact cameras and mesh."""

    name = "room.mp4"
    wrong = 3.0
    """A track that is farther than this from its point is wrong, pixels."""

    def __init__(self) -> None:
        truth = json.loads((SAMPLES / "room_ground_truth.json").read_text())
        self.camera = Camera.from_dict(truth["camera"])
        self.world_from_cam = np.array([frame["world_from_cam"] for frame in truth["frames"]])
        self.times = [frame["time_s"] for frame in truth["frames"]]
        self._scene = o3d.t.geometry.RaycastingScene()
        self._scene.add_triangles(
            o3d.t.geometry.TriangleMesh.from_legacy(o3d.io.read_triangle_mesh(str(SAMPLES / "room_mesh.ply")))
        )

    def frames(self) -> Iterator[GrayFrame]:
        from cv3d.media import video_frames

        with video_frames(SAMPLES / "room.mp4") as frames:
            for frame in frames:
                yield GrayFrame(frame.time, frame.gray())

    def points(self, frame: int, pixels: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """World points (n, 3) seen at pixels (n, 2), and where the surface around is one piece."""
        depths = []
        offsets = np.array([[0, 0], [2.5, 0], [-2.5, 0], [0, 2.5], [0, -2.5]])
        for offset in offsets:
            rays, starts = self._rays(frame, pixels + offset)
            hit = self._cast(starts, rays)
            depths.append(hit)
        depth = np.stack(depths)
        rays, starts = self._rays(frame, pixels)
        with np.errstate(invalid="ignore"):
            is_sure = np.isfinite(depth).all(0) & ((depth.max(0) - depth.min(0)) < 0.03 * depth[0])
        return starts + rays * depth[0][:, None], is_sure

    def project(self, frame: int, points: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Pixels (n, 2) of world points, and whether each is inside the picture and in sight."""
        cam_from_world = np.linalg.inv(self.world_from_cam[frame])
        local = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        pixels = self.camera.project(local)
        inside = local[:, 2] > 0.05
        with np.errstate(invalid="ignore"):
            inside &= (pixels >= 0).all(1) & (pixels <= [self.camera.width - 1, self.camera.height - 1]).all(1)
        centre = self.world_from_cam[frame][:3, 3]
        way = points - centre
        distance = np.linalg.norm(way, axis=1)
        hit = self._cast(np.broadcast_to(centre, points.shape), way / distance[:, None])
        return pixels, inside & (hit > distance - 0.01)

    def _rays(self, frame: int, pixels: Floats) -> tuple[Floats, Floats]:
        pose = self.world_from_cam[frame]
        rays = self.camera.unproject(pixels) @ pose[:3, :3].T
        return rays, np.broadcast_to(pose[:3, 3], rays.shape)

    def _cast(self, starts: Floats, rays: Floats) -> Floats:
        six = np.concatenate([starts, rays], 1).astype(np.float32)
        return self._scene.cast_rays(o3d.core.Tensor(six))["t_hit"].numpy().astype(np.float64)


class SevenScenes:
    """Kinect depth and KinectFusion poses of the depth camera.

    The set says nothing of the colour camera. Its focal length is the sensor's usual one; where it sits beside the
    depth camera was fitted to SIFT matches of 9 pairs of frames, which this truth then meets within 3.6 px (median, 15
    to 30 frames apart; 7.7 px without): frames were not taken at the same moment, and the shutter rolls. So it tells
    who drifts more, not by how much one errs.
    """

    name = "7-Scenes"
    wrong = 10.0
    _DEPTH_FOCAL = 585.0
    _COLOUR_FROM_DEPTH = np.array([-0.027, 0.004, 0.0])

    def __init__(self, root: Path, count: int = 250) -> None:
        self._folder = root / "rgbd" / "seven_scenes"
        self.camera = Camera("pinhole", 640, 480, (525.0, 525.0, 320.0, 240.0))
        self._stems = sorted(path.name[:12] for path in self._folder.glob("*.pose.txt"))[:count]
        self.world_from_cam = np.array([np.loadtxt(self._folder / f"{stem}.pose.txt") for stem in self._stems])
        self.times = [i / 30.0 for i in range(len(self._stems))]
        self._depths: dict[int, Floats] = {}

    def frames(self) -> Iterator[GrayFrame]:
        for stem, time in zip(self._stems, self.times, strict=True):
            gray = cv2.imread(str(self._folder / f"{stem}.color.jpg"), cv2.IMREAD_GRAYSCALE)
            yield GrayFrame(time, np.asarray(gray, np.uint8))

    def points(self, frame: int, pixels: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        depth = self._depth(frame)
        rays = self.camera.unproject(pixels)
        rays = rays / rays[:, 2:]
        places, z = pixels, self._at(depth, pixels)
        for _ in range(4):
            places = self._depth_pixels(rays * z[:, None] - self._COLOUR_FROM_DEPTH)
            z = self._at(depth, places)
        around = np.stack([self._at(depth, places + offset) for offset in ([0, 0], [4, 0], [-4, 0], [0, 4], [0, -4])])
        is_sure = (around > 0).all(0) & ((around.max(0) - around.min(0)) < 0.03 * z)
        pose = self.world_from_cam[frame]
        local = rays * z[:, None] - self._COLOUR_FROM_DEPTH
        return local @ pose[:3, :3].T + pose[:3, 3], is_sure

    def project(self, frame: int, points: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        cam_from_world = np.linalg.inv(self.world_from_cam[frame])
        local = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        pixels = self.camera.project(local + self._COLOUR_FROM_DEPTH)
        inside = local[:, 2] > 0.05
        with np.errstate(invalid="ignore"):
            inside &= (pixels >= 0).all(1) & (pixels <= [639, 479]).all(1)
        seen = self._at(self._depth(frame), self._depth_pixels(np.where(inside[:, None], local, [0.0, 0.0, 1.0])))
        return pixels, inside & (seen > 0) & (np.abs(seen - local[:, 2]) < 0.05 * local[:, 2])

    def _depth_pixels(self, local: Floats) -> Floats:
        return local[:, :2] / np.maximum(local[:, 2:], 0.05) * self._DEPTH_FOCAL + [320.0, 240.0]

    def _depth(self, frame: int) -> Floats:
        if frame not in self._depths:
            stored = cv2.imread(str(self._folder / f"{self._stems[frame]}.depth.png"), cv2.IMREAD_UNCHANGED)
            self._depths[frame] = np.where(stored == 65535, 0, stored) / 1000.0
        return self._depths[frame]

    @staticmethod
    def _at(depth: Floats, pixels: Floats) -> Floats:
        x, y = np.rint(pixels).astype(int).T
        return depth[y.clip(0, depth.shape[0] - 1), x.clip(0, depth.shape[1] - 1)]


class Kitti:
    """A car's camera with true poses and no depth: errors are distances from epipolar lines."""

    name = "KITTI"

    def __init__(self, root: Path) -> None:
        self._folder = root / "vo" / "kitti_a"
        projection = np.loadtxt(self._folder / "calib.txt")[0].reshape(3, 4)
        self.matrix = projection[:, :3]
        poses = np.loadtxt(self._folder / "poses.txt").reshape(-1, 3, 4)
        self.world_from_cam = np.concatenate([poses, np.tile([[[0.0, 0, 0, 1]]], (len(poses), 1, 1))], 1)
        self._files = sorted((self._folder / "image_l").iterdir())
        self.times = [i / 10.0 for i in range(len(self._files))]

    def frames(self) -> Iterator[GrayFrame]:
        for path, time in zip(self._files, self.times, strict=True):
            yield GrayFrame(time, np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8))

    def epipolar_errors(self, tracks: Tracks) -> tuple[Floats, NDArray[np.int64]]:
        """Distance of each later observation from the epipolar line of its track's first, and its age in frames."""
        errors, ages = [], []
        inverse = np.linalg.inv(self.matrix)
        for track in tracks.ids:
            rows = tracks.of_track(int(track))
            first = rows[0]
            if tracks.frame[first] < 15:  # the poses of the first frames turn otherwise than the pictures
                continue
            for row in rows[1:]:
                relative = (
                    np.linalg.inv(self.world_from_cam[tracks.frame[row]]) @ self.world_from_cam[tracks.frame[first]]
                )
                t = relative[:3, 3]
                cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
                line = inverse.T @ cross @ relative[:3, :3] @ inverse @ np.append(tracks.pixels[first], 1.0)
                errors.append(abs(line @ np.append(tracks.pixels[row], 1.0)) / np.hypot(*line[:2]))
                ages.append(tracks.frame[row] - tracks.frame[first])
        return np.array(errors), np.array(ages, np.int64)


@dataclass(frozen=True)
class Scored:
    """Every observation after a track's first whose truth is known, and every one that could have been."""

    errors: Floats
    """(n,) distance from the point's true place, pixels."""
    offsets: Floats
    """(n, 2) tracked minus true place, pixels."""
    ages: NDArray[np.int64]
    """(n,) frames since the track's first."""
    rows: NDArray[np.int64]
    """(n,) rows of the tracks' arrays."""
    visible_ages: NDArray[np.int64]
    """(m,) for each point and later frame in which it is truly in sight: frames since the track's first."""
    kept: NDArray[np.bool_]
    """(m,) whether the track observes the point there, and is right."""
    hidden: int
    """Observations of points that are out of sight there."""


def score(tracks: Tracks, truth: Room | SevenScenes) -> Scored:
    """Hold tracks against the truth. A track's point is the one at its first observation."""
    ids = tracks.ids
    first_rows = np.array([tracks.of_track(int(i))[0] for i in ids])
    points = np.zeros((len(ids), 3))
    sure = np.zeros(len(ids), bool)
    for frame in np.unique(tracks.frame[first_rows]):
        chosen = np.flatnonzero(tracks.frame[first_rows] == frame)
        points[chosen], sure[chosen] = truth.points(int(frame), tracks.pixels[first_rows[chosen]].astype(np.float64))
    begins = tracks.frame[first_rows]
    offsets, ages, rows, visible_ages, kept, hidden = [], [], [], [], [], 0
    for frame in range(tracks.frame_count):
        started = np.flatnonzero(sure & (begins < frame))
        if not len(started):
            continue
        true, in_sight = truth.project(frame, points[started])
        window = tracks.in_frame(frame)
        row_of = np.full(len(ids), -1)
        row_of[np.searchsorted(ids, tracks.track[window])] = np.arange(window.start, window.stop)
        row = row_of[started]
        seen = row >= 0
        offset = tracks.pixels[row] - true
        right = seen & (np.linalg.norm(offset, axis=1) < truth.wrong)
        visible_ages.append((frame - begins[started])[in_sight])
        kept.append(right[in_sight])
        both = seen & in_sight
        hidden += int((seen & ~in_sight).sum())
        offsets.append(offset[both])
        rows.append(row[both])
        ages.append((frame - begins[started])[both])
    offsets_all = np.concatenate(offsets)
    return Scored(
        np.linalg.norm(offsets_all, axis=1),
        offsets_all,
        np.concatenate(ages),
        np.concatenate(rows),
        np.concatenate(visible_ages),
        np.concatenate(kept),
        hidden,
    )
