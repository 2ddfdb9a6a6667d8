"""Camera files: every model that a format can say comes back as it went in, and projects as the other tool would."""

from __future__ import annotations

import json
import locale
import math

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats import CAMERA_FORMATS, FORMATS, cv3d_camera
from cv3d.formats.camera_file import ReadOptions
from cv3d.formats.content import Content
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.registry import MODELS, get_model
from cv3d.geometry.cameras.rig import Rig, RigCamera

AFFINE = (612.3456789012345, 598.7654321098765, 319.123456789, 241.987654321)
SPLINED = "splined_stereographic_o3_8x6_fov80"
SHAPES: dict[str, tuple[float, ...]] = {
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
    SPLINED: tuple(1e-3 * math.sin(7.0 * i) for i in range(len(get_model(SPLINED).shape_names))),
}
EXACT = {
    "cv3d": set(SHAPES),
    "opencv": {"pinhole", "brown4", "brown5", "brown8", "brown12", "kannala_brandt4", "omni"},
    "opencv-xml": {"pinhole", "brown4", "brown5", "brown8", "brown12", "kannala_brandt4", "omni"},
    "ros": {"pinhole", "brown4", "brown5", "brown8", "kannala_brandt4"},
    "kalibr": {"pinhole", "brown4", "kannala_brandt4", "ucm", "omni", "eucm", "double_sphere"},
    "colmap": {"pinhole", "brown4", "brown5", "brown8", "kannala_brandt4", "division", "eucm"},
    "colmap-bin": {"pinhole", "brown4", "brown5", "brown8", "kannala_brandt4", "division", "eucm"},
    "mrcal": {"pinhole", "brown4", "brown5", "brown8", "brown12", SPLINED},
    "nerfstudio": {"pinhole", "brown4", "brown5", "kannala_brandt4"},
    "basalt": {"pinhole", "brown4", "brown5", "brown8", "kannala_brandt4", "ucm", "eucm", "double_sphere"},
    "euroc": {"pinhole", "brown4", "kannala_brandt4"},
}
HALF_PIXEL = {"colmap", "colmap-bin", "nerfstudio"}
TEXTS = [name for name, form in FORMATS.items() if not form.is_binary]


def camera(model: str) -> Camera:
    return Camera(model, 640, 480, AFFINE + SHAPES[model])


def points() -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    return np.column_stack([rng.uniform(-0.8, 0.8, 50), rng.uniform(-0.6, 0.6, 50), rng.uniform(1.1, 3.0, 50)])


def round_trip(name: str, original: Camera) -> Camera:
    data = FORMATS[name].encode(Rig((RigCamera("eye", original),)))
    return FORMATS[name].decode(Content(data, "file"), ReadOptions()).rig.cameras[0].camera


def test_every_model_and_format_is_covered() -> None:
    assert set(SHAPES) == {*MODELS, SPLINED}
    assert set(EXACT) == set(FORMATS)
    assert set(CAMERA_FORMATS) <= set(FORMATS)


@pytest.mark.parametrize("model", SHAPES)
@pytest.mark.parametrize("name", FORMATS)
def test_round_trip_or_a_sentence(name: str, model: str) -> None:
    form, original = FORMATS[name], camera(model)
    if model not in EXACT[name]:
        with pytest.raises(FormatError, match=rf"no camera model for '{model}'") as caught:
            form.encode(Rig((RigCamera("eye", original),)))
        assert "\n" not in str(caught.value)
        return
    assert form.says(model)
    back = round_trip(name, original)
    assert (back.model, back.width, back.height) == (model, 640, 480)
    assert back.params == pytest.approx(original.params, rel=1e-14, abs=1e-13 if name in HALF_PIXEL else 0)
    assert np.abs(back.project(points()) - original.project(points())).max() < 1e-10


def number(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_subnormal=False)


RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    "pinhole": (),
    "brown4": ((-0.4, 0.4), (-0.2, 0.2), (-5e-3, 5e-3), (-5e-3, 5e-3)),
    "brown5": ((-0.4, 0.4), (-0.2, 0.2), (-5e-3, 5e-3), (-5e-3, 5e-3), (0.01, 0.1)),
    "brown8": ((-0.4, 0.4),) * 2 + ((-5e-3, 5e-3),) * 2 + ((-0.1, 0.1),) * 3 + ((1e-4, 0.1),),
    "brown12": ((-0.4, 0.4),) * 2 + ((-5e-3, 5e-3),) * 2 + ((-0.1, 0.1),) * 4 + ((-1e-2, 1e-2),) * 4,
    "kannala_brandt4": ((-0.1, 0.1),) * 4,
    "ucm": ((-0.3, 0.95),),
    "omni": ((-0.4, 3.0), (-0.5, 0.5), (-0.2, 0.2), (-5e-3, 5e-3), (-5e-3, 5e-3)),
    "eucm": ((-0.3, 0.95), (0.3, 2.0)),
    "double_sphere": ((-0.8, 0.8), (-0.3, 0.95)),
    "division": ((-1.0, 0.2),),
}


@st.composite
def cameras(draw: st.DrawFn, models: list[str]) -> Camera:
    model = draw(st.sampled_from(models))
    width, height = draw(st.integers(16, 8000)), draw(st.integers(16, 8000))
    focal = [draw(number(0.2, 20.0)) * width for _ in range(2)]
    centre = [draw(number(-0.2, 1.2)) * size for size in (width, height)]
    shape = [draw(number(*bounds)) for bounds in RANGES[model]]
    return Camera(model, width, height, (*focal, *centre, *shape))


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_camera_comes_back(name: str, data: st.DataObject) -> None:
    original = data.draw(cameras(sorted(EXACT[name] & set(RANGES))))
    back = round_trip(name, original)
    assert (back.width, back.height) == (original.width, original.height)
    shape = back.shape + (0.0,) * (len(original.shape) - len(back.shape))
    assert back.params[:4] + shape == pytest.approx(original.params, rel=1e-9, abs=1e-9)
    assert round_trip(name, back).model == back.model


@pytest.mark.parametrize(
    ("name", "model"), [(name, model) for name in ("ros", "kalibr", "euroc") for model in sorted(EXACT[name])]
)
def test_numbers_are_numbers_to_every_yaml_reader(name: str, model: str) -> None:
    parsed = yaml.safe_load(FORMATS[name].dumps(camera(model)).removeprefix("%YAML:1.0\n"))
    fields = parsed["cam0"] if name == "kalibr" else parsed
    lists = [value for value in fields.values() if isinstance(value, list)]
    lists += [part["data"] for part in fields.values() if isinstance(part, dict) and "data" in part]
    assert lists
    assert all(isinstance(value, float | int) for values in lists for value in values)


def test_files_do_not_depend_on_the_locale() -> None:
    before = locale.setlocale(locale.LC_NUMERIC)
    texts = {name: FORMATS[name].dumps(camera("brown4")) for name in TEXTS}
    for candidate in ("de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"):
        try:
            locale.setlocale(locale.LC_NUMERIC, candidate)
        except locale.Error:
            continue
        try:
            assert {name: FORMATS[name].dumps(camera("brown4")) for name in TEXTS} == texts
        finally:
            locale.setlocale(locale.LC_NUMERIC, before)


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
        ({"params": {"fx": 1.0, "fy": math.nan, "cx": 0, "cy": 0}}, "field 'params.fy' should be a finite number"),
        ({"params": {"fx": 1, "fy": 1, "cx": 0, "cy": 0, "k9": 1}}, "holds k9, which"),
        ({"params": [1, 2, 3, 4]}, "params does not hold named fields"),
    ],
)
def test_own_file_names_the_field(change: dict[str, object], message: str) -> None:
    entries = json.loads(cv3d_camera.dumps(camera("pinhole"))) | change
    with pytest.raises(FormatError, match=message) as caught:
        cv3d_camera.loads(json.dumps(entries), "out/camera.json")
    assert str(caught.value).startswith("out/camera.json: ")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b"{",
        b"{}",
        b"[1, 2]",
        b"\t: -",
        b"a: b",
        b"cam0: 3",
        b"1 2 3 4 5",
        b"\0",
        b"\xff\xfe\x01" * 20,
        b'{"value0": 3}',
        b"<a/>",
        b"<opencv_storage/>",
        b"\x01" + b"\0" * 7,
        b'{"frames": 4}',
        b"{'lens_model': 'X'}",
    ],
)
def test_anything_else_is_one_line(name: str, data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        FORMATS[name].decode(Content(data, "some/file"), ReadOptions())
    assert "some/file" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "needed"), [("opencv", 13), ("ros", 12), ("kalibr", 7), ("colmap", 4), ("euroc", 12), ("mrcal", 11)]
)
def test_every_cut_of_a_text_is_noticed(name: str, needed: int) -> None:
    lines = FORMATS[name].dumps(camera("brown4")).splitlines(keepends=True)
    assert len(lines) >= needed
    for count in range(needed):
        with pytest.raises(FormatError):
            FORMATS[name].loads("".join(lines[:count]))


@pytest.mark.parametrize("name", ["colmap-bin", "opencv-xml", "basalt"])
def test_every_cut_of_a_file_is_noticed(name: str) -> None:
    data = FORMATS[name].encode(Rig((RigCamera("eye", camera("brown4")),)))
    for count in range(len(data.rstrip())):
        with pytest.raises(FormatError):
            FORMATS[name].decode(Content(data[:count], "cut"), ReadOptions())


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("opencv", "brown4", "telecentric", "'distortion_model' is 'telecentric'"),
        ("opencv", "brown4", "brown8", "holds 4 numbers, but 'brown8' has 8"),
        ("opencv", "rows: 4", "rows: 5", "says 5 x 1, but holds 4"),
        ("opencv", "[612.3456789012345, 0.0,", "[612.3456789012345, 0.1,", "skew"),
        ("opencv", "image_width: 640\n", "", "image_width|how large"),
        ("opencv", "image_width: 640", "image_width: 640\nimage_size: [640, 400]", "contradicts itself about the size"),
        ("opencv-xml", "<image_width>640", "<image_width>wide", "'image_width' should be a finite number"),
        ("ros", "plumb_bob", "ftheta", "'distortion_model' is 'ftheta'"),
        ("ros", "640", ".nan", "'image_width' should be a finite number"),
        ("ros", "640", "64", "contradicts itself: a picture of 64x480"),
        ("ros", "612.3456789012345", "0.0", "not calibrated"),
        ("ros", "image_width", "binning_x: 2\nimage_width", "binned"),
        ("ros", "image_width", "roi: {x_offset: 4, y_offset: 0, width: 100, height: 80}\nimage_width", "a region"),
        ("kalibr", "radtan", "telecentric", "no model for Kalibr's pinhole-telecentric; it reads pinhole-none"),
        ("kalibr", "radtan", "none", "contradicts itself"),
        ("kalibr", "[640, 480]", "[640]", "'cam0.resolution' should hold 2 numbers, but holds 1"),
        ("colmap", "OPENCV", "EQUIRECTANGULAR", "line 4: .*EQUIRECTANGULAR: a panorama has no focal length"),
        ("colmap", "OPENCV", "MAGIC", "no equal of COLMAP's camera model MAGIC; it reads SIMPLE_PINHOLE"),
        ("colmap", "OPENCV", "FULL_OPENCV", "FULL_OPENCV has 12 parameters, here are 8"),
        ("colmap", "612.3456789012345", "nan", "should be a finite number"),
        ("mrcal", "LENSMODEL_OPENCV4", "LENSMODEL_CAHVORE_linearity=0.37", "no single centre of projection"),
        ("mrcal", "LENSMODEL_OPENCV4", "LENSMODEL_LONLAT", "no equal of mrcal's LENSMODEL_LONLAT"),
        ("mrcal", "LENSMODEL_OPENCV4", "LENSMODEL_OPENCV8", "'brown8' has 12 parameters, not 8"),
        (
            "mrcal",
            "LENSMODEL_OPENCV4",
            "LENSMODEL_SPLINED_STEREOGRAPHIC_order=9_Nx=3_Ny=4_fov_x_deg=60",
            "order 2 or 3, not 9",
        ),
        ("nerfstudio", "OPENCV", "EQUIRECTANGULAR", "no equal of camera_model EQUIRECTANGULAR"),
        ("nerfstudio", '"w": 640', '"w": 640, "camera_angle_x": 1.9', "contradicts itself: camera_angle_x"),
        ("nerfstudio", '"k1"', '"k4": 0.1, "k1"', "'k4', of r"),
        ("basalt", "pinhole-radtan8", "fov", "no equal of Basalt's camera_type 'fov'"),
        ("euroc", "radial-tangential", "fov", "no equal of pinhole with fov"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, old: str, new: str, message: str) -> None:
    text = FORMATS[name].dumps(camera("brown4"))
    assert old in text
    with pytest.raises(FormatError, match=message) as caught:
        FORMATS[name].loads(text.replace(old, new, 1), "the file")
    assert str(caught.value).startswith("the file")
    assert "\n" not in str(caught.value)


def test_tilted_sensor_is_refused() -> None:
    text = FORMATS["opencv"].dumps(camera("brown12")).replace("distortion_model: brown12\n", "")
    upright = text.replace("rows: 12", "rows: 14").replace("-4.0e-05]", "-4.0e-05, 0.0, 0.0]")
    assert FORMATS["opencv"].loads(upright) == camera("brown12")
    with pytest.raises(FormatError, match="tilt"):
        FORMATS["opencv"].loads(upright.replace("-4.0e-05, 0.0", "-4.0e-05, 0.1"))


def test_a_missing_size_is_asked_for_and_a_given_one_has_to_agree() -> None:
    text = FORMATS["opencv"].dumps(camera("brown4"))
    without = text.replace("image_width: 640\nimage_height: 480\n", "")
    content = Content(without.encode(), "old.yml")
    with pytest.raises(FormatError, match=r"old\.yml: does not say how large .* --size WIDTHxHEIGHT"):
        FORMATS["opencv"].decode(content, ReadOptions())
    read = FORMATS["opencv"].decode(content, ReadOptions(size=(640, 480)))
    assert read.rig.cameras[0].camera == camera("brown4")
    for name in FORMATS:
        data = FORMATS[name].encode(Rig((RigCamera("eye", camera("brown4")),)))
        with pytest.raises(FormatError, match="640x480, not 1280x960 as --size says"):
            FORMATS[name].decode(Content(data, "file"), ReadOptions(size=(1280, 960)))
