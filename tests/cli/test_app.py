"""The shell around the commands: version, help, exit codes, streams, completion."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

import cv3d
from cv3d.cli import main
from cv3d.cli.app import COMMANDS, app
from cv3d.cli.common import Run
from cv3d.errors import Cv3dError, DeviceError, EstimationError, InputError, OutputError, QualityError, UsageError

Main = Callable[..., SimpleNamespace]
AddCommand = Callable[[Callable[..., None]], None]


def idle(run: Run) -> None:
    """Do nothing."""


def report(run: Run) -> None:
    """Report a figure."""
    run.progress.start("count", 2)
    run.progress.advance("count", 2)
    run.progress.finish("count")
    run.progress.warn("one picture is dark")
    run.emit({"schema": "toy/1", "figure": 0.5, "name": "größe"}, lambda: "the figure is 0.5")


def raising(error: BaseException) -> Callable[[Run], None]:
    def fail(run: Run) -> None:
        """Fail."""
        raise error

    return fail


def test_the_version(cv3d_main: Main, add_command: AddCommand) -> None:
    add_command(idle)
    for arguments in (["--version"], ["toy", "--version"]):
        outcome = cv3d_main(*arguments)
        assert (outcome.code, outcome.out, outcome.err) == (0, f"cv3d {cv3d.__version__}\n", "")


def test_help_has_a_line_for_every_command_and_fits_80_columns(cv3d_main: Main) -> None:
    outcome = cv3d_main("--help")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80
    for name, verb in COMMANDS.items():
        assert any(line.split() == [name, *verb.help.split()] for line in lines)


def test_help_of_a_command_has_its_own_and_the_common_options(cv3d_main: Main, add_command: AddCommand) -> None:
    def toy(run: Run, size: Annotated[int, typer.Option(help="How big.")] = 3) -> None:
        """Play."""

    add_command(toy)
    for flag in ("--help", "-h"):
        text = cv3d_main("toy", flag).out
        own, common = text.index("--size <int>"), text.index("Common options:")
        assert own < common < text.index("--device") < text.index("--help")
        assert max(map(len, text.splitlines())) <= 80


def test_a_bare_call_shows_the_help_and_is_wrong_usage(cv3d_main: Main) -> None:
    outcome = cv3d_main()
    assert (outcome.code, outcome.out) == (2, "")
    assert "Commands:" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["doktor"], "No such command 'doktor'. Did you mean 'doctor'?"),
        (["--nonsense"], "--nonsense"),
        (["toy", "--nonsense"], "--nonsense"),
        (["toy", "surplus"], "surplus"),
        (["toy", "--device", "tpu"], "'tpu'"),
        (["toy", "--seed", "-1"], "--seed"),
        (["toy", "--quiet", "--verbose"], "contradict"),
        (["toy", "--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_wrong_usage_is_one_line_and_2(
    arguments: list[str], message: str, cv3d_main: Main, add_command: AddCommand
) -> None:
    add_command(idle)
    outcome = cv3d_main(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("error: ")
    assert message in outcome.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a.jpg: nothing in it"), 1),
        (OutputError("out: cannot be written"), 1),
        (DeviceError("no GPU"), 1),
        (EstimationError("all pictures\nfrom one pose"), 1),
        (UsageError("--a and --b contradict each other"), 2),
        (QualityError("rms<0.5 is required, but rms is 0.6"), 3),
    ],
)
def test_a_known_failure_is_one_line_and_its_exit_code(
    error: Cv3dError, code: int, cv3d_main: Main, add_command: AddCommand
) -> None:
    add_command(raising(error))
    outcome = cv3d_main("toy")
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err == f"error: {' '.join(str(error).split())}\n"
    verbose = cv3d_main("toy", "--verbose")
    assert verbose.code == code
    assert verbose.err.startswith("Traceback")
    assert verbose.err.splitlines()[-1] == outcome.err.strip()


def test_an_unknown_exception_is_a_bug(cv3d_main: Main, add_command: AddCommand) -> None:
    add_command(raising(ZeroDivisionError("by nothing")))
    outcome = cv3d_main("toy", "--quiet")
    assert outcome.code == 70
    assert "Traceback" in outcome.err
    assert "ZeroDivisionError: by nothing" in outcome.err.splitlines()[-1]


@pytest.mark.parametrize(("note", "line"), [("", "error: interrupted\n"), ("kept", "error: interrupted: kept\n")])
def test_an_interruption_is_130(note: str, line: str, cv3d_main: Main, add_command: AddCommand) -> None:
    add_command(raising(KeyboardInterrupt(*([note] if note else []))))
    outcome = cv3d_main("toy")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", line)


def test_results_and_progress_go_different_ways(cv3d_main: Main, add_command: AddCommand) -> None:
    add_command(report)
    outcome = cv3d_main("toy")
    assert outcome.out == "the figure is 0.5\n"
    assert outcome.err.splitlines()[0] == "count: 0/2"
    assert "warning: one picture is dark" in outcome.err


def test_json_is_one_object_alone_on_one_line(cv3d_main: Main, add_command: AddCommand) -> None:
    add_command(report)
    for more in ([], ["--quiet"], ["--verbose"]):
        outcome = cv3d_main("toy", "--json", *more)
        assert json.loads(outcome.out) == {"schema": "toy/1", "figure": 0.5, "name": "größe"}
        assert outcome.out.count("\n") == 1


def test_json_progress_leaves_nothing_but_events_on_stderr(cv3d_main: Main, add_command: AddCommand) -> None:
    add_command(report)
    outcome = cv3d_main("toy", "--progress", "json")
    events = [json.loads(line) for line in outcome.err.splitlines()]
    assert [event["event"] for event in events] == ["start", "progress", "finish", "warning", "result"]
    assert outcome.out == "the figure is 0.5\n"
    add_command(raising(InputError("nothing there")))
    (event,) = [json.loads(line) for line in cv3d_main("toy", "--progress", "json").err.splitlines()]
    assert event == {"v": 1, "event": "error", "message": "nothing there", "exit_code": 1}


def test_quiet_is_silent(cv3d_main: Main, add_command: AddCommand) -> None:
    add_command(report)
    outcome = cv3d_main("toy", "-q")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_a_result_without_a_schema_is_a_bug(cv3d_main: Main, add_command: AddCommand) -> None:
    def toy(run: Run) -> None:
        run.emit({"figure": 1}, lambda: "1")

    add_command(toy)
    assert cv3d_main("toy").code == 70


def test_a_rich_result_is_plain_without_a_terminal(cv3d_main: Main, add_command: AddCommand) -> None:
    def toy(run: Run) -> None:
        from rich.table import Table

        table = Table("model", "rms")
        table.add_row("[red]pinhole[/red]", "0.5")
        run.emit({"schema": "toy/1"}, lambda: table)

    add_command(toy)
    outcome = cv3d_main("toy")
    assert "pinhole" in outcome.out
    assert "\x1b" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_the_device_policy_is_the_one_asked_for(cv3d_main: Main, add_command: AddCommand) -> None:
    seen = []

    def toy(run: Run) -> None:
        seen.append(run.compute.device.type)

    add_command(toy)
    assert cv3d_main("toy", "--device", "cpu").code == 0
    assert seen == ["cpu"]


def test_typers_own_runner_sees_the_same_program() -> None:
    result = CliRunner().invoke(app, ["doctor", "--help"])
    assert result.exit_code == 0
    assert "--json" in result.stdout


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o default"), ("zsh", "#compdef cv3d"), ("fish", "complete --command cv3d")]
)
def test_the_completion_script_of_every_shell(
    shell: str, mark: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_CV3D_COMPLETE", f"source_{shell}")
    assert main([]) == 0
    assert mark in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [("cv3d do", "doctor"), ("cv3d doctor --dev", "--device"), ("cv3d doctor --device c", "cuda")],
)
def test_completion_offers_commands_options_and_values(
    words: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_CV3D_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert main([]) == 0
    assert expected in capsys.readouterr().out.split()


def seconds(*arguments: str) -> float:
    runs = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        runs.append(time.perf_counter() - begin)
    return statistics.median(runs)


def test_help_starts_a_small_multiple_of_an_empty_python() -> None:
    # It takes about 12 times an empty interpreter, and would take well over 100 times that with torch.
    assert seconds("-m", "cv3d", "--help") < 60 * seconds("-c", "pass")


TOY_PROCESS = """
import signal, sys, time
from types import ModuleType
from cv3d.cli import main
from cv3d.cli.app import COMMANDS, Verb

def toy(run):
    if run.options.json:
        sys.stdin.readline()
        run.emit({"schema": "toy/1"}, str)
    print("ready", flush=True)
    time.sleep(60)

sys.modules["toy_command"] = ModuleType("toy_command")
sys.modules["toy_command"].toy = toy
COMMANDS["toy"] = Verb("toy_command:toy", "A toy.")
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""


def toy_process(*arguments: str) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", TOY_PROCESS, "toy", *arguments], text=True, **pipes)


def test_a_reader_that_goes_away_is_no_error() -> None:
    with toy_process("--json") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_an_interrupted_process_ends_with_one_line_and_130() -> None:
    with toy_process() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()
    assert process.returncode == 130
    assert stderr == "error: interrupted\n"
