"""Kill -9 of a batch and of its workers at random moments, and what is left of its outputs.

    python tests/benchmarks/batch_kills.py --rounds 50

Each round starts the batch that the round before left, and after a random time, counted from its start or from its
first new output, kills the batch process, a worker, or both; the last runs to its end. Every job writes two files of
one chance content, the second some time after the first, so that no two runs of a job give the same bytes: what an
output was when it first appeared it has to stay. Counted are outputs that are missing, half-written, changed, or not
what the journal says; all four are to be 0.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

from cv3d.batch.outputs import digest_of

TESTS = Path(__file__).parents[1] / "batch"
CODE = """
import sys
from cv3d.batch.options import BatchOptions, Program
from cv3d.batch.planning import Order
from cv3d.batch.running import batch
result = batch(
    [Order("chance", "clips/*.mp4", (sys.argv[1],))], "out", options=BatchOptions(jobs=2, retry=1000),
    program=Program("batch_programs:main", "batch_programs:takes_output"),
)
print(result.total, result.done, result.skipped, result.failed)
"""


def children_of(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


def kill(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def observe(out: Path, seen: dict[str, str], tally: Counter[str]) -> None:
    """Take note of new outputs, and count what is wrong with any."""
    for folder in sorted(out.glob("clip*")):
        first, second = folder / "first", folder / "second"
        if not (first.exists() and second.exists() and first.read_bytes() == second.read_bytes()):
            tally["half-written"] += 1
            continue
        digest = digest_of(folder)[0]
        if seen.setdefault(folder.name, digest) != digest:
            tally["changed"] += 1


def run_round(
    folder: Path, pause_s: float, wait_s: float | None, whom: str, tally: Counter[str], from_output: bool = False
) -> str:
    """One run of the batch, killed after `wait_s`, which begins with its first new output or at once; what it said."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, "-c", CODE, str(pause_s)], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        workers: list[int] = []
        if wait_s is not None:
            before = len(list((folder / "out").glob("clip*")))
            while from_output and process.poll() is None and len(list((folder / "out").glob("clip*"))) == before:
                time.sleep(0.02)
            time.sleep(wait_s)
            workers = children_of(process.pid)
            if whom != "batch" and workers and kill(random.choice(workers)):
                tally["workers killed"] += 1
            if whom == "worker":
                time.sleep(wait_s / 2)
            if process.poll() is None and kill(process.pid):
                tally["batches killed"] += 1
        said = process.communicate()[0]
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--pause", type=float, default=0.01, help="seconds between the two files of a job")
    parser.add_argument("--longest", type=float, default=2.0, help="seconds until a kill, at most")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random.seed(given.seed)
    seen: dict[str, str] = {}
    tally: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clips").mkdir()
        for k in range(given.jobs):
            (folder / "clips" / f"clip{k:05d}.mp4").touch()
        for k in range(given.rounds):
            wait = random.uniform(0.05, given.longest)
            whom, from_output = random.choice(("batch", "worker", "both")), random.random() < 0.7
            run_round(folder, given.pause, wait, whom, tally, from_output)
            observe(folder / "out", seen, tally)
            print(f"round {k + 1}: killed after {wait:.2f} s, {len(seen)} outputs", flush=True)
        print("last run (total, done, kept, failed):", run_round(folder, given.pause, None, "", tally).strip())
        observe(folder / "out", seen, tally)
        report(folder / "out", given.jobs, seen, tally)


def report(out: Path, jobs: int, seen: dict[str, str], tally: Counter[str]) -> None:
    with closing(sqlite3.connect(out / ".batch" / "journal.sqlite")) as journal:
        known = dict(journal.execute("SELECT name, output_digest FROM jobs WHERE state = 'done'"))
    with (out / "summary.csv").open(newline="") as stream:
        rows = {row["name"]: row["state"] for row in csv.DictReader(stream)}
    missing = jobs - len(seen)
    differing = sum(known.get(name) != digest for name, digest in seen.items())
    strays = [path.name for path in out.iterdir() if path.name.startswith(".") and path.name != ".batch"]
    print(f"kills: {tally['batches killed']} of the batch, {tally['workers killed']} of workers")
    print(
        f"outputs: {len(seen)} of {jobs}; missing {missing}, half-written {tally['half-written']}, "
        f"changed {tally['changed']}, not as the journal says {differing}, strays {len(strays)}, "
        f"done in summary.csv {sum(state == 'done' for state in rows.values())}"
    )
    if missing or differing or strays or tally["half-written"] or tally["changed"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
