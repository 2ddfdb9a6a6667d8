"""Sparse models as pictures for looking at: points in their colours, cameras as pyramids."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from sparse_sides import Model

from cv3d.reporting.scenes.pyramids import pyramid_lines

Floats = NDArray[np.float64]

_FAR = 6.0
"""Points beyond so many times the typical depth are not drawn."""
_BEHIND, _ABOVE = 1.2, 0.5
"""Where one looks from, in typical depths, as seen from the picture that one looks past."""
_SIZE = 0.12
"""How long pyramids are."""


def draw_model(model: Model, past: str, title: str, file: Path) -> None:
    """Two views of a model, both fixed by one of its pictures, so that models of one scene look alike.

    Args:
        model: the model.
        past: the picture from behind which one looks; where it is not in the model, the next one by name.
        title: stands above.
        file: the PNG to write.
    """
    name = min(model.poses, key=lambda one: (one < past, one))
    front = model.poses[name]
    seen = model.points @ front[:3, :3].T + front[:3, 3]
    ahead = seen[:, 2] > 0.0
    depth = float(np.median(seen[ahead, 2])) if ahead.any() else 1.0
    seen = seen / depth
    kept = np.linalg.norm(seen - [0.0, 0.0, 1.0], axis=1) < _FAR
    lines = []
    for one, pose in model.poses.items():
        line = pyramid_lines(model.cameras[one], np.linalg.inv(pose), _SIZE * depth)
        lines.append((line @ front[:3, :3].T + front[:3, 3]) / depth)
    figure, (behind, above) = plt.subplots(1, 2, figsize=(16, 8), facecolor="white")
    _show(behind, *(_from_behind(one) for one in (seen[kept], np.vstack(lines))), model.colors[kept])
    _show(above, *(_from_above(one) for one in (seen[kept], np.vstack(lines))), model.colors[kept])
    behind.set_title(f"from behind picture {name}", fontsize=10)
    above.set_title("from above", fontsize=10)
    figure.suptitle(f"{title}: {len(model.poses)} pictures, {len(model.points)} points, {model.mean_px:.2f} px")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)
    plt.close(figure)


def _from_behind(points: Floats) -> Floats:
    """Perspective places, x to the right and y up, and the depth: (n, 3)."""
    eye, target = np.array([0.0, -_ABOVE, -_BEHIND]), np.array([0.0, 0.0, 1.0])
    forward = (target - eye) / np.linalg.norm(target - eye)
    down = np.cross(forward, [1.0, 0.0, 0.0])
    turned = (points - eye) @ np.stack([np.array([1.0, 0.0, 0.0]), down, forward]).T
    with np.errstate(invalid="ignore"):
        turned[turned[:, 2] < 0.05] = np.nan
    return np.stack([turned[:, 0] / turned[:, 2], -turned[:, 1] / turned[:, 2], turned[:, 2]], axis=1)


def _from_above(points: Floats) -> Floats:
    """Places along parallel rays, forward is up."""
    return np.stack([points[:, 0], points[:, 2], points[:, 1]], axis=1)


def _show(axes: plt.Axes, points: Floats, lines: Floats, colors: NDArray[np.uint8]) -> None:
    order = np.argsort(-points[:, 2])  # the far ones first; NaN, which is not drawn, last
    axes.scatter(points[order, 0], points[order, 1], s=3.0, c=colors[order] / 255.0, linewidths=0)
    axes.plot(lines[:, 0], lines[:, 1], color="tab:red", linewidth=0.8)
    # All cameras, and most points: a distant background would leave the scene itself a dot.
    inner = np.nanpercentile(points[:, :2], [10, 90], axis=0) if len(points) else lines[:0, :2]
    whole = np.concatenate([inner, lines[:, :2]])
    low, high = np.nanmin(whole, axis=0), np.nanmax(whole, axis=0)
    half, middle = 0.55 * float((high - low).max()), 0.5 * (low + high)
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
