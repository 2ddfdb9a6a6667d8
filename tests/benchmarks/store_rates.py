"""Bytes and rates of the feature store, and what they come to for a large set.

    python tests/benchmarks/store_rates.py [--pictures 500] [--planned 10000] [--neighbours 30]

Writes and reads random features of 2048 keypoints, and for each picture the matches and geometries with the next ten,
in a fresh store; each figure is the median of three stores. Resident memory is read at a fifth of the pictures and at
the end: it must not grow between them. The plan has as many pairs as if no picture chose a neighbour that chose it, so
twice as many as there are at least.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cv3d.features.store import FeatureStore, PairMatches, PictureFeatures
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import estimate_two_view

KEYPOINTS, WIDTH, OVERLAP, MATCHES = 2048, 64, 10, 600
REPEATS = 3
CAMERA = Camera("pinhole", 640, 480, (520.0, 520.0, 319.5, 239.5))


def resident_mib() -> float:
    """Memory that the process occupies now; NaN where the system does not tell by a file."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def measured(folder: Path, pictures: int, dtype: type) -> dict[str, float]:
    """Seconds, bytes and memory of one store."""
    rng = np.random.default_rng(0)
    path = folder / "database.db"
    features = PictureFeatures(
        (rng.random((KEYPOINTS, 2)) * 480).astype(np.float32),
        rng.normal(size=(KEYPOINTS, WIDTH)).astype(dtype),
        rng.random(KEYPOINTS).astype(np.float32),
    )
    chosen = np.stack([rng.choice(KEYPOINTS, MATCHES, replace=False) for _ in range(2)], 1)
    matches = PairMatches(chosen, rng.random(MATCHES).astype(np.float32))
    points = rng.uniform((-1, -1, 4), (1, 1, 6), (MATCHES, 3))
    geometry = estimate_two_view(CAMERA.project(points), CAMERA.project(points + np.array((0.5, 0, 0))), CAMERA, CAMERA)
    found: dict[str, float] = {}
    with FeatureStore.open(path) as store:
        camera_id = store.add_camera("camera", (640, 480), CAMERA)
        start = time.perf_counter()
        for index in range(pictures):
            store.put_features(store.add_picture(f"{index:06}.jpg", str(index), camera_id), features, "config")
            if index == pictures // 5:
                found["MiB early"] = resident_mib()
        found["write"] = time.perf_counter() - start
    found["bytes"] = path.stat().st_size
    with FeatureStore.open(path) as store:
        start = time.perf_counter()
        names = (f"{index:06}.jpg" for index in range(pictures))
        assert not list(store.missing_features(names, map(str, range(pictures)), "config"))
        found["check"] = time.perf_counter() - start
        start = time.perf_counter()
        assert sum(len(one) for _, one in store.all_features()) == pictures * KEYPOINTS
        found["read"] = time.perf_counter() - start
        start = time.perf_counter()
        pairs = [(i, j) for i in range(1, pictures + 1) for j in range(i + 1, min(i + OVERLAP, pictures) + 1)]
        for pair in pairs:
            store.put_matches(pair, matches, "config")
            store.put_two_view(pair, geometry, "config")
        found["write pairs"] = time.perf_counter() - start
        start = time.perf_counter()
        assert not list(store.missing_pairs(pairs, "config", verification="config"))
        found["check pairs"] = time.perf_counter() - start
        found["pairs"] = len(pairs)
        found["MiB late"] = resident_mib()
    found["pair bytes"] = path.stat().st_size - found["bytes"]
    return found


def main() -> None:
    """Print one table a type of descriptor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--planned", type=int, default=10_000)
    parser.add_argument("--neighbours", type=int, default=30, help="pairs of each picture in the plan")
    arguments = parser.parse_args()
    count, planned, neighbours = arguments.pictures, arguments.planned, arguments.neighbours
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, NumPy {np.__version__}; {count} pictures")
    for dtype in (np.float16, np.float32):
        runs = []
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(measured(Path(folder), count, dtype))
        one = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        factor, pair_factor, pairs = planned / count, planned * neighbours / one["pairs"], one["pairs"]
        size, pair_size = one["bytes"], one["pair bytes"]
        print(f"\n{KEYPOINTS} keypoints, {WIDTH}-D {np.dtype(dtype).name}")
        heading = f"{planned} pictures, {planned * neighbours} pairs"
        print(f"  {'':24}{'measured':>22}{heading:>32}")
        rows = (
            ("features, size", f"{size / count / 1024:.0f} KiB/picture", f"{size * factor / 1e9:.2f} GB"),
            ("features, write", f"{count / one['write']:.0f} pictures/s", f"{one['write'] * factor:.0f} s"),
            ("features, read", f"{count / one['read']:.0f} pictures/s", f"{one['read'] * factor:.0f} s"),
            ("features, up to date?", f"{count / one['check']:.0f} pictures/s", f"{one['check'] * factor:.1f} s"),
            ("pairs, size", f"{pair_size / pairs / 1024:.1f} KiB/pair", f"{pair_size * pair_factor / 1e9:.2f} GB"),
            ("pairs, write", f"{pairs / one['write pairs']:.0f} pairs/s", f"{one['write pairs'] * pair_factor:.0f} s"),
            (
                "pairs, checked",
                f"{pairs / one['check pairs']:.0f} pairs/s",
                f"{one['check pairs'] * pair_factor:.0f} s",
            ),
            ("resident memory", f"{one['MiB early']:.0f} -> {one['MiB late']:.0f} MiB", "the same"),
        )
        for label, here, there in rows:
            print(f"  {label:24}{here:>22}{there:>32}")


if __name__ == "__main__":
    main()
