"""From the grid to the surface that is written: extraction, and the cleaning asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv3d.errors import EstimationError, UsageError
from cv3d.fusion.cleaning import fill_holes, poisson, remove_small_parts, simplify
from cv3d.fusion.grid import VoxelGrid
from cv3d.geometry.mesh import Mesh
from cv3d.progress import SILENT, Progress

_STAGE = "surface"
_SMALL_VOXELS = 20.0
"""A part smaller than a square of so many voxels is noise."""
_GAP_VOXELS = 2.0
"""Poisson's surface farther from what was measured is invented: holes of twice as many voxels are closed by it."""


@dataclass(frozen=True)
class SurfaceOptions:
    """What becomes of the grid.

    Raises:
        UsageError: a value is out of range.
    """

    min_observations: int = 2
    """Frames that have to have seen a voxel."""
    min_part_m2: float | None = None
    """Parts of less area are removed, square metres; 0: none; None: less than a square of 20 voxels."""
    fill_holes_m: float = 0.0
    """Holes of a shorter border are closed, metres; 0: none."""
    max_triangles: int | None = None
    """Simplified to so many (needs Open3D); None: as extracted."""
    poisson_depth: int | None = None
    """Made anew by Poisson's method with an octree of this depth (needs Open3D); None: not."""

    def __post_init__(self) -> None:
        if self.min_observations < 1:
            raise UsageError("a voxel has to be seen at least once")
        if (self.min_part_m2 is not None and self.min_part_m2 < 0.0) or self.fill_holes_m < 0.0:
            raise UsageError("an area and a length are not negative")
        if self.max_triangles is not None and self.max_triangles < 4:
            raise UsageError(f"a surface has at least 4 triangles, not {self.max_triangles}")
        if self.poisson_depth is not None and not 4 <= self.poisson_depth <= 14:
            raise UsageError(f"the depth of Poisson's octree is 4 to 14, not {self.poisson_depth}")


def surface_of(grid: VoxelGrid, options: SurfaceOptions, progress: Progress = SILENT) -> Mesh:
    """The surface in a grid.

    Raises:
        EstimationError: there is none.
        DependencyError: simplification or Poisson's method without Open3D.
    """
    progress.start(_STAGE)
    # Of fewer frames nothing is seen as often as asked for.
    mesh = grid.extract_mesh(min(options.min_observations, max(grid.frame_count, 1)))
    if not len(mesh.triangles):
        raise EstimationError("the depth fits together nowhere: there is no surface; are poses and depth in one unit?")
    if options.poisson_depth is not None:
        mesh = poisson(mesh, options.poisson_depth, max_gap_m=_GAP_VOXELS * grid.voxel_m)
    least = (_SMALL_VOXELS * grid.voxel_m) ** 2 if options.min_part_m2 is None else options.min_part_m2
    if least > 0.0:
        cleaned = remove_small_parts(mesh, min_area_m2=least)
        # A small object alone is no noise.
        mesh = cleaned if len(cleaned.triangles) else remove_small_parts(mesh, keep_largest=1)
    if options.fill_holes_m > 0.0:
        mesh = fill_holes(mesh, options.fill_holes_m)
    if options.max_triangles is not None and len(mesh.triangles) > options.max_triangles:
        mesh = simplify(mesh, options.max_triangles)
    progress.finish(_STAGE)
    return _compacted(mesh)


def _compacted(mesh: Mesh) -> Mesh:
    """The mesh without vertices that no triangle has."""
    used = np.unique(mesh.triangles)
    if len(used) == len(mesh.vertices):
        return mesh
    renumbered = np.searchsorted(used, mesh.triangles).astype(np.int32)
    return Mesh(
        mesh.vertices[used],
        renumbered,
        None if mesh.normals is None else mesh.normals[used],
        None if mesh.colors is None else mesh.colors[used],
    )
