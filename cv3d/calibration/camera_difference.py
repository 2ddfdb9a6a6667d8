"""The difference of two cameras over the image, and what it means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.transforms import SO3

DIFF_SCHEMA = "cv3d.diff/1"
SAME_PX = 1e-9
"""A difference that is rounding."""
_MANY_SIGMA = 3.0
_FEW = 0.02
"""Share of the image that may lie beyond three sigma where cameras are said to agree."""


class Agreement(StrEnum):
    """What a difference means."""

    WITHIN = "within"
    """The cameras agree within the uncertainty that they state."""
    BEYOND = "beyond"
    """They do not."""
    UNSTATED = "unstated"
    """At least one of them does not state its uncertainty."""


@dataclass(frozen=True)
class Focus:
    """The part of the image over which the rotation is fitted."""

    x: float
    """Of its centre, pixels of camera A."""
    y: float
    """Likewise."""
    radius_px: float


@dataclass(frozen=True)
class Expected:
    """The difference that the stated uncertainties lead to expect."""

    sigma: NDArray[np.float64]
    """Standard deviation in the worst direction, (R, C), pixels; NaN outside of a lens model's domain."""
    rms_px: float
    """Of the expected difference over the image."""


@dataclass(frozen=True)
class CameraDifference:
    """The difference of two cameras; all pixels are A's."""

    a: Camera
    b: Camera
    """Scaled to A's size where it was of another."""
    x: NDArray[np.float64]
    """Columns of the map, (C,), pixels."""
    y: NDArray[np.float64]
    """Rows of the map, (R,), pixels."""
    vectors: NDArray[np.float64]
    """Where B projects what A sees at a pixel, minus that pixel, (R, C, 2); NaN outside of a model's domain."""
    b_from_a: NDArray[np.float64]
    """The implied rotation, (3, 3)."""
    translation_m: NDArray[np.float64] | None
    """The implied translation of `b_from_a`, (3,), in the unit of `distance_m`; None at infinity."""
    distance_m: float
    """Distance of the points compared."""
    focus: Focus | None
    """Where the rotation was fitted; None: over the whole image."""
    expected: Expected | None
    """None unless both cameras state their covariance."""
    center_px: float
    """Difference at the image's centre."""
    edge_px: float
    """The worst of the four edges' midpoints."""
    corner_px: float
    """The worst of the four corners; where a lens model does not reach there, as far out as it does."""
    warnings: tuple[str, ...] = ()

    @property
    def lengths(self) -> NDArray[np.float64]:
        """How far the cameras differ, (R, C), pixels; NaN outside of a model's domain."""
        return np.hypot(self.vectors[..., 0], self.vectors[..., 1])

    @property
    def _known(self) -> NDArray[np.float64]:
        lengths = self.lengths
        return lengths[np.isfinite(lengths)]

    @property
    def max_px(self) -> float:
        """Largest difference."""
        return float(self._known.max())

    @property
    def mean_px(self) -> float:
        """Mean difference."""
        return float(self._known.mean())

    @property
    def rms_px(self) -> float:
        """Root mean square difference."""
        return math.sqrt(float((self._known**2).mean()))

    def percentile_px(self, percent: float) -> float:
        """The difference that `percent` of the image does not exceed."""
        return float(np.percentile(self._known, percent))

    @property
    def rotation_deg(self) -> float:
        """Angle of the implied rotation, degrees."""
        return float(np.linalg.norm(self.rotation_vector_deg))

    @property
    def rotation_vector_deg(self) -> NDArray[np.float64]:
        """The implied rotation about A's x, y and z axes as a rotation vector, (3,), degrees."""
        return np.asarray(np.degrees(SO3.from_matrix(torch.from_numpy(self.b_from_a)).log().numpy()))

    @property
    def valid_share(self) -> float:
        """Share of the image in which both lens models have a say."""
        return float(np.isfinite(self.lengths).mean())

    @property
    def sigmas(self) -> float:
        """RMS difference in units of the RMS difference expected; NaN where none is stated."""
        if self.expected is None:
            return math.nan
        return self.rms_px / self.expected.rms_px if self.expected.rms_px > 0.0 else math.inf

    @property
    def share_beyond(self) -> float:
        """Share of the image where the difference exceeds three standard deviations; NaN where none is stated."""
        if self.expected is None:
            return math.nan
        known = np.isfinite(self.lengths) & np.isfinite(self.expected.sigma)
        return float((self.lengths[known] > _MANY_SIGMA * self.expected.sigma[known] + SAME_PX).mean())

    @property
    def agreement(self) -> Agreement:
        """What the difference means."""
        if self.expected is None:
            return Agreement.UNSTATED
        if self.max_px <= SAME_PX or (self.sigmas <= _MANY_SIGMA and self.share_beyond <= _FEW):
            return Agreement.WITHIN
        return Agreement.BEYOND

    @property
    def sentence(self) -> str:
        """The difference in one line."""
        if self.max_px < 10.0 * SAME_PX:
            return "the cameras are the same"
        plain = f"differ by {_digits(self.rms_px)} px RMS, {_digits(self.max_px)} px at most"
        turned = f"a rotation of {self.rotation_deg:.3g} degrees {self._further_motion()}taken out"
        if self.agreement is Agreement.UNSTATED or self.expected is None:
            return f"the cameras {plain}, {turned}"
        stated = (
            f"{_digits(self.expected.rms_px)} px RMS is to be expected, {self.share_beyond:.0%} of the image is beyond "
            f"{_MANY_SIGMA:g} sigma"
        )
        verdict = "agree within" if self.agreement is Agreement.WITHIN else "do not agree within"
        return f"the cameras {verdict} their stated uncertainty: they {plain}, {turned}; {stated}"

    def _further_motion(self) -> str:
        if self.translation_m is None:
            return ""
        shift_mm = 1000.0 * float(np.linalg.norm(self.translation_m))
        return f"and a translation of {_digits(shift_mm)} mm at {self.distance_m:g} m "

    def as_dict(self) -> dict[str, object]:
        """The result as plain data, as `--json` prints it."""
        return {
            "schema": DIFF_SCHEMA,
            "cameras": [self.a.as_dict(), self.b.as_dict()],
            "difference_px": {
                "max": self.max_px,
                "mean": self.mean_px,
                "rms": self.rms_px,
                "median": self.percentile_px(50),
                "p95": self.percentile_px(95),
                "p99": self.percentile_px(99),
                "center": self.center_px,
                "edge": self.edge_px,
                "corner": self.corner_px,
            },
            "rotation": {
                "angle_deg": self.rotation_deg,
                "vector_deg": self.rotation_vector_deg,
                "b_from_a": self.b_from_a,
            },
            "translation_m": self.translation_m,
            "distance_m": self.distance_m,
            "focus": self.focus,
            "valid_share": self.valid_share,
            "expected": None
            if self.expected is None
            else {"rms_px": self.expected.rms_px, "sigmas": self.sigmas, "share_beyond": self.share_beyond},
            "agreement": self.agreement,
            "sentence": self.sentence,
            "warnings": list(self.warnings),
        }


def _digits(value: float) -> str:
    """Three digits, without an exponent for large numbers."""
    return f"{value:.3g}" if value < 1000.0 else f"{value:.0f}"
