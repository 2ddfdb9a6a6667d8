"""The options that set the scale of a scene."""

from __future__ import annotations

from cv3d.calibration.board_text import parse_board
from cv3d.calibration.board_text import parse_length as parse_side
from cv3d.cli.quantities import parse_length
from cv3d.errors import UsageError
from cv3d.mapping.scaling import KnownBoard, KnownDistance, Scaling, parse_place


def scaling(distance: tuple[str, str, str] | None, board: str | None, square: str | None) -> Scaling | None:
    """What the unit of length is to be taken from; None: nothing was said of it.

    Args:
        distance: of `--scale-distance`: two places and a length.
        board: of `--board`.
        square: of `--square`.

    Raises:
        UsageError: one of them cannot be understood, or they do not go together.
    """
    if board is not None and square is None:
        raise UsageError("--board sets the scale together with the side of its squares: add --square, e.g. 25mm")
    if distance is not None and square is not None:
        raise UsageError("--scale-distance and --square both set the scale; give one of them")
    if distance is not None:
        first, second, length = distance
        return KnownDistance(parse_place(first), parse_place(second), parse_length(length, "--scale-distance"))
    if square is not None:
        return KnownBoard(None if board is None else parse_board(board), parse_side(square))
    return None
