"""`cv3d depth`: a depth map of every posed picture, or of a stereo pair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cv3d.cli.common import OutputOption, RequireOption, Run
from cv3d.errors import QualityError, UsageError

if TYPE_CHECKING:
    from cv3d.depth.options import DepthOptions


def depth(
    run: Run,
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="SOURCE",
            help="Posed pictures: a folder of cv3d reconstruct, a COLMAP project, transforms.json, .camera files.",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = None,
    quality: Annotated[
        str | None,
        typer.Option(
            metavar="draft|normal|high",
            help="How much work goes into it.",
            show_default="normal",
        ),
    ] = None,
    max_size: Annotated[
        int | None,
        typer.Option(
            "--max-size",
            min=64,
            metavar="PX",
            help="Longer side of the maps, at most.",
            show_default="by quality",
        ),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Pictures that each is compared with, at most.",
            show_default="by quality",
        ),
    ] = None,
    camera: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Camera of all pictures, any format, instead of SOURCE's own.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the pictures are; otherwise where SOURCE has them.",
            show_default=False,
        ),
    ] = None,
    stereo: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--stereo",
            metavar="LEFT RIGHT",
            help="Two pictures of a stereo pair, instead of SOURCE.",
            show_default=False,
        ),
    ] = None,
    rig: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Calibration of the pair, any format. Without: rectified pictures, and no depth.",
            show_default=False,
        ),
    ] = None,
    rectified: Annotated[
        bool,
        typer.Option("--rectified", help="The pictures are rectified already; --rig says how."),
    ] = False,
    max_disparity: Annotated[
        int | None,
        typer.Option(
            "--max-disparity",
            min=1,
            metavar="PX",
            help="Largest disparity looked for.",
            show_default="found out",
        ),
    ] = None,
    fill: Annotated[bool, typer.Option("--fill", help="Fill holes.")] = False,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="True disparities, to be judged by: PFM, PNG, NumPy.",
            show_default=False,
        ),
    ] = None,
    truth_scale: Annotated[
        float | None,
        typer.Option(
            "--truth-scale",
            metavar="N",
            help="Steps of the truth's numbers a pixel, such as 4 or 256.",
            show_default="1",
        ),
    ] = None,
    require: RequireOption = None,
) -> None:
    """Estimate dense depth: of every picture of a posed set, or of a stereo pair.

    OUT gets a workspace in COLMAP's layout, which `cv3d fuse OUT` makes a surface of: images/ (undistorted), sparse/,
    stereo/depth_maps/; beside it depth/ and confidence/ as PNG, preview/, maps.csv, report.html and result.json. Poses
    that do not fit the pictures are told. Of a pair it gets disparity.pfm and .png, confidence.png, and with --rig
    depth.png and points.ply. Ctrl-C keeps what is finished, and the same command goes on from there.

    Figures for --require: maps, maps_share, coverage, median_confidence; of a pair coverage, mean_confidence, bad_1,
    bad_2, mean_error_px.

    Example: cv3d depth room/ -o room_depth && cv3d fuse room_depth

    Example: cv3d depth --stereo im2.png im6.png --truth disp2.png --truth-scale 4 -o cones
    """
    of_pictures: dict[str, object] = {"--quality": quality, "--max-size": max_size, "--views": views}
    of_pictures |= {"--camera": camera, "--images": images}
    of_pairs: dict[str, object] = {"--rig": rig, "--rectified": rectified or None, "--fill": fill or None}
    of_pairs |= {"--max-disparity": max_disparity, "--truth": truth, "--truth-scale": truth_scale}
    if (source is None) == (stereo is None):
        raise UsageError("name either SOURCE, a folder of posed pictures, or --stereo LEFT RIGHT")
    strange = [name for name, value in (of_pairs if stereo is None else of_pictures).items() if value is not None]
    if strange:
        other = "--stereo LEFT RIGHT" if stereo is None else "SOURCE"
        raise UsageError(f"{', '.join(strange)}: only with {other}")
    if stereo is not None:
        from cv3d.cli.depth_stereo import PairJob, run_pair

        job = PairJob(stereo, rig, rectified, max_disparity, fill, truth, truth_scale, output, tuple(require or ()))
        run_pair(run, job)
        return
    assert source is not None
    _of_pictures(run, source, output, _options(run, quality, max_size, views), camera, images, require or [])


def _options(run: Run, quality: str | None, max_size: int | None, views: int | None) -> DepthOptions:
    from cv3d.depth.options import DepthOptions, Quality

    try:
        chosen = Quality(quality or Quality.NORMAL)
    except ValueError:
        raise UsageError(f"--quality '{quality}': write one of {', '.join(Quality)}") from None
    options = DepthOptions.of(chosen, run.options.seed)
    if max_size is not None:
        options = replace(options, max_side=max_size)
    return options if views is None else replace(options, sources=views)


def _of_pictures(
    run: Run,
    source: Path,
    output: Path | None,
    options: DepthOptions,
    camera: Path | None,
    images: Path | None,
    require: list[str],
) -> None:
    from cv3d.cli.calibrate import default_name
    from cv3d.evaluation.requirements import check, check_names, parse_requirement
    from cv3d.reporting.depth_summary import MEASURES, describe_depth, measures
    from cv3d.reporting.text_lines import folded_files

    requirements = [parse_requirement(text) for text in require]
    check_names(requirements, MEASURES)
    name = default_name(str(source))
    out = output if output is not None else Path(f"{name}_depth")
    if out.resolve() == source.resolve():
        raise UsageError(f"{out}: is the source itself; name another folder with -o")
    content, is_done = _into_folder(run, source, out, name, options, camera, images)
    files = folded_files(content["files"])
    run.emit(content, lambda: describe_depth(content, name, str(out), files, is_done))
    if not content["maps"]:
        raise QualityError("no picture got a depth map")
    failures = check(requirements, measures(content))
    if failures:
        raise QualityError("; ".join(str(failure) for failure in failures))


def _into_folder(
    run: Run, source: Path, out: Path, name: str, options: DepthOptions, camera: Path | None, images: Path | None
) -> tuple[dict[str, Any], bool]:
    """Do it unless it is done already, and write it; whether it was done."""
    from cv3d.depth.api import depth_of, forget_maps
    from cv3d.depth.sources import source_content
    from cv3d.formats.reading import read_camera
    from cv3d.reporting.depth_files import check_own, write_depth
    from cv3d.reporting.depth_summary import SCHEMA
    from cv3d.reporting.result_folder import files_digest, look_at_output

    known = None if camera is None else read_camera(camera)
    pictures, said = source_content(source, known, images)
    digest = files_digest(pictures, said, repr(options), run.options.device.value)
    earlier = look_at_output(out, digest, run.options.overwrite, SCHEMA).result
    if earlier is not None:
        return dict(earlier), True
    if not run.options.overwrite:
        check_own(out)
    try:
        found = depth_of(
            source, out, options=options, camera=known, images=images, compute=run.compute, progress=run.progress
        )
    except KeyboardInterrupt as stop:
        kept = f"what is finished is kept in {out}; the same command goes on from there"
        raise KeyboardInterrupt(str(stop) or kept) from None
    run.progress.start("write results")
    content = write_depth(found.result, out, posed=found.posed, title=f"Depth of {name}", digest=digest)
    run.progress.finish("write results")
    forget_maps(out)
    return content, False
