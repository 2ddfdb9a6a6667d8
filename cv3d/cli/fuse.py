"""`cv3d fuse`: the depth of a recording becomes one surface."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cv3d.cli.common import OutputOption, Run
from cv3d.cli.quantities import parse_length, parse_memory
from cv3d.errors import Cv3dError, UsageError
from cv3d.formats.up_axis import Up

if TYPE_CHECKING:
    from cv3d.fusion.job import FuseOptions
    from cv3d.fusion.result import FusionResult


def fuse(
    run: Run,
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A recording with depth, a COLMAP workspace with depth maps, or a folder of point clouds.",
            show_default=False,
        ),
    ],
    output: OutputOption = None,
    trajectory: Annotated[
        Path | None,
        typer.Option(
            "--trajectory",
            metavar="FILE",
            help="Poses of the frames: TUM, KITTI, EuRoC. Otherwise the recording's own; else odometry finds them.",
            show_default=False,
        ),
    ] = None,
    camera: Annotated[
        Path | None,
        typer.Option(
            "--camera",
            metavar="FILE",
            help="Camera file of any format. Otherwise the recording's own.",
            show_default=False,
        ),
    ] = None,
    depth: Annotated[
        Path | None,
        typer.Option(
            "--depth", metavar="DIR", help="Folder of the depth pictures, within INPUT or not.", show_default=False
        ),
    ] = None,
    depth_scale: Annotated[
        float | None,
        typer.Option(
            "--depth-scale",
            metavar="METRES",
            help="Metres a unit of stored depth; found out otherwise.",
            show_default=False,
        ),
    ] = None,
    pose_scale: Annotated[
        float, typer.Option("--pose-scale", metavar="METRES", help="Metres a unit of the trajectory.")
    ] = 1.0,
    voxel: Annotated[
        str | None,
        typer.Option(
            "--voxel",
            metavar="LENGTH",
            help="Edge of a voxel, such as 5mm.",
            show_default="from the noise and the range",
        ),
    ] = None,
    range_: Annotated[str, typer.Option("--range", metavar="LENGTH", help="Farther depth is left out.")] = "4m",
    max_memory: Annotated[
        str | None,
        typer.Option(
            "--max-memory",
            metavar="SIZE",
            help="Of this process while fusing, such as 1GB; voxels beyond it go to disk. The surface comes on top.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[int, typer.Option("--every", min=1, metavar="N", help="Take every N-th frame.")] = 1,
    refine: Annotated[bool, typer.Option("--refine", help="Fit each pose to the model first.")] = False,
    texture: Annotated[
        bool, typer.Option("--texture", help="Lay the pictures over the surface, in OBJ, GLB and USDZ.")
    ] = False,
    min_observations: Annotated[
        int, typer.Option("--min-observations", min=1, metavar="N", help="Frames that have to see a place.")
    ] = 2,
    fill_holes: Annotated[
        str | None,
        typer.Option(
            "--fill-holes", metavar="LENGTH", help="Close holes with a border shorter than this.", show_default=False
        ),
    ] = None,
    triangles: Annotated[
        int | None,
        typer.Option("--triangles", min=4, metavar="N", help="Simplify to so many triangles.", show_default=False),
    ] = None,
    poisson: Annotated[
        int | None,
        typer.Option(
            "--poisson",
            metavar="DEPTH",
            help="Make the surface anew by Poisson's method, such as 9.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="FORMS", help="Of the surface: ply, obj, glb, usdz, apart by commas.")
    ] = "ply",
    up: Annotated[
        Up | None,
        typer.Option("--up", help="What is up in GLB and USDZ.", show_default="as the cameras were held"),
    ] = None,
    keep_all_poses: Annotated[
        bool, typer.Option("--keep-all-poses", help="Also fuse frames whose pose contradicts the model.")
    ] = False,
    any_size: Annotated[
        bool, typer.Option("--any-size", help="Do not ask when lengths look as if they were in other units.")
    ] = False,
) -> None:
    """Fuse depth into one clean surface, in colour.

    Poses come from --trajectory, else from the recording itself, else RGB-D odometry is run for them; the result says
    which. OUT gets the surface (mesh.ply and what --format names), trajectory.tum, report.html with the surface to be
    turned, and result.json. Without -o, OUT is named after INPUT. Frames without a pose, without depth, or with a pose
    that contradicts the model are left out and listed. Ctrl-C writes what is fused and exits with 130.

    Example: cv3d fuse recording/ --voxel 5mm --format ply,glb -o room

    Example: cv3d fuse rgbd/ --trajectory walk/trajectory.tum --max-memory 1GB
    """
    from cv3d.fusion.job import DiskFullError
    from cv3d.reporting.fusion_files import check_forms

    forms = check_forms(form)
    if texture and forms == ("ply",):
        raise UsageError("--texture needs a form that has one: --format obj, glb or usdz")
    options = _options(
        voxel,
        range_,
        max_memory,
        every,
        refine,
        texture,
        min_observations,
        fill_holes,
        triangles,
        poisson,
        keep_all_poses,
        any_size,
    )
    inputs: dict[str, Any] = {
        "trajectory": trajectory,
        "camera": camera,
        "depth": depth,
        "depth_scale": depth_scale,
        "pose_scale": pose_scale,
    }
    out = output if output is not None else Path(f"{_name(source)}_fused")
    if out.resolve() == Path(source).resolve():
        raise UsageError(f"{out}: is the recording itself; name another folder with -o")
    try:
        content = _into_folder(run, source, out, inputs, options, forms, up)
    except DiskFullError as error:
        _write(run, error.partial, source, out, forms, "", up)
        raise
    if content["interrupted"]:
        raise KeyboardInterrupt(f"{content['frames']} frames were fused, and their surface is written to {out}")


def _options(
    voxel: str | None,
    range_: str,
    max_memory: str | None,
    every: int,
    refine: bool,
    texture: bool,
    min_observations: int,
    fill_holes: str | None,
    triangles: int | None,
    poisson: int | None,
    keep_all_poses: bool,
    any_size: bool,
) -> FuseOptions:
    from cv3d.fusion.job import FuseOptions
    from cv3d.fusion.surfacing import SurfaceOptions

    surface = SurfaceOptions(
        min_observations,
        fill_holes_m=0.0 if fill_holes is None else parse_length(fill_holes, "--fill-holes"),
        max_triangles=triangles,
        poisson_depth=poisson,
    )
    return FuseOptions(
        None if voxel is None else parse_length(voxel, "--voxel"),
        parse_length(range_, "--range"),
        None if max_memory is None else parse_memory(max_memory, "--max-memory"),
        surface=surface,
        every=every,
        is_refining=refine,
        is_judging=not keep_all_poses,
        is_texturing=texture,
        is_any_size=any_size,
    )


def _into_folder(
    run: Run,
    source: str,
    out: Path,
    inputs: dict[str, Any],
    options: FuseOptions,
    forms: tuple[str, ...],
    up: Up | None,
) -> dict[str, object]:
    """Do it unless it is done already, write all of it, print it."""
    from cv3d.fusion.fusing import fuse as fuse_recording
    from cv3d.fusion.result import SCHEMA
    from cv3d.reporting.result_folder import look_at_output

    digest = _digest(run, source, inputs, options, forms, up)
    earlier = look_at_output(out, digest, run.options.overwrite, SCHEMA).result
    if earlier is not None and not earlier["interrupted"]:
        content = dict(earlier)
        run.emit(content, lambda: f"nothing to do: {out} holds the result of just this")
        return content
    result = fuse_recording(
        source,
        **inputs,
        options=options,
        compute=run.compute,
        seed=run.options.seed,
        progress=run.progress,
    )
    return _write(run, result, source, out, forms, digest, up)


def _write(
    run: Run, result: FusionResult, source: str, out: Path, forms: tuple[str, ...], digest: str, up: Up | None
) -> dict[str, object]:
    from cv3d.reporting.fusion_files import write_fusion

    for warning in result.warnings:
        run.progress.warn(warning)
    content = write_fusion(result, out, forms=forms, title=f"Fusion of {_name(source)}", digest=digest, up=up)
    run.emit(content, lambda: f"{result}\n\nwritten to {out}: {', '.join(content['files'])}")  # type: ignore[arg-type]
    return content


def _digest(
    run: Run, source: str, inputs: dict[str, Any], options: FuseOptions, forms: tuple[str, ...], up: Up | None
) -> str:
    """Of everything that the result depends on."""
    from cv3d.odometry.sources import open_sequence
    from cv3d.reporting.result_folder import files_digest

    place = Path(source)
    try:
        opening = {name: inputs[name] for name in ("depth", "camera", "depth_scale")}
        files = list(open_sequence(source, **opening).inputs)
    except Cv3dError:
        # Not a recording, or none that can be opened: what is wrong is said by the fusion itself.
        files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else []
    named = [inputs[name] for name in ("trajectory", "camera") if inputs[name] is not None]
    for path in named:
        files += sorted(path.rglob("*")) if path.is_dir() else [path]
    said = {name: None if value is None else str(value) for name, value in inputs.items()}
    return files_digest(files, said, repr(options), forms, up, run.options.seed, run.options.device.value)


def _name(source: str) -> str:
    from cv3d.cli.calibrate import default_name

    return default_name(source)
