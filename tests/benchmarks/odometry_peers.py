"""One run of one odometry over one recording, in a process of its own: what `odometry_vs_peers.py` starts.

    python tests/benchmarks/odometry_peers.py orbslam3 PATH rgbd result.json --vocabulary FILE

ORB-SLAM3 writes to the terminal, ends the process where its map is beyond repair, and keeps threads. So every run,
cv3d's too, has its own process, and its result is a file.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cv3d.formats.trajectories import read_trajectory
from cv3d.geometry.cameras import Camera, get_model
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.sequences.frame import SequenceFrame
from cv3d.odometry.sources import Sequence, open_sequence

Floats = NDArray[np.float64]
ROOM = Path(__file__).resolve().parents[2] / "data" / "samples" / "room.mp4"
"""The rendered clip, whose calibration and true path are in files of their own."""
_ORB_LENSES = {"pinhole": "PinHole", "brown4": "PinHole", "brown5": "PinHole", "kannala_brandt4": "KannalaBrandt8"}
"""ORB-SLAM3's names of the lens models that it has."""
_MANY_FEATURES_FROM = 1000
"""Picture width from which the authors' settings ask for 2000 features (KITTI) instead of 1000."""


def calibration_of(path: Path) -> Camera | None:
    """The camera of a recording that does not bring it; None: it does."""
    if path.resolve() != ROOM:
        return None
    lens = json.loads((ROOM.parent / "room_ground_truth.json").read_text())["camera"]
    params = tuple(lens["params"][name] for name in get_model(lens["model"]).param_names)
    return Camera(lens["model"], lens["width"], lens["height"], params)


def truth_of(path: Path, recording: Sequence) -> Trajectory:
    """The true path of a recording."""
    truth = read_trajectory(ROOM.parent / "room_trajectory.tum") if path.resolve() == ROOM else recording.truth
    if truth is None:
        raise SystemExit(f"{path}: brings no true path to compare with")
    return truth


@dataclass
class Run:
    """What a method made of a recording."""

    frames: int
    """Frames of the recording."""
    ms: list[float]
    """Wall time of each frame, decoding not included, milliseconds."""
    cpu_ms: float
    """Processor time of all threads per frame, decoding included, milliseconds."""
    times: list[float]
    """Stamps of the frames that have a pose in the end, seconds."""
    world_from_cam: list[list[list[float]]]
    """Their poses, (4, 4) each."""


class Clock:
    """Times the frames of a run."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self._cpu = time.process_time()

    def __call__(self, work: Callable[[], object]) -> object:
        """Run `work`, which is one frame's."""
        start = time.perf_counter()
        result = work()
        self.ms.append(1e3 * (time.perf_counter() - start))
        return result

    def cpu_ms(self, frames: int) -> float:
        """Processor time since the start, per frame."""
        return 1e3 * (time.process_time() - self._cpu) / frames


def orb_settings(recording: Sequence, mode: str) -> str:
    """The settings file of ORB-SLAM3, with the features and thresholds of its authors' examples."""
    camera = recording.camera
    assert camera is not None
    if camera.model not in _ORB_LENSES:
        raise SystemExit(f"ORB-SLAM3 has no lens model '{camera.model}'")
    features = 2000 if camera.width >= _MANY_FEATURES_FROM else 1200 if mode == "stereo" else 1000
    lines = ["%YAML:1.0", 'File.version: "1.0"', f'Camera.type: "{_ORB_LENSES[camera.model]}"']
    lines += _camera_lines(1, camera)
    lines += [f"Camera.width: {camera.width}", f"Camera.height: {camera.height}"]
    lines += [f"Camera.fps: {max(round(recording.fps or 30.0), 1)}", "Camera.RGB: 1"]
    if mode == "stereo":
        assert recording.right_camera is not None
        assert recording.right_from_left is not None
        lines += _camera_lines(2, recording.right_camera)
        data = ", ".join(f"{value:.9g}" for value in np.linalg.inv(recording.right_from_left).ravel())
        lines += ["Stereo.ThDepth: 60.0", "Stereo.T_c1_c2: !!opencv-matrix"]
        lines += ["  rows: 4", "  cols: 4", "  dt: f", f"  data: [{data}]"]
    if mode == "rgbd":
        # Baseline and threshold of its TUM RGB-D examples: points nearer than 40 baselines count as measured well.
        lines += ["Stereo.ThDepth: 40.0", "Stereo.b: 0.07732", "RGBD.DepthMapFactor: 1.0"]
    lines += [f"ORBextractor.nFeatures: {features}", "ORBextractor.scaleFactor: 1.2", "ORBextractor.nLevels: 8"]
    lines += ["ORBextractor.iniThFAST: 20", "ORBextractor.minThFAST: 7"]
    viewer = {
        "KeyFrameSize": 0.05,
        "KeyFrameLineWidth": 1.0,
        "GraphLineWidth": 0.9,
        "PointSize": 2.0,
        "CameraSize": 0.08,
        "CameraLineWidth": 3.0,
        "ViewpointX": 0.0,
        "ViewpointY": -0.7,
        "ViewpointZ": -1.8,
        "ViewpointF": 500.0,
    }
    lines += [f"Viewer.{name}: {value}" for name, value in viewer.items()]
    return "\n".join(lines) + "\n"


def _camera_lines(number: int, camera: Camera) -> list[str]:
    names = camera.lens.param_names
    # ORB-SLAM3 refuses a number without a decimal point.
    return [f"Camera{number}.{name}: {value:.12f}" for name, value in zip(names, camera.params, strict=True)]


def run_orbslam3(path: Path, mode: str, vocabulary: Path, seed: int) -> Run:
    """ORB-SLAM3 through pyorbslam3; it takes no seed, its threads are its chance."""
    import pyorbslam3 as orb

    recording = open_sequence(path, sensor=mode, camera=calibration_of(path))
    sensor = {"mono": orb.Sensor.MONOCULAR, "stereo": orb.Sensor.STEREO, "rgbd": orb.Sensor.RGBD}[mode]
    with tempfile.TemporaryDirectory() as folder:
        settings, saved = Path(folder) / "settings.yaml", Path(folder) / "frames.txt"
        settings.write_text(orb_settings(recording, mode))
        slam = orb.Slam(vocabulary, settings, sensor)

        def track(frame: SequenceFrame) -> object:
            if mode == "mono":
                return slam.track_monocular(frame.gray, frame.time)
            if mode == "stereo":
                return slam.track_stereo(frame.gray, frame.right_gray, frame.time)
            return slam.track_rgbd(frame.gray, frame.depth, frame.time)

        clock = Clock()
        has_map = False
        for frame in recording.frames():
            has_map |= clock(lambda frame=frame: track(frame)).pose_valid
        slam.shutdown()
        frames = len(clock.ms)
        cpu_ms = clock.cpu_ms(frames)
        if not has_map:
            return Run(frames, clock.ms, cpu_ms, [], [])
        # It breaks off here with signal 11 where its last map was reset and no other is left.
        # The form of EuRoC is the one that it writes for every sensor: nanoseconds, position, quaternion x y z w.
        slam.save_trajectory_euroc(str(saved))
        rows = np.loadtxt(saved, ndmin=2)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    if len(rows):
        poses[:, :3, :3] = Rotation.from_quat(rows[:, 4:8]).as_matrix()
        poses[:, :3, 3] = rows[:, 1:4]
    return Run(frames, clock.ms, cpu_ms, (rows[:, 0] / 1e9).tolist(), poses.tolist())


def run_open3d(path: Path, mode: str, vocabulary: Path, seed: int) -> Run:
    """Open3D's hybrid RGB-D odometry (o3d.t.pipelines.odometry) of every frame against the one before."""
    import open3d as o3d

    recording = open_sequence(path, sensor=mode, camera=calibration_of(path))
    assert recording.camera is not None
    matrix = o3d.core.Tensor(recording.camera.matrix)
    last: o3d.t.geometry.RGBDImage | None = None
    world_from_cam = np.eye(4)
    times, poses, clock = [], [], Clock()
    for frame in recording.frames():
        color = np.ascontiguousarray(frame.color())

        def track(frame: SequenceFrame = frame, color: NDArray[np.uint8] = color) -> Floats | None:
            nonlocal last
            pictures = o3d.t.geometry.Image(color), o3d.t.geometry.Image(frame.depth)
            now, before = o3d.t.geometry.RGBDImage(*pictures), last
            last = now
            if before is None:
                return np.eye(4)
            try:
                found = o3d.t.pipelines.odometry.rgbd_odometry_multi_scale(
                    now,
                    before,
                    matrix,
                    depth_scale=1.0,
                    depth_max=10.0,
                    method=o3d.t.pipelines.odometry.Method.Hybrid,
                )
            except RuntimeError:
                return None
            return found.transformation.numpy()

        last_from_cam = clock(track)
        # Where it fails, the camera is taken to stand still: the frame has no pose, the path goes on from there.
        if last_from_cam is not None:
            world_from_cam = world_from_cam @ last_from_cam
            times.append(frame.time)
            poses.append(world_from_cam.tolist())
    return Run(len(clock.ms), clock.ms, clock.cpu_ms(len(clock.ms)), times, poses)


def run_cv3d(path: Path, mode: str, vocabulary: Path, seed: int) -> Run:
    """cv3d's own, the poses of its largest segment as they are in the end."""
    try:
        from cv3d.odometry.running import odometry
    except ImportError as error:
        raise SystemExit(f"this cv3d has no odometry: {error}") from None
    from cv3d.compute import Compute

    clock = Clock()
    result = odometry(path, camera=calibration_of(path), sensor=mode, seed=seed, compute=Compute.choose("cpu"))
    found = result.trajectory
    ms = [frame.ms for frame in result.frames]
    return Run(len(ms), ms, clock.cpu_ms(len(ms)), found.times.tolist(), found.world_from_cam.tolist())


METHODS = {"cv3d": run_cv3d, "orbslam3": run_orbslam3, "open3d": run_open3d}
MODES = {"cv3d": ("mono", "stereo", "rgbd"), "orbslam3": ("mono", "stereo", "rgbd"), "open3d": ("rgbd",)}
"""What each can do."""


def main() -> None:
    """Run one method and write what it made of the recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("path", type=Path)
    parser.add_argument("mode", choices=MODES["cv3d"])
    parser.add_argument("output", type=Path)
    parser.add_argument("--vocabulary", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    run = METHODS[args.method](args.path, args.mode, args.vocabulary, args.seed)
    args.output.write_text(json.dumps(asdict(run)))
    # ORB-SLAM3 may end badly while it frees its map; the result is written, and nothing else is open.
    os._exit(0)


if __name__ == "__main__":
    main()
