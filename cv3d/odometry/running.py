"""Odometry of a recording from its beginning to its end: what the command does, as one function."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import Cv3dError, FormatError, InputError
from cv3d.geometry.cameras import Camera
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.sequences import SequenceFrame, judge_depth
from cv3d.odometry.estimator import Odometry
from cv3d.odometry.finishing import final_map
from cv3d.odometry.options import OdometryOptions
from cv3d.odometry.results import FrameResult, OdometryResult, Sensor
from cv3d.odometry.self_calibration import check_intrinsics, estimate_focal
from cv3d.odometry.sources import Sequence, open_sequence
from cv3d.odometry.stamps import odd_stamps
from cv3d.progress import SILENT, Progress

PathLike = str | Path
OnFrame = Callable[[FrameResult, NDArray[np.uint8]], None]

_STAGE = "odometry"
_JUDGED = 8
"""Depth pictures at the beginning whose scale and holes are looked at."""
_CALIBRATED_ON = 200
"""Frames at the beginning that the focal length is estimated from."""


@dataclass(frozen=True)
class _Calibrated:
    camera: Camera
    is_estimated: bool
    deviation: float | None


def odometry(
    source: PathLike,
    *,
    stereo: tuple[PathLike, PathLike] | None = None,
    depth: PathLike | None = None,
    camera: Camera | PathLike | None = None,
    sensor: Sensor | str = "auto",
    loops: bool | None = None,
    depth_scale: float | None = None,
    fps: float | None = None,
    compute: Compute | None = None,
    seed: int = 0,
    options: OdometryOptions | None = None,
    progress: Progress = SILENT,
    on_frame: OnFrame | None = None,
) -> OdometryResult:
    """Where a camera went, frame by frame.

    Args:
        source: a video, a folder of pictures, a dataset's folder, or `camera:0`.
        stereo: folders or videos of a left and a right camera.
        depth: a folder of depth pictures.
        camera: the calibration, in place of the recording's own. Where there is none, the focal length is estimated.
        sensor: what to use of the recording; "auto" takes depth before stereo before one camera.
        loops: whether places seen before are recognised and the path corrected; None: unless the source is live.
        depth_scale: metres per stored unit of depth.
        fps: frames per second of pictures without time stamps.
        compute: device and precision.
        seed: of all random samples.
        options: how to track; `loops` and `seed` go before what they say.
        progress: is told how far it is.
        on_frame: is handed every frame as it is tracked, and its grey picture.

    Returns:
        The path with its map. Ctrl-C ends it early: what there is until then is returned, and marked as interrupted.

    Raises:
        UsageError: options contradict each other.
        InputError: the source is not recognised, or has no frame.
        FormatError: a file of it is not what it should be.
        PictureError: none of its pictures can be read.
    """
    started = clock.perf_counter()
    compute = compute or Compute.choose()
    sequence = open_sequence(
        source, stereo=stereo, depth=depth, camera=camera, sensor=sensor, depth_scale=depth_scale, fps=fps
    )
    for note in sequence.notes:
        progress.info(note)
    use_loops = (not sequence.is_live) if loops is None else loops
    options = replace(options or OdometryOptions(), loops=use_loops, seed=seed)
    warnings: list[str] = []
    calibrated, estimator, interrupted = None, None, False
    with sequence.frames() as frames:
        try:
            given = _until_it_fails(frames, frames.problems)
            begun = list(islice(given, _JUDGED))
            if sequence.sensor is Sensor.RGBD:
                depths = [frame.depth for frame in begun if frame.depth is not None]
                _warn(warnings, progress, judge_depth(depths, sequence.depth_scale))
            calibrated, stream = _calibration(sequence, chain(begun, given), compute, seed, progress, warnings)
            estimator = _estimator(sequence, calibrated.camera, compute, options)
            progress.start(_STAGE, sequence.frame_count)
            for frame in stream:
                result = estimator.track(frame)
                progress.advance(_STAGE)
                if on_frame is not None:
                    on_frame(result, frame.gray)
            estimator.finish()
        except KeyboardInterrupt:
            if calibrated is None or estimator is None or not estimator.records:
                raise
            interrupted = True
        problems = list(frames.problems)
    progress.finish(_STAGE)
    _warn(warnings, progress, problems)
    return _result(
        sequence, calibrated, estimator, warnings, progress, started, seed, interrupted=interrupted, source=str(source)
    )


def _until_it_fails(frames: Iterable[SequenceFrame], problems: list[str]) -> Iterator[SequenceFrame]:
    """The frames of a source; one that fails after some is one that ends there, so that these are not lost."""
    is_begun = False
    try:
        for frame in frames:
            is_begun = True
            yield frame
    except (Cv3dError, OSError) as error:
        if not is_begun:
            raise
        problems.append(f"{error}; nothing was read from there on")


def _calibration(
    sequence: Sequence,
    frames: Iterable[SequenceFrame],
    compute: Compute,
    seed: int,
    progress: Progress,
    warnings: list[str],
) -> tuple[_Calibrated, Iterator[SequenceFrame]]:
    """The camera, and all frames; where it is estimated, the first ones are read ahead."""
    if sequence.camera is not None:
        return _Calibrated(sequence.camera, False, None), iter(frames)
    progress.start("focal length", None)
    stream = iter(frames)
    held = list(islice(stream, _CALIBRATED_ON))
    if not held:
        raise InputError(f"{sequence.name}: has no frame")
    height, width = held[0].gray.shape
    guess = estimate_focal(held, (width, height), sequence.sensor, compute, seed)
    progress.finish("focal length")
    if not guess.is_determined:
        _warn(
            warnings,
            progress,
            [
                f"no calibration is given, and the recording does not tell the focal length "
                f"({guess.reason}): {guess.camera.params[0]:.0f} px is a mere assumption"
            ],
        )
    deviation = guess.deviation_px if guess.is_determined else None
    return _Calibrated(guess.camera, True, deviation), chain(held, stream)


def _estimator(sequence: Sequence, camera: Camera, compute: Compute, options: OdometryOptions) -> Odometry:
    return Odometry(
        camera,
        sequence.sensor,
        compute,
        options,
        right_camera=sequence.right_camera if sequence.sensor is Sensor.STEREO else None,
        right_from_left=sequence.right_from_left if sequence.sensor is Sensor.STEREO else None,
        depth_camera=sequence.depth_camera if sequence.sensor is Sensor.RGBD else None,
        color_from_depth=sequence.color_from_depth if sequence.sensor is Sensor.RGBD else None,
    )


def _result(
    sequence: Sequence,
    calibrated: _Calibrated,
    estimator: Odometry,
    warnings: list[str],
    progress: Progress,
    started: float,
    seed: int,
    *,
    interrupted: bool,
    source: str,
) -> OdometryResult:
    if not estimator.records:
        raise InputError(f"{sequence.name}: has no frame")
    if interrupted:
        estimator.close()
    elif not calibrated.is_estimated and (sentence := check_intrinsics(estimator)):
        _warn(warnings, progress, [sentence])
    _warn(warnings, progress, estimator.warnings)
    _warn(warnings, progress, odd_stamps([record.time for record in estimator.records]))
    key_frames, sparse = final_map(estimator.keys, estimator.points, estimator.factor)
    truth, truth_source = _truth(sequence, warnings, progress)
    return OdometryResult(
        sensor=sequence.sensor,
        camera=calibrated.camera,
        is_camera_estimated=calibrated.is_estimated,
        is_metric=sequence.sensor is not Sensor.MONO,
        frames=tuple(estimator.result_of(record) for record in estimator.records),
        key_frames=key_frames,
        map=sparse,
        loops=tuple(estimator.loops),
        warnings=tuple(warnings),
        elapsed_s=clock.perf_counter() - started,
        focal_deviation=calibrated.deviation,
        interrupted=interrupted,
        source=source,
        is_timed=sequence.is_timed,
        truth=truth,
        truth_source=truth_source,
        seed=seed,
    )


def _truth(sequence: Sequence, warnings: list[str], progress: Progress) -> tuple[Trajectory | None, str]:
    if not sequence.has_truth:
        return None, ""
    try:
        return sequence.truth, f"the poses of {sequence.name}"
    except (FormatError, InputError) as error:
        _warn(warnings, progress, [f"the recording's own poses cannot be compared with: {error}"])
        return None, ""


def _warn(warnings: list[str], progress: Progress, sentences: Iterable[str]) -> None:
    for sentence in sentences:
        if sentence not in warnings:
            warnings.append(sentence)
            progress.warn(sentence)
