"""What is to be seen in space."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cv3d.formats.meshes import Up
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.mesh import Mesh

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SceneMesh:
    """A mesh, or a point cloud where it has no triangles."""

    name: str
    mesh: Mesh
    values: NDArray[np.float32] | None = None
    """(n,) a figure of each vertex that its colour tells, in the place of its own colour."""
    values_title: str = ""
    """What the figures are, with their unit."""
    values_top: float | None = None
    """The figure with the last colour of the scale; None: the largest."""
    is_hidden: bool = False
    """Whether it is shown only when its name is clicked."""


@dataclass(frozen=True, eq=False)
class ScenePath:
    """Where something moved along, coloured by its time."""

    name: str
    positions: Floats
    """(n, 3), metres."""
    times: Floats
    """(n,), seconds."""
    is_timed: bool = True
    """Whether times are seconds; else numbers of frames."""


@dataclass(frozen=True, eq=False)
class SceneCameras:
    """Cameras as pyramids."""

    name: str
    world_from_cam: Floats
    """(n, 4, 4)."""
    cameras: tuple[Camera | None, ...]
    """Of each; None: of unknown angle."""
    labels: tuple[str, ...] = ()
    """What each is called."""
    depth: float | None = None
    """Of the pyramids, in the unit of the scene; None: a share of the scene's size."""
    most: int = 150
    """Cameras drawn; of more, some are picked evenly."""


SceneItem = SceneMesh | ScenePath | SceneCameras


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that is seen together, in one frame."""

    items: tuple[SceneItem, ...]
    up: Up = Up.MINUS_Y
    eye: tuple[Floats, Floats] | None = None
    """Where one looks from and at in the beginning, (3,) each; None: from outside, from above."""
    notes: tuple[str, ...] = field(default=())
    """What the person who looks should know, one line each."""
    unit: str = "m"
    """Of lengths; empty where they have none."""

    def bounds(self) -> Floats:
        """Least and greatest coordinates of all, (2, 3); zero where there is nothing."""
        parts = [np.zeros((0, 3))]
        for item in self.items:
            if isinstance(item, SceneMesh):
                parts.append(item.mesh.vertices.astype(np.float64))
            else:
                parts.append(item.positions if isinstance(item, ScenePath) else item.world_from_cam[:, :3, 3])
        points = np.concatenate(parts)
        points = points[np.isfinite(points).all(axis=1)]
        return np.stack([points.min(axis=0), points.max(axis=0)]) if len(points) else np.zeros((2, 3))


def behind_cameras(world_from_cam: Floats, bounds: Floats) -> tuple[Floats, Floats]:
    """A place behind and above some cameras, from which one sees what they saw and the walls behind them do not hide.

    Args:
        world_from_cam: (n, 4, 4), n > 0.
        bounds: (2, 3) of what is looked at.

    Returns:
        Where from and at what, (3,) each.
    """
    diagonal = float(np.linalg.norm(bounds[1] - bounds[0])) or 1.0
    ahead, above = world_from_cam[:, :3, 2].mean(axis=0), -world_from_cam[:, :3, 1].mean(axis=0)
    ahead, above = (axis / max(float(np.linalg.norm(axis)), 1e-9) for axis in (ahead, above))
    target = bounds.mean(axis=0)
    return target + diagonal * (0.5 * above - 1.1 * ahead), target
