"""Rigs whose frames are not instants: the board moved between the cameras' exposures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cv3d.calibration.deformation import undeformed
from cv3d.calibration.detecting import BoardSightings, SeenPicture
from cv3d.calibration.detection.base import Detection
from cv3d.calibration.problem import Observations
from cv3d.calibration.rig.estimating import estimate_rig
from cv3d.calibration.rig.frames import Moment, RigInput, RigSources, Timeline
from cv3d.calibration.rig.options import RigOptions
from cv3d.calibration.rig.pose_track import PoseTrack
from cv3d.calibration.rig.problem import Asynchrony, CameraViews, RigProblem, RigState
from cv3d.calibration.rig.result import RigCalibration, Synchronisation, SyncMethod
from cv3d.geometry.cameras.camera import Camera

from .conftest import ASYMMETRIC, OTHER, PINHOLE, NoPicture, SimulatedRig, pose, pose_z_scores

Floats = NDArray[np.float64]

CAMERAS = (PINHOLE, OTHER)
POSES = (np.eye(4), pose((1.0, 8.0, 0.5), (0.12, 0.0, 0.01)))
NOISE = 0.1
PERIOD = 0.1
THREE_SIGMA_6D = 4.45


def hand(time: float) -> Floats:
    """cam0_from_board of a board that is waved about."""
    centre = ASYMMETRIC.points_m().mean(axis=0)
    turn = Rotation.from_rotvec(
        [0.45 * math.sin(1.9 * time), 0.5 * math.sin(1.3 * time + 1.0), 0.3 * math.sin(0.9 * time + 0.3)]
    ).as_matrix()
    middle = [
        0.05 * math.sin(1.7 * time + 0.5) + 0.03,
        0.04 * math.sin(2.1 * time + 2.0),
        0.62 + 0.12 * math.sin(0.7 * time),
    ]
    result = np.eye(4)
    result[:3, :3] = turn
    result[:3, 3] = np.array(middle) - turn @ centre
    return result


def waved(late_s: float, jitter_s: float = 2e-3, seed: int = 0, frames: int = 45) -> tuple[RigSources, SimulatedRig]:
    """What two cameras of 10 Hz saw, the second `late_s` later than its stamps say."""
    rng = np.random.default_rng(seed)
    points = ASYMMETRIC.points_m()
    stamps = PERIOD * np.arange(float(frames))
    found: list[list[Detection]] = []
    for camera, cam_from_cam0, late in zip(CAMERAS, POSES, (0.0, late_s), strict=True):
        own = []
        for stamp in stamps:
            matrix = cam_from_cam0 @ hand(stamp + late + rng.normal(scale=jitter_s))
            pixels = camera.project(points @ matrix[:3, :3].T + matrix[:3, 3])
            own.append(Detection(np.arange(len(points)), pixels + rng.normal(scale=NOISE, size=pixels.shape)))
        found.append(own)
    inputs = tuple(
        RigInput(f"cam{c}", tuple(NoPicture(f"cam{c}/{f:02d}") for f in range(frames)), tuple(stamps.tolist()))
        for c in range(len(CAMERAS))
    )
    moments = tuple(Moment(f"{f:02d}", float(stamp), (f, f)) for f, stamp in enumerate(stamps))
    none = (0.0, 0.0)
    timeline = Timeline(moments, Synchronisation(SyncMethod.TABLE, "by a table", none, none, 0.0))
    boards = np.stack([hand(stamp) for stamp in stamps])
    truth = SimulatedRig(ASYMMETRIC, CAMERAS, np.stack(POSES), boards, tuple(map(tuple, found)))
    return RigSources(inputs, timeline), truth


def calibrated(sources: RigSources, truth: SimulatedRig, given: tuple[Camera, ...] | None = None) -> RigCalibration:
    sightings = [
        BoardSightings(
            truth.board,
            tuple(
                SeenPicture(picture, seen, (camera.width, camera.height))
                for picture, seen in zip(source.pictures, own, strict=True)
            ),
        )
        for source, camera, own in zip(sources.cameras, truth.cameras, truth.found, strict=True)
    ]
    return estimate_rig(sources, sightings, RigOptions(model="brown4", intrinsics=given))


def without_times(sources: RigSources) -> RigSources:
    """The same pictures matched by names."""
    assert sources.timeline is not None
    moments = tuple(replace(moment, time=None) for moment in sources.timeline.moments)
    how = replace(sources.timeline.synchronisation, method=SyncMethod.NAME)
    return RigSources(tuple(replace(one, times=None) for one in sources.cameras), Timeline(moments, how))


@pytest.fixture(scope="module", params=[CAMERAS, pytest.param(None, marks=pytest.mark.slow)], ids=["given", "found"])
def late(request: pytest.FixtureRequest) -> tuple[RigCalibration, SimulatedRig]:
    """The second camera 30 ms late, with intrinsics given, and as slow tests with those found at the same time."""
    sources, truth = waved(0.03)
    return calibrated(sources, truth, request.param), truth


def test_a_late_camera_is_told_by_how_much(late: tuple[RigCalibration, SimulatedRig]) -> None:
    result, _ = late
    how = result.synchronisation
    assert how.offsets_s[0] == 0.0
    assert abs(how.offsets_s[1] - 0.03) < 3.0 * how.offsets_std_s[1]
    assert 0.0 < how.offsets_std_s[1] < 2e-3
    assert "the board moved between the exposures" in how.sentence


def test_a_late_camera_is_where_it_is(late: tuple[RigCalibration, SimulatedRig]) -> None:
    result, truth = late
    assert max(pose_z_scores(result, truth)) < THREE_SIGMA_6D
    assert result.noise_px == pytest.approx(NOISE, rel=0.1)
    for camera in result.cameras:
        assert camera.rms_px < 0.6, "plain residuals, motion between frames included"


def test_without_times_the_motion_stays_in_the_residuals(late: tuple[RigCalibration, SimulatedRig]) -> None:
    sources, truth = waved(0.03)
    plain = calibrated(without_times(sources), truth, CAMERAS)
    assert plain.rms_px > 2.5 * late[0].rms_px
    assert plain.noise_px > 5.0 * NOISE


@pytest.mark.slow
def test_stamps_off_by_most_of_a_frame_are_set_right() -> None:
    sources, truth = waved(-0.08)
    result = calibrated(sources, truth)
    assert any("set right" in warning for warning in result.warnings)
    assert result.synchronisation.method is SyncMethod.OFFSET
    assert result.synchronisation.sentence.startswith("the stamps of the table do not hold")
    assert result.synchronisation.offsets_s[1] == pytest.approx(-0.08, abs=2.5e-3)
    assert max(pose_z_scores(result, truth)) < THREE_SIGMA_6D
    views = {(view.camera, view.frame): view.picture.name for view in result.views}
    pairs = [(views[0, f], views[1, f]) for f in range(len(result.frames)) if {(0, f), (1, f)} <= views.keys()]
    assert pairs
    assert all(int(second[-2:]) - int(first[-2:]) == 1 for first, second in pairs)


def track(stamps: Floats) -> PoseTrack:

    centre = ASYMMETRIC.points_m().mean(axis=0)
    return PoseTrack.of(stamps, np.stack([hand(float(time)) for time in stamps]), centre, [np.eye(4)])


def test_a_board_is_carried_along_its_motion() -> None:
    times = PERIOD * np.arange(8.0)
    carry = track(times).carry(times - 0.03)
    for index in range(2, 6):
        moved = carry.rotation[index] @ hand(times[index] - 0.03)[:3, :3]
        np.testing.assert_allclose(moved, hand(times[index])[:3, :3], atol=2e-4)
        turned = Rotation.from_matrix(moved @ hand(times[index])[:3, :3].T).magnitude()
        assert turned < 8.0 * carry.turn_error[index]


def test_the_velocity_is_the_derivative_of_the_pose() -> None:
    times = PERIOD * np.arange(8.0)
    velocity = track(times).carry(times).velocity
    step = 1e-4
    for index in range(2, 6):
        before, after = hand(times[index] - step), hand(times[index] + step)
        turn = Rotation.from_matrix(after[:3, :3] @ before[:3, :3].T).as_rotvec() / (2.0 * step)
        shift = (after[:3, 3] - before[:3, 3]) / (2.0 * step) - np.cross(turn, hand(times[index])[:3, 3])
        np.testing.assert_allclose(velocity[index], [*turn, *shift], atol=2e-2)


def test_nothing_is_carried_over_a_gap() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.3, 2.0])
    carry = track(times).carry(times + 0.04)
    np.testing.assert_array_equal(carry.rotation[4], np.eye(3))
    np.testing.assert_allclose(carry.velocity[4], 0.0)
    assert carry.turn_error[4] > 10.0 * carry.turn_error[1], "and that is known to be worse"


def test_the_gradient_is_the_derivative_of_the_cost() -> None:
    """With respect to a camera's pose and its clock, views carried along the board's motion."""
    sources, truth = waved(0.03, frames=6)
    points = torch.from_numpy(truth.board.points_m())
    stamps = np.array(sources.cameras[0].times)
    cameras, moving = [], []
    for c, camera in enumerate(truth.cameras):
        observed = Observations.gather(points, [(seen.point_ids, seen.pixels) for seen in truth.found[c]])
        cameras.append(CameraViews(camera.lens, observed, torch.arange(6), 640))
        poses = truth.cam_from_cam0[c] @ truth.cam0_from_board
        carry = PoseTrack.of(stamps, poses, truth.board.points_m().mean(axis=0), [np.eye(4)]).carry(stamps - 0.01 * c)
        moving.append(
            Asynchrony(
                torch.from_numpy(carry.rotation),
                torch.from_numpy(carry.translation),
                torch.from_numpy(carry.velocity),
                torch.zeros(6, 6, 1, dtype=torch.float64),
                0.01 * c,
                0.1 if c else 0.0,
            )
        )
    problem = RigProblem(tuple(cameras), asynchrony=tuple(moving), unit_px=0.1)
    poses, boards = torch.from_numpy(truth.cam_from_cam0), torch.from_numpy(truth.cam0_from_board)
    state = RigState(
        tuple(torch.tensor(camera.params, dtype=torch.float64) for camera in truth.cameras),
        undeformed(),
        poses[:, :3, :3],
        poses[:, :3, 3],
        boards[:, :3, :3],
        boards[:, :3, 3],
        torch.tensor([0.0, 0.01], dtype=torch.float64),
    )
    layout, system = problem.layout(), problem.linearize(state)
    still = torch.zeros(6, 6, dtype=torch.float64)
    for place in (*range(layout.poses[1].start, layout.poses[1].stop), layout.offsets[1].start):
        step = torch.zeros(layout.size, dtype=torch.float64)
        step[place] = 1e-6
        ahead, behind = (problem.linearize(problem.retract(state, sign * step, still)).cost for sign in (1.0, -1.0))
        assert (ahead - behind) / 2e-6 == pytest.approx(float(system.shared_gradient[place]), rel=2e-4)
    for place in range(6):
        move = still.clone()
        move[3, place] = 1e-6
        none = torch.zeros(layout.size, dtype=torch.float64)
        ahead, behind = (problem.linearize(problem.retract(state, none, sign * move)).cost for sign in (1.0, -1.0))
        assert (ahead - behind) / 2e-6 == pytest.approx(float(system.block_gradients[3, place]), rel=2e-4)


def test_slack_weighs_residuals_by_the_inverse_of_their_covariance() -> None:
    """A view that may have moved at random along one direction costs nothing for having done so."""
    _, truth = waved(0.0, jitter_s=0.0, frames=4)
    points = torch.from_numpy(truth.board.points_m())
    observed = Observations.gather(points, [(seen.point_ids, seen.pixels) for seen in truth.found[0]])
    boards = torch.from_numpy(truth.cam0_from_board)
    velocity = torch.zeros(4, 6, dtype=torch.float64)
    velocity[:, 3] = 1.0
    slack = torch.zeros(4, 6, 1, dtype=torch.float64)
    slack[2, 3, 0] = 0.1
    identity, nothing = torch.eye(3, dtype=torch.float64).expand(4, 3, 3), torch.zeros(4, 3, dtype=torch.float64)
    one = Asynchrony(identity, nothing, velocity, slack, 0.0, 0.0)
    views = CameraViews(PINHOLE.lens, observed, torch.arange(4), 640)
    problem = RigProblem((views,), asynchrony=(one,), unit_px=NOISE)
    state = RigState(
        (torch.tensor(PINHOLE.params, dtype=torch.float64),),
        undeformed(),
        torch.eye(3, dtype=torch.float64)[None],
        torch.zeros(1, 3, dtype=torch.float64),
        boards[:, :3, :3],
        boards[:, :3, 3],
        torch.zeros(1, dtype=torch.float64),
    )
    costs = []
    for view in (1, 2):
        moved = state.frame_translation.clone()
        moved[view, 0] += 1e-3
        costs.append(problem.linearize(replace(state, frame_translation=moved)).cost)
    still = problem.linearize(state).cost
    assert costs[0] > 5.0 * still
    assert costs[1] == pytest.approx(still, rel=0.1)
