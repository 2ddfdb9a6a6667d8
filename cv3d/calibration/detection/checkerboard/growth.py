"""From loose saddles to lattices: link neighbours along common edges, keep closed squares, number the corners.

Two corners are neighbours when each lies on an edge ray of the other, the two rays have opposite polarity, and the
picture shows that edge all along between them. Links that do not close a square of four are dropped. Prediction is
local, so that lens distortion does not matter (the idea of growing from neighbours: Geiger et al. 2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cv3d.calibration.detection.checkerboard.edges import LEAST_STEP, weakest_step
from cv3d.calibration.detection.checkerboard.lattice import DIRECTIONS, Lattice, make_lattice
from cv3d.calibration.detection.checkerboard.pyramid import Float64, Level
from cv3d.calibration.detection.checkerboard.saddles import Saddles

Ints = NDArray[np.int64]

NEIGHBOURS = 24
"""Nearest candidates looked at around each corner."""
RAY_TOLERANCE_DEG = 24.0
"""Largest angle between an edge ray and the chord to the neighbour."""
LEAST_CORNERS = 6
"""Smaller components are not worth completing."""


@dataclass(frozen=True)
class Links:
    """Mutual neighbours: entry (i, k) is about ray k of corner i; -1 where there is none."""

    corner: Ints
    """The neighbour, (n, 4)."""
    ray: Ints
    """The neighbour's ray that leads back, (n, 4)."""


def grow_lattices(level: Level, saddles: Saddles) -> list[Lattice]:
    """Every lattice of at least a few corners among the saddles of a level, largest first."""
    if len(saddles.pixels) < LEAST_CORNERS:
        return []
    links = _closed(_link(level, saddles))
    lattices = _number(saddles, links)
    return sorted(lattices, key=lambda lattice: (-len(lattice), *lattice.pixels[0]))


def _link(level: Level, saddles: Saddles) -> Links:
    """The nearest neighbour along each ray, where the choice is mutual and the edge is seen."""
    n = len(saddles.pixels)
    count = min(NEIGHBOURS, n - 1)
    distance, other = cKDTree(saddles.pixels).query(saddles.pixels, k=count + 1)
    distance, other = distance[:, 1:], other[:, 1:].astype(np.int64)
    chord = saddles.pixels[other] - saddles.pixels[:, None]
    bearing = np.arctan2(chord[..., 1], chord[..., 0])

    ray = _nearest_ray(saddles.rays[:, None], bearing)
    back = _nearest_ray(saddles.rays[other], bearing + np.pi)
    mask = (ray >= 0) & (back >= 0) & ((ray + back) % 2 == 1) & (distance > 0)
    i, slot = np.nonzero(mask)
    j, k, k_back, length = other[i, slot], ray[i, slot], back[i, slot], distance[i, slot]
    weakest = weakest_step(level, saddles.pixels[i], saddles.pixels[j], k % 2 == 0)
    seen = weakest > LEAST_STEP * np.minimum(saddles.contrast[i], saddles.contrast[j])
    i, j, k, k_back, length = i[seen], j[seen], k[seen], k_back[seen], length[seen]

    corner = np.full((n, 4), -1, np.int64)
    ray_back = np.full((n, 4), -1, np.int64)
    order = np.lexsort((j, -length))
    corner[i[order], k[order]] = j[order]
    ray_back[i[order], k[order]] = k_back[order]
    return _mutual(Links(corner, ray_back))


def _nearest_ray(rays: Float64, bearing: Float64) -> Ints:
    """Index of the ray within tolerance of a bearing; -1 where there is none. Rays (..., 4), bearing (...)."""
    apart = np.abs(np.mod(bearing[..., None] - rays + np.pi, 2 * np.pi) - np.pi)
    sector = np.abs(rays[..., 1] - rays[..., 0])
    narrow = np.minimum(sector, np.pi - sector)
    tolerance = np.minimum(np.deg2rad(RAY_TOLERANCE_DEG), 0.45 * narrow)
    nearest = np.argmin(apart, axis=-1)
    within = np.take_along_axis(apart, nearest[..., None], axis=-1)[..., 0] < tolerance
    return np.where(within, nearest, -1).astype(np.int64)


def _mutual(links: Links) -> Links:
    """Drop links that the other end does not return."""
    i, k = np.nonzero(links.corner >= 0)
    j, back = links.corner[i, k], links.ray[i, k]
    returned = (links.corner[j, back] == i) & (links.ray[j, back] == k)
    corner, ray = np.full_like(links.corner, -1), np.full_like(links.ray, -1)
    corner[i[returned], k[returned]] = j[returned]
    ray[i[returned], k[returned]] = back[returned]
    return Links(corner, ray)


def _closed(links: Links) -> Links:
    """Keep the links that belong to a closed square: four steps, each turning to the next ray, lead back."""
    n = len(links.corner)
    keep = np.zeros((n, 4), dtype=bool)
    start, first = np.nonzero(links.corner >= 0)
    corners, rays = [start], [first]
    at, ray = start, first
    alive = np.ones(len(start), dtype=bool)
    for _ in range(4):
        following, back = links.corner[at, ray], links.ray[at, ray]
        alive &= following >= 0
        at = np.where(alive, following, 0)
        # Arriving by `back`, the next ray in the sense of increasing angle turns towards the same square.
        ray = np.where(alive, (back - 1) % 4, 0)
        corners.append(at)
        rays.append(ray)
    alive &= (at == start) & (ray == first)
    for at, ray in zip(corners[:4], rays[:4], strict=True):
        keep[at[alive], ray[alive]] = True
        keep[links.corner[at[alive], ray[alive]], links.ray[at[alive], ray[alive]]] = True
    return Links(np.where(keep, links.corner, -1), np.where(keep, links.ray, -1))


def _number(saddles: Saddles, links: Links) -> list[Lattice]:
    """Walk each component breadth first and give its corners cells; a corner that would clash is left out."""
    n = len(links.corner)
    corner, ray = links.corner.tolist(), links.ray.tolist()
    visited = [False] * n
    lattices = []
    directions = [tuple(step) for step in DIRECTIONS.tolist()]
    strength = np.argsort(-((links.corner >= 0).sum(axis=1)), kind="stable").tolist()
    for root in strength:
        if visited[root] or max(corner[root]) < 0:
            continue
        visited[root] = True
        cell = {root: (0, 0)}
        turn = {root: 0}
        occupied = {(0, 0)}
        queue = [root]
        for at in queue:
            row, col = cell[at]
            for k in range(4):
                other = corner[at][k]
                if other < 0 or visited[other]:
                    continue
                direction = (k + turn[at]) % 4
                place = (row + directions[direction][0], col + directions[direction][1])
                if place in occupied:
                    continue
                visited[other] = True
                cell[other] = place
                turn[other] = (direction + 2 - ray[at][k]) % 4
                occupied.add(place)
                queue.append(other)
        if len(queue) >= LEAST_CORNERS:
            members = np.array(queue)
            cells = np.array([cell[m] for m in queue], dtype=np.int64)
            # The ray towards +col is number -turn; an even one leads from dark to light, so that light is at (+1, +1).
            light = np.array([turn[m] % 2 == 0 for m in queue])
            lattices.append(make_lattice(cells, saddles.pixels[members], light))
    return lattices
