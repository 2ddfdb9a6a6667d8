"""A rolling shutter: rows exposed one after the other while camera or board moved.

To first order the camera turns at a constant rate while the rows are read, so that each row sees the board from a
rotation that grows with the row (Forssén and Ringaby, "Rectifying rolling shutter video from hand-held devices", CVPR
2010, who find rotation to be what matters). A board that moves sideways looks the same but for terms of its depth.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cv3d.calibration.checks.base import Finding, Severity, listed
from cv3d.calibration.checks.contest import Suspect
from cv3d.calibration.checks.freedom import Freed, Tangents, free_per_view

_LEAST_RMS_PX = 0.05
"""Root mean square displacement of corners that is left when poses have taken up what they can."""
_LEAST_SHIFT_PX = 0.5
"""Shift of the last row against the first."""
_ROWS_OVER_COLUMNS = 1.25
"""How many times more a shutter over rows has to explain than one over columns, which no sensor has."""
_PLACEBO = ("sideways", "quadratic")


def shutter_suspect(focal_px: float) -> Suspect:
    """A rotation during the exposure of every view's own.

    Args:
        focal_px: the focal length, pixels.
    """

    def matters(freed: Freed, tangent: Tangents) -> bool:
        if freed.rms_px < _LEAST_RMS_PX or freed.spread * focal_px < _LEAST_SHIFT_PX:
            return False
        columns = free_per_view(tangent, "sideways", placebo=("rolling", "quadratic"))
        return freed.explained >= _ROWS_OVER_COLUMNS * columns.explained

    return Suspect("rolling", _PLACEBO, matters)


def shutter_finding(freed: Freed, names: Sequence[str], focal_px: float) -> Finding:
    """What to say of a rolling shutter.

    Args:
        freed: the fit of rotations from the first row to the last, radians.
        names: the views' names.
        focal_px: the focal length, pixels.
    """
    # Each view's own value is noisy: drawn towards zero by what the spread over all views lets expect.
    variance = freed.spread**2
    believed = freed.values[:, :2] * (variance / (variance + freed.std[:, :2] ** 2))
    shift = focal_px * torch.linalg.vector_norm(believed, dim=1)
    largest = float(shift.max())
    order = torch.argsort(shift, descending=True).tolist()
    views = tuple(names[v] for v in order if float(shift[v]) > 0.7 * largest)
    return Finding(
        kind="rolling_shutter",
        severity=Severity.WARNING,
        sentence=(
            f"a rolling shutter shifts rows by up to {largest:.2g} px within a picture ({freed.surprise:.0f} standard "
            f"errors; most in {listed(views)}): hold camera and board still, or rest one of them on something"
        ),
        figures={
            "largest_shift_px": largest,
            "spread_px": freed.spread * focal_px,
            "standard_errors": freed.surprise,
            "rms_px": freed.rms_px,
        },
        views=views,
        advice="take the pictures with camera and board at rest: a rolling shutter has bent these",
    )
