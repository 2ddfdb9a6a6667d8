"""The files of `cv3d depth`: a workspace in COLMAP's layout, depth and confidence as pictures, the report, the result.

`stereo/depth_maps/NAME.geometric.bin` holds the depths as they are; `depth/NAME.png` holds them in steps of 16 bits,
whose size `depth_step` in `result.json` tells, and `confidence/NAME.png` the confidences in 255 steps.
`preview/NAME.jpg` and the table `maps.csv` are for people.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cv3d.depth.posed import PosedSet
from cv3d.depth.result import DepthResult
from cv3d.errors import OutputError
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.json_text import to_json
from cv3d.media.writing import write_picture
from cv3d.reporting.depth_page import depth_page
from cv3d.reporting.depth_pictures import confidence_in_steps, depth_colors, depth_in_steps, depth_step, own_names
from cv3d.reporting.depth_summary import SCHEMA, depth_result
from cv3d.reporting.depth_workspace import DEPTH_FOLDER, IMAGES_FOLDER, SPARSE_FOLDER, depth_file, write_workspace
from cv3d.reporting.result_folder import REPORT_FILE, RESULT_FILE, earlier_files, remove_earlier_result

STEPS_FOLDER, CONFIDENCE_FOLDER, PREVIEW_FOLDER = "depth", "confidence", "preview"
MAPS_FILE = "maps.csv"
MAP_COLUMNS = ("name", "image", "width", "height", "coverage", "median_confidence", "near", "median", "far", "reason")
_ALSO_OF_OTHERS = (f"{SPARSE_FOLDER}/images.bin", f"{SPARSE_FOLDER}/0", DEPTH_FOLDER, IMAGES_FOLDER)


def write_depth(
    result: DepthResult,
    out: Path,
    *,
    posed: PosedSet | None = None,
    is_metric: bool = False,
    title: str = "Depth",
    digest: str = "",
) -> dict[str, Any]:
    """Write everything; files of an earlier run are replaced, and those that this one does not have are removed.

    `maps.csv` comes first, and tells a folder that this has begun to fill; see :func:`check_own`. `result.json` comes
    last, so that its presence means that all is there.

    Args:
        result: the maps.
        out: the folder, created where absent.
        posed: whose points the workspace's model gets; None: it has none.
        is_metric: whether lengths are metres; a posed set says it itself.
        title: heads the report.
        digest: of the inputs and options, kept as `run_digest` so that an identical run can be told.

    Returns:
        The result as `result.json` holds it; its `files` are all that was written.

    Raises:
        OutputError: a file cannot be written.
    """
    is_metric = is_metric if posed is None else posed.is_metric
    stale = earlier_files(out, SCHEMA)
    remove_earlier_result(out)
    names = own_names(one.name for one in result.maps)
    step = depth_step(result.maps, is_metric)
    content = depth_result(result, is_metric=is_metric) | {"depth_step": step}
    atomic_write_text(out / MAPS_FILE, maps_table(content, names))
    files = write_workspace(result, posed, names, out) if result.maps else []
    for one, said in zip(result.maps, content["pictures"], strict=True):
        own = Path(names[one.name]).with_suffix("")
        steps, confidence = f"{STEPS_FOLDER}/{own}.png", f"{CONFIDENCE_FOLDER}/{own}.png"
        preview = f"{PREVIEW_FOLDER}/{names[one.name]}"
        write_picture(out / steps, depth_in_steps(one.depth, step))
        write_picture(out / confidence, confidence_in_steps(one.confidence))
        write_picture(out / preview, depth_colors(one.depth))
        files += [steps, confidence, preview]
        said["image"] = f"{IMAGES_FOLDER}/{names[one.name]}"
        said["depth_map"] = depth_file(names[one.name])
        said |= {"depth": steps, "confidence": confidence}
    atomic_write_text(out / REPORT_FILE, depth_page(result, content, title))
    content |= {"files": [*files, MAPS_FILE, REPORT_FILE, RESULT_FILE], "run_digest": digest}
    _remove(out, stale - set(content["files"]))
    atomic_write_text(out / RESULT_FILE, to_json(content, indent=2) + "\n")
    return content


def maps_table(content: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """A line of CSV for every picture: see :data:`MAP_COLUMNS`; those that were left out have a reason."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, MAP_COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for one in content["pictures"]:
        rounded = {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in one.items()}
        writer.writerow(rounded | {"image": names[one["name"]]})
    writer.writerows(content["left_out"])
    return stream.getvalue().encode("utf-8", "backslashreplace").decode("utf-8")


def check_own(out: Path) -> None:
    """See that nobody else's pictures or model would be written over.

    Raises:
        OutputError: they would.
    """
    there = [name for name in _ALSO_OF_OTHERS if (out / name).exists()]
    if there and not (out / MAPS_FILE).exists():
        raise OutputError(
            f"{out / there[0]}: is there already, and not from cv3d depth; name another folder with -o, or replace it "
            "with --overwrite"
        )


def _remove(out: Path, names: set[str]) -> None:
    """Remove files, and folders within `out` that nothing is in afterwards."""
    for name in names:
        (out / name).unlink(missing_ok=True)
    for folder in sorted({(out / name).parent for name in names} - {out}, reverse=True):
        # One with something in it stays.
        with contextlib.suppress(OSError):
            folder.rmdir()
