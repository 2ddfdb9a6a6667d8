"""cv3d: from pictures to geometry, from the shell and from Python.

The public names are loaded when they are first used, so that `import cv3d` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cv3d.calibration import Calibration as Calibration
    from cv3d.calibration import calibrate as calibrate
    from cv3d.geometry.cameras.camera import Camera as Camera

__version__ = "0.1.0"

_PUBLIC = {
    "Calibration": "cv3d.calibration",
    "Camera": "cv3d.geometry.cameras.camera",
    "calibrate": "cv3d.calibration",
}

__all__ = ["Calibration", "Camera", "__version__", "calibrate"]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cv3d' has no attribute '{name}'")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
