"""What is known about two pictures from their matches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class ModelKind(StrEnum):
    """The model that relates two pictures."""

    ESSENTIAL = "E"
    FUNDAMENTAL = "F"
    HOMOGRAPHY = "H"
    NONE = "none"


class Degeneracy(StrEnum):
    """Why the matches do not determine everything."""

    NONE = "none"
    TOO_FEW = "too_few_matches"
    NO_SUPPORT = "no_support"
    """No model is supported by more matches than chance explains."""
    COLLINEAR = "collinear"
    """All matches are on one line of a picture, which leaves every model open."""
    NO_MOTION = "no_motion"
    """The pictures are the same."""
    PURE_ROTATION = "pure_rotation"
    """The camera turned in place, or nothing is near enough to show that it moved."""
    PLANAR = "planar"
    """All points are on one plane; the pose follows from it."""
    PLANAR_AMBIGUOUS = "planar_ambiguous"
    """All points are on one plane, and two poses explain them."""
    PLANAR_OR_ROTATION = "planar_or_rotation"
    """A homography explains all; without the cameras the two cases are not told apart."""


class UnknownFocal(StrEnum):
    """Which focal lengths to estimate, for pinhole cameras with known principal points."""

    SHARED = "shared"
    """One for both pictures."""
    SEPARATE = "separate"
    """One for each picture."""


@dataclass(frozen=True)
class TwoViewOptions:
    """How two pictures are related."""

    max_error: float = 2.0
    """Largest error of an inlier, pixels: its distance, in the four coordinates of the match, from the model."""
    min_inliers: int = 15
    """Fewest inliers, at distinct places, of a verified pair."""
    max_false_alarms: float = 1e-3
    """Pairs of unrelated pictures that may pass as verified, per pair."""
    max_samples: int = 50_000
    """Largest number of random samples."""
    unknown_focal: UnknownFocal | None = None
    """Which focal lengths to estimate where the cameras are not given; None leaves it at a fundamental matrix."""
    principal_points: tuple[tuple[float, float], tuple[float, float]] | None = None
    """Principal points of both pictures, pixels, for `unknown_focal`."""
    max_focal_deviation: float = 0.2
    """Largest relative standard deviation of a focal length that counts as determined."""
    only_homography: bool = False
    """Whether the pictures are known to show one plane, or to be taken from one place: cameras are then not used, and
    nothing but a homography is looked for."""
    give_up_above: float = math.inf
    """Logarithm of the false alarms of the sampled model above which the pair is given up as unrelated before anything
    is refined: the quick answer for the many pairs of a set that share nothing. Infinite never gives up."""
    keep_unsupported: bool = False
    """Whether to give the best model also where chance explains its support, as `no_support` and never verified."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.max_error > 0.0 and self.max_false_alarms > 0.0 and self.max_focal_deviation > 0.0):
            raise ValueError("max_error, max_false_alarms and max_focal_deviation must be positive")
        if self.max_samples < 1 or self.min_inliers < 0:
            raise ValueError("max_samples must be positive and min_inliers not negative")
        if self.unknown_focal is not None and self.only_homography:
            raise ValueError("a homography between pixels does not determine focal lengths")
        if self.unknown_focal is not None and self.principal_points is None:
            raise ValueError("focal lengths can only be estimated with known principal points")


@dataclass(frozen=True)
class FocalEstimate:
    """Focal lengths found together with the relative pose."""

    focals: tuple[float, float]
    """Of the first and the second picture, pixels; equal where they are one unknown."""
    deviations: tuple[float, float]
    """Their standard deviations, pixels."""
    covariance: Floats
    """Of their logarithms, (1, 1) for a shared one or (2, 2)."""


@dataclass(frozen=True, eq=False)
class TwoView:
    """The geometry of two pictures."""

    model: ModelKind
    """The model that explains the matches best."""
    matrix: Floats | None
    """(3, 3). Essential matrix or homography between unit rays for known cameras; fundamental matrix or homography
    between homogeneous pixels otherwise: x1^T F x0 = 0, x1 ~ H x0."""
    inliers: Bools
    """Matches that the model explains, (n,)."""
    errors: Floats
    """First-order distance of every match from the model, (n,), pixels; infinite where it is ruled out. Matches with
    larger noise than the typical one are counted closer in proportion."""
    cam1_from_cam0: Floats | None
    """Relative pose with unit translation, (4, 4); None where the translation's direction is not determined."""
    rotation: Floats | None
    """Rotation of cam1_from_cam0, (3, 3); known also where the camera only turned."""
    alternative: Floats | None
    """The other cam1_from_cam0 that a planar scene allows, (4, 4); None where there is no ambiguity."""
    covariance: Floats | None
    """Covariance of the relative pose, (5, 5), radians squared: rotation vector w of exp(w) R in the second camera's
    frame, then the direction of the translation along the two columns of `tangent_basis(t)`; (3, 3) with the rotation
    alone where only that is known. From the inliers' own scatter."""
    focal: FocalEstimate | None
    """Focal lengths, where they were asked for and are determined."""
    focal_failure: str
    """Why there is none although it was asked for; else empty."""
    parallax: float
    """Median angle between the inliers' rays once the rotation is taken out, radians; NaN where it is not known."""
    rms: float
    """Root mean square error of the inliers, pixels; NaN without any."""
    noise: float
    """Standard deviation of one coordinate of a typical inlier keypoint, pixels; NaN without any."""
    log10_false_alarms: float
    """Logarithm of the number of equally good models to expect among random matches; infinite without a model."""
    verified: bool
    """Whether the pictures show the same thing beyond doubt: enough inliers at distinct places, and not by chance."""
    degeneracy: Degeneracy
    """What the matches leave open."""
    reason: str
    """The sentence to that: why it is not verified, or what is not determined; empty for a complete result."""
    seed: int
    """Seed of the random samples."""

    @property
    def inlier_count(self) -> int:
        """Number of inliers."""
        return int(self.inliers.sum())
