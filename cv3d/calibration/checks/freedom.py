"""Giving every view a freedom of its own, and telling what it explains from noise and from misfit.

A calibration holds the intrinsics the same in all pictures. Here each view gets further parameters (a focal scale, a
principal point, a motion during the exposure) beside its pose, all intrinsics and all poses are solved again, to first
order about the solution, and the fall of the cost is compared with chance. Chance is not the white noise of corners
alone: a lens model or a board that does not quite fit leaves smooth residuals, which any smooth freedom explains in
part. The yardstick is therefore what *placebo* freedoms of the same smoothness explain in the same view: polynomial
displacement fields over the image that no camera effect looks like, after the freedom in question has been fitted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cv3d.calibration.deformation import Deformation, deformed
from cv3d.calibration.problem import POSE_SIZE, Observations
from cv3d.calibration.solving import Solution
from cv3d.geometry.cameras import get_model

_CHUNK_POINTS = 16384
_MOST_SHARED = 24
"""Models of more parameters (splines) keep all but their first four, the focal lengths and principal point, as they
are."""
_SHARED = {"warp": len(Deformation.BENT.modes), "stretch": 2, "lens": 16}
"""What all views share beside the camera: how the board bends, its stretch and shear, and smooth errors of the lens
model, so that what is wrong everywhere does not pass for a difference between pictures."""
_PER_VIEW = {"focal": 1, "centre": 2, "rolling": 3, "sideways": 3, "affine": 2, "quadratic": 6, "cubic": 8}
_PRIOR = 6.0
"""Degrees of freedom with which the set's noise stands beside that of one view..."""
_MISFIT_PRIOR = 20.0
"""...and the set's misfit."""
_GAUGE = 1e-5
"""Part of a shared direction's information below which the views' own freedoms explain all of it."""
_SPENT = 1e-7
"""Part of a direction's information below which other parameters explain all of it."""


@dataclass(frozen=True)
class Tangents:
    """Displacements that each parameter causes in each view, and the residuals, the poses fitted to all of them."""

    factors: Tensor
    """(V, m, n): what is left of the columns when the pose is taken out of them, rotated into few rows. Columns are
    the shared parameters, the views' own, and last the residual; but for this, they have unit norm."""
    scales: Tensor
    """What each column was divided by, (V, n - 1)."""
    counts: Tensor
    """Corners of each view, (V,)."""
    shared: int
    """Number of shared parameters."""
    columns: dict[str, slice]
    """Where each group of columns stands, by name."""

    @property
    def views(self) -> int:
        """Number of views V."""
        return int(self.factors.shape[0])

    def without(self, view: int) -> Tangents:
        """The same with one view left out."""
        keep = [v for v in range(self.views) if v != view]
        return replace(self, factors=self.factors[keep], scales=self.scales[keep], counts=self.counts[keep])

    def places(self, names: Sequence[str]) -> list[int]:
        """Positions of the columns of some freedoms."""
        return [k for name in names for k in range(self.columns[name].start, self.columns[name].stop)]


@dataclass(frozen=True)
class Freed:
    """What a freedom of every view explains."""

    explained: float
    """Fall of the sum of squares, in units of the noise variance that placebo freedoms show; by chance about
    `degrees`."""
    degrees: float
    """Degrees of freedom, directions that the shared parameters hold already not counted."""
    values: Tensor
    """The fitted parameters of every view, (V, q)."""
    std: Tensor
    """Their standard deviations, (V, q)."""
    spread: float
    """Standard deviation of the true values between views, root mean square over the q parameters."""
    share: Tensor
    """Of the fall, what each view contributes, (V,), in the same unit."""
    rms_px: float
    """Root mean square displacement of a corner that the freedom explains beyond chance, pixels."""

    @property
    def surprise(self) -> float:
        """How far the fall exceeds chance, in standard deviations of a normal variable.

        Wilson and Hilferty 1931 for the chi-square distribution.
        """
        return normal_score(self.explained, self.degrees)


def normal_score(chi_square: float, degrees: float) -> float:
    """A chi-square value as standard deviations of a normal variable; 0 without degrees of freedom."""
    if degrees < 1.0:
        return 0.0
    spread = 2.0 / (9.0 * degrees)
    return float((max(chi_square, 0.0) / degrees) ** (1.0 / 3.0) - (1.0 - spread)) / math.sqrt(spread)


def tangents(observations: Observations, solution: Solution, width: int, height: int) -> Tangents:
    """Displacements per parameter at a solution.

    The further columns are `focal` (relative change of the focal length), `centre` (shift of the principal point,
    pixels), `rolling` (rotation of the camera about its x, y, z axes, radians from the first row to the last),
    `affine` (stretch and shear), `quadratic` and `cubic` (fields over the image, pixels at its rim).

    Args:
        observations: the corners that the solution was fitted to, V views.
        solution: a calibration at its minimum.
        width: image width, pixels.
        height: image height, pixels.
    """
    state, model = solution.state, get_model(solution.model)
    count = model.param_count if model.param_count <= _MOST_SHARED else 4
    columns, at = {}, 0
    for name, size in {"camera": count, **_SHARED, **_PER_VIEW}.items():
        columns[name] = slice(at, at + size)
        at += size
    shared = columns["lens"].stop
    modes = observations.modes()
    views, most = observations.seen.shape
    step = max(1, _CHUNK_POINTS * _MOST_SHARED // (max(most, 1) * max(model.param_count, _MOST_SHARED)))
    factors = []
    for first in range(0, views, step):
        part = slice(first, min(first + step, views))
        on_board, observed = observations.points[part], observations.pixels[part]
        rotation = state.rotation[part]
        points = deformed(on_board, modes[part], state.warp)
        in_camera = points @ rotation.transpose(-1, -2) + state.translation[part][:, None, :]
        pixels, by_point, by_params = model.project_with_jacobians(state.params, in_camera)
        x, y, z = in_camera[..., None, :].unbind(dim=-1)
        gx, gy, gz = by_point.unbind(dim=-1)
        turned = torch.stack([y * gz - z * gy, z * gx - x * gz, x * gy - y * gx], dim=-1)
        by_board = by_point @ rotation[:, None]
        rows = torch.zeros(*pixels.shape, at + 1, dtype=torch.float64)
        rows[..., columns["camera"]] = by_params[..., :count]
        rows[..., columns["warp"]] = by_board[..., 2:3] * modes[part][..., None, Deformation.BENT.modes]
        rows[..., columns["stretch"]] = by_board[..., :1] * on_board[..., None, :2]
        from_centre = pixels - state.params[2:4]
        rows[..., columns["focal"]] = from_centre[..., None]
        rows[..., columns["centre"]] = torch.eye(2, dtype=torch.float64)
        rows[..., columns["rolling"]] = (pixels[..., 1] / height - 0.5)[..., None, None] * turned
        rows[..., columns["sideways"]] = (pixels[..., 0] / width - 0.5)[..., None, None] * turned
        unit = from_centre / (0.5 * math.hypot(width, height))
        x, y = unit.unbind(dim=-1)
        rows[..., columns["affine"]] = torch.stack([unit * unit.new_tensor([1.0, -1.0]), unit.flip(-1)], dim=-1)
        _both_axes(rows[..., columns["quadratic"]], (x * x, x * y, y * y))
        _both_axes(rows[..., columns["cubic"]], (x**3, x * x * y, x * y * y, y**3))
        radius = (unit * unit).sum(dim=-1)[..., None, None]
        rows[..., columns["lens"]] = torch.cat(
            [
                rows[..., columns["quadratic"]],
                rows[..., columns["cubic"]],
                radius**2 * unit[..., None],
                radius**3 * unit[..., None],
            ],
            dim=-1,
        )
        rows[..., -1] = pixels - observed
        rows = torch.cat([turned, by_point, rows], dim=-1)
        rows = torch.where(observations.seen[part][..., None, None], rows, torch.zeros_like(rows)).flatten(1, 2)
        factors.append(_eliminated(rows, POSE_SIZE))
    whole = torch.cat(factors)
    scales = torch.linalg.vector_norm(whole[..., :-1], dim=1).clamp(min=1e-150)
    scales[:, :shared] = torch.sqrt((scales[:, :shared] ** 2).mean(dim=0))
    whole[..., :-1] /= scales[:, None, :]
    return Tangents(whole, scales, observations.seen.sum(dim=-1).to(torch.float64), shared, columns)


def _both_axes(columns: Tensor, powers: Sequence[Tensor]) -> None:
    """Fill columns (v, N, 2, 2 p) with fields along x and along y, one pair for each of p polynomials (v, N)."""
    for k, power in enumerate(powers):
        for axis in (0, 1):
            columns[..., axis, 2 * k + axis] = power


def free_per_view(
    tangent: Tangents, freedom: str, given: Sequence[str] = (), placebo: Sequence[str] = ("quadratic", "cubic")
) -> Freed:
    """Fit a freedom to every view, together with all poses and shared parameters, to first order.

    Args:
        tangent: the displacements.
        freedom: the freedom in question.
        given: freedoms that every view has in any case.
        placebo: the fields whose explained share says what chance and misfit do.

    Returns:
        What it explains.
    """
    before, own = tangent.places(given), tangent.places([freedom])
    fields = [k for k in tangent.places(placebo) if k not in own + before]
    shared = list(range(tangent.shared))
    left = _eliminated(tangent.factors[..., [*before, *own, *shared, -1]], len(before))
    noise = torch.ones(tangent.views, dtype=torch.float64)
    for _ in range(2):
        settling = _settling(left[..., len(own) :], noise)
        noise = _noise(tangent, [*before, *own], fields, settling)
    settling = _settling(left[..., len(own) :], noise)
    left = torch.cat([left[..., :-1], left[..., -1:] + left[..., len(own) : -1] @ settling[:, None]], dim=-1)
    left = left.transpose(-1, -2) @ left
    q = len(own)
    rank = _rank(left[:, :q, :q])
    inverse = _inverse(left[:, :q, :q]) * noise[:, None, None]
    left = left / noise[:, None, None]
    coupling, pull = left[:, :q, q:-1], left[:, :q, -1]
    common = left[:, q:-1, q:-1].sum(dim=0)
    scale = torch.sqrt(torch.clamp(torch.diagonal(common), min=1e-300))
    common, coupling = common / (scale[:, None] * scale), coupling / scale
    by_own = inverse @ coupling
    reduced = common - (coupling.transpose(-1, -2) @ by_own).sum(dim=0)
    inner = _inverse(reduced, _GAUGE)
    gauge = float(_rank(common) - _rank(reduced, _GAUGE))
    step = -inner @ (by_own.transpose(-1, -2) @ pull[..., None])[..., 0].sum(dim=0)
    values = (inverse @ (pull - coupling @ step)[..., None])[..., 0]
    share = (pull[:, None] @ inverse @ pull[..., None])[:, 0, 0]
    explained = float((pull * values).sum())
    degrees = max(float(rank.sum()) - gauge, 0.0)
    covariance = inverse + by_own @ inner @ by_own.transpose(-1, -2)
    size = tangent.scales[:, own]
    weighed = coupling * size[..., None]
    information = float(
        (torch.diagonal(left[:, :q, :q], dim1=-2, dim2=-1) * size**2).sum()
        - (_inverse(common) * (weighed.transpose(-1, -2) @ weighed).sum(dim=0)).sum()
    )
    excess = max(explained - degrees, 0.0)
    moved = excess * float((share * noise).sum() / share.sum().clamp(min=1e-300))
    return Freed(
        explained=explained,
        degrees=degrees,
        values=-values / size,
        std=torch.sqrt(torch.clamp(torch.diagonal(covariance, dim1=-2, dim2=-1), min=0.0)) / size,
        spread=math.sqrt(excess / information) if information > 0.0 else 0.0,
        share=share,
        rms_px=math.sqrt(moved / float(tangent.counts.sum())),
    )


@dataclass(frozen=True)
class Shared:
    """Where parameters that all views share go, when everything else that they share may move too."""

    explained: float
    """Square of the step in units of its covariance; by chance about `degrees`."""
    degrees: float
    step: Tensor
    """From where the solution holds them, (q,)."""
    covariance: Tensor
    """Of the step, (q, q), white noise and misfit both counted."""

    @property
    def surprise(self) -> float:
        """As :attr:`Freed.surprise`."""
        return normal_score(self.explained, self.degrees)

    @property
    def std(self) -> Tensor:
        """Standard deviations, (q,)."""
        return torch.sqrt(torch.clamp(torch.diagonal(self.covariance), min=0.0))


def free_for_all(
    tangent: Tangents, freedom: str, held: Sequence[str] = (), placebo: Sequence[str] = ("affine", "quadratic")
) -> Shared:
    """Fit all that the views share: camera, bending and stretch of the board, smooth errors of the lens model.

    Args:
        tangent: the displacements.
        freedom: which of it is asked for: `camera`, `warp`, `stretch` or `lens`.
        held: which of it is not freed.
        placebo: fields of the views' own that say what chance and misfit do.
    """
    fixed = tangent.places(held)
    shared = [k for k in range(tangent.shared) if k not in fixed]
    own = [shared.index(k) for k in tangent.places([freedom])]
    left = tangent.factors[..., [*shared, -1]]
    noise = torch.ones(tangent.views, dtype=torch.float64)
    for _ in range(3):
        step = _settling(left, noise)
        everything = torch.zeros(tangent.shared, dtype=torch.float64)
        everything[shared] = step
        noise = _noise(tangent, [], tangent.places(placebo), everything)
    normal = ((left.transpose(-1, -2) @ left) / noise[:, None, None]).sum(dim=0)
    scale = torch.sqrt(torch.clamp(torch.diagonal(normal)[:-1], min=1e-300))
    covariance = _inverse(normal[:-1, :-1] / (scale[:, None] * scale)) / (scale[:, None] * scale)
    size = tangent.scales[0, shared][own]
    mine = covariance[own][:, own]
    return Shared(
        explained=float(step[own] @ torch.linalg.pinv(mine, hermitian=True) @ step[own]),
        degrees=float(len(own)),
        step=step[own] / size,
        covariance=mine / (size[:, None] * size),
    )


def _settling(left: Tensor, noise: Tensor) -> Tensor:
    """The step of the shared parameters, (K,), to their optimum for views of the given noise variances (V,).

    Args:
        left: columns of the shared parameters and the residual, (V, m, K + 1).
        noise: variances, square pixels.
    """
    normal = ((left.transpose(-1, -2) @ left) / noise[:, None, None]).sum(dim=0)
    scale = torch.sqrt(torch.clamp(torch.diagonal(normal)[:-1], min=1e-300))
    return -_inverse(normal[:-1, :-1] / (scale[:, None] * scale)) @ (normal[:-1, -1] / scale) / scale


def _noise(tangent: Tangents, fitted: list[int], fields: list[int], settling: Tensor) -> Tensor:
    """Noise variance of one coordinate in every view, (V,), square pixels.

    That of white noise, and more where the placebo fields explain more than that; both drawn towards the set's.
    """
    columns = tangent.factors[..., [*fitted, *fields]]
    residual = tangent.factors[..., -1] + tangent.factors[..., : tangent.shared] @ settling
    basis = torch.linalg.qr(columns).Q
    along = (basis.transpose(-1, -2) @ residual[..., None])[..., 0]
    smooth = (along[:, len(fitted) :] ** 2).sum(dim=-1)
    rough = torch.clamp((residual**2).sum(dim=-1) - (along**2).sum(dim=-1), min=0.0)
    freedom = torch.clamp(2.0 * tangent.counts - POSE_SIZE - columns.shape[-1], min=0.0)
    white = torch.clamp(_drawn(rough, freedom, _PRIOR), min=1e-12)
    # The shared parameters took their part of what the placebo would have explained.
    lost = 1.0 - min(tangent.shared / (len(fields) * tangent.views), 0.5)
    misfit = _drawn(smooth / white / lost, torch.full_like(smooth, len(fields)), _MISFIT_PRIOR)
    return white * torch.clamp(misfit, min=1.0)


def _drawn(squares: Tensor, freedom: Tensor, prior: float) -> Tensor:
    """Variances from sums of squares, each view's drawn towards the set's, (V,)."""
    typical = squares.sum() / torch.clamp(freedom.sum(), min=1.0)
    return (squares + prior * typical) / (freedom + prior)


def _eliminated(rows: Tensor, count: int) -> Tensor:
    """What is left of columns (V, m, n) when the first `count` are fitted to the others, rotated into few rows."""
    factor: Tensor = torch.linalg.qr(rows, mode="r").R
    return factor[:, count:, count:]


def _inverse(matrix: Tensor, spent: float = _SPENT) -> Tensor:
    """Pseudo-inverses of positive semidefinite matrices (..., n, n) whose unknowns are scaled to unit information."""
    values, vectors = torch.linalg.eigh(0.5 * (matrix + matrix.transpose(-1, -2)))
    kept = values > spent
    weights = torch.where(kept, 1.0 / torch.where(kept, values, torch.ones_like(values)), torch.zeros_like(values))
    result: Tensor = (vectors * weights[..., None, :]) @ vectors.transpose(-1, -2)
    return result


def _rank(matrix: Tensor, spent: float = _SPENT) -> Tensor:
    """Numbers of directions that such matrices tell anything about, (...)."""
    values: Tensor = torch.linalg.eigvalsh(0.5 * (matrix + matrix.transpose(-1, -2)))
    return (values > spent).sum(dim=-1).to(torch.float64)
