from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detection.base import Detection, Gray
from cv3d.calibration.detection.circles import CirclesDetector
from cv3d.calibration.detection.circles.centres import centre_bias

Array = NDArray[np.float64]

REGULAR = Board(BoardType.CIRCLES, rows=7, cols=9)
ASYMMETRIC = Board(BoardType.CIRCLES_ASYMMETRIC, rows=11, cols=4)
HEXAGONAL = Board(BoardType.CIRCLES_HEX, rows=9, cols=8)


@dataclass(frozen=True)
class Scene:
    """A rendered picture of a dot board with the truth about it."""

    gray: Gray
    homography: Array
    """image_from_board."""
    board: Board
    radius: float

    def truth(self, ids: NDArray[np.int64] | None = None) -> Array:
        points = self.board.points()[:, :2]
        return project(self.homography, points if ids is None else points[ids])


@dataclass(frozen=True)
class Look:
    """How a scene is seen and printed."""

    tilt_deg: float = 0.0
    axis_deg: float = 30.0
    roll_deg: float = 0.0
    fill: float = 0.8
    """Share of the picture that the board's larger side takes."""
    ratio: float = 0.5
    """Diameter over the distance of nearest neighbours."""
    size: tuple[int, int] = (640, 480)
    shift: tuple[float, float] = (0.0, 0.0)
    blur: float = 0.7
    noise: float = 2.0
    ink: float = 40.0
    paper: float = 200.0
    missing: tuple[int, ...] = ()
    shading: float = 0.0
    seed: int = 0


def project(homography: Array, points: Array) -> Array:
    image = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ homography.T
    return image[:, :2] / image[:, 2:]


def board_homography(board: Board, look: Look) -> Array:
    """A pinhole camera with focal length 0.9 of the picture's width looks at the board's centre."""
    width, height = look.size
    focal = 0.9 * width
    points = board.points()[:, :2]
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
    extent = np.ptp(points, axis=0) + 1.0
    axis = np.deg2rad(look.axis_deg)
    tilt = cv2.Rodrigues(np.deg2rad(look.tilt_deg) * np.array([np.cos(axis), np.sin(axis), 0.0]))[0]
    roll = cv2.Rodrigues(np.array([0.0, 0.0, np.deg2rad(look.roll_deg)]))[0]
    rotation = tilt @ roll
    distance = focal * float(np.max(extent / (look.fill * np.array([width, height]))))
    offset = np.array([look.shift[0] / focal * distance, look.shift[1] / focal * distance, distance])
    intrinsics = np.array([[focal, 0, 0.5 * (width - 1)], [0, focal, 0.5 * (height - 1)], [0, 0, 1]])
    plane = np.stack([rotation[:, 0], rotation[:, 1], offset - rotation[:, :2] @ centre], axis=1)
    return np.asarray(intrinsics @ plane)


def render(board: Board, look: Look) -> Scene:
    """Exact area sampling of the dots, then blur, shading and noise."""
    width, height = look.size
    homography = board_homography(board, look)
    nearest = np.sqrt(0.5) if board.type is BoardType.CIRCLES_ASYMMETRIC else 1.0
    radius = 0.5 * look.ratio * float(nearest)
    inverse = np.linalg.inv(homography)
    cover = np.zeros((height, width))
    turn = np.linspace(0.0, 2.0 * np.pi, 33)
    for index, centre in enumerate(board.points()[:, :2]):
        if index in look.missing:
            continue
        rim = project(homography, centre + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1))
        low = np.maximum(np.floor(rim.min(axis=0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(rim.max(axis=0)).astype(int) + 2, [width, height])
        if (high <= low).any():
            continue
        parts = 8 if (high - low).max() < 40 else 4
        fine = (np.arange(parts) + 0.5) / parts - 0.5
        x = (np.arange(low[0], high[0])[:, None] + fine).ravel()
        y = (np.arange(low[1], high[1])[:, None] + fine).ravel()
        gx, gy = np.meshgrid(x, y)
        w = inverse[2, 0] * gx + inverse[2, 1] * gy + inverse[2, 2]
        bx = (inverse[0, 0] * gx + inverse[0, 1] * gy + inverse[0, 2]) / w - centre[0]
        by = (inverse[1, 0] * gx + inverse[1, 1] * gy + inverse[1, 2]) / w - centre[1]
        inside = (bx * bx + by * by < radius * radius).astype(np.float64)
        patch = inside.reshape(high[1] - low[1], parts, high[0] - low[0], parts).mean(axis=(1, 3))
        cover[low[1] : high[1], low[0] : high[0]] += patch
    picture = look.paper + (look.ink - look.paper) * np.clip(cover, 0.0, 1.0)
    if look.blur > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), look.blur, borderType=cv2.BORDER_REPLICATE)
    if look.shading:
        picture = picture * (1.0 + look.shading * np.linspace(-1.0, 1.0, width)[None, :])
    picture = picture + np.random.default_rng(look.seed).normal(0.0, look.noise, picture.shape)
    return Scene(np.clip(np.rint(picture), 0, 255).astype(np.uint8), homography, board, radius)


def checkerboard(size: int, blur: float) -> Gray:
    """A checkerboard of squares of `size` pixels, turned by twenty degrees."""
    squares = np.kron(np.indices((9, 9)).sum(axis=0) % 2, np.ones((4 * size, 4 * size))) * 160.0 + 40.0
    canvas = np.full((480, 640), 200.0)
    turn = cv2.getRotationMatrix2D((18.0 * size, 18.0 * size), 20.0, 0.25)
    turn[:, 2] += np.array([320.0, 240.0]) - 18.0 * size
    big = cv2.warpAffine(squares, turn, (640, 480), canvas, cv2.INTER_AREA, cv2.BORDER_TRANSPARENT)
    noisy = cv2.GaussianBlur(big, (0, 0), blur) + np.random.default_rng(0).normal(0.0, 2.0, canvas.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def errors(scene: Scene, detection: Detection) -> Array:
    """Distance of every detected point from the dot that is nearest to it in truth, (n,)."""
    distance = np.linalg.norm(detection.pixels[:, None] - scene.truth()[None], axis=2)
    return np.asarray(distance.min(axis=1))


def rms(values: Array) -> float:
    return float(np.sqrt((values**2).mean()))


def mirrored(board: Board, detection: Detection) -> bool:
    """Whether the ids run the other way round in the picture than on the board."""
    points = board.points()[detection.point_ids][:, :2]
    design = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    linear = np.linalg.lstsq(design, detection.pixels, rcond=None)[0][:2]
    return bool(np.linalg.det(linear) < 0)


def consistent(board: Board, detection: Detection, tolerance: float = 0.5) -> bool:
    """Whether one homography takes the board's points to where they were found."""
    points = board.points()[detection.point_ids][:, :2]
    homography = cv2.findHomography(points, detection.pixels)[0]
    return rms(np.linalg.norm(project(np.asarray(homography), points) - detection.pixels, axis=1)) < tolerance


@pytest.fixture(scope="module")
def detector() -> CirclesDetector:
    return CirclesDetector()


LOOKS = {
    "frontal": Look(),
    "tilted": Look(tilt_deg=40.0, roll_deg=-20.0, fill=0.7),
    "steep": Look(tilt_deg=65.0, axis_deg=75.0, ratio=0.6, fill=0.6),
    "noisy": Look(tilt_deg=25.0, noise=8.0, blur=1.2),
    "blurred": Look(tilt_deg=25.0, blur=3.0, ratio=0.6),
    "sharp": Look(blur=0.0, noise=1.0),
    "light on dark": Look(tilt_deg=30.0, ink=190.0, paper=30.0),
    "faint, shaded": Look(tilt_deg=20.0, ink=90.0, paper=140.0, shading=0.4, noise=1.0),
    "tight": Look(tilt_deg=20.0, ratio=0.85),
    "small dots": Look(fill=0.3, ratio=0.5),
}


class TestRendered:
    @pytest.mark.parametrize("board", [REGULAR, ASYMMETRIC, HEXAGONAL], ids=lambda board: board.type.value)
    @pytest.mark.parametrize("name", list(LOOKS))
    def test_identifies_and_locates_every_dot(self, detector: CirclesDetector, board: Board, name: str) -> None:
        scene = render(board, LOOKS[name])
        scan = detector.scan(scene.gray)
        assert scan.points == board.point_count
        assert detector.identify([scan]) == board
        found = detector.locate(scene.gray, board, scan)
        assert np.array_equal(np.sort(found.point_ids), np.arange(board.point_count))
        assert not mirrored(board, found)
        assert rms(np.linalg.norm(found.pixels - scene.truth(found.point_ids), axis=1)) < 0.05

    def test_dot_ratio_is_measured(self, detector: CirclesDetector) -> None:
        for board, ratio in ((REGULAR, 0.45), (HEXAGONAL, 0.8)):
            measured = detector.measure([detector.scan(render(board, Look(tilt_deg=50.0, ratio=ratio)).gray)])
            assert measured is not None
            assert measured.dot_ratio == pytest.approx(ratio, rel=0.03)
            assert measured.confidence > 0.9

    def test_large_dots(self, detector: CirclesDetector) -> None:
        board = Board(BoardType.CIRCLES, rows=3, cols=4)
        scene = render(board, Look(size=(1280, 960), ratio=0.8, tilt_deg=15.0))
        found = detector.locate(scene.gray, board)
        assert len(found.point_ids) == 12
        assert rms(errors(scene, found)) < 0.03

    def test_regular_board_starts_at_the_most_upright_corner(self, detector: CirclesDetector) -> None:
        for roll in (-40.0, 35.0, 170.0):
            found = detector.locate(render(REGULAR, Look(roll_deg=roll, fill=0.6)).gray, REGULAR)
            row = found.pixels[:9]
            assert np.array_equal(found.point_ids[:9], np.arange(9))
            assert row[8, 0] > row[0, 0]

    @pytest.mark.parametrize("roll", [0.0, 90.0, 180.0, 250.0])
    def test_a_staggered_board_of_odd_rows_has_one_numbering(self, detector: CirclesDetector, roll: float) -> None:
        scene = render(ASYMMETRIC, Look(roll_deg=roll, fill=0.55, tilt_deg=20.0))
        found = detector.locate(scene.gray, ASYMMETRIC)
        assert rms(np.linalg.norm(found.pixels - scene.truth(found.point_ids), axis=1)) < 0.05

    def test_lens_distortion(self, detector: CirclesDetector) -> None:
        scene = render(REGULAR, Look(size=(1280, 960), fill=0.75, tilt_deg=25.0, ratio=0.6))
        y, x = np.mgrid[0:480, 0:640].astype(np.float64)
        radial = ((x - 319.5) ** 2 + (y - 239.5) ** 2) / 320.0**2
        stretch = 1.0 + 0.25 * radial + 0.1 * radial**2
        lookup = np.stack([640 + 1.3 * (x - 319.5) * stretch, 480 + 1.3 * (y - 239.5) * stretch], axis=2)
        gray = np.asarray(cv2.remap(scene.gray, lookup.astype(np.float32), None, cv2.INTER_LINEAR), np.uint8)
        found = detector.locate(gray, REGULAR)
        assert len(found.point_ids) == REGULAR.point_count
        assert not consistent(REGULAR, found, tolerance=1.0)
        back = cv2.remap(lookup, found.pixels.astype(np.float32)[:, None], None, cv2.INTER_LINEAR)[:, 0]
        assert rms(np.linalg.norm(back - scene.truth(found.point_ids), axis=1)) < 0.25


class TestPartial:
    def test_cut_by_the_picture(self, detector: CirclesDetector) -> None:
        scene = render(REGULAR, Look(fill=1.1, tilt_deg=20.0, shift=(150.0, 0.0)))
        found = detector.locate(scene.gray, REGULAR)
        assert 25 <= len(found.point_ids) < REGULAR.point_count
        assert consistent(REGULAR, found, tolerance=0.05)
        assert rms(errors(scene, found)) < 0.05

    @pytest.mark.parametrize("board", [REGULAR, ASYMMETRIC, HEXAGONAL], ids=lambda board: board.type.value)
    def test_numbered_from_the_end_in_view(self, detector: CirclesDetector, board: Board) -> None:
        scene = render(board, Look(fill=0.9, shift=(0.0, -150.0)))
        found = detector.locate(scene.gray, board)
        assert 12 <= len(found.point_ids) < board.point_count
        assert rms(np.linalg.norm(found.pixels - scene.truth(found.point_ids), axis=1)) < 0.05

    @pytest.mark.parametrize("board", [REGULAR, ASYMMETRIC, HEXAGONAL], ids=lambda board: board.type.value)
    def test_covered_dots(self, detector: CirclesDetector, board: Board) -> None:
        scene = render(board, Look(tilt_deg=30.0))
        gray = scene.gray.copy()
        cv2.rectangle(gray, (250, 180), (330, 260), 120, -1)
        scan = detector.scan(gray)
        assert detector.identify([scan]) == board
        found = detector.locate(gray, board, scan)
        assert board.point_count - 12 <= len(found.point_ids) < board.point_count
        # Dots that show only in part are left out rather than found off their centre.
        assert np.linalg.norm(found.pixels - scene.truth(found.point_ids), axis=1).max() < 0.1

    def test_clutter_of_round_things(self, detector: CirclesDetector) -> None:
        scene = render(REGULAR, Look(tilt_deg=30.0, fill=0.5))
        gray = scene.gray.copy()
        rng = np.random.default_rng(3)
        board_area = cv2.boundingRect(scene.truth().astype(np.float32))
        for x, y, radius in zip(
            rng.uniform(10, 630, 80), rng.uniform(10, 470, 80), rng.uniform(3, 12, 80), strict=True
        ):
            left, top, width, height = board_area
            if left - 20 < x < left + width + 20 and top - 20 < y < top + height + 20:
                continue
            cv2.circle(gray, (int(x), int(y)), int(radius), 60, -1, cv2.LINE_AA)
        scan = detector.scan(gray)
        assert detector.identify([scan]) == REGULAR
        found = detector.locate(gray, REGULAR, scan)
        assert len(found.point_ids) == REGULAR.point_count
        assert rms(errors(scene, found)) < 0.05

    def test_a_set_of_cut_pictures_adds_up(self, detector: CirclesDetector) -> None:
        shifts = [(200.0, 0.0), (-200.0, 0.0), (0.0, 130.0), (0.0, 0.0)]
        scans = [detector.scan(render(REGULAR, Look(fill=0.8, tilt_deg=15.0, shift=shift)).gray) for shift in shifts]
        assert detector.identify(scans) == REGULAR


class TestConventions:
    def test_odd_rows_with_one_circle_less(self, detector: CirclesDetector) -> None:
        short = tuple(row * HEXAGONAL.cols + HEXAGONAL.cols - 1 for row in range(1, HEXAGONAL.rows, 2))
        scene = render(HEXAGONAL, Look(tilt_deg=30.0, missing=short))
        scan = detector.scan(scene.gray)
        assert detector.identify([scan]) == HEXAGONAL
        found = detector.locate(scene.gray, HEXAGONAL, scan)
        assert set(found.point_ids.tolist()) == set(range(HEXAGONAL.point_count)) - set(short)

    def test_first_row_further_right(self, detector: CirclesDetector) -> None:
        """With an even number of rows no rotation makes such a board start further left."""
        for kind, rows, cols, roll in (
            (BoardType.CIRCLES_HEX, 8, 7, 0.0),
            (BoardType.CIRCLES_HEX, 12, 7, 15.0),
            (BoardType.CIRCLES_HEX, 6, 10, -20.0),
            (BoardType.CIRCLES_ASYMMETRIC, 8, 4, 10.0),
        ):
            board = Board(kind, rows, cols, first_row_shifted=True)
            scene = render(board, Look(tilt_deg=20.0, roll_deg=roll, fill=0.7))
            scan = detector.scan(scene.gray)
            identified = detector.identify([scan])
            found = detector.locate(scene.gray, board, scan)
            assert np.array_equal(found.point_ids, np.arange(rows * cols))
            assert rms(np.linalg.norm(found.pixels - scene.truth(found.point_ids), axis=1)) < 0.05
            if kind is BoardType.CIRCLES_HEX:
                assert identified == board
            else:
                # A quarter turn makes an asymmetric board of even rows start on the other side.
                assert identified == Board(kind, rows=2 * cols, cols=rows // 2)

    def test_a_board_told_to_start_on_the_other_side(self, detector: CirclesDetector) -> None:
        """All but one of its rows fit; one row more makes room for all."""
        for shifted in (False, True):
            seen = Board(BoardType.CIRCLES_HEX, rows=8, cols=7, first_row_shifted=shifted)
            scene = render(seen, Look(tilt_deg=20.0))
            told = replace(seen, first_row_shifted=not shifted)
            part = detector.locate(scene.gray, told)
            assert len(part.point_ids) == 49
            assert consistent(told, part, tolerance=0.05)
            taller = replace(told, rows=9)
            assert np.array_equal(detector.locate(scene.gray, taller).point_ids, np.arange(7, 63))

    @pytest.mark.parametrize("shift", [-150.0, 150.0])
    def test_a_shifted_board_is_numbered_from_the_end_in_view(self, detector: CirclesDetector, shift: float) -> None:
        board = replace(HEXAGONAL, rows=10, first_row_shifted=True)
        scene = render(board, Look(fill=0.9, shift=(0.0, shift)))
        found = detector.locate(scene.gray, board)
        assert 12 <= len(found.point_ids) < board.point_count
        assert rms(np.linalg.norm(found.pixels - scene.truth(found.point_ids), axis=1)) < 0.05

    def test_even_by_even_asymmetric_board_is_not_transposed(self, detector: CirclesDetector) -> None:
        board = Board(BoardType.CIRCLES_ASYMMETRIC, rows=10, cols=4)
        for roll in (0.0, 90.0):
            scan = detector.scan(render(board, Look(roll_deg=roll, fill=0.55)).gray)
            assert detector.identify([scan]) == board

    def test_a_scan_survives_storage(self, detector: CirclesDetector, tmp_path: Path) -> None:
        scene = render(REGULAR, Look(tilt_deg=30.0))
        scan = detector.scan(scene.gray)
        np.savez(tmp_path / "scan.npz", **scan.arrays)
        with np.load(tmp_path / "scan.npz") as stored:
            again = type(scan)(scan.points, {name: stored[name] for name in stored.files})
        assert np.array_equal(
            detector.locate(scene.gray, REGULAR, again).pixels, detector.locate(scene.gray, REGULAR).pixels
        )


class TestRefusals:
    def test_smaller_and_larger_boards_are_refused_by_name(self, detector: CirclesDetector) -> None:
        gray = render(REGULAR, Look(fill=0.6)).gray
        for rows, cols in ((6, 9), (7, 8), (9, 9), (7, 12)):
            refused = detector.locate(gray, Board(BoardType.CIRCLES, rows, cols))
            assert len(refused.point_ids) == 0
            assert "circles 9x7" in refused.reason

    def test_another_type_is_refused(self, detector: CirclesDetector) -> None:
        refused = detector.locate(render(REGULAR, Look()).gray, HEXAGONAL)
        assert len(refused.point_ids) == 0
        assert "circles 9x7" in refused.reason
        assert "no circles" in detector.locate(np.zeros((50, 50), np.uint8), Board(BoardType.CHECKERBOARD, 6, 9)).reason

    def test_a_user_may_turn_a_regular_board(self, detector: CirclesDetector) -> None:
        found = detector.locate(render(REGULAR, Look(fill=0.6)).gray, Board(BoardType.CIRCLES, rows=9, cols=7))
        assert len(found.point_ids) == 63

    @pytest.mark.parametrize(("size", "blur"), [(8, 1.0), (12, 2.0), (16, 3.0), (24, 0.7), (40, 4.0)])
    def test_a_checkerboard_is_not_a_dot_board(self, detector: CirclesDetector, size: int, blur: float) -> None:
        assert detector.scan(checkerboard(size, blur)).points == 0

    def test_noise_blank_and_tiny_pictures(self, detector: CirclesDetector) -> None:
        rng = np.random.default_rng(0)
        noise = np.clip(rng.normal(128, 30, (480, 640)), 0, 255).astype(np.uint8)
        coarse = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3.0), np.uint8)
        coarse = np.clip((coarse.astype(np.float64) - 128) * 8 + 128, 0, 255).astype(np.uint8)
        scans = [
            detector.scan(g) for g in (noise, coarse, np.full((480, 640), 90, np.uint8), noise[:9, :3], noise[:1, :1])
        ]
        assert [scan.points for scan in scans] == [0] * 5
        assert detector.identify(scans) is None
        assert detector.identify([]) is None
        assert detector.locate(noise, REGULAR).reason == "no grid of circles in the picture"

    def test_scattered_dots_are_no_board(self, detector: CirclesDetector) -> None:
        gray = np.full((480, 640), 200, np.uint8)
        rng = np.random.default_rng(5)
        for x, y in rng.uniform(20, 460, (120, 2)):
            cv2.circle(gray, (int(x * 1.3), int(y)), 7, 40, -1, cv2.LINE_AA)
        assert detector.scan(gray).points == 0


class TestCentreBias:
    @pytest.mark.parametrize("tilt", [0.0, 30.0, 60.0])
    def test_is_that_of_the_ellipse_through_the_projected_rim(self, tilt: float) -> None:
        homography = board_homography(REGULAR, Look(tilt_deg=tilt))
        centre, radius = np.array([2.0, 5.0]), 0.4
        angle = np.linspace(0.0, 2.0 * np.pi, 41)[:-1]
        rim = project(homography, centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
        middle = rim.mean(axis=0)
        x, y = ((rim - middle) / 20.0).T
        conic = np.linalg.svd(np.stack([x * x, x * y, y * y, x, y, np.ones_like(x)], axis=1))[2][-1]
        a, b, c, d, e, _ = conic
        ellipse = middle + 20.0 * np.linalg.solve([[2 * a, b], [b, 2 * c]], [-d, -e])
        expected = ellipse - project(homography, centre[None])[0]
        assert centre_bias(homography, centre, radius) == pytest.approx(expected, abs=1e-9)
        assert (np.linalg.norm(expected) < 1e-9) == (tilt == 0.0)

    def test_batches_and_vanishes_with_the_radius(self) -> None:
        homography = np.stack([board_homography(REGULAR, Look(tilt_deg=tilt)) for tilt in (20.0, 50.0)])
        centres = np.array([[1.0, 2.0], [6.0, 4.0]])
        both = centre_bias(homography, centres, 0.3)
        assert both[1] == pytest.approx(centre_bias(homography[1], centres[1], 0.3))
        # To leading order it grows with the square of the radius.
        assert centre_bias(homography, centres, 0.003) == pytest.approx(both * 1e-4, rel=0.05, abs=1e-9)

    def test_correction_removes_it_from_strongly_tilted_boards(
        self, detector: CirclesDetector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scene = render(REGULAR, Look(tilt_deg=60.0, ratio=0.75))
        corrected = rms(errors(scene, detector.locate(scene.gray, REGULAR)))
        monkeypatch.setattr(
            "cv3d.calibration.detection.circles.detector.projected_centres", lambda centres, points, radius: centres
        )
        uncorrected = rms(errors(scene, detector.locate(scene.gray, REGULAR)))
        assert uncorrected > 0.3
        assert corrected < 0.03


def real_pictures(name: str) -> list[Gray]:
    root = Path(os.environ.get("CV3D_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
    folder = root / "calib" / name
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}")
    return [np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8) for path in sorted(folder.glob("*.jpg"))]


def calibration_rms(board: Board, detections: list[Detection], shape: tuple[int, ...]) -> float:
    points = board.points().astype(np.float32)
    pixels = [found.pixels.astype(np.float32)[:, None] for found in detections]
    return float(
        cv2.calibrateCamera([points[found.point_ids] for found in detections], pixels, shape[::-1], None, None)[0]
    )


class TestRealSets:
    def test_regular(self, detector: CirclesDetector) -> None:
        grays = real_pictures("circles_grid")
        scans = [detector.scan(gray) for gray in grays]
        board = detector.identify(scans)
        assert board == Board(BoardType.CIRCLES, rows=8, cols=10)
        found = [detector.locate(gray, board, scan) for gray, scan in zip(grays, scans, strict=True)]
        assert [len(one.point_ids) for one in found] == [80] * 6
        peers, same = [], []
        for gray, one in zip(grays, found, strict=True):
            for flags in (cv2.CALIB_CB_SYMMETRIC_GRID, cv2.CALIB_CB_SYMMETRIC_GRID | cv2.CALIB_CB_CLUSTERING):
                seen, centres = cv2.findCirclesGrid(gray, (10, 8), flags=flags)
                if seen:
                    break
            if not seen:
                continue
            centres = centres.reshape(-1, 2).astype(np.float64)
            nearest = np.linalg.norm(one.pixels[:, None] - centres[None], axis=2).argmin(axis=1)
            peers.append(Detection(one.point_ids, centres[nearest]))
            same.append(one)
        assert len(same) >= 4
        assert calibration_rms(board, same, grays[0].shape) <= calibration_rms(board, peers, grays[0].shape)

    @pytest.mark.slow
    def test_hexagonal(self, detector: CirclesDetector) -> None:
        grays = real_pictures("circles_hex")
        scans = [detector.scan(gray) for gray in grays]
        board = detector.identify(scans)
        assert board == Board(BoardType.CIRCLES_HEX, rows=24, cols=14, first_row_shifted=True)
        found = [detector.locate(gray, board, scan) for gray, scan in zip(grays, scans, strict=True)]
        assert [len(one.point_ids) for one in found] == [336] * 7
        assert not any(mirrored(board, one) for one in found)
        assert calibration_rms(board, found, grays[0].shape) < 0.25
