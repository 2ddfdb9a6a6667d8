"""Tables of TUM, KITTI, EuRoC, ScanNet and phone apps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cv3d.errors import FormatError, InputError
from cv3d.formats.recordings import euroc, kitti, record3d, seven_scenes, stray_scanner, tum
from cv3d.formats.recordings.pose_files import read_matrix, read_pose_files


def test_tum_lists_and_associations(tmp_path: Path) -> None:
    (tmp_path / "rgb.txt").write_text(
        "# color images\n# file: 'rgbd_dataset_freiburg2_xyz.bag'\n1.5 rgb/a.png\n2.5 rgb/b.png\n"
    )
    assert tum.read_list(tmp_path / "rgb.txt") == [
        tum.StampedFile(1.5, tmp_path / "rgb/a.png"),
        tum.StampedFile(2.5, tmp_path / "rgb/b.png"),
    ]
    for name, text in {"a": "1.5 rgb/a.png 1.6 depth/x.png\n", "b": "1.6 depth/x.png 1.5 rgb/a.png\n"}.items():
        (tmp_path / name).write_text(text)
        color, depth = tum.read_associations(tmp_path / name)[0]
        assert (color.file.name, depth.file.name, color.time) == ("a.png", "x.png", 1.5)
        assert tum.looks_like_associations(tmp_path / name)
    assert not tum.looks_like_associations(tmp_path / "rgb.txt")
    published = tum.published_camera([tmp_path / "rgb.txt"], 640, 480)
    assert published is not None
    assert published[1] == "freiburg2"
    assert published[0].params[0] == 520.9
    assert tum.published_camera([tmp_path / "a"], 640, 480) is None
    assert tum.published_camera([tmp_path / "rgb.txt"], 320, 240) is None
    (tmp_path / "bad.txt").write_text("1.5 rgb/a.png\nsoon rgb/b.png\n")
    with pytest.raises(FormatError, match=r"bad\.txt:2: 'soon' is not a time stamp"):
        tum.read_list(tmp_path / "bad.txt")


def test_kitti_projections_with_labels_and_without(tmp_path: Path) -> None:
    left = "700 0 600 0 0 710 180 0 0 0 1 0"
    right = "700 0 600 -378 0 710 180 0 0 0 1 0"
    (tmp_path / "labels.txt").write_text(f"P0: {left}\nP1: {right}\nTr: 1 0 0 0 0 1 0 0 0 0 1 0\n")
    (tmp_path / "bare.txt").write_text(f"{left}\n{right}")
    for name in ("labels.txt", "bare.txt"):
        found = kitti.read_projections(tmp_path / name)
        assert sorted(found) == [0, 1]
        assert found[1].params == (700.0, 710.0, 600.0, 180.0)
        np.testing.assert_allclose(found[1].cam_from_cam0[:3, 3], (-0.54, 0.0, 0.0), atol=1e-15)
    (tmp_path / "poses.txt").write_text("0.9 0.1 0 5 -0.1 0.9 0 6 0 0 1 7\n" * 2)
    assert not kitti.looks_like_projections(tmp_path / "poses.txt")
    assert kitti.looks_like_projections(tmp_path / "labels.txt")
    (tmp_path / "none.txt").write_text("Tr: 1 0 0 0 0 1 0 0 0 0 1 0\n")
    with pytest.raises(FormatError, match="holds no projection"):
        kitti.read_projections(tmp_path / "none.txt")


def test_euroc_lists_and_names(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for stamp in ("1403715274062142976", "1403715274012143104"):
        (tmp_path / "data" / f"{stamp}.png").write_bytes(b"x")
    named = euroc.read_pictures(tmp_path)
    assert [one.time for one in named] == [1403715274012143104 / 1e9, 1403715274062142976 / 1e9]
    (tmp_path / "data.csv").write_text("#timestamp [ns],filename\n1403715274012143104,1403715274012143104.png\r\n")
    assert euroc.read_pictures(tmp_path) == named[:1]
    (tmp_path / "data.csv").write_text("0.5,a.png\n")
    with pytest.raises(FormatError, match=r"data\.csv:1: .*whole nanoseconds"):
        euroc.read_pictures(tmp_path)
    with pytest.raises(InputError, match="has no pictures"):
        euroc.read_pictures(tmp_path / "data")
    assert euroc.read_camera(tmp_path) is None


def test_euroc_truth_is_turned_from_the_body_to_the_camera(data_root: Path) -> None:
    root = data_root / "vo" / "euroc_v101" / "mav0"
    found = euroc.read_camera(root / "cam0")
    assert found is not None
    camera, body_from_cam = found
    assert camera.params[0] == 458.654
    assert body_from_cam is not None
    np.testing.assert_allclose(body_from_cam[:3, 3], (-0.0216401454975, -0.064676986768, 0.00981073058949), atol=1e-9)
    path = euroc.read_truth(root / euroc.TRUTH_FILE, body_from_cam)
    body = np.array([0.8687393558, 2.2070275302, 0.9257726725])
    # The lever arm between body and camera is 69 mm.
    assert np.linalg.norm(path.positions[0] - body) == pytest.approx(np.linalg.norm(body_from_cam[:3, 3]), abs=1e-9)


def test_poses_of_lost_frames_are_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    files = [tmp_path / f"{index}.txt" for index in range(4)]
    poses = np.tile(np.eye(4), (4, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(rng.normal(size=(4, 3))).as_matrix()
    poses[:, :3, 3] = rng.normal(size=(4, 3))
    for path, pose in zip(files, poses, strict=True):
        np.savetxt(path, pose)
    files[1].write_text("-inf -inf -inf -inf\n" * 4)
    files[2].write_text("nan nan nan nan\n" * 4)
    read = read_pose_files(files)
    assert read.known.tolist() == [0, 3]
    np.testing.assert_allclose(read.world_from_cam, poses[[0, 3]], atol=1e-12)
    assert len(read_pose_files([files[1]]).known) == 0
    files[0].write_text("2 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1")
    with pytest.raises(FormatError, match=r"0\.txt: its 3x3 part is not a rotation"):
        read_pose_files(files)
    with pytest.raises(FormatError, match="holds 16 numbers, not a matrix of 3x3"):
        read_matrix(files[3], (3, 3))


def test_seven_scenes_frames(tmp_path: Path) -> None:
    for name in (
        "frame-000002.color.png",
        "frame-000001.color.png",
        "frame-000001.depth.png",
        "frame-000002.pose.txt",
        "x.png",
    ):
        (tmp_path / name).write_bytes(b"x")
    first, second = seven_scenes.frames_of(tmp_path)
    assert (first.number, second.number) == (1, 2)
    assert first.depth is not None
    assert (second.depth, first.pose) == (None, None)
    assert second.pose is not None
    half = seven_scenes.published_camera(320, 240)
    assert half is not None
    assert half.params[0] == 292.5
    assert seven_scenes.published_camera(1296, 968) is None
    (tmp_path / "info.txt").write_text(
        "m_colorWidth = 640\nm_calibrationColorIntrinsic = 583 0 320 0 0 584 240 0 0 0 1 0 0 0 0 1\n"
    )
    found = seven_scenes.info_camera(tmp_path, 640, 480)
    assert found is not None
    assert found[0].params == (583.0, 584.0, 320.0, 240.0)
    (tmp_path / "info.txt").write_text("m_calibrationColorIntrinsic = 583\n")
    with pytest.raises(FormatError, match="m_calibrationColorIntrinsic of 16 numbers"):
        seven_scenes.info_camera(tmp_path, 640, 480)


def test_stray_scanner_tables(tmp_path: Path) -> None:
    (tmp_path / "camera_matrix.csv").write_text("1600.5,0.0,960.0\n0.0,1600.5,720.0\n0.0,0.0,1.0\n")
    (tmp_path / "odometry.csv").write_text(
        "timestamp, frame, x, y, z, qx, qy, qz, qw\n"
        "100.5, 000000, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0\n"
        "100.6, 000002, 1.1, 2.0, 3.0, 1.0, 0.0, 0.0, 0.0\n"
    )
    assert stray_scanner.is_recording(tmp_path)
    assert stray_scanner.read_params(tmp_path) == (1600.5, 1600.5, 960.0, 720.0)
    read = stray_scanner.read_odometry(tmp_path)
    assert read.frames.tolist() == [0, 2]
    assert read.trajectory.times.tolist() == [100.5, 100.6]
    np.testing.assert_allclose(read.trajectory.world_from_cam[1, :3, :3], np.diag([1.0, -1.0, -1.0]), atol=1e-12)


def test_record3d_metadata(tmp_path: Path) -> None:
    pose = [0.0, 0.0, 0.0, 1.0, 0.5, 0.25, -1.0]
    fields = {
        "K": [1400.0, 0, 0, 0, 1401.0, 0, 715.0, 955.0, 1.0],
        "w": 1440,
        "h": 1920,
        "fps": 60,
        "poses": [pose] * 2,
    }
    (tmp_path / "metadata.json").write_text(json.dumps(fields))
    assert record3d.is_recording(tmp_path)
    read = record3d.read_metadata(tmp_path)
    assert read.camera.params == (1400.0, 1401.0, 715.0, 955.0)
    assert (read.fps, read.times) == (60.0, None)
    assert read.world_from_cam is not None
    # The phone looks along its own -z: in cv3d's axes the optical axis is +z.
    np.testing.assert_allclose(read.world_from_cam[0, :3, 2], (0.0, 0.0, -1.0), atol=1e-15)
    np.testing.assert_allclose(read.world_from_cam[0, :3, 3], (0.5, 0.25, -1.0), atol=1e-15)
    (tmp_path / "metadata.json").write_text(json.dumps({**fields, "poses": [[1, 2, 3]]}))
    with pytest.raises(FormatError, match="seven numbers"):
        record3d.read_metadata(tmp_path)
