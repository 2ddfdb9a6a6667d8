"""Depth that other frames of the batch bear out.

A reflection of a far thing in a shiny surface moves as the camera moves; a surface stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.options import ConsistencyOptions, DepthNoise


def consistent_depth(
    frames: Sequence[DepthFrame], options: ConsistencyOptions, noise: DepthNoise | None = None
) -> list[DepthFrame]:
    """The frames with a depth of 0 where others contradict it.

    A pixel is compared with the frames before and after in the batch: its point is brought into their pictures. Where
    their depth is greater by more than the noise allows, they look through it; where it is less, they see something in
    front and have no opinion. It stays where as many agree as `options.agreements` asks for, or all that have an
    opinion; and where none has.

    Args:
        frames: of one recording, in its order; distorted ones are undistorted.
        options: how many frames are asked, and what agrees.
        noise: of the depth; None: the default.
    """
    noise = noise or DepthNoise()
    ideal = [frame.undistorted() for frame in frames]
    result = []
    for k, frame in enumerate(ideal):
        first, last = max(0, k - options.neighbours), min(len(ideal), k + options.neighbours + 1)
        others = [ideal[j] for j in range(first, last) if j != k]
        result.append(replace(frame, depth=_borne_out(frame, others, options, noise)) if others else frame)
    return result


def _borne_out(
    frame: DepthFrame, others: Sequence[DepthFrame], options: ConsistencyOptions, noise: DepthNoise
) -> NDArray[np.float32]:
    depth = np.where(np.isfinite(frame.depth) & (frame.depth > 0), frame.depth, np.float32(0.0))
    v, u = np.nonzero(depth)
    z = depth[v, u].astype(np.float64)
    fx, fy, cx, cy = frame.camera.params[:4]
    points = np.stack([(u - cx) / fx * z, (v - cy) / fy * z, z], 1)
    agreeing, looking = np.zeros(len(z), np.int32), np.zeros(len(z), np.int32)
    for other in others:
        motion = other.cam_from_world @ np.linalg.inv(frame.cam_from_world)
        there = points @ motion[:3, :3].T + motion[:3, 3]
        gx, gy, hx, hy = other.camera.params[:4]
        ahead = np.maximum(there[:, 2], 1e-6)
        column = np.rint(gx * there[:, 0] / ahead + hx).clip(-1, other.camera.width).astype(np.int32)
        row = np.rint(gy * there[:, 1] / ahead + hy).clip(-1, other.camera.height).astype(np.int32)
        inside = (there[:, 2] > 1e-6) & (column >= 0) & (column < other.camera.width)
        inside &= (row >= 0) & (row < other.camera.height)
        seen = np.where(inside, other.depth[row * inside, column * inside], 0.0)
        spreads = noise.sigma_m(there[:, 2].astype(np.float32)), noise.sigma_m(seen.astype(np.float32))
        tolerance = options.sigmas * np.hypot(*spreads)
        has_depth = np.isfinite(seen) & (seen > 0)
        agrees = has_depth & (np.abs(seen - there[:, 2]) <= tolerance)
        agreeing += agrees
        looking += agrees | (has_depth & (seen > there[:, 2]))
    depth[v, u] = np.where(agreeing >= np.minimum(options.agreements, looking), depth[v, u], np.float32(0.0))
    return depth
