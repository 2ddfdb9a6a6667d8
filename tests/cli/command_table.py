"""Every command and form of a command, with a command line that works on tiny inputs, and one that fails."""

from __future__ import annotations

from dataclasses import dataclass

_FEW = "--max-keypoints 300"
_COLOUR = " ".join(f"rgbd/color/{number:06d}.jpg" for number in range(6))


@dataclass(frozen=True)
class Row:
    """A form of a command. Paths are relative to the folder of tiny inputs."""

    line: str
    """What follows `cv3d`; it may use what earlier rows wrote."""
    schema: str
    """Of its result."""
    after: tuple[str, ...] = ()
    """Rows, by name, whose outputs it uses."""
    out: str = ""
    """Its OUT, where that is a folder."""
    resumes: bool = False
    """Whether a second run with the same OUT finds it done, so that --overwrite is not needed."""
    fails: str = ""
    """Arguments of the same command that end with exit code 1; "": it cannot fail."""
    unmet: str = ""
    """A requirement that cannot be met: exit code 3."""
    optional: frozenset[str] = frozenset()
    """Fields of the result that other runs of the command may lack."""
    slow: bool = False
    """Whether it is left to the slow tests."""


_FILES = frozenset(["files"])
_OF_SCENES = frozenset(["files", "run_digest", "extent_digest", "stage"])

ROWS: dict[str, Row] = {
    "board": Row("board checkerboard:9x6 -o out/board", "cv3d.board/1", out="out/board", fails="-o board/000.jpg/x"),
    "doctor": Row("doctor", "cv3d.doctor/1"),
    "doctor device": Row("doctor --device cpu", "cv3d.doctor/1", optional=frozenset(["device_checks"]), slow=True),
    "bench": Row(
        "bench --quick --stages match --overwrite -o out/bench.json",
        "cv3d.bench/1",
        fails="--samples nowhere",
        optional=frozenset(["file", "against"]),
    ),
    "schema": Row("schema match", "cv3d.schema/1"),
    "calibrate": Row(
        "calibrate board --board checkerboard:9x6 --square 25mm --model brown5 --board-warp off -o out/camera",
        "cv3d.calibration/1",
        out="out/camera",
        resumes=True,
        fails="nowhere",
        unmet="rms<0",
    ),
    "calibrate rig": Row(
        "calibrate --rig left right --board checkerboard:7x5 --square 40mm --model brown5 --board-warp off -o out/rig",
        "cv3d.rig_calibration/1",
        out="out/rig",
        resumes=True,
        fails="--rig nowhere right",
        unmet="rms<0",
    ),
    "calibrate self": Row(
        "calibrate --self rgbd/color -o out/self",
        "cv3d.self_calibration/1",
        out="out/self",
        resumes=True,
        fails="--self nowhere",
        slow=True,
    ),
    "convert": Row(
        "convert out/camera/camera.json --to ros -o out/ros",
        "cv3d.convert/1",
        after=("calibrate",),
        out="out/ros",
        fails="nowhere.yaml --to ros",
    ),
    "convert list": Row("convert --list", "cv3d.convert/1"),
    "undistort": Row(
        "undistort board --camera out/camera/camera.json -o out/straight",
        "cv3d.undistort/1",
        after=("calibrate",),
        out="out/straight",
        resumes=True,
        fails="nowhere --camera out/camera/camera.json",
    ),
    "undistort pair": Row(
        "undistort left right --pair --camera out/rig/rig.json --maps -o out/rectified",
        "cv3d.undistort/1",
        after=("calibrate rig",),
        out="out/rectified",
        resumes=True,
        fails="left right --pair --camera nowhere.json",
    ),
    "diff": Row(
        "diff out/camera camera.json -o out/diff",
        "cv3d.diff/1",
        after=("calibrate",),
        out="out/diff",
        fails="camera.json nowhere.json",
        unmet="max<0",
        optional=_FILES,
    ),
    "frames": Row(
        "frames clip.mp4 --max-frames 3 -o out/frames",
        "cv3d.frames/1",
        out="out/frames",
        resumes=True,
        fails="nowhere.mp4",
    ),
    "match": Row(
        f"match rgbd/color/000000.jpg rgbd/color/000003.jpg --camera camera.json {_FEW} -o out/pair",
        "cv3d.match/1",
        out="out/pair",
        fails="nowhere.jpg rgbd/color/000000.jpg",
        unmet="inliers<0",
        optional=_FILES,
    ),
    "match set": Row(
        f"match rgbd/color/00000[0-3].jpg {_FEW} -o out/set",
        "cv3d.match_set/1",
        out="out/set",
        resumes=True,
        fails="nowhere",
        unmet="verified_pairs<0",
    ),
    "match tracks": Row(
        f"match --tracks {_COLOUR} -o out/tracks",
        "cv3d.match_tracks/1",
        out="out/tracks",
        resumes=True,
        fails="--tracks nowhere",
    ),
    "match list": Row("match --list", "cv3d.match_methods/1"),
    "reconstruct": Row(
        f"reconstruct {_COLOUR} {_FEW} --no-refine --to poses -o out/scene",
        "cv3d.reconstruct/1",
        out="out/scene",
        resumes=True,
        fails="nowhere",
        unmet="registered<0",
        optional=_OF_SCENES,
    ),
    "reconstruct surface": Row(
        "reconstruct rgbd/color --quality draft -o out/room",
        "cv3d.reconstruct/1",
        out="out/room",
        resumes=True,
        optional=_OF_SCENES,
        slow=True,
    ),
    "odometry": Row(
        "odometry rgbd -o out/path",
        "cv3d.odometry/1",
        out="out/path",
        resumes=True,
        fails="nowhere",
        unmet="tracked_fraction<0",
        optional=frozenset(["files", "run_digest"]),
    ),
    "fuse": Row(
        "fuse rgbd --voxel 3cm -o out/surface", "cv3d.fuse/1", out="out/surface", resumes=True, fails="nowhere"
    ),
    "view": Row(
        "view out/surface/mesh.ply truth.tum --no-open -o out/view.html",
        "cv3d.view/1",
        after=("fuse",),
        fails="nowhere.ply --no-open",
    ),
    "evaluate trajectory": Row(
        "evaluate trajectory out/path/trajectory.tum truth.tum --max-diff 0.02 -o out/path_errors",
        "cv3d.evaluate_trajectory/1",
        after=("odometry",),
        out="out/path_errors",
        fails="nowhere.tum truth.tum",
        unmet="ate_rmse<0",
        optional=_FILES,
    ),
    "evaluate matches": Row(
        "evaluate matches known --extractor sift --max-keypoints 300 -o out/match_errors",
        "cv3d.evaluate_matches/1",
        out="out/match_errors",
        fails="nowhere",
        unmet="precision<0",
        optional=_FILES,
    ),
    "evaluate surface": Row(
        "evaluate surface out/surface/mesh.ply truth.ply --samples 2000 -o out/surface_errors",
        "cv3d.evaluate_surface/1",
        after=("fuse",),
        out="out/surface_errors",
        fails="nowhere.ply truth.ply",
        unmet="chamfer<0",
        optional=_FILES,
    ),
    "depth": Row(
        "depth known --quality draft --max-size 128 -o out/depth",
        "cv3d.depth/1",
        out="out/depth",
        resumes=True,
        fails="nowhere",
        unmet="coverage<0",
    ),
    "depth stereo": Row(
        "depth --stereo left/000.jpg right/000.jpg --rig out/rig/rig.json --max-disparity 32 -o out/stereo",
        "cv3d.stereo/1",
        after=("calibrate rig",),
        out="out/stereo",
        resumes=True,
        fails="--stereo nowhere.jpg right/000.jpg",
        unmet="coverage<0",
        optional=frozenset(["depth_step"]),
    ),
    "batch": Row(
        "batch schema match view --jobs 1 -o out/batch",
        "cv3d.batch/1",
        out="out/batch",
        fails="schema nonsense -o out/batch_fails",
    ),
    "batch plan": Row("batch --dry-run schema match view -o out/batch_plan", "cv3d.batch_plan/1"),
}
