"""Calibrating rigs beside OpenCV's stereoCalibrate at the same corners, in one process.

    CV3D_DATA=shared/data python tests/benchmarks/rig_vs_opencv.py --markdown
    CV3D_DATA=shared/data python tests/benchmarks/rig_vs_opencv.py --webcams

cv3d finds the corners. OpenCV gets those of them that both cameras see and that cv3d used; cv3d also uses what one
camera sees alone, and weights cameras by their noise. The lens model is the same (OpenCV: five coefficients; cv3d:
brown5) or what cv3d chooses by itself. OpenCV starts from each camera's own calibrateCamera and runs with free and with
fixed intrinsics. Epipolar errors are means over both pictures, distortion removed.

--webcams: four videos instead, every pair of cameras by OpenCV from the moments that cv3d matched, each camera by its
own calibrateCamera; beside both, the rig that the authors of the recordings publish (caliscope). Takes minutes.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

import cv3d
from cv3d.calibration.calibrating import BoardWarp
from cv3d.calibration.journal import Journal
from cv3d.calibration.rig.estimating import calibrate_rig_sources
from cv3d.calibration.rig.frames import Moment, RigInput, RigSources, Timeline
from cv3d.calibration.rig.options import RigOptions
from cv3d.calibration.rig.result import RigCalibration, Synchronisation, SyncMethod
from cv3d.formats.reading import read_cameras
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.epipolar import epipolar_distances
from cv3d.media.inputs import find_pictures

Floats = NDArray[np.float64]
T = TypeVar("T")

ITERATIONS = 300
_FEWEST = 6
"""Corners that both cameras see."""
COLUMNS = ("set", "solver", "frames", "corners", "RMS px", "epipolar px", "baseline", "angle deg", "solve s")


@dataclass(frozen=True)
class PairCorners:
    """What both cameras see, by frame."""

    points: list[NDArray[np.float32]]
    first: list[NDArray[np.float32]]
    second: list[NDArray[np.float32]]
    size: tuple[int, int]

    @staticmethod
    def used_by(result: RigCalibration, first: int = 0, second: int = 1) -> PairCorners:
        """The corners that two calibrated cameras used and both saw."""
        board = result.board.points_m()
        camera = result.cameras[first].camera
        corners = PairCorners([], [], [], (camera.width, camera.height))
        for frame in result.frames:
            used = {view.camera: view for v in frame.views if (view := result.views[v]).used}
            if not (first in used and second in used):
                continue
            views = [used[first], used[second]]
            kept = [view.point_ids[~view.outliers] for view in views]
            ids, one, other = np.intersect1d(kept[0], kept[1], return_indices=True)
            if len(ids) < _FEWEST:
                continue
            corners.points.append(board[ids].astype(np.float32))
            corners.first.append(views[0].pixels[~views[0].outliers][one].astype(np.float32))
            corners.second.append(views[1].pixels[~views[1].outliers][other].astype(np.float32))
        return corners

    @property
    def count(self) -> int:
        """Corners over all frames."""
        return sum(map(len, self.points))


@dataclass(frozen=True)
class Row:
    """One solver's figures."""

    solver: str
    rms_px: float
    epipolar_px: float
    second_from_first: Floats
    seconds: float


def sources(first: list[str], second: list[str]) -> RigSources:
    """Two folders whose pictures go together in their order."""
    cameras = tuple(
        RigInput(name, tuple(find_pictures(files)), None) for name, files in (("left", first), ("right", second))
    )
    moments = tuple(Moment(f"{k:02d}", None, (k, k)) for k in range(len(first)))
    how = Synchronisation(SyncMethod.ORDER, "by order", (0.0, 0.0), (0.0, 0.0), math.nan)
    return RigSources(cameras, Timeline(moments, how))


def timed(work: Callable[[], T], repeats: int) -> tuple[float, T]:
    """Median seconds, and the result."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), result


def ours(pair: RigSources, model: str, journal: Journal, repeats: int) -> tuple[Row, RigCalibration]:
    """cv3d's figures."""
    options = RigOptions(model=model, board_warp=BoardWarp.OFF if model != "auto" else BoardWarp.AUTO)
    calibrate_rig_sources(pair, options, journal)
    results = [calibrate_rig_sources(pair, options, journal) for _ in range(repeats)]
    seconds = statistics.median(result.seconds.solve for result in results)
    result = results[-1]
    models = " + ".join(dict.fromkeys(item.camera.model for item in result.cameras))
    (found,) = result.pairs
    name = f"cv3d {model}" + (f" ({models})" if model == "auto" else "")
    return Row(name, result.rms_px, found.epipolar_px, found.second_from_first, seconds), result


def theirs(corners: PairCorners, is_fixed: bool, repeats: int) -> Row:
    """OpenCV's figures, the cameras' own calibrations included in the time."""
    criteria = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, ITERATIONS, 1e-12)

    def work() -> tuple[float, list[Floats], list[Floats], Floats]:
        matrices, lenses = [], []
        for pixels in (corners.first, corners.second):
            _, matrix, lens, _, _ = cv2.calibrateCamera(corners.points, pixels, corners.size, None, None)
            matrices.append(matrix)
            lenses.append(lens)
        rms, k1, d1, k2, d2, rotation, shift, _, _ = cv2.stereoCalibrate(
            corners.points,
            corners.first,
            corners.second,
            matrices[0],
            lenses[0],
            matrices[1],
            lenses[1],
            corners.size,
            flags=cv2.CALIB_FIX_INTRINSIC if is_fixed else cv2.CALIB_USE_INTRINSIC_GUESS,
            criteria=criteria,
        )
        relative = np.eye(4)
        relative[:3, :3], relative[:3, 3] = rotation, shift.ravel()
        return float(rms), [k1, k2], [d1, d2], relative

    seconds, (rms, matrices, lenses, relative) = timed(work, repeats)
    cameras = [
        Camera("brown5", *corners.size, (k[0, 0], k[1, 1], k[0, 2], k[1, 2], *map(float, d.ravel()[:5])))
        for k, d in zip(matrices, lenses, strict=True)
    ]
    distances = epipolar_distances(
        cameras[0],
        cameras[1],
        relative,
        np.concatenate(corners.first).astype(np.float64),
        np.concatenate(corners.second).astype(np.float64),
    )
    name = f"OpenCV 5 coefficients, intrinsics {'fixed' if is_fixed else 'free'}"
    return Row(name, rms, float(distances.mean()), relative, seconds)


def cells(name: str, row: Row, corners: PairCorners) -> list[str]:
    """One line of the table."""
    cosine = float(np.clip(row.second_from_first[2, 2], -1.0, 1.0))
    return [
        name,
        row.solver,
        str(len(corners.points)),
        str(corners.count),
        f"{row.rms_px:.4f}",
        f"{row.epipolar_px:.4f}",
        f"{float(np.linalg.norm(row.second_from_first[:3, 3])):.4f}",
        f"{math.degrees(math.acos(cosine)):.3f}",
        f"{row.seconds:.2f}",
    ]


def webcams(journal: Path | None) -> None:
    """The table of four webcams: of every pair, our pose, OpenCV's and the authors'."""
    root = data_root() / "calib" / "rig4_charuco"
    authors = read_cameras(root / "camera_array.toml")
    result = cv3d.calibrate_rig([root / "calibration" / "extrinsic"], square="54mm", journal=journal)
    print(f"cv3d: joint RMS {result.rms_px:.3f} px, corner noise {result.noise_px:.3f} px")
    given = tomllib.loads((root / "camera_array.toml").read_text(encoding="utf-8"))["cameras"].values()
    lenses = []
    for index, (camera, theirs) in enumerate(zip(result.cameras, given, strict=True)):
        views = [view for view in result.views if view.camera == index and view.used]
        board = result.board.points_m().astype(np.float32)
        points = [board[view.point_ids[~view.outliers]] for view in views]
        pixels = [view.pixels[~view.outliers].astype(np.float32) for view in views]
        size = camera.camera.width, camera.camera.height
        rms, matrix, shape, _, _ = cv2.calibrateCamera(points, pixels, size, None, None)
        lenses.append((matrix, shape))
        own = math.nan if camera.alone is None else camera.alone.rms_px
        print(
            f"{camera.name}: RMS px in the rig {camera.rms_px:.3f}, alone {own:.3f} (OpenCV {rms:.3f}, "
            f"authors {theirs['error']:.3f}); fx {camera.camera.params[0]:.1f} (OpenCV {matrix[0, 0]:.1f}, authors "
            f"{theirs['matrix'][0][0]:.1f})"
        )
    print(
        "\npair | frames | baseline m: cv3d, OpenCV, authors | off the authors' rotation deg: cv3d, OpenCV | OpenCV RMS"
    )
    for pair in result.pairs:
        corners = PairCorners.used_by(result, pair.first, pair.second)
        (k1, d1), (k2, d2) = (lenses[c] for c in (pair.first, pair.second))
        rms, _, _, _, _, rotation, shift, _, _ = cv2.stereoCalibrate(
            corners.points, corners.first, corners.second, k1, d1, k2, d2, corners.size, flags=cv2.CALIB_FIX_INTRINSIC
        )  # fmt: skip
        true = authors.cam_from_cam(pair.second, pair.first)
        turns = [
            math.degrees(float(np.linalg.norm(cv2.Rodrigues(np.ascontiguousarray(one @ true[:3, :3].T))[0])))
            for one in (pair.second_from_first[:3, :3], rotation)
        ]
        print(
            f"{result.cameras[pair.first].name} - {result.cameras[pair.second].name} | {len(corners.points)} | "
            f"{pair.baseline:.4f} {float(np.linalg.norm(shift)):.4f} {float(np.linalg.norm(true[:3, 3])):.4f} | "
            f"{turns[0]:.2f} {turns[1]:.2f} | {rms:.3f}"
        )


def data_root() -> Path:
    """The folder of real data."""
    root = Path(os.environ.get("CV3D_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    if not (root / "calib").is_dir():
        raise SystemExit(f"no real data in {root}: set CV3D_DATA to its folder")
    return root


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="of each solve; medians are printed")
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown")
    parser.add_argument("--webcams", action="store_true", help="the rig of four webcams")
    parser.add_argument("--journal", type=Path, help="with --webcams: a file that keeps detections between runs")
    args = parser.parse_args()
    print(f"cv3d {cv3d.__version__}, OpenCV {cv2.__version__}, {os.cpu_count()} cores; {platform.platform()}\n")
    if args.webcams:
        webcams(args.journal)
        return
    chess = data_root() / "calib" / "opencv_chess"
    rendered = Path(__file__).resolve().parents[2] / "data" / "samples" / "stereo"
    pairs = {
        "opencv_chess": sources(*(sorted(map(str, chess.glob(f"{side}*.jpg"))) for side in ("left", "right"))),
        "samples/stereo": sources(*(sorted(map(str, rendered.glob(f"{side}/*.jpg"))) for side in ("left", "right"))),
    }
    join = " | " if args.markdown else "  "
    print(join.join(COLUMNS))
    if args.markdown:
        print(join.join(["---"] * len(COLUMNS)))
    with Journal() as journal:
        for name, pair in pairs.items():
            chosen, _ = ours(pair, "auto", journal, args.repeats)
            same, result = ours(pair, "brown5", journal, args.repeats)
            corners = PairCorners.used_by(result)
            for row in (same, chosen, *(theirs(corners, fixed, args.repeats) for fixed in (False, True))):
                print(join.join(cells(name, row, corners)), flush=True)


if __name__ == "__main__":
    main()
