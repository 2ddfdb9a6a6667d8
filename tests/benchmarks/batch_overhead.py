"""What a batch costs beside its jobs: many jobs that do nothing, the plan, the journal alone, and two jobs at a time.

    python tests/benchmarks/batch_overhead.py noop 10000
    python tests/benchmarks/batch_overhead.py plan 100000
    python tests/benchmarks/batch_overhead.py clips data/samples/room.mp4 --copies 4

`noop` runs so many jobs through two workers, each job a call that writes one small file, and gives the time and the
CPU time of all processes by the job. The job is measured by itself and taken off. `plan` gives the time and memory of
planning, first and again, and of the journal alone. `clips` runs `cv3d frames` on copies of a clip one and two at a
time, each with one thread.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "batch"
sys.path.insert(0, str(TESTS))

from cv3d.batch.journal import Journal  # noqa: E402
from cv3d.batch.options import BatchOptions, Program  # noqa: E402
from cv3d.batch.planning import Digester, Order, jobs_of  # noqa: E402
from cv3d.batch.running import batch, plan  # noqa: E402

PROGRAM = Program("batch_programs:main", "batch_programs:takes_output")


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_mib() -> float:
    scale = 1 << 20 if platform.system() == "Darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def inputs(folder: Path, count: int) -> Path:
    clips = folder / "clips"
    clips.mkdir()
    for k in range(count):
        os.close(os.open(clips / f"clip{k:06d}.mp4", os.O_CREAT | os.O_WRONLY))
    return clips


def job_alone(folder: Path, count: int) -> tuple[float, float]:
    """Seconds and CPU seconds of one job as a mere call."""
    from batch_programs import noop

    folder.mkdir()
    begin, cpu = time.perf_counter(), cpu_seconds()
    for k in range(count):
        noop("clips/x.mp4", folder / f"{k}", [])
    return (time.perf_counter() - begin) / count, (cpu_seconds() - cpu) / count


def measure_noop(folder: Path, count: int, jobs: int) -> None:
    inputs(folder, count)
    alone, alone_cpu = job_alone(folder / "alone", min(count, 2000))
    before, begin, cpu = peak_mib(), time.perf_counter(), cpu_seconds()
    result = batch(
        [Order("noop", f"{folder}/clips/*.mp4")], folder / "out", options=BatchOptions(jobs=jobs), program=PROGRAM
    )
    seconds, cpu = time.perf_counter() - begin, cpu_seconds() - cpu
    assert result.done == count, result
    print(f"{count} jobs that do nothing, {jobs} at a time: {seconds:.1f} s, {count / seconds:.0f} jobs/s")
    print(f"  plan {result.planning_seconds:.2f} s; peak memory {before:.0f} -> {peak_mib():.0f} MiB")
    print(f"  a job: {1e3 * seconds / count:.3f} ms, {1e3 * cpu / count:.3f} ms CPU over all processes")
    print(f"  as a mere call: {1e3 * alone:.3f} ms, {1e3 * alone_cpu:.3f} ms CPU")
    extra, extra_cpu = seconds / count - alone / jobs, cpu / count - alone_cpu
    print(f"  overhead: {1e3 * extra:.3f} ms, {1e3 * extra_cpu:.3f} ms CPU a job; load {os.getloadavg()[0]:.1f}")
    begin = time.perf_counter()
    again = batch(
        [Order("noop", f"{folder}/clips/*.mp4")], folder / "out", options=BatchOptions(jobs=jobs), program=PROGRAM
    )
    assert again.skipped == count, again
    print(f"  the same again, all done: {time.perf_counter() - begin:.2f} s")


def measure_plan(folder: Path, count: int) -> None:
    from batch_programs import takes_output

    inputs(folder, count)
    orders = [Order("noop", f"{folder}/clips/*.mp4")]
    before, begin = peak_mib(), time.perf_counter()
    planned = plan(orders, folder / "out", program=PROGRAM)
    print(f"plan of {planned.total}: {time.perf_counter() - begin:.2f} s, memory {before:.0f} -> {peak_mib():.0f} MiB")
    journal = Journal(folder / "journal.sqlite")
    digest = Digester(PROGRAM.main)
    for name in ("into a new journal", "again, nothing changed"):
        begin = time.perf_counter()
        with journal.transaction():
            journal.begin("here", 1, "0")
            journal.plan((job, digest(job)) for job in jobs_of(orders, takes_output, str(folder / "out")))
        print(f"  {name}: {time.perf_counter() - begin:.2f} s, peak memory {peak_mib():.0f} MiB")
    begin, at_once = time.perf_counter(), 64
    for first in range(1, count + 1, at_once):
        with journal.transaction():
            journal.update(
                (k, {"state": "running", "work": "x", "started": 0.0}) for k in range(first, first + at_once)
            )
            journal.update(
                (k, {"state": "done", "seconds": 0.1, "exit_code": 0, "figures": "{}"})
                for k in range(first, first + at_once)
            )
    rate = count / (time.perf_counter() - begin)
    print(f"  journal alone: {rate:.0f} jobs/s, two writes each, {at_once} jobs a commit")
    journal.close()


def measure_clips(folder: Path, clip: Path, copies: int, verb: str) -> None:
    clips = folder / "clips"
    clips.mkdir()
    for k in range(copies):
        shutil.copy(clip, clips / f"clip{k}{clip.suffix}")
    seconds, cpu = {}, {}
    for jobs in (1, 2):
        before = cpu_seconds()
        result = batch([Order(verb, f"{clips}/*")], folder / f"out{jobs}", options=BatchOptions(jobs=jobs, threads=1))
        assert result.done == copies, result
        seconds[jobs], cpu[jobs] = result.seconds, cpu_seconds() - before
        print(
            f"{verb}, {copies} copies of {clip.name}, {jobs} at a time: {result.seconds:.2f} s, {cpu[jobs]:.2f} s CPU; "
            f"load {os.getloadavg()[0]:.1f}"
        )
    print(
        f"  two at a time: {seconds[1] / seconds[2]:.2f} times as fast; by CPU time on two free cores "
        f"{2.0 * cpu[1] / cpu[2]:.2f} times"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("noop", "plan", "clips"))
    parser.add_argument("how_many_or_clip")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--verb", default="frames")
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as name:
        if given.what == "noop":
            measure_noop(Path(name), int(given.how_many_or_clip), given.jobs)
        elif given.what == "plan":
            measure_plan(Path(name), int(given.how_many_or_clip))
        else:
            measure_clips(Path(name), Path(given.how_many_or_clip), given.copies, given.verb)


if __name__ == "__main__":
    main()
