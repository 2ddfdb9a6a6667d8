"""Scenes: what files give, what a page holds, and how meshes get small."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from cv3d.errors import FormatError, InputError
from cv3d.formats.colmap_reconstruction import ReconstructedImage, Reconstruction, write_reconstruction
from cv3d.formats.cv3d_file import encode
from cv3d.formats.meshes import Up, up_of_cameras, write_mesh
from cv3d.formats.trajectories import write_trajectory
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.trajectory import Trajectory
from cv3d.reporting.scenes.gathering import gather
from cv3d.reporting.scenes.plotly_scene import MOST_TRIANGLES, draw, plotly_library
from cv3d.reporting.scenes.pyramids import pyramid_lines
from cv3d.reporting.scenes.scene import Scene, SceneCameras, SceneMesh, ScenePath, behind_cameras
from cv3d.reporting.scenes.thinning import thinned
from cv3d.reporting.view_page import view_page

CAMERA = Camera("pinhole", 64, 48, (60.0, 60.0, 31.5, 23.5))


def _wave(n: int) -> Mesh:
    x, y = np.meshgrid(np.linspace(0.0, 2.0, n), np.linspace(0.0, 1.0, n))
    vertices = np.stack([x, y, 0.1 * np.sin(4.0 * x)], -1).reshape(-1, 3).astype(np.float32)
    a = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).reshape(-1)
    triangles = np.concatenate([np.stack([a, a + 1, a + n], 1), np.stack([a + 1, a + n + 1, a + n], 1)])
    colors = np.broadcast_to(np.array([10, 200, 30], np.uint8), vertices.shape).copy()
    return Mesh(vertices, triangles.astype(np.int32), None, colors)


def _path(n: int = 9) -> Trajectory:
    poses = np.tile(np.eye(4), (n, 1, 1))
    poses[:, 0, 3] = np.linspace(0.0, 1.0, n)
    return Trajectory(np.arange(n) / 10.0, poses)


def _figure(script: str) -> dict[str, object]:
    found = re.search(r"const figure = (\{.*\});\nconst words", script, re.DOTALL)
    assert found is not None
    figure = json.loads(found[1].replace("<\\/", "</"))
    assert isinstance(figure, dict)
    return figure


def _unpacked(packed: dict[str, str]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["bdata"]), packed["dtype"])


def test_thinning_keeps_the_shape() -> None:
    mesh = _wave(301)
    small = thinned(mesh, 5000)
    assert 2000 < len(small.triangles) <= 5000
    assert np.abs(small.vertices[:, 2] - 0.1 * np.sin(4.0 * small.vertices[:, 0])).max() < 3e-3
    np.testing.assert_allclose(np.ptp(small.vertices, axis=0)[:2], (2.0, 1.0), atol=0.04)
    corners = small.vertices[small.triangles]
    crossed = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (crossed[:, 2] > 0.0).mean() > 0.99
    assert 0.5 * np.linalg.norm(crossed, axis=1).sum() == pytest.approx(2.07, abs=0.1)
    np.testing.assert_array_equal(small.colors, np.broadcast_to([10, 200, 30], small.vertices.shape))
    assert thinned(small, 5000) is small
    cloud = Mesh(mesh.vertices, np.zeros((0, 3), np.int32), None, mesh.colors)
    assert len(thinned(cloud, 1000).vertices) == 1000


def test_a_drawing_holds_the_scene() -> None:
    mesh, path = _wave(5), _path()
    scene = Scene(
        (
            SceneMesh("wave </script>", mesh),
            ScenePath("path", path.positions, path.times),
            SceneCameras("cameras", path.world_from_cam, (CAMERA,) * len(path)),
            SceneMesh("errors", mesh, np.arange(25, dtype=np.float32), "mm", 20.0, True),
        ),
        Up.PLUS_Z,
    )
    drawn = draw(scene, "space")
    assert not drawn.notes
    assert "</script>" not in drawn.script
    figure = _figure(drawn.script)
    kinds = [trace["type"] for trace in figure["data"]]  # type: ignore[index]
    assert kinds == ["mesh3d", "scatter3d", "scatter3d", "mesh3d"]
    wave, line, _, errors = figure["data"]  # type: ignore[misc]
    np.testing.assert_array_equal(_unpacked(wave["x"]), mesh.vertices[:, 0])
    np.testing.assert_array_equal(_unpacked(wave["k"]), mesh.triangles[:, 2])
    assert base64.b64decode(wave["vertexcolor"]["rgb"]) == mesh.colors.tobytes()  # type: ignore[union-attr]
    np.testing.assert_allclose(_unpacked(line["line"]["color"]), path.times, atol=1e-6)
    assert errors["visible"] == "legendonly"
    assert errors["cmax"] == 20.0
    assert figure["layout"]["scene"]["camera"]["up"] == {"x": 0.0, "y": 0.0, "z": 1.0}  # type: ignore[index]


def test_a_large_mesh_is_thinned_and_said_so() -> None:
    mesh = _wave(300)
    assert len(mesh.triangles) > MOST_TRIANGLES
    drawn = draw(Scene((SceneMesh("wave", mesh),)), "space")
    assert "thinned for this page from 178,802" in drawn.notes[0]
    assert len(_unpacked(_figure(drawn.script)["data"][0]["i"])) <= MOST_TRIANGLES  # type: ignore[index]


def test_a_page_needs_nothing_else() -> None:
    page, notes = view_page(Scene((SceneMesh("wave", _wave(5)),), notes=("Up is z.",)), "a <title>")
    assert not notes
    assert "a &lt;title&gt;" in page
    assert "default-src &#x27;none&#x27;" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page.replace(plotly_library(), ""))
    assert "25 vertices, 32 triangles" in page
    assert "Up is z." in page


def test_pyramids_are_the_view() -> None:
    pose = np.eye(4)
    pose[:3, 3] = (1.0, 2.0, 3.0)
    line = pyramid_lines(CAMERA, pose, 0.5)
    corner = line[1] - pose[:3, 3]
    np.testing.assert_allclose(CAMERA.project(corner[None])[0], (-0.5, -0.5), atol=1e-9)
    np.testing.assert_allclose(np.nanmax(line[:, 2]), 3.5)
    assert np.isnan(line).any()
    assert np.isfinite(pyramid_lines(None, pose, 0.5)[0]).all()


def test_up_is_as_cameras_are_held() -> None:
    upright = np.eye(4)[None]
    assert up_of_cameras(upright) is Up.MINUS_Y
    z_up = np.eye(4)
    z_up[:3, :3] = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    assert up_of_cameras(z_up[None]) is Up.PLUS_Z
    assert up_of_cameras(np.zeros((0, 4, 4))) is Up.MINUS_Y
    eye, target = behind_cameras(upright, np.array([[-1.0, -1.0, 1.0], [1.0, 1.0, 3.0]]))
    assert eye[2] < 0.0
    assert eye[1] < target[1]


def test_files_of_every_kind(tmp_path: Path) -> None:
    mesh, path = _wave(5), _path()
    write_mesh(tmp_path / "mesh.ply", mesh)
    write_trajectory(tmp_path / "path.tum", path)
    rig = Rig((RigCamera("left", CAMERA), RigCamera("right", CAMERA, np.eye(4))))
    (tmp_path / "rig.json").write_bytes(encode(Rig((RigCamera("left", CAMERA, np.eye(4)), rig.cameras[1]))))
    images = tuple(
        ReconstructedImage(f"{i}.jpg", 0, np.eye(4), np.zeros((0, 2)), np.zeros(0, np.intp)) for i in range(3)
    )
    model = Reconstruction((CAMERA,), images, np.ones((4, 3)), np.ones((4, 3), np.uint8), np.zeros(4))
    write_reconstruction(tmp_path / "model", model)
    scene = gather([tmp_path / "mesh.ply", tmp_path / "path.tum", tmp_path / "rig.json", tmp_path / "model"])
    assert [type(item).__name__ for item in scene.items] == [
        "SceneMesh",
        "ScenePath",
        "SceneCameras",
        "SceneCameras",
        "SceneMesh",
        "SceneCameras",
    ]
    assert scene.up is Up.MINUS_Y
    assert scene.eye is not None
    assert gather([tmp_path / "mesh.ply"], Up.PLUS_Z).up is Up.PLUS_Z
    assert "as the cameras are held" in scene.notes[0]


def test_a_folder_that_cv3d_wrote(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_mesh(out / "mesh.ply", _wave(5))
    write_mesh(out / "mesh.glb", _wave(5))
    write_trajectory(out / "trajectory.tum", _path())
    (out / "result.json").write_text('{"schema": "cv3d.fuse/1"}')
    assert [item.name for item in gather([out]).items] == ["mesh.ply", "trajectory.tum", "trajectory.tum, poses"]
    (out / "result.json").write_text("[]")
    with pytest.raises(FormatError, match="no result of cv3d"):
        gather([out])


def test_what_cannot_be_seen(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        gather([tmp_path / "nothing.ply"])
    (tmp_path / "notes.txt").write_text("hello there\n")
    with pytest.raises(FormatError, match="nothing to be seen in space"):
        gather([tmp_path / "notes.txt"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        gather([tmp_path / "empty"])


def test_rerun_gets_it_too(tmp_path: Path) -> None:
    rerun = pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    assert rerun is not None
    from cv3d.reporting.scenes.rerun_scene import show_in_rerun

    path = _path()
    items = (
        SceneMesh("wave", _wave(5)),
        ScenePath("a path, long", path.positions, path.times),
        SceneCameras("cameras", path.world_from_cam[:2], (CAMERA, None)),
    )
    show_in_rerun(Scene(items), "test", tmp_path / "scene.rrd")
    assert (tmp_path / "scene.rrd").stat().st_size > 1000
