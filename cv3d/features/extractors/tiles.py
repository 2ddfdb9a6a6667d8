"""Pictures larger than a network sees at once: stretches of axes, statistics of the whole, the best of all tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

_STRIP_PIXELS = 1 << 22


@dataclass(frozen=True)
class Span:
    """A stretch of one axis: what an extractor sees, and the part of it whose keypoints are taken. In pixels."""

    start: int
    stop: int
    """May lie beyond the picture, where border pixels are repeated."""
    core_start: int
    core_stop: int


def spans(length: int, tile: int, stride: int, reach: int, margin: int = 0) -> list[Span]:
    """Cut one axis into stretches of at most `tile` pixels, whose cores tile the inside of the picture.

    Args:
        length: of the axis, pixels.
        tile: a multiple of `stride`, larger than twice `reach`.
        stride: stretches start at multiples of it; the last stop is rounded up to one.
        reach: how far a keypoint looks, a multiple of `stride`; what lies within it of a core is in the stretch.
        margin: no keypoints are taken as near as this to the border of the picture.
    """
    padded = -(-length // stride) * stride
    inside = margin, max(length - margin, margin + 1)
    if padded <= tile:
        return [Span(0, padded, *inside)]
    step = tile - 2 * reach
    count = -(-(padded - 2 * reach) // step)
    cuts = [0, *(reach + i * step for i in range(1, count)), padded]
    return [
        Span(max(a - reach, 0), min(b + reach, padded), max(a, inside[0]), min(b, inside[1]))
        for a, b in pairwise(cuts)
        if min(b, inside[1]) > max(a, inside[0])
    ]


def grey(images: Tensor) -> Tensor:
    """(B, 1, H, W) float32 mean of the channels, in [0, 1]."""
    scale = 1.0 / 255.0 if images.dtype == torch.uint8 else 1.0
    images = images.float()
    return (images if images.shape[1] == 1 else images.mean(1, keepdim=True)) * scale


def strips(images: Tensor) -> Iterator[Tensor]:
    """Grey strips of pictures from top to bottom, so that no large copy is made."""
    height, width = images.shape[-2:]
    rows = max(1, _STRIP_PIXELS // width)
    for start in range(0, height, rows):
        yield grey(images[..., start : start + rows, :])


def statistics(parts: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance (B, 1, 1, 1) of pictures that come in parts (B, 1, H, W), each of them once.

    Parts are combined as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979.
    """
    mean, variance = torch.zeros(()), torch.zeros(())
    seen = 0
    for part in parts:
        part_mean = part.mean((2, 3), keepdim=True)
        part_variance = (part - part_mean).square().mean((2, 3), keepdim=True)
        count = part.shape[-2] * part.shape[-1]
        seen += count
        if seen == count:
            mean, variance = part_mean, part_variance
            continue
        share = count / seen
        step = part_mean - mean
        mean = mean + step * share
        variance = variance + (part_variance - variance) * share + step**2 * (share * (1.0 - share))
    return mean, variance


def strongest_of(parts: list[tuple[Tensor, ...]], count: int) -> tuple[Tensor, ...]:
    """The strongest `count` of several tiles' keypoints.

    Args:
        parts: of each tile scores (B, K) and whatever belongs to each keypoint, (B, K, …).
        count: how many.
    """
    if len(parts) == 1 and parts[0][0].shape[1] == count:
        return parts[0]
    scores, *others = (torch.cat(tensors, 1) for tensors in zip(*parts, strict=True))
    scores, order = torch.topk(scores, count, dim=1)
    chosen = [scores]
    for tensor in others:
        index = order.view(*order.shape, *(1,) * (tensor.ndim - 2)).expand(-1, -1, *tensor.shape[2:])
        chosen.append(tensor.gather(1, index))
    return tuple(chosen)
