"""Where every unknown stands in the normal equations, and which observations meet in which of them.

Unknowns of poses and intrinsics are *columns*; points are eliminated and have none. A pose has six columns, and the
free parameters of a camera that only this pose uses follow it at once, so that both are one block. A camera that
several poses share is a block of its own behind all poses: the border.

Observations are sorted by point. A point meets each block at most once, in a *slot*: the 3 x width coupling of the
point with the block. The slots of a point are in the order of their columns, so that the lower triangle of the reduced
system is filled by pairs of slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.bundle.problem import BundleProblem
from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]
Bools: TypeAlias = NDArray[np.bool_]

POSE = 6


@dataclass(frozen=True, eq=False)
class Columns:
    """Where the unknowns of poses and intrinsics stand."""

    pose_offset: Ints
    """First column of each pose, (P,); -1 where it is held."""
    camera_offset: Ints
    """First column of each camera's free parameters, (C,); -1 where it is held."""
    bases: tuple[Floats, ...]
    """For each camera the change of its parameters by its unknowns, (params, free)."""
    total: int
    """Number of columns, n."""
    border: int
    """First column of the border; n where there is none."""
    block_offset: Ints
    """First column of each block, ascending, (B,)."""
    block_width: Ints
    """(B,)."""

    @property
    def widest(self) -> int:
        """The largest number of free parameters of one camera."""
        return max((basis.shape[1] for basis in self.bases), default=0)


@dataclass(frozen=True, eq=False)
class Structure:
    """The columns, and the observations sorted by point with the slots that they fill."""

    columns: Columns
    order: Ints
    """Original index of each sorted observation, (N,)."""
    view: Ints
    """(N,), sorted."""
    point: Ints
    """(N,), sorted."""
    point_start: Ints
    """First observation of each point, (M + 1,)."""
    point_free: Bools
    """(M,)."""
    blocks: Ints
    """For each view (V, 4): offset and width of its pose block, offset and width of its intrinsics block where that is
    one of its own. Jacobian columns are six for the pose, then those of the intrinsics."""
    slot_start: Ints
    """First slot of each point, (M + 1,)."""
    slots: Ints
    """For each slot (S, 3): offset and width of its block, and where its 3 x width numbers begin."""
    slot_numbers: int
    """Length of the array of all slots' numbers."""
    observation_slots: Ints
    """The two slots of each observation, (N, 2); -1: none."""


def intrinsics_bases(problem: BundleProblem) -> tuple[Floats, ...]:
    """For each camera the change of its parameters by its unknowns, (params, free)."""
    bases = []
    for index, camera in enumerate(problem.cameras):
        names = camera.lens.param_names
        columns: list[Floats] = []
        if problem.free_intrinsics:
            free = problem.free_intrinsics[index]
            identity = np.eye(len(names))
            focal = free.one_focal and ("fx" in free.names or "fy" in free.names)
            if focal:
                columns.append(identity[0] + identity[1] * (camera.params[1] / camera.params[0]))
            for i, name in enumerate(names):
                if name in free.names and not (focal and i < 2):
                    columns.append(identity[i])
        bases.append(np.stack(columns, axis=1) if columns else np.zeros((len(names), 0)))
    return tuple(bases)


def lay_out(problem: BundleProblem, pose_order: Ints | None = None) -> Columns:
    """The columns of a problem, its poses in their own order or another one, (P,)."""
    poses, cameras = len(problem.poses), len(problem.cameras)
    bases = intrinsics_bases(problem)
    width = np.array([basis.shape[1] for basis in bases], np.intp)
    free_pose = np.ones(poses, bool) if problem.held_poses is None else ~problem.held_poses
    private = np.full(poses, -1, np.intp)
    is_private = np.zeros(cameras, bool)
    if width.any():
        pairs = np.unique(np.stack([problem.views.camera, problem.views.pose], axis=1), axis=0)
        carriers = np.bincount(pairs[:, 0], minlength=cameras)
        for camera, pose in pairs[(carriers[pairs[:, 0]] == 1) & (width[pairs[:, 0]] > 0)]:
            if free_pose[pose] and private[pose] < 0:
                private[pose] = camera
                is_private[camera] = True
    order = np.arange(poses) if pose_order is None else pose_order
    ordered = order[free_pose[order]]
    sizes = POSE + np.where(private[ordered] >= 0, width[private[ordered]], 0)
    ends = np.cumsum(sizes)
    pose_offset = np.full(poses, -1, np.intp)
    pose_offset[ordered] = ends - sizes
    camera_offset = np.full(cameras, -1, np.intp)
    owners = ordered[private[ordered] >= 0]
    camera_offset[private[owners]] = pose_offset[owners] + POSE
    border = int(ends[-1]) if len(ends) else 0
    shared = np.flatnonzero((width > 0) & ~is_private)
    shared_ends = border + np.cumsum(width[shared])
    camera_offset[shared] = shared_ends - width[shared]
    return Columns(
        pose_offset,
        camera_offset,
        bases,
        total=int(shared_ends[-1]) if len(shared) else border,
        border=border,
        block_offset=np.concatenate([ends - sizes, shared_ends - width[shared]]).astype(np.intp),
        block_width=np.concatenate([sizes, width[shared]]).astype(np.intp),
    )


def view_blocks(problem: BundleProblem, columns: Columns) -> Ints:
    """The blocks that each view meets, (V, 4); see :class:`Structure`."""
    pose_offset = columns.pose_offset[problem.views.pose]
    camera_offset = columns.camera_offset[problem.views.camera]
    width = np.array([basis.shape[1] for basis in columns.bases], np.intp)[problem.views.camera]
    joined = (pose_offset >= 0) & (camera_offset == pose_offset + POSE) & (width > 0) & (camera_offset < columns.border)
    blocks = np.empty((len(pose_offset), 4), np.intp)
    blocks[:, 0] = pose_offset
    blocks[:, 1] = np.where(pose_offset >= 0, POSE + np.where(joined, width, 0), 0)
    blocks[:, 2] = np.where(joined | (width == 0), -1, camera_offset)
    blocks[:, 3] = np.where(joined, 0, width)
    return blocks


def build(problem: BundleProblem, columns: Columns) -> Structure:
    """Sort the observations and find every point's slots."""
    seen = problem.observations
    point = np.asarray(seen.point, np.intp)
    order = np.argsort(point, kind="stable")
    point = point[order]
    view = np.asarray(seen.view, np.intp)[order]
    start = np.zeros(len(problem.points) + 1, np.intp)
    np.cumsum(np.bincount(point, minlength=len(problem.points)), out=start[1:])
    held = problem.held_points
    free = np.ones(len(problem.points), np.bool_) if held is None else ~held
    blocks = view_blocks(problem, columns)
    slot_start, slots, numbers, observation_slots = _find_slots(start, view, free, blocks)
    return Structure(
        columns, order, view, point, start, free, blocks, slot_start, slots, int(numbers), observation_slots
    )


@fused
def _find_slots(  # noqa: PLR0912
    start: Ints, view: Ints, free: Bools, blocks: Ints
) -> tuple[Ints, Ints, int, Ints]:
    points, count = len(start) - 1, len(view)
    slot_start = np.zeros(points + 1, np.intp)
    slots = np.empty((2 * count, 3), np.intp)
    of = np.full((count, 2), -1, np.intp)
    used, numbers = 0, 0
    for p in range(points):
        first = used
        if free[p]:
            for k in range(start[p], start[p + 1]):
                for which in range(2):
                    offset, width = blocks[view[k], 2 * which], blocks[view[k], 2 * which + 1]
                    if width == 0:
                        continue
                    at = used
                    while at > first and slots[at - 1, 0] > offset:
                        at -= 1
                    if at > first and slots[at - 1, 0] == offset:
                        continue
                    for later in range(used, at, -1):
                        slots[later, 0], slots[later, 1] = slots[later - 1, 0], slots[later - 1, 1]
                    slots[at, 0], slots[at, 1] = offset, width
                    used += 1
            for k in range(start[p], start[p + 1]):
                for which in range(2):
                    if blocks[view[k], 2 * which + 1] > 0:
                        low, high = first, used - 1
                        offset = blocks[view[k], 2 * which]
                        while low < high:
                            middle = (low + high) // 2
                            if slots[middle, 0] < offset:
                                low = middle + 1
                            else:
                                high = middle
                        of[k, which] = low
            for s in range(first, used):
                slots[s, 2] = numbers
                numbers += 3 * slots[s, 1]
        slot_start[p + 1] = used
    return slot_start, slots[:used].copy(), numbers, of
