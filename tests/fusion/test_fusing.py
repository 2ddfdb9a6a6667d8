"""A recording becomes a surface: poses from wherever, bad frames left out, nothing lost when it ends early."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cv3d.errors import EstimationError, InputError, OutputError, UsageError
from cv3d.evaluation.surface import SurfaceOptions as EvaluationOptions
from cv3d.evaluation.surface import SurfaceView, evaluate_surface
from cv3d.fusion import VoxelGrid
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.fusing import fuse
from cv3d.fusion.job import DiskFullError, FuseOptions, fuse_frames
from cv3d.fusion.refining import refined
from cv3d.fusion.result import FusionResult, PosesFrom
from cv3d.fusion.sources import Dropped, PosedDepth
from cv3d.fusion.surfacing import SurfaceOptions
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.trajectory import Trajectory

from .rooms import CAMERA, corner, pictures, poses, write_recording

COUNT = 12
OPTIONS = FuseOptions(voxel_m=0.02)


def _frames(world_from_cam: np.ndarray) -> list[PosedDepth]:
    """Frames of the true places, said to be at others."""
    result = []
    for i, (place, said) in enumerate(zip(poses(len(world_from_cam)), world_from_cam, strict=True)):
        depth, color = pictures(place)
        result.append(PosedDepth(i, i / 30.0, f"f{i}", DepthFrame(depth, color, CAMERA, inverse_rigid(said))))
    return result


def _fused(frames: list[PosedDepth | Dropped] | Iterator[PosedDepth], options: FuseOptions = OPTIONS) -> FusionResult:
    return fuse_frames(frames, poses_from=PosesFrom.FILE, options=options, name="room")


def _fscore(result: FusionResult) -> float:
    views = [SurfaceView(CAMERA, inverse_rigid(place), pictures(place)[0]) for place in poses(COUNT)]
    return evaluate_surface(result.mesh, corner(), EvaluationOptions((0.01,), 20_000), views=views).scores[0].fscore


def _wild(*indices: int) -> np.ndarray:
    places = poses(COUNT)
    for i in indices:
        places[i, :3, :3] = Rotation.from_euler("z", 30.0, degrees=True).as_matrix() @ places[i, :3, :3]
        places[i, :3, 3] += (0.4, 0.2, -0.3)
    return places


def test_the_surface_is_where_it_was() -> None:
    result = _fused(_frames(poses(COUNT)))
    assert len(result.frames) == COUNT
    assert not result.dropped
    assert _fscore(result) > 0.92
    assert result.mesh.colors is not None
    assert result.mesh.normals is not None
    assert result.up.value == "-y"
    np.testing.assert_allclose(result.trajectory.world_from_cam, poses(COUNT), atol=1e-9)
    plain = result.as_dict()
    wanted = "schema frames voxel_m blocks vertices triangles ms_per_frame peak_memory_mb bounds_m"
    assert {*wanted.split(), "rejected_depth_fraction", "device"} <= plain.keys()
    assert result.frames[0].measured > 0.75
    assert 0.0 < result.frames[0].used <= result.frames[0].measured
    again = _fused(_frames(poses(COUNT)))
    np.testing.assert_array_equal(again.mesh.vertices, result.mesh.vertices)
    np.testing.assert_array_equal(again.mesh.colors, result.mesh.colors)


@pytest.mark.parametrize(
    "wild", [(0,), pytest.param((5,), marks=pytest.mark.slow), pytest.param((9,), marks=pytest.mark.slow), (2, 10)]
)
def test_a_wild_pose_is_left_out(wild: tuple[int, ...]) -> None:
    result = _fused(_frames(_wild(*wild)))
    assert [one.index for one in result.dropped] == list(wild)
    assert {one.reason for one in result.dropped} == {"its pose contradicts the model"}
    assert _fscore(result) > 0.91
    assert not _fused(_frames(_wild(*wild)), replace(OPTIONS, is_judging=False)).dropped
    assert "contradicts the model" in str(result)


def test_a_recording_with_its_own_poses_and_with_others(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "room", poses(COUNT))
    (folder / "frame-000004.pose.txt").unlink()
    own = fuse(folder, options=OPTIONS)
    assert own.poses_from is PosesFrom.RECORDING
    assert [(one.index, one.reason) for one in own.dropped] == [(4, "no pose")]
    turned = np.tile(np.eye(4), (COUNT, 1, 1))
    turned[:, :3, :3] = Rotation.from_euler("x", -90.0, degrees=True).as_matrix()
    given = fuse(folder, trajectory=Trajectory(np.arange(COUNT) / 30.0, turned @ poses(COUNT)), options=OPTIONS)
    assert given.poses_from is PosesFrom.FILE
    assert given.up.value == "z"
    assert len(given.frames) == COUNT
    sizes = own.bounds_m[1] - own.bounds_m[0], given.bounds_m[1] - given.bounds_m[0]
    np.testing.assert_allclose(sizes[0], sizes[1][[0, 2, 1]], atol=0.06)
    auto = fuse(folder, options=FuseOptions())
    assert auto.is_voxel_chosen
    assert 0.002 <= auto.voxel_m <= 0.05
    assert "chosen from" in str(auto)


def test_interruption_keeps_what_is_fused() -> None:
    def until(count: int) -> Iterator[PosedDepth]:
        yield from _frames(poses(COUNT + 12))[:count]
        raise KeyboardInterrupt

    result = _fused(until(COUNT + 11))
    assert result.interrupted
    assert len(result.frames) == 16
    assert len(result.mesh.triangles)
    with pytest.raises(KeyboardInterrupt):
        _fused(until(3))


def test_a_full_disk_keeps_what_is_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    fine, calls = VoxelGrid.integrate_batch, []

    def full(grid: VoxelGrid, frames: list[DepthFrame]) -> object:
        calls.append(len(frames))
        if len(calls) > 1:
            raise OutputError("/tmp/x: cannot be written: No space left on device")
        return fine(grid, frames)

    monkeypatch.setattr(VoxelGrid, "integrate_batch", full)
    with pytest.raises(DiskFullError, match=r"No space left on device; 8 frames were fused") as caught:
        _fused(_frames(poses(COUNT)))
    assert len(caught.value.partial.frames) == 8
    assert len(caught.value.partial.mesh.triangles)


def test_depth_that_is_none() -> None:
    frames = _frames(poses(4))
    empty = [replace(one, frame=replace(one.frame, depth=0.0 * one.frame.depth)) for one in frames]
    with pytest.raises(EstimationError, match="of 4 frames 4 have no depth within 4 m"):
        _fused(empty)
    with pytest.raises(EstimationError, match="have no pose"):
        _fused([Dropped(i, f"f{i}", "no pose") for i in range(3)])
    far = [replace(one, frame=replace(one.frame, depth=one.frame.depth * np.float32(1000.0))) for one in frames]
    with pytest.raises(InputError, match="other units"):
        _fused(far)
    some = _fused([*empty[:2], *frames[2:]])
    assert [one.reason for one in some.dropped] == ["no depth within 4 m"] * 2
    assert len(some.frames) == 2


def test_a_recording_without_depth_or_of_other_units(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "room", poses(4))
    large = poses(4)
    large[:, :3, 3] *= 1000.0
    with pytest.raises(InputError, match="millimetres"):
        fuse(folder, trajectory=Trajectory(np.arange(4) / 30.0, large), options=OPTIONS)
    scaled = fuse(folder, trajectory=Trajectory(np.arange(4) / 30.0, large), pose_scale=0.001, options=OPTIONS)
    assert len(scaled.frames) == 4
    for path in folder.glob("*.depth.png"):
        path.unlink()
    with pytest.raises(InputError, match="has no depth"):
        fuse(folder, options=OPTIONS)
    for bad in ({"voxel_m": -1.0}, {"range_m": 0.0}, {"every": 0}):
        with pytest.raises(UsageError):
            FuseOptions(**bad)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        SurfaceOptions(min_observations=0)


def test_a_pose_is_fitted_to_the_model() -> None:
    with VoxelGrid(0.02) as grid:
        grid.integrate_batch([one.frame for one in _frames(poses(COUNT))[:8]])
        for index in (2, 6, 9):
            place = poses(COUNT)[index]
            off = np.eye(4)
            off[:3, :3] = Rotation.from_rotvec([0.01, -0.015, 0.01]).as_matrix()
            off[:3, 3] = (0.015, -0.01, 0.02)
            depth, color = pictures(place)
            frame = DepthFrame(depth, color, CAMERA, inverse_rigid(place @ off))
            left = inverse_rigid(place) @ inverse_rigid(refined(frame, grid).cam_from_world)
            assert np.linalg.norm(left[:3, 3]) < 0.12 * np.linalg.norm(off[:3, 3])
            assert np.linalg.norm(Rotation.from_matrix(left[:3, :3]).as_rotvec()) < 0.006
        far = np.eye(4)
        far[:3, 3] = (0.0, 0.0, -30.0)
        lost = DepthFrame(depth, color, CAMERA, far)
        assert refined(lost, grid) is lost


@pytest.mark.slow
def test_a_real_recording_without_poses(data_root: Path, tmp_path: Path) -> None:
    source = data_root / "rgbd" / "seven_scenes"
    if not source.is_dir():
        pytest.skip("no rgbd/seven_scenes")
    (tmp_path / "room").mkdir()
    for path in sorted(source.iterdir()):
        number = path.name.split("-")[1].split(".")[0] if path.name.startswith("frame-") else ""
        if not path.name.endswith(".pose.txt") and (not number or int(number) < 60):
            (tmp_path / "room" / path.name).symlink_to(path)
    options = FuseOptions(voxel_m=0.01)
    found = fuse(tmp_path / "room", options=options)
    assert found.poses_from is PosesFrom.ODOMETRY
    assert len(found.frames) > 50
    own = fuse(source, options=replace(options, every=4))
    assert own.poses_from is PosesFrom.RECORDING
    assert not [one for one in own.dropped if "contradicts" in one.reason]
    np.testing.assert_allclose(np.sort(found.bounds_m[1] - found.bounds_m[0])[-1], 3.5, atol=1.0)
