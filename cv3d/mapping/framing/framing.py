"""The frame of coordinates of a scene: which way is up, how long is a metre, where on the earth it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import EstimationError, InputError
from cv3d.mapping.framing.axes import centred, similarity, upright_rotation
from cv3d.mapping.framing.board_scale import scale_by_board
from cv3d.mapping.framing.geodesy import enu_from_geodetic
from cv3d.mapping.framing.georeferencing import GeoFit, georeference
from cv3d.mapping.framing.metric import MetricScale, scale_by_depth, scale_by_distance
from cv3d.mapping.framing.transforming import transformed
from cv3d.mapping.framing.vertical import Vertical, find_vertical
from cv3d.mapping.scaling import KnownBoard, KnownDistance, Scaling
from cv3d.mapping.scene import ScaleSource, Scene, SceneImage, SceneModel
from cv3d.media.exif_position import exif_position
from cv3d.progress import SILENT, Progress

Floats = NDArray[np.float64]
DepthOf = Callable[[SceneImage], NDArray[np.float32] | None]

_FEWEST_POSITIONS = 4


@dataclass(frozen=True, eq=False)
class _Framed:
    """One model in its frame."""

    model: SceneModel
    scale: ScaleSource
    is_upright: bool
    is_on_earth: bool
    warnings: tuple[str, ...]


def frame_scene(
    scene: Scene,
    *,
    scale: Scaling | None = None,
    up: bool = True,
    gps: bool = True,
    depth_of: DepthOf | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Scene:
    """Give the models of a scene a frame that means something, as far as is known.

    z is up: by edges where they say it, else as the cameras were held, in which case `is_upright` stays false. The
    unit is the metre by `scale`, else by measured depth, else by positions in EXIF tags; without any of them nine
    tenths of the points are within 1 of the middle. With positions the origin is on the earth, x east and y north;
    else it is the middle of the points, and x is to the right of the first picture. What cannot be had is told in
    the scene's warnings; nothing is lost by it.

    Args:
        scene: with or without models.
        scale: a distance or a board that the user knows.
        up: whether the vertical is looked for.
        gps: whether positions are used.
        depth_of: depth maps of pictures, see :func:`cv3d.mapping.framing.metric.scale_by_depth`.
        seed: of everything drawn.
        progress: told about the course.

    Returns:
        The scene; what it says of its frame holds for the first model, and a warning tells where it does not for
        another.
    """
    if not scene.models:
        return scene
    stage = "find the frame"
    progress.start(stage, len(scene.models))
    origin, places = _positions(scene.models) if gps else (None, [None] * len(scene.models))
    framed = []
    for model, here in zip(scene.models, places, strict=True):
        vertical = find_vertical(model, seed) if up else None
        framed.append(_frame(model, vertical, scale, depth_of, here, seed, progress))
        progress.advance(stage)
    progress.finish(stage)
    first = framed[0]
    warnings = list(first.warnings)
    for number, other in enumerate(framed[1:], 2):
        warnings += [f"model {number}: {warning}" for warning in other.warnings]
        if other.scale is not first.scale:
            warnings.append(f"model {number}: its unit of length is not that of the first")
    return replace(
        scene,
        models=tuple(item.model for item in framed),
        scale=first.scale,
        is_upright=first.is_upright,
        geodetic_origin=origin if first.is_on_earth else None,
        warnings=(*scene.warnings, *warnings),
    )


def _frame(
    model: SceneModel,
    vertical: Vertical | None,
    scale: Scaling | None,
    depth_of: DepthOf | None,
    places: Floats | None,
    seed: int,
    progress: Progress,
) -> _Framed:
    first = model.images[0].cam_from_world[:3, :3]
    rotation = first if vertical is None else upright_rotation(model, vertical.up)
    is_up_known = vertical is not None and vertical.is_known
    if model.is_oriented_only:
        turned = transformed(model, similarity(1.0, rotation, np.zeros(3)))
        return _Framed(turned, ScaleSource.ARBITRARY, is_up_known, False, ())
    warnings: list[str] = []
    metric, source = _metric(model, scale, depth_of, warnings, progress)
    geo = _geo(model, places, -first[1] if vertical is None else vertical.up, is_up_known, seed, warnings)
    if geo is not None:
        new_from_old = geo.new_from_old if metric is None else geo.with_scale(model, metric.metres)
        source = ScaleSource.GPS if metric is None else source
        return _Framed(transformed(model, new_from_old), source, geo.is_upright, True, tuple(warnings))
    new_from_old = centred(model, rotation, None if metric is None else metric.metres)
    return _Framed(transformed(model, new_from_old), source, is_up_known, False, tuple(warnings))


def _metric(
    model: SceneModel, scale: Scaling | None, depth_of: DepthOf | None, warnings: list[str], progress: Progress
) -> tuple[MetricScale | None, ScaleSource]:
    """The unit of length, as far as the user or measured depth say it."""
    try:
        if isinstance(scale, KnownDistance):
            return scale_by_distance(model, scale), ScaleSource.DISTANCE
        if isinstance(scale, KnownBoard):
            return scale_by_board(model, scale, progress), ScaleSource.BOARD
        if depth_of is not None:
            return scale_by_depth(model, depth_of), ScaleSource.DEPTH
    except (EstimationError, InputError) as error:
        warnings.append(f"no scale: {error}")
    return None, ScaleSource.ARBITRARY


def _geo(
    model: SceneModel, places: Floats | None, up: Floats, is_up_known: bool, seed: int, warnings: list[str]
) -> GeoFit | None:
    if places is None:
        return None
    try:
        found = georeference(model, places, up, is_up_known=is_up_known, seed=seed)
    except EstimationError as error:
        warnings.append(f"no place on the earth: {error}")
        return None
    left_out = int(np.isfinite(places[:, 0]).sum() - found.used.sum())
    if left_out:
        warnings.append(f"the EXIF positions of {left_out} pictures contradict the others and are not used")
    return found


def _positions(
    models: tuple[SceneModel, ...],
) -> tuple[tuple[float, float, float] | None, list[Floats | None]]:
    """The origin, and for each model the places of its pictures from it, (n, 3); None where they are too few."""
    geodetic = [_of_model(model) for model in models]
    everywhere = np.concatenate(geodetic)
    known = everywhere[np.isfinite(everywhere[:, 0])]
    if len(known) < _FEWEST_POSITIONS:
        return None, [None] * len(models)
    heights = known[np.isfinite(known[:, 2]), 2]
    origin = np.array([*known[:, :2].mean(axis=0), heights.mean() if len(heights) else 0.0])
    return (
        (float(origin[0]), float(origin[1]), float(origin[2])),
        [_places(own, origin) if int(np.isfinite(own[:, 0]).sum()) >= _FEWEST_POSITIONS else None for own in geodetic],
    )


def _of_model(model: SceneModel) -> Floats:
    """Latitude, longitude and height of each picture, (n, 3), NaN where they are not known."""
    rows = np.full((len(model.images), 3), np.nan)
    for row, image in zip(rows, model.images, strict=True):
        found = None if image.picture.frame is not None else exif_position(image.picture.source)
        if found is not None:
            row[:] = (found.latitude_deg, found.longitude_deg, np.nan if found.altitude_m is None else found.altitude_m)
    return rows


def _places(geodetic: Floats, origin: Floats) -> Floats:
    """Metres east, north and up; NaN stays, and without a height only that is NaN."""
    level = geodetic.copy()
    level[np.isnan(level[:, 2]), 2] = origin[2]
    places = enu_from_geodetic(level, origin)
    places[np.isnan(geodetic[:, 2]), 2] = np.nan
    return places
