"""Other programs at the same stages, where they are installed. They get the same decoded inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from cv3d.bench.inputs import CLIP, Inputs
from cv3d.bench.stages import DISPARITIES, KEYPOINTS, SCENE_FRAMES, VOXEL_M, features_of_pair
from cv3d.bench.timing import Work
from cv3d.compute import Compute

_CV: Any = cv2
"""Whose type stubs lack or narrow some of what is called."""


@dataclass(frozen=True)
class Peer:
    """Another program at a stage. All run on the CPU."""

    stage: str
    name: str
    package: str
    """Whose metadata has its version."""
    note: str
    """What it does differently."""
    start: Callable[[Inputs, Compute], Work]


def _decode(inputs: Inputs, _: Compute) -> Work:
    def run() -> None:
        capture = cv2.VideoCapture(str(inputs.samples / CLIP))
        while True:
            is_there, frame = capture.read()
            if not is_there:
                break
            cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        capture.release()

    return Work(110, run)


def _calibrate(inputs: Inputs, _: Compute) -> Work:
    size = 9, 6
    board = np.zeros((size[0] * size[1], 3), np.float32)
    board[:, :2] = np.mgrid[: size[0], : size[1]].T.reshape(-1, 2)

    def run() -> None:
        pixels = []
        shape = (0, 0)
        for photo in inputs.photos:
            gray = np.asarray(cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE))
            shape = gray.shape[::-1]
            found, corners = cv2.findChessboardCornersSB(gray, size)
            if found:
                pixels.append(corners.astype(np.float32))
        cv2.calibrateCamera([board] * len(pixels), pixels, shape, None, None)

    return Work(len(inputs.photos), run, is_long=True)


def _sift(inputs: Inputs, _: Compute) -> Work:
    sift = _CV.SIFT_create(KEYPOINTS)

    def run() -> None:
        sift.detectAndCompute(inputs.clip[0], None)

    return Work(1, run)


def _brute_force(inputs: Inputs, compute: Compute) -> Work:
    first, second = (one.descriptors[0].cpu().numpy() for one in features_of_pair(inputs, compute))
    matcher = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True)

    def run() -> None:
        matcher.match(first, second)

    return Work(1, run)


def _flow(inputs: Inputs, _: Compute) -> Work:
    frames = inputs.clip[:30]

    def run() -> None:
        points = cv2.goodFeaturesToTrack(frames[0], 500, 0.01, 8)
        for before, after in pairwise(frames):
            moved, _, _ = _CV.calcOpticalFlowPyrLK(before, after, points, None)
            back, _, _ = _CV.calcOpticalFlowPyrLK(after, before, moved, None)
            is_good = np.linalg.norm(back - points, axis=-1)[:, 0] < 1.0
            points = moved[is_good]
            if len(points) < 250:
                points = cv2.goodFeaturesToTrack(after, 500, 0.01, 8)

    return Work(len(frames), run)


def _semi_global(inputs: Inputs, _: Compute) -> Work:
    left, right = inputs.stereo
    mode = cv2.STEREO_SGBM_MODE_HH
    matcher = _CV.StereoSGBM_create(0, DISPARITIES, 5, 200, 800, 1, 0, 10, 100, 2, mode)

    def run() -> None:
        matcher.compute(left, right)

    return Work(1, run)


def _volume_open3d(inputs: Inputs) -> Callable[[], Any]:
    """What fuses the frames into a new volume of Open3D's tensor geometry."""
    o3d: Any = import_module("open3d")
    core = o3d.core
    frames = inputs.depth_frames
    fx, fy, cx, cy = frames[0].camera.params[:4]
    intrinsic = core.Tensor(np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]))
    pictures = [
        (
            o3d.t.geometry.Image(core.Tensor((1000.0 * frame.depth + 0.5).astype(np.uint16))),
            o3d.t.geometry.Image(core.Tensor(np.ascontiguousarray(frame.color))),
            core.Tensor(np.ascontiguousarray(frame.cam_from_world)),
        )
        for frame in frames
    ]

    def fuse() -> Any:  # noqa: ANN401 - a class of a package that need not be there
        types = (core.float32, core.float32, core.float32)
        grid = o3d.t.geometry.VoxelBlockGrid(("tsdf", "weight", "color"), types, ((1), (1), (3)), VOXEL_M, 8, 10000)
        for depth, color, extrinsic in pictures:
            blocks = grid.compute_unique_block_coordinates(depth, intrinsic, extrinsic, 1000.0, 4.0, 4.0)
            grid.integrate(blocks, depth, color, intrinsic, extrinsic, 1000.0, 4.0, 4.0)
        return grid

    return fuse


def _fuse_open3d(inputs: Inputs, _: Compute) -> Work:
    fuse = _volume_open3d(inputs)

    def run() -> None:
        fuse()

    return Work(len(inputs.depth_frames), run)


def _surface_open3d(inputs: Inputs, _: Compute) -> Work:
    grid = _volume_open3d(inputs)()

    def run() -> None:
        if not len(grid.extract_triangle_mesh(3.0).vertex.positions):
            raise ValueError("its surface is empty")

    return Work(1, run)


def _reconstruct_colmap(inputs: Inputs, _: Compute) -> Work:
    import pycolmap

    pycolmap.logging.minloglevel = 2
    pictures = inputs.clip_rgb[:SCENE_FRAMES]

    def run() -> None:
        with TemporaryDirectory(prefix="cv3d-bench-") as folder:
            place = Path(folder)
            images, database, models = place / "images", place / "database.db", place / "models"
            for made in (images, models):
                made.mkdir()
            for number, rgb in enumerate(pictures):
                cv2.imwrite(str(images / f"{number:03}.png"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
            pycolmap.set_random_seed(inputs.seed)
            pycolmap.extract_features(database, images, camera_mode=pycolmap.CameraMode.SINGLE)
            pycolmap.match_exhaustive(database)
            pycolmap.incremental_mapping(database, images, models)

    return Work(len(pictures), run, is_long=True)


PEERS: tuple[Peer, ...] = (
    Peer("decode", "OpenCV", "opencv-python-headless", "in colour, then grey", _decode),
    Peer("calibrate", "OpenCV", "opencv-python-headless", "told the board and the lens model", _calibrate),
    Peer("extract", "OpenCV SIFT", "opencv-python-headless", "another algorithm", _sift),
    Peer("match", "OpenCV BFMatcher", "opencv-python-headless", "the same descriptors", _brute_force),
    Peer("track", "OpenCV LK", "opencv-python-headless", "there and back, no reference patches", _flow),
    Peer("stereo", "OpenCV SGBM", "opencv-python-headless", "eight paths", _semi_global),
    Peer("fuse", "Open3D", "open3d", "no judging of pixels", _fuse_open3d),
    Peer("surface", "Open3D", "open3d", "with normals", _surface_open3d),
    Peer("reconstruct", "COLMAP", "pycolmap", "SIFT, other frames of the clip", _reconstruct_colmap),
)
"""Programs beside whom cv3d is put."""
