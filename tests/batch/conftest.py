from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cv3d.batch.options import BatchOptions, Program
from cv3d.batch.planning import Order
from cv3d.batch.results import BatchResult
from cv3d.batch.running import batch

PROGRAM = Program("batch_programs:main", "batch_programs:takes_output")

RunBatch = Callable[..., BatchResult]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of three inputs."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.mp4").write_text(name)
    return folder


@pytest.fixture
def run_batch(tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> RunBatch:
    """Runs a command of the tests' own program on the clips, into `out`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.chdir(tmp_path)

    def run(
        verb: str, *arguments: str, orders: list[Order] | None = None, name: str = "{stem}", **options: object
    ) -> BatchResult:
        given = orders if orders is not None else [Order(verb, "clips/*.mp4", arguments, name)]
        return batch(given, tmp_path / "out", options=BatchOptions(**{"jobs": 2, **options}), program=PROGRAM)  # type: ignore[arg-type]

    return run


@pytest.fixture
def table(tmp_path: Path) -> Callable[[], dict[str, dict[str, str]]]:
    """The rows of summary.csv by name."""

    def read() -> dict[str, dict[str, str]]:
        with (tmp_path / "out" / "summary.csv").open(newline="") as stream:
            return {row["name"]: row for row in csv.DictReader(stream)}

    return read


@pytest.fixture
def journal_rows(tmp_path: Path) -> Callable[[], dict[str, dict[str, object]]]:
    """The rows of the journal by name."""

    def read() -> dict[str, dict[str, object]]:
        with closing(sqlite3.connect(tmp_path / "out" / ".batch" / "journal.sqlite")) as db:
            db.row_factory = sqlite3.Row
            return {row["name"]: dict(row) for row in db.execute("SELECT * FROM jobs")}

    return read
