"""Trajectory errors: evo's figures on real estimates, published drift, properties, input that cannot be compared."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cv3d.errors import EstimationError, InputError, UsageError
from cv3d.evaluation.trajectory.choices import Alignment, DeltaUnit, PairsFrom
from cv3d.evaluation.trajectory.drift import kitti_drift
from cv3d.evaluation.trajectory.evaluating import TrajectoryOptions, evaluate_trajectory, evaluate_trajectory_files
from cv3d.evaluation.trajectory.pose_errors import rotation_angles
from cv3d.evaluation.trajectory.relative import Delta, pairs, parse_delta
from cv3d.evaluation.trajectory.result import MEASURES
from cv3d.formats.trajectories import read_trajectory, write_trajectory
from cv3d.geometry.trajectory import Trajectory

SETS = {
    "fr1": ("freiburg1_xyz-ORB_kf_mono.txt", "freiburg1_xyz-groundtruth.txt"),
    "fr2": ("fr2_desk_ORB.txt", "fr2_desk_groundtruth.txt"),
    "v102": ("V102.txt", "V102_groundtruth.csv"),
    "kitti": ("KITTI_00_ORB.txt", "KITTI_00_gt.txt"),
}
UNITS = {"frames": DeltaUnit.FRAMES, "m": DeltaUnit.METRES, "deg": DeltaUnit.DEGREES}
EVO = json.loads((Path(__file__).parent / "evo_figures.json").read_text())
"""What evo says of these files: absolute errors by alignment, relative ones by delta; metres (t) and degrees (r)."""


@cache
def loaded(root: Path, name: str) -> tuple[Trajectory, Trajectory]:
    estimate, reference = (read_trajectory(root / "trajectories" / file) for file in SETS[name])
    return estimate, reference


def wandering(n: int, seed: int = 0, step_m: float = 1.0) -> Trajectory:
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (n, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.cumsum(0.1 * rng.normal(size=(n, 3)), axis=0)).as_matrix()
    poses[:, :3, 3] = step_m * np.cumsum(rng.normal(size=(n, 3)), axis=0)
    return Trajectory(np.arange(n) / 10.0, poses)


def similarity(scale: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = scale * Rotation.from_rotvec([0.3, -1.0, 0.4]).as_matrix()
    matrix[:3, 3] = (4.0, -2.0, 7.0)
    return matrix


@pytest.mark.parametrize(
    "row", EVO["figures"], ids=lambda row: "-".join(str(v) for v in list(row.values())[:7] if not isinstance(v, dict))
)
def test_figures_are_those_of_evo(row: dict[str, object], data_root: Path) -> None:
    estimate, reference = loaded(data_root, row["set"])
    delta = Delta()
    if row["metric"] == "rpe":
        whose = PairsFrom.REFERENCE if row["from_ref"] else PairsFrom.ESTIMATE
        delta = Delta(row["delta"], UNITS[row["unit"]], row["all_pairs"], pairs_from=whose)
    options = TrajectoryOptions(
        Alignment(row["align"]), row.get("n"), row.get("max_diff", 0.01), row.get("offset", 0.0), delta
    )
    result = evaluate_trajectory(estimate, reference, options)
    figures = (result.ate, result.ate_rotation) if row["metric"] == "ape" else (result.rpe, result.rpe_rotation)
    for key, ours in zip(("t", "r"), figures, strict=True):
        assert ours.as_dict() == pytest.approx(row[key], rel=1e-6, abs=1e-6)
    if row["metric"] == "ape":
        assert len(result.reference) == row["n_pairs"]
        assert result.aligned.scale == pytest.approx(row["scale"], rel=1e-6)
        assert result.estimate.length_m == pytest.approx(row["path"], rel=1e-6)
    else:
        assert len(result.relative.first) == row["count"]


def test_drift_is_that_of_the_published_table(data_root: Path) -> None:
    """Mur-Artal and Tardos 2017, "ORB-SLAM2", table I, sequence 00: 0.70 %, 0.25 deg/100 m, 1.3 m."""
    result = evaluate_trajectory(*loaded(data_root, "kitti"))
    assert round(result.drift.t_rel_percent, 2) == 0.70
    assert round(result.drift.r_rel_deg_per_100m, 2) == 0.25
    assert round(result.ate.rmse, 1) == 1.3


def test_an_exact_estimate_has_no_error() -> None:
    path = wandering(300)
    result = evaluate_trajectory(path, path, TrajectoryOptions(Alignment.NONE))
    assert result.ate.max == 0.0
    assert result.ate_rotation.max < 1e-6
    assert result.rpe.max < 1e-12
    assert result.coverage.tracked_fraction == 1.0
    assert result.coverage.longest_gap_s == pytest.approx(0.1)


@pytest.mark.parametrize(("alignment", "scale"), [(Alignment.SE3, 1.0), (Alignment.SIM3, 2.5), (Alignment.ORIGIN, 1.0)])
def test_alignment_takes_out_what_it_is_meant_to(alignment: Alignment, scale: float) -> None:
    path = wandering(200)
    result = evaluate_trajectory(path, path.transformed(similarity(scale)), TrajectoryOptions(alignment))
    assert result.ate.max < 1e-9
    assert result.ate_rotation.max < 1e-6
    assert result.rpe.max < 1e-9
    assert result.aligned.scale == pytest.approx(scale)
    np.testing.assert_allclose(result.aligned.reference_from_estimate, similarity(scale), atol=1e-9)


def test_a_scale_alone_is_taken_out_about_the_origin() -> None:
    path = wandering(200)
    result = evaluate_trajectory(path, path.scaled(0.4), TrajectoryOptions(Alignment.SCALE))
    assert result.aligned.scale == pytest.approx(0.4)
    assert result.ate.max < 1e-9


def test_the_first_poses_alone_may_align() -> None:
    path = wandering(100)
    drifted = path.world_from_cam.copy()
    drifted[50:, 0, 3] += 3.0
    options = TrajectoryOptions(n_to_align=40)
    result = evaluate_trajectory(Trajectory(path.times, drifted), path, options)
    np.testing.assert_allclose(result.absolute.translation_m[:50], 0.0, atol=1e-9)
    np.testing.assert_allclose(result.absolute.translation_m[50:], 3.0, atol=1e-9)


def test_errors_of_known_size_are_found() -> None:
    path = wandering(400)
    turned = path.world_from_cam.copy()
    turned[:, :3, :3] = turned[:, :3, :3] @ Rotation.from_rotvec([0.0, 0.0, np.deg2rad(2.0)]).as_matrix()
    turned[:, 1, 3] += 0.25
    result = evaluate_trajectory(Trajectory(path.times, turned), path, TrajectoryOptions(Alignment.NONE))
    np.testing.assert_allclose(result.absolute.translation_m, 0.25)
    np.testing.assert_allclose(result.absolute.rotation_deg, 2.0)
    assert result.ate.sse == pytest.approx(400 * 0.25**2)
    assert result.ate_percent == pytest.approx(100.0 * 0.25 / path.length_m)


def test_relative_errors_see_neither_a_rigid_motion_nor_slow_drift_but_its_rate() -> None:
    path = wandering(300)
    moved = evaluate_trajectory(path.transformed(similarity(1.0)), path, TrajectoryOptions(Alignment.NONE))
    assert moved.rpe.max < 1e-9
    still = Trajectory(path.times, np.tile(np.eye(4), (300, 1, 1)))
    sliding = still.world_from_cam.copy()
    sliding[:, 0, 3] = 0.02 * still.times
    options = TrajectoryOptions(Alignment.NONE, delta=Delta(0.5, DeltaUnit.SECONDS))
    slid = evaluate_trajectory(Trajectory(path.times, sliding), still, options)
    np.testing.assert_allclose(slid.relative.translation_m, 0.01)
    assert len(slid.relative.first) == 59
    assert math.isnan(slid.ate_percent)


@pytest.mark.parametrize("unit", [DeltaUnit.SECONDS, DeltaUnit.METRES, DeltaUnit.DEGREES])
@pytest.mark.parametrize("all_pairs", [False, True])
def test_pairs_are_as_far_apart_as_asked_for(unit: DeltaUnit, all_pairs: bool) -> None:
    path = wandering(200)
    value = {DeltaUnit.SECONDS: 0.7, DeltaUnit.METRES: 9.0, DeltaUnit.DEGREES: 40.0}[unit]
    first, second = pairs(path, Delta(value, unit, all_pairs))
    assert len(first) > 5
    assert (second > first).all()
    if unit is DeltaUnit.SECONDS:
        apart = path.times[second] - path.times[first]
    elif unit is DeltaUnit.METRES:
        apart = path.travelled_m[second] - path.travelled_m[first]
    elif all_pairs:
        apart = np.rad2deg(rotation_angles(path.rotations[first].transpose(0, 2, 1) @ path.rotations[second]))
    else:
        steps = np.rad2deg(rotation_angles(path.rotations[:-1].transpose(0, 2, 1) @ path.rotations[1:]))
        apart = np.array([steps[i:j].sum() for i, j in zip(first, second, strict=True)])
    if all_pairs:
        assert (np.abs(apart - value) <= 0.1 * value + 1e-9).all()
    else:
        assert (apart >= value * (1.0 - 1e-9)).all()
        np.testing.assert_array_equal(first[1:], second[:-1])


def test_drift_of_a_wrong_scale_and_of_a_steady_turn() -> None:
    n = 2001
    poses = np.tile(np.eye(4), (n, 1, 1))
    poses[:, 0, 3] = np.arange(n)
    straight = Trajectory(np.arange(n) / 10.0, poses)
    drift = kitti_drift(straight.scaled(1.02), straight)
    # Segments end a pose after their length: 101 m for 100 m.
    assert drift.lengths[0].t_rel_percent == pytest.approx(2.0 * 101 / 100)
    assert drift.r_rel_deg_per_100m == pytest.approx(0.0, abs=1e-9)
    assert [one.length_m for one in drift.lengths] == [100.0 * k for k in range(1, 9)]
    assert drift.segments == sum(one.segments for one in drift.lengths)
    turning = poses.copy()
    turning[:, :3, :3] = Rotation.from_rotvec(np.deg2rad(0.01) * np.arange(n)[:, None] * [0, 0, 1.0]).as_matrix()
    drift = kitti_drift(Trajectory(straight.times, turning), straight)
    assert drift.lengths[-1].r_rel_deg_per_100m == pytest.approx(801 * 0.01 / 800 * 100)
    assert kitti_drift(straight.select(slice(0, 90)), straight.select(slice(0, 90))) is None


def test_tracked_is_what_the_estimate_encloses_without_a_gap() -> None:
    fast = Trajectory(np.arange(1000) / 100.0, np.tile(np.eye(4), (1000, 1, 1)))
    slow = wandering(100)
    lost = slow.select(np.r_[0:40, 60:100])
    options = TrajectoryOptions(Alignment.NONE)
    whole = evaluate_trajectory(slow, fast, options).coverage
    assert whole.tracked_fraction > 0.98
    part = evaluate_trajectory(lost, fast, options).coverage
    assert part.tracked_fraction == pytest.approx(0.8, abs=0.02)
    assert part.longest_gap_s == pytest.approx(2.1)


def test_frames_are_matched_by_number_where_nothing_is_timed(tmp_path: Path) -> None:
    path = wandering(50)
    counted = Trajectory(np.arange(50.0), path.world_from_cam, is_timed=False)
    lost = counted.select(np.r_[0:10, 20:50])
    result = evaluate_trajectory(lost, counted)
    assert result.ate.max < 1e-9
    assert result.coverage.tracked_fraction == 0.8
    assert result.as_dict()["association"]["by"] == "frame number"
    for name, one in (("short.txt", lost), ("long.txt", counted)):
        write_trajectory(tmp_path / name, one, "kitti")
    with pytest.raises(InputError, match=r"holds 40 poses and .* 50, .* KITTI's format has no time stamps"):
        evaluate_trajectory_files(tmp_path / "short.txt", tmp_path / "long.txt")


def test_different_formats_are_compared(tmp_path: Path) -> None:
    path = wandering(50)
    write_trajectory(tmp_path / "est.csv", path, "euroc")
    write_trajectory(tmp_path / "ref.txt", path, "kitti", tmp_path / "stamps")
    result = evaluate_trajectory_files(tmp_path / "est.csv", tmp_path / "ref.txt", times=tmp_path / "stamps")
    assert result.ate.max < 1e-9
    with pytest.raises(InputError, match=r"est.csv has time stamps and .*ref.txt has none"):
        evaluate_trajectory_files(tmp_path / "est.csv", tmp_path / "ref.txt")


def test_what_cannot_be_compared_is_told_in_a_line() -> None:
    path = wandering(50)
    with pytest.raises(InputError, match=r"do not overlap in time: from 100.0+ to 104.9.* and from 0.0+ to 4.9"):
        evaluate_trajectory(path.shifted(100.0), path)
    with pytest.raises(InputError, match=r"no pose .* is within 0.01 s .* the nearest are 0.05 s apart"):
        evaluate_trajectory(path.shifted(0.05), path)
    evaluate_trajectory(path.shifted(100.0), path, TrajectoryOptions(offset_s=-100.0))
    with pytest.raises(InputError, match="only 2 poses"):
        evaluate_trajectory(path.shifted(4.8), path)
    with pytest.raises(InputError, match="holds 2 poses, and a comparison needs 3"):
        evaluate_trajectory(path.select(slice(0, 2)), path)


def test_motion_that_determines_no_alignment_is_told() -> None:
    path = wandering(50)
    still = Trajectory(path.times, np.tile(np.eye(4), (50, 1, 1)))
    with pytest.raises(EstimationError, match="the estimate does not move"):
        evaluate_trajectory(still, path)
    with pytest.raises(EstimationError, match="the reference does not move"):
        evaluate_trajectory(path, still)
    assert evaluate_trajectory(still, path, TrajectoryOptions(Alignment.ORIGIN)).ate.rmse > 0.0
    line = still.world_from_cam.copy()
    line[:, 0, 3] = np.arange(50)
    with pytest.raises(EstimationError, match="lie on a line"):
        evaluate_trajectory(Trajectory(path.times, line), Trajectory(path.times, line))


def test_a_delta_without_pairs_is_a_warning_and_no_figure() -> None:
    path = wandering(50)
    result = evaluate_trajectory(path, path, TrajectoryOptions(delta=Delta(1e4, DeltaUnit.METRES)))
    assert result.relative is None
    assert result.measures()["rpe_rmse"] is None
    assert "no two poses" in result.warnings[0]
    assert set(result.measures()) == set(MEASURES)
    assert "RPE" not in str(result)


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("10", 10, DeltaUnit.FRAMES),
        ("10f", 10, DeltaUnit.FRAMES),
        ("0.5s", 0.5, DeltaUnit.SECONDS),
        (" 1e2 m", 100, DeltaUnit.METRES),
        ("10deg", 10, DeltaUnit.DEGREES),
    ],
)
def test_deltas_are_read(text: str, value: float, unit: DeltaUnit) -> None:
    assert parse_delta(text) == (value, unit)


def test_values_out_of_range_are_refused() -> None:
    for text in ("", "m", "1 mile", "--1m"):
        with pytest.raises(UsageError, match="--delta"):
            parse_delta(text)
    for value, unit in (
        (0.0, DeltaUnit.METRES),
        (-1.0, DeltaUnit.FRAMES),
        (1.5, DeltaUnit.FRAMES),
        (math.nan, DeltaUnit.SECONDS),
    ):
        with pytest.raises(UsageError, match="delta"):
            Delta(value, unit)
    for wrong in ({"max_diff_s": -1.0}, {"max_diff_s": math.nan}, {"offset_s": math.inf}, {"n_to_align": 2}):
        with pytest.raises(UsageError):
            TrajectoryOptions(**wrong)
