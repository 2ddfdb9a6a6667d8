"""Lens models of other tools that cv3d does not have, read as the closest one that it has."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from cv3d.errors import FormatError
from cv3d.formats.camera_file import ReadOptions, StandIn
from cv3d.formats.sights import sights_of
from cv3d.formats.stand_ins import CANDIDATES, SPLINED, best, stand_ins, worst_px
from cv3d.geometry.cameras.camera import Camera

_AZIMUTHS = 72
_STEPS = 180
_WIDEST = math.radians(179.0)
_NEWTON_STEPS = 12
_STEP = 1e-6
_CONVERGED_PX = 1e-6


def read_foreign(
    project: Callable[[Tensor], Tensor],
    width: int,
    height: int,
    original: str,
    source: str,
    options: ReadOptions,
) -> tuple[Camera, StandIn]:
    """The camera of ours that is closest to a projection.

    Args:
        project: from unit rays (N, 3) to pixels (N, 2), cv3d's origin.
        width: picture width, pixels.
        height: picture height, pixels.
        original: the projection's name in its own tool.
        source: the file, for messages.
        options: says how far off it may be.

    Returns:
        The camera, and how true it is.

    Raises:
        FormatError: none of cv3d's models comes near enough.
    """
    table = _table(project, width, height)
    if len(table) == 0:
        raise FormatError(f"{source}: the camera model {original} sees nothing of its image with these parameters")
    tree = cKDTree(project(_ray(table)).numpy())
    sights = sights_of(width, height, lambda pixels: _unproject(project, pixels, table, tree))
    found = stand_ins(sights, [*CANDIDATES, SPLINED])
    if not found:
        raise FormatError(f"{source}: cv3d has no equal of the camera model {original}, and none could be fitted to it")
    fitted = best(found)
    max_px = worst_px(fitted, sights)
    if max_px > options.max_error_px:
        raise FormatError(
            f"{source}: cv3d has no equal of the camera model {original}; the nearest, {fitted.camera.model}, is off "
            f"by up to {max_px:.2g} px; 'cv3d convert' writes it with --allow-error {math.ceil(max_px)}px"
        )
    return fitted.camera, StandIn(original, fitted.camera.model, fitted.rms_px, max_px)


def _unproject(
    project: Callable[[Tensor], Tensor], pixels: Tensor, table: Tensor, tree: cKDTree
) -> tuple[Tensor, Tensor]:
    """Rays (N, 3) of pixels (N, 2) by Newton steps from the nearest of a table of rays, and whether they were found.

    Args:
        project: from unit rays (N, 3) to pixels (N, 2).
        pixels: (N, 2).
        table: directions (K, 2) of :func:`_ray`.
        tree: their pixels.
    """
    _, nearest = tree.query(pixels.numpy())
    s = table[torch.as_tensor(nearest)]
    for _ in range(_NEWTON_STEPS):
        residual = project(_ray(s)) - pixels
        columns = []
        for axis in (0, 1):
            step = torch.zeros(2, dtype=torch.float64)
            step[axis] = _STEP
            columns.append((project(_ray(s + step)) - project(_ray(s - step))) / (2.0 * _STEP))
        jacobian = torch.stack(columns, -1)
        determinant = torch.linalg.det(jacobian)
        usable = determinant.abs() > 1e-9
        inverse = torch.linalg.inv(torch.where(usable[:, None, None], jacobian, torch.eye(2, dtype=torch.float64)))
        s = s - torch.where(usable[:, None], (inverse @ residual[..., None])[..., 0], torch.zeros_like(s))
    found = (project(_ray(s)) - pixels).norm(dim=-1) < _CONVERGED_PX
    reach = table.norm(dim=-1).max()
    return _ray(s), found & (s.norm(dim=-1) <= 1.02 * reach)


def _table(project: Callable[[Tensor], Tensor], width: int, height: int) -> Tensor:
    """Directions s (K, 2) of :func:`_ray` from the axis outwards.

    They go as far as the image keeps growing, and a bit beyond its border.
    """
    theta = torch.linspace(0.0, _WIDEST, _STEPS, dtype=torch.float64)
    azimuth = torch.linspace(0.0, 2.0 * math.pi, _AZIMUTHS + 1, dtype=torch.float64)[:-1]
    radius = torch.tan(0.5 * theta)
    s = torch.stack([azimuth.cos()[:, None] * radius, azimuth.sin()[:, None] * radius], -1)
    pixels = project(_ray(s.reshape(-1, 2))).reshape(_AZIMUTHS, _STEPS, 2)
    distance = (pixels - pixels[:, :1]).norm(dim=-1)
    grows = torch.isfinite(distance) & (torch.diff(distance, dim=1, prepend=distance[:, :1] - 1.0) > 0.0)
    margin = 0.1 * max(width, height)
    size = torch.tensor([width, height], dtype=torch.float64)
    inside = ((pixels > -margin) & (pixels < size + margin)).all(-1)
    keep = torch.cumprod(grows.int(), dim=1).bool() & inside
    return s[keep]


def _ray(s: Tensor) -> Tensor:
    """Unit rays (..., 3) of stereographic directions s (..., 2), |s| = tan(theta / 2)."""
    r_squared = (s * s).sum(-1, keepdim=True)
    return torch.cat([2.0 * s, 1.0 - r_squared], -1) / (1.0 + r_squared)
