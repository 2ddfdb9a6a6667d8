"""From pictures to a surface: what is kept, what is done anew, and, on the rendered clip, how true it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cv3d.compute import Compute
from cv3d.depth.options import DepthOptions
from cv3d.depth.result import DepthResult
from cv3d.errors import EstimationError
from cv3d.formats.meshes import read_mesh
from cv3d.fusion.view_options import ViewSurfaceOptions
from cv3d.geometry.alignment import umeyama
from cv3d.geometry.triangle_tree import TriangleTree
from cv3d.mapping.options import MapOptions
from cv3d.mapping.scene import Scene
from cv3d.reconstruction import ReconstructOptions, Stage, reconstruct, running
from cv3d.reconstruction.posing import posed_set

from ..simulated_scene import oriented_only, simulated_scene

CPU = Compute.choose("cpu")


class Parts:
    """Stands for the mapping, the depth and the fusion: counts their calls."""

    def __init__(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scene = scene
        self.failure: BaseException | None = None
        self.calls: list[str] = []
        monkeypatch.setattr(running, "place_pictures", self._placed)
        monkeypatch.setattr(running, "depth_maps", self._depth)
        monkeypatch.setattr(running, "fuse_views", self._surface)

    def _placed(self, *arguments: Any, options: MapOptions, **named: Any) -> Scene:
        self.calls.append(f"poses to {options.to_stage}")
        return self.scene

    def _depth(self, *arguments: Any, **named: Any) -> DepthResult:
        self.calls.append("depth")
        if self.failure is not None:
            raise self.failure
        return DepthResult(())

    def _surface(self, *arguments: Any, **named: Any) -> Any:
        self.calls.append("surface")
        raise EstimationError("the maps fit together nowhere")


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    return Parts(simulated_scene(tmp_path / "pictures", (6,)), monkeypatch)


def run(tmp_path: Path, **options: Any) -> Any:
    return reconstruct(tmp_path / "pictures", tmp_path / "out", options=ReconstructOptions(**options), compute=CPU)


def test_poses_are_kept_for_the_stages_after_them(parts: Parts, tmp_path: Path) -> None:
    first = run(tmp_path)
    assert parts.calls == ["poses to poses", "depth", "surface"]
    again = run(tmp_path)
    assert parts.calls[3:] == ["depth", "surface"]
    assert np.array_equal(first.models[0].points, again.models[0].points)
    assert any("no surface: the maps fit together nowhere" in warning for warning in again.warnings)
    run(tmp_path, from_stage=Stage.POSES)
    run(tmp_path, mapping=MapOptions(seed=9))
    assert parts.calls[5:] == ["poses to poses", "depth", "surface"] * 2


def test_a_changed_picture_is_another_scene(parts: Parts, tmp_path: Path) -> None:
    run(tmp_path, to_stage=Stage.DEPTH)
    picture = next((tmp_path / "pictures").iterdir())
    picture.write_bytes(picture.read_bytes() + b" ")
    run(tmp_path, to_stage=Stage.DEPTH)
    assert parts.calls == ["poses to poses", "depth"] * 2


def test_an_interruption_in_depth_keeps_the_poses(parts: Parts, tmp_path: Path) -> None:
    parts.failure = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    parts.failure = None
    run(tmp_path)
    assert parts.calls == ["poses to poses", "depth", "depth", "surface"]


def test_harmed_poses_are_found_again(parts: Parts, tmp_path: Path) -> None:
    run(tmp_path, to_stage=Stage.DEPTH)
    kept = tmp_path / "out" / "work" / "scene.bin"
    kept.write_bytes(kept.read_bytes()[:-20])
    run(tmp_path, to_stage=Stage.DEPTH)
    assert parts.calls == ["poses to poses", "depth"] * 2


def test_without_depth_the_scene_comes_back_and_says_why(parts: Parts, tmp_path: Path) -> None:
    parts.failure = EstimationError("no picture has another")
    scene = run(tmp_path)
    assert scene.depth is None
    assert scene.surface is None
    assert len(scene.models) == 1
    assert "no depth: no picture has another" in scene.warnings


def test_a_camera_that_only_turned_gets_no_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(oriented_only(simulated_scene(tmp_path / "pictures")), monkeypatch)
    assert run(tmp_path).depth is None
    assert parts.calls == ["poses to poses"]


def test_depth_and_surface_are_of_the_largest_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Parts(simulated_scene(tmp_path / "pictures", (6, 4)), monkeypatch)
    assert "depth and surface are of the largest of 2 models alone" in run(tmp_path).warnings


def test_a_posed_set_is_the_largest_model(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path, (6, 4))
    posed = posed_set(scene)
    model = scene.models[0]
    assert len(posed.views) == 6
    for view, image in zip(posed.views, model.images, strict=True):
        assert set(view.points) == set(image.points[image.points >= 0])
        seen = posed.points[view.points] @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
        assert (seen[:, 2] > 0.0).all()
        assert view.camera == model.cameras[image.camera].camera
    assert not posed.is_metric


@pytest.mark.slow
def test_the_rendered_clip_becomes_the_room(project_root: Path, tmp_path: Path) -> None:
    samples = project_root / "data" / "samples"
    options = ReconstructOptions(
        depth=DepthOptions(max_side=320, sources=6, rounds=1, fine_iterations=0),
        surface=ViewSurfaceOptions(max_cells=200_000, noise_pixels=1.5, is_texturing=False),
    )
    scene = reconstruct(samples / "room.mp4", tmp_path, options=options, compute=CPU)
    assert scene.depth is not None
    assert scene.surface is not None
    assert len(scene.depth.maps) == scene.registered == scene.total
    truth = json.loads((samples / "room_ground_truth.json").read_text())
    poses = {frame["index"]: np.array(frame["world_from_cam"]) for frame in truth["frames"]}
    images = scene.models[0].images
    found = np.stack([-image.cam_from_world[:3, :3].T @ image.cam_from_world[:3, 3] for image in images])
    centres = np.stack([poses[image.picture.frame][:3, 3] for image in images])
    room_from_scene = umeyama(torch.from_numpy(found), torch.from_numpy(centres))
    mesh = scene.surface.mesh
    vertices = (room_from_scene @ torch.from_numpy(mesh.vertices.astype(np.float64))).numpy()
    distances = TriangleTree(read_mesh(samples / "room_mesh.ply")).nearest(vertices).distances
    size = 4.95
    assert np.median(distances) < 0.002 * size
    assert (distances < 0.01 * size).mean() > 0.97
    # Double walls and floaters would lie farther off.
    assert (distances < 0.03 * size).mean() > 0.998
    assert len(mesh.triangles) > 50_000
    again = reconstruct(samples / "room.mp4", tmp_path, options=options, compute=CPU)
    assert again.surface is not None
    assert np.array_equal(again.surface.mesh.vertices, mesh.vertices)
    cheaper = replace(options, to_stage=Stage.DEPTH)
    assert reconstruct(samples / "room.mp4", tmp_path, options=cheaper, compute=CPU).surface is None
