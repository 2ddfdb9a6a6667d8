"""Whether depth and poses can be of one scale and in metres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cv3d.errors import InputError
from cv3d.fusion.frames import DepthFrame
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.trajectory import Trajectory

_FARTHEST_M = 100.0
"""Median depth beyond which no depth camera measures."""
_NEAREST_M = 0.02
_FASTEST = 0.5
"""Step between two frames over the depth seen in them: pictures would hardly overlap any more."""
_LARGEST_M = 1000.0
_LEAST_FRAMES = 3


def check_depth_scale(frame: DepthFrame, name: str) -> None:
    """See that depth is of a plausible size.

    Raises:
        InputError: it looks as if it were in other units.
    """
    depth = frame.depth[(frame.depth > 0.0) & np.isfinite(frame.depth)]
    typical = float(np.median(depth)) if len(depth) else 1.0
    if not _NEAREST_M < typical < _FARTHEST_M:
        raise InputError(
            f"{name}: its depth is around {typical:.4g} m: is it in other units? --depth-scale says how many metres a "
            "unit is; --any-size fuses it as it is"
        )


def check_steps(frames: Sequence[DepthFrame], name: str) -> None:
    """See that a camera goes from one frame to the next no farther than it sees.

    Raises:
        InputError: it does; poses and depth look as if they were in different units.
    """
    if len(frames) < _LEAST_FRAMES:
        return
    depth = np.concatenate([frame.depth[(frame.depth > 0.0) & np.isfinite(frame.depth)] for frame in frames])
    typical = float(np.median(depth))
    positions = np.stack([inverse_rigid(frame.cam_from_world)[:3, 3] for frame in frames])
    step = float(np.median(np.linalg.norm(np.diff(positions, axis=0), axis=1)))
    if step > _FASTEST * typical:
        raise InputError(
            f"{name}: the camera goes {step:.3g} m from one frame to the next, with depth around {typical:.2g} m: are "
            "the poses in millimetres? --pose-scale 0.001 makes metres of them; --any-size fuses it as it is"
        )


def check_extent(trajectory: Trajectory, name: str) -> None:
    """See that a path stays within a kilometre.

    Raises:
        InputError: it does not.
    """
    extent = float(np.linalg.norm(np.ptp(trajectory.positions, axis=0))) if len(trajectory) else 0.0
    if extent > _LARGEST_M:
        raise InputError(
            f"{name}: the path spans {extent / 1000.0:.3g} km: is it in millimetres? --pose-scale 0.001 makes metres "
            "of it; --any-size fuses it as it is"
        )
