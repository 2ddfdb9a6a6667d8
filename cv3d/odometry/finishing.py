"""What a recording's end is good for: all key frames adjusted at once, and the result put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import PictureError
from cv3d.geometry.cameras import Camera
from cv3d.odometry.keys import Key
from cv3d.odometry.points import MAPPED, PointTable
from cv3d.odometry.results import KeyFrame, SparseMap
from cv3d.odometry.window import Adjusted, adjust, gather

_LARGEST = 400_000
"""Observations up to which all key frames are adjusted at once."""


def adjust_all(keys: Sequence[Key], points: PointTable, camera: Camera) -> Adjusted | None:
    """All key frames of one segment at once, the first of them held; None where that is too much, or nothing moves."""
    keys = [key for key in keys if key.follows is None]
    if len(keys) < 2 or sum(len(key.rows) for key in keys) > _LARGEST:
        return None
    job = gather(keys, [i == 0 for i in range(len(keys))], points, camera)
    return None if job is None else adjust(job, max_iterations=25, is_final=True)


def final_map(keys: Sequence[Key], points: PointTable, factor: float) -> tuple[tuple[KeyFrame, ...], SparseMap]:
    """Key frames and points as results have them.

    Args:
        keys: all key frames.
        points: the map.
        factor: size of the tracked pictures over that of the source's.
    """
    seen = np.zeros(len(points.kind), np.int64)
    for key in keys:
        mapped = key.rows[points.kind[key.rows] == MAPPED]
        seen[mapped] += 1
    rows = np.flatnonzero((seen >= 2) & (points.kind == MAPPED))
    place = np.full(len(points.kind), -1, np.int64)
    place[rows] = np.arange(len(rows))
    frames = []
    for key in keys:
        if key.follows is not None:
            continue
        kept = place[key.rows] >= 0
        frames.append(
            KeyFrame(
                frame=key.frame,
                time=key.time,
                name=key.name,
                segment=key.segment,
                world_from_cam=key.world_from_cam,
                points=place[key.rows[kept]].astype(np.intp),
                pixels=((key.pixels[kept] + 0.5) / factor - 0.5).astype(np.float32),
            )
        )
    views = seen[rows].astype(np.intp)
    return tuple(frames), SparseMap(points.xyz[rows].copy(), points.color[rows].copy(), points.segment[rows], views)


def colors_at(read_color: Callable[[], NDArray[np.uint8]], pixels: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """Colours (n, 3) of pixels (n, 2) of a picture; None where it cannot be decoded any more."""
    try:
        color = read_color()
    except PictureError:
        return None
    at = np.rint(pixels).astype(np.int64)
    chosen: NDArray[np.uint8] = color[at[:, 1].clip(0, color.shape[0] - 1), at[:, 0].clip(0, color.shape[1] - 1)]
    return chosen
