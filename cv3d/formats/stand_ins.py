"""A camera said as another model: the closest of several models to a given mapping between pixels and rays.

Each model is fitted from several starts, from the paraxial focal length and, where the lens is wide, over a field
that grows from the axis outwards, because a polynomial that starts from nothing at the border ends in a fold. All
models of `ucm`'s family share the pinhole's paraxial magnification up to a factor that is known. A splined model,
which can be anything smooth, is tried where none of these is close.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.formats.sights import Sights
from cv3d.geometry.cameras.base import CameraModel
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.fit import fit_model, starting_params, within_bounds
from cv3d.geometry.cameras.registry import get_model
from cv3d.geometry.cameras.splined import SplinedStereographic

CANDIDATES = (
    "pinhole",
    "ucm",
    "division",
    "eucm",
    "double_sphere",
    "brown4",
    "kannala_brandt4",
    "brown5",
    "omni",
    "brown8",
    "brown12",
)
"""Models that can stand in, simpler ones first."""
SPLINED = "splined_stereographic_*"
"""Stands for the splined models of any size."""
_FEWEST = 40
"""Sights below which there is nothing to fit to."""
_ITERATIONS = 100
_FIELDS_DEG = (25.0, 50.0, 75.0)
"""Where the growing field of view stops on its way outwards."""
_PERSPECTIVE = frozenset(["pinhole", "brown4", "brown5", "brown8", "brown12"])
_STEPS = ("brown4", "brown5", "brown8")
"""Models whose fits are where larger ones of their family start."""
_LARGEST = "brown12"
_MIN_DEPTH = math.cos(math.radians(85.0))
"""A model that divides by z is not fitted to rays further off the axis."""
_STRAIGHT_BACK = math.cos(math.radians(165.0))
_SPLINE_ITERATIONS = 8
_PARAXIAL = math.radians(12.0)
_CLOSE_PX = 0.02
"""A splined model, of hundreds of parameters, is not tried where another is this close everywhere."""
_SPLINE_KNOTS = 24
_SPLINE_ORDER = 3
_SPLINE_FOLLOWS = 1e3
"""Weight of the sights against the prior that keeps a spline smooth: there is no noise to smooth away."""
_EXACT_PX = 5e-3
"""A stand-in that is this close everywhere leaves nothing worth a larger model: corners are not found better."""
_SIMPLER = 1.25
_ALIKE_PX = 2e-3
"""A simpler model is preferred where it is no worse than this times, or plus this, the best."""
_WORST_SIGHTS = 24
_CLOSER = ((1.0, 4), (0.3, 4))
"""Around the worst sights, how far and how finely it is looked for worse ones."""


@dataclass(frozen=True)
class Fitted:
    """A camera that stands for another."""

    camera: Camera
    rms_px: float
    """RMS difference of the two projections over the image, pixels."""
    max_px: float
    """Largest difference, pixels."""


class StandIns:
    """The models that can stand for one camera; each is fitted once, however many formats ask for it."""

    def __init__(self, sights: Sights) -> None:
        self.sights = sights
        self._params: dict[str, Tensor | None] = {}
        self._judged: dict[str, Fitted | None] = {}

    def among(self, models: Iterable[str], accept: Callable[[Camera], bool] = lambda camera: True) -> list[Fitted]:
        """The camera as each of `models` that can be fitted to it, simpler ones first.

        Models that do not reach all of the camera's field of view are left out, and those that come after one that
        is as good as exact.

        Args:
            models: names among :data:`CANDIDATES`, and :data:`SPLINED`; others are passed over.
            accept: whether a camera that was fitted will do.
        """
        wanted = set(models)
        if len(self.sights.fit[0]) < _FEWEST:
            return []
        found: list[Fitted] = []
        for name in CANDIDATES:
            judged = self._fitted(name) if name in wanted else None
            if judged is not None and accept(judged.camera):
                found.append(judged)
                if judged.max_px <= _EXACT_PX:
                    return found
        if SPLINED in wanted and all(one.max_px > _CLOSE_PX for one in found):
            splined = self._fitted(SPLINED)
            found += [splined] if splined is not None and accept(splined.camera) else []
        return found

    def _fitted(self, name: str) -> Fitted | None:
        if name not in self._judged:
            if name == SPLINED:
                self._judged[name] = _splined(self.sights)
            else:
                params = self._fit(name)
                self._judged[name] = None if params is None else _judge(name, params, self.sights)
        return self._judged[name]

    def _fit(self, name: str) -> Tensor | None:
        """Parameters of a model, those of the smaller ones of its family being found first."""
        if name not in self._params:
            smaller = _STEPS[: _STEPS.index(name)] if name in _STEPS else _STEPS if name == _LARGEST else ()
            steps = [params for step in smaller if (params := self._fit(step)) is not None]
            self._params[name] = _fit(name, self.sights, steps)
        return self._params[name]


def stand_ins(
    sights: Sights, models: Iterable[str], accept: Callable[[Camera], bool] = lambda camera: True
) -> list[Fitted]:
    """The camera of these sights as each of `models` that can be fitted to it; as :meth:`StandIns.among`."""
    return StandIns(sights).among(models, accept)


def best(found: Sequence[Fitted]) -> Fitted:
    """The one with the smallest largest error, or a simpler one that is about as good."""
    least = min(one.max_px for one in found)
    return next(one for one in found if one.max_px <= max(_SIMPLER * least, least + _ALIKE_PX))


def worst_px(fitted: Fitted, sights: Sights) -> float:
    """The largest difference, looked for between the sights too: a spline and what it follows differ by short waves."""
    model, params = get_model(fitted.camera.model), torch.tensor(fitted.camera.params, dtype=torch.float64)
    pixels, rays = sights.check
    worst = fitted.max_px
    for reach, steps in _CLOSER:
        off = torch.linalg.vector_norm(model.project(params, rays) - pixels, dim=-1)
        top = torch.topk(off, min(_WORST_SIGHTS, len(off))).indices
        pixels, rays = sights.near(pixels[top], reach, steps)
        if len(pixels) == 0:
            break
        worst = max(worst, float(torch.linalg.vector_norm(model.project(params, rays) - pixels, dim=-1).max()))
    return worst


def _judge(name: str, params: Tensor, sights: Sights) -> Fitted | None:
    """The fit with its errors over the dense grid; None where the model does not reach all of it."""
    model = get_model(name)
    pixels, rays = sights.check
    if not bool(torch.isfinite(params).all()) or float(params[:2].min()) <= 0.0:
        return None
    if not bool(model.valid_points(params, rays).all()):
        return None
    off = torch.linalg.vector_norm(model.project(params, rays) - pixels, dim=-1)
    camera = Camera(name, sights.width, sights.height, tuple(params.tolist()))
    return Fitted(camera, float((off * off).mean().sqrt()), float(off.max()))


def _fit(name: str, sights: Sights, steps: Sequence[Tensor]) -> Tensor | None:
    """The best of the fits from all starts, or the first that is exact; None where the model cannot see that wide.

    Args:
        name: of the model.
        sights: what to fit to.
        steps: parameters of smaller models of its family.
    """
    model = get_model(name)
    pixels, rays = sights.fit
    if name in _PERSPECTIVE and bool((rays[:, 2] < _MIN_DEPTH).any()):
        return None
    best_cost, best_params = math.inf, None
    for start in _starts(model, sights, steps):
        params = _growing(model, rays, pixels, start) if name in _PERSPECTIVE else start
        fit = fit_model(model, rays, pixels, params, max_iterations=_ITERATIONS)
        reaches = bool(model.valid_points(fit.params, rays).all())
        cost = float(fit.errors.square().mean()) * (1.0 if reaches else 1e6)
        if cost < best_cost:
            best_cost, best_params = cost, fit.params
        if reaches and float(fit.errors.max()) < _EXACT_PX:
            break
    return best_params


def _splined(sights: Sights) -> Fitted | None:
    """A splined model whose knots cover everything that the camera sees; None where that reaches straight back."""
    rays = sights.check[1]
    if bool((rays[:, 2] < _STRAIGHT_BACK).any()):
        return None
    reach = (2.0 * rays[:, :2] / (1.0 + rays[:, 2:])).abs().amax(0)
    fov_x_deg = math.ceil(math.degrees(4.0 * math.atan(0.5 * float(reach[0])))) + 2
    spacing = 4.0 * math.tan(math.radians(fov_x_deg) / 4.0) / (_SPLINE_KNOTS - _SPLINE_ORDER)
    rows = math.ceil(2.0 * float(reach[1]) / spacing + 0.2) + _SPLINE_ORDER
    if not (rows <= 4 * _SPLINE_KNOTS and fov_x_deg < 360):
        return None
    model = SplinedStereographic.configured(_SPLINE_ORDER, _SPLINE_KNOTS, rows, fov_x_deg)
    start = starting_params(model, *_paraxial(sights))
    pixels, rays = sights.dense
    weights = torch.full_like(rays[:, 0], _SPLINE_FOLLOWS)
    fit = fit_model(model, rays, pixels, start, weights, max_iterations=_SPLINE_ITERATIONS)
    return _judge(model.name, fit.params, sights)


def _growing(model: CameraModel, rays: Tensor, pixels: Tensor, start: Tensor) -> Tensor:
    """`start` refined over fields of view that grow from the axis."""
    for field_deg in _FIELDS_DEG:
        near = rays[:, 2] > math.cos(math.radians(field_deg))
        if bool(near.all()) or int(near.sum()) < 2 * model.param_count:
            continue
        start = fit_model(model, rays[near], pixels[near], start, max_iterations=_ITERATIONS // 4).params
    return start


def _starts(model: CameraModel, sights: Sights, steps: Sequence[Tensor]) -> list[Tensor]:
    """Initial parameters (P,) of each start."""
    focal, centre = _paraxial(sights)

    def start(shape: Sequence[float], magnification: float = 1.0) -> Tensor:
        """Shape parameters, and the focal length over the paraxial one that goes with them."""
        return within_bounds(
            model, torch.cat([focal * magnification, centre, torch.tensor(shape, dtype=torch.float64)])
        )

    match model.name:
        case "ucm":
            return [start([alpha]) for alpha in (0.0, 0.5, 0.75)]
        case "eucm":
            return [start(shape) for shape in ((0.0, 1.0), (0.5, 1.0), (0.7, 1.1))]
        case "double_sphere":
            return [start((xi, alpha), 1.0 + xi) for xi, alpha in ((0.0, 0.0), (0.0, 0.55), (-0.2, 0.6))]
        case "omni":
            return [start((xi, 0.0, 0.0, 0.0, 0.0), 1.0 + xi) for xi in (0.0, 1.0, 1.8)]
        case "division":
            return [start([k1]) for k1 in (0.0, -0.15)]
        case "kannala_brandt4":
            return [start(model.neutral_shape), start(_equidistant_shape(sights, focal, centre))]
        case _:
            padded = [
                torch.cat([params, params.new_zeros(model.param_count - len(params))])
                for params in steps[-1:]
                if len(params) < model.param_count
            ]
            return [start(model.neutral_shape), *padded]


def _paraxial(sights: Sights) -> tuple[Tensor, Tensor]:
    """Focal lengths (2,) and principal point (2,) of the pinhole that fits best near the axis."""
    pixels, rays = sights.fit
    off_axis = torch.arccos(rays[:, 2].clamp(-1.0, 1.0))
    nearest = max(12, len(rays) // 50)
    reach = torch.sort(off_axis).values[min(nearest, len(rays) - 1)]
    near = off_axis <= torch.clamp(reach, min=_PARAXIAL)
    # The stereographic coordinate 2 tan(theta / 2) is finite for every ray and equals x / z on the axis.
    m = 2.0 * rays[near, :2] / (1.0 + rays[near, 2:]).clamp(min=1e-6)
    lines = [
        _least_squares(torch.stack([m[:, axis], torch.ones_like(m[:, 0])], -1), pixels[near, axis]) for axis in (0, 1)
    ]
    focal = torch.stack([line[0] for line in lines]).clamp(min=1.0)
    return focal, torch.stack([line[1] for line in lines])


def _equidistant_shape(sights: Sights, focal: Tensor, centre: Tensor) -> list[float]:
    """k1..k4 of theta_d = theta (1 + k1 theta^2 + ...), linear least squares for the given focal length and centre."""
    pixels, rays = sights.fit
    theta = torch.arctan2(rays[:, :2].norm(dim=-1), rays[:, 2])
    theta_d = ((pixels - centre) / focal).norm(dim=-1)
    powers = torch.stack([theta ** (2 * i + 3) for i in range(4)], -1)
    solution: list[float] = _least_squares(powers, theta_d - theta).tolist()
    return solution


def _least_squares(design: Tensor, values: Tensor) -> Tensor:
    """The vector (K,) that design (N, K) maps closest to values (N,)."""
    # The default driver, gelsy, does not give the same bits every time: they depend on where its workspace lies.
    solution: Tensor = torch.linalg.lstsq(design, values[:, None], driver="gelsd").solution
    return solution[:, 0]
