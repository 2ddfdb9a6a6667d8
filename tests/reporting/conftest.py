"""Rigs from exact synthetic geometry, with pictures drawn to match."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.framing import AS_IS
from cv3d.calibration.quality import Coverage, Level, Tilt, UncertaintyMap, Verdict
from cv3d.calibration.result import Calibration, Seconds, Warp
from cv3d.calibration.rig.result import (
    CameraInRig,
    CameraPair,
    RigCalibration,
    RigFrame,
    RigView,
    Synchronisation,
    SyncMethod,
)
from cv3d.errors import PictureError
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.media.decode import Pixels

BOARD = Board(BoardType.CHECKERBOARD, rows=5, cols=7, square_m=0.04)
BROWN4 = Camera("brown4", 640, 480, (531.2, 530.6, 316.9, 243.7, -0.21, 0.052, 0.0006, -0.0004))
BROWN5 = Camera("brown5", 640, 480, (534.9, 534.1, 324.4, 236.2, -0.205, 0.047, -0.0003, 0.0007, -0.003))
WIDE = Camera("kannala_brandt4", 640, 480, (255.0, 255.4, 321.0, 238.0, 0.05, -0.012, 0.004, -0.001))
NOISE_PX = 0.1


@dataclass(frozen=True)
class Drawn:
    """The board as a camera sees it; nothing of it where there is no pose."""

    name: str
    camera: Camera
    cam_from_board: NDArray[np.float64] | None
    readable: bool = True

    def digest(self) -> str:
        return f"{self.name} {self.camera} {self.cam_from_board}"

    def read_gray(self) -> Pixels:
        if not self.readable:
            raise PictureError(f"{self.name}: truncated")
        gray = np.full((self.camera.height, self.camera.width), 150, np.uint8)
        if self.cam_from_board is not None:
            for corners, shade in _squares(self.camera, self.cam_from_board):
                cv2.fillConvexPoly(gray, np.round(16.0 * corners).astype(np.int32), shade, cv2.LINE_AA, 4)
        noise = np.random.default_rng(sum(map(ord, self.name))).normal(0.0, 3.0, gray.shape)
        return Pixels(np.clip(gray + noise, 0, 255).astype(np.uint8), 1, 8)


def _squares(camera: Camera, cam_from_board: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], int]]:
    size = BOARD.square_m or 1.0
    drawn = [(_outline(-1.6, -1.6, BOARD.cols + 0.6, BOARD.rows + 0.6), 235)]
    drawn += [
        (_outline(col, row, col + 1, row + 1), 30)
        for row in range(-1, BOARD.rows)
        for col in range(-1, BOARD.cols)
        if (row + col) % 2 == 0
    ]
    return [(_project(camera, cam_from_board, size * outline), shade) for outline, shade in drawn]


def _outline(left: float, top: float, right: float, bottom: float) -> NDArray[np.float64]:
    return np.array([[left, top, 0], [right, top, 0], [right, bottom, 0], [left, bottom, 0]], float)


def _project(camera: Camera, cam_from_board: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return camera.project(points @ cam_from_board[:3, :3].T + cam_from_board[:3, 3])


def rigid(rotation_deg: Sequence[float], translation: Sequence[float]) -> NDArray[np.float64]:
    """A transform from a rotation vector in degrees and a translation."""
    matrix = np.eye(4)
    matrix[:3, :3] = cv2.Rodrigues(np.radians(np.asarray(rotation_deg, float)))[0]
    matrix[:3, 3] = translation
    return matrix


def stereo_poses() -> list[NDArray[np.float64]]:
    return [np.eye(4), rigid((0.6, -1.7, 0.4), (-0.1203, 0.0011, 0.0024))]


def ring_poses(count: int) -> list[NDArray[np.float64]]:
    """Cameras on a circle of 1.4 m around a point 1.4 m before the first, looking inwards, 60 degrees apart."""
    world_from_cam0 = rigid((0.0, 0.0, 0.0), (0.0, 0.0, -1.4))
    return [
        inverse_rigid(rigid((0.0, -60.0 * i, 0.0), (0, 0, 0)) @ rigid((4.0 * i, 0, 0), (0, -0.1 * i, -1.4)))
        @ world_from_cam0
        for i in range(count)
    ]


class RigMaker:
    """Makes rig calibrations."""

    def __call__(
        self,
        poses: Sequence[NDArray[np.float64]] | None = None,
        names: Sequence[str] = ("left", "right"),
        cameras: Sequence[Camera] | None = None,
        frames: int = 12,
        held: Sequence[int] = (),
        level: Level = Level.GOOD,
        warp: bool = False,
        rejected: bool = True,
        square_m: float | None = 0.04,
        times: bool = False,
        seed: int = 3,
    ) -> RigCalibration:
        """A rig with exact poses, residuals of :data:`NOISE_PX`, and one picture of each kind of trouble."""
        rng = np.random.default_rng(seed)
        poses = stereo_poses() if poses is None else poses
        lenses = [BROWN4] * len(poses) if cameras is None else list(cameras)
        board = replace(BOARD, square_m=square_m)
        views: list[RigView] = []
        made: list[RigFrame] = []
        for f in range(frames):
            cam0_from_board = _somewhere(rng, poses, lenses)
            indices = []
            for c, camera in enumerate(lenses):
                indices.append(len(views))
                cut = rejected and c == len(lenses) - 1 and f == 2
                views.append(_view(rng, c, f, camera, poses[c] @ cam0_from_board, cut))
            count = sum(views[i].used for i in indices)
            pose = cam0_from_board if count else None
            made.append(RigFrame(f"{f:02d}", 0.25 * f if times else None, tuple(indices), pose))
        if rejected:
            lonely = Drawn("99.png", lenses[0], None, readable=False)
            views.append(_unused(lonely, 0, None, "99.png: truncated"))
        unknown = level is Level.UNOBSERVABLE
        solved = tuple(
            _solved(c, names[c], lenses[c], poses[c], views, c in held, unknown, names) for c in range(len(poses))
        )
        pairs = _pairs(solved, views, frames)
        if square_m is None:
            made = [replace(frame, cam0_from_board=_in_squares(frame.cam0_from_board)) for frame in made]
            solved = tuple(replace(item, cam_from_cam0=_in_squares(item.cam_from_cam0)) for item in solved)
            pairs = _pairs(solved, views, frames)
        return RigCalibration(
            board=board,
            cameras=solved,
            frames=tuple(made),
            views=tuple(views),
            pairs=pairs,
            synchronisation=Synchronisation(
                SyncMethod.NAME,
                f"{frames} frames matched by name",
                (0.0,) * len(poses),
                (0.0,) * len(poses),
                math.nan,
            ),
            rms_px=NOISE_PX * math.sqrt(2.0),
            noise_px=math.nan if unknown else NOISE_PX,
            warp=Warp((0.0012, -0.0004, 0.0001), (0.00005, 0.00006, 0.00004)) if warp else None,
            verdict=Verdict(
                level, f"{level.value}: the cameras' places are known to 0.2 mm", ("add frames near the edges",)
            ),
            seconds=Seconds(1.2, 0.8, 2.1),
            seed=seed,
            warnings=("<left> has 1 picture more than <right>",) if rejected else (),
        )

    stereo = staticmethod(stereo_poses)
    ring = staticmethod(ring_poses)
    brown4, brown5, wide = BROWN4, BROWN5, WIDE


def _in_squares(pose: NDArray[np.float64] | None) -> Any:
    if pose is None:
        return None
    scaled = pose.copy()
    scaled[:3, 3] /= BOARD.square_m or 1.0
    return scaled


def _somewhere(
    rng: np.random.Generator, poses: Sequence[NDArray[np.float64]], cameras: Sequence[Camera]
) -> NDArray[np.float64]:
    """A board that a random camera sees as a whole."""
    middle = BOARD.points_m().mean(axis=0)
    while True:
        c = int(rng.integers(len(poses)))
        turn = rigid(rng.uniform(-32.0, 32.0, 3), (0.0, 0.0, 0.0))
        ray = cameras[c].unproject(rng.uniform(0.25, 0.75, 2) * [cameras[c].width, cameras[c].height])
        turn[:3, 3] = ray * rng.uniform(0.6, 1.4) - turn[:3, :3] @ middle
        if _inside(cameras[c], turn).all():
            return inverse_rigid(poses[c]) @ turn


def _inside(camera: Camera, cam_from_board: NDArray[np.float64]) -> NDArray[np.bool_]:
    points = BOARD.points_m() @ cam_from_board[:3, :3].T + cam_from_board[:3, 3]
    pixels = camera.project(points)
    within = ((pixels > 0) & (pixels < [camera.width - 1, camera.height - 1])).all(axis=1)
    facing = cam_from_board[:3, 2] @ cam_from_board[:3, 3] > 0.3 * np.linalg.norm(cam_from_board[:3, 3])
    return within & (points[:, 2] > 0.2) & facing


def _view(
    rng: np.random.Generator, c: int, f: int, camera: Camera, cam_from_board: NDArray[np.float64], cut: bool
) -> RigView:
    ids = np.flatnonzero(_inside(camera, cam_from_board))
    whole = len(ids) == len(BOARD.points_m())
    picture = Drawn(f"{f:02d}.png", camera, cam_from_board if whole or cut else None)
    if not whole:
        return _unused(picture, c, f, "no board found")
    pixels = _project(camera, cam_from_board, BOARD.points_m()[ids])
    residuals = rng.normal(0.0, NOISE_PX, pixels.shape)
    outliers = np.zeros(len(ids), bool)
    if cut:
        nothing = np.full_like(residuals, math.nan)
        reason = "its corners do not fit the rig (median 5.1 px)"
        return RigView(picture, reason, AS_IS, ids, pixels - residuals, nothing, outliers, c, f)
    return RigView(picture, "", AS_IS, ids, pixels - residuals, residuals, outliers, c, f)


def _unused(picture: Drawn, camera: int, frame: int | None, reason: str) -> RigView:
    nothing = np.zeros((0, 2))
    return RigView(picture, reason, AS_IS, np.zeros(0, np.int64), nothing, nothing, np.zeros(0, bool), camera, frame)


def _solved(
    c: int,
    name: str,
    camera: Camera,
    pose: NDArray[np.float64],
    views: Sequence[RigView],
    held: bool,
    unknown: bool,
    names: Sequence[str],
) -> CameraInRig:
    count = len(camera.params)
    scale = np.array([0.4, 0.4, 0.5, 0.5, *np.full(count - 4, 0.002)])
    covariance = np.zeros((count, count)) if held else np.diag(scale**2) * (math.nan if unknown else 1.0)
    spread = np.diag(np.array([2e-4, 2e-4, 1e-4, 3e-4, 2e-4, 4e-4]) ** 2) * (0.0 if c == 0 else 1.0)
    squares = [view.residuals**2 for view in views if view.camera == c and view.used]
    rms = math.sqrt(2.0 * float(np.concatenate(squares).mean())) if squares else math.nan
    alone = None if held else _alone(camera, covariance, rms)
    linked = tuple(names[1:c]) if c >= 2 else ()
    return CameraInRig(name, camera, covariance, pose, spread, rms, alone, held, linked)


def _alone(camera: Camera, covariance: NDArray[np.float64], rms: float) -> Calibration:
    flat = np.zeros((2, 2))
    return Calibration(
        camera=camera,
        board=BOARD,
        rms_px=0.98 * rms,
        holdout_rms_px=1.07 * rms,
        noise_px=NOISE_PX,
        covariance=covariance,
        views=(),
        models=(),
        warp=None,
        uncertainty=UncertaintyMap(flat[0], flat[0], flat, flat, 1.0, 0.06, 0.33, 0.97),
        coverage=Coverage(1.0, 0.6, 0.3, 0.6, np.zeros((2, 2), np.int64)),
        tilt=Tilt(38.0, 9, 17.2),
        verdict=Verdict(Level.GOOD, "good", ()),
        seconds=Seconds(0.5, 0.3, 0.9),
        seed=0,
    )


def _pairs(cameras: Sequence[CameraInRig], views: Sequence[RigView], frames: int) -> tuple[CameraPair, ...]:
    used = {(view.camera, view.frame) for view in views if view.used}
    pairs = []
    for a in range(len(cameras)):
        for b in range(a + 1, len(cameras)):
            shared = sum((a, f) in used and (b, f) in used for f in range(frames))
            if shared:
                relative = cameras[b].cam_from_cam0 @ inverse_rigid(cameras[a].cam_from_cam0)
                angle = math.degrees(math.acos(min(1.0, relative[2, 2])))
                baseline = float(np.linalg.norm(relative[:3, 3]))
                pairs.append(CameraPair(a, b, shared, 35 * shared, 0.081, 0.1, baseline, 2e-4, angle, relative))
    return tuple(pairs)


@pytest.fixture(scope="session")
def make_rig() -> Callable[..., Any]:
    """Makes rig calibrations; see :class:`RigMaker`."""
    return RigMaker()
