"""How time and memory of cv3d.reconstruct grow along a clip.

    python tests/benchmarks/reconstruct_scaling.py [--clips room seven_scenes] [--sizes 25 50 100 200] [--side 1280]

Each size is the first so many pictures of a clip, as a folder, in a process of its own: `room` is the clip that comes
with the project (110 frames), `seven_scenes` a hand-held Kinect's colour pictures (250). Pairs are those that a video's
frames would get from 31 pictures on, unless --pairs says otherwise, and the choice of key frames is left out, for it
would decide the size.

Of every stage there are the wall's seconds and the exponent with which they grow: the slope of the logarithm of the
seconds over that of the size, from each size to the next and, by least squares, over all of them. Beside it stands the
exponent that n log n has over the same sizes. Memory is the most that the process ever held, and what it held with
everything loaded before the first picture; its growth per picture leads to an estimate for 500.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

if "--threads" in sys.argv and hasattr(os, "sched_setaffinity"):  # before any library counts the cores
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(sys.argv[sys.argv.index("--threads") + 1]) :])

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import usable_cores

PROJECT = Path(__file__).resolve().parents[2]
ROOT = Path(os.environ.get("CV3D_DATA") or PROJECT.parent / "shared" / "data")
ROOM = PROJECT / "data" / "samples" / "room.mp4"
CLIPS = ("room", "seven_scenes")
STAGES = ("features", "matches", "poses", "total")
FAR = 500
"""Pictures that memory is estimated for."""
LEAST_SECONDS = 0.05
"""Less is no figure to compute an exponent from."""


@dataclass(frozen=True)
class Measured:
    """One size."""

    pictures: int
    registered: int
    models: int
    points: int
    mapper: str
    seconds: dict[str, float]
    cpu: float
    loaded_mib: float
    peak_mib: float


def frames_of(clip: str) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a clip, one after the other."""
    from cv3d.media.decode import decode_rgb
    from cv3d.media.video import video_frames

    if clip == "room":
        with video_frames(ROOM) as frames:
            yield from (frame.rgb() for frame in frames)
    else:
        for file in sorted((ROOT / "rgbd" / clip).glob("*.color.jpg")):
            yield decode_rgb(file.read_bytes(), file.name).array


def lay_out(clip: str, count: int, side: int | None, folder: Path) -> int:
    """The first pictures of a clip as files, their longer side scaled to a size; how many there are."""
    from PIL import Image

    for index, pixels in enumerate(itertools.islice(frames_of(clip), count)):
        picture = Image.fromarray(pixels)
        if side is not None:
            factor = side / max(picture.size)
            size = round(picture.width * factor), round(picture.height * factor)
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        picture.save(folder / f"{index:06d}.jpg", quality=95)
    return len(list(folder.iterdir()))


def peak_mib() -> float:
    """The most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # resource also counts what the parent held before this process began
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024.0
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (2**20 if sys.platform == "darwin" else 2**10)


def measure_one(folder: Path, pairs: str, threads: int) -> Measured:
    """Reconstruct a folder of pictures in this process."""
    import torch

    import cv3d
    from cv3d.compute import Compute
    from cv3d.features.matching import PairChoice
    from cv3d.mapping.options import MapOptions

    torch.set_num_threads(threads)
    # What "auto" means for a long video, at every size, so that the sizes do the same work.
    choice = PairChoice().resolved(sys.maxsize, is_video=True) if pairs == "video" else PairChoice(pairs)
    options, compute = MapOptions(pairs=choice), Compute.choose("cpu")
    reconstruct = cv3d.reconstruct  # loaded when it is asked for
    loaded, cpu = peak_mib(), time.process_time()
    scene = reconstruct(folder, options=options, compute=compute)
    return Measured(
        scene.total,
        scene.registered,
        len(scene.models),
        sum(len(model.points) for model in scene.models),
        str(scene.mapper),
        dict(scene.seconds),
        time.process_time() - cpu,
        loaded,
        peak_mib(),
    )


def measure(clip: str, count: int, arguments: argparse.Namespace) -> Measured | None:
    """The same in a process of its own; None where the clip is shorter."""
    with tempfile.TemporaryDirectory() as folder:
        if lay_out(clip, count, arguments.side, Path(folder)) < count:
            return None
        given = ["--one", folder, "--pairs", arguments.pairs, "--threads", str(arguments.threads)]
        done = subprocess.run([sys.executable, __file__, *given], check=True, stdout=subprocess.PIPE, text=True)
    return Measured(**json.loads(done.stdout))


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of the logarithms by least squares; NaN where there is too little to compute it from."""
    kept = [(size, value) for size, value in zip(sizes, values, strict=True) if value >= LEAST_SECONDS]
    if len(kept) < 2:
        return math.nan
    logs = np.log(np.array(kept))
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def row(cells: Sequence[object]) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def tell(clip: str, arguments: argparse.Namespace) -> None:
    """Measure all sizes of a clip, and print its two tables."""
    print(f"\n{clip}, its first pictures\n")
    head = ["pictures", "registered", "models", "points", "mapper", *(f"{one} s" for one in STAGES), "CPU s"]
    row([*head, "loaded MiB", "peak MiB"])
    row(["---"] * (len(head) + 2))
    found: list[Measured] = []
    for size in sorted(set(arguments.sizes)):
        one = measure(clip, size, arguments)
        if one is None:
            print(f"\nit has fewer than {size} pictures")
            break
        found.append(one)
        taken = [f"{one.seconds.get(stage, math.nan):.1f}" for stage in STAGES]
        cells = [one.pictures, one.registered, one.models, one.points, one.mapper, *taken, f"{one.cpu:.1f}"]
        row([*cells, f"{one.loaded_mib:.0f}", f"{one.peak_mib:.0f}"])
    if len(found) < 2:
        return
    print("\nexponents of growth\n")
    row(["from – to", *STAGES, "CPU", "n log n"])
    row(["---"] * (len(STAGES) + 3))
    for part in [*(found[i : i + 2] for i in range(len(found) - 1)), *([found] if len(found) > 2 else [])]:
        counts = [float(one.pictures) for one in part]
        slopes = [exponent(counts, [one.seconds.get(stage, 0.0) for one in part]) for stage in STAGES]
        slopes.append(exponent(counts, [one.cpu for one in part]))
        slopes.append(exponent(counts, [count * math.log(count) for count in counts]))
        row([f"{part[0].pictures} – {part[-1].pictures}", *(f"{slope:.2f}" for slope in slopes)])
    slope, base = np.polyfit([one.pictures for one in found], [one.peak_mib for one in found], 1)
    far = base + FAR * slope
    print(f"\npeak memory: {slope:.1f} MiB more per picture; at that rate {far:.0f} MiB for {FAR} pictures")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="+", choices=CLIPS, default=list(CLIPS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[25, 50, 100, 200])
    parser.add_argument("--side", type=int, help="scale pictures to so many pixels along the longer side")
    parser.add_argument("--pairs", default="video", choices=("video", "auto", "exhaustive", "sequential", "retrieval"))
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(asdict(measure_one(arguments.one, arguments.pairs, arguments.threads))))
        return
    print(
        f"cv3d {version('cv3d')}, torch {version('torch')}, numpy {np.__version__}; {platform.machine()}, "
        f"{os.cpu_count()} cores, {arguments.threads} used, {platform.platform()}, load {os.getloadavg()[0]:.1f}; "
        f"pairs: {arguments.pairs}, longer side: {arguments.side or 'as it is'}"
    )
    for clip in arguments.clips:
        tell(clip, arguments)


if __name__ == "__main__":
    main()
