"""Match graphs of simulated scenes with exact truth."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.epipolar import essential_matrix
from cv3d.geometry.two_view import Degeneracy, ModelKind, TwoView
from cv3d.mapping.graph import MatchGraph, PicturePair
from cv3d.media.picture import Picture

Floats = NDArray[np.float64]

CAMERA = Camera("brown4", 640, 480, (520.0, 520.0, 322.0, 236.0, -0.05, 0.01, 0.0, 0.0))


@dataclass(frozen=True, eq=False)
class Truth:
    """A simulated scene and what is true of it."""

    graph: MatchGraph
    cam_from_world: Floats
    points: Floats
    point_of_keypoint: tuple[NDArray[np.intp], ...]


def looking(centre: Floats, target: Floats, down: Sequence[float] = (0.0, 1.0, 0.0)) -> Floats:
    """cam_from_world, (4, 4)."""
    ahead = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(down, ahead)
    right /= np.linalg.norm(right)
    world_from_cam = np.eye(4)
    world_from_cam[:3, :3] = np.stack([right, np.cross(ahead, right), ahead], axis=1)
    world_from_cam[:3, 3] = centre
    return inverse_rigid(world_from_cam[None])[0]


def arc(count: int, degrees: float = 100.0, radius: float = 5.0) -> Floats:
    """Cameras on an arc about the origin, (n, 4, 4)."""
    angles = np.radians(np.linspace(-0.5 * degrees, 0.5 * degrees, count))
    heights = 0.3 * np.cos(7.0 * angles)
    centres = np.stack([radius * np.sin(angles), heights, -radius * np.cos(angles)], axis=1)
    return np.stack([looking(centre, np.zeros(3)) for centre in centres])


def street(count: int, length: float = 20.0) -> Floats:
    """Cameras that walk sideways along a facade, (n, 4, 4)."""
    x = np.linspace(0.0, length, count)
    return np.stack([looking(np.array([a, 0.1 * np.sin(a), -4.0]), np.array([a + 0.3, 0.0, 0.0])) for a in x])


def cloud(count: int, rng: np.random.Generator, half: Sequence[float] = (1.5, 1.2, 1.5)) -> Floats:
    """Points in a box about the origin, (m, 3)."""
    return rng.uniform(-1.0, 1.0, (count, 3)) * np.asarray(half)


def simulated(
    poses: Floats,
    points: Floats,
    *,
    camera: Camera = CAMERA,
    noise: float = 0.3,
    wrong: float = 0.05,
    seed: int = 0,
    see: Callable[[int], NDArray[np.bool_]] | None = None,
    fewest: int = 30,
) -> Truth:
    """Pictures of points, and the verified matches of all pairs.

    Args:
        poses: cam_from_world, (n, 4, 4).
        points: (m, 3).
        camera: of all pictures.
        noise: of the keypoints, pixels.
        wrong: share of matches that are of other points although they are near the epipolar line.
        seed: of noise and wrong matches.
        see: which points a picture may see, (m,); None: all of them.
        fewest: matches of a pair.
    """
    rng = np.random.default_rng(seed)
    keypoints, owners = [], []
    for number, pose in enumerate(poses):
        seen = points @ pose[:3, :3].T + pose[:3, 3]
        pixels = camera.project(seen)
        inside = np.isfinite(pixels).all(axis=1) & (seen[:, 2] > 0.1)
        inside &= ((pixels >= 0.0) & (pixels < [camera.width, camera.height])).all(axis=1)
        if see is not None:
            inside &= see(number)
        chosen = rng.permutation(np.flatnonzero(inside & (rng.random(len(points)) < 0.85)))
        keypoints.append(pixels[chosen] + rng.normal(0.0, noise, (len(chosen), 2)))
        owners.append(chosen)
    pairs = []
    for i, j in itertools.combinations(range(len(poses)), 2):
        _, rows_i, rows_j = np.intersect1d(owners[i], owners[j], return_indices=True)
        if len(rows_i) < fewest:
            continue
        matches = np.stack([rows_i, rows_j], axis=1)
        swapped = rng.permutation(len(matches))[: int(wrong * len(matches))]
        matches[swapped, 1] = matches[np.roll(swapped, 1), 1]
        pairs.append(PicturePair(i, j, matches.astype(np.intp), geometry(poses[i], poses[j], camera, len(matches))))
    pictures = tuple(Picture(f"{number:03d}.png", Path(f"{number:03d}.png")) for number in range(len(poses)))
    sizes = ((camera.width, camera.height),) * len(poses)
    noises, reasons = np.ones(len(poses)), ("",) * len(poses)
    graph = MatchGraph(pictures, sizes, tuple(keypoints), noises, tuple(pairs), reasons)
    return Truth(graph, poses, points, tuple(owners))


def geometry(one: Floats, two: Floats, camera: Camera, count: int) -> TwoView:
    """What verification would say of a pair without knowing its cameras: the fundamental matrix."""
    second_from_first = two @ inverse_rigid(one[None])[0]
    inverse = np.linalg.inv(camera.matrix)
    return TwoView(
        model=ModelKind.FUNDAMENTAL,
        matrix=inverse.T @ essential_matrix(second_from_first) @ inverse,
        inliers=np.ones(count, np.bool_),
        errors=np.zeros(count),
        cam1_from_cam0=None,
        rotation=None,
        alternative=None,
        covariance=None,
        focal=None,
        focal_failure="",
        parallax=float("nan"),
        rms=0.3,
        noise=0.3,
        log10_false_alarms=-100.0,
        verified=True,
        degeneracy=Degeneracy.NONE,
        reason="",
        seed=0,
    )


def united(one: Truth, other: Truth) -> Truth:
    """Two scenes that have nothing to do with each other, as one set."""
    first = len(one.graph)
    pictures = tuple(
        Picture(f"{number:03d}.png", Path(f"{number:03d}.png")) for number in range(first + len(other.graph))
    )
    shifted = tuple(replace(pair, first=pair.first + first, second=pair.second + first) for pair in other.graph.pairs)
    graph = MatchGraph(
        pictures,
        one.graph.sizes + other.graph.sizes,
        one.graph.keypoints + other.graph.keypoints,
        np.concatenate([one.graph.noise, other.graph.noise]),
        one.graph.pairs + shifted,
        one.graph.reasons + other.graph.reasons,
    )
    return Truth(
        graph,
        np.concatenate([one.cam_from_world, other.cam_from_world]),
        np.concatenate([one.points, other.points]),
        one.point_of_keypoint + tuple(len(one.points) + owners for owners in other.point_of_keypoint),
    )


def centre_errors(poses: Floats, truth: Floats) -> Floats:
    """Distance of camera centres after the best similarity, (n,), over the extent of the true ones."""
    from cv3d.geometry.absolute_orientation import absolute_orientation

    found, true = inverse_rigid(poses)[:, :3, 3], inverse_rigid(truth)[:, :3, 3]
    matrix = absolute_orientation(found, true, np.ones(len(found))).as_matrix()
    off = np.linalg.norm(found @ matrix[:3, :3].T + matrix[:3, 3] - true, axis=1)
    return off / np.linalg.norm(true.max(axis=0) - true.min(axis=0))


def rotation_errors_deg(poses: Floats, truth: Floats) -> Floats:
    """Angle of every relative rotation to the first picture from the true one, (n,), degrees."""
    found = poses[:, :3, :3] @ poses[0, :3, :3].T
    true = truth[:, :3, :3] @ truth[0, :3, :3].T
    traces = np.einsum("nij,nij->n", found, true)
    return np.degrees(np.arccos(np.clip(0.5 * (traces - 1.0), -1.0, 1.0)))
