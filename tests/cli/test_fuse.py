"""`cv3d fuse` as a user meets it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cv3d.formats.meshes import read_mesh, write_mesh
from cv3d.formats.trajectories import read_trajectory
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.rasterizing import render

Cv3d = Callable[..., SimpleNamespace]
CAMERA = Camera("pinhole", 64, 48, (50.0, 50.0, 31.5, 23.5))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames before a wall with a step in it, in 7-Scenes' layout."""
    folder = tmp_path_factory.mktemp("recordings") / "wall"
    folder.mkdir()
    corners = [(-3, -3, 2), (0, -3, 2), (0, 3, 2), (-3, 3, 2), (0, -3, 1.7), (3, -3, 1.7), (3, 3, 1.7), (0, 3, 1.7)]
    triangles = [(0, 1, 2), (0, 2, 3), (4, 5, 6), (4, 6, 7), (1, 4, 7), (1, 7, 2)]
    wall = Mesh(np.array(corners, np.float32), np.array(triangles, np.int32))
    np.savetxt(folder / "camera-intrinsics.txt", CAMERA.matrix)
    for i in range(12):
        pose = np.eye(4)
        pose[0, 3] = -0.3 + 0.05 * i
        depth = render(wall, CAMERA, inverse_rigid(pose)).depth
        shade = (120.0 + 60.0 * np.sin(np.arange(64) / 5.0))[None, :, None].repeat(48, 0).repeat(3, 2)
        Image.fromarray(shade.astype(np.uint8)).save(folder / f"frame-{i:06d}.color.png")
        Image.fromarray(np.round(1000.0 * depth).astype(np.uint16)).save(folder / f"frame-{i:06d}.depth.png")
        np.savetxt(folder / f"frame-{i:06d}.pose.txt", pose)
    return folder


def test_a_folder_of_results(cv3d_main: Cv3d, recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("fuse", str(recording), "--voxel", "2cm", "--format", "ply,glb,obj", "-o", str(out))
    done = cv3d_main(*arguments, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result == json.loads((out / "result.json").read_text())
    assert sorted(result["files"]) == sorted(path.name for path in out.iterdir())
    assert result["schema"] == "cv3d.fuse/1"
    assert result["frames"] == 12
    assert result["voxel_m"] == 0.02
    assert result["poses_from"] == "recording"
    assert result["device"] == "cpu"
    assert set(result["ms_per_frame"]) == {"p50", "p95"}
    assert result["peak_memory_mb"] > 10
    assert 0.0 <= result["rejected_depth_fraction"] < 0.3
    meshes = [read_mesh(out / name) for name in ("mesh.ply", "mesh.glb", "mesh.obj")]
    for mesh in meshes:
        assert len(mesh.triangles) == result["triangles"]
        assert len(mesh.vertices) == result["vertices"]
        np.testing.assert_allclose(mesh.vertices.min(axis=0), result["bounds_m"][0], atol=1e-5)
    depth = meshes[0].vertices[:, 2]
    assert ((np.abs(depth - 2.0) < 0.004) | (np.abs(depth - 1.7) < 0.004)).mean() > 0.9
    assert len(read_trajectory(out / "trajectory.tum")) == 12
    page = (out / "report.html").read_text()
    assert "mesh3d" in page
    assert "Coverage" in page
    # The same again is done already; other options are not put over it.
    again = cv3d_main(*arguments)
    assert again.code == 0
    assert "nothing to do" in again.out
    other = cv3d_main("fuse", str(recording), "--voxel", "3cm", "-o", str(out))
    assert other.code == 1
    assert "--overwrite" in other.err
    done = cv3d_main("fuse", str(recording), "--voxel", "3cm", "-o", str(out), "--overwrite")
    assert done.code == 0
    assert "12 frames" in done.out
    assert not (out / "mesh.glb").exists()


def test_poses_of_a_file_and_their_scale(cv3d_main: Cv3d, recording: Path, tmp_path: Path) -> None:
    lines = [f"{i / 30.0:.6f} {1000.0 * (-0.3 + 0.05 * i):.3f} 0 0 0 0 0 1" for i in range(12) if i != 5]
    (tmp_path / "path.tum").write_text("\n".join(lines) + "\n")
    base = ("fuse", str(recording), "--trajectory", str(tmp_path / "path.tum"), "--voxel", "2cm")
    asked = cv3d_main(*base, "-o", str(tmp_path / "a"))
    assert asked.code == 1
    assert "millimetres?" in asked.err
    done = cv3d_main(*base, "--pose-scale", "0.001", "-o", str(tmp_path / "b"), "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["poses_from"] == "file"
    assert [one["index"] for one in result["dropped"]] == [5]
    assert result["dropped"][0]["reason"] == "no pose"


def test_interruption_writes_what_is_fused(
    cv3d_main: Cv3d, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cv3d.fusion.grid import VoxelGrid

    fine, calls = VoxelGrid.integrate_batch, []

    def interrupted(grid: VoxelGrid, frames: list[object]) -> object:
        calls.append(len(frames))
        if len(calls) > 1:
            raise KeyboardInterrupt
        return fine(grid, frames)  # type: ignore[arg-type]

    monkeypatch.setattr(VoxelGrid, "integrate_batch", interrupted)
    out = tmp_path / "out"
    done = cv3d_main("fuse", str(recording), "--voxel", "2cm", "-o", str(out))
    assert done.code == 130
    assert "8 frames were fused" in done.err
    assert len(read_mesh(out / "mesh.ply").triangles)
    assert json.loads((out / "result.json").read_text())["interrupted"]
    # It is not taken for done.
    monkeypatch.undo()
    done = cv3d_main("fuse", str(recording), "--voxel", "2cm", "-o", str(out), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["frames"] == 12


def test_failures(cv3d_main: Cv3d, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = ("-o", str(tmp_path / "out"))
    for wrong in (
        ("--voxel", "big"),
        ("--range", "-1m"),
        ("--format", "stl"),
        ("--max-memory", "much"),
        ("--texture",),
    ):
        assert cv3d_main("fuse", str(recording), *wrong, *out).code == 2, wrong
    assert cv3d_main("fuse", str(recording), "-o", str(recording)).code == 2
    missing = cv3d_main("fuse", str(tmp_path / "nothing"), *out)
    assert missing.code == 1
    assert "nothing" in missing.err
    monkeypatch.setitem(sys.modules, "pxr.Gf", None)
    unpacked = cv3d_main("fuse", str(recording), "--format", "usdz", *out)
    assert unpacked.code == 1
    assert "pip install 'cv3d[usd]'" in unpacked.err


def test_clouds_need_poses(cv3d_main: Cv3d, tmp_path: Path) -> None:
    cloud = Mesh(np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32), np.zeros((0, 3), np.int32))
    for i in range(2):
        write_mesh(tmp_path / "scans" / f"{i}.ply", cloud)
    done = cv3d_main("fuse", str(tmp_path / "scans"), "-o", str(tmp_path / "out"))
    assert done.code == 1
    assert "--trajectory" in done.err
