"""The scene of the calibration pictures: a board lying on a desk in a plain room, seen from above it.

The scene's frame is the board's: x right, y down the sheet, z into it, so that down in the room is +z.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rendering.boards import Target
from rendering.lens import Floats
from rendering.photo import linear
from rendering.textures import Texture, speckled, wood

_PAPER = linear((238, 236, 230))
_INK = linear((44, 43, 45))
_PLATE_M = 0.005
"""Thickness of the plate that the sheet is glued to."""
_ROOM = np.array([[-2.3, 2.1], [-2.0, 2.4], [-1.75, 0.74]])
"""Extent of the room along x, y, z, relative to the middle of the board."""
_DESK = (-0.85, -0.48, 0.75, 0.52)
"""Left, top, right, bottom of the desk's top, relative to the middle of the board."""


@dataclass(frozen=True)
class Desk:
    """A lit scene around one board."""

    board: Target
    seed: int
    _textures: dict[str, Texture] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self._textures["desk"] = Texture(wood(rng, 1000, 1600, 0.55), 1000.0)
        self._textures["floor"] = Texture(speckled(rng, 512, 512, (112, 117, 124), 0.06), 150.0)
        self._textures["wall"] = Texture(speckled(rng, 256, 256, (206, 203, 192), 0.012), 60.0)

    def radiance(self, origin: Floats, directions: Floats) -> Floats:
        """Linear light (3, n) arriving at `origin` (3,) along unit `directions` (3, n), all in the board's frame."""
        light = np.zeros_like(directions)
        downward = directions[2] > 1e-9
        safe = np.where(downward, directions[2], 1.0)
        x, y = self._plane_hit(origin, directions, safe, 0.0)
        on_sheet = downward & _inside(self.board.sheet, x, y)
        sheet = np.flatnonzero(on_sheet)
        light[:, sheet] = self._sheet(x[sheet], y[sheet])

        x, y = self._plane_hit(origin, directions, safe, _PLATE_M)
        left, top, right, bottom = _DESK
        mid_x, mid_y = self._middle()
        rectangle = (left + mid_x, top + mid_y, right + mid_x, bottom + mid_y)
        on_desk = downward & ~on_sheet & _inside(rectangle, x, y)
        desk = np.flatnonzero(on_desk)
        light[:, desk] = self._wood(x[desk], y[desk])

        rest = np.flatnonzero(~on_sheet & ~on_desk)
        light[:, rest] = self._room(origin, directions[:, rest])
        return light

    def _middle(self) -> tuple[float, float]:
        left, top, right, bottom = self.board.outline
        return 0.5 * (left + right), 0.5 * (top + bottom)

    @staticmethod
    def _plane_hit(origin: Floats, directions: Floats, dz: Floats, depth: float) -> tuple[Floats, Floats]:
        """Where rays meet the plane z = `depth`."""
        distance = (depth - origin[2]) / dz
        return origin[0] + distance * directions[0], origin[1] + distance * directions[1]

    def _sheet(self, x: Floats, y: Floats) -> Floats:
        albedo = np.where(self.board.ink(x, y), _INK[:, None], _PAPER[:, None])
        lit: Floats = albedo * self._lamp(x, y)
        return lit

    def _wood(self, x: Floats, y: Floats) -> Floats:
        left, top, right, bottom = self.board.sheet
        beside, beyond = np.maximum(left - x, x - right), np.maximum(top - y, y - bottom)
        outside = np.hypot(np.maximum(beside, 0.0), np.maximum(beyond, 0.0))
        shadow = 1.0 - 0.5 * np.exp(-outside / 0.006)
        colour = self._textures["desk"](x + 1.0, y + 0.7)
        lit: Floats = colour * (shadow * self._lamp(x, y))
        return lit

    def _lamp(self, x: Floats, y: Floats) -> Floats:
        """Light that falls on the desk: a lamp above its left rear side, and what the room sends back."""
        mid_x, mid_y = self._middle()
        distance2 = (x - mid_x + 0.45) ** 2 + (y - mid_y + 0.6) ** 2 + 1.5**2
        lit: Floats = 0.35 + 0.65 * (2.8 / distance2) ** 2
        return lit

    def _room(self, origin: Floats, directions: Floats) -> Floats:
        """Walls, floor and ceiling: the near exit of the ray from the room's box."""
        mid_x, mid_y = self._middle()
        place = origin - np.array([mid_x, mid_y, 0.0])
        ahead = np.where(directions >= 0.0, _ROOM[:, 1:], _ROOM[:, :1]) - place[:, None]
        speed = np.where(np.abs(directions) < 1e-12, 1e-12, np.abs(directions))
        reach = np.abs(ahead) / speed
        face = reach.argmin(axis=0)
        hit = place[:, None] + reach.min(axis=0) * directions
        light = np.empty_like(directions)
        for axis in range(3):
            rays = np.flatnonzero(face == axis)
            x, y, z = hit[:, rays]
            if axis == 2:
                light[:, rays] = self._floor_or_ceiling(x, y, z)
            else:
                along, side = (y, x) if axis == 0 else (x, y)
                light[:, rays] = self._wall(along, z, axis, side > 0.0)
        return light

    def _floor_or_ceiling(self, x: Floats, y: Floats, z: Floats) -> Floats:
        floor = self._textures["floor"](x + 3.0, y + 3.0)
        under_desk = np.hypot(np.maximum(np.abs(x + 0.05) - 0.7, 0.0), np.maximum(np.abs(y) - 0.4, 0.0))
        floor *= 0.75 - 0.5 * np.exp(-under_desk / 0.25)
        panel = (np.abs(x + 0.45) < 0.32) & (np.abs(y + 0.6) < 0.32)
        ceiling = np.where(panel, 2.4, 0.62 + 0.25 * np.exp(-np.hypot(x + 0.45, y + 0.6) / 0.7))
        colour: Floats = np.where(z > 0.0, floor, ceiling * np.array([[1.0], [0.985], [0.95]]))
        return colour

    def _wall(self, along: Floats, z: Floats, axis: int, far: NDArray[np.bool_]) -> Floats:
        """Paint with a skirting board, and on each wall one thing: pictures, a door, a window, a shelf."""
        colour = self._textures["wall"](along + 3.0, z + 3.0)
        colour *= 0.62 + 0.14 * np.cos(along) - 0.10 * z
        colour = np.where(z > 0.66, linear((150, 140, 126))[:, None] * 0.6, colour)
        for index, (left, top, right, bottom, srgb) in enumerate(_FURNISHINGS[axis]):
            here = (far == (index % 2 == 0)) & (along > left) & (along < right) & (z > top) & (z < bottom)
            edge = np.minimum(np.minimum(along - left, right - along), np.minimum(z - top, bottom - z))
            shade = np.where(edge < 0.035, 0.35, 0.85 + 0.15 * np.cos(9.0 * along) * np.cos(7.0 * z))
            colour = np.where(here, linear(srgb)[:, None] * shade, colour)
        return colour


_FURNISHINGS: dict[int, list[tuple[float, float, float, float, tuple[int, int, int]]]] = {
    0: [
        (-1.1, -1.0, -0.3, -0.1, (96, 128, 150)),
        (-0.6, -1.3, 0.9, 0.05, (214, 226, 240)),
        (0.4, -0.9, 1.0, -0.2, (178, 120, 92)),
        (1.3, -1.0, 1.75, -0.4, (120, 132, 96)),
    ],
    1: [
        (-1.6, -1.25, -0.8, 0.74, (142, 108, 80)),
        (-1.2, -1.0, 0.1, 0.2, (108, 90, 84)),
        (0.3, -0.95, 1.3, -0.25, (188, 164, 110)),
        (0.7, -1.1, 1.3, -0.3, (150, 100, 104)),
    ],
}
"""Things on the walls across x (0) and y (1): left, top, right, bottom, colour; the first and third on the far wall."""


def _inside(rectangle: tuple[float, float, float, float], x: Floats, y: Floats) -> NDArray[np.bool_]:
    left, top, right, bottom = rectangle
    return (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
