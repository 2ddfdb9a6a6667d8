"""Cleaning: what is small goes, what is open is closed, and the rest stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from cv3d.errors import EstimationError, UsageError
from cv3d.fusion import VoxelGrid
from cv3d.fusion.cleaning import (
    fill_holes,
    parts_of,
    poisson,
    remove_small_parts,
    simplify,
    triangle_areas,
    with_triangles,
)
from cv3d.fusion.holes import border_loops
from cv3d.geometry.mesh import Mesh

from .scenes import RADIUS, around_sphere

CENTRE = np.array([0.3, -0.2, 0.1])


@pytest.fixture(scope="module")
def sphere() -> Mesh:
    with VoxelGrid(0.04) as grid:
        grid.integrate_batch(around_sphere(30))
        return grid.extract_mesh()


def with_hole(mesh: Mesh, radius: float) -> Mesh:
    """Without the triangles near the top."""
    top = CENTRE + np.array([0.0, 0.0, RADIUS])
    middle = mesh.vertices[mesh.triangles].mean(1)
    return Mesh(mesh.vertices, mesh.triangles[np.linalg.norm(middle - top, axis=1) > radius], mesh.normals, mesh.colors)


def test_small_parts_go(sphere: Mesh) -> None:
    speck = Mesh(np.eye(3, dtype=np.float32) * 0.1 + 5.0, np.array([[0, 1, 2]], np.int32))
    both = Mesh(
        np.concatenate([speck.vertices, sphere.vertices]), np.concatenate([speck.triangles, sphere.triangles + 3])
    )
    assert len(np.unique(parts_of(both))) == 2
    for limits in ({"min_triangles": 2}, {"min_area_m2": 0.1}, {"keep_largest": 1}):
        cleaned = remove_small_parts(both, **limits)
        np.testing.assert_array_equal(cleaned.vertices, sphere.vertices)
        np.testing.assert_array_equal(cleaned.triangles, sphere.triangles)
    assert len(remove_small_parts(both, min_triangles=1).triangles) == len(both.triangles)
    assert len(remove_small_parts(both, keep_largest=0).triangles) == 0
    with pytest.raises(UsageError):
        remove_small_parts(both, min_triangles=-1)


def test_a_hole_is_closed_up_to_its_size(sphere: Mesh) -> None:
    open_one = with_hole(sphere, 0.1)
    (loop,) = border_loops(open_one.triangles)
    assert len(loop) > 5
    assert fill_holes(open_one, 0.2) is open_one
    closed = fill_holes(open_one, 2.0)
    assert border_loops(closed.triangles) == []
    assert len(closed.vertices) == len(open_one.vertices) + 1
    a, b, c = closed.vertices[closed.triangles[len(open_one.triangles) :].T].astype(np.float64)
    assert np.cross(b - a, c - a).sum(0)[2] > 0.02, "the fan faces outside"
    assert closed.normals is not None
    assert closed.colors is not None
    assert closed.normals[-1, 2] > 0.95


def test_the_outline_of_a_sheet_is_no_hole() -> None:
    x, y = np.meshgrid(np.arange(5), np.arange(5))
    vertices = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1).astype(np.float32)
    corner = (np.arange(4)[:, None] * 5 + np.arange(4)).ravel()
    triangles = np.concatenate(
        [np.stack([corner, corner + 1, corner + 6], 1), np.stack([corner, corner + 6, corner + 5], 1)]
    ).astype(np.int32)
    sheet = Mesh(vertices, triangles)
    assert fill_holes(sheet, 100.0) is sheet
    pierced = Mesh(vertices, triangles[(triangles != 12).all(1)])
    filled = fill_holes(pierced, 100.0)
    assert triangle_areas(filled).sum() == pytest.approx(16.0)


@pytest.mark.slow
def test_open3d_simplifies_and_closes(sphere: Mesh) -> None:
    pytest.importorskip("open3d")
    simple = simplify(sphere, 500)
    assert len(simple.triangles) <= 510
    assert np.abs(np.linalg.norm(simple.vertices - CENTRE, axis=1) - RADIUS).max() < 0.03
    closed = poisson(with_hole(sphere, 0.1), 6, 0.0)
    assert border_loops(closed.triangles) == []
    assert np.abs(np.linalg.norm(closed.vertices - CENTRE, axis=1) - RADIUS).max() < 0.04
    assert closed.colors is not None


def test_what_cannot_be_is_refused(sphere: Mesh) -> None:
    with pytest.raises(UsageError):
        fill_holes(sphere, -1.0)
    with pytest.raises(UsageError):
        simplify(sphere, 0)
    with pytest.raises(EstimationError, match="normals"):
        poisson(Mesh(sphere.vertices, sphere.triangles))
    assert simplify(sphere, 10**6) is sphere


@pytest.mark.slow
def test_what_poisson_invents_far_from_every_point_goes(sphere: Mesh) -> None:
    pytest.importorskip("open3d")
    low = sphere.vertices[sphere.triangles][:, :, 2].max(1) < CENTRE[2]
    bowl = with_triangles(sphere, sphere.triangles[low])
    closed, kept = poisson(bowl, 6, 0.0), poisson(bowl, 6, max_gap_m=0.05)
    assert 0 < len(kept.triangles) < 0.8 * len(closed.triangles)
    gaps = np.linalg.norm(kept.vertices[:, None] - bowl.vertices[None], axis=2).min(1)
    assert gaps.max() <= 0.05 + 1e-6
