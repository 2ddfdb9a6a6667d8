"""What `cv3d reconstruct` writes of depth and surface: a workspace with the maps, the mesh in each form asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cv3d.depth.result import DepthResult
from cv3d.formats.meshes import MESH_SUFFIXES, Up, write_mesh
from cv3d.formats.meshes.up import up_of_cameras
from cv3d.fusion.view_result import ViewSurface
from cv3d.reconstruction.scene import DenseScene
from cv3d.reporting.depth_files import write_depth
from cv3d.reporting.depth_summary import depth_result
from cv3d.reporting.result_folder import RESULT_FILE, remove_earlier_result
from cv3d.reporting.scene_clouds import world_from_cams

DENSE_FOLDER = "dense"
MESH_NAME = "mesh"


def write_dense(scene: DenseScene, out: Path, forms: Iterable[str], title: str) -> list[str]:
    """Write depth maps and the surface, as far as the scene has them.

    Args:
        scene: with depth and surface or without.
        out: the folder.
        forms: of the surface, such as "ply" and "glb".
        title: heads the report of the depth maps.

    Returns:
        Names of the files, within `out`.

    Raises:
        OutputError: a file cannot be written.
        DependencyError: USDZ without the package that writes it.
    """
    files: list[str] = []
    folder = out / DENSE_FOLDER
    if scene.depth is not None:
        content = write_depth(scene.depth, folder, posed=scene.posed, title=title)
        files += [f"{DENSE_FOLDER}/{name}" for name in content["files"]]
    elif (folder / RESULT_FILE).exists():
        remove_earlier_result(folder)
        shutil.rmtree(folder)
    forms = tuple(forms) if scene.surface is not None else ()
    for suffix in MESH_SUFFIXES:
        if suffix[1:] not in forms:
            (out / f"{MESH_NAME}{suffix}").unlink(missing_ok=True)
    for form in forms:
        assert scene.surface is not None
        texture = scene.surface.texture if form != "ply" else None
        written = write_mesh(out / f"{MESH_NAME}.{form}", scene.surface.mesh, texture, up_of(scene))
        files += [path.name for path in written]
    return files


def up_of(scene: DenseScene) -> Up:
    """Which axis of a scene's world is up: known, or as the cameras were held."""
    return Up.PLUS_Z if scene.is_upright else up_of_cameras(world_from_cams(scene.models[0]))


def dense_result(scene: DenseScene) -> dict[str, Any]:
    """`depth` and `mesh` of `--json`; None for what there is not."""
    return {
        "depth": None if scene.depth is None else _depth(scene.depth, is_metric=_is_metric(scene)),
        "mesh": None if scene.surface is None else _mesh(scene.surface),
    }


def _is_metric(scene: DenseScene) -> bool:
    return scene.posed is not None and scene.posed.is_metric


def _depth(depth: DepthResult, *, is_metric: bool) -> dict[str, Any]:
    said = depth_result(depth, is_metric=is_metric)
    return {name: said[name] for name in ("maps", "median_confidence", "coverage", "left_out", "seconds")}


def _mesh(surface: ViewSurface) -> dict[str, Any]:
    return {
        "vertices": len(surface.mesh.vertices),
        "triangles": len(surface.mesh.triangles),
        "textured": surface.texture is not None,
        "voxel": float(surface.voxel),
        "noise": float(surface.noise),
        "min_views": surface.min_views,
        "removed": {name: float(share) for name, share in surface.removed.items()},
        "bounds": np.asarray(surface.bounds).tolist(),
        "seconds": dict(surface.seconds),
    }
