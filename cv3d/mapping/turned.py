"""Pictures from one place: the camera only turned, so they have orientations, and nothing has a distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.absolute_orientation import absolute_orientation
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.global_poses import average_rotations
from cv3d.geometry.pixel_rays import pixels_per_radian
from cv3d.mapping.graph import MatchGraph, PicturePair
from cv3d.mapping.intrinsics import KnownCamera, refocused
from cv3d.mapping.preparing import CameraPlan
from cv3d.odometry.turning import Followed, Pair, focal_of_turning

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_SIDE = 320.0
"""Longer side at which the search for a focal length takes its thresholds to be meant, pixels."""
_LEFT_OVER = 2.0
"""Median error under a rotation up to which a pair counts as turned, pixels as matched."""
_TURNED = 0.9
"""Share of the pairs that have to."""
_TRIMMED = 0.7
"""Share of the matches, those that fit best, by which a rotation is fitted again."""


@dataclass(frozen=True, eq=False)
class Turned:
    """Orientations of pictures from one place."""

    known: tuple[KnownCamera, ...]
    cam_from_world: Floats
    """(P, 4, 4), without translations."""
    placed: Bools
    """(P,), the largest group of pictures that hang together."""


def find_turns(graph: MatchGraph, plan: CameraPlan) -> Turned | None:
    """Orient pictures whose pairs rotations explain.

    Args:
        graph: verified pairs.
        plan: their cameras; a focal length that is not given is found from the rotations, one for all pictures.

    Returns:
        Orientations; None where the camera moved, or nothing is known of it.
    """
    if not graph.pairs:
        return None
    known = plan.known
    if not any(one.is_held for one in known):
        focussed = _refocused(graph, known)
        if focussed is None:
            return None
        known = focussed
    cameras = [known[int(index)].camera for index in plan.camera_of]
    fits = [_rotation(graph, pair, cameras) for pair in graph.pairs]
    errors = np.array([error for _, error in fits])
    turned = errors <= _LEFT_OVER
    if float(turned.mean()) < _TURNED:
        return None
    edges = np.array([(pair.first, pair.second) for pair in graph.pairs], np.intp)
    weights = np.where(turned, [float(len(pair.matches)) for pair in graph.pairs], 0.0)
    found = average_rotations(edges, np.stack([rotation for rotation, _ in fits]), weights, len(graph))
    sizes = np.bincount(found.component[found.component >= 0], minlength=1)
    placed: Bools = found.component == int(sizes.argmax())
    poses = np.tile(np.eye(4), (len(graph), 1, 1))
    poses[placed, :3, :3] = found.rotations[placed]
    return Turned(tuple(known), poses, placed)


def _refocused(graph: MatchGraph, known: Sequence[KnownCamera]) -> tuple[KnownCamera, ...] | None:
    """The cameras with the focal length by which rotations explain the pairs best."""
    camera = known[0].camera
    if any((one.camera.width, one.camera.height) != (camera.width, camera.height) for one in known):
        return None
    side = float(max(camera.width, camera.height))
    middle, scale = np.array(camera.params[2:4]), _SIDE / side
    pairs = tuple(
        Pair(
            (graph.keypoints[pair.first][pair.matches[:, 0]] - middle) * scale,
            (graph.keypoints[pair.second][pair.matches[:, 1]] - middle) * scale,
        )
        for pair in graph.pairs
    )
    turning = focal_of_turning(Followed(pairs, _SIDE), (camera.width, camera.height))
    if turning is None or not np.isfinite(turning.deviation):
        return None
    deviation = turning.deviation / turning.focal
    return tuple(refocused(one, turning.focal, deviation) for one in known)


def _rotation(graph: MatchGraph, pair: PicturePair, cameras: Sequence[Camera]) -> tuple[Floats, float]:
    """The rotation that explains a pair best, and its median error in pixels as matched."""
    one, two = cameras[pair.first], cameras[pair.second]
    rays0 = one.unproject(graph.keypoints[pair.first][pair.matches[:, 0]])
    rays1 = two.unproject(graph.keypoints[pair.second][pair.matches[:, 1]])
    weights: Floats = np.ones(len(rays0))
    rotation, off = np.eye(3), np.zeros(len(rays0))
    for _ in range(3):
        rotation = _kabsch(rays0, rays1, weights)
        off = np.linalg.norm(rays1 - rays0 @ rotation.T, axis=1)
        weights = (off <= np.quantile(off, _TRIMMED)).astype(np.float64)
    noise = max(graph.noise[pair.first], graph.noise[pair.second])
    return rotation, float(np.median(off)) * pixels_per_radian(two) / noise


def _kabsch(rays0: Floats, rays1: Floats, weights: Floats) -> Floats:
    """The rotation that carries rays onto rays: with each goes its opposite, so that their mean is the origin."""
    both0, both1 = np.concatenate([rays0, -rays0]), np.concatenate([rays1, -rays1])
    rotation: Floats = absolute_orientation(both0, both1, np.tile(weights, 2), with_scale=False).rotation
    return rotation
