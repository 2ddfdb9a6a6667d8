"""Points are expected where a plane facing their host would show them, and choosing some of them covers the picture."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.geometry.cameras import Camera
from cv3d.odometry.found import Found
from cv3d.odometry.keys import Key, inverse
from cv3d.odometry.patches import RADIUS, build_levels
from cv3d.odometry.points import MAPPED, PointTable
from cv3d.odometry.rays import RayTable
from cv3d.odometry.searching import Expected, expect, look, project, spread_out

from .simulated import CAMERAS, Texture, points_in_view, rigid, rounded

Floats = NDArray[np.float64]
HOST = rigid((0.05, 0.1, -0.02), (0.3, 0.0, -0.1))
LATER = rigid((0.02, -0.08, 0.15), (-0.25, 0.1, 0.4)) @ HOST
TEXTURE = Texture.random(1, count=20)
LEVELS = build_levels(rounded(TEXTURE.picture((640, 480))))


def key(number: int, cam_from_world: Floats) -> Key:
    found = Found.nothing()
    nothing = np.zeros(0)
    return Key(number, number, 0.1 * number, "", 0, cam_from_world, found.rows, found.pixels, found.covariance,
               nothing, nothing)  # fmt: skip


def mapped(camera: Camera, count: int = 150) -> tuple[PointTable, NDArray[np.int64], Floats]:
    """Points whose host is the first key frame; their rows and pixels there."""
    table = PointTable()
    seen, pixels = points_in_view(camera, count, 5, margin=60.0)
    rows = table.begin(pixels.astype(np.float32), LEVELS, RayTable(camera), host=0, frame=0, segment=0)
    table.kind[rows] = MAPPED
    table.xyz[rows] = seen @ inverse(HOST)[:3, :3].T + inverse(HOST)[:3, 3]
    return table, rows, pixels


@pytest.mark.parametrize("model", CAMERAS)
def test_in_the_host_itself_nothing_changes(model: str) -> None:
    table, rows, pixels = mapped(CAMERAS[model])
    expected = expect(table, rows, [key(0, HOST)], CAMERAS[model], HOST)
    assert np.array_equal(expected.rows, rows)
    assert np.abs(expected.pixels - pixels).max() < 0.01
    assert np.abs(expected.inverse_warps - np.eye(2)).max() < 0.05


@pytest.mark.parametrize("model", CAMERAS)
def test_warps_are_those_of_a_plane_that_faces_the_host(model: str) -> None:
    camera = CAMERAS[model]
    table, rows, _ = mapped(camera)
    expected = expect(table, rows, [key(0, HOST)], camera, LATER)
    assert len(expected.rows) > 0.6 * len(rows)
    truth, visible = project(camera, LATER, table.xyz[expected.rows])
    assert visible.all()
    assert np.abs(expected.pixels - truth).max() < 0.01
    in_host = table.xyz[expected.rows] @ HOST[:3, :3].T + HOST[:3, 3]
    host_pixels = camera.project(in_host)
    later_from_host = LATER @ inverse(HOST)
    normals = in_host / np.linalg.norm(in_host, axis=1, keepdims=True)
    for offset in ([1.0, 0.0], [0.0, 1.0], [-0.7, 0.7]):
        # Rays beside the point meet the plane; where do they lie in the later frame?
        beside = camera.unproject(host_pixels + np.array(offset))
        on_plane = beside * ((normals * in_host).sum(1) / (normals * beside).sum(1))[:, None]
        moved = camera.project(on_plane @ later_from_host[:3, :3].T + later_from_host[:3, 3]) - truth
        back = np.einsum("nij,nj->ni", expected.inverse_warps.astype(np.float64), moved)
        assert np.median(np.abs(back - offset)) < 0.03
        assert np.abs(back - offset).max() < 0.2


def test_points_out_of_view_are_not_expected() -> None:
    camera = CAMERAS["pinhole"]
    table, rows, _ = mapped(camera)
    away = rigid((0.0, np.pi, 0.0), (0.0, 0.0, 0.0)) @ HOST
    far = rigid((0.0, 0.0, 0.0), (0.0, 0.0, 60.0)) @ HOST
    for cam_from_world in (away, far):
        # Behind the camera; or too small to be compared.
        assert len(expect(table, rows, [key(0, HOST)], camera, cam_from_world).rows) == 0
    assert len(expect(table, rows[:0], [key(0, HOST)], camera, HOST).rows) == 0


def test_an_offset_moves_what_is_expected() -> None:
    camera = CAMERAS["pinhole"]
    table, rows, pixels = mapped(camera)
    offset = np.random.default_rng(0).normal(0.0, 3.0, (len(rows), 2))
    expected = expect(table, rows, [key(0, HOST)], camera, HOST, offset)
    assert np.abs(expected.pixels - pixels - offset).max() < 0.01


def test_every_point_is_seen_by_its_own_host() -> None:
    camera = CAMERAS["brown5"]
    table, rows, pixels = mapped(camera)
    keys = [key(0, LATER), key(1, HOST)]
    table.host[rows[::2]] = 1
    # The odd ones' host is elsewhere now, but where they are in a frame does not depend on it.
    expected = expect(table, rows, keys, camera, HOST)
    places = dict(zip(rows.tolist(), pixels, strict=True))
    truth = np.array([places[row] for row in expected.rows.tolist()])
    assert np.abs(expected.pixels - truth).max() < 0.01
    own = np.isin(expected.rows, rows[::2])
    assert np.abs(expected.inverse_warps[own] - np.eye(2)).max() < 0.05
    assert np.abs(expected.inverse_warps[~own] - np.eye(2)).max() > 0.05


def test_what_is_expected_is_found() -> None:
    camera = CAMERAS["pinhole"]
    table, rows, pixels = mapped(camera, 60)
    shift = np.array([1.7, -0.8])
    levels = build_levels(rounded(TEXTURE.picture((640, 480), shift=-shift)))
    expected = expect(table, rows, [key(0, HOST)], camera, HOST)
    found = look(table, expected, levels, 9)
    good = found.ncc > 0.9
    assert good.mean() > 0.9
    assert np.median(np.linalg.norm(found.pixels[good] - pixels[good] - shift, axis=1)) < 0.05
    assert np.array_equal(found.rows, rows)
    assert found.covariance.shape == (60, 3)
    both = expected[np.arange(5)].and_then(expected[np.arange(5, 9)])
    assert np.array_equal(look(table, both, levels, 3).pixels, look(table, expected, levels, 3).pixels[:9])
    assert isinstance(both, Expected)


def test_chosen_points_cover_the_picture() -> None:
    rng = np.random.default_rng(0)
    # Nine of ten crowd in a corner.
    crowd = rng.uniform(0.0, [120.0, 90.0], (900, 2))
    others = rng.uniform(0.0, [640.0, 480.0], (100, 2))
    pixels = np.concatenate([crowd, others]).astype(np.float32)
    first = np.zeros(1000, np.bool_)
    chosen = spread_out(pixels, first, 120, (640, 480))
    assert len(chosen) == 120
    assert (np.diff(chosen) > 0).all()
    assert (chosen >= 900).sum() > 60
    assert np.array_equal(chosen, spread_out(pixels, first, 120, (640, 480)))


def test_followed_points_are_preferred() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.uniform(0.0, [640.0, 480.0], (600, 2)).astype(np.float32)
    first = rng.random(600) < 0.15
    chosen = spread_out(pixels, first, 200, (640, 480))
    assert first[chosen].sum() == first.sum()
    # More of them than can be had: they alone.
    first = rng.random(600) < 0.6
    assert first[spread_out(pixels, first, 200, (640, 480))].all()


def test_few_points_are_all_chosen() -> None:
    pixels = np.zeros((5, 2), np.float32)
    assert spread_out(pixels, np.zeros(5, np.bool_), 5, (640, 480)).tolist() == [0, 1, 2, 3, 4]
    assert len(spread_out(pixels[:0], np.zeros(0, np.bool_), 5, (640, 480))) == 0


def test_patches_are_as_large_as_their_rays_say() -> None:
    camera = CAMERAS["pinhole"]
    table, rows, _ = mapped(camera)
    nearer = rigid((0.0, 0.0, 0.0), (0.0, 0.0, -1.0)) @ HOST
    expected = expect(table, rows, [key(0, HOST)], camera, nearer)
    depth = (table.xyz[expected.rows] @ HOST[:3, :3].T + HOST[:3, 3])[:, 2]
    size = 1.0 / np.sqrt(np.linalg.det(expected.inverse_warps.astype(np.float64)))
    assert np.abs(size / (depth / (depth - 1.0)) - 1.0).max() < 0.25
    assert RADIUS > 0
