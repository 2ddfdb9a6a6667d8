"""Where an option's value comes from: flag, environment, file, default, in this order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest
import typer

from cv3d.cli.common import RequireOption, Run

Main = Callable[..., SimpleNamespace]
AddCommand = Callable[[Callable[..., None]], None]

FILE = """
seed = 3
json = true

[toy]
board-warp = "on"
size = 4
require = ["rms<0.5", "views>10"]

[doctor]
whatever = 1
"""


@pytest.fixture
def seen(add_command: AddCommand) -> dict[str, object]:
    """Adds a toy command and gives what it was called with last."""
    values: dict[str, object] = {}

    def toy(
        run: Run,
        board_warp: Annotated[str, typer.Option("--board-warp")] = "auto",
        size: Annotated[float, typer.Option()] = 1.0,
        require: RequireOption = None,
    ) -> None:
        """Play."""
        values.update(board_warp=board_warp, size=size, require=require, seed=run.options.seed, json=run.options.json)

    add_command(toy)
    return values


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "cv3d.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_without_anything_the_defaults_hold(cv3d_main: Main, seen: dict[str, object]) -> None:
    assert cv3d_main("toy").code == 0
    assert seen == {"board_warp": "auto", "size": 1.0, "require": None, "seed": 0, "json": False}


def test_the_file_gives_common_and_own_options(
    cv3d_main: Main, seen: dict[str, object], config: Callable[[str], str]
) -> None:
    outcome = cv3d_main("toy", "--config", config(FILE))
    assert outcome.code == 0, outcome.err
    assert seen == {"board_warp": "on", "size": 4.0, "require": ["rms<0.5", "views>10"], "seed": 3, "json": True}


def test_flag_before_environment_before_file(
    cv3d_main: Main, seen: dict[str, object], config: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CV3D_CONFIG", config(FILE))
    assert cv3d_main("toy").code == 0
    assert (seen["seed"], seen["board_warp"]) == (3, "on")
    monkeypatch.setenv("CV3D_SEED", "5")
    monkeypatch.setenv("CV3D_TOY_BOARD_WARP", "off")
    assert cv3d_main("toy").code == 0
    assert (seen["seed"], seen["board_warp"]) == (5, "off")
    monkeypatch.setenv("CV3D_TOY_SEED", "6")
    assert cv3d_main("toy").code == 0
    assert seen["seed"] == 6
    assert cv3d_main("toy", "--seed", "7", "--board-warp", "auto").code == 0
    assert (seen["seed"], seen["board_warp"]) == (7, "auto")


def test_an_own_option_is_not_shared_between_commands(
    cv3d_main: Main, seen: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CV3D_SIZE", "9")
    assert cv3d_main("toy").code == 0
    assert seen["size"] == 1.0


def test_the_table_of_a_command_goes_before_the_top(
    cv3d_main: Main, seen: dict[str, object], config: Callable[[str], str]
) -> None:
    assert cv3d_main("toy", "--config", config("seed = 1\n[toy]\nseed = 2\n")).code == 0
    assert seen["seed"] == 2


def test_one_value_stands_for_a_list_of_one(
    cv3d_main: Main, seen: dict[str, object], config: Callable[[str], str]
) -> None:
    assert cv3d_main("toy", "--config", config('[toy]\nrequire = "rms<1"\n')).code == 0
    assert seen["require"] == ["rms<1"]


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("sede = 1", "'sede'"),
        ("size = 1", "'size'"),
        ("[toy]\nboardwarp = 1", "'boardwarp'"),
        ("[toy]\nconfig = 'other.toml'", "'config'"),
        ("[tyo]\nsize = 1", "'tyo'"),
        ("toy = 3", "'toy'"),
        ("[toy]\nsize = [1, 2]", "'size'"),
        ("[toy.size]\nx = 1", "'size'"),
        ("[toy]\nsize = 'big'", "--size"),
        ("device = 'tpu'", "--device"),
        ("seed = true", "--seed"),
        ("seed = ", "not a TOML file"),
    ],
)
def test_what_a_file_must_not_say_is_wrong_usage_naming_key_and_file(
    text: str, key: str, cv3d_main: Main, config: Callable[[str], str]
) -> None:
    path = config(text)
    outcome = cv3d_main("toy", "--config", path)
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.err.splitlines()) == 1
    assert key in outcome.err
    assert path in outcome.err


@pytest.mark.usefixtures("seen")
def test_a_bad_value_in_the_environment_names_the_variable(cv3d_main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CV3D_DEVICE", "tpu")
    outcome = cv3d_main("toy")
    assert outcome.code == 2
    assert "CV3D_DEVICE" in outcome.err


@pytest.mark.usefixtures("seen")
def test_help_and_version_need_no_good_config(cv3d_main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CV3D_CONFIG", "nowhere.toml")
    assert cv3d_main("toy", "--help").code == 0
    assert cv3d_main("toy", "--version").code == 0
