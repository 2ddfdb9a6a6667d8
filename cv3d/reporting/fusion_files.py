"""The files of a fusion: the surface in each form asked for, the path, the report, the result."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from cv3d.errors import UsageError
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.json_text import jsonable, to_json
from cv3d.formats.meshes import MESH_SUFFIXES, Up, write_mesh
from cv3d.formats.trajectories import write_trajectory
from cv3d.fusion.result import SCHEMA, FusionResult
from cv3d.reporting.fusion_page import fusion_page
from cv3d.reporting.result_folder import REPORT_FILE, RESULT_FILE, remove_earlier_result

PATH_FILE = "trajectory.tum"
FORMS = tuple(suffix[1:] for suffix in MESH_SUFFIXES)
"""Forms of the surface, by the names in options."""


def check_forms(text: str) -> tuple[str, ...]:
    """The forms of an option such as "ply,glb".

    Raises:
        UsageError: one of them is unknown.
        DependencyError: USDZ without the package that writes it; better said before the work than after it.
    """
    forms = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    unknown = [form for form in forms if form not in FORMS]
    if unknown or not forms:
        raise UsageError(f"--format '{text}': one or several of {', '.join(FORMS)}, apart by commas")
    if "usdz" in forms:
        from cv3d.formats.meshes.usdz import check_usd

        check_usd()
    return forms


def write_fusion(
    result: FusionResult, out: Path, *, forms: Iterable[str], title: str, digest: str = "", up: Up | None = None
) -> dict[str, object]:
    """Write everything; files of an earlier run are replaced, and those that this one does not have are removed.

    `result.json` comes last, so that its presence means that all is there.

    Args:
        result: of the fusion; an interrupted one is written as far as it came.
        out: the folder, created where absent.
        forms: of the surface, among :data:`FORMS`.
        title: heads the report.
        digest: of the inputs and options, kept as `run_digest` so that an identical run can be told.
        up: what is up in GLB and USDZ; None: as the cameras were held.

    Returns:
        The result as `result.json` holds it.

    Raises:
        OutputError: a file cannot be written.
        DependencyError: USDZ without the package that writes it.
    """
    stale = _earlier_files(out)
    remove_earlier_result(out)
    files: list[str] = []
    for form in forms:
        texture = result.texture if form != "ply" else None
        files += [path.name for path in write_mesh(out / f"mesh.{form}", result.mesh, texture, up or result.up)]
    write_trajectory(out / PATH_FILE, result.trajectory)
    atomic_write_text(out / REPORT_FILE, fusion_page(result, title))
    files += [PATH_FILE, REPORT_FILE, RESULT_FILE]
    for name in stale - set(files):
        (out / name).unlink(missing_ok=True)
    plain = jsonable(result.as_dict() | {"files": files, "run_digest": digest})
    if not isinstance(plain, dict):
        raise TypeError("a result is an object")
    atomic_write_text(out / RESULT_FILE, to_json(plain, indent=2) + "\n")
    return plain


def _earlier_files(out: Path) -> set[str]:
    """What an earlier fusion left in a folder by its own account; no name that leads out of it."""
    try:
        earlier = json.loads((out / RESULT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    if not isinstance(earlier, dict) or earlier.get("schema") != SCHEMA:
        return set()
    return {name for name in map(str, earlier.get("files", [])) if Path(name).name == name}
