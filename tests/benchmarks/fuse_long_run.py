"""A long run of fusion inside bounded memory, and whether its surface is that of a run without bounds.

    python tests/benchmarks/fuse_long_run.py [--frames 10000] [--max-memory 1000] [--voxel 0.01] [--step 2.0]

The frames of `rgbd/seven_scenes` go round and round; each round is shifted along x by `--step` metres, so that new
space opens and much of the old is seen again. Two processes fuse the same frames, one with memory for everything, one
whose whole resident memory is to stay below `--max-memory` MB: the voxels get what is left of it beside the program.
Both take the surface out piece by piece; compared are the digests of all vertices, triangles, normals and colours.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cv3d.fusion import DepthFrame, GridOptions, VoxelGrid
from cv3d.fusion.job import BATCH
from cv3d.fusion.memory import peak_memory_mb, resident_bytes, voxel_budget

sys.path.insert(0, str(Path(__file__).parent))
from fuse_vs_open3d import ROOT, camera_of, read_seven_scenes, seven_scenes

RANGE_M = 4.0


@dataclass(frozen=True)
class LongRun:
    """What one process found."""

    frames: int
    blocks: int
    spilled: int
    ms: list[float]
    """Per frame, by parts of the run."""
    resident_mb: list[float]
    """By parts of the run."""
    fused_mb: float
    """Peak before the surface is taken out."""
    peak_mb: float
    """Peak of all."""
    surface_s: float
    vertices: int
    triangles: int
    digests: dict[str, str]
    """Of the surface."""


def rounds(folder: Path, step: float) -> Iterator[DepthFrame]:
    """The recording, round and round, each time `step` metres farther along x."""
    intrinsics, files = seven_scenes(folder)
    camera = camera_of(intrinsics)
    number = 0
    while True:
        moved = np.eye(4)
        moved[0, 3] = -step * number
        for file in files:
            depth, color, cam_from_world = read_seven_scenes(file)
            yield DepthFrame(depth.astype(np.float32) * np.float32(0.001), color, camera, cam_from_world @ moved)
        number += 1


def long_run(
    folder: Path, count: int, voxel: float, step: float, max_memory_mb: float | None, spill: Path | None = None
) -> LongRun:
    """Fuse `count` frames; None: without bounds."""
    most = None if max_memory_mb is None else voxel_budget(int(max_memory_mb * 1e6), 640 * 480)
    options = GridOptions(max_depth_m=RANGE_M, max_memory_bytes=most, spill_folder=spill)
    ms, resident, part = [], [], []
    with VoxelGrid(voxel, options=options) as grid:
        frames = islice(rounds(folder, step), count)
        while some := list(islice(frames, BATCH)):
            started = time.perf_counter()
            grid.integrate_batch(some)
            if max_memory_mb is not None:
                grid.stay_inside(int(max_memory_mb * 1e6))
            part.append(1e3 * (time.perf_counter() - started) / len(some))
            if grid.frame_count * 10 // count > len(ms):
                ms.append(statistics.median(part))
                resident.append(resident_bytes() / 1e6)
                part = []
                print(f"{grid.frame_count}: {ms[-1]:.1f} ms, {resident[-1]:.0f} MB", file=sys.stderr, flush=True)
        fused_mb = peak_memory_mb()
        digests = {name: hashlib.sha256() for name in ("vertices", "triangles", "normals", "colors")}
        vertices = triangles = 0
        started = time.perf_counter()
        for piece in grid.mesh_pieces():
            vertices, triangles = vertices + len(piece.vertices), triangles + len(piece.triangles)
            for name, digest in digests.items():
                digest.update(np.ascontiguousarray(getattr(piece, name)).data)
        surface_s = time.perf_counter() - started
        return LongRun(
            grid.frame_count,
            grid.block_count,
            grid.spilled_count,
            ms,
            resident,
            fused_mb,
            peak_memory_mb(),
            surface_s,
            vertices,
            triangles,
            {name: digest.hexdigest()[:16] for name, digest in digests.items()},
        )


def in_process(arguments: argparse.Namespace, max_memory_mb: float | None, spill: Path) -> dict[str, Any]:
    """The figures of a process of its own."""
    command = [sys.executable, __file__, "--one", "--frames", str(arguments.frames), "--voxel", str(arguments.voxel)]
    command += ["--step", str(arguments.step), "--data", str(arguments.data), "--spill", str(spill)]
    if max_memory_mb is not None:
        command += ["--max-memory", str(max_memory_mb)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Run both, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("CV3D_DATA") or ROOT.parent / "shared" / "data") / "rgbd" / "seven_scenes"
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--max-memory", type=float, metavar="MB", help="1000 where both runs are made")
    parser.add_argument("--voxel", type=float, default=0.01)
    parser.add_argument("--step", type=float, default=2.0)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--spill", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run = long_run(
            arguments.data, arguments.frames, arguments.voxel, arguments.step, arguments.max_memory, arguments.spill
        )
        print(json.dumps(asdict(run)))
        return
    most = arguments.max_memory or 1000.0
    with tempfile.TemporaryDirectory() as spill:
        bound, free = (in_process(arguments, limit, Path(spill)) for limit in (most, None))
    for name in bound:
        print(f"{name:12} {most:g} MB: {bound[name]}\n{'':12} unbounded: {free[name]}")
    is_same = bound["digests"] == free["digests"]
    is_inside = bound["peak_mb"] <= most
    print(f"\nthe same surface: {is_same}; inside {most:g} MB: {is_inside} ({bound['peak_mb']:.0f} MB at most)")
    sys.exit(0 if is_same and is_inside else 1)


if __name__ == "__main__":
    main()
