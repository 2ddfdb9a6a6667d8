"""`cv3d batch`: one command on many inputs, or mixed work from a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cv3d.cli.common import Run
from cv3d.compute import DeviceName
from cv3d.errors import Cv3dError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cv3d.batch.options import BatchOptions, EngineName
    from cv3d.batch.planning import Order
    from cv3d.batch.results import BatchResult, Plan

_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def batch(
    run: Run,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="VERB INPUT... | FILE",
            help="A command and its inputs: paths, 'globs', URLs, - for a list from stdin; or a jobs file, .toml "
            "or .csv. Behind -- come the command's own arguments, from the first that is an option or holds {input}.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="Folder or URL of the outputs, one for each job.", show_default=False
        ),
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            "--name",
            metavar="TEMPLATE",
            help="Names of the outputs: {stem}, {name}, {suffix}, {parent}, {index:06d}, {verb}. "
            "With an ending such as '{stem}.tum' each is a file where the command writes one.",
        ),
    ] = "{stem}",
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", metavar="N", min=1, help="Jobs at a time; else one a core.", show_default=False),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", min=1, help="Threads of a job; else cores/jobs.", show_default=False),
    ] = None,
    per_gpu: Annotated[int, typer.Option("--per-gpu", metavar="N", min=1, help="Jobs that share a GPU.")] = 1,
    retry: Annotated[
        int,
        typer.Option("--retry", metavar="N", min=0, help="Further attempts at a job that fails, crashes or hangs."),
    ] = 0,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", help="Kill a job that takes longer.", show_default=False),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option("--memory", metavar="SIZE", help="Kill a job that uses more, e.g. 4G.", show_default=False),
    ] = None,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going/--fail-fast", help="Run all whatever fails, or start nothing after the first failure."
        ),
    ] = True,
    engine: Annotated[str, typer.Option("--engine", metavar="local|ray", help="This machine, or Ray.")] = "local",
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="ADDRESS", help="Of the Ray cluster, e.g. auto.", show_default=False),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="DIR", help="Folder of journal and logs; else OUT.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
) -> None:
    """Run a command on many inputs, each once, whatever happens in between.

    OUT gets an output for every job, logs/, summary.csv (and summary.parquet where pyarrow is installed) and
    result.json. Outputs appear whole or not at all. A job that fails is recorded and stops no other; exit 0 means that
    all succeeded, 1 that some did not. Called again, after Ctrl-C or a kill too, the same command goes on where it
    was: what is done stays, unless its command, arguments, input or the version changed; once a run has come to its
    end, the next tries its failures again. --overwrite does all again. --device and --seed are handed on to every job.

    Example: cv3d batch odometry 'clips/*.mp4' -o out -- --camera cam.json

    Example: cv3d batch evaluate trajectory 'out/*/trajectory.tum' --name {parent} -- {input} truth/{parent}.tum

    Example: cv3d batch jobs.toml -o out --engine ray --address auto
    """
    from cv3d.batch.running import batch as run_batch
    from cv3d.batch.running import plan

    orders, default_out = _orders(words, name, _handed_on(run))
    out = output or default_out
    options = _options(run, jobs, threads, per_gpu, retry, timeout, memory, keep_going, engine, address, state)
    if dry_run:
        planned = plan(orders, out, options=options)
        run.emit(planned.as_result(), lambda: _describe_plan(planned))
        return
    result = run_batch(orders, out, options=options, progress=run.progress, on_status=run.progress.note)
    run.emit(result.as_result(), lambda: _table(result))
    if not result.succeeded:
        left = f", {result.pending} were not tried" if result.pending else ""
        raise Cv3dError(
            f"{result.failed} of {result.total} jobs failed{left}; {result.state_folder}/summary.csv and logs/ say why,"
            " and the same command tries them again"
        )


@cache
def takes_output(verb: str) -> bool:
    """Whether a command takes `-o`.

    Raises:
        UsageError: there is no such command, or it cannot run in a batch.
    """
    from cv3d.cli.app import COMMANDS, Group, Verb, command_names
    from cv3d.cli.command import build_command

    verbs: Mapping[str, Verb | Group] = COMMANDS
    found: Verb | Group | None = None
    for word in verb.split():
        found = verbs.get(word)
        verbs = found.verbs if isinstance(found, Group) else {}
    if not isinstance(found, Verb) or verb == "batch":
        known = ", ".join(name for name in command_names() if name != "batch")
        raise UsageError(f"'{verb}' is no command that a batch can run; there are {known}")
    module, _, function = found.function.partition(":")
    command = build_command(verb, getattr(import_module(module), function), command_names())
    return any("--output" in param.opts for param in command.params)


def _orders(words: list[str], name: str, handed_on: tuple[str, ...]) -> tuple[Iterator[Order], str]:
    """What to do, and where to when nobody says."""
    from cv3d.batch.jobs_files import SUFFIXES, read_orders
    from cv3d.batch.naming import check_template
    from cv3d.batch.planning import Order

    check_template(name)
    first = Path(words[0])
    if first.suffix.lower() in SUFFIXES:
        if len(words) > 1:
            raise UsageError(f"{first} says all that is to be done; '{words[1]}' goes into it")
        given = read_orders(first)
        return (
            Order(one.verb, one.input, with_options(one.arguments, handed_on), one.name) for one in given
        ), f"{first.stem}_batch"
    verb, rest = _verb(words)
    takes_output(verb)
    cut = next((k for k, word in enumerate(rest) if _is_argument(word)), len(rest))
    inputs, arguments = rest[:cut], with_options(tuple(rest[cut:]), handed_on)
    if not inputs:
        raise UsageError(f"no input for {verb}: name paths, 'globs' or URLs behind it, or - to read them from stdin")
    sources = _lines_of_stdin() if inputs == ["-"] else iter(inputs)
    return (Order(verb, source, arguments, name) for source in sources), f"{verb.replace(' ', '_')}_batch"


def _verb(words: list[str]) -> tuple[str, list[str]]:
    """The command, which may be two words, and what is behind it."""
    from cv3d.cli.app import COMMANDS, Group

    first = words[0].split()
    if len(first) == 1 and isinstance(COMMANDS.get(first[0]), Group) and len(words) > 1:
        return f"{first[0]} {words[1]}", words[2:]
    return " ".join(first), words[1:]


def _is_argument(word: str) -> bool:
    return (word.startswith("-") and word != "-") or "{input}" in word


def _lines_of_stdin() -> Iterator[str]:
    return (line.rstrip("\r\n") for line in sys.stdin if line.strip())


def _handed_on(run: Run) -> tuple[str, ...]:
    """The common options that are meant for every job."""
    device, seed = run.options.device, run.options.seed
    return (
        *(("--device", device.value) if device is not DeviceName.AUTO else ()),
        *(("--seed", str(seed)) if seed else ()),
    )


def with_options(arguments: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """`arguments`, and those of the pairs `more` that they do not have."""
    names = {argument.partition("=")[0] for argument in arguments}
    pairs = zip(more[::2], more[1::2], strict=True)
    return (*arguments, *(word for option, value in pairs if option not in names for word in (option, value)))


def _options(
    run: Run,
    jobs: int | None,
    threads: int | None,
    per_gpu: int,
    retry: int,
    timeout: float | None,
    memory: str | None,
    keep_going: bool,
    engine: str,
    address: str | None,
    state: str | None,
) -> BatchOptions:
    from cv3d.batch.options import BatchOptions

    chosen = _engine(engine)
    if address is not None and chosen.value != "ray":
        raise UsageError("--address is of a Ray cluster: add --engine ray")
    return BatchOptions(
        jobs=jobs,
        threads=threads,
        retry=retry,
        timeout_s=timeout,
        memory_bytes=None if memory is None else size_in_bytes(memory),
        fail_fast=not keep_going,
        per_gpu=per_gpu,
        overwrite=run.options.overwrite,
        engine=chosen,
        address=address,
        state_folder=state,
    )


def _engine(name: str) -> EngineName:
    from cv3d.batch.options import EngineName

    try:
        return EngineName(name)
    except ValueError:
        raise UsageError(f"--engine '{name}': one of {', '.join(EngineName)}") from None


def size_in_bytes(text: str) -> int:
    """Bytes of a size such as 4G, 512M or 1.5GiB.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    size = int(float(match.group(1)) * _SIZES[match.group(2)]) if match else 0
    if size <= 0:
        raise UsageError(f"--memory '{text}': is a size such as 4G or 512M")
    return size


def _describe_plan(planned: Plan) -> str:
    todo = planned.total - planned.skipped
    kept = f", {planned.skipped} are done already" if planned.skipped else ""
    lines = [f"{planned.total} jobs{kept}; {planned.jobs} at a time, {planned.threads} threads each"]
    lines += planned.commands
    if todo > len(planned.commands):
        lines.append(f"and {todo - len(planned.commands)} more")
    return "\n".join(lines)


def _table(result: BatchResult) -> RenderableType:
    """The counts, and the first failures."""
    from rich.console import Group
    from rich.table import Table

    counts = [f"{result.done} done"]
    counts += [f"{result.skipped} done before"] if result.skipped else []
    counts += [f"{result.failed} failed"] if result.failed else []
    counts += [f"{result.pending} not tried"] if result.pending else []
    rate = f", {result.jobs_per_second:.3g} jobs/s" if result.done + result.failed else ""
    lines = [
        f"{result.total} jobs: {', '.join(counts)}; {result.seconds:.1f} s{rate}, {result.jobs} at a time "
        f"with {result.threads} threads each"
    ]
    lines.append(f"written to {result.out}; {', '.join(result.files)} and logs/ in {result.state_folder}")
    lines += result.notes
    if not result.failures:
        return "\n".join(lines)
    table = Table("job", "state", "exit", "tries", "error", box=None, pad_edge=False)
    for one in result.failures[:20]:
        code = "" if one.exit_code is None else str(one.exit_code)
        table.add_row(one.name, one.state, code, str(one.attempts), one.error)
    more = [f"and {result.failed - 20} more failures"] if result.failed > 20 else []
    return Group(table, *more, *lines)
