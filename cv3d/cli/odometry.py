"""`cv3d odometry`: where a moving camera was, frame by frame."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cv3d.cli.common import RequireOption, Run
from cv3d.errors import QualityError, UsageError

if TYPE_CHECKING:
    from cv3d.odometry.results import OdometryResult

_LIVE = "camera:"


def odometry(
    run: Run,
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A video, a folder of pictures, a dataset's folder, or camera:0 for a live camera.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Folder for everything; or a .tum, .txt, .csv file for the path alone.",
            show_default=False,
        ),
    ] = None,
    camera: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Camera file of any format. Without, the recording's own; else the focal length is estimated.",
            show_default=False,
        ),
    ] = None,
    stereo: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="LEFT RIGHT", help="Folders or videos of a stereo pair, within INPUT or not.", show_default=False
        ),
    ] = None,
    depth: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of depth maps, one for each picture.", show_default=False)
    ] = None,
    depth_scale: Annotated[
        float | None,
        typer.Option(metavar="METRES", help="Metres a unit of stored depth; found out otherwise.", show_default=False),
    ] = None,
    sensor: Annotated[
        str, typer.Option(metavar="SENSOR", help="What to use where there is more: auto, mono, stereo or rgbd.")
    ] = "auto",
    loops: Annotated[
        bool | None,
        typer.Option("--loops/--no-loops", help="Close loops; by default not live.", show_default=False),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Frames a second, where the recording has no times.", show_default=False),
    ] = None,
    form: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="FORM",
            help="Write the path as kitti or euroc too; may be repeated. Of a file: its form.",
            show_default=False,
        ),
    ] = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Show it while it runs, in the rerun viewer.")] = False,
    require: RequireOption = None,
) -> None:
    """Follow a moving camera: a pose for every frame, and how well it is known.

    OUT gets trajectory.tum, keyframes.tum, map.ply, frames.csv (state and reason of every frame), a COLMAP model,
    camera.json, result.json and report.html. Without -o, OUT is named after INPUT. Ctrl-C writes what there is and
    exits with 130. A truth that lies with the recording is compared with, never used.

    Figures for --require: tracked_fraction, segments, keyframes, loops, fps, realtime_factor, p50_ms, p95_ms, p99_ms,
    and with a truth ate_rmse, ate_percent, rpe_rmse.

    Example: cv3d odometry clip.mov -o walk --require 'tracked_fraction>0.95'

    Example: cv3d odometry seq/ --sensor rgbd -o seq.tum
    """
    from cv3d.evaluation.requirements import check, check_names, parse_requirement
    from cv3d.reporting.odometry_summary import MEASURES, measures

    requirements = [parse_requirement(text) for text in require or []]
    check_names(requirements, MEASURES)
    if depth_scale is not None and not 0.0 < depth_scale < math.inf:
        raise UsageError(f"--depth-scale {depth_scale:g}: is not a positive number")
    out, file_form = _place(source, output, form or [])
    options: dict[str, Any] = {
        "stereo": stereo,
        "depth": depth,
        "camera": camera,
        "sensor": sensor,
        "loops": loops,
        "depth_scale": depth_scale,
        "fps": fps,
    }
    if file_form is None:
        content = _into_folder(run, source, out, options, form or [], rerun=rerun)
    else:
        content = _into_file(run, source, out, file_form, options, rerun=rerun)
    if content["interrupted"]:
        kept = "what they gave is written to" if file_form is None or content["tracked_frames"] else "nothing is in"
        raise KeyboardInterrupt(f"{content['frames']} frames were seen, and {kept} {out}")
    if not content["tracked_frames"]:
        raise QualityError(_nothing_tracked(content))
    failures = check(requirements, measures(content))
    if failures:
        raise QualityError("; ".join(str(failure) for failure in failures))


def _place(source: str, output: str | None, forms: list[str]) -> tuple[Path, str | None]:
    """Where results go, and the path's form where that is one file; None: a folder."""
    from cv3d.cli.calibrate import default_name
    from cv3d.reporting.odometry_files import TRAJECTORY_NAMES, format_of_file

    unknown = [form for form in forms if form not in TRAJECTORY_NAMES]
    if unknown:
        raise UsageError(f"--format '{unknown[0]}': a path is written as {', '.join(TRAJECTORY_NAMES)}")
    name = source.replace(":", "").replace("/", "_") if source.startswith(_LIVE) else default_name(source)
    out = Path(output) if output else Path(f"{name}_odometry")
    file_form = None if (output or "").endswith(("/", os.sep)) or out.is_dir() else format_of_file(out)
    if file_form is None:
        if not source.startswith(_LIVE) and out.resolve() == Path(source).resolve():
            raise UsageError(f"{out}: is the recording itself; name another folder with -o")
        return out, None
    if len(forms) > 1:
        raise UsageError(f"{out} is one file, and is written in one form; name a folder for several")
    return out, forms[0] if forms else file_form


def _into_folder(
    run: Run, source: str, out: Path, options: dict[str, Any], forms: list[str], *, rerun: bool
) -> dict[str, Any]:
    """Do it unless it is done already, write all of it, print it."""
    from cv3d.reporting.odometry_files import write_odometry
    from cv3d.reporting.odometry_summary import SCHEMA, describe_odometry
    from cv3d.reporting.odometry_truth import compare_with_truth
    from cv3d.reporting.result_folder import look_at_output
    from cv3d.reporting.text_lines import folded_files

    digest = _digest(run, source, options, forms)
    earlier = look_at_output(out, digest, run.options.overwrite, SCHEMA).result
    is_done = earlier is not None and not earlier["interrupted"]
    if is_done and earlier is not None:
        content: dict[str, Any] = dict(earlier)
    else:
        result = _follow(run, source, options, rerun=rerun)
        title = f"Odometry of {Path(source).name or source}"
        content = write_odometry(result, compare_with_truth(result), out, forms=forms, title=title, digest=digest)
    run.emit(content, lambda: describe_odometry(content, str(out), folded_files(content["files"]), is_done))
    return content


def _into_file(run: Run, source: str, path: Path, form: str, options: dict[str, Any], *, rerun: bool) -> dict[str, Any]:
    """Do it, write the path alone, print the result."""
    from cv3d.reporting.odometry_files import write_path
    from cv3d.reporting.odometry_summary import describe_odometry, odometry_result
    from cv3d.reporting.odometry_truth import compare_with_truth

    if path.exists() and not run.options.overwrite:
        raise UsageError(f"{path}: is there already; --overwrite replaces it")
    result = _follow(run, source, options, rerun=rerun)
    if result.largest_segment is not None:
        write_path(result, path, form)
    content = odometry_result(result, compare_with_truth(result))
    where = str(path) if content["tracked_frames"] else ""
    run.emit(content, lambda: describe_odometry(content, where, []))
    return content


def _follow(run: Run, source: str, options: dict[str, Any], *, rerun: bool) -> OdometryResult:
    from cv3d.odometry.running import odometry as follow
    from cv3d.reporting.frame_observers import FrameObserver, FrameStatus, together

    observers: list[FrameObserver] = [FrameStatus(run.progress)]
    stream = None
    if rerun:
        from cv3d.reporting.rerun_stream import RerunStream

        stream = RerunStream.in_viewer(f"cv3d odometry {source}")
        observers.append(stream)
    result: OdometryResult = follow(
        source,
        **options,
        compute=run.compute,
        seed=run.options.seed,
        progress=run.progress,
        on_frame=together(observers),
    )
    if stream is not None and (problem := stream.finish(result)):
        run.progress.warn(f"the rerun viewer did not get all of it: {problem}")
    return result


def _digest(run: Run, source: str, options: dict[str, Any], forms: list[str]) -> str:
    """Of everything that the result depends on; a live camera's is never the same again."""
    from cv3d.reporting.result_folder import files_digest

    if source.startswith(_LIVE):
        return f"live at {time.time_ns()}"
    from cv3d.odometry.sources import open_sequence

    opening = {name: value for name, value in options.items() if name != "loops"}
    files = [*open_sequence(source, **opening).inputs, *([options["camera"]] if options["camera"] else [])]
    said = {name: None if value is None else str(value) for name, value in options.items()}
    return files_digest(files, said, sorted(set(forms)), run.options.seed, run.options.device.value)


def _nothing_tracked(content: dict[str, Any]) -> str:
    """Why there is no path: the doubt that most frames were in."""
    doubts = sorted(content["doubts"], key=lambda doubt: -int(doubt["frames"]))
    reason = f": {doubts[0]['reason']}" if doubts and doubts[0]["reason"] else ""
    return f"{content['source']}: not one of {content['frames']} frames could be tracked{reason}"
