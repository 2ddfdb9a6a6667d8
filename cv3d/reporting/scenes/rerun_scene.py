"""A scene in rerun, the viewer for recordings; needs the package rerun-sdk."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cv3d.errors import DependencyError, OutputError
from cv3d.formats.meshes.up import Up
from cv3d.reporting.scenes.scene import Scene, SceneCameras, SceneItem, SceneMesh

_Rerun: TypeAlias = Any
"""The package, most of which has no types."""


def show_in_rerun(scene: Scene, title: str, file: Path | None = None) -> None:
    """Open the viewer with a scene, or write a recording for it.

    Args:
        scene: what is seen.
        title: of the recording.
        file: a .rrd file to write in the place of opening the viewer.

    Raises:
        DependencyError: the package is missing, or its viewer does not start.
        OutputError: the file cannot be written.
    """
    try:
        rerun: _Rerun = import_module("rerun")
    except ImportError as error:
        raise DependencyError("--rerun needs the package rerun-sdk: pip install 'cv3d[rerun]'") from error
    recording = rerun.RecordingStream("cv3d", recording_id=title)
    if file is None:
        try:
            recording.spawn()
        except (RuntimeError, OSError) as error:
            raise DependencyError(f"rerun's viewer does not start ({error}); write a .rrd with -o") from error
    else:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            recording.save(str(file))
        except (RuntimeError, OSError) as error:
            raise OutputError(f"{file}: cannot be written: {error}") from error
    coordinates = {
        Up.MINUS_Y: rerun.ViewCoordinates.RDF,
        Up.PLUS_Z: rerun.ViewCoordinates.RIGHT_HAND_Z_UP,
        Up.PLUS_Y: rerun.ViewCoordinates.RIGHT_HAND_Y_UP,
    }
    recording.log("world", coordinates[scene.up], static=True)
    for number, item in enumerate(scene.items):
        _log(rerun, recording, f"world/{number}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', item.name)}", item)
    recording.flush()


def _log(rerun: _Rerun, recording: _Rerun, place: str, item: SceneItem) -> None:
    if isinstance(item, SceneMesh):
        mesh = item.mesh
        if len(mesh.triangles):
            shape = rerun.Mesh3D(
                vertex_positions=mesh.vertices,
                triangle_indices=mesh.triangles,
                vertex_normals=mesh.normals,
                vertex_colors=mesh.colors,
            )
        else:
            shape = rerun.Points3D(mesh.vertices, colors=mesh.colors)
        recording.log(place, shape, static=True)
    elif isinstance(item, SceneCameras):
        for number, pose in enumerate(item.world_from_cam):
            of_camera = f"{place}/{number}"
            transform = rerun.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3])
            recording.log(of_camera, transform, static=True)
            camera = item.cameras[number] if item.cameras else None
            if camera is not None:
                lens = rerun.Pinhole(
                    image_from_camera=camera.matrix,
                    resolution=[camera.width, camera.height],
                    camera_xyz=rerun.ViewCoordinates.RDF,
                )
                recording.log(of_camera, lens, static=True)
            else:
                recording.log(of_camera, rerun.TransformAxes3D(0.05), static=True)
    else:
        recording.log(place, rerun.LineStrips3D([np.asarray(item.positions, np.float32)]), static=True)
