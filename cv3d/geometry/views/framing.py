"""How much of what cameras see an ideal view shows: from valid pixels only to everything.

The boundary of what a camera sees is sampled and mapped to the plane of the view's projection. The smallest box around
it shows everything; the largest box of the view's shape with no boundary point inside shows valid pixels only. Both are
found for several cameras at once, so that a rectified pair is framed by the same code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.compute import torch_threads
from cv3d.errors import EstimationError, UsageError
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.views.view import Projection, View, plane_from_rays, rays_from_plane

Floats = NDArray[np.float64]

EDGE_TOLERANCE = 1e-3
"""Pixels by which a sample may lie beyond the outermost pixel centres and still count as seen."""

_WIDEST_INSIDE = {Projection.PINHOLE: math.radians(70.0), Projection.FISHEYE: math.radians(179.0)}
"""Off the axis, for alpha = 0: a pinhole stretches its edge 1 / cos^2 = 8.5 times there."""
_WIDEST_WHOLE = {Projection.PINHOLE: math.radians(80.0), Projection.FISHEYE: math.radians(179.0)}
"""Off the axis, for alpha = 1; no pinhole shows 90 degrees."""
_MAX_SIDE_SAMPLES = 1024
_START_GRID = 25
_FINEST_STEP = 1e-10
_MAX_ROUNDS = 200
_CENTRING = 1e-6
_MIN_SIZE = 2
_MAX_SIDE = 32766
"""OpenCV's remap counts pixels in 16 bits."""
_MAX_PIXELS = 100_000_000
"""Their map alone takes 8 bytes each, and several such arrays exist at a time."""
_SHRINK = 0.9995
_MAX_SHRINKS = 400


@dataclass(frozen=True, eq=False)
class Seen:
    """A camera, and how it is turned towards the view."""

    camera: Camera
    view_from_cam: Floats
    """Rotation, (3, 3)."""


@dataclass(frozen=True, eq=False)
class Box:
    """An axis-aligned rectangle in the plane of a projection."""

    centre: Floats
    """(2,)."""
    half: Floats
    """Half its width and height, (2,)."""


def choose_view(
    camera: Camera,
    projection: Projection = Projection.PINHOLE,
    alpha: float = 0.0,
    size: tuple[int, int] | None = None,
) -> View:
    """An ideal view along the axis of a camera.

    Pixels keep the camera's ratio of width to height, except that equirectangular ones are square. What is wider than
    the projection can sensibly show is cut: a pinhole ends at 70 degrees off the axis for alpha 0, at 80 for 1.

    Args:
        camera: what the pictures were taken with.
        projection: the kind of view.
        alpha: 0: only pixels that the camera saw; 1: everything that the camera saw; between: in between. The
            parameter of OpenCV's `getOptimalNewCameraMatrix`.
        size: width and height, pixels; None: the camera's, and for equirect what keeps the resolution at the centre.

    Returns:
        The view; its outermost pixel centres touch the outermost pixel centres of what it shows.

    Raises:
        UsageError: alpha or the size is out of range.
        EstimationError: there is no part of the projection's plane that the camera sees.
    """
    seen = [Seen(camera, np.eye(3))]
    fx, fy = camera.params[:2]
    if projection is not Projection.EQUIRECT:
        return frame(seen, projection, alpha, size or (camera.width, camera.height), fx / fy)
    if size is not None:
        return frame(seen, projection, alpha, size, 1.0)
    shape = outer_box(seen, projection).half
    box = _between(*boxes(seen, projection, float(shape[0] / shape[1])), alpha)
    density = math.sqrt(fx * fy)
    return frame(seen, projection, alpha, tuple(max(_MIN_SIZE, int(2.0 * h * density) + 1) for h in box.half), 1.0)


def frame(
    seen: Sequence[Seen], projection: Projection, alpha: float, size: tuple[int, ...], pixel_ratio: float
) -> View:
    """The view of the given size and fx / fy that shows what all cameras see (alpha 0) to what any sees (alpha 1).

    Raises:
        UsageError: alpha or the size is out of range.
        EstimationError: nothing is seen by all cameras.
    """
    width, height = size
    if not 0.0 <= alpha <= 1.0:
        raise UsageError(f"alpha is between 0 and 1, not {alpha:g}")
    if min(width, height) < _MIN_SIZE:
        raise UsageError(f"a view of {width}x{height} pixels is too small")
    if max(width, height) > _MAX_SIDE or width * height > _MAX_PIXELS:
        raise UsageError(
            f"a view of {width}x{height} pixels is too large: at most {_MAX_SIDE} a side and "
            f"{_MAX_PIXELS // 10**6} million in all"
        )
    spans = np.array([width - 1.0, height - 1.0])
    inner, outer = boxes(seen, projection, float(spans[0] / spans[1] / pixel_ratio))
    # Interpolating focal lengths, as OpenCV does, makes equal steps of alpha equal steps of zoom.
    focal = (1.0 - alpha) * spans / (2.0 * inner.half) + alpha * spans / (2.0 * outer.half)
    centre = (1.0 - alpha) * inner.centre + alpha * outer.centre
    fx, fy = map(float, focal)
    cx, cy = (float(value) for value in 0.5 * spans - centre * focal)
    return View(projection, width, height, fx, fy, cx, cy)


def boxes(seen: Sequence[Seen], projection: Projection, aspect: float) -> tuple[Box, Box]:
    """The largest box inside of what all cameras see and the smallest around what any sees, width = aspect x height."""
    with torch_threads(1):
        bounds = outer_box(seen, projection)
        inner = _inner_box(seen, projection, aspect, bounds)
    half_height = max(float(bounds.half[0]) / aspect, float(bounds.half[1]))
    outer = Box(bounds.centre, np.array([aspect * half_height, half_height]))
    return inner, outer


def outer_box(seen: Sequence[Seen], projection: Projection) -> Box:
    """The smallest box around what any camera sees."""
    points = np.concatenate([_boundary(one, projection, _WIDEST_WHOLE) for one in seen])
    if projection is Projection.EQUIRECT:
        points = np.concatenate([points, *(_beyond_boundary(one) for one in seen)])
    low, high = points.min(0), points.max(0)
    return Box(0.5 * (low + high), 0.5 * (high - low))


def sees(seen: Seen, projection: Projection, plane: Floats) -> NDArray[np.bool_]:
    """Whether a camera sees the directions of plane coordinates (N, 2): (N,)."""
    rays, exists = rays_from_plane(projection, torch.from_numpy(plane))
    return np.asarray(_sees_rays(seen, rays) & exists.numpy(), dtype=np.bool_)


def _sees_rays(seen: Seen, rays: torch.Tensor) -> NDArray[np.bool_]:
    camera = seen.camera
    rays = rays @ torch.from_numpy(seen.view_from_cam)
    params = torch.tensor(camera.params, dtype=torch.float64)
    x, y = camera.project(rays).unbind(-1)
    inside = (x >= -EDGE_TOLERANCE) & (x <= camera.width - 1.0 + EDGE_TOLERANCE)
    inside &= (y >= -EDGE_TOLERANCE) & (y <= camera.height - 1.0 + EDGE_TOLERANCE)
    return np.asarray((inside & camera.lens.valid_points(params, rays)).numpy(), dtype=np.bool_)


def _boundary(seen: Seen, projection: Projection, widest: dict[Projection, float]) -> Floats:
    """The boundary of what a camera sees, in the plane: (N, 2).

    Where the picture reaches beyond the lens model's domain, :meth:`CameraModel.unproject` gives the domain's edge.
    """
    right, bottom = seen.camera.width - 1.0, seen.camera.height - 1.0
    x = np.linspace(0.0, right, min(_MAX_SIDE_SAMPLES, seen.camera.width))
    y = np.linspace(0.0, bottom, min(_MAX_SIDE_SAMPLES, seen.camera.height))
    sides = [(x, 0.0 * x), (x, 0.0 * x + bottom), (0.0 * y, y), (0.0 * y + right, y)]
    pixels = np.concatenate([np.stack(side, -1) for side in sides])
    rays = seen.camera.unproject(pixels) @ seen.view_from_cam.T
    plane, _ = plane_from_rays(projection, torch.from_numpy(np.ascontiguousarray(rays)), widest.get(projection))
    return np.asarray(plane.numpy(), dtype=np.float64)


def _beyond_boundary(seen: Seen) -> Floats:
    """What a longitude-latitude box must reach although no boundary point lies there: poles, and what is behind."""
    rays = torch.tensor([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]], dtype=torch.float64)
    above, below, behind = _sees_rays(seen, rays)
    points = []
    if above or behind:
        points += [[-math.pi, -0.5 * math.pi], [math.pi, -0.5 * math.pi]]
    if below or behind:
        points += [[-math.pi, 0.5 * math.pi], [math.pi, 0.5 * math.pi]]
    return np.array(points).reshape(-1, 2)


def _inner_box(seen: Sequence[Seen], projection: Projection, aspect: float, bounds: Box) -> Box:
    """The largest box of shape `aspect` that holds no boundary point and whose centre all cameras see.

    With the x axis divided by `aspect` it is a square, and half its side is the distance, in the maximum norm, from its
    centre to the nearest boundary point. That distance is maximised over the centre by a pattern search: its slopes are
    along the axes and the diagonals, which are the directions that are tried.
    """
    stretch = np.array([aspect, 1.0])
    points = np.concatenate([_boundary(one, projection, _WIDEST_INSIDE) for one in seen]) / stretch
    across, down = np.ascontiguousarray(points.T)
    middle, extent = bounds.centre / stretch, float((bounds.half / stretch).max())
    limits = np.array([math.pi, 0.5 * math.pi]) / stretch if projection is Projection.EQUIRECT else None

    def room(centres: Floats) -> Floats:
        """Half the side of the box around each centre, (N,); less where it is off the middle, to decide ties."""
        free = np.array([np.maximum(np.abs(across - x), np.abs(down - y)).min() for x, y in centres])
        if limits is not None:
            free = np.minimum(free, (limits - np.abs(centres)).min(1))
        return np.asarray(free - _CENTRING * np.abs(centres - middle).sum(1), dtype=np.float64)

    steps = np.linspace(-1.0, 1.0, _START_GRID)
    grid = middle + (bounds.half / stretch) * np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    is_seen = np.logical_and.reduce([sees(one, projection, grid * stretch) for one in seen])
    reach = _radius_of_angle(projection, _WIDEST_INSIDE.get(projection))
    if reach is not None:
        # Beyond the widest angle, where the camera sees on, there would be all the room there is.
        is_seen &= np.hypot(*(grid * stretch).T) <= reach
    if not is_seen.any():
        raise EstimationError("the cameras see nothing in common that this projection could show")
    grid = grid[is_seen]
    found = room(grid)
    best, value = grid[found.argmax()], float(found.max())
    step = extent / _START_GRID
    around = np.stack(np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]), -1).reshape(-1, 2)
    for _ in range(_MAX_ROUNDS):
        # No step leaves the box, so none crosses a boundary: what is around a seen centre is seen as well.
        step = min(step, value)
        found = room(best + step * around)
        if found.max() > value:
            best, value = best + step * around[found.argmax()], float(found.max())
            step *= 2.0
        else:
            step *= 0.5
        if step < _FINEST_STEP * extent:
            break
    side = value + _CENTRING * float(np.abs(best - middle).sum())
    return _shrunk(seen, projection, Box(best * stretch, side * stretch))


def _radius_of_angle(projection: Projection, angle: float | None) -> float | None:
    """The radius in the plane of an angle off the axis, radians."""
    return math.tan(angle) if projection is Projection.PINHOLE and angle is not None else angle


def _shrunk(seen: Sequence[Seen], projection: Projection, box: Box) -> Box:
    """The box, made smaller until all of its own outline is seen: a boundary is only known where it was sampled."""
    t = np.linspace(-1.0, 1.0, 513)
    one = np.ones_like(t)
    outline = np.concatenate([np.stack(side, -1) for side in ((t, -one), (t, one), (-one, t), (one, t))])
    for _ in range(_MAX_SHRINKS):
        if all(sees(each, projection, box.centre + outline * box.half).all() for each in seen):
            return box
        box = Box(box.centre, box.half * _SHRINK)
    raise EstimationError("the cameras see no rectangle in common that this projection could show")


def _between(inner: Box, outer: Box, alpha: float) -> Box:
    focal = (1.0 - alpha) / inner.half + alpha / outer.half
    return Box((1.0 - alpha) * inner.centre + alpha * outer.centre, 1.0 / focal)
