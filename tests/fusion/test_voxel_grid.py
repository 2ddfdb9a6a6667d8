"""The grid: what is fused comes out again, whatever the order, the threads and the memory."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cv3d.errors import FormatError, InputError, OutputError, UsageError
from cv3d.fusion import ConsistencyOptions, DepthFrame, DepthNoise, GridOptions, VoxelGrid, choose_voxel_m, surface_plan
from cv3d.fusion.holes import border_loops
from cv3d.fusion.layout import bytes_per_block
from cv3d.fusion.spilling import SpillFile
from cv3d.geometry.cameras import Camera
from cv3d.geometry.mesh import Mesh

from .scenes import CAMERA, COLOR, RADIUS, around_sphere, frame_of, looking_at, noisy_wall, plane_depth, sphere_depth

VOXEL = 0.02
CENTRE = np.array([0.3, -0.2, 0.1])


def fused(frames: list[DepthFrame], options: GridOptions | None = None, voxel: float = VOXEL) -> VoxelGrid:
    grid = VoxelGrid(voxel, options=options)
    grid.integrate_batch(frames)
    return grid


def one_by_one(frames: list[DepthFrame], options: GridOptions | None = None) -> VoxelGrid:
    grid = VoxelGrid(VOXEL, options=options)
    one_after_the_other(grid, frames)
    return grid


def one_after_the_other(grid: VoxelGrid, frames: list[DepthFrame]) -> None:
    for frame in frames:
        grid.integrate_batch([frame])


def assert_same(a: Mesh, b: Mesh) -> None:
    assert len(a.triangles) > 100
    for name in ("vertices", "triangles", "normals", "colors"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def side_counts(mesh: Mesh) -> np.ndarray:
    """How many triangles each side has."""
    sides = np.concatenate([mesh.triangles[:, [0, 1]], mesh.triangles[:, [1, 2]], mesh.triangles[:, [2, 0]]])
    return np.unique(np.sort(sides, 1), axis=0, return_counts=True)[1]


def test_a_sphere_is_closed_round_and_coloured() -> None:
    mesh = fused(around_sphere(30)).extract_mesh()
    assert (side_counts(mesh) == 2).all()
    # Euler's formula: the surface of one ball, without handles.
    assert len(mesh.vertices) - len(mesh.triangles) * 3 // 2 + len(mesh.triangles) == 2
    outward = mesh.vertices - CENTRE
    distance = np.linalg.norm(outward, axis=1)
    # A pixel is half a voxel there.
    assert np.abs(distance - RADIUS).max() < 0.4 * VOXEL
    assert np.median(np.abs(distance - RADIUS)) < 0.1 * VOXEL
    assert mesh.normals is not None
    assert mesh.colors is not None
    cosine = (mesh.normals * outward).sum(1) / distance
    assert cosine.min() > np.cos(np.radians(20.0))
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1.0, atol=1e-5)
    assert np.abs(mesh.colors.astype(int) - COLOR).max() <= 1
    a, b, c = mesh.vertices[mesh.triangles.T].astype(np.float64)
    facing = (np.cross(b - a, c - a) * (a - CENTRE)).sum(1)
    assert (facing >= 0.0).all(), "triangles are counter-clockwise seen from outside"


def test_a_plane_is_flat_and_without_cracks_across_blocks() -> None:
    pose = looking_at(np.array([0.03, 0.01, 0.0]), np.array([0.2, 0.1, 1.2]))
    normal = np.array([0.2, -0.1, 1.0]) / np.linalg.norm([0.2, -0.1, 1.0])
    depth = plane_depth(pose, normal, 1.1)
    grid = fused([frame_of(depth, pose)] * 3)
    mesh = grid.extract_mesh()
    assert np.abs(mesh.vertices @ normal - 1.1).max() < 0.05 * VOXEL
    # What has a triangle on one side only lies where the picture ends.
    border = mesh.vertices[np.concatenate(border_loops(mesh.triangles))]
    pixels = CAMERA.project(border.astype(np.float64) @ pose[:3, :3].T + pose[:3, 3])
    assert np.minimum(pixels, [159.0, 119.0] - pixels).min(1).max() < 8.0
    assert side_counts(mesh).max() == 2
    assert grid.block_count > 30


def test_noise_averages_out() -> None:
    rng = np.random.default_rng(1)
    pose = looking_at(np.zeros(3), np.array([0.0, 0.3, 1.0]))
    clean = plane_depth(pose, np.array([0.0, 0.0, 1.0]), 1.0)
    noisy = [frame_of(clean + rng.normal(0.0, 0.004, clean.shape).astype(np.float32), pose) for _ in range(16)]
    off = [np.abs(fused(noisy[:count]).extract_mesh(1).vertices[:, 2] - 1.0).mean() for count in (1, 16)]
    assert off[1] < 0.45 * off[0]
    assert abs(fused(noisy).extract_mesh().vertices[:, 2].mean() - 1.0) < 0.0005, "no side is preferred"


def test_a_batch_equals_its_frames_one_by_one() -> None:
    frames = noisy_wall(7)
    assert_same(fused(frames).extract_mesh(), one_by_one(frames).extract_mesh())


def test_threads_do_not_matter() -> None:
    frames = noisy_wall()
    one, two = (fused(frames, GridOptions(threads=threads)) for threads in (1, 2))
    assert_same(one.extract_mesh(), two.extract_mesh())
    seen = [grid.ray_cast(CAMERA, frames[2].cam_from_world) for grid in (one, two)]
    np.testing.assert_array_equal(seen[0].depth, seen[1].depth)


def test_taking_frames_away_gives_the_former_state() -> None:
    frames = noisy_wall(6)
    grid = fused(frames[:3])
    before = grid.extract_mesh()
    grid.integrate_batch(frames[3:])
    assert len(grid.extract_mesh().vertices) > len(before.vertices)
    for frame in frames[3:]:
        grid.deintegrate(frame.depth, frame.color, frame.camera, frame.cam_from_world)
    assert_same(before, grid.extract_mesh())
    assert grid.frame_count == 3


def test_a_frame_moves_to_its_corrected_pose() -> None:
    frames = noisy_wall(5)
    wrong = frames[4].cam_from_world.copy()
    wrong[:3, 3] += [0.1, 0.0, 0.2]
    grid = fused([*frames[:4], frames[4].moved(wrong)])
    grid.reintegrate(frames[4].moved(wrong), frames[4].cam_from_world)
    expected = fused(frames)
    got, wanted = grid.extract_mesh(), expected.extract_mesh()
    np.testing.assert_array_equal(got.triangles, wanted.triangles)
    np.testing.assert_allclose(got.vertices, wanted.vertices, atol=1e-6)


def test_a_weight_of_one_is_none_and_of_zero_nothing() -> None:
    frames = noisy_wall(4)
    ones = [replace(frame, weight=np.ones_like(frame.depth)) for frame in frames]
    assert_same(fused(frames).extract_mesh(), fused(ones).extract_mesh())
    cut = [replace(frame, depth=np.where(np.arange(160) < 80, frame.depth, np.float32(0.0))) for frame in frames]
    half = np.broadcast_to((np.arange(160) < 80).astype(np.float32), frames[0].depth.shape)
    assert_same(fused(cut).extract_mesh(), fused([replace(frame, weight=half) for frame in frames]).extract_mesh())


def test_the_surface_lies_where_the_weights_are() -> None:
    pose = looking_at(np.zeros(3), np.array([0.0, 0.0, 1.0]))
    walls = [frame_of(plane_depth(pose, np.array([0.0, 0.0, 1.0]), at), pose) for at in (1.0, 1.02)]
    for share in (0.1, 0.4, 0.8):
        weights = [np.full(walls[0].depth.shape, w, np.float32) for w in (share, 1.0 - share)]
        both = [replace(wall, weight=weight) for wall, weight in zip(walls, weights, strict=True)]
        place = np.median(fused(both).extract_mesh(1).vertices[:, 2])
        assert abs(place - (share + 1.02 * (1.0 - share))) < 0.001


def test_taking_weighted_frames_away_gives_the_former_state() -> None:
    rng = np.random.default_rng(3)
    frames = [replace(f, weight=rng.random(f.depth.shape).astype(np.float32)) for f in noisy_wall(5)]
    grid = fused(frames[:3])
    before = grid.extract_mesh()
    grid.integrate_batch(frames[3:])
    for frame in frames[3:]:
        grid.deintegrate(frame.depth, frame.color, frame.camera, frame.cam_from_world, frame.weight)
    assert_same(before, grid.extract_mesh())


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_weights_beyond_their_range_are_refused(value: float) -> None:
    frame = noisy_wall(1)[0]
    weight = np.full(frame.depth.shape, 0.5, np.float32)
    weight[3, 4] = value
    with pytest.raises(InputError, match="between 0 and 1"):
        replace(frame, weight=weight)
    with pytest.raises(InputError, match="size"):
        replace(frame, weight=weight[1:])


def test_a_lens_takes_its_weights_along() -> None:
    camera = Camera("brown5", 160, 120, (140.0, 141.0, 79.3, 60.1, -0.1, 0.02, 0.0, 0.0, 0.0))
    pose = looking_at(np.zeros(3), np.array([0.0, 0.0, 1.0]))
    weight = np.linspace(0.1, 1.0, 160 * 120, dtype=np.float32).reshape(120, 160)
    frame = DepthFrame(1.0 + weight, None, camera, pose, weight).undistorted()
    assert frame.weight is not None
    assert frame.weight[60, 79] == pytest.approx(weight[60, 79], abs=0.02)
    there = frame.depth > 0.0
    np.testing.assert_array_equal(frame.depth[there], 1.0 + frame.weight[there])


def test_saved_and_loaded_is_the_same_and_goes_on(tmp_path: Path) -> None:
    frames = noisy_wall(6)
    grid = fused(frames[:3])
    grid.save(tmp_path / "grid.npz")
    loaded = VoxelGrid.load(tmp_path / "grid.npz")
    assert_same(grid.extract_mesh(), loaded.extract_mesh())
    assert (loaded.voxel_m, loaded.truncation_m, loaded.frame_count) == (VOXEL, 4 * VOXEL, 3)
    grid.integrate_batch(frames[3:])
    loaded.integrate_batch(frames[3:])
    assert_same(grid.extract_mesh(), loaded.extract_mesh())


def test_merged_is_the_same_as_fused_together() -> None:
    frames = noisy_wall(6)
    options = GridOptions(is_carving=False)
    one, two = fused(frames[:3], options), fused(frames[3:], options)
    one.merge(two)
    assert_same(fused(frames, options).extract_mesh(), one.extract_mesh())
    assert one.frame_count == 6


def test_bounded_memory_gives_the_same_surface_and_leaves_nothing_behind(tmp_path: Path) -> None:
    frames = [frame for frame in around_sphere(10) for _ in range(2)] + noisy_wall(6)
    free = one_by_one(frames)
    most = bytes_per_block(True) * (free.block_count // 2)
    with one_by_one(frames, GridOptions(max_memory_bytes=most, spill_folder=tmp_path)) as bound:
        assert bound.spilled_count > 0
        assert bound.memory_bytes <= most
        assert len(list(tmp_path.iterdir())) == 1
        assert_same(free.extract_mesh(), bound.extract_mesh())
        views = [grid.ray_cast(CAMERA, frames[0].cam_from_world) for grid in (free, bound)]
        np.testing.assert_array_equal(views[0].depth, views[1].depth)
        bound.save(tmp_path / "grid.npz")
        assert_same(free.extract_mesh(), VoxelGrid.load(tmp_path / "grid.npz").extract_mesh())
    assert [path.name for path in tmp_path.iterdir()] == ["grid.npz"]


def test_the_surface_comes_in_pieces(tmp_path: Path) -> None:
    frames = noisy_wall(6) + around_sphere(12)
    whole = one_by_one(frames).extract_mesh()
    most = bytes_per_block(True) * (one_by_one(frames).block_count // 2)
    with (
        one_by_one(frames) as free,
        one_by_one(frames, GridOptions(max_memory_bytes=most, spill_folder=tmp_path)) as bound,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(surface_plan, "_GATHERED", 50)
        for grid in (free, bound):
            pieces = list(grid.mesh_pieces())
            assert len(pieces) > 3
            ends = np.cumsum([len(piece.vertices) for piece in pieces]).tolist()
            assert [piece.first_vertex for piece in pieces] == [0, *ends[:-1]]
            columns = [[getattr(p, name) for p in pieces] for name in ("vertices", "triangles", "normals", "colors")]
            assert_same(whole, Mesh(*(np.concatenate(column) for column in columns)))
    assert not list(VoxelGrid(VOXEL).mesh_pieces())


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = around_sphere(8)
    most = bytes_per_block(True) * (fused(frames).block_count * 2 // 3)
    grid = VoxelGrid(VOXEL, options=GridOptions(max_memory_bytes=most, spill_folder=tmp_path))
    written = SpillFile.write

    def full(self: SpillFile, *arguments: object) -> None:
        class Full:
            def seek(self, _: int) -> None: ...
            def write(self, _: object) -> int:
                raise OSError(errno.ENOSPC, "No space left on device")

        stream, self._stream = self._stream, Full()  # type: ignore[assignment]
        try:
            written(self, *arguments)  # type: ignore[arg-type]
        finally:
            self._stream = stream

    monkeypatch.setattr(SpillFile, "write", full)
    with grid:
        with pytest.raises(OutputError, match="No space left"):
            one_after_the_other(grid, frames)
        done = grid.frame_count
        assert 0 < done < len(frames)
        assert_same(one_by_one(frames[:done]).extract_mesh(1), grid.extract_mesh(1))
        monkeypatch.setattr(SpillFile, "write", written)
        grid.integrate_batch(frames[done:])
        assert_same(one_by_one(frames).extract_mesh(), grid.extract_mesh())


def test_too_little_memory_for_one_frame_is_said() -> None:
    grid = VoxelGrid(VOXEL, options=GridOptions(max_memory_bytes=3 * bytes_per_block(True)))
    with pytest.raises(UsageError, match="allow more"):
        grid.integrate_batch(noisy_wall(2))


def test_what_is_looked_through_is_carved() -> None:
    pose = looking_at(np.zeros(3), np.array([0.0, 0.1, 1.0]))
    wall = frame_of(plane_depth(pose, np.array([0.0, 0.0, 1.0]), 2.0), pose)
    ghost_depth = sphere_depth(pose, np.array([0.0, 0.1, 1.0]), 0.15)
    ghost = frame_of(np.where(ghost_depth > 0, ghost_depth, wall.depth), pose)
    seen = {}
    for is_carving in (True, False):
        grid = fused([ghost, ghost] + [wall] * 12, GridOptions(is_carving=is_carving))
        seen[is_carving] = int((grid.extract_mesh(2).vertices[:, 2] < 1.5).sum())
    assert seen[False] > 100
    assert seen[True] < 0.2 * seen[False]


def test_flying_pixels_and_edges_are_rejected() -> None:
    pose = looking_at(np.zeros(3), np.array([0.0, 0.1, 1.0]))
    near, far = (plane_depth(pose, np.array([0.0, 0.0, 1.0]), z) for z in (1.0, 2.0))
    depth = np.where(np.arange(160) < 80, near, far).astype(np.float32)
    depth[:, 80] = 1.5
    result = VoxelGrid(VOXEL).integrate(depth, None, CAMERA, pose)
    assert 120 <= result.rejected <= 3 * 120 + 300
    mesh = fused([replace(frame_of(depth, pose), color=None)] * 2).extract_mesh()
    assert not ((mesh.vertices[:, 2] > 1.1) & (mesh.vertices[:, 2] < 1.9)).any()


def test_inconsistent_depth_is_left_out() -> None:
    frames = noisy_wall(5)
    ghost = frames[2].depth.copy()
    ghost[40:80, 60:100] *= 0.7
    frames[2] = replace(frames[2], depth=ghost)
    kept = {}
    for consistency in (None, ConsistencyOptions()):
        grid = fused(frames, GridOptions(consistency=consistency, is_carving=False))
        kept[consistency] = int((grid.extract_mesh(1).vertices[:, 2] < 1.2).sum())
    assert kept[None] > 100
    assert kept[ConsistencyOptions()] < 0.1 * kept[None]


def test_a_distorted_camera_sees_the_same_sphere() -> None:
    camera = Camera("brown5", 160, 120, (140.0, 141.0, 79.3, 60.1, -0.15, 0.05, 0.001, -0.001, 0.0))
    frames = [
        frame_of(sphere_depth(frame.cam_from_world, CENTRE, camera=camera), frame.cam_from_world, camera)
        for frame in around_sphere()
    ]
    mesh = fused(frames).extract_mesh()
    off = np.abs(np.linalg.norm(mesh.vertices - CENTRE, axis=1) - RADIUS)
    assert np.percentile(off, 95) < 0.4 * VOXEL


def test_ray_casting_gives_the_depth_back() -> None:
    frames = around_sphere(20)
    grid = fused(frames)
    pose = looking_at(CENTRE + np.array([0.2, -1.1, 0.5]), CENTRE)
    seen = grid.ray_cast(CAMERA, pose)
    truth = sphere_depth(pose, CENTRE)
    both = (seen.depth > 0) & (truth > 0)
    assert both.sum() > 0.9 * (truth > 0).sum()
    assert ((seen.depth > 0) & (truth == 0)).sum() < 0.08 * (truth > 0).sum()
    assert np.median(np.abs(seen.depth - truth)[both]) < 0.2 * VOXEL
    points = (np.stack([*np.meshgrid(np.arange(160), np.arange(120))], -1) - [79.3, 60.1]) / [140.0, 141.0]
    points = np.dstack([points, np.ones((120, 160))]) * truth[..., None]
    outward = ((points - pose[:3, 3]) @ pose[:3, :3] - CENTRE) / RADIUS
    assert np.percentile((outward * seen.normals).sum(-1)[both], 5) > np.cos(np.radians(15.0))
    assert seen.color is not None
    assert np.abs(seen.color[both].astype(int) - COLOR).max() <= 1
    assert not VoxelGrid(VOXEL).ray_cast(CAMERA, pose).depth.any()


def test_far_from_the_origin_it_is_the_same_surface() -> None:
    far = np.array([400.0 * 8 * VOXEL, -900.0 * 8 * VOXEL, 7000.0 * 8 * VOXEL])
    frames = noisy_wall(3)
    moved = []
    for frame in frames:
        pose = frame.cam_from_world.copy()
        pose[:3, 3] -= pose[:3, :3] @ far
        moved.append(frame.moved(pose))
    here, there = fused(frames).extract_mesh(), fused(moved).extract_mesh()
    np.testing.assert_array_equal(here.triangles, there.triangles)
    np.testing.assert_allclose(here.vertices, there.vertices - far, atol=1e-4)


def test_frames_without_depth_change_nothing() -> None:
    grid = fused(noisy_wall(3))
    before = grid.extract_mesh()
    for nothing in (0.0, np.nan, np.inf, -1.0):
        depth = np.full((120, 160), nothing, np.float32)
        result = grid.integrate(depth, np.zeros((120, 160, 3), np.uint8), CAMERA, np.eye(4))
        assert not result.is_fused
    assert_same(before, grid.extract_mesh())
    assert len(VoxelGrid(VOXEL).extract_mesh().vertices) == 0


def test_points_are_the_vertices() -> None:
    grid = fused(noisy_wall(3))
    points = grid.extract_points()
    np.testing.assert_array_equal(points.vertices, grid.extract_mesh().vertices)
    assert not len(points.triangles)


def test_bad_input_is_refused(tmp_path: Path) -> None:
    depth, pose = np.ones((120, 160), np.float32), np.eye(4)
    broken = pose.copy()
    broken[0, 0] = np.nan
    skewed = pose.copy()
    skewed[0, 1] = 0.2
    for change in (
        {"depth": depth[:5]},
        {"depth": depth.astype(np.float64)},
        {"color": np.zeros((5, 5, 3), np.uint8)},
        {"cam_from_world": broken},
        {"cam_from_world": skewed},
    ):
        with pytest.raises(InputError):
            DepthFrame(**({"depth": depth, "color": None, "camera": CAMERA, "cam_from_world": pose} | change))
    for arguments in ((0.0,), (-1.0,), (np.nan,), (0.01, 0.01)):
        with pytest.raises(UsageError):
            VoxelGrid(*arguments)
    with pytest.raises(UsageError, match="too long"):
        VoxelGrid(0.001, options=GridOptions(max_depth_m=50.0))
    with pytest.raises(UsageError):
        VoxelGrid(0.01).extract_mesh(0)
    grid = fused(noisy_wall(2))
    with pytest.raises(InputError, match="colour"):
        grid.integrate(depth, None, CAMERA, pose)
    with pytest.raises(InputError, match="merged"):
        grid.merge(VoxelGrid(0.01))
    far = pose.copy()
    far[0, 3] = 1e9
    with pytest.raises(InputError, match="origin"):
        grid.integrate(depth, np.zeros((120, 160, 3), np.uint8), CAMERA, far)
    (tmp_path / "other.npz").write_bytes(b"PK no")
    np.savez(tmp_path / "alien.npz", a=np.zeros(3))
    for name in ("other.npz", "alien.npz", "absent.npz"):
        with pytest.raises(FormatError):
            VoxelGrid.load(tmp_path / name)


def test_the_voxel_follows_noise_and_range() -> None:
    camera = Camera("pinhole", 640, 480, (585.0, 585.0, 320.0, 240.0))
    sizes = [choose_voxel_m(DepthNoise(), depth, camera) for depth in (0.5, 1.0, 2.0, 4.0)]
    assert sizes == pytest.approx([0.005, 0.005, 0.01, 0.05])
    assert choose_voxel_m(DepthNoise(1e-4, 1e-5), 1.0, camera) == pytest.approx(0.002)
