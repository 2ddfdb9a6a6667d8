"""Simulated rigs with exact truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detecting import BoardSightings, SeenPicture
from cv3d.calibration.detection.base import Detection
from cv3d.calibration.rig.estimating import estimate_rig
from cv3d.calibration.rig.frames import Moment, RigInput, RigSources, Timeline
from cv3d.calibration.rig.options import RigOptions
from cv3d.calibration.rig.result import RigCalibration, Synchronisation, SyncMethod
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.transforms import SO3
from cv3d.media.decode import Pixels

Floats = NDArray[np.float64]

PINHOLE = Camera("brown4", 640, 480, (520.0, 521.0, 322.0, 236.0, -0.2, 0.05, 4e-4, -3e-4))
OTHER = Camera("brown4", 640, 480, (560.0, 558.0, 315.0, 243.0, -0.15, 0.03, -2e-4, 5e-4))
FISHEYE = Camera("kannala_brandt4", 640, 480, (240.0, 240.0, 318.0, 241.0, 0.02, -0.01, 0.003, -0.001))
ASYMMETRIC = Board(BoardType.CHECKERBOARD, 6, 7, 0.03)
SYMMETRIC = Board(BoardType.CHECKERBOARD, 5, 7, 0.03)


@dataclass(frozen=True)
class NoPicture:
    """Stands for a picture whose board was found already."""

    name: str

    def digest(self) -> str:
        return self.name

    def read_gray(self) -> Pixels:
        raise AssertionError("nothing is to be decoded")


@dataclass(frozen=True)
class SimulatedRig:
    """What cameras at known places saw of a board at known places."""

    board: Board
    cameras: tuple[Camera, ...]
    cam_from_cam0: Floats
    cam0_from_board: Floats
    found: tuple[tuple[Detection, ...], ...]
    """By camera and frame."""

    def changed(self, camera: int, frame: int, change: Callable[[Detection], Detection]) -> SimulatedRig:
        """The same with another detection in one picture."""
        own = list(self.found[camera])
        own[frame] = change(own[frame])
        return replace(self, found=(*self.found[:camera], tuple(own), *self.found[camera + 1 :]))

    def calibrated(self, model: str = "auto", **options: object) -> RigCalibration:
        """Calibrated from detections."""
        names = [f"cam{c}" for c in range(len(self.cameras))]
        pictures = [[NoPicture(f"{name}/{f:02d}") for f in range(len(self.found[0]))] for name in names]
        sightings = [
            BoardSightings(
                self.board,
                tuple(
                    SeenPicture(picture, detection, (camera.width, camera.height))
                    for picture, detection in zip(own, seen, strict=True)
                ),
            )
            for own, camera, seen in zip(pictures, self.cameras, self.found, strict=True)
        ]
        none = (0.0,) * len(names)
        moments = tuple(Moment(f"{f:02d}", None, (f,) * len(names)) for f in range(len(self.found[0])))
        how = Synchronisation(SyncMethod.NAME, "by name", none, none, math.nan)
        inputs = tuple(RigInput(name, tuple(own), None) for name, own in zip(names, pictures, strict=True))
        rig_options = RigOptions(model=model, **options)  # type: ignore[arg-type]
        return estimate_rig(RigSources(inputs, Timeline(moments, how)), sightings, rig_options)


def pose(turn_deg: Sequence[float], centre: Sequence[float]) -> Floats:
    """cam_from_cam0 of a camera at `centre` turned by a rotation vector in degrees."""
    rotation = SO3.exp(torch.deg2rad(torch.tensor(turn_deg, dtype=torch.float64))).as_matrix().numpy()
    result = np.eye(4)
    result[:3, :3] = rotation
    result[:3, 3] = -rotation @ np.asarray(centre, float)
    return result


def simulate(
    cameras: Sequence[Camera],
    poses: Sequence[Floats],
    aims: Sequence[Sequence[float]],
    board: Board = ASYMMETRIC,
    noise_px: float = 0.1,
    seed: int = 0,
    only: Sequence[Sequence[int]] | None = None,
    stretch: float = 0.0,
) -> SimulatedRig:
    """A rig that sees a board held at places scattered about `aims` (one a frame), tilted at random.

    Args:
        cameras: the cameras.
        poses: their cam_from_cam0.
        aims: where the board's middle is in each frame, in the first camera's frame, metres.
        board: the board.
        noise_px: standard deviation of a corner's coordinate.
        seed: of tilts, scatter and noise.
        only: the cameras that may see each frame; None: all that can.
        stretch: how much longer the board is along its rows than along its columns.
    """
    rng = np.random.default_rng(seed)
    points = board.points_m()
    centre = points.mean(axis=0)
    points = centre + (points - centre) * [1.0 + 0.5 * stretch, 1.0 - 0.5 * stretch, 1.0]
    boards, found = [], [[] for _ in cameras]
    for f, aim in enumerate(aims):
        axis = rng.normal(size=3) * [1.0, 1.0, 0.4]
        turn = SO3.exp(torch.from_numpy(axis / np.linalg.norm(axis) * math.radians(rng.uniform(10.0, 38.0))))
        middle = np.asarray(aim) + rng.uniform(-0.03, 0.03, 3)
        facing = _facing(middle) @ turn.as_matrix().numpy()
        cam0_from_board = np.eye(4)
        cam0_from_board[:3, :3] = facing
        cam0_from_board[:3, 3] = middle - facing @ centre
        boards.append(cam0_from_board)
        for c, (camera, cam_from_cam0) in enumerate(zip(cameras, poses, strict=True)):
            matrix = cam_from_cam0 @ cam0_from_board
            local = points @ matrix[:3, :3].T + matrix[:3, 3]
            pixels = camera.project(local)
            inside = (pixels > 2.0).all(axis=1) & (pixels < [camera.width - 3.0, camera.height - 3.0]).all(axis=1)
            inside &= camera.lens.valid_points(torch.tensor(camera.params), torch.from_numpy(local)).numpy()
            inside &= local[:, 2] > 0.05
            may = only is None or c in only[f]
            if may and inside.all() and matrix[2, 2] > 0.2:
                noisy = pixels + rng.normal(scale=noise_px, size=pixels.shape)
                found[c].append(Detection(np.arange(len(points)), noisy))
            else:
                found[c].append(Detection.nothing("no board found"))
    return SimulatedRig(board, tuple(cameras), np.stack(poses), np.stack(boards), tuple(tuple(own) for own in found))


def _facing(direction: Floats) -> Floats:
    """A rotation whose z axis looks along `direction`."""
    z = direction / np.linalg.norm(direction)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def spread_aims(count: int, seed: int, x: tuple[float, float] = (-0.12, 0.12), z: float = 0.55) -> list[list[float]]:
    """Places for the board before the first camera."""
    rng = np.random.default_rng(seed)
    return [[rng.uniform(*x), rng.uniform(-0.08, 0.08), z * rng.uniform(0.85, 1.3)] for _ in range(count)]


def pose_z_scores(result: RigCalibration, truth: SimulatedRig) -> list[float]:
    """Mahalanobis distance of every camera's pose from the truth, by the covariance it claims."""
    scores = []
    for c in range(1, len(truth.cameras)):
        difference = truth.cam_from_cam0[c] @ inverse_rigid(result.cameras[c].cam_from_cam0)
        rotation = SO3.from_matrix(torch.from_numpy(difference[:3, :3])).log().numpy()
        # exp(w) R = R*, exp(w) t + d = t*, the perturbation that the covariance is of.
        shift = truth.cam_from_cam0[c][:3, 3] - difference[:3, :3] @ result.cameras[c].cam_from_cam0[:3, 3]
        step = np.concatenate([rotation, shift])
        scores.append(math.sqrt(step @ np.linalg.solve(result.cameras[c].pose_covariance, step)))
    return scores


@pytest.fixture(scope="session")
def stereo_rig() -> SimulatedRig:
    """Two cameras side by side, twelve frames."""
    return simulate([PINHOLE, OTHER], [np.eye(4), pose((1.0, 8.0, 0.5), (0.12, 0.0, 0.01))], spread_aims(12, 1))
