"""cv3d: from pictures to geometry, from the shell and from Python.

The public names are loaded when they are first used, so that `import cv3d` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cv3d.calibration import Calibration as Calibration
    from cv3d.calibration import calibrate as calibrate
    from cv3d.calibration.diff import diff as diff
    from cv3d.calibration.rig.api import calibrate_rig as calibrate_rig
    from cv3d.calibration.rig.result import RigCalibration as RigCalibration
    from cv3d.calibration.sheets.sheet import board as board
    from cv3d.formats.converting import convert as convert
    from cv3d.formats.reading import read_camera as read_camera
    from cv3d.formats.reading import read_cameras as read_cameras
    from cv3d.geometry.cameras.camera import Camera as Camera
    from cv3d.geometry.cameras.rig import Rig as Rig
    from cv3d.media.undistorting import rectify_pair as rectify_pair
    from cv3d.media.undistorting import undistort as undistort

__version__ = "0.1.0"

_PUBLIC = {
    "Calibration": "cv3d.calibration",
    "Camera": "cv3d.geometry.cameras.camera",
    "Rig": "cv3d.geometry.cameras.rig",
    "RigCalibration": "cv3d.calibration.rig.result",
    "board": "cv3d.calibration.sheets.sheet",
    "calibrate": "cv3d.calibration",
    "calibrate_rig": "cv3d.calibration.rig.api",
    "convert": "cv3d.formats.converting",
    "diff": "cv3d.calibration.diff",
    "read_camera": "cv3d.formats.reading",
    "read_cameras": "cv3d.formats.reading",
    "rectify_pair": "cv3d.media.undistorting",
    "undistort": "cv3d.media.undistorting",
}

__all__ = [
    "Calibration",
    "Camera",
    "Rig",
    "RigCalibration",
    "__version__",
    "board",
    "calibrate",
    "calibrate_rig",
    "convert",
    "diff",
    "read_camera",
    "read_cameras",
    "rectify_pair",
    "undistort",
]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cv3d' has no attribute '{name}'")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
