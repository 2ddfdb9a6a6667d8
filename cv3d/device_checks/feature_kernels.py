"""Extraction, matching and refinement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cv3d.compute import Compute
from cv3d.device_checks.inputs import Layout, fetched, placed, shifted_pair, textured, unit_rows
from cv3d.device_checks.kernels import (
    Case,
    Comparison,
    Difference,
    Kernel,
    Limit,
    Outputs,
    Work,
    at_once,
    numbers_within,
)
from cv3d.features.extractors.base import ExtractorOptions, Features
from cv3d.features.extractors.registry import EXTRACTORS, create_extractor
from cv3d.features.extractors.xfeat_dense import SMALL
from cv3d.features.extractors.xfeat_network import CELL
from cv3d.features.matchers.base import Matcher
from cv3d.features.matchers.lightglue import WEIGHTS, LightGlue
from cv3d.features.matchers.mutual import MutualNearest
from cv3d.features.matchers.ratio import RatioTest
from cv3d.features.matchers.refined import MutualRefined
from cv3d.features.pairs.vlad import Vocabulary
from cv3d.features.refinement.options import RefinementOptions
from cv3d.features.refinement.views import view_of

MATCHING = ("evaluate matches", "match", "reconstruct")
_NEAR = 0.5
"""Keypoints nearer than this are the same, pixels."""


def _extraction(name: str) -> Callable[[int], Sequence[Case]]:
    def case(seed: int, height: int, width: int, layout: Layout, channels: int = 3) -> Case:
        rng = np.random.default_rng(seed)
        pictures = np.stack([textured(rng, height, width) for _ in range(channels)])[None]

        def start(compute: Compute) -> Work:
            extractor = create_extractor(name, compute, ExtractorOptions(256))

            def run() -> Outputs:
                found = extractor.extract(placed(pictures, compute, layout))
                outputs = fetched(pixels=found.keypoints[0], descriptors=found.descriptors[0], scores=found.scores[0])
                is_there = found.mask[0].cpu().numpy()
                return {key: array[is_there] for key, array in outputs.items()}

            return run

        return Case(f"{width}×{height} {layout}", start, start)

    def cases(seed: int) -> list[Case]:
        return [
            case(seed, 97, 131, Layout.STRIDED),
            case(seed + 1, 128, 96, Layout.TRANSPOSED, channels=1),
            case(seed + 2, 192, 256, Layout.PLAIN),
        ]

    return cases


def keypoints_within(pixels: float, angle: float, score: float, lost: float) -> Comparison:
    """Compares sets of keypoints: those that the other has, too, and how far these are off.

    Args:
        pixels: largest distance of the two places.
        angle: largest 1 - cosine of the two descriptors.
        score: largest difference of the scores, as a share of the largest.
        lost: share of the keypoints that only one has: chance decides between those that are equally strong.
    """

    def compare(found: Outputs, expected: Outputs) -> list[Difference]:
        if not len(found["pixels"]) or not len(expected["pixels"]):
            return [Difference("keypoints", float("inf"), 0.0)]
        # A cell of another scale may lie at the very place: of the near ones, the one of the most alike descriptor.
        near = cKDTree(expected["pixels"]).query_ball_point(found["pixels"], _NEAR)
        alike = [found["descriptors"][i] @ expected["descriptors"][some].T for i, some in enumerate(near)]
        both = np.array([i for i, some in enumerate(near) if some], np.int64)
        if not len(both):
            return [Difference("share of keypoints that are lost", 1.0, lost)]
        to = np.array([near[i][int(np.argmax(alike[i]))] for i in both.tolist()], np.int64)
        counts = len(found["pixels"]), len(expected["pixels"])
        off = np.linalg.norm(found["pixels"][both] - expected["pixels"][to], axis=1)
        cosine = (found["descriptors"][both] * expected["descriptors"][to]).sum(1)
        scores = np.abs(found["scores"][both] - expected["scores"][to]) / expected["scores"].max()
        return [
            Difference("share of keypoints that are lost", 1.0 - len(both) / max(counts), lost),
            Difference("keypoint in pixels", float(np.quantile(off, 0.98)), pixels),
            Difference("descriptor, 1 - cosine", float(1.0 - np.quantile(cosine, 0.02)), angle),
            Difference("score", float(np.quantile(scores, 0.98)), score),
        ]

    return compare


@dataclass(frozen=True, eq=False)
class _Entries:
    """Features of one picture, on the host; the last tenth are empty."""

    keypoints: NDArray[np.float32]
    """(n, 2) centres of cells."""
    descriptors: NDArray[np.float32]
    """(n, D) of unit length."""

    def on(self, compute: Compute, layout: Layout) -> Features:
        """A batch of one on a device."""
        count = len(self.keypoints)
        mask = np.arange(count)[None] < count - count // 10
        scores = mask.astype(np.float32)
        return Features(
            placed(self.keypoints[None], compute),
            placed(self.descriptors[None] * scores[..., None], compute, layout),
            placed(scores, compute),
            placed(mask, compute),
            placed(np.array([[640.0, 640.0]], np.float32), compute),
            placed(scores, compute),
        )


def _entries(rng: np.random.Generator, count: int, size: int) -> _Entries:
    side, cell = 40, CELL / float(SMALL)
    cells = np.stack([np.arange(count) % side, np.arange(count) // side], -1)
    return _Entries(((cells + 0.5) * cell - 0.5).astype(np.float32), unit_rows(rng, count, size))


def _matching(build: Callable[[Compute], Matcher], size: int, noise: float) -> Callable[[int], Sequence[Case]]:
    def case(seed: int, counts: tuple[int, int], layout: Layout) -> Case:
        rng = np.random.default_rng(seed)
        first, second = (_entries(rng, count, size) for count in counts)
        # Half of the second are those of the first again, in another order and with noise.
        half = min(counts) // 2
        order = rng.permutation(half)
        again = first.descriptors[order] + noise * second.descriptors[:half]
        second.descriptors[:half] = again / np.linalg.norm(again, axis=1, keepdims=True)
        second.keypoints[:half] = first.keypoints[order]

        def start(compute: Compute) -> Work:
            matcher = build(compute)

            def run() -> Outputs:
                matches = matcher.match(first.on(compute, layout), second.on(compute, layout))
                outputs = fetched(partners=matches.indices, scores=matches.scores)
                return outputs if matches.keypoints1 is None else {**outputs, **fetched(places=matches.keypoints1)}

            return run

        return Case(f"{counts[0]} to {counts[1]}, {layout}", start, start)

    def cases(seed: int) -> list[Case]:
        return [
            case(seed, (65, 300), Layout.STRIDED),
            case(seed + 1, (301, 67), Layout.TRANSPOSED),
            case(seed + 2, (300, 290), Layout.PLAIN),
        ]

    return cases


def _vocabulary(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    centres, descriptors = unit_rows(rng, 31, 64), unit_rows(rng, 5, 203, 64)
    mask = rng.random((5, 203)) < 0.7

    def case(layout: Layout) -> Case:
        @torch.no_grad()
        def run(compute: Compute) -> Outputs:
            words = Vocabulary(placed(centres, compute), seed)
            return fetched(vectors=words.encode(placed(descriptors, compute, layout), placed(mask, compute)))

        return Case(f"5×203×64 {layout}", at_once(run))

    return [case(layout) for layout in Layout]


def _refinement(seed: int) -> list[Case]:
    def case(label: str, offset: int, height: int, width: int, count: int, options: RefinementOptions) -> Case:
        rng = np.random.default_rng(seed + offset)
        first, second = shifted_pair(rng, height, width, (0.37, -0.21))
        places = rng.uniform(14.0, [width - 14.0, height - 14.0], (count, 2))
        warps = np.eye(2) + 0.05 * rng.normal(size=(count, 2, 2))
        warps[3] = np.nan

        def run(compute: Compute) -> Outputs:
            read = view_of(first, compute).read(places, warps, options)
            found = view_of(second, compute).align(read, places, warps, options)
            kept = found.mask[:, None]
            return {
                "accepted": found.mask,
                "places": np.where(kept, found.keypoints, 0.0),
                "correlation": np.where(found.mask, found.ncc, 0.0),
                "deviation": np.where(found.mask, np.sqrt(np.abs(found.covariance[:, 0, 0])), 0.0),
            }

        return Case(label, at_once(run), at_once(run))

    return [
        case("97×131, 51 patches", 0, 97, 131, 51, RefinementOptions(chunk=20)),
        case("241×323, 300 patches", 1, 241, 323, 300, RefinementOptions()),
    ]


_SAME_MATCHES = numbers_within(partners=Limit(0.0, strays=0.01), scores=Limit(1e-3, strays=0.01))
_SAME_PLACES = numbers_within(
    partners=Limit(0.0, strays=0.01), scores=Limit(1e-3, strays=0.01), places=Limit(2e-2, strays=0.01)
)


def _extractor(name: str, commands: Sequence[str], compare: Comparison) -> Kernel:
    return Kernel(
        f"extraction: {name}",
        (*MATCHING, *commands),
        _extraction(name),
        compare,
        EXTRACTORS[name].weights,
    )


def _lightglue(kind: str, size: int) -> Kernel:
    return Kernel(
        f"matching: LightGlue, {kind}",
        MATCHING,
        _matching(lambda compute: LightGlue(kind, compute), size, 0.1),
        _SAME_MATCHES,
        (WEIGHTS[kind],),
    )


FEATURE_KERNELS: tuple[Kernel, ...] = (
    _extractor("xfeat", ("match --tracks", "odometry"), keypoints_within(0.01, 1e-4, 5e-3, 0.05)),
    _extractor("xfeat-dense", (), keypoints_within(0.01, 1e-4, 5e-3, 0.05)),
    _extractor("aliked", (), keypoints_within(0.02, 1e-4, 5e-3, 0.05)),
    _extractor("disk", (), keypoints_within(0.01, 1e-4, 5e-3, 0.05)),
    Kernel("matching: nearest", MATCHING, _matching(lambda _: MutualNearest(), 64, 0.5), _SAME_MATCHES),
    Kernel("matching: ratio", MATCHING, _matching(lambda _: RatioTest(), 129, 0.5), _SAME_MATCHES),
    Kernel("matching: refined cells", MATCHING, _matching(MutualRefined, 64, 0.2), _SAME_PLACES, ("xfeat",)),
    _lightglue("xfeat", 64),
    _lightglue("aliked", 128),
    _lightglue("disk", 128),
    Kernel("retrieval", ("match", "reconstruct"), _vocabulary, numbers_within(vectors=Limit(1e-5, strays=0.001))),
    Kernel(
        "patch refinement",
        ("match", "reconstruct"),
        _refinement,
        numbers_within(
            accepted=Limit(0.0, strays=0.02),
            places=Limit(5e-3, strays=0.02),
            correlation=Limit(1e-3, strays=0.02),
            deviation=Limit(5e-3, strays=0.02),
        ),
    ),
)
"""What the features run on a device."""
