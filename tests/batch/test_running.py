"""A batch on this machine: outputs, failures, crashes, limits, and going on."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cv3d.batch.lease import lease
from cv3d.batch.planning import Order
from cv3d.batch.results import BatchResult
from cv3d.errors import OutputError, UsageError

RunBatch = Callable[..., BatchResult]
Table = Callable[[], dict[str, dict[str, str]]]


def counts(result: BatchResult) -> tuple[int, int, int, int]:
    return result.done, result.skipped, result.failed, result.pending


def contents(out: Path) -> dict[str, bytes]:
    """All files that are outputs."""
    own = {"summary.csv", "summary.parquet", "result.json"}
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in own and not {".batch", "logs"} & set(path.relative_to(out).parts)
    }


def test_outputs_logs_and_figures(run_batch: RunBatch, tmp_path: Path, table: Table) -> None:
    result = run_batch("chance")
    assert (counts(result), result.succeeded) == ((3, 0, 0, 0), True)
    out = tmp_path / "out"
    assert sorted(contents(out)) == [f"{name}/{file}" for name in "abc" for file in ("first", "second")]
    assert sorted(path.name for path in (out / "logs").iterdir()) == ["a.log", "b.log", "c.log"]
    assert not (out / ".batch" / "work").exists()
    row = table()["b"]
    assert (row["state"], row["exit_code"], row["attempts"], row["frames.total"]) == ("done", "0", "1", "3")
    assert (row["input"], row["output"], row["source"]) == ("clips/b.mp4", str(out / "b"), "clips/b.mp4")
    assert "list" not in row
    assert json.loads((out / "result.json").read_text()) == result.as_result()
    assert result.as_result()["schema"] == "cv3d.batch/1"


def test_the_same_again_does_nothing_and_what_changed_is_done_again(
    run_batch: RunBatch, tmp_path: Path, clips: Path
) -> None:
    run_batch("chance")
    first = contents(tmp_path / "out")
    assert counts(run_batch("chance")) == (0, 3, 0, 0)
    assert contents(tmp_path / "out") == first
    (clips / "b.mp4").write_text("another")
    (clips / "d.mp4").write_text("new")
    (tmp_path / "out" / "c" / "first").unlink()
    (tmp_path / "out" / "c" / "second").unlink()
    (tmp_path / "out" / "c").rmdir()
    assert counts(run_batch("chance")) == (3, 1, 0, 0)
    second = contents(tmp_path / "out")
    assert second["a/first"] == first["a/first"]
    assert second["b/first"] != first["b/first"]
    assert counts(run_batch("chance", "0")) == (4, 0, 0, 0)
    assert counts(run_batch("chance", "0", overwrite=True)) == (4, 0, 0, 0)


def test_a_file_among_the_arguments_counts(run_batch: RunBatch, tmp_path: Path) -> None:
    camera = tmp_path / "cam.json"
    camera.write_text("1")
    assert counts(run_batch("noop", "--camera", "cam.json")) == (3, 0, 0, 0)
    assert counts(run_batch("noop", "--camera", "cam.json")) == (0, 3, 0, 0)
    camera.write_text("22")
    assert counts(run_batch("noop", "--camera", "cam.json")) == (3, 0, 0, 0)


def test_a_failure_stops_no_other_and_leaves_no_output(run_batch: RunBatch, tmp_path: Path, table: Table) -> None:
    result = run_batch("fail", "a.mp4")
    assert counts(result) == (1, 0, 2, 0)
    assert not result.succeeded
    assert sorted(contents(tmp_path / "out")) == ["a"]
    assert (table()["b"]["state"], table()["b"]["error"]) == ("failed", "it is dark in here")
    assert [failure.name for failure in result.failures] == ["b", "c"]
    assert counts(run_batch("fail", "a.mp4")) == (0, 1, 2, 0)


def test_the_first_failure_can_stop_the_rest(run_batch: RunBatch) -> None:
    result = run_batch("fail", "c.mp4", jobs=1, fail_fast=True)
    assert counts(result) == (0, 0, 1, 2)
    assert not result.succeeded


@pytest.mark.parametrize(
    ("verb", "said"), [("crash", "SIGKILL (out of memory?); last said: about to die"), ("segfault", "SIGSEGV")]
)
def test_a_crash_is_survived(run_batch: RunBatch, table: Table, verb: str, said: str) -> None:
    orders = [Order("noop", "clips/a.mp4"), Order(verb, "clips/b.mp4"), Order("noop", "clips/c.mp4")]
    assert counts(run_batch("", orders=orders)) == (2, 0, 1, 0)
    assert table()["b"]["state"] == "crashed"
    assert said in table()["b"]["error"]


@pytest.mark.parametrize(
    ("how", "timeout"), [("crash", None), ("fail", None), pytest.param("hang", 1.5, marks=pytest.mark.slow)]
)
def test_a_job_is_tried_again(run_batch: RunBatch, table: Table, how: str, timeout: float | None) -> None:
    result = run_batch("once", how, retry=1, timeout_s=timeout, jobs=3)
    assert counts(result) == (3, 0, 0, 0)
    assert {row["attempts"] for row in table().values()} == {"2"}


def test_time_and_memory_are_limited(run_batch: RunBatch, table: Table) -> None:
    orders = [Order("hang", "clips/a.mp4"), Order("noop", "clips/b.mp4")]
    assert counts(run_batch("", orders=orders, timeout_s=1.5)) == (1, 0, 1, 0)
    assert (table()["a"]["state"], table()["a"]["error"]) == ("timeout", "took longer than --timeout 1.5 s")
    orders = [Order("eat", "clips/a.mp4", ("400",)), Order("noop", "clips/b.mp4")]
    assert counts(run_batch("", orders=orders, memory_bytes=200 << 20)) == (0, 1, 1, 0)
    assert table()["a"]["state"] == "failed"
    assert "more than --memory allows (0.20 GiB)" in table()["a"]["error"]


def test_below_the_quality_asked_for_is_a_failure_with_an_output(
    run_batch: RunBatch, tmp_path: Path, table: Table
) -> None:
    assert counts(run_batch("below")) == (0, 0, 3, 0)
    assert contents(tmp_path / "out") == {"a": b"poor", "b": b"poor", "c": b"poor"}
    assert (table()["a"]["exit_code"], table()["a"]["error"]) == ("3", "rms 2 is not below 1")


def test_a_command_without_output_leaves_its_json(run_batch: RunBatch, tmp_path: Path) -> None:
    assert counts(run_batch("say", "--x", "{stem}", threads=3)) == (3, 0, 0, 0)
    said = json.loads((tmp_path / "out" / "a.json").read_text())
    assert said["arguments"] == ["--x", "a"]
    assert said["threads"] == {"omp": "3", "numba": "3"}


def test_the_cores_are_shared_out(run_batch: RunBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv3d.batch.running.usable_cores", lambda: 8)
    assert run_batch("noop", jobs=2).threads == 4
    assert run_batch("noop", jobs=16).threads == 1


def test_gpus_are_shared_out(run_batch: RunBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv3d.batch.running.gpus_here", lambda: ("4", "7"))
    orders = [Order("say", f"x{k}", ("--device", "cuda" if k % 2 else "cpu")) for k in range(12)]
    assert counts(run_batch("", orders=orders, jobs=3)) == (12, 0, 0, 0)
    said = [json.loads((tmp_path / "out" / f"x{k}.json").read_text()) for k in range(12)]
    assert {one["gpu"] for one in said[1::2]} <= {"4", "7"}
    assert len({one["pid"] for one in said[1::2]}) <= 2


def test_a_worker_runs_one_job_after_another_as_if_each_were_the_first(run_batch: RunBatch, tmp_path: Path) -> None:
    orders = [Order("spoil", "clips/a.mp4"), Order("say", "clips/b.mp4"), Order("noop", "clips/c.mp4")]
    assert counts(run_batch("", orders=orders, jobs=1)) == (3, 0, 0, 0)
    assert json.loads((tmp_path / "out" / "b.json").read_text())["folder"] == str(tmp_path)


def test_what_others_put_there_is_not_replaced(run_batch: RunBatch, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b").write_text("mine")
    result = run_batch("noop")
    assert counts(result) == (2, 0, 1, 0)
    assert "--overwrite" in result.failures[0].error
    assert (tmp_path / "out" / "b").read_text() == "mine"
    assert counts(run_batch("noop", overwrite=True)) == (3, 0, 0, 0)
    assert (tmp_path / "out" / "b").read_text() == "clips/b.mp4"


def test_two_batches_on_one_folder_refuse_each_other(run_batch: RunBatch, tmp_path: Path) -> None:
    run_batch("noop")
    with (
        lease(tmp_path / "out" / ".batch" / "lock", tmp_path),
        pytest.raises(OutputError, match=f"process {os.getpid()}"),
    ):
        run_batch("noop")
    run_batch("noop")


def test_an_empty_list_is_wrong_usage(run_batch: RunBatch) -> None:
    with pytest.raises(UsageError, match="no jobs"):
        run_batch("", orders=[])


def test_ctrl_c_leaves_running_jobs_pending(
    run_batch: RunBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    orders = [Order("noop", "clips/a.mp4"), Order("hang", "clips/b.mp4", (str(mark),)), Order("noop", "clips/c.mp4")]

    def interrupt() -> None:
        while not mark.exists():
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(os.getpid(), 2)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt, match="the same command goes on"):
        run_batch("", orders=orders)
    thread.join()
    orders[1] = Order("noop", "clips/b.mp4")
    result = run_batch("", orders=orders)
    assert result.succeeded
    assert result.skipped >= 1
