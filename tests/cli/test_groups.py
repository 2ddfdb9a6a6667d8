"""Commands of commands: `cv3d evaluate matches` and its like have all that a flat command has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Annotated

import pytest
import typer

import cv3d
from cv3d.cli import main
from cv3d.cli.app import COMMANDS, Group, Verb
from cv3d.cli.common import Run
from cv3d.errors import InputError

Main = Callable[..., SimpleNamespace]

FILE = """
seed = 3

[play.chess]
size = 4

[play.go]
size = 9

[doctor]
whatever = 1
"""


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Adds the group "play" with the verbs "chess", "go" and "broken"; gives what they were called with last."""
    values: dict[str, object] = {}

    def chess(run: Run, size: Annotated[int, typer.Option(help="How big.")] = 8) -> None:
        """Play chess."""
        values.update(command=run.command, size=size, seed=run.options.seed)
        run.emit({"schema": "chess/1"}, lambda: "mate")

    def go(run: Run, size: int = 19) -> None:
        """Play go."""
        values.update(command=run.command, size=size)

    def broken(run: Run) -> None:
        """Fail."""
        raise InputError("no board")

    module = ModuleType("toy_group")
    functions = {"chess": chess, "go": go, "broken": broken}
    for name, function in functions.items():
        setattr(module, name, function)
    monkeypatch.setitem(sys.modules, "toy_group", module)
    verbs = {name: Verb(f"toy_group:{name}", f"Play {name}.") for name in functions}
    # A verb whose module does not exist shows that nothing is loaded before it is used.
    verbs["absent"] = Verb("no_such_module_at_all:absent", "Play something absent.")
    monkeypatch.setitem(COMMANDS, "play", Group("Play a game.", verbs))
    return values


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "cv3d.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_a_verb_of_a_group_runs_with_common_options(cv3d_main: Main, seen: dict[str, object]) -> None:
    outcome = cv3d_main("play", "chess", "--size", "5", "--seed", "2", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == '{"schema":"chess/1"}\n'
    assert seen == {"command": "play chess", "size": 5, "seed": 2}


def test_help_of_program_group_and_verb(cv3d_main: Main) -> None:
    assert "play Play a game." in " ".join(cv3d_main("--help").out.split())
    for flag in ("--help", "-h"):
        text = cv3d_main("play", flag).out
        assert text.startswith("Usage: cv3d play ")
        assert [line.split()[0] for line in text.splitlines() if "Play " in line][1:] == list(COMMANDS["play"].verbs)  # type: ignore[union-attr]
        assert max(map(len, text.splitlines())) <= 80
    verb = cv3d_main("play", "chess", "--help").out
    assert verb.startswith("Usage: cv3d play chess ")
    assert verb.index("--size") < verb.index("Common options:") < verb.index("--device")
    assert "CV3D_PLAY_CHESS_OPTION" in verb


def test_version(cv3d_main: Main) -> None:
    assert cv3d_main("play", "chess", "--version").out == f"cv3d {cv3d.__version__}\n"


def test_a_bare_group_shows_its_help_and_is_wrong_usage(cv3d_main: Main) -> None:
    outcome = cv3d_main("play")
    assert (outcome.code, outcome.out) == (2, "")
    assert "chess" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ches"], "No such command 'ches'. Did you mean 'chess'? (see 'cv3d play --help')"),
        (["--size", "3", "chess"], "--size"),
        (["chess", "--nonsense"], "(see 'cv3d play chess --help')"),
        (["chess", "surplus"], "surplus"),
        (["chess", "--device", "tpu"], "'tpu'"),
        (["chess", "--quiet", "--verbose"], "contradict"),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments: list[str], message: str, cv3d_main: Main) -> None:
    outcome = cv3d_main("play", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.err.splitlines()) == 1
    assert message in outcome.err


def test_a_known_failure_is_one_line(cv3d_main: Main) -> None:
    outcome = cv3d_main("play", "broken")
    assert (outcome.code, outcome.err) == (1, "error: no board\n")


def test_flag_before_environment_before_file(
    cv3d_main: Main, seen: dict[str, object], config: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config(FILE)
    assert cv3d_main("play", "chess", "--config", path).code == 0
    assert (seen["size"], seen["seed"]) == (4, 3)
    assert cv3d_main("play", "go", "--config", path).code == 0
    assert seen["size"] == 9
    monkeypatch.setenv("CV3D_CONFIG", path)
    monkeypatch.setenv("CV3D_PLAY_CHESS_SIZE", "6")
    monkeypatch.setenv("CV3D_PLAY_CHESS_SEED", "7")
    assert cv3d_main("play", "chess").code == 0
    assert (seen["size"], seen["seed"]) == (6, 7)
    assert cv3d_main("play", "go").code == 0
    assert seen["size"] == 9
    assert cv3d_main("play", "chess", "--size", "1").code == 0
    assert seen["size"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[play]\nsize = 1", "'size'"),
        ("[play.ches]\nsize = 1", "'play.ches'"),
        ("[play.chess]\nsizes = 1", "'sizes' for play chess"),
        ("[play.chess.size]\nx = 1", "'size'"),
        ("play = 1", "takes a table"),
        ("[chess]\nsize = 1", "'chess'"),
        ("[play.chess]\nsize = 'big'", "--size"),
    ],
)
def test_what_a_file_must_not_say(text: str, message: str, cv3d_main: Main, config: Callable[[str], str]) -> None:
    path = config(text)
    outcome = cv3d_main("play", "chess", "--config", path)
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.err.splitlines()) == 1
    assert message in outcome.err
    assert path in outcome.err


def test_a_flat_command_minds_the_names_of_nested_tables(cv3d_main: Main, config: Callable[[str], str]) -> None:
    assert cv3d_main("doctor", "--config", config("[play.chess]\nwhatever = 1")).code == 0
    assert cv3d_main("doctor", "--config", config("[play.ches]\nwhatever = 1")).code == 2


def test_a_bad_value_in_the_environment_names_the_variable(cv3d_main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CV3D_PLAY_CHESS_SIZE", "big")
    outcome = cv3d_main("play", "chess")
    assert outcome.code == 2
    assert "CV3D_PLAY_CHESS_SIZE" in outcome.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("cv3d pl", "play"),
        ("cv3d play ch", "chess"),
        ("cv3d play chess --si", "--size"),
        ("cv3d play chess --device c", "cuda"),
    ],
)
def test_completion_goes_into_groups(
    words: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_CV3D_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert main([]) == 0
    assert expected in capsys.readouterr().out.split()


@pytest.mark.parametrize("arguments", [["--help"], ["evaluate", "--help"]])
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    program = (
        "import sys; from cv3d.cli import main; code = main(sys.argv[1:]); "
        "print(*({'torch', 'cv2', 'scipy', 'kornia'} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr == "\n"
