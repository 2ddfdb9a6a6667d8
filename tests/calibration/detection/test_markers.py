"""Boards with markers: recognised untold and located below the pixel, in rendered pictures and in real ones."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detection.base import Detection, Scan
from cv3d.calibration.detection.markers import AprilGridDetector, CharucoDetector
from cv3d.calibration.detection.markers.corners import predict
from cv3d.calibration.detection.markers.decode import Reading, families, family_of, members, smallest_member
from cv3d.calibration.detection.markers.lattice import find_lattice
from cv3d.calibration.detection.markers.layout import find_layout
from cv3d.calibration.detection.markers.scanning import believable
from cv3d.errors import UsageError

CHARUCO = CharucoDetector()
APRILGRID = AprilGridDetector()
PIXELS_PER_UNIT = 72
WIDTH, HEIGHT = 800, 620


def data_folder(name: str) -> Path:
    root = Path(os.environ.get("CV3D_DATA", Path(__file__).parents[4] / "shared" / "data"))
    folder = root / "calib" / name
    if not folder.is_dir():
        pytest.skip(f"no real pictures at {folder}")
    return folder


# Drawing and photographing boards


def draw_charuco(board: Board) -> tuple[np.ndarray, np.ndarray]:
    """The print of a board, and the place of its coordinate origin (the first inner corner) in it, in units."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{board.dictionary}"))
    drawn = board
    if board.markers_on_white_first and board.rows % 2:
        # OpenCV draws this pattern for even row counts only: take the first rows of a board that has one more.
        drawn = replace(board, rows=board.rows + 1)
    first = 0 if board.markers_on_white_first else 1
    count = sum((x + y) % 2 == first for y in range(drawn.rows) for x in range(drawn.cols))
    ids = np.arange(board.first_marker, board.first_marker + count)
    peer = cv2.aruco.CharucoBoard((drawn.cols, drawn.rows), 1.0, board.marker_ratio, dictionary, ids)
    peer.setLegacyPattern(board.markers_on_white_first)
    print_ = peer.generateImage((drawn.cols * PIXELS_PER_UNIT, drawn.rows * PIXELS_PER_UNIT), marginSize=0)
    print_ = print_[: board.rows * PIXELS_PER_UNIT]
    print_ = cv2.copyMakeBorder(print_, *[PIXELS_PER_UNIT] * 4, cv2.BORDER_CONSTANT, value=255)
    return (255 - print_ if board.inverted else print_), np.array([2.0, 2.0])


def draw_grid(board: Board, *, border_bits: int, squares: bool, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """A grid of tags with `border_bits` wide borders, joined by small squares or not, tags turned by quarter turns."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{board.dictionary}"))
    side = 80
    gap = round(board.marker_ratio * side)
    margin = side
    period = side + gap
    shape = (2 * margin + board.rows * period - gap, 2 * margin + board.cols * period - gap)
    print_ = np.full(shape, 255, np.uint8)
    for row in range(board.rows):
        for col in range(board.cols):
            id_row = board.rows - 1 - row if board.ids_upward else row
            tag = cv2.aruco.generateImageMarker(
                dictionary, board.first_marker + id_row * board.cols + col, side, borderBits=border_bits
            )
            y, x = margin + row * period, margin + col * period
            print_[y : y + side, x : x + side] = np.rot90(tag, turn)
    if squares:
        for row in range(board.rows + 1):
            for col in range(board.cols + 1):
                y, x = margin - gap + row * period, margin - gap + col * period
                print_[y : y + gap, x : x + gap] = 0
    scaled = cv2.resize(
        print_, None, fx=PIXELS_PER_UNIT / side, fy=PIXELS_PER_UNIT / side, interpolation=cv2.INTER_AREA
    )
    return scaled, np.array([margin / side, margin / side])


class Camera:
    """A pinhole (fisheye=False) or equidistant fisheye camera; both directions in closed form."""

    def __init__(self, focal: float, *, fisheye: bool = False, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.focal, self.fisheye, self.width, self.height = focal, fisheye, width, height
        self.centre = np.array([(width - 1) / 2 + 3.3, (height - 1) / 2 - 2.1])

    def project(self, points: np.ndarray) -> np.ndarray:
        planar = points[:, :2] / points[:, 2:]
        if self.fisheye:
            radius = np.linalg.norm(planar, axis=1, keepdims=True) + 1e-12
            planar = planar * np.arctan(radius) / radius
        return planar * self.focal + self.centre

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        planar = (pixels - self.centre) / self.focal
        if self.fisheye:
            angle = np.minimum(np.linalg.norm(planar, axis=-1, keepdims=True) + 1e-12, 1.45)
            planar = planar / np.linalg.norm(planar + 1e-12, axis=-1, keepdims=True) * np.tan(angle)
        return np.concatenate([planar, np.ones_like(planar[..., :1])], axis=-1)


def photograph(
    print_: np.ndarray,
    origin: np.ndarray,
    camera: Camera,
    rotation: tuple[float, float, float],
    translation: tuple[float, float, float],
    seed: int = 0,
    blur: float = 0.7,
) -> np.ndarray:
    """The picture of a printed board: 2x2 rays a pixel, blurred, with vignetting and noise."""
    matrix = cv2.Rodrigues(np.array(rotation))[0]
    plane = np.linalg.inv(np.column_stack([matrix[:, :2], np.array(translation)]))
    total = np.zeros((camera.height, camera.width), np.float32)
    y, x = np.mgrid[0 : camera.height, 0 : camera.width].astype(np.float64)
    for dx in (-0.25, 0.25):
        for dy in (-0.25, 0.25):
            on_plane = camera.rays(np.stack([x + dx, y + dy], axis=-1)) @ plane.T
            unit = on_plane[..., :2] / on_plane[..., 2:] + origin
            behind = on_plane[..., 2] <= 0
            place = unit * PIXELS_PER_UNIT - 0.5
            place[behind] = -1e4
            place = np.clip(place, -1e4, 1e4).astype(np.float32)
            total += cv2.remap(
                print_, place[..., 0], place[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=110
            )
    picture = cv2.GaussianBlur(total / 4.0, (0, 0), blur)
    shade = 1.0 - 0.3 * ((x / camera.width - 0.5) ** 2 + (y / camera.height - 0.5) ** 2)
    noise = np.random.default_rng(seed).normal(0.0, 2.0, picture.shape)
    return np.clip(20.0 + 0.75 * picture * shade + noise, 0, 255).astype(np.uint8)


def truth(board: Board, camera: Camera, rotation: tuple[float, ...], translation: tuple[float, ...]) -> np.ndarray:
    return camera.project(board.points() @ cv2.Rodrigues(np.array(rotation))[0].T + np.array(translation))


def poses(board: Board, scale: float) -> list[tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """Four views of the board's middle, at a distance of `scale` times its larger side."""
    extent = board.points()[:, :2].max(axis=0)
    distance = scale * (extent.max() + 2.0)
    result = []
    for rotation in ((0.0, 0.0, 0.05), (0.5, 0.1, 0.2), (-0.1, -0.5, -0.4), (0.3, 0.4, 2.6)):
        middle = cv2.Rodrigues(np.array(rotation))[0] @ np.array([*(0.5 * extent), 0.0])
        result.append((rotation, tuple(np.array([0.0, 0.0, distance]) - middle)))
    return result


def errors(detection: Detection, expected: np.ndarray) -> np.ndarray:
    return np.linalg.norm(detection.pixels - expected[detection.point_ids], axis=1)


def charuco(rows: int, cols: int, dictionary: str, ratio: float = 0.7, **more: object) -> Board:
    return Board(BoardType.CHARUCO, rows, cols, dictionary=dictionary, marker_ratio=ratio, **more)


def grid(rows: int, cols: int, dictionary: str, spacing: float = 0.3, **more: object) -> Board:
    return Board(BoardType.APRILGRID, rows, cols, dictionary=dictionary, marker_ratio=spacing, **more)


def pictures_of(
    board: Board, print_: tuple[np.ndarray, np.ndarray], camera: Camera, scale: float, views: tuple[int, ...]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Grey picture and the true pixels of all points, for some of the four poses."""
    chosen = [poses(board, scale)[k] for k in views]
    return [
        (photograph(*print_, camera, rotation, translation, seed=k), truth(board, camera, rotation, translation))
        for k, (rotation, translation) in enumerate(chosen)
    ]


@cache
def standard_charuco() -> tuple[Board, list[tuple[np.ndarray, np.ndarray]]]:
    board = charuco(5, 7, "5X5_250", 0.75)
    return board, pictures_of(board, draw_charuco(board), Camera(700), 1.3, (0, 1, 2))


@cache
def kalibr_grid() -> tuple[Board, list[tuple[np.ndarray, np.ndarray]]]:
    board = grid(5, 6, "APRILTAG_36h11", 0.3, ids_upward=True)
    print_ = draw_grid(board, border_bits=2, squares=True, turn=2)
    return board, pictures_of(board, print_, Camera(700), 1.25, (0, 1, 2))


@cache
def standard_scans() -> list[Scan]:
    return [CHARUCO.scan(gray) for gray, _ in standard_charuco()[1]]


@cache
def kalibr_scans() -> list[Scan]:
    return [APRILGRID.scan(gray) for gray, _ in kalibr_grid()[1]]


# Recognising and locating


@pytest.mark.parametrize(
    ("board", "focal", "fisheye", "scale"),
    [
        pytest.param(charuco(7, 5, "6X6_250"), 660, False, 1.25, id="6X6"),
        pytest.param(
            charuco(8, 9, "4X4_50", 0.75, markers_on_white_first=True),
            660,
            False,
            1.25,
            id="marker-first",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            charuco(5, 6, "5X5_50", 0.8, markers_on_white_first=True), 660, False, 1.25, id="marker-first-odd"
        ),
        pytest.param(charuco(5, 8, "4X4_50", 0.75, inverted=True), 660, False, 1.25, id="inverted"),
        pytest.param(charuco(7, 10, "7X7_50", 0.6), 330, True, 0.55, id="fisheye"),
        pytest.param(charuco(5, 6, "APRILTAG_16h5", 0.7), 660, False, 1.25, id="april-16h5", marks=pytest.mark.slow),
        pytest.param(charuco(6, 7, "ARUCO_MIP_36h12", 0.9), 660, False, 1.25, id="narrow-gap", marks=pytest.mark.slow),
        pytest.param(
            charuco(6, 6, "4X4_250", 0.5, first_marker=100), 660, False, 1.25, id="first-id", marks=pytest.mark.slow
        ),
    ],
)
def test_charuco_is_identified_and_located(board: Board, focal: float, fisheye: bool, scale: float) -> None:
    pictures = pictures_of(board, draw_charuco(board), Camera(focal, fisheye=fisheye), scale, (1, 2))
    scans = [CHARUCO.scan(gray) for gray, _ in pictures]
    found = CHARUCO.identify(scans)
    assert found is not None
    family = family_of(board.dictionary or "")
    last = board.first_marker + (board.rows * board.cols + board.markers_on_white_first) // 2 - 1
    assert found == replace(board, dictionary=smallest_member(family, last))
    assert APRILGRID.scan(pictures[0][0]).points == 0
    for (gray, expected), scan in zip(pictures, scans, strict=True):
        detection = CHARUCO.locate(gray, found, scan)
        assert len(detection.point_ids) == board.point_count
        assert errors(detection, expected).max() < 0.06
        assert np.sqrt(np.mean(errors(detection, expected) ** 2)) < 0.03


@pytest.mark.parametrize(
    ("board", "border_bits", "squares", "turn", "focal", "fisheye", "scale", "tolerance"),
    [
        pytest.param(
            grid(6, 6, "APRILTAG_36h11", 0.3, ids_upward=True),
            2,
            True,
            2,
            660,
            False,
            1.3,
            0.06,
            id="kalibr",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            grid(5, 7, "APRILTAG_36h11", 0.25, ids_upward=True),
            2,
            True,
            2,
            330,
            True,
            0.5,
            0.08,
            id="kalibr-fisheye",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            grid(5, 7, "APRILTAG_36h11", 0.3, ids_upward=True),
            1,
            True,
            2,
            660,
            False,
            1.3,
            0.06,
            id="one-bit-border",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            grid(4, 5, "APRILTAG_25h9", 0.4),
            1,
            False,
            0,
            660,
            False,
            1.3,
            0.15,
            id="no-squares",
            marks=pytest.mark.slow,
        ),
        pytest.param(grid(4, 5, "APRILTAG_16h5", 0.3, ids_upward=True), 2, True, 2, 660, False, 1.3, 0.06, id="16h5"),
        pytest.param(
            grid(4, 5, "APRILTAG_36h10", 0.2, first_marker=300), 1, False, 0, 660, False, 1.3, 0.15, id="first-id"
        ),
        pytest.param(grid(5, 4, "4X4_50", 0.2), 1, False, 0, 660, False, 1.3, 0.15, id="aruco-grid"),
    ],
)
def test_aprilgrid_is_identified_and_located(
    board: Board,
    border_bits: int,
    squares: bool,
    turn: int,
    focal: float,
    fisheye: bool,
    scale: float,
    tolerance: float,
) -> None:
    print_ = draw_grid(board, border_bits=border_bits, squares=squares, turn=turn)
    pictures = pictures_of(board, print_, Camera(focal, fisheye=fisheye), scale, (1, 2))
    scans = [APRILGRID.scan(gray) for gray, _ in pictures]
    assert APRILGRID.identify(scans) == board
    spacing = APRILGRID.spacing(scans)
    assert spacing is not None
    assert spacing.measured == pytest.approx(board.marker_ratio, abs=4e-3)
    assert CHARUCO.scan(pictures[0][0]).points == 0
    for (gray, expected), scan in zip(pictures, scans, strict=True):
        detection = APRILGRID.locate(gray, board, scan)
        assert len(detection.point_ids) == board.point_count
        assert errors(detection, expected).max() < tolerance


def test_points_are_in_the_order_of_the_board_and_never_mirrored() -> None:
    for detector, (board, pictures), scans in (
        (CHARUCO, standard_charuco(), standard_scans()),
        (APRILGRID, kalibr_grid(), kalibr_scans()),
    ):
        for (gray, _), scan in zip(pictures, scans, strict=True):
            detection = detector.locate(gray, board, scan)
            assert (np.diff(detection.point_ids) > 0).all()
            points = board.points()[detection.point_ids, :2]
            affine, *_ = np.linalg.lstsq(np.column_stack([points, np.ones(len(points))]), detection.pixels, rcond=None)
            assert np.linalg.det(affine[:2]) > 0


def test_kalibr_ids_ascend_upwards() -> None:
    board, pictures = kalibr_grid()
    scans = kalibr_scans()
    found = APRILGRID.identify(scans)
    assert found is not None
    assert found.ids_upward
    scan, (_, expected) = scans[0], pictures[0]
    tag = scan.arrays["corners"][scan.arrays["ids"] == 0][0].mean(axis=0)
    bottom_left = 4 * (board.rows - 1) * board.cols + np.arange(4)
    assert np.linalg.norm(tag - expected[bottom_left].mean(axis=0)) < 1.0


# Parts of boards


def test_charuco_cut_by_the_picture_and_covered() -> None:
    board, pictures = standard_charuco()
    scans = [*standard_scans()]
    for gray, expected in pictures:
        covered = gray.copy()
        middle = expected.mean(axis=0).astype(int)
        covered[: middle[1] + 20, middle[0] - 60 : middle[0] + 10] = 60
        covered = np.ascontiguousarray(covered[:, middle[0] - 170 :])
        shifted = expected - np.array([middle[0] - 170, 0])
        hidden = (shifted[:, 0] > 105) & (shifted[:, 0] < 185) & (shifted[:, 1] < middle[1] + 25)
        visible = (shifted[:, 0] > 6) & ~hidden
        scans.append(CHARUCO.scan(covered))
        detection = CHARUCO.locate(covered, board, scans[-1])
        assert set(detection.point_ids) <= set(np.flatnonzero(shifted[:, 0] > 0))
        assert len(set(detection.point_ids) & set(np.flatnonzero(visible))) >= 0.85 * visible.sum()
        assert errors(detection, shifted).max() < 0.15
    assert CHARUCO.identify(scans[len(pictures) :]) is not None
    assert CHARUCO.identify(scans) == replace(board, dictionary="5X5_50")


def test_charuco_corners_without_any_marker_are_found_by_growth() -> None:
    board, pictures = standard_charuco()
    gray, expected = pictures[1]
    scan = standard_scans()[1]
    few = scan.arrays["ids"] < 4
    per_marker = {"family", "border", "inverted", "ids", "errors", "corners"}
    arrays = {name: value[few] if name in per_marker else value for name, value in scan.arrays.items()}
    detection = CHARUCO.locate(gray, board, Scan(4, arrays))
    assert len(detection.point_ids) == board.point_count
    assert errors(detection, expected).max() < 0.06


def test_aprilgrid_tags_that_were_missed_are_recovered() -> None:
    board, pictures = kalibr_grid()
    gray, expected = pictures[1]
    scan = kalibr_scans()[1]
    some = np.isin(scan.arrays["ids"], (7, 8, 14))
    per_marker = {"family", "border", "inverted", "ids", "errors", "corners"}
    arrays = {name: value[some] if name in per_marker else value for name, value in scan.arrays.items()}
    detection = APRILGRID.locate(gray, board, Scan(3, arrays))
    assert len(detection.point_ids) == board.point_count
    assert errors(detection, expected).max() < 0.1


def test_aprilgrid_cut_by_the_picture_keeps_the_corners_of_cut_tags() -> None:
    board, pictures = kalibr_grid()
    gray, expected = pictures[1]
    left = round(float(expected[:, 0].mean()))
    cut = np.ascontiguousarray(gray[:, left:])
    shifted = expected - np.array([left, 0])
    detection = APRILGRID.locate(cut, board)
    visible = np.flatnonzero(shifted[:, 0] > 4)
    assert set(visible) <= set(detection.point_ids)
    assert errors(detection, shifted).max() < 0.1


def test_a_duplicate_marker_off_the_board_does_no_harm() -> None:
    board, pictures = standard_charuco()
    gray, expected = pictures[0]
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_250)
    spoilt = gray.copy()
    spoilt[:80, :80] = 220
    spoilt[14:66, 14:66] = cv2.aruco.generateImageMarker(dictionary, 3, 52)
    scan = CHARUCO.scan(spoilt)
    assert (scan.arrays["ids"] == 3).sum() == 2
    detection = CHARUCO.locate(spoilt, board, scan)
    assert len(detection.point_ids) == board.point_count
    assert errors(detection, expected).max() < 0.06


# What is not there


@pytest.mark.parametrize("detector", [CHARUCO, APRILGRID], ids=["charuco", "aprilgrid"])
def test_pictures_without_markers(detector: CharucoDetector | AprilGridDetector) -> None:
    chess = np.kron(np.indices((7, 9)).sum(axis=0) % 2, np.ones((60, 60))).astype(np.uint8) * 200 + 20
    noise = np.random.default_rng(0).integers(0, 255, (480, 640)).astype(np.uint8)
    flat = np.full((480, 640), 127, np.uint8)
    tiny = np.zeros((5, 5), np.uint8)
    scans = [detector.scan(picture) for picture in (chess, noise, flat, tiny)]
    assert [scan.points for scan in scans] == [0, 0, 0, 0]
    assert detector.identify(scans) is None
    assert detector.identify([]) is None
    board = standard_charuco()[0] if detector is CHARUCO else kalibr_grid()[0]
    detection = detector.locate(flat, board)
    assert len(detection.point_ids) == 0
    assert "no marker" in detection.reason


def test_a_wrong_board_is_named() -> None:
    board, pictures = standard_charuco()
    gray, scan = pictures[0][0], standard_scans()[0]
    wrong_dictionary = CHARUCO.locate(gray, replace(board, dictionary="6X6_250"), scan)
    assert len(wrong_dictionary.point_ids) == 0
    assert "5X5" in wrong_dictionary.reason
    wrong_size = CHARUCO.locate(gray, replace(board, rows=7, cols=5), scan)
    assert len(wrong_size.point_ids) == 0
    assert "rows and columns" in wrong_size.reason
    wrong_ids = CHARUCO.locate(gray, replace(board, first_marker=150), scan)
    assert len(wrong_ids.point_ids) == 0
    assert "ids 0 to 16" in wrong_ids.reason


def test_scans_survive_storage_and_change_nothing() -> None:
    for detector, (board, pictures), scans in (
        (CHARUCO, standard_charuco(), standard_scans()),
        (APRILGRID, kalibr_grid(), kalibr_scans()),
    ):
        (gray, _), scan = pictures[1], scans[1]
        again = Scan(scan.points, {name: np.array(value) for name, value in scan.arrays.items()})
        first, second, third = (detector.locate(gray, board, given) for given in (scan, again, None))
        assert np.array_equal(first.pixels, second.pixels)
        assert np.array_equal(first.point_ids, third.point_ids)


# Parts


def test_every_marker_of_every_dictionary_reads_as_itself() -> None:
    for index, family in enumerate(families()):
        # Two of the 1024 original ArUco markers look the same from two sides.
        assert len(np.unique(family.codes)) >= family.codes.size - 2
        name, size = members(index)[-1]
        assert size == len(family.codes)
        assert family_of(name.lower()) == index
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{name}"))
        for marker in (0, size - 1):
            side = family.bits + 2
            bits = cv2.aruco.generateImageMarker(dictionary, marker, side)[1:-1, 1:-1] > 0
            word = sum(1 << int(k) for k in np.flatnonzero(bits))
            assert int(family.codes[marker, 0]) == word


def test_unknown_dictionary_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="9X9_50"):
        family_of("9X9_50")


def test_local_prediction_is_exact_under_a_homography() -> None:
    rng = np.random.default_rng(3)
    board = np.stack(np.meshgrid(np.arange(5.0), np.arange(4.0)), axis=2).reshape(-1, 2)
    homography = np.array([[40.0, 5.0, 100.0], [-3.0, 50.0, 80.0], [0.01, -0.02, 1.0]])

    def see(points: np.ndarray) -> np.ndarray:
        mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
        return mapped[:, :2] / mapped[:, 2:]

    targets = rng.uniform(0.0, 4.0, (10, 2))
    pixels, axes = predict(targets, board, see(board), 8)
    assert pixels == pytest.approx(see(targets), abs=2e-2)
    step = 1e-5
    numeric = np.stack([(see(targets + step * axis) - see(targets)) / step for axis in np.eye(2)], axis=2)
    assert axes == pytest.approx(numeric, abs=0.2)


def test_many_markers_are_more_than_chance() -> None:
    count = 400
    ids, ones = np.arange(count), np.ones(count, np.int64)
    reading = Reading(0 * ids, ones, ids < 0, ids, 0 * ids, np.zeros((count, 4, 2)))
    assert believable(reading, 1000)
    assert not believable(reading.select(np.arange(2)), 1000)
    assert not believable(reading.select(ids < 0), 0)


def test_neighbours_with_ids_far_apart_have_no_layout() -> None:
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    corners = 40.0 * (square + np.array([[[0.0, 0.0]], [[1.5, 0.0]], [[0.0, 1.5]]]))
    lattice = find_lattice(corners)
    assert lattice is not None
    assert not lattice.checkered
    assert lattice.step == pytest.approx(1.5)
    assert find_layout([(np.array([3, 700, 351]), lattice)]) is None
    layout = find_layout([(np.array([0, 1, 9]), lattice)])
    assert layout is not None
    assert (layout.numbering.cols, layout.rows, layout.numbering.upward) == (9, 2, False)


# Real pictures


@pytest.mark.parametrize("camera", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_real_inverted_charuco_videos(camera: int) -> None:
    file = data_folder("rig4_charuco") / "calibration" / "extrinsic" / f"cam_{camera}.mp4"
    with av.open(str(file)) as container:
        frames = [frame.to_ndarray(format="gray") for k, frame in enumerate(container.decode(video=0)) if k % 12 == 8]
    scans = [CHARUCO.scan(gray) for gray in frames]
    board = CHARUCO.identify(scans)
    assert board == charuco(5, 4, "4X4_50", 0.75, inverted=True)
    detections = [CHARUCO.locate(gray, board, scan) for gray, scan in zip(frames, scans, strict=True)]
    assert sum(len(detection.point_ids) == 12 for detection in detections) >= 3
    assert all(detection.reason for detection in detections if not len(detection.point_ids))


@pytest.mark.slow
def test_real_charuco_photos() -> None:
    files = sorted(data_folder("charuco").glob("*.jpg"))
    pictures = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    scans = [CHARUCO.scan(gray) for gray in pictures]
    board = CHARUCO.identify(scans)
    assert board == charuco(7, 5, "6X6_50", 0.5)
    detections = [CHARUCO.locate(gray, board, scan) for gray, scan in zip(pictures, scans, strict=True)]
    assert sum(len(detection.point_ids) for detection in detections) >= 380
    assert rms_of_calibration(board, detections, pictures[0].shape) < 0.5


@pytest.mark.slow
def test_real_aprilgrid_photos() -> None:
    files = sorted(data_folder("aprilgrid").glob("*.jpg"))
    pictures = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    scans = [APRILGRID.scan(gray) for gray in pictures]
    board = APRILGRID.identify(scans)
    assert board == grid(6, 6, "APRILTAG_36h11", 0.3, ids_upward=True)
    detections = [APRILGRID.locate(gray, board, scan) for gray, scan in zip(pictures, scans, strict=True)]
    assert sum(len(detection.point_ids) for detection in detections) >= 4 * 144 + 90
    assert rms_of_calibration(board, detections, pictures[0].shape) < 0.9


def rms_of_calibration(board: Board, detections: list[Detection], shape: tuple[int, int]) -> float:
    points = board.points().astype(np.float32)
    seen = [detection for detection in detections if len(detection.point_ids) >= 6]
    return float(
        cv2.calibrateCamera(
            [points[detection.point_ids] for detection in seen],
            [detection.pixels.astype(np.float32)[:, None] for detection in seen],
            shape[::-1],
            None,
            None,
        )[0]
    )
