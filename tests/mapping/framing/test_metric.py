from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.errors import EstimationError
from cv3d.mapping.framing import scale_by_depth, scale_by_distance
from cv3d.mapping.scaling import KnownDistance, ScenePlace
from cv3d.mapping.scene import SceneImage, SceneModel

from .towns import CAMERA, circle, elsewhere, held, model_of

SCALE = 0.37
"""Units of the model to a metre."""


def model() -> SceneModel:
    """A scene of which lengths are in other units than metres."""
    poses = circle(8)
    points = np.random.default_rng(1).uniform(-2.0, 2.0, (60, 3))
    moved, turn, shift = elsewhere(poses, SCALE)
    pictures = [held(f"walk/{i:03d}.jpg") for i in range(len(poses))]
    return model_of(moved, pictures, SCALE * points @ turn.T + shift)


def test_between_two_cameras() -> None:
    centres = [-pose[:3, :3].T @ pose[:3, 3] for pose in circle(8)]
    metres = float(np.linalg.norm(centres[5] - centres[0]))
    found = scale_by_distance(model(), KnownDistance(ScenePlace("walk/000.jpg"), ScenePlace("005.jpg"), metres))
    assert found.metres == pytest.approx(1.0 / SCALE)


def test_between_two_points() -> None:
    scene = model()
    truth = np.random.default_rng(1).uniform(-2.0, 2.0, (60, 3))
    first = ScenePlace("000.jpg", tuple(scene.images[0].pixels[7] + 0.3))
    second = ScenePlace("004.jpg", tuple(scene.images[4].pixels[21] - 0.3))
    found = scale_by_distance(scene, KnownDistance(first, second, float(np.linalg.norm(truth[7] - truth[21]))))
    assert found.metres == pytest.approx(1.0 / SCALE)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (ScenePlace("009.jpg"), "no picture of this name"),
        (ScenePlace("001.jpg", (-4000.0, 10.0)), "no point"),
        (ScenePlace("walk/000.jpg"), "are one"),
    ],
)
def test_places_that_are_not_there(second: ScenePlace, said: str) -> None:
    with pytest.raises(EstimationError, match=said):
        scale_by_distance(model(), KnownDistance(ScenePlace("000.jpg"), second, 1.0))


def depth_of(image: SceneImage, noise: float, scene: SceneModel, factor: float = 1.0) -> NDArray[np.float32]:
    """A depth map of half the resolution that is right where there are points."""
    depth = np.zeros((CAMERA.height // 2, CAMERA.width // 2), np.float32)
    seen = scene.points @ image.cam_from_world[2, :3] + image.cam_from_world[2, 3]
    cells = np.rint((image.pixels + 0.5) / 2.0 - 0.5).astype(int)
    inside = ((cells >= 0) & (cells < (CAMERA.width // 2, CAMERA.height // 2))).all(axis=1)
    wrong = np.random.default_rng(int(image.picture.name[-7:-4])).normal(1.0, noise, len(seen))
    depth[cells[inside, 1], cells[inside, 0]] = (factor * seen * wrong / SCALE)[inside]
    return depth


def test_by_depth() -> None:
    scene = model()
    found = scale_by_depth(scene, lambda image: depth_of(image, 0.05, scene))
    assert found.support == 8
    assert found.deviation is not None
    assert found.deviation < 0.02
    assert abs(np.log(found.metres * SCALE)) < 3.0 * max(found.deviation, 0.003)


def test_depth_that_contradicts_itself() -> None:
    scene = model()
    with pytest.raises(EstimationError, match="differ"):
        scale_by_depth(scene, lambda image: depth_of(image, 0.01, scene, 1.0 + 0.5 * int(image.picture.name[-5])))


def test_no_depth() -> None:
    with pytest.raises(EstimationError, match="no picture"):
        scale_by_depth(model(), lambda _: None)
    with pytest.raises(EstimationError, match="no picture"):
        scale_by_depth(model(), lambda _: np.zeros((10, 10), np.float32))
