"""A folder of inputs for every command, as small as they can be: made from the rendered samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

FRAMES = 8
"""Of the recording."""


def make_tiny_inputs(samples: Path, folder: Path) -> Path:
    """Fill `folder` and return it.

    It gets board/ (pictures of a 9x6 checkerboard, 25 mm), left/ and right/ (a pair, 7x5, 40 mm), rgbd/ (colour, depth,
    poses, times, calibration), clip.mp4, truth.tum, truth.ply, known/ (two pictures with poses in transforms.json) and
    list.txt, which names the colour pictures.
    """
    _copy(sorted((samples / "checkerboard").glob("*.jpg"))[:5], folder / "board")
    for side in ("left", "right"):
        _copy(sorted((samples / "stereo" / side).glob("*"))[:4], folder / side)
    recording = samples / "rgbd"
    for kind in ("color", "depth"):
        _copy(sorted((recording / kind).glob("*"))[:FRAMES], folder / "rgbd" / kind)
    for name in ("poses.txt", "times.txt"):
        lines = (recording / name).read_text(encoding="utf-8").splitlines(keepends=True)[:FRAMES]
        (folder / "rgbd" / name).write_text("".join(lines), encoding="utf-8")
    _copy([recording / "camera-intrinsics.txt", recording / "intrinsics.json"], folder / "rgbd")
    pictures = sorted((folder / "rgbd" / "color").glob("*"))
    (folder / "list.txt").write_text("".join(f"{picture}\n" for picture in pictures[:4]), encoding="utf-8")
    shutil.copy(samples / "room_trajectory.tum", folder / "truth.tum")
    shutil.copy(samples / "room_mesh.ply", folder / "truth.ply")
    _clip(samples / "room.mp4", folder / "clip.mp4")
    _known(folder, pictures)
    return folder


def _copy(files: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, folder)


def _clip(source: Path, target: Path) -> None:
    """The first second of a clip, at half its size."""
    video = cv2.VideoCapture(str(source))
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (320, 240))
    for _ in range(30):
        writer.write(cv2.resize(video.read()[1], (320, 240), interpolation=cv2.INTER_AREA))
    writer.release()
    video.release()


def _known(folder: Path, pictures: list[Path]) -> None:
    """Two pictures with their true poses, as nerfstudio has them, and the camera by itself."""
    camera = json.loads((folder / "rgbd" / "intrinsics.json").read_text(encoding="utf-8"))
    params = camera["params"]
    plain = {"schema": "cv3d.camera/1", **{key: camera[key] for key in ("model", "width", "height", "params")}}
    (folder / "camera.json").write_text(json.dumps(plain), encoding="utf-8")
    poses = np.loadtxt(folder / "rgbd" / "poses.txt").reshape(-1, 3, 4)
    (folder / "known").mkdir()
    frames = []
    for index in (0, 3):
        shutil.copy(pictures[index], folder / "known")
        pose = np.vstack([poses[index], [0.0, 0.0, 0.0, 1.0]]) @ np.diag([1.0, -1.0, -1.0, 1.0])
        frames.append({"file_path": pictures[index].name, "transform_matrix": pose.tolist()})
    content = {"fl_x": params["fx"], "fl_y": params["fy"], "cx": params["cx"] + 0.5, "cy": params["cy"] + 0.5}
    content |= {"w": camera["width"], "h": camera["height"], "frames": frames}
    (folder / "known" / "transforms.json").write_text(json.dumps(content), encoding="utf-8")
