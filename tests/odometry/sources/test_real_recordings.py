"""The field's own recordings, and the samples: recognised, and their numbers those of their pages."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cv3d.formats.trajectories import read_trajectory
from cv3d.media.sequences import judge_depth
from cv3d.odometry.results import Sensor
from cv3d.odometry.sources import open_sequence


def test_seven_scenes(data_root: Path) -> None:
    folder = data_root / "rgbd" / "seven_scenes"
    sequence = open_sequence(folder)
    assert (sequence.kind, sequence.sensor, sequence.frame_count) == ("seven_scenes", Sensor.RGBD, 250)
    assert sequence.camera is not None
    assert (sequence.camera.width, *sequence.camera.params) == (640, 585.0, 585.0, 320.0, 240.0)
    with sequence.frames() as stream:
        frames = [next(stream) for _ in range(3)]
    stored = np.asarray(cv2.imread(str(folder / "frame-000002.depth.png"), cv2.IMREAD_UNCHANGED))
    depth = frames[2].depth
    assert depth is not None
    assert ((depth == 0.0) == ((stored == 0) | (stored == 65535))).all()
    np.testing.assert_allclose(depth[depth > 0.0], stored[depth > 0.0] / 1000.0, rtol=1e-6)
    assert judge_depth([depth], sequence.depth_scale) == []
    assert judge_depth([depth * 1000.0], 1.0) != []
    gray = cv2.imread(str(folder / "frame-000002.color.jpg"), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(frames[2].gray, gray)
    truth = sequence.truth
    assert truth is not None
    np.testing.assert_array_equal(truth.world_from_cam, read_trajectory(folder).world_from_cam)
    np.testing.assert_allclose(np.diff(truth.times), 1.0 / 30.0, atol=1e-12)


def test_kitti(data_root: Path) -> None:
    sequence = open_sequence(data_root / "vo" / "kitti_a")
    assert (sequence.kind, sequence.sensor, sequence.frame_count) == ("kitti", Sensor.MONO, 51)
    assert any("10 Hz is assumed" in note for note in sequence.notes)
    assert sequence.camera is not None
    assert sequence.camera.params == (707.0912, 707.0912, 601.8873, 183.1104)
    truth = sequence.truth
    assert truth is not None
    # A car.
    assert 5.0 < truth.length_m / truth.duration_s < 20.0


def test_euroc(data_root: Path) -> None:
    sequence = open_sequence(data_root / "vo" / "euroc_v101")
    assert (sequence.kind, sequence.sensor, sequence.frame_count) == ("euroc", Sensor.STEREO, 80)
    assert sequence.right_from_left is not None
    assert np.linalg.norm(sequence.right_from_left[:3, 3]) == pytest.approx(0.1101, abs=1e-3)
    assert sequence.fps == pytest.approx(20.0, abs=0.01)
    with sequence.frames() as stream:
        frame = next(stream)
    assert frame.right_gray is not None
    assert frame.right_gray.shape == frame.gray.shape == (480, 752)
    assert sequence.truth is not None
    assert frame.time < sequence.truth.times[0]


def test_posed_pictures(data_root: Path) -> None:
    fox = open_sequence(data_root / "views" / "fox")
    assert (fox.frame_count, fox.camera is not None and fox.camera.model) == (50, "brown4")
    assert fox.truth is not None
    assert len(fox.truth) == 50
    fountain = open_sequence(data_root / "views" / "fountain-P11")
    assert fountain.camera is not None
    assert fountain.camera.params[0] == 2759.48


@pytest.mark.parametrize(("name", "count"), [("stone_sign", 83), ("log_building_02", 85)])
def test_clips(data_root: Path, name: str, count: int) -> None:
    sequence = open_sequence(data_root / "clips" / f"{name}.mp4")
    with sequence.frames() as stream:
        assert sum(1 for _ in stream) == sequence.frame_count == count
    assert stream.problems == []


def test_the_rendered_recording(project_root: Path) -> None:
    folder = project_root / "data" / "samples" / "rgbd"
    sequence = open_sequence(folder)
    assert (sequence.sensor, sequence.depth_scale, sequence.frame_count) == (Sensor.RGBD, 0.001, 30)
    assert sequence.camera is not None
    assert sequence.camera.params == (262.5, 262.5, 160.2, 119.4)
    assert sequence.fps == pytest.approx(10.0)
    truth = sequence.truth
    assert truth is not None
    walk = read_trajectory(project_root / "data" / "samples" / "room_trajectory.tum")
    np.testing.assert_allclose(truth.positions, walk.positions[::3][:30], atol=1e-6)
    stereo = open_sequence(project_root / "data" / "samples" / "stereo")
    assert (stereo.sensors, stereo.frame_count) == ((Sensor.MONO, Sensor.STEREO), 10)
