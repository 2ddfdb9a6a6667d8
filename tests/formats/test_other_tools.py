"""What other tools compute from our files, and what we compute from theirs."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats import FORMATS
from cv3d.formats.camera_file import CameraFile, ReadOptions
from cv3d.formats.content import Content
from cv3d.formats.reading import read_cameras
from cv3d.formats.writing import write_cameras
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

AFFINE = (612.3456789012345, 598.7654321098765, 319.123456789, 241.987654321)
SHAPES: dict[str, tuple[float, ...]] = {
    "pinhole": (),
    "brown4": (-0.28, 0.07, 1.2e-4, -5.5e-5),
    "brown5": (-0.28, 0.07, 1.2e-4, -5.5e-5, -3e-3),
    "brown8": (-0.28, 0.07, 1.2e-4, -5.5e-5, -3e-3, 0.011, -0.02, 1e-7),
    "brown12": (-0.28, 0.07, 1.2e-4, -5.5e-5, -3e-3, 0.011, -0.02, 1e-7, 1e-3, -2e-3, 3e-3, -4e-5),
    "kannala_brandt4": (0.03, -0.01, 5e-3, -1e-3),
    "ucm": (0.6123456789,),
    "omni": (1.23456789, -0.21, 0.05, 1e-4, -2e-5),
    "eucm": (0.58, 1.07),
    "double_sphere": (-0.18, 0.59),
    "division": (-0.21,),
}
BROWN = ("pinhole", "brown4", "brown5", "brown8", "brown12")


def camera(model: str) -> Camera:
    return Camera(model, 640, 480, AFFINE + SHAPES[model])


def points() -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    return np.column_stack([rng.uniform(-0.8, 0.8, 60), rng.uniform(-0.6, 0.6, 60), rng.uniform(1.1, 3.0, 60)])


def decode(name: str, text: str | bytes, options: ReadOptions | None = None) -> CameraFile:
    data = text if isinstance(text, bytes) else text.encode()
    return FORMATS[name].decode(Content(data, "their file"), options or ReadOptions())


# OpenCV


def read_by_opencv(text: str) -> cv2.FileStorage:
    return cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)


@pytest.mark.parametrize("name", ["opencv", "opencv-xml"])
@pytest.mark.parametrize("model", [*BROWN, "kannala_brandt4"])
def test_opencv_reads_and_projects_the_same(name: str, model: str) -> None:
    storage = read_by_opencv(FORMATS[name].dumps(camera(model)))
    matrix, coefficients = storage.getNode("camera_matrix").mat(), storage.getNode("distortion_coefficients").mat()
    assert (storage.getNode("image_width").real(), storage.getNode("image_height").real()) == (640, 480)
    assert matrix.dtype == np.float64
    if model == "kannala_brandt4":
        assert storage.getNode("distortion_model").string() == "fisheye"
        pixels = cv2.fisheye.projectPoints(points()[None], np.zeros(3), np.zeros(3), matrix, coefficients)[0]
    else:
        pixels = cv2.projectPoints(points()[:, None], np.zeros(3), np.zeros(3), matrix, coefficients)[0]
    assert np.abs(pixels.reshape(-1, 2) - camera(model).project(points())).max() < 1e-9


@pytest.mark.parametrize("name", ["opencv", "opencv-xml"])
def test_opencv_finds_xi(name: str) -> None:
    storage = read_by_opencv(FORMATS[name].dumps(camera("omni")))
    assert storage.getNode("xi").real() == SHAPES["omni"][0]
    assert storage.getNode("distortion_coefficients").mat().ravel().tolist() == list(SHAPES["omni"][1:])


@pytest.mark.parametrize("ending", [".yml", ".xml", ".json"])
@pytest.mark.parametrize("count", [4, 5, 8, 12, 14])
def test_what_opencv_writes_is_read(count: int, ending: str) -> None:
    storage = cv2.FileStorage(ending, cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    storage.write("calibration_time", "Mon 01 Jan 2024 10:00:00")
    storage.write("image_width", 640)
    storage.write("image_height", 480)
    storage.write("camera_matrix", np.array([[600.0, 0, 320.5], [0, 610.25, 240], [0, 0, 1]]))
    coefficients = np.concatenate([np.array(SHAPES["brown12"]), [0.0, 0.0]])[:count]
    storage.write("distortion_coefficients", coefficients[:, None])
    text = storage.releaseAndGetString()
    name = "opencv-xml" if ending == ".xml" else "opencv"
    for header in (text, text.replace("%YAML 1.2", "%YAML:1.0")):
        back = FORMATS[name].loads(header)
        assert back.model == {4: "brown4", 5: "brown5", 8: "brown8", 12: "brown12", 14: "brown12"}[count]
        assert back.params == (600.0, 610.25, 320.5, 240.0, *coefficients[:12])
    if (count, ending) == (4, ".yml"):
        assert FORMATS[name].loads(text + "fisheye_model: 1\n").model == "kannala_brandt4"


def test_lens_names_of_ros_in_files_of_opencv() -> None:
    fisheye = FORMATS["opencv"].dumps(camera("kannala_brandt4")).replace("model: fisheye", "model: equidistant")
    assert FORMATS["opencv"].loads(fisheye) == camera("kannala_brandt4")
    plumb_bob = FORMATS["opencv"].dumps(camera("brown5")).replace("model: brown5", "model: plumb_bob")
    assert FORMATS["opencv"].loads(plumb_bob) == camera("brown5")


def rotation() -> NDArray[np.float64]:
    return cv2.Rodrigues(np.array([0.02, -0.3, 0.05]))[0]


@pytest.mark.parametrize(
    "names", [("M", "D", "1", "2"), ("cameraMatrix", "distCoeffs", "1", "2"), ("K", "D", "_left", "_right")]
)
@pytest.mark.parametrize("ending", [".yml", ".xml"])
def test_stereo_files_of_opencv_are_read(names: tuple[str, str, str, str], ending: str) -> None:
    matrix, coefficients, left, right = names
    storage = cv2.FileStorage(ending, cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    storage.write(f"{matrix}{left}", camera("brown5").matrix)
    storage.write(f"{coefficients}{left}", np.array(SHAPES["brown5"])[None])
    storage.write(f"{matrix}{right}", camera("brown8").matrix)
    storage.write(f"{coefficients}{right}", np.array(SHAPES["brown8"])[None])
    storage.write("R", rotation())
    storage.write("T", np.array([[-0.12], [1e-3], [2e-3]]))
    text = storage.releaseAndGetString()
    name = "opencv-xml" if ending == ".xml" else "opencv"
    with pytest.raises(FormatError, match="--size"):
        decode(name, text)
    rig = decode(name, text, ReadOptions(size=(640, 480))).rig
    assert [one.camera for one in rig.cameras] == [camera("brown5"), camera("brown8")]
    expected = np.eye(4)
    expected[:3, :3], expected[:3, 3] = rotation(), (-0.12, 1e-3, 2e-3)
    assert np.abs(rig.cam_from_cam(1, 0) - expected).max() < 1e-12


def test_opencv_triangulates_with_our_pair() -> None:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation(), (-0.12, 1e-3, 2e-3)
    pair = Rig((RigCamera("left", camera("brown5"), np.eye(4)), RigCamera("right", camera("brown8"), pose)))
    storage = read_by_opencv(FORMATS["opencv"].encode(pair).decode())
    m1, d1, m2, d2, r, t = (storage.getNode(name).mat() for name in ("M1", "D1", "M2", "D2", "R", "T"))
    seen = points() + np.array([0.0, 0.0, 1.0])
    left = camera("brown5").project(seen)
    right = camera("brown8").project(seen @ pose[:3, :3].T + pose[:3, 3])
    ideal = [
        cv2.undistortPoints(px[:, None], m, d, criteria=(3, 200, 1e-15))
        for px, m, d in ((left, m1, d1), (right, m2, d2))
    ]
    found = cv2.triangulatePoints(np.eye(3, 4), np.hstack([r, t]), *(x[:, 0].T for x in ideal))
    assert np.abs((found[:3] / found[3]).T - seen).max() < 1e-6


# COLMAP

pycolmap_params = {
    "f": 400.0, "fx": 400.0, "fy": 410.0, "cx": 321.0, "cy": 243.0, "k": -0.05, "k0": 0.02, "k1": -0.03, "k2": 0.01,
    "k3": 0.002, "k4": -0.001, "k5": 1e-4, "k6": 1e-4, "p0": 1e-3, "p1": 1e-3, "p2": -2e-3, "sx1": 1e-3, "sy1": -5e-4,
    "s0": 1e-3, "s1": -5e-4, "s2": 3e-4, "s3": 1e-4, "omega": 0.9, "alpha": 0.6, "beta": 1.1,
}  # fmt: skip
COLMAP = {
    "SIMPLE_PINHOLE": "pinhole", "PINHOLE": "pinhole", "SIMPLE_RADIAL": "brown4", "RADIAL": "brown4",
    "OPENCV": "brown4", "FULL_OPENCV": "brown8",
    "OPENCV_FISHEYE": "kannala_brandt4", "SIMPLE_RADIAL_FISHEYE": "kannala_brandt4",
    "RADIAL_FISHEYE": "kannala_brandt4", "SIMPLE_FISHEYE": "kannala_brandt4", "FISHEYE": "kannala_brandt4",
    "SIMPLE_DIVISION": "division", "DIVISION": "division", "EUCM": "eucm",
}  # fmt: skip
FOREIGN = ("FOV", "THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE")


def img_from_cam(colmap_camera: Any, rays: NDArray[np.float64]) -> NDArray[np.float64]:
    """What pycolmap projects, brought to our pixel origin."""
    return np.array([colmap_camera.img_from_cam(ray) for ray in rays]).reshape(-1, 2) - 0.5


@pytest.mark.parametrize(
    "name", [*COLMAP, "FOV", *(pytest.param(name, marks=pytest.mark.slow) for name in FOREIGN if name != "FOV")]
)
@pytest.mark.slow
def test_colmap_models_project_as_pycolmap(name: str) -> None:
    pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is in the extra 'bench'")
    theirs = pycolmap.Camera.create_from_model_id(1, getattr(pycolmap.CameraModelId, name), 400.0, 640, 480)
    theirs.params = [pycolmap_params[key] for key in theirs.params_info.split(", ")]
    words = " ".join(repr(float(value)) for value in theirs.params)
    read = decode("colmap", f"7 {name} 640 480 {words}\n")
    ours = read.rig.cameras[0].camera
    rays = points() / np.linalg.norm(points(), axis=1, keepdims=True)
    off = np.linalg.norm(img_from_cam(theirs, rays) - ours.project(rays), axis=1)
    if name in COLMAP:
        assert (ours.model, dict(read.stand_ins)) == (COLMAP[name], {})
        assert off.max() < 1e-9
        return
    stand_in = read.stand_ins["7"]
    assert (stand_in.original, stand_in.model) == (name, ours.model)
    assert off.max() <= 1.2 * stand_in.max_px + 1e-6
    assert stand_in.rms_px <= stand_in.max_px < 0.02


@pytest.mark.parametrize("model", ["pinhole", "brown4", "brown5", "brown8", "kannala_brandt4", "division", "eucm"])
@pytest.mark.parametrize("name", ["colmap", "colmap-bin"])
def test_pycolmap_reads_ours(name: str, model: str, tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is in the extra 'bench'")
    form = FORMATS[name]
    (tmp_path / form.file_name).write_bytes(form.encode(Rig((RigCamera("5", camera(model)),))))
    ending = ".bin" if form.is_binary else ".txt"
    for other in ("images", "points3D"):
        (tmp_path / f"{other}{ending}").write_bytes(b"\0" * 8 if form.is_binary else b"")
    theirs = pycolmap.Reconstruction(tmp_path).cameras[5]
    assert (theirs.width, theirs.height) == (640, 480)
    assert np.abs(img_from_cam(theirs, points()) - camera(model).project(points())).max() < 1e-9


@pytest.mark.parametrize("name", ["colmap", "colmap-bin"])
def test_pycolmap_and_we_read_each_others_rigs(name: str, tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is in the extra 'bench'")
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation(), (-0.12, 1e-3, 2e-3)
    rig = Rig((RigCamera("left", camera("brown4"), np.eye(4)), RigCamera("right", camera("eucm"), pose)))
    for file, data in write_cameras(rig, FORMATS[name]).files.items():
        (tmp_path / file).write_bytes(data)
    for other in ("images", "points3D", "frames"):
        (tmp_path / (f"{other}.bin" if name == "colmap-bin" else f"{other}.txt")).write_bytes(
            b"\0" * 8 if name == "colmap-bin" else b""
        )
    reconstruction = pycolmap.Reconstruction(tmp_path)
    (theirs,) = reconstruction.rigs.values()
    sensor = pycolmap.sensor_t(type=pycolmap.SensorType.CAMERA, id=2)
    assert np.abs(theirs.sensor_from_rig(sensor).matrix() - pose[:3]).max() < 1e-12
    folder = tmp_path / "theirs"
    folder.mkdir()
    (reconstruction.write_binary if name == "colmap-bin" else reconstruction.write_text)(folder)
    back = read_cameras(folder)
    assert [one.camera for one in back.cameras] == [one.camera for one in rig.cameras]
    assert np.abs(back.cam_from_cam(1, 0) - pose).max() < 1e-12


def test_colmap_origin_is_the_corner() -> None:
    text = FORMATS["colmap"].dumps(Camera("pinhole", 640, 480, (500.0, 510.0, 319.5, 239.5)))
    assert text.splitlines()[-1].split() == ["1", "PINHOLE", "640", "480", "500.0", "510.0", "320.0", "240.0"]


def test_the_simplest_model_that_says_the_same() -> None:
    read = decode("colmap", "# Camera list\n\n1 FULL_OPENCV 640 480 500 501 320 240 1 2 3 4 5 0 0 0\n")
    assert read.rig.cameras[0].camera == Camera("brown5", 640, 480, (500, 501, 319.5, 239.5, 1, 2, 3, 4, 5))


# ROS


def image_geometry(text: str, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """camera_calibration_parsers' keys and image_geometry's formulas, written out."""
    info = yaml.safe_load(text)
    assert set(info) >= {"image_width", "image_height", "camera_name", "distortion_model", "projection_matrix"}
    for key, shape in (("camera_matrix", (3, 3)), ("rectification_matrix", (3, 3)), ("projection_matrix", (3, 4))):
        assert (info[key]["rows"], info[key]["cols"]) == shape
        assert len(info[key]["data"]) == shape[0] * shape[1]
    fx, _, cx, _, fy, cy, *_ = info["camera_matrix"]["data"]
    d = info["distortion_coefficients"]["data"]
    assert len(d) == {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}[info["distortion_model"]]
    x, y = at[:, 0] / at[:, 2], at[:, 1] / at[:, 2]
    r2 = x**2 + y**2
    if info["distortion_model"] == "equidistant":
        theta = np.arctan(np.sqrt(r2))
        scale = theta * (1 + d[0] * theta**2 + d[1] * theta**4 + d[2] * theta**6 + d[3] * theta**8) / np.sqrt(r2)
        return np.column_stack([fx * x * scale + cx, fy * y * scale + cy])
    k1, k2, p1, p2, k3, k4, k5, k6 = [*d, 0.0, 0.0, 0.0][:8]
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
    v = y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
    return np.column_stack([fx * u + cx, fy * v + cy])


@pytest.mark.parametrize("model", ["pinhole", "brown4", "brown5", "brown8", "kannala_brandt4"])
def test_a_ros_parser_reads_ours(model: str) -> None:
    text = FORMATS["ros"].encode(Rig((RigCamera("left: eye", camera(model)),))).decode()
    assert yaml.safe_load(text)["camera_name"] == "left: eye"
    assert np.abs(image_geometry(text, points()) - camera(model).project(points())).max() < 1e-9


@pytest.mark.parametrize("letters", ["DKRP", "dkrp"])
def test_an_echoed_message_is_read(letters: str) -> None:
    d, k, r, p = letters
    text = f"""header:
  seq: 12
  frame_id: "camera"
height: 480
width: 640
distortion_model: "plumb_bob"
{d}: [-0.28, 0.07, 0.00012, -5.5e-05, 0.0]
{k}: [612.5, 0.0, 319.0, 0.0, 598.5, 242.0, 0.0, 0.0, 1.0]
{r}: [0.999, 0.02, 0.0, -0.02, 0.999, 0.0, 0.0, 0.0, 1.0]
{p}: [600.0, 0.0, 320.0, -72.0, 0.0, 600.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 0
binning_y: 1
roi:
  x_offset: 0
  y_offset: 0
  height: 0
  width: 0
  do_rectify: False
---
"""
    expected = Camera("brown4", 640, 480, (612.5, 598.5, 319.0, 242.0, -0.28, 0.07, 0.00012, -5.5e-05))
    assert decode("ros", text).rig.cameras[0].camera == expected


# Kalibr


def test_kalibr_omni_is_ucm_at_another_scale() -> None:
    """Mei and Rives 2007: the point on the unit sphere, seen from xi behind its centre."""
    parsed = yaml.safe_load(FORMATS["kalibr"].dumps(camera("ucm")))["cam0"]
    assert (parsed["camera_model"], parsed["distortion_model"]) == ("omni", "none")
    xi, fu, fv, pu, pv = parsed["intrinsics"]
    on_sphere = points() / np.linalg.norm(points(), axis=1, keepdims=True)
    m = on_sphere[:, :2] / (on_sphere[:, 2:] + xi)
    assert np.abs(m * [fu, fv] + [pu, pv] - camera("ucm").project(points())).max() < 1e-10


def test_kalibr_order_of_intrinsics() -> None:
    def fields(model: str) -> dict[str, Any]:
        parsed: dict[str, Any] = yaml.safe_load(FORMATS["kalibr"].dumps(camera(model)))["cam0"]
        return parsed

    assert fields("double_sphere")["intrinsics"] == [-0.18, 0.59, *AFFINE]
    assert fields("eucm")["intrinsics"] == [0.58, 1.07, *AFFINE]
    assert fields("omni")["intrinsics"] == [1.23456789, *AFFINE]
    assert fields("omni")["distortion_coeffs"] == list(SHAPES["omni"][1:])
    assert fields("omni")["resolution"] == [640, 480]


def test_kalibr_cannot_say_a_parabolic_mirror() -> None:
    with pytest.raises(FormatError, match="alpha < 1"):
        FORMATS["kalibr"].dumps(Camera("ucm", 640, 480, (*AFFINE, 1.0)))


KALIBR_WIKI = """
cam0:
  camera_model: pinhole
  intrinsics: [461.629, 460.152, 362.680, 246.049]
  distortion_model: radtan
  distortion_coeffs: [-0.27695497, 0.06712482, 0.00087538, 0.00011556]
  T_cam_imu:
  - [0.01779318, 0.99967549, -0.01822936, 0.07008565]
  - [-0.9998017, 0.01795239, 0.00860714, -0.01771023]
  - [0.00893160, 0.01807260, 0.99979678, 0.00399246]
  - [0.0, 0.0, 0.0, 1.0]
  timeshift_cam_imu: -8.121e-05
  rostopic: /cam0/image_raw
  resolution: [752, 480]
cam1:
  camera_model: omni
  intrinsics: [0.80065662, 833.006, 830.345, 373.850, 253.749]
  distortion_model: radtan
  distortion_coeffs: [-0.33518750, 0.13211436, 0.00055967, 0.00057686]
  T_cn_cnm1:
  - [0.99998854, 0.00216014, 0.00427195, -0.11003785]
  - [-0.00221074, 0.99992702, 0.01187697, 0.00045792]
  - [-0.00424598, -0.01188627, 0.99992034, -0.00064487]
  - [0.0, 0.0, 0.0, 1.0]
  rostopic: /cam1/image_raw
  resolution: [752, 480]
"""


def test_kalibr_file_from_its_manual() -> None:
    rig = decode("kalibr", KALIBR_WIKI).rig
    first = (461.629, 460.152, 362.680, 246.049, -0.27695497, 0.06712482, 0.00087538, 0.00011556)
    second = (833.006, 830.345, 373.850, 253.749, 0.80065662, -0.33518750, 0.13211436, 0.00055967, 0.00057686)
    assert [one.name for one in rig.cameras] == ["cam0", "cam1"]
    assert [one.camera for one in rig.cameras] == [Camera("brown4", 752, 480, first), Camera("omni", 752, 480, second)]
    assert rig.baseline(0, 1) == pytest.approx(0.1100, abs=1e-4)
    cam1_from_cam0 = rig.cam_from_cam(1, 0)
    assert cam1_from_cam0[0, 3] == pytest.approx(-0.11003785)
    assert np.abs(cam1_from_cam0[:3, :3] @ cam1_from_cam0[:3, :3].T - np.eye(3)).max() < 1e-14


def test_kalibr_fov_is_read_as_the_closest() -> None:
    text = (
        FORMATS["kalibr"]
        .dumps(camera("pinhole"))
        .replace("model: none", "model: fov")
        .replace("[]\n  dist", "[0.9]\n  dist")
    )
    read = decode("kalibr", text)
    omega = 0.9
    seen = points()[np.abs(points()[:, :2] / points()[:, 2:]).max(1) < 0.4]
    x, y = seen[:, 0] / seen[:, 2], seen[:, 1] / seen[:, 2]
    r = np.hypot(x, y)
    scale = np.arctan(2 * r * math.tan(omega / 2)) / omega / r
    expected = np.column_stack([AFFINE[0] * x * scale + AFFINE[2], AFFINE[1] * y * scale + AFFINE[3]])
    off = np.linalg.norm(read.rig.cameras[0].camera.project(seen) - expected, axis=1)
    assert off.max() < 3e-3
    assert read.stand_ins["cam0"].original == "pinhole-fov"
    assert read.stand_ins["cam0"].max_px < 3e-3


# mrcal

MRCAL_POINTS = np.array([[1.0, 2.0, 10.0], [-1.1, 0.3, 1.0], [-0.9, -1.5, 1.0]])
MRCAL_PIXELS = {
    "LENSMODEL_PINHOLE": ([], [[651.2, 555.4], [-1163.2, 666.6], [-860.8, -1335.0]]),
    "LENSMODEL_STEREOGRAPHIC": (
        [],
        [[649.35582325, 552.6874014], [-821.79644263, 598.1222302], [-402.7032835, -773.48815174]],
    ),
    "LENSMODEL_OPENCV4": (
        [-0.012, 0.035, -0.001, 0.002],
        [[651.27371, 555.23042], [-1223.38516, 678.01468], [-1246.7310448, -1822.799928]],
    ),
    "LENSMODEL_OPENCV5": (
        [-0.012, 0.035, -0.001, 0.002, 0.019],
        [[651.2740691, 555.2309482], [-1292.8121176, 691.9401448], [-1987.550162, -2730.85863427]],
    ),
    "LENSMODEL_OPENCV8": (
        [-0.012, 0.035, -0.001, 0.002, 0.019, 0.014, -0.056, 0.050],
        [[651.1885442, 555.10514968], [-1234.45480366, 680.23499814], [-770.03274263, -1238.4871943]],
    ),
}
"""mrcal's own regression values for intrinsics 1512 1112 500 333 (its test/test-projections.py)."""


def cameramodel(name: str, intrinsics: list[float], size: tuple[int, int] = (1000, 666)) -> str:
    return (
        f"# generated\n{{\n 'lensmodel':  '{name}',\n 'intrinsics': {intrinsics}, # fx fy cx cy\n"
        f" 'extrinsics': [ 0.1, 0.2, -0.3, 1.0, 2.0, 3.0,],\n 'imagersize': [ {size[0]}, {size[1]},],\n\n"
        " 'optimization_inputs': b'GYWpo0tcs&b-Ol#00961',\n}\n"
    )


@pytest.mark.parametrize("name", MRCAL_PIXELS)
def test_mrcal_models_project_as_mrcal(name: str) -> None:
    shape, expected = MRCAL_PIXELS[name]
    read = decode("mrcal", cameramodel(name, [1512.0, 1112.0, 500.0, 333.0, *shape])).rig.cameras[0]
    assert np.abs(read.camera.project(MRCAL_POINTS) - expected).max() < 1e-5
    expected_pose = np.eye(4)
    expected_pose[:3, :3], expected_pose[:3, 3] = cv2.Rodrigues(np.array([0.1, 0.2, -0.3]))[0], (1.0, 2.0, 3.0)
    assert np.abs(read.cam_from_cam0 - expected_pose).max() < 1e-12


@pytest.mark.slow
def test_mrcal_cahvor_is_read_as_the_closest() -> None:
    intrinsics = [4842.918, 4842.771, 1970.528, 1085.302, -0.001, 0.002, -0.637, -0.002, 0.016]
    read = decode("mrcal", cameramodel("LENSMODEL_CAHVOR", intrinsics, (3840, 2160)))
    projected = read.rig.cameras[0].camera.project(MRCAL_POINTS[:1])
    assert np.abs(projected - [[2143.17840406, 1442.93419919]]).max() < 0.01
    assert read.stand_ins["camera"].original == "LENSMODEL_CAHVOR"
    assert read.stand_ins["camera"].max_px < 0.1


def test_mrcal_reads_ours_as_a_dict() -> None:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation(), (-0.12, 1e-3, 2e-3)
    model = ast.literal_eval(FORMATS["mrcal"].encode(Rig((RigCamera("right", camera("brown8"), pose),))).decode())
    assert set(model) == {"lensmodel", "intrinsics", "extrinsics", "imagersize"}
    assert model["lensmodel"] == "LENSMODEL_OPENCV8"
    assert model["imagersize"] == [640, 480]
    fx, fy, cx, cy, *coefficients = model["intrinsics"]
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    seen = points() + np.array([0.0, 0.0, 1.0])
    r, t = np.array(model["extrinsics"][:3]), np.array(model["extrinsics"][3:])
    pixels = cv2.projectPoints(seen[:, None], r, t, matrix, np.array(coefficients))[0][:, 0]
    expected = camera("brown8").project(seen @ pose[:3, :3].T + pose[:3, 3])
    assert np.abs(pixels - expected).max() < 1e-9


def test_mrcal_splined_name_is_the_configuration() -> None:
    name = "splined_stereographic_o3_8x6_fov80"
    splined = Camera(name, 640, 480, (*AFFINE, *(0.0,) * 96))
    model = ast.literal_eval(FORMATS["mrcal"].dumps(splined))
    assert model["lensmodel"] == "LENSMODEL_SPLINED_STEREOGRAPHIC_order=3_Nx=8_Ny=6_fov_x_deg=80"
    assert len(model["intrinsics"]) == 4 + 2 * 8 * 6


# Basalt, nerfstudio, EuRoC


def test_basalt_formulas() -> None:
    """Usenko et al. 2018, eq. 40 to 43, from the file's own names."""
    value = json.loads(FORMATS["basalt"].dumps(camera("double_sphere")))["value0"]
    assert value["resolution"] == [[640, 480]]
    assert value["T_imu_cam"] == [{"px": 0.0, "py": 0.0, "pz": 0.0, "qx": 0.0, "qy": 0.0, "qz": 0.0, "qw": 1.0}]
    assert value["intrinsics"][0]["camera_type"] == "ds"
    p = value["intrinsics"][0]["intrinsics"]
    x, y, z = points().T
    d1 = np.sqrt(x**2 + y**2 + z**2)
    d2 = np.sqrt(x**2 + y**2 + (p["xi"] * d1 + z) ** 2)
    denominator = p["alpha"] * d2 + (1 - p["alpha"]) * (p["xi"] * d1 + z)
    pixels = np.column_stack([p["fx"] * x / denominator + p["cx"], p["fy"] * y / denominator + p["cy"]])
    assert np.abs(pixels - camera("double_sphere").project(points())).max() < 1e-10


def test_basalt_file_of_a_headset_is_read() -> None:
    """The Valve Index of the Monado SLAM data sets."""
    text = """{"value0": {"T_imu_cam": [
      {"px": 0.06917789, "py": 0.12085668, "pz": 0.01266730,
       "qx": -0.02742156, "qy": -0.02686199, "qz": -0.70109105, "qw": 0.71203779},
      {"px": 0.06906817, "py": -0.01292546, "pz": 0.01302183,
       "qx": 0.02073643, "qy": 0.03311656, "qz": -0.69866682, "qw": 0.71437942}],
     "intrinsics": [{"camera_type": "kb4", "intrinsics": {"fx": 420.5, "fy": 420.6, "cx": 469.4, "cy": 479.1,
        "k1": 0.19, "k2": 0.04, "k3": -0.23, "k4": 0.09}},
      {"camera_type": "kb4", "intrinsics": {"fx": 421.2, "fy": 421.4, "cx": 467.7, "cy": 484.4,
        "k1": 0.19, "k2": 0.05, "k3": -0.24, "k4": 0.10}}],
     "resolution": [[960, 960], [960, 960]], "imu_update_rate": 1000.0}}"""
    rig = decode("basalt", text).rig
    assert [one.camera.model for one in rig.cameras] == ["kannala_brandt4"] * 2
    assert rig.baseline(0, 1) == pytest.approx(0.1338, abs=1e-4)
    # A headset's cameras look side by side: the second lies to the side, along the first one's x axis.
    centre_of_second = rig.cam_from_cam(0, 1)[:3, 3]
    assert abs(centre_of_second[0]) > 0.95 * rig.baseline(0, 1)


def test_nerfstudio_pixel_origin_and_fields() -> None:
    fields = json.loads(FORMATS["nerfstudio"].dumps(camera("brown5")))
    assert (fields["camera_model"], fields["w"], fields["h"]) == ("OPENCV", 640, 480)
    assert (fields["cx"], fields["cy"]) == (AFFINE[2] + 0.5, AFFINE[3] + 0.5)
    assert [fields[key] for key in ("k1", "k2", "p1", "p2", "k3")] == list(SHAPES["brown5"])
    fisheye = json.loads(FORMATS["nerfstudio"].dumps(camera("kannala_brandt4")))
    assert (fisheye["camera_model"], fisheye["is_fisheye"]) == ("OPENCV_FISHEYE", True)


def test_nerfstudio_frames_may_have_cameras_of_their_own() -> None:
    frames = [{"fl_x": f, "fl_y": f, "cx": 320, "cy": 240, "file_path": "a.png"} for f in (500.0, 600.0, 500.0)]
    rig = decode("nerfstudio", json.dumps({"w": 640, "h": 480, "camera_model": "PINHOLE", "frames": frames})).rig
    assert [one.camera.params[0] for one in rig.cameras] == [500.0, 600.0]
    assert not rig.is_posed
    blender = {"camera_angle_x": 2 * math.atan(0.5), "w": 640, "h": 480, "frames": [{"file_path": "a.png"}]}
    expected = Camera("pinhole", 640, 480, (640.0, 640.0, 319.5, 239.5))
    read = decode("nerfstudio", json.dumps(blender)).rig.cameras[0].camera
    assert read.model == "pinhole"
    assert read.params == pytest.approx(expected.params)
    del blender["w"], blender["h"]
    with pytest.raises(FormatError, match="--size"):
        decode("nerfstudio", json.dumps(blender))
    marked = {"is_fisheye": True, "fl_x": 300, "w": 640, "h": 480, "k1": 0.1}
    assert decode("nerfstudio", json.dumps(marked)).rig.cameras[0].camera.shape == (0.1, 0, 0, 0)
