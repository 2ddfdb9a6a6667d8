"""From pictures to poses: cv3d.reconstruct beside COLMAP on the same cores, in one process, in turns.

    python tests/benchmarks/reconstruct_vs_colmap.py --work /tmp/peers [--sets fountain fox] [--known | --unknown]
    python tests/benchmarks/reconstruct_vs_colmap.py --work /tmp/peers --sides cv3d --pictures /tmp/sparse

Each set is taken twice: with its camera known, which both sides then hold, and with nothing known. COLMAP extracts SIFT
from pictures of at most 1600 px, matches all pairs, and maps incrementally; `colmap-pp` is the same with the principal
point freed in a last adjustment, `colmap-global` its global mapper, after its calibration of the view graph where the
camera is unknown. Of a clip, COLMAP gets the key frames that cv3d chose, as PNG files, without their choice counting.
cv3d is run on six pictures first, so that what is compiled and loaded once is not in its figures; one does so once.

With --work, what COLMAP finds is kept there, and a later run takes it with its seconds, as long as pictures, camera,
threads and version are the same; ratios then compare runs of different times. Quality is that of the first repeat,
seconds are medians. `total / COLMAP` is the median over repeats of a side's wall seconds over those of `colmap`.

AUC is over all pairs of pictures with a reference, of the larger of the errors of the relative rotation and of the
translation's direction; a pair that is not in one model counts as infinitely wrong. Centres are those of the largest
model after a similarity, their RMS distance in per cent of the diagonal of the box around the true ones. Fountain's
poses were surveyed; fox's are COLMAP's own, from more pictures. Where no focal length is known, it is compared with
that of `colmap`, and that is said.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

if "--threads" in sys.argv and hasattr(os, "sched_setaffinity"):  # before any library counts the cores
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(sys.argv[sys.argv.index("--threads") + 1]) :])

import numpy as np
import pycolmap
import torch
from PIL import Image
from sparse_sides import (
    COLMAP,
    CORNER,
    CV3D,
    FREED,
    GLOBAL,
    SIDES,
    STAGES,
    ColmapRun,
    Floats,
    Found,
    Job,
    Model,
    key_of,
    run_cv3d,
)

import cv3d
from cv3d.compute import Compute, usable_cores
from cv3d.errors import EstimationError
from cv3d.evaluation.matches.pose_error import relative_pose_error
from cv3d.evaluation.matches.recall_curve import area_under_recall
from cv3d.evaluation.trajectory.alignment import align
from cv3d.evaluation.trajectory.choices import Alignment
from cv3d.formats.posed_pictures import read_posed_pictures
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.trajectory import Trajectory
from cv3d.mapping.frames import list_frames
from cv3d.mapping.options import MapOptions
from cv3d.progress import SILENT

ROOT = Path(os.environ.get("CV3D_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
POSED = {"fountain": "fountain-P11", "fox": "fox"}
CLIPS = ("stone_sign", "log_building_02")
SETS = (*POSED, "seoul_bull", *CLIPS)
LIMITS_DEG = (1.0, 3.0, 5.0)
WARM_UP = 6


@dataclass(frozen=True, eq=False)
class Views:
    """A set with what is known of it."""

    name: str
    source: Path
    """What cv3d is given."""
    pictures: Path
    """What COLMAP is given."""
    camera: Camera | None
    truth: dict[str, Floats]
    """cam_from_world of each picture; empty where there is none."""

    @property
    def keys(self) -> list[str]:
        """Of all pictures."""
        return sorted(key_of(file.name) for file in self.pictures.iterdir())


def linked(files: Sequence[Path], folder: Path) -> Path:
    """A folder of nothing but these files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in files:
        (folder / file.name).symlink_to(file.resolve())
    return folder


def read_views(name: str, work: Path) -> Views:
    pictures = work / name / "pictures"
    if name in CLIPS:
        source = ROOT / "clips" / f"{name}.mp4"
        shutil.rmtree(pictures, ignore_errors=True)
        pictures.mkdir(parents=True)
        frames = list_frames(source, MapOptions().max_frames, work / name, anew=True, progress=SILENT)
        for picture in frames.pictures:
            Image.fromarray(picture.read_rgb().array).save(pictures / f"{key_of(picture.name)}.png")
        return Views(name, source, pictures, None, {})
    if name in POSED:
        posed = read_posed_pictures(ROOT / "views" / POSED[name]).pictures
        linked([one.file for one in posed], pictures)
        truth = {key_of(one.file.name): one.cam_from_world for one in posed}
        return Views(name, pictures, pictures, posed[0].camera, truth)
    folder = ROOT / "views" / name
    linked(sorted(folder.glob("*.jpg")), pictures)
    said = json.loads((folder / "camera_config.json").read_text())["camera_intrinsics"]
    focal, cx, cy, k1 = said["parameters"].values()  # COLMAP's SIMPLE_RADIAL, in its order and with its pixel origin
    params = (focal, focal, cx - CORNER, cy - CORNER, k1, 0.0, 0.0, 0.0)
    return Views(name, pictures, pictures, Camera("brown4", said["width"], said["height"], params), {})


def pose_errors(models: Sequence[Model], truth: Mapping[str, Floats]) -> list[float]:
    """The larger error of every pair, degrees; infinite where no model has both."""
    errors = []
    for first, second in itertools.combinations(truth, 2):
        model = next((one for one in models if first in one.poses and second in one.poses), None)
        if model is None:
            errors.append(float("inf"))
            continue
        true = truth[second] @ np.linalg.inv(truth[first])
        errors.append(relative_pose_error(model.poses[second] @ np.linalg.inv(model.poses[first]), true).max_deg)
    return errors


def centre_error(model: Model, truth: Mapping[str, Floats]) -> float:
    """RMS distance of the camera centres after a similarity, per cent of the extent of all true ones."""
    names = [name for name in truth if name in model.poses]
    own, true = (
        Trajectory(np.arange(float(len(names))), np.array([nearest_pose(np.linalg.inv(of[name])) for name in names]))
        for of in (model.poses, truth)
    )
    try:
        off = align(own, true, Alignment.SIM3).estimate.positions - true.positions
    except EstimationError:
        return float("nan")
    every = np.array([np.linalg.inv(pose)[:3, 3] for pose in truth.values()])
    extent = np.linalg.norm(np.ptp(every, axis=0))
    return float(100.0 * np.sqrt((off**2).sum(axis=1).mean()) / extent)


def nearest_pose(matrix: Floats) -> Floats:
    """The same with an exact rotation: files round it."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = left @ right, matrix[:3, 3]
    return pose


def figures(found: Found, views: Views, peer: Found | None) -> list[str]:
    """Columns on what was found."""
    models = found.models
    registered = set().union(*(model.poses for model in models))
    counts = [f"{len(registered)}/{len(views.keys)}", str(len(models))]
    if not models:
        return [*counts, *["–"] * 8]
    points, seen = sum(len(one.points) for one in models), sum(one.observations for one in models)
    error = sum(one.mean_px * one.observations for one in models) / max(seen, 1)
    columns = [*counts, str(points), str(seen), f"{error:.2f}"]
    if views.truth:
        errors = pose_errors(models, views.truth)
        columns += [f"{100.0 * area_under_recall(errors, limit):.1f}" for limit in LIMITS_DEG]
        columns.append(f"{centre_error(models[0], views.truth):.3f}")
    else:
        columns += ["–"] * 4
    return [*columns, focal_column(models[0].focal, views, peer)]


def focal_column(focal: float, views: Views, peer: Found | None) -> str:
    if views.camera is not None:
        return f"{focal:.1f} ({100.0 * (focal / np.mean(views.camera.params[:2]) - 1.0):+.1f} %)"
    if peer is not None and peer.models:
        return f"{focal:.1f} ({100.0 * (focal / peer.models[0].focal - 1.0):+.1f} % of COLMAP's)"
    return f"{focal:.1f}"


def seconds(takes: Sequence[Found], peers: Sequence[Found]) -> list[str]:
    """Columns on what it took."""
    columns = [
        f"{statistics.median(one.wall[stage] for one in takes):.1f}" if stage in takes[0].wall else "–"
        for stage in STAGES
    ]
    columns.append(f"{statistics.median(one.cpu for one in takes):.1f}")
    if len(peers) != len(takes):
        return [*columns, "–", "–"]
    pairs = list(zip(takes, peers, strict=True))
    columns.append(f"{statistics.median(own.wall['total'] / peer.wall['total'] for own, peer in pairs):.2f}")
    columns.append(f"{statistics.median(own.cpu / peer.cpu for own, peer in pairs):.2f}")
    return columns


def row(cells: Sequence[str]) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def print_head() -> None:
    cells = ["set", "K", "side", "registered", "models", "points", "observations", "error px"]
    cells += [f"AUC@{limit:g}°" for limit in LIMITS_DEG] + ["centres %", "focal px"]
    cells += [*(f"{stage} s" for stage in STAGES), "CPU s", "total / COLMAP", "CPU / COLMAP"]
    row(cells)
    row(["---"] * len(cells))


def compare(views: Views, *, is_known: bool, arguments: argparse.Namespace, work: Path) -> list[str]:
    """Run all sides in turns, print a row for each, draw; what there is to say about it, in lines."""
    setting = "known" if is_known else "unknown"
    job = Job(views.source, views.pictures, views.camera if is_known else None, arguments.threads)
    sides = arguments.sides or [CV3D, COLMAP, *([] if is_known else [FREED]), *([GLOBAL] * (views.name in CLIPS))]
    takes: dict[str, list[Found]] = {side: [] for side in SIDES if side in sides}
    for repeat in range(arguments.repeats):
        peer = ColmapRun(job, work / views.name / setting / str(repeat)) if set(sides) != {CV3D} else None
        for side, found in takes.items():
            found.append(run_cv3d(job) if peer is None or side == CV3D else peer.found(side))
    peers = takes.get(COLMAP, [])
    said = []
    for side, found in takes.items():
        row([views.name, setting, side, *figures(found[0], views, peers[0] if peers else None), *seconds(found, peers)])
        totals = ", ".join(f"{one.wall['total']:.1f}" for one in found)
        said.append(f"- {views.name}, {setting}, {side}: {totals} s; {found[0].note or 'run now'}")
        if arguments.pictures:
            draw(found[0], views, f"{views.name}, K {setting}, {side}", arguments.pictures)
    return said


def draw(found: Found, views: Views, title: str, folder: Path) -> None:
    from sparse_pictures import draw_model

    past = views.keys[len(views.keys) // 2]
    for index, model in enumerate(found.models):
        name = f"{title.replace(', K ', '-').replace(', ', '-')}-{index}.png"
        draw_model(model, past, title if len(found.models) == 1 else f"{title}, model {index}", folder / name)


def warm_up(views: Views, work: Path, threads: int) -> None:
    """Load and compile what is loaded and compiled once."""
    files = sorted(views.pictures.iterdir())[:WARM_UP]
    folder = linked(files, work / "warm-up")
    run_cv3d(Job(folder, folder, None, threads))


def print_versions(threads: int) -> None:
    cpu = next((line.split(":", 1)[1].strip() for line in cpu_lines() if line.startswith("model name")), "")
    print(
        f"cv3d {cv3d.__version__}, pycolmap {pycolmap.__version__} with Ceres {pycolmap.__ceres_version__}, torch "
        f"{torch.__version__}, numpy {np.__version__}; {cpu or platform.machine()}, {os.cpu_count()} cores, "
        f"{threads} used, {platform.platform()}, load {os.getloadavg()[0]:.1f}\n",
        flush=True,
    )


def cpu_lines() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--sides", nargs="+", choices=SIDES, help="default: all, the global mapper for clips alone")
    setting = parser.add_mutually_exclusive_group()
    setting.add_argument("--known", action="store_true", help="only with the camera known")
    setting.add_argument("--unknown", action="store_true", help="only with nothing known")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="cores that either side may use")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--work", type=Path, help="where pictures and what COLMAP found are kept")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw every sparse model into this folder")
    arguments = parser.parse_args()
    if not ROOT.is_dir():
        raise SystemExit(f"{ROOT}: no data there; set CV3D_DATA")
    pycolmap.logging.minloglevel = 2
    torch.set_num_threads(arguments.threads)
    Compute.choose("cpu")
    print_versions(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        every = [read_views(name, work) for name in arguments.sets]
        if not arguments.sides or CV3D in arguments.sides:
            warm_up(every[0], work, arguments.threads)
        said = []
        print_head()
        for views, is_known in itertools.product(every, (True, False)):
            if (is_known and (arguments.unknown or views.camera is None)) or (not is_known and arguments.known):
                continue
            said += compare(views, is_known=is_known, arguments=arguments, work=work)
    print("\n" + "\n".join(said) + f"\n\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
