"""Odometry beside ORB-SLAM3 (pyorbslam3) and Open3D's RGB-D odometry from frame to frame, alternating.

    CV3D_DATA=shared/data python tests/benchmarks/odometry_vs_peers.py --repeats 5 --markdown
    python tests/benchmarks/odometry_vs_peers.py --sequence shared/data/rgbd/seven_scenes:rgbd --peers orbslam3

A sequence is a path, or a path and a mode (mono, stereo, rgbd); without one, all modes that it offers are run. Every
run is a process of its own; the methods take turns, so that a busy machine is busy for all. ORB-SLAM3 needs a
vocabulary, which `orb_vocabulary.py` trains, and gets the settings of its authors' examples, the real stamps and no
sleep between frames. Open3D's is o3d.t.pipelines.odometry, hybrid, with its own defaults but for the reach of depth.

Errors are RMS over all frames that have a pose in the end, after alignment (mono: Sim(3), else SE(3)): ATE, and RPE
over `--delta`. "tracked" counts against all frames, those before a map is there included. Times leave out
decoding: fps from the median frame, p99 beside it. "cpu" is the processor time of all threads per frame, decoding
included, which other work on the machine hardly changes. Given are medians over the repeats, least and largest in
brackets; a run that broke off has tracked nothing, and counts in no other median.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from odometry_peers import MODES, ROOM, Run, truth_of
from orb_vocabulary import default_path

from cv3d.errors import Cv3dError
from cv3d.evaluation.trajectory.choices import Alignment
from cv3d.evaluation.trajectory.evaluating import TrajectoryOptions, evaluate_trajectory
from cv3d.evaluation.trajectory.relative import Delta, parse_delta
from cv3d.geometry.trajectory import Trajectory
from cv3d.odometry.sources import open_sequence

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CV3D_DATA") or ROOT.parent / "shared" / "data")
SEQUENCES = (
    DATA / "rgbd/seven_scenes",
    DATA / "vo/kitti_a",
    DATA / "vo/euroc_v101",
    ROOT / "data/samples/rgbd",
    ROOM,
)
PACKAGES = ("cv3d", "pyorbslam3", "open3d", "torch", "opencv-python-headless", "numpy")
HEAD = (
    "sequence",
    "mode",
    "method",
    "tracked %",
    "ATE cm",
    "ATE %",
    "RPE mm",
    "RPE deg",
    "fps",
    "p99 ms",
    "cpu ms",
    "",
)


@dataclass(frozen=True)
class Figures:
    """Of one run. NaN: it has too few poses."""

    tracked: float
    """Per cent of all frames."""
    ate_cm: float
    ate_percent: float
    """Of the length of the path that is matched."""
    rpe_mm: float
    rpe_deg: float
    fps: float
    p99_ms: float
    cpu_ms: float


@dataclass
class Row:
    """The runs of one method over one sequence in one mode."""

    path: Path
    mode: str
    method: str
    truth: Trajectory
    figures: list[Figures] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """How runs broke off."""

    def cells(self) -> list[str]:
        """The columns of the table, as HEAD names them."""
        values = {name: [getattr(one, name) for one in self.figures] for name in Figures.__dataclass_fields__}
        if self.figures:
            values["tracked"] += [0.0] * len(self.failures)
        texts = [_spread(one) for one in values.values()]
        note = ""
        if self.failures:
            note = f"{len(self.failures)} of {len(self.failures) + len(self.figures)} failed: {self.failures[0]}"
        return [self.path.name, self.mode, self.method, *texts, note]


def _spread(values: Sequence[float]) -> str:
    """Median [least, largest]."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return "-"
    middle, least, most = (f"{value:.3g}" for value in (statistics.median(finite), min(finite), max(finite)))
    return middle if least == most else f"{middle} [{least}, {most}]"


def figures_of(run: Run, truth: Trajectory, mode: str, delta: Delta) -> Figures:
    """The figures of a run against the truth."""
    nan = float("nan")
    tracked = 100.0 * len(run.times) / run.frames
    p50, p99 = np.percentile(run.ms, [50, 99])
    path = Trajectory(np.array(run.times), np.array(run.world_from_cam).reshape(-1, 4, 4))
    options = TrajectoryOptions(Alignment.SIM3 if mode == "mono" else Alignment.SE3, delta=delta)
    try:
        found = evaluate_trajectory(path, truth, options)
    except Cv3dError:
        return Figures(tracked, nan, nan, nan, nan, 1e3 / p50, p99, run.cpu_ms)
    rpe = nan if found.rpe is None else 1e3 * found.rpe.rmse
    rpe_deg = nan if found.rpe_rotation is None else found.rpe_rotation.rmse
    return Figures(tracked, 100.0 * found.ate.rmse, found.ate_percent, rpe, rpe_deg, 1e3 / p50, p99, run.cpu_ms)


def run_once(row: Row, seed: int, args: argparse.Namespace) -> None:
    """Start one run and add what comes of it to the row."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run.json"
        script = Path(__file__).with_name("odometry_peers.py")
        command = [sys.executable, str(script), row.method, str(row.path), row.mode, str(output)]
        command += ["--vocabulary", str(args.vocabulary), "--seed", str(seed)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=args.timeout, check=False)
        except subprocess.TimeoutExpired:
            row.failures.append(f"no end after {args.timeout:g} s")
            return
        if done.returncode or not output.exists():
            last = (done.stderr.strip() or "no word").splitlines()[-1]
            row.failures.append(f"signal {-done.returncode}" if done.returncode < 0 else last)
            return
        run = Run(**json.loads(output.read_text()))
    row.figures.append(figures_of(run, row.truth, row.mode, args.delta))


def chosen(text: str) -> tuple[Path, str | None]:
    """A sequence and its mode from "PATH[:mode]"."""
    path, colon, mode = text.rpartition(":")
    return (Path(path), mode) if colon and mode in MODES["cv3d"] else (Path(text), None)


def print_table(rows: Sequence[Row], is_markdown: bool) -> None:
    """All rows."""
    cells = [list(HEAD), *(row.cells() for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]
    for index, row in enumerate(cells):
        texts = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        print("| " + " | ".join(texts) + " |" if is_markdown else "  ".join(texts).rstrip())
        if is_markdown and index == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequence", action="append", metavar="PATH[:MODE]", help="repeatable")
    parser.add_argument("--peers", nargs="+", choices=MODES, default=list(MODES), help="methods to run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--vocabulary", type=Path, default=default_path())
    parser.add_argument("--delta", type=lambda text: Delta(*parse_delta(text)), default=Delta(), help="of the RPE")
    parser.add_argument("--timeout", type=float, default=900.0, help="of one run, seconds")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    if "orbslam3" in args.peers and not args.vocabulary.is_file():
        parser.error(f"there is no {args.vocabulary}: run orb_vocabulary.py, or give --vocabulary")
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.platform()}, "
        f"load {os.getloadavg()[0]:.1f}; {', '.join(map(_version, PACKAGES))}; "
        f"{args.repeats} repeats, RPE over {args.delta}\n"
    )
    rows: list[Row] = []
    for path, mode in map(chosen, args.sequence or map(str, SEQUENCES)):
        recording = open_sequence(path)
        truth = truth_of(path, recording)
        for one in map(str, recording.sensors) if mode is None else (mode,):
            turn = [Row(path, one, method, truth) for method in args.peers if one in MODES[method]]
            for seed in range(args.repeats):
                for row in turn:
                    run_once(row, seed, args)
            for row in turn:
                print("  ".join(row.cells()).rstrip(), file=sys.stderr, flush=True)
            rows += turn
    print_table(rows, args.markdown)


if __name__ == "__main__":
    main()
