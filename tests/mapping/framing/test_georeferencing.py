from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.errors import EstimationError
from cv3d.mapping.framing import camera_centres, georeference
from cv3d.mapping.framing.geodesy import enu_from_geodetic

from .towns import circle, elsewhere, looking, model_of, rotation

Floats = NDArray[np.float64]
UP = np.array([0.0, 0.0, 1.0])


def measured(poses: list[Floats], noise: float, seed: int = 0) -> Floats:
    """Positions of the cameras in a frame that is turned about the vertical."""
    rng = np.random.default_rng(seed)
    centres = np.stack([-pose[:3, :3].T @ pose[:3, 3] for pose in poses]) @ rotation([0, 0, 1], 0.8).T
    return centres + np.array([120.0, -40.0, 300.0]) + rng.normal(0.0, noise, centres.shape) * (1.0, 1.0, 2.0)


def line(count: int = 20) -> list[Floats]:
    """A walk straight on."""
    return [looking(np.array([x, 0.0, 1.6]), np.array([x + 1.0, 4.0, 1.5])) for x in np.linspace(0.0, 40.0, count)]


@pytest.mark.parametrize("is_up_known", [True, False])
def test_a_model_is_laid_over_positions(is_up_known: bool) -> None:
    poses = circle(20, radius=60.0)
    places = measured(poses, 1.0)
    moved, turn, _ = elsewhere(poses)
    wrong = places.copy()
    wrong[[3, 11]] += (200.0, -90.0, 0.0)
    wrong[7] = np.nan
    up = turn @ UP if is_up_known else rotation([1, 0, 0], 0.1) @ turn @ UP
    found = georeference(model_of(moved), wrong, up, is_up_known=is_up_known)
    assert not found.used[[3, 7, 11]].any()
    assert found.used.sum() >= 15
    assert found.is_upright
    scale = float(found.new_from_old.scale())
    assert abs(np.log(scale * 0.37)) < 3.5 * found.deviation
    assert found.deviation < 0.01
    assert found.rms_m == pytest.approx(np.sqrt(2.0), rel=0.5)
    laid = found.new_from_old.apply(np_tensor(camera_centres(model_of(moved)))).numpy()
    truth = measured(poses, 0.0)
    assert np.abs(laid - truth)[:, :2].max() < 2.5


def np_tensor(array: Floats) -> object:
    import torch

    return torch.from_numpy(array)


def test_scale_is_as_exact_as_it_says() -> None:
    poses = circle(12, radius=30.0)
    moved, turn, _ = elsewhere(poses)
    model = model_of(moved)
    errors = []
    for seed in range(30):
        found = georeference(model, measured(poses, 1.0, seed), turn @ UP, is_up_known=True)
        errors.append(np.log(float(found.new_from_old.scale()) * 0.37) / found.deviation)
    assert np.sqrt(np.mean(np.square(errors))) < 2.0


def test_a_straight_path_needs_to_know_up() -> None:
    poses = line()
    moved, turn, _ = elsewhere(poses)
    found = georeference(model_of(moved), measured(poses, 0.3), turn @ UP, is_up_known=True)
    assert float(found.new_from_old.scale()) == pytest.approx(1.0 / 0.37, rel=0.02)
    assert found.is_upright
    guessed = georeference(model_of(moved), measured(poses, 0.3), turn @ UP, is_up_known=False)
    assert not guessed.is_upright


def test_without_heights() -> None:
    poses = circle(15, radius=40.0)
    moved, turn, _ = elsewhere(poses)
    places = measured(poses, 0.5)
    places[:, 2] = np.nan
    model = model_of(moved)
    found = georeference(model, places, turn @ UP, is_up_known=False)
    laid = found.new_from_old.apply(np_tensor(camera_centres(model))).numpy()
    assert np.abs(laid[:, 2]).max() < 2.0
    assert not found.is_upright


def test_coarse_positions_are_refused() -> None:
    poses = circle(15, radius=3.0)
    moved, turn, _ = elsewhere(poses)
    with pytest.raises(EstimationError):
        georeference(model_of(moved), measured(poses, 5.0), turn @ UP, is_up_known=True)


def test_positions_of_another_place_are_refused() -> None:
    poses = circle(15, radius=40.0)
    moved, turn, _ = elsewhere(poses)
    places = np.random.default_rng(0).permutation(measured(poses, 0.5))
    with pytest.raises(EstimationError):
        georeference(model_of(moved), places, turn @ UP, is_up_known=True)


def test_too_few_or_one_place() -> None:
    poses = circle(6)
    places = measured(poses, 0.1)
    places[3:] = np.nan
    with pytest.raises(EstimationError, match="4 pictures"):
        georeference(model_of(poses), places, UP, is_up_known=True)
    same = np.tile([5.0, 5.0, 5.0], (6, 1))
    with pytest.raises(EstimationError):
        georeference(model_of(poses), same, UP, is_up_known=True)


def test_a_scale_from_elsewhere_keeps_the_middle() -> None:
    poses = circle(20, radius=60.0)
    moved, turn, _ = elsewhere(poses)
    model = model_of(moved)
    found = georeference(model, measured(poses, 1.0), turn @ UP, is_up_known=True)
    other = found.with_scale(model, 2.0)
    centres = np_tensor(camera_centres(model)[found.used])
    assert float(other.scale()) == pytest.approx(2.0)
    difference = other.apply(centres).mean(0) - found.new_from_old.apply(centres).mean(0)  # type: ignore[arg-type]
    assert np.abs(difference.numpy()).max() < 1e-6


def test_metres_on_the_earth() -> None:
    """A degree of latitude and of longitude at 45 degrees are 111,132 m and 78,847 m (WGS 84)."""
    origin = np.array([45.0, 7.0, 250.0])
    near = np.array([[45.0, 7.0, 250.0], [45.001, 7.0, 0.0], [45.0, 7.001, 0.0], [45.0, 7.0, 260.0]])
    near[1:3, 2] = 250.0
    found = enu_from_geodetic(near, origin)
    assert found[0] == pytest.approx(np.zeros(3), abs=1e-8)
    assert found[1, 1] == pytest.approx(111.132 + 0.0044, abs=0.01)
    assert found[2, 0] == pytest.approx(78.847 + 0.0031, abs=0.01)
    assert found[3] == pytest.approx([0.0, 0.0, 10.0], abs=1e-6)
