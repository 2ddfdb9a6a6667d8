"""From finished maps to the scene that is handed out: deviations, colours, reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import usable_cores
from cv3d.errors import EstimationError, InputError, PictureError
from cv3d.geometry.bundle import bundle_covariance
from cv3d.mapping.adjusting import Adjusted, adjust
from cv3d.mapping.graph import MatchGraph
from cv3d.mapping.growing import Attempts
from cv3d.mapping.intrinsics import STAGES, KnownCamera
from cv3d.mapping.preparing import CameraPlan
from cv3d.mapping.refining import noise_factor
from cv3d.mapping.scene import LeftOut, SceneCamera, SceneImage, SceneModel, ViewGraph
from cv3d.mapping.state import MapState
from cv3d.mapping.turned import Turned

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

_MOST_WITH_COVARIANCE = 600
"""Pictures up to which the dense covariance of all poses is computed; it grows with their square."""
_AGREES_PX = 4.0
"""Epipolar error, pixels as matched, up to which a match agrees with the poses."""
_CONTRADICTED = 0.4
"""Share of agreeing matches below which the poses contradict a pair."""
_GREY = 128
_OVERLAP = "take pictures in between, so that neighbours share half of what they show"
_TEXTURE = "a sharper or better lit picture, or more texture in view, would help"


def assemble(
    state: MapState,
    known: Sequence[KnownCamera],
    stage: int,
    read_rgb: Callable[[int], NDArray[np.uint8]],
) -> SceneModel:
    """One model of a finished map.

    Args:
        state: the map.
        known: what was known of the cameras beforehand.
        stage: which intrinsics were free.
        read_rgb: gives a picture's colours by its number.
    """
    settled = adjust(state, known, stage=stage, iterations=10, tolerance=1e-7)
    state.keep_agreeing()
    poses, intrinsics = _covariances(settled) if settled is not None else ({}, {})
    pictures = np.flatnonzero(state.placed)
    tracks = np.flatnonzero(state.has_point)
    index = np.full(state.table.count, -1, np.intp)
    index[tracks] = np.arange(len(tracks))
    used = np.unique(state.camera_of[pictures])
    camera_index = {int(camera): place for place, camera in enumerate(used)}
    squared = _squared_errors(state)
    images = tuple(
        _image(state, int(picture), index, camera_index, poses.get(int(picture)), squared) for picture in pictures
    )
    cameras = tuple(_camera(state, known[int(c)], int(c), stage, intrinsics.get(int(c))) for c in used)
    counts = np.bincount(state.table.track[state.active], minlength=state.table.count)
    sums = np.bincount(state.table.track[state.active], squared[state.active], minlength=state.table.count)
    errors = np.sqrt(sums[tracks] / np.maximum(counts[tracks], 1))
    return SceneModel(cameras, images, state.points[tracks].copy(), _colors(state, tracks, read_rgb), errors)


def assemble_turned(graph: MatchGraph, plan: CameraPlan, turned: Turned) -> SceneModel:
    """The model of pictures from one place: orientations alone."""
    pictures = np.flatnonzero(turned.placed)
    used = np.unique(plan.camera_of[pictures])
    camera_index = {int(camera): place for place, camera in enumerate(used)}
    images = tuple(
        SceneImage(
            graph.pictures[picture],
            camera_index[int(plan.camera_of[picture])],
            turned.cam_from_world[picture].copy(),
            None,
            graph.keypoints[picture],
            np.full(len(graph.keypoints[picture]), -1, np.intp),
            float("nan"),
        )
        for picture in pictures.tolist()
    )
    cameras = []
    for index in used.tolist():
        known = turned.known[index]
        deviation = 0.0 if known.is_held else known.focal_deviation * known.camera.params[0]
        rest = (0.0,) * (len(known.camera.params) - 2)
        free = () if known.is_held else ("fx", "fy")
        cameras.append(SceneCamera(known.camera, known.source, free, (deviation, deviation, *rest)))
    nothing = np.zeros((0, 3))
    return SceneModel(tuple(cameras), images, nothing, nothing.astype(np.uint8), np.zeros(0), is_oriented_only=True)


def view_graph(graph: MatchGraph, states: Sequence[MapState]) -> ViewGraph:
    """The verified pairs, and which of them the final poses agree with."""
    pairs = np.array([(pair.first, pair.second) for pair in graph.pairs], np.intp).reshape(-1, 2)
    inliers = np.array([len(pair.matches) for pair in graph.pairs], np.intp)
    used = np.ones(len(pairs), np.bool_)
    for state in states:
        both = np.flatnonzero(state.placed[pairs].all(axis=1))
        used[both] = agreement(graph, state, both) >= _CONTRADICTED
    return ViewGraph(tuple(picture.name for picture in graph.pictures), pairs, inliers, used)


def agreement(graph: MatchGraph, state: MapState, pairs: Ints) -> Floats:
    """Share of the matches of pairs that agree with the poses, (k,).

    Args:
        graph: the pairs as they were verified.
        state: the map, whose graph may have other matches by now.
        pairs: (k,), which of the graph's pairs; both pictures are placed.
    """
    shares = np.zeros(len(pairs))
    for place, index in enumerate(pairs.tolist()):
        pair = graph.pairs[index]
        limits = (_AGREES_PX * graph.noise[pair.first], _AGREES_PX * graph.noise[pair.second])
        shares[place] = float(state.agreeing_matches(graph, pair, limits).mean())
    return shares


def left_out(graph: MatchGraph, states: Sequence[MapState], attempts: Attempts) -> tuple[LeftOut, ...]:
    """Every picture without a place, with the reason and what would help."""
    placed = np.zeros(len(graph), np.bool_)
    for state in states:
        placed |= state.placed
    degrees = graph.degrees()
    found = []
    for picture in np.flatnonzero(~placed).tolist():
        name, advice = graph.pictures[picture].name, _OVERLAP
        if graph.sizes[picture] is None:
            reason, advice = graph.reasons[picture] or "it cannot be read", "write the file anew"
        elif not degrees[picture]:
            reason = graph.reasons[picture] or "no other picture shows the same beyond doubt"
            advice = _TEXTURE if "keypoints" in reason else _OVERLAP
        elif picture in attempts.reasons:
            reason = attempts.reasons[picture]
        else:
            shared = attempts.points.get(picture, 0)
            reason = f"it matches {degrees[picture]} pictures, but shares only {shared} points with those placed"
        found.append(LeftOut(name, reason, advice))
    return tuple(found)


def _covariances(settled: Adjusted) -> tuple[dict[int, Floats], dict[int, Floats]]:
    """Of poses by picture and of intrinsics by camera, the first pose and the longest distance to it being held."""
    result = settled.result
    if len(result.poses) > _MOST_WITH_COVARIANCE or len(result.poses) < 2:
        return {}, {}
    centres = -np.einsum("nji,nj->ni", result.poses[:, :3, :3], result.poses[:, :3, 3])
    farthest = int(np.linalg.norm(centres - centres[0], axis=1).argmax())
    held = np.arange(len(result.poses)) == 0
    fixed = replace(result, problem=replace(result.problem, held_poses=held))
    try:
        found = bundle_covariance(fixed, (0, farthest), noise_factor(result) ** 2)
    except (EstimationError, InputError):
        return {}, {}
    poses = {int(picture): found.poses[i] for i, picture in enumerate(settled.pictures)}
    return poses, {int(camera): found.intrinsics[i] for i, camera in enumerate(settled.cameras)}


def _camera(state: MapState, known: KnownCamera, index: int, stage: int, covariance: Floats | None) -> SceneCamera:
    camera = state.cameras[index]
    names = () if known.is_held else STAGES[stage]
    free = tuple(name for name in camera.lens.param_names if name in names or (name == "fy" and "fx" in names))
    if covariance is None:
        deviations = tuple(float("nan") if name in free else 0.0 for name in camera.lens.param_names)
    else:
        deviations = tuple(np.sqrt(np.maximum(np.diag(covariance), 0.0)).tolist())
    return SceneCamera(camera, known.source, free, deviations)


def _image(
    state: MapState,
    picture: int,
    index: Ints,
    camera_index: dict[int, int],
    covariance: Floats | None,
    squared: Floats,
) -> SceneImage:
    rows = np.flatnonzero(state.table.picture == picture)
    keypoints = state.graph.keypoints[picture].copy()
    points = np.full(len(keypoints), -1, np.intp)
    active = rows[state.active[rows]]
    keypoints[state.table.keypoint[active]] = state.pixels[active]
    points[state.table.keypoint[active]] = index[state.table.track[active]]
    rms = float(np.sqrt(squared[active].mean())) if len(active) else float("nan")
    return SceneImage(
        state.graph.pictures[picture],
        camera_index[int(state.camera_of[picture])],
        state.poses[picture].copy(),
        covariance,
        keypoints,
        points,
        rms,
    )


def _squared_errors(state: MapState) -> Floats:
    """Squared reprojection error of every active row, (N,), pixels squared; 0 of the others."""
    rows = np.flatnonzero(state.active)
    squared = np.zeros(len(state.table))
    squared[rows] = (state.errors(rows) * state.sigma[rows]) ** 2
    return squared


def _colors(state: MapState, tracks: Ints, read_rgb: Callable[[int], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The colour of each track in one of the pictures that see it; few pictures are decoded for many points."""
    colors = np.full((len(tracks), 3), _GREY, np.uint8)
    place = np.full(state.table.count, -1, np.intp)
    place[tracks] = np.arange(len(tracks))
    rows = np.flatnonzero(state.active)
    chosen: dict[int, list[int]] = {}
    todo = np.ones(state.table.count, np.bool_)
    for picture in np.argsort(-state.counts(), kind="stable").tolist():
        of_it = rows[state.table.picture[rows] == picture]
        of_it = of_it[todo[state.table.track[of_it]]]
        if len(of_it):
            chosen[picture] = of_it.tolist()
            todo[state.table.track[of_it]] = False

    def look_up(picture: int) -> tuple[Ints, NDArray[np.uint8]] | None:
        of_it = np.array(chosen[picture], np.intp)
        try:
            rgb = read_rgb(picture)
        except PictureError:
            return None
        x, y = np.rint(state.pixels[of_it]).astype(np.intp).T
        found: NDArray[np.uint8] = rgb[y.clip(0, rgb.shape[0] - 1), x.clip(0, rgb.shape[1] - 1)]
        return place[state.table.track[of_it]], found

    with ThreadPoolExecutor(usable_cores()) as pool:
        for looked_up in pool.map(look_up, list(chosen)):
            if looked_up is not None:
                colors[looked_up[0]] = looked_up[1]
    return colors
