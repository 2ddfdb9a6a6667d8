"""The estimator on rendered recordings with exact truth, and on real ones where they are."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cv3d.evaluation.trajectory.choices import Alignment
from cv3d.evaluation.trajectory.evaluating import TrajectoryOptions, evaluate_trajectory
from cv3d.formats.trajectories import read_trajectory
from cv3d.geometry.cameras import Camera
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.sequences.frame import SequenceFrame
from cv3d.odometry.estimator import Odometry
from cv3d.odometry.results import FrameResult, Sensor, State
from cv3d.odometry.sources import open_sequence

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


def rgbd_frames() -> tuple[Camera, Trajectory, list[SequenceFrame]]:
    sequence = open_sequence(SAMPLES / "rgbd")
    assert sequence.camera is not None
    assert sequence.truth is not None
    with sequence.frames() as frames:
        return sequence.camera, sequence.truth, list(frames)


@pytest.fixture(scope="module")
def recording() -> tuple[Camera, Trajectory, list[SequenceFrame]]:
    return rgbd_frames()


def path_of(results: list[FrameResult], segment: int = 0) -> Trajectory:
    placed = [r for r in results if r.segment == segment and r.world_from_cam is not None]
    return Trajectory(np.array([r.time for r in placed]), np.stack([r.world_from_cam for r in placed]))


def run(odometry: Odometry, frames: Iterable[SequenceFrame]) -> list[FrameResult]:
    for frame in frames:
        odometry.track(frame)
    odometry.finish()
    return [odometry.result_of(record) for record in odometry.records]


def error_percent(results: list[FrameResult], truth: Trajectory, kind: Alignment) -> float:
    found = evaluate_trajectory(path_of(results), truth, TrajectoryOptions(alignment=kind))
    return float(found.ate_percent)


def test_depth_camera_is_within_two_thousandths_of_the_path(
    recording: tuple[Camera, Trajectory, list[SequenceFrame]],
) -> None:
    camera, truth, frames = recording
    results = run(Odometry(camera, Sensor.RGBD), frames)
    assert all(r.state is State.OK and r.segment == 0 for r in results)
    assert error_percent(results, truth, Alignment.SE3) < 0.2


def test_single_camera_is_within_half_a_percent_of_the_path(
    recording: tuple[Camera, Trajectory, list[SequenceFrame]],
) -> None:
    camera, truth, frames = recording
    results = run(Odometry(camera, Sensor.MONO), [replace(f, depth=None) for f in frames])
    assert sum(r.world_from_cam is not None for r in results) == len(frames)
    assert error_percent(results, truth, Alignment.SIM3) < 0.5


def test_two_runs_are_alike_to_the_last_bit(recording: tuple[Camera, Trajectory, list[SequenceFrame]]) -> None:
    camera, _, frames = recording
    first, second = (run(Odometry(camera, Sensor.RGBD), frames[:15]) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.world_from_cam, other.world_from_cam)


def test_exposure_that_changes_does_not_matter(recording: tuple[Camera, Trajectory, list[SequenceFrame]]) -> None:
    camera, truth, frames = recording
    gains = 1.0 + 0.4 * np.sin(np.arange(len(frames)))
    changed = [
        replace(f, gray=np.clip(f.gray * 0.6 * gain + 5.0, 0, 255).astype(np.uint8))
        for f, gain in zip(frames, gains, strict=True)
    ]
    assert error_percent(run(Odometry(camera, Sensor.RGBD), changed), truth, Alignment.SE3) < 0.2


def test_a_camera_that_stands_still_has_a_place_and_says_so(
    recording: tuple[Camera, Trajectory, list[SequenceFrame]],
) -> None:
    camera, _, frames = recording
    noise = np.random.default_rng(0)
    still = [
        replace(
            frames[0],
            index=i,
            time=i / 30.0,
            depth=None,
            gray=np.clip(frames[0].gray + noise.normal(0.0, 1.0, frames[0].gray.shape), 0, 255).astype(np.uint8),
        )
        for i in range(12)
    ]
    results = run(Odometry(camera, Sensor.MONO), still)
    assert {r.state for r in results} == {State.LOW_PARALLAX}
    for result in results:
        assert result.world_from_cam is not None
        np.testing.assert_allclose(result.world_from_cam, np.eye(4), atol=2e-3)
        assert "turned, or stood still" in result.reason


def test_dark_frames_are_passed_over_and_the_place_is_found_again(
    recording: tuple[Camera, Trajectory, list[SequenceFrame]],
) -> None:
    camera, truth, frames = recording
    dark = [
        replace(f, gray=np.zeros_like(f.gray), depth=np.zeros_like(f.depth)) if 12 <= i < 15 else f
        for i, f in enumerate(frames)
    ]
    results = run(Odometry(camera, Sensor.RGBD), dark)
    assert [r.index for r in results if r.world_from_cam is None] == [12, 13, 14]
    assert all(r.state is State.EXPOSURE and "black" in r.reason for r in results[12:15])
    assert {r.segment for r in results if r.world_from_cam is not None} == {0}
    assert error_percent(results, truth, Alignment.SE3) < 0.3


def test_pictures_of_another_shape_are_left_out_and_told(
    recording: tuple[Camera, Trajectory, list[SequenceFrame]],
) -> None:
    camera, _, frames = recording
    mixed = [replace(f, gray=f.gray[:, :200]) if i == 5 else f for i, f in enumerate(frames[:10])]
    odometry = Odometry(camera, Sensor.RGBD)
    results = run(odometry, mixed)
    assert results[5].world_from_cam is None
    assert "200x240" in results[5].reason
    assert all(r.world_from_cam is not None for i, r in enumerate(results) if i != 5)
    assert odometry.warnings


def test_points_and_their_views_hang_together(recording: tuple[Camera, Trajectory, list[SequenceFrame]]) -> None:
    """What key frames see projects to where they see it."""
    camera, _, frames = recording
    odometry = Odometry(camera, Sensor.RGBD)
    run(odometry, frames)
    errors = []
    for key in odometry.keys:
        rows = key.rows[odometry.points.kind[key.rows] == 2]
        pixels = key.pixels[odometry.points.kind[key.rows] == 2]
        seen = odometry.points.xyz[rows] @ key.cam_from_world[:3, :3].T + key.cam_from_world[:3, 3]
        errors.append(np.linalg.norm(camera.project(seen) - pixels, axis=1))
    assert np.median(np.concatenate(errors)) < 0.3


@pytest.mark.slow
def test_the_sample_clip_is_followed_throughout() -> None:
    camera = Camera.from_dict(json.loads((SAMPLES / "room_ground_truth.json").read_text())["camera"])
    truth = read_trajectory(SAMPLES / "room_trajectory.tum")
    with open_sequence(SAMPLES / "room.mp4", camera=camera).frames() as frames:
        results = run(Odometry(camera, Sensor.MONO), frames)
    assert sum(r.world_from_cam is not None for r in results) == 110
    assert error_percent(results, truth, Alignment.SIM3) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("sensor", "kind"), [("rgbd", Alignment.SE3), ("mono", Alignment.SIM3)])
def test_seven_scenes_is_tracked_throughout(data_root: Path, sensor: str, kind: Alignment) -> None:
    """ORB-SLAM3 has 3.0 cm with depth and 2.9 cm, on 90 % of the frames, without."""
    sequence = open_sequence(data_root / "rgbd" / "seven_scenes", sensor=sensor)
    assert sequence.camera is not None
    assert sequence.truth is not None
    with sequence.frames() as frames:
        results = run(Odometry(sequence.camera, Sensor(sensor)), frames)
    assert all(r.segment == 0 for r in results)
    found = evaluate_trajectory(path_of(results), sequence.truth, TrajectoryOptions(alignment=kind))
    assert found.ate.rmse < 0.029


@pytest.mark.slow
def test_a_car_is_followed_throughout(data_root: Path) -> None:
    sequence = open_sequence(data_root / "vo" / "kitti_a", sensor="mono")
    assert sequence.camera is not None
    assert sequence.truth is not None
    with sequence.frames() as frames:
        results = run(Odometry(sequence.camera, Sensor.MONO), frames)
    assert all(r.segment == 0 for r in results)
    assert error_percent(results, sequence.truth, Alignment.SIM3) < 0.3
