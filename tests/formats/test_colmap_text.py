"""COLMAP's sparse model as text: written and read back, read by COLMAP itself, and what is wrong with a bad one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cv3d.errors import FormatError, InputError
from cv3d.formats.colmap_reconstruction import ReconstructedImage, Reconstruction, write_reconstruction
from cv3d.formats.colmap_text import CAMERAS_FILE, IMAGES_FILE, POINTS_FILE, read_text, write_text
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.transforms import SO3

CAMERA = Camera("brown4", 640, 480, (500.0, 510.0, 321.0, 238.0, -0.1, 0.02, 0.001, -0.002))
SECOND = Camera("kannala_brandt4", 800, 600, (400.0, 401.0, 399.0, 301.0, 0.01, 0.0, 0.0, 0.0))


def scene(points: int = 30) -> Reconstruction:
    """Two cameras' pictures of points; the last picture has no keypoint at all."""
    import torch

    generator = np.random.default_rng(1)
    positions = generator.uniform([-1, -1, 3], [1, 1, 5], (points, 3))
    images = []
    for number in range(4):
        pose = np.eye(4)
        turn = torch.tensor([0.01, 0.02 * number, 0.3], dtype=torch.float64)
        pose[:3, :3] = SO3.exp(turn).as_matrix().numpy()
        pose[:3, 3] = [-0.1 * number, 1e-9, 0.02]
        seen = np.arange(number % 2, points, 2) if number < 3 else np.zeros(0, np.intp)
        camera = (CAMERA, SECOND)[number % 2]
        pixels = camera.project(positions[seen] @ pose[:3, :3].T + pose[:3, 3])
        extra = np.array([[3.0, 4.0]]) if number < 3 else np.zeros((0, 2))
        ids = np.append(seen, -np.ones(len(extra), np.intp)).astype(np.intp)
        images.append(ReconstructedImage(f"bîld/{number}.png", number % 2, pose, np.append(pixels, extra, 0), ids))
    colors = generator.integers(0, 256, (points, 3)).astype(np.uint8)
    errors = np.where(np.arange(points) % 3 == 0, np.nan, 0.25)
    return Reconstruction((CAMERA, SECOND), tuple(images), positions, colors, errors)


def test_what_is_written_is_read_back_to_the_last_digit(tmp_path: Path) -> None:
    written = scene()
    assert write_text(tmp_path / "new", written) == (CAMERAS_FILE, IMAGES_FILE, POINTS_FILE)
    back = read_text(tmp_path / "new")
    assert back.cameras == written.cameras
    for name in ("points", "colors", "errors"):
        np.testing.assert_array_equal(getattr(back, name), getattr(written, name))
    for ours, theirs in zip(written.images, back.images, strict=True):
        assert (ours.name, ours.camera) == (theirs.name, theirs.camera)
        np.testing.assert_array_equal(ours.points, theirs.points)
        np.testing.assert_allclose(theirs.pixels, ours.pixels, rtol=0.0, atol=1e-12)
        np.testing.assert_allclose(theirs.cam_from_world, ours.cam_from_world, rtol=0.0, atol=1e-15)


def test_colmap_reads_the_text_as_it_reads_the_binary_model(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    written = scene()
    write_text(tmp_path / "text", written)
    write_reconstruction(tmp_path / "binary", written)
    text, binary = (pycolmap.Reconstruction(str(tmp_path / name)) for name in ("text", "binary"))
    assert text.num_points3D() == binary.num_points3D() == len(written.points)
    assert text.num_images() == binary.num_images() == len(written.images)
    for number, image in binary.images.items():
        other = text.images[number]
        assert (other.name, other.camera_id) == (image.name, image.camera_id)
        np.testing.assert_allclose(other.cam_from_world().matrix(), image.cam_from_world().matrix(), atol=1e-14)
        for ours, theirs in zip(image.points2D, other.points2D, strict=True):
            np.testing.assert_array_equal(ours.xy, theirs.xy)
            assert ours.point3D_id == theirs.point3D_id
    for number, point in binary.points3D.items():
        np.testing.assert_array_equal(text.points3D[number].xyz, point.xyz)
        assert [(one.image_id, one.point2D_idx) for one in text.points3D[number].track.elements] == [
            (one.image_id, one.point2D_idx) for one in point.track.elements
        ]


def test_what_colmap_writes_is_read(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    written = scene()
    write_text(tmp_path, written)
    again = tmp_path / "again"
    again.mkdir()
    pycolmap.Reconstruction(str(tmp_path)).write_text(str(again))
    back = read_text(again)
    assert {image.name for image in back.images} == {image.name for image in written.images}
    for image in back.images:
        points = back.points[image.points[image.points >= 0]]
        seen = points @ image.cam_from_world[:3, :3].T + image.cam_from_world[:3, 3]
        pixels = back.cameras[image.camera].project(seen)
        np.testing.assert_allclose(pixels, image.pixels[image.points >= 0], atol=1e-6)


def test_a_name_that_the_text_cannot_say_is_refused(tmp_path: Path) -> None:
    whole = scene()
    for name in ("a b.png", "a\nb.png", ""):
        images = (replace(whole.images[0], name=name), *whole.images[1:])
        with pytest.raises(FormatError, match="not one word"):
            write_text(tmp_path, replace(whole, images=images))


def test_bad_lines_are_named(tmp_path: Path) -> None:
    write_text(tmp_path, scene())
    whole = (tmp_path / IMAGES_FILE).read_text()
    for bad, words in (
        (whole.replace(" 1 bîld", " 9 bîld"), "of camera 9"),
        (whole.replace(" 1 bîld", " x bîld"), "no number"),
        (whole.replace("3.5 4.5 -1", "3.5 4.5 777"), "point 777"),
        (whole.replace("3.5 4.5 -1", "3.5 4.5"), "X Y POINT3D_ID"),
        (whole + "\n5 1 0\n", "should be IMAGE_ID"),
    ):
        (tmp_path / IMAGES_FILE).write_text(bad)
        with pytest.raises(FormatError, match=words):
            read_text(tmp_path)
    (tmp_path / IMAGES_FILE).write_text(whole)
    (tmp_path / POINTS_FILE).write_text("1 2 3\n")
    with pytest.raises(FormatError, match="line 1: should be POINT3D_ID"):
        read_text(tmp_path)
    (tmp_path / POINTS_FILE).unlink()
    with pytest.raises(InputError, match=POINTS_FILE):
        read_text(tmp_path)
