"""What holds for the project as a whole: its floors, its start-up, its instructions."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import cv3d
from cv3d.cli.app import COMMANDS, Group, Verb, command_names

HEAVY = ("torch", "numpy", "scipy", "cv2", "av", "open3d", "matplotlib", "plotly", "kornia", "rich", "PIL")


def shell_lines(text: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_imports_go_down_the_floors(project_root: Path) -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-logo"]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_importing_the_package_loads_none_of_it() -> None:
    code = "import sys; before = set(sys.modules); import cv3d; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.split() if name.startswith("cv3d.")] == []
    assert set(HEAVY).isdisjoint(name.partition(".")[0] for name in done.stdout.split())


@pytest.mark.parametrize("name", cv3d.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(cv3d, name) is not None
    assert name in dir(cv3d)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = cv3d.nonsense


@pytest.mark.parametrize("command", command_names())
def test_every_command_is_where_the_table_says(command: str) -> None:
    found: Verb | Group = Group("", COMMANDS)
    for word in command.split():
        assert isinstance(found, Group)
        found = found.verbs[word]
    assert isinstance(found, Verb)
    module, _, name = found.function.partition(":")
    assert callable(getattr(import_module(module), name))


def test_readme_opens_with_two_commands_and_ci_runs_the_second(project_root: Path) -> None:
    first, second = shell_lines((project_root / "README.md").read_text())[:2]
    assert first.startswith("python3 -m venv .venv && ")
    assert ".venv/bin/cv3d reconstruct data/samples/room.mp4" in first
    assert second.endswith("-m pytest")
    ci = (project_root / ".ci" / "run").read_text().splitlines()
    assert f"{second} || exit" in ci
    assert second in shell_lines((project_root / "CONTRIBUTING.md").read_text())


def test_constraints_pin_everything_that_is_required(project_root: Path) -> None:
    lines = (project_root / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    required = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[<>=!~\[;\s]", requirement)[0] for requirement in required}
    assert names <= set(pins)
    assert f"torch=={pins['torch']} " in (project_root / ".ci" / "run").read_text()
