"""Folders of cv3d reconstruct as sources of depth: what the scene says comes back from its files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from cv3d.depth.sources import read_posed_source
from cv3d.mapping.scene import ScaleSource
from cv3d.reporting.scene_files import write_scene

from ..simulated_scene import simulated_scene


def test_a_scene_is_read_back(tmp_path: Path) -> None:
    scene = replace(simulated_scene(tmp_path / "pictures", (6,)), scale=ScaleSource.BOARD)
    write_scene(scene, tmp_path / "room")
    source = read_posed_source(tmp_path / "room")
    (model,) = scene.models
    assert source.left_out == ()
    assert source.posed.is_metric
    assert source.posed.warnings == ()
    images = {image.picture.name: image for image in model.images}
    for view in source.posed.views:
        image = images[view.picture.name]
        assert view.picture.source == image.picture.source
        np.testing.assert_allclose(view.cam_from_world, image.cam_from_world, atol=1e-12)
        assert view.camera == model.cameras[image.camera].camera
        own = np.sort(model.points[image.points[image.points >= 0]], axis=0)
        np.testing.assert_allclose(np.sort(source.posed.points[view.points], axis=0), own, atol=1e-12)


def test_results_that_were_moved_with_their_pictures_are_found(tmp_path: Path) -> None:
    scene = simulated_scene(tmp_path / "pictures", (6,))
    write_scene(scene, tmp_path / "room")
    shutil.move(tmp_path / "room", tmp_path / "moved")
    shutil.move(tmp_path / "pictures", tmp_path / "moved" / "pictures")
    source = read_posed_source(tmp_path / "moved")
    assert len(source.posed.views) == 6
    assert not source.posed.is_metric
