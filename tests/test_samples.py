"""The shipped samples: what their ground truth says is what their pictures show."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples"
Floats = NDArray[np.float64]


def truth(folder: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((SAMPLES / folder / "ground_truth.json").read_text())
    return content


def read(path: Path, flags: int) -> NDArray[Any]:
    picture = cv2.imread(str(path), flags)
    assert picture is not None, path
    return picture


def board_of(entry: dict[str, Any]) -> Board:
    return Board(**{**entry, "type": BoardType(entry["type"])})


def pictures(folder: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Camera and ground-truth entry of every picture of a board set."""
    content = truth(folder)
    if folder == "stereo":
        return [(content["cameras"][side], p) for side, name in enumerate(("left", "right")) for p in content[name]]
    return [(content["camera"], p) for p in content["pictures"]]


def project(camera: dict[str, Any], cam_from_world: Floats, points: Floats) -> Floats:
    """OpenCV's projection of points (n, 3) through a ground-truth camera: pixels (n, 2)."""
    p = camera["params"]
    matrix = np.array([[p["fx"], 0, p["cx"]], [0, p["fy"], p["cy"]], [0, 0, 1]])
    rotation, translation = cv2.Rodrigues(cam_from_world[:3, :3])[0], cam_from_world[:3, 3]
    points = np.ascontiguousarray(points.reshape(1, -1, 3))
    if camera["model"] == "kannala_brandt4":
        distortion = np.array([p["k1"], p["k2"], p["k3"], p["k4"]])
        pixels, _ = cv2.fisheye.projectPoints(points, rotation, translation, matrix, distortion)
        return np.asarray(pixels, np.float64).reshape(-1, 2)
    distortion = np.array([p.get(name, 0.0) for name in ("k1", "k2", "p1", "p2", "k3")])
    pixels, _ = cv2.projectPoints(points, rotation, translation, matrix, distortion)
    return np.asarray(pixels, np.float64).reshape(-1, 2)


def corner_errors(folder: str, entry: dict[str, Any], window: int) -> Floats:
    """Refined minus true pixels (n, 2) of the corners that are not at the picture's very border."""
    gray = read(SAMPLES / folder / entry["file"], cv2.IMREAD_GRAYSCALE)
    exact = np.array(entry["pixels"])
    size = np.array(gray.shape[::-1])
    exact = exact[((exact > window + 2) & (exact < size - window - 3)).all(axis=1)]
    start = exact + np.random.default_rng(0).normal(0.0, 0.3, exact.shape)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 100, 1e-4)
    corners = start.astype(np.float32).reshape(-1, 1, 2).copy()
    found = cv2.cornerSubPix(gray, corners, (window, window), (-1, -1), criteria)
    errors: Floats = np.asarray(found, np.float64).reshape(-1, 2) - exact
    return errors


@pytest.mark.parametrize("folder", ["checkerboard", "charuco_fisheye", "stereo"])
def test_true_pixels_are_what_opencv_projects(folder: str) -> None:
    for camera, entry in pictures(folder):
        points = board_of(truth(folder)["board"]).points_m()[entry["point_ids"]]
        pixels = project(camera, np.array(entry["cam_from_board"]), points)
        np.testing.assert_allclose(pixels, entry["pixels"], rtol=0, atol=1e-6, err_msg=entry["file"])


@pytest.mark.parametrize(("folder", "window"), [("checkerboard", 6), ("charuco_fisheye", 3), ("stereo", 4)], ids=str)
def test_pictures_show_the_corners_where_the_truth_puts_them(folder: str, window: int) -> None:
    for _, entry in pictures(folder)[1:12:4]:
        errors = corner_errors(folder, entry, window)
        assert len(errors) >= 20
        assert np.abs(errors.mean(axis=0)).max() < 0.03, entry["file"]
        assert np.sqrt((errors**2).mean()) < 0.1, entry["file"]


def test_corners_of_whole_sets_are_unbiased() -> None:
    errors = np.concatenate([corner_errors("checkerboard", entry, 6) for _, entry in pictures("checkerboard")])
    assert np.abs(errors.mean(axis=0)).max() < 0.005
    assert np.sqrt((errors**2).mean()) < 0.05


def test_checkerboards_are_whole_except_the_cut_ones() -> None:
    counts = [len(entry["point_ids"]) for _, entry in pictures("checkerboard")]
    assert sum(count == 54 for count in counts) == len(counts) - 2
    seen = np.concatenate([entry["pixels"] for _, entry in pictures("checkerboard")])
    assert seen.min() < 60
    assert (seen.max(axis=0) > np.array([1280, 960]) - 70).all()


def test_charuco_markers_are_read_by_opencv() -> None:
    content = truth("charuco_fisheye")
    entry = content["board"]
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{entry['dictionary']}"))
    square = entry["square_m"]
    size = (entry["cols"], entry["rows"])
    board = cv2.aruco.CharucoBoard(size, square, entry["marker_ratio"] * square, dictionary)
    detector = cv2.aruco.CharucoDetector(board)
    for camera, picture in pictures("charuco_fisheye")[::5]:
        gray = read(SAMPLES / "charuco_fisheye" / picture["file"], cv2.IMREAD_GRAYSCALE)
        _, _, marker_corners, marker_ids = detector.detectBoard(gray)
        assert len(marker_ids) >= 12
        pose = np.array(picture["cam_from_board"])
        for corners, marker in zip(marker_corners, marker_ids.ravel(), strict=True):
            local = np.asarray(board.getObjPoints()[int(marker)], np.float64) - [square, square, 0.0]
            assert np.abs(project(camera, pose, local) - corners.reshape(4, 2)).max() < 3.0


def test_charuco_pattern_is_the_one_opencv_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SAMPLES))
    boards = importlib.import_module("rendering.boards")
    drawn = boards.Charuco(6, 8, 0.03, 0.75, "5X5_100", (0.0, 0.0))
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_100)
    pixels = 56
    printed = cv2.aruco.CharucoBoard((8, 6), 0.03, 0.0225, dictionary).generateImage((8 * pixels, 6 * pixels))
    y, x = (0.03 * ((np.mgrid[0 : 6 * pixels, 0 : 8 * pixels] + 0.5) / pixels - 1.0)).reshape(2, -1)
    np.testing.assert_array_equal(drawn.ink(x, y), printed.ravel() < 128)


def test_stereo_poses_agree_with_the_rig() -> None:
    content = truth("stereo")
    cam1_from_cam0 = np.array(content["cam1_from_cam0"])
    assert np.linalg.norm(cam1_from_cam0[:3, 3]) == pytest.approx(0.12, abs=0.005)
    for left, right in zip(content["left"], content["right"], strict=True):
        assert left["point_ids"] == right["point_ids"] == list(range(35))
        np.testing.assert_allclose(cam1_from_cam0 @ np.array(left["cam_from_board"]), right["cam_from_board"])


@pytest.fixture(scope="module")
def clip() -> tuple[dict[str, Any], list[NDArray[np.uint8]], list[float]]:
    """Ground truth, decoded grey frames and stamps."""
    content = json.loads((SAMPLES / "room_ground_truth.json").read_text())
    with av.open(str(SAMPLES / "room.mp4")) as container:
        frames = [
            (frame.to_ndarray(format="gray").astype(np.uint8), float(frame.time)) for frame in container.decode(video=0)
        ]
    return content, [gray for gray, _ in frames], [stamp for _, stamp in frames]


def test_clip_has_the_stated_frames_at_the_stated_times(clip: tuple[Any, ...]) -> None:
    content, frames, stamps = clip
    assert len(frames) == content["frame_count"] == len(content["frames"])
    assert frames[0].shape == (content["camera"]["height"], content["camera"]["width"])
    np.testing.assert_allclose(stamps, [frame["time_s"] for frame in content["frames"]], atol=1e-3)


def test_tum_trajectory_is_the_same_as_the_matrices(clip: tuple[Any, ...]) -> None:
    rows = np.loadtxt(SAMPLES / "room_trajectory.tum")
    for row, frame in zip(rows, clip[0]["frames"], strict=True):
        x, y, z, w = row[4:]
        turned = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        pose = np.array(frame["world_from_cam"])
        assert row[0] == pytest.approx(frame["time_s"], abs=1e-6)
        np.testing.assert_allclose(row[1:4], pose[:3, 3], atol=1e-8)
        np.testing.assert_allclose(turned, pose[:3, :3], atol=1e-7)


def read_mesh() -> tuple[Floats, NDArray[np.int32]]:
    """Vertices (v, 3) and triangles (f, 3) of the room."""
    content = (SAMPLES / "room_mesh.ply").read_bytes()
    header, body = content.split(b"end_header\n", 1)
    counts = {line.split()[1]: int(line.split()[2]) for line in header.splitlines() if line.startswith(b"element")}
    vertices = np.frombuffer(body, "<f4", 3 * counts[b"vertex"]).reshape(-1, 3)
    rows = np.frombuffer(body[vertices.nbytes :], np.dtype([("count", "u1"), ("indices", "<i4", 3)]))
    assert len(rows) == counts[b"face"]
    return vertices.astype(np.float64), rows["indices"]


def ray_depth(vertices: Floats, faces: NDArray[np.int32], origin: Floats, ray: Floats) -> float:
    """Distance along `ray` to the nearest triangle that faces it (Moeller and Trumbore, 1997)."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    side, height = b - a, c - a
    p = np.cross(ray, height)
    determinant = (side * p).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_origin = origin - a
        u = (to_origin * p).sum(axis=1) / determinant
        q = np.cross(to_origin, side)
        v = q @ ray / determinant
        distance = (height * q).sum(axis=1) / determinant
        hit = (determinant > 0) & (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0)
    return float(distance[hit].min())


def test_depth_pictures_agree_with_the_mesh_and_the_poses() -> None:
    vertices, faces = read_mesh()
    camera = json.loads((SAMPLES / "rgbd" / "intrinsics.json").read_text())
    p = camera["params"]
    poses = np.loadtxt(SAMPLES / "rgbd" / "poses.txt").reshape(-1, 3, 4)
    rng = np.random.default_rng(0)
    ratios = []
    for index in (0, 14, 29):
        depth = read(SAMPLES / "rgbd" / "depth" / f"{index:06d}.png", cv2.IMREAD_UNCHANGED)
        assert depth.dtype == np.uint16
        assert depth.shape == (camera["height"], camera["width"])
        for u, v in zip(rng.integers(0, depth.shape[1], 12), rng.integers(0, depth.shape[0], 12), strict=True):
            ray = np.array([(u - p["cx"]) / p["fx"], (v - p["cy"]) / p["fy"], 1.0])
            exact = ray_depth(vertices, faces, poses[index, :, 3], poses[index, :, :3] @ ray)
            if depth[v, u]:
                ratios.append((depth[v, u] / camera["depth_scale"] - exact) / exact**2)
    assert len(ratios) >= 30
    assert np.mean(np.abs(ratios) < 0.007) > 0.9
    assert np.std(np.sort(ratios)[2:-2]) == pytest.approx(1.6e-3, rel=0.5)


def test_depth_and_poses_carry_pictures_onto_clip_frames(clip: tuple[Any, ...]) -> None:
    content, frames, _ = clip
    camera = json.loads((SAMPLES / "rgbd" / "intrinsics.json").read_text())
    p = camera["params"]
    times = np.loadtxt(SAMPLES / "rgbd" / "times.txt")
    poses = np.loadtxt(SAMPLES / "rgbd" / "poses.txt").reshape(-1, 3, 4)
    for index, later in ((0, 12), (15, 9)):
        gray = read(SAMPLES / "rgbd" / "color" / f"{index:06d}.jpg", cv2.IMREAD_GRAYSCALE)
        depth = read(SAMPLES / "rgbd" / "depth" / f"{index:06d}.png", cv2.IMREAD_UNCHANGED) / 1000.0
        y, x = np.mgrid[8 : gray.shape[0] - 8 : 2, 8 : gray.shape[1] - 8 : 2].reshape(2, -1)
        z = depth[y, x]
        in_camera = np.stack([(x - p["cx"]) / p["fx"] * z, (y - p["cy"]) / p["fy"] * z, z])[:, z > 0]
        world = (poses[index, :, :3] @ in_camera + poses[index, :, 3:]).T
        target = round(float(times[index]) * content["fps"]) + later
        cam_from_world = np.linalg.inv(np.array(content["frames"][target]["world_from_cam"]))
        pixels = project(content["camera"], cam_from_world, world).astype(np.float32)

        seen, frame = gray[y, x][z > 0], frames[target]
        assert likeness(frame, pixels, seen) > 0.8
        assert likeness(frame, pixels, seen) > max(likeness(frame, pixels + np.float32(d), seen) for d in (1.5, -1.5))


def likeness(frame: NDArray[np.uint8], pixels: NDArray[np.float32], seen: NDArray[np.uint8]) -> float:
    """Correlation of a frame at pixels (n, 2) with the grey values (n,) expected there."""
    height, width = frame.shape
    inside = ((pixels > 5) & (pixels < (width - 6, height - 6))).all(axis=1)
    at = np.ascontiguousarray(pixels[inside]).reshape(-1, 1, 2)
    there = cv2.remap(frame, at[..., 0], at[..., 1], cv2.INTER_LINEAR).ravel()
    return float(np.corrcoef(there, seen[inside])[0, 1])


@pytest.mark.slow
def test_rendering_again_gives_the_shipped_picture(tmp_path: Path) -> None:
    command = [sys.executable, str(SAMPLES / "render.py"), "stereo", "--only", "9", "--jobs", "1", "-o", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    assert json.loads((tmp_path / "stereo" / "ground_truth.json").read_text()) == truth("stereo")
    for side in ("left", "right"):
        name = f"stereo/{side}/009.jpg"
        again, shipped = (read(root / name, cv2.IMREAD_COLOR).astype(np.int16) for root in (tmp_path, SAMPLES))
        assert np.abs(again - shipped).max() <= 2


def test_samples_stay_small() -> None:
    size = sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert size < 9e6
