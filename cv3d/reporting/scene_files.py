"""The files of `cv3d reconstruct`: COLMAP models, transforms.json, points, cameras, depth maps, surface, the report.

Every model has a world of its own. COLMAP's layout numbers them, `sparse/0/` is the largest; of the other files the
largest model's have plain names, and those of the others end with its number.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cv3d.errors import FormatError, OutputError
from cv3d.formats import FORMATS
from cv3d.formats.approximation import say
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.camera_file import WORST_PX
from cv3d.formats.colmap_reconstruction import ReconstructedImage, Reconstruction, write_reconstruction
from cv3d.formats.colmap_text import write_text
from cv3d.formats.json_text import to_json
from cv3d.formats.nerfstudio_frames import write_set
from cv3d.formats.ply import write_ply
from cv3d.formats.posed_pictures import PosedPicture
from cv3d.formats.trajectories import write_trajectory
from cv3d.geometry.trajectory import Trajectory
from cv3d.mapping.scene import SCENE_SCHEMA, Scene, SceneModel
from cv3d.reconstruction.scene import DenseScene, as_dense
from cv3d.reporting.colmap_model import assembled
from cv3d.reporting.dense_files import dense_result, write_dense
from cv3d.reporting.result_folder import REPORT_FILE, RESULT_FILE, earlier_files, remove_earlier_result
from cv3d.reporting.scene_clouds import camera_pyramids, cloud, world_from_cams
from cv3d.reporting.scene_page import scene_page
from cv3d.reporting.scene_pictures import ScenePictures, hand_over
from cv3d.reporting.scene_summary import scene_result
from cv3d.reporting.set_pictures import LoadPixels

SPARSE_FOLDER = "sparse"
PICTURES_FILE = "pictures.csv"
_ALSO_OF_OTHERS = (f"{SPARSE_FOLDER}/0", "transforms.json", "points.ply", "cameras.ply")
PICTURE_COLUMNS = ("name", "model", "camera", "points", "rms_px", "reason", "advice")


def write_scene(
    scene: Scene,
    out: Path,
    *,
    load: LoadPixels | None = None,
    title: str = "Scene",
    digest: str = "",
    extent: str = "",
    forms: Sequence[str] = ("ply",),
) -> dict[str, Any]:
    """Write everything; files of an earlier run are replaced, and those that this one does not have are removed.

    `pictures.csv` comes first, and tells a folder that this has begun to fill; see :func:`check_own`. `result.json`
    comes last, so that its presence means that all is there.

    Args:
        scene: as it was reconstructed.
        out: the folder, created where absent.
        load: the pixels of a picture by its name, for the thumbnails of those that were left out.
        title: heads the report.
        digest: of what poses depend on, kept as `run_digest` so that a run on the same can be told.
        extent: digest of how far the run goes on from the poses, kept as `extent_digest`.
        forms: of the surface, where there is one.

    Returns:
        The result as `result.json` holds it; its `files` are all that was written.

    Raises:
        OutputError: a file cannot be written.
    """
    stale = earlier_files(out, SCENE_SCHEMA)
    remove_earlier_result(out)
    atomic_write_text(out / PICTURES_FILE, pictures_table(scene))
    pictures = hand_over(scene, out, load)
    losses: list[str] = []
    files = list(pictures.written)
    for number, model in enumerate(scene.models):
        files += _write_model(model, number, pictures, out, losses)
    dense = scene if isinstance(scene, DenseScene) else as_dense(scene)
    files += write_dense(dense, out, forms, title)
    content = scene_result(scene) | dense_result(dense)
    content["images"]["folder"] = str(pictures.root)
    content["warnings"] += list(dict.fromkeys(losses))
    atomic_write_text(out / REPORT_FILE, scene_page(dense, content, pictures.thumbnails, title))
    content |= {"files": [*files, PICTURES_FILE, REPORT_FILE, RESULT_FILE], "run_digest": digest}
    content["extent_digest"] = extent
    _remove(out, stale - set(content["files"]))
    atomic_write_text(out / RESULT_FILE, to_json(content, indent=2) + "\n")
    return content


def check_own(out: Path) -> None:
    """See that no other tool's model would be written over; one lies beside many a set of pictures.

    Raises:
        OutputError: one would.
    """
    there = [name for name in _ALSO_OF_OTHERS if (out / name).exists()]
    if there and not (out / PICTURES_FILE).exists():
        raise OutputError(f"{out / there[0]}: is there already, and not from cv3d reconstruct; --overwrite replaces it")


def _remove(out: Path, names: set[str]) -> None:
    """Remove files, and folders within `out` that nothing is in afterwards."""
    for name in names:
        (out / name).unlink(missing_ok=True)
    for folder in sorted({(out / name).parent for name in names} - {out}, reverse=True):
        # One with something in it stays.
        with contextlib.suppress(OSError):
            folder.rmdir()


def pictures_table(scene: Scene) -> str:
    """A line of CSV for every picture: see :data:`PICTURE_COLUMNS`; those that were left out have a reason."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(PICTURE_COLUMNS)
    for number, model in enumerate(scene.models):
        for image in model.images:
            rms = f"{image.rms_px:.4f}" if math.isfinite(image.rms_px) else ""
            writer.writerow([image.picture.name, number, image.camera, image.point_count, rms, "", ""])
    for one in scene.left_out:
        writer.writerow([one.name, "", "", "", "", one.reason, one.advice])
    return stream.getvalue().encode("utf-8", "backslashreplace").decode("utf-8")


def colmap_model(model: SceneModel, pictures: ScenePictures) -> Reconstruction:
    """A model as COLMAP can say it.

    Raises:
        FormatError: no camera model of COLMAP's comes near a camera.
    """
    images = [
        ReconstructedImage(
            pictures.names[image.picture.name], image.camera, image.cam_from_world, image.pixels, image.points
        )
        for image in model.images
    ]
    return assembled([one.camera for one in model.cameras], images, model.points, model.colors)


def _write_model(model: SceneModel, number: int, pictures: ScenePictures, out: Path, losses: list[str]) -> list[str]:
    """Write what one model has: the names of the files. What a format cannot say is told in `losses`."""
    ending = f"_{number}" if number else ""
    files = _write_colmap(model, f"{SPARSE_FOLDER}/{number}", pictures, out, losses)
    if len(model.points):
        files.append(f"points{ending}.ply")
        write_ply(out / files[-1], cloud(model))
    if not model.is_oriented_only:
        points = files[-1] if len(model.points) else None
        files += _write_transforms(pictures.posed(model), f"transforms{ending}.json", points, out, losses)
    if model.images:
        files.append(f"cameras{ending}.ply")
        write_ply(out / files[-1], *camera_pyramids(model))
    path = clip_path(model)
    if path is not None:
        files.append(f"cameras{ending}.tum")
        write_trajectory(out / files[-1], path)
    return files


def _write_colmap(model: SceneModel, folder: str, pictures: ScenePictures, out: Path, losses: list[str]) -> list[str]:
    """COLMAP's model, binary and text beside each other: its readers take the binary one where both are there."""
    try:
        said = colmap_model(model, pictures)
        names = list(write_reconstruction(out / folder, said))
    except FormatError as error:
        losses.append(f"no COLMAP model is written: {error}")
        return []
    try:
        names += write_text(out / folder, said)
    except FormatError as error:
        losses.append(f"the COLMAP model is written in its binary form alone: {error}")
    return [f"{folder}/{name}" for name in names]


def _write_transforms(
    posed: list[PosedPicture], name: str, points: str | None, out: Path, losses: list[str]
) -> list[str]:
    try:
        said = [
            PosedPicture(
                one.name,
                one.file,
                say(one.camera, FORMATS["nerfstudio"], WORST_PX, 1.0).camera,
                one.cam_from_world,
            )
            for one in posed
        ]
        write_set(out / name, said, points)
    except FormatError as error:
        losses.append(f"no {name} is written: {error}")
        return []
    return [name]


def clip_path(model: SceneModel) -> Trajectory | None:
    """Where the camera of a clip was at each of its frames; None where the pictures are not of one clip with times."""
    times = [image.picture.time for image in model.images if image.picture.frame is not None]
    stamps = np.array([time for time in times if time is not None], np.float64)
    sources = {image.picture.source for image in model.images}
    if not len(stamps) or len(stamps) != len(model.images) or len(sources) != 1:
        return None
    order = np.argsort(stamps, kind="stable")
    return Trajectory(stamps[order], world_from_cams(model)[order])
