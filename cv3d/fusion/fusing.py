"""Fusion from beginning to end: a recording becomes one surface, with the poses that there are."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cv3d.compute import Compute, DeviceName
from cv3d.errors import EstimationError, InputError, UsageError
from cv3d.formats.trajectories import read_trajectory_file
from cv3d.fusion import cloud_frames, colmap_frames
from cv3d.fusion.job import FuseOptions, fuse_frames
from cv3d.fusion.plausible import check_extent
from cv3d.fusion.result import FusionResult, PosesFrom
from cv3d.fusion.sources import check_depth, own_trajectory, posed_depth
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import Rig
from cv3d.geometry.trajectory import Trajectory
from cv3d.odometry.results import OdometryResult
from cv3d.odometry.sources import Sequence, open_sequence
from cv3d.progress import SILENT, Progress

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Poses:
    """Poses for the frames of a recording."""

    trajectory: Trajectory
    source: PosesFrom
    warnings: tuple[str, ...] = ()


def fuse(
    source: PathLike,
    *,
    trajectory: PathLike | Trajectory | None = None,
    camera: Camera | Rig | PathLike | None = None,
    depth: PathLike | None = None,
    depth_scale: float | None = None,
    pose_scale: float = 1.0,
    options: FuseOptions | None = None,
    compute: Compute | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> FusionResult:
    """Fuse the depth of a recording into one surface.

    Poses come from `trajectory`, else from the recording itself, else RGB-D odometry is run for them; the result says
    which. Ctrl-C ends the fusion and gives the surface of what is fused.

    Args:
        source: a recording with depth, in any layout that `cv3d odometry` reads; a COLMAP workspace with depth maps; or
            a folder of point clouds, one a frame.
        trajectory: poses of the colour camera (of the scanner), by the frames' stamps or numbers.
        camera: the calibration, in place of the recording's own.
        depth: folder of the depth pictures, where the recording does not have it by a usual name.
        depth_scale: metres per stored unit of depth, in place of what the recording's layout says.
        pose_scale: metres per unit of the trajectory.
        options: how.
        compute: where it runs; None: the CPU.
        seed: of odometry's random choices; fusion itself has none.
        progress: told how far it is.

    Raises:
        InputError: the recording cannot be read, has no depth or no camera, or its lengths look as if they were in
            other units.
        EstimationError: no frame could be fused, or there is no surface.
        OutputError: the disk is full; see :class:`cv3d.fusion.job.DiskFullError`.
        UsageError: an option is out of range.
    """
    options = options or FuseOptions()
    if not pose_scale > 0.0:
        raise UsageError(f"the scale of the poses is more than 0, not {pose_scale:g}")
    given = None if trajectory is None else _given(trajectory)
    place = Path(source)
    if depth is None and colmap_frames.is_workspace(place):
        frames = colmap_frames.posed_depth(place, options.every)
        return fuse_frames(
            frames,
            poses_from=PosesFrom.RECORDING,
            options=options,
            compute=compute,
            progress=progress,
            total=colmap_frames.count(place),
            name=str(source),
        )
    if depth is None and cloud_frames.is_folder(place):
        if given is None:
            raise InputError(f"{source}: point clouds need their poses; name them with --trajectory")
        return fuse_frames(
            cloud_frames.posed_depth(
                place,
                _scaled(given, pose_scale, options, str(source)).trajectory,
                cloud_frames.the_camera(camera),
                options.every,
            ),
            poses_from=PosesFrom.FILE,
            options=options,
            compute=compute,
            progress=progress,
            total=cloud_frames.count(place),
            name=str(source),
        )
    opening: dict[str, Any] = {
        "depth": None if depth is None else str(depth),
        "camera": camera if camera is None or isinstance(camera, Camera | Rig) else str(camera),
        "depth_scale": depth_scale,
    }
    started = time.perf_counter()
    sequence = open_sequence(str(source), **opening)
    check_depth(sequence)
    for note in sequence.notes:
        progress.info(f"{sequence.name}: {note}")
    poses = given or _own(sequence) or _by_odometry(str(source), opening, compute, seed, progress)
    poses = _scaled(poses, pose_scale, options, str(source))
    progress.info(f"{sequence.name}: poses {_WORDS[poses.source]}")
    total = None if sequence.frame_count is None else -(-sequence.frame_count // options.every)
    result = fuse_frames(
        posed_depth(sequence, poses.trajectory, every=options.every),
        poses_from=poses.source,
        options=options,
        compute=compute,
        progress=progress,
        total=total,
        name=sequence.name,
        warnings=poses.warnings,
    )
    return replace(result, elapsed_s=time.perf_counter() - started)


_WORDS = {
    PosesFrom.FILE: "from the trajectory given",
    PosesFrom.RECORDING: "are the recording's own",
    PosesFrom.ODOMETRY: "are from RGB-D odometry, run for this",
}


def _given(trajectory: PathLike | Trajectory) -> Poses:
    if isinstance(trajectory, Trajectory):
        return Poses(trajectory, PosesFrom.FILE)
    read = read_trajectory_file(trajectory)
    return Poses(read.trajectory, PosesFrom.FILE, read.warnings)


def _own(sequence: Sequence) -> Poses | None:
    return Poses(own_trajectory(sequence), PosesFrom.RECORDING) if sequence.has_truth else None


def _scaled(poses: Poses, scale: float, options: FuseOptions, name: str) -> Poses:
    trajectory = poses.trajectory if scale == 1.0 else poses.trajectory.scaled(scale)
    if not options.is_any_size:
        check_extent(trajectory, name)
    return Poses(trajectory, poses.source, poses.warnings)


def _by_odometry(source: str, opening: dict[str, Any], compute: Compute | None, seed: int, progress: Progress) -> Poses:
    """The path by odometry on the recording itself.

    Raises:
        EstimationError: nothing could be tracked.
    """
    from cv3d.odometry.running import odometry

    progress.info(f"{source}: brings no poses; RGB-D odometry finds them")
    compute = compute or Compute.choose(DeviceName.CPU)
    found: OdometryResult = odometry(source, **opening, sensor="rgbd", compute=compute, seed=seed, progress=progress)
    if found.interrupted:
        raise KeyboardInterrupt("the poses were not known yet, and nothing is fused")
    if found.largest_segment is None:
        raise EstimationError(f"{source}: brings no poses, and odometry finds none; name them with --trajectory")
    lost = 1.0 - found.tracked_fraction
    warnings = found.warnings
    if lost > 0.0:
        warnings = (*warnings, f"odometry lost its way in {100.0 * lost:.0f} % of the frames, which are left out")
    return Poses(found.trajectory, PosesFrom.ODOMETRY, warnings)
