"""All checks on a finished calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from cv3d.calibration.boards import Board
from cv3d.calibration.checks.base import Finding
from cv3d.calibration.checks.board_shape import (
    Reshaped,
    board_as_given,
    board_as_seen,
    board_shape_finding,
    board_shape_note,
)
from cv3d.calibration.checks.boards_in_view import inverted_finding, other_boards_finding
from cv3d.calibration.checks.contest import convicted
from cv3d.calibration.checks.focus import focus_finding, focus_suspect, stabilisation_finding, stabilisation_suspect
from cv3d.calibration.checks.framing_history import (
    Size,
    axial_focal,
    changed_sizes,
    lens_of,
    not_square,
    off_centre,
    recorded_history,
)
from cv3d.calibration.checks.rolling_shutter import shutter_finding, shutter_suspect
from cv3d.calibration.problem import Observations, spread_indices
from cv3d.calibration.quality import Level
from cv3d.calibration.solving import Solution
from cv3d.media.exif import CameraRecord, read_record
from cv3d.media.picture import Picture

if TYPE_CHECKING:
    from cv3d.calibration.detecting import SeenPicture

_MOST_VIEWS = 120
_LEAST_VIEWS = 5
_LEAST_CORNERS = 12
"""A view of fewer corners leaves nothing to judge misfit by."""
_MOST_RECORDS = 60


@dataclass(frozen=True)
class Estimated:
    """A solved camera, as far as the checks look at it."""

    board: Board
    size: Size
    """Of the common image frame, pixels."""
    pictures: tuple[SeenPicture, ...]
    """Every picture of the input."""
    names: tuple[str, ...]
    """Those that took part in the fit, in the order of the observations."""
    observations: Observations
    solution: Solution
    level: Level
    """The verdict: what a camera that is not well known says about itself is not trusted."""


def look_for_trouble(estimated: Estimated) -> tuple[Finding, ...]:
    """Look for what users never think of: focus, stabilisation, shutter, board, cropping, other boards.

    Args:
        estimated: the solved camera and its pictures.

    Returns:
        The findings, those about the pictures as such first. Empty where nothing is wrong.
    """
    found = [inverted_finding(estimated.board, estimated.pictures), other_boards_finding(estimated.pictures)]
    sizes = {p.name: p.size for p in estimated.pictures if p.size is not None and len(p.detection.point_ids)}
    found.append(changed_sizes(sizes, estimated.size))
    if estimated.level is not Level.UNOBSERVABLE:
        focal = axial_focal(estimated.solution)
        found += recorded_history(_records(estimated.pictures), sizes, focal, estimated.size)
        found += _from_residuals(estimated)
    return tuple(finding for finding in found if finding is not None)


def _from_residuals(estimated: Estimated) -> list[Finding | None]:
    """What the residuals tell of the board, of differences between the views, and of the picture's frame."""
    enough = torch.nonzero(estimated.observations.seen.sum(dim=-1) >= _LEAST_CORNERS)[:, 0]
    enough = enough[spread_indices(len(enough), _MOST_VIEWS)]
    if len(enough) < _LEAST_VIEWS:
        return []
    names = [estimated.names[v] for v in enough.tolist()]
    solution = replace(estimated.solution, state=estimated.solution.state.select(enough))
    given = board_as_given(estimated.observations.select(enough), solution, estimated.size)
    seen = board_as_seen(given, estimated.size)
    known = board_shape_note(given, estimated.board)
    board = known if seen is None else board_shape_finding(given, seen, estimated.board)
    # A wrong board disturbs all that follows: it is judged with the board as seen.
    best = given if seen is None else seen
    found: list[Finding | None] = [board, *between_views(best, names)]
    if estimated.level is not Level.POOR:
        lens = lens_of(best.solution, best.tangent)
        found += [off_centre(lens, estimated.size), not_square(lens)]
    return found


def between_views(calibrated: Reshaped, names: Sequence[str]) -> list[Finding]:
    """What differs between the views of a calibration, by their names."""
    focal = math.sqrt(math.prod(axial_focal(calibrated.solution)))
    suspects = {
        "autofocus": focus_suspect(),
        "stabilisation": stabilisation_suspect(focal),
        "rolling_shutter": shutter_suspect(focal),
    }
    found = []
    for name, freed in convicted(calibrated.tangent, suspects).items():
        if name == "autofocus":
            found.append(focus_finding(freed, names))
        elif name == "stabilisation":
            found.append(stabilisation_finding(freed, names))
        else:
            found.append(shutter_finding(freed, names, focal))
    return found


def _records(pictures: Sequence[SeenPicture]) -> dict[str, CameraRecord]:
    """What the picture files that show the board say about their camera, by name; of many files, of some."""
    files = [
        p.picture
        for p in pictures
        if isinstance(p.picture, Picture) and p.picture.frame is None and len(p.detection.point_ids)
    ]
    records = {files[k].name: read_record(files[k].source) for k in spread_indices(len(files), _MOST_RECORDS).tolist()}
    return {name: record for name, record in records.items() if record is not None}
