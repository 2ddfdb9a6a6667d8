"""A board whose two directions differ in scale, as printers and glue make them, or that is skewed.

No camera explains such a board in views from all sides; where it goes unnoticed it takes the focal lengths and the
principal point with it. It is told from pixels that are not square by the boards' turning in the pictures. A
calibration estimates the difference in scale itself where it is asked to; then there is nothing to warn of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.checks.base import Finding, Severity
from cv3d.calibration.checks.freedom import Shared, Tangents, free_for_all, tangents
from cv3d.calibration.deformation import STRETCH
from cv3d.calibration.problem import Observations
from cv3d.calibration.solving import Solution, solve
from cv3d.geometry.levenberg import LmOptions

BOARD_SHAPE = "board_shape"
"""The kind of the findings."""
_SIGMAS = 8.0
_SURPRISE = 6.0
_LEAST = 0.001
"""Relative stretch, or skew in radians, below which nothing is said."""
_MOST_DOUBT = 0.005
"""Standard deviation beyond which pictures do not tell a stretched board from pixels that are not square."""
_ROUNDS = 3
_QUICK = LmOptions(max_iterations=30, relative_decrease=1e-6)
_UNITS = {
    BoardType.APRILGRID: "tags",
    BoardType.CIRCLES: "circles' distances",
    BoardType.CIRCLES_ASYMMETRIC: "circles' distances",
    BoardType.CIRCLES_HEX: "circles' distances",
}


@dataclass(frozen=True)
class Reshaped:
    """A calibration in which the board has the shape that the pictures give it."""

    observations: Observations
    solution: Solution
    tangent: Tangents
    shape: Shared
    """What is left of stretch and skew, about none."""
    stretch: float
    """How much longer the board's rows are than the calibration takes them to be, relative to its columns."""
    skew: float
    """Angle by which its columns lean along its rows, radians."""


def board_as_given(observations: Observations, solution: Solution, size: tuple[int, int]) -> Reshaped:
    """The calibration as it is, the board taken as it should be.

    Args:
        observations: the corners that the solution was fitted to.
        solution: a calibration at its minimum.
        size: width and height of the image, pixels.
    """
    tangent = tangents(observations, solution, *size)
    return Reshaped(observations, solution, tangent, free_for_all(tangent, "stretch"), 0.0, 0.0)


def board_as_seen(given: Reshaped, size: tuple[int, int]) -> Reshaped | None:
    """The calibration with the board's stretch and skew estimated; None where they are nothing beyond noise and misfit.

    Args:
        given: the calibration as it is.
        size: width and height of the image, pixels.
    """
    values, std = given.shape.step, given.shape.std
    clear = (values.abs() >= torch.clamp(_SIGMAS * std, min=_LEAST)) & (std <= _MOST_DOUBT)
    if given.shape.surprise < _SURPRISE or not bool(clear.any()):
        return None
    seen = given
    for _ in range(_ROUNDS):
        stretch, skew = seen.stretch + float(seen.shape.step[0]), seen.skew + float(seen.shape.step[1])
        x, y, z = given.observations.points.unbind(dim=-1)
        points = torch.stack([(1.0 + stretch) * x + skew * y, y, z], dim=-1)
        observations = replace(given.observations, points=points)
        start = seen.solution
        solution = solve(observations, start.model, start.state, deformation=start.state.deformation, options=_QUICK)
        tangent = tangents(observations, solution, *size)
        seen = Reshaped(observations, solution, tangent, free_for_all(tangent, "stretch"), stretch, skew)
    return seen if seen.solution.rms_px < given.solution.rms_px else None


def board_shape_finding(given: Reshaped, seen: Reshaped, board: Board) -> Finding:
    """What to say of a board that is stretched or skewed.

    Args:
        given: the calibration as it is.
        seen: the calibration with the board's true shape.
        board: the board.
    """
    stretch_std, skew_std = seen.shape.std.tolist()
    parts = []
    if abs(seen.stretch) >= max(_LEAST, _SIGMAS * stretch_std):
        parts.append(_stretched(seen.stretch, stretch_std, board))
    if abs(seen.skew) >= max(_LEAST, _SIGMAS * skew_std):
        off, doubt = math.degrees(abs(seen.skew)), math.degrees(skew_std)
        parts.append(f"its rows and columns are {off:.2f}° (± {doubt:.1g}°) off the right angle")
    what = ", and ".join(parts) or "its rows and columns differ in scale"
    return Finding(
        kind=BOARD_SHAPE,
        severity=Severity.WARNING,
        sentence=(
            f"the board is not of the shape it should have: {what} (with that, the RMS would be "
            f"{seen.solution.rms_px:.3f} px instead of {given.solution.rms_px:.3f}); measure it, print it at true scale"
        ),
        figures={
            "stretch_percent": 100 * seen.stretch,
            "stretch_std_percent": 100 * stretch_std,
            "skew_deg": math.degrees(seen.skew),
            "skew_std_deg": math.degrees(skew_std),
            "rms_px": given.solution.rms_px,
            "rms_reshaped_px": seen.solution.rms_px,
        },
        advice="use a board with the same scale along rows and columns: this one bends the camera's parameters",
    )


def board_shape_note(given: Reshaped, board: Board) -> Finding | None:
    """What to say of a stretch that the calibration has taken into account; None where it has estimated none.

    Args:
        given: the calibration as it is.
        board: the board.
    """
    stretch, std = float(given.solution.state.warp[STRETCH]), float(given.shape.std[0])
    if stretch == 0.0:
        return None
    return Finding(
        kind=BOARD_SHAPE,
        severity=Severity.INFO,
        sentence=(
            f"the board is stretched: {_stretched(stretch, std, board)}, as printers make them; the calibration takes "
            "that into account, the size of the board being the geometric mean of both directions"
        ),
        figures={
            "stretch_percent": 100 * stretch,
            "stretch_std_percent": 100 * std,
            "rms_px": given.solution.rms_px,
        },
    )


def _stretched(stretch: float, std: float, board: Board) -> str:
    longer = "along its rows than along its columns" if stretch > 0 else "along its columns than its rows"
    return (
        f"its {_UNITS.get(board.type, 'squares')} are {100 * abs(stretch):.2f} % (± {100 * std:.1g} %) longer {longer}"
    )
