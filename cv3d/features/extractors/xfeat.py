"""XFeat keypoints and descriptors (Potje et al., "XFeat: Accelerated Features for Lightweight Image Matching", 2024).

Everything from the picture to the padded features runs on the device, without a count that the host would have to
wait for. Pictures of any size are taken as they are: the network needs multiples of 32 and gets the border pixels
repeated, so nothing is resampled. A picture larger than a tile runs in tiles that overlap by the reach of the network,
normalised by the statistics of the whole picture: the keypoints are the same, the memory is a tile's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features import weights
from cv3d.features.extractors.base import (
    ExtractorOptions,
    Features,
    checked_images,
    sizes_of,
    strict_maxima,
    strongest,
)
from cv3d.features.extractors.fused import with_fused_convolutions
from cv3d.features.extractors.sampling import cells_to_pixels, sample_cubic
from cv3d.features.extractors.xfeat_network import CELL, DESCRIPTOR_SIZE, REACH, STRIDE, XFeatNetwork

DETECTION_THRESHOLD = 0.05
"""The authors' threshold on the probability that a pixel of a cell is its keypoint."""
_NMS_RADIUS = 2
_NORM_EPSILON = 1e-5
_STRIP_PIXELS = 1 << 22


@dataclass(frozen=True)
class XFeatOptions(ExtractorOptions):
    """How XFeat runs."""

    tile: int = 2048
    """The longest side in pixels that the network sees at once; at least 1024 and a multiple of 32. About 400 MB at
    2048 in float32."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tile < 1024 or self.tile % STRIDE:
            raise InputError(f"a tile has to be at least 1024 and a multiple of {STRIDE}, not {self.tile}")


@dataclass(frozen=True)
class _Span:
    """A stretch of one axis: what the network sees, and the part of it whose keypoints are taken. In pixels."""

    start: int
    stop: int
    """May lie beyond the picture, where border pixels are repeated."""
    core_start: int
    core_stop: int


class XFeat:
    """Sparse XFeat."""

    name = "xfeat"
    descriptor_size = DESCRIPTOR_SIZE

    def __init__(self, compute: Compute, options: XFeatOptions | None = None) -> None:
        """Load the network onto the device of `compute`, in its floating-point type.

        Raises:
            DependencyError: the weights are not here.
            FormatError: the file of weights is not the published one.
        """
        self.options = options or XFeatOptions()
        self._compute = compute
        asked = self.options.detection_threshold
        self._threshold = DETECTION_THRESHOLD if asked is None else asked
        network = XFeatNetwork(weights.load("xfeat"))
        network = network.to(compute.device, compute.dtype)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = with_fused_convolutions(network, compute)

    @property
    def max_keypoints(self) -> int:
        """K, the number of entries it gives for every picture."""
        return self.options.max_keypoints

    @torch.no_grad()
    def extract(self, images: Tensor) -> Features:
        """Keypoints of pictures of one size.

        A keypoint is a pixel that is the only maximum of the keypoint map in its 5 × 5 window, at least two pixels
        inside the picture; its score is that map's value times the reliability there.

        Args:
            images: (B, 1 or 3, H, W), grey or RGB, float32 in [0, 1] or uint8, on the extractor's device.

        Raises:
            InputError: the tensor has another shape or type.
        """
        images = checked_images(images)
        height, width = images.shape[-2:]
        rows, columns = _spans(height, self.options.tile), _spans(width, self.options.tile)
        if len(rows) == len(columns) == 1:
            images = _grey(images)
        mean, spread = _statistics(images)
        parts = [self._extract_tile(images, mean, spread, row, column) for row in rows for column in columns]
        scores, keypoints, descriptors = parts[0] if len(parts) == 1 else _best(parts, self.max_keypoints)
        mask = scores > 0
        return Features(
            keypoints * mask[..., None],
            (descriptors * mask[..., None]).to(self._compute.dtype),
            scores,
            mask,
            sizes_of(images),
        )

    def _extract_tile(
        self, images: Tensor, mean: Tensor, spread: Tensor, row: _Span, column: _Span
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (B, K), keypoints (B, K, 2) in pixels of the picture, unit descriptors (B, K, 64) of one tile."""
        height, width = images.shape[-2:]
        grey = _grey(images[..., row.start : row.stop, column.start : column.stop])
        grey = (grey - mean) / spread
        below, right = max(row.stop - height, 0), max(column.stop - width, 0)
        if below or right:
            grey = functional.pad(grey, (0, right, 0, below), mode="replicate")
        grey = grey.to(self._compute.dtype)
        features, logits, reliability = self._network(grey)

        heat = cells_to_pixels(torch.softmax(logits.float(), 1)[:, : CELL * CELL], CELL)
        r = _NMS_RADIUS
        # Keypoints start two pixels inside the core, which is where windows fit into the picture and into the tile.
        top, bottom = row.core_start - row.start, row.core_stop - row.start
        left, right = column.core_start - column.start, column.core_stop - column.start
        window = heat[:, top - r : bottom + r, left - r : right + r]
        is_maximum = strict_maxima(window, r, self._threshold)
        heat = heat[:, top:bottom, left:right]
        up_rows = _map_positions(torch.arange(top, bottom, device=grey.device), row, height)
        up_columns = _map_positions(torch.arange(left, right, device=grey.device), column, width)
        dense = _interpolation(up_rows, logits.shape[-2]) @ (
            reliability[:, 0].float() @ _interpolation(up_columns, logits.shape[-1]).T
        )
        scores, x, y = strongest(torch.where(is_maximum, heat * dense, 0.0), self.max_keypoints)
        x, y = x + left, y + top
        unit = functional.normalize(features.float(), dim=1)
        sampled = sample_cubic(unit, _map_positions(x, column, width), _map_positions(y, row, height))
        descriptors = functional.normalize(sampled, dim=-1)
        keypoints = torch.stack((x + column.start, y + row.start), -1).float()
        return scores, keypoints, descriptors


def _grey(images: Tensor) -> Tensor:
    """(B, 1, H, W) float32 mean of the channels, in [0, 1]."""
    scale = 1.0 / 255.0 if images.dtype == torch.uint8 else 1.0
    images = images.float()
    return (images if images.shape[1] == 1 else images.mean(1, keepdim=True)) * scale


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (B, 1, 1, 1) of the grey pictures, strip by strip so that no large copy is made.

    Strips are combined as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979.
    """
    height, width = images.shape[-2:]
    strip = max(1, _STRIP_PIXELS // width)
    mean = torch.zeros((images.shape[0], 1, 1, 1), device=images.device)
    variance = torch.zeros_like(mean)
    for start in range(0, height, strip):
        grey = _grey(images[..., start : start + strip, :])
        part_mean = grey.mean((2, 3), keepdim=True)
        part_variance = (grey - part_mean).square().mean((2, 3), keepdim=True)
        share = grey.shape[-2] / (start + grey.shape[-2])
        step = part_mean - mean
        mean = mean + step * share
        variance = variance + (part_variance - variance) * share + step**2 * (share * (1.0 - share))
    return mean, (variance + _NORM_EPSILON).sqrt()


def _spans(length: int, tile: int) -> list[_Span]:
    """Cut one axis of `length` pixels into stretches of at most `tile`, whose cores tile the inside of the picture."""
    padded = -(-length // STRIDE) * STRIDE
    inside = _NMS_RADIUS, max(length - _NMS_RADIUS, _NMS_RADIUS + 1)
    if padded <= tile:
        return [_Span(0, padded, *inside)]
    step = tile - 2 * REACH
    count = -(-(padded - 2 * REACH) // step)
    cuts = [0, *(REACH + i * step for i in range(1, count)), padded]
    return [
        _Span(max(a - REACH, 0), min(b + REACH, padded), max(a, inside[0]), min(b, inside[1]))
        for a, b in pairwise(cuts)
        if min(b, inside[1]) > max(a, inside[0])
    ]


def _map_positions(pixels: Tensor, span: _Span, length: int) -> Tensor:
    """Where a tile's pixels are read on the tile's maps, in cells.

    The authors read pixel p of n at p/(n-1) · cells - 1/2, with which the network was trained; n is here the padded
    length of the whole picture's axis, so that a tile is read where the whole would be.
    """
    padded = -(-length // STRIDE) * STRIDE
    whole = (pixels + span.start) * ((padded // CELL) / (padded - 1)) - 0.5
    return whole - span.start // CELL


def _interpolation(positions: Tensor, count: int) -> Tensor:
    """(N, count) weights of linear interpolation at N positions on an axis of `count` cells, zero outside."""
    cells = torch.arange(count, device=positions.device, dtype=positions.dtype)
    return (1.0 - (positions[:, None] - cells).abs()).clamp(min=0.0)


def _best(parts: list[tuple[Tensor, Tensor, Tensor]], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The strongest `count` of several tiles' keypoints."""
    scores, keypoints, descriptors = (torch.cat(tensors, 1) for tensors in zip(*parts, strict=True))
    scores, order = torch.topk(scores, count, dim=1)
    index = order[..., None]
    return (
        scores,
        keypoints.gather(1, index.expand(-1, -1, 2)),
        descriptors.gather(1, index.expand(-1, -1, descriptors.shape[-1])),
    )
