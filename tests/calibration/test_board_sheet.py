"""Printed boards: found again in their own raster, true to scale, and laid out as a printer needs them."""

from __future__ import annotations

import itertools
import shlex
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cv3d.calibration.api import gather
from cv3d.calibration.board_text import parse_board, parse_length
from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detecting import find_board
from cv3d.calibration.sheets.fitting import FOOTER_MM
from cv3d.calibration.sheets.pattern import extent, mask_outlines, outlines
from cv3d.calibration.sheets.sheet import BoardSheet, board
from cv3d.errors import UsageError
from cv3d.formats.vector_page import Circle, VectorPage

DPI = 150
FINER = 4
EVERY_KIND = [
    "checkerboard:9x6",
    "charuco:7x5:5X5_50",
    "charuco:5x8:4X4_50",
    "charuco:8x6:6X6_50",
    pytest.param("aprilgrid:6x4", marks=pytest.mark.slow),
    "aprilgrid:5x4:APRILTAG_16h5",
    "aprilgrid:5x4:6X6_50",
    "circles:9x7",
    "circles_asymmetric:4x11",
    "circles_hex:7x9",
]


def polygon(outline: np.ndarray | Circle) -> np.ndarray:
    if not isinstance(outline, Circle):
        return outline
    turn = np.linspace(0.0, 2.0 * np.pi, 181)[:-1]
    return np.array([outline.x, outline.y]) + outline.radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def raster(page: VectorPage, dpi: float = DPI) -> np.ndarray:
    """The page's outlines as a grey picture of `dpi`, its top-left corner being the page's."""
    scale = FINER * dpi / 25.4
    size = [FINER * round(side * dpi / 25.4) for side in (page.height, page.width)]
    fine = np.full(size, 255, np.uint8)
    polygons = [np.round((polygon(o) * scale - 0.5) * 256).astype(np.int32) for o in page.outlines]
    cv2.fillPoly(fine, polygons, 0, shift=8)
    return cv2.resize(fine, (size[1] // FINER, size[0] // FINER), interpolation=cv2.INTER_AREA)


def found_in(picture: np.ndarray, known: Board | None = None) -> tuple[Board, np.ndarray, np.ndarray]:
    """The board found in a picture, untold unless `known`; ids and pixels of its points."""
    sightings = find_board(gather(picture).sources, known)
    detection = sightings.pictures[0].detection
    return sightings.board, detection.point_ids, detection.pixels


def pixels_per_metre(sheet: BoardSheet, found: Board, ids: np.ndarray, pixels: np.ndarray) -> tuple[float, float]:
    """Scale at which the printed board shows, and the RMS of its points about it, pixels."""
    points = found.with_square(sheet.board.square_m).points_m()[ids, :2]
    centred, seen = points - points.mean(axis=0), pixels - pixels.mean(axis=0)
    u, singular, vt = np.linalg.svd(seen.T @ centred)
    scale = singular.sum() / (centred**2).sum()
    return scale, float(np.sqrt(((seen - scale * centred @ (u @ vt).T) ** 2).sum(axis=1).mean()))


def assert_found_as_printed(sheet: BoardSheet, picture: np.ndarray, dpi: float) -> None:
    found, ids, pixels = found_in(picture)
    wanted = replace(sheet.board, square_m=None)
    assert replace(found, marker_ratio=wanted.marker_ratio) == wanted
    if wanted.marker_ratio is not None and not wanted.inverted:  # of inverted markers only the rough outline is known
        assert found.marker_ratio == pytest.approx(wanted.marker_ratio, abs=2e-3)
    assert len(ids) == wanted.point_count
    scale, rms = pixels_per_metre(sheet, found, ids, pixels)
    assert scale == pytest.approx(dpi / 0.0254, rel=3e-4)
    assert rms < 0.2


@pytest.mark.parametrize("text", EVERY_KIND)
def test_a_printed_board_is_found_in_its_own_raster(text: str) -> None:
    sheet = board(text)
    assert_found_as_printed(sheet, raster(sheet.page), DPI)


@pytest.mark.parametrize(
    "options",
    [
        {"text": "charuco:7x6", "legacy": True},
        {"text": "charuco:7x5", "legacy": True},
        {"text": "charuco:7x6", "inverted": True},
        {"text": "charuco:7x5", "first_marker": 12, "marker_ratio": 0.6},
        {"text": "aprilgrid:6x4", "spacing": 0.25},
    ],
    ids=str,
)
def test_variants_are_found_as_printed(options: dict[str, object]) -> None:
    sheet = board(**options)  # type: ignore[arg-type]
    assert_found_as_printed(sheet, raster(sheet.page), DPI)


@pytest.mark.parametrize("text", ["checkerboard:9x6", "charuco:7x5", "aprilgrid:6x4", "circles_asymmetric:4x11"])
def test_the_pdf_shows_the_board_at_true_scale(text: str) -> None:
    pdfium = pytest.importorskip("pypdfium2", reason="no renderer of PDF files")
    sheet = board(text)
    # The renderer stretches the page to whole pixels, rounded up: just below five to the millimetre that is nothing.
    dpi = 127.0 * (1.0 - 1e-6)
    with pdfium.PdfDocument(sheet.page.pdf()) as document:
        picture = document[0].render(scale=dpi / 72.0, grayscale=True).to_numpy()
        written = document[0].get_textpage().get_text_bounded()
    assert_found_as_printed(sheet, np.ascontiguousarray(picture.reshape(picture.shape[:2])), dpi)
    assert sheet.command in written.splitlines()
    assert "Measure this bar: 100.0 mm" in written


def test_a_printed_charuco_board_is_opencvs() -> None:
    sheet = board("charuco:7x6:5X5_100", square="25mm", legacy=True)
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_100)
    peer = cv2.aruco.CharucoBoard((7, 6), 0.025, 0.01875, dictionary)
    peer.setLegacyPattern(True)
    corners, ids, _, _ = cv2.aruco.CharucoDetector(peer).detectBoard(raster(sheet.page))
    assert ids.ravel().tolist() == list(range(30))
    expected = np.array([sheet.placement.left_mm, sheet.placement.top_mm]) + 25.0 * (1.0 + sheet.board.points()[:, :2])
    assert np.abs(corners.reshape(-1, 2) - (expected * DPI / 25.4 - 0.5)).max() < 0.3


@pytest.mark.parametrize("text", EVERY_KIND)
@pytest.mark.parametrize("paper", ["a4", "letter", "a2", "200x120mm"])
def test_the_command_under_a_board_names_that_board(text: str, paper: str) -> None:
    sheet = board(text, paper=paper)
    words = shlex.split(sheet.command)
    assert words[:4] == ["cv3d", "calibrate", "photos/", "--board"]
    parsed = parse_board(words[4])
    assert (parsed.type, parsed.rows, parsed.cols, parsed.dictionary) == (
        sheet.board.type,
        sheet.board.rows,
        sheet.board.cols,
        sheet.board.dictionary,
    )
    assert parse_length(words[6]) == pytest.approx(sheet.board.square_m, rel=1e-9)
    assert sheet.command in [text.content for text in sheet.page.texts]


@pytest.mark.parametrize("kind", [kind.value for kind in BoardType])
@pytest.mark.parametrize("paper", ["a4", "a0", "letter", "legal", "tabloid", "500x500mm", "90x60mm"])
def test_nothing_is_printed_outside_the_margins_nor_over_the_writing(kind: str, paper: str) -> None:
    sheet = board(kind, paper=paper, margin="7mm")
    placed = sheet.placement
    every = np.concatenate([polygon(outline) for outline in sheet.page.outlines])
    assert every.min() >= 7.0 - 1e-9
    assert every[:, 0].max() <= sheet.paper.width_mm - 7.0 + 1e-9
    assert every[:, 1].max() <= sheet.paper.height_mm - 7.0 + 1e-9
    top_of_text = min(text.y - text.size for text in sheet.page.texts)
    quiet = extent(sheet.board.type, sheet.board.marker_ratio).quiet * placed.pitch_mm
    assert placed.top_mm + placed.height_mm + quiet <= top_of_text + 0.2
    assert min(placed.left_mm, placed.top_mm) >= quiet - 1e-9
    for text in sheet.page.texts:
        assert text.x + text.width <= sheet.paper.width_mm - 7.0 + 1e-6
    assert sheet.paper.height_mm - 7.0 - FOOTER_MM <= top_of_text


@pytest.mark.parametrize("kind", [kind.value for kind in BoardType])
def test_a_board_left_open_fills_the_paper_with_round_millimetres(kind: str) -> None:
    for paper in ("a4", "a3", "a0", "letter"):
        sheet = board(kind, paper=paper)
        placed = sheet.placement
        assert placed.pitch_mm == round(placed.pitch_mm)
        assert placed.width_mm * placed.height_mm > 0.5 * sheet.paper.width_mm * sheet.paper.height_mm
        assert sheet.board.point_count >= 36
        if kind not in ("circles",):
            assert sheet.warnings == ()


def test_the_defaults_on_a4() -> None:
    sheet = board()
    assert str(sheet.board) == "charuco 7x10 5X5_50 25 mm"
    assert sheet.command == "cv3d calibrate photos/ --board charuco:7x10:5X5_50 --square 25mm"


def test_the_paper_lies_as_the_board_needs_it() -> None:
    assert board("charuco:8x5").paper.width_mm == 297.0
    assert board("charuco:5x8").paper.width_mm == 210.0
    assert board("charuco:5x8", paper="297x210mm").paper.width_mm == 210.0
    # A checkerboard is the same board turned, and larger upright, where the writing takes less of it.
    assert board("checkerboard:9x6").placement.pitch_mm > board("charuco:10x7").placement.pitch_mm


def test_open_counts_are_the_most_that_fit_a_given_square() -> None:
    sheet = board("charuco", square="40mm", paper="a3")
    placed = sheet.placement
    with pytest.raises(UsageError, match="does not fit"):
        board(f"charuco:{placed.cols + 1}x{placed.rows}", square="40mm", paper="a3")
    with pytest.raises(UsageError, match="does not fit"):
        board(f"charuco:{placed.cols}x{placed.rows + 1}", square="40mm", paper="a3")


def test_the_smallest_dictionary_with_all_markers_is_taken() -> None:
    assert board("charuco:14x10").board.dictionary == "5X5_100"
    assert board("charuco:7x5:4x4_250").board.dictionary == "4X4_250"
    assert board("aprilgrid::APRILTAG_25H9", square="40mm").board.dictionary == "APRILTAG_25h9"
    assert board("charuco:7x5", first_marker=40).board.dictionary == "5X5_100"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("checkerboard:9x6", None),
        ("checkerboard:8x6", "half round"),
        ("checkerboard:9x7", "half round"),
        ("checkerboard:7x7", "half round"),
        ("checkerboard:8x8", "by a quarter"),
        ("circles:9x7", "half round"),
        ("circles:7x7", "by a quarter"),
        ("circles_asymmetric:4x11", None),
        ("circles_asymmetric:4x10", "half round"),
        ("charuco:6x6", None),
        ("aprilgrid:6x6", None),
    ],
)
def test_boards_that_look_the_same_turned_are_warned_of(text: str, expected: str | None) -> None:
    """Whether a warning comes, against the print itself turned."""
    sheet = board(text)
    assert [expected in warning for warning in sheet.warnings] == ([True] if expected else [])
    placed = sheet.placement
    picture = raster(replace(sheet.page, outlines=_only_board(sheet)), 60)
    left, top = (round(value * 60 / 25.4) for value in (placed.left_mm, placed.top_mm))
    wide, high = (round(value * 60 / 25.4) for value in (placed.width_mm, placed.height_mm))
    print_ = picture[top : top + high, left : left + wide]
    turned = {"half round": np.rot90(print_, 2)}
    if placed.cols == placed.rows:
        turned["by a quarter"] = np.rot90(cv2.resize(print_, (high, high)))[:, :wide]
        turned["by a quarter"] = cv2.resize(turned["by a quarter"], (wide, high))
    same = {turn for turn, other in turned.items() if np.abs(print_.astype(int) - other).mean() < 12.0}
    assert (expected in same) if expected else not same
    assert "by a quarter" not in same or expected == "by a quarter"


def _only_board(sheet: BoardSheet) -> tuple[np.ndarray | Circle, ...]:
    bottom = sheet.placement.top_mm + sheet.placement.height_mm + 1e-6
    return tuple(outline for outline in sheet.page.outlines if polygon(outline)[:, 1].max() <= bottom)


@given(arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8))))
def test_outlines_of_a_mask_fill_it_again(mask: np.ndarray) -> None:
    """By ray casting: an odd number of vertical edges left of a black cell's middle, an even one left of a white's."""
    crossings = np.zeros(mask.shape, int)
    for loop in mask_outlines(mask):
        joints = np.concatenate([loop, loop[:1]])
        assert ((np.diff(joints, axis=0) != 0).sum(axis=1) == 1).all()
        for (x0, y0), (x1, y1) in itertools.pairwise(joints):
            if x0 == x1:
                crossings[int(min(y0, y1)) : int(max(y0, y1)), int(x0) :] += 1
    assert (crossings % 2 == mask).all()


def test_squares_of_a_checkerboard_share_no_edges() -> None:
    """What shares an edge may show a seam; these meet at corners only, and a tag is one shape."""
    drawn = outlines(Board(BoardType.CHECKERBOARD, rows=3, cols=4))
    assert len(drawn) == 10
    edges = [tuple(sorted(map(tuple, (o[k], o[(k + 1) % 4])))) for o in drawn for k in range(4)]
    assert len(edges) == len(set(edges))


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        ({"text": "hexagons"}, ["not a board"]),
        ({"text": "charuco:7x5:9X9_50"}, ["no marker dictionary 9X9_50"]),
        ({"text": "checkerboard:9x6:5X5_50"}, ["not a board"]),
        ({"text": "checkerboard:9x6", "marker_ratio": 0.5}, ["--marker-ratio", "charuco"]),
        ({"text": "charuco:7x5", "spacing": 0.3}, ["--spacing", "aprilgrid"]),
        ({"text": "charuco:7x5", "marker_ratio": 1.0}, ["--marker-ratio 1"]),
        ({"text": "aprilgrid:6x6", "spacing": -0.1}, ["--spacing"]),
        ({"text": "circles:9x7", "first_marker": 3}, ["no markers"]),
        ({"text": "circles:9x7", "inverted": True}, ["--inverted"]),
        ({"text": "charuco:12x12:4X4_50"}, ["markers up to number 71", "has only 50"]),
        ({"paper": "a11"}, ["'a11' is not a paper size", "a4"]),
        ({"paper": "9000x9000mm"}, ["at most 5.08 m"]),
        ({"margin": "-3mm"}, ["'-3mm' is not a length"]),
        ({"square": "0mm"}, ["'0mm' is not a length"]),
        ({"paper": "20x20mm"}, ["does not fit on 20x20 mm", "--paper a5"]),
        ({"text": "charuco:7x5", "square": "60mm"}, ["does not fit on A4", "--square 31mm", "--paper a2"]),
        ({"text": "checkerboard:9x6", "square": "0.5mm", "paper": "10x10mm"}, ["does not fit"]),
    ],
    ids=str,
)
def test_what_cannot_be_printed_is_refused_in_one_line(options: dict[str, object], fragments: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        board(**options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


def test_what_is_said_to_fit_fits() -> None:
    assert board("charuco:7x5", square="31mm").placement.cols == 7
    assert board("charuco:7x5", square="60mm", paper="a2").placement.cols == 7


def test_little_margin_is_warned_of() -> None:
    assert any("printers" in warning for warning in board(margin="0").warnings)
    assert board(margin="5mm").warnings == ()
