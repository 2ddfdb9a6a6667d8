"""A board whose rows and columns differ in scale, seen by several cameras: it is one board."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import cv3d
from cv3d.calibration.calibrating import CalibrateOptions
from cv3d.calibration.deformation import UNDEFORMED, Deformation
from cv3d.calibration.detecting import BoardSightings, SeenPicture
from cv3d.calibration.detection.base import Detection
from cv3d.calibration.rig.alone import CameraAlone, calibrate_alone, own_prior
from cv3d.calibration.rig.solving import solve_rig
from cv3d.calibration.rig.uncertainty import stretch_stands

from .conftest import OTHER, PINHOLE, NoPicture, SimulatedRig, pose, pose_z_scores, simulate, spread_aims
from .test_problem import problem_of

STRETCH = 0.03
BESIDE = pose((1.0, 8.0, 0.5), (0.12, 0.0, 0.01))


@pytest.fixture(scope="module")
def rig() -> SimulatedRig:
    """A pair of which the second camera sees the board too seldom to find its stretch by itself."""
    nothing = Detection.nothing("no board found")
    whole = simulate([PINHOLE, OTHER], [np.eye(4), BESIDE], spread_aims(14, 1), stretch=STRETCH)
    for frame in range(5, 14):
        whole = whole.changed(1, frame, lambda _: nothing)
    return whole


@pytest.mark.slow
def test_one_stretch_serves_all_cameras(rig: SimulatedRig) -> None:
    result = rig.calibrated("brown4")
    assert result.warp is not None
    assert result.warp.stretch is not None
    assert result.warp.stretch_std is not None
    assert abs(result.warp.stretch - STRETCH) < 3.0 * result.warp.stretch_std
    assert result.noise_px == pytest.approx(0.1, rel=0.1)
    assert max(pose_z_scores(result, rig)) < 4.1
    first, second = (camera.alone for camera in result.cameras)
    assert first is not None
    assert first.warp is not None
    assert second is not None
    assert second.warp is None
    assert not [f for camera in (first, second) for f in camera.findings if f.severity == "info"]


def test_a_stretch_that_all_cameras_together_deny_is_dropped(stereo_rig: SimulatedRig) -> None:
    problem, state = problem_of(stereo_rig)
    assert stretch_stands(solve_rig(problem, state))
    assert not stretch_stands(solve_rig(replace(problem, deformation=Deformation.STRETCHED), state))
    stretched = simulate([PINHOLE, OTHER], [np.eye(4), BESIDE], spread_aims(12, 1), stretch=STRETCH)
    problem, state = problem_of(stretched)
    assert stretch_stands(solve_rig(replace(problem, deformation=Deformation.STRETCHED), state))


def alone(rig: SimulatedRig, camera: int) -> CameraAlone:
    own = rig.cameras[camera]
    seen = [SeenPicture(NoPicture(f"{f}"), found, (own.width, own.height)) for f, found in enumerate(rig.found[camera])]
    return calibrate_alone("cam", BoardSightings(rig.board, tuple(seen)), CalibrateOptions(model="brown4"), None)


@pytest.mark.slow
def test_what_a_camera_knows_of_itself_is_of_the_same_board(rig: SimulatedRig) -> None:
    camera = alone(rig, 0)
    assert camera.finished.solution.state.deformation == Deformation.STRETCHED
    same, _ = own_prior(camera, "brown4", Deformation.STRETCHED, 0.1)
    torch.testing.assert_close(same, camera.finished.solution.state.params)
    square, prior = own_prior(camera, "brown4", UNDEFORMED, 0.1)
    assert float((square - same)[:2].abs().max()) > 1.0
    assert prior.information.shape == (8, 8)


@pytest.mark.slow
def test_opencvs_old_stereo_board(data_root: object) -> None:
    folder = f"{data_root}/calib/opencv_chess"
    result = cv3d.calibrate_rig([f"{folder}/left*.jpg", f"{folder}/right*.jpg"], board="7x5")
    assert result.rms_px < 0.15
    assert result.pairs[0].epipolar_px < 0.07
    assert result.warp is not None
    assert result.warp.stretch == pytest.approx(0.0347, abs=0.001)
