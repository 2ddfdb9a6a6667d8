"""The contract of the command line, held for every command: streams, JSON, exit codes, colours, pipes, width, help."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator

from cv3d.cli import main
from cv3d.cli.app import command_names
from cv3d.cli.common import CommonOptions
from cv3d.schemas import load, names

from ..tiny_inputs import make_tiny_inputs
from .command_table import ROWS, Row

Main = Callable[..., SimpleNamespace]

HEAVY = (
    "torch",
    "open3d",
    "cv2",
    "numba",
    "scipy",
    "numpy",
    "matplotlib",
    "plotly",
    "kornia",
    "av",
    "rich",
    "ray",
    "PIL",
)
COMMANDS = command_names()
LINES = [pytest.param(name, marks=pytest.mark.slow if row.slow else ()) for name, row in ROWS.items()]
REQUIRING = [name for name, row in ROWS.items() if row.unmet]
FAILING = [name for name, row in ROWS.items() if row.fails]


@dataclass
class Workshop:
    """A folder of tiny inputs, and what the commands of the table gave in it; each is run once."""

    folder: Path
    done: dict[str, SimpleNamespace] = field(default_factory=dict)

    def run(self, *arguments: str) -> SimpleNamespace:
        """Exit code and streams of a command line in this process."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*arguments])
        return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())

    def row(self, name: str) -> SimpleNamespace:
        """The outcome of a row of the table, run with --json and --progress json."""
        if name not in self.done:
            for earlier in ROWS[name].after:
                self.row(earlier)
            self.done[name] = self.run(*words(ROWS[name]), "--json", "--progress", "json")
        return self.done[name]


def words(row: Row) -> list[str]:
    """The arguments of a row, with its globs left to cv3d."""
    given = row.line.split()
    return given if given[0] == "doctor" else [*given, "--device", "cpu"]


def command_of(row: Row) -> list[str]:
    """The command of a row."""
    given = words(row)
    return given[:2] if " ".join(given[:2]) in COMMANDS else given[:1]


@cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(load(name))


def problems(name: str, content: object) -> list[str]:
    """What a schema has against a value."""
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator(name).iter_errors(content)]


@pytest.fixture(scope="session")
def workshop(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Workshop(make_tiny_inputs(project_root / "data" / "samples", tmp_path_factory.mktemp("workshop")))
    torch.set_num_threads(threads)


def test_every_command_is_in_the_table() -> None:
    assert {" ".join(command_of(row)) for row in ROWS.values()} == set(COMMANDS)


@pytest.mark.parametrize("name", LINES)
def test_json_is_one_object_of_the_form_that_it_names(name: str, workshop: Workshop) -> None:
    row, done = ROWS[name], workshop.row(name)
    assert done.code == 0, done.err
    assert done.out.count("\n") == 1
    result = json.loads(done.out)
    assert result["schema"] == row.schema
    assert problems(row.schema, result) == []
    if row.out:
        assert json.loads((workshop.folder / row.out / "result.json").read_text(encoding="utf-8")) == result


@pytest.mark.parametrize("name", LINES)
def test_the_schema_misses_every_field_that_is_gone_or_misnamed(name: str, workshop: Workshop) -> None:
    row = ROWS[name]
    result: dict[str, Any] = json.loads(workshop.row(name).out)
    assert problems(row.schema, result | {"surplus": 1})
    for key in set(result) - row.optional:
        without = {other: value for other, value in result.items() if other != key}
        assert problems(row.schema, without), key
        assert problems(row.schema, without | {f"{key}_": result[key]}), key


@pytest.mark.parametrize("name", LINES)
def test_standard_error_is_nothing_but_events_under_progress_json(name: str, workshop: Workshop) -> None:
    done = workshop.row(name)
    events = [json.loads(line) for line in done.err.splitlines()]
    assert [problem for event in events for problem in problems("cv3d.progress/1", event)] == []
    assert [event["result"] for event in events if event["event"] == "result"] == [json.loads(done.out)]
    assert events[-1]["event"] == "result"
    begun = [event["stage"] for event in events if event["event"] == "start"]
    assert begun == [event["stage"] for event in events if event["event"] == "finish"]


@pytest.mark.parametrize("name", LINES)
def test_people_read_80_columns_without_colour(name: str, workshop: Workshop) -> None:
    row = ROWS[name]
    workshop.row(name)
    again = [] if row.resumes else ["--overwrite"]
    done = workshop.run(*words(row), *again)
    assert done.code == 0, done.err
    assert done.out.strip()
    if name != "schema":  # JSON, which is for programs
        # How long a folder's name is, is not the command's business.
        assert [line for line in done.out.replace(str(workshop.folder), "").splitlines() if len(line) > 80] == []
    assert "\x1b" not in done.out + done.err
    if row.resumes:  # others would do their work once more for it
        quiet = workshop.run(*words(row), "--quiet")
        assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


@pytest.mark.parametrize("name", FAILING)
def test_a_known_failure_is_one_line_and_1(name: str, workshop: Workshop) -> None:
    row = ROWS[name]
    for earlier in row.after:
        workshop.row(earlier)
    arguments = [*command_of(row), *row.fails.split()]
    done = workshop.run(*arguments, "--progress", "none")
    assert (done.code, "Traceback" in done.err) == (1, False), done.err
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert done.err.splitlines()[-1] == errors[0]
    told = workshop.run(*arguments, "--json", "--progress", "json")
    event = json.loads(told.err.splitlines()[-1])
    assert problems("cv3d.progress/1", event) == []
    assert (told.code, event["event"], event["exit_code"]) == (1, "error", 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_usage_is_one_line_and_2(command: str, workshop: Workshop) -> None:
    done = workshop.run(*command.split(), "--nonsense")
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert "--nonsense" in done.err
    told = workshop.run(*command.split(), "--nonsense", "--progress", "json")
    event = json.loads(told.err)
    assert problems("cv3d.progress/1", event) == []
    assert (told.code, event["exit_code"]) == (2, 2)


@pytest.mark.parametrize("name", REQUIRING)
def test_below_the_quality_asked_for_is_3_with_the_result(name: str, workshop: Workshop) -> None:
    row = ROWS[name]
    workshop.row(name)
    again = [] if row.resumes else ["--overwrite"]
    done = workshop.run(*words(row), *again, "--json", "--progress", "none", "--require", row.unmet)
    assert done.code == 3, done.err
    assert problems(row.schema, json.loads(done.out)) == []
    assert done.err.splitlines()[-1].startswith(f"error: {row.unmet} is required")


def test_every_command_that_knows_requirements_has_one_in_the_table(workshop: Workshop) -> None:
    asked = {command for command in COMMANDS if "--require" in workshop.run(*command.split(), "--help").out}
    assert {" ".join(command_of(ROWS[name])) for name in REQUIRING} == asked


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_80_columns_wide_and_names_the_common_options(command: str, workshop: Workshop) -> None:
    done = workshop.run(*command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert [line for line in done.out.splitlines() if len(line) > 80] == []
    for option in dataclasses.fields(CommonOptions):
        assert f"--{option.name}" in done.out
    assert {"--config", "--version", "--help"} <= set(re.findall(r"--[a-z]+", done.out))


def test_help_of_no_command_loads_anything_heavy() -> None:
    program = (
        "import contextlib, io, sys\n"
        "from cv3d.cli import main\n"
        "from cv3d.cli.app import command_names\n"
        "for line in ['', *command_names()]:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        assert main([*line.split(), '--help']) == 0\n"
        f"    print(line, *sorted(set({HEAVY}) & set(sys.modules)), sep=',')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", *COMMANDS]


def test_every_result_of_the_library_has_a_form_in_the_table_or_is_a_file() -> None:
    files = {"cv3d.camera/1", "cv3d.rig/1", "cv3d.rectification/1", "cv3d.progress/1"}
    assert {row.schema for row in ROWS.values()} | files == set(names())


@pytest.mark.parametrize("command", COMMANDS)
def test_completion_offers_the_options_of_every_command(
    command: str, monkeypatch: pytest.MonkeyPatch, cv3d_main: Main
) -> None:
    monkeypatch.setenv("_CV3D_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"cv3d {command} --")
    monkeypatch.setenv("COMP_CWORD", str(len(command.split()) + 1))
    offered = set(cv3d_main().out.split())
    assert {"--json", "--progress", "--quiet", "--device", "--overwrite", "--config", "--help"} <= offered


def test_completion_offers_the_styles_of_progress(monkeypatch: pytest.MonkeyPatch, cv3d_main: Main) -> None:
    monkeypatch.setenv("_CV3D_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "cv3d doctor --progress ")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert cv3d_main().out.split() == ["auto", "bar", "plain", "json", "none"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_take_their_completion_scripts(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / f"cv3d.{shell}"
    with script.open("w") as stream:
        environ = os.environ | {"_CV3D_COMPLETE": f"source_{shell}"}
        subprocess.run([sys.executable, "-m", "cv3d"], env=environ, stdout=stream, check=True)
    subprocess.run([program, "-n", str(script)], check=True)


def test_bash_completes_a_command(tmp_path: Path) -> None:
    program = shutil.which("bash")
    if program is None:
        pytest.skip("bash is not installed")
    (tmp_path / "cv3d").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cv3d "$@"\n')
    (tmp_path / "cv3d").chmod(0o755)
    script = (
        'eval "$(_CV3D_COMPLETE=source_bash cv3d)"; COMP_WORDS=(cv3d und); COMP_CWORD=1; '
        '$(complete -p cv3d | sed "s/.*-F \\([^ ]*\\).*/\\1/") cv3d; echo "${COMPREPLY[@]}"'
    )
    environ = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([program, "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["undistort"], done.stderr


def shell(script: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `cv3d` is this one."""
    program = shutil.which("bash")
    if program is None:
        pytest.skip("bash is not installed")
    line = f'cv3d() {{ "{sys.executable}" -m cv3d "$@"; }}\n{script}'
    whole = os.environ | {"OMP_NUM_THREADS": "1"} | environ
    return subprocess.run([program, "-c", line], cwd=folder, env=whole, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "line",
    [
        "schema rig_calibration | head -n 1",
        "schema | true",
        pytest.param("convert --list | head -n 1", marks=pytest.mark.slow),
        "--help | head -n 1",
        "nonsense 2>&1 | head -n 1",
    ],
)
def test_a_reader_may_leave_early(line: str, tmp_path: Path) -> None:
    done = shell(f"cv3d {line}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == (0 if line.endswith("true") else 1)


@pytest.mark.slow
def test_a_reader_of_the_progress_may_leave_early(workshop: Workshop) -> None:
    line = "cv3d frames clip.mp4 -o out/left --progress json 2>&1 >/dev/null | head -n 1; exit ${PIPESTATUS[0]}"
    done = shell(line, workshop.folder)
    assert done.returncode in (0, 141)
    assert json.loads(done.stdout)["event"] == "start"
    assert done.stderr == ""


def test_streams_may_be_closed_or_full(tmp_path: Path) -> None:
    lines = "cv3d match - <&-; echo $?; cv3d schema match >&-; echo $?; cv3d schema nonsense 2>&-; echo $?"
    closed = shell(lines, tmp_path)
    assert closed.stdout.split() == ["2", "0", "2"]
    assert "Traceback" not in closed.stderr
    if Path("/dev/full").exists():
        full = shell("cv3d schema match > /dev/full", tmp_path)
        assert full.returncode == 1
        assert full.stderr == "error: standard output cannot be written: No space left on device\n"


def on_terminal(arguments: list[str], folder: Path, **environ: str) -> str:
    """What a process writes when its streams are a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    whole = plain | {"TERM": "xterm-256color", "COLUMNS": "80", "OMP_NUM_THREADS": "1"} | environ
    process = subprocess.Popen(
        [sys.executable, "-m", "cv3d", *arguments], cwd=folder, env=whole, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux says so when the other side is closed
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7;]")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_colours_unless_they_are_not_wanted(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.row("calibrate")
    monkeypatch.setenv("TERM", "xterm-256color")
    for is_wanted in (True, False):
        if not is_wanted:
            monkeypatch.setenv("NO_COLOR", "1")
        shown = Terminal()
        with contextlib.chdir(workshop.folder), contextlib.redirect_stdout(shown):
            assert main(words(ROWS["calibrate"])) == 0
        assert bool(COLOUR.search(shown.getvalue())) is is_wanted


def here_on_terminal(arguments: list[str], folder: Path) -> str:
    """What a command in this process writes when its streams are a terminal."""
    shown = Terminal()
    with contextlib.chdir(folder), contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        assert main(arguments) == 0
    return shown.getvalue()


@pytest.mark.parametrize("is_process", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_terminal_gets_a_bar_with_rate_and_time_left(
    is_process: bool, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["frames", "clip.mp4", "--step", "0.02", "-o", f"out/bar{is_process}"]
    if is_process:
        shown = on_terminal(arguments, workshop.folder, NO_COLOR="1")
    else:
        for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", "NO_COLOR": "1"}.items():
            monkeypatch.setenv(name, value)
        shown = here_on_terminal(arguments, workshop.folder)
    assert re.search(r"frames .*[━╸]", shown)
    assert re.search(r" \d+/\d+ ", shown)
    assert "result.json" in shown.splitlines()[-1]
    assert not COLOUR.search(shown)


@pytest.mark.parametrize("name", ["calibrate", "undistort", "match set", "reconstruct", "view", "evaluate matches"])
def test_lists_come_from_standard_input(name: str, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    command = command_of(ROWS[name])
    options = ["--camera", "camera.json"] if name == "undistort" else ["--no-open"] if name == "view" else []
    monkeypatch.setattr(sys, "stdin", io.StringIO("nowhere/at_all\n"))
    done = workshop.run(*command, "-", *options, "-o", "out/from_list" + (".html" if name == "view" else ""))
    assert (done.code, done.out) == (1, "")
    assert "nowhere/at_all" in done.err
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    done = workshop.run(*command, "-", *options)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1


def test_a_list_from_standard_input_is_worked_through(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = (workshop.folder / "list.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(listed[:2])))
    done = workshop.run("undistort", "-", "--camera", "camera.json", "-o", "out/listed", "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["frames"] == 2


@pytest.mark.slow
def test_a_list_from_a_pipe_is_worked_through(workshop: Workshop) -> None:
    line = "head -n 2 list.txt | cv3d undistort - --camera camera.json -o out/piped --json --quiet"
    done = shell(line, workshop.folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["frames"] == 2
