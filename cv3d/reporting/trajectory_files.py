"""The files of a trajectory's comparison: figures, poses in a table, the aligned estimate, the picture."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from cv3d.evaluation.trajectory.result import TrajectoryEvaluation
from cv3d.formats.atomic import atomic_directory, atomic_write_text
from cv3d.formats.json_text import jsonable, to_json
from cv3d.formats.trajectories import write_trajectory
from cv3d.reporting.trajectory_figure import write_trajectory_plot

RESULT_FILE = "result.json"
PER_POSE_FILE = "per_pose.csv"
PLOT_FILE = "trajectory.png"
ALIGNED_FILE = "estimate_aligned.tum"
COLUMNS = (
    "time_s",
    "estimate_index",
    "reference_index",
    "travelled_m",
    "ate_m",
    "ate_deg",
    "x",
    "y",
    "z",
    "reference_x",
    "reference_y",
    "reference_z",
    "rpe_m",
    "rpe_deg",
)
"""Of the table of poses; the relative errors stand where their pair ends."""


def trajectory_result(result: TrajectoryEvaluation, names: tuple[str, str]) -> dict[str, object]:
    """A comparison as plain data, with the names of the two trajectories."""
    plain = jsonable(result.as_dict() | {"estimate": names[0], "reference": names[1]})
    if not isinstance(plain, dict):
        raise TypeError("a result is an object")
    return plain


def write_per_pose(result: TrajectoryEvaluation, path: str | os.PathLike[str]) -> None:
    """Write a line for every matched pose: see :data:`COLUMNS`; metres and degrees, the estimate aligned.

    Raises:
        OutputError: the file cannot be written.
    """
    relative: dict[int, tuple[float, float]] = {}
    if result.relative is not None:
        errors = zip(result.relative.translation_m.tolist(), result.relative.rotation_deg.tolist(), strict=True)
        relative = dict(zip(result.relative.second.tolist(), errors, strict=True))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS if result.reference.is_timed else ("frame", *COLUMNS[1:]))
    rows = zip(
        result.reference.times.tolist(),
        result.estimate_index.tolist(),
        result.reference_index.tolist(),
        result.reference.travelled_m.tolist(),
        result.absolute.translation_m.tolist(),
        result.absolute.rotation_deg.tolist(),
        result.estimate.positions.tolist(),
        result.reference.positions.tolist(),
        strict=True,
    )
    for row, (*numbers, own, true) in enumerate(rows):
        writer.writerow([*numbers, *own, *true, *relative.get(row, ("", ""))])
    atomic_write_text(path, stream.getvalue())


def write_trajectory_evaluation(
    result: TrajectoryEvaluation, names: tuple[str, str], out: Path, overwrite: bool = False
) -> dict[str, object]:
    """Write a comparison as one folder, which appears whole.

    Args:
        result: the comparison.
        names: what the user calls the estimate and the reference.
        out: the folder.
        overwrite: whether a folder that is there may be replaced.

    Returns:
        The result as `result.json` holds it.

    Raises:
        OutputError: the folder is there and not empty, or cannot be written.
    """
    files = [RESULT_FILE, PER_POSE_FILE, ALIGNED_FILE, PLOT_FILE]
    plain = trajectory_result(result, names) | {"files": files}
    with atomic_directory(out, overwrite) as folder:
        write_per_pose(result, folder / PER_POSE_FILE)
        write_trajectory(folder / ALIGNED_FILE, result.estimate)
        write_trajectory_plot(result, folder / PLOT_FILE)
        atomic_write_text(folder / RESULT_FILE, to_json(plain, indent=2) + "\n")
    return plain
