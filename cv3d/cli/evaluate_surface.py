"""`cv3d evaluate surface`: a mesh against the true surface, and against measured depth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cv3d.cli.common import RequireOption, Run
from cv3d.cli.quantities import parse_length
from cv3d.errors import UsageError
from cv3d.formats.up_axis import Up

if TYPE_CHECKING:
    from cv3d.evaluation.surface import SurfaceView

_THRESHOLDS = ("5mm", "1cm", "2cm", "5cm")


def surface(
    run: Run,
    mesh: Annotated[
        Path, typer.Argument(metavar="MESH", help="What is judged: PLY, OBJ, GLB or USDZ, metres.", show_default=False)
    ],
    reference: Annotated[
        Path, typer.Argument(metavar="REF", help="The true surface, in any of these formats.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="Folder for result.json and report.html.", show_default=False
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold",
            metavar="LENGTH",
            help="Distance at which shares are counted; may be repeated. The first is that of the plain F-score.",
            show_default=", ".join(_THRESHOLDS),
        ),
    ] = None,
    align: Annotated[
        str, typer.Option("--align", metavar="none|se3", help="Take out a small rigid motion first.")
    ] = "none",
    reach: Annotated[
        str, typer.Option("--reach", metavar="LENGTH", help="How far apart the two may be for --align.")
    ] = "10cm",
    samples: Annotated[int, typer.Option("--samples", metavar="N", help="Points on each surface.")] = 300_000,
    frames: Annotated[
        str | None,
        typer.Option(
            "--frames",
            metavar="INPUT",
            help="A recording with depth: compare only what it saw, and its depth with the mesh's.",
            show_default=False,
        ),
    ] = None,
    trajectory: Annotated[
        Path | None,
        typer.Option(
            "--trajectory",
            metavar="FILE",
            help="Poses of its frames in REF's frame. Otherwise the recording's own.",
            show_default=False,
        ),
    ] = None,
    range_: Annotated[
        str, typer.Option("--range", metavar="LENGTH", help="What is farther from the cameras is left out.")
    ] = "4m",
    up: Annotated[
        Up | None,
        typer.Option("--up", help="The axis that is up on the page.", show_default="as cameras are held, else -y"),
    ] = None,
    require: RequireOption = None,
) -> None:
    """Measure how near a mesh is to the true surface.

    Points are spread evenly over both, and the distance of each from the other surface is exact. Accuracy is from the
    mesh to the reference, completeness back, the Chamfer distance their mean; precision and recall are the shares
    within a threshold, the F-score their harmonic mean. Nothing is aligned unless asked for.

    Figures for --require: fscore, precision, recall (at the first threshold), fscore_5mm and so on, accuracy,
    completeness, accuracy_median, completeness_median, chamfer (metres), normal_consistency, and with --frames
    depth_median_abs, depth_mean_abs, depth_rmse, depth_covered.

    Example: cv3d evaluate surface room/mesh.ply truth.ply --frames rgbd/ --require 'fscore>0.9'
    """
    import numpy as np

    from cv3d.errors import QualityError
    from cv3d.evaluation.requirements import check, check_names, parse_requirement
    from cv3d.evaluation.surface import SurfaceOptions, evaluate_surface, measure_names
    from cv3d.evaluation.surface.alignment import SurfaceAlignment
    from cv3d.formats.meshes import read_mesh
    from cv3d.geometry.cameras.rig import inverse_rigid
    from cv3d.reporting.surface_files import surface_result, write_surface_evaluation

    thresholds = tuple(parse_length(text, "--threshold") for text in threshold or _THRESHOLDS)
    requirements = [parse_requirement(text) for text in require or []]
    check_names(requirements, measure_names(thresholds))
    if align not in tuple(SurfaceAlignment):
        raise UsageError(f"--align {align}: one of {', '.join(SurfaceAlignment)}")
    if trajectory is not None and frames is None:
        raise UsageError("--trajectory goes with --frames")
    range_m = parse_length(range_, "--range")
    options = SurfaceOptions(thresholds, samples, SurfaceAlignment(align), parse_length(reach, "--reach"), range_m)
    judged, truth = read_mesh(mesh), read_mesh(reference)
    views = [] if frames is None else views_of(frames, trajectory, run)
    names = (str(mesh), str(reference))
    result = evaluate_surface(judged, truth, options, views=views, names=names, progress=run.progress)
    for warning in result.warnings:
        run.progress.warn(warning)
    if output is None:
        plain = surface_result(result, names)
    else:
        poses = inverse_rigid(np.stack([view.cam_from_world for view in views])) if views else None
        plain = write_surface_evaluation(
            result, judged, names, output, up=up, world_from_cam=poses, overwrite=run.options.overwrite
        )
    run.emit(plain, lambda: str(result) + (f"\n\nwritten to {output}" if output is not None else ""))
    failures = check(requirements, result.measures())
    if failures:
        raise QualityError("; ".join(str(failure) for failure in failures))


def views_of(source: str, trajectory: Path | None, run: Run) -> list[SurfaceView]:
    """The posed depth of a recording."""
    from cv3d.evaluation.surface import SurfaceView
    from cv3d.formats.trajectories import read_trajectory
    from cv3d.fusion.sources import PosedDepth, own_trajectory, posed_depth
    from cv3d.odometry.sources import open_sequence

    sequence = open_sequence(source)
    path = own_trajectory(sequence) if trajectory is None else read_trajectory(trajectory)
    found = [item for item in posed_depth(sequence, path, with_color=False) if isinstance(item, PosedDepth)]
    run.progress.info(f"{source}: {len(found)} frames with depth and a pose")
    return [SurfaceView(one.frame.camera, one.frame.cam_from_world, one.frame.depth) for one in found]
