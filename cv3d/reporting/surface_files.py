"""The files of a comparison of two surfaces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.evaluation.surface import SurfaceEvaluation
from cv3d.formats.atomic import atomic_directory, atomic_write_text
from cv3d.formats.json_text import jsonable, to_json
from cv3d.formats.meshes import Up
from cv3d.geometry.mesh import Mesh
from cv3d.reporting.surface_page import surface_page

RESULT_FILE, REPORT_FILE = "result.json", "report.html"


def surface_result(result: SurfaceEvaluation, names: tuple[str, str]) -> dict[str, object]:
    """A comparison as plain data, with the names of the two surfaces."""
    plain = jsonable(result.as_dict() | {"mesh": names[0], "reference": names[1]})
    if not isinstance(plain, dict):
        raise TypeError("a result is an object")
    return plain


def write_surface_evaluation(
    result: SurfaceEvaluation,
    mesh: Mesh,
    names: tuple[str, str],
    out: Path,
    *,
    up: Up | None = None,
    world_from_cam: NDArray[np.float64] | None = None,
    overwrite: bool = False,
) -> dict[str, object]:
    """Write a comparison as one folder, which appears whole.

    Args:
        result: the comparison.
        mesh: what was judged, as it was given.
        names: what the user calls the mesh and the reference.
        out: the folder.
        up: the axis that is up on the page; None: by the cameras, or -y.
        world_from_cam: (n, 4, 4) cameras from behind which the page looks.
        overwrite: whether a folder that is there may be replaced.

    Returns:
        The result as `result.json` holds it.

    Raises:
        OutputError: the folder is there and not empty, or cannot be written.
    """
    plain = surface_result(result, names) | {"files": [RESULT_FILE, REPORT_FILE]}
    motion = result.reference_from_mesh
    if not np.array_equal(motion, np.eye(4)):
        mesh = replace(mesh, vertices=(mesh.vertices @ motion[:3, :3].T + motion[:3, 3]).astype(np.float32))
    with atomic_directory(out, overwrite) as folder:
        atomic_write_text(folder / REPORT_FILE, surface_page(result, mesh, names, up, world_from_cam))
        atomic_write_text(folder / RESULT_FILE, to_json(plain, indent=2) + "\n")
    return plain
