"""How many metres a unit of stored depth is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cv3d.errors import PictureError, UsageError
from cv3d.media.sequences.depth_checks import better_scale
from cv3d.media.sequences.depth_files import DepthReader, read_stored_depth

_LOOKED_AT = 7
_LARGEST_SCALE = 10.0
_PLAUSIBLE_M = (0.12, 60.0)
"""A median depth outside of this is of a wrong scale."""
_PADDING = 65535.0


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


def decide_depth(files: Sequence[Path], rule: DepthRule, given: float | None) -> DecidedDepth | None:
    """How to read depth pictures, by what the user or the layout says, else by a look at some of them.

    Args:
        files: of the whole recording.
        rule: the layout's.
        given: metres per unit, by the user.

    Returns:
        None where not one of those looked at can be read.

    Raises:
        UsageError: the scale given cannot be one.
    """
    if given is not None and not 0.0 < given < _LARGEST_SCALE:
        raise UsageError(f"a depth scale is metres per stored unit, such as 0.001 for millimetres, not {given:g}")
    looked_at = [
        files[index]
        for index in np.unique(np.linspace(0, len(files) - 1, min(_LOOKED_AT, len(files))).round().astype(int))
    ]
    stored = []
    for path in looked_at:
        try:
            stored.append(read_stored_depth(path))
        except PictureError:
            # The frames will tell of it, each in its turn.
            continue
    if not stored:
        return None
    is_float = stored[0].dtype == np.float32
    nothing = rule.nothing
    measured = [picture[(picture > 0) & np.isfinite(picture)] for picture in stored]
    values = np.concatenate([picture.astype(np.float32).ravel() for picture in measured])
    if nothing is None and not is_float and values.size and float(values.max()) == _PADDING:
        nothing = _PADDING
    if nothing is not None:
        values = values[values != nothing]
    median = float(np.median(values)) if values.size else None
    scale, reason = _scale(rule, given, is_float, median)
    note = f"depth: {scale:g} m a unit{reason}"
    height, width = stored[0].shape
    return DecidedDepth(DepthReader(scale, nothing), (width, height), note)


def _scale(rule: DepthRule, given: float | None, is_float: bool, median: float | None) -> tuple[float, str]:
    if given is not None:
        return given, ", as given"
    if rule.metres_per_unit is not None and not is_float:
        said = rule.metres_per_unit
        if median is None or _PLAUSIBLE_M[0] <= median * said <= _PLAUSIBLE_M[1]:
            return said, f", {rule.reason}"
        better = better_scale(median * said, said)
        if better is not None:
            return better, (
                f", because {said:g} ({rule.reason}) would make the median depth {median * said:.3g} m; "
                "--depth-scale says another"
            )
        return said, f", {rule.reason}"
    usual = 1.0 if is_float else 0.001
    kind = "floating-point numbers are taken for metres" if is_float else "16-bit numbers are taken for millimetres"
    if median is None or _PLAUSIBLE_M[0] <= median * usual <= _PLAUSIBLE_M[1]:
        return usual, f": {kind}; --depth-scale says another"
    better = better_scale(median * usual, usual)
    if better is None:
        return usual, f": {kind}, though the median depth is then {median * usual:.3g} m; --depth-scale says another"
    return better, (
        f", because {usual:g} would make the median depth {median * usual:.3g} m; --depth-scale says another"
    )


def first_depth_size(files: Sequence[Path]) -> tuple[int, int] | None:
    """Width and height of the first depth pictures that can be read, pixels; None where none of the first can."""
    for path in files[:_LOOKED_AT]:
        try:
            height, width = read_stored_depth(path).shape
        except PictureError:
            continue
        return width, height
    return None
