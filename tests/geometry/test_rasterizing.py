"""Depth of meshes as cameras see them."""

from __future__ import annotations

import numpy as np
import pytest

from cv3d.errors import InputError
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.rasterizing import render

CAMERA = Camera("pinhole", 64, 48, (60.0, 62.0, 30.5, 24.5))


def _plane(normal: np.ndarray, offset: float, reach: float) -> Mesh:
    """A square of side 2 reach of the plane normal . x = offset, about the point nearest to the origin."""
    u = np.cross(normal, [0.3, 0.9, 0.1])
    u /= np.linalg.norm(u)
    v = np.cross(normal, u)
    corners = [offset * normal + reach * (a * u + b * v) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return Mesh(np.array(corners, np.float32), np.array([[0, 1, 2], [0, 2, 3]], np.int32))


def _depth_of_plane(camera: Camera, normal: np.ndarray, offset: float) -> np.ndarray:
    rows, columns = np.mgrid[: camera.height, : camera.width]
    rays = camera.unproject(np.stack([columns, rows], -1).astype(np.float64))
    return offset / (rays @ normal) * rays[..., 2]


@pytest.mark.parametrize("normal", [(0.0, 0.0, 1.0), (0.3, -0.2, 0.93), (0.8, 0.1, 0.6)])
def test_a_plane_has_the_depth_of_its_equation(normal: tuple[float, float, float]) -> None:
    n = np.array(normal) / np.linalg.norm(normal)
    # So large that it reaches behind the camera, and has to be cut.
    seen = render(_plane(n, 2.0, 50.0), CAMERA, np.eye(4))
    expected = _depth_of_plane(CAMERA, n, 2.0)
    ahead = (expected > 0.02) & (expected < 30.0)
    np.testing.assert_allclose(seen.depth[ahead], expected[ahead], rtol=2e-5)
    assert (seen.triangle[ahead] >= 0).all()


def test_the_nearer_surface_hides_the_other() -> None:
    near, far = _plane(np.array([0.0, 0.0, 1.0]), 1.0, 0.2), _plane(np.array([0.0, 0.0, 1.0]), 2.0, 9.0)
    vertices = np.concatenate([far.vertices, near.vertices])
    both = Mesh(vertices, np.concatenate([near.triangles + 4, far.triangles]).astype(np.int32))
    seen = render(both, CAMERA, np.eye(4))
    assert seen.depth[24, 30] == pytest.approx(1.0)
    assert seen.triangle[24, 30] < 2
    assert seen.depth[2, 2] == pytest.approx(2.0)
    moved = np.eye(4)
    moved[2, 3] = 3.0
    np.testing.assert_allclose(render(both, CAMERA, moved).depth[24, 30], 4.0, rtol=1e-6)


def test_what_is_not_seen_is_zero() -> None:
    seen = render(_plane(np.array([0.0, 0.0, 1.0]), -2.0, 1.0), CAMERA, np.eye(4))
    assert not seen.depth.any()
    assert (seen.triangle == -1).all()
    with pytest.raises(InputError, match="point cloud"):
        render(Mesh(np.zeros((3, 3), np.float32), np.zeros((0, 3), np.int32)), CAMERA, np.eye(4))


def test_through_a_lens() -> None:
    lens = Camera("brown4", 64, 48, (60.0, 62.0, 30.5, 24.5, -0.15, 0.02, 0.001, -0.002))
    n = np.array([0.2, -0.1, 0.97]) / np.linalg.norm([0.2, -0.1, 0.97])
    seen = render(_plane(n, 2.0, 50.0), lens, np.eye(4))
    # Half a pixel of the slant.
    np.testing.assert_allclose(seen.depth, _depth_of_plane(lens, n, 2.0), rtol=3e-3)


def test_neighbours_leave_no_gap() -> None:
    x, y = np.meshgrid(np.linspace(-2, 2, 40), np.linspace(-2, 2, 40))
    vertices = np.stack([x, y, 2.0 + 0.1 * np.sin(5 * x)], -1).reshape(-1, 3).astype(np.float32)
    a = (np.arange(39)[:, None] * 40 + np.arange(39)).reshape(-1)
    triangles = np.concatenate([np.stack([a, a + 40, a + 1], 1), np.stack([a + 1, a + 40, a + 41], 1)])
    seen = render(Mesh(vertices, triangles.astype(np.int32)), CAMERA, np.eye(4))
    assert (seen.depth > 0).all()
