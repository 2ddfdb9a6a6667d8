"""The comparison of two surfaces from beginning to end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import EstimationError, InputError, UsageError
from cv3d.evaluation.surface.alignment import SurfaceAlignment, aligning_motion
from cv3d.evaluation.surface.depth_error import depth_errors
from cv3d.evaluation.surface.observed import SurfaceView, observed
from cv3d.evaluation.surface.result import Score, SurfaceEvaluation
from cv3d.evaluation.surface.sampling import SurfaceSamples, sample_surface, triangle_normals
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.triangle_tree import Nearest, TriangleTree
from cv3d.progress import SILENT, Progress

Floats = NDArray[np.float64]

_ALIGNING_POINTS = 20_000
_FAR = 0.5
"""Median distance over the size of the reference from which on the two do not belong together."""


@dataclass(frozen=True)
class SurfaceOptions:
    """How two surfaces are compared.

    Raises:
        UsageError: a value is out of range.
    """

    thresholds_m: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05)
    """Distances at which shares are counted, metres; the first is that of the plain F-score."""
    samples: int = 300_000
    """Points on each surface."""
    alignment: SurfaceAlignment = SurfaceAlignment.NONE
    """What is taken out first."""
    reach_m: float = 0.1
    """How far apart the two may be where they are aligned, metres."""
    max_range_m: float = math.inf
    """What cameras see from farther away is neither compared nor measured depth, metres."""

    def __post_init__(self) -> None:
        if not self.thresholds_m or not all(0.0 < t < math.inf for t in self.thresholds_m):
            raise UsageError("thresholds are positive distances, and there is one at least")
        if self.samples < 1000:
            raise UsageError(f"a surface is compared by 1000 points or more, not {self.samples}")
        if not 0.0 < self.reach_m < math.inf:
            raise UsageError(f"the reach of the alignment is a positive distance, not {self.reach_m:g}")
        if not self.max_range_m > 0.0:
            raise UsageError(f"the range of the cameras is a positive distance, not {self.max_range_m:g}")


def evaluate_surface(
    mesh: Mesh,
    reference: Mesh,
    options: SurfaceOptions | None = None,
    *,
    views: Sequence[SurfaceView] = (),
    names: tuple[str, str] = ("the mesh", "the reference"),
    progress: Progress = SILENT,
) -> SurfaceEvaluation:
    """Compare a surface with the true one, both in metres.

    Points are spread evenly over both (see :mod:`cv3d.evaluation.surface.sampling`), and the distance of each from the
    other surface is exact. Either may be a point cloud, whose points are then the surface.

    Args:
        mesh: what is judged.
        reference: the truth.
        options: how.
        views: cameras in the reference's frame. Where there are some, only what they saw of the reference is compared,
            and the mesh's depth with theirs.
        names: how messages call the two.
        progress: told how far it is.

    Raises:
        InputError: a surface is empty or without area, or the views see nothing of the reference.
        EstimationError: the two cannot be aligned.
    """
    options = options or SurfaceOptions()
    for name, one in zip(names, (mesh, reference), strict=True):
        _check(name, one)
    tree = TriangleTree(reference)
    normals = triangle_normals(reference)[0] if len(reference.triangles) else reference.normals
    truth = sample_surface(reference, options.samples)
    motion = np.eye(4)
    if options.alignment is SurfaceAlignment.SE3:
        if normals is None:
            raise EstimationError(f"{names[1]}: is a point cloud without normals, and nothing can be aligned to it")
        few = sample_surface(mesh, _ALIGNING_POINTS).points
        motion = aligning_motion(few, tree, truth.points.mean(axis=0), np.asarray(normals, np.float64), options.reach_m)
        mesh = _moved(mesh, motion)
    compared, share = _compared(truth, reference, views, options)
    if not len(compared.points):
        raise InputError(f"the frames see nothing of {names[1]}: is it in the frame of their trajectory?")
    own = sample_surface(mesh, options.samples)
    progress.start("distances", len(own.points) + len(compared.points))
    forth = tree.nearest(own.points)
    progress.advance("distances", len(own.points))
    back = TriangleTree(mesh).nearest(compared.points)
    progress.advance("distances", len(compared.points))
    progress.finish("distances")
    scores = tuple(
        Score(t, float((forth.distances <= t).mean()), float((back.distances <= t).mean()))
        for t in options.thresholds_m
    )
    measured = [view for view in views if view.depth is not None]
    depth = None
    if measured and len(mesh.triangles):
        depth = depth_errors(mesh, measured, options.thresholds_m, options.max_range_m)
    return SurfaceEvaluation(
        own.points,
        forth.distances,
        compared.points,
        back.distances,
        scores,
        _normal_consistency((own, forth, reference), (compared, back, mesh)),
        motion,
        share,
        (len(mesh.vertices), len(mesh.triangles)),
        (len(reference.vertices), len(reference.triangles)),
        depth,
        _warnings(forth, reference, names),
    )


def _check(name: str, mesh: Mesh) -> None:
    if not len(mesh.vertices):
        raise InputError(f"{name}: is empty")
    if not np.isfinite(mesh.vertices).all():
        raise InputError(f"{name}: has vertices that are not finite")
    if len(mesh.triangles) and not triangle_normals(mesh)[1].sum() > 0.0:
        raise InputError(f"{name}: has no area")


def _moved(mesh: Mesh, motion: Floats) -> Mesh:
    vertices = (mesh.vertices @ motion[:3, :3].T + motion[:3, 3]).astype(np.float32)
    normals = None if mesh.normals is None else (mesh.normals @ motion[:3, :3].T).astype(np.float32)
    return replace(mesh, vertices=vertices, normals=normals)


def _compared(
    truth: SurfaceSamples, reference: Mesh, views: Sequence[SurfaceView], options: SurfaceOptions
) -> tuple[SurfaceSamples, float]:
    """The samples of the reference that are compared, and their share."""
    if not views:
        return truth, 1.0
    seen = observed(truth.points, reference, views, options.max_range_m)
    normals = None if truth.normals is None else truth.normals[seen]
    return SurfaceSamples(truth.points[seen], normals), float(seen.mean())


def _normal_consistency(*ways: tuple[SurfaceSamples, Nearest, Mesh]) -> float | None:
    """Mean absolute cosine of normals, over both ways; None where one has no normals."""
    means = []
    for samples, nearest, other in ways:
        normals = triangle_normals(other)[0] if len(other.triangles) else other.normals
        if samples.normals is None or normals is None:
            return None
        cosines = np.abs((samples.normals * np.asarray(normals, np.float64)[nearest.triangles]).sum(axis=1))
        means.append(float(cosines.mean()))
    return float(np.mean(means))


def _warnings(forth: Nearest, reference: Mesh, names: tuple[str, str]) -> tuple[str, ...]:
    size = float(np.linalg.norm(np.ptp(reference.vertices.astype(np.float64), axis=0)))
    middle = float(np.median(forth.distances))
    if size > 0.0 and middle > _FAR * size:
        return (
            f"{names[0]} lies {middle:.3g} m from {names[1]}, which is {size:.3g} m large: other units, another frame?",
        )
    return ()
