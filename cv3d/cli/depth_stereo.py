"""`cv3d depth --stereo`: disparity and depth of one pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cv3d.cli.common import Run
from cv3d.errors import InputError, QualityError, UsageError


@dataclass(frozen=True)
class PairJob:
    """A pair as it was asked for."""

    files: tuple[Path, Path]
    rig: Path | None
    is_rectified: bool
    max_disparity: int | None
    is_filled: bool
    truth: Path | None
    truth_scale: float | None
    output: Path | None
    require: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the pair is called."""
        return self.files[0].stem or "pair"


def run_pair(run: Run, job: PairJob) -> None:
    """Do it unless it is done already, write it, print it.

    Raises:
        UsageError: options contradict each other.
        QualityError: a requirement is not met.
    """
    from cv3d.evaluation.requirements import check, check_names, parse_requirement
    from cv3d.reporting.result_folder import files_digest, look_at_output
    from cv3d.reporting.stereo_summary import MEASURES, SCHEMA, describe_stereo, measures

    requirements = [parse_requirement(text) for text in job.require]
    check_names(requirements, MEASURES)
    if job.truth is None and job.truth_scale is not None:
        raise UsageError("--truth-scale: only with --truth")
    if job.truth_scale is not None and not job.truth_scale > 0.0:
        raise UsageError("--truth-scale is positive")
    if job.is_rectified and job.rig is None:
        raise UsageError("--rectified: only with --rig; without it pictures are taken as rectified anyway")
    out = job.output if job.output is not None else Path(f"{job.name}_stereo")
    read = [path for path in (*job.files, job.rig, job.truth) if path is not None]
    options = (job.is_rectified, job.max_disparity, job.is_filled, job.truth_scale, run.options.device.value)
    digest = files_digest(read, *options)
    earlier = look_at_output(out, digest, run.options.overwrite, SCHEMA).result
    content = dict(earlier) if earlier is not None else _computed(run, job, out, digest)
    run.emit(content, lambda: describe_stereo(content, job.name, str(out), earlier is not None))
    failures = check(requirements, measures(content))
    if failures:
        raise QualityError("; ".join(str(failure) for failure in failures))


def _computed(run: Run, job: PairJob, out: Path, digest: str) -> dict[str, Any]:
    from cv3d.depth.stereo import StereoOptions, score, stereo
    from cv3d.media.disparity_files import read_disparities
    from cv3d.reporting.stereo_files import write_stereo

    truth = None if job.truth is None else read_disparities(job.truth, job.truth_scale or 1.0)
    result = stereo(
        *job.files,
        rig=job.rig,
        is_rectified=job.is_rectified,
        options=StereoOptions(max_disparity=job.max_disparity, is_filled=job.is_filled),
        compute=run.compute,
        progress=run.progress,
    )
    judged = None
    if truth is not None:
        if truth.shape != result.disparity.disparity.shape:
            height, width = truth.shape
            own = result.disparity.disparity.shape
            raise InputError(f"{job.truth}: is {width}x{height}, the disparities are {own[1]}x{own[0]}")
        judged = score(result.disparity.disparity, truth)
    return write_stereo(result, out, score=judged, title=f"Stereo of {job.name}", digest=digest)
