from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cv3d.mapping.framing import camera_centres, frame_scene
from cv3d.mapping.scaling import KnownDistance, ScenePlace
from cv3d.mapping.scene import ScaleSource, Scene, SceneModel, ViewGraph

from .towns import boxes, circle, drawn, elsewhere, held, model_of

Floats = NDArray[np.float64]


def scene_of(*models: SceneModel) -> Scene:
    names = tuple(image.picture.name for model in models for image in model.images)
    nothing = np.zeros(0, np.intp)
    return Scene(models, (), ViewGraph(names, np.zeros((0, 2), np.intp), nothing, np.zeros(0, bool)), "incremental")


def town(radius: float = 9.0, sources: list[Path] | None = None) -> tuple[list[Floats], SceneModel]:
    poses = circle(8, radius)
    pictures = [
        held(f"{i}.jpg", drawn(pose, boxes()), None if sources is None else sources[i]) for i, pose in enumerate(poses)
    ]
    moved, turn, shift = elsewhere(poses)
    points = np.random.default_rng(1).uniform(-2.0, 2.0, (60, 3))
    return poses, model_of(moved, pictures, 0.37 * points @ turn.T + shift)


def heights(model: SceneModel) -> Floats:
    return camera_centres(model)[:, 2]


def test_z_is_up_and_points_are_about_the_origin() -> None:
    poses, model = town()
    scene = frame_scene(scene_of(model))
    framed = scene.models[0]
    assert scene.is_upright
    assert (scene.scale, scene.geodetic_origin, scene.warnings) == (ScaleSource.ARBITRARY, None, ())
    assert np.abs(np.median(framed.points, axis=0)).max() < 1e-9
    assert np.quantile(np.linalg.norm(framed.points, axis=1), 0.9) == pytest.approx(1.0)
    true = np.stack([-pose[:3, :3].T @ pose[:3, 3] for pose in poses])
    ratio = np.linalg.norm(camera_centres(framed)[3] - camera_centres(framed)[0]) / np.linalg.norm(true[3] - true[0])
    assert np.ptp(heights(framed) / ratio - true[:, 2]) < 0.2
    right = framed.images[0].cam_from_world[0, :3]
    assert right[0] > 0.95
    assert framed.mean_reprojection_px < 1e-6


def test_metres_by_a_distance() -> None:
    poses, model = town()
    true = np.stack([-pose[:3, :3].T @ pose[:3, 3] for pose in poses])
    metres = float(np.linalg.norm(true[4] - true[1]))
    scene = frame_scene(scene_of(model), scale=KnownDistance(ScenePlace("1.jpg"), ScenePlace("4.jpg"), metres))
    centres = camera_centres(scene.models[0])
    assert scene.scale is ScaleSource.DISTANCE
    assert np.linalg.norm(centres[7] - centres[2]) == pytest.approx(np.linalg.norm(true[7] - true[2]))


def test_what_cannot_be_had_is_told_and_nothing_is_lost() -> None:
    _, model = town()
    scene = frame_scene(scene_of(model), scale=KnownDistance(ScenePlace("1.jpg"), ScenePlace("no.jpg"), 1.0))
    assert scene.scale is ScaleSource.ARBITRARY
    assert len(scene.models[0].images) == 8
    assert any("no.jpg" in warning for warning in scene.warnings)


def test_axes_of_the_first_picture_where_up_is_not_asked_for() -> None:
    _, model = town()
    scene = frame_scene(scene_of(model), up=False)
    assert not scene.is_upright
    assert np.allclose(scene.models[0].images[0].cam_from_world[:3, :3], np.eye(3))


def test_positions_in_the_files(tmp_path: Path) -> None:
    poses = circle(8, 60.0)
    sources = []
    for i, pose in enumerate(poses):
        east, north, _ = -pose[:3, :3].T @ pose[:3, 3]
        latitude, longitude = 47.0 + north / 111_174.0, 8.0 + east / 76_057.0
        block = Image.Exif()
        block[0x010F] = "Maker"
        tags = {1: "N", 2: _sexagesimal(latitude), 3: "E", 4: _sexagesimal(longitude), 5: b"\0", 6: 400.0 + pose[2, 3]}
        tags[6] = 400.0 + float((-pose[:3, :3].T @ pose[:3, 3])[2])
        block.get_ifd(0x8825).update(tags)
        sources.append(tmp_path / f"{i}.jpg")
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(sources[-1], exif=block)
    poses, model = town(60.0, sources)
    scene = frame_scene(scene_of(model), up=False)
    assert scene.scale is ScaleSource.GPS
    assert scene.geodetic_origin is not None
    assert scene.geodetic_origin[:2] == pytest.approx((47.0, 8.0), abs=1e-3)
    true = np.stack([-pose[:3, :3].T @ pose[:3, 3] for pose in poses])
    found = camera_centres(scene.models[0])
    assert found - found.mean(axis=0) == pytest.approx(true - true.mean(axis=0), abs=0.3)
    assert frame_scene(scene_of(model), up=False, gps=False).geodetic_origin is None


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    minutes = (degrees - int(degrees)) * 60.0
    return float(int(degrees)), float(int(minutes)), (minutes - int(minutes)) * 60.0


def test_models_without_positions_or_points() -> None:
    poses = circle(5)
    for pose in poses:
        pose[:3, 3] = 0.0
    turned = replace(model_of(poses, points=np.zeros((0, 3))), is_oriented_only=True)
    scene = frame_scene(scene_of(turned))
    assert not camera_centres(scene.models[0]).any()
    assert not scene.is_upright
    assert frame_scene(scene_of()) == scene_of() or not frame_scene(scene_of()).models
