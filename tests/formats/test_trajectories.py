"""Trajectory files: every format written and read back, files of the field, and what is wrong with a bad one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cv3d.errors import FormatError, InputError, UsageError
from cv3d.formats.trajectories import TRAJECTORY_FORMATS, read_trajectory, read_trajectory_file, write_trajectory
from cv3d.formats.trajectories.kitti import encode_times
from cv3d.geometry.trajectory import Trajectory

TUM_LINE = "{} 1.0 2.0 3.0 0.0 0.0 0.0 1.0"
KITTI_LINE = "1 0 0 5 0 1 0 6 0 0 1 7"
EUROC_LINE = "{},1.0,2.0,3.0,1.0,0.0,0.0,0.0"


@pytest.fixture
def path() -> Trajectory:
    rng = np.random.default_rng(3)
    poses = np.tile(np.eye(4), (9, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(rng.normal(size=(9, 3))).as_matrix()
    poses[:, :3, 3] = rng.normal(size=(9, 3)) * 10.0
    return Trajectory(1.4e9 + np.cumsum(rng.uniform(0.01, 0.1, 9)), poses)


@pytest.mark.parametrize("name", list(TRAJECTORY_FORMATS))
def test_what_is_written_is_read_back(name: str, path: Trajectory, tmp_path: Path) -> None:
    target, times = tmp_path / "out", tmp_path / "stamps.txt"
    write_trajectory(target, path, name, times)
    back = read_trajectory_file(target, times)
    assert back.format == name
    assert back.warnings == ()
    assert back.trajectory.is_timed
    np.testing.assert_array_equal(back.trajectory.times, path.times)
    np.testing.assert_array_equal(back.trajectory.positions, path.positions)
    np.testing.assert_allclose(back.trajectory.rotations, path.rotations, atol=1e-14)


def test_poses_without_stamps_are_known_by_their_frames(path: Trajectory, tmp_path: Path) -> None:
    write_trajectory(tmp_path / "poses.txt", path, "kitti")
    read = read_trajectory_file(tmp_path / "poses.txt")
    assert read.is_counted
    assert not read.trajectory.is_timed
    np.testing.assert_array_equal(read.trajectory.times, np.arange(9.0))
    write_trajectory(tmp_path / "folder", path, "7scenes")
    (tmp_path / "folder" / "frame-000004.pose.txt").unlink()
    folder = read_trajectory_file(tmp_path / "folder")
    assert not folder.is_counted
    np.testing.assert_array_equal(folder.trajectory.times, [0, 1, 2, 3, 5, 6, 7, 8])


def test_times_beside_the_poses_are_taken(path: Trajectory, tmp_path: Path) -> None:
    write_trajectory(tmp_path / "poses.txt", path, "kitti", tmp_path / "times.txt")
    np.testing.assert_array_equal(read_trajectory(tmp_path).times, path.times)
    write_trajectory(tmp_path / "folder", path, "7scenes", tmp_path / "folder" / "times.txt")
    (tmp_path / "folder" / "frame-000004.pose.txt").unlink()
    np.testing.assert_array_equal(read_trajectory(tmp_path / "folder").times, np.delete(path.times, 4))
    (tmp_path / "times.txt").write_text(encode_times(path.select(slice(0, 5))))
    with pytest.raises(FormatError, match=r"times.txt: holds 5 times, and .*poses.txt 9 poses"):
        read_trajectory(tmp_path / "poses.txt")
    (tmp_path / "times.txt").write_text("0.1\n0.3\n0.2\n")
    with pytest.raises(FormatError, match=r"times.txt:3: is earlier"):
        read_trajectory(tmp_path / "poses.txt")


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_comments_blank_lines_line_ends_and_marks_do_not_matter(ends: str, tmp_path: Path) -> None:
    lines = ["# made by hand", "", *(TUM_LINE.format(t) for t in (1, 2)), "   ", "# half way", TUM_LINE.format("3e0")]
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + (ends.join(lines) + ends).encode())
    read = read_trajectory(tmp_path / "a.txt")
    np.testing.assert_array_equal(read.times, [1.0, 2.0, 3.0])
    (tmp_path / "b.csv").write_bytes(
        ends.join(["t,x,y,z,qw,qx,qy,qz", *(EUROC_LINE.format(10**9 * k) for k in (1, 2))]).encode()
    )
    read = read_trajectory(tmp_path / "b.csv")
    np.testing.assert_array_equal(read.times, [1.0, 2.0])
    np.testing.assert_array_equal(read.rotations, np.tile(np.eye(3), (2, 1, 1)))


def test_the_quaternions_real_part_is_where_each_format_has_it(tmp_path: Path) -> None:
    # A quarter turn about z: x goes to y.
    s = np.sqrt(0.5)
    (tmp_path / "a.txt").write_text(f"0 0 0 0 0 0 {s} {s}\n")
    (tmp_path / "b.csv").write_text(f"0,0,0,0,{s},0,0,{s}\n")
    for name in ("a.txt", "b.csv"):
        np.testing.assert_allclose(read_trajectory(tmp_path / name).rotations[0] @ [1, 0, 0], [0, 1, 0], atol=1e-15)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.txt: is empty"),
        ("# only words\n", "a.txt: holds no poses"),
        ("1 2 3\n", r"a.txt:1: has 3 fields: no trajectory"),
        (TUM_LINE.format(1) + "\n1 2 3\n", r"a.txt:2: has 3 fields, but should have 8"),
        (TUM_LINE.format(1) + "\n# note\n" + TUM_LINE.format("x"), r"a.txt:3: 'x' is not a number"),
        (TUM_LINE.format(1) + "\n2 nan 2 3 0 0 0 1\n", r"a.txt:2: holds 'nan'"),
        (TUM_LINE.format(1) + "\n2 inf 2 3 0 0 0 1\n", r"a.txt:2: holds 'inf'"),
        (TUM_LINE.format(2) + "\n" + TUM_LINE.format(1), r"a.txt:2: its time stamp 1.000000 is earlier"),
        ("1 0 0 0 0 0 0 0.9\n", r"a.txt:1: its quaternion has the length 0.9"),
        ("1 0 0 0 0 0 0 0\n", r"a.txt:1: its quaternion has the length 0"),
        (KITTI_LINE + "\n2 0 0 5 0 1 0 6 0 0 1 7\n", r"a.txt:2: its 3x3 part is not a rotation"),
        (KITTI_LINE + "\n1 0 0 5 0 1 0 6 0 0 -1 7\n", r"a.txt:2: its 3x3 part is not a rotation"),
        (EUROC_LINE.format("1.5"), r"a.txt:1: its time stamp '1.5' is not in whole nanoseconds"),
        ("1,2,3\n", r"a.txt:1: has 3 fields"),
        ("\0\1\2", "a.txt: is no trajectory: it is no text"),
    ],
)
def test_a_bad_file_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(FormatError, match=message) as caught:
        read_trajectory(tmp_path / "a.txt")
    assert "\n" not in str(caught.value)


def test_repeated_stamps_are_read_and_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(TUM_LINE.format(t) for t in (1, 2, 2, 3, 3)))
    read = read_trajectory_file(tmp_path / "a.txt")
    assert len(read.trajectory) == 5
    assert len(read.warnings) == 1
    assert "a.txt:3: repeats the time stamp" in read.warnings[0]


def test_bad_folders_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_trajectory(tmp_path / "none.txt")
    with pytest.raises(InputError, match="holds no trajectory"):
        read_trajectory(tmp_path)
    pose = tmp_path / "frame-000000.pose.txt"
    pose.write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n")
    with pytest.raises(FormatError, match="holds 3 rows, but a pose has 4"):
        read_trajectory(tmp_path)
    pose.write_text("1 0 0 0\n0 1 0 0\n0 0 1 -inf\n0 0 0 1\n")
    with pytest.raises(FormatError, match=r"pose.txt:3: holds '-inf'"):
        read_trajectory(tmp_path)
    pose.write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 1 1\n")
    with pytest.raises(FormatError, match="the last row of a pose"):
        read_trajectory(tmp_path)
    pose.rename(tmp_path / "first.pose.txt")
    with pytest.raises(FormatError, match="no frame number"):
        read_trajectory(tmp_path)
    with pytest.raises(UsageError, match="known: tum, kitti, euroc, 7scenes"):
        write_trajectory(tmp_path / "x", Trajectory(np.zeros(0), np.zeros((0, 4, 4))), "bag")


@pytest.mark.parametrize(
    ("name", "format_", "poses"),
    [
        ("trajectories/freiburg1_xyz-groundtruth.txt", "tum", 3000),
        ("trajectories/V102.txt", "tum", 807),
        pytest.param("trajectories/V102_groundtruth.csv", "euroc", 16702, marks=pytest.mark.slow),
        ("trajectories/KITTI_00_gt.txt", "kitti", 4541),
        ("vo/kitti_a", "kitti", 51),
        ("vo/euroc_v101", "euroc", 94),
        ("rgbd/seven_scenes", "7scenes", 250),
    ],
)
def test_files_of_the_field(name: str, format_: str, poses: int, data_root: Path, tmp_path: Path) -> None:
    read = read_trajectory_file(data_root / name)
    assert (read.format, len(read.trajectory)) == (format_, poses)
    write_trajectory(tmp_path / "copy", read.trajectory, format_)
    back = read_trajectory(tmp_path / "copy")
    np.testing.assert_array_equal(back.times, read.trajectory.times)
    np.testing.assert_array_equal(back.positions, read.trajectory.positions)
    np.testing.assert_allclose(back.rotations, read.trajectory.rotations, atol=1e-14)
