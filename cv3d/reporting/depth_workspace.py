"""Depth maps as a dense workspace of COLMAP: undistorted pictures, their pinhole model, and a file of depth for each.

`images/NAME`, `sparse/` with cameras, poses and points, `stereo/depth_maps/NAME.geometric.bin`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.depth.posed import PosedSet
from cv3d.depth.result import DepthMap, DepthResult
from cv3d.formats.atomic import atomic_write_bytes
from cv3d.formats.colmap_depth import encode_colmap_depth
from cv3d.formats.colmap_reconstruction import ReconstructedImage, Reconstruction, write_reconstruction
from cv3d.media.writing import write_picture
from cv3d.reporting.colmap_model import assembled
from cv3d.reporting.depth_pictures import bgr

IMAGES_FOLDER, SPARSE_FOLDER = "images", "sparse"
DEPTH_FOLDER = "stereo/depth_maps"


def write_workspace(result: DepthResult, posed: PosedSet | None, names: Mapping[str, str], out: Path) -> list[str]:
    """Write the workspace; the model comes last, as it is what makes the folder one.

    Args:
        result: the maps.
        posed: whose points the model gets; None: it has none.
        names: of the files of pictures, by the pictures' own names.
        out: the folder of all results.

    Returns:
        The names of the files within `out`.

    Raises:
        OutputError: a file cannot be written.
    """
    files = []
    for one in result.maps:
        files += [f"{IMAGES_FOLDER}/{names[one.name]}", depth_file(names[one.name])]
        write_picture(out / files[-2], bgr(one.color))
        atomic_write_bytes(out / files[-1], encode_colmap_depth(one.depth))
    model = write_reconstruction(out / SPARSE_FOLDER, workspace_model(result, posed, names))
    return [*files, *(f"{SPARSE_FOLDER}/{name}" for name in model)]


def depth_file(name: str) -> str:
    """Where the depth of the picture lies whose file is called so."""
    return f"{DEPTH_FOLDER}/{name}.geometric.bin"


def workspace_model(result: DepthResult, posed: PosedSet | None, names: Mapping[str, str]) -> Reconstruction:
    """The pinhole cameras, the poses, and the sparse points where the undistorted pictures show them."""
    cameras = list(dict.fromkeys(one.camera for one in result.maps))
    seen = {} if posed is None else {view.picture.name: view.points for view in posed.views}
    points = np.zeros((0, 3)) if posed is None else posed.points
    colors = np.full((len(points), 3), 128, np.uint8)
    images = []
    for one in sorted(result.maps, key=lambda each: names[each.name]):
        own, pixels = _shown(one, points, seen.get(one.name, np.zeros(0, np.intp)))
        column, row = np.rint(pixels).astype(np.intp).T
        colors[own] = one.color[row, column]
        place = cameras.index(one.camera)
        images.append(ReconstructedImage(names[one.name], place, one.cam_from_world, pixels, own))
    return assembled(cameras, images, points, colors)


def _shown(
    one: DepthMap, points: NDArray[np.float64], own: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Of the points that a picture sees, those within its undistorted part, and where."""
    there = points[own] @ one.cam_from_world[:3, :3].T + one.cam_from_world[:3, 3]
    is_ahead = there[:, 2] > 0.0
    own, pixels = own[is_ahead], one.camera.project(there[is_ahead])
    inside = ((pixels > -0.5) & (pixels < (one.camera.width - 0.5, one.camera.height - 0.5))).all(axis=1)
    return own[inside], pixels[inside]
