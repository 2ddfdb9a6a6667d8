"""A baked texture looks like the pictures that it was baked from."""

from __future__ import annotations

import numpy as np

from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.texturing import TextureOptions, ViewKeeper, bake
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.rasterizing import render
from cv3d.geometry.texture import Texture

from .rooms import CAMERA, corner, pictures, poses


def divided(mesh: Mesh, times: int) -> Mesh:
    """Every triangle cut into four, again and again, with the normals of the whole."""
    vertices, triangles = mesh.vertices.astype(np.float64), mesh.triangles
    for _ in range(times):
        corners = vertices[triangles]
        a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
        ab, bc, ca = 0.5 * (a + b), 0.5 * (b + c), 0.5 * (c + a)
        pieces = np.stack([np.stack(p, 1) for p in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))], 1)
        vertices = pieces.reshape(-1, 3)
        triangles = np.arange(len(vertices), dtype=np.int32).reshape(-1, 3)
    return Mesh(vertices.astype(np.float32), triangles)


def seen_with_texture(mesh: Mesh, texture: Texture, camera: Camera, world_from_cam: np.ndarray) -> np.ndarray:
    """The picture that a camera has of a textured mesh, (h, w, 3); black where there is nothing."""
    seen = render(mesh, camera, inverse_rigid(world_from_cam))
    rows, columns = np.nonzero(seen.triangle >= 0)
    rays = camera.unproject(np.stack([columns, rows], -1).astype(np.float64))
    points = rays / rays[:, 2:] * seen.depth[rows, columns][:, None]
    points = points @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
    which = seen.triangle[rows, columns]
    a, b, c = (mesh.vertices[mesh.triangles[which, k]].astype(np.float64) for k in range(3))
    normal = np.cross(b - a, c - a)
    area = (normal**2).sum(axis=1)
    of_b = (np.cross(points - a, c - a) * normal).sum(axis=1) / area
    of_c = (np.cross(b - a, points - a) * normal).sum(axis=1) / area
    places = texture.corners[which]
    share = np.stack([1.0 - of_b - of_c, of_b, of_c], axis=1).clip(0.0, 1.0)
    u, v = (share[:, :, None] * places).sum(axis=1).T
    height, width = texture.picture.shape[:2]
    out = np.zeros((camera.height, camera.width, 3), np.uint8)
    at = (
        np.rint(v * height - 0.5).astype(int).clip(0, height - 1),
        np.rint(u * width - 0.5).astype(int).clip(0, width - 1),
    )
    out[rows, columns] = texture.picture[at]
    return out


def _views() -> list[DepthFrame]:
    return [DepthFrame(*pictures(place), CAMERA, inverse_rigid(place)) for place in poses(7)]


def test_a_textured_surface_looks_like_the_pictures() -> None:
    mesh = divided(corner(), 4)
    texture = bake(mesh, _views(), 0.02)
    assert max(texture.picture.shape[:2]) <= 8192
    assert texture.corners.min() > 0.0
    assert texture.corners.max() < 1.0
    # From between two of the views.
    between = poses(13)[5]
    depth, expected = pictures(between)
    got = seen_with_texture(mesh, texture, CAMERA, between)
    errors = np.abs(got.astype(int) - expected)[depth > 0.0].max(axis=1)
    shifted = np.abs(got.astype(int) - np.roll(expected, 2, axis=1))[depth > 0.0].max(axis=1)
    assert np.median(errors) < 18
    assert np.median(errors) < 0.5 * np.median(shifted)
    assert (errors < 60).mean() > 0.93


def test_what_no_view_sees_has_the_vertices_colours() -> None:
    mesh = divided(corner(), 3)
    mesh = Mesh(mesh.vertices, mesh.triangles, None, np.full(mesh.vertices.shape, (10, 20, 30), np.uint8))
    away = np.eye(4)
    away[:3, :3] = np.diag([-1.0, 1.0, -1.0])
    view = DepthFrame(np.ones((72, 96), np.float32), np.full((72, 96, 3), 200, np.uint8), CAMERA, away)
    texture = bake(mesh, [view], 0.02, TextureOptions(max_side=2048))
    place = poses(3)[1]
    got = seen_with_texture(mesh, texture, CAMERA, place)
    assert (got[pictures(place)[0] > 0.0] == (10, 20, 30)).all()


def test_views_are_kept_few_and_far_apart() -> None:
    keeper = ViewKeeper(TextureOptions(max_views=4))
    for view in _views():
        keeper.offer(view)
        keeper.offer(view)
    assert 2 <= len(keeper.views) <= 4
    keeper.offer(DepthFrame(_views()[0].depth, None, CAMERA, np.eye(4)))
    assert all(view.color is not None for view in keeper.views)
