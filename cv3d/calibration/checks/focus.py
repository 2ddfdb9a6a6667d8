"""Autofocus and stabilisation: a focal length or a principal point that is not the same in all pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from cv3d.calibration.checks.base import Finding, Severity, listed
from cv3d.calibration.checks.contest import Suspect
from cv3d.calibration.checks.freedom import Freed

_LEAST_FOCAL_SPREAD = 0.0015
_LEAST_CENTRE_SPREAD = 0.001
"""Of the focal length."""
_STANDS_OUT = 3.0
"""Standard deviations of a view's own value."""
_PLACEBO = ("affine", "quadratic")


def focus_suspect() -> Suspect:
    """A focal length of every view's own."""
    return Suspect("focal", _PLACEBO, lambda freed, _: freed.spread >= _LEAST_FOCAL_SPREAD)


def stabilisation_suspect(focal_px: float) -> Suspect:
    """A principal point of every view's own.

    Args:
        focal_px: the focal length, pixels.
    """
    return Suspect("centre", _PLACEBO, lambda freed, _: freed.spread >= _LEAST_CENTRE_SPREAD * focal_px)


def focus_finding(freed: Freed, names: Sequence[str]) -> Finding:
    """What to say of a focal length that varies.

    Args:
        freed: the fit of relative focal lengths.
        names: the views' names.
    """
    values, std = freed.values[:, 0], freed.std[:, 0]
    apart = _apart(values, std, freed.spread)
    views = tuple(names[v] for v in apart)
    which = f"; most in {listed(views)}" if views else ""
    return Finding(
        kind="autofocus",
        severity=Severity.WARNING,
        sentence=(
            f"the focal length differs between pictures by {100 * freed.spread:.2g} % "
            f"(spread; {freed.surprise:.0f} standard errors{which}): autofocus or zoom was on; lock the focus"
        ),
        figures={"spread_percent": 100 * freed.spread, "standard_errors": freed.surprise, "rms_px": freed.rms_px},
        views=views,
        advice="take the pictures again with the focus locked: no single camera explains these",
    )


def stabilisation_finding(freed: Freed, names: Sequence[str]) -> Finding:
    """What to say of a principal point that moves.

    Args:
        freed: the fit of principal points, pixels.
        names: the views' names.
    """
    size = torch.linalg.vector_norm(freed.values, dim=1)
    apart = _apart(size, torch.linalg.vector_norm(freed.std, dim=1), math.sqrt(2.0) * freed.spread)
    views = tuple(names[v] for v in apart)
    which = f"; most in {listed(views)}" if views else ""
    return Finding(
        kind="stabilisation",
        severity=Severity.WARNING,
        sentence=(
            f"the image centre moves between pictures by {freed.spread:.2g} px in each direction (spread; "
            f"{freed.surprise:.0f} standard errors{which}): stabilisation was on, or the lens or sensor is loose; "
            "switch it off"
        ),
        figures={"spread_px": freed.spread, "standard_errors": freed.surprise, "rms_px": freed.rms_px},
        views=views,
        advice="take the pictures again with optical and electronic stabilisation off",
    )


def _apart(values: torch.Tensor, std: torch.Tensor, spread: float) -> list[int]:
    """Views whose value lies beyond the spread and its own uncertainty, the farthest first."""
    distance = (values - values.median()).abs()
    marked = (distance > spread) & (distance > _STANDS_OUT * std)
    order = torch.argsort(distance, descending=True).tolist()
    return [v for v in order if bool(marked[v])]
