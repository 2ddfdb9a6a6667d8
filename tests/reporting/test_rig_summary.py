from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cv3d.calibration.checks.base import Finding, Severity
from cv3d.formats.json_text import jsonable
from cv3d.reporting.rig_files import write_rig
from cv3d.reporting.rig_summary import RIG_MEASURES, rig_measures, rig_summary

Make = Callable[..., Any]


def shown(result: Any, out: Path, up_to_date: bool = False) -> str:
    stream = io.StringIO()
    Console(file=stream, width=80, highlight=False).print(rig_summary(result, out, up_to_date))
    return stream.getvalue()


@pytest.fixture(scope="module")
def pair(make_rig: Make, tmp_path_factory: pytest.TempPathFactory) -> Any:
    calibration = make_rig(frames=5, warp=True, cameras=[make_rig.brown4, make_rig.brown5])
    return jsonable(write_rig(calibration, tmp_path_factory.mktemp("pair"), "stereo"))


@pytest.fixture(scope="module")
def ring(make_rig: Make, tmp_path_factory: pytest.TempPathFactory) -> Any:
    names = ("kitchen_north", "kitchen_east", "kitchen_south", "kitchen_west")
    lenses = [make_rig.brown4, make_rig.wide, make_rig.brown4, make_rig.brown4]
    calibration = make_rig(make_rig.ring(4), names, lenses, frames=16, held=(1,), square_m=None)
    return jsonable(write_rig(calibration, tmp_path_factory.mktemp("ring"), "ring"))


@pytest.mark.parametrize("name", ["pair", "ring"])
def test_it_fits_a_terminal_in_plain_characters(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    result = request.getfixturevalue(name)
    text = shown(result, tmp_path)
    assert max(map(len, text.splitlines())) <= 80
    tables = text[text.index("cameras") : text.index("not used")]
    assert tables.isascii()
    assert "…" not in tables
    for camera in result["cameras"]:
        assert camera["name"] in tables


def test_a_pair_says_what_matters(pair: Any, tmp_path: Path) -> None:
    text = shown(pair, tmp_path)
    first_line, *_ = text.splitlines()
    assert first_line.rstrip() == pair["sentence"]
    assert re.search(r"board +checkerboard 7x5, 40 mm", text)
    assert re.search(r"frames +5 of 5 used; 5 frames matched by name", text)
    assert re.search(r"left +brown4 +5/6 +0\.\d{3} +0\.\d{3} +531\.20 +0\.40", text)
    assert re.search(r"left - right +4 +0\.081 +0\.12033 +0\.00020 +1\.80", text)
    assert re.search(r"left: 99\.png: truncated", text)
    assert "right: 02.png: its corners do not fit the rig (median 5.1 px)" in text
    assert "warning: <left> has 1 picture more" in text
    assert re.search(r"camchain\.yaml: right as \w+, off by [\d.]+ px at most", text)
    assert f"written to {tmp_path}:" in text.replace("\n", "")
    assert f"up to date in {tmp_path}:" in shown(pair, tmp_path, up_to_date=True).replace("\n", "")


def test_a_stretched_board_is_told(pair: Any, tmp_path: Path) -> None:
    assert "stretched by" not in shown(pair, tmp_path)
    straight = {"coefficients": [0.0] * 3, "std": [0.0] * 3, "stretch": -0.0347, "stretch_std": 2e-4}
    text = shown({**pair, "board": {**pair["board"], "warp": straight}}, tmp_path)
    assert "stretched by 3.5 % along its columns: the printer scaled it" in text
    assert "bent:" not in text


def test_four_cameras_say_how_they_are_tied(ring: Any, tmp_path: Path) -> None:
    text = shown(ring, tmp_path)
    assert "kitchen_west is tied to kitchen_north through kitchen_east, kitchen_south" in text
    assert "kitchen_east is tied" not in text
    assert "distance squares" in text
    assert re.search(r"kitchen_east +kannala_brandt4 +\d+/16 +0\.\d{3} +- +255\.\d+ +held", text)
    assert re.search(r"kitchen_west: .*no board found", text)
    losses = re.sub(r"\s+", " ", text)
    assert "camchain.yaml, cameras.txt: translations are in squares of the board" in losses


def test_reasons_that_differ_in_figures_only_are_told_together(make_rig: Make, tmp_path: Path) -> None:
    calibration = make_rig(frames=6, rejected=False)
    views = tuple(
        replace(view, reason=f"its corners do not fit the rig (median {i}.5 px)") if view.camera and i > 4 else view
        for i, view in enumerate(calibration.views)
    )
    result = jsonable(write_rig(replace(calibration, views=views), tmp_path, "stereo"))
    text = re.sub(r"\s+", " ", shown(result, tmp_path))
    assert "right: 02.png, 03.png and 2 more: its corners do not fit the rig" in text
    assert "median" not in text


def test_what_the_checks_found_of_a_camera_is_told_with_its_name(make_rig: Make, tmp_path: Path) -> None:
    calibration = make_rig(frames=2, rejected=False)
    findings = (
        Finding("autofocus", Severity.WARNING, "the focal length changes between pictures"),
        Finding("scaled", Severity.INFO, "the pictures were <scaled>"),
    )
    first, second = calibration.cameras
    first = replace(first, alone=replace(first.alone, findings=findings[1:]))
    second = replace(second, alone=replace(second.alone, findings=findings))
    calibration = replace(calibration, cameras=(first, second))
    text = shown(jsonable(write_rig(calibration, tmp_path, "stereo")), tmp_path)
    assert "warning: camera right: the focal length changes between pictures" in text
    assert "note: cameras left, right: the pictures were <scaled>" in text
    page = (tmp_path / "report.html").read_text()
    assert "the pictures were &lt;scaled&gt;" in page


def test_measures_take_the_worst(pair: Any, ring: Any) -> None:
    values = rig_measures(ring)
    assert tuple(values) == RIG_MEASURES
    assert values["camera_rms"] == max(camera["rms_px"] for camera in ring["cameras"])
    assert values["holdout_rms"] == max(camera["holdout_rms_px"] for camera in ring["cameras"] if not camera["held"])
    assert values["epipolar"] == 0.081
    assert values["views"] == min(camera["views"]["used"] for camera in ring["cameras"])
    assert values["frames"] == ring["frames"]["used"]
    assert rig_measures(pair)["baseline_std"] == pair["cameras"][1]["from_first"]["distance_std"]


def test_a_figure_that_one_camera_lacks_is_not_known(pair: Any) -> None:
    first, second = pair["cameras"]
    held = {**second, "held": True, "holdout_rms_px": None}
    assert rig_measures({**pair, "cameras": [first, held]})["holdout_rms"] == first["holdout_rms_px"]
    assert rig_measures({**pair, "cameras": [held, held]})["holdout_rms"] is None
    assert rig_measures({**pair, "cameras": [first, {**second, "holdout_rms_px": None}]})["holdout_rms"] is None
    assert rig_measures({**pair, "pairs": []})["epipolar"] is None
