"""What a reconstruction leaves: read by COLMAP, by nerfstudio's convention, by Open3D, and by cv3d itself."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cv3d.formats.colmap_reconstruction import read_reconstruction
from cv3d.formats.colmap_text import read_text
from cv3d.formats.nerfstudio_frames import read_set
from cv3d.formats.ply import read_ply
from cv3d.formats.trajectories import read_trajectory
from cv3d.geometry.cameras.camera import Camera
from cv3d.mapping.scene import Scene, SceneCamera, SceneModel
from cv3d.reporting.scene_clouds import world_from_cams
from cv3d.reporting.scene_files import write_scene
from cv3d.reporting.scene_pictures import IMAGES_FOLDER

from ...simulated_scene import BROWN, FISHEYE, PINHOLE, oriented_only, simulated_clip, simulated_scene

SPARSE = ["cameras.bin", "images.bin", "points3D.bin", "cameras.txt", "images.txt", "points3D.txt"]


def with_camera(scene: Scene, camera: Camera) -> Scene:
    """The scene with another camera, whose keypoints are where it sees the points."""
    model = scene.models[0]
    known = replace(model.cameras[0], camera=camera, deviations=(0.0,) * len(camera.params))
    images = []
    for image in model.images:
        shown = image.points >= 0
        pose = image.cam_from_world
        pixels = image.pixels.copy()
        pixels[shown] = camera.project(model.points[image.points[shown]] @ pose[:3, :3].T + pose[:3, 3])
        images.append(replace(image, pixels=pixels))
    return replace(scene, models=(replace(model, cameras=(known,), images=tuple(images)),))


def test_every_file_is_there_and_listed(tmp_path: Path) -> None:
    content = write_scene(simulated_scene(tmp_path / "in", (6, 4)), tmp_path / "out", digest="abc")
    expected = [f"sparse/{number}/{name}" for number in (0, 1) for name in SPARSE]
    for ending in ("", "_1"):
        expected += [f"points{ending}.ply", f"transforms{ending}.json", f"cameras{ending}.ply"]
    assert set(content["files"]) == {*expected, "pictures.csv", "report.html", "result.json"}
    there = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert there == set(content["files"])
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == content
    assert content["run_digest"] == "abc"


@pytest.mark.parametrize("cameras", [(BROWN,), (BROWN, PINHOLE)], ids=["one camera", "two cameras"])
def test_colmap_agrees_in_poses_points_and_tracks(cameras: tuple[Camera, ...], tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    scene = simulated_scene(tmp_path / "in", (7,), cameras)
    write_scene(scene, tmp_path / "out")
    folder = tmp_path / "out" / "sparse" / "0"
    model = scene.models[0]
    binary = pycolmap.Reconstruction(str(folder))
    for path in folder.glob("*.bin"):
        path.unlink()
    text = pycolmap.Reconstruction(str(folder))
    lengths = np.zeros(len(model.points), int)
    for image in model.images:
        np.add.at(lengths, image.points[image.points >= 0], 1)
    for theirs in (binary, text):
        assert theirs.num_cameras() == len(cameras)
        images = {one.name: one for one in theirs.images.values()}
        for image in model.images:
            one = images[image.picture.name]
            np.testing.assert_allclose(one.cam_from_world().matrix(), image.cam_from_world[:3], atol=1e-12)
            assert one.num_points3D == image.point_count
            for keypoint, pixel, index in zip(one.points2D, image.pixels, image.points, strict=True):
                np.testing.assert_allclose(keypoint.xy, pixel + 0.5, atol=1e-9)
                assert keypoint.has_point3D() == (index >= 0)
                if index >= 0:
                    xyz = theirs.points3D[keypoint.point3D_id].xyz
                    np.testing.assert_allclose(xyz, model.points[index], atol=1e-12)
        assert sorted(one.track.length() for one in theirs.points3D.values()) == sorted(lengths.tolist())
        assert theirs.compute_mean_reprojection_error() == pytest.approx(model.mean_reprojection_px, rel=0.02)


def test_cv3d_reads_both_models_back(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path / "in", (5,))
    write_scene(scene, tmp_path / "out")
    for read in (read_reconstruction, read_text):
        back = read(tmp_path / "out" / "sparse" / "0")
        assert back.cameras == (BROWN,)
        np.testing.assert_array_equal(back.colors, scene.models[0].colors)
        np.testing.assert_allclose(back.points, scene.models[0].points, atol=1e-12)


def test_nerfstudio_sees_the_points_at_their_keypoints(tmp_path: Path) -> None:
    """After docs.nerf.studio, "Data conventions": OpenGL axes, files relative to the JSON, points in one world."""
    scene = simulated_scene(tmp_path / "in", (5,), (PINHOLE,))
    write_scene(scene, tmp_path / "out")
    meta = json.loads((tmp_path / "out" / "transforms.json").read_text())
    points = np.asarray(read_ply(tmp_path / "out" / meta["ply_file_path"]).vertices, np.float64)
    assert (meta["w"], meta["h"], meta["camera_model"]) == (320, 240, "PINHOLE")
    for frame, image in zip(meta["frames"], scene.models[0].images, strict=True):
        assert (tmp_path / "out" / frame["file_path"]).resolve() == image.picture.source.resolve()
        camera_to_world = np.array(frame["transform_matrix"])
        shown = image.points >= 0
        seen = (points[image.points[shown]] - camera_to_world[:3, 3]) @ camera_to_world[:3, :3]
        columns = meta["fl_x"] * seen[:, 0] / -seen[:, 2] + meta["cx"]
        rows = meta["fl_y"] * -seen[:, 1] / -seen[:, 2] + meta["cy"]
        errors = np.hypot(columns - 0.5 - image.pixels[shown, 0], rows - 0.5 - image.pixels[shown, 1])
        assert np.sqrt((errors**2).mean()) == pytest.approx(image.rms_px, rel=1e-3)


def test_cv3d_reads_the_frames_back(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path / "in", (4,), (BROWN, PINHOLE))
    write_scene(scene, tmp_path / "out")
    for posed, image in zip(read_set(tmp_path / "out"), scene.models[0].images, strict=True):
        assert posed.file.resolve() == image.picture.source.resolve()
        assert posed.camera == scene.models[0].cameras[image.camera].camera
        np.testing.assert_allclose(posed.cam_from_world, image.cam_from_world, atol=1e-12)


def test_open3d_reads_points_and_pyramids(tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d")
    scene = simulated_scene(tmp_path / "in", (5,))
    write_scene(scene, tmp_path / "out")
    cloud = open3d.io.read_point_cloud(str(tmp_path / "out" / "points.ply"))
    np.testing.assert_allclose(np.asarray(cloud.points), scene.models[0].points, atol=1e-5)
    np.testing.assert_allclose(255.0 * np.asarray(cloud.colors), scene.models[0].colors, atol=0.5)
    mesh = open3d.io.read_triangle_mesh(str(tmp_path / "out" / "cameras.ply"))
    lines = open3d.io.read_line_set(str(tmp_path / "out" / "cameras.ply"))
    assert (len(mesh.vertices), len(mesh.triangles), len(lines.lines)) == (5 * 5, 5 * 4, 5 * 8)
    poses = world_from_cams(scene.models[0])
    vertices = np.asarray(mesh.vertices).reshape(5, 5, 3)
    np.testing.assert_allclose(vertices[:, 0], poses[:, :3, 3], atol=1e-6)
    ahead = vertices[:, 1:].mean(axis=1) - vertices[:, 0]
    assert ((ahead * poses[:, :3, 2]).sum(axis=1) > 0.99 * np.linalg.norm(ahead, axis=1)).all()
    # Seen from outside, a pyramid's sides go round counter-clockwise.
    mesh.compute_triangle_normals()
    sides = np.asarray(mesh.vertices)[np.asarray(mesh.triangles)].mean(axis=1).reshape(5, 4, 3)
    outwards = sides - vertices.mean(axis=1, keepdims=True)
    assert ((np.asarray(mesh.triangle_normals).reshape(5, 4, 3) * outwards).sum(axis=2) > 0.0).all()


def test_frames_of_a_clip_get_files_and_a_path(tmp_path: Path) -> None:
    scene = simulated_clip(tmp_path / "my clip.mp4")
    content = write_scene(scene, tmp_path / "out")
    names = [f"my_clip_{frame:06d}.jpg" for frame in (0, 4, 8, 12)]
    assert [name for name in content["files"] if name.startswith("images/")] == [f"images/{name}" for name in names]
    assert content["images"]["folder"] == str(tmp_path / "out" / IMAGES_FOLDER)
    written = cv2.imread(str(tmp_path / "out" / "images" / names[2]))
    own = scene.models[0].images[2].picture.read_rgb().array[:, :, ::-1]
    assert np.abs(written.astype(int) - own.astype(int)).mean() < 3.0
    assert [image.name for image in read_reconstruction(tmp_path / "out" / "sparse" / "0").images] == names
    assert [posed.name for posed in read_set(tmp_path / "out")] == [f"images/{name}" for name in names]
    path = read_trajectory(tmp_path / "out" / "cameras.tum")
    np.testing.assert_allclose(path.times, [0.0, 0.4, 0.8, 1.2])
    np.testing.assert_allclose(path.world_from_cam, world_from_cams(scene.models[0]), atol=1e-7)


def test_pictures_that_others_see_lying_are_written_upright(tmp_path: Path) -> None:
    from PIL import Image

    scene = simulated_scene(tmp_path / "in", (3,))
    turned = tmp_path / "in" / "0_001.jpg"
    picture = Image.open(turned).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(turned, exif=exif)
    content = write_scene(scene, tmp_path / "out")
    assert [name for name in content["files"] if name.startswith("images/")] == [
        f"images/0_{n:03d}.jpg" for n in range(3)
    ]
    raw = cv2.imread(str(tmp_path / "out" / "images" / "0_001.jpg"), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert raw.shape == (240, 320, 3)


def test_an_input_within_the_output_is_not_written_over(tmp_path: Path) -> None:
    from PIL import Image

    scene = simulated_scene(tmp_path / "images", (3,))
    exif = Image.Exif()
    exif[0x0112] = 3
    for path in (tmp_path / "images").iterdir():
        Image.open(path).save(path, exif=exif)
    before = {path: path.read_bytes() for path in (tmp_path / "images").iterdir()}
    content = write_scene(scene, tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "images").iterdir()} == before
    assert content["images"]["folder"] == str(tmp_path / "images_upright")
    assert {"images_upright/0_000.jpg", "sparse/0/images.bin"} <= set(content["files"])
    assert len(list((tmp_path / "images_upright").iterdir())) == 3


def test_pictures_of_several_folders_have_names_below_their_common_one(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path / "in" / "a", (4,))
    model = scene.models[0]
    (tmp_path / "in" / "b").mkdir()
    moved = (tmp_path / "in" / "a" / "0_003.jpg").rename(tmp_path / "in" / "b" / "0_003.jpg")
    picture = replace(model.images[3].picture, source=moved)
    images = (*model.images[:3], replace(model.images[3], picture=picture))
    content = write_scene(replace(scene, models=(replace(model, images=images),)), tmp_path / "out")
    assert content["images"]["folder"] == str(tmp_path / "in")
    names = [image.name for image in read_reconstruction(tmp_path / "out" / "sparse" / "0").images]
    assert names == ["a/0_000.jpg", "a/0_001.jpg", "a/0_002.jpg", "b/0_003.jpg"]


def test_a_camera_that_others_lack_is_replaced_by_the_nearest(tmp_path: Path) -> None:
    sphere = Camera("double_sphere", 320, 240, (140.0, 140.0, 160.0, 120.0, 0.05, 0.55))
    content = write_scene(with_camera(simulated_scene(tmp_path / "in"), sphere), tmp_path / "out")
    assert content["warnings"] == ["the pictures are <few>"]
    back = read_reconstruction(tmp_path / "out" / "sparse" / "0")
    assert back.cameras[0].model != "double_sphere"
    assert np.nanmax(back.errors) < 0.5
    assert content["intrinsics"][0]["model"] == "double_sphere"


def test_what_a_format_cannot_say_is_told_and_the_rest_is_written(tmp_path: Path) -> None:
    content = write_scene(simulated_scene(tmp_path / "in", (4,), (PINHOLE, FISHEYE)), tmp_path / "mixed")
    assert any("no transforms.json is written" in warning for warning in content["warnings"])
    assert "transforms.json" not in content["files"]
    assert "sparse/0/images.bin" in content["files"]
    scene = simulated_scene(tmp_path / "with blank", (4,))
    model = scene.models[0]
    file = (tmp_path / "with blank" / "0_000.jpg").rename(tmp_path / "with blank" / "0 000.jpg")
    first = replace(model.images[0], picture=replace(model.images[0].picture, source=file))
    scene = replace(scene, models=(replace(model, images=(first, *model.images[1:])),))
    content = write_scene(scene, tmp_path / "blank")
    assert any("in its binary form alone" in warning for warning in content["warnings"])
    assert "sparse/0/images.txt" not in content["files"]


def test_a_camera_that_only_turned_has_orientations_alone(tmp_path: Path) -> None:
    content = write_scene(oriented_only(simulated_scene(tmp_path / "in")), tmp_path / "out")
    assert not {"points.ply", "transforms.json"} & set(content["files"])
    assert "cameras.ply" in content["files"]
    back = read_reconstruction(tmp_path / "out" / "sparse" / "0")
    assert len(back.images) == 8
    assert not len(back.points)
    assert content["models"][0]["oriented_only"]
    assert content["mean_reprojection_px"] is None


def test_files_of_an_earlier_run_that_are_no_more_are_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_scene(simulated_scene(tmp_path / "in", (5, 4)), out)
    (out / "database.db").write_bytes(b"of a stage")
    write_scene(simulated_scene(tmp_path / "in", (5,)), out)
    assert not (out / "points_1.ply").exists()
    assert not (out / "sparse" / "1").exists()
    assert (out / "database.db").exists()


def test_the_table_has_every_picture(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path / "in", (5, 4))
    write_scene(scene, tmp_path / "out")
    with (tmp_path / "out" / "pictures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows} == set(scene.graph.names)
    assert [row["model"] for row in rows] == ["0"] * 5 + ["1"] * 4 + [""] * 3
    assert float(rows[0]["rms_px"]) == pytest.approx(scene.models[0].images[0].rms_px, abs=1e-4)
    assert all(bool(row["reason"]) == (row["model"] == "") for row in rows)


def test_nothing_placed_is_written_too(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path / "in", ())
    content = write_scene(scene, tmp_path / "out")
    assert content["images"]["registered"] == 0
    assert content["models"] == []
    assert set(content["files"]) == {"pictures.csv", "report.html", "result.json"}


def test_unknown_deviations_are_null(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path / "in", (4,))
    known: SceneCamera = replace(scene.models[0].cameras[0], deviations=(math.nan,) * 8)
    model: SceneModel = replace(scene.models[0], cameras=(known,))
    content = write_scene(replace(scene, models=(model,)), tmp_path / "out")
    assert content["intrinsics"][0]["deviations"]["fx"] is None
    assert content["intrinsics"][0]["images"] == 4
