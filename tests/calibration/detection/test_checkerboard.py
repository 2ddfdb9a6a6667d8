from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detection.base import Scan
from cv3d.calibration.detection.checkerboard import CheckerboardDetector

DATA = Path(os.environ.get("CV3D_DATA", Path(__file__).parents[4] / "shared" / "data")) / "calib"
DETECTOR = CheckerboardDetector()
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """A camera that looks at the middle of a checkerboard; lengths in squares, the first corner at the origin."""

    rows: int = 6
    cols: int = 9
    turn: tuple[float, float, float] = (0.2, 0.3, 0.1)
    distance: float = 14.0
    shift: tuple[float, float] = (0.0, 0.0)
    focal: float = 700.0
    size: tuple[int, int] = (640, 480)
    equidistant: bool = False

    @property
    def board(self) -> Board:
        return Board(BoardType.CHECKERBOARD, self.rows, self.cols)

    @property
    def centre(self) -> tuple[float, float]:
        return self.size[0] / 2 + 0.3, self.size[1] / 2 + 0.7

    def pose(self) -> tuple[Floats, Floats]:
        rotation = cv2.Rodrigues(np.array(self.turn))[0]
        middle = np.array([(self.cols - 1) / 2, (self.rows - 1) / 2, 0.0])
        return rotation, np.array([*self.shift, self.distance]) - rotation @ middle

    def pixels(self) -> Floats:
        rotation, translation = self.pose()
        points = self.board.points() @ rotation.T + translation
        radius = np.hypot(points[:, 0], points[:, 1])
        angle = np.arctan2(radius, points[:, 2])
        image = angle if self.equidistant else np.tan(angle)
        return self.focal * (image / radius)[:, None] * points[:, :2] + self.centre

    def on_board(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        rotation, translation = self.pose()
        dx, dy = (x - self.centre[0]) / self.focal, (y - self.centre[1]) / self.focal
        radius = np.hypot(dx, dy) + 1e-12
        if self.equidistant:
            ray = np.stack([np.sin(radius) * dx / radius, np.sin(radius) * dy / radius, np.cos(radius)])
        else:
            ray = np.stack([dx, dy, np.ones_like(dx)])
        depth = (rotation[:, 2] @ translation) / np.tensordot(rotation[:, 2], ray, 1)
        point = np.tensordot(rotation.T, ray * depth - translation[:, None, None], 1)
        return np.where(depth > 0, point[0], 1e6), np.where(depth > 0, point[1], 1e6)


@lru_cache
def render(
    view: View,
    *,
    blur: float = 0.7,
    noise: float = 3.0,
    dark: float = 30.0,
    light: float = 210.0,
    margin: float = 0.6,
    black_first: bool = True,
    inverted: bool = False,
    light_field: Callable[[Floats, Floats], Floats] | None = None,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Box pixels of 3x3 samples, Gaussian blur and noise in pixels."""
    width, height = view.size
    samples = 3
    sharp = min(blur, 0.7)
    fine = (np.arange(samples) + 0.5) / samples - 0.5
    x, y = np.meshgrid((np.arange(width)[:, None] + fine).ravel(), (np.arange(height)[:, None] + fine).ravel())
    u, v = view.on_board(x, y)
    white = (np.floor(u) + np.floor(v)) % 2 == (1 if black_first else 0)
    squares = (u > -1) & (v > -1) & (u < view.cols) & (v < view.rows)
    paper = (np.abs(u - (view.cols - 1) / 2) < (view.cols + 1) / 2 + margin) & (
        np.abs(v - (view.rows - 1) / 2) < (view.rows + 1) / 2 + margin
    )
    value = np.where(squares, white, np.where(paper, 1.0, 0.5)).astype(np.float32)
    value = 1 - value if inverted else value
    value = cv2.resize(cv2.GaussianBlur(value, (0, 0), sharp * samples), (width, height), interpolation=cv2.INTER_AREA)
    value = cv2.GaussianBlur(value, (0, 0), np.sqrt(blur**2 - sharp**2)) if blur > sharp else value
    grey = dark + (light - dark) * value.astype(np.float64)
    if light_field is not None:
        grey *= light_field(*np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float)))
    grey += np.random.default_rng(seed).normal(0.0, noise, grey.shape)
    return np.clip(np.round(grey), 0, 255).astype(np.uint8)


def errors(view: View, gray: NDArray[np.uint8]) -> tuple[int, Floats]:
    """Corners found without a word on the size, and their errors against the truth in the board's own order."""
    scan = DETECTOR.scan(gray)
    assert DETECTOR.identify([scan]) == view.board
    found = DETECTOR.locate(gray, view.board, scan)
    return len(found.point_ids), found.pixels - view.pixels()[found.point_ids]


@pytest.mark.parametrize(
    ("view", "options", "limit_px"),
    [
        pytest.param(View(), {}, 0.02, id="plain"),
        pytest.param(View(turn=(0.0, 1.0, 0.3), distance=14.5), {}, 0.03, id="tilt-57", marks=pytest.mark.slow),
        pytest.param(View(turn=(1.22, 0.0, 0.0), distance=14.0), {}, 0.15, id="tilt-70"),
        pytest.param(View(turn=(0.1, 0.2, 3.0)), {}, 0.02, id="upside-down"),
        pytest.param(View(turn=(0.1, 0.2, 1.6), distance=18.0), {}, 0.05, id="on-its-side", marks=pytest.mark.slow),
        pytest.param(View(distance=85.0), {}, 0.05, id="8-pixel-squares"),
        pytest.param(View(rows=20, cols=30, distance=46.0), {}, 0.05, id="20x30"),
        pytest.param(View(rows=4, cols=11), {}, 0.03, id="4x11", marks=pytest.mark.slow),
        pytest.param(View(focal=190.0, equidistant=True, distance=3.0), {}, 0.03, id="fisheye"),
        pytest.param(
            View(focal=190.0, equidistant=True, distance=2.0), {}, 0.05, id="fisheye-close", marks=pytest.mark.slow
        ),
        pytest.param(View(), {"noise": 12.0}, 0.05, id="noise", marks=pytest.mark.slow),
        pytest.param(View(), {"noise": 25.0}, 0.1, id="much-noise"),
        pytest.param(View(), {"blur": 4.0}, 0.05, id="blur", marks=pytest.mark.slow),
        pytest.param(View(), {"blur": 8.0}, 0.2, id="much-blur"),
        pytest.param(View(), {"dark": 100.0, "light": 112.0, "noise": 2.0}, 0.15, id="low-contrast"),
        pytest.param(View(), {"light_field": lambda x, y: np.clip(x / 500, 0.08, 1)}, 0.05, id="uneven-light"),
        pytest.param(View(), {"margin": 0.0}, 0.02, id="no-margin"),
    ],
)
def test_whole_board_of_unknown_size_is_found_and_measured(view: View, options: dict, limit_px: float) -> None:
    count, error = errors(view, render(view, **options))
    assert count == view.board.point_count
    assert np.sqrt((error**2).sum(axis=1).mean()) < limit_px
    assert np.linalg.norm(error, axis=1).max() < 6 * limit_px


@pytest.mark.parametrize(
    ("rows", "cols"),
    [
        (3, 3),
        (4, 4),
        (5, 7),
        pytest.param(3, 4, marks=pytest.mark.slow),
        pytest.param(5, 5, marks=pytest.mark.slow),
        pytest.param(6, 8, marks=pytest.mark.slow),
    ],
)
def test_any_size_from_3x3(rows: int, cols: int) -> None:
    view = View(rows=rows, cols=cols)
    gray = render(view)
    assert DETECTOR.identify([DETECTOR.scan(gray)]) == view.board
    found = DETECTOR.locate(gray, view.board)
    assert found.point_ids.tolist() == list(range(rows * cols))


@pytest.mark.slow
def test_corners_are_unbiased_and_better_than_gradient_orthogonality() -> None:
    ours, theirs = [], []
    rng = np.random.default_rng(5)
    for seed in range(6):
        view = View(turn=tuple(rng.normal(0, 0.25, 3)), distance=rng.uniform(14, 18))
        gray = render(view, noise=8.0, seed=seed)
        found = DETECTOR.locate(gray, view.board)
        truth = view.pixels()[found.point_ids]
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-3)
        start = np.ascontiguousarray(truth[:, None].astype(np.float32))
        ours.append(found.pixels - truth)
        theirs.append(cv2.cornerSubPix(gray, start, (7, 7), (-1, -1), criteria)[:, 0] - truth)
    error, peer = np.concatenate(ours), np.concatenate(theirs)
    assert len(error) > 300
    assert np.sqrt((error**2).sum(axis=1).mean()) < 0.05
    assert np.abs(error.mean(axis=0)).max() < 4 * error.std() / np.sqrt(len(error))
    assert (error**2).mean() < 0.5 * (peer**2).mean()


def test_the_bend_of_fisheye_edges_does_not_pull_corners() -> None:
    view = View(focal=190.0, equidistant=True, distance=3.0)
    found = DETECTOR.locate(render(view, noise=1.0), view.board)
    pixels = view.pixels()[found.point_ids]
    error = found.pixels - pixels
    outwards = pixels - view.centre
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    assert abs((error * outwards).sum(axis=1).mean()) < 0.01


@pytest.mark.parametrize(("rows", "cols"), [(6, 9), (5, 5), (4, 7), (5, 7)])
@pytest.mark.parametrize(
    "spin",
    [
        1.7,
        pytest.param(3.0, marks=pytest.mark.slow),
        pytest.param(0.1, marks=pytest.mark.slow),
        pytest.param(-1.5, marks=pytest.mark.slow),
    ],
)
def test_the_board_frame_is_never_mirrored_and_its_first_square_is_black(rows: int, cols: int, spin: float) -> None:
    view = View(rows=rows, cols=cols, turn=(0.1, 0.2, spin), distance=18.0)
    gray = render(view)
    found = DETECTOR.locate(gray, view.board)
    grid = found.pixels.reshape(rows, cols, 2)
    x_axis, y_axis = grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]
    assert np.linalg.det(np.stack([x_axis, y_axis])) > 0
    colours_decide = (rows + cols) % 2 == 1 or (rows == cols and rows % 2 == 1)
    if colours_decide:
        outside = grid[0, 0] - 0.5 * (grid[1, 1] - grid[0, 0])
        assert gray[round(outside[1]), round(outside[0])] < 100
    if (rows + cols) % 2 == 1:
        assert np.abs(found.pixels - view.pixels()).max() < 0.2


@pytest.mark.parametrize("options", [{"black_first": False}, {"inverted": True}])
def test_exchanged_colours_turn_the_board_by_half_a_turn(options: dict) -> None:
    view = View()
    found = DETECTOR.locate(render(view, **options), view.board)
    assert np.abs(found.pixels - view.pixels()[::-1]).max() < 0.2


def test_board_cut_by_the_picture_is_used_where_it_ends() -> None:
    whole, cut = View(), View(distance=10.0, shift=(4.0, 0.0), turn=(0.05, 0.1, 0.0))
    scans = [DETECTOR.scan(render(whole)), DETECTOR.scan(render(cut))]
    assert DETECTOR.identify(scans) == whole.board
    found = DETECTOR.locate(render(cut), cut.board, scans[1])
    assert 24 <= len(found.point_ids) < 54
    assert np.abs(found.pixels - cut.pixels()[found.point_ids]).max() < 0.2


def test_most_pictures_cut_do_not_outvote_the_whole_board() -> None:
    cut = [View(distance=10.0, shift=(x, 0.0), turn=(0.05, 0.1, 0.0)) for x in (4.0, -4.0, 3.5)]
    scans = [DETECTOR.scan(render(view)) for view in [*cut, View()]]
    assert DETECTOR.identify(scans) == View().board


def test_fingers_leave_holes_and_no_false_corners() -> None:
    view = View()
    gray = render(view).copy()
    cv2.ellipse(gray, (330, 480), (28, 190), 10, 0, 360, 150, -1)
    cv2.ellipse(gray, (250, 235), (20, 30), 0, 0, 360, 120, -1)
    found = DETECTOR.locate(gray, view.board)
    assert 40 <= len(found.point_ids) < 54
    assert np.abs(found.pixels - view.pixels()[found.point_ids]).max() < 0.3


def test_thumbnail_board_beside_the_real_one_is_not_taken() -> None:
    view = View(distance=20.0, shift=(2.5, 1.0))
    gray = render(view).copy()
    small = render(View(rows=7, cols=10, distance=16.0))
    gray[:120, :160] = cv2.resize(small, (160, 120), interpolation=cv2.INTER_AREA)
    count, error = errors(view, gray)
    assert count == 54
    assert np.abs(error).max() < 0.2


def _noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (480, 640), dtype=np.uint8)


def _soft_noise() -> NDArray[np.uint8]:
    soft = cv2.GaussianBlur(_noise().astype(np.float32), (0, 0), 4.0)
    return cv2.normalize(soft, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def _bricks() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:480, 0:640]
    course = y // 24
    joint = (y % 24 < 4) | ((x + 24 * (course % 2)) % 48 < 4)
    return np.where(joint, 190, 90).astype(np.uint8)


def _tiles() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:480, 0:640]
    return np.where((y % 40 < 3) | (x % 40 < 3), 60, 200).astype(np.uint8)


def _keyboard() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:480, 0:640]
    key = (y % 40 > 8) & ((x + 10 * (y // 40)) % 40 > 8)
    return cv2.GaussianBlur(np.where(key, 40, 150).astype(np.uint8), (0, 0), 1.5)


def _dots() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:480, 0:640]
    dot = np.hypot(y % 40 - 20, x % 40 - 20) < 15
    return cv2.GaussianBlur(np.where(dot, 30, 220).astype(np.uint8), (0, 0), 1.0)


@pytest.mark.parametrize(
    "picture",
    [
        _noise,
        _soft_noise,
        _bricks,
        _tiles,
        lambda: np.zeros((480, 640), np.uint8),
        pytest.param(_keyboard, marks=pytest.mark.slow),
        pytest.param(_dots, marks=pytest.mark.slow),
    ],
    ids=["noise", "soft-noise", "bricks", "tiles", "black", "keyboard", "dots"],
)
def test_nothing_is_found_where_there_is_no_checkerboard(picture: Callable[[], NDArray[np.uint8]]) -> None:
    gray = picture()
    scan = DETECTOR.scan(gray)
    assert scan.points == 0
    assert DETECTOR.identify([scan]) is None
    found = DETECTOR.locate(gray, View().board, scan)
    assert len(found.point_ids) == 0
    assert found.reason


def test_tiny_pictures_are_no_trouble() -> None:
    for size in ((1, 1), (3, 200), (20, 20)):
        assert DETECTOR.scan(np.zeros(size, np.uint8)).points == 0


@pytest.mark.parametrize(
    ("rows", "cols"), [(5, 7), pytest.param(5, 9, marks=pytest.mark.slow), pytest.param(8, 11, marks=pytest.mark.slow)]
)
def test_wrong_size_is_named_and_not_forced(rows: int, cols: int) -> None:
    view = View()
    found = DETECTOR.locate(render(view), Board(BoardType.CHECKERBOARD, rows, cols))
    assert len(found.point_ids) == 0
    assert found.reason == f"a checkerboard of 9x6 inner corners is in the picture, not {cols}x{rows}"


def test_same_picture_same_answer_and_scans_survive_storage(tmp_path: Path) -> None:
    view = View(turn=(0.4, 0.3, 0.5))
    gray = render(view, noise=10.0)
    scan = DETECTOR.scan(gray)
    again = DETECTOR.scan(gray)
    assert scan.arrays.keys() == again.arrays.keys()
    assert all(np.array_equal(scan.arrays[name], again.arrays[name]) for name in scan.arrays)
    np.savez(tmp_path / "scan.npz", **scan.arrays)
    with np.load(tmp_path / "scan.npz") as stored:
        restored = Scan(scan.points, dict(stored))
    one, other = DETECTOR.locate(gray, view.board, scan), DETECTOR.locate(gray, view.board, restored)
    assert np.array_equal(one.pixels, other.pixels)


def test_other_boards_are_refused() -> None:
    board = Board(BoardType.CHARUCO, 5, 7)
    assert "not a checkerboard" in DETECTOR.locate(_noise(), board).reason


@pytest.mark.parametrize(
    ("pattern", "board", "whole", "partial"),
    [
        ("opencv_left/*.jpg", (6, 9), 13, 0),
        ("opencv_chess/left*.jpg", (5, 7), 14, 0),
        ("opencv_chess/right*.jpg", (5, 7), 14, 0),
        ("udacity_chess/*.jpg", (6, 9), 17, 3),
        ("fisheye_chess/*.jpg", (4, 6), 26, 0),
    ],
)
@pytest.mark.slow
def test_real_sets_are_found_whole(pattern: str, board: tuple[int, int], whole: int, partial: int) -> None:
    files = sorted(DATA.glob(pattern))
    if not files:
        pytest.skip(f"the real pictures {pattern} are not on this machine")
    pictures = [np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), dtype=np.uint8) for file in files]
    scans = [DETECTOR.scan(gray) for gray in pictures]
    found_board = DETECTOR.identify(scans)
    assert found_board == Board(BoardType.CHECKERBOARD, *board)
    counts = [
        len(DETECTOR.locate(gray, found_board, scan).point_ids) for gray, scan in zip(pictures, scans, strict=True)
    ]
    full = board[0] * board[1]
    assert sum(count == full for count in counts) >= whole
    assert sum(count > 0 for count in counts) >= whole + partial
