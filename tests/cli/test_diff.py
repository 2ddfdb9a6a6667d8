"""`cv3d diff` as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cv3d.formats import CAMERA_FORMATS
from cv3d.formats.cv3d_camera import dumps
from cv3d.geometry.cameras.camera import Camera

Cv3d = Callable[..., SimpleNamespace]
BROWN = Camera("brown5", 640, 480, (535.9, 536.2, 342.3, 235.5, -0.265, -0.047, 0.0018, -0.0003, 0.252))
OTHER = BROWN.with_params((536.5, 536.9, 343.5, 235.0, *BROWN.params[4:]))
COVARIANCE = np.diag(np.array([0.8, 0.8, 1.0, 1.0, 5e-3, 2e-2, 3e-4, 3e-4, 3e-2]) ** 2)


@pytest.fixture
def files(tmp_path: Path) -> SimpleNamespace:
    """Cameras in files: two that state their covariance, one of them in a folder, and one that does not."""
    (tmp_path / "result").mkdir()
    own, folder, foreign = tmp_path / "own.json", tmp_path / "result", tmp_path / "other.yaml"
    own.write_text(dumps(BROWN, {"covariance": COVARIANCE}))
    (folder / "camera.json").write_text(dumps(OTHER, {"covariance": COVARIANCE}))
    foreign.write_text(CAMERA_FORMATS["opencv"].dumps(OTHER))
    return SimpleNamespace(own=str(own), folder=str(folder), foreign=str(foreign), tmp=tmp_path)


def test_cameras_of_any_format_are_compared_and_nothing_is_written(cv3d_main: Cv3d, files: SimpleNamespace) -> None:
    before = sorted(files.tmp.rglob("*"))
    done = cv3d_main("diff", files.own, files.foreign)
    assert done.code == 0, done.err
    assert done.out.startswith("the cameras differ by ")
    assert "rotation" in done.out
    assert sorted(files.tmp.rglob("*")) == before


def test_cameras_that_state_their_uncertainty_are_judged_by_it(cv3d_main: Cv3d, files: SimpleNamespace) -> None:
    done = cv3d_main("diff", files.own, files.folder, "--json")
    result = json.loads(done.out)
    assert result["schema"] == "cv3d.diff/1"
    assert result["agreement"] == "within"
    assert result["expected"]["sigmas"] < 3.0
    assert [camera["name"] for camera in result["cameras"]] == [files.own, files.folder]
    assert result["rotation"]["angle_deg"] == pytest.approx(np.linalg.norm(result["rotation"]["vector_deg"]))
    plain = json.loads(cv3d_main("diff", files.own, files.foreign, "--json").out)
    assert plain["agreement"] == "unstated"
    assert plain["expected"] is None


def test_a_report_is_written_where_asked_for(cv3d_main: Cv3d, files: SimpleNamespace) -> None:
    out = files.tmp / "diff"
    done = cv3d_main("diff", files.own, files.folder, "-o", str(out), "--json")
    assert done.code == 0
    assert json.loads(done.out) == json.loads((out / "result.json").read_text())
    assert (out / "report.html").read_text().startswith("<!DOCTYPE html>")
    again = cv3d_main("diff", files.own, files.folder, "-o", str(out))
    assert again.code == 1
    assert "--overwrite" in again.err
    assert cv3d_main("diff", files.own, files.folder, "-o", str(out), "--overwrite").code == 0


def test_focus_and_distance_are_taken(cv3d_main: Cv3d, files: SimpleNamespace) -> None:
    arguments = ("diff", files.own, files.foreign, "--where", "100,80", "--radius", "60", "--distance", "2m", "--json")
    result = json.loads(cv3d_main(*arguments).out)
    assert result["focus"] == {"x": 100.0, "y": 80.0, "radius_px": 60.0}
    assert result["distance_m"] == 2.0
    assert len(result["translation_m"]) == 3


def test_no_motion_is_said_as_none_and_a_byte_order_mark_does_not_matter(
    cv3d_main: Cv3d, files: SimpleNamespace
) -> None:
    marked = files.tmp / "marked.json"
    marked.write_text("\ufeff" + Path(files.own).read_text(), encoding="utf-8")
    done = cv3d_main("diff", files.own, str(marked), "--distance", "2m")
    assert done.code == 0, done.err
    assert "rotation   0 degrees (about x, y, z: 0, 0, 0)" in done.out
    assert "shift      0, 0, 0 mm" in done.out


def test_requirements_decide_the_exit_code_after_the_result(cv3d_main: Cv3d, files: SimpleNamespace) -> None:
    met = cv3d_main("diff", files.own, files.foreign, "--require", "max<50", "--require", "rotation<5")
    assert met.code == 0
    missed = cv3d_main("diff", files.own, files.foreign, "--require", "max<0.001")
    assert missed.code == 3
    assert missed.out.startswith("the cameras differ")
    assert "max<0.001 is required, but max is" in missed.err
    unknown = cv3d_main("diff", files.own, files.foreign, "--require", "sigmas<3")
    assert unknown.code == 3
    assert "sigmas is not known" in unknown.err


@pytest.mark.parametrize(
    ("arguments", "code", "fragments"),
    [
        (["{own}", "{tmp}/none.yaml"], 1, ["none.yaml", "no such file"]),
        (["{own}", "{tmp}/empty.yaml"], 1, ["empty.yaml"]),
        (["{own}", "{tmp}/small.json"], 1, ["small.json: the cameras'", "differ in shape (640x480 and 300x480)"]),
        (["{own}"], 2, ["B"]),
        (["{own}", "{foreign}", "--where", "three"], 2, ["'three' is not a place"]),
        (["{own}", "{foreign}", "--where", "9000,3"], 2, ["not in a picture of 640x480"]),
        (["{own}", "{foreign}", "--radius", "-4"], 2, ["radius"]),
        (["{own}", "{foreign}", "--distance", "far"], 2, ["'far' is not a length"]),
        (["{own}", "{foreign}", "--require", "rmse<1"], 2, ["no figure 'rmse'"]),
        (["{own}", "{foreign}", "-o", "{own}"], 1, ["is a file, not a folder"]),
    ],
)
def test_bad_input_is_one_line(
    cv3d_main: Cv3d, files: SimpleNamespace, arguments: list[str], code: int, fragments: list[str]
) -> None:
    (files.tmp / "empty.yaml").write_text("")
    (files.tmp / "small.json").write_text(dumps(Camera("pinhole", 300, 480, (500.0, 500.0, 149.5, 239.5))))
    done = cv3d_main("diff", *(argument.format(**vars(files)) for argument in arguments))
    assert (done.code, done.out) == (code, "")
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in done.err
    for fragment in fragments:
        assert fragment in done.err


def test_help_fits_eighty_columns_and_ends_with_an_example(cv3d_main: Cv3d, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = cv3d_main("diff", "--help")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    assert "Example: cv3d diff" in done.out
