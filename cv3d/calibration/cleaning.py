"""Telling wrong corners and views that do not belong from honest noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.calibration.problem import Observations
from cv3d.calibration.solving import Solution

_CORNER_SIGMAS = 6.0
_VIEW_RATIO = 8.0
_VIEW_FLOOR_PX = 0.2
_MIN_CORNERS = 6
_RAYLEIGH_MEDIAN = 1.1774
"""Median length of a 2-D Gaussian vector of unit standard deviation per coordinate."""


@dataclass(frozen=True)
class Judgement:
    """What does not fit a solution."""

    outliers: Tensor
    """Corners that contradict it, (V, N), bool."""
    bad_views: dict[int, str]
    """Views that contradict it as a whole, with the reason."""


def judge_observations(observations: Observations, solution: Solution, image_size: int) -> Judgement:
    """Find corners and views that a solution cannot explain.

    A view is bad where its median residual exceeds eight times the set's, a corner is wrong beyond six robust
    standard deviations of its own view and of the set. Both have a floor in pixels, below which nothing is suspicious.

    Args:
        observations: corners of V views.
        solution: a robust fit to them.
        image_size: the larger side of the image, pixels; a ten-thousandth of it is the floor for corners.
    """
    return judge_residuals(observations, solution.residuals, image_size)


def judge_residuals(observations: Observations, residuals: Tensor, image_size: int) -> Judgement:
    """As :func:`judge_observations`, from the residuals of the fit, (V, N, 2), pixels."""
    norms = torch.linalg.vector_norm(residuals, dim=-1)
    floor = max(0.1, 1e-4 * image_size)
    view_medians = torch.stack(
        [
            n[s].median() if bool(s.any()) else n.new_tensor(float("inf"))
            for n, s in zip(norms, observations.seen, strict=True)
        ]
    )
    overall = float(view_medians[torch.isfinite(view_medians)].median())
    view_limit = max(_VIEW_RATIO * overall, _VIEW_FLOOR_PX)
    sigma = torch.clamp(view_medians, min=overall) / _RAYLEIGH_MEDIAN
    limit = torch.clamp(_CORNER_SIGMAS * sigma, min=floor)
    outliers = (norms > limit[:, None]) & observations.seen
    bad: dict[int, str] = {}
    for v in range(observations.views):
        seen = int(observations.seen[v].sum())
        kept = seen - int(outliers[v].sum())
        median = float(view_medians[v])
        if median > view_limit:
            bad[v] = f"its corners do not fit the camera (median {median:.2f} px, the others {overall:.2f} px)"
        elif kept < _MIN_CORNERS:
            bad[v] = f"only {kept} of its {seen} corners fit the camera"
    return Judgement(outliers, bad)
