"""The furnished room of the clip and the RGB-D sequence: its solids, its textures, its lamp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rendering import murals
from rendering.lens import Floats
from rendering.murals import Canvas
from rendering.solids import Box, Ellipsoid, Solid, Torus, Triangles
from rendering.textures import Texture

TABLE_TOP = 0.74
"""Height of the table's upper side, metres."""
OBJECT = np.array([0.05, -0.05, TABLE_TOP + 0.08])
"""Middle of the things on the table, world frame."""

_LAMP = (np.array([[-0.45], [-0.35], [2.44]]), 0.35)
"""Centre of the square ceiling lamp, and half its side."""
_PER_METRE = 300.0


@dataclass(frozen=True)
class Furnishing:
    """One solid with one texture per patch, and the baked light on it where it is a box."""

    solid: Solid
    skins: tuple[Texture, ...]
    light: tuple[Texture, ...] = ()


class Room:
    """A box room, 4 x 3 x 2.5 m, with a table and rounded things on it; diffuse surfaces under one area lamp."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._furnishings = [
            Furnishing(Box((0.0, 0.0, 1.25), (2.0, 1.5, 1.25), hollow=True), _room_skins(rng)),
            Furnishing(Box((0.05, -0.05, TABLE_TOP - 0.02), (0.62, 0.42, 0.02)), (_table_skin(rng),) * 6),
        ]
        leg = Texture(np.full((4, 4, 3), 0.09), 10.0)
        for x in (-0.5, 0.6):
            for y in (-0.41, 0.31):
                half_height = (TABLE_TOP - 0.04) / 2.0
                box = Box((x, y, half_height), (0.025, 0.025, half_height))
                self._furnishings.append(Furnishing(box, (leg,) * 6))
        self._furnishings += _things(rng)
        self._solids = [furnishing.solid for furnishing in self._furnishings]
        self._furnishings = [self._lit(furnishing) for furnishing in self._furnishings]

    def depth(self, origin: Floats, directions: Floats) -> tuple[Floats, Floats]:
        """Distance (n,) along each ray to the first surface, and the cosine of its angle of incidence (n,)."""
        distance, owner = self._first_hit(origin, directions)
        points = origin[:, None] + distance * directions
        cosine = np.empty(distance.size)
        for index, solid in enumerate(self._solids):
            rays = np.flatnonzero(owner == index)
            normal = solid.surface(points[:, rays]).normal
            cosine[rays] = -(normal * directions[:, rays]).sum(axis=0)
        return distance, cosine

    def radiance(self, origin: Floats, directions: Floats) -> Floats:
        """Linear light (3, n) that arrives at `origin` (3,) along unit `directions` (3, n)."""
        distance, owner = self._first_hit(origin, directions)
        points = origin[:, None] + distance * directions
        light = np.empty_like(directions)
        for index, furnishing in enumerate(self._furnishings):
            rays = np.flatnonzero(owner == index)
            surface = furnishing.solid.surface(points[:, rays])
            for patch, skin in enumerate(furnishing.skins):
                here = np.flatnonzero(surface.patch == patch)
                if not here.size:
                    continue
                u, v = surface.u[here], surface.v[here]
                if furnishing.light:
                    shade = furnishing.light[patch](u, v)
                else:
                    shade = self._irradiance(points[:, rays[here]], surface.normal[:, here], shadows=False)
                light[:, rays[here]] = skin(u, v) * shade
        x, y, z = points
        centre, half = _LAMP
        lamp = (z > 2.4999) & (np.abs(x - centre[0]) < half) & (np.abs(y - centre[1]) < half)
        light[:, lamp] = 3.0
        return light

    def triangles(self) -> Triangles:
        """The whole scene as one triangle mesh."""
        parts = [solid.triangles() for solid in self._solids]
        starts = np.cumsum([0] + [len(vertices) for vertices, _ in parts[:-1]])
        faces = [part_faces + start for (_, part_faces), start in zip(parts, starts, strict=True)]
        return np.concatenate([vertices for vertices, _ in parts]), np.concatenate(faces)

    def _first_hit(self, origin: Floats, directions: Floats) -> tuple[Floats, NDArray[np.int64]]:
        nearest = np.full(directions.shape[1], np.inf)
        owner = np.zeros(directions.shape[1], np.int64)
        for index, solid in enumerate(self._solids):
            distance = solid.distance(origin, directions)
            closer = distance < nearest
            nearest[closer], owner[closer] = distance[closer], index
        return nearest, owner

    def _irradiance(self, points: Floats, normals: Floats, *, shadows: bool) -> Floats:
        """Light (n,) falling on surface points (3, n): 4 x 4 points of the lamp, and the room's own glow."""
        centre, half = _LAMP
        total = np.zeros(points.shape[1])
        for x in (-0.75, -0.25, 0.25, 0.75):
            for y in (-0.75, -0.25, 0.25, 0.75):
                to_lamp = centre + half * np.array([[x], [y], [0.0]]) - points
                reach = np.linalg.norm(to_lamp, axis=0)
                to_lamp /= reach
                facing = np.maximum((normals * to_lamp).sum(axis=0), 0.0)
                direct = facing * (0.25 + np.maximum(to_lamp[2], 0.0)) / (0.5 + reach**2)
                if shadows:
                    start = points + 1e-4 * normals
                    for solid in self._solids[1:]:
                        direct = np.where(solid.distance(start, to_lamp) < reach, 0.0, direct)
                total += direct / 16.0
        lit: Floats = 2.5 * total + 0.22 + 0.05 * normals[2]
        return lit

    def _lit(self, furnishing: Furnishing) -> Furnishing:
        """Boxes get their light, soft shadows included, computed once on a grid over each face."""
        box = furnishing.solid
        if not isinstance(box, Box):
            return furnishing
        baked = []
        for patch in range(6):
            per_metre = 50.0 if box.hollow else 150.0
            points, (height, width) = box.patch_grid(patch, per_metre)
            normals = box.surface(points).normal
            normals = np.where(np.isin(np.arange(3), [patch // 2])[:, None], normals, 0.0) if box.hollow else normals
            light = self._irradiance(points, normals, shadows=True).reshape(height, width)
            baked.append(Texture(np.repeat(light[..., None], 3, axis=2), per_metre))
        return Furnishing(box, furnishing.skins, tuple(baked))


def _room_skins(rng: np.random.Generator) -> tuple[Texture, ...]:
    """Walls -x, +x, -y, +y, floor, ceiling."""
    tall, deep, wide = (int(size * _PER_METRE) for size in (2.5, 3.0, 4.0))

    def sheet(width_m: float, height_m: float, *, cool: bool) -> Canvas:
        return murals.poster(rng, int(height_m * _PER_METRE), int(width_m * _PER_METRE), cool=cool)

    west = murals.bricks(rng, tall, deep, _PER_METRE)
    murals.hang(west, sheet(0.7, 0.95, cool=True), 180, 170)
    murals.hang(west, sheet(0.5, 0.5, cool=False), 560, 240)
    east = murals.plaster(tall, deep, (168, 186, 180))
    murals.hang(east, sheet(0.9, 0.65, cool=False), 90, 200)
    murals.hang(east, sheet(0.55, 0.8, cool=True), 430, 190)
    murals.hang(east, sheet(0.5, 0.5, cool=False), 660, 330)
    south = murals.plaster(tall, wide, (200, 184, 150))
    murals.hang(south, sheet(1.2, 0.9, cool=True), 300, 180)
    north = murals.bricks(rng, tall, wide, _PER_METRE)
    murals.hang(north, sheet(0.8, 1.05, cool=False), 120, 150)
    murals.hang(north, sheet(0.95, 0.7, cool=True), 470, 200)
    murals.hang(north, sheet(0.45, 0.6, cool=False), 830, 330)
    murals.hang(north, sheet(0.5, 0.7, cool=True), 990, 160)
    floor = murals.planks(rng, deep, wide, _PER_METRE, 0.14)
    rug = murals.blots(rng, 540, 780, cool=True, count=900)
    murals.hang(floor, rug, 210, 180)
    ceiling = murals.plaster(deep, wide, (232, 230, 224))
    skins = [murals.finish(canvas, _PER_METRE, rng) for canvas in (west, east, south, north, floor)]
    return (*skins, murals.finish(ceiling, _PER_METRE, rng, 0.03))


def _table_skin(rng: np.random.Generator) -> Texture:
    """Planks with a printed mat and loose cards."""
    per_metre = 700.0
    height, width = int(0.84 * per_metre), int(1.24 * per_metre)
    canvas = murals.planks(rng, height, width, per_metre, 0.105)
    murals.hang(canvas, murals.poster(rng, 300, 400, cool=False), 60, 210)
    murals.hang(canvas, murals.poster(rng, 190, 140, cool=True), 660, 60)
    murals.hang(canvas, murals.poster(rng, 150, 230, cool=True), 560, 380)
    return murals.finish(canvas, per_metre, rng)


def _things(rng: np.random.Generator) -> list[Furnishing]:
    """A ring, a ball, an egg and two books on the table."""

    def glaze(width_m: float, height_m: float, count: int, *, cool: bool) -> tuple[Texture]:
        canvas = murals.blots(rng, int(height_m * 700), int(width_m * 700), cool=cool, count=count)
        return (murals.finish(canvas, 700.0, rng, 0.05),)

    ring = Torus((-0.20, -0.10, TABLE_TOP + 0.055), 0.145, 0.055)
    ball = Ellipsoid((0.16, 0.06, TABLE_TOP + 0.115), (0.115, 0.115, 0.115))
    egg = Ellipsoid((-0.16, 0.20, TABLE_TOP + 0.16), (0.085, 0.085, 0.16))
    lower = Box((0.39, -0.20, TABLE_TOP + 0.025), (0.14, 0.10, 0.025), 24.0)
    upper = Box((0.38, -0.19, TABLE_TOP + 0.068), (0.11, 0.085, 0.018), -9.0)
    return [
        Furnishing(ring, glaze(0.92, 0.35, 260, cool=False)),
        Furnishing(ball, glaze(0.73, 0.37, 240, cool=True)),
        Furnishing(egg, glaze(0.54, 0.27, 200, cool=False)),
        Furnishing(lower, glaze(0.3, 0.3, 160, cool=True) * 6),
        Furnishing(upper, glaze(0.3, 0.3, 160, cool=False) * 6),
    ]
