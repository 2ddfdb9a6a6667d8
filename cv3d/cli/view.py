"""`cv3d view`: any result in space, in the browser or in rerun."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cv3d.cli.common import Run, read_names
from cv3d.errors import OutputError, UsageError
from cv3d.formats.up_axis import Up


def view(
    run: Run,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Meshes, clouds, trajectories, cameras, COLMAP models, posed pictures, result folders; - reads a list "
            "from stdin.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PAGE",
            help="Write the page (.html) there, or rerun's recording (.rrd).",
            show_default="a temporary file",
        ),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Only write the page; open no browser.")] = False,
    up: Annotated[
        Up | None,
        typer.Option("--up", help="The axis that is up.", show_default="as cameras are held, else -y"),
    ] = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Open in rerun's viewer, or with -o write its file.")] = False,
) -> None:
    """See results in space: meshes, point clouds, trajectories, cameras, all together.

    Everything goes into one page that needs nothing but a browser and no network, and the browser opens it. Large
    meshes are thinned for the page, which says so; the files stay as they are.

    Example: cv3d view room/mesh.ply room/trajectory.tum
    """
    import os
    import sys
    import tempfile
    import webbrowser

    from cv3d.reporting.scenes.gathering import gather

    if output is not None and output.suffix.lower() != (".rrd" if rerun else ".html"):
        raise UsageError(f"-o {output}: the name ends with {'.rrd' if rerun else '.html'}")
    if output is not None and output.exists() and not run.options.overwrite:
        raise OutputError(f"{output}: is there already; --overwrite replaces it")
    paths = [Path(name) for name in read_names(files)]
    scene = gather(paths, up)
    title = ", ".join(path.name or str(path) for path in paths)
    plain: dict[str, object] = {"schema": "cv3d.view/1", "items": [item.name for item in scene.items]}
    if rerun:
        from cv3d.reporting.scenes.rerun_scene import show_in_rerun

        show_in_rerun(scene, title, output)
        where = "opened in rerun" if output is None else f"written to {output}"
        run.emit(plain | {"file": None if output is None else str(output), "notes": list(scene.notes)}, lambda: where)
        return

    from cv3d.formats.atomic import atomic_write_text
    from cv3d.reporting.view_page import view_page

    content, notes = view_page(scene, title)
    place = output or Path(tempfile.mkdtemp(prefix="cv3d-view-")) / "view.html"
    atomic_write_text(place, content)
    for note in notes:
        run.progress.warn(note)
    opened = not no_open and has_screen(sys.platform, os.environ) and webbrowser.open(place.resolve().as_uri())
    if not opened and not no_open:
        run.progress.warn("no browser opens here; open the page yourself")
    run.emit(
        plain | {"file": str(place), "notes": [*scene.notes, *notes]},
        lambda: f"{'opened' if opened else 'written to'} {place}",
    )


def has_screen(platform: str, environ: Mapping[str, str]) -> bool:
    """Whether a browser would open a window; one that runs in the terminal would take it over.

    Args:
        platform: as `sys.platform` has it.
        environ: of this process.
    """
    if platform in ("darwin", "win32"):
        return True
    return any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
