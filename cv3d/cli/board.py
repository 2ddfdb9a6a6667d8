"""`cv3d board`: a calibration board to print."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cv3d.cli.common import Run, folder_of, write_beside

if TYPE_CHECKING:
    from cv3d.calibration.sheets.sheet import BoardSheet


class PageFormat(StrEnum):
    """What a sheet is written as."""

    PDF = "pdf"
    SVG = "svg"
    BOTH = "both"


_OTHER_ENDINGS = frozenset(["png", "jpg", "jpeg", "tif", "tiff", "bmp", "eps", "ps", "dxf", "gif", "webp"])


def board(
    run: Run,
    text: Annotated[
        str,
        typer.Argument(
            metavar="[TYPE[:COLSxROWS[:DICTIONARY]]]",
            help="The board, as cv3d calibrate takes it: checkerboard:9x6 (inner corners), charuco:7x5:5X5_100 "
            "(squares), aprilgrid:6x6 (tags), circles:10x7, circles_asymmetric:4x11, circles_hex:9x8.",
            show_default=False,
        ),
    ] = "charuco",
    square: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help="Side of a square or tag, or step of circles in a row, e.g. 25mm. The largest that fits when not "
            "given.",
            show_default=False,
        ),
    ] = None,
    marker_ratio: Annotated[
        float | None,
        typer.Option("--marker-ratio", help="ChArUco: marker side / square side; 0.75.", show_default=False),
    ] = None,
    spacing: Annotated[
        float | None, typer.Option("--spacing", help="AprilGrid: gap / tag side; 0.3.", show_default=False)
    ] = None,
    first_marker: Annotated[int, typer.Option("--first-marker", min=0, help="The smallest marker id.")] = 0,
    legacy: Annotated[
        bool,
        typer.Option("--legacy", help="ChArUco: OpenCV's pattern before 4.6 (differs where rows are even)."),
    ] = False,
    inverted: Annotated[bool, typer.Option("--inverted", help="ChArUco: white on black.")] = False,
    paper: Annotated[
        str, typer.Option(metavar="NAME|WxHmm", help="a5 to a0, letter, legal, tabloid, or a size.")
    ] = "a4",
    margin: Annotated[str, typer.Option(metavar="LENGTH", help="Paper left white around everything.")] = "10mm",
    page_format: Annotated[
        PageFormat | None,
        typer.Option("--format", help="What to write; otherwise what OUT ends with, or both.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="A .pdf or .svg file, or a folder. Otherwise this folder.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw a calibration board to print, true to scale, as vector PDF and SVG.

    What is left open (counts, square, which way the paper lies) is chosen to fill the paper. Under the board stand
    the command that calibrates with pictures of it, and a bar to measure after printing.

    Example: cv3d board charuco:7x5:5X5_100 --square 30mm -o board.pdf
    """
    from cv3d.calibration.sheets.sheet import board as lay_out
    from cv3d.formats.atomic import atomic_write_bytes

    sheet = lay_out(
        text,
        square=square,
        marker_ratio=marker_ratio,
        spacing=spacing,
        paper=paper,
        margin=margin,
        first_marker=first_marker,
        legacy=legacy,
        inverted=inverted,
    )
    targets = output_files(output, page_format, sheet.name, run.options.overwrite)
    for target in targets:
        atomic_write_bytes(target, sheet.page.pdf() if is_pdf(target) else sheet.page.svg().encode("utf-8"))
    for warning in sheet.warnings:
        run.progress.warn(warning)
    result = sheet.as_dict() | {"files": [str(target) for target in targets]}
    if (folder := folder_of(output, targets)) is not None:
        write_beside(run, result, folder)
    run.emit(result, lambda: describe(sheet, targets))


def output_files(out: Path | None, page_format: PageFormat | None, name: str, overwrite: bool) -> list[Path]:
    """The files to write.

    Args:
        out: as given.
        page_format: as given.
        name: of a file in a folder, without its ending.
        overwrite: whether files that exist may be replaced.

    Raises:
        UsageError: `out` and `page_format` contradict each other.
        OutputError: a file is there already.
    """
    from cv3d.errors import OutputError, UsageError

    ending = out.suffix.lower().removeprefix(".") if out is not None and not out.is_dir() else ""
    if out is not None and ending in (PageFormat.PDF, PageFormat.SVG):
        if page_format is PageFormat.BOTH:
            targets = [out.with_suffix(f".{one.value}") for one in (PageFormat.PDF, PageFormat.SVG)]
        elif page_format is not None and page_format.value != ending:
            raise UsageError(f"--format {page_format.value} and -o {out} contradict each other")
        else:
            targets = [out]
    else:
        if ending in _OTHER_ENDINGS:
            raise UsageError(f"-o {out}: a board is written as .pdf or .svg, or as both into a folder")
        folder = Path() if out is None else out
        if folder.is_file():
            raise OutputError(f"{folder}: is a file; give a folder, or a file that ends with .pdf or .svg")
        wanted = [PageFormat.PDF, PageFormat.SVG] if page_format in (None, PageFormat.BOTH) else [page_format]
        targets = [folder / f"{name}.{one.value}" for one in wanted if one is not None]
    for target in targets:
        if target.exists() and not overwrite:
            raise OutputError(f"{target}: exists; --overwrite replaces it")
    return targets


def is_pdf(path: Path) -> bool:
    """Whether a file is to be a PDF."""
    return path.suffix.lower() == f".{PageFormat.PDF.value}"


def describe(sheet: BoardSheet, files: list[Path]) -> str:
    """What was drawn, for a person."""
    placement = sheet.placement
    return "\n".join(
        [
            sheet.page.title,
            f"{placement.width_mm:.6g} x {placement.height_mm:.6g} mm on {sheet.paper}",
            *(f"written: {path}" for path in files),
            "print at 100 %, measure the bar under the board, mount it flat; then",
            f"  {sheet.command}",
        ]
    )
