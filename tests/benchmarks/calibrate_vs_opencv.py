"""Calibrating from real pictures beside OpenCV: boards found, models, errors and times, in one process, alternating.

    CV3D_DATA=shared/data python tests/benchmarks/calibrate_vs_opencv.py --markdown --repeats 5

The first table is the whole way: cv3d is told nothing, OpenCV's detectors are told the board. The second compares the
two solvers alone: same lens model, same corners (those that cv3d used), flat board, no start given to either.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import cv3d
from cv3d.calibration.api import MAX_FRAMES, calibrate
from cv3d.calibration.problem import Observations
from cv3d.calibration.result import Calibration
from cv3d.calibration.seeding import SEED_MODEL, seed_camera
from cv3d.calibration.solving import Solution, solve, start_from
from cv3d.compute import torch_threads
from cv3d.errors import Cv3dError

MODELS = ("brown5", "brown8", "kannala_brandt4")
FISHEYE_FLAGS = cv2.CALIB_RECOMPUTE_EXTRINSIC | cv2.CALIB_FIX_SKEW
OPENCV_ITERATIONS = 30
"""The default of `calibrateCamera`; `fisheye.calibrate` has 100."""
FISHEYE_ITERATIONS = 100
LONG_ITERATIONS = 1000
RADII = 200_001
"""Samples along the radius that look for a pole or a fold."""
MIN_CHARUCO_CORNERS = 6
MIN_CHESSBOARD_WINDOW = 3
MAX_CHESSBOARD_WINDOW = 11

CALIBRATION_COLUMNS = {
    "set": 19,
    "cv3d found": 5,
    "OpenCV found": 22,
    "board": 34,
    "model": 22,
    "used": 4,
    "RMS px": 6,
    "held-out px": 6,
    "verdict": 12,
    "detect s": 6,
    "OpenCV detect s": 6,
    "solve s": 6,
}
SOLVER_COLUMNS = {
    "set": 19,
    "model": 15,
    "views": 5,
    "corners": 7,
    "cv3d RMS": 10,
    "OpenCV RMS": 10,
    "cost diff": 8,
    f"OpenCV RMS, {LONG_ITERATIONS} it.": 10,
    "its cost diff": 8,
    "cv3d it.": 4,
    "cv3d ms": 5,
    "OpenCV ms": 5,
    "note": 40,
}
"""Headings and least widths of the tables."""

Floats = NDArray[np.float64]
Gray = NDArray[np.uint8]
T = TypeVar("T")
Finder = Callable[[Gray], bool]
"""Whether OpenCV finds the board in a picture."""


def chessboard(cols: int, rows: int) -> dict[str, Finder]:
    """OpenCV's two chessboard detectors, told the inner corners."""

    def classic(gray: Gray) -> bool:
        found, corners = cv2.findChessboardCorners(gray, (cols, rows))
        if found:
            grid = corners.reshape(rows, cols, 2)
            steps = [np.linalg.norm(np.diff(grid, axis=axis), axis=-1).min() for axis in (0, 1)]
            half = int(np.clip(min(steps) / 2.0, MIN_CHESSBOARD_WINDOW, MAX_CHESSBOARD_WINDOW))
            cv2.cornerSubPix(gray, corners, (half, half), (-1, -1), (cv2.TERM_CRITERIA_EPS, 30, 1e-3))
        return bool(found)

    def sector(gray: Gray) -> bool:
        return bool(cv2.findChessboardCornersSB(gray, (cols, rows))[0])

    return {"classic": classic, "SB": sector}


def circles(cols: int, rows: int, staggered: bool) -> dict[str, Finder]:
    """OpenCV's circle grid detector with and without clustering, told the size."""
    kind = cv2.CALIB_CB_ASYMMETRIC_GRID if staggered else cv2.CALIB_CB_SYMMETRIC_GRID

    def finder(flags: int) -> Finder:
        return lambda gray: bool(cv2.findCirclesGrid(gray, (cols, rows), flags=flags)[0])

    return {"grid": finder(kind), "clustering": finder(kind | cv2.CALIB_CB_CLUSTERING)}


def charuco(cols: int, rows: int, dictionary: int, marker_ratio: float, inverted: bool = False) -> dict[str, Finder]:
    """OpenCV's ChArUco detector for either pattern, told the board."""

    def finder(legacy: bool) -> Finder:
        board = cv2.aruco.CharucoBoard((cols, rows), 1.0, marker_ratio, cv2.aruco.getPredefinedDictionary(dictionary))
        board.setLegacyPattern(legacy)
        detector = cv2.aruco.CharucoDetector(board)

        def find(gray: Gray) -> bool:
            ids = detector.detectBoard(np.asarray(255 - gray, np.uint8) if inverted else gray)[1]
            return ids is not None and len(ids) >= MIN_CHARUCO_CORNERS

        return find

    return {"ChArUco": finder(False), "ChArUco legacy": finder(True)}


def tags(dictionary: int) -> dict[str, Finder]:
    """OpenCV's marker detector: it knows no AprilGrid, so any tag counts."""
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(dictionary))
    return {"tags only": lambda gray: detector.detectMarkers(gray)[1] is not None}


@dataclass(frozen=True)
class RealSet:
    """Pictures of one camera, and what OpenCV is told about their board."""

    name: str
    pattern: str
    """Below `calib` in the data; a folder, a glob or a video."""
    finders: dict[str, Finder]

    def inputs(self, root: Path) -> list[Path]:
        """Files of the set."""
        path = root / "calib" / self.pattern
        if path.is_dir():
            return [path]
        return sorted(path.parent.glob(path.name))


def real_sets() -> list[RealSet]:
    """Every real set, with the board its authors name."""
    rig = charuco(4, 5, cv2.aruco.DICT_4X4_1000, 0.75, inverted=True)
    return [
        RealSet("opencv_left", "opencv_left", chessboard(9, 6)),
        RealSet("opencv_chess left", "opencv_chess/left*.jpg", chessboard(7, 5)),
        RealSet("opencv_chess right", "opencv_chess/right*.jpg", chessboard(7, 5)),
        RealSet("udacity_chess", "udacity_chess", chessboard(9, 6)),
        RealSet("fisheye_chess", "fisheye_chess", chessboard(4, 6)),
        RealSet("circles_grid", "circles_grid", circles(10, 8, staggered=False)),
        RealSet("circles_hex", "circles_hex", circles(14, 24, staggered=True)),
        RealSet("charuco", "charuco", charuco(5, 7, cv2.aruco.DICT_6X6_250, 18.256 / 36.195)),
        RealSet("aprilgrid", "aprilgrid", tags(cv2.aruco.DICT_APRILTAG_36h11)),
        *(RealSet(f"rig4_charuco cam_{i}", f"rig4_charuco/calibration/extrinsic/cam_{i}.mp4", rig) for i in range(4)),
    ]


@dataclass(frozen=True)
class Corners:
    """The corners of a calibration, as both solvers take them: numbers that survive single precision."""

    points: list[Floats]
    """Board points of each view, (n, 3)."""
    pixels: list[Floats]
    """(n, 2), pixels."""
    board: Floats
    """All points of the board, (N, 3)."""
    width: int
    height: int

    @staticmethod
    def used_by(result: Calibration) -> Corners:
        """What the calibration was fitted to, outliers left out."""
        board = through_single(result.board.points_m())
        views = result.used
        return Corners(
            [board[v.point_ids[~v.outliers]] for v in views],
            [through_single(v.pixels[~v.outliers]) for v in views],
            board,
            result.camera.width,
            result.camera.height,
        )

    def observations(self) -> Observations:
        """The same as cv3d's solver takes it."""
        views, widest = len(self.points), max(len(p) for p in self.points)
        points = torch.zeros(views, widest, 3, dtype=torch.float64)
        pixels = torch.zeros(views, widest, 2, dtype=torch.float64)
        seen = torch.zeros(views, widest, dtype=torch.bool)
        for v, (xyz, uv) in enumerate(zip(self.points, self.pixels, strict=True)):
            points[v, : len(xyz)] = torch.from_numpy(xyz)
            pixels[v, : len(xyz)] = torch.from_numpy(uv)
            seen[v, : len(xyz)] = True
        plane = torch.from_numpy(self.board[:, :2])
        return Observations(points, pixels, seen, torch.stack([plane.amin(dim=0), plane.amax(dim=0)]))


def through_single(values: Floats) -> Floats:
    """Rounded to single precision, in which OpenCV takes its input."""
    return values.astype(np.float32).astype(np.float64)


def solve_cv3d(corners: Corners, model: str) -> Solution:
    """Seed and solution, from corners alone."""
    observations = corners.observations()
    seed = seed_camera(observations, corners.width, corners.height)
    return solve(observations, model, start_from(observations, seed.state, SEED_MODEL, model))


@dataclass(frozen=True)
class PeerSolution:
    """What OpenCV makes of the same corners."""

    rms_px: float
    one_to_one: bool
    """Whether its lens is a function that can be inverted over the corners; True for the fisheye, not looked at."""


def solve_opencv(corners: Corners, model: str, iterations: int) -> PeerSolution:
    """OpenCV's solution from corners alone.

    Raises:
        cv2.error: it does not get through.
    """
    size = (corners.width, corners.height)
    criteria = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, iterations, float(np.finfo(np.float64).eps))
    if model == "kannala_brandt4":
        rms = cv2.fisheye.calibrate(
            [p[None] for p in corners.points],
            [p[None] for p in corners.pixels],
            size,
            np.eye(3),
            np.zeros(4),
            flags=FISHEYE_FLAGS,
            criteria=criteria,
        )[0]
        return PeerSolution(float(rms), True)
    flags = cv2.CALIB_RATIONAL_MODEL if model == "brown8" else 0
    points = [p[None].astype(np.float32) for p in corners.points]
    pixels = [p[None].astype(np.float32) for p in corners.pixels]
    rms, _, distortion, turns, shifts = cv2.calibrateCamera(
        points, pixels, size, None, None, flags=flags, criteria=criteria
    )
    poses = [
        (np.asarray(cv2.Rodrigues(turn)[0], np.float64), np.asarray(shift, np.float64).ravel())
        for turn, shift in zip(turns, shifts, strict=True)
    ]
    return PeerSolution(float(rms), one_to_one(np.asarray(distortion, np.float64).ravel(), corners, poses))


def one_to_one(distortion: Floats, corners: Corners, poses: Sequence[tuple[Floats, Floats]]) -> bool:
    """Whether the radial part grows, without a pole, out to the furthest corner.

    Args:
        distortion: k1 k2 p1 p2 k3 [k4 k5 k6].
        corners: the corners.
        poses: rotation and translation of every view.
    """
    seen = np.concatenate([p @ turn.T + shift for p, (turn, shift) in zip(corners.points, poses, strict=True)])
    if seen[:, 2].min() <= 0.0:
        return False
    k1, k2, _, _, k3, k4, k5, k6 = np.pad(distortion, (0, 8))[:8]
    radius = np.linspace(0.0, float(np.linalg.norm(seen[:, :2] / seen[:, 2:], axis=1).max()), RADII)
    numerator = np.polynomial.Polynomial([1.0, k1, k2, k3])(radius**2)
    denominator = np.polynomial.Polynomial([1.0, k4, k5, k6])(radius**2)
    return bool(denominator.min() > 0.0 and np.diff(radius * numerator / denominator).min() > 0.0)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds and result."""
    gc.collect()
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def cpu_name() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


class Table:
    """Rows printed as they come, as Markdown or in columns."""

    def __init__(self, columns: dict[str, int], markdown: bool) -> None:
        self.widths = [max(len(heading), width) for heading, width in columns.items()]
        self.markdown = markdown
        self.row(list(columns))
        if markdown:
            self.row(["---"] * len(columns))

    def row(self, cells: Sequence[str]) -> None:
        """Print one row."""
        if self.markdown:
            print(f"| {' | '.join(cells)} |", flush=True)
        else:
            print("  ".join(f"{c:{w}s}" for c, w in zip(cells, self.widths, strict=True)).rstrip(), flush=True)


@dataclass(frozen=True)
class PeerFound:
    """What OpenCV's better detector finds."""

    detector: str
    found: int
    seconds: float


def peer_detection(finders: dict[str, Finder], result: Calibration) -> PeerFound:
    """Run each detector of OpenCV on the pictures that cv3d read."""
    counts = dict.fromkeys(finders, 0)
    seconds = dict.fromkeys(finders, 0.0)
    for view in result.views:
        gray = view.picture.read_gray().array
        for name, finder in finders.items():
            took, found = timed(partial(finder, gray))
            counts[name] += int(found)
            seconds[name] += took
    best = max(counts, key=lambda name: (counts[name], -seconds[name]))
    return PeerFound(best, counts[best], seconds[best])


def calibration_row(real: RealSet, result: Calibration) -> list[str]:
    """The row of the first table."""
    peer = peer_detection(real.finders, result)
    total = len(result.views)
    found = sum(1 for v in result.views if len(v.pixels))
    return [
        real.name,
        f"{found}/{total}",
        f"{peer.found}/{total} ({peer.detector})",
        str(result.board),
        result.camera.model + (" + warp" if result.warp is not None else ""),
        str(len(result.used)),
        f"{result.rms_px:.4f}",
        f"{result.holdout_rms_px:.4f}",
        result.verdict.level.value,
        f"{result.seconds.detect:.2f}",
        f"{peer.seconds:.2f}",
        f"{result.seconds.solve:.2f}",
    ]


def solver_row(name: str, corners: Corners, model: str, repeats: int) -> list[str]:
    """The row of the second table."""
    default = FISHEYE_ITERATIONS if model == "kannala_brandt4" else OPENCV_ITERATIONS
    ours: list[float] = []
    theirs: list[float] = []
    peer: PeerSolution | None = None
    long: PeerSolution | None = None
    notes: list[str] = []
    solution = solve_cv3d(corners, model)
    for _ in range(repeats):
        seconds, solution = timed(partial(solve_cv3d, corners, model))
        ours.append(seconds)
        try:
            seconds, peer = timed(partial(solve_opencv, corners, model, default))
        except cv2.error as error:
            notes = [f"OpenCV failed ({error.func or error.err})"]
            continue
        theirs.append(seconds)
    with contextlib.suppress(cv2.error):
        long = solve_opencv(corners, model, LONG_ITERATIONS)
    if peer is not None and not peer.one_to_one:
        notes.append("OpenCV folds or has a pole within the corners")
    if long is not None and not long.one_to_one:
        notes.append(f"OpenCV after {LONG_ITERATIONS} it. folds or has a pole within the corners")
    if not solution.converged:
        notes.append("cv3d not converged")
    if model != "kannala_brandt4":
        poses = list(zip(solution.state.rotation.numpy(), solution.state.translation.numpy(), strict=True))
        if not one_to_one(solution.state.params[4:].numpy(), corners, poses):
            notes.append("cv3d folds or has a pole within the corners")
    return [
        name,
        model,
        f"{len(corners.points)}",
        f"{sum(len(p) for p in corners.points)}",
        f"{solution.rms_px:.8g}",
        *against(solution, peer),
        *against(solution, long),
        str(solution.iterations),
        f"{1e3 * statistics.median(ours):.0f}",
        f"{1e3 * statistics.median(theirs):.0f}" if theirs else "-",
        "; ".join(notes),
    ]


def against(solution: Solution, peer: PeerSolution | None) -> list[str]:
    """OpenCV's RMS, and the relative difference of cost, positive where cv3d's is higher."""
    if peer is None:
        return ["-", "-"]
    return [f"{peer.rms_px:.8g}", f"{solution.rms_px**2 / peer.rms_px**2 - 1.0:+.1e}"]


def data_root() -> Path:
    """The folder of real data."""
    root = Path(os.environ.get("CV3D_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    if not (root / "calib").is_dir():
        raise SystemExit(f"no real data in {root}: set CV3D_DATA to its folder")
    return root


def main() -> None:
    """Parse, measure, print."""
    sets = {real.name: real for real in real_sets()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(sets), default=list(sets), metavar="SET")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--repeats", type=int, default=3, help="of each solve; medians are printed")
    parser.add_argument("--max-frames", type=int, default=MAX_FRAMES, help="frames taken from each video")
    parser.add_argument("--threads", type=int, default=None, help="threads of torch and OpenCV (default: their own)")
    parser.add_argument("--markdown", action="store_true", help="tables as Markdown")
    args = parser.parse_args()
    root = data_root()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    print(f"cv3d {cv3d.__version__}, OpenCV {cv2.__version__}, torch {torch.__version__}, numpy {np.__version__}")
    print(
        f"{cpu_name()}, {os.cpu_count()} cores; threads: torch {torch.get_num_threads()}, "
        f"OpenCV {cv2.getNumThreads()}; {platform.platform()}"
    )
    print(
        "\nFrom pictures. cv3d is told nothing; OpenCV's better detector (in brackets) is told the board. 'found': "
        "cv3d counts a board of which any part was found, OpenCV's chessboard and circle detectors want all of it. "
        "Seconds.\n"
    )
    table = Table(CALIBRATION_COLUMNS, args.markdown)
    corners: dict[str, Corners] = {}
    for name in args.sets:
        try:
            result = calibrate([*sets[name].inputs(root)], max_frames=args.max_frames)
        except Cv3dError as error:
            table.row([name, f"failed: {error}", *[""] * 10])
            continue
        corners[name] = Corners.used_by(result)
        table.row(calibration_row(sets[name], result))
    print(
        f"\nSolvers alone: same corners, same model, flat board, no start given; medians of {args.repeats}, "
        f"milliseconds. Cost differences are relative, positive where cv3d's is higher, against OpenCV's default "
        f"iterations ({OPENCV_ITERATIONS}; fisheye {FISHEYE_ITERATIONS}), which are timed, and against "
        f"{LONG_ITERATIONS}.\n"
    )
    table = Table(SOLVER_COLUMNS, args.markdown)
    for name, seen in corners.items():
        for model in args.models:
            # As `calibrate` itself runs it: its tensors are too small to be worth sharing out.
            with torch_threads(1):
                row = solver_row(name, seen, model, args.repeats)
            table.row(row)


if __name__ == "__main__":
    main()
