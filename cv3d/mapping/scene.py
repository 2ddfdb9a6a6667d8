"""What is known of a scene: its cameras, where the pictures were taken, its points, and what was left out and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.media.picture import Picture

SCENE_SCHEMA = "cv3d.reconstruct/1"

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


class IntrinsicsSource(StrEnum):
    """Where a camera's intrinsics are from."""

    GIVEN = "given"
    """A file, and held."""
    EXIF = "exif"
    """The pictures' EXIF tags; then adjusted."""
    ESTIMATED = "estimated"
    """The scene itself."""


class ScaleSource(StrEnum):
    """Where the unit of length is from."""

    ARBITRARY = "arbitrary"
    """Nowhere: lengths have no unit."""
    DISTANCE = "distance"
    """The distance of two points that the user named."""
    BOARD = "board"
    """A calibration board or marker seen in the pictures."""
    DEPTH = "depth"
    """Measured depth."""
    GPS = "gps"
    """Positions in the pictures' EXIF tags."""


@dataclass(frozen=True, eq=False)
class SceneCamera:
    """The intrinsics of some of the pictures."""

    camera: Camera
    source: IntrinsicsSource
    free: tuple[str, ...]
    """Names of the parameters that were estimated; empty where all were held."""
    deviations: tuple[float, ...]
    """Standard deviations of all parameters of `camera.params`, in its order; 0 for the held ones."""


@dataclass(frozen=True, eq=False)
class SceneImage:
    """A picture whose place is known."""

    picture: Picture
    camera: int
    """Index into the model's cameras."""
    cam_from_world: Floats
    """(4, 4)."""
    covariance: Floats | None
    """(6, 6) of x = [rho, phi] in exp(x) cam_from_world, in the model's gauge; None where it is not known."""
    pixels: Floats
    """Where its keypoints are, (n, 2), pixels; the refined places, where they were refined."""
    points: Ints
    """Which of the model's points each keypoint shows, (n,); -1 for none."""
    rms_px: float
    """Root mean square reprojection error, pixels; NaN without points."""

    @property
    def point_count(self) -> int:
        """Keypoints that show a point."""
        return int((self.points >= 0).sum())


@dataclass(frozen=True, eq=False)
class SceneModel:
    """Pictures that hang together: one frame of coordinates."""

    cameras: tuple[SceneCamera, ...]
    images: tuple[SceneImage, ...]
    """In the order of the inputs."""
    points: Floats
    """In the world, (m, 3); each is seen by two pictures or more."""
    colors: NDArray[np.uint8]
    """RGB of the points, (m, 3)."""
    errors: Floats
    """Root mean square reprojection error of each point, (m,), pixels."""
    is_oriented_only: bool = False
    """Whether the camera only turned: orientations are known, positions are all zero, and there are no points."""

    @property
    def observation_count(self) -> int:
        """Keypoints that show a point, over all pictures."""
        return sum(image.point_count for image in self.images)

    @property
    def mean_reprojection_px(self) -> float:
        """Mean length of the reprojection error of all observations, pixels; NaN without any."""
        errors = self.reprojection_errors()
        return float(errors.mean()) if len(errors) else float("nan")

    @property
    def track_length(self) -> float:
        """Mean number of pictures that see a point; NaN without points."""
        return self.observation_count / len(self.points) if len(self.points) else float("nan")

    def reprojection_errors(self) -> Floats:
        """Length of the error of every observation, picture after picture, (n,), pixels."""
        parts = [np.zeros(0)]
        for image in self.images:
            shown = image.points >= 0
            pose = image.cam_from_world
            seen = self.points[image.points[shown]] @ pose[:3, :3].T + pose[:3, 3]
            projected = self.cameras[image.camera].camera.project(seen)
            parts.append(np.linalg.norm(projected - image.pixels[shown], axis=1))
        return np.concatenate(parts)


@dataclass(frozen=True)
class LeftOut:
    """A picture without a place, and why."""

    name: str
    reason: str
    """One sentence: what was wrong."""
    advice: str
    """One sentence: what would help; empty where nothing is known to."""


@dataclass(frozen=True, eq=False)
class ViewGraph:
    """Which pictures see the same."""

    names: tuple[str, ...]
    """Of all pictures of the inputs."""
    pairs: Ints
    """Verified pairs, (e, 2), places in `names`, ascending."""
    inliers: Ints
    """Verified matches of each, (e,)."""
    used: NDArray[np.bool_]
    """Whether the final poses agree with the pair, (e,); a pair that they contradict shows a look-alike."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A set of pictures or a clip, reconstructed."""

    models: tuple[SceneModel, ...]
    """The largest first; several where the pictures do not hang together."""
    left_out: tuple[LeftOut, ...]
    graph: ViewGraph
    mapper: str
    """How the poses were found: "incremental", "global", "odometry" or "rotation"."""
    scale: ScaleSource = ScaleSource.ARBITRARY
    is_upright: bool = False
    """Whether the world's z axis is known to point up."""
    geodetic_origin: tuple[float, float, float] | None = None
    """Latitude and longitude in degrees and height in metres of the world's origin, where x is east, y north, z up."""
    warnings: tuple[str, ...] = ()
    """Doubts, in sentences for the user."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of each stage, and "total"."""
    interrupted: bool = False
    seed: int = 0
    device: str = "cpu"
    folder: Path | None = None
    """Where the run keeps its stages."""

    @property
    def total(self) -> int:
        """Pictures that were looked at."""
        return len(self.graph.names)

    @property
    def registered(self) -> int:
        """Pictures with a place in one of the models."""
        return sum(len(model.images) for model in self.models)
