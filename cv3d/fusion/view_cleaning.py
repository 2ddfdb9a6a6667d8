"""What stays of a surface when all views have voted on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.cleaning import parts_of, triangle_areas, with_triangles
from cv3d.fusion.view_votes import Votes
from cv3d.geometry.mesh import Mesh

_MANY_VIEWS = 8
"""Median number of views of a place from which on three have to bear it out."""
_THROUGH = 1.0
"""Weight of the views that look through a place over that of those that see it there, from which on it goes."""
_OFTEN = 2
"""Views of a small thing, on average, over those that have to bear a place out, from which on it is no noise."""
_TINY = 0.1
"""Share of a small part's area down to which it may then stay."""


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A surface that its views bear out."""

    mesh: Mesh
    min_views: int
    """Views that had to bear a place out."""
    removed: Mapping[str, float]
    """Shares of the triangles that went, by why."""


def borne_out(mesh: Mesh, votes: Votes, min_views: int | None, count: int, small_part: float) -> Cleaned:
    """The mesh without what too few views see, what more look through, and small parts.

    Args:
        mesh: as extracted, with triangles.
        votes: on its vertices.
        min_views: views that have to bear a place out; None: two, and three where places are seen by many.
        count: views that there are.
        small_part: a connected part of less than this share of the whole area goes, unless it is seen often.
    """
    if min_views is None:
        several = votes.views[votes.views > 1]
        min_views = 3 if len(several) and float(np.median(several)) >= _MANY_VIEWS else 2
    least = min(min_views, max(count, 1))
    seen = np.asarray((votes.views >= least)[mesh.triangles].all(axis=1), np.bool_)
    solid = np.asarray((votes.through <= _THROUGH * votes.support)[mesh.triangles].all(axis=1), np.bool_)
    kept, views = _selected(mesh, seen & solid, votes.views)
    before = len(kept.triangles)
    kept = _without_small_parts(kept, views, small_part, _OFTEN * least)
    removed = {
        "unseen": 1.0 - float(seen.mean()),
        "seen through": float((seen & ~solid).mean()),
        "in small parts": (before - len(kept.triangles)) / len(mesh.triangles),
    }
    return Cleaned(kept, least, removed)


def _selected(mesh: Mesh, keeps: NDArray[np.bool_], views: NDArray[np.int16]) -> tuple[Mesh, NDArray[np.int16]]:
    """Some triangles of a mesh, and the views of the vertices that they need."""
    triangles = mesh.triangles[keeps]
    is_needed = np.zeros(len(mesh.vertices), np.bool_)
    is_needed[triangles] = True
    return with_triangles(mesh, triangles), views[is_needed]


def _without_small_parts(mesh: Mesh, views: NDArray[np.int16], share: float, often: int) -> Mesh:
    """The mesh without connected parts of less than a share of the whole area.

    A small thing that as many views as `often` see, on average, is no noise unless it is tiny.
    """
    if share <= 0.0 or not len(mesh.triangles):
        return mesh
    part_of = parts_of(mesh)
    part = part_of[mesh.triangles[:, 0]]
    areas = np.bincount(part, weights=triangle_areas(mesh), minlength=int(part_of.max()) + 1)
    mean_views = np.bincount(part_of, weights=views) / np.maximum(np.bincount(part_of), 1)
    least = np.where(mean_views >= often, _TINY, 1.0) * share * areas.sum()
    return with_triangles(mesh, mesh.triangles[areas[part] >= least[part]])
