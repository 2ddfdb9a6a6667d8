"""Clocks brought together by the motion of the board: simulated motions with known offsets."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cv3d.calibration.calibrating import BoardWarp, CalibrateOptions, calibrate_sources
from cv3d.calibration.rig.board_motion import AttitudeTrack, CameraMotion, turn_quaternions
from cv3d.calibration.rig.inputs import gather_rig, resample_rig
from cv3d.calibration.rig.offsets import find_offset
from cv3d.calibration.rig.result import SyncMethod
from cv3d.calibration.rig.sync import check_timeline, find_clocks, find_timeline
from cv3d.errors import EstimationError
from cv3d.media.picture import Picture

UPRIGHT_ONLY = np.eye(3)[None]
HALF_TURN = np.diag([-1.0, -1.0, 1.0])
Attitude = Callable[[NDArray[np.float64]], Rotation]


def hand(seed: int, fastest_hz: float = 0.8, swing: float = 0.35) -> Attitude:
    """A board waved about: slow turns are wide, fast ones small."""
    rng = np.random.default_rng(seed)
    rates = rng.uniform(0.05, fastest_hz, (6, 3))
    phases = rng.uniform(0.0, 2.0 * math.pi, (6, 3))
    widths = rng.normal(0.0, swing, (6, 3)) / (1.0 + 2.0 * rates)

    def attitude(times: NDArray[np.float64]) -> Rotation:
        waves = widths * np.sin(2.0 * math.pi * rates * times[:, None, None] + phases)
        return Rotation.from_rotvec(waves.sum(axis=1))

    return attitude


def camera(
    attitude: Attitude,
    stamps: NDArray[np.float64],
    true_times: NDArray[np.float64],
    seed: int,
    *,
    name: str = "",
    noise_deg: float = 0.15,
    hidden: NDArray[np.bool_] | None = None,
    flipped: float = 0.0,
    wrong: float = 0.0,
) -> CameraMotion:
    """What a camera sees of the board: noisy, at times not at all, upside down or quite wrongly."""
    rng = np.random.default_rng(1000 + seed)
    seen = Rotation.random(random_state=seed) * attitude(true_times)
    count = len(stamps)
    seen = Rotation.from_rotvec(rng.normal(0.0, math.radians(noise_deg), (count, 3))) * seen
    matrices = seen.as_matrix()
    turned = rng.random(count) < flipped
    matrices[turned] = matrices[turned] @ HALF_TURN
    off = rng.random(count) < wrong
    matrices[off] = Rotation.random(int(off.sum()), random_state=seed).as_matrix() if off.any() else matrices[off]
    if hidden is not None:
        matrices[hidden] = np.nan
    return CameraMotion(name or f"cam{seed}", stamps, matrices)


def pair(
    seed: int, offset: float, *, rates: tuple[float, float] = (10.0, 10.0), span: float = 13.0, **seen: float
) -> list[CameraMotion]:
    attitude = hand(seed)
    first, second = (np.arange(0.0, span, 1.0 / rate) for rate in rates)
    return [camera(attitude, first, first, 0, **seen), camera(attitude, second, second + offset, 1, **seen)]


@pytest.mark.parametrize(
    ("offset", "rates", "seen"),
    [
        pytest.param(0.0, (10.0, 10.0), {}, marks=pytest.mark.slow),
        (3.137, (10.0, 10.0), {}),
        (-5.052, (10.0, 10.0), {"noise_deg": 0.5}),
        (1.234, (10.0, 25.0 / 3.0), {}),
        (-2.41, (10.0, 10.0), {"flipped": 0.5}),
        (0.777, (10.0, 10.0), {"wrong": 0.15}),
        pytest.param(-0.913, (6.0, 6.0), {}, marks=pytest.mark.slow),
    ],
)
def test_offsets_are_found_to_a_fraction_of_a_frame(
    offset: float, rates: tuple[float, float], seen: dict[str, float]
) -> None:
    clocks = find_clocks(pair(3, offset, rates=rates, **seen))
    assert abs(clocks.offsets_s[1] - offset) < max(1.5e-3, 4.0 * clocks.offsets_std_s[1])
    assert abs(clocks.offsets_s[1] - offset) < 5e-3
    assert clocks.offsets_std_s[1] < 4e-3
    assert clocks.rates == (0.0, 0.0)
    assert not clocks.warnings


@pytest.mark.slow
def test_deviations_are_honest() -> None:
    turns = turn_quaternions(UPRIGHT_ONLY)
    scores = []
    for seed in range(6):
        offset = 0.037 * seed - 0.2
        first, second = (AttitudeTrack.of(motion, turns) for motion in pair(seed, offset, span=10.0, noise_deg=0.4))
        found = find_offset(first, second, turns)
        assert found is not None
        scores.append((found.offset_s - offset) / found.std_s)
    assert 0.5 < math.sqrt(float(np.mean(np.square(scores)))) < 1.8


def test_gaps_of_seconds() -> None:
    attitude = hand(5)
    stamps = np.arange(0.0, 24.0, 0.1)
    first = camera(attitude, stamps, stamps, 0, hidden=np.sin(0.9 * stamps) > 0.2)
    second = camera(attitude, stamps, stamps - 1.618, 1, hidden=np.sin(0.7 * stamps + 1.0) > 0.3)
    clocks = find_clocks([first, second])
    assert clocks.offsets_s[1] == pytest.approx(-1.618, abs=3e-3)


@pytest.mark.slow
def test_a_chain_of_four_cameras() -> None:
    """Each camera sees the board together with its neighbours only."""
    attitude = hand(3)
    offsets = (0.0, 1.234, -2.5, 0.777)
    motions = []
    for index, offset in enumerate(offsets):
        stamps = np.arange(0.0, 28.0, 0.1)
        true_times = stamps + offset
        middle = 6.0 * index + 4.5
        motions.append(camera(attitude, stamps, true_times, index, hidden=np.abs(true_times - middle) > 5.5))
    clocks = find_clocks(motions, UPRIGHT_ONLY)
    np.testing.assert_allclose(clocks.offsets_s, offsets, atol=4e-3)
    assert clocks.offsets_std_s[1] < clocks.offsets_std_s[3] < 5e-3


def test_a_drifting_clock_is_followed() -> None:
    attitude = hand(8)
    first = np.arange(0.0, 90.0, 0.2)
    second = np.arange(0.0, 90.0, 1.0 / 6.0)
    drift = 1200e-6
    motions = [camera(attitude, first, first, 0), camera(attitude, second, second * (1.0 + drift) + 0.4, 1)]
    clocks = find_clocks(motions, UPRIGHT_ONLY)
    assert clocks.rates[1] == pytest.approx(drift, abs=30e-6)
    (warning,) = clocks.warnings
    assert "ppm" in warning
    for time in (0.0, 45.0, 89.0):
        there = clocks.on_first(1, np.array([time]))[0]
        assert there == pytest.approx(time * (1.0 + drift) + 0.4, abs=4e-3)


@pytest.mark.slow
def test_a_drift_of_200_ppm_is_measured() -> None:
    attitude = hand(8)
    stamps = np.arange(0.0, 90.0, 0.2)
    motions = [camera(attitude, stamps, stamps, 0), camera(attitude, stamps, stamps * (1.0 + 200e-6) - 3.3, 1)]
    clocks = find_clocks(motions, UPRIGHT_ONLY)
    assert clocks.rates[1] == pytest.approx(200e-6, abs=25e-6)
    assert not clocks.warnings, "it is less than half a frame over the recording"


def test_moments_are_nearest_in_true_time() -> None:
    offset = 1.27
    motions = pair(4, offset, rates=(10.0, 8.0), span=14.0)
    timeline = find_timeline(motions, UPRIGHT_ONLY)
    assert timeline.synchronisation.method is SyncMethod.OFFSET
    assert timeline.synchronisation.offsets_s[1] == pytest.approx(offset, abs=2e-3)
    several = [moment.members for moment in timeline.moments if None not in moment.members]
    apart = [motions[0].times[first] - motions[1].times[second] - offset for first, second in several]
    assert len(several) > 90
    assert np.abs(apart).max() < 0.052
    assert timeline.synchronisation.spread_s == pytest.approx(np.abs(apart).max(), abs=3e-3)
    assert "cam1 +1.27" in timeline.synchronisation.sentence
    for camera_index, motion in enumerate(motions):
        used = [moment.members[camera_index] for moment in timeline.moments if moment.members[camera_index] is not None]
        assert sorted(used) == list(range(len(motion.times)))


def test_chosen_moments_are_those_of_a_slow_board() -> None:
    motions = pair(4, 1.25, span=20.0)
    every = find_timeline(motions, UPRIGHT_ONLY)
    few = find_timeline(motions, UPRIGHT_ONLY, max_moments=15)
    assert 12 <= len(few.moments) <= 15
    speed = motions[0].turning_speed()

    def typical(moments: object) -> float:
        return float(np.nanmedian([speed[m.members[0]] for m in moments if None not in m.members]))  # type: ignore[attr-defined]

    assert typical(few.moments) < 0.7 * typical(every.moments)
    times = [moment.time for moment in few.moments if moment.time is not None]
    assert times == sorted(times)
    assert np.diff(times).max() < 4.0


def test_what_is_left_is_told_in_pixels() -> None:
    attitude = hand(4)
    stamps = np.arange(0.0, 14.0, 0.1)
    motions = []
    for index, offset in enumerate((0.0, 0.53)):
        seen = camera(attitude, stamps, stamps + offset, index)
        there = np.stack([0.2 * np.sin(stamps + offset), 0.0 * stamps, 2.0 + 0.0 * stamps], axis=1)
        motions.append(CameraMotion(seen.name, stamps, seen.cam_from_board_rotation, there, 800.0))
    sentence = find_timeline(motions, UPRIGHT_ONLY).synchronisation.sentence
    assert " px in the median" in sentence


# What cannot be told


def test_a_board_at_rest_tells_nothing() -> None:
    stamps = np.arange(0.0, 15.0, 0.1)

    def still(times: NDArray[np.float64]) -> Rotation:
        return Rotation.from_rotvec(np.zeros((len(times), 3)))

    with pytest.raises(EstimationError, match=r"cam0: the board turned by 0\.\d° only.*turn the board"):
        find_clocks([camera(still, stamps, stamps, 0), camera(still, stamps, stamps, 1)])


def test_a_motion_that_repeats_itself_is_ambiguous() -> None:
    def swing(times: NDArray[np.float64]) -> Rotation:
        wave = np.stack([0.5 * np.sin(2.0 * times), 0.4 * np.cos(2.0 * times), 0.0 * times], axis=1)
        return Rotation.from_rotvec(wave)

    stamps = np.arange(0.0, 20.0, 0.1)
    with pytest.raises(EstimationError, match="repeats itself"):
        find_clocks([camera(swing, stamps, stamps, 0), camera(swing, stamps, stamps + 0.4, 1)], UPRIGHT_ONLY)


def test_unrelated_motions_are_not_brought_together() -> None:
    stamps = np.arange(0.0, 13.0, 0.1)
    motions = [camera(hand(1), stamps, stamps, 0), camera(hand(2), stamps, stamps, 1)]
    with pytest.raises(EstimationError, match=r"cannot be told|repeats itself"):
        find_clocks(motions, UPRIGHT_ONLY)


def test_a_camera_that_never_saw_the_board_move_is_named() -> None:
    motions = pair(3, 0.3)
    blind = CameraMotion("door", motions[0].times, np.full_like(motions[0].cam_from_board_rotation, np.nan))
    with pytest.raises(EstimationError, match="door: the board was seen in 0 of 130 frames"):
        find_clocks([*motions, blind])


# Stamps that are believed, and checked


@pytest.mark.slow
def test_four_webcams_whose_table_does_not_hold(data_root: Path) -> None:
    """The second camera's pictures are about 0.75 frames older than the table says, whichever camera is asked."""
    folder = data_root / "calib/rig4_charuco/calibration/extrinsic"
    sources = gather_rig([folder], by_motion=True)
    motions = []
    for recorded in sources.cameras:
        options = CalibrateOptions(None, None, "brown5", BoardWarp.OFF, 0, 2)
        views = {view.name: view for view in calibrate_sources(recorded.pictures, options).views}
        poses = [views[picture.name].cam_from_board for picture in recorded.pictures]
        rotations = np.stack([np.full((3, 3), np.nan) if pose is None else pose[:3, :3] for pose in poses])
        assert recorded.times is not None
        motions.append(CameraMotion(recorded.name, np.array(recorded.times), rotations))
    clocks = find_clocks(motions, UPRIGHT_ONLY)
    assert not clocks.warnings, "all six pairs agree"
    assert clocks.offsets_s[1] == pytest.approx(-0.124, abs=0.012)
    assert clocks.offsets_s[2] == pytest.approx(0.021, abs=0.012)
    assert clocks.offsets_s[3] == pytest.approx(0.021, abs=0.012)
    assert max(clocks.offsets_std_s) < 4e-3
    (warning,) = check_timeline(motions, UPRIGHT_ONLY)
    assert "cam_1 is not in step with cam_0" in warning
    timeline = find_timeline(motions, UPRIGHT_ONLY, clocks=clocks, max_moments=60)
    finer = resample_rig(sources, clocks, timeline)
    assert finer.timeline is not None
    assert finer.timeline.synchronisation.spread_s < 0.075
    for moment in finer.timeline.moments:
        frames = [
            picture.frame
            for recorded, index in zip(finer.cameras, moment.members, strict=True)
            if index is not None and isinstance(picture := recorded.pictures[index], Picture)
        ]
        assert frames[1] - frames[0] == 1  # type: ignore[operator]


@pytest.mark.parametrize("offset", [0.03, pytest.param(0.0, marks=pytest.mark.slow)])
def test_stamps_that_hold_are_left_in_peace(offset: float) -> None:
    assert check_timeline(pair(3, offset), UPRIGHT_ONLY) == ()


def test_stamps_that_are_off_are_told() -> None:
    (warning,) = check_timeline(pair(3, 0.08), UPRIGHT_ONLY)
    assert "cam1 is not in step with cam0" in warning
    assert "0.80 frames (0.080 s) later" in warning


def test_unmoving_pictures_whose_numbers_are_shifted_are_told() -> None:
    def posed(times: NDArray[np.float64]) -> Rotation:
        return Rotation.concatenate([Rotation.random(random_state=round(time) + 100) for time in times])

    numbers = np.arange(20.0)
    steady = [camera(posed, numbers, numbers, index) for index in (0, 1)]
    assert check_timeline(steady, UPRIGHT_ONLY, are_stamps=False) == ()
    shifted = [camera(posed, numbers, numbers, 0), camera(posed, numbers, numbers - 1.0, 1)]
    (warning,) = check_timeline(shifted, UPRIGHT_ONLY, are_stamps=False)
    assert "1.00 frames earlier than their names say" in warning
