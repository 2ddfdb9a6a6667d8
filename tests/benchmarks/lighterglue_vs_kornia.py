"""LighterGlue beside kornia's LightGlue with the same weights and settings, alternating, in one process.

    python tests/benchmarks/lighterglue_vs_kornia.py --repeats 15

Two frames of the sample room, XFeat keypoints, on the CPU, once with the authors' point pruning and once without.
Prints medians, their ratio and the share of equal matches.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable

import kornia
import torch
from extract_vs_kornia import alternating, frame

from cv3d.compute import Compute
from cv3d.features import weights
from cv3d.features.extractors.xfeat import XFeat, XFeatOptions
from cv3d.features.matchers.lightglue import LightGlue, LightGlueOptions, kornia_module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--keypoints", type=int, default=1024)
    parser.add_argument("--threads", type=int, help="default: torch's own")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    compute = Compute.choose("cpu")
    features = XFeat(compute, XFeatOptions(options.keypoints)).extract(torch.cat((frame(0), frame(15))))
    first, second = features[:1], features[1:]
    data = {
        f"image{i}": {"keypoints": f.keypoints, "descriptors": f.descriptors, "image_size": f.image_size}
        for i, f in enumerate((first, second))
    }
    reference = kornia_module("xfeat", weights.load("xfeat-lighterglue"))
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, kornia {kornia.__version__}")
    print(f"{' x '.join(str(int(n)) for n in features.counts())} keypoints, medians of {options.repeats} runs")
    for label, width in (("pruning", reference.conf.width_confidence), ("no pruning", -1)):
        reference.conf.width_confidence = width
        matcher = LightGlue("xfeat", compute, LightGlueOptions(width_confidence=width))

        def peer() -> torch.Tensor:
            with torch.inference_mode():
                return reference(data)["matches0"][0]

        def ours(matcher: LightGlue = matcher) -> torch.Tensor:
            return matcher.match(first, second).indices[0]

        work: dict[str, Callable[[], object]] = {"kornia": peer, "cv3d": ours}
        times = alternating(work, options.repeats)
        theirs, mine = peer(), ours()
        matched = (theirs >= 0) | (mine >= 0)
        equal = 100.0 * float((theirs == mine)[matched].float().mean())
        faster = times["kornia"] / times["cv3d"]
        print(f"{label}: kornia {times['kornia']:.1f} ms   cv3d {times['cv3d']:.1f} ms   {faster:.2f}x")
        print(f"    equal matches: {equal:.2f} % of {int(matched.sum())}")


if __name__ == "__main__":
    main()
