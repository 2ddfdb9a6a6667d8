"""`cv3d convert`: camera files between tools."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cv3d.cli.common import Run, folder_of, write_beside
from cv3d.reporting.progress import ProgressStyle

if TYPE_CHECKING:
    from cv3d.formats.converting import Conversion

_EXACT, _CLOSEST = "x", "~"
_COLUMNS = (
    ("pinhole", "pinhole", ""),
    ("brown4", "4", "brown"),
    ("brown5", "5", ""),
    ("brown8", "8", ""),
    ("brown12", "12", ""),
    ("kannala_brandt4", "brandt4", "kannala_"),
    ("ucm", "ucm", ""),
    ("omni", "omni", ""),
    ("eucm", "eucm", ""),
    ("double_sphere", "sphere", "double_"),
    ("division", "division", ""),
    ("splined_stereographic_o3_30x20_fov150", "splined", ""),
)
"""Model, the word that heads its column, and the one above that."""


def convert(
    run: Run,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="INPUT",
            help="A camera file of any of the formats, or a folder that holds some; INPUT#NAME takes one of several "
            "cameras.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="cv3d, opencv, opencv-xml, ros, kalibr, colmap, colmap-bin, mrcal, nerfstudio, basalt or euroc.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="A file, or, without an ending, a folder. Otherwise standard output.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Size of the pictures, for files that do not say it.", show_default=False),
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this camera, by name or number from 0.", show_default=False),
    ] = None,
    allow_error: Annotated[
        str, typer.Option("--allow-error", metavar="PX", help="How far off a closest model may be anywhere, e.g. 5px.")
    ] = "2px",
    within: Annotated[
        str,
        typer.Option(metavar="SHARE", help="The middle part of width and height that has to fit, e.g. 80%."),
    ] = "100%",
    list_formats: Annotated[
        bool, typer.Option("--list", help="Show which format says which model exactly, and stop.")
    ] = False,
) -> None:
    """Convert camera files between tools.

    The input's format is recognised by its content. A lens model that the target does not have is written as the
    closest that it has, with the error over the image stated; it is an error when that is too large.

    Example: cv3d convert camchain.yaml --to colmap -o sparse
    """
    from cv3d.errors import UsageError

    if list_formats:
        run.emit(formats_result(), formats_table)
        return
    if source is None or to is None:
        raise UsageError("give a camera file and --to FORMAT, or --list (see 'cv3d convert --help')")
    from cv3d.formats.converting import convert as convert_cameras

    conversion = convert_cameras(
        source,
        to,
        output,
        camera=camera,
        size=None if size is None else parse_size(size),
        allow_error_px=parse_pixels(allow_error),
        within=parse_share(within),
        overwrite=run.options.overwrite,
    )
    for loss in conversion.content.losses:
        run.progress.warn(loss)
    result = conversion.as_dict()
    if output is not None:
        if (folder := folder_of(output, conversion.files)) is not None:
            write_beside(run, result, folder)
        run.emit(result, lambda: summary(conversion))
        return
    text = _text(conversion)
    if run.options.json:
        run.emit(result | {"text": text}, str)
        return
    run.progress.result(result)
    sys.stdout.write(text)
    sys.stdout.flush()
    if not run.options.quiet and run.options.progress is not ProgressStyle.JSON:
        print(summary(conversion), file=sys.stderr)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of "1280x720".

    Raises:
        UsageError: it is no such text.
    """
    from cv3d.errors import UsageError

    match = re.fullmatch(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*", text)
    if match is None or not int(match[1]) or not int(match[2]):
        raise UsageError(f"--size is WIDTHxHEIGHT in pixels, e.g. 1280x720, not '{text}'")
    return int(match[1]), int(match[2])


def parse_pixels(text: str) -> float:
    """The number of "5px" or "5".

    Raises:
        UsageError: it is no such text.
    """
    return _number(text.strip().removesuffix("px"), text, "--allow-error is a number of pixels, e.g. 5px")


def parse_share(text: str) -> float:
    """The share of "80%" or "0.8".

    Raises:
        UsageError: it is no such text.
    """
    stripped = text.strip()
    share = _number(stripped.removesuffix("%"), text, "--within is a share of the image, e.g. 80%")
    return share / 100.0 if stripped.endswith("%") else share


def summary(conversion: Conversion) -> str:
    """What was converted, and how true it is, for a person."""
    from cv3d.formats import FORMATS

    source, target = FORMATS.get(conversion.format_in), FORMATS[conversion.format]
    lines = [f"{conversion.source} ({source.title if source else conversion.format_in}) to {target.title}"]
    width = max(len(camera.name) for camera in conversion.cameras)
    for camera in conversion.cameras:
        if camera.max_px == 0.0:
            said = f"{camera.model_in}, exact"
        else:
            part = "the image" if camera.share > 0.999 else f"{camera.share:.0%} of the image"
            said = (
                f"{camera.model_in} as {camera.model_out}: off by {camera.rms_px:.2g} px RMS, "
                f"{camera.max_px:.2g} px at most, over {part}"
            )
        lines.append(f"  {camera.name:<{width}}  {said}")
    lines += [f"  wrote {file}" for file in conversion.files]
    return "\n".join(lines)


def formats_result() -> dict[str, object]:
    """Every format with what it says, for `--list --json`."""
    from cv3d.formats import FORMATS

    formats = [
        {
            "name": name,
            "title": one.title,
            "file_name": one.file_name,
            "models": one.models,
            "max_cameras": one.max_cameras,
            "has_poses": one.has_poses,
        }
        for name, one in FORMATS.items()
    ]
    return {"schema": "cv3d.convert/1", "formats": formats}


def formats_table() -> str:
    """Formats by models."""
    from cv3d.formats import FORMATS

    widths = [max(len(word), len(above)) for _, word, above in _COLUMNS]

    def row(label: str, cells: list[str]) -> str:
        return f"{label:<11}{' '.join(f'{cell:^{width}}' for cell, width in zip(cells, widths, strict=True))}".rstrip()

    lines = [row("", [above for *_, above in _COLUMNS]), row("format", [word for _, word, _ in _COLUMNS])]
    for name, one in FORMATS.items():
        lines.append(row(name, [_EXACT if one.says(model) else _CLOSEST for model, *_ in _COLUMNS]))
    together = [(name, one.max_cameras == 2) for name, one in FORMATS.items() if one.max_cameras != 1]
    posed = [name for name, one in FORMATS.items() if one.has_poses]
    return "\n".join(
        [
            *lines,
            "",
            f"{_EXACT} exact   {_CLOSEST} as the closest of its models, with the error stated",
            "    (mrcal says of ucm only its stereographic lens, alpha = 1/2)",
            *_listed("Several cameras in one file", [f"{name} (two)" if two else name for name, two in together]),
            *_listed("Poses of several cameras", posed),
            "Read as the closest too: COLMAP's FOV, THIN_PRISM_FISHEYE and",
            "    RAD_TAN_THIN_PRISM_FISHEYE, Kalibr's pinhole-fov, mrcal's CAHVOR. Read only:",
            "    caliscope's camera_array.toml.",
        ]
    )


def _listed(title: str, names: list[str]) -> list[str]:
    import textwrap

    return textwrap.wrap(f"{title}: {', '.join(names)}.", width=80, subsequent_indent="    ")


def _number(text: str, whole: str, what: str) -> float:
    from cv3d.errors import UsageError

    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{what}, not '{whole}'") from None


def _text(conversion: Conversion) -> str:
    """The one text file of a conversion, for standard output.

    Raises:
        UsageError: there are several files, or it is no text.
    """
    from cv3d.errors import UsageError
    from cv3d.formats import FORMATS

    form, content = FORMATS[conversion.format], conversion.content
    if form.is_binary:
        raise UsageError(f"{form.title} is no text: name a file with -o")
    if not content.is_single:
        raise UsageError(
            f"{form.title} takes a file for each of the {len(content.files)} cameras: name a folder with -o"
        )
    return next(iter(content.files.values())).decode("utf-8")
