"""Depth maps of pictures become a surface: in any unit, without what single views invent, and open where none saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cv3d.errors import EstimationError, UsageError
from cv3d.evaluation.surface import SurfaceOptions, evaluate_surface
from cv3d.fusion.cleaning import parts_of
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.options import DepthNoise
from cv3d.fusion.smoothing import smoothed, vertex_normals
from cv3d.fusion.sources import PosedDepth
from cv3d.fusion.view_options import ViewSurfaceOptions
from cv3d.fusion.view_result import ViewSurface
from cv3d.fusion.view_scale import TYPICAL_M, look_at
from cv3d.fusion.view_surface import fuse_views, truncation_of
from cv3d.fusion.view_votes import Ballot
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.mesh import Mesh

from .rooms import corner, pictures, poses
from .scenes import around_sphere, looking_at, plane_depth

CAMERA = Camera("pinhole", 160, 120, (133.0, 133.0, 79.5, 59.5))
COUNT = 10
PLAIN = ViewSurfaceOptions(is_texturing=False)


def views(unit: float = 1.0, noise: float = 0.003, shift: tuple[float, float, float] = (0, 0, 0)) -> list[PosedDepth]:
    """Views of the corner, in a world whose unit is `1 / unit` metres, with noise that grows with the square of z."""
    rng = np.random.default_rng(2)
    result = []
    for i, place in enumerate(poses(COUNT)):
        depth, color = pictures(place, CAMERA)
        depth = depth + noise * depth**2 * rng.normal(size=depth.shape)
        moved = place.copy()
        moved[:3, 3] = unit * (moved[:3, 3] + shift)
        depth = np.where(depth > 0.0, unit * depth, 0.0).astype(np.float32)
        frame = DepthFrame(depth, color, CAMERA, inverse_rigid(moved), np.full(depth.shape, 0.8, np.float32))
        result.append(PosedDepth(i, float(i), f"v{i}", frame))
    return result


def in_metres(surface: ViewSurface, unit: float) -> Mesh:
    return replace(surface.mesh, vertices=surface.mesh.vertices / np.float32(unit))


def changed(one: PosedDepth, depth: np.ndarray, weight: np.ndarray | None = None) -> PosedDepth:
    return replace(one, frame=replace(one.frame, depth=depth, weight=one.frame.weight if weight is None else weight))


@pytest.fixture(scope="module")
def plain() -> ViewSurface:
    return fuse_views(views(), options=PLAIN)


def test_the_surface_is_the_true_one(plain: ViewSurface) -> None:
    found = evaluate_surface(plain.mesh, corner(), SurfaceOptions((0.01, 0.02), 20_000))
    assert found.scores[0].precision > 0.95
    assert found.scores[1].precision > 0.999
    assert np.median(found.to_reference) < 0.003
    assert len(plain.frames) == COUNT
    assert plain.is_noise_measured
    assert plain.mesh.colors is not None
    assert plain.mesh.normals is not None


@pytest.mark.parametrize("unit", [0.003, 400.0])
def test_the_unit_of_length_does_not_matter(plain: ViewSurface, unit: float) -> None:
    other = fuse_views(views(unit, shift=(0.0, 0.0, 0.0)), options=PLAIN)
    assert other.voxel / unit == pytest.approx(plain.voxel, rel=1e-3)
    assert other.noise / unit == pytest.approx(plain.noise, rel=1e-2)
    assert len(other.mesh.triangles) == pytest.approx(len(plain.mesh.triangles), rel=0.01)
    found = evaluate_surface(in_metres(other, unit), corner(), SurfaceOptions((0.02,), 20_000))
    assert found.scores[0].precision > 0.999


def test_the_noise_is_measured_by_how_maps_agree() -> None:
    for noise in (0.002, 0.006):
        statistics = look_at([one.frame for one in views(7.0, noise)])
        assert statistics.typical == pytest.approx(TYPICAL_M, rel=0.01)
        assert statistics.noise is not None
        # In the normalised world a metre is a part of one, and the noise is of z squared.
        typical_m = TYPICAL_M / statistics.scale.per_unit / 7.0
        expected = noise * typical_m**2 / typical_m * TYPICAL_M
        # Between pixels four depths are averaged, so that it comes out at up to a fifth less.
        assert 0.75 * expected < float(statistics.noise.sigma_m(TYPICAL_M)) < 1.15 * expected


def test_what_one_view_invents_goes(plain: ViewSurface) -> None:
    floating = views()
    for k in (2, 5, 8):
        depth = floating[k].frame.depth.copy()
        depth[30:60, 30 + 5 * k : 60 + 5 * k] *= 0.55
        floating[k] = changed(floating[k], depth)
    surface = fuse_views(floating, options=PLAIN)
    found = evaluate_surface(surface.mesh, corner(), SurfaceOptions((0.03,), 20_000))
    assert found.to_reference.max() < 0.06, "no floaters"
    assert found.scores[0].precision > 0.999
    back = evaluate_surface(surface.mesh, plain.mesh, SurfaceOptions((0.03,), 20_000))
    assert back.scores[0].recall > 0.98, "what others saw there stays"


def test_what_two_views_invent_goes_where_more_look_through() -> None:
    def with_patch(one: PosedDepth) -> PosedDepth:
        pose = one.frame.cam_from_world
        wall = plane_depth(pose, np.array([0.0, 0.0, 1.0]), 1.0, CAMERA)
        rows, columns = np.mgrid[:120, :160]
        rays = CAMERA.unproject(np.stack([columns, rows], -1).astype(np.float64))
        points = rays / rays[..., 2:] * wall[..., None] @ np.linalg.inv(pose)[:3, :3].T + np.linalg.inv(pose)[:3, 3]
        inside = (np.abs(points[..., :2] - [-0.2, -0.3]) < 0.2).all(-1)
        return changed(one, np.where(inside, wall, one.frame.depth).astype(np.float32))

    frames = views()
    for k in (3, 6):
        frames[k] = with_patch(frames[k])
    surface = fuse_views(frames, options=replace(PLAIN, min_views=2))
    assert surface.removed["seen through"] > 0.005
    found = evaluate_surface(surface.mesh, corner(), SurfaceOptions((0.03,), 20_000))
    assert found.scores[0].precision > 0.998


def test_what_no_view_measured_stays_open(plain: ViewSurface) -> None:
    """A mirror: the same place of the wall has no depth in any view."""
    frames = []
    for one in views():
        pose, depth = one.frame.cam_from_world, one.frame.depth
        rows, columns = np.mgrid[:120, :160]
        rays = CAMERA.unproject(np.stack([columns, rows], -1).astype(np.float64))
        points = (rays / rays[..., 2:] * depth[..., None] - pose[:3, 3]) @ pose[:3, :3]
        inside = (np.abs(points[..., :2] - [-0.4, -0.4]) < 0.25).all(-1) & (points[..., 2] > 1.9)
        frames.append(changed(one, np.where(inside, np.float32(0.0), depth)))
    surface = fuse_views(frames, options=PLAIN)
    middle = np.abs(surface.mesh.vertices[surface.mesh.triangles].mean(axis=1)[:, :2] - [-0.4, -0.4]).max(axis=1)
    before = np.abs(plain.mesh.vertices[plain.mesh.triangles].mean(axis=1)[:, :2] - [-0.4, -0.4]).max(axis=1)
    assert (before < 0.2).sum() > 200
    assert (middle < 0.2).sum() == 0


def test_a_wall_is_one_wall_whatever_the_poses_errors() -> None:
    """Maps that lie off each other by more than their own noise make no second wall."""
    frames = []
    for k in range(8):
        pose = looking_at(np.array([0.1 * k - 0.4, 0.0, 0.0]), np.array([0.0, 0.0, 2.0]))
        depth = plane_depth(pose, np.array([0.0, 0.0, 1.0]), 2.0 + 0.012 * (-1) ** k, CAMERA)
        color = np.full((*depth.shape, 3), 100, np.uint8)
        frames.append(PosedDepth(k, float(k), f"v{k}", DepthFrame(depth, color, CAMERA, pose)))
    mesh = fuse_views(frames, options=PLAIN).mesh
    assert parts_of(mesh).max() == 0
    middle = np.abs(mesh.vertices[mesh.triangles].mean(axis=1)[:, :2]).max(axis=1) < 0.5
    corners = mesh.vertices[mesh.triangles[middle]].astype(np.float64)
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
    assert area == pytest.approx(1.0, abs=0.1)
    assert np.abs(corners[..., 2] - 2.0).max() < 0.013


def test_maps_may_come_anew_each_time_and_of_several_sizes() -> None:
    frames = views()
    small = Camera("pinhole", 80, 60, (66.5, 66.5, 39.5, 29.5))
    depth, color = pictures(poses(COUNT)[4], small)
    frames[4] = replace(frames[4], frame=DepthFrame(depth, color, small, frames[4].frame.cam_from_world))
    rounds = []

    def anew() -> list[PosedDepth]:
        rounds.append(1)
        return frames

    surface = fuse_views(anew)
    assert len(rounds) >= 4
    assert surface.texture is not None
    held = fuse_views(frames)
    np.testing.assert_array_equal(surface.mesh.vertices, held.mesh.vertices)
    assert held.texture is not None
    np.testing.assert_array_equal(surface.texture.picture, held.texture.picture)
    content = surface.as_dict()
    assert content["triangles"] == len(surface.mesh.triangles)
    assert "depth maps" in str(surface)


def test_a_view_votes_for_what_it_sees_and_against_what_it_looks_through() -> None:
    sphere = around_sphere(1)[0]
    near = np.linalg.inv(sphere.cam_from_world) @ np.array([[0, 0, 0.5, 1], [0, 0, 0.9, 1], [0, 0, 1.5, 1]]).T
    towards = np.tile(-sphere.cam_from_world[2, :3], (3, 1)).astype(np.float32)
    mesh = Mesh(near.T[:, :3].astype(np.float32), np.array([[0, 1, 2]], np.int32), towards)
    ballot = Ballot(mesh, DepthNoise(0.002, 0.001), 0.0)
    ballot.ask(replace(sphere, weight=np.full(sphere.depth.shape, 0.5, np.float32)))
    assert ballot.votes.views.tolist() == [0, 1, 0]
    assert ballot.votes.support.tolist() == [0.0, 0.5, 0.0]
    assert ballot.votes.through.tolist() == [0.5, 0.0, 0.0], "what lies behind is hidden: no opinion"
    ballot = Ballot(replace(mesh, normals=-towards), DepthNoise(0.002, 0.001), 0.0)
    ballot.ask(sphere)
    assert ballot.votes.views.tolist() == [0, 0, 0], "a back is borne out by nobody"


def test_smoothing_takes_noise_and_leaves_size_and_border() -> None:
    rng = np.random.default_rng(0)
    side = 41
    x, y = np.meshgrid(np.linspace(-1.0, 1.0, side), np.linspace(-1.0, 1.0, side))
    z = 0.3 * (1.0 - x**2 - y**2)
    flat = np.stack([x, y, z], -1).reshape(-1, 3)
    noisy = (flat + rng.normal(0.0, 0.01, flat.shape)).astype(np.float32)
    place = np.arange(side * side).reshape(side, side)
    a, b, c, d = (part.ravel() for part in (place[:-1, :-1], place[:-1, 1:], place[1:, 1:], place[1:, :-1]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    after = smoothed(Mesh(noisy, triangles), 10)
    inner = place[3:-3, 3:-3].ravel()
    before_off, off = (m[inner, 2] - 0.3 * (1.0 - m[inner, 0] ** 2 - m[inner, 1] ** 2) for m in (noisy, after.vertices))
    assert off.std() < 0.6 * before_off.std()
    assert abs(off.mean()) < 0.002
    np.testing.assert_array_equal(after.vertices[place[0]], noisy[place[0]])
    clean = vertex_normals(flat.astype(np.float32), triangles)
    assert after.normals is not None
    assert (after.normals[inner] * clean[inner]).sum(1).mean() > 0.99


def test_without_depth_or_without_agreement_it_says_so() -> None:
    empty = [changed(one, np.zeros_like(one.frame.depth)) for one in views()]
    with pytest.raises(EstimationError, match="no depth"):
        fuse_views(empty, options=PLAIN)
    with pytest.raises(EstimationError, match="no depth"):
        fuse_views([], options=PLAIN)
    with pytest.raises(UsageError):
        ViewSurfaceOptions(voxel=0.0)


def test_a_single_map_is_a_surface() -> None:
    surface = fuse_views(views(noise=0.0)[:1], options=PLAIN)
    assert surface.min_views == 1
    assert not surface.is_noise_measured
    assert any("overlap" in warning for warning in surface.warnings)
    assert len(surface.mesh.triangles) > 1000


def test_a_far_background_does_not_swell_what_is_before_it() -> None:
    # However much of the pictures shows it: the two sides of a sheet stay apart where the background's noise is larger.
    rng = np.random.default_rng(0)
    noise, near, far = DepthNoise(1e-4, 0.003), rng.uniform(1.0, 2.5, (120, 160)), rng.uniform(15.0, 20.0, (120, 160))
    found = []
    for share in (0.0, 0.1, 0.3, 0.45):
        depth = np.where(np.arange(160) < share * 160, far, near).astype(np.float32)
        statistics = look_at([DepthFrame(depth, None, CAMERA, np.eye(4))])
        found.append(truncation_of(statistics, noise, 1e-3) / statistics.scale.per_unit)
        # At the typical depth of what is near, the noise finds room.
        assert found[-1] > 3.0 * noise.sigma_m(1.75 * statistics.scale.per_unit) / statistics.scale.per_unit
    assert max(found) < 3.0 * min(found)
