"""The program: its verbs in one table, each loaded only when it is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from cv3d.cli.failures import one_line, report_failure
from cv3d.cli.version import VersionOption
from cv3d.errors import EXIT_OK, EXIT_USAGE
from cv3d.reporting.progress import asked_for, make_reporter

if TYPE_CHECKING:
    from typer._click import Context as ParserContext


CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True)
class Verb:
    """Where a command lives, and its line in the help."""

    function: str
    """The command function as "module:name"."""
    help: str
    """One line."""


@dataclass(frozen=True)
class Group:
    """A command of commands."""

    help: str
    """One line."""
    verbs: dict[str, Verb]
    """Its commands by name."""


COMMANDS: dict[str, Verb | Group] = {
    "calibrate": Verb("cv3d.cli.calibrate:calibrate", "Calibrate a camera from pictures or a video of a board."),
    "board": Verb("cv3d.cli.board:board", "Draw a calibration board to print, true to scale."),
    "convert": Verb("cv3d.cli.convert:convert", "Convert camera files between tools."),
    "undistort": Verb("cv3d.cli.undistort:undistort", "Undistort or rectify pictures and videos."),
    "diff": Verb("cv3d.cli.diff:diff", "Compare two calibrations of one camera over the image."),
    "frames": Verb("cv3d.cli.frames:frames", "Choose the key frames of a clip."),
    "match": Verb("cv3d.cli.match:match", "Match pictures, verify the matches, follow points in clips."),
    "reconstruct": Verb("cv3d.cli.reconstruct:reconstruct", "Reconstruct a scene: cameras, poses and points."),
    "depth": Verb("cv3d.cli.depth:depth", "Estimate dense depth of posed pictures, or of a stereo pair."),
    "fuse": Verb("cv3d.cli.fuse:fuse", "Fuse the depth of a recording into one surface."),
    "view": Verb("cv3d.cli.view:view", "See meshes, clouds, trajectories and cameras in space."),
    "odometry": Verb("cv3d.cli.odometry:odometry", "Follow a moving camera: a pose for every frame of a recording."),
    "evaluate": Group(
        "Measure results against ground truth.",
        {
            "matches": Verb("cv3d.cli.evaluate_matches:matches", "Measure an extractor and a matcher on known pairs."),
            "trajectory": Verb("cv3d.cli.evaluate_trajectory:trajectory", "Compare a trajectory with the true one."),
            "surface": Verb("cv3d.cli.evaluate_surface:surface", "Compare a mesh with the true surface."),
        },
    ),
    "schema": Verb("cv3d.cli.schema:schema", "Print the JSON Schema of a result."),
    "batch": Verb("cv3d.cli.batch:batch", "Run a command on many inputs, here or on a Ray cluster."),
    "bench": Verb("cv3d.cli.bench:bench", "Time each stage on this machine, beside peers if asked for."),
    "doctor": Verb("cv3d.cli.doctor:doctor", "Say what this installation has and lacks, and how to get it."),
}


def command_names() -> tuple[str, ...]:
    """Every command there is, those of groups in full: "evaluate matches"."""

    def names(verbs: Mapping[str, Verb | Group]) -> Iterator[str]:
        for name, verb in verbs.items():
            if isinstance(verb, Group):
                yield from (f"{name} {inner}" for inner in names(verb.verbs))
            else:
                yield name

    return tuple(names(COMMANDS))


class LazyCommand(TyperCommand):
    """A command that is known by name and help until it is used."""

    def __init__(self, name: str, verb: Verb, within: str = "") -> None:
        super().__init__(name, help=verb.help, short_help=verb.help)
        self._verb = verb
        self._full_name = f"{within} {name}".lstrip()

    def make_context(
        self, info_name: str | None, args: list[str], parent: ParserContext | None = None, **extra: object
    ) -> ParserContext:
        """Load the command and parse with it; what runs afterwards is the context's own command, the real one."""
        from cv3d.cli.command import build_command

        module, _, function = self._verb.function.partition(":")
        command = build_command(self._full_name, getattr(import_module(module), function), command_names())
        return command.make_context(info_name, args, parent=parent, **extra)


class HelpingGroup(TyperGroup):
    """A group that answers a bare call with its help, as wrong usage."""

    def parse_args(self, ctx: ParserContext, args: list[str]) -> list[str]:
        """Parse as usual."""
        if not args and not ctx.resilient_parsing:
            print(ctx.get_help(), file=sys.stderr)
            raise typer.Exit(EXIT_USAGE)
        return super().parse_args(ctx, args)


class VerbGroup(HelpingGroup):
    """The verbs of one :class:`Group`, none of them loaded yet."""

    def __init__(self, name: str, group: Group) -> None:
        super().__init__(
            name=name,
            help=group.help,
            epilog=f"'cv3d {name} VERB --help' explains a verb.",
            rich_markup_mode=None,
            context_settings=CONTEXT_SETTINGS,
        )
        for verb_name, verb in group.verbs.items():
            self.add_command(LazyCommand(verb_name, verb, within=name))


class LazyGroup(HelpingGroup):
    """The verbs of :data:`COMMANDS`, none of them loaded yet."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        for name, verb in COMMANDS.items():
            self.add_command(VerbGroup(name, verb) if isinstance(verb, Group) else LazyCommand(name, verb))


app = typer.Typer(
    cls=LazyGroup,
    name="cv3d",
    rich_markup_mode=None,
    context_settings=CONTEXT_SETTINGS,
    help="From pictures to geometry: calibrated cameras, trajectories, matches, depth and meshes.",
    epilog="'cv3d VERB --help' explains a verb. Exit codes: 0 done, 1 failed, 2 wrong usage, "
    "3 done but below the quality asked for, 130 interrupted.",
)


@app.callback()
def _root(version: VersionOption = False) -> None:
    pass


def run_command_line(argv: Sequence[str]) -> int:
    """Parse and run `argv`; returns the exit code, whatever happens."""
    reporter = make_reporter(asked_for(argv, os.environ), sys.stderr, os.environ)
    try:
        code = get_command(app).main(args=list(argv), prog_name="cv3d", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        reporter.error(_usage_line(error), error.exit_code)
        return error.exit_code
    except SystemExit as stop:
        code = stop.code
    except BaseException as error:
        return report_failure(error, reporter)
    return code if isinstance(code, int) else EXIT_OK


def _usage_line(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    program = context.command_path if context is not None else "cv3d"
    return f"{one_line(error.format_message()).rstrip('.')} (see '{program} --help')"
