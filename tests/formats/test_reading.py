"""Camera files are recognised by what is in them, whatever they are called; and bad ones get one clear line."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cv3d.errors import FormatError, InputError
from cv3d.formats import FORMATS, cv3d_camera, cv3d_rig
from cv3d.formats.camera_file import ReadOptions
from cv3d.formats.content import Content
from cv3d.formats.reading import read_camera, read_camera_file, read_cameras
from cv3d.formats.recognition import recognise
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

CAMERA = Camera("brown4", 640, 480, (612.5, 598.25, 319.0, 242.0, -0.28, 0.07, 1e-4, -5e-5))


def pair() -> Rig:
    pose = np.eye(4)
    pose[0, 3] = -0.12
    wide = Camera("kannala_brandt4", 640, 480, (300.0, 300.0, 319.5, 239.5, 0.01, 0.0, 0.0, 0.0))
    return Rig((RigCamera("left", CAMERA, np.eye(4)), RigCamera("right", wide, pose)))


def data_folder() -> Path:
    folder = Path(os.environ.get("CV3D_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the data sets are not here; CV3D_DATA names their folder")
    return folder


@pytest.mark.parametrize("file_name", ["camera", "thing.dat", "x.json", "x.yaml", "x.txt"])
@pytest.mark.parametrize("name", FORMATS)
def test_content_tells_the_format(name: str, file_name: str, tmp_path: Path) -> None:
    path = tmp_path / file_name
    path.write_bytes(FORMATS[name].encode(Rig((RigCamera("eye", CAMERA),))))
    read = read_camera_file(path)
    assert read.format == name
    assert read_camera(str(path)) == CAMERA


def test_one_of_several_by_name_or_number(tmp_path: Path) -> None:
    path = tmp_path / "rig.json"
    path.write_text(cv3d_rig.dumps(pair()))
    assert read_cameras(path).is_posed
    assert read_camera(f"{path}#right").model == "kannala_brandt4"
    assert read_camera(f"{path}#0") == CAMERA
    assert read_camera(f"{tmp_path}#left") == CAMERA
    with pytest.raises(InputError, match=r"rig\.json: has no camera 'top'; it has left, right"):
        read_camera(f"{path}#top")
    with pytest.raises(
        InputError, match=r"holds 2 cameras \(left, right\) where one is expected; choose one, as in '.*#left'"
    ):
        read_camera(path)
    odd = tmp_path / "a#b.json"
    odd.write_text(cv3d_camera.dumps(CAMERA))
    assert read_camera(odd) == CAMERA


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no camera file under a usual name, such as camera\.json"):
        read_cameras(tmp_path)
    (tmp_path / "cameras.txt").write_bytes(FORMATS["colmap"].encode(pair()))
    assert [one.name for one in read_cameras(tmp_path).cameras] == ["1", "2"]
    assert not read_cameras(tmp_path).is_posed
    (tmp_path / "camera.json").write_text(cv3d_camera.dumps(CAMERA, {"rms_px": 0.1}))
    assert read_camera(tmp_path) == CAMERA
    (tmp_path / "rig.json").write_text(cv3d_rig.dumps(pair()))
    assert [one.name for one in read_cameras(tmp_path).cameras] == ["left", "right"]


def test_colmap_poses_come_from_the_file_beside(tmp_path: Path) -> None:
    from cv3d.formats import colmap

    (tmp_path / "cameras.txt").write_bytes(colmap.encode(pair()))
    (tmp_path / "rigs.txt").write_bytes(colmap.companions(pair())["rigs.txt"])
    assert read_cameras(tmp_path).baseline(0, 1) == pytest.approx(0.12)
    (tmp_path / "rigs.txt").write_text("1 2 CAMERA 1 CAMERA 2 1 1.0 0.0\n")
    with pytest.raises(FormatError, match=r"rigs\.txt, line 1: the pose of sensor 2 is cut off"):
        read_cameras(tmp_path)
    (tmp_path / "rigs.txt").write_text("1 2 CAMERA 1 CAMERA 2 1 1 1 0 0 0 0 0\n")
    with pytest.raises(FormatError, match="not of unit length"):
        read_cameras(tmp_path)


def cut_binary() -> bytes:
    return FORMATS["colmap-bin"].encode(pair())[:-20]


def colmap_binary(model_id: int, count: int = 1) -> bytes:
    return struct.pack("<QIiQQ4d", count, 1, model_id, 640, 480, 500.0, 500.0, 320.0, 240.0)


def camera_json(**change: object) -> bytes:
    return json.dumps(CAMERA.as_dict() | {"schema": "cv3d.camera/1"} | change).encode()


def opencv(old: str = "", new: str = "") -> bytes:
    return FORMATS["opencv"].dumps(CAMERA).replace(old, new).encode()


@pytest.mark.parametrize(
    ("file_name", "data", "message"),
    [
        ("camchain.yaml", b"", "is empty"),
        ("camera.json", b"\n \n", "is empty"),
        ("photo.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256)), "is no camera file that cv3d knows"),
        ("notes.txt", b"Dear diary,\nthe lens is dirty.\n", "is no camera file that cv3d knows"),
        ("numbers.csv", b"1,2,3\n4,5,6\n", "is no camera file that cv3d knows"),
        ("settings.yaml", b"a: 1\nb: [1, 2]\n", "is no camera file that cv3d knows"),
        ("camera.json", b'{"schema": "cv3d.camera/1", "model"', "not readable as JSON"),
        ("result.json", b'{"schema": "cv3d.calibration/1"}', "field 'schema' is 'cv3d.calibration/1'"),
        ("x.yaml", opencv()[:180], "readable as YAML|missing"),
        ("cameras.bin", cut_binary(), "is cut off in the parameters of camera 2"),
        ("cameras.bin", cut_binary()[:20], "is cut off, or no cameras.bin"),
        ("cameras.bin", colmap_binary(1, count=3), "should hold 3 cameras and ends in number 2"),
        ("cameras.bin", colmap_binary(17), "EQUIRECTANGULAR: a panorama"),
        ("cameras.bin", colmap_binary(42), "camera model with the number 42; it reads SIMPLE_PINHOLE"),
        ("cameras.bin", colmap_binary(1) + b"more", "holds 4 bytes more than its 1 cameras take"),
        ("camera.json", camera_json(model="magic"), "unknown camera model 'magic'; known models: pinhole"),
        ("camera.yaml", opencv("image_width: 640", "image_width: 64"), "contradicts itself: a picture of 64x480"),
        ("camera.yaml", opencv("image_width: 640\nimage_height: 480\n"), "--size WIDTHxHEIGHT"),
        ("camera.yaml", opencv("612.5", ".nan"), "should be a finite number, but holds nan"),
        ("camera.yaml", opencv("612.5", "-612.5"), "fx and fy must be positive"),
        ("camera.cameramodel", b"{ 'lensmodel': ", "not readable as a Python dict"),
        ("stereo.xml", b"<?xml version='1.0'?><opencv_storage><M1", "not readable as XML"),
        ("layout.xml", b"<?xml version='1.0'?><html/>", "its root is <html>"),
        ("camera_array.toml", b"[cameras.0]\nsize = [640, 480]\n", "holds no calibrated camera"),
        ("camera_array.toml", b"[cameras.0]\nsize = [640, \n", "not readable as TOML"),
        ("picture.yaml", b"\xff\xd8\xff\xe0 whatever", "it is a JPEG picture"),
        ("K.txt", b"585.0 0 320\n0 585.0 240\n0 0 1\n", "holds numbers without names; .* '1 PINHOLE width height"),
        ("other.yaml", b"pinhole: {fx: 1.0}\nmodel: omnidirectional_universal\n", "its fields are pinhole, model$"),
        ("notes.txt", b"to do: nothing: at all\n", "it is a text of another kind"),
        ("sensor.yaml", b"%YAML:1.0\nsensor_type: imu\nT_BS: 1\n", "of a sensor of type 'imu', not of a camera"),
        ("cameras.txt", b"1 FOV 640 480 400 400 320 240 1e300\n", "FOV"),
    ],
)
def test_bad_files_get_one_line(file_name: str, data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / file_name
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        read_cameras(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_what_is_not_there_or_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.json: no such file or folder"):
        read_cameras(tmp_path / "nothing.json")
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as stream:
        stream.truncate(65 << 20)
    with pytest.raises(InputError, match="larger than 64 MB"):
        read_cameras(huge)


def test_a_size_is_taken_for_files_without(tmp_path: Path) -> None:
    path = tmp_path / "old.yml"
    path.write_bytes(opencv("image_width: 640\nimage_height: 480\n"))
    assert read_camera(path, ReadOptions(size=(640, 480))) == CAMERA
    path.write_bytes(opencv())
    with pytest.raises(FormatError, match="640x480, not 320x240 as --size says"):
        read_camera(path, ReadOptions(size=(320, 240)))


def test_files_of_one_folder_that_do_not_go_together(tmp_path: Path) -> None:
    (tmp_path / "a.cameramodel").write_bytes(FORMATS["mrcal"].dumps(CAMERA).encode())
    (tmp_path / "b.cameramodel").write_bytes(FORMATS["kalibr"].encode(pair()))
    with pytest.raises(FormatError, match=r"b\.cameramodel: is not a file of one camera as the others"):
        read_cameras(tmp_path)
    (tmp_path / "b.cameramodel").write_bytes(FORMATS["ros"].dumps(CAMERA).encode())
    with pytest.raises(FormatError, match="its camera files are of several formats: mrcal, ros"):
        read_cameras(tmp_path)


# Files that other tools wrote


def test_euroc_pair_of_the_data_set() -> None:
    rig = read_cameras(data_folder() / "vo" / "euroc_v101")
    assert [one.name for one in rig.cameras] == ["cam0", "cam1"]
    assert rig.cameras[0].camera.params[:4] == (458.654, 457.296, 367.215, 248.375)
    assert rig.baseline(0, 1) == pytest.approx(0.11007, abs=1e-4)
    assert rig.cam_from_cam(0, 1)[0, 3] > 0.1


def test_caliscope_array_of_the_data_set() -> None:
    rig = read_cameras(data_folder() / "calib" / "rig4_charuco" / "camera_array.toml")
    assert [one.name for one in rig.cameras] == ["0", "1", "2", "3"]
    assert {one.camera.model for one in rig.cameras} == {"brown5"}
    assert rig.is_posed


def test_instant_ngp_transforms_of_the_data_set() -> None:
    camera = read_camera(data_folder() / "views" / "fox")
    assert (camera.model, camera.width, camera.height) == ("brown4", 1080, 1920)
    assert camera.params[2:4] == (554.558 - 0.5, 965.268 - 0.5)


# Damaged files

GARBAGE = [
    b"null",
    b"[]",
    b"{}",
    b"1e999",
    b"-1",
    b"nan",
    b'"x"',
    b"0",
    b": ",
    b"\n",
    b"\t",
    b"&a",
    b"*a",
    b"!!",
    b"\0",
]


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(name: str, data: st.DataObject) -> None:
    rig = pair() if FORMATS[name].max_cameras != 1 else Rig(pair().cameras[:1])
    content = bytearray(FORMATS[name].encode(rig))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        stop = start + data.draw(st.integers(0, 40))
        content[start:stop] = data.draw(st.sampled_from([b"", *GARBAGE]) | st.binary(max_size=4))
    damaged = Content(bytes(content), "damaged file")
    refusal = ""
    try:
        cameras = FORMATS[recognise(damaged)].decode(damaged, ReadOptions()).rig.cameras
    except InputError as error:
        cameras, refusal = (), str(error)
    assert all(np.isfinite(one.camera.params).all() for one in cameras)
    assert bool(cameras) != refusal.startswith("damaged file")
    assert "\n" not in refusal


STREAMED = """header:
  frame_id: camera
height: 480
width: 640
distortion_model: plumb_bob
D: [0.1, -0.2, 0.001, 0.0, 0.0]
K: [525.0, 0.0, 319.5, 0.0, 525.0, 239.5, 0.0, 0.0, 1.0]
"""


@pytest.mark.parametrize(
    "text", [STREAMED, f"{STREAMED}---\n", f"{STREAMED}---\n{STREAMED}---\n", f"---\n{STREAMED}---"]
)
def test_messages_as_ros_prints_them_one_after_another(text: str, tmp_path: Path) -> None:
    path = tmp_path / "info.txt"
    path.write_text(text)
    assert read_camera(path) == Camera("brown4", 640, 480, (525.0, 525.0, 319.5, 239.5, 0.1, -0.2, 1e-3, 0.0))


@pytest.mark.parametrize("key", ["lensmodel", "lens_model", "distortion_model"])
def test_mrcal_has_called_the_lens_model_three_names(key: str, tmp_path: Path) -> None:
    path = tmp_path / "cam"
    text = FORMATS["mrcal"].dumps(CAMERA)
    assert "'lensmodel': " in text
    path.write_text("# generated with mrcal\n" + text.replace("'lensmodel'", f"'{key}'"))
    assert read_camera_file(path).format == "mrcal"
    assert read_camera(path) == CAMERA


def imu_chain(field: str, poses: list[np.ndarray]) -> str:
    lines = ["%YAML:1.0", ""]
    for index, pose in enumerate(poses):
        rows = "".join(f"  - {row}\n" for row in pose.tolist())
        lines.append(
            f"cam{index}:\n  {field}:\n{rows}  camera_model: pinhole\n  distortion_model: none\n"
            "  intrinsics: [500.0, 500.0, 320.0, 240.0]\n  resolution: [640, 480]"
        )
    return "\n".join(lines) + "\n"


def test_kalibr_cameras_related_by_their_imu_alone(tmp_path: Path) -> None:
    turned = np.array([[0.0, -1.0, 0.0, 0.02], [1.0, 0.0, 0.0, -0.3], [0.0, 0.0, 1.0, 0.1], [0.0, 0.0, 0.0, 1.0]])
    shifted = np.eye(4)
    shifted[0, 3] = -0.11
    cams_from_imu = [turned, shifted @ turned]
    for field, poses in (("T_cam_imu", cams_from_imu), ("T_imu_cam", [np.linalg.inv(pose) for pose in cams_from_imu])):
        path = tmp_path / f"{field}.yaml"
        path.write_text(imu_chain(field, poses))
        assert np.abs(read_cameras(path).cam_from_cam(1, 0) - shifted).max() < 1e-12
        assert read_camera_file(path).format == "kalibr"


def test_opencv_stereo_samples_write_two_files(tmp_path: Path) -> None:
    matrix = "!!opencv-matrix\n   rows: {}\n   cols: {}\n   dt: d\n   data: [ {} ]\n"
    k = matrix.format(3, 3, "5.e+02, 0., 320., 0.,\n       5.e+02, 240., 0., 0., 1.")
    d = matrix.format(1, 14, "-2.9e-01, 1.0e-01" + ", 0." * 12)
    (tmp_path / "intrinsics.yml").write_text(f"%YAML:1.0\n---\nM1: {k}D1: {d}M2: {k}D2: {d}")
    options = ReadOptions(size=(640, 480))
    assert not read_cameras(tmp_path, options).is_posed
    r, t = matrix.format(3, 3, "1., 0., 0., 0., 1., 0., 0., 0., 1."), matrix.format(3, 1, "-3.3, 0., 0.")
    (tmp_path / "extrinsics.yml").write_text(f"%YAML:1.0\n---\nR: {r}T: {t}R1: {r}")
    rig = read_cameras(tmp_path, options)
    assert rig.baseline(0, 1) == pytest.approx(3.3)
    # Padding with zeros says nothing: what other formats have no twelve coefficients for is exact all the same.
    assert rig.cameras[0].camera == Camera("brown4", 640, 480, (500.0, 500.0, 320.0, 240.0, -0.29, 0.1, 0.0, 0.0))


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if not one.is_binary])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_folders_that_convert_wrote_are_read_back(name: str, count: int, tmp_path: Path) -> None:
    from cv3d.formats.writing import write_cameras

    poses = [np.eye(4) for _ in range(count)]
    for index, pose in enumerate(poses):
        pose[0, 3] = -0.1 * index
    posed = zip(("left", "right", "top"), poses, strict=False)
    rig = Rig(tuple(RigCamera(eye, CAMERA, None if count == 1 else pose) for eye, pose in posed))
    written = write_cameras(rig, FORMATS[name])
    for file_name, data in written.files.items():
        target = tmp_path / file_name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data)
    back = read_cameras(tmp_path)
    assert [one.camera for one in back.cameras] == [CAMERA] * count
    if not written.is_single:
        assert [one.name for one in back.cameras] == ["left", "right", "top"][:count]
    if back.is_posed:
        assert back.baseline(0, count - 1) == pytest.approx(0.1 * (count - 1))


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "camera.json"
    path.write_text(cv3d_camera.dumps(CAMERA))
    with path.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert read_camera("-") == CAMERA
    with Path(os.devnull).open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        with pytest.raises(FormatError, match="standard input: is empty"):
            read_camera("-")
