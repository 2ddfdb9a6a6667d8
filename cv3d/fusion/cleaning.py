"""Cleaning a surface: small parts away, small holes closed, fewer triangles, or a closed surface through its points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from cv3d.errors import DependencyError, EstimationError, UsageError
from cv3d.fusion.holes import closed_holes
from cv3d.geometry.mesh import Mesh


def remove_small_parts(
    mesh: Mesh,
    min_triangles: int | None = None,
    min_area_m2: float | None = None,
    keep_largest: int | None = None,
) -> Mesh:
    """The mesh without connected parts that are too small; vertices that are then in no triangle go as well.

    Args:
        mesh: the surface.
        min_triangles: a part with fewer goes.
        min_area_m2: a part with less area goes, m².
        keep_largest: at most that many parts stay, those with most area.

    Raises:
        UsageError: a limit is negative.
    """
    if min(min_triangles or 0, min_area_m2 or 0.0, keep_largest or 0) < 0:
        raise UsageError("what is too small cannot be negative")
    if not len(mesh.triangles):
        return mesh
    part_of = parts_of(mesh)[mesh.triangles[:, 0]]
    count = int(part_of.max()) + 1
    areas = np.bincount(part_of, weights=triangle_areas(mesh), minlength=count)
    keeps = np.ones(count, np.bool_)
    if min_triangles is not None:
        keeps &= np.bincount(part_of, minlength=count) >= min_triangles
    if min_area_m2 is not None:
        keeps &= areas >= min_area_m2
    if keep_largest is not None:
        keeps[np.argsort(-areas, kind="stable")[keep_largest:]] = False
    return with_triangles(mesh, mesh.triangles[keeps[part_of]])


def fill_holes(mesh: Mesh, max_perimeter_m: float) -> Mesh:
    """The mesh with its small holes closed by a fan of triangles around their middle.

    A part's own outline is no hole: the longest border of a part stays open unless the part is far larger than what
    that border could enclose.

    Args:
        mesh: the surface.
        max_perimeter_m: longest border that is closed, metres.

    Raises:
        UsageError: the length is negative.
    """
    if max_perimeter_m < 0.0:
        raise UsageError("the perimeter of a hole cannot be negative")
    return closed_holes(mesh, parts_of(mesh), triangle_areas(mesh), max_perimeter_m)


def simplify(mesh: Mesh, triangle_count: int) -> Mesh:
    """The mesh with about as many triangles as asked for, by quadric error metrics (Garland and Heckbert 1997; Open3D).

    Raises:
        UsageError: the number is not positive.
        DependencyError: Open3D cannot be loaded.
    """
    if triangle_count < 1:
        raise UsageError("a mesh of no triangles is none")
    if len(mesh.triangles) <= triangle_count:
        return mesh
    simple = _to_open3d(mesh).simplify_quadric_decimation(triangle_count)
    simple.remove_unreferenced_vertices()
    return _from_open3d(simple, mesh.normals is not None, mesh.colors is not None)


def poisson(mesh: Mesh, depth: int = 9, trim_quantile: float = 0.02, max_gap_m: float | None = None) -> Mesh:
    """A closed surface through the points of a mesh or a cloud: screened Poisson (Kazhdan and Hoppe 2013; Open3D).

    Args:
        mesh: points with normals; triangles are not needed.
        depth: of the octree: 2^depth cells across.
        trim_quantile: share of the vertices that is cut off: those with the fewest points around.
        max_gap_m: what is farther from every point is cut off instead, metres: the method closes whatever is open, with
            aprons below tables and bags around thin legs that nobody saw. None: the quantile decides.

    Raises:
        EstimationError: there are no points, or they have no normals.
        DependencyError: Open3D cannot be loaded.
    """
    if mesh.normals is None or not len(mesh.vertices):
        raise EstimationError("Poisson's surface needs points with normals")
    o3d = _open3d()
    cloud = o3d.geometry.PointCloud()
    cloud.points = o3d.utility.Vector3dVector(mesh.vertices.astype(np.float64))
    cloud.normals = o3d.utility.Vector3dVector(mesh.normals.astype(np.float64))
    if mesh.colors is not None:
        cloud.colors = o3d.utility.Vector3dVector(mesh.colors / 255.0)
    # One thread: its sums come in another order, and other bits, on several.
    surface, densities = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=depth, n_threads=1)
    density = np.asarray(densities)
    if max_gap_m is None:
        is_invented = density < np.quantile(density, trim_quantile)
    else:
        gaps, _ = KDTree(mesh.vertices).query(np.asarray(surface.vertices), distance_upper_bound=max_gap_m)
        is_invented = ~np.isfinite(gaps)
    surface.remove_vertices_by_mask(is_invented)
    return _from_open3d(surface, True, mesh.colors is not None)


def parts_of(mesh: Mesh) -> NDArray[np.int32]:
    """(n,) the connected part of each vertex."""
    a, b, c = mesh.triangles.T
    ones = np.ones(2 * len(a), np.bool_)
    count = len(mesh.vertices)
    graph = coo_array((ones, (np.concatenate([a, b]), np.concatenate([b, c]))), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int32)


def triangle_areas(mesh: Mesh) -> NDArray[np.float64]:
    """(m,) areas of the triangles, m²."""
    a, b, c = mesh.vertices.astype(np.float64)[mesh.triangles.T]
    return np.asarray(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1), np.float64)


def with_triangles(mesh: Mesh, triangles: NDArray[np.int32]) -> Mesh:
    """Some triangles of a mesh, with the vertices that they need."""
    is_needed = np.zeros(len(mesh.vertices), np.bool_)
    is_needed[triangles] = True
    place = np.cumsum(is_needed, dtype=np.int32) - np.int32(1)
    return Mesh(
        mesh.vertices[is_needed],
        place[triangles],
        None if mesh.normals is None else mesh.normals[is_needed],
        None if mesh.colors is None else mesh.colors[is_needed],
    )


def _open3d() -> Any:  # noqa: ANN401
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise DependencyError(
            f"Open3D cannot be loaded: {error}; pip install open3d, and on Debian or Ubuntu "
            "apt-get install libgl1 libgomp1 libx11-6 (cv3d doctor says what is missing)"
        ) from error
    return open3d


def _to_open3d(mesh: Mesh) -> Any:  # noqa: ANN401
    o3d = _open3d()
    result = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices.astype(np.float64)), o3d.utility.Vector3iVector(mesh.triangles)
    )
    if mesh.normals is not None:
        result.vertex_normals = o3d.utility.Vector3dVector(mesh.normals.astype(np.float64))
    if mesh.colors is not None:
        result.vertex_colors = o3d.utility.Vector3dVector(mesh.colors / 255.0)
    return result


def _from_open3d(mesh: Any, has_normals: bool, has_colors: bool) -> Mesh:  # noqa: ANN401
    normals = None
    if has_normals:
        mesh.compute_vertex_normals() if not mesh.has_vertex_normals() else mesh.normalize_normals()
        normals = np.asarray(mesh.vertex_normals).astype(np.float32)
    colors = None
    if has_colors:
        colors = np.rint(np.asarray(mesh.vertex_colors).clip(0.0, 1.0) * 255.0).astype(np.uint8)
    return Mesh(
        np.asarray(mesh.vertices).astype(np.float32), np.asarray(mesh.triangles).astype(np.int32), normals, colors
    )
