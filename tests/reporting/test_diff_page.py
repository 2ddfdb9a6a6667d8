"""The page of a comparison: whole, self-contained, and true to its numbers."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cv3d.calibration.camera_difference import CameraDifference
from cv3d.calibration.differencing import compare_cameras
from cv3d.errors import OutputError
from cv3d.geometry.cameras.camera import Camera
from cv3d.reporting.diff_figures import sigma_figure
from cv3d.reporting.diff_page import MEASURES, diff_page, measures, write_difference
from cv3d.reporting.page import number

BROWN = Camera("brown5", 1280, 720, (900.0, 903.0, 650.3, 349.1, -0.28, 0.09, 8e-4, -5e-4, -0.01))
OTHER = BROWN.with_params((902.0, 904.0, 653.0, 348.0, *BROWN.params[4:]))
FISHEYE = Camera("kannala_brandt4", 640, 480, (220.0, 220.0, 319.5, 239.5, -0.09, 0.0, 0.0, 0.0))
COVARIANCE = np.diag(np.array([0.4, 0.4, 0.6, 0.6, 1.5e-3, 3e-3, 2e-4, 2e-4, 2e-3]) ** 2)
VOID = {"br", "col", "hr", "img", "input", "meta", "wbr"}


class Balance(HTMLParser):
    """Counts what is opened and not closed, and collects what would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith(("data:", "#")):
                self.loaded.append(value)
            if name == "id" and value:
                self.ids.append(value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def stated() -> CameraDifference:
    return compare_cameras(BROWN, OTHER, covariance_a=COVARIANCE, covariance_b=COVARIANCE)


@pytest.fixture(scope="module")
def plain() -> CameraDifference:
    return compare_cameras(BROWN, OTHER, where=(300.0, 200.0), radius_px=90.0, distance_m=2.0)


@pytest.mark.parametrize("which", ["stated", "plain", "partial", "same"])
def test_the_page_is_whole_and_loads_nothing(which: str, request: pytest.FixtureRequest) -> None:
    if which == "partial":
        difference = compare_cameras(FISHEYE, FISHEYE.with_params((222.0, *FISHEYE.params[1:])))
    elif which == "same":
        difference = compare_cameras(BROWN, BROWN, covariance_a=COVARIANCE, covariance_b=COVARIANCE)
    else:
        difference = request.getfixturevalue(which)
    text = diff_page(difference, ("a <b>.json", "folder & file"))
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert parser.loaded == []
    assert len(parser.ids) == len(set(parser.ids))
    assert "<script" not in text
    assert not re.search(r"\bnan\b", re.sub(r"base64,[\w+/=]+", "", text), re.IGNORECASE)
    assert "a &lt;b&gt;.json against folder &amp; file" in text
    assert ("Hatched" in text) == (which == "partial")
    assert ("Beyond 3 σ" in text) == (which in ("stated", "same"))


def test_the_page_tells_the_numbers_of_the_comparison(stated: CameraDifference, plain: CameraDifference) -> None:
    text = diff_page(stated, ("A", "B"))
    for value in (stated.rms_px, stated.max_px, stated.center_px, stated.corner_px, stated.expected.rms_px):
        assert f"{number(value)} px" in text
    assert stated.sentence[1:] in text
    assert "Dashed" not in text
    text = diff_page(plain, ("A", "B"))
    assert "Dashed" in text
    assert "Implied translation" in text
    with pytest.raises(ValueError, match="no uncertainty"):
        sigma_figure(plain)


def test_parameters_are_subtracted_where_they_mean_the_same() -> None:
    kannala = Camera("kannala_brandt4", 1280, 720, (900.0, 903.0, 650.3, 349.1, 0.05, 0.0, 0.0, 0.0))
    text = diff_page(compare_cameras(BROWN, kannala), ("A", "B"))
    rows = dict(re.findall(r"<tr><td><b>(\w+)</b></td>(.*?)</tr>", text))
    assert rows["fx"].count("<td") == 3
    assert re.findall(r">([^<>]*)</td>", rows["fx"]) == ["900.0000", "900.0000", "0"]
    assert re.findall(r">([^<>]*)</td>", rows["k1"])[2] == ""


def test_the_folder_holds_page_and_result(stated: CameraDifference, tmp_path: Path) -> None:
    out = tmp_path / "diff"
    result = write_difference(stated, ("first", "second"), out)
    assert {path.name for path in out.iterdir()} == {"report.html", "result.json"}
    read = json.loads((out / "result.json").read_text())
    assert read == json.loads(json.dumps(result))
    assert read["schema"] == "cv3d.diff/1"
    assert [camera["name"] for camera in read["cameras"]] == ["first", "second"]
    assert read["difference_px"]["max"] == pytest.approx(stated.max_px)
    assert read["distance_m"] is None
    with pytest.raises(OutputError, match="is not empty; --overwrite replaces it"):
        write_difference(stated, ("first", "second"), out)
    write_difference(stated, ("first", "third"), out, overwrite=True)
    assert json.loads((out / "result.json").read_text())["cameras"][1]["name"] == "third"


def test_every_measure_has_a_value(stated: CameraDifference, plain: CameraDifference) -> None:
    values = measures(stated)
    assert tuple(values) == MEASURES
    assert all(value is not None and np.isfinite(value) for value in values.values())
    assert values["median"] <= values["p95"] <= values["p99"] <= values["max"]
    assert np.isnan(measures(plain)["sigmas"])
