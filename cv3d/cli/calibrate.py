"""`cv3d calibrate`: a camera from pictures of a board."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cv3d.cli.common import OutputOption, RequireOption, Run


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
        str, typer.Option("--board-warp", metavar="auto|on|off", help="Estimate how the board bends.")
    ] = "auto",
    max_frames: Annotated[int, typer.Option("--max-frames", min=2, help="Most frames taken from each video.")] = 60,
    require: RequireOption = None,
) -> None:
    """Calibrate a camera from pictures or a video of a board.

    The board (checkerboard, ChArUco, AprilGrid, circle grid) and the lens model are found out. OUT gets the camera in
    the formats of cv3d, OpenCV, ROS, Kalibr and COLMAP, a result.json and a report.html. Without -o, OUT is named
    after the first input. Exits with 3 when a --require is not met or the pictures do not determine the camera.

    Example: cv3d calibrate photos/ --square 25mm -o calibration --require 'rms<0.5'
    """
    from cv3d.calibration.api import calibrate as calibrate_camera
    from cv3d.calibration.api import inputs_digest, make_options
    from cv3d.errors import QualityError
    from cv3d.evaluation.requirements import check, check_names, parse_requirement
    from cv3d.formats.json_text import jsonable
    from cv3d.reporting.calibration_files import JOURNAL_FILE, look_at_output, write_calibration
    from cv3d.reporting.calibration_summary import MEASURES, measures, summary

    requirements = [parse_requirement(text) for text in require or []]
    check_names(requirements, MEASURES)
    names = [line.strip() for line in sys.stdin if line.strip()] if inputs == ["-"] else inputs
    options = make_options(board, square, model, board_warp, run.options.seed)
    digest = inputs_digest(names, options, max_frames)
    out = output if output is not None else Path(f"{default_name(names[0])}_calibration")
    earlier = look_at_output(out, digest, run.options.overwrite)
    if earlier.result is None:
        calibration = calibrate_camera(
            names,
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
        result = jsonable(write_calibration(calibration, out, default_name(names[0]), digest))
        run.progress.finish("write report")
    else:
        result = earlier.result
    if not isinstance(result, dict):
        raise TypeError("a result is an object")
    run.emit(result, lambda: summary(result, out, earlier.result is not None))
    if result["verdict"] == "unobservable":
        raise QualityError(str(result["sentence"]))
    failures = check(requirements, measures(result))
    if failures:
        raise QualityError("; ".join(str(failure) for failure in failures))


def default_name(first_input: str) -> str:
    """A name for the results of an input: the folder's, the file's without its ending, the fixed part of a glob."""
    parts = [part for part in Path(first_input).parts if not any(c in part for c in "*?[")]
    path = Path(*parts) if parts else Path()
    name = path.resolve().name if path.name in ("", ".", "..") else path.stem if path.is_file() else path.name
    return name or "camera"
