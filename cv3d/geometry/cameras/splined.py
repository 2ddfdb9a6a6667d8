"""The splined stereographic model: a lens of any smooth shape, after mrcal's LENSMODEL_SPLINED_STEREOGRAPHIC.

The definition is mrcal's to the last digit (D. Kogan, mrcal documentation, "lens models: splined stereographic", and
the functions `_project_point_splined` and `mrcal_knots_for_splined_models` of mrcal 2), so that parameters may be
exchanged in both directions:

    u      = 2 (x, y) / (|p| + z)                                 stereographic projection of the point p
    pixel  = (fx, fy) * (u + delta_u(u)) + (cx, cy)

delta_u is a uniform B-spline surface of degree `order` (2 or 3) over `nx` by `ny` control points. The knots have the
same spacing h along both axes and lie symmetric about u = 0, the control point of column i and row j at

    ((i - (nx - 1) / 2) h, (j - (ny - 1) / 2) h),    h = 4 tan(fov_x / 4) / (nx - order),

so that the surface is fully supported over the horizontal field of view `fov_x_deg`, a whole number of degrees, and
over a height of `(ny - order) h`. There are no repeated knots at the border: the outermost control points lie outside
that region, one interval (cubic) or half a one (quadratic) away. Beyond the region the polynomial of the nearest
segment goes on.

Parameters: fx, fy, cx, cy, then row by row `x_r_c, y_r_c`, the two components of delta_u of row r and column c.

The four affine parameters and the common rotation of all poses are redundant with the surface. As mrcal does,
calibration holds the affine ones; the rotation is pinned by the prior (:meth:`SplinedStereographic.prior_precision`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from cv3d.errors import UsageError
from cv3d.geometry.cameras.base import AFFINE_NAMES, FREE, CameraModel, broadcast_shape, unit_scaled
from cv3d.geometry.cameras.splined_basis import bspline_weights
from cv3d.geometry.cameras.splined_prior import prior_precision
from cv3d.geometry.cameras.splined_stereographic import (
    BEHIND,
    length_plus_depth,
    stereographic,
    stereographic_with_jacobian,
)

_MOST_KNOTS = 200
_NAME = re.compile(r"splined_stereographic_o([23])_(\d{1,3})x(\d{1,3})_fov(\d{1,3})")
_EDGE = 1e-9
"""Relative width by which rounding may put a point outside the region of the spline."""
_FAR = 1e2
"""Knot intervals beyond the region after which delta_u no longer changes, so that nothing overflows."""
_SAMPLES = 64
_DIRECTIONS = 96
_NEWTON_STEPS = 10
_CHUNK = 1 << 22


@dataclass(frozen=True)
class LocalProjection:
    """A projection with the part of its Jacobian that is not zero.

    With focal length (fx, fy), the derivative of pixel x by parameter `4 + 2 * controls[..., l]` is
    `fx * basis[..., l]`, that of pixel y by the next parameter is `fy * basis[..., l]`; those by all other control
    values are zero.
    """

    pixels: Tensor
    """(..., N, 2)."""
    by_points: Tensor
    """Derivative by the points, (..., N, 2, 3), pixels per unit of length."""
    basis: Tensor
    """Weights of the control points that support the point, (..., N, L), L = (order + 1)^2."""
    controls: Tensor
    """Their numbers, row by row, (..., N, L), int64."""


@dataclass(frozen=True)
class SplinedStereographic(CameraModel):
    """A stereographic projection corrected by a B-spline surface; made by :meth:`configured`.

    The domain is the region over which the spline is fully supported, as far out from its centre as the map from u to
    the image keeps its orientation. Where in the domain there were no corners to calibrate with, the prior continues
    the surface with the least curvature, and the uncertainty of the projection tells how little that is worth: the
    part of mrcal's "valid-intrinsics region". Nothing about the data is stored in the model.
    """

    name: str
    shape_names: tuple[str, ...]
    neutral_shape: tuple[float, ...]
    shape_bounds: tuple[tuple[float, float], ...]
    order: int
    """Degree of the spline, 2 or 3."""
    nx: int
    """Control points along x."""
    ny: int
    """Control points along y."""
    fov_x_deg: int
    """Horizontal field of view over which the spline is fully supported, degrees."""

    @classmethod
    def configured(cls, order: int, nx: int, ny: int, fov_x_deg: int) -> SplinedStereographic:
        """The model of a configuration.

        Args:
            order: degree of the spline, 2 or 3.
            nx: control points along x, more than `order`.
            ny: control points along y, more than `order`.
            fov_x_deg: horizontal field of view over which the spline is fully supported, 1 to 359 degrees.

        Raises:
            UsageError: the configuration makes no sense.
        """
        if order not in (2, 3):
            raise UsageError(f"a splined lens model has order 2 or 3, not {order}")
        if not (order < nx <= _MOST_KNOTS and order < ny <= _MOST_KNOTS):
            raise UsageError(
                f"a splined lens model of order {order} has {order + 1} to {_MOST_KNOTS} control points a side, "
                f"not {nx}x{ny}"
            )
        if not 1 <= fov_x_deg <= 359:
            raise UsageError(f"a splined lens model covers 1 to 359 degrees, not {fov_x_deg}")
        return _configured(order, nx, ny, fov_x_deg)

    @classmethod
    def from_name(cls, name: str) -> SplinedStereographic | None:
        """The model whose `name` this is; None where it is the name of another kind of model.

        Raises:
            UsageError: the configuration in the name makes no sense.
        """
        match = _NAME.fullmatch(name)
        return None if match is None else cls.configured(*(int(group) for group in match.groups()))

    @property
    def spacing(self) -> float:
        """Distance h between neighbouring knots, in the unit of u."""
        return 4.0 * math.tan(math.radians(self.fov_x_deg) / 4.0) / (self.nx - self.order)

    @property
    def half_extent(self) -> tuple[float, float]:
        """Largest |u_x| and |u_y| of the region over which the spline is fully supported."""
        return 0.5 * self.spacing * (self.nx - self.order), 0.5 * self.spacing * (self.ny - self.order)

    @property
    def held_by_default(self) -> tuple[bool, ...]:
        """Which parameters an optimiser holds, (P,): the affine ones, redundant with the surface."""
        return (True,) * len(AFFINE_NAMES) + (False,) * len(self.shape_names)

    def project_locally(self, params: Tensor, points: Tensor) -> LocalProjection:
        """As :meth:`project_with_jacobians`, with only those derivatives by control values that are not zero.

        Args:
            params: (..., P), in the order of `param_names`.
            points: (..., N, 3), any unit of length.
        """
        u, du_dpoints = stereographic_with_jacobian(points)
        delta, slope, basis, controls = self._surface(params[..., 4:], u)
        focal = params[..., None, 0:2]
        by_points = focal[..., None] * (slope @ du_dpoints)
        return LocalProjection(focal * (u + delta) + params[..., None, 2:4], by_points, basis, controls)

    def central_focal_gradient(self) -> tuple[Tensor, Tensor]:
        """Derivatives of the relative magnification on the optical axis, along x and along y, by the shape, (S,) each.

        The focal length in effect there is `fx (1 + gradient . shape)`: the focal parameter itself is held.
        """
        _, slope_rows = _centre_rows(self)
        return slope_rows[0], slope_rows[3]

    def prior_precision(self) -> Tensor:
        """What is expected of delta_u before any data: the matrix A of the cost `0.5 shape^T A shape`, (S, S), px^2.

        It adds to a cost in squared pixels of reprojection error, and depends on the configuration alone.

        - Smoothness: the second derivative of delta_u (second differences of neighbouring control values over h^2, the
          mixed one twice, as in a thin plate; without unit, of order one in real lenses) costs 1 px a unit at every
          control point, after what the nearest ordinary lens bends has been taken off: classical projections with
          polynomial distortion, decentring and thin prism. That lens itself is charged 0.02 px a unit. Control points
          that no corner supports continue the whole as an ordinary lens would. One supported by n corners, by contrast,
          is drawn by some d^4(delta_u)/du^4 / (n f) pixels, the ordinary part again taken off: thousandths of a pixel.
        - Gauge: a common rotation of all poses can be undone by the surface. The centre of the surface is therefore
          held without offset and without rotation (100 px a unit), as in every model without a spline: the optical axis
          projects to (cx, cy). The data have no say in it, and it takes nothing from them.

        mrcal draws the control values themselves to zero, the stereographic lens; where there are data the result is
        the same, but the continuation is not.
        """
        return _prior_of(self)

    def _map(self, shape: Tensor, points: Tensor) -> Tensor:
        u = stereographic(points)
        basis_x, _, first_x = self._along(u[..., 0], self.nx)
        basis_y, _, first_y = self._along(u[..., 1], self.ny)
        block = self._block(shape, first_x, first_y)
        return u + torch.einsum("...j,...i,...jik->...k", basis_y, basis_x, block)

    def _map_with_jacobians(self, shape: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, du_dpoints = stereographic_with_jacobian(points)
        delta, slope, basis, controls = self._surface(shape, u)
        m = u + delta
        dm_dshape = m.new_zeros((*m.shape, len(self.shape_names)))
        controls, basis = controls.expand(*m.shape[:-1], -1), basis.expand(*m.shape[:-1], -1)
        dm_dshape[..., 0, :].scatter_(-1, 2 * controls, basis)
        dm_dshape[..., 1, :].scatter_(-1, 2 * controls + 1, basis)
        return m, slope @ du_dpoints, dm_dshape

    def _unmap(self, shape: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        limits = self._limits(shape)
        nodes = self._nodes(m)
        images = self._warped(shape, nodes)[0]
        usable = self._inside(shape, nodes, limits)
        usable = usable | ~usable.any(-1, keepdim=True)
        batch = broadcast_shape(tuple(shape.shape[:-1]), tuple(m.shape[:-2]))
        images, usable = images.expand(*batch, -1, 2), usable.expand(*batch, -1)
        m = m.expand(*batch, -1, 2)
        most = max(1, _CHUNK // (nodes.shape[-2] * max(1, math.prod(batch))))
        starts = [_nearest(part, images, usable, nodes) for part in torch.split(m, most, dim=-2)]
        u = self._solve(shape, m, torch.cat(starts, dim=-2))
        residual = (self._warped(shape, u)[0] - m).abs().amax(-1)
        reached = residual <= 1e3 * torch.finfo(m.dtype).eps * (1.0 + m.abs().amax(-1))
        rays = torch.cat([u, 1.0 - 0.25 * (u * u).sum(-1, keepdim=True)], -1)
        return rays, reached & self._inside(shape, u, limits)

    def _in_domain(self, shape: Tensor, points: Tensor) -> Tensor:
        x, y, z, _ = unit_scaled(points)
        length = (x * x + y * y + z * z).sqrt()
        seen = (length > 0.5) & (length_plus_depth(x, y, z, length) > BEHIND)
        return seen & self._inside(shape, stereographic(points), self._limits(shape))

    def _along(self, u: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Weights (..., N, order + 1) of the control points along an axis, derivatives by u, number of the first."""
        at = u / self.spacing + 0.5 * (count - 1)
        segment = at.detach() if self.order == 3 else at.detach() + 0.5
        base = segment.floor().clamp(1.0, count - self.order)
        weights, slopes = bspline_weights(self.order, (at - base).clamp(-_FAR, _FAR))
        moves = ((at - base).abs() < _FAR).to(u.dtype)
        return weights, slopes * (moves / self.spacing)[..., None], base.long() - 1

    def _controls(self, first_x: Tensor, first_y: Tensor) -> Tensor:
        """Numbers of the supporting control points, (..., N, L)."""
        offsets = torch.arange(self.order + 1, device=first_x.device)
        block = (offsets[:, None] * self.nx + offsets).flatten()
        return (first_y * self.nx + first_x)[..., None] + block

    def _block(self, shape: Tensor, first_x: Tensor, first_y: Tensor) -> Tensor:
        """Values of the supporting control points, (..., N, order + 1 along y, order + 1 along x, 2)."""
        controls = self._controls(first_x, first_y)
        side = self.order + 1
        values = shape.reshape(*shape.shape[:-1], self.ny * self.nx, 2)
        if shape.dim() == 1:
            return values[controls].reshape(*controls.shape[:-1], side, side, 2)
        batch = broadcast_shape(tuple(shape.shape[:-1]), tuple(controls.shape[:-2]))
        flat = controls.expand(*batch, -1, -1).flatten(-2)[..., None].expand(*[-1] * (len(batch) + 1), 2)
        picked = values.expand(*batch, -1, -1).gather(-2, flat)
        return picked.reshape(*batch, controls.shape[-2], side, side, 2)

    def _surface(self, shape: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """delta_u (..., N, 2), d(u + delta_u)/du (..., N, 2, 2), and the basis and controls of LocalProjection."""
        basis_x, slope_x, first_x = self._along(u[..., 0], self.nx)
        basis_y, slope_y, first_y = self._along(u[..., 1], self.ny)
        block = self._block(shape, first_x, first_y)
        by_row = (basis_x[..., None, :, None] * block).sum(-2)
        delta = (basis_y[..., None] * by_row).sum(-2)
        along_x = (basis_y[..., None] * (slope_x[..., None, :, None] * block).sum(-2)).sum(-2)
        along_y = (slope_y[..., None] * by_row).sum(-2)
        slope = torch.stack([along_x, along_y], -1) + torch.eye(2, dtype=u.dtype, device=u.device)
        basis = (basis_y[..., :, None] * basis_x[..., None, :]).flatten(-2)
        return delta, slope, basis, self._controls(first_x, first_y)

    def _warped(self, shape: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        delta, slope, _, _ = self._surface(shape, u)
        return u + delta, slope

    def _nodes(self, like: Tensor) -> Tensor:
        """Points spread evenly over the region of the spline, about one a knot interval, (M, 2)."""
        half_x, half_y = self.half_extent
        x = torch.linspace(-half_x, half_x, min(self.nx - self.order + 1, _SAMPLES), dtype=like.dtype)
        y = torch.linspace(-half_y, half_y, min(self.ny - self.order + 1, _SAMPLES), dtype=like.dtype)
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2).to(like.device)

    def _solve(self, shape: Tensor, m: Tensor, u: Tensor) -> Tensor:
        """Newton's method on u + delta_u(u) = m, steps halved where they do not help, held to the region."""
        half = torch.tensor(self.half_extent, dtype=m.dtype, device=m.device) * (1.0 + 0.5 * _EDGE)
        image, slope = self._warped(shape, u)
        share = torch.ones_like(u[..., :1])
        for _ in range(_NEWTON_STEPS):
            step = _solve_2x2(slope, m - image).clamp(-self.spacing, self.spacing)
            trial = torch.minimum(torch.maximum(u + share * step, -half), half)
            trial_image, trial_slope = self._warped(shape, trial)
            better = _square(trial_image - m) <= _square(image - m)
            u, image = torch.where(better, trial, u), torch.where(better, trial_image, image)
            slope = torch.where(better[..., None], trial_slope, slope)
            share = torch.where(better, (2.0 * share).clamp(max=1.0), 0.25 * share)
        return u

    def _limits(self, shape: Tensor) -> Tensor:
        """Share of the way from the centre to the border up to which the map keeps its orientation, by direction.

        (..., D); each direction's own value and its neighbours', whichever is least.
        """
        half = torch.tensor(self.half_extent, dtype=shape.dtype, device=shape.device)
        angle = torch.arange(_DIRECTIONS, dtype=shape.dtype, device=shape.device) * (2.0 * math.pi / _DIRECTIONS)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        border = direction / direction.abs().amax(-1, keepdim=True) * half
        steps = min(2 * max(self.nx, self.ny), _SAMPLES)
        share = torch.arange(1, steps + 1, dtype=shape.dtype, device=shape.device) / steps
        u = (border[:, None, :] * share[:, None]).reshape(-1, 2)
        turned = _determinant(self._warped(shape, u)[1]) <= 0.0
        turned = turned.reshape(*turned.shape[:-1], _DIRECTIONS, steps)
        folded = torch.where(turned, share - 1.0 / steps, 1.0 + _EDGE).amin(-1)
        return torch.minimum(folded, torch.minimum(folded.roll(1, -1), folded.roll(-1, -1)))

    def _inside(self, shape: Tensor, u: Tensor, limits: Tensor) -> Tensor:
        half = torch.tensor(self.half_extent, dtype=u.dtype, device=u.device)
        scaled = u / half
        share = scaled.abs().amax(-1)
        sector = torch.atan2(scaled[..., 1], scaled[..., 0]) * (_DIRECTIONS / (2.0 * math.pi))
        nearest = sector.round().long() % _DIRECTIONS
        batch = broadcast_shape(tuple(limits.shape[:-1]), tuple(nearest.shape[:-1]))
        limit = limits.expand(*batch, -1).gather(-1, nearest.expand(*batch, -1))
        return (share <= limit) & (_determinant(self._warped(shape, u)[1]) > 0.0)


@lru_cache(maxsize=64)
def _configured(order: int, nx: int, ny: int, fov_x_deg: int) -> SplinedStereographic:
    names = tuple(f"{axis}_{row}_{column}" for row in range(ny) for column in range(nx) for axis in "xy")
    name = f"splined_stereographic_o{order}_{nx}x{ny}_fov{fov_x_deg}"
    zeros, free = (0.0,) * len(names), (FREE,) * len(names)
    return SplinedStereographic(name, names, zeros, free, order, nx, ny, fov_x_deg)


@lru_cache(maxsize=16)
def _prior_of(model: SplinedStereographic) -> Tensor:
    offset, slopes = _centre_rows(model)
    turn = 0.5 * (slopes[1:2] - slopes[2:3])
    return prior_precision(model.order, model.nx, model.ny, model.spacing, torch.cat([offset, turn]))


def _centre_rows(model: SplinedStereographic) -> tuple[Tensor, Tensor]:
    """Rows that give delta_u (2, S) and its derivatives xx, xy, yx, yy (4, S) at u = 0 from the shape."""
    u = torch.zeros(1, dtype=torch.float64)
    basis_x, slope_x, first_x = model._along(u, model.nx)
    basis_y, slope_y, first_y = model._along(u, model.ny)
    controls = model._controls(first_x, first_y)[0]
    values = torch.zeros(2, len(model.shape_names), dtype=torch.float64)
    slopes = torch.zeros(4, len(model.shape_names), dtype=torch.float64)
    for component in range(2):
        columns = 2 * controls + component
        values[component, columns] = (basis_y[0, :, None] * basis_x[0]).flatten()
        slopes[2 * component, columns] = (basis_y[0, :, None] * slope_x[0]).flatten()
        slopes[2 * component + 1, columns] = (slope_y[0, :, None] * basis_x[0]).flatten()
    return values, slopes


def _nearest(m: Tensor, images: Tensor, usable: Tensor, nodes: Tensor) -> Tensor:
    """Of `nodes` (M, 2), the usable one whose image (..., M, 2) is nearest to each of m (..., N, 2)."""
    distance = torch.cdist(m, images, compute_mode="donot_use_mm_for_euclid_dist")
    distance = torch.where(usable[..., None, :], distance, torch.inf)
    return nodes[distance.argmin(-1)]


def _determinant(matrix: Tensor) -> Tensor:
    return matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]


def _solve_2x2(matrix: Tensor, right: Tensor) -> Tensor:
    """matrix^-1 right, finite where the matrix is singular."""
    determinant = _determinant(matrix)
    tiny = torch.finfo(matrix.dtype).eps
    safe = torch.where(determinant.abs() < tiny, torch.full_like(determinant, tiny), determinant)
    x = matrix[..., 1, 1] * right[..., 0] - matrix[..., 0, 1] * right[..., 1]
    y = matrix[..., 0, 0] * right[..., 1] - matrix[..., 1, 0] * right[..., 0]
    return torch.stack([x / safe, y / safe], -1)


def _square(vector: Tensor) -> Tensor:
    return (vector * vector).sum(-1, keepdim=True)
