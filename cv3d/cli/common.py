"""What every command shares: the common options, and the run that a command function is handed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
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


RESULT_FILE = "result.json"
"""What a command writes beside its files: the object that `--json` prints."""


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


def read_names(inputs: Sequence[str]) -> list[str]:
    """The inputs of a command, with the lines of standard input in the place of "-".

    Raises:
        UsageError: standard input names nothing, or is to be read twice.
    """
    if inputs.count("-") > 1:
        raise UsageError("- stands for standard input, which can be read once only")
    names: list[str] = []
    for given in inputs:
        if given != "-":
            names.append(given)
            continue
        listed = [line.strip() for line in sys.stdin if line.strip()]
        if not listed:
            raise UsageError("-: standard input names no input; pipe in one name a line")
        names += listed
    return names


def folder_of(output: str | Path | None, files: Sequence[Path]) -> Path | None:
    """The folder OUT; None where OUT was not given, or is the file itself that was written.

    Args:
        output: as given.
        files: written for it.
    """
    if output is None or not files or Path(output) in files:
        return None
    return Path(output) if Path(output).is_dir() else None


def write_beside(run: Run, result: Mapping[str, object], folder: Path) -> None:
    """Write `result.json` into a folder that may hold more than this command's files.

    Another command's result is left as it is, with a warning.

    Raises:
        OutputError: the file cannot be written.
    """
    import json

    from cv3d.formats.atomic import atomic_write_text

    path = folder / RESULT_FILE
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        schema = earlier.get("schema")
    except FileNotFoundError:
        schema = result["schema"]
    except (OSError, ValueError, AttributeError):
        schema = None
    if schema != result["schema"]:
        run.progress.warn(f"{path}: belongs to {schema or 'something else'} and is left as it is")
        return
    atomic_write_text(path, to_json(result, indent=2) + "\n")


def check_consistent(options: CommonOptions) -> None:
    """See that the common options do not contradict each other.

    Raises:
        UsageError: they do.
    """
    if options.quiet and options.verbose:
        raise UsageError("--quiet and --verbose contradict each other")
