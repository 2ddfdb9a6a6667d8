"""What a rig calibration is: every camera, where it sits, how sure that is, and what was used to find out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board
from cv3d.calibration.quality import Verdict
from cv3d.calibration.result import BoardView, Calibration, Seconds, Warp, board_dict
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

RIG_SCHEMA = "cv3d.rig_calibration/1"


class SyncMethod(StrEnum):
    """How pictures of different cameras were told to be of one moment."""

    NAME = "name"
    """By the file names, e.g. left07.jpg and right07.jpg."""
    STAMP = "stamp"
    """By time stamps: of the files' names, or of the videos' own clock."""
    TABLE = "table"
    """By a table of stamps beside the inputs."""
    OFFSET = "offset"
    """By a constant difference of the clocks that the board's motion gave away."""
    ORDER = "order"
    """By position: the n-th picture of each camera."""


@dataclass(frozen=True)
class Synchronisation:
    """How the frames were put together."""

    method: SyncMethod
    sentence: str
    """The same for a person, figures included."""
    offsets_s: tuple[float, ...]
    """What is added to each camera's stamps to get the first camera's clock, (C,), seconds; zeros where the board's
    motion was not asked."""
    offsets_std_s: tuple[float, ...]
    """Their standard deviations, (C,), seconds; zeros where nothing was estimated."""
    spread_s: float
    """Largest difference of stamps within one frame, seconds, offsets applied; NaN where there are no stamps."""


@dataclass(frozen=True)
class RigView(BoardView):
    """One camera's picture in one frame; symmetric boards are turned so that all cameras agree on `point_ids`."""

    camera: int
    """Which camera took it, an index."""
    frame: int | None
    """Which frame it belongs to, an index; None where no other camera has a picture of that moment."""


@dataclass(frozen=True)
class RigFrame:
    """One moment."""

    name: str
    """What the pictures of this moment have in common, e.g. "07" or "12.345 s"."""
    time: float | None
    """Stamp on the first camera's clock, seconds; None where there are no stamps."""
    views: tuple[int, ...]
    """Its views, indices into :attr:`RigCalibration.views`."""
    cam0_from_board: NDArray[np.float64] | None
    """Pose of the board, (4, 4), in metres (squares where the board's size is unknown); None where it was not used."""


@dataclass(frozen=True)
class CameraInRig:
    """One camera of the rig."""

    name: str
    """After its input, e.g. "left"."""
    camera: Camera
    """As solved together with the others."""
    covariance: NDArray[np.float64]
    """Covariance of the camera's parameters, (P, P); zeros where they were given and held."""
    cam_from_cam0: NDArray[np.float64]
    """Pose relative to the first camera, (4, 4), in metres (squares where the board's size is unknown)."""
    pose_covariance: NDArray[np.float64]
    """Covariance of the pose, (6, 6), of the perturbation `exp(rotation) cam_from_cam0 + translation` (rotation first,
    radians, then translation); zeros for the first camera."""
    rms_px: float
    """RMS in the joint solution, pixels."""
    alone: Calibration | None
    """The camera calibrated by itself, from which the joint solution started; None where the intrinsics were given."""
    held: bool
    """Whether the intrinsics were given and held."""
    linked_through: tuple[str, ...]
    """Names of the cameras through which its pose is tied to the first camera's, strongest chain; empty where they
    see the board together."""

    @property
    def params_std(self) -> dict[str, float]:
        """Standard deviation of every camera parameter."""
        deviations = np.sqrt(np.maximum(np.diag(self.covariance), 0.0))
        return dict(zip(self.camera.lens.param_names, (float(d) for d in deviations), strict=True))


@dataclass(frozen=True)
class CameraPair:
    """Two cameras that saw the board together."""

    first: int
    second: int
    frames: int
    """Frames in which both saw it and were used."""
    corners: int
    """Corners seen by both, over all frames."""
    epipolar_px: float
    """Mean distance of a corner to the epipolar line of its counterpart, over both cameras, distortion removed, pixels
    of the undistorted pictures at the cameras' own focal length (OpenCV's stereo_calib measure)."""
    epipolar_rms_px: float
    """Root mean square of the same."""
    baseline: float
    """Distance of the centres, metres (squares)."""
    baseline_std: float
    """Its standard deviation."""
    angle_deg: float
    """Angle between the optical axes, degrees."""
    second_from_first: NDArray[np.float64]
    """Relative pose, (4, 4)."""


@dataclass(frozen=True)
class RigCalibration:
    """The result of :func:`cv3d.calibrate_rig`."""

    board: Board
    cameras: tuple[CameraInRig, ...]
    """In the order of the inputs; the first is the rig's frame."""
    frames: tuple[RigFrame, ...]
    views: tuple[RigView, ...]
    """Every picture of every camera."""
    pairs: tuple[CameraPair, ...]
    """Every pair that saw the board together."""
    synchronisation: Synchronisation
    rms_px: float
    """RMS over all cameras, pixels."""
    noise_px: float
    """Estimated standard deviation of one corner coordinate, pixels."""
    warp: Warp | None
    """The board's bending and stretch, where either was estimated."""
    verdict: Verdict
    seconds: Seconds
    seed: int
    warnings: tuple[str, ...] = ()
    """What the user should know although the calibration is done."""

    @property
    def rig(self) -> Rig:
        """The cameras and their poses, as files keep them."""
        cameras = tuple(RigCamera(item.name, item.camera, item.cam_from_cam0) for item in self.cameras)
        return Rig(cameras, is_metric=self.board.square_m is not None)

    def used_views(self, camera: int) -> tuple[RigView, ...]:
        """The views of one camera that took part in the fit."""
        return tuple(view for view in self.views if view.camera == camera and view.used)

    def as_dict(self) -> dict[str, object]:
        """The result as plain data, as `--json` prints it."""
        return {
            "schema": RIG_SCHEMA,
            "board": board_dict(self.board, self.warp),
            "unit": "m" if self.board.square_m is not None else "squares",
            "cameras": [self._camera_dict(index) for index in range(len(self.cameras))],
            "pairs": [
                {
                    "first": self.cameras[pair.first].name,
                    "second": self.cameras[pair.second].name,
                    "frames": pair.frames,
                    "corners": pair.corners,
                    "epipolar_px": pair.epipolar_px,
                    "epipolar_rms_px": pair.epipolar_rms_px,
                    "baseline": pair.baseline,
                    "baseline_std": pair.baseline_std,
                    "angle_deg": pair.angle_deg,
                    "second_from_first": pair.second_from_first.tolist(),
                }
                for pair in self.pairs
            ],
            "frames": {
                "total": len(self.frames),
                "used": sum(frame.cam0_from_board is not None for frame in self.frames),
                "synchronisation": {
                    "method": self.synchronisation.method.value,
                    "sentence": self.synchronisation.sentence,
                    "offsets_s": list(self.synchronisation.offsets_s),
                    "offsets_std_s": list(self.synchronisation.offsets_std_s),
                    "spread_s": self.synchronisation.spread_s,
                },
            },
            "rms_px": self.rms_px,
            "noise_px": self.noise_px,
            "verdict": self.verdict.level.value,
            "sentence": self.verdict.sentence,
            "advice": list(self.verdict.advice),
            "warnings": list(self.warnings),
            "seed": self.seed,
            "seconds": {"detect": self.seconds.detect, "solve": self.seconds.solve, "total": self.seconds.total},
        }

    def __repr__(self) -> str:
        used = sum(frame.cam0_from_board is not None for frame in self.frames)
        cameras = ", ".join(f"{item.name} {item.camera.model} RMS {item.rms_px:.4f} px" for item in self.cameras)
        worst = max((pair.epipolar_px for pair in self.pairs), default=math.nan)
        return (
            f"RigCalibration({cameras}; {self.board}; {used} of {len(self.frames)} frames; RMS {self.rms_px:.4f} px, "
            f"epipolar {worst:.4f} px at most; {self.verdict.sentence})"
        )

    def _camera_dict(self, index: int) -> dict[str, object]:
        item = self.cameras[index]
        views = [view for view in self.views if view.camera == index]
        rotation = np.sqrt(np.maximum(np.diag(item.pose_covariance), 0.0))
        return {
            "name": item.name,
            "model": item.camera.model,
            "width": item.camera.width,
            "height": item.camera.height,
            "params": dict(zip(item.camera.lens.param_names, item.camera.params, strict=True)),
            "std": item.params_std,
            "held": item.held,
            "cam_from_cam0": item.cam_from_cam0.tolist(),
            "rotation_std_deg": [math.degrees(value) for value in rotation[:3]],
            "translation_std": [float(value) for value in rotation[3:]],
            "linked_through": list(item.linked_through),
            "rms_px": item.rms_px,
            "rms_alone_px": None if item.alone is None else item.alone.rms_px,
            "holdout_rms_px": None if item.alone is None else item.alone.holdout_rms_px,
            "views": {
                "total": len(views),
                "used": sum(view.used for view in views),
                "rejected": [{"file": view.name, "reason": view.reason} for view in views if not view.used],
                "per_view": [
                    {
                        "file": view.name,
                        "frame": None if view.frame is None else self.frames[view.frame].name,
                        "corners": len(view.pixels),
                        "outliers": int(view.outliers.sum()),
                        "rms_px": view.rms_px,
                    }
                    for view in views
                    if view.used
                ],
            },
        }
