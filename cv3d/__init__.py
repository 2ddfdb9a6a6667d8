"""cv3d: from pictures to geometry, from the shell and from Python.

The public names are loaded when they are first used, so that `import cv3d` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cv3d.batch.running import batch as batch
    from cv3d.calibration import Calibration as Calibration
    from cv3d.calibration import calibrate as calibrate
    from cv3d.calibration.diff import diff as diff
    from cv3d.calibration.rig.api import calibrate_rig as calibrate_rig
    from cv3d.calibration.rig.result import RigCalibration as RigCalibration
    from cv3d.calibration.sheets.sheet import board as board
    from cv3d.depth.api import depth as depth
    from cv3d.depth.options import DepthOptions as DepthOptions
    from cv3d.depth.result import DepthResult as DepthResult
    from cv3d.evaluation.surface import evaluate_surface as evaluate_surface
    from cv3d.evaluation.trajectory.evaluating import evaluate_trajectory as evaluate_trajectory
    from cv3d.features.matching import MatchOptions as MatchOptions
    from cv3d.features.matching import PairMatch as PairMatch
    from cv3d.features.matching import SetMatch as SetMatch
    from cv3d.features.matching import extract as extract
    from cv3d.features.matching import match as match
    from cv3d.features.matching import match_set as match_set
    from cv3d.features.tracks import TrackResult as TrackResult
    from cv3d.features.tracks import track as track
    from cv3d.formats.converting import convert as convert
    from cv3d.formats.meshes import read_mesh as read_mesh
    from cv3d.formats.meshes import write_mesh as write_mesh
    from cv3d.formats.reading import read_camera as read_camera
    from cv3d.formats.reading import read_cameras as read_cameras
    from cv3d.formats.trajectories import read_trajectory as read_trajectory
    from cv3d.formats.trajectories import write_trajectory as write_trajectory
    from cv3d.fusion import VoxelGrid as VoxelGrid
    from cv3d.fusion.fusing import fuse as fuse
    from cv3d.geometry.cameras.camera import Camera as Camera
    from cv3d.geometry.cameras.rig import Rig as Rig
    from cv3d.geometry.mesh import Mesh as Mesh
    from cv3d.geometry.trajectory import Trajectory as Trajectory
    from cv3d.mapping.options import MapOptions as MapOptions
    from cv3d.mapping.scene import Scene as Scene
    from cv3d.media.key_choice import frames as frames
    from cv3d.media.undistorting import rectify_pair as rectify_pair
    from cv3d.media.undistorting import undistort as undistort
    from cv3d.odometry.estimator import Odometry as Odometry
    from cv3d.odometry.results import OdometryResult as OdometryResult
    from cv3d.odometry.running import odometry as odometry
    from cv3d.reconstruction import ReconstructOptions as ReconstructOptions
    from cv3d.reconstruction import reconstruct as reconstruct

__version__ = "0.1.0"

_PUBLIC = {
    "Calibration": "cv3d.calibration",
    "Camera": "cv3d.geometry.cameras.camera",
    "DepthOptions": "cv3d.depth.options",
    "DepthResult": "cv3d.depth.result",
    "MapOptions": "cv3d.mapping.options",
    "MatchOptions": "cv3d.features.matching",
    "Mesh": "cv3d.geometry.mesh",
    "Odometry": "cv3d.odometry.estimator",
    "OdometryResult": "cv3d.odometry.results",
    "PairMatch": "cv3d.features.matching",
    "ReconstructOptions": "cv3d.reconstruction",
    "Rig": "cv3d.geometry.cameras.rig",
    "RigCalibration": "cv3d.calibration.rig.result",
    "Scene": "cv3d.mapping.scene",
    "SetMatch": "cv3d.features.matching",
    "TrackResult": "cv3d.features.tracks",
    "Trajectory": "cv3d.geometry.trajectory",
    "VoxelGrid": "cv3d.fusion",
    "board": "cv3d.calibration.sheets.sheet",
    "calibrate": "cv3d.calibration",
    "calibrate_rig": "cv3d.calibration.rig.api",
    "convert": "cv3d.formats.converting",
    "diff": "cv3d.calibration.diff",
    "evaluate_surface": "cv3d.evaluation.surface",
    "evaluate_trajectory": "cv3d.evaluation.trajectory.evaluating",
    "extract": "cv3d.features.matching",
    "frames": "cv3d.media.key_choice",
    "fuse": "cv3d.fusion.fusing",
    "match": "cv3d.features.matching",
    "match_set": "cv3d.features.matching",
    "read_camera": "cv3d.formats.reading",
    "read_cameras": "cv3d.formats.reading",
    "read_mesh": "cv3d.formats.meshes",
    "read_trajectory": "cv3d.formats.trajectories",
    "reconstruct": "cv3d.reconstruction",
    "rectify_pair": "cv3d.media.undistorting",
    "track": "cv3d.features.tracks",
    "undistort": "cv3d.media.undistorting",
    "write_mesh": "cv3d.formats.meshes",
    "write_trajectory": "cv3d.formats.trajectories",
}

__all__ = [
    "Calibration",
    "Camera",
    "DepthOptions",
    "DepthResult",
    "MapOptions",
    "MatchOptions",
    "Mesh",
    "Odometry",
    "OdometryResult",
    "PairMatch",
    "ReconstructOptions",
    "Rig",
    "RigCalibration",
    "Scene",
    "SetMatch",
    "TrackResult",
    "Trajectory",
    "VoxelGrid",
    "__version__",
    "batch",
    "board",
    "calibrate",
    "calibrate_rig",
    "convert",
    "depth",
    "diff",
    "evaluate_surface",
    "evaluate_trajectory",
    "extract",
    "frames",
    "fuse",
    "match",
    "match_set",
    "odometry",
    "read_camera",
    "read_cameras",
    "read_mesh",
    "read_trajectory",
    "reconstruct",
    "rectify_pair",
    "track",
    "undistort",
    "write_mesh",
    "write_trajectory",
]


def __getattr__(name: str) -> object:
    if name in ("batch", "depth", "odometry"):
        # Packages that are the function of the same name, too.
        return import_module(f"cv3d.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cv3d' has no attribute '{name}'")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
