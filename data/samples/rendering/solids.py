"""The shapes of the room: exact ray intersection, surface coordinates, and triangles for the ground-truth mesh.

World frame: z up, metres. Surface coordinates (u, v) are metres along the surface; `patch` tells apart a box's faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rendering.lens import Floats
from rendering.poses import rotation

Triangles = tuple[Floats, NDArray[np.int64]]
"""Vertices (v, 3) in the world and indices (f, 3), counter-clockwise seen from the free side."""

_TORUS_STEPS = 300
_TORUS_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Surface:
    """Local description of points on one solid."""

    normal: Floats
    """Unit normals on the free side, (3, n)."""
    u: Floats
    """First surface coordinate, metres, (n,)."""
    v: Floats
    """Second surface coordinate, metres, (n,)."""
    patch: NDArray[np.int64]
    """Which texture applies, (n,)."""


class Solid(Protocol):
    """A shape that rays can meet."""

    def distance(self, origin: Floats, directions: Floats) -> Floats:
        """Distance (n,) along unit `directions` (3, n) from `origin` (3,) or (3, n); inf where missed."""

    def surface(self, points: Floats) -> Surface:
        """The surface at points (3, n) lying on it."""

    def triangles(self) -> Triangles:
        """The shape as a closed triangle mesh."""


@dataclass(frozen=True)
class Box:
    """A box turned about the vertical; `hollow` ones are seen from within. Patches: -x, +x, -y, +y, -z, +z."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw_deg: float = 0.0
    hollow: bool = False

    def distance(self, origin: Floats, directions: Floats) -> Floats:
        """Entry of the ray into the box, or its exit where hollow (Kay and Kajiya's slabs)."""
        local, speed = self._local(origin), rotation("z", -self.yaw_deg) @ directions
        speed = np.where(np.abs(speed) < 1e-15, 1e-15, speed)
        half = np.array(self.half)[:, None]
        first, second = (-half - local) / speed, (half - local) / speed
        exit_at = np.maximum(first, second).min(axis=0)
        if self.hollow:
            return np.asarray(exit_at, np.float64)
        entry = np.minimum(first, second).max(axis=0)
        return np.where((entry < exit_at) & (entry > 1e-9), entry, np.inf)

    def surface(self, points: Floats) -> Surface:
        """The face nearest to each point; v runs downwards on upright faces."""
        local = self._local(points)
        half = np.array(self.half)[:, None]
        axis = (np.abs(local) / half).argmax(axis=0)
        columns = np.arange(local.shape[1])
        sign = np.sign(local[axis, columns])
        normal = np.zeros_like(local)
        normal[axis, columns] = -sign if self.hollow else sign
        from_corner = local + half
        u = np.where(axis == 0, from_corner[1], from_corner[0])
        v = np.where(axis == 2, from_corner[1], half[2] - local[2])
        patch = (2 * axis + (sign > 0)).astype(np.int64)
        return Surface(rotation("z", self.yaw_deg) @ normal, u, v, patch)

    def patch_grid(self, patch: int, per_metre: float) -> tuple[Floats, tuple[int, int]]:
        """World points (3, h*w) on a regular grid over one face, in the order of its texture, and (h, w)."""
        axis, sign = patch // 2, 1.0 if patch % 2 else -1.0
        across, along = ((1, 2), (0, 2), (0, 1))[axis]
        width, height = (round(2.0 * self.half[i] * per_metre) + 1 for i in (across, along))
        v, u = np.meshgrid(np.arange(height) / per_metre, np.arange(width) / per_metre, indexing="ij")
        local = np.empty((3, u.size))
        local[axis] = sign * self.half[axis]
        local[across] = u.ravel() - self.half[across]
        local[along] = v.ravel() - self.half[1] if axis == 2 else self.half[2] - v.ravel()
        return self._world(local), (height, width)

    def triangles(self) -> Triangles:
        """Two triangles a face."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
        vertices = self._world((signs * np.array(self.half)).T).T
        quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        faces = np.array([face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))], np.int64)
        return vertices, faces[:, ::-1] if self.hollow else faces

    def _local(self, points: Floats) -> Floats:
        shifted = points.reshape(3, -1) - np.array(self.centre)[:, None]
        local: Floats = rotation("z", -self.yaw_deg) @ shifted
        return local

    def _world(self, local: Floats) -> Floats:
        world: Floats = rotation("z", self.yaw_deg) @ local + np.array(self.centre)[:, None]
        return world


@dataclass(frozen=True)
class Ellipsoid:
    """An axis-aligned ellipsoid; a ball where the three radii are equal."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    def distance(self, origin: Floats, directions: Floats) -> Floats:
        """The nearer root of the quadratic of the ray in the unit ball's frame."""
        scale = 1.0 / np.array(self.radii)[:, None]
        start, speed = (origin.reshape(3, -1) - np.array(self.centre)[:, None]) * scale, directions * scale
        a, b = (speed * speed).sum(axis=0), (start * speed).sum(axis=0)
        discriminant = b * b - a * ((start * start).sum(axis=0) - 1.0)
        root = (-b - np.sqrt(np.maximum(discriminant, 0.0))) / a
        return np.where((discriminant > 0.0) & (root > 1e-9), root, np.inf)

    def surface(self, points: Floats) -> Surface:
        """Longitude and latitude, scaled to metres on the middle radius."""
        unit = (points - np.array(self.centre)[:, None]) / np.array(self.radii)[:, None]
        normal = unit / np.array(self.radii)[:, None]
        normal /= np.linalg.norm(normal, axis=0)
        size = float(np.median(self.radii))
        u = size * (np.arctan2(unit[1], unit[0]) + np.pi)
        v = size * np.arccos(np.clip(unit[2], -1.0, 1.0))
        return Surface(normal, u, v, np.zeros(u.size, np.int64))

    def triangles(self) -> Triangles:
        """A grid of longitudes and latitudes."""
        u, v = 72, 36
        lon, lat = np.meshgrid(np.arange(u) * 2 * np.pi / u, np.arange(v + 1) * np.pi / v)
        unit = np.stack([np.sin(lat) * np.cos(lon), np.sin(lat) * np.sin(lon), np.cos(lat)], axis=-1).reshape(-1, 3)
        faces = _grid_faces(v, u, wrap_rows=False)
        corners = np.round(unit[faces], 9)
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        return unit * np.array(self.radii) + np.array(self.centre), faces[area > 1e-7]


@dataclass(frozen=True)
class Torus:
    """A ring lying flat: `major` from its centre to the middle of the tube, `minor` the tube's radius."""

    centre: tuple[float, float, float]
    major: float
    minor: float

    def distance(self, origin: Floats, directions: Floats) -> Floats:
        """Sphere tracing (Hart, 1996) on the exact distance field, for the rays that meet the bounding ball."""
        start = np.broadcast_to(origin.reshape(3, -1) - np.array(self.centre)[:, None], directions.shape)
        along = -(start * directions).sum(axis=0)
        ball = self.major + self.minor
        half_chord2 = ball * ball - ((start * start).sum(axis=0) - along * along)
        active = np.flatnonzero((half_chord2 > 0.0) & (along + np.sqrt(np.maximum(half_chord2, 0.0)) > 0.0))
        found = np.full(directions.shape[1], np.inf)
        chord = np.sqrt(half_chord2[active])
        travelled, limit = np.maximum(along[active] - chord, 1e-9), along[active] + chord
        for _ in range(_TORUS_STEPS):
            gap = self._gap(start[:, active] + travelled * directions[:, active])
            arrived = gap < _TORUS_TOLERANCE
            found[active[arrived]] = travelled[arrived]
            going = ~arrived & (travelled < limit)
            active, travelled, limit = active[going], (travelled + gap)[going], limit[going]
            if not active.size:
                break
        return found

    def surface(self, points: Floats) -> Surface:
        """Lengths along the ring and around the tube."""
        local = points - np.array(self.centre)[:, None]
        ring = np.arctan2(local[1], local[0])
        out = np.hypot(local[0], local[1]) - self.major
        tube = np.arctan2(local[2], out)
        normal = np.stack([np.cos(ring) * np.cos(tube), np.sin(ring) * np.cos(tube), np.sin(tube)])
        patch = np.zeros(ring.size, np.int64)
        return Surface(normal, self.major * (ring + np.pi), self.minor * (tube + np.pi), patch)

    def triangles(self) -> Triangles:
        """A grid along the ring and around the tube."""
        u, v = 144, 72
        ring, tube = (
            angle.ravel()
            for angle in np.meshgrid(np.arange(u) * 2 * np.pi / u, np.arange(v) * 2 * np.pi / v, indexing="ij")
        )
        out = self.major + self.minor * np.cos(tube)
        vertices = np.stack([out * np.cos(ring), out * np.sin(ring), self.minor * np.sin(tube)], axis=-1)
        return vertices + np.array(self.centre), _grid_faces(u, v, wrap_rows=True)

    def _gap(self, local: Floats) -> Floats:
        gap: Floats = np.hypot(np.hypot(local[0], local[1]) - self.major, local[2]) - self.minor
        return gap


def _grid_faces(rows: int, cols: int, *, wrap_rows: bool) -> NDArray[np.int64]:
    """Triangles of a grid of `rows` x `cols` cells whose columns close, and whose rows close where `wrap_rows`."""
    row, col = (index.ravel() for index in np.mgrid[0:rows, 0:cols])
    below, right = (row + 1) % rows if wrap_rows else row + 1, (col + 1) % cols
    a, b, c, d = row * cols + col, below * cols + col, below * cols + right, row * cols + right
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]).astype(np.int64)
