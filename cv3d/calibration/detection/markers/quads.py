"""Quadrilaterals that could be the outline of a square marker.

Adaptive thresholds at several scales, contours of the dark regions and of their holes (so that a marker printed with
black and white exchanged is found in the same pass), polygon approximation, and a straight line through each side. A
mask that has been eroded first separates tags that touch a neighbour at a corner, as the tags of Kalibr's AprilGrid
do.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.base import Gray

_PASSES: tuple[tuple[int, int], ...] = ((9, 0), (21, 0), (21, 1), (45, 0), (45, 2))
"""Width of the adaptive threshold's window in pixels, and erosion of the dark mask in pixels."""
_THRESHOLD_OFFSET = 5.0
_MIN_SIDE = 7.0
_MIN_COMPACTNESS = 0.02
"""Area over squared contour length; 1/16 for a square, 0.02 for one seen at about 75 degrees."""
_APPROXIMATION = 0.035
"""Tolerance of the polygon approximation, as a share of the contour's length."""
_SIDE_SAMPLES = np.linspace(0.14, 0.86, 16)


def find_quads(gray: Gray) -> NDArray[np.float64]:
    """Convex quadrilaterals in `gray`, (n, 4, 2) pixels, clockwise as seen in the picture (x right, y down).

    Dark quadrilaterals on a lighter ground and the reverse; the same one may be listed several times. Corners are the
    intersections of lines fitted to the sides, accurate to about half a pixel.
    """
    smooth = cv2.GaussianBlur(gray, (3, 3), 0)
    sides: list[NDArray[np.float64]] = []
    outward: list[float] = []
    masks: dict[int, NDArray[np.uint8]] = {}
    for window, erosion in _PASSES:
        if window >= min(gray.shape):
            continue
        if window not in masks:
            dark = cv2.adaptiveThreshold(
                smooth, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, window, _THRESHOLD_OFFSET
            )
            masks[window] = np.asarray(dark, dtype=np.uint8)
        mask = masks[window]
        if erosion:
            square = np.ones((2 * erosion + 1, 2 * erosion + 1), np.uint8)
            mask = np.asarray(cv2.erode(mask, square), dtype=np.uint8)
        _collect(mask, erosion, sides, outward)
    if not sides:
        return np.zeros((0, 4, 2))
    return _intersect_sides(np.stack(sides), np.array(outward))


def _collect(mask: NDArray[np.uint8], erosion: int, sides: list[NDArray[np.float64]], outward: list[float]) -> None:
    """Append the side samples, (4, k, 2), of every quadrilateral contour and how far outside of them its edge lies."""
    height, width = mask.shape
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        length = len(contour)
        if length < 4 * _MIN_SIDE - 4:
            continue
        signed_area = cv2.contourArea(contour, oriented=True)
        if abs(signed_area) < _MIN_COMPACTNESS * length * length:
            continue
        polygon = cv2.approxPolyDP(contour, _APPROXIMATION * length, closed=True)
        if len(polygon) != 4 or not cv2.isContourConvex(polygon):
            continue
        corners = polygon[:, 0].astype(np.int64)
        if corners.min() < 1 or corners[:, 0].max() > width - 2 or corners[:, 1].max() > height - 2:
            continue
        points = contour[:, 0]
        is_corner = (points[None] == corners[:, None]).all(axis=2)
        index = np.sort(is_corner.argmax(axis=1))
        steps = np.diff(np.append(index, index[0] + length))
        if steps.min() < 4:
            continue
        along = index[:, None] + _SIDE_SAMPLES * steps[:, None]
        low = np.floor(along).astype(np.int64)
        blend = (along - low)[..., None]
        side = points[low % length] * (1.0 - blend) + points[(low + 1) % length] * blend
        hole = signed_area > 0.0
        if not hole:
            side = side[::-1, ::-1]
        sides.append(side)
        # Contours run through the outermost dark pixels, half a pixel inside the edge; around a hole, half a pixel
        # outside of it.
        outward.append(-0.5 - erosion if hole else 0.5 + erosion)


def _intersect_sides(sides: NDArray[np.float64], outward: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners of lines through the sampled sides moved outwards by `outward` pixels, (n, 4, k, 2) to (m, 4, 2)."""
    centre = sides.mean(axis=2)
    offset = sides - centre[:, :, None]
    sxx, syy = (offset[..., 0] ** 2).mean(axis=2), (offset[..., 1] ** 2).mean(axis=2)
    sxy = (offset[..., 0] * offset[..., 1]).mean(axis=2)
    angle = 0.5 * np.arctan2(2.0 * sxy, sxx - syy)
    normal = np.stack([-np.sin(angle), np.cos(angle)], axis=2)
    middle = centre.mean(axis=1, keepdims=True)
    normal *= np.sign(((centre - middle) * normal).sum(axis=2, keepdims=True))
    reach = (centre * normal).sum(axis=2) + outward[:, None]
    before_n, before_r = np.roll(normal, 1, axis=1), np.roll(reach, 1, axis=1)
    det = before_n[..., 0] * normal[..., 1] - before_n[..., 1] * normal[..., 0]
    sound = (np.abs(det) > 0.1).all(axis=1)
    det = np.where(np.abs(det) > 0.1, det, 1.0)
    x = (before_r * normal[..., 1] - reach * before_n[..., 1]) / det
    y = (reach * before_n[..., 0] - before_r * normal[..., 0]) / det
    quads = np.stack([x, y], axis=2)
    edge = np.roll(quads, -1, axis=1) - quads
    length = np.linalg.norm(edge, axis=2)
    following = np.roll(edge, -1, axis=1)
    turn = edge[..., 0] * following[..., 1] - edge[..., 1] * following[..., 0]
    sound &= (
        (turn > 0.0).all(axis=1) & (length.min(axis=1) >= _MIN_SIDE) & (length.min(axis=1) > 0.15 * length.max(axis=1))
    )
    return np.asarray(quads[sound], dtype=np.float64)
