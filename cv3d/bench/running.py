"""Times the stages on the devices of a machine."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib import metadata
from io import StringIO
from pathlib import Path

from cv3d.bench.inputs import Inputs
from cv3d.bench.peers import PEERS, Peer
from cv3d.bench.result import BenchResult, Machine, Timing, load_of_a_core, versions
from cv3d.bench.samples import find_samples
from cv3d.bench.stages import STAGES, Stage
from cv3d.bench.timing import Work, measure
from cv3d.compute import Compute, DeviceName
from cv3d.errors import Cv3dError, UsageError
from cv3d.progress import SILENT, Progress

_STAGE = "timing"
_NAN = float("nan")
_LONGEST_NOTE = 200


def bench(
    samples: str | Path | None = None,
    *,
    stages: Sequence[str] | None = None,
    quick: bool = False,
    peers: bool = False,
    computes: Sequence[Compute] | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> BenchResult:
    """How long each stage takes here, with the shipped samples.

    Stages run by themselves and one after the other, once for warmth and then up to five times; the median is told. A
    stage or a peer that fails is told with its reason, and the others go on.

    Args:
        samples: their folder; None: that of the checkout.
        stages: names in :data:`cv3d.bench.stages.STAGES`; None: all.
        quick: fewer runs, and the long stages without one for warmth.
        peers: whether other programs are timed too, where they are installed.
        computes: devices; None: the CPU, and the best other device there is.
        seed: of what is drawn by chance.
        progress: told of every stage.

    Raises:
        InputError: the samples are not there.
        UsageError: there is no stage of a name.
    """
    chosen = choose_stages(stages)
    inputs = Inputs(find_samples(samples), seed)
    devices = _devices() if computes is None else list(computes)
    cpu = Compute.choose(DeviceName.CPU)
    jobs: list[Callable[[], Timing]] = []
    for stage in chosen:
        jobs += [_job(stage, inputs, compute, quick) for compute in (devices if stage.has_device else [cpu])]
        jobs += [_peer_job(peer, stage, inputs, cpu, quick) for peer in PEERS if peers and peer.stage == stage.name]
    started, load = time.perf_counter(), load_of_a_core()
    progress.start(_STAGE, len(jobs))
    timings = []
    for job in jobs:
        timings.append(job())
        progress.advance(_STAGE)
    progress.finish(_STAGE)
    return BenchResult(Machine.here(), versions(), tuple(timings), quick, seed, time.perf_counter() - started, load)


def choose_stages(names: Sequence[str] | None) -> list[Stage]:
    """The stages of these names, in the order of the table.

    Raises:
        UsageError: there is none of a name.
    """
    known = [stage.name for stage in STAGES]
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise UsageError(f"no stage is called '{unknown[0]}': one of {', '.join(known)}")
    return [stage for stage in STAGES if names is None or stage.name in names]


def _devices() -> list[Compute]:
    best, cpu = Compute.choose(DeviceName.AUTO), Compute.choose(DeviceName.CPU)
    return [cpu] if best.device.type == cpu.device.type else [cpu, best]


def _job(stage: Stage, inputs: Inputs, compute: Compute, quick: bool) -> Callable[[], Timing]:
    def job() -> Timing:
        return _timed(stage, "cv3d", "", compute.device.type, lambda: stage.start(inputs, compute), quick)

    return job


def _peer_job(peer: Peer, stage: Stage, inputs: Inputs, cpu: Compute, quick: bool) -> Callable[[], Timing]:
    def job() -> Timing:
        try:
            metadata.version(peer.package)
        except metadata.PackageNotFoundError:
            note = f"{peer.package} is not installed"
            return Timing(stage.name, peer.name, "cpu", stage.counted, 0, _NAN, _NAN, _NAN, _NAN, 0, {}, note)
        # Some peers print as they go.
        with redirect_stdout(StringIO()):
            return _timed(stage, peer.name, peer.note, "cpu", lambda: peer.start(inputs, cpu), quick)

    return job


def _timed(stage: Stage, program: str, note: str, device: str, start: Callable[[], Work], quick: bool) -> Timing:
    try:
        work = start()
        found = measure(work, quick=quick)
    # What a device lacks raises NotImplementedError or RuntimeError, a peer whatever it likes.
    except (Cv3dError, ImportError, OSError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        note = f"failed: {_one_line(error)}"
        return Timing(stage.name, program, device, stage.counted, 0, _NAN, _NAN, _NAN, _NAN, 0, {}, note)
    return Timing(
        stage.name,
        program,
        device,
        stage.counted,
        work.count,
        found.median_ms,
        found.least_ms,
        found.most_ms,
        found.cpu_ms,
        found.repeats,
        found.parts,
        note,
    )


def _one_line(error: Exception) -> str:
    """The first line of what it says, without colours."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
    return lines[0][:_LONGEST_NOTE] if lines else type(error).__name__
