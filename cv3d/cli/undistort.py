"""`cv3d undistort`: pictures and videos as an ideal camera would have taken them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cv3d.cli.common import OutputOption, Run, read_names
from cv3d.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cv3d.geometry.cameras.rig import Rig


def undistort(
    run: Run,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Folders, globs, pictures or videos; - reads a list from stdin. LEFT RIGHT of a pair.",
        ),
    ],
    camera: Annotated[
        str,
        typer.Option(
            "--camera", metavar="FILE", help="Camera file of any format, or a rig; rig.json#left names one camera."
        ),
    ],
    output: OutputOption = None,
    to: Annotated[str, typer.Option("--to", metavar="pinhole|fisheye|equirect", help="Kind of view.")] = "pinhole",
    alpha: Annotated[
        float, typer.Option("--alpha", min=0.0, max=1.0, help="0: only pixels that the camera saw; 1: all it saw.")
    ] = 0.0,
    crop: Annotated[bool, typer.Option("--crop", help="Keep the largest rectangle of valid pixels.")] = False,
    size: Annotated[
        str | None, typer.Option("--size", metavar="WxH", help="Size of the view in pixels.", show_default=False)
    ] = None,
    interpolation: Annotated[
        str, typer.Option("--interpolation", metavar="linear|cubic|lanczos", help="From fast to sharp.")
    ] = "linear",
    codec: Annotated[str, typer.Option("--codec", metavar="h264|mpeg4", help="Codec of videos.")] = "h264",
    pair: Annotated[bool, typer.Option("--pair", help="Rectify a pair: INPUT is LEFT RIGHT.")] = False,
    cameras: Annotated[
        str | None,
        typer.Option("--cameras", metavar="A,B", help="The pair's cameras in the rig file.", show_default=False),
    ] = None,
    maps: Annotated[bool, typer.Option("--maps", help="Also write the pixel maps, as maps.npz.")] = False,
) -> None:
    """Undistort pictures and videos, or rectify a pair.

    OUT gets them under their names, the new camera (camera.json, and OpenCV's yaml) and a result.json; for a pair the
    folders left and right, and the matrices R1, R2, P1, P2 and Q in rectification.json and .yaml. Without -o, OUT is
    named after the first input. Pictures keep their bit depth; what cannot be read is skipped and listed.

    Example: cv3d undistort photos/ --camera calibration/camera.json --alpha 0.5 -o straight
    """
    from cv3d.cli.calibrate import default_name
    from cv3d.formats.reading import read_camera, read_cameras
    from cv3d.media.undistorting import rectify_pair
    from cv3d.media.undistorting import undistort as undistort_inputs
    from cv3d.reporting.undistort_files import look_at_output, run_digest, write_files

    names = read_names(inputs)
    view_size = _size(size)
    if pair and (len(names) != 2 or to != "pinhole"):
        raise UsageError("--pair takes two inputs, LEFT and RIGHT, and makes pinhole views")
    if cameras is not None and not pair:
        raise UsageError("--cameras goes with --pair; name a single camera as in --camera 'rig.json#left'")
    rig = read_cameras(camera)
    single = None if pair else read_camera(camera)
    chosen = _two_of(rig, camera, cameras) if pair else (0, 0)
    known = [(one.camera, None if one.cam_from_cam0 is None else one.cam_from_cam0.tolist()) for one in rig.cameras]
    digest = run_digest(names, known, chosen, to, alpha, crop, view_size, interpolation, codec, pair, maps)
    out = output if output is not None else Path(f"{default_name(names[0])}_{'rectified' if pair else 'undistorted'}")
    earlier = look_at_output(out, digest, run.options.overwrite)
    if earlier is not None:
        run.emit(earlier, lambda: _summary(earlier, out, is_earlier=True))
        return
    overwrite, progress = run.options.overwrite, run.progress
    if single is None:
        result = rectify_pair(
            names[0], names[1], rig, out, cameras=chosen, alpha=alpha, crop=crop, size=view_size,
            interpolation=interpolation, codec=codec, overwrite=overwrite, progress=progress,
        )  # fmt: skip
    else:
        result = undistort_inputs(
            names, single, out, to=to, alpha=alpha, crop=crop, size=view_size,
            interpolation=interpolation, codec=codec, overwrite=overwrite, progress=progress,
        )  # fmt: skip
    content = write_files(result, out, digest, rig.is_metric, maps)
    run.emit(content, lambda: _summary(content, out, is_earlier=False))


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)[xX×](\d+)", text.strip())
    if match is None:
        raise UsageError(f"--size is WIDTHxHEIGHT in pixels, e.g. 1280x720, not '{text}'")
    return int(match[1]), int(match[2])


def _two_of(rig: Rig, file: str, text: str | None) -> tuple[int, int]:
    """Indices of the pair's cameras: those named in `text` by name or number, else the first two."""
    known = [one.name for one in rig.cameras]
    if len(known) < 2:
        raise UsageError(f"{file}: holds one camera; --pair needs a rig file with two posed ones")
    if text is None:
        if len(known) > 2:
            raise UsageError(f"{file}: holds {len(known)} cameras; choose two, e.g. --cameras {known[0]},{known[1]}")
        return 0, 1
    wanted = [part.strip() for part in text.split(",")]
    indices = [
        known.index(part) if part in known else int(part) if part.isdecimal() and int(part) < len(known) else None
        for part in wanted
    ]
    if len(indices) != 2 or indices[0] is None or indices[1] is None or indices[0] == indices[1]:
        raise UsageError(f"--cameras names two of {', '.join(known)}, or their numbers from 0, not '{text}'")
    return indices[0], indices[1]


def _summary(result: Mapping[str, object], out: Path, *, is_earlier: bool) -> str:
    """A few lines for a person."""
    before, after, fov = result["camera_before"], result["camera_after"], result["field_of_view_deg"]
    inputs, frames, fps = result["inputs"], result["frames"], result["fps"]
    if not isinstance(before, dict) or not isinstance(after, dict) or not isinstance(fov, dict):
        raise TypeError("a result holds its cameras")
    if not isinstance(inputs, list):
        raise TypeError("a result lists its inputs")
    skipped = [item for item in inputs if item["output"] is None]
    speed = f", {fps:.1f} a second" if isinstance(fps, float) and not is_earlier else ""
    lines = [
        f"{frames} picture{'s' if frames != 1 else ''} {'were there already' if is_earlier else 'written'} "
        f"in {out}{speed}",
        f"{before['model']} {before['width']}x{before['height']} -> {result['projection']} "
        f"{after['width']}x{after['height']}, {fov['horizontal']:.1f} x {fov['vertical']:.1f} degrees",
        f"{_percent(result['valid_share'])} of its pixels are valid, "
        f"{_percent(result['source_share'])} of the source is kept",
    ]
    if result["baseline"] is not None:
        kind, unit = "columns" if result["is_vertical"] else "rows", "m" if result["is_metric"] else "squares"
        lines.append(f"{kind} rectified, baseline {result['baseline']:.6g} {unit}")
    if skipped:
        lines.append(f"{len(skipped)} skipped:")
        lines += [f"  {item['file']}: {item['reason']}" for item in skipped[:3]]
        lines += [f"  and {len(skipped) - 3} more"] if len(skipped) > 3 else []
    return "\n".join(lines)


def _percent(share: object) -> str:
    return f"{100.0 * share:.1f} %" if isinstance(share, float) else "all"
