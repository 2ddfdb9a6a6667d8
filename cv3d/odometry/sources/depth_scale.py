"""How many metres a unit of stored depth is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cv3d.errors import InputError, PictureError, UsageError
from cv3d.media.sequences.depth_checks import better_scale
from cv3d.media.sequences.depth_files import DepthReader, read_stored_depth

_LOOKED_AT = 7
_STRIDE = 4
_LARGEST_SCALE = 10.0
_PLAUSIBLE_M = (0.12, 60.0)
"""A median depth outside of this is of a wrong scale."""
_USUAL_M = (0.12, 15.0)
"""The same where the scale is nobody's word, but only what most tools write."""
_PADDING = 65535.0
_MILLIMETRE = 0.001
_NEAR_PERCENT = 2.0
_NEAREST_M = 0.25
"""Depth cameras measure nothing nearer than that."""


@dataclass(frozen=True)
class DepthRule:
    """What a layout says of its depth pictures."""

    metres_per_unit: float | None
    """None: it says nothing."""
    reason: str
    """Where it says so."""
    nothing: float | None = None
    """A stored number, beside 0, for what was not measured."""


UNSAID = DepthRule(None, "")
"""Of layouts that say nothing."""


@dataclass(frozen=True, eq=False)
class DecidedDepth:
    """How depth pictures are read."""

    reader: DepthReader
    size: tuple[int, int]
    """Width and height of the first that can be read, pixels."""
    note: str
    """A sentence: the scale, and how it was decided."""


def decide_depth(files: Sequence[Path], rule: DepthRule, given: float | None) -> DecidedDepth:
    """How to read depth pictures, by what the user or the layout says, else by a look at some of them.

    Args:
        files: of the whole recording.
        rule: the layout's.
        given: metres per unit, by the user.

    Raises:
        UsageError: the scale given cannot be one.
        InputError: not one of those looked at can be read.
    """
    if given is not None and not 0.0 < given < _LARGEST_SCALE:
        raise UsageError(f"a depth scale is metres per stored unit, such as 0.001 for millimetres, not {given:g}")
    looked_at = [
        files[index]
        for index in np.unique(np.linspace(0, len(files) - 1, min(_LOOKED_AT, len(files))).round().astype(int))
    ]
    stored, reasons = [], []
    for path in looked_at:
        try:
            stored.append(read_stored_depth(path))
        except PictureError as error:
            # The frames will tell of it, each in its turn.
            reasons.append(str(error))
    if not stored:
        raise InputError(f"not one of {len(looked_at)} depth pictures looked at can be read: {reasons[0]}")
    is_float = stored[0].dtype == np.float32
    nothing = rule.nothing
    sampled = [picture[::_STRIDE, ::_STRIDE] for picture in stored]
    measured = [picture[(picture > 0) & np.isfinite(picture)] for picture in sampled]
    values = np.concatenate([picture.astype(np.float32).ravel() for picture in measured])
    if nothing is None and not is_float and values.size and float(values.max()) == _PADDING:
        nothing = _PADDING
    if nothing is not None:
        values = values[values != nothing]
    near, median = np.percentile(values, [_NEAR_PERCENT, 50.0]).tolist() if values.size else (None, None)
    scale, reason = _scale(rule, given, is_float, near, median)
    height, width = stored[0].shape
    return DecidedDepth(DepthReader(scale, nothing), (width, height), f"depth: {scale:g} m a unit, {reason}")


def _scale(
    rule: DepthRule, given: float | None, is_float: bool, near: float | None, median: float | None
) -> tuple[float, str]:
    """Metres per unit, and how that was decided.

    Args:
        rule: the layout's.
        given: metres per unit, by the user.
        is_float: whether the numbers are stored as floating point, which layouts do not speak of.
        near: the nearest that is measured, in units; None where nothing is.
        median: of what is measured, in units.
    """
    if given is not None:
        return given, "as given"
    if is_float:
        said, reason = 1.0, "floating-point numbers being taken for metres"
    elif rule.metres_per_unit is None:
        said, reason = _MILLIMETRE, "16-bit numbers being taken for millimetres"
    else:
        said, reason = rule.metres_per_unit, rule.reason
    if near is None or median is None:
        return said, reason
    is_too_near = near * said < _NEAREST_M and not is_float and said < _MILLIMETRE
    if is_too_near and near * _MILLIMETRE >= _NEAREST_M and median * _MILLIMETRE <= _PLAUSIBLE_M[1]:
        return _MILLIMETRE, f"because {said:g} ({reason}) would put things {near * said:.2g} m before the camera"
    nearest, farthest = _USUAL_M if rule.metres_per_unit is None else _PLAUSIBLE_M
    if nearest <= median * said <= farthest:
        return said, reason
    wrong = f"{said:g} ({reason}) would make the median depth {median * said:.3g} m"
    better = better_scale(median * said, said)
    return (said, f"though {wrong}") if better is None else (better, f"because {wrong}")


def first_depth_size(files: Sequence[Path]) -> tuple[int, int] | None:
    """Width and height of the first depth pictures that can be read, pixels; None where none of the first can."""
    for path in files[:_LOOKED_AT]:
        try:
            height, width = read_stored_depth(path).shape
        except PictureError:
            continue
        return width, height
    return None
