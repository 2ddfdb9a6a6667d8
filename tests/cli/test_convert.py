"""`cv3d convert` as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cv3d.cli.convert import parse_pixels, parse_share, parse_size
from cv3d.errors import UsageError
from cv3d.formats import FORMATS, cv3d_camera, cv3d_rig
from cv3d.formats.converting import convert
from cv3d.formats.reading import read_camera, read_cameras
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

Main = Callable[..., SimpleNamespace]
CAMERA = Camera("brown5", 640, 480, (490.2, 491.0, 322.9, 235.6, -0.28, 0.09, 8e-4, -5e-4, -0.01))


@pytest.fixture
def camera_file(tmp_path: Path) -> Path:
    path = tmp_path / "camera.json"
    path.write_text(cv3d_camera.dumps(CAMERA))
    return path


@pytest.fixture
def rig_file(tmp_path: Path) -> Path:
    pose = np.eye(4)
    pose[0, 3] = -0.12
    wide = Camera("kannala_brandt4", 640, 480, (300.0, 300.0, 319.5, 239.5, 0.01, 0.0, 0.0, 0.0))
    path = tmp_path / "rig.json"
    path.write_text(cv3d_rig.dumps(Rig((RigCamera("left", CAMERA, np.eye(4)), RigCamera("right", wide, pose)))))
    return path


def fails(outcome: SimpleNamespace, code: int, *fragments: object) -> None:
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in outcome.err
    for fragment in fragments:
        assert str(fragment) in errors[0]


@pytest.mark.parametrize("to", [name for name, form in FORMATS.items() if not form.is_binary])
def test_text_goes_to_standard_output_and_the_summary_beside(to: str, cv3d_main: Main, camera_file: Path) -> None:
    outcome = cv3d_main("convert", str(camera_file), "--to", to)
    assert outcome.code == 0
    target = camera_file.parent / "piped"
    target.write_text(outcome.out)
    assert read_camera(target).width == 640
    assert outcome.err.startswith(f"{camera_file} (cv3d) to {FORMATS[to].title}\n")
    exact = FORMATS[to].says("brown5")
    assert ("brown5, exact" in outcome.err) == exact
    assert ("px RMS" in outcome.err) != exact


def test_quiet_pipes_nothing_but_the_file(cv3d_main: Main, camera_file: Path) -> None:
    outcome = cv3d_main("convert", str(camera_file), "--to", "opencv", "-q")
    assert outcome.err == ""
    assert outcome.out == FORMATS["opencv"].dumps(CAMERA)


def test_output_file_and_folder(cv3d_main: Main, camera_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "sub" / "my.yaml"
    outcome = cv3d_main("convert", str(camera_file), "--to", "ros", "-o", str(target))
    assert (outcome.code, read_camera(target)) == (0, CAMERA)
    assert f"wrote {target}" in outcome.out
    again = cv3d_main("convert", str(camera_file), "--to", "ros", "-o", str(target))
    fails(again, 1, target, "--overwrite replaces it")
    assert cv3d_main("convert", str(camera_file), "--to", "ros", "-o", str(target), "--overwrite").code == 0
    assert cv3d_main("convert", str(camera_file), "--to", "colmap-bin", "-o", str(tmp_path)).code == 0
    assert read_camera(tmp_path / "cameras.bin") == CAMERA


def test_json_result(cv3d_main: Main, camera_file: Path, tmp_path: Path) -> None:
    outcome = cv3d_main("convert", str(camera_file), "--to", "kalibr", "-o", str(tmp_path / "c.yaml"), "--json")
    result = json.loads(outcome.out)
    assert result["schema"] == "cv3d.convert/1"
    assert (result["format_in"], result["format"], result["model_in"]) == ("cv3d", "kalibr", "brown5")
    assert result["files"] == [str(tmp_path / "c.yaml")]
    assert 0.0 < result["rms_px"] <= result["max_px"] < 0.5
    assert result["cameras"][0]["model_out"] == result["model_out"] == read_camera(tmp_path / "c.yaml").model
    piped = json.loads(cv3d_main("convert", str(camera_file), "--to", "opencv", "--json").out)
    assert piped["text"] == FORMATS["opencv"].dumps(CAMERA)
    assert (piped["files"], piped["max_px"]) == ([], 0.0)


def test_a_rig_into_one_file_or_one_each(cv3d_main: Main, rig_file: Path, tmp_path: Path) -> None:
    outcome = cv3d_main("convert", str(rig_file), "--to", "kalibr")
    assert outcome.code == 0
    assert "T_cn_cnm1" in outcome.out
    fails(cv3d_main("convert", str(rig_file), "--to", "ros"), 2, "each of the 2 cameras", "-o")
    folder = tmp_path / "ros"
    outcome = cv3d_main("convert", str(rig_file), "--to", "ros", "-o", str(folder))
    assert sorted(path.name for path in folder.iterdir()) == [
        "left_camera_info.yaml",
        "result.json",
        "right_camera_info.yaml",
    ]
    assert "does not say how the cameras stand to each other" in outcome.err
    fails(cv3d_main("convert", str(rig_file), "--to", "ros", "-o", str(rig_file)), 1, "name a folder")
    assert cv3d_main("convert", str(rig_file), "--to", "colmap", "-o", f"{tmp_path}/sparse/").code == 0
    assert sorted(path.name for path in (tmp_path / "sparse").iterdir()) == [
        "cameras.txt",
        "result.json",
        "rigs.txt",
    ]
    back = read_cameras(tmp_path / "sparse")
    assert cv3d_main("convert", str(rig_file), "--to", "colmap-bin", "-o", str(tmp_path / "binary")).code == 0
    assert read_cameras(tmp_path / "binary").baseline(0, 1) == pytest.approx(0.12)
    assert back.baseline(0, 1) == pytest.approx(0.12)
    only = cv3d_main("convert", str(rig_file), "--to", "ros", "--camera", "right")
    assert "equidistant" in only.out
    assert cv3d_main("convert", f"{rig_file}#right", "--to", "ros").out == only.out
    fails(cv3d_main("convert", str(rig_file), "--to", "ros", "--camera", "top"), 1, "has no camera 'top'")


def test_size_for_files_that_do_not_say_it(cv3d_main: Main, tmp_path: Path) -> None:
    old = tmp_path / "old.yml"
    old.write_text(FORMATS["opencv"].dumps(CAMERA).replace("image_width: 640\nimage_height: 480\n", ""))
    fails(cv3d_main("convert", str(old), "--to", "cv3d"), 1, old, "--size WIDTHxHEIGHT")
    outcome = cv3d_main("convert", str(old), "--to", "cv3d", "--size", "640x480")
    assert cv3d_camera.loads(outcome.out) == CAMERA


def test_an_error_that_is_too_large_is_the_users_to_allow(cv3d_main: Main, tmp_path: Path) -> None:
    path = tmp_path / "camera.json"
    omni = Camera("omni", 1280, 960, (900.0, 905.0, 640.0, 480.0, 1.1, -0.2, 0.05, 1e-3, -2e-3))
    path.write_text(cv3d_camera.dumps(omni))
    fails(cv3d_main("convert", str(path), "--to", "ros"), 1, "too far off", "--allow-error 6px")
    allowed = cv3d_main("convert", str(path), "--to", "ros", "--allow-error", "6px")
    assert allowed.code == 0
    assert "omni as kannala_brandt4: off by" in allowed.err
    assert cv3d_main("convert", str(path), "--to", "ros", "--within", "60%").code == 0


def test_a_foreign_model_is_named_in_the_result(cv3d_main: Main, tmp_path: Path) -> None:
    path = tmp_path / "cameras.txt"
    path.write_text("1 FOV 640 480 400 400 320 240 0.9\n")
    result = json.loads(cv3d_main("convert", str(path), "--to", "ros", "--json").out)
    assert (result["model_in"], result["model_out"]) == ("FOV", "kannala_brandt4")
    assert 0.0 < result["max_px"] < 0.01


def test_list(cv3d_main: Main) -> None:
    outcome = cv3d_main("convert", "--list")
    assert outcome.code == 0
    assert all(len(line) <= 80 for line in outcome.out.splitlines())
    rows = {line.split()[0]: line.split()[1:] for line in outcome.out.splitlines() if line}
    for name, form in FORMATS.items():
        assert (rows[name][0], rows[name][5]) == ("x", "x" if form.says("kannala_brandt4") else "~")
    listed = json.loads(cv3d_main("convert", "--list", "--json").out)
    assert [one["name"] for one in listed["formats"]] == list(FORMATS)


def test_wrong_usage(cv3d_main: Main, camera_file: Path, tmp_path: Path) -> None:
    fails(cv3d_main("convert"), 2, "--to FORMAT")
    fails(cv3d_main("convert", str(camera_file)), 2, "--to FORMAT")
    fails(cv3d_main("convert", str(camera_file), "--to", "magic"), 2, "unknown format 'magic'; known are cv3d, opencv")
    fails(cv3d_main("convert", str(camera_file), "--to", "ros", "--size", "big"), 2, "WIDTHxHEIGHT", "'big'")
    fails(cv3d_main("convert", str(camera_file), "--to", "ros", "--allow-error", "much"), 2, "number of pixels")
    fails(cv3d_main("convert", str(camera_file), "--to", "ros", "--within", "0"), 2, "above 0")
    fails(cv3d_main("convert", str(camera_file), "--to", "colmap-bin"), 2, "no text", "-o")
    fails(cv3d_main("convert", str(tmp_path / "none"), "--to", "ros"), 1, "none: no such file or folder")


@pytest.mark.parametrize("text", ["", "640", "640x", "0x480", "640x480x3", "-640x480"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


def test_numbers_with_and_without_unit() -> None:
    assert parse_size("1280 x 720") == (1280, 720)
    assert (parse_pixels("5px"), parse_pixels(" 0.5 ")) == (5.0, 0.5)
    assert (parse_share("80%"), parse_share("0.8")) == (0.8, 0.8)


def test_help_fits_and_ends_with_an_example(cv3d_main: Main) -> None:
    outcome = cv3d_main("convert", "--help")
    assert all(len(line) <= 80 for line in outcome.out.splitlines())
    assert "Example: cv3d convert" in outcome.out


def test_library_function(camera_file: Path) -> None:
    conversion = convert(camera_file, "euroc")
    assert (conversion.format_in, conversion.files) == ("cv3d", ())
    assert conversion.max_px == conversion.cameras[0].max_px > 0.0
    assert list(conversion.content.files) == ["sensor.yaml"]


def test_names_that_promise_another_format(cv3d_main: Main, camera_file: Path, rig_file: Path, tmp_path: Path) -> None:
    xml, folder = tmp_path / "camera.xml", tmp_path / "rig.yaml"
    fails(cv3d_main("convert", str(camera_file), "--to", "opencv", "-o", str(xml)), 2, "ends like a file of opencv-xml")
    assert cv3d_main("convert", str(camera_file), "--to", "opencv", "-o", str(tmp_path / "camera.yml")).code == 0
    fails(cv3d_main("convert", str(rig_file), "--to", "ros", "-o", str(folder)), 1, "name a folder")
    assert not xml.exists()
    assert not folder.exists()
