"""Frames as fusion takes them: poses by time, colours of another camera, COLMAP's maps, point clouds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cv3d.errors import FormatError, InputError
from cv3d.formats.colmap_depth import encode_colmap_depth, read_colmap_depth
from cv3d.formats.colmap_reconstruction import ReconstructedImage, Reconstruction, write_reconstruction
from cv3d.formats.meshes import write_mesh
from cv3d.fusion import cloud_frames, colmap_frames
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.plausible import check_depth_scale, check_extent, check_steps
from cv3d.fusion.registering import registered_color
from cv3d.fusion.sources import Dropped, PosedDepth, own_trajectory, pose_at, posed_depth
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.trajectory import Trajectory
from cv3d.odometry.sources import open_sequence

from .rooms import CAMERA, pictures, poses, write_recording


def _path(n: int = 4, step_s: float = 0.03) -> Trajectory:
    return Trajectory(step_s * np.arange(n), poses(n))


def test_poses_are_taken_by_time() -> None:
    path = _path(step_s=0.03)
    np.testing.assert_array_equal(pose_at(path, 0.0305), path.world_from_cam[1])
    between = pose_at(path, 0.045)
    assert between is not None
    np.testing.assert_allclose(between[:3, 3], path.positions[1:3].mean(axis=0), atol=1e-12)
    assert pose_at(path, 0.4) is None
    assert pose_at(path, -0.05) is None
    assert pose_at(_path(step_s=0.1), 0.07) is None
    numbered = Trajectory(np.arange(4.0), poses(4), is_timed=False)
    np.testing.assert_array_equal(pose_at(numbered, 2.0), numbered.world_from_cam[2])
    assert pose_at(numbered, 7.0) is None
    assert pose_at(path.select(slice(0, 0)), 0.0) is None


def test_a_recording_gives_its_frames(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "room", poses(5))
    (folder / "frame-000001.pose.txt").write_text("\n".join(["nan nan nan nan"] * 4))
    (folder / "frame-000003.depth.png").unlink()
    sequence = open_sequence(str(folder))
    items = list(posed_depth(sequence, own_trajectory(sequence)))
    assert [(one.index, one.reason) for one in items if isinstance(one, Dropped)] == [
        (1, "no pose"),
        (3, "no depth picture"),
    ]
    good = [one for one in items if isinstance(one, PosedDepth)]
    assert [one.index for one in good] == [0, 2, 4]
    depth, color = pictures(poses(5)[2])
    np.testing.assert_allclose(good[1].frame.depth, depth, atol=6e-4)
    np.testing.assert_array_equal(good[1].frame.color, color)
    np.testing.assert_allclose(inverse_rigid(good[1].frame.cam_from_world), poses(5)[2], atol=1e-9)
    assert [one.index for one in posed_depth(sequence, own_trajectory(sequence), every=2)] == [0, 2, 4]
    assert good[0].frame.color is not None
    first = next(posed_depth(sequence, own_trajectory(sequence), with_color=False))
    assert isinstance(first, PosedDepth)
    assert first.frame.color is None


def test_depth_of_half_the_size(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "room", poses(3))
    for path in folder.glob("*.color.png"):
        with Image.open(path) as picture:
            picture.resize((192, 144)).save(path)
    camera = CAMERA.scaled(2.0)
    np.savetxt(folder / "camera-intrinsics.txt", camera.matrix)
    sequence = open_sequence(str(folder))
    items = [one for one in posed_depth(sequence, own_trajectory(sequence)) if isinstance(one, PosedDepth)]
    assert len(items) == 3
    np.testing.assert_allclose(items[0].frame.camera.matrix, CAMERA.matrix, atol=1e-6)
    assert items[0].frame.color is not None
    assert items[0].frame.color.shape == (72, 96, 3)


def test_depth_of_another_shape_is_refused(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "room", poses(2))
    for path in folder.glob("*.depth.png"):
        with Image.open(path) as picture:
            picture.crop((0, 0, 60, 72)).save(path)
    with pytest.raises(InputError, match="do not fit the colour pictures"):
        open_sequence(str(folder))


def test_colours_of_a_camera_beside() -> None:
    pose = poses(3)[1]
    color_from_depth = np.eye(4)
    color_from_depth[:3, 3] = (-0.05, 0.01, 0.0)
    color_camera = Camera("pinhole", 192, 144, (150.0, 150.0, 95.5, 71.5))
    depth, expected = pictures(pose)
    _, color = pictures(pose @ inverse_rigid(color_from_depth), color_camera)
    got = registered_color(depth, CAMERA, color, color_camera, color_from_depth)
    seen = got.any(axis=2)
    assert seen.mean() > 0.85
    errors = np.abs(got[seen].astype(int) - expected[seen]).max(axis=1)
    assert np.median(errors) < 8
    # Without hiding, the box's colours would lie on the wall behind it.
    assert (errors < 60).mean() > 0.98


def test_colmap_depth_maps(tmp_path: Path) -> None:
    depth, color = pictures(poses(3)[0])
    path = tmp_path / "a.jpg.geometric.bin"
    path.write_bytes(encode_colmap_depth(depth))
    np.testing.assert_array_equal(read_colmap_depth(path), depth)
    path.write_bytes(encode_colmap_depth(depth)[:-8])
    with pytest.raises(FormatError, match="cut off"):
        read_colmap_depth(path)
    path.write_bytes(b"P5 1 1")
    with pytest.raises(FormatError, match="no depth map"):
        read_colmap_depth(path)
    folder = tmp_path / "dense"
    places = poses(3)
    images = tuple(
        ReconstructedImage(f"{i}.png", 0, inverse_rigid(places[i]), np.zeros((0, 2)), np.zeros(0, np.intp))
        for i in range(3)
    )
    none = np.zeros((0, 3))
    write_reconstruction(folder / "sparse", Reconstruction((CAMERA,), images, none, none.astype(np.uint8), np.zeros(0)))
    maps = folder / "stereo" / "depth_maps"
    maps.mkdir(parents=True)
    (folder / "images").mkdir()
    Image.fromarray(color).save(folder / "images" / "0.png")
    (maps / "0.png.geometric.bin").write_bytes(encode_colmap_depth(depth))
    (maps / "0.png.photometric.bin").write_bytes(encode_colmap_depth(0.0 * depth))
    (maps / "1.png.photometric.bin").write_bytes(encode_colmap_depth(depth))
    assert colmap_frames.is_workspace(folder)
    assert not colmap_frames.is_workspace(tmp_path)
    assert colmap_frames.count(folder) == 2
    good, undecodable, missing = colmap_frames.posed_depth(folder)
    assert isinstance(good, PosedDepth)
    np.testing.assert_array_equal(good.frame.depth, depth)
    np.testing.assert_array_equal(good.frame.color, color)
    np.testing.assert_allclose(good.frame.cam_from_world, inverse_rigid(places[0]), atol=1e-9)
    assert isinstance(undecodable, Dropped)
    assert "cannot be decoded" in undecodable.reason
    assert isinstance(missing, Dropped)
    assert missing.reason == "no depth map"


def test_clouds_become_depth(tmp_path: Path) -> None:
    depth, color = pictures(poses(3)[1])
    rows, columns = np.nonzero(depth)
    rays = CAMERA.unproject(np.stack([columns, rows], -1).astype(np.float64))
    points = rays / rays[:, 2:] * depth[rows, columns][:, None]
    cloud = Mesh(points.astype(np.float32), np.zeros((0, 3), np.int32), None, color[rows, columns])
    got, got_color = cloud_frames.project_cloud(cloud, CAMERA, np.eye(4))
    np.testing.assert_allclose(got, depth, rtol=1e-5)
    np.testing.assert_array_equal(got_color, color)
    # Every second column alone: the gaps are closed, from the sides.
    thin = columns % 2 == 0
    half = replace(cloud, vertices=cloud.vertices[thin], colors=color[rows, columns][thin])
    closed, _ = cloud_frames.project_cloud(half, CAMERA, np.eye(4))
    assert (closed > 0).mean() > 0.97 * (depth > 0).mean()
    for i in range(3):
        write_mesh(tmp_path / f"scan_{i}.ply", cloud)
    assert cloud_frames.is_folder(tmp_path)
    path = Trajectory(np.arange(2.0), np.tile(np.eye(4), (2, 1, 1)), is_timed=False)
    alone = list(cloud_frames.posed_depth(tmp_path, path, CAMERA))
    assert [type(one) for one in alone] == [PosedDepth, PosedDepth, Dropped]
    faces = [one for one in cloud_frames.posed_depth(tmp_path, path, None) if isinstance(one, PosedDepth)]
    # Each point is on the faces where the camera's rays say it is.
    again = []
    for one in faces[: len(faces) // 2]:
        at = np.nonzero(one.frame.depth)
        rays = one.frame.camera.unproject(np.stack([at[1], at[0]], -1).astype(np.float64))
        local = rays / rays[:, 2:] * one.frame.depth[at][:, None]
        world_from_face = inverse_rigid(one.frame.cam_from_world)
        again.append(local @ world_from_face[:3, :3].T + world_from_face[:3, 3])
    from scipy.spatial import cKDTree

    gaps, _ = cKDTree(points).query(np.concatenate(again))
    assert np.quantile(gaps, 0.95) < 0.05
    (tmp_path / "scan.ply").write_bytes((tmp_path / "scan_0.ply").read_bytes())
    with pytest.raises(FormatError, match="neither a number nor a time stamp"):
        list(cloud_frames.posed_depth(tmp_path, path, CAMERA))


def test_lengths_in_other_units_are_asked_about() -> None:
    places = poses(6)
    frames = [DepthFrame(pictures(place)[0], None, CAMERA, inverse_rigid(place)) for place in places]
    check_steps(frames, "room")
    check_depth_scale(frames[0], "room")
    with pytest.raises(InputError, match="is it in other units"):
        check_depth_scale(replace(frames[0], depth=frames[0].depth * np.float32(1000.0)), "room")
    large = places.copy()
    large[:, :3, 3] *= 1000.0
    with pytest.raises(InputError, match=r"--pose-scale 0\.001"):
        check_steps([replace(one, cam_from_world=inverse_rigid(p)) for one, p in zip(frames, large, strict=True)], "a")
    large[:, :3, 3] *= 9.0
    with pytest.raises(InputError, match=r"spans 6\.\d+ km"):
        check_extent(Trajectory(np.arange(6.0), large), "a")
