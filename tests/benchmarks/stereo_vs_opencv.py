"""Dense stereo beside OpenCV's semi-global matching over eight paths, alternating, in one process, on the same pairs.

    python tests/benchmarks/stereo_vs_opencv.py --repeats 11 --threads 2 --rooms 3 --pictures /tmp/stereo

The two Middlebury 2003 pairs `stereo/cones` and `stereo/teddy` of the folder CV3D_DATA, at quarter size with 64
disparities, and rendered rooms whose truth is exact. The peer is `cv2.StereoSGBM` with MODE_HH, P1 = 8 c b² and
P2 = 32 c b²; its block size, uniqueness ratio and grey or colour are those of the grid that are best on all pairs. It
sees its pictures padded on the left, as it matches no pixel there otherwise. Both maps are filled by one function, the
lesser of the nearest disparities to both sides; the peer's is shown with cv3d's 3 x 3 median after that, too.

Prints the share of pixels that are off by more than 1 and 2 pixels (holes count as off), over those that both pictures
see (nonocc) and all known ones, the mean error, the map as it comes without filling, times and their ratios by turns.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numba
import numpy as np
import torch
from stereo_rooms import TruePair, rendered_pair

from cv3d.compute import Compute
from cv3d.depth.stereo import StereoOptions, score, stereo_disparity, visible_in_both
from cv3d.depth.stereo.filling import filled

DISPARITIES = 64
MOMENTS = (0.3, 1.8, 3.2)
CPU = Compute(torch.device("cpu"), torch.float32)


@dataclass(frozen=True)
class Sgbm:
    """OpenCV's matcher."""

    block: int
    uniqueness: int
    has_colour: bool

    def pictures(self, pair: TruePair) -> list[np.ndarray]:
        sides = [pair.left, pair.right]
        sides = sides if self.has_colour else [cv2.cvtColor(side, cv2.COLOR_RGB2GRAY) for side in sides]
        return [cv2.copyMakeBorder(side, 0, 0, DISPARITIES, 0, cv2.BORDER_REPLICATE) for side in sides]

    def match(self, pair: TruePair) -> np.ndarray:
        unit = (3 if self.has_colour else 1) * self.block**2
        matcher = cv2.StereoSGBM.create(
            0, DISPARITIES, self.block, 8 * unit, 32 * unit, 1, 0, self.uniqueness, 100, 2, cv2.StereoSGBM_MODE_HH
        )
        found = matcher.compute(*self.pictures(pair))[:, DISPARITIES:].astype(np.float32) / 16.0
        return np.where(found > 0.0, found, np.float32(0.0))


def ours(pair: TruePair, threads: int, **settings: object) -> np.ndarray:
    options = StereoOptions(max_disparity=DISPARITIES - 1, threads=threads, **settings)  # type: ignore[arg-type]
    return stereo_disparity(pair.left, pair.right, options=options, compute=CPU).disparity


def middlebury(folder: Path) -> TruePair:
    left, right = (cv2.cvtColor(cv2.imread(str(folder / f"im{k}.png")), cv2.COLOR_BGR2RGB) for k in (2, 6))
    truths = (cv2.imread(str(folder / f"disp{k}.png"), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 4.0 for k in (2, 6))
    return TruePair(left, right, *truths)


def bad_2(pair: TruePair, disparity: np.ndarray) -> float:
    return score(disparity, pair.truth, visible_in_both(pair.truth, pair.right_truth)).bad_2


def best_sgbm(pairs: dict[str, TruePair]) -> Sgbm:
    grid = [Sgbm(*one) for one in itertools.product((3, 5, 7), (0, 5, 10), (False, True))]
    return min(grid, key=lambda one: sum(bad_2(pair, filled(one.match(pair))) for pair in pairs.values()))


def report(name: str, pair: TruePair, disparity: np.ndarray) -> None:
    both = score(disparity, pair.truth, visible_in_both(pair.truth, pair.right_truth))
    known = score(disparity, pair.truth)
    print(
        f"  {name:24} nonocc {both.bad_1:7.2%} {both.bad_2:7.2%} {both.mean_error:7.3f} px, found {both.coverage:6.1%}"
        f"   all {known.bad_1:7.2%} {known.bad_2:7.2%} {known.mean_error:7.3f} px",
        flush=True,
    )


def save(folder: Path, name: str, pair: TruePair, maps: list[np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [cv2.cvtColor(pair.left, cv2.COLOR_RGB2BGR)]
    for one in (pair.truth, *maps):
        levels = np.clip(one * (255.0 / DISPARITIES), 0, 255).astype(np.uint8)
        drawn.append(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO) * (one > 0.0)[..., None].astype(np.uint8))
    half = (len(drawn) + 1) // 2
    drawn += [np.zeros_like(drawn[0])] * (2 * half - len(drawn))
    cv2.imwrite(str(folder / f"{name}.png"), np.vstack([np.hstack(drawn[:half]), np.hstack(drawn[half:])]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rooms", type=int, default=len(MOMENTS), help="rendered pairs, at most 3")
    parser.add_argument("--pictures", type=Path, help="folder for drawings of the maps")
    options = parser.parse_args()
    cv2.setNumThreads(options.threads)
    torch.set_num_threads(options.threads)

    data = Path(os.environ.get("CV3D_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data") / "stereo"
    pairs = {name: middlebury(data / name) for name in ("cones", "teddy")}
    pairs |= {f"room {moment:.1f} s": rendered_pair(moment) for moment in MOMENTS[: options.rooms]}
    peer = best_sgbm(pairs)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {options.threads} threads, OpenCV {cv2.__version__}, numba {numba.__version__}")
    print(f"best of OpenCV's grid: {peer}; bad-1, bad-2, mean error, share with a disparity")
    for name, pair in pairs.items():
        theirs = peer.match(pair)
        loose = ours(pair, options.threads, min_confidence=0.0)
        print(name)
        report("SGBM, filled", pair, filled(theirs))
        report("SGBM, filled, median", pair, cv2.medianBlur(filled(theirs), 3))
        report("cv3d, filled", pair, filled(loose))
        report("cv3d, is_filled", pair, ours(pair, options.threads, is_filled=True))
        report("SGBM, as it comes", pair, theirs)
        report("cv3d, as it comes", pair, ours(pair, options.threads))
        if options.pictures:
            save(options.pictures, name.replace(" ", "_"), pair, [filled(theirs), filled(loose), ours(pair, 1)])
    speed(pairs["teddy"], peer, options.repeats, options.threads)


def speed(pair: TruePair, peer: Sgbm, repeats: int, threads: int) -> None:
    work: dict[str, Callable[[], object]] = {
        "SGBM": lambda: peer.match(pair),
        "cv3d": lambda: ours(pair, threads),
    }
    wall: dict[str, list[float]] = {name: [] for name in work}
    cpu: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 2):
        for name, call in work.items():
            start, used = time.perf_counter(), time.process_time()
            call()
            if turn >= 2:
                wall[name].append(1e3 * (time.perf_counter() - start))
                cpu[name].append(1e3 * (time.process_time() - used))
    height, width = pair.truth.shape
    print(f"teddy, {width}x{height}, {DISPARITIES} disparities, medians of {repeats} alternating runs")
    for name in work:
        print(f"  {name}: {statistics.median(wall[name]):6.1f} ms wall, {statistics.median(cpu[name]):6.1f} ms of CPU")
    for kind, times in (("wall", wall), ("CPU", cpu)):
        ratio = statistics.median(a / b for a, b in zip(times["SGBM"], times["cv3d"], strict=True))
        print(f"  {kind} time of SGBM over cv3d's: {ratio:.2f}")


if __name__ == "__main__":
    main()
