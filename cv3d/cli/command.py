"""From a plain function to a command: common options, environment, config file, and one end for every run."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption
from typer.main import get_command

from cv3d.cli.common import CommonOptions, Run, check_consistent
from cv3d.cli.config import option_values, read_config
from cv3d.cli.failures import report_failure
from cv3d.cli.version import COMMON_PANEL, VersionOption
from cv3d.errors import UsageError
from cv3d.reporting.progress import ProgressStyle, make_reporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer._click import Context as ParserContext
    from typer._click import HelpFormatter, Parameter

ENVIRONMENT_PREFIX = "CV3D"
CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}

CommandFunction = Callable[..., None]
"""A command: a function of a :class:`Run` and of its own options, which raises on failure."""


def build_command(name: str, function: CommandFunction, commands: tuple[str, ...]) -> TyperCommand:
    """The command line of `function`.

    Its first parameter takes the :class:`Run`; the others are the command's own arguments and options, annotated as
    typer has them. The common options are added, every option can also be set in the environment and in a config
    file, and whatever the function raises ends as one line and an exit code.

    Args:
        name: the verb, after its group where it has one: "evaluate matches".
        function: what it does.
        commands: every verb there is, which are the tables that a config file may have.
    """
    shell = typer.Typer(add_completion=False, rich_markup_mode=None)
    shell.command(name, cls=ConfigurableCommand, context_settings=CONTEXT_SETTINGS)(
        _with_common_options(name, function)
    )
    command = get_command(shell)
    if not isinstance(command, ConfigurableCommand):
        raise TypeError(f"typer made a {type(command).__name__} of {name}")
    command.commands = commands
    _read_environment(command, name)
    return command


def take_up_config(ctx: typer.Context, file: Path | None) -> Path | None:
    """Callback of `--config`; eager, so that the file is read before the options that it gives are looked up."""
    if file is not None and isinstance(ctx.command, ConfigurableCommand) and not ctx.resilient_parsing:
        ctx.command.take_up_config(ctx, file)
    return file


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Take options from a TOML file; flags and environment go before it.",
        is_eager=True,
        callback=take_up_config,
        rich_help_panel=COMMON_PANEL,
        show_default=False,
    ),
]


class ConfigurableCommand(TyperCommand):
    """A command that reads its options from a file too, and shows the common ones under their own heading."""

    commands: tuple[str, ...] = ()
    """Every verb there is."""

    config_file: Path | None = None
    """The file of this run, once it is taken up."""

    def parse_args(self, ctx: ParserContext, args: list[str]) -> list[str]:
        """Parse as usual; a bad value from the environment or the file says so."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message += self._origin(ctx, error)
            raise

    def take_up_config(self, ctx: ParserContext, file: Path) -> None:
        """Make the values of `file` the defaults of the options that are parsed after this.

        Raises:
            UsageError: the file cannot be read or holds an unknown key.
        """
        names, repeatable = {}, {}
        for param in self.params:
            if isinstance(param, TyperOption) and param.name not in ("config", "version"):
                key = _long_name(param)
                names[key] = param.name
                repeatable[key] = param.multiple
        command = self.name or ""
        values = read_config(file, command, self.commands, [field.name for field in dataclasses.fields(CommonOptions)])
        texts = option_values(file, command, values, repeatable)
        ctx.default_map = {names[key]: value for key, value in texts.items()}
        self.config_file = file

    def format_options(self, ctx: ParserContext, formatter: HelpFormatter) -> None:
        """Arguments, the command's own options, the common options."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], COMMON_PANEL: []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if isinstance(param, TyperArgument):
                sections["Arguments"].append(record)
            elif isinstance(param, TyperOption) and param.rich_help_panel is None and "--help" not in param.opts:
                sections["Options"].append(record)
            else:
                sections[COMMON_PANEL].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        formatter.write_paragraph()
        formatter.write_text(
            f"Every option can also be set as {_variable(self.name or '', 'OPTION')} in the environment, "
            "or in the --config file."
        )

    def _origin(self, ctx: ParserContext, error: typer.BadParameter) -> str:
        param = error.param
        if param is None:
            return ""
        source = ctx.get_parameter_source(param.name)
        if source is not None and source.name == "DEFAULT_MAP":
            return f" (from {self.config_file})"
        if source is not None and source.name == "ENVIRONMENT":
            return f" (from {next(name for name in param.envvar or () if os.environ.get(name))})"
        return ""


def _with_common_options(name: str, function: CommandFunction) -> Callable[..., None]:
    """`function` with the common options in the place of its first parameter."""
    own = list(inspect.signature(function).parameters.values())[1:]
    hints = get_type_hints(function, include_extras=True)
    common_hints = get_type_hints(CommonOptions, include_extras=True)
    common = dataclasses.fields(CommonOptions)

    def keyword(key: str, annotation: object, default: object) -> inspect.Parameter:
        return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    parameters = [keyword(one.name, hints[one.name], one.default) for one in own]
    parameters += [keyword(field.name, common_hints[field.name], field.default) for field in common]
    parameters += [keyword("config", ConfigOption, None), keyword("version", VersionOption, False)]

    @functools.wraps(function)
    def command(**values: object) -> None:
        options = CommonOptions(**{field.name: values.pop(field.name) for field in common})  # type: ignore[arg-type]
        del values["config"], values["version"]
        check_consistent(options)
        with _run(name, options) as run:
            function(run, **values)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


@contextmanager
def _run(name: str, options: CommonOptions) -> Iterator[Run]:
    """The life of one run: its reporter, and the exit code of whatever it raises."""
    reporter = make_reporter(
        ProgressStyle(options.progress), sys.stderr, os.environ, quiet=options.quiet, verbose=options.verbose
    )
    try:
        yield Run(name, options, reporter)
        sys.stdout.flush()
    except typer.Exit:
        raise
    except typer.TyperException as error:
        raise typer.Exit(report_failure(UsageError(error.format_message()), reporter)) from error
    except BaseException as error:
        raise typer.Exit(report_failure(error, reporter, verbose=options.verbose)) from error
    finally:
        reporter.close()


def _read_environment(command: TyperCommand, name: str) -> None:
    """Give every option its variables: CV3D_VERB_OPTION, and for common options CV3D_OPTION after it."""
    shared = {field.name for field in dataclasses.fields(CommonOptions)} | {"config"}
    for param in command.params:
        if isinstance(param, TyperOption) and param.name != "version":
            option = _long_name(param)
            param.envvar = [_variable(name, option), *([_variable(option)] if param.name in shared else [])]
            param.show_envvar = False


def _variable(*words: str) -> str:
    return "_".join([ENVIRONMENT_PREFIX, *words]).replace("-", "_").replace(" ", "_").upper()


def _long_name(param: Parameter) -> str:
    """An option's name as a key: its first long flag without dashes in front, dashes inside as underscores."""
    flag = next((flag for flag in param.opts if flag.startswith("--")), param.name)
    return flag.lstrip("-").replace("-", "_")
