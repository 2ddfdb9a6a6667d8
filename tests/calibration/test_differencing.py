"""Differences of cameras: nothing where there is none, the rotation taken out, the rest where it belongs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cv3d.calibration.camera_difference import Agreement, CameraDifference
from cv3d.calibration.diff import diff, read_stated
from cv3d.calibration.differencing import compare_cameras
from cv3d.errors import EstimationError, InputError, UsageError
from cv3d.formats import CAMERA_FORMATS
from cv3d.formats.cv3d_camera import dumps
from cv3d.geometry.cameras import get_model
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.fit import fit_model, starting_params
from cv3d.geometry.transforms import SO3

PINHOLE = Camera("pinhole", 640, 480, (600.0, 602.0, 318.0, 241.0))
BROWN = Camera("brown5", 1280, 720, (900.0, 903.0, 650.3, 349.1, -0.28, 0.09, 8e-4, -5e-4, -0.01))
FISHEYE = Camera("kannala_brandt4", 640, 720, (247.0, 247.5, 318.0, 361.0, 0.05, -0.012, 0.004, -0.001))
OMNI = Camera("eucm", 800, 600, (260.0, 260.0, 399.5, 299.5, 0.62, 1.05))
CAMERAS = [PINHOLE, BROWN, FISHEYE, OMNI]
SIGMAS = np.array([0.4, 0.4, 0.6, 0.6, 1.5e-3, 3e-3, 2e-4, 2e-4, 2e-3])


def fitted(camera: Camera, model: str, rotation: np.ndarray | None = None, columns: int = 40) -> tuple[Camera, float]:
    """The camera as another model, fitted to its rays, and the RMS error of the fit, pixels."""
    y, x = np.mgrid[0 : camera.height - 1 : 30j, 0 : camera.width - 1 : columns * 1j]
    pixels = np.stack([x, y], axis=-1).reshape(-1, 2)
    rays = camera.unproject(pixels)
    rays = rays if rotation is None else rays @ rotation.T
    lens, params = get_model(model), torch.tensor(camera.params, dtype=torch.float64)
    start = starting_params(lens, params[:2], params[2:4])
    fit = fit_model(lens, torch.from_numpy(rays), torch.from_numpy(pixels), start, max_iterations=200)
    made = Camera(model, camera.width, camera.height, tuple(fit.params.tolist()))
    return made, math.sqrt(float((fit.errors**2).mean()))


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: c.model)
def test_a_camera_does_not_differ_from_itself(camera: Camera) -> None:
    difference = compare_cameras(camera, camera)
    assert difference.max_px < 1e-9
    assert difference.rotation_deg < 1e-9
    assert difference.sentence == "the cameras are the same"
    assert difference.translation_m is None


@pytest.mark.parametrize("camera", [BROWN, FISHEYE], ids=lambda c: c.model)
@pytest.mark.parametrize(
    "tangent", [(0.01, 0.02, 0.03), pytest.param((0.004, -0.003, 0.0), marks=pytest.mark.slow)], ids=str
)
def test_a_turned_camera_differs_by_that_rotation_alone(camera: Camera, tangent: tuple[float, ...]) -> None:
    """A splined camera can say another one turned about its axes; what is left is what the spline cannot follow."""
    rotation = SO3.exp(torch.tensor(tangent, dtype=torch.float64)).as_matrix().numpy()
    wide = 100 if camera is BROWN else 190
    turned, rms = fitted(camera, f"splined_stereographic_o3_14x12_fov{wide}", rotation)
    difference = compare_cameras(camera, turned)
    assert difference.rotation_vector_deg == pytest.approx(np.degrees(tangent), abs=2e-3)
    assert difference.rms_px < max(2.0 * rms, 2e-3)
    moved_without = np.linalg.norm(turned.project(camera.unproject(np.array([[300.0, 300.0]]))) - 300.0)
    assert moved_without > 100.0 * difference.rms_px


def test_a_shifted_principal_point_is_mostly_a_rotation() -> None:
    other = replace(PINHOLE, params=(600.0, 602.0, 321.0, 239.0))
    difference = compare_cameras(PINHOLE, other)
    # The ray that A has at the centre of B's picture: B sees further to the left, so that its frame is turned right.
    expected = np.degrees([-2.0 / 602.0, -3.0 / 600.0, 0.0])
    assert difference.rotation_vector_deg == pytest.approx(expected, rel=0.15, abs=2e-3)
    assert difference.rms_px < 0.4 * math.hypot(3.0, 2.0)
    assert difference.center_px < difference.edge_px < difference.corner_px


@pytest.mark.parametrize("camera", [BROWN, FISHEYE], ids=lambda c: c.model)
def test_the_opposite_comparison_gives_the_opposite_rotation_and_as_much_difference(camera: Camera) -> None:
    other = camera.with_params(np.array(camera.params) + np.r_[1.0, 1.2, 2.0, -1.5, np.zeros(len(camera.params) - 4)])
    there, back = compare_cameras(camera, other), compare_cameras(other, camera)
    assert there.b_from_a @ back.b_from_a == pytest.approx(np.eye(3), abs=2e-5)
    assert there.rms_px == pytest.approx(back.rms_px, rel=0.02)


def test_another_model_differs_by_its_fit_error() -> None:
    mild = Camera("brown5", 1280, 720, (900.0, 903.0, 650.3, 349.1, -0.12, 0.03, 0.0, 0.0, 0.0))
    other, rms = fitted(mild, "kannala_brandt4")
    difference = compare_cameras(mild, other)
    # The fit had no rotation, which can only help; the loss, robust here and plain there, moves both a little.
    assert rms / 1.5 < difference.rms_px < 1.2 * rms
    assert difference.rotation_deg < 0.01
    strayed = compare_cameras(mild, replace(other, params=(other.params[0] * 1.002, *other.params[1:])))
    assert strayed.rms_px > 2.0 * difference.rms_px


def test_a_bump_shows_where_it_is_and_does_not_pull_the_rotation() -> None:
    """A spline differs from another in one control point."""
    smooth, _ = fitted(BROWN, "splined_stereographic_o3_14x12_fov100")
    params = np.array(smooth.params)
    params[smooth.lens.param_names.index("x_5_6")] += 0.02
    bumped = smooth.with_params(params)
    difference = compare_cameras(smooth, bumped)
    direct = np.linalg.norm(bumped.project(smooth.unproject(_grid(difference))) - _grid(difference), axis=-1)
    assert direct.max() > 0.5
    assert difference.lengths == pytest.approx(direct, abs=0.02 * direct.max())
    assert np.unravel_index(difference.lengths.argmax(), direct.shape) == np.unravel_index(
        direct.argmax(), direct.shape
    )
    assert difference.percentile_px(50) < 0.02 * difference.max_px
    assert difference.rotation_deg < 0.005


def _grid(difference: CameraDifference) -> np.ndarray:
    return np.stack(np.meshgrid(difference.x, difference.y), axis=-1)


def test_places_outside_of_a_domain_are_left_out() -> None:
    """A division model of strong barrel distortion has no ray for the corners."""
    narrow = Camera("kannala_brandt4", 640, 480, (220.0, 220.0, 319.5, 239.5, -0.09, 0.0, 0.0, 0.0))
    grid = np.stack(np.meshgrid(np.arange(640.0), np.arange(480.0)), axis=-1).reshape(-1, 2)
    seen = narrow.lens.valid_pixels(torch.tensor(narrow.params).double(), torch.from_numpy(grid)).numpy()
    assert 0.3 < seen.mean() < 0.95
    difference = compare_cameras(narrow, narrow.with_params((221.0, *narrow.params[1:])))
    assert difference.valid_share == pytest.approx(seen.mean(), abs=0.02)
    assert np.isnan(difference.vectors[0, 0]).all()
    assert math.isfinite(difference.max_px)
    assert math.isfinite(difference.corner_px)
    assert difference.edge_px > 0.0


def test_a_focus_makes_the_cameras_agree_there() -> None:
    other = BROWN.with_params(np.array(BROWN.params) * np.r_[1.01, 1.01, np.ones(7)])
    whole = compare_cameras(BROWN, other)
    there = compare_cameras(BROWN, other, where=(1100.0, 600.0), radius_px=80.0)
    y, x = np.meshgrid(there.y, there.x, indexing="ij")
    near = np.hypot(x - 1100.0, y - 600.0) <= 80.0
    assert there.lengths[near].mean() < 0.5 * whole.lengths[near].mean()
    assert there.rms_px > whole.rms_px
    assert there.focus is not None
    assert compare_cameras(BROWN, other, radius_px=50.0).focus.x == pytest.approx(639.5)
    assert compare_cameras(BROWN, other, where=(10.0, 10.0)).focus.radius_px == pytest.approx(120.0)


def test_at_a_distance_a_translation_is_free() -> None:
    """A focal length that is off looks, at one distance, like a camera that is nearer."""
    other = PINHOLE.with_params((606.0, 608.02, 318.0, 241.0))
    far, near = compare_cameras(PINHOLE, other), compare_cameras(PINHOLE, other, distance_m=2.0)
    assert near.rms_px < 0.2 * far.rms_px
    assert near.translation_m is not None
    # B has the longer focal length: it sees the same from further back, which moves points forward in its frame.
    assert 0.005 < near.translation_m[2] < 0.04
    assert np.abs(near.translation_m[:2]).max() < 1e-3
    doubled = compare_cameras(PINHOLE, other, distance_m=4.0)
    assert doubled.translation_m == pytest.approx(2.0 * near.translation_m, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(("side", "distance_m"), [("a", math.inf), ("b", 1.0)])
@pytest.mark.slow
def test_the_expected_difference_is_the_sum_over_what_may_be_wrong(side: str, distance_m: float) -> None:
    """To first order: the squares of the differences that each independent error of a camera makes add up."""
    root = np.linalg.cholesky(_correlated_covariance())
    covariance, nothing = root @ root.T, np.zeros((9, 9))
    covariance_a, covariance_b = (covariance, nothing) if side == "a" else (nothing, covariance)

    def compared(off: np.ndarray) -> CameraDifference:
        other = BROWN.with_params(np.array(BROWN.params) + off)
        pair = (other, BROWN) if side == "a" else (BROWN, other)
        return compare_cameras(*pair, covariance_a=covariance_a, covariance_b=covariance_b, distance_m=distance_m)

    small = 0.1
    one_by_one = [compared(small * error).lengths for error in root.T]
    expected = compared(np.zeros(9)).expected
    assert expected is not None
    total = np.sqrt(sum(lengths**2 for lengths in one_by_one)) / small
    assert math.sqrt(float((total**2).mean())) == pytest.approx(expected.rms_px, rel=0.01)
    # The worst direction holds at least half of the two directions' sum of squares.
    assert (expected.sigma <= total * 1.05 + 1e-6).all()
    assert (expected.sigma >= total * 0.95 / math.sqrt(2.0) - 1e-6).all()


def _correlated_covariance() -> np.ndarray:
    mixed = np.random.default_rng(1).normal(size=(9, 9)) + 2.0 * np.eye(9)
    covariance = mixed @ mixed.T
    scale = SIGMAS / np.sqrt(np.diag(covariance))
    return covariance * np.outer(scale, scale)


@pytest.mark.slow
def test_cameras_drawn_from_their_covariance_agree() -> None:
    rng = np.random.default_rng(3)
    covariance = _correlated_covariance()
    draws = [BROWN.with_params(rng.multivariate_normal(BROWN.params, covariance)) for _ in range(12)]
    found = [
        compare_cameras(one, two, covariance_a=covariance, covariance_b=covariance).agreement
        for one, two in zip(draws[::2], draws[1::2], strict=True)
    ]
    assert found == [Agreement.WITHIN] * 6


def test_cameras_that_differ_by_more_than_they_state_do_not_agree() -> None:
    covariance = np.diag(SIGMAS**2)
    other = BROWN.with_params(np.array(BROWN.params) + np.r_[12.0, 12.0, np.zeros(7)])
    stated = {"covariance_a": covariance, "covariance_b": covariance}
    apart = compare_cameras(BROWN, other, **stated)
    assert apart.agreement is Agreement.BEYOND
    assert "do not agree within" in apart.sentence
    assert apart.share_beyond > 0.5
    near = compare_cameras(BROWN, BROWN.with_params(np.array(BROWN.params) + 0.5 * SIGMAS), **stated)
    assert near.agreement is Agreement.WITHIN
    assert near.sigmas < 1.0
    plain = compare_cameras(BROWN, other, covariance_a=covariance)
    assert plain.agreement is Agreement.UNSTATED
    assert math.isnan(plain.sigmas)
    assert "uncertainty" not in plain.sentence


def test_pictures_of_another_size_are_compared_scaled() -> None:
    half = BROWN.scaled(0.5)
    difference = compare_cameras(BROWN, half)
    assert difference.max_px < 1e-6
    assert difference.b.width == BROWN.width
    assert "1280x720 and 640x360" in difference.warnings[0]
    covariance = np.diag(SIGMAS**2)
    small = np.diag((SIGMAS * np.r_[np.full(4, 0.5), np.ones(5)]) ** 2)
    same = compare_cameras(BROWN, BROWN, covariance_a=covariance, covariance_b=covariance)
    scaled = compare_cameras(BROWN, half, covariance_a=covariance, covariance_b=small)
    assert scaled.expected.rms_px == pytest.approx(same.expected.rms_px, rel=1e-6)


def test_pictures_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match="differ in shape \\(1280x720 and 640x480\\)"):
        compare_cameras(BROWN, PINHOLE)


def test_cameras_that_look_elsewhere_are_refused() -> None:
    """A model whose domain ends within the image, its principal point far off: it sees none of the focus."""
    narrow = Camera("kannala_brandt4", 640, 480, (120.0, 120.0, 319.5, 239.5, -0.3, 0.0, 0.0, 0.0))
    with pytest.raises(EstimationError, match="too few directions in common"):
        compare_cameras(narrow, narrow, where=(5.0, 5.0), radius_px=30.0)


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"where": (700.0, 10.0)}, "is not in a picture of 640x480"),
        ({"where": (math.nan, 10.0)}, "is not in a picture"),
        ({"radius_px": 0.0}, "radius"),
        ({"distance_m": -1.0}, "distance"),
        ({"distance_m": math.nan}, "distance"),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(options: dict[str, object], fragment: str) -> None:
    with pytest.raises(UsageError, match=fragment):
        compare_cameras(PINHOLE, PINHOLE, **options)  # type: ignore[arg-type]


def test_files_state_their_covariance(tmp_path: Path) -> None:
    covariance = np.diag(SIGMAS**2)
    (tmp_path / "result").mkdir()
    own = tmp_path / "result" / "camera.json"
    own.write_text(dumps(BROWN, {"covariance": covariance}))
    foreign = tmp_path / "ros.yaml"
    foreign.write_text(CAMERA_FORMATS["ros"].dumps(BROWN))
    undetermined = tmp_path / "undetermined.json"
    undetermined.write_text(dumps(BROWN, {"covariance": np.full((9, 9), np.nan)}))
    for source in (own, own.parent):
        stated = read_stated(source)
        assert stated.camera == BROWN
        assert stated.covariance == pytest.approx(covariance)
    for source in (foreign, undetermined, BROWN):
        assert read_stated(source).covariance is None
    assert diff(own, own.parent).agreement is Agreement.WITHIN
    assert diff(own, foreign).agreement is Agreement.UNSTATED
    assert diff(own, BROWN, distance="2m").distance_m == 2.0
