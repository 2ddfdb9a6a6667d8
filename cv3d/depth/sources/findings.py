"""What is said of poses that do not fit their pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.depth.posed import PosedView
from cv3d.depth.result import LeftOutView

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

_LISTED = 3


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the pictures say of the poses."""

    fits: Bools
    """(views,), whether most of what a view sees agrees with its pose."""
    tested: Bools
    """(views,), whether anything could be said of it."""
    medians: Floats
    """(views,), median error, pixels as matched; infinite where most lies behind the camera, NaN where not tested."""
    counts: Ints
    """(views,), how many matches or points that is the median of."""
    reasons: tuple[str, ...]
    """Why nothing could be said of a view, where that is known."""

    @property
    def wrong(self) -> Bools:
        """(views,), whether the pictures speak against it."""
        result: Bools = self.tested & ~self.fits
        return result


def sentences(views: Sequence[PosedView], verdict: Verdict) -> tuple[list[str], list[LeftOutView]]:
    """Warnings about a set of which some poses fit, and the views that are left out for theirs."""
    warnings = []
    names = [view.picture.name for view in views]
    wrong, untested = np.flatnonzero(verdict.wrong).tolist(), np.flatnonzero(~verdict.tested).tolist()
    left_out = [
        LeftOutView(
            names[i],
            f"its pose does not fit the pictures: {_error(verdict.medians[i])} over {verdict.counts[i]} matches",
        )
        for i in wrong
    ]
    if wrong:
        verb = "does" if len(wrong) == 1 else "do"
        subject = f"the pose{'' if len(wrong) == 1 else 's'} of {len(wrong)} of {len(views)} pictures"
        listed = _listed([names[i] for i in wrong])
        error = _error(float(np.median(verdict.medians[wrong])))
        warnings.append(f"{subject} {verb} not fit the pictures: {listed}, {error}; left out")
    if untested:
        reasons = {verdict.reasons[i] for i in untested} - {""}
        why = f" ({reasons.pop()})" if len(reasons) == 1 else ""
        listed = _listed([names[i] for i in untested])
        warnings.append(f"nothing can be said of the poses of {len(untested)} of {len(views)} pictures: {listed}{why}")
    return warnings, left_out


def nothing_fits(verdict: Verdict, cause: str | None) -> str:
    """A set of which no poses fit.

    Args:
        verdict: on the set.
        cause: what is known to be wrong, in words.
    """
    error = _error(float(np.median(verdict.medians[verdict.tested]))) if verdict.tested.any() else "nothing is known"
    advice = cause or (
        "check the convention of the axes (x right, y down, z forward), the direction of the poses (world to camera or "
        "back) and whether the intrinsics are for pictures of this size"
    )
    return f"the poses do not fit the pictures: {error} over {int(verdict.counts.sum()) // 2} matches; {advice}"


def _error(median: float) -> str:
    if not math.isfinite(median):
        return "most of it lies behind the cameras"
    return f"median error {median:.{0 if median >= 10.0 else 1}f} px"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"
