"""Where the camera stands for each board picture, and the ray casting of one such picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rendering.boards import Target
from rendering.desk import Desk
from rendering.lens import Floats, Lens
from rendering.poses import inverse, rigid, rotation, transform

_CHUNK = 130_000
"""Rays cast at once: small enough for the caches."""
_EDGE_CONTRAST = 0.1
"""Range of linear light among the samples of one pixel above which an edge crosses it."""


@dataclass(frozen=True)
class BoardView:
    """One picture of a board, as a photographer would ask for it."""

    distance: float
    """Metres from the camera to the middle of the board."""
    tilt: tuple[float, float]
    """Degrees the board is turned about its own x and y axes, away from facing the line of sight squarely."""
    roll: float
    """Degrees it is turned about the line of sight."""
    target: tuple[float, float]
    """Where the middle of the board is wanted, in half picture sizes from the picture's middle."""
    cut: bool = False
    """Whether the board may leave the picture; else it is moved inwards until its pattern and a margin fit."""
    defocus_px: float = 0.6
    exposure: float = 0.9


def place(lens: Lens, board: Target, view: BoardView, margin_px: float = 10.0) -> Floats:
    """`cam_from_board` (4, 4) of a view. For a whole board the target is approached as far as the picture allows."""
    if view.cut:
        return _aimed(lens, board, view, 1.0)
    near, far = 0.0, 1.0
    if not fits(lens, board, _aimed(lens, board, view, near), margin_px):
        raise ValueError(f"the board does not fit the picture even in its middle: {view}")
    if fits(lens, board, _aimed(lens, board, view, far), margin_px):
        return _aimed(lens, board, view, far)
    for _ in range(30):
        middle = 0.5 * (near + far)
        whole = fits(lens, board, _aimed(lens, board, view, middle), margin_px)
        near, far = (middle, far) if whole else (near, middle)
    return _aimed(lens, board, view, near)


def _aimed(lens: Lens, board: Target, view: BoardView, fraction: float) -> Floats:
    """`cam_from_board` with the board's middle on the ray of `fraction` of the target."""
    half = np.array([(lens.width - 1) / 2.0, (lens.height - 1) / 2.0])
    ray = lens.rays((half * (1.0 + fraction * np.array(view.target)))[:, None])[:, 0]
    turned = _towards(ray) @ rotation("z", view.roll) @ rotation("x", view.tilt[0]) @ rotation("y", view.tilt[1])
    left, top, right, bottom = board.outline
    middle = np.array([0.5 * (left + right), 0.5 * (top + bottom), 0.0])
    return rigid(turned, view.distance * ray - turned @ middle)


def _towards(ray: Floats) -> Floats:
    """The smallest rotation (3, 3) that carries the optical axis onto `ray` (3,)."""
    x, y, z = ray
    cross = np.array([[0.0, 0.0, x], [0.0, 0.0, y], [-x, -y, 0.0]])
    turned: Floats = np.eye(3) + cross + cross @ cross / (1.0 + z)
    return turned


def fits(lens: Lens, board: Target, cam_from_board: Floats, margin_px: float) -> bool:
    """Whether the pattern's border lies in the picture, `margin_px` from its edges."""
    left, top, right, bottom = board.outline
    s = np.linspace(0.0, 1.0, 9)
    xs, ys = left + s * (right - left), top + s * (bottom - top)
    border = np.concatenate(
        [
            np.stack([xs, np.full(9, top)]),
            np.stack([xs, np.full(9, bottom)]),
            np.stack([np.full(9, left), ys]),
            np.stack([np.full(9, right), ys]),
        ],
        axis=1,
    )
    in_camera = transform(cam_from_board, np.concatenate([border, np.zeros((1, border.shape[1]))]))
    if in_camera[2].min() <= 0.02:
        return False
    u, v = lens.project(in_camera)
    inside_x = (u >= margin_px) & (u <= lens.width - 1 - margin_px)
    inside_y = (v >= margin_px) & (v <= lens.height - 1 - margin_px)
    return bool(np.all(inside_x & inside_y))


def cast(lens: Lens, scene: Desk, cam_from_board: Floats) -> Floats:
    """Linear light (H, W, 3) of one picture: the mean over rays spread evenly over each pixel.

    Few rays suffice where the light varies slowly; pixels that an edge crosses, and their neighbours, get many, so that
    edges are anti-aliased to a sixty-fourth of a pixel.
    """
    board_from_cam = inverse(cam_from_board)
    pixels = np.stack(np.meshgrid(np.arange(lens.width), np.arange(lens.height))).reshape(2, -1).astype(np.float64)
    light, contrast = _mean_light(lens, scene, board_from_cam, pixels, sub_pixels(8, 3))
    edges = (contrast > _EDGE_CONTRAST).astype(np.uint8).reshape(lens.height, lens.width)
    refine = np.flatnonzero(cv2.dilate(edges, np.ones((3, 3), np.uint8)))
    light[:, refine], _ = _mean_light(lens, scene, board_from_cam, pixels[:, refine], sub_pixels(64, 19))
    return np.ascontiguousarray(light.T).reshape(lens.height, lens.width, 3)


def sub_pixels(count: int, generator: int) -> Floats:
    """Offsets (2, count) within a pixel: a rank-1 lattice, symmetric about the centre, no two in one row or column.

    A square grid of as many points would show only sqrt(count) steps on upright edges, and shift them.
    """
    position = np.arange(count) + 0.5
    return np.stack([position / count - 0.5, np.mod(position * generator / count, 1.0) - 0.5])


def _mean_light(
    lens: Lens, scene: Desk, board_from_cam: Floats, pixels: Floats, offsets: Floats
) -> tuple[Floats, Floats]:
    """Mean light (3, n) and the range of green among the samples (n,) of each pixel (2, n)."""
    samples = offsets.shape[1]
    step = max(1, _CHUNK // samples)
    light, contrast = np.empty((3, pixels.shape[1])), np.empty(pixels.shape[1])
    for start in range(0, pixels.shape[1], step):
        part = slice(start, min(start + step, pixels.shape[1]))
        rays = lens.rays((pixels[:, part, None] + offsets[:, None, :]).reshape(2, -1))
        seen = scene.radiance(board_from_cam[:3, 3], board_from_cam[:3, :3] @ rays).reshape(3, -1, samples)
        light[:, part] = seen.mean(axis=2)
        contrast[part] = np.ptp(seen[1], axis=1)
    return light, contrast


def visible_points(
    lens: Lens, board: Target, cam_from_board: Floats, max_angle_deg: float = 90.0
) -> tuple[NDArray[np.int64], Floats]:
    """Indices (m,) and pixels (2, m) of the board points inside the picture and within an angle of the optical axis."""
    in_camera = transform(cam_from_board, board.points())
    pixels = lens.project(in_camera)
    angle = np.arctan2(np.hypot(in_camera[0], in_camera[1]), in_camera[2])
    inside = (angle < math.radians(max_angle_deg)) & (pixels >= -0.5).all(axis=0)
    inside &= (pixels[0] <= lens.width - 0.5) & (pixels[1] <= lens.height - 0.5)
    ids = np.flatnonzero(inside)
    return ids, pixels[:, ids]
