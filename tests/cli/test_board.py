"""`cv3d board` as a user meets it."""

from __future__ import annotations

import json
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from cv3d.calibration.sheets.sheet import board

Cv3d = Callable[..., SimpleNamespace]
_NAME = "charuco_7x5_5X5_50_30mm_a4"


def test_without_arguments_a_charuco_board_lands_in_this_folder(
    cv3d_main: Cv3d, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cv3d_main("board")
    assert done.code == 0
    sheet = board()
    assert {path.name for path in tmp_path.iterdir()} == {f"{sheet.name}.pdf", f"{sheet.name}.svg"}
    assert (tmp_path / f"{sheet.name}.pdf").read_bytes() == sheet.page.pdf()
    assert done.out.splitlines()[-1].strip() == sheet.command
    assert all(len(line) <= 80 for line in done.out.splitlines())


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["-o", "b.pdf"], ["b.pdf"]),
        (["-o", "b.SVG"], ["b.SVG"]),
        (["-o", "b.svg", "--format", "both"], ["b.pdf", "b.svg"]),
        (["-o", "new/deep/b.pdf"], ["new/deep/b.pdf"]),
        (["-o", "out"], [f"out/{_NAME}.pdf", f"out/{_NAME}.svg"]),
        (["-o", "out", "--format", "svg"], [f"out/{_NAME}.svg"]),
    ],
)
def test_files_are_written_where_they_are_asked_for(
    cv3d_main: Cv3d, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], names: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cv3d_main("board", "charuco:7x5", "--square", "30mm", "--json", *options)
    assert done.code == 0, done.err
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    result = json.loads(done.out)
    if options[1] == "out":
        assert json.loads((tmp_path / "out" / "result.json").read_text()) == result
        written.remove("out/result.json")
    assert written == set(names)
    assert result["schema"] == "cv3d.board/1"
    assert result["files"] == names
    for name in names:
        data = (tmp_path / name).read_bytes()
        assert data.startswith(b"%PDF") if name.lower().endswith("pdf") else ET.fromstring(data) is not None


def test_the_result_tells_the_board_and_where_it_is(cv3d_main: Cv3d, tmp_path: Path) -> None:
    done = cv3d_main("board", "aprilgrid:6x4", "--square", "30mm", "--spacing", "0.3", "--json", "-o", str(tmp_path))
    result = json.loads(done.out)
    assert result["board"] == {
        "type": "aprilgrid",
        "rows": 4,
        "cols": 6,
        "square_m": 0.03,
        "dictionary": "DICT_APRILTAG_36h11",
        "marker_ratio": 0.3,
        "first_marker": 0,
        "markers_on_white_first": False,
        "inverted": False,
        "ids_upward": True,
        "points": 96,
    }
    assert result["paper"] == {"name": "a4", "width_mm": 297.0, "height_mm": 210.0, "orientation": "landscape"}
    assert (result["print"]["width_mm"], result["print"]["height_mm"]) == (243.0, 165.0)
    assert shlex.split(result["command"])[4:] == ["aprilgrid:6x4:APRILTAG_36h11", "--square", "30mm"]
    assert result["warnings"] == []


def test_the_command_under_the_board_calibrates(cv3d_main: Cv3d, tmp_path: Path) -> None:
    """As far as its options are understood: there are no pictures."""
    done = cv3d_main("board", "circles_asymmetric", "--json", "-o", str(tmp_path))
    words = shlex.split(json.loads(done.out)["command"].replace("photos/", str(tmp_path)))
    tried = cv3d_main(*words[1:])
    assert tried.code == 1
    assert "no picture" in tried.err
    assert words[0] == "cv3d"


@pytest.mark.slow
@pytest.mark.parametrize("text", ["charuco:7x5", "checkerboard:9x6", "circles_asymmetric:4x11"])
def test_photographs_of_the_print_calibrate_with_the_command_under_it(
    cv3d_main: Cv3d, tmp_path: Path, text: str
) -> None:
    """The PDF, rendered and photographed by a known camera, gives that camera at the board's own scale."""
    pdfium = pytest.importorskip("pypdfium2", reason="no renderer of PDF files")
    done = cv3d_main("board", text, "--json", "-o", str(tmp_path / "board.pdf"))
    dpi = 127.0 * (1.0 - 1e-6)
    with pdfium.PdfDocument(tmp_path / "board.pdf") as document:
        print_ = document[0].render(scale=dpi / 72.0, grayscale=True).to_numpy()
    print_ = np.ascontiguousarray(print_.reshape(print_.shape[:2]))
    photos = tmp_path / "photos"
    photos.mkdir()
    intrinsics = np.array([[1100.0, 0.0, 633.0], [0.0, 1102.0, 484.0], [0.0, 0.0, 1.0]])
    middle = 0.0127 / dpi * np.array(print_.shape[::-1])
    plane_from_pixel = np.array([[0.0254 / dpi, 0.0, -middle[0]], [0.0, 0.0254 / dpi, -middle[1]], [0.0, 0.0, 1.0]])
    rng = np.random.default_rng(0)
    for k in range(12):
        tilt = np.array([0.5 * np.cos(k), 0.5 * np.sin(k), 0.3 * k])
        away = np.array([0.05 * np.cos(2.0 * k), 0.04 * np.sin(3.0 * k), 0.42])
        plane = np.column_stack([cv2.Rodrigues(tilt)[0][:, :2], away])
        picture = cv2.warpPerspective(
            print_, intrinsics @ plane @ plane_from_pixel, (1280, 960), flags=cv2.INTER_AREA, borderValue=90
        )
        noisy = cv2.GaussianBlur(picture, (0, 0), 0.8) * 0.8 + 20.0 + rng.normal(0.0, 2.0, picture.shape)
        cv2.imwrite(str(photos / f"{k:02}.png"), np.clip(noisy, 0, 255).astype(np.uint8))
    words = shlex.split(json.loads(done.out)["command"].replace("photos/", str(photos)))
    options = ("--model", "pinhole", "--board-warp", "off", "-o", str(tmp_path / "result"), "--json")
    result = json.loads(cv3d_main(*words[1:], *options).out)
    assert result["views"]["used"] == 12
    assert result["board"]["square_m"] == json.loads(done.out)["board"]["square_m"]
    expected = {"fx": 1100.0, "fy": 1102.0, "cx": 633.0, "cy": 484.0}
    for name, value in expected.items():
        assert result["camera"]["params"][name] == pytest.approx(value, abs=2.0)


def test_ambiguous_boards_are_warned_of_on_standard_error(cv3d_main: Cv3d, tmp_path: Path) -> None:
    done = cv3d_main("board", "checkerboard:8x6", "-o", str(tmp_path))
    assert done.code == 0
    assert "half round" in done.err
    assert "half round" not in done.out


def test_an_existing_file_is_kept_unless_overwrite(cv3d_main: Cv3d, tmp_path: Path) -> None:
    target = tmp_path / "b.pdf"
    target.write_text("mine")
    done = cv3d_main("board", "-o", str(target))
    assert (done.code, done.out) == (1, "")
    assert f"error: {target}: exists; --overwrite replaces it" in done.err
    assert target.read_text() == "mine"
    assert cv3d_main("board", "-o", str(target), "--overwrite").code == 0
    assert target.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    [
        (["hexagons"], 2, "'hexagons' is not a board"),
        (["checkerboard:9"], 2, "'checkerboard:9' is not a board"),
        (["--square", "30"], 2, "without one it is in metres"),
        (["-o", "board.png"], 2, "as .pdf or .svg"),
        (["charuco:7x5", "--square", "90mm"], 2, "does not fit on A4"),
        (["--paper", "a11"], 2, "not a paper size"),
        (["--square", "wide"], 2, "not a length"),
        (["--format", "svg", "-o", "b.pdf"], 2, "contradict"),
        (["-o", "file.txt"], 1, "is a file; give a folder"),
        (["-o", "file.txt/b.pdf"], 1, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    cv3d_main: Cv3d,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    fragment: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("text")
    done = cv3d_main("board", *arguments)
    assert (done.code, done.out) == (code, "")
    assert fragment in done.err
    assert len([line for line in done.err.splitlines() if line.startswith("error: ")]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_help_fits_eighty_columns_and_ends_with_an_example(cv3d_main: Cv3d, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = cv3d_main("board", "--help")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    assert "Example: cv3d board charuco" in done.out


def test_the_result_of_another_command_is_left_as_it_is(cv3d_main: Cv3d, tmp_path: Path) -> None:
    foreign = tmp_path / "result.json"
    for text in ('{"schema": "cv3d.calibration/1"}', "[]", "no json"):
        foreign.write_text(text)
        done = cv3d_main("board", "charuco:7x5", "-o", str(tmp_path), "--overwrite")
        assert done.code == 0
        assert "is left as it is" in done.err
        assert foreign.read_text() == text
