"""How the board turned before one camera, as a function of that camera's clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cv3d.calibration.rig.stamps import median_period

_LONGEST_GAP = 2.6
"""Frames apart, between which the board's attitude is interpolated."""
_LONGEST_TURN = np.radians(25.0)
"""Turn from one sight to the next, between which the attitude is interpolated."""
_SAME_STAMP = 1e-3
"""Share of the period within which a stamp is met."""


@dataclass(frozen=True)
class CameraMotion:
    """The board's poses before one camera."""

    name: str
    """How messages call the camera."""
    times: NDArray[np.float64]
    """Stamps of the pictures on this camera's clock, (n,), seconds."""
    cam_from_board_rotation: NDArray[np.float64]
    """(n, 3, 3); NaN where the board was not seen."""
    cam_from_board_translation: NDArray[np.float64] | None = None
    """(n, 3), in any unit; only to tell what a difference in time means in pixels."""
    focal_px: float | None = None
    """Focal length, pixels, for the same purpose."""

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(n,), whether the board was seen."""
        return np.asarray(np.isfinite(self.cam_from_board_rotation).all(axis=(1, 2)), np.bool_)

    def image_speed(self) -> NDArray[np.float64] | None:
        """How fast the board's origin moved in the image at each picture, (n,), pixels per second.

        NaN where it was not seen then and next to then; None where translations or the focal length are not known.
        """
        if self.cam_from_board_translation is None or self.focal_px is None:
            return None
        order = np.argsort(self.times, kind="stable")
        with np.errstate(invalid="ignore", divide="ignore"):
            image = self.focal_px * self.cam_from_board_translation[:, :2] / self.cam_from_board_translation[:, 2:]
            image[~self.seen] = np.nan
            steps = np.diff(image[order], axis=0) / np.diff(self.times[order])[:, None]
        return _beside(np.linalg.norm(steps, axis=1), order)

    def turning_speed(self) -> NDArray[np.float64]:
        """How fast the board turned at each picture, (n,), radians per second; NaN as for :meth:`image_speed`."""
        order = np.argsort(self.times, kind="stable")
        quaternions = _quaternions(self.cam_from_board_rotation[order])
        with np.errstate(invalid="ignore", divide="ignore"):
            angles = 2.0 * np.arccos(np.abs((quaternions[1:] * quaternions[:-1]).sum(axis=1)).clip(max=1.0))
            speeds = angles / np.diff(self.times[order])
        return _beside(speeds, order)


def _beside(steps: NDArray[np.float64], order: NDArray[np.int64]) -> NDArray[np.float64]:
    """The slower of the steps before and after each picture: a step over a flip of the board is not believed."""
    before, after = np.concatenate([[np.nan], steps]), np.concatenate([steps, [np.nan]])
    result = np.empty(len(order))
    result[order] = np.fmin(before, after)
    return result


@dataclass(frozen=True)
class AttitudeTrack:
    """The board's attitude over time, flips between neighbouring sights taken out."""

    times: NDArray[np.float64]
    """Stamps of the sights, (m,), increasing, seconds."""
    quaternions: NDArray[np.float64]
    """cam_from_board, (m, 4), w x y z."""
    period: float
    """Median time from one picture to the next, seen or not, seconds."""
    _joined: NDArray[np.bool_] = field(repr=False)
    """Whether the attitude can be interpolated between neighbouring sights, (m - 1,)."""
    _velocity: NDArray[np.float64] = field(repr=False)
    """Angular velocity between neighbouring sights in the camera's frame, (m - 1, 3), radians per second."""

    @classmethod
    def of(cls, motion: CameraMotion, turns: NDArray[np.float64]) -> AttitudeTrack:
        """The track of a camera.

        Args:
            motion: what it saw.
            turns: quaternions of the board's turns onto itself, (S, 4).
        """
        order = np.argsort(motion.times, kind="stable")
        order = order[motion.seen[order]]
        times = motion.times[order]
        fresh = np.concatenate([np.ones(min(1, len(times)), np.bool_), np.diff(times) > 0.0])
        times = times[fresh]
        quaternions = _quaternions(motion.cam_from_board_rotation[order[fresh]])
        for index in range(1, len(quaternions)):
            options = multiply(quaternions[index], turns)
            likeness = options @ quaternions[index - 1]
            best = int(np.abs(likeness).argmax())
            quaternions[index] = options[best] * (1.0 if likeness[best] >= 0.0 else -1.0)
        period = median_period(motion.times)
        steps = rotation_vectors(multiply(quaternions[1:], conjugate(quaternions[:-1])))
        lapse = np.diff(times)
        joined = (lapse <= _LONGEST_GAP * period) & (np.linalg.norm(steps, axis=1) <= _LONGEST_TURN)
        return cls(times, quaternions, period, joined, steps / lapse[:, None])

    def velocity_about(self) -> NDArray[np.float64]:
        """Angular velocity at each sight from the two sights about it but not from itself, (m, 3), radians per second.

        In the camera's frame; NaN where one of them is missing. Its error is independent of that of the sight itself.
        """
        result = np.full((len(self.times), 3), np.nan)
        inner = np.flatnonzero(self._joined[1:] & self._joined[:-1]) + 1
        turned = multiply(self.quaternions[inner + 1], conjugate(self.quaternions[inner - 1]))
        result[inner] = rotation_vectors(turned) / (self.times[inner + 1] - self.times[inner - 1])[:, None]
        return result

    def at(self, times: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
        """The attitude at any times.

        Args:
            times: (k,), seconds.

        Returns:
            Whether it is known, (k,); and where it is, the quaternions (l, 4) and the angular velocities (l, 3).
        """
        if len(self.times) < 2:
            return np.zeros(len(times), np.bool_), np.zeros((0, 4)), np.zeros((0, 3))
        left = (np.searchsorted(self.times, times, side="right") - 1).clip(0, len(self.times) - 2)
        lapse = times - self.times[left]
        step = self.times[left + 1] - self.times[left]
        slack = _SAME_STAMP * self.period
        is_between = self._joined[left] & (lapse >= -slack) & (lapse <= step + slack)
        is_met = (np.abs(lapse) <= slack) | (np.abs(lapse - step) <= slack)
        known = is_between | is_met
        left, lapse, step = left[known], lapse[known], step[known]
        turned = multiply(quaternions_of(self._velocity[left] * lapse[:, None]), self.quaternions[left])
        is_right = ~self._joined[left] & (np.abs(lapse - step) <= slack)
        turned[is_right] = self.quaternions[left[is_right] + 1]
        is_left = ~self._joined[left] & (np.abs(lapse) <= slack)
        turned[is_left] = self.quaternions[left[is_left]]
        return known, turned, self._velocity[left]


def multiply(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Products of quaternions, (..., 4)."""
    w1, x1, y1, z1 = np.moveaxis(first, -1, 0)
    w2, x2, y2, z2 = np.moveaxis(second, -1, 0)
    return np.stack(
        [
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ],
        axis=-1,
    )


def conjugate(quaternions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverses of unit quaternions, (..., 4)."""
    return np.asarray(quaternions * np.array([1.0, -1.0, -1.0, -1.0]), np.float64)


def rotation_vectors(quaternions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of unit quaternions, (..., 3), of angle at most pi."""
    upright = np.where(quaternions[..., :1] < 0.0, -quaternions, quaternions)
    norm = np.linalg.norm(upright[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(norm, upright[..., :1])
    return np.asarray(upright[..., 1:] * np.where(norm > 1e-12, angle / np.maximum(norm, 1e-12), 2.0), np.float64)


def quaternions_of(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternions of rotation vectors, (..., 3)."""
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.concatenate([np.cos(0.5 * angle), 0.5 * np.sinc(0.5 * angle / np.pi) * vectors], axis=-1)


def _quaternions(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 4), w x y z, of matrices (n, 3, 3); NaN for NaN."""
    result = np.full((len(rotations), 4), np.nan)
    known = np.isfinite(rotations).all(axis=(1, 2))
    if known.any():
        result[known] = Rotation.from_matrix(rotations[known]).as_quat()[:, [3, 0, 1, 2]]
    return result


def turn_quaternions(turns: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """The board's turns onto itself as quaternions, (S, 4); by default none and half a turn about its normal."""
    if turns is None:
        return np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    return _quaternions(np.asarray(turns, np.float64).reshape(-1, 3, 3))
