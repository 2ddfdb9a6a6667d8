"""Renders the samples of this folder: `python data/samples/render.py [NAME...] [-o OUT] [--only INDEX...]`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rendering.calibration_sets import CHARUCO_FISHEYE, CHECKERBOARD, STEREO, BoardSet, StereoSet
from rendering.sequences import CLIP, DEPTH_SEQUENCE

BOARD_SETS: dict[str, BoardSet | StereoSet] = {
    "checkerboard": CHECKERBOARD,
    "charuco_fisheye": CHARUCO_FISHEYE,
    "stereo": STEREO,
}
SEQUENCES = ("room", "rgbd")


def render_boards(name: str, folder: Path, only: list[int] | None, workers: int) -> None:
    """Render the pictures `only` (all where None) of one board set, and its ground truth."""
    board_set = BOARD_SETS[name]
    indices = range(len(board_set.views)) if only is None else only
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(board_set.render, [folder] * len(indices), [[index] for index in indices]))
    board_set.write_truth(folder)


def main() -> None:
    """Parse the command line and render."""
    parser = argparse.ArgumentParser(description="Render the samples with exact ground truth.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join((*BOARD_SETS, *SEQUENCES))}; default: all"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).resolve().parent, help="folder to write into")
    parser.add_argument("--only", type=int, nargs="+", metavar="INDEX", help="board sets: these pictures alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args()
    unknown = set(options.names) - {*BOARD_SETS, *SEQUENCES}
    if unknown:
        parser.error(f"no sample is called {', '.join(sorted(unknown))}")
    for name in options.names or (*BOARD_SETS, *SEQUENCES):
        started = time.perf_counter()
        if name in BOARD_SETS:
            render_boards(name, options.out / name, options.only, options.jobs)
        elif name == "room":
            CLIP.render(options.out, options.jobs)
        else:
            DEPTH_SEQUENCE.render(options.out / name, options.jobs)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
