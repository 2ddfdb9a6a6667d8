"""Poses that contradict the model: one of them smears a second copy of the room into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.grid import VoxelGrid
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import inverse_rigid

Floats = NDArray[np.float64]

_WIDTH = 80
"""Width of the pictures that are compared, pixels."""
_REMEMBERED = 50
"""Steps by which the usual one is known."""
_LEAST_COMPARED = 60
_LEAST_SHARE = 0.25
"""Share of a frame's depth that the model has to show before it says anything about its pose."""


@dataclass(frozen=True)
class WildPoseOptions:
    """When a pose contradicts the model."""

    least_agreement: float = 0.35
    """Share of the pixels compared that have to agree."""
    sigmas: float = 6.0
    """Difference of depth that agrees, standard deviations of the depth."""
    truncations: float = 2.0
    """Difference that agrees in any case, truncation distances: drift is not wild."""
    steps: float = 4.0
    """A frame is compared where it goes from the one before by more than so many of the usual steps, and by more than
    what agrees in any case: to look at the model from each frame would take as long as to fuse it."""
    least_turn_deg: float = 4.0
    """Likewise, a turn that is small enough in any case, degrees."""


@dataclass(frozen=True)
class Agreement:
    """What a comparison of depth says."""

    compared: int
    """Pixels where both are."""
    share: float
    """Of these, how many agree; NaN where too few are compared."""


class PoseJudge:
    """Judges each frame by the model of those before it."""

    def __init__(self, grid: VoxelGrid, options: WildPoseOptions | None = None) -> None:
        self._grid = grid
        self._options = options or WildPoseOptions()
        self._last: Floats | None = None
        self._shifts: list[float] = []
        self._turns: list[float] = []

    def accept(self, frame: DepthFrame) -> None:
        """Take a frame's pose for good: later ones are measured by its step."""
        if self._last is not None:
            shift, turn = _step(self._last, frame.cam_from_world)
            self._shifts, self._turns = [*self._shifts[-_REMEMBERED:], shift], [*self._turns[-_REMEMBERED:], turn]
        self._last = frame.cam_from_world

    def is_wild(self, frame: DepthFrame) -> bool:
        """Whether the model shows something else where the frame says it looks; False where it shows too little.

        A frame that goes on from the last one as frames do is not compared.
        """
        return self._leaps(frame) and self.contradicts_model(frame)

    def _leaps(self, frame: DepthFrame) -> bool:
        if self._last is None or not self._shifts:
            return True
        shift, turn = _step(self._last, frame.cam_from_world)
        options = self._options
        allowed = max(options.steps * float(np.median(self._shifts)), options.truncations * self._grid.truncation_m)
        allowed_turn = max(options.steps * float(np.median(self._turns)), options.least_turn_deg)
        return shift > allowed or turn > allowed_turn

    def contradicts_model(self, frame: DepthFrame) -> bool:
        """Whether the model shows something else where the frame says it looks; False where it shows too little."""
        small, camera = _shrunk(frame)
        model = self._grid.ray_cast(camera, frame.cam_from_world, 1).depth
        return self._contradicts(self._agreement(small, model))

    def outvoted(self, frames: Sequence[DepthFrame]) -> list[int]:
        """Frames, of the first ones, that most of the others which look at the same place contradict.

        There is no model yet; so they are laid onto each other, each pair both ways.
        """
        shrunk = [_shrunk(frame) for frame in frames]
        wild = []
        against = np.zeros((len(frames), len(frames)), np.int8)
        for i, (depth, camera) in enumerate(shrunk):
            for j, other in enumerate(frames):
                if i == j:
                    continue
                laid = _laid_onto(depth, camera, frames[i].cam_from_world, shrunk[j][1], other.cam_from_world)
                found = self._agreement(shrunk[j][0], laid)
                if found.compared >= _LEAST_COMPARED:
                    against[j, i] = 1 if self._contradicts(found) else -1
        for i in range(len(frames)):
            votes = against[i] + against[:, i]
            if (votes > 0).sum() > (votes < 0).sum():
                wild.append(i)
        # Where most contradict each other there is no majority that is right.
        return wild if len(wild) < 0.5 * len(frames) else []

    def _agreement(self, measured: NDArray[np.float32], model: NDArray[np.float32]) -> Agreement:
        options = self._grid.options
        valid = (measured > options.min_depth_m) & (measured <= options.max_depth_m)
        both = valid & (model > 0.0)
        compared = int(both.sum())
        if compared < max(_LEAST_COMPARED, _LEAST_SHARE * float(valid.sum())):
            return Agreement(compared, np.nan)
        allowed = np.maximum(
            self._options.sigmas * options.noise.sigma_m(measured[both]),
            self._options.truncations * self._grid.truncation_m,
        )
        return Agreement(compared, float((np.abs(measured[both] - model[both]) <= allowed).mean()))

    def _contradicts(self, found: Agreement) -> bool:
        return found.share < self._options.least_agreement


def _step(first_from_world: Floats, second_from_world: Floats) -> tuple[float, float]:
    """How far a camera went and turned between two poses, metres and degrees."""
    second_from_first = second_from_world @ inverse_rigid(first_from_world)
    cosine = np.clip(0.5 * (np.trace(second_from_first[:3, :3]) - 1.0), -1.0, 1.0)
    return float(np.linalg.norm(second_from_first[:3, 3])), float(np.degrees(np.arccos(cosine)))


def _shrunk(frame: DepthFrame) -> tuple[NDArray[np.float32], Camera]:
    """Every n-th pixel of a frame's depth, and the camera that has just these pixels."""
    step = max(1, frame.camera.width // _WIDTH)
    depth = np.nan_to_num(frame.depth[::step, ::step], nan=0.0, posinf=0.0)
    fx, fy, cx, cy = frame.camera.params[:4]
    params = (fx / step, fy / step, cx / step, cy / step, *frame.camera.shape)
    return depth, Camera(frame.camera.model, depth.shape[1], depth.shape[0], params)


def _laid_onto(
    depth: NDArray[np.float32], camera: Camera, cam_from_world: Floats, other: Camera, other_from_world: Floats
) -> NDArray[np.float32]:
    """One camera's depth as points in another's picture, the nearest of each pixel; 0 where there is none."""
    rows, columns = np.nonzero(depth > 0.0)
    rays = camera.unproject(np.stack([columns, rows], axis=-1).astype(np.float64))
    points = rays * (depth[rows, columns] / rays[:, 2])[:, None]
    motion = other_from_world @ inverse_rigid(cam_from_world)
    moved = points @ motion[:3, :3].T + motion[:3, 3]
    moved = moved[moved[:, 2] > 0.0]
    pixels = np.nan_to_num(other.project(moved), nan=-1.0, posinf=-1.0, neginf=-1.0)
    column, row = np.rint(pixels.clip(-2.0, max(other.width, other.height) + 1.0)).astype(np.int64).T
    inside = (column >= 0) & (column < other.width) & (row >= 0) & (row < other.height)
    out = np.full((other.height, other.width), np.inf, np.float32)
    np.minimum.at(out, (row[inside], column[inside]), moved[inside, 2].astype(np.float32))
    return np.where(np.isfinite(out), out, np.float32(0.0))
