"""Calibrations without a format: bare numbers and JSON files with the usual names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cv3d.errors import FormatError
from cv3d.formats.recordings.plain_camera import PlainCamera, read_plain_camera

PARAMS = (525.5, 526.25, 319.5, 239.0)
K = [[525.5, 0, 319.5], [0, 526.25, 239], [0, 0, 1]]


def read(folder: Path, text: str, name: str = "K.txt") -> PlainCamera | None:
    (folder / name).write_text(text)
    return read_plain_camera(folder / name)


@pytest.mark.parametrize(
    "text",
    [
        "525.5 0 319.5\n0 526.25 239\n0 0 1\n",
        "5.255e+02 0.0e+00 3.195e+02\n0 5.2625E2 2.39e2\n0 0 1",
        "525.5,0,319.5\n0,526.25,239\n0,0,1",
        "[[525.5, 0, 319.5], [0, 526.25, 239], [0, 0, 1]]",
        "525.5 0 319.5 0\n0 526.25 239 0\n0 0 1 0\n0 0 0 1\n",
        "525.5 0 319.5 0 0 526.25 239 0 0 0 1 0",
        "# fx fy cx cy\n525.5 526.25 319.5 239.0",
        "fx: 525.5\nfy: 526.25\ncx = 319.5\ncy 239",
        "525.5 526.25 319.5 239 0 0 0 0 0",
    ],
)
def test_texts_of_one_camera(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, text) == PlainCamera("pinhole", PARAMS, None)


def test_distortion_and_size(tmp_path: Path) -> None:
    five = read(tmp_path, "525.5 526.25 319.5 239 0.1 -0.2 0.001 -0.002 0.3")
    assert five == PlainCamera("brown5", (*PARAMS, 0.1, -0.2, 0.001, -0.002, 0.3), None)
    four = read(tmp_path, "525.5 526.25 319.5 239 0.1 -0.2 0.001 -0.002")
    assert four == PlainCamera("brown4", (*PARAMS, 0.1, -0.2, 0.001, -0.002), None)
    sized = read(tmp_path, "640 480 525.5 526.25 319.5 239")
    assert sized == PlainCamera("pinhole", PARAMS, (640, 480))
    assert sized is not None
    assert sized.camera((1, 1)).width == 640


@pytest.mark.parametrize(
    "fields",
    [
        {"fx": 525.5, "fy": 526.25, "cx": 319.5, "cy": 239, "width": 640, "height": 480},
        {"fx": 525.5, "fy": 526.25, "ppx": 319.5, "ppy": 239, "w": 640, "h": 480},
        {"K": K, "width": 640, "height": 480},
        {"camera_matrix": K, "image_width": 640, "image_height": 480, "dist_coeffs": [0, 0, 0, 0, 0]},
        {"intrinsic_matrix": [525.5, 0, 0, 0, 526.25, 0, 319.5, 239, 1], "width": 640, "height": 480},
        {"camera": {"w": 640, "h": 480, "fx": 525.5, "fy": 526.25, "cx": 319.5, "cy": 239}},
        {
            "model": "pinhole",
            "width": 640,
            "height": 480,
            "params": dict(zip(("fx", "fy", "cx", "cy"), PARAMS, strict=True)),
        },
    ],
)
def test_json_files_of_one_camera(fields: dict[str, object], tmp_path: Path) -> None:
    assert read(tmp_path, json.dumps(fields), "camera.json") == PlainCamera("pinhole", PARAMS, (640, 480))


@pytest.mark.parametrize(("said", "metres"), [(1000.0, 0.001), (0.001, 0.001), (5000, 0.0002), (1.0, 1.0)])
def test_depth_scale_either_way(said: float, metres: float, tmp_path: Path) -> None:
    inner = {"fx": 525.5, "fy": 526.25, "cx": 319.5, "cy": 239}
    for fields in ({**inner, "depth_scale": said}, {"camera": inner, "depth_scale": said}):
        found = read(tmp_path, json.dumps(fields), "intrinsics.json")
        assert found is not None
        assert found.metres_per_unit == pytest.approx(metres, rel=1e-12)


def test_distortion_by_names(tmp_path: Path) -> None:
    fields = {"fx": 525.5, "fy": 526.25, "cx": 319.5, "cy": 239, "k1": 0.1, "k2": -0.2}
    found = read(tmp_path, json.dumps(fields), "camera.json")
    assert found == PlainCamera("brown5", (*PARAMS, 0.1, -0.2, 0.0, 0.0, 0.0), None)
    with pytest.raises(FormatError, match="'k4'"):
        read(tmp_path, json.dumps({**fields, "k4": 0.5}), "camera.json")


@pytest.mark.parametrize(
    "text",
    [
        "1 PINHOLE 640 480 525 525 320 240",
        "1305031102.175 rgb/1305031102.175.png",
        "1 2 3",
        "0.9 0.1 0.2\n0.3 0.8 0.1\n0.2 0.1 0.9",
        '{"schema": "cv3d.camera/1", "fx": 1, "fy": 1, "cx": 1, "cy": 1}',
        '{"fl_x": 525, "fl_y": 525, "cx": 320, "cy": 240, "w": 640, "h": 480}',
        '{"frames": []}',
        '{"about": "nothing"}',
    ],
)
def test_other_files_are_left_to_others(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, text, "x.json" if text.startswith("{") else "x.txt") is None


def test_no_camera_has_such_numbers(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"K\.txt: fx fy cx cy are -525"):
        read(tmp_path, "-525 0 320\n0 525 240\n0 0 1")
    with pytest.raises(FormatError, match="'depth_scale' is -1"):
        read(tmp_path, '{"fx": 1, "fy": 1, "cx": 1, "cy": 1, "depth_scale": -1}', "a.json")
