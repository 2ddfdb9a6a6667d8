"""COLMAP's sparse model: written and read back, read by COLMAP itself, and what is wrong with a bad one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.formats.colmap_reconstruction import (
    CAMERAS_FILE,
    IMAGES_FILE,
    POINTS_FILE,
    ReconstructedImage,
    Reconstruction,
    read_reconstruction,
    write_reconstruction,
)
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.transforms import SO3

CAMERA = Camera("brown4", 640, 480, (500.0, 510.0, 321.0, 238.0, -0.1, 0.02, 0.001, -0.002))


def scene(images: int = 4, points: int = 30) -> Reconstruction:
    """Points before cameras that stand side by side; each sees every second point, and one keypoint of none."""
    generator = np.random.default_rng(1)
    positions = generator.uniform([-1, -1, 3], [1, 1, 5], (points, 3))
    made = []
    for number in range(images):
        seen = np.arange(number % 2, points, 2)
        pose = cam_from_world(0.02 * number, [-0.1 * number, 0.01, 0.0])
        pixels = CAMERA.project(positions[seen] @ pose[:3, :3].T + pose[:3, 3])
        pixels = np.concatenate([pixels, [[3.0, 4.0]]])
        made.append(ReconstructedImage(f"bîld {number}.png", 0, pose, pixels, np.append(seen, -1)))
    colors = generator.integers(0, 256, (points, 3)).astype(np.uint8)
    errors = np.where(np.arange(points) % 3 == 0, np.nan, 0.25)
    return Reconstruction((CAMERA,), tuple(made), positions, colors, errors)


def cam_from_world(turn: float, translation: list[float]) -> NDArray[np.float64]:
    import torch

    pose = np.eye(4)
    pose[:3, :3] = SO3.exp(torch.tensor([0.0, turn, 0.01], dtype=torch.float64)).as_matrix().numpy()
    pose[:3, 3] = translation
    return pose


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = scene()
    assert write_reconstruction(tmp_path / "new", written) == (CAMERAS_FILE, IMAGES_FILE, POINTS_FILE)
    back = read_reconstruction(tmp_path / "new")
    assert back.cameras == written.cameras
    for name in ("points", "colors", "errors"):
        np.testing.assert_array_equal(getattr(back, name), getattr(written, name))
    for ours, theirs in zip(written.images, back.images, strict=True):
        assert (ours.name, ours.camera) == (theirs.name, theirs.camera)
        np.testing.assert_array_equal(ours.points, theirs.points)
        np.testing.assert_allclose(theirs.pixels, ours.pixels, rtol=0.0, atol=1e-12)
        np.testing.assert_allclose(theirs.cam_from_world, ours.cam_from_world, rtol=0.0, atol=1e-15)


def test_nothing_but_a_camera_is_written_and_read_back(tmp_path: Path) -> None:
    written = scene(images=0, points=0)
    write_reconstruction(tmp_path, written)
    back = read_reconstruction(tmp_path)
    assert (len(back.cameras), len(back.images), back.points.shape) == (1, 0, (0, 3))


def test_colmap_reads_it_and_projects_points_onto_their_keypoints(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    written = scene()
    write_reconstruction(tmp_path, written)
    theirs = pycolmap.Reconstruction(str(tmp_path))
    assert (theirs.num_cameras(), theirs.num_images(), theirs.num_points3D()) == (1, 4, 30)
    for number, image in enumerate(written.images, 1):
        one = theirs.images[number]
        assert one.name == image.name
        for keypoint in one.points2D:
            if keypoint.has_point3D():
                seen = one.project_point(theirs.points3D[keypoint.point3D_id].xyz)
                np.testing.assert_allclose(seen, keypoint.xy, atol=1e-6)
    tracks = [theirs.points3D[number].track.length() for number in range(1, 31)]
    assert tracks == [2] * 30
    np.testing.assert_array_equal(theirs.points3D[7].color, written.colors[6])


def test_what_colmap_writes_is_read(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    written = scene()
    write_reconstruction(tmp_path, written)
    again = tmp_path / "again"
    again.mkdir()
    pycolmap.Reconstruction(str(tmp_path)).write_binary(str(again))
    back = read_reconstruction(again)
    assert {image.name for image in back.images} == {image.name for image in written.images}
    for image in back.images:
        pose = image.cam_from_world
        points = back.points[image.points[image.points >= 0]]
        pixels = back.cameras[image.camera].project(points @ pose[:3, :3].T + pose[:3, 3])
        np.testing.assert_allclose(pixels, image.pixels[image.points >= 0], atol=1e-6)


@pytest.mark.parametrize("name", [CAMERAS_FILE, IMAGES_FILE, POINTS_FILE])
def test_a_file_that_is_cut_off_too_long_or_missing_is_named(name: str, tmp_path: Path) -> None:
    write_reconstruction(tmp_path, scene())
    data = (tmp_path / name).read_bytes()
    for bad in (data[:-1], data[: len(data) // 2], data[:5], data + b"\0"):
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(FormatError, match=name):
            read_reconstruction(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=name):
        read_reconstruction(tmp_path)


def test_pictures_of_unknown_cameras_or_points_are_refused(tmp_path: Path) -> None:
    whole = scene()
    write_reconstruction(tmp_path, whole)
    write_reconstruction(tmp_path / "few", scene(points=5))
    (tmp_path / POINTS_FILE).write_bytes((tmp_path / "few" / POINTS_FILE).read_bytes())
    with pytest.raises(FormatError, match="shows a point that"):
        read_reconstruction(tmp_path)
    images = tuple(replace(image, camera=1) for image in whole.images)
    write_reconstruction(tmp_path, replace(whole, images=images))
    with pytest.raises(FormatError, match="is of camera 2"):
        read_reconstruction(tmp_path)


def test_a_camera_that_colmap_does_not_have_is_refused(tmp_path: Path) -> None:
    camera = Camera("double_sphere", 640, 480, (500.0, 500.0, 320.0, 240.0, 0.1, 0.6))
    with pytest.raises(FormatError, match="double_sphere"):
        write_reconstruction(tmp_path, replace(scene(), cameras=(camera,)))
