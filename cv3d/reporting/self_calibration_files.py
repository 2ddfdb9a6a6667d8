"""What `cv3d calibrate --self` writes and says: the camera in every format, the result, a summary for a person."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from cv3d.compute import torch_threads
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.json_text import to_json
from cv3d.mapping.self_calibrating import SelfCalibration
from cv3d.reporting.calibration_files import write_cameras
from cv3d.reporting.calibration_summary import parameter_table
from cv3d.reporting.result_folder import RESULT_FILE, remove_earlier_result
from cv3d.reporting.summary_parts import file_lines, px, rejected_lines, stand_in_lines, verdict_line, warning_lines

if TYPE_CHECKING:
    from rich.console import RenderableType

SELF_MEASURES = ("rms", "views", "points", "focal_std")
"""The figures that `--require` knows."""


def write_self_calibration(found: SelfCalibration, out: Path, digest: str = "") -> dict[str, object]:
    """Write the camera, if there is one, and the result, which comes last so that its presence means all is there.

    Args:
        found: the result.
        out: the folder, created where absent.
        digest: of the inputs and options, kept so that an identical run can be skipped.

    Returns:
        The result as `result.json` holds it.

    Raises:
        OutputError: a file cannot be written.
    """
    remove_earlier_result(out)
    files: list[str] = []
    formats: dict[str, object] = {}
    if found.camera is not None:
        with torch_threads(1):
            files, formats = write_cameras(found.camera, {"std": found.params_std, "rms_px": found.rms_px}, out)
    content = found.as_dict() | {"formats": formats, "files": [*files, RESULT_FILE], "run_digest": digest}
    atomic_write_text(out / RESULT_FILE, to_json(content, indent=2) + "\n")
    return content


def self_measures(result: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures that a requirement can be put on; `focal_std` is relative to the focal length."""
    camera = result["camera"]
    focal_std = None
    if camera is not None:
        name, focal = next(iter(camera["params"].items()))
        focal_std = camera["std"][name] / focal if name in camera["std"] else None
    values = (result["rms_px"], float(result["views"]["used"]), float(result["points"]), focal_std)
    return dict(zip(SELF_MEASURES, values, strict=True))


def self_summary(result: Mapping[str, Any], out: Path, up_to_date: bool) -> RenderableType:
    """The summary of a result.

    Args:
        result: what `result.json` holds.
        out: where it was written.
        up_to_date: whether it was found there already.
    """
    parts: list[RenderableType] = [verdict_line(result), Text("")]
    views, camera = result["views"], result["camera"]
    grid = Table.grid(padding=(0, 2))
    size = "" if camera is None else f", {camera['width']}x{camera['height']}"
    grid.add_row("pictures", f"{views['used']} of {views['total']} used{size}")
    grid.add_row("RMS", f"{px(result['rms_px'], 3)} over {result['points']:,} points")
    grid.add_row("time", f"{result['seconds'].get('total', 0.0):.1f} s")
    parts.append(grid)
    if camera is not None:
        parts += [Text(""), parameter_table(result)]
    parts += [Text(f"to do: {advice}") for advice in result["advice"]]
    parts += rejected_lines(views["rejected"])
    parts += warning_lines(result["warnings"])
    parts += stand_in_lines(result["formats"], camera["model"]) if camera is not None else []
    parts += file_lines(result["files"], out, up_to_date)
    return Group(*parts)
