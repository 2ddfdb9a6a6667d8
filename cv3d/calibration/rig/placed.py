"""Cameras whose views of the board are placed, and how far a pose is from explaining a view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.calibration.boards import Board
from cv3d.calibration.problem import Observations, spread_indices
from cv3d.calibration.rig.symmetry import Turn
from cv3d.geometry.cameras.base import CameraModel

Detected = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Indices of the board's points found in a picture, (n,), and where, (n, 2), pixels."""
_JUDGED_POINTS = 12
"""Corners of a view by which a pose is judged."""
_CHUNK = 200_000
"""Points projected at a time."""


@dataclass(frozen=True)
class PlacedCamera:
    """One camera of a rig, its views placed by itself."""

    name: str
    model: CameraModel
    params: Tensor
    """(P,)."""
    size: int
    """The larger side of the image, pixels."""
    scale_px: float
    """Typical residual of one coordinate of a corner, pixels."""
    held: bool
    """Whether the intrinsics were given."""
    detections: tuple[Detected, ...]
    """Of each view."""
    observations: Observations
    """The same, padded."""
    frames: Tensor
    """Which frame each view belongs to, (V,), int64."""
    cam_from_board: Tensor
    """(V, 4, 4)."""

    @property
    def views(self) -> int:
        """Number of views V."""
        return len(self.frames)

    def relabelled(self, board: Board, labels: Sequence[NDArray[np.int64]]) -> PlacedCamera:
        """The same with the points of each view called `labels[view][point]` instead."""
        detections = tuple((names[ids], pixels) for names, (ids, pixels) in zip(labels, self.detections, strict=True))
        observations = Observations.gather(torch.from_numpy(board.points_m()), detections)
        return replace(self, detections=detections, observations=observations)

    def pose_errors(self, views: Tensor, poses: Tensor, turns: Sequence[Turn]) -> Tensor:
        """How far poses of the board are from explaining views.

        Args:
            views: indices of views, (K,).
            poses: for each view L poses of the board in this camera's frame, (L, K, 4, 4).
            turns: the labellings to try.

        Returns:
            Median distance between projected and seen corners, (L, K, len(turns)), pixels; infinity where the camera
            could not see the board at all.
        """
        points, pixels, seen = self._thinned(views)
        step = max(1, _CHUNK // max(1, points.shape[0] * points.shape[1]))
        parts = []
        for chunk in torch.split(poses, step):
            columns = []
            for turn in turns:
                pose = chunk @ torch.from_numpy(turn.turned_from_board)
                camera_points = points @ pose[..., :3, :3].transpose(-1, -2) + pose[..., None, :3, 3]
                distances = torch.linalg.vector_norm(self.model.project(self.params, camera_points) - pixels, dim=-1)
                inside = self.model.valid_points(self.params, camera_points)
                distances = torch.where(inside, distances, torch.full_like(distances, torch.inf))
                distances = torch.where(seen, distances, torch.full_like(distances, torch.nan))
                columns.append(torch.nanmedian(distances, dim=-1).values)
            parts.append(torch.stack(columns, dim=-1))
        return torch.cat(parts)

    def _thinned(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        observed = self.observations.select(views)
        width = min(_JUDGED_POINTS, observed.seen.shape[1])
        picked = torch.zeros(len(views), width, dtype=torch.int64)
        seen = torch.zeros(len(views), width, dtype=torch.bool)
        for v in range(len(views)):
            indices = torch.nonzero(observed.seen[v])[:, 0]
            chosen = indices[spread_indices(len(indices), width)]
            picked[v, : len(chosen)] = chosen
            seen[v, : len(chosen)] = True
        points = torch.take_along_dim(observed.points, picked[..., None], dim=1)
        pixels = torch.take_along_dim(observed.pixels, picked[..., None], dim=1)
        return points, pixels, seen


def common_views(first: PlacedCamera, second: PlacedCamera) -> tuple[Tensor, Tensor]:
    """The views of two cameras in the frames that both have, as indices (K,) into each one's views."""
    same = first.frames[:, None] == second.frames[None, :]
    pairs = torch.nonzero(same)
    return pairs[:, 0], pairs[:, 1]
