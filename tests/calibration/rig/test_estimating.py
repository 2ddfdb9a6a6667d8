"""Rigs from detections to a judged result, against their truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cv3d.calibration.detection.base import Detection
from cv3d.calibration.quality import Level
from cv3d.calibration.rig.estimating import calibrate_rig_sources
from cv3d.calibration.rig.frames import RigSources
from cv3d.calibration.rig.options import RigOptions
from cv3d.calibration.rig.result import RigCalibration
from cv3d.calibration.rig.symmetry import board_turns
from cv3d.errors import EstimationError, InputError, UsageError
from cv3d.geometry.cameras.camera import Camera

from .conftest import (
    ASYMMETRIC,
    FISHEYE,
    OTHER,
    PINHOLE,
    SYMMETRIC,
    SimulatedRig,
    pose,
    pose_z_scores,
    simulate,
    spread_aims,
)

BESIDE = pose((1.0, 8.0, 0.5), (0.12, 0.0, 0.01))
# Square root of the 99.7 % quantile of chi^2 with 6 degrees of freedom: 3 sigma in six dimensions.
THREE_SIGMA_6D = 4.45


@pytest.fixture(scope="module")
def stereo(stereo_rig: SimulatedRig) -> RigCalibration:
    return stereo_rig.calibrated("brown4")


def test_a_pair_is_found_within_three_sigma(stereo: RigCalibration, stereo_rig: SimulatedRig) -> None:
    assert max(pose_z_scores(stereo, stereo_rig)) < THREE_SIGMA_6D
    assert stereo.noise_px == pytest.approx(0.1, rel=0.1)
    assert stereo.rms_px < 1.05 * 0.1 * math.sqrt(2.0)
    assert all(view.used for view in stereo.views)
    assert stereo.verdict.level is not Level.POOR


def test_the_pair_s_figures_agree_with_the_truth(stereo: RigCalibration, stereo_rig: SimulatedRig) -> None:
    (pair,) = stereo.pairs
    true = float(np.linalg.norm(stereo_rig.cam_from_cam0[1][:3, 3]))
    assert abs(pair.baseline - true) < 3.5 * pair.baseline_std
    assert pair.baseline_std < 0.01 * true
    assert pair.frames == 12
    assert pair.corners == 12 * ASYMMETRIC.point_count
    # Two noisy points: their distance along the line's normal has sqrt(2) of one's deviation, half-normal in the mean.
    assert pair.epipolar_px == pytest.approx(0.1 * math.sqrt(2.0) * math.sqrt(2.0 / math.pi), rel=0.15)
    assert pair.angle_deg == pytest.approx(8.06, abs=0.3)


def test_a_result_is_plain_data(stereo: RigCalibration) -> None:
    data = stereo.as_dict()
    assert data["schema"] == "cv3d.rig_calibration/1"
    assert len(stereo.frames) == 12
    assert all(frame.cam0_from_board is not None and len(frame.views) == 2 for frame in stereo.frames)
    assert stereo.rig.is_posed


def test_boards_are_where_they_were(stereo: RigCalibration, stereo_rig: SimulatedRig) -> None:
    for frame, truth in zip(stereo.frames, stereo_rig.cam0_from_board, strict=True):
        assert frame.cam0_from_board is not None
        assert np.linalg.norm(frame.cam0_from_board[:3, 3] - truth[:3, 3]) < 0.01


def test_a_square_board_is_not_stretched(stereo: RigCalibration) -> None:
    assert stereo.warp is None or stereo.warp.stretch is None


@pytest.fixture(scope="module")
def first_given(stereo_rig: SimulatedRig) -> RigCalibration:
    return stereo_rig.calibrated("brown4", intrinsics=(PINHOLE, None))


def test_the_same_seed_gives_the_same_result(first_given: RigCalibration, stereo_rig: SimulatedRig) -> None:
    again = stereo_rig.calibrated("brown4", intrinsics=(PINHOLE, None))
    assert again.cameras[1].camera.params == first_given.cameras[1].camera.params
    np.testing.assert_array_equal(again.cameras[1].cam_from_cam0, first_given.cameras[1].cam_from_cam0)


@pytest.mark.parametrize("given", [(PINHOLE, OTHER, PINHOLE), pytest.param(None, marks=pytest.mark.slow)])
def test_a_camera_is_reached_through_a_chain(given: tuple[Camera, ...] | None) -> None:
    """The first and the third camera look apart and never see the board together."""
    poses = [np.eye(4), pose((0.0, 30.0, 0.0), (-0.1, 0.0, 0.0)), pose((0.0, 60.0, 0.0), (-0.2, 0.0, 0.05))]
    aims = [
        *spread_aims(8, 3, x=(-0.1, 0.1)),
        *_before(pose((0.0, 15.0, 0.0), (-0.05, 0.0, 0.0)), spread_aims(8, 7, x=(-0.05, 0.05))),
        *_before(pose((0.0, 45.0, 0.0), (-0.15, 0.0, 0.0)), spread_aims(8, 8, x=(-0.05, 0.05))),
    ]
    only = [[0]] * 8 + [[0, 1]] * 8 + [[1, 2]] * 8
    rig = simulate([PINHOLE, OTHER, PINHOLE], poses, aims, only=only, seed=4)
    result = rig.calibrated("brown4", intrinsics=given)
    assert {(pair.first, pair.second) for pair in result.pairs} == {(0, 1), (1, 2)}
    assert result.cameras[1].linked_through == ()
    assert result.cameras[2].linked_through == ("cam1",)
    assert max(pose_z_scores(result, rig)) < THREE_SIGMA_6D


def _before(cam_from_cam0: np.ndarray, places: list[list[float]]) -> list[list[float]]:
    """Places before another camera, in the first one's frame."""
    back = np.linalg.inv(cam_from_cam0)
    return [list(back[:3, :3] @ np.asarray(place) + back[:3, 3]) for place in places]


@pytest.mark.slow
def test_fisheye_and_pinhole_go_together() -> None:
    rig = simulate([PINHOLE, FISHEYE], [np.eye(4), BESIDE], spread_aims(14, 2), seed=2)
    result = rig.calibrated(board_warp="off")
    assert max(pose_z_scores(result, rig)) < THREE_SIGMA_6D
    assert result.pairs[0].epipolar_px < 0.2


def test_given_intrinsics_are_held(first_given: RigCalibration, stereo_rig: SimulatedRig) -> None:
    first, second = first_given.cameras
    assert first.held
    assert first.alone is None
    assert first.camera == PINHOLE
    assert not first.covariance.any()
    assert not second.held
    assert max(pose_z_scores(first_given, stereo_rig)) < THREE_SIGMA_6D


def test_all_intrinsics_given_leaves_poses_only(stereo_rig: SimulatedRig, stereo: RigCalibration) -> None:
    result = stereo_rig.calibrated("brown4", intrinsics=(PINHOLE, OTHER))
    assert max(pose_z_scores(result, stereo_rig)) < THREE_SIGMA_6D
    assert np.trace(result.cameras[1].pose_covariance) < np.trace(stereo.cameras[1].pose_covariance)


def test_given_intrinsics_of_another_size_are_refused(stereo_rig: SimulatedRig) -> None:
    wrong = PINHOLE.scaled(2.0)
    with pytest.raises(InputError, match=r"camera cam0: .*1280x960.*640x480"):
        stereo_rig.calibrated("brown4", intrinsics=(wrong, None))


@pytest.mark.slow
def test_a_symmetric_board_labelled_upside_down_by_one_camera() -> None:
    rig = simulate([PINHOLE, OTHER], [np.eye(4), BESIDE], spread_aims(12, 1), board=SYMMETRIC)
    straight = rig.calibrated("brown4")
    turn = board_turns(SYMMETRIC)[1]
    turned = rig
    for frame in (*range(0, 12, 2), 5):
        turned = turned.changed(1, frame, lambda seen: Detection(turn.point_ids[seen.point_ids], seen.pixels))
    result = turned.calibrated("brown4")
    assert all(view.used for view in result.views)
    np.testing.assert_allclose(result.cameras[1].cam_from_cam0, straight.cameras[1].cam_from_cam0, atol=1e-6)
    by_frame = {(view.camera, view.frame): view for view in result.views}
    for frame in range(12):
        one, other = by_frame[0, frame], by_frame[1, frame]
        np.testing.assert_array_equal(one.point_ids, other.point_ids)


@pytest.mark.slow
def test_a_picture_of_another_moment_is_left_out(stereo_rig: SimulatedRig) -> None:
    wrong = stereo_rig.found[1][3]
    spoiled = stereo_rig.changed(1, 7, lambda _: Detection(wrong.point_ids, wrong.pixels + 0.01))
    result = spoiled.calibrated("brown4")
    rejected = [view for view in result.views if not view.used]
    assert {view.name for view in rejected} == {"cam0/07", "cam1/07"}
    assert all("contradict" in view.reason for view in rejected)
    assert max(pose_z_scores(result, stereo_rig)) < THREE_SIGMA_6D


@pytest.mark.slow
def test_of_three_cameras_only_the_wrong_one_is_left_out() -> None:
    poses = [np.eye(4), BESIDE, pose((-4.0, -6.0, 0.0), (-0.1, 0.03, 0.0))]
    rig = simulate([PINHOLE, OTHER, PINHOLE], poses, spread_aims(12, 6), seed=6)
    wrong = rig.found[2][2]
    result = rig.changed(2, 9, lambda _: Detection(wrong.point_ids, wrong.pixels + 0.01)).calibrated("brown4")
    assert [view.name for view in result.views if not view.used and len(view.pixels)] == ["cam2/09"]
    assert max(pose_z_scores(result, rig)) < THREE_SIGMA_6D


@pytest.mark.slow
def test_a_folder_with_some_of_another_camera_s_pictures(stereo_rig: SimulatedRig) -> None:
    """Three of the second camera's are the first one's, of other moments: they leave no trace, and the first one's own
    pictures of those moments are kept."""
    mixed = stereo_rig
    for frame, taken in ((2, 6), (5, 9), (8, 0)):
        own = stereo_rig.found[0][taken]
        mixed = mixed.changed(1, frame, lambda _, own=own: Detection(own.point_ids, own.pixels + 0.01))
    result = mixed.calibrated("brown4")
    rejected = [view for view in result.views if not view.used]
    assert [view.name for view in rejected] == ["cam1/02", "cam1/05", "cam1/08"]
    assert all("is none of this camera's" in view.reason and len(view.pixels) for view in rejected)
    for camera in result.cameras:
        assert camera.alone is not None
        assert camera.alone.rms_px < 1.1 * 0.1 * math.sqrt(2.0)
    assert max(pose_z_scores(result, stereo_rig)) < THREE_SIGMA_6D


def test_frames_paired_wrongly_throughout_are_told(stereo_rig: SimulatedRig) -> None:
    shuffled = replace(stereo_rig, found=(stereo_rig.found[0], (*stereo_rig.found[1][5:], *stereo_rig.found[1][:5])))
    with pytest.raises(EstimationError, match=r"cam0 and cam1 see the board in 12 common frames.*contradict"):
        shuffled.calibrated("brown4", intrinsics=(PINHOLE, OTHER))


def test_the_same_pictures_twice_are_told(stereo_rig: SimulatedRig) -> None:
    twice = replace(stereo_rig, found=(stereo_rig.found[0], stereo_rig.found[0]))
    with pytest.raises(InputError, match=r"cam0 and cam1 hold the same pictures \(12 of 12"):
        twice.calibrated("brown4", intrinsics=(PINHOLE, PINHOLE))


def test_cameras_that_nothing_ties_together_are_named() -> None:
    poses = [np.eye(4), BESIDE, np.eye(4)]
    only = [[0, 1]] * 8 + [[2]] * 8
    rig = simulate([PINHOLE, OTHER, PINHOLE], poses, spread_aims(16, 1), only=only)
    with pytest.raises(
        EstimationError, match=r"cam0 and cam1 hang together; cam2 sees the board with no other camera; take pictures"
    ):
        rig.calibrated("brown4", intrinsics=(PINHOLE, OTHER, PINHOLE))


def test_a_camera_that_hardly_saw_the_board_is_named(stereo_rig: SimulatedRig) -> None:
    seen = stereo_rig.found[1]
    few = (*seen[:1], *(Detection.nothing("no board found") for _ in seen[1:]))
    with pytest.raises(EstimationError, match=r"camera cam1: .*in one picture only"):
        replace(stereo_rig, found=(stereo_rig.found[0], few)).calibrated("brown4", intrinsics=(PINHOLE, None))
    held = replace(stereo_rig, found=(stereo_rig.found[0], few)).calibrated("brown4", intrinsics=(PINHOLE, OTHER))
    assert held.pairs[0].frames == 1
    assert any("cam0 and cam1 both see the board" in advice for advice in held.verdict.advice)


def test_a_rig_that_is_not_rigid_is_told(stereo_rig: SimulatedRig) -> None:
    """Each picture of the second camera is shifted by a few pixels, as if it had moved."""
    rng = np.random.default_rng(0)
    shaken = stereo_rig
    for frame in range(12):
        shift = rng.normal(scale=2.0, size=2)
        shaken = shaken.changed(1, frame, lambda seen, shift=shift: Detection(seen.point_ids, seen.pixels + shift))
    result = shaken.calibrated("brown4", intrinsics=(PINHOLE, None))
    assert result.verdict.level in (Level.POOR, Level.USABLE)
    assert any("fixed to each other" in advice for advice in result.verdict.advice)
    # The shifts are not paid for with the intrinsics that each picture by itself knows well.
    focal = result.cameras[1].camera.params[0]
    assert focal == pytest.approx(OTHER.params[0], rel=0.02)


def test_one_camera_is_no_rig(stereo_rig: SimulatedRig) -> None:
    with pytest.raises(InputError, match="at least two cameras"):
        calibrate_rig_sources(RigSources((), None))


def test_intrinsics_have_to_be_as_many_as_cameras() -> None:
    from cv3d.calibration.rig.frames import RigInput

    sources = RigSources((RigInput("a", (), None), RigInput("b", (), None)), None)
    with pytest.raises(UsageError, match="for 1 cameras, and there are 2"):
        calibrate_rig_sources(sources, RigOptions(intrinsics=(PINHOLE,)))


@pytest.mark.slow
def test_four_cameras_around_a_volume() -> None:
    poses = [
        np.eye(4),
        pose((0.0, 25.0, 0.0), (0.25, 0.0, 0.05)),
        pose((0.0, -25.0, 0.0), (-0.25, 0.0, 0.05)),
        pose((-20.0, 0.0, 3.0), (0.0, 0.2, 0.05)),
    ]
    rig = simulate([PINHOLE, OTHER, OTHER, PINHOLE], poses, spread_aims(20, 9, x=(-0.1, 0.1)), seed=9)
    result = rig.calibrated("brown4", board_warp="off")
    assert max(pose_z_scores(result, rig)) < THREE_SIGMA_6D
    assert len(result.pairs) == 6
