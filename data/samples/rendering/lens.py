"""Lens models of the rendered cameras: projection in closed form, back-projection by Newton's method.

Pixel origin (0, 0) is the centre of the top-left pixel; camera axes are x right, y down, z forward.
Vectors are stored as component rows, (2, n) and (3, n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MAX_NEWTON_STEPS = 40
_NEWTON_TOLERANCE = 1e-13


class Lens(Protocol):
    """A camera without its pose."""

    @property
    def width(self) -> int:
        """Picture width in pixels."""

    @property
    def height(self) -> int:
        """Picture height in pixels."""

    def project(self, points: Floats) -> Floats:
        """Pixels (2, n) of camera-frame points (3, n)."""

    def rays(self, pixels: Floats) -> Floats:
        """Directions (3, n), unit length, of pixels (2, n)."""

    def describe(self) -> dict[str, Any]:
        """The ground-truth entry: model, width, height, params."""


@dataclass(frozen=True)
class Brown:
    """Brown-Conrady distortion with three radial and two tangential terms, in OpenCV's order and signs."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0

    def project(self, points: Floats) -> Floats:
        """Pixels (2, n) of camera-frame points (3, n)."""
        x, y = self._distort(points[0] / points[2], points[1] / points[2])
        return np.stack([self.fx * x + self.cx, self.fy * y + self.cy])

    def rays(self, pixels: Floats) -> Floats:
        """Directions (3, n), unit length, of pixels (2, n)."""
        xd, yd = (pixels[0] - self.cx) / self.fx, (pixels[1] - self.cy) / self.fy
        x, y = xd.copy(), yd.copy()
        for _ in range(_MAX_NEWTON_STEPS):
            fx, fy = self._distort(x, y)
            fx -= xd
            fy -= yd
            a, b, c, d = self._jacobian(x, y)
            inverse_det = 1.0 / (a * d - b * c)
            dx, dy = (d * fx - b * fy) * inverse_det, (a * fy - c * fx) * inverse_det
            x -= dx
            y -= dy
            if max(float(np.abs(dx).max()), float(np.abs(dy).max())) < _NEWTON_TOLERANCE:
                scale = 1.0 / np.sqrt(x * x + y * y + 1.0)
                return np.stack([x * scale, y * scale, scale])
        raise ArithmeticError("back-projection did not converge: the distortion is not invertible over the picture")

    def describe(self) -> dict[str, Any]:
        """The ground-truth entry; a lens without distortion is called pinhole."""
        names = ["fx", "fy", "cx", "cy"]
        distortion = ["k1", "k2", "p1", "p2", "k3"]
        bent = any(getattr(self, name) != 0.0 for name in distortion)
        return {
            "model": "brown5" if bent else "pinhole",
            "width": self.width,
            "height": self.height,
            "params": {name: getattr(self, name) for name in names + (distortion if bent else [])},
        }

    def _distort(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        r2 = x * x + y * y
        radial = 1.0 + r2 * (self.k1 + r2 * (self.k2 + r2 * self.k3))
        xy2 = 2.0 * x * y
        return (
            x * radial + self.p1 * xy2 + self.p2 * (r2 + 2.0 * x * x),
            y * radial + self.p1 * (r2 + 2.0 * y * y) + self.p2 * xy2,
        )

    def _jacobian(self, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """d(xd, yd)/d(x, y), row by row."""
        r2 = x * x + y * y
        radial = 1.0 + r2 * (self.k1 + r2 * (self.k2 + r2 * self.k3))
        slope = 2.0 * (self.k1 + r2 * (2.0 * self.k2 + r2 * 3.0 * self.k3))
        cross = x * y * slope + 2.0 * (self.p1 * x + self.p2 * y)
        return (
            radial + x * x * slope + 2.0 * self.p1 * y + 6.0 * self.p2 * x,
            cross,
            cross,
            radial + y * y * slope + 6.0 * self.p1 * y + 2.0 * self.p2 * x,
        )


@dataclass(frozen=True)
class KannalaBrandt:
    """Equidistant fisheye with an odd polynomial of the angle (Kannala and Brandt, 2006), four terms."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    k1: float
    k2: float
    k3: float
    k4: float

    def project(self, points: Floats) -> Floats:
        """Pixels (2, n) of camera-frame points (3, n); points behind the camera's plane are fine."""
        radius = np.hypot(points[0], points[1])
        bent = self._bend(np.arctan2(radius, points[2]))
        scale = np.divide(bent, radius, out=np.zeros_like(bent), where=radius > 0.0)
        return np.stack([self.fx * points[0] * scale + self.cx, self.fy * points[1] * scale + self.cy])

    def rays(self, pixels: Floats) -> Floats:
        """Directions (3, n), unit length, of pixels (2, n)."""
        xd, yd = (pixels[0] - self.cx) / self.fx, (pixels[1] - self.cy) / self.fy
        bent = np.hypot(xd, yd)
        theta = bent.copy()
        for _ in range(_MAX_NEWTON_STEPS):
            step = (self._bend(theta) - bent) / self._slope(theta)
            theta -= step
            if float(np.abs(step).max()) < _NEWTON_TOLERANCE:
                scale = np.divide(np.sin(theta), bent, out=np.ones_like(bent), where=bent > 0.0)
                return np.stack([xd * scale, yd * scale, np.cos(theta)])
        raise ArithmeticError("back-projection did not converge: the distortion is not invertible over the picture")

    def horizontal_fov_deg(self) -> float:
        """Angle between the rays of the outermost pixel borders of the principal point's row."""
        edges = np.array([[-0.5, self.width - 0.5], [self.cy, self.cy]])
        left, right = self.rays(edges).T
        return math.degrees(math.atan2(-left[0], left[2]) + math.atan2(right[0], right[2]))

    def describe(self) -> dict[str, Any]:
        """The ground-truth entry: model, width, height, params."""
        names = ["fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4"]
        return {
            "model": "kannala_brandt4",
            "width": self.width,
            "height": self.height,
            "params": {name: getattr(self, name) for name in names},
        }

    def _bend(self, theta: Floats) -> Floats:
        t2 = theta * theta
        return theta * (1.0 + t2 * (self.k1 + t2 * (self.k2 + t2 * (self.k3 + t2 * self.k4))))

    def _slope(self, theta: Floats) -> Floats:
        t2 = theta * theta
        return 1.0 + t2 * (3.0 * self.k1 + t2 * (5.0 * self.k2 + t2 * (7.0 * self.k3 + t2 * 9.0 * self.k4)))
