"""Which way is up, from straight edges and from how people hold cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.mapping.framing.line_segments import WorldSegments, world_segments
from cv3d.mapping.scene import SceneModel

_CONE_DEG = 45.0
"""How far up may be from where the cameras have their upper edge."""
_TRIALS = 2000
_SIGMAS = 2.5
_WIDEST_DEG, _NARROWEST_DEG = 2.0, 0.4
"""Bounds of the distance from a plane at which a direction counts as in it."""
_RING_DEG = (5.0, 9.0, 14.0)
"""Distances from the winner at which directions show what chance gives."""
_LEAST_SHARE = 0.12
"""Of the pictures' edges, by length, that have to be vertical."""
_CONTRAST = 3.3
"""How many times more edges have to meet in the winner than in directions around it."""
_LEAST_SEGMENTS = 25
_RIVAL = 0.62
"""Share of the winner's votes with which another direction makes it doubtful."""
_RIVAL_DEG = 6.0
_LEVEL_PRIOR = 0.02
"""How much the mean downward axis counts against the axes to the right being level."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Vertical:
    """The direction up."""

    up: Floats
    """In the world, (3,), unit."""
    is_known: bool
    """Whether many edges agree on it; else it is a guess from how the cameras were held."""
    share: float
    """Share of the edges, by length, every picture counting the same, that point up."""
    segments: int
    """How many edges do."""


def find_vertical(model: SceneModel, seed: int = 0) -> Vertical:
    """Which way is up in a model.

    Edges of buildings, doors, trees and posts are vertical: the planes through the cameras that contain them meet in
    one direction, whatever the picture. That direction is looked for near where the cameras have their upper edges,
    over all pictures at once, and believed where clearly more edges meet in it than in any other direction there.

    Args:
        model: with poses, or orientations alone.
        seed: of the pairs of edges that are tried.
    """
    guess = held_upright(model)
    return vote_vertical(world_segments(model), guess, seed)


def held_upright(model: SceneModel) -> Floats:
    """The direction up if cameras are held level: across their axes to the right, towards their upper edges, (3,).

    (Szeliski 2006, "Image alignment and stitching", 3.5, global up vector selection.)
    """
    rotations = np.stack([image.cam_from_world[:3, :3] for image in model.images])
    right, down = rotations[:, 0], rotations[:, 1].mean(axis=0)
    length = float(np.linalg.norm(down))
    if length < 1e-6:
        down, length = rotations[0, 1], 1.0
    down = down / length
    scatter = right.T @ right / len(right) + _LEVEL_PRIOR * (np.eye(3) - np.outer(down, down))
    level = np.linalg.eigh(scatter)[1][:, 0]
    up = -level if level @ down > 0.0 else level
    return np.asarray(up / np.linalg.norm(up))


def vote_vertical(segments: WorldSegments, guess: Floats, seed: int = 0) -> Vertical:
    """The direction near `guess` in which most edges meet.

    Args:
        segments: of all pictures.
        guess: up, if the cameras were held level, (3,).
        seed: of the pairs of edges that are tried.
    """
    count = len(segments.normals)
    if count < _LEAST_SEGMENTS:
        return Vertical(guess, False, 0.0, 0)
    gates = np.clip(_SIGMAS * segments.deviations, np.radians(_NARROWEST_DEG), np.radians(_WIDEST_DEG))
    ballot = _Ballot(segments.normals, gates, segments.weights / segments.weights.sum())
    candidates = _candidates(ballot, guess, np.random.default_rng(seed))
    if not len(candidates):
        return Vertical(guess, False, 0.0, 0)
    votes = ballot.votes(candidates)
    best = candidates[int(np.argmax(votes))]
    up = ballot.refined(best)
    up = up if up @ guess > 0.0 else -up
    own = float(ballot.votes(up[None])[0])
    inside = ballot.inside(up)
    share = float(ballot.weights[inside].sum())
    apart = np.abs(candidates @ up) < np.cos(np.radians(_RIVAL_DEG))
    rival = float(votes[apart].max()) if apart.any() else 0.0
    around = float(np.mean(ballot.votes(_ring(up))))
    is_known = bool(
        up @ guess > np.cos(np.radians(_CONE_DEG))
        and share >= _LEAST_SHARE
        and int(inside.sum()) >= _LEAST_SEGMENTS
        and own >= _CONTRAST * around
        and rival <= _RIVAL * own
        and _is_determined(segments.normals[inside])
    )
    return Vertical(up if is_known else guess, is_known, share, int(inside.sum()))


@dataclass(frozen=True, eq=False)
class _Ballot:
    """The edges and how they vote."""

    normals: Floats
    gates: Floats
    """Largest distance of a direction from each plane, radians."""
    weights: Floats
    """Sum 1."""

    def votes(self, directions: Floats) -> Floats:
        """Weight of the edges that point along each direction, fading towards the gates, (k,)."""
        off = (directions @ self.normals.T) / self.gates
        return np.asarray(np.maximum(0.0, 1.0 - off * off) @ self.weights)

    def inside(self, direction: Floats) -> NDArray[np.bool_]:
        return np.asarray(np.abs(self.normals @ direction) < self.gates)

    def refined(self, direction: Floats) -> Floats:
        """The direction nearest to the planes that it lies in, by turns."""
        for _ in range(10):
            inside = self.inside(direction)
            rows = self.normals[inside] * np.sqrt(self.weights[inside] / self.gates[inside] ** 2)[:, None]
            moved = np.linalg.svd(rows, full_matrices=False)[2][-1] if len(rows) > 2 else direction
            if abs(float(moved @ direction)) > 1.0 - 1e-14:
                break
            direction = moved
        return direction


def _candidates(ballot: _Ballot, guess: Floats, rng: np.random.Generator) -> Floats:
    """Directions in which two edges meet, within the cone about the guess, (k, 3), and the guess itself."""
    pairs = rng.choice(len(ballot.normals), (2, _TRIALS), p=ballot.weights)
    # Only edges that may be vertical are worth a trial.
    steep = np.abs(ballot.normals @ guess) < np.sin(np.radians(_CONE_DEG))
    if int(steep.sum()) >= 2:
        weights = np.where(steep, ballot.weights, 0.0)
        pairs = rng.choice(len(ballot.normals), (2, _TRIALS), p=weights / weights.sum())
    met = np.cross(ballot.normals[pairs[0]], ballot.normals[pairs[1]])
    lengths = np.linalg.norm(met, axis=1)
    met = met[lengths > 0.01] / lengths[lengths > 0.01, None]
    met = met * np.where(met @ guess < 0.0, -1.0, 1.0)[:, None]
    met = met[met @ guess > np.cos(np.radians(_CONE_DEG))]
    return np.concatenate((guess[None], met))


def _ring(up: Floats) -> Floats:
    """Directions around another, (k, 3)."""
    across = np.linalg.svd(up[None])[2][1:]
    turns = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    sideways = np.cos(turns)[:, None] * across[0] + np.sin(turns)[:, None] * across[1]
    radii = np.radians(_RING_DEG)[:, None, None]
    return np.asarray((np.cos(radii) * up + np.sin(radii) * sideways).reshape(-1, 3))


def _is_determined(normals: Floats) -> bool:
    """Whether planes are turned against each other enough to meet in one direction: edges side by side are."""
    spread = np.linalg.svd(normals, compute_uv=False) / np.sqrt(len(normals))
    return bool(spread[1] > 0.05)
