"""What matching gives for a pair."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import Degeneracy, ModelKind, TwoView

PAIR_SCHEMA = "cv3d.match/1"
Floats = NDArray[np.float64]

_FEW_KEYPOINTS = 50


@dataclass(frozen=True, eq=False)
class PairMatch:
    """Two pictures matched and verified."""

    names: tuple[str, str]
    sizes: tuple[tuple[int, int], tuple[int, int]]
    """Width and height of either picture, pixels."""
    extractor: str
    matcher: str
    """The matcher whose answer this is."""
    decision: str
    """Why that one, in a sentence; empty where only one was asked for."""
    keypoints0: Floats
    """All keypoints of the first picture, (K0, 2), pixels."""
    keypoints1: Floats
    """Those of the second, (K1, 2)."""
    indices: NDArray[np.int64]
    """The matches, (n, 2), as entries of both."""
    points0: Floats
    """Matched points in the first picture, (n, 2), pixels."""
    points1: Floats
    """Those in the second, (n, 2), refined where `refined`."""
    scores: NDArray[np.float32]
    """How sure the matcher is of each match, (n,), on its own scale in [0, 1]."""
    refined: NDArray[np.bool_]
    """Which matches photometric alignment has refined, (n,)."""
    covariance: Floats
    """Of each refined second point given the first, (n, 2, 2), pixels squared; NaN where not refined."""
    geometry: TwoView
    """The model that relates the pictures; its inliers are the verified matches."""
    cameras: tuple[Camera | None, Camera | None]
    seconds: dict[str, float]
    """Of extract, match, verify and refine."""

    @property
    def inlier_count(self) -> int:
        """Number of verified matches."""
        return self.geometry.inlier_count

    @property
    def verified(self) -> bool:
        """Whether the pictures show the same thing beyond doubt."""
        return self.geometry.verified

    @property
    def reason(self) -> str:
        """Why the pair is not verified, or what is not determined; empty for a complete result."""
        reason = self.geometry.reason
        if self.verified:
            return reason
        counts = len(self.keypoints0), len(self.keypoints1)
        words = [
            f"{name} has {words}" for name, words in zip(self.names, map(few_keypoints, counts), strict=True) if words
        ]
        return "; ".join([reason, *dict.fromkeys(words)])

    @property
    def rotation_deg(self) -> float:
        """Angle of the rotation between the cameras, degrees; NaN where it is not known."""
        rotation = self.geometry.rotation
        if rotation is None:
            return math.nan
        sine = np.linalg.norm(rotation - rotation.T) / (2.0 * math.sqrt(2.0))
        return math.degrees(math.atan2(float(sine), 0.5 * (float(np.trace(rotation)) - 1.0)))

    @property
    def direction(self) -> Floats | None:
        """Unit translation of cam1_from_cam0, (3,); None where it is not determined."""
        pose = self.geometry.cam1_from_cam0
        return None if pose is None else pose[:3, 3]

    def deviations_deg(self) -> tuple[float, float]:
        """Standard deviations of rotation and direction, degrees, root of the sum over axes; NaN where not known."""
        covariance = self.geometry.covariance
        if covariance is None:
            return math.nan, math.nan
        turned = math.degrees(math.sqrt(float(np.trace(covariance[:3, :3]))))
        moved = math.degrees(math.sqrt(float(np.trace(covariance[3:, 3:])))) if len(covariance) > 3 else math.nan
        return turned, moved

    def as_result(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        geometry = self.geometry
        turned, moved = self.deviations_deg()
        direction = self.direction
        focal = geometry.focal
        return {
            "schema": PAIR_SCHEMA,
            "pictures": list(self.names),
            "sizes": [list(size) for size in self.sizes],
            "method": f"{self.extractor}+{self.matcher}",
            "decision": self.decision,
            "keypoints": [len(self.keypoints0), len(self.keypoints1)],
            "matches": len(self.indices),
            "inliers": self.inlier_count,
            "refined": int((self.refined & geometry.inliers).sum()),
            "verified": self.verified,
            "model": str(geometry.model),
            "matrix": None if geometry.matrix is None else geometry.matrix.tolist(),
            "degeneracy": str(geometry.degeneracy),
            "reason": self.reason,
            "rotation_deg": _known(self.rotation_deg),
            "rotation_deviation_deg": _known(turned),
            "direction": None if direction is None else direction.tolist(),
            "direction_deviation_deg": _known(moved),
            "parallax_deg": _known(math.degrees(geometry.parallax)),
            "cam1_from_cam0": None if geometry.cam1_from_cam0 is None else geometry.cam1_from_cam0.tolist(),
            "focal_px": None if focal is None else list(focal.focals),
            "rms_px": _known(geometry.rms),
            "log10_false_alarms": _known(geometry.log10_false_alarms),
            "seed": geometry.seed,
            "ms": {stage: round(1e3 * taken, 1) for stage, taken in self.seconds.items()},
        }

    def sentence(self) -> str:
        """What was found, in one sentence."""
        geometry = self.geometry
        if not geometry.verified:
            return f"not verified: {self.reason}"
        kind = {
            ModelKind.ESSENTIAL: "an essential matrix",
            ModelKind.FUNDAMENTAL: "a fundamental matrix",
            ModelKind.HOMOGRAPHY: "a homography",
        }[geometry.model]
        text = f"verified: {self.inlier_count} of {len(self.indices)} matches agree with {kind}"
        return text if geometry.degeneracy is Degeneracy.NONE else f"{text}; {geometry.reason}"

    def __str__(self) -> str:
        return f"{self.names[0]} and {self.names[1]}: {self.sentence()}"

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as named arrays, for an `.npz` file."""
        geometry = self.geometry
        optional = {
            "matrix": geometry.matrix,
            "cam1_from_cam0": geometry.cam1_from_cam0,
            "rotation": geometry.rotation,
            "pose_covariance": geometry.covariance,
        }
        return {
            "keypoints0": self.keypoints0.astype(np.float32),
            "keypoints1": self.keypoints1.astype(np.float32),
            "matches": self.indices,
            "points0": self.points0,
            "points1": self.points1,
            "scores": self.scores,
            "refined": self.refined,
            "covariance": self.covariance,
            "inliers": geometry.inliers,
            "errors": geometry.errors,
            "model": np.array(str(geometry.model)),
            **{name: value for name, value in optional.items() if value is not None},
        }


def few_keypoints(count: int) -> str:
    """What to say of a picture with next to no keypoints; empty where it has enough."""
    if count >= _FEW_KEYPOINTS:
        return ""
    return f"only {count} keypoint{'' if count == 1 else 's'}" if count else "no keypoints"


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
