"""`cv3d evaluate trajectory`: an estimated trajectory against the true one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cv3d.cli.common import RequireOption, Run
from cv3d.evaluation.trajectory.choices import Alignment, PairsFrom


def trajectory(
    run: Run,
    estimate: Annotated[
        Path,
        typer.Argument(
            metavar="EST", help="The estimate: TUM, KITTI, EuRoC csv, or a folder of poses.", show_default=False
        ),
    ],
    reference: Annotated[
        Path, typer.Argument(metavar="REF", help="The truth, in any of these formats.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Folder for result.json, the errors of every pose, the aligned estimate and a plot.",
            show_default=False,
        ),
    ] = None,
    align: Annotated[
        Alignment,
        typer.Option(help="What is taken out first: a rigid motion, one with a scale, a scale, the first pose's."),
    ] = Alignment.SE3,
    n_to_align: Annotated[
        int | None,
        typer.Option(metavar="N", help="Align by the first N matched poses only.", show_default=False),
    ] = None,
    max_diff: Annotated[
        float, typer.Option(metavar="SECONDS", help="How far apart two stamps of one moment may be.")
    ] = 0.01,
    offset: Annotated[float, typer.Option(metavar="SECONDS", help="Added to the stamps of EST.")] = 0.0,
    times: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Times of the poses, one a line, for files that have none. Otherwise the times.txt beside them.",
            show_default=False,
        ),
    ] = None,
    delta: Annotated[
        str, typer.Option(metavar="DELTA", help="Relative errors over 1f (frames), 0.5s, 1m or 10deg.")
    ] = "1f",
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Start a pair at every pose, not only where the one before ends.")
    ] = False,
    pairs_from: Annotated[
        PairsFrom, typer.Option(help="On which of the two the metres and degrees of --delta are measured.")
    ] = PairsFrom.ESTIMATE,
    per_pose: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write the errors of every pose.", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Draw the path from three sides, coloured by its error (.png, .pdf or .svg).",
            show_default=False,
        ),
    ] = None,
    require: RequireOption = None,
) -> None:
    """Compare an estimated trajectory with the true one.

    Poses are matched by time, the estimate is aligned, and what remains is its absolute error (ATE); relative errors
    (RPE) compare the motions between pairs of poses. For paths of 100 m or more there are KITTI's t_rel and r_rel.
    Exits with 3 when a --require is not met; it knows the figures ate_rmse, ate_rot_mean, rpe_max and so on,
    ate_percent, t_rel, r_rel, scale, tracked_fraction, longest_gap and matched.

    Example: cv3d evaluate trajectory est.tum groundtruth.txt --align sim3 --plot path.png --require 'ate_rmse<0.05'
    """
    from cv3d.errors import QualityError
    from cv3d.evaluation.requirements import check, check_names, parse_requirement
    from cv3d.evaluation.trajectory.evaluating import TrajectoryOptions, evaluate_trajectory_files
    from cv3d.evaluation.trajectory.relative import Delta, parse_delta
    from cv3d.evaluation.trajectory.result import MEASURES
    from cv3d.reporting.trajectory_figure import check_plot_name, write_trajectory_plot
    from cv3d.reporting.trajectory_files import trajectory_result, write_per_pose, write_trajectory_evaluation

    requirements = [parse_requirement(text) for text in require or []]
    check_names(requirements, MEASURES)
    if plot is not None:
        check_plot_name(plot)
    value, unit = parse_delta(delta)
    pairs = Delta(value, unit, all_pairs, pairs_from=pairs_from)
    options = TrajectoryOptions(align, n_to_align, max_diff, offset, pairs)
    result = evaluate_trajectory_files(estimate, reference, options, times)
    for warning in result.warnings:
        run.progress.warn(warning)
    names = (str(estimate), str(reference))
    if per_pose is not None:
        write_per_pose(result, per_pose)
    if plot is not None:
        write_trajectory_plot(result, plot)
    if output is None:
        plain = trajectory_result(result, names)
    else:
        plain = write_trajectory_evaluation(result, names, output, run.options.overwrite)
    run.emit(plain, lambda: str(result) + (f"\n\nwritten to {output}" if output is not None else ""))
    failures = check(requirements, result.measures())
    if failures:
        raise QualityError("; ".join(str(failure) for failure in failures))
