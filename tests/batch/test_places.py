"""URLs as inputs and outputs, and which node of a cluster an input is on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from cv3d.batch.jobs import End, Task
from cv3d.batch.outputs import digest_of, move_into_place, pack, unpack
from cv3d.batch.places import exists, fetch, fingerprint, matching, node_and_path, put
from cv3d.batch.planning import Order, jobs_of
from cv3d.batch.ray_engine import Node, Placement
from cv3d.batch.results import BatchResult, figures_of, last_error
from cv3d.batch.worker import run_task
from cv3d.errors import DependencyError, InputError


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    """A store in memory with two clips and a folder."""
    made = fsspec.filesystem("memory")
    for name in ("b.mp4", "a.mp4", "notes.txt", "seq/0.png"):
        made.pipe(f"/clips/{name}", name.encode())
    yield made
    made.rm("/", recursive=True)


def test_globs_of_a_store(store: fsspec.AbstractFileSystem) -> None:
    assert list(matching("memory://clips/*.mp4")) == ["memory:///clips/a.mp4", "memory:///clips/b.mp4"]
    found = jobs_of([Order("x", "memory://clips/*.mp4")], lambda verb: True, "out")
    assert [(job.input, job.name) for job in found] == [("memory:///clips/a.mp4", "a"), ("memory:///clips/b.mp4", "b")]
    with pytest.raises(InputError, match="nothing matches"):
        list(jobs_of([Order("x", "memory://clips/*.mov")], lambda verb: True, "out"))


def test_files_and_folders_come_and_go(store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    assert Path(fetch("memory://clips/a.mp4", tmp_path / "in")).read_text() == "a.mp4"
    folder = Path(fetch("memory://clips/seq", tmp_path / "in"))
    assert [path.name for path in folder.iterdir()] == ["0.png"]
    (folder / "1.png").write_text("one")
    put(folder, "memory://out/seq")
    assert sorted(store.find("/out")) == ["/out/seq/0.png", "/out/seq/1.png"]
    (folder / "0.png").unlink()
    put(folder, "memory://out/seq")
    assert store.find("/out") == ["/out/seq/1.png"]
    assert exists("memory://out/seq")
    with pytest.raises(InputError, match=r"memory://clips/none.mp4"):
        fetch("memory://clips/none.mp4", tmp_path / "in")


def test_a_fingerprint_tells_a_file_from_its_later_self(store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    first = fingerprint("memory://clips/a.mp4")
    assert first == fingerprint("memory://clips/a.mp4")
    store.pipe("/clips/a.mp4", b"longer than before")
    assert fingerprint("memory://clips/a.mp4") != first
    path = tmp_path / "a.mp4"
    path.write_text("1")
    assert fingerprint(f"file://{path}")[1:] == fingerprint(str(path))[1:]


def test_unknown_stores_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nonsense"):
        fetch("nonsense://a", tmp_path)
    if not _installed("gcsfs"):
        with pytest.raises(DependencyError, match="gcsfs"):
            fetch("gs://bucket/a.mp4", tmp_path)


def _installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def test_a_job_from_a_store_into_a_store(store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    def copy(argv: list[str]) -> int:
        Path(argv[argv.index("-o") + 1]).write_bytes(Path(argv[-1]).read_bytes() + b" seen")
        print(json.dumps({"schema": "copy/1", "figure": 3}))
        return 0

    def task(replaces: bool) -> Task:
        return Task(
            1, "copy", "memory://clips/a.mp4", ("{input}",), "a", True, str(tmp_path / "work"), str(tmp_path / "log"),
            url="memory://out/a", replaces=replaces,
        )  # fmt: skip

    outcome = run_task(task(False), copy, "host")  # type: ignore[arg-type]
    assert outcome.end is End.DONE, outcome.error
    assert store.cat("/out/a") == b"a.mp4 seen"
    assert not (tmp_path / "work" / ".input").exists()
    again = run_task(task(False), copy, "host")  # type: ignore[arg-type]
    assert (again.end, "--overwrite" in again.error) == (End.FAILED, True)
    assert run_task(task(True), copy, "host").end is End.DONE  # type: ignore[arg-type]


def test_a_batch_into_a_url(run_batch: Callable[..., BatchResult], tmp_path: Path) -> None:
    from batch_programs import __name__ as loaded

    assert loaded
    from cv3d.batch.options import BatchOptions, Program
    from cv3d.batch.running import batch

    program = Program("batch_programs:main", "batch_programs:takes_output")
    orders = [Order("chance", f"file://{tmp_path}/clips/*.mp4")]
    for done, skipped in ((3, 0), (0, 3)):
        result = batch(orders, f"file://{tmp_path}/far", options=BatchOptions(jobs=1), program=program)
        assert (result.done, result.skipped, result.failed) == (done, skipped, 0)
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == ["a", "b", "c"]
    assert (tmp_path / "far_batch" / "summary.csv").exists()


def test_where_places_are() -> None:
    assert node_and_path("clips/a.mp4") == ("", "clips/a.mp4")
    assert node_and_path("file:///clips/a%20b.mp4") == ("", "/clips/a b.mp4")
    assert node_and_path("file://west/clips/a.mp4") == ("west", "/clips/a.mp4")
    assert node_and_path("s3://bucket/a.mp4") == ("", None)


def test_placement_asks_once_for_a_folder() -> None:
    nodes = [Node(name, frozenset({name}), 1, 0.0) for name in ("east", "west")]
    asked: list[tuple[str, str]] = []

    def probe(node: Node, path: str) -> bool:
        asked.append((node.id, path))
        return "shared" in path or node.id in path

    placement = Placement(probe)
    assert placement.choices("/west/a.mp4", nodes) == placement.choices("/west/b.mp4", nodes) == ("west",)
    assert placement.choices("/shared/a.mp4", nodes) == ()
    assert placement.choices("/none/a.mp4", nodes) == ()
    assert len(asked) == 6
    assert placement.choices("s3://bucket/a.mp4", nodes) == ()
    assert placement.choices("file://east/x.mp4", nodes) == ("east",)
    assert placement.choices("/west/a.mp4", nodes[:1]) == ()
    with pytest.raises(InputError, match="lies on north"):
        placement.choices("file://north/x.mp4", nodes)


def test_outputs_are_packed_moved_and_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a").write_text("1")
    first = digest_of(folder)
    unpack(pack(folder), tmp_path / "far")
    assert digest_of(tmp_path / "far" / "new") == first
    target = tmp_path / "place" / "x"
    move_into_place(folder, target)
    assert digest_of(target) == first
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "b").write_text("2")
    move_into_place(tmp_path / "new", target)
    assert [path.name for path in target.iterdir()] == ["b"]
    (tmp_path / "file").write_text("3")
    move_into_place(tmp_path / "file", target)
    assert target.read_text() == "3"
    (target.parent / "y").write_text("1")
    assert digest_of(target)[0] != digest_of(target.parent / "y")[0]


def test_figures_and_errors_of_a_job(tmp_path: Path) -> None:
    text = '{"schema": "x/1", "rms": 0.5, "frames": {"total": 3, "list": [1]}, "ok": true, "gone": null}'
    assert figures_of(text) == {"rms": 0.5, "frames.total": 3, "ok": True}
    assert figures_of("no json") == figures_of("[1]") == {}
    log = tmp_path / "log"
    log.write_text("jobs: 1/2\nerror: first\nerror: second\nbye\n")
    assert last_error(log) == "second"
    log.write_text("Segmentation fault\n\n")
    assert last_error(log) == "Segmentation fault"
    assert last_error(tmp_path / "none") == ""
