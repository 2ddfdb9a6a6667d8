"""When a splined lens model is worth trying, and with what grid.

A spline can take any shape, and hundreds of parameters for it: it is tried where the residuals of the best formula
agree between views about where in the image they point, which noise, poses and blur do not bring about. Whether it is
taken, the held-out views decide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.calibration.problem import CalibrationState, Observations
from cv3d.errors import EstimationError
from cv3d.geometry.cameras import get_model
from cv3d.geometry.cameras.splined import SplinedStereographic

_ORDER = 3
_MARGIN = 1.03
"""Room left around the outermost corners, relative to their distance from the axis."""
_BEYOND = 1.3
"""The grid follows the image border up to this multiple of the outermost corners' distance from the axis."""
_MAX_FOV_DEG = 340
_CORNERS_PER_CONTROL = (60.0, 30.0, 15.0)
"""What the grids to try leave of corners to a control point, coarse to fine."""
_CELL_CORNERS = 3
_SPARSE_CELLS = 0.35
"""Largest share of the cells with corners that may have fewer than :data:`_CELL_CORNERS`."""
_FEWEST_CELLS, _MOST_CELLS = 3, 24
_BORDER_STEPS = 33
_MISFIT_CELLS = 16
_MISFIT_SHARE = 0.03
_MISFIT_SIGMAS = 1.5
"""Low: a false alarm costs a second or two, as the held-out views decide; poses take most of a misfit out of the
residuals of a small set."""
_ENOUGH_VIEWS = 10
_ENOUGH_CORNERS = 1000


@dataclass(frozen=True)
class Misfit:
    """How far residuals of different views agree on where in the image they point."""

    share: float
    """Part of the mean square residual that is a function of the place in the image."""
    sigmas: float
    """The same in standard deviations of what independent views give."""

    @property
    def is_systematic(self) -> bool:
        """Whether the lens model leaves out something that a more flexible one could describe."""
        return self.share > _MISFIT_SHARE and self.sigmas > _MISFIT_SIGMAS


def image_misfit(observations: Observations, residuals: Tensor, size: tuple[int, int]) -> Misfit:
    """Compare the residuals of different views at the same places.

    The image is cut into cells; the residuals of each view are summed by cell. Products of the sums of different views
    average to zero where the views know nothing of each other, and to the square of the systematic error otherwise.
    The spread under independence is that over all flips of the views' signs.

    Args:
        observations: corners of V views.
        residuals: projected minus observed, (V, N, 2), pixels.
        size: image width and height, pixels.
    """
    step = max(size) / _MISFIT_CELLS
    shape = (math.ceil(size[1] / step), math.ceil(size[0] / step))
    column = (observations.pixels[..., 0] / step).floor().long().clamp(0, shape[1] - 1)
    row = (observations.pixels[..., 1] / step).floor().long().clamp(0, shape[0] - 1)
    weight = observations.seen.to(residuals.dtype)[..., None]
    cells = shape[0] * shape[1]
    place = (row * shape[1] + column)[..., None].expand(-1, -1, 3)
    sums = residuals.new_zeros(observations.views, cells, 3)
    sums.scatter_add_(1, place, torch.cat([residuals, torch.ones_like(weight)], -1) * weight)
    vectors, counts = sums[..., :2].flatten(1), sums[..., 2]
    products = _off_diagonal(vectors @ vectors.T)
    pairs = float(_off_diagonal(counts @ counts.T).sum())
    typical = float((residuals**2 * weight).sum()) / max(observations.count, 1)
    spread = math.sqrt(2.0 * float((products**2).sum()))
    if pairs == 0.0 or typical == 0.0 or spread == 0.0:
        return Misfit(0.0, 0.0)
    total = float(products.sum())
    return Misfit(total / pairs / typical, total / spread)


def is_worth_a_spline(observations: Observations, residuals: Tensor, size: tuple[int, int]) -> bool:
    """Whether a formula's residuals are systematic over the image, and the corners many enough to say of what shape.

    Arguments as in :func:`image_misfit`.
    """
    enough = observations.views >= _ENOUGH_VIEWS and observations.count >= _ENOUGH_CORNERS
    return enough and image_misfit(observations, residuals, size).is_systematic


def splined_grids(
    observations: Observations, known: CalibrationState, known_model: str, size: tuple[int, int]
) -> tuple[SplinedStereographic, ...]:
    """The splined models whose grids fit the corners, coarse to fine.

    They reach over the image as a known camera sees it, but not far beyond the corners, where nothing would determine
    them. Each is as fine as leaves so many corners to a control point and few cells with hardly any.

    Args:
        observations: corners of V views.
        known: a camera that explains them roughly.
        known_model: its model.
        size: image width and height, pixels.

    Raises:
        EstimationError: the known camera has no ray for the corners.
    """
    u = _stereographic_of(observations.pixels[observations.seen], known, known_model)
    if not len(u):
        raise EstimationError("no corner lies where the camera to start from is defined")
    border = _stereographic_of(_border(size), known, known_model)
    corners = u.abs().amax(0)
    image = border.abs().amax(0) if len(border) else corners
    reach = torch.minimum(torch.maximum(image, _MARGIN * corners), _BEYOND * corners)
    most = 2.0 * math.tan(math.radians(_MAX_FOV_DEG) / 4.0)
    fov_deg = max(math.ceil(math.degrees(4.0 * math.atan(0.5 * min(float(reach[0]), most)))), 1)
    region = 2.0 * math.tan(math.radians(fov_deg) / 4.0), min(float(reach[1]), most)
    grids = {_finest_grid(u.numpy(), region, share) for share in _CORNERS_PER_CONTROL}
    return tuple(
        SplinedStereographic.configured(_ORDER, across + _ORDER, down + _ORDER, fov_deg)
        for across, down in sorted(grids)
    )


def _finest_grid(u: NDArray[np.float64], region: tuple[float, float], corners_per_control: float) -> tuple[int, int]:
    """Cells across and down of the finest grid that the corners at `u` (M, 2) support.

    `region` is half the width and half the height to cover.
    """
    best = _FEWEST_CELLS
    for across in range(_FEWEST_CELLS, _MOST_CELLS + 1):
        down = _cells_down(region, across)
        tall = region[0] * down / across
        counts = np.histogram2d(u[:, 0], u[:, 1], (across, down), ((-region[0], region[0]), (-tall, tall)))[0]
        occupied = counts[counts > 0]
        sparse = int((occupied < _CELL_CORNERS).sum())
        if sparse <= _SPARSE_CELLS * len(occupied) and len(u) >= corners_per_control * len(occupied):
            best = across
    return best, _cells_down(region, best)


def _cells_down(region: tuple[float, float], across: int) -> int:
    return min(max(math.ceil(across * region[1] / region[0]), _FEWEST_CELLS - 1), 2 * _MOST_CELLS)


def _stereographic_of(pixels: Tensor, known: CalibrationState, known_model: str) -> Tensor:
    """Stereographic projections of the rays of those pixels that have one, (M, 2)."""
    model = get_model(known_model)
    pixels = pixels[model.valid_pixels(known.params, pixels)]
    rays = model.unproject(known.params, pixels)
    return 2.0 * rays[:, :2] / (1.0 + rays[:, 2:]).clamp(min=1e-3)


def _border(size: tuple[int, int]) -> Tensor:
    """Pixels along the border of the image, (M, 2)."""
    across = torch.linspace(-0.5, size[0] - 0.5, _BORDER_STEPS, dtype=torch.float64)
    down = torch.linspace(-0.5, size[1] - 0.5, _BORDER_STEPS, dtype=torch.float64)
    left, right = torch.full_like(down, -0.5), torch.full_like(down, size[0] - 0.5)
    top, bottom = torch.full_like(across, -0.5), torch.full_like(across, size[1] - 0.5)
    sides = [(across, top), (across, bottom), (left, down), (right, down)]
    return torch.cat([torch.stack(side, -1) for side in sides])


def _off_diagonal(matrix: Tensor) -> Tensor:
    return matrix - torch.diag(torch.diagonal(matrix))
