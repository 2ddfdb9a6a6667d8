"""The folder of results: what is in it, and what an interrupted write leaves."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import cv3d
from cv3d.calibration.quality import Level
from cv3d.calibration.result import RESULT_SCHEMA, Calibration
from cv3d.errors import OutputError
from cv3d.formats import CAMERA_FORMATS
from cv3d.geometry.cameras.camera import Camera
from cv3d.reporting import calibration_files
from cv3d.reporting.calibration_files import write_calibration
from cv3d.reporting.calibration_summary import MEASURES, measures
from cv3d.reporting.result_folder import look_at_output

CAMERA_FILES = [camera_format.file_name for camera_format in CAMERA_FORMATS.values()]


@pytest.fixture(scope="module")
def calibration(project_root: Path) -> Calibration:
    files = sorted((project_root / "data" / "samples" / "checkerboard").glob("*.jpg"))[:5]
    pictures = [
        cv2.resize(cv2.imread(str(f), cv2.IMREAD_GRAYSCALE), (640, 480), interpolation=cv2.INTER_AREA) for f in files
    ]
    return cv3d.calibrate(pictures, board="9x6", model="brown5", board_warp="off")


@pytest.fixture(scope="module")
def unobservable(calibration: Calibration) -> Calibration:
    nothing = np.full_like(calibration.covariance, math.nan)
    verdict = replace(calibration.verdict, level=Level.UNOBSERVABLE, sentence="unobservable: one pose")
    return replace(calibration, covariance=nothing, verdict=verdict, holdout_rms_px=math.nan)


def test_every_file_is_written_and_listed(calibration: Calibration, tmp_path: Path) -> None:
    result = write_calibration(calibration, tmp_path / "new" / "out", "photos", "digest")
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == sorted(result["files"])
    assert set(result["files"]) == {*CAMERA_FILES, "report.html", "result.json"}
    assert json.loads((tmp_path / "new" / "out" / "result.json").read_text())["run_digest"] == "digest"


def test_an_identical_run_is_found(calibration: Calibration, tmp_path: Path) -> None:
    write_calibration(calibration, tmp_path, "photos", "digest")
    earlier = look_at_output(tmp_path, "digest", overwrite=False, schema=RESULT_SCHEMA).result
    assert earlier == json.loads((tmp_path / "result.json").read_text())
    assert look_at_output(tmp_path, "digest", overwrite=True, schema=RESULT_SCHEMA).result is None
    (tmp_path / "cameras.txt").unlink()
    assert look_at_output(tmp_path, "digest", overwrite=False, schema=RESULT_SCHEMA).result is None


def test_other_results_are_not_replaced_unasked(calibration: Calibration, tmp_path: Path) -> None:
    write_calibration(calibration, tmp_path, "photos", "digest")
    with pytest.raises(OutputError, match="--overwrite"):
        look_at_output(tmp_path, "another", overwrite=False, schema=RESULT_SCHEMA)
    assert look_at_output(tmp_path, "another", overwrite=True, schema=RESULT_SCHEMA).result is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": "another/1"}'])
def test_a_strange_result_json_is_not_replaced_unasked(text: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(OutputError, match="--overwrite"):
        look_at_output(tmp_path, "digest", overwrite=False, schema=RESULT_SCHEMA)


def test_an_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="it is a file, not a folder"):
        look_at_output(tmp_path / "file", "digest", overwrite=True, schema=RESULT_SCHEMA)
    with pytest.raises(OutputError, match="cannot be written"):
        look_at_output(tmp_path / "file" / "below", "digest", overwrite=True, schema=RESULT_SCHEMA)


@pytest.mark.parametrize("already", [False, True])
@pytest.mark.parametrize("last", ["camera.json", "cameras.txt", "report.html", "result.json"])
def test_an_interrupted_write_leaves_no_result_json(
    last: str, already: bool, calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even an earlier one, which would vouch for a mixture of two runs."""
    if already:
        write_calibration(calibration, tmp_path, "photos", "earlier")
    real = calibration_files.atomic_write_text

    def write(path: Path, text: str) -> None:
        if path.name == last:
            raise KeyboardInterrupt
        real(path, text)

    monkeypatch.setattr(calibration_files, "atomic_write_text", write)
    with pytest.raises(KeyboardInterrupt):
        write_calibration(calibration, tmp_path, "photos", "digest")
    assert not (tmp_path / "result.json").exists()
    assert look_at_output(tmp_path, "digest", overwrite=False, schema=RESULT_SCHEMA).result is None
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".") or path.suffix == ".tmp"]


def test_what_is_unknown_is_null(unobservable: Calibration, tmp_path: Path) -> None:
    write_calibration(unobservable, tmp_path, "photos")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for name in ("result.json", "camera.json"):
        json.loads((tmp_path / name).read_text(), parse_constant=refuse)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["holdout_rms_px"] is None
    assert set(result["camera"]["std"].values()) == {None}
    assert set(measures(result)) == set(MEASURES)
    assert measures(result)["holdout_rms"] is None
    for name in ("camera_opencv.yaml", "camera_info.yaml", "camchain.yaml", "cameras.txt"):
        assert "nan" not in (tmp_path / name).read_text().lower()


def test_a_format_that_cannot_say_the_camera_is_left_out_with_its_reason(
    calibration: Calibration, tmp_path: Path
) -> None:
    camera = Camera("omni", 640, 480, (450.0, 452.5, 320.0, 240.0, 1.1, -0.2, 0.05, 1e-3, -2e-3))
    (tmp_path / "cameras.txt").write_text("of an earlier run")
    covariance = np.zeros((len(camera.params), len(camera.params)))
    result = write_calibration(replace(calibration, camera=camera, covariance=covariance), tmp_path, "photos")
    formats = result["formats"]
    assert isinstance(formats, dict)
    assert formats["colmap"]["file"] is None
    assert "omni" in formats["colmap"]["reason"]
    assert not (tmp_path / "cameras.txt").exists()
    files = result["files"]
    assert isinstance(files, list)
    assert "cameras.txt" not in files
