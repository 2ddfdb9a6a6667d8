"""Timing: what is told, what is left out with its reason, and how two results stand beside each other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cv3d.bench import bench, compare_with, running
from cv3d.bench.inputs import Inputs
from cv3d.bench.peers import PEERS, Peer
from cv3d.bench.result import Machine, versions
from cv3d.bench.samples import PARTS, find_samples
from cv3d.bench.stages import STAGES, Stage
from cv3d.bench.timing import Work, measure
from cv3d.compute import Compute
from cv3d.errors import FormatError, InputError, UsageError
from cv3d.features import weights
from cv3d.formats.json_text import to_json

CPU = Compute(torch.device("cpu"), torch.float32)


def stage(name: str, run: Callable[[], object], count: int = 2, has_device: bool = True) -> Stage:
    def start(_: Inputs, __: Compute) -> Work:
        return Work(count, run)  # type: ignore[arg-type]

    return Stage(name, "match", "pair", has_device, start)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stages, one of which fails, and two peers of the first, one of which is not installed."""

    def fail() -> None:
        raise NotImplementedError("The operator is not there.\nMore.")

    good = stage("good", lambda: {"part": 0.5})
    monkeypatch.setattr(running, "STAGES", (good, stage("bad", fail)))
    same = good.start
    toys = Peer("good", "Peer", "numpy", "another way", same), Peer("good", "Gone", "no-such-package", "", same)
    monkeypatch.setattr(running, "PEERS", toys)


def test_the_median_for_each_of_what_is_counted() -> None:
    calls = []

    def run() -> dict[str, float]:
        calls.append(time.perf_counter())
        time.sleep(0.004 if len(calls) > 1 else 0.05)
        return {"half": 0.002}

    found = measure(Work(2, run), quick=False)
    assert len(calls) == found.repeats + 1
    assert 2.0 <= found.least_ms <= found.median_ms <= found.most_ms
    assert found.parts == {"half": pytest.approx(1.0)}
    # Asleep, not at work.
    assert found.cpu_ms < found.median_ms


@pytest.mark.parametrize(("quick", "runs"), [(True, 1), (False, 2)])
def test_long_work_runs_once_after_a_first_time(quick: bool, runs: int) -> None:
    calls = []
    assert measure(Work(1, lambda: calls.append(0), is_long=True), quick=quick).repeats == 1
    assert len(calls) == runs


@pytest.mark.usefixtures("toys")
def test_what_fails_or_is_not_there_is_told_and_the_others_go_on() -> None:
    result = bench(quick=True, peers=True, computes=[CPU])
    good, peer, gone, bad = result.timings
    assert (good.program, good.device, good.counted, good.count) == ("cv3d", "cpu", "pair", 2)
    assert good.repeats >= 1
    assert good.parts == {"part": 250.0}
    assert peer.note == "another way"
    assert peer.median_ms >= 0.0
    assert gone.note == "no-such-package is not installed"
    assert bad.note == "failed: The operator is not there."
    assert all(one.repeats == 0 and np.isnan(one.median_ms) for one in (gone, bad))
    plain = json.loads(to_json(result.as_result()))
    assert plain["schema"] == "cv3d.bench/1"
    assert plain["timings"][3]["median_ms"] is None


@pytest.mark.usefixtures("toys")
def test_stages_run_on_every_device_that_is_named() -> None:
    other = Compute(torch.device("meta"), torch.float32)
    result = bench(stages=["good"], quick=True, computes=[CPU, other])
    assert [one.device for one in result.timings] == ["cpu", "meta"]


@pytest.mark.usefixtures("toys")
def test_two_results_are_compared(tmp_path: Path) -> None:
    result = bench(quick=True, computes=[CPU], stages=["good"])
    then = json.loads(to_json(result.as_result()))
    then["timings"][0]["median_ms"] = 2.0 * result.timings[0].median_ms
    then["timings"].append({**then["timings"][0], "device": "mps", "median_ms": result.timings[0].median_ms / 4})
    file = tmp_path / "then.json"
    file.write_text(json.dumps(then), encoding="utf-8")
    found = compare_with(result, file)
    assert found.ratios == {
        ("good", "cv3d", "cpu"): pytest.approx(0.5),
        # The fastest that each machine has.
        ("good", "cv3d", "best"): pytest.approx(4.0),
    }
    assert found.machine == f"{Machine.here().processor}, {Machine.here().cores} cores"


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no json", "is no JSON"),
        ('{"schema": "cv3d.match/1"}', "is not what cv3d bench writes"),
        ('{"schema": "cv3d.bench/1", "timings": [{}]}', "is missing"),
        (
            '{"schema": "cv3d.bench/1", "timings": [], "machine": {"processor": "x", "cores": 1}, '
            '"versions": {"cv3d": "1"}}',
            "no stage in common",
        ),
    ],
)
def test_other_files_are_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "then.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=words):
        compare_with(bench(quick=True, computes=[CPU], stages=["good"]), file)
    with pytest.raises(InputError, match="cannot be read"):
        compare_with(bench(quick=True, computes=[CPU], stages=["good"]), tmp_path / "none.json")


def test_an_unknown_stage_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no stage is called 'depht': one of decode, calibrate"):
        bench(stages=["decode", "depht"])


def test_where_samples_are_looked_for(tmp_path: Path, project_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_samples() == project_root / "data" / "samples"
    with pytest.raises(InputError, match="that is no folder"):
        find_samples(tmp_path / "nowhere")
    with pytest.raises(InputError, match="checkerboard, stereo, rgbd"):
        find_samples(tmp_path)
    for part in PARTS[:-1]:
        (tmp_path / part).mkdir()
    with pytest.raises(InputError, match=r"or not all of them: room_ground_truth\.json is missing"):
        find_samples(tmp_path)
    monkeypatch.setattr("cv3d.bench.samples.cv3d.__file__", str(tmp_path / "site" / "cv3d" / "__init__.py"))
    with pytest.raises(InputError, match="name their folder with --samples"):
        find_samples()


def test_the_machine_and_versions_are_told() -> None:
    machine = Machine.here()
    assert machine.processor
    assert machine.cores >= 1
    assert machine.memory_gb > 0.1
    assert versions()["torch"] == torch.__version__


def test_samples_are_read_as_they_are(project_root: Path) -> None:
    inputs = Inputs(find_samples(), 0)
    assert len(inputs.photos) == 16
    assert inputs.clip[0].shape == (480, 640)
    assert inputs.stereo[1].shape == (480, 640)
    first = inputs.depth_frames[0]
    truth = np.loadtxt(project_root / "data/samples/rgbd/poses.txt")[0].reshape(3, 4)
    np.testing.assert_allclose(np.linalg.inv(first.cam_from_world)[:3], truth, atol=1e-12)
    assert 0.5 < np.median(first.depth[first.depth > 0]) < 5.0


LIGHT = ("extract", "match", "fuse", "surface", "stereo")


@pytest.mark.parametrize(
    "one", [pytest.param(one, id=one.name, marks=() if one.name in LIGHT else pytest.mark.slow) for one in STAGES]
)
def test_every_stage_runs(one: Stage) -> None:
    if not weights.is_here("xfeat-lighterglue" if one.name == "match-lighterglue" else "xfeat"):
        pytest.skip("the weights are not here")
    work = one.start(Inputs(find_samples(), 0), CPU)
    assert work.count >= 1
    work.run()


def test_every_peer_belongs_to_a_stage() -> None:
    assert {one.stage for one in PEERS} <= {one.name for one in STAGES}
    assert len({(one.stage, one.name) for one in PEERS}) == len(PEERS)


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS, ids=lambda one: f"{one.stage} {one.name}")
def test_every_peer_runs(peer: Peer) -> None:
    if versions().get(peer.package) is None:
        pytest.skip(f"{peer.package} is not installed")
    peer.start(Inputs(find_samples(), 0), CPU).run()
