"""Camera files: every model that a format can say comes back as it went in, and projects as the other tool would."""

from __future__ import annotations

import json
import locale

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats import CAMERA_FORMATS, colmap, cv3d_camera, kalibr, opencv_yaml, ros_camera_info
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.registry import MODELS

AFFINE = (612.3456789012345, 598.7654321098765, 319.123456789, 241.987654321)
SHAPES = {
    "pinhole": (),
    "brown4": (-0.28123456789, 0.07, 1.2e-4, -5.5e-5),
    "brown5": (-0.28123456789, 0.07, 1.2e-4, -5.5e-5, -3e-3),
    "brown8": (-0.28, 0.07, 1.2e-4, -5.5e-5, -3e-3, 0.011, -0.02, 1e-7),
    "brown12": (-0.28, 0.07, 1.2e-4, -5.5e-5, -3e-3, 0.011, -0.02, 1e-7, 1e-3, -2e-3, 3e-3, -4e-5),
    "kannala_brandt4": (0.03, -0.01, 5e-3, -1e-22),
    "ucm": (0.6123456789,),
    "omni": (1.23456789, -0.21, 0.05, 1e-4, -2e-5),
    "eucm": (0.58, 1.07),
    "double_sphere": (-0.18, 0.59),
    "division": (-0.21,),
}
CAN_SAY = {
    "cv3d": set(MODELS),
    "opencv": {"pinhole", "brown4", "brown5", "brown8", "brown12", "kannala_brandt4", "omni"},
    "ros": {"pinhole", "brown4", "brown5", "brown8", "kannala_brandt4"},
    "kalibr": {"pinhole", "brown4", "kannala_brandt4", "ucm", "omni", "eucm", "double_sphere"},
    "colmap": {"pinhole", "brown4", "brown5", "brown8", "kannala_brandt4"},
}


def camera(model: str) -> Camera:
    return Camera(model, 640, 480, AFFINE + SHAPES[model])


def points() -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    return np.column_stack([rng.uniform(-0.8, 0.8, 50), rng.uniform(-0.6, 0.6, 50), rng.uniform(0.9, 3.0, 50)])


def read_by_opencv(text: str) -> cv2.FileStorage:
    return cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)


def test_every_model_and_format_is_covered() -> None:
    assert set(SHAPES) == set(MODELS)
    assert set(CAN_SAY) == set(CAMERA_FORMATS)


@pytest.mark.parametrize("model", SHAPES)
@pytest.mark.parametrize("name", CAMERA_FORMATS)
def test_round_trip_or_a_sentence(name: str, model: str) -> None:
    form, original = CAMERA_FORMATS[name], camera(model)
    if model not in CAN_SAY[name]:
        with pytest.raises(FormatError, match=rf"no camera model for '{model}'; it can say .*pinhole") as caught:
            form.dumps(original)
        assert "\n" not in str(caught.value)
        return
    text = form.dumps(original)
    assert text.endswith("\n")
    back = form.loads(text)
    assert (back.model, back.width, back.height) == (model, 640, 480)
    assert back.params == pytest.approx(original.params, rel=1e-14, abs=1e-13 if name == "colmap" else 0)
    assert np.abs(back.project(points()) - original.project(points())).max() < 1e-10


@pytest.mark.parametrize("model", SHAPES)
def test_numbers_are_numbers_to_every_yaml_reader(model: str) -> None:
    for name in ("ros", "kalibr"):
        if model not in CAN_SAY[name]:
            continue
        parsed = yaml.safe_load(CAMERA_FORMATS[name].dumps(camera(model)))
        lists = [parsed["cam0"]["intrinsics"], parsed["cam0"]["distortion_coeffs"]] if name == "kalibr" else []
        lists += [part["data"] for part in parsed.values() if isinstance(part, dict) and "data" in part]
        assert lists
        assert all(isinstance(value, float) for values in lists for value in values)


def test_files_do_not_depend_on_the_locale() -> None:
    before = locale.setlocale(locale.LC_NUMERIC)
    texts = {name: CAMERA_FORMATS[name].dumps(camera("brown4")) for name in CAMERA_FORMATS}
    for candidate in ("de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"):
        try:
            locale.setlocale(locale.LC_NUMERIC, candidate)
        except locale.Error:
            continue
        try:
            assert {name: CAMERA_FORMATS[name].dumps(camera("brown4")) for name in CAMERA_FORMATS} == texts
        finally:
            locale.setlocale(locale.LC_NUMERIC, before)


# What the other tools compute from the files


@pytest.mark.parametrize("model", ["pinhole", "brown4", "brown5", "brown8", "brown12"])
def test_opencv_reads_and_projects_the_same(model: str) -> None:
    storage = read_by_opencv(opencv_yaml.dumps(camera(model)))
    matrix, coefficients = storage.getNode("camera_matrix").mat(), storage.getNode("distortion_coefficients").mat()
    assert (storage.getNode("image_width").real(), storage.getNode("image_height").real()) == (640, 480)
    assert matrix.dtype == np.float64
    pixels = cv2.projectPoints(points().reshape(-1, 1, 3), np.zeros(3), np.zeros(3), matrix, coefficients)[0]
    assert np.abs(pixels.reshape(-1, 2) - camera(model).project(points())).max() < 1e-9


def test_opencv_reads_and_projects_the_same_fisheye() -> None:
    storage = read_by_opencv(opencv_yaml.dumps(camera("kannala_brandt4")))
    matrix, coefficients = storage.getNode("camera_matrix").mat(), storage.getNode("distortion_coefficients").mat()
    assert storage.getNode("distortion_model").string() == "fisheye"
    pixels = cv2.fisheye.projectPoints(points().reshape(1, -1, 3), np.zeros(3), np.zeros(3), matrix, coefficients)[0]
    assert np.abs(pixels.reshape(-1, 2) - camera("kannala_brandt4").project(points())).max() < 1e-9


def test_opencv_finds_xi() -> None:
    storage = read_by_opencv(opencv_yaml.dumps(camera("omni")))
    assert storage.getNode("xi").real() == SHAPES["omni"][0]
    assert storage.getNode("distortion_coefficients").mat().ravel().tolist() == list(SHAPES["omni"][1:])


@pytest.mark.parametrize("count", [4, 5, 8, 12, 14])
def test_what_opencv_writes_is_read(count: int) -> None:
    storage = cv2.FileStorage(".yml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    storage.write("calibration_time", "Mon 01 Jan 2024 10:00:00")
    storage.write("image_width", 640)
    storage.write("image_height", 480)
    storage.write("camera_matrix", np.array([[600.0, 0, 320.5], [0, 610.25, 240], [0, 0, 1]]))
    coefficients = np.concatenate([np.array(SHAPES["brown12"]), [0.0, 0.0]])[:count]
    storage.write("distortion_coefficients", coefficients[:, None])
    text = storage.releaseAndGetString()
    for header in (text, text.replace("%YAML 1.2", "%YAML:1.0")):
        back = opencv_yaml.loads(header)
        assert back.model == {4: "brown4", 5: "brown5", 8: "brown8", 12: "brown12", 14: "brown12"}[count]
        assert back.params == (600.0, 610.25, 320.5, 240.0, *coefficients[:12])
    fisheye = opencv_yaml.loads(text + "fisheye_model: 1\n") if count == 4 else None
    assert fisheye is None or fisheye.model == "kannala_brandt4"


def test_kalibr_omni_is_ucm_at_another_scale() -> None:
    """Mei and Rives 2007: the point on the unit sphere, seen from xi behind its centre."""
    parsed = yaml.safe_load(kalibr.dumps(camera("ucm")))["cam0"]
    assert (parsed["camera_model"], parsed["distortion_model"]) == ("omni", "none")
    xi, fu, fv, pu, pv = parsed["intrinsics"]
    on_sphere = points() / np.linalg.norm(points(), axis=1, keepdims=True)
    m = on_sphere[:, :2] / (on_sphere[:, 2:] + xi)
    assert np.abs(m * [fu, fv] + [pu, pv] - camera("ucm").project(points())).max() < 1e-10


def test_kalibr_order_of_intrinsics() -> None:
    assert yaml.safe_load(kalibr.dumps(camera("double_sphere")))["cam0"]["intrinsics"] == [-0.18, 0.59, *AFFINE]
    assert yaml.safe_load(kalibr.dumps(camera("eucm")))["cam0"]["intrinsics"] == [0.58, 1.07, *AFFINE]
    omni = yaml.safe_load(kalibr.dumps(camera("omni")))["cam0"]
    assert omni["intrinsics"] == [1.23456789, *AFFINE]
    assert omni["distortion_coeffs"] == list(SHAPES["omni"][1:])
    assert omni["resolution"] == [640, 480]


def test_kalibr_chain() -> None:
    chain = {"cam0": camera("eucm"), "cam1": camera("kannala_brandt4")}
    text = kalibr.dumps_chain(chain, {"cam0": "/left", "cam1": "/right"})
    assert kalibr.loads_chain(text) == chain
    with pytest.raises(FormatError, match=r"c\.yaml: holds 2 cameras \(cam0, cam1\)"):
        kalibr.loads(text, "c.yaml")


def test_kalibr_cannot_say_a_parabolic_mirror() -> None:
    with pytest.raises(FormatError, match="alpha < 1"):
        kalibr.dumps(Camera("ucm", 640, 480, (*AFFINE, 1.0)))


def test_kalibr_file_from_its_manual() -> None:
    text = """
cam0:
  camera_model: pinhole
  intrinsics: [461.629, 460.152, 362.680, 246.049]
  distortion_model: radtan
  distortion_coeffs: [-0.27695497, 0.06712482, 0.00087538, 0.00011556]
  T_cam_imu:
  - [0.01779318, 0.99967549, -0.01822936, 0.07008565]
  timeshift_cam_imu: -8.121e-05
  rostopic: /cam0/image_raw
  resolution: [752, 480]
"""
    expected = (461.629, 460.152, 362.680, 246.049, -0.27695497, 0.06712482, 0.00087538, 0.00011556)
    assert kalibr.loads(text) == Camera("brown4", 752, 480, expected)


def test_ros_plumb_bob_has_five_coefficients() -> None:
    parsed = yaml.safe_load(ros_camera_info.dumps(camera("brown4"), "left: eye"))
    assert parsed["camera_name"] == "left: eye"
    assert parsed["distortion_model"] == "plumb_bob"
    assert parsed["distortion_coefficients"] == {"rows": 1, "cols": 5, "data": [*SHAPES["brown4"], 0.0]}
    fx, fy, cx, cy = AFFINE
    assert parsed["camera_matrix"]["data"] == [fx, 0, cx, 0, fy, cy, 0, 0, 1]
    assert parsed["projection_matrix"] == {"rows": 3, "cols": 4, "data": [fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0]}
    assert parsed["rectification_matrix"]["data"] == np.eye(3).ravel().tolist()


def test_colmap_origin_is_the_corner() -> None:
    words = colmap.dumps(Camera("pinhole", 640, 480, (500.0, 510.0, 319.5, 239.5))).splitlines()[-1].split()
    assert words == ["1", "PINHOLE", "640", "480", "500.0", "510.0", "320.0", "240.0"]


@pytest.mark.parametrize(
    ("line", "model", "params"),
    [
        ("1 SIMPLE_PINHOLE 640 480 500 320 240", "pinhole", (500, 500, 319.5, 239.5)),
        ("1 SIMPLE_RADIAL 640 480 500 320 240 0.1", "brown4", (500, 500, 319.5, 239.5, 0.1, 0, 0, 0)),
        ("7 RADIAL 640 480 500 320 240 0.1 0.2", "brown4", (500, 500, 319.5, 239.5, 0.1, 0.2, 0, 0)),
        ("1 OPENCV 640 480 5e2 501 320 240 1 2 3 4", "brown4", (500, 501, 319.5, 239.5, 1, 2, 3, 4)),
        (
            "1 FULL_OPENCV 640 480 500 501 320 240 1 2 3 4 5 6 7 8",
            "brown8",
            (500, 501, 319.5, 239.5, 1, 2, 3, 4, 5, 6, 7, 8),
        ),
        (
            "1 FULL_OPENCV 640 480 500 501 320 240 1 2 3 4 5 0 0 0",
            "brown5",
            (500, 501, 319.5, 239.5, 1, 2, 3, 4, 5),
        ),
        ("1 RADIAL_FISHEYE 640 480 500 320 240 1 2", "kannala_brandt4", (500, 500, 319.5, 239.5, 1, 2, 0, 0)),
    ],
)
def test_colmap_models(line: str, model: str, params: tuple[float, ...]) -> None:
    assert colmap.loads(f"# Camera list\n\n{line}\n") == Camera(model, 640, 480, tuple(map(float, params)))


def test_colmap_several() -> None:
    cameras = {3: camera("pinhole"), 9: camera("kannala_brandt4")}
    text = colmap.dumps_all(cameras)
    assert list(colmap.loads_all(text)) == [3, 9]
    with pytest.raises(FormatError, match="holds 2 cameras"):
        colmap.loads(text)
    with pytest.raises(FormatError, match="line 6: camera 3 is there twice"):
        colmap.loads_all(text + text.splitlines()[3] + "\n")


def test_own_file_keeps_what_else_it_holds() -> None:
    extra = {"std": {"fx": 0.25}, "covariance": np.eye(2)}
    text = cv3d_camera.dumps(camera("brown5"), extra)
    assert json.loads(text)["schema"] == "cv3d.camera/1"
    back, others = cv3d_camera.loads_with_extra(text)
    assert back == camera("brown5")
    assert others == {"std": {"fx": 0.25}, "covariance": [[1.0, 0.0], [0.0, 1.0]]}
    with pytest.raises(FormatError, match="second field width"):
        cv3d_camera.dumps(camera("brown5"), {"width": 3})


# Files that are not what they should be


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "cv3d.camera/9"}, "field 'schema' is 'cv3d.camera/9'"),
        ({"model": "magic"}, "field 'model': unknown camera model 'magic'"),
        ({"width": 640.5}, "field 'width' should be a whole number"),
        ({"width": -640}, "must be positive"),
        ({"height": None}, "field 'height' should be a finite number"),
        ({"params": {"fx": 1.0}}, "field 'params.fy' is missing"),
        ({"params": {"fx": 1.0, "fy": "a", "cx": 0, "cy": 0}}, "field 'params.fy' should be a finite number"),
        ({"params": {"fx": 1.0, "fy": True, "cx": 0, "cy": 0}}, "field 'params.fy' should be a finite number"),
        ({"params": {"fx": 1, "fy": 1, "cx": 0, "cy": 0, "k9": 1}}, "holds k9, which"),
        ({"params": [1, 2, 3, 4]}, "params does not hold named fields"),
    ],
)
def test_own_file_names_the_field(change: dict[str, object], message: str) -> None:
    entries = json.loads(cv3d_camera.dumps(camera("pinhole"))) | change
    with pytest.raises(FormatError, match=message) as caught:
        cv3d_camera.loads(json.dumps(entries), "out/camera.json")
    assert str(caught.value).startswith("out/camera.json: ")


@pytest.mark.parametrize("name", CAMERA_FORMATS)
@pytest.mark.parametrize("text", ["", "nonsense", "{", "[1, 2]", "\t: -", "a: b", "cam0: 3", "1 2 3 4 5", "\0"])
def test_anything_else_is_one_line(name: str, text: str) -> None:
    with pytest.raises(FormatError) as caught:
        CAMERA_FORMATS[name].loads(text, "some/file")
    assert "some/file" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["opencv", "ros", "kalibr", "colmap"])
def test_every_cut_of_a_file_is_noticed(name: str) -> None:
    text = CAMERA_FORMATS[name].dumps(camera("brown4"))
    lines = text.splitlines(keepends=True)
    needed = {"opencv": len(lines), "ros": 12, "kalibr": 6, "colmap": len(lines)}[name]
    for count in range(needed):
        with pytest.raises(FormatError):
            CAMERA_FORMATS[name].loads("".join(lines[:count]))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("opencv", "brown4", "telecentric", "'distortion_model' is 'telecentric'"),
        ("opencv", "rows: 4", "rows: 5", "says 5 x 1, but holds 4"),
        ("opencv", "[612.3456789012345, 0.0,", "[612.3456789012345, 0.1,", "skew"),
        ("ros", "plumb_bob", "ftheta", "'distortion_model' is 'ftheta'"),
        ("ros", "640", ".nan", "'image_width' should be a finite number"),
        ("kalibr", "radtan", "fov", "no model for Kalibr's pinhole-fov"),
        ("kalibr", "[640, 480]", "[640]", "'cam0.resolution' should hold 2 numbers, but holds 1"),
        ("colmap", "OPENCV", "FOV", "line 4: cv3d has no equal of COLMAP's camera model FOV"),
        ("colmap", "OPENCV", "FULL_OPENCV", "should hold 12 numbers, but holds 8"),
        ("colmap", "612.3456789012345", "nan", "should be a finite number"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, old: str, new: str, message: str) -> None:
    text = CAMERA_FORMATS[name].dumps(camera("brown4"))
    assert old in text
    with pytest.raises(FormatError, match=message):
        CAMERA_FORMATS[name].loads(text.replace(old, new, 1))


def test_tilted_sensor_is_refused() -> None:
    text = opencv_yaml.dumps(camera("brown12")).replace("brown12", "x").replace("distortion_model: x\n", "")
    tilted = text.replace("rows: 12", "rows: 14").replace("-4.0e-05]", "-4.0e-05, 0.1, 0.0]")
    assert tilted != text
    with pytest.raises(FormatError, match="tilt"):
        opencv_yaml.loads(tilted)
