"""The moments that a table of stamps tells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.rig.frames import Moment, Timeline
from cv3d.calibration.rig.name_match import stamped_timeline
from cv3d.calibration.rig.result import Synchronisation, SyncMethod
from cv3d.calibration.rig.stamps import moment_spreads, moment_stamps
from cv3d.calibration.rig.table_match import TableMatch


def tabled_timeline(
    table: TableMatch, rows: NDArray[np.int64], members: NDArray[np.int64], names: Sequence[str]
) -> Timeline:
    """The timeline of moments that a table tells.

    Args:
        table: the table.
        rows: (M, C) rows of the table, -1 for none.
        members: (M, C) indices into the cameras' pictures, -1 for none.
        names: the cameras' names.
    """
    if table.stamps is not None:
        stamps = moment_stamps(rows, table.stamps, table.shifts_s)
        spreads = moment_spreads(rows, table.stamps, table.shifts_s)
        return stamped_timeline(
            members, stamps, spreads, table.shifts_s, names, SyncMethod.TABLE, table_in_words(table)
        )
    moments = tuple(
        Moment(f"{number + 1}", None, tuple(None if index < 0 else int(index) for index in row))
        for number, row in enumerate(members)
    )
    zeros = (0.0,) * len(names)
    sentence = f"{len(moments)} moments, frames matched by {table_in_words(table)}"
    return Timeline(moments, Synchronisation(SyncMethod.TABLE, sentence, zeros, zeros, float("nan")))


def tabled_frames(table: TableMatch) -> NDArray[np.int64]:
    """(M, C), for each moment of a table the index of each camera's picture or frame, -1 for none."""
    assert table.members is not None
    columns = [
        np.where(rows >= 0, own[rows.clip(0)], -1) for rows, own in zip(table.members.T, table.frames, strict=True)
    ]
    return np.stack(columns, axis=1)


def different_clocks(table: TableMatch) -> str:
    """A warning about a table whose stamps are of clocks that nothing brings together."""
    return f"{table_in_words(table)} holds stamps of different clocks; the board's motion has to tell how far apart"


def table_in_words(table: TableMatch) -> str:
    """The tables in words."""
    if len(table.tables) == 1:
        return f"the table {table.tables[0].name}"
    names = sorted({path.name for path in table.tables})
    return f"a table for each camera ({', '.join(names[:2])}{', …' if len(names) > 2 else ''})"
