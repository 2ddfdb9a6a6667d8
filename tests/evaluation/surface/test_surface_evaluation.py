"""Surfaces with known distances from each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cv3d.errors import EstimationError, InputError, UsageError
from cv3d.evaluation.surface import SurfaceOptions, SurfaceView, depth_errors, evaluate_surface, measure_names
from cv3d.evaluation.surface.alignment import SurfaceAlignment
from cv3d.evaluation.surface.sampling import sample_surface
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.rasterizing import render

CAMERA = Camera("pinhole", 80, 60, (70.0, 70.0, 39.5, 29.5))


def _grid(width: float, height: float, z: float, n: int = 21) -> Mesh:
    """A rectangle at a height, in x and y from 0."""
    x, y = np.meshgrid(np.linspace(0.0, width, n), np.linspace(0.0, height, n))
    vertices = np.stack([x, y, np.full_like(x, z)], -1).reshape(-1, 3).astype(np.float32)
    a = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).reshape(-1)
    triangles = np.concatenate([np.stack([a, a + 1, a + n], 1), np.stack([a + 1, a + n + 1, a + n], 1)])
    return Mesh(vertices, triangles.astype(np.int32))


def _box(size: tuple[float, float, float]) -> Mesh:
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], np.float32) * np.array(size)
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    triangles = [(a, b, c) for a, b, c, _ in quads] + [(a, c, d) for a, _, c, d in quads]
    return Mesh(corners.astype(np.float32), np.array(triangles, np.int32))


def test_samples_are_spread_by_area_and_the_same_every_time() -> None:
    box = _box((1.0, 2.0, 4.0))
    first, second = sample_surface(box, 30_000), sample_surface(box, 30_000)
    np.testing.assert_array_equal(first.points, second.points)
    assert first.normals is not None
    per_axis = [(np.abs(first.normals[:, axis]) > 0.9).mean() for axis in range(3)]
    np.testing.assert_allclose(per_axis, np.array([8.0, 4.0, 2.0]) / 14.0, atol=2e-4)
    top = first.points[first.normals[:, 2] > 0.9]
    np.testing.assert_allclose(top.mean(axis=0), [0.5, 1.0, 4.0], atol=0.01)
    # Even: every cell of a tenth of the face has its share.
    counts, *_ = np.histogram2d(top[:, 0], top[:, 1], bins=(5, 10), range=((0, 1), (0, 2)))
    assert counts.min() > 0.7 * counts.mean()


def test_parallel_planes() -> None:
    result = evaluate_surface(_grid(1.0, 1.0, 0.007), _grid(1.0, 1.0, 0.0), SurfaceOptions((0.005, 0.01), 5000))
    assert result.accuracy_m == pytest.approx(0.007, rel=1e-5)
    assert result.completeness_m == pytest.approx(0.007, rel=1e-5)
    assert result.chamfer_m == pytest.approx(0.007, rel=1e-5)
    assert [score.fscore for score in result.scores] == [0.0, 1.0]
    assert result.normal_consistency == pytest.approx(1.0)
    assert set(result.measures()) == set(measure_names((0.005, 0.01)))
    assert result.measures()["fscore_10mm"] == 1.0
    assert result.as_dict()["schema"] == "cv3d.evaluate_surface/1"
    assert "7 mm" in str(result)


def test_a_half_is_accurate_but_not_complete() -> None:
    result = evaluate_surface(_grid(0.5, 1.0, 0.0), _grid(1.0, 1.0, 0.0), SurfaceOptions((0.005, 0.1), 20_000))
    assert result.accuracy_m < 1e-6
    assert result.completeness_m == pytest.approx(0.125, rel=2e-3)
    near, wide = result.scores
    assert near.precision == 1.0
    assert near.recall == pytest.approx(0.505, abs=2e-3)
    assert wide.recall == pytest.approx(0.6, abs=2e-3)
    assert near.fscore == pytest.approx(2 * 0.505 / 1.505, abs=2e-3)


def test_only_what_frames_saw_is_compared() -> None:
    whole = _grid(4.0, 4.0, 0.0)
    seen = np.eye(4)
    seen[:3, 3] = (-1.0, -1.0, 1.5)
    view = SurfaceView(CAMERA, seen)
    depth = render(whole, CAMERA, seen).depth
    width, height = 80 / 70 * 1.5, 60 / 70 * 1.5
    part = _grid(2.0, 2.0, 0.0)
    options = SurfaceOptions((0.01,), 40_000)
    result = evaluate_surface(part, whole, options, views=[view])
    assert result.observed_share == pytest.approx(width * height / 16.0, rel=0.03)
    assert result.scores[0].recall == 1.0
    # Where nothing was measured, nothing is compared; a wall in front hides what is behind it.
    half = depth.copy()
    half[:, :40] = 0.0
    halved = evaluate_surface(part, whole, options, views=[replace(view, depth=half)])
    assert halved.observed_share == pytest.approx(0.5 * result.observed_share, rel=0.03)
    assert halved.depth is not None
    assert halved.depth.mean_abs_m < 1e-5
    wall = _grid(4.0, 4.0, -0.5)
    both = Mesh(
        np.concatenate([whole.vertices, wall.vertices]),
        np.concatenate([whole.triangles, wall.triangles + len(whole.vertices)]).astype(np.int32),
    )
    hidden = evaluate_surface(wall, both, options, views=[view])
    assert np.abs(hidden.reference_points[:, 2] + 0.5).max() < 1e-6
    with pytest.raises(InputError, match="see nothing"):
        evaluate_surface(part, whole, options, views=[SurfaceView(CAMERA, np.diag([1.0, -1.0, -1.0, 1.0]))])


def test_alignment_takes_out_a_small_motion() -> None:
    box = _box((1.0, 0.7, 0.5))
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec([0.02, -0.01, 0.03]).as_matrix()
    motion[:3, 3] = (0.01, -0.02, 0.015)
    moved = replace(box, vertices=(box.vertices @ motion[:3, :3].T + motion[:3, 3]).astype(np.float32))
    plain = SurfaceOptions((0.001,), 5000)
    assert evaluate_surface(moved, box, plain).chamfer_m > 0.005
    result = evaluate_surface(moved, box, replace(plain, alignment=SurfaceAlignment.SE3))
    assert result.chamfer_m < 1e-5
    np.testing.assert_allclose(result.reference_from_mesh @ motion, np.eye(4), atol=1e-5)
    with pytest.raises(EstimationError, match="slide"):
        evaluate_surface(_grid(1, 1, 0.001), _grid(1, 1, 0), replace(plain, alignment=SurfaceAlignment.SE3))
    far = replace(box, vertices=box.vertices + np.float32(9.0))
    with pytest.raises(EstimationError, match="within"):
        evaluate_surface(far, box, replace(plain, alignment=SurfaceAlignment.SE3))


def test_depth_errors() -> None:
    wall = _grid(8.0, 8.0, 0.0)
    cam_from_world = np.eye(4)
    cam_from_world[:3, 3] = (-4.0, -4.0, 2.0)
    depth = render(wall, CAMERA, cam_from_world).depth + np.float32(0.004)
    depth[:30] = 0.0
    depth[30:35] += np.float32(0.02)
    errors = depth_errors(wall, [SurfaceView(CAMERA, cam_from_world, depth)], (0.005, 0.03))
    assert errors.covered == 1.0
    assert errors.median_abs_m == pytest.approx(0.004, abs=1e-4)
    assert errors.within == {0.005: pytest.approx(25 / 30), 0.03: 1.0}
    assert errors.mean_abs_m == pytest.approx((25 * 0.004 + 5 * 0.024) / 30, rel=1e-3)
    assert errors.per_frame_m[0] == pytest.approx(0.004, abs=1e-5)
    with pytest.raises(InputError, match="has none"):
        depth_errors(wall, [SurfaceView(CAMERA, cam_from_world)])
    with pytest.raises(InputError, match="no frame has depth"):
        depth_errors(wall, [SurfaceView(CAMERA, cam_from_world, depth)], max_range_m=1.0)


def test_clouds_are_surfaces_too() -> None:
    cloud = replace(_grid(1.0, 1.0, 0.003), triangles=np.zeros((0, 3), np.int32))
    result = evaluate_surface(cloud, _grid(1.0, 1.0, 0.0), SurfaceOptions((0.005,), 2000))
    assert result.normal_consistency is None
    assert result.accuracy_m == pytest.approx(0.003, rel=1e-4)
    assert result.completeness_m > 0.015


def test_what_cannot_be_compared() -> None:
    good = _grid(1.0, 1.0, 0.0)
    with pytest.raises(InputError, match=r"a\.ply: is empty"):
        evaluate_surface(Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)), good, names=("a.ply", "b.ply"))
    with pytest.raises(InputError, match="no area"):
        evaluate_surface(replace(good, vertices=good.vertices * 0), good)
    with pytest.raises(InputError, match="not finite"):
        evaluate_surface(good, replace(good, vertices=good.vertices * np.float32(np.nan)))
    far = replace(good, vertices=good.vertices * np.float32(1000.0))
    assert "other units" in evaluate_surface(far, good, SurfaceOptions(samples=2000)).warnings[0]
    for bad in (
        {"thresholds_m": ()},
        {"thresholds_m": (-1.0,)},
        {"samples": 3},
        {"reach_m": 0.0},
        {"max_range_m": 0.0},
    ):
        with pytest.raises(UsageError):
            SurfaceOptions(**bad)  # type: ignore[arg-type]
