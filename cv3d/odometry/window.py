"""The sliding window: the latest key frames and their points adjusted together, older key frames holding them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.bundle import BundleOptions, BundleProblem, Observations, Views, adjust_bundle
from cv3d.geometry.cameras import Camera
from cv3d.geometry.robust import Loss, LossKind
from cv3d.odometry.keys import Key
from cv3d.odometry.points import MAPPED, PointTable

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]

_LOSS = Loss(LossKind.CAUCHY, 2.0)
_DEPTH_LOSS = Loss(LossKind.CAUCHY, 2.0)
_OUTLIER = 4.0
"""Deviations of an observation that is given up."""


@dataclass(frozen=True, eq=False)
class Job:
    """A window to adjust, cut loose from the map: it can be solved beside tracking."""

    problem: BundleProblem
    keys: tuple[int, ...]
    """Numbers of the key frames, in the order of the problem's poses."""
    rows: Rows
    """(m,) of the problem's points."""
    entries: NDArray[np.int64]
    """(N, 2) for every observation: its key frame's number and the point's row."""


@dataclass(frozen=True, eq=False)
class Adjusted:
    """What came of it."""

    job: Job
    poses: Floats
    points: Floats
    outliers: Bools
    """(N,) observations to give up."""
    noise: float
    """Of one coordinate over the deviation expected."""


def gather(keys: Sequence[Key], held: Sequence[bool], points: PointTable, camera: Camera) -> Job | None:
    """The adjustment of some key frames.

    Args:
        keys: the key frames.
        held: which of them stay.
        points: the map.
        camera: of the tracked pictures.

    Returns:
        The job; None where nothing could move.
    """
    rows = np.concatenate([key.rows for key in keys])
    view = np.repeat(np.arange(len(keys)), [len(key.rows) for key in keys])
    pixels = np.concatenate([key.pixels for key in keys]).astype(np.float64)
    covariance = np.concatenate([key.covariance for key in keys]).astype(np.float64)
    depth = np.concatenate([key.depth for key in keys])
    depth_sigma = np.concatenate([key.depth_sigma for key in keys])
    used = points.kind[rows] == MAPPED
    # A point that only held key frames see tells nothing of the others.
    free = ~np.asarray(held)[view]
    moving = np.zeros(len(points.kind), np.bool_)
    moving[rows[used & free]] = True
    used &= moving[rows]
    # One view without depth does not hold a point.
    counts = np.zeros(len(points.kind))
    np.add.at(counts, rows[used], 1.0 + (depth[used] > 0.0))
    used &= counts[rows] >= 2.0
    if not (used & free).any():
        return None
    kept, index = np.unique(rows[used], return_inverse=True)
    problem = BundleProblem(
        cameras=(camera,),
        poses=np.stack([key.cam_from_world for key in keys]),
        points=points.xyz[kept].copy(),
        views=Views.one_per_pose(len(keys)),
        observations=Observations(
            pixels=pixels[used],
            view=view[used].astype(np.intp),
            point=index.astype(np.intp),
            covariance=covariance[used][:, [0, 1, 1, 2]].reshape(-1, 2, 2),
            depth=depth[used] if (depth[used] > 0.0).any() else None,
            depth_sigma=depth_sigma[used] if (depth[used] > 0.0).any() else 1.0,
        ),
        # A key frame that shares no point with the others stays where it is.
        held_poses=np.asarray(held, np.bool_) | (np.bincount(view[used], minlength=len(keys)) == 0),
    )
    numbers = np.array([key.number for key in keys])
    entries = np.stack([numbers[view[used]], rows[used]], axis=1)
    return Job(problem, tuple(int(n) for n in numbers), kept, entries)


def adjust(job: Job, max_iterations: int = 8, *, is_final: bool = False) -> Adjusted:
    """Solve it; with care where it is the last time, and on one thread where tracking goes on beside it."""
    options = BundleOptions(
        loss=_LOSS,
        depth_loss=_DEPTH_LOSS,
        max_iterations=max_iterations,
        relative_decrease=1e-6 if is_final else 1e-4,
        outlier_sigmas=_OUTLIER,
        threads=None if is_final else 1,
    )
    result = adjust_bundle(job.problem, options)
    return Adjusted(job, result.poses, result.points, result.outliers, result.noise)
