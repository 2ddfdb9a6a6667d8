"""A set of pictures, all pairs: match_set beside COLMAP's SIFT, and what COLMAP's incremental mapper makes of either.

    python tests/benchmarks/match_set_vs_colmap.py [--set seven_scenes] [--pictures 100] [--threads 1] [--repeats 1]
    python tests/benchmarks/match_set_vs_colmap.py --memory 25 50 100

Each repeat runs in turns, in one process: `match_set` as it comes (extraction, first look, second opinions, refinement,
the store), pycolmap's extraction and exhaustive matching as they come, and once more with cv3d's limits on the size of
pictures and the number of keypoints. Both sides know the cameras where the set has them, and the mapper holds them.
Every library may use the same number of cores. CPU seconds are the process's, of all threads together; other work on
the machine stretches them less than the wall's. The median over repeats is printed.

With --memory, one process a size runs `match_set` and tells the most memory that each stage occupied.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if "--threads" in sys.argv and hasattr(os, "sched_setaffinity"):  # before any library counts the cores
    cores = sorted(os.sched_getaffinity(0))[-int(sys.argv[sys.argv.index("--threads") + 1]) :]
    os.sched_setaffinity(0, cores)

import numpy as np
import pycolmap
import torch

import cv3d
from cv3d.compute import Compute, usable_cores
from cv3d.features.matching import MatchOptions, PairChoice, SetMatch, match_set
from cv3d.formats.colmap_models import to_colmap
from cv3d.formats.posed_pictures import read_posed_pictures
from cv3d.geometry.cameras.camera import Camera

ROOT = Path(os.environ.get("CV3D_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
LIMITED = "COLMAP, limited"
SIDES = ("cv3d", "COLMAP", LIMITED)
SETS = ("seven_scenes", "fox", "fountain", "bull", "mixed")


@dataclass(frozen=True)
class Scene:
    """Pictures, and their camera where it is known and one."""

    files: list[Path]
    camera: Camera | None


@dataclass(frozen=True)
class Taken:
    """What a run took."""

    cpu: float
    wall: float


def evenly(files: Sequence[Path], count: int) -> list[Path]:
    """As many files, evenly spread over all."""
    return [files[i] for i in np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int))]


def read_scene(name: str, count: int) -> Scene:
    kinect = sorted((ROOT / "rgbd" / "seven_scenes").glob("*.color.jpg"))
    bull = sorted((ROOT / "views" / "seoul_bull").glob("*.jpg"))
    if name == "seven_scenes":
        matrix = np.loadtxt(ROOT / "rgbd" / "seven_scenes" / "camera-intrinsics.txt")
        figures = float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])
        return Scene(evenly(kinect, count), Camera("pinhole", 640, 480, figures))
    if name == "bull":
        return Scene(evenly(bull, count), None)
    if name == "mixed":
        views = [
            one for folder in ("fox", "fountain-P11") for one in (ROOT / "views" / folder / "images").glob("*.jpg")
        ]
        chosen = [*sorted(views), *bull]
        return Scene([*chosen, *evenly(kinect, max(0, count - len(chosen)))][:count], None)
    posed = read_posed_pictures(ROOT / "views" / {"fox": "fox", "fountain": "fountain-P11"}[name]).pictures
    return Scene(evenly([one.file for one in posed], count), posed[0].camera)


def lay_out(scene: Scene, folder: Path) -> None:
    """The set as a folder of its own, with a name for each picture that no other has."""
    for file in scene.files:
        place = file.parent.parent if file.parent.name == "images" else file.parent
        (folder / f"{place.name}-{file.name}").symlink_to(file.resolve())


class Stages:
    """A progress that notes the CPU seconds of each stage and, where Linux tells, the most memory it occupied."""

    def __init__(self, *, notes_memory: bool = False) -> None:
        self.cpu: dict[str, float] = {}
        self.mib: dict[str, float] = {}
        self._notes_memory = notes_memory
        self._stage, self._since = "before", time.process_time()

    def start(self, stage: str, total: int | None = None) -> None:
        self.enter(stage)

    def advance(self, stage: str, steps: int = 1) -> None:
        """Nothing to note."""

    def finish(self, stage: str) -> None:
        self.enter(f"after {stage}")

    def info(self, message: str) -> None:
        """Nothing to note."""

    def expect(self, message: str) -> None: ...

    def warn(self, message: str) -> None:
        print(message, file=sys.stderr)

    def enter(self, stage: str) -> None:
        """Close the stage so far and begin the next."""
        now = time.process_time()
        self.cpu[self._stage] = self.cpu.get(self._stage, 0.0) + now - self._since
        if self._notes_memory:
            lines = Path("/proc/self/status").read_text().splitlines()
            peak = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
            self.mib[self._stage] = max(peak, self.mib.get(self._stage, 0.0))
            Path("/proc/self/clear_refs").write_text("5")
        self._stage, self._since = stage, now

    def __str__(self) -> str:
        return ", ".join(f"{stage} {taken:.1f}" for stage, taken in self.cpu.items() if taken >= 0.05)


def run_cv3d(
    pictures: Path,
    output: Path,
    camera: Camera | None,
    stages: Stages,
    how: str = "exhaustive",
    *,
    refines: bool = True,
) -> SetMatch:
    result = match_set(
        pictures,
        output,
        MatchOptions(refine=refines),
        choice=PairChoice(how),
        camera=camera,
        compute=Compute.choose("cpu"),
        progress=stages,
    )
    stages.enter("end")
    return result


def run_colmap(
    pictures: Path, database: Path, camera: Camera | None, threads: int, limits: MatchOptions | None, stages: Stages
) -> None:
    reader, mode = pycolmap.ImageReaderOptions(), pycolmap.CameraMode.AUTO
    if camera is not None:
        reader.camera_model, params = to_colmap(camera)
        reader.camera_params, mode = ",".join(map(repr, params)), pycolmap.CameraMode.SINGLE
    extraction, matching = pycolmap.FeatureExtractionOptions(), pycolmap.FeatureMatchingOptions()
    extraction.use_gpu = matching.use_gpu = False
    extraction.num_threads = matching.num_threads = threads
    if limits is not None:
        extraction.max_image_size, extraction.sift.max_num_features = limits.max_side or -1, limits.max_keypoints
    stages.enter("extract features")
    pycolmap.extract_features(
        database, pictures, camera_mode=mode, reader_options=reader, extraction_options=extraction
    )
    stages.enter("match pairs")
    pycolmap.match_exhaustive(database, matching_options=matching)
    stages.enter("end")


def map_from(database: Path, pictures: Path, *, holds_cameras: bool, threads: int) -> str:
    """What the mapper made of a database, as the end of a row."""
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads, options.random_seed, options.extract_colors = threads, 0, False
    if holds_cameras:
        options.ba_refine_focal_length = options.ba_refine_principal_point = options.ba_refine_extra_params = False
    cpu = time.process_time()
    with tempfile.TemporaryDirectory() as output:
        found = pycolmap.incremental_mapping(database, pictures, output, options)
    cpu = time.process_time() - cpu
    if not found:
        return "no model"
    best = max(found.values(), key=lambda one: one.num_reg_images())
    names = {image.name for one in found.values() for image in one.images.values() if image.has_pose}
    return (
        f"{len(names):5d} {len(found):6d} {sum(one.num_points3D() for one in found.values()):7d} "
        f"{best.compute_mean_track_length():6.2f} {best.compute_mean_reprojection_error():8.3f} {cpu:8.1f}"
    )


def verified(database: Path) -> int:
    """Pairs with at least COLMAP's fewest inliers."""
    with pycolmap.Database.open(database) as opened:
        return sum(count >= 15 for count in opened.read_two_view_geometry_num_inliers()[1])


def keypoints_in(database: Path) -> int:
    with pycolmap.Database.open(database) as opened:
        return opened.num_keypoints()


def compare(scene: Scene, pictures: Path, threads: int, repeats: int, how: str, *, maps: bool, refines: bool) -> None:
    takes: dict[str, list[Taken]] = {name: [] for name in SIDES}
    databases: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as work:
        for repeat, name in itertools.product(range(repeats), SIDES):
            output = Path(work) / f"{name} {repeat}"
            output.mkdir()
            databases[name] = output / "database.db"
            stages, cpu, wall = Stages(), time.process_time(), time.perf_counter()
            if name == "cv3d":
                result = run_cv3d(pictures, output, scene.camera, stages, how, refines=refines)
            else:
                limits = MatchOptions() if name == LIMITED else None
                run_colmap(pictures, databases[name], scene.camera, threads, limits, stages)
            takes[name].append(Taken(time.process_time() - cpu, time.perf_counter() - wall))
            print(f"  {name}: CPU seconds: {stages}", flush=True)
        print(f"cv3d: {result.sentence()}; {result.methods}; {result.tracks} tracks, {result.refined} refined\n")
        print(
            f"{'':16} {'CPU s':>8} {'wall s':>8} {'CPU':>6} {'wall':>6} {'keypoints':>9} {'pairs':>6} "
            f"{'reg.':>5} {'models':>6} {'points':>7} {'length':>6} {'error px':>8} {'map CPU s':>9}"
        )
        for name in SIDES:
            both = list(zip(takes["cv3d"], takes[name], strict=True))
            figures = (
                f"{statistics.median(theirs.cpu for _, theirs in both):8.1f} "
                f"{statistics.median(theirs.wall for _, theirs in both):8.1f} "
                f"{statistics.median(theirs.cpu / ours.cpu for ours, theirs in both):6.2f} "
                f"{statistics.median(theirs.wall / ours.wall for ours, theirs in both):6.2f}"
            )
            found = f"{keypoints_in(databases[name]):9d} {verified(databases[name]):6d}"
            print(f"{name:16} {figures} {found}", end=" ", flush=True)
            holds = scene.camera is not None
            print(map_from(databases[name], pictures, holds_cameras=holds, threads=threads) if maps else "", flush=True)
        print("\nThe second CPU and wall are what a side took for each second of cv3d.")


def tell_memory(scene: Scene, pictures: Path) -> None:
    stages = Stages(notes_memory=True)
    with tempfile.TemporaryDirectory() as output:
        result = run_cv3d(pictures, Path(output), scene.camera, stages)
        size, keypoints = result.store.stat().st_size, keypoints_in(result.store)
    peaks = ", ".join(f"{stage} {mib:.0f}" for stage, mib in stages.mib.items() if not stage.startswith("after"))
    print(
        f"{len(scene.files)} pictures, {keypoints} keypoints, {result.planned} pairs, {len(result.edges)} verified, "
        f"{result.inliers.sum()} inliers, {result.tracks} tracks; store {size / 1e6:.1f} MB\n"
        f"  peak MiB: {peaks}\n  CPU seconds: {stages}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=SETS, default="seven_scenes")
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--threads", type=int, default=usable_cores(), help="cores that either side may use")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--choice", choices=("exhaustive", "auto"), default="exhaustive", help="cv3d's pairs")
    parser.add_argument("--no-refine", action="store_true", help="cv3d's keypoints stay where they were detected")
    parser.add_argument("--no-map", action="store_true", help="matching alone")
    parser.add_argument("--memory", type=int, nargs="+", metavar="PICTURES", help="peak memory at each of these sizes")
    parser.add_argument("--memory-of-one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not ROOT.is_dir():
        raise SystemExit(f"{ROOT}: no data there; set CV3D_DATA")
    pycolmap.logging.minloglevel = 2
    torch.set_num_threads(arguments.threads)
    scene = read_scene(arguments.set, arguments.pictures)
    with tempfile.TemporaryDirectory() as folder:
        lay_out(scene, Path(folder))
        if arguments.memory_of_one:
            tell_memory(scene, Path(folder))
            return
        print(
            f"cv3d {cv3d.__version__}, pycolmap {pycolmap.__version__}, torch {torch.__version__}, "
            f"{platform.machine()}, {os.cpu_count()} cores, {arguments.threads} used, load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        for count in arguments.memory or ():
            given = ["--set", arguments.set, "--threads", str(arguments.threads), "--pictures", str(count)]
            subprocess.run([sys.executable, __file__, *given, "--memory-of-one"], check=True)
        if not arguments.memory:
            print(f"{arguments.set}: {len(scene.files)} pictures, camera {'known' if scene.camera else 'unknown'}")
            compare(
                scene,
                Path(folder),
                arguments.threads,
                arguments.repeats,
                arguments.choice,
                maps=not arguments.no_map,
                refines=not arguments.no_refine,
            )


if __name__ == "__main__":
    main()
