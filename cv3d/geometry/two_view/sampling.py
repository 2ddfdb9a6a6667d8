"""First models of a pair of pictures, from sample consensus among all matches.

PoseLib's LO-RANSAC serves pictures that have an image plane. Rays more than 65 degrees off the axis would be stretched
there until a pixel of noise is many, and beyond 90 they have no place: such pairs go through the consensus on rays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import poselib
from numpy.typing import NDArray

from cv3d.geometry.robust_fit import Problem
from cv3d.geometry.sample_consensus import sample_consensus
from cv3d.geometry.two_view.decomposition import recover_pose
from cv3d.geometry.two_view.parameters import FocalPose, Fundamental, Homography, RelativePose
from cv3d.geometry.two_view.residuals import EpipolarProblem, HomographyProblem, Matches

Floats = NDArray[np.float64]

_PLANES = 1000
"""Samples for a homography: enough for one that a third of the matches share."""
_POSES = 5000
"""Samples for a pose of wide pictures: enough for three inliers in ten."""
_PLANE_COSINE = float(np.cos(np.radians(65.0)))


@dataclass(frozen=True)
class Sampling:
    """How matches are sampled."""

    max_error: float
    """Largest error of an inlier, pixels."""
    seed: int
    max_samples: int
    scales: tuple[float, float]
    """Pixels per unit of the rays of either picture: the focal lengths, or the scale of the homogeneous pixels."""


def sample_essential(matches: Matches, sampling: Sampling) -> RelativePose | None:
    """A relative pose; None with fewer than five matches or without any support."""
    if len(matches) < 5:
        return None
    if _is_wide(matches):

        def five_points(sample: NDArray[np.intp]) -> list[RelativePose]:
            poses = poselib.relpose_5pt(matches.first.rays[sample], matches.second.rays[sample])
            return [RelativePose(pose.R, pose.t / np.linalg.norm(pose.t)) for pose in poses]

        epipolar: Problem[RelativePose] = EpipolarProblem(matches)
        return sample_consensus(
            epipolar, five_points, 5, len(matches), sampling.max_error, sampling.seed, min(sampling.max_samples, _POSES)
        )
    points0, points1 = _on_planes(matches, sampling)
    cameras = [
        {"model": "SIMPLE_PINHOLE", "width": 1, "height": 1, "params": [focal, 0.0, 0.0]} for focal in sampling.scales
    ]
    pose, info = poselib.estimate_relative_pose(points0, points1, *cameras, _options(sampling), {})
    return _checked_pose(pose, info)


def sample_fundamental(matches: Matches, sampling: Sampling) -> Fundamental | None:
    """A fundamental matrix between homogeneous rays; None with fewer than seven matches or without any support."""
    if len(matches) < 7:
        return None
    points0, points1 = _on_planes(matches, sampling)
    matrix, info = poselib.estimate_fundamental(points0, points1, _options(sampling), {})
    if info["num_inliers"] < 7 or not np.isfinite(matrix).all() or not np.any(matrix):
        return None
    first, second = (np.diag([scale, scale, 1.0]) for scale in sampling.scales)
    return Fundamental.from_matrix(second @ matrix @ first)


def sample_homography(matches: Matches, sampling: Sampling) -> Homography | None:
    """A homography between rays; None with fewer than four matches or without any support."""
    if len(matches) < 4:
        return None
    if _is_wide(matches):

        def four_points(sample: NDArray[np.intp]) -> list[Homography]:
            return [homography_from_rays(matches.first.rays[sample], matches.second.rays[sample])]

        planar: Problem[Homography] = HomographyProblem(matches)
        return sample_consensus(
            planar, four_points, 4, len(matches), sampling.max_error, sampling.seed, min(sampling.max_samples, _PLANES)
        )
    points0, points1 = _on_planes(matches, sampling)
    options = _options(sampling) | {"max_iterations": min(sampling.max_samples, _PLANES)}
    matrix, info = poselib.estimate_homography(points0, points1, options, {})
    inliers = np.array(info["inliers"], dtype=bool)
    if info["num_inliers"] < 4 or not np.isfinite(matrix).all() or not np.any(matrix):
        return None
    first, second = (np.diag([scale, scale, 1.0]) for scale in sampling.scales)
    return _facing(np.linalg.inv(second) @ matrix @ first, matches.first.rays[inliers], matches.second.rays[inliers])


def sample_shared_focal(matches: Matches, sampling: Sampling) -> FocalPose | None:
    """A relative pose with one unknown focal length; homogeneous rays relative to the principal points.

    None with fewer than six matches or without any support.
    """
    if len(matches) < 6:
        return None
    points0, points1 = _on_planes(matches, sampling)
    pair, info = poselib.estimate_shared_focal_relative_pose(points0, points1, np.zeros(2), _options(sampling), {})
    pose = _checked_pose(pair.pose, info)
    focal = pair.camera1.focal()
    if pose is None or not np.isfinite(focal) or focal <= 0.0:
        return None
    return FocalPose(pose, (focal / sampling.scales[0], focal / sampling.scales[1]), shared=True)


def focals_of_fundamental(matrix: Floats) -> tuple[float, float] | None:
    """Focal lengths of two pinhole cameras from their fundamental matrix relative to the principal points.

    Args:
        matrix: F, (3, 3), on homogeneous rays.

    Returns:
        Both focal lengths in units of the rays, after Bougnoux 1998; None where they are not positive.
    """
    cameras = poselib.focals_from_fundamental(matrix, np.zeros(2), np.zeros(2))
    first, second = (float(camera.focal()) for camera in cameras)
    return (first, second) if np.isfinite([first, second]).all() and min(first, second) > 0.0 else None


def homography_from_rays(rays0: Floats, rays1: Floats) -> Homography:
    """The homography with the least algebraic error |ray1 x H ray0| from at least four rays, (n, 3) each."""
    basis = np.linalg.svd(rays1[:, None, :])[2][:, 1:, :]
    rows = np.einsum("nai,nj->naij", basis, rays0).reshape(-1, 9)
    return _facing(np.linalg.svd(rows)[2][-1].reshape(3, 3), rays0, rays1)


def _facing(matrix: Floats, rays0: Floats, rays1: Floats) -> Homography:
    """The sign under which most rays are carried to positive multiples of their counterparts."""
    along = ((rays0 @ matrix.T) * rays1).sum(axis=1)
    return Homography.from_matrix(matrix if 2 * int((along > 0.0).sum()) >= len(along) else -matrix)


def _checked_pose(pose: Any, info: dict[str, Any]) -> RelativePose | None:  # noqa: ANN401 - PoseLib is not typed
    length = float(np.linalg.norm(pose.t))
    if info["num_inliers"] < 5 or not np.isfinite(pose.Rt).all() or length == 0.0:
        return None
    return RelativePose(np.array(pose.R), np.array(pose.t) / length)


def _is_wide(matches: Matches) -> bool:
    return any(
        bool((rays[:, 2] < _PLANE_COSINE * np.linalg.norm(rays, axis=1)).any())
        for rays in (matches.first.rays, matches.second.rays)
        if _is_unit(rays)
    )


def _is_unit(rays: Floats) -> bool:
    """Homogeneous pixels are on an image plane whatever their angle."""
    return not bool((rays[:, 2] == 1.0).all())


def _on_planes(matches: Matches, sampling: Sampling) -> tuple[Floats, Floats]:
    pairs = zip((matches.first.rays, matches.second.rays), sampling.scales, strict=True)
    points0, points1 = (np.ascontiguousarray(rays[:, :2] / rays[:, 2:] * scale) for rays, scale in pairs)
    return points0, points1


def _options(sampling: Sampling) -> dict[str, Any]:
    return {
        "max_epipolar_error": sampling.max_error,
        "max_reproj_error": sampling.max_error * 2.0**0.5,
        "max_iterations": sampling.max_samples,
        "min_iterations": min(200, sampling.max_samples),
        "seed": sampling.seed,
    }


def pose_of_fundamental(matrix: Floats, focals: tuple[float, float], matches: Matches) -> FocalPose:
    """The pose with given focal lengths (in units of the rays) closest to a fundamental matrix (3, 3)."""
    first, second = (np.diag([focal, focal, 1.0]) for focal in focals)
    rays0, rays1 = matches.first.rays @ np.linalg.inv(first).T, matches.second.rays @ np.linalg.inv(second).T
    return FocalPose(recover_pose(second @ matrix @ first, rays0, rays1), focals, shared=False)
