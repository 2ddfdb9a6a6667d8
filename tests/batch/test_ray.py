"""A batch on a Ray cluster of two nodes on this machine."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cv3d.batch.planning import Order
from cv3d.batch.ray_node import Errand
from cv3d.batch.results import BatchResult

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'cv3d[ray]'"),
    # What Ray says of itself when it starts and stops.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

RunBatch = Callable[..., BatchResult]
Table = Callable[[], dict[str, dict[str, str]]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes, "east" and "west", a core each; this process is connected to them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        made = started()
        try:
            ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def started() -> Any:
    """A cluster; Ray gives a node 30 seconds to start, which a busy machine may not have at the first try."""
    from ray.cluster_utils import Cluster

    shape = {"num_cpus": 1, "object_store_memory": 80 << 20}
    for tries_left in (2, 1, 0):
        made = Cluster()
        try:
            made.add_node(**shape, node_name="east", include_dashboard=False)
            made.west = made.add_node(**shape, node_name="west")
            return made
        except Exception:  # what Ray raises has no class of its own
            made.shutdown()
            if not tries_left:
                raise
    raise AssertionError


def test_the_same_results_as_here_on_both_nodes(
    cluster: Any, run_batch: RunBatch, tmp_path: Path, table: Table
) -> None:
    orders = [Order("say" if k % 2 else "noop", f"x{k}", ("--k", str(k))) for k in range(8)]
    orders += [Order("fail", "y"), Order("crash", "z")]
    result = run_batch("", orders=orders, engine="ray", jobs=None)
    assert (result.done, result.failed, result.engine, result.jobs) == (8, 2, "ray", 2)
    assert (tmp_path / "out" / "x0").read_text() == str(tmp_path / "x0")
    assert (tmp_path / "out" / "logs" / "y.log").read_text() == "error: it is dark in here\n"
    assert (table()["y"]["error"], table()["z"]["state"]) == ("it is dark in here", "crashed")
    again = run_batch("", orders=orders)
    assert (again.skipped, again.done, again.failed, again.engine) == (8, 0, 2, "local")


def test_work_goes_where_the_data_is(cluster: Any, run_batch: RunBatch, clips: Path, journal_rows: Any) -> None:
    orders = [Order("noop", f"file://{'west' if k % 2 else 'east'}{clips}/a.mp4", name=f"{k}") for k in range(6)]
    orders.append(Order("noop", f"file://north{clips}/a.mp4", name="north"))
    result = run_batch("", orders=orders, engine="ray", jobs=None)
    assert (result.done, result.failed) == (6, 1)
    assert "lies on north, which the cluster does not have" in result.failures[0].error
    hosts = [journal_rows()[str(k)]["host"] for k in range(6)]
    assert hosts[0] == hosts[2] == hosts[4] != hosts[1] == hosts[3] == hosts[5]


def test_a_node_without_the_file_system_sends_home_what_was_written(
    cluster: Any, run_batch: RunBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cv3d.batch.ray_engine.Errand", lambda *values: Errand(*values[:-1], "of another batch"))
    result = run_batch("chance", engine="ray", jobs=None)
    assert (result.done, result.failed) == (3, 0)
    for name in "abc":
        folder = tmp_path / "out" / name
        assert (folder / "first").read_bytes() == (folder / "second").read_bytes()
        assert (tmp_path / "out" / "logs" / f"{name}.log").exists()


def test_a_node_killed_in_the_middle_loses_nothing(
    cluster: Any, run_batch: RunBatch, tmp_path: Path, journal_rows: Any
) -> None:
    """The last test: it leaves a cluster of one node."""
    orders = [Order("chance", f"x{k}", ("0.5",)) for k in range(24)]

    def kill() -> None:
        """Once both nodes have done something."""
        while (
            not (tmp_path / "out" / "x3").exists() or len({row["host"] for row in journal_rows().values()} - {None}) < 2
        ):
            time.sleep(0.05)
        cluster.remove_node(cluster.west, allow_graceful=False)

    thread = threading.Thread(target=kill)
    thread.start()
    result = run_batch("", orders=orders, engine="ray", jobs=None)
    thread.join()
    assert (result.done, result.failed) == (24, 0)
    rows = journal_rows()
    for k in range(24):
        folder = tmp_path / "out" / f"x{k}"
        assert (folder / "first").read_bytes() == (folder / "second").read_bytes()
    assert len({row["host"] for row in rows.values()}) == 2
    assert any(row["losses"] for row in rows.values())
