"""Recordings of every layout, built small: what is recognised, and that pictures, depth, stamps and truth are those."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cv3d.odometry.results import Sensor
from cv3d.odometry.sources import LAYOUTS, Sequence, open_sequence

COUNT = 5
WIDTH, HEIGHT = 64, 48
K = np.array([[60.0, 0.0, 31.5], [0.0, 61.0, 23.5], [0.0, 0.0, 1.0]])
CAMERA_AXES = np.diag([1.0, -1.0, -1.0, 1.0])


def gray_value(index: int) -> int:
    return 40 + 20 * index


def depth_m(index: int) -> float:
    return 1.0 + 0.25 * index


def poses() -> NDArray[np.float64]:
    rng = np.random.default_rng(4)
    stacked = np.tile(np.eye(4), (COUNT, 1, 1))
    stacked[:, :3, :3] = Rotation.from_rotvec(rng.normal(size=(COUNT, 3))).as_matrix()
    stacked[:, :3, 3] = rng.normal(size=(COUNT, 3))
    return stacked


def put_gray(path: Path, index: int, offset: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((HEIGHT, WIDTH), gray_value(index) + offset, np.uint8))


def put_depth(path: Path, index: int, per_metre: float, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.full(size[::-1], round(depth_m(index) * per_metre), np.uint16)
    stored[0, 0] = 0
    assert cv2.imwrite(str(path), stored)


def tum_lines(times: list[float]) -> str:
    quats = Rotation.from_matrix(poses()[:, :3, :3]).as_quat()
    rows = np.concatenate([np.array(times)[:, None], poses()[:, :3, 3], quats], axis=1)
    return "# timestamp tx ty tz qx qy qz qw\n" + "".join(" ".join(map(repr, row)) + "\n" for row in rows.tolist())


def make_tum(folder: Path) -> list[float]:
    folder.mkdir(exist_ok=True)
    times = [1305031102.1 + 0.033 * index for index in range(COUNT)]
    colors, depths = ["# color images"], ["# depth maps"]
    for index, time in enumerate(times):
        put_gray(folder / f"rgb/{time:.6f}.png", index)
        put_depth(folder / f"depth/{time + 0.011:.6f}.png", index, 5000.0)
        colors.append(f"{time:.6f} rgb/{time:.6f}.png")
        depths.append(f"{time + 0.011:.6f} depth/{time + 0.011:.6f}.png")
    (folder / "rgb.txt").write_text("\n".join(colors) + "\n")
    (folder / "depth.txt").write_text("\n".join(depths) + "\n")
    np.savetxt(folder / "K.txt", K)
    (folder / "groundtruth.txt").write_text(tum_lines(times))
    return times


def make_associated(folder: Path) -> list[float]:
    folder.mkdir(exist_ok=True)
    times = make_tum(folder)
    colors, depths = ((folder / name).read_text().splitlines()[1:] for name in ("rgb.txt", "depth.txt"))
    lines = [f"{color} {depth}" for color, depth in zip(colors, depths, strict=True)]
    (folder / "associations.txt").write_text("\n".join(lines))
    (folder / "rgb.txt").unlink()
    (folder / "depth.txt").unlink()
    return times


def make_kitti(folder: Path) -> list[float]:
    folder.mkdir(exist_ok=True)
    times = [0.1 * index for index in range(COUNT)]
    for index in range(COUNT):
        put_gray(folder / f"image_0/{index:06d}.png", index)
        put_gray(folder / f"image_1/{index:06d}.png", index, 3)
    left = np.hstack([K, np.zeros((3, 1))])
    right = np.hstack([K, K @ [[-0.5], [0.0], [0.0]]])
    rows = (" ".join(map(repr, matrix.ravel().tolist())) for matrix in (left, right))
    (folder / "calib.txt").write_text("".join(f"P{i}: {row}\n" for i, row in enumerate(rows)))
    (folder / "times.txt").write_text("".join(f"{time!r}\n" for time in times))
    np.savetxt(folder / "poses.txt", poses()[:, :3].reshape(-1, 12))
    return times


def make_euroc(folder: Path) -> list[float]:
    folder.mkdir(exist_ok=True)
    stamps = [1403715274012143104 + 50_000_000 * index for index in range(COUNT)]
    body_from_cam = np.eye(4)
    body_from_cam[:3, :3] = Rotation.from_rotvec([0.3, -0.2, 0.9]).as_matrix()
    body_from_cam[:3, 3] = (0.1, 0.2, -0.3)
    body_from_right = body_from_cam @ np.array([[1.0, 0, 0, 0.11], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for name, offset, pose in (("cam0", 0, body_from_cam), ("cam1", 3, body_from_right)):
        root = folder / "mav0" / name
        for index, stamp in enumerate(stamps):
            put_gray(root / "data" / f"{stamp}.png", index, offset)
        (root / "data.csv").write_text("#t,file\n" + "".join(f"{stamp},{stamp}.png\n" for stamp in stamps))
        (root / "sensor.yaml").write_text(
            f"%YAML:1.0\nsensor_type: camera\nT_BS:\n  cols: 4\n  rows: 4\n  data: {pose.ravel().tolist()}\n"
            f"resolution: [{WIDTH}, {HEIGHT}]\ncamera_model: pinhole\nintrinsics: [60.0, 61.0, 31.5, 23.5]\n"
            "distortion_model: radial-tangential\ndistortion_coefficients: [-0.1, 0.05, 0.001, -0.001]\n"
        )
    world_from_body = poses() @ np.linalg.inv(body_from_cam)
    quats = Rotation.from_matrix(world_from_body[:, :3, :3]).as_quat(scalar_first=True)
    rows = np.concatenate([world_from_body[:, :3, 3], quats], axis=1).tolist()
    truth = folder / "mav0/state_groundtruth_estimate0/data.csv"
    truth.parent.mkdir()
    truth.write_text("".join(f"{stamp},{','.join(map(repr, row))}\n" for stamp, row in zip(stamps, rows, strict=True)))
    return [stamp / 1e9 for stamp in stamps]


def make_seven_scenes(folder: Path) -> list[float]:
    folder.mkdir(exist_ok=True)
    for index, pose in enumerate(poses()):
        put_gray(folder / f"frame-{index:06d}.color.png", index)
        put_depth(folder / f"frame-{index:06d}.depth.png", index, 1000.0)
        np.savetxt(folder / f"frame-{index:06d}.pose.txt", pose)
    np.savetxt(folder / "camera-intrinsics.txt", K)
    return [index / 30.0 for index in range(COUNT)]


def make_scannet(folder: Path) -> list[float]:
    folder.mkdir(exist_ok=True)
    for index, pose in enumerate(poses()):
        put_gray(folder / f"color/{index}.jpg", index)
        put_depth(folder / f"depth/{index}.png", index, 1000.0, (32, 24))
        (folder / "pose").mkdir(exist_ok=True)
        np.savetxt(folder / f"pose/{index}.txt", pose)
    (folder / "intrinsic").mkdir()
    for name, matrix in (("color", K), ("depth", np.diag([0.5, 0.5, 1.0]) @ K)):
        whole = np.eye(4)
        whole[:3, :3] = matrix
        np.savetxt(folder / f"intrinsic/intrinsic_{name}.txt", whole)
        np.savetxt(folder / f"intrinsic/extrinsic_{name}.txt", np.eye(4))
    return [index / 30.0 for index in range(COUNT)]


def make_stray(folder: Path) -> list[float]:
    folder.mkdir(exist_ok=True)
    times = [5000.0 + index / 60.0 for index in range(COUNT)]
    quats = Rotation.from_matrix(poses()[:, :3, :3]).as_quat()
    rows = ["timestamp, frame, x, y, z, qx, qy, qz, qw"]
    for index, (time, pose, quat) in enumerate(zip(times, poses(), quats, strict=True)):
        put_gray(folder / f"rgb/{index:06d}.jpg", index)
        put_depth(folder / f"depth/{index:06d}.png", index, 1000.0, (32, 24))
        rows.append(", ".join([repr(time), f"{index:06d}", *map(repr, [*pose[:3, 3].tolist(), *quat.tolist()])]))
    (folder / "odometry.csv").write_text("\n".join(rows) + "\n")
    np.savetxt(folder / "camera_matrix.csv", K, delimiter=",")
    return times


def make_record3d(folder: Path) -> list[float]:
    folder.mkdir(exist_ok=True)
    turned = poses() @ CAMERA_AXES
    quats = Rotation.from_matrix(turned[:, :3, :3]).as_quat()
    for index in range(COUNT):
        put_gray(folder / f"rgb/{index}.jpg", index)
        (folder / "depth").mkdir(exist_ok=True)
        depth = np.full((24, 32), depth_m(index), np.float32)
        depth[0, 0] = np.nan
        np.save(folder / f"depth/{index}.npy", depth)
    fields = {
        "K": K.T.ravel().tolist(),
        "w": WIDTH,
        "h": HEIGHT,
        "fps": 60,
        "poses": np.concatenate([quats, turned[:, :3, 3]], axis=1).tolist(),
    }
    (folder / "metadata.json").write_text(json.dumps(fields))
    return [index / 60.0 for index in range(COUNT)]


def make_plain(folder: Path) -> list[float]:
    folder.mkdir(exist_ok=True)
    times = [7.0 + 0.04 * index for index in range(COUNT)]
    for index in range(COUNT):
        put_gray(folder / f"images/{index:04d}.jpg", index)
        put_depth(folder / f"depth_maps/{index:04d}.png", index, 1000.0)
    np.savetxt(folder / "K.txt", K)
    (folder / "timestamps.txt").write_text("".join(f"{round(time * 1e9)}\n" for time in times))
    np.savetxt(folder / "poses.txt", poses()[:, :3].reshape(-1, 12))
    return times


def make_stereo(folder: Path) -> list[float]:
    folder.mkdir(exist_ok=True)
    for index in range(COUNT):
        put_gray(folder / f"left/{index:04d}.png", index)
        put_gray(folder / f"right/{index:04d}.png", index, 3)
    (folder / "poses.txt").write_text(tum_lines([index / 30.0 for index in range(COUNT)]))
    (folder / "calib.txt").write_text("60 0 31.5 0 0 61 23.5 0 0 0 1 0\n60 0 31.5 -6 0 61 23.5 0 0 0 1 0\n")
    return [index / 30.0 for index in range(COUNT)]


MAKERS: dict[str, tuple[Callable[[Path], list[float]], str, Sensor]] = {
    "tum": (make_tum, "tum", Sensor.RGBD),
    "associations": (make_associated, "tum", Sensor.RGBD),
    "kitti": (make_kitti, "kitti", Sensor.STEREO),
    "euroc": (make_euroc, "euroc", Sensor.STEREO),
    "seven_scenes": (make_seven_scenes, "seven_scenes", Sensor.RGBD),
    "scannet": (make_scannet, "scannet", Sensor.RGBD),
    "stray_scanner": (make_stray, "stray_scanner", Sensor.RGBD),
    "record3d": (make_record3d, "record3d", Sensor.RGBD),
    "plain": (make_plain, "folder", Sensor.RGBD),
    "stereo": (make_stereo, "folder", Sensor.STEREO),
}


@pytest.fixture(params=list(MAKERS))
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, list[float]]:
    folder = tmp_path / "recording"
    folder.mkdir()
    return request.param, folder, MAKERS[request.param][0](folder)


def test_every_layout_is_built_here() -> None:
    assert set(LAYOUTS) <= {kind for _, kind, _ in MAKERS.values()}


def test_what_was_put_in_is_read(made: tuple[str, Path, list[float]]) -> None:
    name, folder, times = made
    _, kind, sensor = MAKERS[name]
    sequence = open_sequence(folder)
    assert (sequence.kind, sequence.sensor, sequence.name) == (kind, sensor, "recording")
    assert sequence.sensors == (Sensor.MONO, sensor)
    assert (sequence.frame_count, sequence.is_live) == (COUNT, False)
    assert sequence.camera is not None
    assert (sequence.camera.width, sequence.camera.height) == (WIDTH, HEIGHT)
    np.testing.assert_allclose(sequence.camera.params[:4], (60.0, 61.0, 31.5, 23.5), atol=1e-12)
    with sequence.frames() as stream:
        frames = list(stream)
    assert stream.problems == []
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=1e-6)
    for index, frame in enumerate(frames):
        assert frame.index == index
        assert abs(int(frame.gray[20, 20]) - gray_value(index)) <= 1
        assert abs(int(frame.color()[20, 20, 1]) - gray_value(index)) <= 1
        assert (frame.right_gray is not None) == (sensor is Sensor.STEREO)
        assert (frame.depth is not None) == (sensor is Sensor.RGBD)
        if frame.right_gray is not None:
            assert int(frame.right_gray[20, 20]) == gray_value(index) + 3
        if frame.depth is not None:
            assert frame.depth[0, 0] == 0.0
            np.testing.assert_allclose(frame.depth[5, 5], depth_m(index), atol=1e-4)
    assert sequence.has_truth
    truth = sequence.truth
    assert truth is not None
    assert truth.is_timed
    np.testing.assert_allclose(truth.times, times, atol=1e-6)
    np.testing.assert_allclose(truth.world_from_cam, poses(), atol=1e-6)
    pictures = {path for path in sequence.inputs if path.suffix in (".png", ".jpg", ".npy")}
    assert len(pictures) == 2 * COUNT
    assert all(path.is_file() for path in sequence.inputs)


def test_mono_is_always_to_be_had(made: tuple[str, Path, list[float]]) -> None:
    _, folder, _ = made
    sequence = open_sequence(folder, sensor="mono")
    frames = list(sequence.frames())
    assert len(frames) == COUNT
    assert all(frame.depth is None and frame.right_gray is None for frame in frames)
    assert (sequence.depth_scale, sequence.right_from_left, sequence.depth_camera) == (None, None, None)


def test_one_unreadable_picture_costs_its_frame_and_a_sentence(made: tuple[str, Path, list[float]]) -> None:
    _, folder, _ = made
    broken = open_sequence(folder, sensor="mono").inputs[2]
    broken.write_bytes(broken.read_bytes()[:60])
    with open_sequence(folder).frames() as stream:
        frames = list(stream)
    assert [frame.index for frame in frames] == [0, 1, 3, 4]
    assert len(stream.problems) == 1
    assert str(broken) in stream.problems[0]


def baseline(sequence: Sequence) -> NDArray[np.float64]:
    assert sequence.right_from_left is not None
    assert sequence.right_camera is not None
    return sequence.right_from_left[:3, 3]


def test_stereo_pairs_know_how_they_stand(tmp_path: Path) -> None:
    make_kitti(tmp_path / "kitti")
    make_euroc(tmp_path / "euroc")
    np.testing.assert_allclose(baseline(open_sequence(tmp_path / "kitti")), (-0.5, 0.0, 0.0), atol=1e-12)
    np.testing.assert_allclose(baseline(open_sequence(tmp_path / "euroc")), (-0.11, 0.0, 0.0), atol=1e-9)


def test_one_camera_of_euroc_s_alone(tmp_path: Path) -> None:
    times = make_euroc(tmp_path)
    for place in (tmp_path / "mav0", tmp_path / "mav0" / "cam1"):
        sequence = open_sequence(place, sensor="mono")
        assert sequence.kind == "euroc"
        np.testing.assert_allclose([frame.time for frame in sequence.frames()], times, atol=1e-6)
    assert sequence.sensors == (Sensor.MONO,)
    # The right camera's path is the left one's, a baseline to the right of it.
    assert sequence.truth is not None
    right_from_left = sequence.truth.positions - poses()[:, :3, 3]
    np.testing.assert_allclose(right_from_left, 0.11 * poses()[:, :3, 0], atol=1e-6)


def test_depth_of_another_size_has_its_own_camera(tmp_path: Path) -> None:
    for name, make in (("scannet", make_scannet), ("stray", make_stray), ("record3d", make_record3d)):
        make(tmp_path / name)
        sequence = open_sequence(tmp_path / name)
        assert sequence.depth_camera is not None
        assert (sequence.depth_camera.width, sequence.depth_camera.height) == (32, 24)
        # ScanNet's own numbers are K halved; resizing keeps the corner of the picture in place.
        centre = 15.75 if name == "scannet" else 15.5
        np.testing.assert_allclose(sequence.depth_camera.params[:3], (30.0, 30.5, centre), atol=1e-9)
        assert sequence.color_from_depth is None


def test_a_depth_camera_that_stands_elsewhere(tmp_path: Path) -> None:
    make_scannet(tmp_path)
    shifted = np.eye(4)
    shifted[0, 3] = 0.04
    np.savetxt(tmp_path / "intrinsic/extrinsic_depth.txt", shifted)
    found = open_sequence(tmp_path).color_from_depth
    assert found is not None
    np.testing.assert_allclose(found, shifted, atol=1e-12)
