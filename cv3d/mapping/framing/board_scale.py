"""The unit of length from a calibration board or marker that stands in the scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.calibration.detecting import SeenPicture, find_board
from cv3d.errors import EstimationError
from cv3d.geometry.alignment import umeyama
from cv3d.geometry.triangulation import triangulate_multiview
from cv3d.mapping.framing.metric import MetricScale
from cv3d.mapping.scaling import KnownBoard
from cv3d.mapping.scene import SceneImage, SceneModel
from cv3d.progress import SILENT, Progress

_PICTURES = 40
"""Pictures with the board that are used, spread over all."""
_LEAST_ANGLE_DEG = 1.5
_FEWEST_POINTS = 4
_BENT = 0.03
"""How far the corners found may be off the board's plan, root mean square, share of its size."""
_MOVED_PX = 4.0
"""Root mean square reprojection error, pixels of a picture 1000 pixels wide, from which the board has been moved."""
_GROUPS = 10
_VARY = 0.05
"""Relative deviation from which the pictures contradict each other."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Sightings:
    """Corners of the board in posed pictures."""

    plan: Floats
    """Of the corners, metres, (m, 3)."""
    pixels: Floats
    """(n, m, 2)."""
    seen: NDArray[np.bool_]
    """(n, m)."""
    images: tuple[SceneImage, ...]

    def without(self, left_out: NDArray[np.bool_]) -> _Sightings:
        kept = ~left_out
        images = tuple(image for image, keep in zip(self.images, kept, strict=True) if keep)
        return _Sightings(self.plan, self.pixels[kept], self.seen[kept], images)


def scale_by_board(model: SceneModel, known: KnownBoard, progress: Progress = SILENT) -> MetricScale:
    """By a board of known size: its corners are triangulated with the poses of the model, and laid over its plan.

    Args:
        model: with poses.
        known: the board, or the side of its squares alone.
        progress: told about the pictures that are looked through.

    Returns:
        Metres of a unit; the deviation is a jackknife's, over groups of the pictures that see the board.

    Raises:
        EstimationError: it is not seen in two pictures from different places, or what is seen contradicts the poses.
    """
    if model.is_oriented_only:
        raise EstimationError("a board gives no scale where the camera only turned")
    sources = [image.picture for image in model.images]
    found = find_board(sources, known.board, known.square_m, progress=progress)
    sightings = _sightings(model, found.pictures, found.board.points_m())
    metres = _metres(model, sightings)
    deviation = _jackknife(model, sightings, metres)
    if deviation is not None and deviation > _VARY:
        raise EstimationError(
            f"the board ({found.board}) gives scales that differ by {100.0 * deviation:.0f} % between pictures: "
            "it has to stay where it is"
        )
    return MetricScale(metres, deviation, len(sightings.images))


def _sightings(model: SceneModel, pictures: tuple[SeenPicture, ...], plan: Floats) -> _Sightings:
    with_board = [i for i, seen in enumerate(pictures) if len(seen.detection.point_ids) >= _FEWEST_POINTS]
    if len(with_board) < 2:
        raise EstimationError(f"the board is seen in {len(with_board)} pictures with a place; a scale needs two")
    spread = np.unique(np.linspace(0, len(with_board) - 1, min(_PICTURES, len(with_board))).round().astype(int))
    chosen = [with_board[k] for k in spread]
    pixels, seen = np.zeros((len(chosen), len(plan), 2)), np.zeros((len(chosen), len(plan)), bool)
    for row, place in enumerate(chosen):
        ids = pictures[place].detection.point_ids
        camera = model.cameras[model.images[place].camera].camera
        width, height = pictures[place].size or (camera.width, camera.height)
        zoom = np.array([camera.width / width, camera.height / height])
        pixels[row, ids] = (pictures[place].detection.pixels + 0.5) * zoom - 0.5
        seen[row, ids] = True
    return _Sightings(plan, pixels, seen, tuple(model.images[place] for place in chosen))


def _metres(model: SceneModel, sightings: _Sightings) -> float:
    """Metres of one unit."""
    cameras = [model.cameras[image.camera].camera for image in sightings.images]
    poses = np.stack([image.cam_from_world for image in sightings.images])
    points = triangulate_multiview(sightings.pixels, cameras, poses, sightings.seen)
    good = (points.views >= 2) & (points.angles > np.radians(_LEAST_ANGLE_DEG)) & np.isfinite(points.points).all(axis=1)
    if int(good.sum()) < _FEWEST_POINTS:
        raise EstimationError("the board is seen from nearly one place only; a scale needs it from two")
    errors = points.errors[:, good] * (1000.0 / np.array([camera.width for camera in cameras]))[:, None]
    rms = float(np.sqrt(np.nanmean(errors**2)))
    if rms > _MOVED_PX:
        raise EstimationError(
            f"the board's corners miss their pixels by {rms:.0f}: it was moved between pictures, or there are several"
        )
    plan, world = torch.from_numpy(sightings.plan[good]), torch.from_numpy(points.points[good])
    world_from_board = umeyama(plan, world)
    off = torch.linalg.norm(world_from_board.apply(plan) - world, dim=1)
    scale = float(world_from_board.scale())
    size = float(torch.linalg.norm(plan.amax(dim=0) - plan.amin(dim=0))) * scale
    if float(off.square().mean().sqrt()) > _BENT * size:
        raise EstimationError("the board's corners in the model do not lie as on the board; is it another one?")
    return 1.0 / scale


def _jackknife(model: SceneModel, sightings: _Sightings, metres: float) -> float | None:
    """Relative deviation of the scale over groups of pictures left out in turn; None where too few are left."""
    count = len(sightings.images)
    groups = min(_GROUPS, count)
    logs = []
    for group in range(groups):
        try:
            logs.append(np.log(_metres(model, sightings.without(np.arange(count) % groups == group)) / metres))
        except EstimationError:
            continue
    if len(logs) < 3:
        return None
    return float(np.sqrt((len(logs) - 1) / len(logs) * np.sum((np.array(logs) - np.mean(logs)) ** 2)))
