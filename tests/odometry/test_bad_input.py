"""What people really hand over: still cameras, gaps, black pictures, wrong numbers, a cable pulled, Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.compute import torch_threads
from cv3d.errors import InputError
from cv3d.geometry import cameras as geometry
from cv3d.media.sequences import SequenceFrame
from cv3d.odometry import estimator, running
from cv3d.odometry.looks import Look
from cv3d.odometry.results import FrameResult, OdometryResult, State
from cv3d.odometry.running import odometry
from cv3d.odometry.sources import Sequence, open_sequence
from cv3d.progress import Silent

from .recordings import Clip, read_sample

_PACE_S = 0.03
"""Between pictures of the fake camera."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


@pytest.fixture(scope="module")
def sample() -> Clip:
    """Two seconds of the walk, at 10 Hz."""
    return read_sample(Path(__file__).resolve().parents[2] / "data" / "samples", 22)


@pytest.fixture(scope="module")
def short(sample: Clip) -> Clip:
    """The first half of it, for what does not take longer to show."""
    return sample.taken(list(range(12)))


@dataclass
class Told(Silent):
    """Keeps what a user would be told, and presses Ctrl-C after so many frames."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    interrupt_after: int = sys.maxsize

    def info(self, message: str) -> None:
        self.notes.append(message)

    def expect(self, message: str) -> None: ...

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def advance(self, stage: str, steps: int = 1) -> None:
        self.interrupt_after -= steps
        if self.interrupt_after <= 0:
            self.interrupt_after = sys.maxsize
            raise KeyboardInterrupt


def worst_cm(result: OdometryResult, clip: Clip, indices: list[int] | None = None) -> float:
    """Largest deviation of the positions from the truth, centimetres, with the first pose for the origin."""
    frames = [frame for frame in result.frames if frame.world_from_cam is not None]
    numbers = [frame.index for frame in frames] if indices is None else indices
    found = np.stack([frame.world_from_cam for frame in frames if frame.world_from_cam is not None])
    truth = clip.world_from_cam[numbers]
    truth = np.linalg.inv(truth[0]) @ truth
    found = np.linalg.inv(found[0]) @ found
    return 100.0 * float(np.abs(found[:, :3, 3] - truth[:, :3, 3]).max())


def all_tracked_in_one(result: OdometryResult) -> bool:
    """Whether every frame has a pose, all of them in one segment."""
    return result.segment_sizes == (len(result.frames),)


def noisy(picture: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """A picture as the same camera would take it a moment later."""
    noise = np.random.default_rng(seed).normal(0.0, 2.0, picture.shape)
    return np.clip(picture + noise, 0.0, 255.0).astype(np.uint8)


# -- the camera does not move, or hardly films


def still(clip: Clip, count: int) -> Clip:
    """The first moment over and over, with fresh noise."""
    taken = clip.taken([0] * count)
    colors = tuple(noisy(color, index) for index, color in enumerate(taken.colors))
    return replace(taken, colors=colors, times=tuple(index / 30.0 for index in range(count)))


def test_still_camera_without_depth(sample: Clip, tmp_path: Path) -> None:
    result = odometry(still(sample, 15).write(tmp_path / "still", depth=False))
    assert all_tracked_in_one(result)
    assert np.abs(result.trajectory.world_from_cam - np.eye(4)).max() < 1e-3
    assert not result.key_frames or not len(result.map.points)
    assert {frame.state for frame in result.frames} == {State.LOW_PARALLAX}
    assert all("stood still" in frame.reason for frame in result.frames)


def test_still_camera_with_depth(sample: Clip, tmp_path: Path) -> None:
    result = odometry(still(sample, 15).write(tmp_path / "still"))
    assert all_tracked_in_one(result)
    positions = result.trajectory.positions
    assert np.abs(positions - positions[0]).max() < 2e-3


def test_two_frames(sample: Clip, tmp_path: Path) -> None:
    two = sample.taken([0, 1])
    with_depth = odometry(two.write(tmp_path / "rgbd"))
    assert all_tracked_in_one(with_depth)
    assert worst_cm(with_depth, two) < 1.0
    without = odometry(two.write(tmp_path / "mono", depth=False))
    assert len(without.frames) == 2


def test_one_frame(sample: Clip, tmp_path: Path) -> None:
    one = sample.taken([0])
    for depth in (True, False):
        result = odometry(one.write(tmp_path / f"depth_{depth}", depth=depth))
        assert [frame.index for frame in result.frames] == [0]
        assert np.array_equal(result.trajectory.world_from_cam, np.eye(4)[None])


# -- pictures without anything in them, or missing


@pytest.mark.parametrize(
    ("depth", "value"),
    [(True, 0), pytest.param(False, 0, marks=pytest.mark.slow), pytest.param(False, 255, marks=pytest.mark.slow)],
)
def test_black_and_white_frames(sample: Clip, tmp_path: Path, depth: bool, value: int) -> None:
    void = range(14, 17)
    colors = [np.full_like(color, value) if i in void else color for i, color in enumerate(sample.colors)]
    result = odometry(replace(sample, colors=tuple(colors)).write(tmp_path / "clip", depth=depth))
    assert [frame.state for frame in result.frames if frame.index in void] == [State.EXPOSURE] * len(void)
    seen = [frame for frame in result.frames if frame.index not in void]
    assert {frame.segment for frame in seen} == {0}
    assert all(frame.world_from_cam is not None for frame in seen)
    if depth:
        assert worst_cm(result, sample) < 2.0


def test_all_black(sample: Clip, tmp_path: Path) -> None:
    colors = tuple(np.zeros_like(color) for color in sample.colors[:5])
    result = odometry(replace(sample.taken(list(range(5))), colors=colors).write(tmp_path / "clip"))
    assert result.tracked_fraction == 0.0
    assert all(frame.reason for frame in result.frames)


@pytest.mark.parametrize("depth", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_dropped_frames(sample: Clip, tmp_path: Path, depth: bool) -> None:
    kept = [i for i in range(len(sample)) if i not in (5, 11, 12, 18, 19, 20)]
    result = odometry(sample.taken(kept).write(tmp_path / "clip", depth=depth))
    assert all_tracked_in_one(result)
    if depth:
        assert worst_cm(result, sample, kept) < 1.0


# -- stamps


def test_odd_stamps_are_kept_and_told(sample: Clip, tmp_path: Path) -> None:
    jitter = np.random.default_rng(5).uniform(-0.03, 0.03, len(sample))
    times = [time + float(shift) for time, shift in zip(sample.times, jitter, strict=True)]
    times[8] = times[7]
    times[15], times[16] = times[16], times[15]
    result = odometry(replace(sample, times=tuple(times)).write(tmp_path / "clip"))
    assert [frame.time for frame in result.frames] == pytest.approx(times, abs=1e-9)
    assert all_tracked_in_one(result)
    assert worst_cm(result, sample) < 1.0
    assert np.all(np.diff(result.trajectory.times) >= 0.0)
    assert result.warnings == (
        "1 frames repeat the time stamp of the one before",
        "the time stamps go back 1 times",
    )


# -- pictures of another size


def test_smaller_pictures_from_the_middle_on(sample: Clip, tmp_path: Path) -> None:
    colors = [
        cv2.resize(c, (240, 180), interpolation=cv2.INTER_AREA) if i >= 15 else c for i, c in enumerate(sample.colors)
    ]
    result = odometry(replace(sample, colors=tuple(np.asarray(c, np.uint8) for c in colors)).write(tmp_path / "clip"))
    assert all_tracked_in_one(result)
    assert worst_cm(result, sample) < 2.0
    assert any("240x180" in warning for warning in result.warnings)


def test_pictures_of_other_proportions_from_the_middle_on(sample: Clip, tmp_path: Path) -> None:
    colors = [color[:, 60:240] if i >= 15 else color for i, color in enumerate(sample.colors)]
    result = odometry(replace(sample, colors=tuple(colors)).write(tmp_path / "clip"))
    # Nothing says how they were cut: they are given up, and that is said.
    assert [frame.index for frame in result.frames if frame.world_from_cam is not None] == list(range(15))
    assert any("180x240" in warning for warning in result.warnings)


# -- wrong numbers


@pytest.mark.parametrize("depth", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_wrong_focal_length_is_told(sample: Clip, tmp_path: Path, depth: bool) -> None:
    wrong = sample.matrix * np.array([[1.3], [1.3], [1.0]]) * np.array([1.0, 1.0, 1.0 / 1.3])
    wrong[2] = 0.0, 0.0, 1.0
    folder = replace(sample, matrix=wrong).write(tmp_path / "clip", depth=depth)
    told = Told()
    result = odometry(folder, progress=told)
    assert any("focal" in warning or "intrinsics" in warning for warning in result.warnings)
    assert told.warnings == list(result.warnings)


@pytest.mark.parametrize("depth", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_right_focal_length_is_not_complained_of(sample: Clip, tmp_path: Path, depth: bool) -> None:
    assert odometry(sample.write(tmp_path / "clip", depth=depth)).warnings == ()


def test_depth_with_holes_and_nan(short: Clip, tmp_path: Path) -> None:
    folder = replace(short, depths=()).write(tmp_path / "clip", depth=False)
    (folder / "depth").mkdir()
    rng = np.random.default_rng(3)
    for index, depth in enumerate(short.depths):
        metres = depth.astype(np.float32) / 1000.0
        blobs = cv2.resize(rng.standard_normal((12, 16)).astype(np.float32), (320, 240), interpolation=cv2.INTER_CUBIC)
        metres[blobs > 0.0] = np.nan
        metres[blobs > 0.8] = np.inf
        metres[blobs > 1.2] = -1.0
        cv2.imwrite(str(folder / "depth" / f"{index:06d}.tiff"), metres)
    result = odometry(folder)
    assert all_tracked_in_one(result)
    assert worst_cm(result, short) < 1.5


def test_frames_without_any_depth(sample: Clip, tmp_path: Path) -> None:
    depths = tuple(np.zeros_like(depth) if i in (0, 1, 9, 10, 11) else depth for i, depth in enumerate(sample.depths))
    result = odometry(replace(sample, depths=depths).write(tmp_path / "clip"))
    assert [frame.index for frame in result.frames if frame.world_from_cam is None] in ([0, 1], [])
    assert result.segment_sizes in ((20,), (22,))


@pytest.mark.parametrize("scale", [0.5, 1e-5])
def test_impossible_depth_scale_is_told(short: Clip, tmp_path: Path, scale: float) -> None:
    result = odometry(short.write(tmp_path / "clip"), depth_scale=scale)
    assert any("scale" in warning and "0.001" in warning for warning in result.warnings)


def test_no_depth_at_all_is_told(short: Clip, tmp_path: Path) -> None:
    depths = tuple(np.zeros_like(depth) for depth in short.depths)
    result = odometry(replace(short, depths=depths).write(tmp_path / "clip"), sensor="rgbd")
    assert any("no depth is measured" in warning for warning in result.warnings)


def test_damaged_pictures_are_passed_over_and_named(sample: Clip, tmp_path: Path) -> None:
    folder = sample.write(tmp_path / "clip")
    whole = (folder / "color" / "000010.png").read_bytes()
    (folder / "color" / "000010.png").write_bytes(whole[: len(whole) // 2])
    (folder / "depth" / "000020.png").write_bytes(b"")
    result = odometry(folder)
    assert [frame.index for frame in result.frames] == [i for i in range(len(sample)) if i != 10]
    assert result.segment_sizes == (21,)
    assert any("000010.png" in warning for warning in result.warnings)
    assert any("000020.png" in warning for warning in result.warnings)


# -- it ends before its end


class Camera:
    """What OpenCV makes of a plugged camera; after so many pictures its cable is pulled."""

    def __init__(self, pictures: tuple[NDArray[np.uint8], ...], error: Exception | None = None) -> None:
        self._pictures = pictures
        self._error = error
        self._next = 0
        self.is_released = False

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def set(self, what: int, value: float) -> bool:
        return False

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        time.sleep(_PACE_S)
        self._next += 1
        if self._next <= len(self._pictures):
            return True, self._pictures[self._next - 1]
        if self._error is not None:
            raise self._error
        return False, None

    def release(self) -> None:
        self.is_released = True


@pytest.mark.parametrize("error", [None, OSError("the device is gone")])
def test_camera_unplugged(short: Clip, monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    plugged: list[Camera] = []

    def plug(device: int) -> Camera:
        plugged.append(Camera(short.colors, error))
        return plugged[-1]

    monkeypatch.setattr(cv2, "VideoCapture", plug)
    result = odometry("camera:0", camera=pinhole(short))
    assert 1 < len(result.frames) <= len(short)
    assert not result.interrupted
    assert any("camera:0" in warning and "unplugged" in warning for warning in result.warnings)
    assert np.all(np.diff([frame.time for frame in result.frames]) > 0.0)
    assert all(camera.is_released for camera in plugged)


def test_source_that_fails_in_the_middle(sample: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_after(12, InputError("the share is gone"), monkeypatch)
    result = odometry(sample.write(tmp_path / "clip"))
    assert len(result.frames) == 12
    assert all_tracked_in_one(result)
    assert worst_cm(result, sample) < 1.0
    assert any("the share is gone" in warning for warning in result.warnings)


def test_source_that_fails_at_once(sample: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_after(0, InputError("the share is gone"), monkeypatch)
    with pytest.raises(InputError, match="the share is gone"):
        odometry(sample.write(tmp_path / "clip"))


@pytest.mark.parametrize("depth", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_ctrl_c_from_the_terminal(sample: Clip, tmp_path: Path, depth: bool) -> None:
    seen: list[FrameResult] = []
    told = Told(interrupt_after=21)
    result = odometry(
        sample.write(tmp_path / "clip", depth=depth), progress=told, on_frame=lambda frame, _: seen.append(frame)
    )
    assert result.interrupted
    assert len(result.frames) == 21
    assert len(seen) == 20
    assert all_tracked_in_one(result)
    assert len(result.key_frames) > 0
    assert len(result.map.points) > 0


def test_ctrl_c_while_reading(sample: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_after(12, KeyboardInterrupt(), monkeypatch)
    result = odometry(sample.write(tmp_path / "clip"))
    assert result.interrupted
    assert len(result.frames) == 12


def test_ctrl_c_before_the_first_frame(sample: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_after(0, KeyboardInterrupt(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        odometry(sample.write(tmp_path / "clip"))


@pytest.mark.parametrize("number", [1, 13])
def test_ctrl_c_within_a_frame(sample: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """It comes wherever it will: here while a picture is looked at, before anything is known of it."""
    looked = 0

    def look_at(levels: tuple[NDArray[np.uint8], ...]) -> Look:
        nonlocal looked
        looked += 1
        if looked == number:
            raise KeyboardInterrupt
        return whole(levels)

    whole = estimator.look_at
    monkeypatch.setattr(estimator, "look_at", look_at)
    folder = sample.write(tmp_path / "clip")
    if number == 1:
        with pytest.raises(KeyboardInterrupt):
            odometry(folder)
        return
    result = odometry(folder)
    assert result.interrupted
    assert len(result.frames) == number - 1
    assert all_tracked_in_one(result)


def test_ctrl_c_in_the_final_adjustment(short: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def adjust_all(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(estimator, "adjust_all", adjust_all)
    result = odometry(short.write(tmp_path / "clip"))
    assert result.interrupted
    assert all_tracked_in_one(result)
    assert worst_cm(result, short) < 1.0


def fail_after(count: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recordings raise an error after so many frames."""

    def opened(*args: object, **kwargs: object) -> Sequence:
        sequence = open_sequence(*args, **kwargs)  # type: ignore[arg-type]

        def produce(problems: list[str]) -> Generator[SequenceFrame, None, None]:
            yield from islice(sequence._produce(problems), count)
            raise error

        return replace(sequence, _produce=produce)

    monkeypatch.setattr(running, "open_sequence", opened)


def pinhole(clip: Clip) -> geometry.Camera:
    """The sample's camera."""
    k = clip.matrix
    return geometry.Camera("pinhole", 320, 240, (k[0, 0], k[1, 1], k[0, 2], k[1, 2]))
