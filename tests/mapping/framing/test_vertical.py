from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.formats.posed_pictures import read_posed_pictures
from cv3d.mapping.framing import find_vertical, held_upright
from cv3d.mapping.framing.line_segments import world_segments
from cv3d.mapping.scene import IntrinsicsSource, SceneCamera, SceneImage, SceneModel
from cv3d.media.picture import Picture

from .towns import boxes, circle, drawn, elsewhere, held, looking, model_of, rotation

Floats = NDArray[np.float64]


def town(poses: list[Floats], houses: list[Floats]) -> tuple[SceneModel, Floats]:
    """A model of drawn pictures in a world that is turned any way, and where up is in it."""
    pictures = [held(f"{i}.jpg", drawn(pose, houses)) for i, pose in enumerate(poses)]
    moved, turn, _ = elsewhere(poses)
    return model_of(moved, pictures), turn @ np.array([0.0, 0.0, 1.0])


def degrees_off(a: Floats, b: Floats) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1.0, 1.0))))


@pytest.mark.parametrize("seed", [0, 1])
def test_houses_tell_it(seed: int) -> None:
    model, up = town(circle(10, seed=seed), boxes(seed=seed))
    found = find_vertical(model)
    assert found.is_known
    assert degrees_off(found.up, up) < 0.4
    assert found.share > 0.2


def test_a_camera_that_looks_down() -> None:
    poses = circle(10, radius=7.0, height=6.0)
    model, up = town(poses, boxes())
    found = find_vertical(model)
    assert found.is_known
    assert degrees_off(found.up, up) < 0.6


def test_a_camera_that_is_held_askew() -> None:
    """All pictures rolled by 20 degrees: what the cameras take for upright is far off."""
    poses = circle(10)
    for pose in poses:
        pose[:3] = rotation([0, 0, 1], np.radians(20.0)) @ pose[:3]
    model, up = town(poses, boxes())
    assert find_vertical(model).is_known
    assert degrees_off(find_vertical(model).up, up) < 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_edges_in_all_directions_tell_nothing(seed: int) -> None:
    model, up = town(circle(7, seed=seed), boxes(20, seed=seed, tilted=True))
    found = find_vertical(model)
    assert not found.is_known
    assert degrees_off(found.up, up) < 6.0
    assert np.array_equal(found.up, held_upright(model))


def test_nothing_to_see() -> None:
    poses = circle(5)
    model = model_of(poses, [held(f"{i}.jpg", np.full((480, 640), 90, np.uint8)) for i in range(5)])
    found = find_vertical(model)
    assert (found.is_known, found.segments) == (False, 0)
    assert degrees_off(found.up, np.array([0.0, 0.0, 1.0])) < 6.0


def test_pictures_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    poses = circle(10)
    pictures = [held(f"{i}.jpg", drawn(pose, boxes())) for i, pose in enumerate(poses)]
    pictures[3] = Picture("gone.jpg", tmp_path / "gone.jpg")
    assert find_vertical(model_of(poses, pictures)).is_known


def test_held_upright_does_not_need_level_pictures() -> None:
    """Around the scene from above: the lower edges point down and inwards, their mean and the right edges straight."""
    poses = [
        looking(np.array([5.0 * np.cos(t), 5.0 * np.sin(t), 6.0]), np.zeros(3))
        for t in np.linspace(0.0, 1.5 * np.pi, 12)
    ]
    assert degrees_off(held_upright(model_of(poses)), np.array([0.0, 0.0, 1.0])) < 0.7


def test_planes_hold_the_edges() -> None:
    poses = circle(4)
    model = model_of(poses, [held(f"{i}.jpg", drawn(pose, boxes())) for i, pose in enumerate(poses)])
    found = world_segments(model)
    vertical = np.abs(found.normals[:, 2]) < np.radians(1.0)
    assert 0.15 < found.weights[vertical].sum() / found.weights.sum() < 0.7
    assert np.bincount(found.pictures, found.weights) == pytest.approx(np.ones(4))
    assert np.linalg.norm(found.normals, axis=1) == pytest.approx(np.ones(len(found.normals)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fountain-P11", "fox"])
def test_real_pictures(data_root: Path, name: str) -> None:
    pictures = read_posed_pictures(data_root / "views" / name).pictures
    model = SceneModel(
        tuple(SceneCamera(item.camera, IntrinsicsSource.GIVEN, (), ()) for item in pictures),
        tuple(
            SceneImage(
                Picture(item.name, item.file),
                i,
                item.cam_from_world,
                None,
                np.zeros((0, 2)),
                np.zeros(0, np.intp),
                float("nan"),
            )
            for i, item in enumerate(pictures)
        ),
        np.zeros((0, 3)),
        np.zeros((0, 3), np.uint8),
        np.zeros(0),
    )
    found = find_vertical(model)
    assert found.is_known
    assert degrees_off(found.up, held_upright(model)) < 8.0
