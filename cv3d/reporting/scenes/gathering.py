"""Files and folders of any kind made one scene: meshes, clouds, cameras, trajectories, COLMAP models, results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cv3d.errors import Cv3dError, FormatError, InputError
from cv3d.formats.colmap_reconstruction import CAMERAS_FILE, IMAGES_FILE, POINTS_FILE, read_reconstruction
from cv3d.formats.meshes import MESH_SUFFIXES, Up, read_mesh, up_of_cameras
from cv3d.formats.posed_pictures import has_posed_pictures, read_posed_pictures
from cv3d.formats.reading import read_cameras
from cv3d.formats.trajectories import read_trajectory_file
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.mesh import Mesh
from cv3d.reporting.scenes.scene import Scene, SceneCameras, SceneItem, SceneMesh, ScenePath, behind_cameras

RESULT_FILE = "result.json"
_CAMERA_SUFFIXES = frozenset([".json", ".yaml", ".yml", ".xml", ".cameramodel", ".toml"])
_PARTS = ("mesh.ply", "mesh.glb", "mesh.obj", "mesh.usdz", "points.ply", "cloud.ply", "map.ply", "sparse.ply")
"""Meshes and clouds of results; of a mesh in several formats the first is taken."""
_PATHS = ("trajectory.tum", "estimate_aligned.tum")
_KNOWN = (
    f"a mesh or cloud ({', '.join(MESH_SUFFIXES)}), a trajectory (TUM, KITTI, EuRoC), cameras or a rig, COLMAP's "
    "sparse model, posed pictures, or a folder that cv3d wrote"
)


def gather(places: Sequence[Path], up: Up | None = None) -> Scene:
    """Everything that some files and folders hold, in one frame.

    Args:
        places: files and folders, each of any known kind.
        up: the axis that is up; None: by the cameras' own, or -y where there are none.

    Raises:
        InputError: one cannot be read, or is of no known kind.
    """
    items = [item for place in places for item in _items_of(place)]
    notes: list[str] = []
    poses = [item.world_from_cam for item in items if isinstance(item, SceneCameras)]
    known = np.concatenate(poses) if poses else np.zeros((0, 4, 4))
    chosen = up or up_of_cameras(known)
    if up is None:
        why = "as the cameras are held" if len(known) else "cv3d's own axes; --up changes it"
        notes.append(f"Up is {chosen.value} ({why}).")
    scene = Scene(tuple(items), chosen, None, tuple(notes))
    has_surface = any(isinstance(item, SceneMesh) for item in items)
    if len(known) and has_surface:
        return Scene(scene.items, chosen, behind_cameras(known, scene.bounds()), scene.notes)
    return scene


def _items_of(place: Path) -> list[SceneItem]:
    if not place.exists():
        raise InputError(f"{place}: no such file or folder")
    if place.is_dir():
        items = list(_of_folder(place))
        if not items:
            raise InputError(f"{place}: holds nothing to be seen in space; known are {_KNOWN}")
        return items
    suffix = place.suffix.lower()
    if suffix in MESH_SUFFIXES:
        return [SceneMesh(place.name, read_mesh(place))]
    if place.name in (CAMERAS_FILE, IMAGES_FILE, POINTS_FILE):
        return list(_of_colmap(place.parent))
    if suffix in _CAMERA_SUFFIXES or "#" in place.name:
        return [_of_cameras(place)]
    try:
        return _of_trajectory(place, place.name)
    except FormatError as error:
        try:
            return [_of_cameras(place)]
        except Cv3dError:
            raise FormatError(f"{place}: is nothing to be seen in space ({error}); known are {_KNOWN}") from error


def _of_folder(folder: Path) -> Iterator[SceneItem]:
    if all((folder / name).is_file() for name in (CAMERAS_FILE, IMAGES_FILE, POINTS_FILE)):
        yield from _of_colmap(folder)
        return
    if (folder / RESULT_FILE).is_file():
        yield from _of_result(folder)
        return
    if has_posed_pictures(folder):
        posed = read_posed_pictures(folder).pictures
        world_from_cam = inverse_rigid(np.stack([one.cam_from_world for one in posed]))
        cameras, labels = tuple(one.camera for one in posed), tuple(one.name for one in posed)
        yield SceneCameras(folder.name, world_from_cam, cameras, labels)
        return
    meshes = [path for name in _PARTS if (path := folder / name).is_file()]
    for path in meshes[:1]:
        yield SceneMesh(path.name, read_mesh(path))
    try:
        path_items = _of_trajectory(folder, folder.name)
    except InputError:
        if not meshes:
            yield _of_cameras(folder)
        return
    yield from path_items


def _of_result(folder: Path) -> Iterator[SceneItem]:
    """What a folder holds that a command of cv3d left."""
    try:
        result = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        schema = str(result["schema"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{folder / RESULT_FILE}: is no result of cv3d") from error
    if schema.startswith(("cv3d.calibrate", "cv3d.rig")):
        yield _of_cameras(folder)
        return
    names = [name for name in _PARTS if (folder / name).is_file()]
    for name in [name for name in names if name.startswith("mesh")][:1] + [
        n for n in names if not n.startswith("mesh")
    ]:
        yield SceneMesh(name, read_mesh(folder / name))
    for name in _PATHS:
        if (folder / name).is_file():
            yield from _of_trajectory(folder / name, name)
    for model in (folder / "sparse" / "0", folder / "sparse", folder / "colmap"):
        if (model / POINTS_FILE).is_file():
            yield from _of_colmap(model)
            break


def _of_colmap(folder: Path) -> Iterator[SceneItem]:
    found = read_reconstruction(folder)
    if len(found.points):
        cloud = Mesh(found.points.astype(np.float32), np.zeros((0, 3), np.int32), None, found.colors)
        yield SceneMesh("points", cloud)
    if found.images:
        poses = inverse_rigid(np.stack([image.cam_from_world for image in found.images]))
        cameras = tuple(found.cameras[image.camera] for image in found.images)
        yield SceneCameras("cameras", poses, cameras, tuple(image.name for image in found.images))


def _of_trajectory(place: Path, name: str) -> list[SceneItem]:
    trajectory = read_trajectory_file(place).trajectory
    kept = np.unique(np.linspace(0, len(trajectory) - 1, min(len(trajectory), 40)).astype(np.int64))
    labels = tuple(f"{trajectory.times[i]:.3f}" for i in kept.tolist())
    return [
        ScenePath(name, trajectory.positions, trajectory.times, trajectory.is_timed),
        SceneCameras(f"{name}, poses", trajectory.world_from_cam[kept], (None,) * len(kept), labels),
    ]


def _of_cameras(place: Path) -> SceneItem:
    rig = read_cameras(place)
    posed = rig.cameras if rig.is_posed else rig.cameras[:1]
    poses = [np.eye(4) if one.cam_from_cam0 is None else inverse_rigid(one.cam_from_cam0) for one in posed]
    return SceneCameras(
        place.name, np.stack(poses), tuple(one.camera for one in posed), tuple(one.name for one in posed)
    )
