"""The lens models that calibration offers, and the other names under which users know them."""

from __future__ import annotations

from cv3d.errors import UsageError
from cv3d.geometry.cameras import MODELS
from cv3d.geometry.cameras.splined import SplinedStereographic

AUTO = "auto"

SPLINED = "splined"
"""A splined model whose grid is found from the data; one of a given grid goes by its full name."""

AUTO_MODELS: tuple[str, ...] = (
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
"""What `--model auto` tries, simplest first; among models of as many parameters, the more widely read first."""

SPLINE_STARTS: tuple[str, ...] = ("ucm", "kannala_brandt4", "omni", "brown8")
"""The formulas of which the best is where a spline starts, when a spline is asked for."""

ALIASES: dict[str, str] = {
    "radtan": "brown4",
    "opencv": "brown5",
    "plumb_bob": "brown5",
    "rational": "brown8",
    "thin_prism": "brown12",
    "fisheye": "kannala_brandt4",
    "equidistant": "kannala_brandt4",
    "ds": "double_sphere",
}
"""Names used by OpenCV, ROS and Kalibr."""


def resolve_model(name: str) -> str:
    """The model's own name for a name given by a user; `auto` and `splined` stay.

    Raises:
        UsageError: no model has this name.
    """
    wanted = name.strip().lower().replace("-", "_")
    resolved = ALIASES.get(wanted, wanted)
    if resolved in (AUTO, SPLINED) or resolved in MODELS:
        return resolved
    if SplinedStereographic.from_name(resolved) is None:
        known = ", ".join([AUTO, *AUTO_MODELS, SPLINED])
        also = ", ".join(ALIASES)
        raise UsageError(f"unknown lens model '{name}'; known: {known} (also {also})")
    return resolved
