"""Candidate dots of one picture: connected regions of a local mid-range threshold that are elliptic in outline."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.base import Gray

TILES = (6, 24)
"""Tile sides of the local threshold in pixels; the window around a pixel spans three tiles. A dot larger than the
window appears as a ring, whose outer outline is still the dot's."""
MIN_CONTRAST, MAX_CONTRAST = 16, 60
"""Grey levels between the darkest and the lightest pixel of a window below which it is taken to be flat: nine
standard deviations of the noise or fine texture, within these bounds."""
MIN_SEMI_AXIS = 1.3
MAX_SEMI_AXIS = 160.0
MIN_AXIS_RATIO = 0.22
MAX_CANDIDATES = 2000
WORKING_PIXELS = 3_000_000
"""Candidates in larger pictures are sought at half, quarter, … resolution; edges are always measured at full."""


@dataclass(frozen=True)
class Ellipses:
    """n ellipses in a picture. Points x of the i-th outline satisfy (x - centre)' inv(shape) (x - centre) = 1."""

    centres: NDArray[np.float64]
    """(n, 2), pixels."""
    shapes: NDArray[np.float64]
    """(n, 2, 2), pixels squared."""
    light: NDArray[np.bool_]
    """(n,), True where the inside is lighter than the surroundings."""

    def __len__(self) -> int:
        return len(self.centres)

    def __getitem__(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Ellipses:
        return Ellipses(self.centres[index], self.shapes[index], self.light[index])

    @property
    def semi_axes(self) -> NDArray[np.float64]:
        """Minor and major semi-axis of each, (n, 2), pixels."""
        half_trace = 0.5 * (self.shapes[:, 0, 0] + self.shapes[:, 1, 1])
        determinant = self.shapes[:, 0, 0] * self.shapes[:, 1, 1] - self.shapes[:, 0, 1] ** 2
        root = np.sqrt(np.maximum(half_trace**2 - determinant, 0.0))
        return np.sqrt(np.maximum(np.stack([half_trace - root, half_trace + root], axis=1), 0.0))

    @staticmethod
    def join(parts: list[Ellipses]) -> Ellipses:
        """One set out of several."""
        if not parts:
            return Ellipses(np.zeros((0, 2)), np.zeros((0, 2, 2)), np.zeros(0, np.bool_))
        return Ellipses(
            np.concatenate([part.centres for part in parts]),
            np.concatenate([part.shapes for part in parts]),
            np.concatenate([part.light for part in parts]),
        )


def find_candidates(gray: Gray) -> Ellipses:
    """Regions of `gray` (H, W) that may be dots, to about half a pixel, dark and light ones.

    `gray` should be smoothed a little: single noisy pixels cost time.

    Each pixel is compared with the mid-range of its surroundings, which unlike their mean does not depend on how much
    of them the dots cover. Outlines are judged by their moments: an ellipse of area A has a covariance of determinant
    (A / 4 pi)^2, and every other outline a larger one.
    """
    if min(gray.shape) < 2 * min(TILES):
        return Ellipses.join([])
    factor = 1
    while gray.size / factor**2 > WORKING_PIXELS:
        factor *= 2
    if factor > 1:
        gray = np.asarray(cv2.resize(gray, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA), np.uint8)
    contrast = _least_contrast(gray)
    parts = []
    for tile in TILES:
        if min(gray.shape) >= 2 * tile:
            contours, _ = cv2.findContours(_dark_mask(gray, tile, contrast), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            parts.append(_elliptic_outlines([np.asarray(contour, np.int32) for contour in contours]))
    found = _without_duplicates(Ellipses.join(parts))
    return Ellipses(found.centres * factor + 0.5 * (factor - 1), found.shapes * factor**2, found.light)


def _least_contrast(gray: Gray) -> int:
    """What a window must span to be looked at, from the differences of pixels three apart."""
    lines = gray[::8].astype(np.int16)
    noise = float(np.median(np.abs(lines[:, 3:] - lines[:, :-3]))) / (0.6745 * np.sqrt(2.0))
    return int(np.clip(9.0 * noise, MIN_CONTRAST, MAX_CONTRAST))


def _dark_mask(gray: Gray, tile: int, contrast: int) -> Gray:
    """255 where a pixel is below the mid-range of a window that is not flat."""
    kernel = np.ones((tile, tile), np.uint8)
    anchor = (0, 0)
    lowest = cv2.erode(gray, kernel, anchor=anchor)[::tile, ::tile]
    highest = cv2.dilate(gray, kernel, anchor=anchor)[::tile, ::tile]
    lowest = cv2.erode(lowest, np.ones((3, 3), np.uint8)).astype(np.int16)
    highest = cv2.dilate(highest, np.ones((3, 3), np.uint8)).astype(np.int16)
    middle = (lowest + highest + 1) // 2
    valid = (highest - lowest >= contrast).astype(np.uint8) * 255
    height, width = gray.shape
    rows, cols = lowest.shape
    # Tiles start at multiples of `tile`: the enlarged map covers rows * tile pixels and is cut to the picture.
    size = (cols * tile, rows * tile)
    threshold = cv2.resize(middle.astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    allowed = cv2.resize(valid, size, interpolation=cv2.INTER_NEAREST)[:height, :width]
    return np.asarray(cv2.bitwise_and(cv2.compare(gray, threshold, cv2.CMP_LT), allowed), np.uint8)


def _elliptic_outlines(contours: list[NDArray[np.int32]]) -> Ellipses:
    """The contours that are ellipses; outer ones are dark dots, holes light ones."""
    longest = 2 * np.pi * MAX_SEMI_AXIS
    kept = [contour for contour in contours if 6 <= len(contour) <= longest]
    if not kept:
        return Ellipses.join([])
    lengths = np.array([len(contour) for contour in kept])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    points = np.concatenate(kept).reshape(-1, 2).astype(np.float64)
    owner = np.repeat(np.arange(len(kept)), lengths)
    mean = np.add.reduceat(points, starts) / lengths[:, None]
    local = points - mean[owner]
    following = np.arange(len(points)) + 1
    following[starts + lengths - 1] = starts
    after = local[following]

    cross = local[:, 0] * after[:, 1] - after[:, 0] * local[:, 1]
    area = 0.5 * np.add.reduceat(cross, starts)
    usable = np.abs(area) > 2.0
    safe = np.where(usable, area, 1.0)
    centroid = np.add.reduceat((local + after) * cross[:, None], starts) / (6.0 * safe)[:, None]
    products = local[:, :, None] * local[:, None, :] + after[:, :, None] * after[:, None, :]
    mixed = local[:, :, None] * after[:, None, :]
    integrand = (2.0 * products + mixed + mixed.transpose(0, 2, 1)) * cross[:, None, None]
    second = np.add.reduceat(integrand, starts) / (24.0 * safe)[:, None, None]
    covariance = second - centroid[:, :, None] * centroid[:, None, :]
    determinant = covariance[:, 0, 0] * covariance[:, 1, 1] - covariance[:, 0, 1] ** 2
    usable &= determinant > 0.004
    ellipticity = np.abs(area) / (4.0 * np.pi * np.sqrt(np.where(usable, determinant, 1.0)))
    usable &= ellipticity > 0.86
    covariance[~usable] = np.eye(2)

    offset = local - centroid[owner]
    radius = np.sqrt(np.maximum(np.einsum("ni,nij,nj->n", offset, np.linalg.inv(covariance)[owner], offset), 0.0)) / 2.0
    spread = np.sqrt(np.add.reduceat((radius - 1.0) ** 2, starts) / lengths)

    # OpenCV turns outer contours and holes in opposite senses. Both run through the centres of dark pixels: half a
    # pixel inside the edge of a dark dot, outside that of a light one.
    light = area > 0
    values, vectors = np.linalg.eigh(covariance)
    axes = 2.0 * np.sqrt(values) + np.where(light, -0.5, 0.5)[:, None]
    usable &= (axes[:, 0] >= MIN_SEMI_AXIS) & (axes[:, 1] <= MAX_SEMI_AXIS)
    usable &= axes[:, 0] >= MIN_AXIS_RATIO * axes[:, 1]
    usable &= spread < 0.06 + 0.4 / np.maximum(axes[:, 0], 1.0)
    shapes = np.einsum("nij,nj,nkj->nik", vectors, axes**2, vectors)
    order = np.flatnonzero(usable)
    order = order[np.argsort(spread[order])][:MAX_CANDIDATES]
    return Ellipses((mean + centroid)[order], shapes[order], light[order])


def _without_duplicates(ellipses: Ellipses) -> Ellipses:
    """Drops ellipses that repeat an earlier one: same place, similar size."""
    count = len(ellipses)
    if count == 0:
        return ellipses
    centres = ellipses.centres.astype(np.float32)
    size = np.sqrt(np.linalg.det(ellipses.shapes)) ** 0.5
    cell = np.maximum(np.floor(np.log2(size) * 2.0), 0)
    keep = np.ones(count, np.bool_)
    order = np.argsort(centres[:, 0], kind="stable")
    sorted_x = centres[order, 0]
    last = np.searchsorted(sorted_x, sorted_x + 0.3 * size[order].astype(np.float32), side="right")
    for position, index in enumerate(order):
        others = order[position + 1 : last[position]]
        if len(others) == 0 or not keep[index]:
            continue
        near = np.abs(centres[others, 1] - centres[index, 1]) < 0.3 * size[index]
        near &= np.abs(cell[others] - cell[index]) <= 1
        near &= ellipses.light[others] == ellipses.light[index]
        keep[others[near]] = False
    return ellipses[keep]
