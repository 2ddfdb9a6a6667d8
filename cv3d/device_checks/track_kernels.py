"""What follows points from frame to frame, in tracks and in odometry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.device_checks.inputs import fetched, placed, shifted_pair
from cv3d.device_checks.kernels import Case, Kernel, Limit, Outputs, at_once, numbers_within
from cv3d.features.tracks.alignment import AlignmentOptions, References, align
from cv3d.features.tracks.lucas_kanade import FlowOptions, follow
from cv3d.features.tracks.opencv_flow import follow_opencv
from cv3d.features.tracks.pyramid import Pyramid, build_pyramid
from cv3d.odometry.aligners import aligner_for
from cv3d.odometry.patches import build_levels

_SHIFT = (2.3, -1.6)
Sizes = Sequence[tuple[int, int, int]]
"""Height, width and number of points of the cases."""
_SIZES: Sizes = ((97, 131, 41), (131, 96, 128), (240, 320, 300))


def _inner(rng: np.random.Generator, height: int, width: int, count: int) -> NDArray[np.float32]:
    """(n, 2) places away from the border."""
    return rng.uniform(26.0, [width - 26.0, height - 26.0], (count, 2)).astype(np.float32)


def _pyramid(picture: NDArray[np.uint8], compute: Compute, levels: int) -> Pyramid:
    return build_pyramid(placed(picture, compute).float(), levels)


def _pyramids(seed: int) -> list[Case]:
    def case(height: int, width: int) -> Case:
        picture, _ = shifted_pair(np.random.default_rng(seed), height, width, _SHIFT)

        def run(compute: Compute) -> Outputs:
            levels = _pyramid(picture, compute, 4).levels
            return fetched(**{f"level{i}": level for i, level in enumerate(levels[:2])})

        return Case(f"{width}×{height}", at_once(run))

    return [case(height, width) for height, width, _ in _SIZES]


def _following(seed: int) -> list[Case]:
    options = FlowOptions()

    def case(height: int, width: int, count: int) -> Case:
        rng = np.random.default_rng(seed + height)
        first, second = shifted_pair(rng, height, width, _SHIFT)
        points = _inner(rng, height, width, count)

        @torch.no_grad()
        def run(compute: Compute) -> Outputs:
            before, after = (_pyramid(picture, compute, options.levels) for picture in (first, second))
            start = placed(points, compute)
            places, is_good = follow(before, after, start, start, options)
            return fetched(places=places, followed=is_good)

        def twin(_: Compute) -> Outputs:
            places, is_good = follow_opencv(first, second, points, points, options)
            return {"places": places, "followed": is_good}

        return Case(f"{width}×{height}, {count} points", at_once(run), at_once(twin))

    return [case(*size) for size in _SIZES]


def _reference_patches(seed: int) -> list[Case]:
    options = AlignmentOptions()

    def case(height: int, width: int, count: int) -> Case:
        rng = np.random.default_rng(seed + height)
        first, second = shifted_pair(rng, height, width, _SHIFT)
        points, rows = _inner(rng, height, width, count), rng.permutation(count + 3)[:count]
        start = (points + _SHIFT + rng.normal(0.0, 0.3, points.shape)).astype(np.float32)
        warps = np.tile(np.eye(2, dtype=np.float32), (count, 1, 1))

        @torch.no_grad()
        def run(compute: Compute) -> Outputs:
            before, after = (_pyramid(picture, compute, 1) for picture in (first, second))
            references = References.empty(count + 3, options, compute.device)
            index = placed(rows, compute)
            references.take(before.levels[0], placed(points, compute), index)
            found = align(after.levels[0], references, index, placed(start, compute), placed(warps, compute), options)
            return fetched(places=found.pixels, correlation=found.ncc, warps=found.warps, spread=found.covariance)

        return Case(f"{width}×{height}, {count} points", at_once(run))

    return [case(*size) for size in _SIZES]


def _point_patches(seed: int) -> list[Case]:
    def case(height: int, width: int, count: int) -> Case:
        rng = np.random.default_rng(seed + width)
        first, second = shifted_pair(rng, height, width, _SHIFT)
        points, rows = _inner(rng, height, width, count), rng.permutation(count)
        warps = (np.eye(2) + 0.03 * rng.normal(size=(count, 2, 2))).astype(np.float32)

        def run(compute: Compute) -> Outputs:
            aligner = aligner_for(compute)
            before, after = build_levels(first), build_levels(second)
            aligner.reserve(count)
            aligner.take(before, points, rows)
            found = aligner.align(after, rows, warps, points, len(after) - 1)
            return {"patches": aligner.patches(), "places": found[:, :2], "correlation": found[:, 2]}

        return Case(f"{width}×{height}, {count} points", at_once(run), at_once(run))

    return [case(*size) for size in _SIZES]


TRACK_KERNELS: tuple[Kernel, ...] = (
    Kernel("pyramids", ("match --tracks",), _pyramids, numbers_within(level0=Limit(1e-3), level1=Limit(1e-3))),
    Kernel(
        "following points",
        ("match --tracks",),
        _following,
        numbers_within(places=Limit(0.02, strays=0.02), followed=Limit(0.0, strays=0.02)),
        # OpenCV's works in whole numbers and on pyramids of its own.
        twin_slack=5.0,
    ),
    Kernel(
        "aligning reference patches",
        ("match --tracks",),
        _reference_patches,
        numbers_within(
            places=Limit(5e-3, strays=0.02),
            correlation=Limit(1e-3, strays=0.02),
            warps=Limit(5e-3, strays=0.02),
            spread=Limit(5e-3, strays=0.02),
        ),
    ),
    Kernel(
        "aligning the patches of points",
        ("odometry",),
        _point_patches,
        numbers_within(patches=Limit(1.0), places=Limit(0.02, strays=0.02), correlation=Limit(5e-3, strays=0.02)),
    ),
)
"""What follows points."""
