"""Trajectory errors beside evo: every row of `tests/evaluation/evo_figures.json` asked of evo's own programs again.

    CV3D_DATA=shared/data python tests/benchmarks/trajectory_vs_evo.py --evo VENV/bin [--sets fr1 v102] [--write]

evo is GPL: it is no dependency and is not imported, its commands evo_ape and evo_rpe run as processes of their own,
from an environment of their own. For each row the largest difference of a figure is printed, from evo now to cv3d and
to the stored one, relative above 1. `--write` stores what evo says now. Times are of whole commands, start and files
included.
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
import time
import zipfile
from pathlib import Path

FIGURES = Path(__file__).resolve().parents[1] / "evaluation" / "evo_figures.json"
SETS = {
    "fr1": ("tum", "freiburg1_xyz-groundtruth.txt", "freiburg1_xyz-ORB_kf_mono.txt"),
    "fr2": ("tum", "fr2_desk_groundtruth.txt", "fr2_desk_ORB.txt"),
    "v102": ("euroc", "V102_groundtruth.csv", "V102.txt"),
    "kitti": ("kitti", "KITTI_00_gt.txt", "KITTI_00_ORB.txt"),
}
ALIGN = {"none": [], "se3": ["-a"], "sim3": ["-a", "-s"], "scale": ["-s"], "origin": ["--align_origin"]}
UNITS = {"frames": ("f", "f"), "m": ("m", "m"), "deg": ("d", "deg")}
"""How evo and cv3d spell the unit of a delta."""
RELATIONS = {"t": "trans_part", "r": "angle_deg"}

Row = dict[str, object]
Stats = dict[str, float]


def run_evo(folder: Path, row: Row, relation: str, root: Path) -> tuple[Stats, float]:
    """Figures and seconds of evo's command for a row."""
    kind, reference, estimate = SETS[str(row["set"])]
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.zip"
        command = [str(folder / f"evo_{row['metric']}"), kind, str(root / reference), str(root / estimate)]
        command += ["-r", relation, *ALIGN[str(row["align"])], "--silent", "--save_results", str(result)]
        if "n" in row:
            command += ["--n_to_align", str(row["n"])]
        if "max_diff" in row:
            command += ["--t_max_diff", str(row["max_diff"])]
        if "offset" in row:
            command += ["--t_offset", str(row["offset"])]
        if row["metric"] == "rpe":
            command += ["-d", f"{row['delta']:g}", "-u", UNITS[str(row["unit"])][0]]
            command += ["--all_pairs"] * bool(row["all_pairs"]) + ["--pairs_from_reference"] * bool(row["from_ref"])
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"HOME": scratch})
        seconds = time.perf_counter() - start
        with zipfile.ZipFile(result) as archive:
            return json.loads(archive.read("stats.json")), seconds


def run_cv3d(row: Row, root: Path) -> tuple[dict[str, Stats], float]:
    """Figures, translation's and rotation's at once, and seconds of cv3d's command for a row."""
    _, reference, estimate = SETS[str(row["set"])]
    command = [sys.executable, "-m", "cv3d", "evaluate", "trajectory", str(root / estimate), str(root / reference)]
    command += ["--json", "--quiet", "--align", str(row["align"])]
    command += ["--n-to-align", str(row["n"])] if "n" in row else []
    command += ["--max-diff", str(row["max_diff"])] if "max_diff" in row else []
    command += ["--offset", str(row["offset"])] if "offset" in row else []
    if row["metric"] == "rpe":
        command += ["--delta", f"{row['delta']:g}{UNITS[str(row['unit'])][1]}"]
        command += ["--all-pairs"] * bool(row["all_pairs"])
        command += ["--pairs-from", "reference"] if row["from_ref"] else []
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    part = json.loads(done.stdout)["ate" if row["metric"] == "ape" else "rpe"]
    return {"t": part["translation_m"], "r": part["rotation_deg"]}, seconds


def difference(a: Stats, b: Stats) -> float:
    """Largest difference of two sets of figures, relative above 1."""
    return max(abs(a[name] - b[name]) / max(abs(b[name]), 1.0) for name in b)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo", type=Path, required=True, help="folder of evo_ape and evo_rpe")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--write", action="store_true", help="store evo's figures")
    args = parser.parse_args()
    root = Path(os.environ.get("CV3D_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data") / "trajectories"
    stored = json.loads(FIGURES.read_text())
    version = subprocess.run([args.evo / "pip", "show", "evo"], check=True, capture_output=True, text=True).stdout
    version = next(line.split()[1] for line in version.splitlines() if line.startswith("Version"))
    print(f"evo {version}, stored figures of evo {stored['evo']}; {platform.platform()}, {os.cpu_count()} cores")
    ratios, worst = [], 0.0
    for row in stored["figures"]:
        if row["set"] not in args.sets:
            continue
        ours, own_seconds = run_cv3d(row, root)
        evo_seconds = 0.0
        gaps = []
        for part, relation in RELATIONS.items():
            theirs, seconds = run_evo(args.evo, row, relation, root)
            evo_seconds += seconds
            gaps.append((difference(ours[part], theirs), difference(row[part], theirs)))
            row[part] = {name: float(f"{value:.12g}") for name, value in theirs.items()}
        ratios.append(own_seconds / evo_seconds)
        to_ours, to_stored = (max(gap) for gap in zip(*gaps, strict=True))
        worst = max(worst, to_ours)
        name = " ".join(f"{key}={value}" for key, value in row.items() if not isinstance(value, dict))
        print(f"{to_ours:8.1e} {to_stored:8.1e}  cv3d {own_seconds:5.2f} s, evo {evo_seconds:6.2f} s  {name}")
    ratio = statistics.median(ratios)
    print(f"largest difference {worst:.1e}; median time of cv3d's one command over evo's two: {ratio:.2f}")
    if args.write:
        lines = ",\n".join("  " + json.dumps(row) for row in stored["figures"])
        FIGURES.write_text(f'{{\n "evo": "{version}",\n "figures": [\n{lines}\n ]\n}}\n')


if __name__ == "__main__":
    main()
