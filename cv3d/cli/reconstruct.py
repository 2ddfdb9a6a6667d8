"""`cv3d reconstruct`: from pictures or a clip to cameras, poses, points, depth and a surface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cv3d.cli.common import OutputOption, RequireOption, Run, read_names
from cv3d.errors import QualityError, UsageError

if TYPE_CHECKING:
    from cv3d.geometry.cameras.camera import Camera
    from cv3d.reconstruction.options import ReconstructOptions
    from cv3d.reconstruction.scene import DenseScene

_SCALES_ASKED_FOR = ("distance", "board")
Choice = TypeVar("Choice", bound=StrEnum)


def reconstruct(
    run: Run,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="A video; or folders, globs, pictures of one scene; - reads a list from stdin.",
            show_default=False,
        ),
    ],
    output: OutputOption = None,
    to: Annotated[
        str,
        typer.Option("--to", metavar="STAGE", help="The last stage: frames, features, matches, poses, depth, surface."),
    ] = "surface",
    quality: Annotated[
        str, typer.Option(metavar="draft|normal|high", help="How much work goes into depth and surface.")
    ] = "normal",
    form: Annotated[
        str, typer.Option("--format", metavar="FORMS", help="Of the surface: ply, obj, glb, usdz, apart by commas.")
    ] = "ply,glb",
    texture: Annotated[
        bool, typer.Option("--texture/--no-texture", help="Lay the pictures over the surface, in OBJ, GLB and USDZ.")
    ] = True,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="STAGE", help="Do this stage and those after it anew.", show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with the stages that an earlier run has finished.")
    ] = True,
    camera: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Camera file of any format, held. Without: EXIF, then estimated.", show_default=False
        ),
    ] = None,
    shared_camera: Annotated[
        str, typer.Option("--shared-camera", metavar="auto|yes|no", help="Whether pictures of one size share a camera.")
    ] = "auto",
    mapper: Annotated[
        str, typer.Option(metavar="NAME", help="How poses are found: auto, incremental or global.")
    ] = "auto",
    max_frames: Annotated[
        int, typer.Option("--max-frames", min=2, metavar="N", help="Key frames taken from each video, at most.")
    ] = 300,
    pairs: Annotated[
        str, typer.Option(metavar="CHOICE", help="auto, exhaustive, sequential, retrieval, or a file with pairs.")
    ] = "auto",
    max_size: Annotated[
        int, typer.Option("--max-size", min=0, metavar="PX", help="Shrink longer sides to this; 0: never.")
    ] = 1600,
    max_keypoints: Annotated[
        int, typer.Option("--max-keypoints", min=8, metavar="N", help="Keypoints of a picture, at most.")
    ] = 2048,
    extractor: Annotated[str, typer.Option(metavar="NAME", help="xfeat, aliked, disk or sift.")] = "xfeat",
    matcher: Annotated[
        str, typer.Option(metavar="NAME", help="auto: the cheap one, then the learned one where support is thin.")
    ] = "auto",
    refine: Annotated[
        bool, typer.Option("--refine/--no-refine", help="Align what pictures see of a point to a fraction of a pixel.")
    ] = True,
    scale_distance: Annotated[
        tuple[str, str, str] | None,
        typer.Option(
            "--scale-distance",
            metavar="A B LENGTH",
            help="A known distance, e.g. a.jpg b.jpg 1.2m: between two cameras, or with NAME:x,y between the points "
            "that are seen nearest to these pixels.",
            show_default=False,
        ),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE:COLSxROWS",
            help="A board that is seen, as of calibrate; found out when not given. Needs --square.",
            show_default=False,
        ),
    ] = None,
    square: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH", help="Side of a square of a board that is seen. Sets the scale.", show_default=False
        ),
    ] = None,
    up: Annotated[str, typer.Option(metavar="auto|no", help="Look for the vertical, and turn z upwards.")] = "auto",
    gps: Annotated[str, typer.Option(metavar="auto|no", help="Use positions of EXIF tags, if any.")] = "auto",
    require: RequireOption = None,
) -> None:
    """Reconstruct a scene from pictures or a clip: cameras, poses, points, dense depth, a coloured surface.

    Stages, each resumed by a second run: frames, features, matches, poses, depth, surface. OUT gets the surface
    (mesh.ply, mesh.glb), COLMAP models in sparse/0 and on, dense/ with undistorted pictures and depth maps in COLMAP's
    layout, transforms.json for nerfstudio, points.ply, cameras.ply, of a clip cameras.tum and the frames in images/,
    pictures.csv, result.json and report.html, which says of every picture what became of it. OUT/work is for the next
    run and may be deleted. Without -o, OUT is named after the first input. Exits with 3 when a --require is not met,
    when no picture could be placed, when the camera only turned, when there is no surface, or when the scale asked for
    is not to be had. Ctrl-C keeps what is finished.

    Figures for --require: registered, registered_share, models, mean_reprojection_px, points, track_length,
    maps, coverage, median_confidence, triangles.

    Example: cv3d reconstruct walk.mp4 -o walk

    Example: cv3d reconstruct walk.mp4 -o walk --to poses --require 'registered_share>=0.9'

    Example: cv3d reconstruct photos/ --camera camera.json --scale-distance a.jpg b.jpg 1.2m
    """
    from cv3d.cli.calibrate import default_name
    from cv3d.cli.scale_options import scaling
    from cv3d.depth.options import Quality
    from cv3d.evaluation.requirements import check, check_names, parse_requirement
    from cv3d.features.matching import MatchOptions, PairChoice
    from cv3d.formats.reading import read_camera
    from cv3d.mapping.options import MapOptions, Mapper, SharedCamera
    from cv3d.reconstruction.options import ReconstructOptions, Stage
    from cv3d.reporting.fusion_files import check_forms
    from cv3d.reporting.scene_summary import MEASURES, measures

    requirements = [parse_requirement(text) for text in require or []]
    check_names(requirements, MEASURES)
    sources = read_names(inputs)
    if not sources:
        raise UsageError("no input given: name a video, a folder, a glob or pictures")
    forms = check_forms(form)
    mapping = MapOptions(
        mapper=_choice(Mapper, mapper, "--mapper"),
        shared_camera=_choice(SharedCamera, shared_camera, "--shared-camera"),
        max_frames=max_frames,
        pairs=PairChoice(pairs, seed=run.options.seed),
        matching=MatchOptions(
            extractor=extractor,
            matcher=matcher,
            max_keypoints=max_keypoints,
            max_side=max_size or None,
            refine=False,
            seed=run.options.seed,
        ),
        refine=refine,
        scale=scaling(scale_distance, board, square),
        up=_is_auto(up, "--up"),
        gps=_is_auto(gps, "--gps"),
        seed=run.options.seed,
    )
    options = ReconstructOptions(
        quality=_choice(Quality, quality, "--quality"),
        from_stage=None if begin is None else _choice(Stage, begin, "--from"),
        to_stage=_choice(Stage, to, "--to"),
        resume=resume,
        mapping=mapping,
    )
    if not texture or forms == ("ply",):
        options = replace(options, surface=replace(options.surface_options, is_texturing=False))
    name = default_name(sources[0])
    out = output if output is not None else Path(f"{name}_reconstruction")
    if any(out.resolve() == Path(source).resolve() for source in sources):
        raise UsageError(f"{out}: is an input itself; name another folder with -o")
    job = _Job(sources, out, name, options, forms, camera, None if camera is None else read_camera(camera))
    if not options.reaches(Stage.POSES):
        _prepare(run, job)
        return
    content = _place(run, job)
    if content["interrupted"]:
        raise KeyboardInterrupt(f"what was found until then is written to {out}; the same command goes on from there")
    _check_placed(content)
    _check_dense(content, options)
    if mapping.scale is not None and content["scale"] not in _SCALES_ASKED_FOR:
        why = [warning for warning in content["warnings"] if "no scale" in warning]
        raise QualityError("; ".join(["the scale asked for is not to be had", *why[:1]]))
    failures = check(requirements, measures(content))
    if failures:
        raise QualityError("; ".join(str(failure) for failure in failures))


@dataclass(frozen=True)
class _Job:
    """One reconstruction, parsed and checked."""

    sources: Sequence[str]
    out: Path
    name: str
    """What the inputs are called."""
    options: ReconstructOptions
    forms: tuple[str, ...]
    """Of the surface."""
    camera_file: Path | None
    camera: Camera | None

    def digest(self) -> str:
        """Of everything that poses depend on."""
        from cv3d.media.inputs import find_pictures
        from cv3d.reporting.result_folder import files_digest

        found = find_pictures(self.sources)
        files = [picture.source for picture in found] + [video.source for video in found.videos]
        files += [self.camera_file] if self.camera_file is not None else []
        # Which stages are done anew changes nothing of what comes out.
        return files_digest(files, repr(self.options.mapping))

    def extent(self) -> str:
        """Of how far this goes on from the poses: another extent goes on from what is there."""
        from cv3d.reporting.result_folder import files_digest

        return files_digest([], repr(replace(self.options, from_stage=None, resume=True)), self.forms)


def _choice(kinds: type[Choice], text: str, option: str) -> Choice:
    try:
        return kinds(text)
    except ValueError:
        known = ", ".join(kinds)
        raise UsageError(f"{option} '{text}': write one of {known}") from None


def _is_auto(text: str, option: str) -> bool:
    if text not in ("auto", "no"):
        raise UsageError(f"{option} '{text}': write auto or no")
    return text == "auto"


def _reconstruct(run: Run, job: _Job) -> DenseScene:
    """Do it; an interruption says what is kept."""
    from cv3d.reconstruction.running import reconstruct as reconstruct_scene

    try:
        scene: DenseScene = reconstruct_scene(
            job.sources if len(job.sources) > 1 else job.sources[0],
            job.out,
            options=job.options,
            camera=job.camera,
            compute=run.compute,
            progress=run.progress,
        )
        return scene
    except KeyboardInterrupt as stop:
        kept = f"finished stages are kept in {job.out}; the same command goes on from there"
        raise KeyboardInterrupt(str(stop) or kept) from None


def _prepare(run: Run, job: _Job) -> None:
    """Do the stages before the poses; their results are for the stages after them.

    A result of more stages, which an earlier run of the same has left, stays.
    """
    from cv3d.formats.atomic import atomic_write_text
    from cv3d.formats.json_text import to_json
    from cv3d.mapping.scene import SCENE_SCHEMA
    from cv3d.reporting.result_folder import RESULT_FILE, look_at_output
    from cv3d.reporting.scene_summary import describe_stages, scene_result

    digest = job.digest()
    earlier = look_at_output(job.out, digest, run.options.overwrite, SCENE_SCHEMA).result
    scene = _reconstruct(run, job)
    content = scene_result(scene) | {"depth": None, "mesh": None, "stage": job.options.to_stage.value}
    content |= {"files": [RESULT_FILE], "run_digest": digest, "extent_digest": job.extent()}
    if earlier is None or "stage" in earlier:
        atomic_write_text(job.out / RESULT_FILE, to_json(content, indent=2) + "\n")
    run.emit(content, lambda: describe_stages(content, job.name, str(job.out)))
    if scene.interrupted:
        raise KeyboardInterrupt(f"finished stages are kept in {job.out}; the same command goes on from there")


def _place(run: Run, job: _Job) -> dict[str, Any]:
    """Do all of it unless it is done already, write it, print it."""
    from cv3d.mapping.scene import SCENE_SCHEMA
    from cv3d.reconstruction.options import Stage
    from cv3d.reporting.result_folder import look_at_output
    from cv3d.reporting.scene_files import check_own, write_scene
    from cv3d.reporting.scene_summary import describe_scene
    from cv3d.reporting.set_pictures import SetPictures
    from cv3d.reporting.text_lines import folded_files

    digest = job.digest()
    earlier = look_at_output(job.out, digest, run.options.overwrite, SCENE_SCHEMA).result
    is_anew = job.options.from_stage is not None or not job.options.resume
    content: dict[str, Any]
    # What goes no further than the poses is part of any run on the same.
    is_same = (
        earlier is not None
        and "stage" not in earlier
        and (earlier.get("extent_digest") == job.extent() or not job.options.reaches(Stage.DEPTH))
    )
    if earlier is not None and is_same and not earlier["interrupted"] and not is_anew:
        content = dict(earlier)
        is_done = True
    else:
        if not run.options.overwrite:
            check_own(job.out)
        scene = _reconstruct(run, job)
        run.progress.start("write results")
        title = f"Reconstruction of {job.name}"
        load, extent = SetPictures(job.sources), job.extent()
        content = write_scene(scene, job.out, load=load, title=title, digest=digest, extent=extent, forms=job.forms)
        run.progress.finish("write results")
        is_done = False
    files = folded_files(content["files"])
    run.emit(content, lambda: describe_scene(content, job.name, str(job.out), files, is_done))
    return content


def _check_dense(content: Mapping[str, Any], options: ReconstructOptions) -> None:
    """See that there is what was asked for.

    Raises:
        QualityError: there is no depth, or no surface.
    """
    from cv3d.reconstruction.options import Stage

    missing = [
        name
        for stage, name in ((Stage.DEPTH, "depth"), (Stage.SURFACE, "mesh"))
        if options.reaches(stage) and not content[name]
    ]
    if missing:
        why = [warning for warning in content["warnings"] if warning.startswith(("no depth", "no surface"))]
        raise QualityError("; ".join(why) or "there is no surface")


def _check_placed(content: Mapping[str, Any]) -> None:
    """See that there are poses.

    Raises:
        QualityError: there are none, or orientations alone.
    """
    from cv3d.reporting.scene_summary import headline, left_out_groups

    if not content["models"]:
        groups = left_out_groups(content["images"]["left_out"])
        raise QualityError("; ".join([headline(content), *(f"mostly: {reason}" for reason, _, _ in groups[:1])]))
    if content["models"][0]["oriented_only"]:
        raise QualityError(f"{headline(content)}; places need a camera that moves: walk sideways while filming")
