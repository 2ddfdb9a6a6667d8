"""What every command shares: the common options, and the run that a command function is handed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cv3d.cli.version import COMMON_PANEL
from cv3d.compute import Compute, DeviceName
from cv3d.errors import UsageError
from cv3d.formats.json_text import to_json
from cv3d.reporting.progress import ProgressStyle, Reporter

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class CommonOptions:
    """The options that every command has; each field's annotation is the option itself."""

    device: Annotated[
        DeviceName, typer.Option("--device", help="Where dense work runs.", rich_help_panel=COMMON_PANEL)
    ] = DeviceName.AUTO
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of everything drawn by chance.", rich_help_panel=COMMON_PANEL)
    ] = 0
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output.", rich_help_panel=COMMON_PANEL)
    ] = False
    progress: Annotated[
        ProgressStyle,
        typer.Option("--progress", help="How progress is shown on standard error.", rich_help_panel=COMMON_PANEL),
    ] = ProgressStyle.AUTO
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Print nothing but errors, and what --json asks for.", rich_help_panel=COMMON_PANEL
        ),
    ] = False
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Print more, and the traceback of errors.", rich_help_panel=COMMON_PANEL),
    ] = False
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace outputs that exist.", rich_help_panel=COMMON_PANEL)
    ] = False


@dataclass(frozen=True)
class Run:
    """One run of one command: what a command function is handed as its first argument."""

    command: str
    """Name of the command."""
    options: CommonOptions
    """The common options as given."""
    progress: Reporter
    """Where long-running functions tell how far they are; the user sees it on standard error."""

    @cached_property
    def compute(self) -> Compute:
        """The device policy of `--device`; loads torch.

        Raises:
            DeviceError: this machine does not have that device.
        """
        return Compute.choose(self.options.device)

    def emit(self, result: Mapping[str, object], human: Callable[[], RenderableType]) -> None:
        """Print the result of the command on standard output.

        Args:
            result: the object that `--json` prints, with its `schema`.
            human: gives the same for a person: plain text, or anything that rich can print. Called only when it is
                shown, which `--quiet` prevents.
        """
        if "schema" not in result:
            raise ValueError("a result carries the name of its schema")
        self.progress.result(result)
        if self.options.json:
            print(to_json(result, ascii_only=True), flush=True)
        elif not self.options.quiet:
            _print_for_person(human())


def _print_for_person(content: RenderableType) -> None:
    if isinstance(content, str):
        print(content, flush=True)
        return
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    if console.is_terminal:
        console.print(content)
    else:
        with console.capture() as capture:
            console.print(content)
        print("\n".join(line.rstrip() for line in capture.get().splitlines()))
    sys.stdout.flush()


OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="OUT", help="Folder for the results.", show_default=False)
]
"""The `-o OUT` of a command that writes a folder."""

RequireOption = Annotated[
    list[str] | None,
    typer.Option(
        "--require", metavar="NAME<VALUE", help="Exit 3 when a figure is not within a bound; may be repeated."
    ),
]
"""Quality gates; see :mod:`cv3d.evaluation.requirements`."""


def check_consistent(options: CommonOptions) -> None:
    """See that the common options do not contradict each other.

    Raises:
        UsageError: they do.
    """
    if options.quiet and options.verbose:
        raise UsageError("--quiet and --verbose contradict each other")
