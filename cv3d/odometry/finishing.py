"""What a recording's end is good for: all key frames adjusted at once, and the result put together."""

from __future__ import annotations

from collections.abc import Sequence

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
    if len(keys) < 2 or sum(len(key.rows) for key in keys) > _LARGEST:
        return None
    job = gather(keys, [i == 0 for i in range(len(keys))], points, camera)
    return None if job is None else adjust(job, max_iterations=25, rounds=2)


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
    colors = _colors(keys, points, rows, factor)
    return tuple(frames), SparseMap(points.xyz[rows].copy(), colors, points.segment[rows], seen[rows].astype(np.intp))


def _colors(keys: Sequence[Key], points: PointTable, rows: NDArray[np.int64], factor: float) -> NDArray[np.uint8]:
    """Colours of points where key frames see them first; grey of their patches where a picture is gone."""
    found = np.repeat(points.patches[rows, 0, 9, 9][:, None], 3, axis=1)
    place = np.full(len(points.kind), -1, np.int64)
    place[rows] = np.arange(len(rows))
    is_known = np.zeros(len(rows), np.bool_)
    for key in keys:
        at = place[key.rows]
        kept = at >= 0
        kept[kept] = ~is_known[at[kept]]
        if key.read_color is None or int(kept.sum()) == 0:
            continue
        try:
            color = key.read_color()
        except PictureError:
            continue
        pixels = np.rint((key.pixels[kept] + 0.5) / factor - 0.5).astype(np.int64)
        xs, ys = pixels[:, 0].clip(0, color.shape[1] - 1), pixels[:, 1].clip(0, color.shape[0] - 1)
        found[at[kept]] = color[ys, xs]
        is_known[at[kept]] = True
    return found
