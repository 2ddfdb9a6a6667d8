"""A camera's (or body's) path: rigid poses over time, interpolated, and associated with another path by time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import EstimationError, InputError

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_ORTHOGONAL = 1e-5
"""Departure of a rotation matrix from orthogonality that seven digits explain, in products of several of them too."""
DEFAULT_MAX_DIFF_S = 0.01
"""How far apart stamps of one moment are in two recordings of it, as of the TUM RGB-D benchmark's tools."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses over time.

    Raises:
        InputError: the shapes do not match, a number is not finite, times go back, or a pose is no rigid motion.
    """

    times: Floats
    """Time stamps, (n,), seconds, not decreasing; a stamp may be there twice."""
    world_from_cam: Floats
    """Poses, (n, 4, 4), metres; the moving frame may as well be a body's."""
    is_timed: bool = True
    """False: nothing said when the poses were, and `times` holds the numbers of their frames."""

    def __post_init__(self) -> None:
        times, poses = self.times, self.world_from_cam
        if times.ndim != 1 or poses.shape != (len(times), 4, 4):
            raise InputError(f"a trajectory has times (n,) and poses (n, 4, 4), not {times.shape} and {poses.shape}")
        finite = np.isfinite(times) & np.isfinite(poses).all(axis=(1, 2))
        if not finite.all():
            raise InputError(f"pose {_first(~finite)} of the trajectory is not finite")
        if (np.diff(times) < 0.0).any():
            raise InputError(f"the times of the trajectory go back at pose {_first(np.diff(times) < 0.0) + 1}")
        rotations = poses[:, :3, :3]
        skew = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        broken = (skew > _ORTHOGONAL) | (np.linalg.det(rotations) < 0.0)
        broken |= (poses[:, 3] != np.array([0.0, 0.0, 0.0, 1.0])).any(axis=1)
        if broken.any():
            raise InputError(f"pose {_first(broken)} of the trajectory is not a rotation with a translation")

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        unit = "s" if self.is_timed else "frames"
        return f"Trajectory({len(self)} poses, {self.duration_s:.6g} {unit}, {self.length_m:.6g} m)"

    @property
    def positions(self) -> Floats:
        """Where the moving frame's origin is, (n, 3), metres."""
        return self.world_from_cam[:, :3, 3]

    @property
    def rotations(self) -> Floats:
        """Rotation matrices world_from_cam, (n, 3, 3)."""
        return self.world_from_cam[:, :3, :3]

    @property
    def quat_wxyz(self) -> Floats:
        """Rotations world_from_cam as unit quaternions, (n, 4), real part first and not negative."""
        from scipy.spatial.transform import Rotation

        xyzw = Rotation.from_matrix(self.rotations).as_quat(canonical=True)
        return np.roll(np.asarray(xyzw, dtype=np.float64), 1, axis=1)

    @property
    def duration_s(self) -> float:
        """From the first stamp to the last, seconds; 0 where there are no poses."""
        return float(self.times[-1] - self.times[0]) if len(self) else 0.0

    @property
    def travelled_m(self) -> Floats:
        """Length of the path up to each pose, (n,), metres."""
        steps = np.linalg.norm(np.diff(self.positions, axis=0), axis=1)
        return np.concatenate([np.zeros(min(len(self), 1)), np.cumsum(steps)])

    @property
    def length_m(self) -> float:
        """Length of the path, metres."""
        return float(self.travelled_m[-1]) if len(self) else 0.0

    def select(self, index: Indices | NDArray[np.bool_] | slice) -> Trajectory:
        """The poses at an index, a mask or a slice, in the order of time."""
        return Trajectory(self.times[index], self.world_from_cam[index], self.is_timed)

    def shifted(self, offset_s: float) -> Trajectory:
        """The same poses with `offset_s` seconds added to their stamps."""
        return Trajectory(self.times + offset_s, self.world_from_cam, self.is_timed)

    def transformed(self, new_from_world: Floats) -> Trajectory:
        """The path seen from another frame, of another scale perhaps; the poses stay rigid.

        Args:
            new_from_world: a similarity [[sR, t], [0, 1]], (4, 4).
        """
        linear = new_from_world[:3, :3]
        poses = self.world_from_cam.copy()
        poses[:, :3, :3] = linear / np.cbrt(np.linalg.det(linear)) @ self.rotations
        poses[:, :3, 3] = self.positions @ linear.T + new_from_world[:3, 3]
        return Trajectory(self.times, poses, self.is_timed)

    def scaled(self, scale: float) -> Trajectory:
        """The path with all positions multiplied."""
        poses = self.world_from_cam.copy()
        poses[:, :3, 3] *= scale
        return Trajectory(self.times, poses, self.is_timed)

    def interpolated(self, times: Floats) -> Trajectory:
        """Poses at other times: positions on the straight line, rotations on the shortest arc between neighbours.

        Args:
            times: (m,), not decreasing, seconds, within the stamps of the trajectory.

        Raises:
            EstimationError: a time is before the first stamp or after the last.
        """
        from scipy.spatial.transform import Rotation

        times = np.asarray(times, dtype=np.float64)
        if not len(self) or (len(times) and (times[0] < self.times[0] or times[-1] > self.times[-1])):
            had = f"from {self.times[0]:.6f} to {self.times[-1]:.6f}" if len(self) else "without poses"
            raise EstimationError(f"a trajectory {had} says nothing of other times; it is not extrapolated")
        after = np.clip(np.searchsorted(self.times, times, side="right"), 1, max(len(self) - 1, 1))
        after = np.minimum(after, len(self) - 1)
        before = np.maximum(after - 1, 0)
        gap = self.times[after] - self.times[before]
        share = np.where(gap > 0.0, (times - self.times[before]) / np.where(gap > 0.0, gap, 1.0), 1.0)
        rotations = Rotation.from_matrix(self.rotations)
        step = (rotations[before].inv() * rotations[after]).as_rotvec()
        turned = rotations[before] * Rotation.from_rotvec(share[:, None] * step)
        poses = np.tile(np.eye(4), (len(times), 1, 1))
        poses[:, :3, :3] = turned.as_matrix()
        poses[:, :3, 3] = self.positions[before] + share[:, None] * (self.positions[after] - self.positions[before])
        return Trajectory(times, poses, self.is_timed)


def associate(
    first: Trajectory, second: Trajectory, max_diff_s: float = DEFAULT_MAX_DIFF_S, offset_s: float = 0.0
) -> tuple[Indices, Indices]:
    """Poses of one moment in two trajectories.

    Every pose of the one that has fewer (of the first, where both have as many) is matched with the pose of the other
    whose stamp is nearest, if that is near enough. So a pose of the longer one may be matched twice.

    Args:
        first: one trajectory.
        second: the other.
        max_diff_s: how far apart two stamps of one moment may be, seconds.
        offset_s: added to the stamps of `second`, seconds.

    Returns:
        Indices into the first and into the second, (k,) each.
    """
    times = second.times + offset_s
    if len(first) <= len(second):
        own, other = _nearest(first.times, times, max_diff_s)
        return own, other
    own, other = _nearest(times, first.times, max_diff_s)
    return other, own


def _nearest(times: Floats, among: Floats, max_diff_s: float) -> tuple[Indices, Indices]:
    """Indices of those of `times` that have a neighbour near enough, and of the nearest; the earlier one of two."""
    if not len(among):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # Of equal stamps the first is taken: searchsorted's left end.
    after = np.minimum(np.searchsorted(among, times, side="left"), len(among) - 1)
    before = np.searchsorted(among, among[np.maximum(after - 1, 0)], side="left")
    nearest = np.where(np.abs(among[before] - times) <= np.abs(among[after] - times), before, after)
    kept = np.flatnonzero(np.abs(among[nearest] - times) <= max_diff_s)
    return kept, nearest[kept].astype(np.int64)


def _first(mask: NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(mask)[0])
