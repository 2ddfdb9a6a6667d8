"""Mutual nearest neighbours beside kornia's, alternating, in one process, on the same descriptors.

    python tests/benchmarks/mutual_vs_kornia.py --repeats 21 --threads 1

XFeat keypoints of two frames of the sample room, 2048 each where there are as many, on the CPU. The peers are
`kornia.feature.match_mnn`, which compares distances, and what kornia's XFeat itself does. Prints medians, the medians
of the ratios turn by turn, and the share of equal matches.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import kornia
import torch
from extract_vs_kornia import frame

from cv3d.compute import Compute
from cv3d.features.extractors.xfeat import XFeat, XFeatOptions
from cv3d.features.matchers.mutual import MutualNearest
from cv3d.features.matchers.ratio import RatioTest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--keypoints", type=int, default=2048)
    parser.add_argument("--threads", type=int, help="default: torch's own")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    features = XFeat(Compute.choose("cpu"), XFeatOptions(options.keypoints)).extract(torch.cat((frame(0), frame(15))))
    first, second = features[:1], features[1:]
    d0, d1 = (f.descriptors[0][f.mask[0]] for f in (first, second))
    network = kornia.feature.XFeat()
    matcher, ratio = MutualNearest(), RatioTest()

    work: dict[str, Callable[[], object]] = {
        "kornia match_mnn": lambda: kornia.feature.match_mnn(d0, d1),
        "kornia XFeat": lambda: network._match_mnn(d0, d1, min_cossim=-1),
        "kornia match_smnn": lambda: kornia.feature.match_smnn(d0, d1, 0.8),
        "cv3d mutual": lambda: matcher.match(first, second),
        "cv3d ratio": lambda: ratio.match(first, second),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(options.repeats + 2):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            if turn >= 2:
                times[name].append(1e3 * (time.perf_counter() - start))

    machine = platform.processor() or platform.machine()
    print(f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, kornia {kornia.__version__}")
    print(f"{len(d0)} x {len(d1)} descriptors of {d0.shape[1]}, medians of {options.repeats} alternating runs")
    for name, values in times.items():
        print(f"{name:18} {statistics.median(values):7.1f} ms")
    for ours, peer in (
        ("cv3d mutual", "kornia match_mnn"),
        ("cv3d mutual", "kornia XFeat"),
        ("cv3d ratio", "kornia match_smnn"),
    ):
        faster = statistics.median(b / a for a, b in zip(times[ours], times[peer], strict=True))
        print(f"{ours} against {peer}: {faster:.1f}x")
    theirs = {tuple(pair) for pair in torch.stack(network._match_mnn(d0, d1, min_cossim=-1), 1).tolist()}
    mine = {tuple(pair) for pair in matcher.match(first, second).of_pair(0).tolist()}
    print(f"equal matches: {len(mine & theirs)} of {len(theirs)}")


if __name__ == "__main__":
    main()
