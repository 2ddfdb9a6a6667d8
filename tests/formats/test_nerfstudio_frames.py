"""Frames of a transforms.json: read back by cv3d, and by a reader after nerfstudio's documented convention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats.nerfstudio_frames import read_set, write_set
from cv3d.formats.posed_pictures import PosedPicture
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.transforms import SO3

BROWN = Camera("brown4", 640, 480, (500.0, 510.0, 321.0, 238.0, -0.1, 0.02, 0.001, -0.002))
PLAIN = Camera("pinhole", 320, 240, (250.0, 250.0, 159.5, 119.5))
FISHEYE = Camera("kannala_brandt4", 640, 480, (255.0, 255.4, 321.0, 238.0, 0.05, -0.012, 0.004, -0.001))


def pictures(folder: Path, cameras: list[Camera]) -> list[PosedPicture]:
    import torch

    posed = []
    for number, camera in enumerate(cameras):
        pose = np.eye(4)
        turn = torch.tensor([0.1 * number, 0.5, -0.2], dtype=torch.float64)
        pose[:3, :3] = SO3.exp(turn).as_matrix().numpy()
        pose[:3, 3] = [0.2 * number, -0.1, 1.5]
        file = folder / "photos" / f"{number} ä.jpg"
        posed.append(PosedPicture(file.name, file, camera, pose))
    return posed


def nerfstudio_pixel(meta: dict[str, Any], frame: dict[str, Any], point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where nerfstudio's convention sees a point: OpenGL axes, its OPENCV distortion, pixel centres at one half.

    After docs.nerf.studio, "Data conventions": a frame's intrinsics go where the file's top has none.
    """
    said = {**frame, **meta}
    cam_from_world = np.linalg.inv(np.array(frame["transform_matrix"], np.float64))
    x, y, z = (cam_from_world @ np.append(point, 1.0))[:3]
    x, y = x / -z, -y / -z
    r2 = x * x + y * y
    radial = 1.0 + said.get("k1", 0.0) * r2 + said.get("k2", 0.0) * r2**2 + said.get("k3", 0.0) * r2**3
    p1, p2 = said.get("p1", 0.0), said.get("p2", 0.0)
    u = x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x)
    v = y * radial + 2.0 * p2 * x * y + p1 * (r2 + 2.0 * y * y)
    return np.array([said["fl_x"] * u + said["cx"], said["fl_y"] * v + said["cy"]])


@pytest.mark.parametrize("cameras", [[BROWN] * 3, [BROWN, PLAIN, BROWN]], ids=["shared", "each its own"])
def test_nerfstudio_sees_points_where_the_cameras_do(cameras: list[Camera], tmp_path: Path) -> None:
    written = pictures(tmp_path, cameras)
    write_set(tmp_path / "out" / "transforms.json", written, "points.ply")
    meta = json.loads((tmp_path / "out" / "transforms.json").read_text())
    frames = meta.pop("frames")
    assert meta["ply_file_path"] == "points.ply"
    assert meta["camera_model"] == "OPENCV"
    assert ("fl_x" in meta) == (len(set(cameras)) == 1)
    for picture, frame in zip(written, frames, strict=True):
        assert (tmp_path / "out" / frame["file_path"]).resolve() == picture.file.resolve()
        for point in np.array([[0.1, -0.2, 1.0], [0.4, 0.3, 2.0]]):
            seen = picture.cam_from_world[:3, :3] @ point + picture.cam_from_world[:3, 3]
            expected = picture.camera.project(seen) + 0.5
            np.testing.assert_allclose(nerfstudio_pixel(meta, frame, point), expected, atol=1e-9)


@pytest.mark.parametrize("cameras", [[PLAIN] * 2, [FISHEYE] * 2, [PLAIN, BROWN]])
def test_what_is_written_is_read_back(cameras: list[Camera], tmp_path: Path) -> None:
    written = pictures(tmp_path, cameras)
    write_set(tmp_path / "transforms.json", written)
    for ours, theirs in zip(written, read_set(tmp_path), strict=True):
        assert theirs.file == ours.file
        assert theirs.camera == ours.camera
        np.testing.assert_allclose(theirs.cam_from_world, ours.cam_from_world, atol=1e-14)


def test_fisheyes_and_others_in_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="some cameras are fisheyes"):
        write_set(tmp_path / "transforms.json", pictures(tmp_path, [PLAIN, FISHEYE]))
