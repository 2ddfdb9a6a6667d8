"""Drawings of a scene's figures: how well pictures agree, how often points are seen, under which angles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cv3d.mapping.scene import Scene, SceneModel
from cv3d.reporting import svg
from cv3d.reporting.heatmap import WIDTH
from cv3d.reporting.page import Html, tag
from cv3d.reporting.scene_clouds import world_from_cams
from cv3d.reporting.svg import Axis

Floats = NDArray[np.float64]

_BOTTOM = 300.0
_MOST_ANGLES = 4000
"""Points whose angle is computed; of more, some are picked evenly."""
_MOST_RAYS = 60
"""Rays compared of a point; of a longer track, some are picked evenly."""
_WIDEST_TAIL = 0.995


def bars(samples: Floats, x_title: str, label: str, *, whole: bool = False) -> Html:
    """How often each of some positive values occurs.

    Args:
        samples: (n,) finite, n > 0; those of the last half percent are drawn in the last bar.
        x_title: what they are, with their unit.
        label: what the drawing shows.
        whole: whether they are whole numbers, which have a bar each while there is room.
    """
    top = float(np.quantile(samples, _WIDEST_TAIL))
    if whole:
        low, high = float(samples.min()) - 0.5, max(top, float(samples.min())) + 0.5
        step = max(1.0, float(np.ceil((high - low) / 48.0)))
        edges = np.arange(low, high + step, step)
    else:
        edges = np.linspace(0.0, max(top, 1e-9), int(np.clip(2.0 * len(samples) ** (1.0 / 3.0), 9, 48)) + 1)
    counts, edges = np.histogram(np.minimum(samples, edges[-1]), edges)
    x = Axis(float(edges[0]), float(edges[-1]), 76.0, WIDTH - 24.0)
    y = Axis(0.0, 1.08 * float(counts.max()), _BOTTOM, 10.0)
    left, right, tops = x.place(edges[:-1]).tolist(), x.place(edges[1:]).tolist(), y.place(counts).tolist()
    drawn = "".join(
        f"M{a + 0.5:.1f} {_BOTTOM:g}V{t:.1f}H{b - 0.5:.1f}V{_BOTTOM:g}z"
        for a, b, t, count in zip(left, right, tops, counts.tolist(), strict=True)
        if count
    )
    middle = float(np.median(samples))
    parts = [
        svg.frame(x, y, x_title, "how many"),
        tag("path", d=drawn, fill="var(--accent)", fill_opacity="0.55"),
        svg.path(f"M{x.at(min(middle, x.high)):.1f} {_BOTTOM:g}V10", "var(--ink)", 1.4, stroke_dasharray="5 3"),
    ]
    return svg.drawing(WIDTH, _BOTTOM + 50.0, label, *parts)


def track_lengths(scene: Scene) -> Floats:
    """How many pictures see each point, of all models."""
    parts = [np.zeros(0)]
    for model in scene.models:
        shown = np.concatenate([np.zeros(0, np.intp), *(image.points for image in model.images)])
        parts.append(np.bincount(shown[shown >= 0], minlength=len(model.points)).astype(np.float64))
    lengths = np.concatenate(parts)
    return lengths[lengths > 0]


def triangulation_angles(scene: Scene) -> Floats:
    """The widest angle between two rays to a point, degrees; of all points, or of some that are evenly picked."""
    return np.concatenate([np.zeros(0), *(np.fromiter(_angles(model), np.float64) for model in scene.models)])


def _angles(model: SceneModel) -> Iterator[float]:
    centres = world_from_cams(model)[:, :3, 3]
    counts = [image.point_count for image in model.images]
    owners = np.repeat(np.arange(len(counts)), counts)
    shown = np.concatenate([np.zeros(0, np.intp), *(image.points[image.points >= 0] for image in model.images)])
    order = np.argsort(shown, kind="stable")
    starts = np.searchsorted(shown[order], np.arange(len(model.points) + 1))
    picked = np.unique(np.linspace(0, len(model.points) - 1, min(len(model.points), _MOST_ANGLES)).astype(np.int64))
    for point in picked.tolist():
        seen = owners[order[starts[point] : starts[point + 1]]]
        if len(seen) < 2:
            continue
        seen = seen[np.linspace(0, len(seen) - 1, min(len(seen), _MOST_RAYS)).astype(np.int64)]
        rays = model.points[point] - centres[seen]
        lengths = np.linalg.norm(rays, axis=1, keepdims=True)
        if not (lengths > 0.0).all():
            continue
        rays = rays / lengths
        # The chord keeps the digits that a cosine near one loses.
        chord = np.linalg.norm(rays[:, None] - rays[None], axis=2).max()
        yield float(np.degrees(2.0 * np.arcsin(min(0.5 * chord, 1.0))))
