"""XFeat extraction beside kornia's `XFeat.detectAndCompute`, alternating, in one process, with the same weights.

    python tests/benchmarks/extract_vs_kornia.py --repeats 21

The picture is the first frame of the sample room, 640 × 480, 2048 keypoints, on the CPU. Prints medians, their ratio
and the share of keypoints and of mutual nearest neighbours (with a later frame) that both find.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import kornia
import torch

from cv3d.compute import Compute
from cv3d.features import weights
from cv3d.features.extractors.xfeat import XFeat, XFeatOptions

CLIP = Path(__file__).resolve().parents[2] / "data" / "samples" / "room.mp4"


def frame(index: int) -> torch.Tensor:
    video = cv2.VideoCapture(str(CLIP))
    for _ in range(index + 1):
        _, picture = video.read()
    video.release()
    return torch.from_numpy(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)[None].contiguous() / 255.0


def alternating(work: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median wall time of each in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 2):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            if turn >= 2:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def share(ours: set[tuple[int, ...]], theirs: set[tuple[int, ...]]) -> str:
    return f"{len(ours & theirs)} of {len(theirs)} ({100.0 * len(ours & theirs) / len(theirs):.2f} %)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--keypoints", type=int, default=2048)
    parser.add_argument("--threads", type=int, help="default: torch's own")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    reference = kornia.feature.XFeat(top_k=options.keypoints)
    reference.net.load_state_dict(weights.load("xfeat"))
    reference.eval()
    extractor = XFeat(Compute.choose("cpu"), XFeatOptions(options.keypoints))

    pictures = [frame(0), frame(15)]
    points: list[list[torch.Tensor]] = [[], []]
    descriptors: list[list[torch.Tensor]] = [[], []]
    for picture in pictures:
        features, theirs = extractor.extract(picture), reference.detectAndCompute(picture)[0]
        points[0].append(features.keypoints[0][features.mask[0]])
        descriptors[0].append(features.descriptors[0][features.mask[0]])
        points[1].append(theirs["keypoints"])
        descriptors[1].append(theirs["descriptors"])
    found = [{tuple(p) for p in who[0].int().tolist()} for who in points]
    matched = []
    for who in (0, 1):
        i, j = reference._match_mnn(*descriptors[who], min_cossim=-1)
        rows = torch.cat((points[who][0][i], points[who][1][j]), 1).int().tolist()
        matched.append({tuple(row) for row in rows})

    work = {"kornia": lambda: reference.detectAndCompute(pictures[0]), "cv3d": lambda: extractor.extract(pictures[0])}
    times = alternating(work, options.repeats)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, kornia {kornia.__version__}")
    print(f"640 x 480, {options.keypoints} keypoints, medians of {options.repeats} alternating runs")
    print(f"kornia {times['kornia']:.1f} ms   cv3d {times['cv3d']:.1f} ms   {times['kornia'] / times['cv3d']:.2f}x")
    print(f"same keypoints: {share(*found)}   same matches: {share(*matched)}")


if __name__ == "__main__":
    main()
