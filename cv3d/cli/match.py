"""`cv3d match`: two pictures, a set of them, or the points of a clip through time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cv3d.cli.common import OutputOption, RequireOption, Run, read_names
from cv3d.errors import InputError, QualityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cv3d.features.matching import MatchOptions, PairChoice
    from cv3d.geometry.cameras.camera import Camera

_PAIR_FIGURES = ("inliers", "matches", "inlier_share", "parallax_deg")
_SET_FIGURES = ("verified_pairs", "largest_share", "used_share", "inliers_per_pair")
_EXTRACTOR, _MATCHER, _PAIRS = "xfeat", "auto", "auto"
_MAX_KEYPOINTS, _MAX_SIZE, _MAX_ERROR = 2048, 1600, 2.0
_OVERLAP, _NEIGHBOURS, _MAX_FRAMES = 10, 30, 100


def match(
    run: Run,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...",
            help="Two pictures; or folders, globs, videos of a set; - reads a list from stdin.",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = None,
    listing: Annotated[
        bool, typer.Option("--list", help="List extractors and matchers, their licences and weights.")
    ] = False,
    tracks: Annotated[bool, typer.Option("--tracks", help="Follow points through a clip or a sequence.")] = False,
    extractor: Annotated[
        str, typer.Option("--extractor", metavar="NAME", help="xfeat, xfeat-dense (of pairs), aliked, disk or sift.")
    ] = _EXTRACTOR,
    matcher: Annotated[
        str,
        typer.Option(
            "--matcher",
            metavar="NAME",
            help="auto: the cheap one, then the learned one where support is thin.",
        ),
    ] = _MATCHER,
    max_keypoints: Annotated[
        int, typer.Option("--max-keypoints", min=8, metavar="N", help="Keypoints of a picture, at most.")
    ] = _MAX_KEYPOINTS,
    max_size: Annotated[
        int, typer.Option("--max-size", min=0, metavar="PX", help="Shrink longer sides to this; 0: never.")
    ] = _MAX_SIZE,
    max_error: Annotated[
        float, typer.Option("--max-error", metavar="PX", help="Largest error of an inlier, pixels as matched.")
    ] = _MAX_ERROR,
    refine: Annotated[
        bool, typer.Option("--refine/--no-refine", help="Align verified matches to a fraction of a pixel.")
    ] = True,
    camera: Annotated[
        list[str] | None,
        typer.Option(
            "--camera",
            metavar="FILE",
            help="Camera file of any format; twice for a pair of two cameras. Gives the pose.",
            show_default=False,
        ),
    ] = None,
    pairs: Annotated[
        str,
        typer.Option(
            "--pairs",
            metavar="CHOICE",
            help="auto, exhaustive, sequential, retrieval, poses, or a file with pairs.",
        ),
    ] = _PAIRS,
    overlap: Annotated[
        int, typer.Option("--overlap", min=1, metavar="N", help="Following pictures of sequential pairs.")
    ] = _OVERLAP,
    neighbours: Annotated[
        int, typer.Option("--neighbours", min=1, metavar="N", help="Best pictures of retrieval and poses.")
    ] = _NEIGHBOURS,
    poses: Annotated[
        Path | None,
        typer.Option("--poses", metavar="DIR", help="Folder with known poses, for --pairs poses.", show_default=False),
    ] = None,
    max_frames: Annotated[
        int, typer.Option("--max-frames", min=2, metavar="N", help="Sharp frames taken from each video, at most.")
    ] = _MAX_FRAMES,
    camera_each: Annotated[
        bool, typer.Option("--camera-each", help="Each picture has an unknown camera of its own in the store.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw a pair: png, jpg, pdf, svg.", show_default=False),
    ] = None,
    npz: Annotated[
        Path | None, typer.Option("--npz", metavar="FILE", help="Write the arrays of a pair.", show_default=False)
    ] = None,
    require: RequireOption = None,
) -> None:
    """Match pictures, verify the matches geometrically, refine them.

    Two pictures: prints matches, inliers, the model, and with cameras the pose. Exits with 3 where they show nothing
    in common. A folder, several pictures or a video with -o OUT: a feature store in COLMAP's layout, OUT/database.db,
    with a report; a second run computes only what is new. With --tracks: points followed through a clip.

    Figures for --require: of a pair inliers, matches, inlier_share, parallax_deg; of a set verified_pairs,
    largest_share (of pictures that hang together), used_share, inliers_per_pair.

    Example: cv3d match a.jpg b.jpg --camera camera.json --plot matches.png
    Example: cv3d match photos/ -o matches
    """
    from cv3d.evaluation.requirements import check_names, parse_requirement

    if listing:
        _list(run)
        return
    names = read_names(inputs or [])
    if not names:
        raise UsageError("name two pictures, or folders, globs and videos; 'cv3d match --list' shows the methods")
    requirements = [parse_requirement(text) for text in require or []]
    cameras = _cameras(camera or [])
    is_pair = not tracks and _is_pair(names)
    if not is_pair:
        if plot is not None or npz is not None:
            raise UsageError("--plot and --npz are for a pair: name exactly two pictures")
        if len(cameras) > 1:
            raise UsageError("a set has one camera; give --camera once")
    of_sets = {
        "--pairs": pairs != _PAIRS,
        "--overlap": overlap != _OVERLAP,
        "--neighbours": neighbours != _NEIGHBOURS,
        "--poses": poses is not None,
        "--max-frames": max_frames != _MAX_FRAMES,
        "--camera-each": camera_each,
    }
    if is_pair:
        _refuse(of_sets, "is for a set: name a folder, a video, or three pictures")
    if tracks:
        of_matches = {
            "--extractor": extractor != _EXTRACTOR,
            "--matcher": matcher != _MATCHER,
            "--max-keypoints": max_keypoints != _MAX_KEYPOINTS,
            "--max-size": max_size != _MAX_SIZE,
            "--max-error": max_error != _MAX_ERROR,
            "--no-refine": not refine,
            "--require": bool(requirements),
        }
        _refuse(of_sets | of_matches, "does not go with --tracks, which takes every frame and has features of its own")
        _track(run, names, output, cameras)
        return
    from cv3d.features.matching import MatchOptions, PairChoice

    options = MatchOptions(
        extractor=extractor,
        matcher=matcher,
        max_keypoints=max_keypoints,
        max_side=max_size or None,
        max_error=max_error,
        refine=refine,
        seed=run.options.seed,
    )
    check_names(requirements, _PAIR_FIGURES if is_pair else _SET_FIGURES)
    if is_pair:
        figures = _pair(run, (names[0], names[1]), cameras, options, output, plot, npz)
    else:
        choice = PairChoice(pairs, overlap, neighbours, poses, run.options.seed)
        figures = _set(run, names, output, cameras, options, choice, max_frames, shares_camera=not camera_each)
    from cv3d.evaluation.requirements import check

    failures = check(requirements, figures)
    if failures:
        raise QualityError("; ".join(str(failure) for failure in failures))


def _refuse(given: Mapping[str, bool], why: str) -> None:
    """See that no option is given that would be passed over."""
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} {why}")


def _is_pair(names: list[str]) -> bool:
    """Whether the inputs are exactly two picture files."""
    from cv3d.media.inputs import PICTURE_SUFFIXES

    return len(names) == 2 and all(
        not Path(name).is_dir() and Path(name).suffix.lower() in PICTURE_SUFFIXES and not any(c in name for c in "*?[")
        for name in names
    )


def _cameras(files: list[str]) -> list[Camera]:
    if not files:
        return []
    from cv3d.formats.reading import read_camera

    if len(files) > 2:
        raise UsageError("--camera is given once, or twice for a pair of two cameras")
    return [read_camera(file) for file in files]


def _list(run: Run) -> None:
    from cv3d.features.listing import list_methods
    from cv3d.reporting.match_summary import describe_listing, listing_result

    rows = list_methods()
    run.emit(listing_result(rows), lambda: describe_listing(rows))


def _pair(
    run: Run,
    names: tuple[str, str],
    cameras: list[Camera],
    options: MatchOptions,
    output: Path | None,
    plot: Path | None,
    npz: Path | None,
) -> dict[str, float]:
    from cv3d.features.matching import match as match_pair
    from cv3d.features.matching.images import read_image
    from cv3d.reporting.match_figures import check_plot_name, draw_pair
    from cv3d.reporting.match_files import write_pair
    from cv3d.reporting.match_summary import describe_pair

    if plot is not None:
        check_plot_name(plot)
    for target in (plot, npz):
        if target is not None and target.exists() and not run.options.overwrite:
            raise UsageError(f"{target}: is there already; --overwrite replaces it")
    first, second = (cameras * 2)[:2] if cameras else (None, None)
    result = match_pair(*names, first, second, options, compute=run.compute)
    pixels = (read_image(names[0]), read_image(names[1])) if plot is not None or output is not None else None
    if plot is not None and pixels is not None:
        draw_pair(result, *pixels, plot)
    content = write_pair(result, npz=npz, out=output, pixels=pixels, overwrite=run.options.overwrite)
    run.emit(content, lambda: describe_pair(result))
    if not result.verified:
        raise QualityError(f"{names[0]} and {names[1]}: {result.reason}")
    count = len(result.indices)
    return {
        "inliers": float(result.inlier_count),
        "matches": float(count),
        "inlier_share": result.inlier_count / max(count, 1),
        "parallax_deg": math.degrees(result.geometry.parallax),
    }


def _set(
    run: Run,
    names: list[str],
    output: Path | None,
    cameras: list[Camera],
    options: MatchOptions,
    choice: PairChoice,
    max_frames: int,
    *,
    shares_camera: bool,
) -> dict[str, float]:
    from cv3d.cli.calibrate import default_name
    from cv3d.features.matching import match_set
    from cv3d.reporting.match_files import write_set
    from cv3d.reporting.match_summary import describe_set
    from cv3d.reporting.set_pictures import SetPictures

    out = output if output is not None else Path(f"{default_name(names[0])}_matches")
    result = match_set(
        names,
        out,
        options,
        choice=choice,
        camera=cameras[0] if cameras else None,
        shares_camera=shares_camera,
        max_frames=max_frames,
        compute=run.compute,
        progress=run.progress,
    )
    content = write_set(result, out, SetPictures(names), f"Matches of {default_name(names[0])}")
    run.emit(content, lambda: describe_set(result, out, _files(content)))
    groups = result.components()
    used = len(result.used)
    return {
        "verified_pairs": float(len(result.edges)),
        "largest_share": len(groups[0]) / used if groups else 0.0,
        "used_share": used / len(result.pictures),
        "inliers_per_pair": float(result.inliers.mean()) if len(result.inliers) else 0.0,
    }


def _files(content: Mapping[str, object]) -> list[str]:
    files = content["files"]
    return [str(file) for file in files] if isinstance(files, list) else []


def _track(run: Run, names: list[str], output: Path | None, cameras: list[Camera]) -> None:
    from cv3d.cli.calibrate import default_name
    from cv3d.features.tracks import TrackOptions, track
    from cv3d.media.inputs import find_pictures
    from cv3d.reporting.set_pictures import SetPictures
    from cv3d.reporting.track_files import describe_tracks, write_tracks

    found = find_pictures(names)
    if len(found) == 1 and not found.videos:
        raise InputError(f"{names[0]}: is one picture; points are followed through a clip, or two pictures or more")
    out = output if output is not None else Path(f"{default_name(names[0])}_tracks")
    result = track(
        names if len(names) > 1 else names[0],
        TrackOptions(seed=run.options.seed),
        run.compute,
        run.progress,
        camera=cameras[0] if cameras else None,
        output=out / "tracks.npz",
        overwrite=run.options.overwrite,
    )
    content = write_tracks(result, out, SetPictures(names))
    run.emit(content, lambda: describe_tracks(result, out, _files(content)))
