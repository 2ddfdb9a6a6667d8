"""The files of `cv3d odometry`: paths, key frames, the map, a COLMAP model, a table of frames, the report, the result.

Every segment has a world of its own. The largest one's files have plain names; those of the others end with its number.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cv3d.errors import FormatError, UsageError
from cv3d.formats import cv3d_camera
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.json_text import to_json
from cv3d.formats.ply import write_ply
from cv3d.formats.trajectories import write_trajectory
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.trajectory import Trajectory
from cv3d.odometry.results import KeyFrame, OdometryResult
from cv3d.reporting.odometry_colmap import write_colmap
from cv3d.reporting.odometry_page import odometry_page
from cv3d.reporting.odometry_summary import SCHEMA, odometry_result
from cv3d.reporting.odometry_truth import TruthComparison
from cv3d.reporting.result_folder import REPORT_FILE, RESULT_FILE, earlier_files, remove_earlier_result

FRAMES_FILE, CAMERA_FILE, COLMAP_FOLDER = "frames.csv", "camera.json", "colmap"
FRAME_COLUMNS = ("index", "time", "name", "state", "reason", "segment", "inliers", "parallax_deg", "key", "ms")
TRAJECTORY_NAMES = {"tum": "trajectory{}.tum", "kitti": "trajectory{}_kitti.txt", "euroc": "trajectory{}_euroc.csv"}
"""Files of the forms that a path is written in, by the form's name in options."""
KITTI_TIMES = "times{}.txt"
"""The time stamps of a path in KITTI's form, under the name by which they are found beside it."""
_FORMAT_OF_ENDING = {".tum": "tum", ".txt": "tum", ".kitti": "kitti", ".csv": "euroc"}


def format_of_file(path: Path) -> str | None:
    """The form of a path by its file's ending; None: the name is a folder's."""
    return _FORMAT_OF_ENDING.get(path.suffix.lower())


def write_path(result: OdometryResult, path: Path, form: str) -> None:
    """Write the largest segment's path into one file; one that is there is replaced.

    Raises:
        UsageError: there is no such form.
        OutputError: the file cannot be written.
    """
    if form not in TRAJECTORY_NAMES:
        raise UsageError(f"a path is written as {', '.join(TRAJECTORY_NAMES)}, not '{form}'")
    write_trajectory(path, result.trajectory, form)


def write_odometry(
    result: OdometryResult,
    truth: TruthComparison | None,
    out: Path,
    *,
    forms: Iterable[str] = (),
    title: str = "",
    digest: str = "",
) -> dict[str, Any]:
    """Write everything; files of an earlier run are replaced, and those that this one does not have are removed.

    `result.json` comes last, so that its presence means that all is there.

    Args:
        result: the path; an interrupted one is written as far as it came.
        truth: how it compares, if there is a truth.
        out: the folder, created where absent.
        forms: further forms of the path beside TUM's, keys of :data:`TRAJECTORY_NAMES`.
        title: heads the report.
        digest: of the inputs and options, kept as `run_digest` so that an identical run can be told.

    Returns:
        The result as `result.json` holds it.

    Raises:
        OutputError: a file cannot be written.
    """
    stale = earlier_files(out, SCHEMA)
    remove_earlier_result(out)
    files: list[str] = []
    losses: list[str] = []
    for number, ending in _segments(result):
        files += _write_segment(result, number, ending, out, forms)
        try:
            files += write_colmap(result, number, out, f"{COLMAP_FOLDER}{ending}")
        except FormatError as error:
            losses.append(f"no COLMAP model is written: {error}")
    atomic_write_text(out / CAMERA_FILE, cv3d_camera.dumps(result.camera, _camera_extra(result)))
    atomic_write_text(out / FRAMES_FILE, frames_table(result))
    content = odometry_result(result, truth)
    content["warnings"] += list(dict.fromkeys(losses))
    atomic_write_text(out / REPORT_FILE, odometry_page(result, truth, content, title))
    content |= {"files": [*files, CAMERA_FILE, FRAMES_FILE, REPORT_FILE, RESULT_FILE], "run_digest": digest}
    for name in stale - set(content["files"]):
        (out / name).unlink(missing_ok=True)
    atomic_write_text(out / RESULT_FILE, to_json(content, indent=2) + "\n")
    return content


def frames_table(result: OdometryResult) -> str:
    """A line of CSV for every frame: see :data:`FRAME_COLUMNS`; seconds, degrees, milliseconds."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(FRAME_COLUMNS)
    for frame in result.frames:
        parallax = f"{frame.parallax_deg:.4f}" if np.isfinite(frame.parallax_deg) else ""
        writer.writerow(
            [
                frame.index,
                repr(float(frame.time)),
                frame.name.encode("utf-8", "backslashreplace").decode("utf-8"),
                frame.state.value,
                frame.reason,
                frame.segment if frame.segment >= 0 else "",
                frame.inliers,
                parallax,
                int(frame.is_key),
                f"{frame.ms:.3f}",
            ]
        )
    return stream.getvalue()


def _segments(result: OdometryResult) -> list[tuple[int, str]]:
    """Number and ending of every segment that has poses, the largest first and without an ending."""
    largest = result.largest_segment
    if largest is None:
        return []
    others = [number for number, size in enumerate(result.segment_sizes) if size and number != largest]
    return [(largest, ""), *((number, f"_segment{number}") for number in others)]


def _write_segment(result: OdometryResult, number: int, ending: str, out: Path, forms: Iterable[str]) -> list[str]:
    """The path of a segment in every form, its key frames, its map: the names of the files."""
    path = result.segment(number)
    files = []
    for form in dict.fromkeys(["tum", *forms]):
        files.append(TRAJECTORY_NAMES[form].format(ending))
        times = out / KITTI_TIMES.format(ending) if form == "kitti" else None
        write_trajectory(out / files[-1], path, form, times)
        files += [] if times is None else [times.name]
    keys = sorted((key for key in result.key_frames if key.segment == number), key=lambda key: key.time)
    files.append(f"keyframes{ending}.tum")
    write_trajectory(out / files[-1], _path_of(keys))
    files.append(f"map{ending}.ply")
    chosen = result.map.segments == number
    points = result.map.points[chosen].astype(np.float32)
    write_ply(out / files[-1], Mesh(points, np.zeros((0, 3), np.int32), None, result.map.colors[chosen]))
    return files


def _path_of(keys: Sequence[KeyFrame]) -> Trajectory:
    times = np.array([key.time for key in keys], np.float64)
    poses = np.stack([key.world_from_cam for key in keys]) if keys else np.zeros((0, 4, 4))
    return Trajectory(times, poses)


def _camera_extra(result: OdometryResult) -> dict[str, object]:
    """What a file of an estimated camera says beside it."""
    if not result.is_camera_estimated:
        return {}
    return {"estimated_from": result.source, "focal_deviation_px": result.focal_deviation}
