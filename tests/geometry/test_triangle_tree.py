"""The nearest point of a surface, against trying every triangle."""

from __future__ import annotations

import numpy as np
import pytest

from cv3d.errors import InputError
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.triangle_tree import TriangleTree


def _soup(count: int, seed: int) -> Mesh:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, 1, 3))
    vertices = (centres + rng.exponential(0.2, (count, 1, 1)) * rng.normal(size=(count, 3, 3))).reshape(-1, 3)
    return Mesh(vertices.astype(np.float32), np.arange(3 * count, dtype=np.int32).reshape(-1, 3))


def _by_sampling(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """Least distance to a dense grid of points on every triangle, (n,): never less than the true one."""
    share = np.array([(i, j) for i in range(41) for j in range(41 - i)]) / 40.0
    weights = np.concatenate([1.0 - share.sum(axis=1, keepdims=True), share], axis=1)
    cloud = np.einsum("gk,tkx->tgx", weights, mesh.vertices[mesh.triangles].astype(np.float64)).reshape(-1, 3)
    return np.array([np.linalg.norm(cloud - point, axis=1).min() for point in points])


def test_distances_are_those_of_the_nearest_triangle() -> None:
    mesh = _soup(60, seed=1)
    points = np.random.default_rng(2).normal(scale=1.5, size=(200, 3))
    found = TriangleTree(mesh).nearest(points)
    sampled = _by_sampling(mesh, points)
    assert (found.distances <= sampled + 1e-9).all()
    assert np.abs(found.distances - sampled).max() < 0.03
    np.testing.assert_allclose(np.linalg.norm(points - found.points, axis=1), found.distances, atol=1e-9)
    # The points found lie on the triangles found.
    corners = mesh.vertices[mesh.triangles[found.triangles]].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    assert np.abs(((found.points - corners[:, 0]) * normals).sum(axis=1)).max() < 1e-6


def test_open3d_measures_the_same() -> None:
    o3d = pytest.importorskip("open3d")
    mesh = _soup(500, seed=4)
    points = np.random.default_rng(5).normal(scale=2.0, size=(2000, 3)).astype(np.float32)
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(mesh.vertices), o3d.core.Tensor(mesh.triangles.astype(np.uint32)))
    expected = scene.compute_distance(o3d.core.Tensor(points)).numpy()
    np.testing.assert_allclose(TriangleTree(mesh).nearest(points).distances, expected, atol=1e-5)


def test_clouds_and_reach() -> None:
    rng = np.random.default_rng(6)
    cloud = Mesh(rng.normal(size=(301, 3)).astype(np.float32), np.zeros((0, 3), np.int32))
    points = rng.normal(size=(100, 3))
    gaps = np.linalg.norm(points[:, None] - cloud.vertices, axis=2)
    found = TriangleTree(cloud).nearest(points)
    np.testing.assert_allclose(found.distances, gaps.min(axis=1), atol=1e-7)
    np.testing.assert_array_equal(found.triangles, gaps.argmin(axis=1))
    reach = float(np.median(gaps.min(axis=1)))
    limited = TriangleTree(cloud).nearest(points, reach)
    beyond = gaps.min(axis=1) > reach
    np.testing.assert_array_equal(np.isinf(limited.distances), beyond)
    assert (limited.triangles[beyond] == -1).all()
    assert np.isnan(limited.points[beyond]).all()
    np.testing.assert_array_equal(limited.distances[~beyond], found.distances[~beyond])


def test_one_triangle_and_none() -> None:
    one = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32))
    found = TriangleTree(one).nearest(np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]))
    np.testing.assert_allclose(found.distances, [3.0**-0.5, 0.0, 1.0], atol=1e-9)
    assert len(TriangleTree(one).nearest(np.zeros((0, 3))).distances) == 0
    with pytest.raises(InputError, match="has vertices"):
        TriangleTree(Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)))


def test_triangles_without_area_are_lines_and_points() -> None:
    a, b = np.array([0.2, -0.1, 0.4]), np.array([1.0, 0.5, -0.3])
    corners = {
        "line": [(a, b, 0.3 * a + 0.7 * b), (b, 0.3 * a + 0.7 * b, a), (0.5 * a + 0.5 * b, a, b), (a, a, b), (b, a, a)],
        "point": [(a, a, a)],
    }
    points = np.random.default_rng(8).normal(size=(200, 3))
    for kind, all_of_them in corners.items():
        share = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0.0, 1.0)[:, None] if kind == "line" else 0.0
        expected = np.linalg.norm(points - (a + share * (b - a)), axis=1)
        for one in all_of_them:
            mesh = Mesh(np.array(one, np.float32), np.array([[0, 1, 2]], np.int32))
            np.testing.assert_allclose(TriangleTree(mesh).nearest(points).distances, expected, atol=1e-6)
