"""`cv3d calibrate`: a camera from pictures of a board."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cv3d.cli.common import OutputOption, RequireOption, Run, read_names
from cv3d.errors import QualityError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

STAGES_FOLDER = "stages"
"""Where a calibration without a board keeps what its stages find."""


def calibrate(
    run: Run,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="Folders, globs, pictures or videos of a board; - reads a list from stdin."
        ),
    ],
    output: OutputOption = None,
    board: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE:COLSxROWS",
            help="The board, e.g. checkerboard:9x6 (inner corners) or charuco:8x6:5X5_100 (squares). "
            "Found out when not given.",
            show_default=False,
        ),
    ] = None,
    square: Annotated[
        str | None,
        typer.Option(metavar="LENGTH", help="Side of a square, e.g. 25mm. Sets the scale.", show_default=False),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Lens model: auto, or e.g. brown5, kannala_brandt4, eucm (a wrong name lists all).")
    ] = "auto",
    board_warp: Annotated[
        str, typer.Option("--board-warp", metavar="auto|on|off", help="Estimate how the board bends and stretches.")
    ] = "auto",
    max_frames: Annotated[int, typer.Option("--max-frames", min=2, help="Most frames taken from each video.")] = 60,
    rig: Annotated[
        bool,
        typer.Option(
            "--rig",
            help="Several cameras on one body: each INPUT is a camera, or one holds a folder or video for each.",
        ),
    ] = False,
    names: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="What the cameras of a rig are called.", show_default=False),
    ] = None,
    intrinsics: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE",
            help="Known cameras of a rig, in any format, to be held: one file of all, one for each in order, or by "
            "name for some; may be repeated.",
        ),
    ] = None,
    stamps: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Time stamps of a rig's frames: a table, or a folder with one for each camera. Looked for beside the "
            "inputs when not given.",
            show_default=False,
        ),
    ] = None,
    from_scene: Annotated[
        bool, typer.Option("--self", help="Without a board: from pictures or a clip of a scene that stands still.")
    ] = False,
    require: RequireOption = None,
) -> None:
    """Calibrate a camera, or a rig of several, from pictures or a video of a board, or with --self of any scene.

    The board (checkerboard, ChArUco, AprilGrid, circle grid) and the lens model are found out. OUT gets the camera in
    the formats of cv3d, OpenCV, ROS, Kalibr and COLMAP, a result.json and a report.html. Without -o, OUT is named
    after the first input. Exits with 3 when a --require is not met or the pictures do not determine the camera.

    Example: cv3d calibrate photos/ --square 25mm -o calibration --require 'rms<0.5'

    Example: cv3d calibrate --rig left/ right/ --square 25mm -o stereo

    Example: cv3d calibrate --self walk.mp4 -o phone
    """
    given = read_names(inputs)
    if from_scene:
        others: dict[str, object] = {
            "--rig": rig or None,
            "--board": board,
            "--square": square,
            "--names": names,
            "--stamps": stamps,
        }
        others |= {"--intrinsics": intrinsics, "--model": None if model == "auto" else model}
        if misplaced := [option for option, value in others.items() if value is not None]:
            raise UsageError(f"{misplaced[0]} is for a board; --self does without one")
        job = _scene_job(run, given, max_frames)
    elif rig:
        job = _rig_job(run, given, board, square, model, board_warp, max_frames, names, intrinsics or [], stamps)
    else:
        alone = {"--names": names, "--intrinsics": intrinsics, "--stamps": stamps}
        if misplaced := [option for option, value in alone.items() if value is not None]:
            raise UsageError(f"{misplaced[0]} is for a rig of several cameras: add --rig")
        job = _camera_job(run, given, board, square, model, board_warp, max_frames)
    _finish(run, job, output, require or [])


@dataclass(frozen=True)
class _Job:
    """One calibration, parsed and checked."""

    title: str
    """Heads the report, and names OUT where the user does not."""
    schema: str
    """Of the result."""
    digest: Callable[[], str]
    """Of everything that the result depends on."""
    work: Callable[[Path, str], dict[str, object]]
    """Calibrates and writes into OUT; from OUT and the digest to the result."""
    measures: tuple[str, ...]
    """The figures that `--require` knows."""
    measure: Callable[[Mapping[str, Any]], dict[str, float | None]]
    """The figures of a result."""
    summary: Callable[[Mapping[str, Any], Path, bool], RenderableType]
    """A result for a person: from it, OUT, and whether it was there already."""


def _finish(run: Run, job: _Job, output: Path | None, require: Sequence[str]) -> None:
    """Do a job unless it is done already, print its result, and hold it to what is required."""
    from cv3d.evaluation.requirements import check, check_names, parse_requirement
    from cv3d.formats.json_text import jsonable
    from cv3d.reporting.result_folder import look_at_output

    requirements = [parse_requirement(text) for text in require]
    check_names(requirements, job.measures)
    digest = job.digest()
    out = output if output is not None else Path(f"{job.title}_calibration")
    earlier = look_at_output(out, digest, run.options.overwrite, job.schema)
    result = jsonable(job.work(out, digest)) if earlier.result is None else earlier.result
    if not isinstance(result, dict):
        raise TypeError("a result is an object")
    run.emit(result, lambda: job.summary(result, out, earlier.result is not None))
    if result["verdict"] == "unobservable":
        raise QualityError(str(result["sentence"]))
    failures = check(requirements, job.measure(result))
    if failures:
        raise QualityError("; ".join(str(failure) for failure in failures))


def _camera_job(
    run: Run,
    inputs: Sequence[str],
    board: str | None,
    square: str | None,
    model: str,
    board_warp: str,
    max_frames: int,
) -> _Job:
    from cv3d.calibration.api import calibrate as calibrate_camera
    from cv3d.calibration.api import inputs_digest, make_options
    from cv3d.calibration.result import RESULT_SCHEMA
    from cv3d.reporting.calibration_files import write_calibration
    from cv3d.reporting.calibration_summary import MEASURES, measures, summary
    from cv3d.reporting.result_folder import JOURNAL_FILE

    options = make_options(board, square, model, board_warp, run.options.seed)
    title = default_name(inputs[0]) if inputs else "camera"

    def work(out: Path, digest: str) -> dict[str, object]:
        calibration = calibrate_camera(
            inputs,
            board=options.board,
            square=options.square_m,
            model=options.model,
            board_warp=options.board_warp,
            seed=options.seed,
            max_frames=max_frames,
            journal=out / JOURNAL_FILE,
            progress=run.progress,
        )
        run.progress.start("write report")
        result = write_calibration(calibration, out, title, digest)
        run.progress.finish("write report")
        return result

    def digest() -> str:
        return inputs_digest(inputs, options, max_frames)

    return _Job(title, RESULT_SCHEMA, digest, work, MEASURES, measures, summary)


def _scene_job(run: Run, inputs: Sequence[str], max_frames: int) -> _Job:
    from cv3d.mapping.options import MapOptions
    from cv3d.mapping.self_calibrating import SELF_SCHEMA, self_calibrate
    from cv3d.media.inputs import find_pictures
    from cv3d.reporting.result_folder import files_digest
    from cv3d.reporting.self_calibration_files import (
        SELF_MEASURES,
        self_measures,
        self_summary,
        write_self_calibration,
    )

    options = MapOptions(max_frames=max_frames, seed=run.options.seed)

    def work(out: Path, digest: str) -> dict[str, object]:
        found = self_calibrate(inputs, out / STAGES_FOLDER, options=options, compute=run.compute, progress=run.progress)
        return write_self_calibration(found, out, digest)

    def digest() -> str:
        found = find_pictures(inputs)
        files = [picture.source for picture in found] + [video.source for video in found.videos]
        return files_digest(files, repr(options))

    title = default_name(inputs[0]) if inputs else "camera"
    return _Job(title, SELF_SCHEMA, digest, work, SELF_MEASURES, self_measures, self_summary)


def _rig_job(
    run: Run,
    inputs: Sequence[str],
    board: str | None,
    square: str | None,
    model: str,
    board_warp: str,
    max_frames: int,
    names: str | None,
    intrinsics: Sequence[str],
    stamps: Path | None,
) -> _Job:
    from cv3d.calibration.rig.api import calibrate_rig, prepare_rig, rig_digest
    from cv3d.calibration.rig.given import parse_intrinsics
    from cv3d.calibration.rig.result import RIG_SCHEMA
    from cv3d.reporting.result_folder import JOURNAL_FILE
    from cv3d.reporting.rig_files import write_rig
    from cv3d.reporting.rig_summary import RIG_MEASURES, rig_measures, rig_summary

    called, options = prepare_rig(
        inputs,
        names=None if names is None else names.split(","),
        board=board,
        square=square,
        model=model,
        board_warp=board_warp,
        intrinsics=parse_intrinsics(intrinsics),
        seed=run.options.seed,
    )
    title = _rig_title(inputs, called)

    def work(out: Path, digest: str) -> dict[str, object]:
        calibration = calibrate_rig(
            inputs,
            names=called,
            board=options.board,
            square=options.square_m,
            model=options.model,
            board_warp=options.board_warp,
            intrinsics=options.intrinsics,
            stamps=stamps,
            seed=options.seed,
            max_frames=max_frames,
            journal=out / JOURNAL_FILE,
            progress=run.progress,
        )
        run.progress.start("write report")
        result = write_rig(calibration, out, title, digest)
        run.progress.finish("write report")
        return result

    def digest() -> str:
        return rig_digest(inputs, called, options, stamps, max_frames)

    return _Job(title, RIG_SCHEMA, digest, work, RIG_MEASURES, rig_measures, rig_summary)


def _rig_title(inputs: Sequence[str], names: Sequence[str]) -> str:
    """A name for a rig: of the one input that holds all cameras, else of the cameras."""
    return default_name(inputs[0]) if len(inputs) == 1 else "_".join(names[:4])


def default_name(first_input: str) -> str:
    """A name for the results of an input: the folder's, the file's without its ending, the fixed part of a glob."""
    parts = [part for part in Path(first_input).parts if not any(c in part for c in "*?[")]
    path = Path(*parts) if parts else Path()
    name = path.resolve().name if path.name in ("", ".", "..") else path.stem if path.is_file() else path.name
    return name or "camera"
