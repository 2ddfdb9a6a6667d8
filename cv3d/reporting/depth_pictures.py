"""Depth and confidence as pictures: 16 and 8 bits for programs, colours for people, and names for their files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.depth.result import DepthMap

Bgr = NDArray[np.uint8]

_NOTHING = (46, 42, 40)
"""Where there is no depth; no colour of the maps."""
_RANGE = (0.02, 0.98)
"""Quantiles of the depth that the colours span."""
_MOST_STEPS = 65535
_QUALITIES = (80, 62, 45)


def own_names(names: Iterable[str], suffix: str = ".jpg") -> dict[str, str]:
    """A file name for every picture, below one folder and no two alike: "clip.mp4#000123" becomes "clip_000123.jpg".

    Args:
        names: of pictures, all different.
        suffix: of the files.
    """
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain, mark, frame = name.rpartition("#")
        plain, frame = (plain, frame) if mark and frame.isdecimal() else (name, "")
        parts = [part for part in Path(plain or "picture").with_suffix("").parts if part not in ("..", os.sep)]
        # A blank ends a name in COLMAP's text.
        base = "_".join("/".join(parts).split()) + (f"_{frame}" if frame else "") or "picture"
        own, number = f"{base}{suffix}", 1
        while own in taken:
            number += 1
            own = f"{base}_{number}{suffix}"
        chosen[name] = own
        taken.add(own)
    return chosen


def depth_step(maps: Iterable[DepthMap], is_metric: bool) -> float:
    """The depth that one step of the 16-bit pictures stands for, in the set's unit of length; one for all of a set.

    It is a millimetre where the unit is the metre and nothing is beyond 65 m; else the smallest of 1, 2, 5 and their
    powers of ten that reaches the farthest depth.
    """
    farthest = max((float(one.depth.max(initial=0.0)) for one in maps), default=0.0)
    if is_metric and farthest <= 1e-3 * _MOST_STEPS:
        return 1e-3
    if farthest <= 0.0:
        return 1.0
    exponent = int(np.floor(np.log10(farthest / _MOST_STEPS)))
    steps = [factor * 10.0**power for power in (exponent, exponent + 1) for factor in (1.0, 2.0, 5.0)]
    return float(next(step for step in steps if step * _MOST_STEPS >= farthest))


def depth_in_steps(depth: NDArray[np.float32], step: float) -> NDArray[np.uint16]:
    """A depth map in steps, (h, w); 0 where there is none, and only there."""
    steps = np.clip(np.rint(depth.astype(np.float64) / step), 1, _MOST_STEPS)
    return np.asarray(np.where(depth > 0.0, steps, 0), np.uint16)


def confidence_in_steps(confidence: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Confidences, (h, w), in 255 steps."""
    return np.asarray(np.rint(255.0 * np.clip(confidence, 0.0, 1.0)), np.uint8)


def shown_range(depth: NDArray[np.float32]) -> tuple[float, float]:
    """From what to what depth the colours go; NaN where there is none."""
    found = depth[depth > 0.0]
    if not found.size:
        return float("nan"), float("nan")
    low, high = np.quantile(found, _RANGE)
    return float(low), float(high)


def depth_colors(depth: NDArray[np.float32]) -> Bgr:
    """A depth map in colours, (h, w, 3): red is near, blue is far, in even steps of the inverse depth."""
    near, far = shown_range(depth)
    found = depth > 0.0
    if not found.any():
        return np.full((*depth.shape, 3), _NOTHING, np.uint8)
    low, high = 1.0 / far, 1.0 / near
    inverse = np.divide(1.0, depth, out=np.zeros(depth.shape), where=found)
    share = np.clip((inverse - low) / max(high - low, 1e-12 * high), 0.0, 1.0)
    colors = cv2.applyColorMap((255.0 * share + 0.5).astype(np.uint8), cv2.COLORMAP_TURBO)
    return np.asarray(np.where(found[..., None], colors, _NOTHING), np.uint8)


def disparity_colors(disparity: NDArray[np.float32]) -> Bgr:
    """Disparities in colours, (h, w, 3), as those of the depth that goes with them."""
    found = disparity > 0.0
    return depth_colors(np.divide(np.float32(1.0), disparity, out=np.zeros_like(disparity), where=found))


def confidence_colors(confidence: NDArray[np.float32]) -> Bgr:
    """Confidences in colours, (h, w, 3): the brighter, the surer."""
    colors = cv2.applyColorMap(confidence_in_steps(confidence), cv2.COLORMAP_VIRIDIS)
    return np.asarray(np.where((confidence > 0.0)[..., None], colors, _NOTHING), np.uint8)


def small_jpeg(bgr: Bgr, side: int, room: int) -> bytes:
    """A picture as JPEG of at most `side` pixels, and about `room` bytes."""
    factor = min(1.0, side / max(bgr.shape[:2]))
    size = (max(1, round(bgr.shape[1] * factor)), max(1, round(bgr.shape[0] * factor)))
    small = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
    for quality in _QUALITIES:
        _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(jpeg) <= room:
            break
    return jpeg.tobytes()


def bgr(color: NDArray[np.uint8]) -> Bgr:
    """RGB, (h, w, 3), the other way round."""
    return np.ascontiguousarray(color[..., ::-1])
