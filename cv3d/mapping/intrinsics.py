"""What is known of the cameras before anything is placed, and which of their parameters are set free when."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.bundle import FreeIntrinsics, GaussianPrior
from cv3d.geometry.cameras.camera import Camera
from cv3d.mapping.scene import IntrinsicsSource

Floats = NDArray[np.float64]

MODEL = "brown4"
"""Model of cameras that are estimated."""
_GUESS = 1.2
"""Focal length of a camera of which nothing is known, over its picture's longer side."""
_VAGUE = 1.0
"""Relative deviation of that guess."""
_CENTRE = 0.02
"""How far principal points lie from the middle, over the picture's longer side."""
_SPREADS = {"k1": 0.2, "k2": 0.2, "p1": 0.005, "p2": 0.005}
"""Deviations of the terms of ordinary lenses."""
STAGES: tuple[tuple[str, ...], ...] = (
    (),
    ("fx",),
    ("fx", "k1"),
    ("fx", "k1", "k2"),
    ("fx", "cx", "cy", "k1", "k2"),
)
"""Free parameters, from none to as many as a scene determines; fx stands for both focal lengths, in
proportion."""
HELD, FOCAL, RADIAL, BENT, CENTRED = range(5)


@dataclass(frozen=True)
class KnownCamera:
    """A camera as it is known before the pictures are used."""

    camera: Camera
    source: IntrinsicsSource
    focal_deviation: float
    """Relative standard deviation of the focal length; infinite where it is a guess."""

    @property
    def is_held(self) -> bool:
        """Whether nothing of it is to be estimated."""
        return self.source is IntrinsicsSource.GIVEN

    def free(self, stage: int) -> FreeIntrinsics:
        """What is free at a stage of :data:`STAGES`."""
        return FreeIntrinsics(() if self.is_held else STAGES[stage], one_focal=True)

    def prior(self, index: int, stage: int) -> GaussianPrior | None:
        """What is known of the free parameters beforehand.

        Args:
            index: of the camera in the problem.
            stage: of :data:`STAGES`.
        """
        names = () if self.is_held else STAGES[stage]
        if not names:
            return None
        side = max(self.camera.width, self.camera.height)
        deviation = min(self.focal_deviation, _VAGUE)
        spreads = {"fx": deviation * self.camera.params[0], "cx": _CENTRE * side, "cy": _CENTRE * side, **_SPREADS}
        return GaussianPrior.on_camera(
            index, self.camera.params, np.diag(np.array([spreads[name] for name in names]) ** 2)
        )


def guessed(size: tuple[int, int]) -> KnownCamera:
    """A camera of which nothing but the size of its pictures is known."""
    return with_focal(size, _GUESS * max(size), float("inf"), IntrinsicsSource.ESTIMATED)


def with_focal(size: tuple[int, int], focal_px: float, deviation: float, source: IntrinsicsSource) -> KnownCamera:
    """A camera of which the focal length is known more or less.

    Args:
        size: width and height, pixels.
        focal_px: focal length, pixels.
        deviation: its relative standard deviation.
        source: where it is from.
    """
    width, height = size
    params = (focal_px, focal_px, (width - 1) / 2.0, (height - 1) / 2.0, 0.0, 0.0, 0.0, 0.0)
    return KnownCamera(Camera(MODEL, width, height, params), source, deviation)


def given(camera: Camera) -> KnownCamera:
    """A calibrated camera."""
    return KnownCamera(camera, IntrinsicsSource.GIVEN, 0.0)


def refocused(known: KnownCamera, focal_px: float, deviation: float) -> KnownCamera:
    """The same camera with a better start for its focal length."""
    fx, fy, *rest = known.camera.params
    params = (focal_px, focal_px * fy / fx, *rest)
    return replace(known, camera=known.camera.with_params(params), focal_deviation=deviation)
