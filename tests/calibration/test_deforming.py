"""Boards whose rows and columns differ in scale: estimated where the pictures show it, and only there."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch

import cv3d
from cv3d.calibration.assembling import assemble
from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.calibrating import BoardWarp, CalibrateOptions, estimate
from cv3d.calibration.checks.base import Severity
from cv3d.calibration.deformation import UNDEFORMED, Deformation, undeformed
from cv3d.calibration.deforming import clear_stretch, judge_deformation
from cv3d.calibration.detecting import BoardSightings, SeenPicture
from cv3d.calibration.detection.base import Detection
from cv3d.calibration.problem import CalibrationProblem, CalibrationState, Observations
from cv3d.calibration.result import Calibration
from cv3d.calibration.solving import Solution, solve
from cv3d.geometry.cameras import get_model
from cv3d.geometry.levenberg import LmOptions
from cv3d.geometry.transforms import SO3
from cv3d.media.picture import Picture

Maker = Callable[..., Any]
Scene: TypeAlias = Any
"""A `Scene` of this folder's conftest, which cannot be imported."""
SIZE = (1280, 720)
BOTH = Deformation.BENT | Deformation.STRETCHED
QUICK = LmOptions(40, 1e-9)


def as_drawn(scene: Scene, model: str, observations: Observations | None = None) -> Solution:
    """The scene solved with the board as it should be."""
    params = scene.truth.params[: get_model(model).param_count]
    start = replace(scene.truth, params=params, warp=undeformed())
    return solve(observations or scene.observations, model, start, options=QUICK)


def judged(scene: Scene, model: str = "brown5", known: Deformation = UNDEFORMED) -> Deformation:
    plain = as_drawn(scene, model)
    return judge_deformation(scene.observations, plain, known, SIZE, np.random.default_rng(0))


def stretch_std(solution: Solution) -> float:
    return math.sqrt(float(solution.system.covariance().shared[-1, -1])) * solution.noise_px


@pytest.mark.slow
def test_a_stretch_is_recovered_and_its_spread_predicted(make_scene: Maker) -> None:
    stretch = 0.02
    scene = make_scene(views=8, rows=5, cols=6, noise_px=0.2, stretch=stretch, seed=3)
    found, ratios, predicted = [], [], []
    for seed in range(120):
        observations = scene.noisy(seed)
        solution = solve(observations, "brown5", scene.truth, deformation=Deformation.STRETCHED, options=QUICK)
        found.append(float(solution.state.warp[3]))
        ratios.append(float(solution.state.params[0] / solution.state.params[1]))
        predicted.append(stretch_std(solution))
    spread = float(np.std(found, ddof=1))
    assert float(np.mean(predicted)) == pytest.approx(spread, rel=0.15)
    assert abs(np.mean(found) - stretch) < 3.0 * spread / math.sqrt(len(found))
    true_ratio = float(scene.truth.params[0] / scene.truth.params[1])
    assert abs(np.mean(ratios) - true_ratio) < 3.0 * np.std(ratios, ddof=1) / math.sqrt(len(ratios))


@pytest.mark.parametrize(
    ("stretch", "warp", "expected"),
    [
        (0.003, (0.0, 0.0, 0.0), Deformation.STRETCHED),
        pytest.param(-0.04, (0.0, 0.0, 0.0), Deformation.STRETCHED, marks=pytest.mark.slow),
        (0.02, (1.5e-3, -8e-4, 5e-4), BOTH),
        (0.0, (1.5e-3, -8e-4, 5e-4), Deformation.BENT),
    ],
)
def test_what_is_wrong_with_the_board_is_told(
    make_scene: Maker, stretch: float, warp: tuple[float, float, float], expected: Deformation
) -> None:
    scene = make_scene(views=14, stretch=stretch, warp=warp, seed=1)
    assert judged(scene) == expected


@pytest.mark.slow
def test_square_boards_are_not_called_stretched(make_scene: Maker) -> None:
    for seed in range(20):
        scene = make_scene(views=8 + seed % 8, noise_px=0.05 + 0.1 * (seed % 3), seed=seed)
        assert judged(scene, known=Deformation.BENT) == Deformation.BENT


@pytest.mark.slow
def test_misfit_of_the_lens_model_is_not_called_a_stretch(make_scene: Maker) -> None:
    params = (900.0, 903.0, 650.3, 349.1, -0.35, 0.2, 8e-4, -5e-4, -0.12)
    misfit = []
    for seed in range(15):
        scene = make_scene(views=8 + seed % 8, noise_px=0.03, seed=100 + seed, params=params)
        misfit.append(as_drawn(scene, "brown4").rms_px / as_drawn(scene, "brown5").rms_px)
        assert Deformation.STRETCHED not in judged(scene, "brown4", known=Deformation.BENT)
    assert min(misfit) > 1.1
    assert float(np.median(misfit)) > 1.5


def upright(scene: Scene, tilts_deg: float, roll_deg: float, stretch: float, seed: int) -> Scene:
    """The scene with its boards all turned alike in their plane, but for `roll_deg` to either side."""
    rng = np.random.default_rng(seed)
    views = scene.exact.views
    angles = np.radians(rng.uniform(-1.0, 1.0, (views, 3)) * [tilts_deg, tilts_deg, roll_deg])
    x, y, z = (torch.zeros(views, 3, dtype=torch.float64) for _ in range(3))
    x[:, 0], y[:, 1], z[:, 2] = torch.from_numpy(angles).unbind(dim=-1)
    rotation = (SO3.exp(x) @ SO3.exp(y) @ SO3.exp(z)).as_matrix()
    centre = scene.exact.points[0].mean(dim=0)
    place = torch.from_numpy(rng.uniform([-0.1, -0.05, 0.45], [0.1, 0.05, 0.6], (views, 3)))
    warp = torch.tensor([0.0, 0.0, 0.0, stretch], dtype=torch.float64)
    truth = CalibrationState(scene.truth.params, warp, rotation, place - rotation @ centre)
    blank = replace(scene.exact, pixels=torch.zeros_like(scene.exact.pixels), seen=torch.ones_like(scene.exact.seen))
    exact = replace(blank, pixels=CalibrationProblem(get_model(scene.model), blank).residuals(truth))
    scene = replace(scene, truth=truth, exact=exact)
    return replace(scene, observations=scene.noisy(seed))


@pytest.mark.slow
def test_boards_that_never_turn_in_their_plane_leave_it_open(make_scene: Maker) -> None:
    scene = make_scene(views=12, noise_px=0.2)
    for seed in range(6):
        for stretch in (0.0, 0.005):
            assert Deformation.STRETCHED not in judged(upright(scene, 20.0, 0.0, stretch, seed))
    assert judged(upright(scene, 20.0, 90.0, 0.005, 0)) == Deformation.STRETCHED


@pytest.mark.parametrize(
    ("stretch", "std", "expected"),
    [(0.004, 0.0005, True), (-0.004, 0.0005, True), (0.002, 0.0005, False), (9e-4, 1e-5, False), (0.1, 0.01, False)],
)
def test_what_counts_as_clear(stretch: float, std: float, expected: bool) -> None:
    assert clear_stretch(stretch, std) == expected


def calibrated(scene: Scene, board_warp: BoardWarp) -> Calibration:
    pictures = []
    for v in range(scene.observations.views):
        seen = scene.observations.seen[v].numpy()
        found = Detection(np.nonzero(seen)[0], scene.observations.pixels[v].numpy()[seen])
        pictures.append(SeenPicture(Picture(f"{v}.png", Path(f"{v}.png")), found, SIZE))
    sightings = BoardSightings(Board(BoardType.CHECKERBOARD, 6, 9, 0.03), tuple(pictures))
    options = CalibrateOptions(model="brown5", board_warp=board_warp)
    return assemble(estimate(sightings, options), seed=0)


@pytest.fixture(scope="module")
def stretched(make_scene: Maker) -> Scene:
    return make_scene(views=8, stretch=-0.03, seed=5)


def test_the_calibration_takes_it_into_account_and_says_so(stretched: Scene) -> None:
    result = calibrated(stretched, BoardWarp.AUTO)
    assert result.warp is not None
    assert result.warp.stretch is not None
    assert result.warp.stretch_std is not None
    assert abs(result.warp.stretch + 0.03) < 3.0 * result.warp.stretch_std
    assert not result.warp.bent
    assert result.rms_px == pytest.approx(math.sqrt(2.0) * 0.1, rel=0.1)
    z = (np.array(result.camera.params) - stretched.truth.params.numpy()) / np.array([*result.params_std.values()])
    assert np.abs(z).max() < 4.0
    (finding,) = result.findings
    assert (finding.kind, finding.severity) == ("board_shape", Severity.INFO)
    assert re.search(r"its squares are [23]\.\d\d % \(± 0\.0\d+ %\) longer along its columns", finding.sentence)
    assert not result.warnings
    assert not any("scale" in advice for advice in result.verdict.advice)
    board: Any = result.as_dict()["board"]
    assert board["warp"] == {
        "coefficients": [0.0] * 3,
        "std": [0.0] * 3,
        "stretch": result.warp.stretch,
        "stretch_std": result.warp.stretch_std,
    }


@pytest.mark.slow
def test_the_user_decides(stretched: Scene) -> None:
    off = calibrated(stretched, BoardWarp.OFF)
    assert off.warp is None
    assert [(f.kind, f.severity) for f in off.findings] == [("board_shape", Severity.WARNING)]
    on = calibrated(stretched, BoardWarp.ON)
    assert on.warp is not None
    assert on.warp.bent
    assert on.warp.stretch == pytest.approx(-0.03, abs=1e-3)


@pytest.mark.slow
def test_opencvs_old_stereo_board_fits_once_it_is_stretched(data_root: Path) -> None:
    result = cv3d.calibrate(sorted((data_root / "calib" / "opencv_chess").glob("left*.jpg")), board="7x5")
    assert result.rms_px < 0.15
    assert result.warp is not None
    assert result.warp.stretch == pytest.approx(0.0347, abs=0.001)
    assert result.params["fx"] / result.params["fy"] == pytest.approx(1.0, abs=0.003)
