"""`cv3d bench`: the table, the file, and the comparison with an earlier one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cv3d.bench import running
from cv3d.bench.inputs import Inputs
from cv3d.bench.peers import Peer
from cv3d.bench.stages import Stage
from cv3d.bench.timing import Work
from cv3d.compute import Compute

Main = Callable[..., SimpleNamespace]


@pytest.fixture(autouse=True)
def _toy_stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def start(_: Inputs, __: Compute) -> Work:
        return Work(1, lambda: {"inner part": 0.001})

    monkeypatch.setattr(running, "STAGES", (Stage("first", "match", "pair", True, start),))
    monkeypatch.setattr(
        running,
        "PEERS",
        (Peer("first", "Other", "numpy", "unlike", start), Peer("first", "Gone", "no-such", "", start)),
    )
    monkeypatch.chdir(tmp_path)


def test_a_table_and_a_file(cv3d_main: Main, tmp_path: Path) -> None:
    outcome = cv3d_main("bench", "--quick", "--peers", "--device", "cpu", "--progress", "none")
    assert outcome.code == 0
    (file,) = tmp_path.glob("cv3d-bench-*.json")
    assert f"written to {file.name}" in outcome.out
    assert json.loads(file.read_text())["schema"] == "cv3d.bench/1"
    lines = outcome.out.splitlines()
    assert any(line.startswith("first") and "cv3d" in line and line.endswith("pair") for line in lines)
    assert any("Other" in line for line in lines)
    assert "  unlike" in lines
    assert any("Gone" in line for line in lines)
    assert "  no-such is not installed" in lines
    assert all(len(line) <= 80 for line in lines)
    assert any(line.startswith("  inner part") for line in lines)
    assert any("cv3d over it" in line for line in lines)


def test_times_over_those_of_an_earlier_file(cv3d_main: Main, tmp_path: Path) -> None:
    earlier, later = tmp_path / "a.json", tmp_path / "b.json"
    assert cv3d_main("bench", "--quick", "-o", str(earlier), "--device", "cpu", "-q").code == 0
    outcome = cv3d_main("bench", "--quick", "--against", str(earlier), "-o", str(later), "--device", "cpu")
    assert outcome.code == 0
    assert "  × " in outcome.out
    assert "×: over the time in" in outcome.out
    assert str(earlier) in outcome.out
    said = json.loads(
        cv3d_main("bench", "--against", str(earlier), "-o", str(later), "--overwrite", "--json", "-q").out
    )
    assert said["file"] == str(later)
    assert {one["stage"] for one in said["against"]["ratios"]} == {"first"}
    assert all(one["ratio"] > 0.0 for one in said["against"]["ratios"])


def test_nothing_is_timed_where_the_file_is_there_already_or_a_name_is_wrong(cv3d_main: Main, tmp_path: Path) -> None:
    taken = tmp_path / "taken.json"
    taken.write_text("mine")
    outcome = cv3d_main("bench", "-o", str(taken), "-q")
    assert outcome.code == 1
    assert "--overwrite" in outcome.err
    assert taken.read_text() == "mine"
    assert cv3d_main("bench", "--against", "nowhere.json", "-q").code == 1
    assert cv3d_main("bench", "--stages", "first,second", "-q").code == 2
    assert cv3d_main("bench", "--samples", "nowhere", "-q").code == 1
    assert list(tmp_path.iterdir()) == [taken]
