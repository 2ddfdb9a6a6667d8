"""XFeat keypoints and descriptors (Potje et al., "XFeat: Accelerated Features for Lightweight Image Matching", 2024).

Everything from the picture to the padded features runs on the device, without a count that the host would have to
wait for. Pictures of any size are taken as they are: the network needs multiples of 32 and gets the border pixels
repeated, so nothing is resampled. A picture larger than a tile runs in tiles that overlap by the reach of the network,
normalised by the statistics of the whole picture: the keypoints are the same, the memory is a tile's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
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
from cv3d.features.extractors.tiles import Span, grey, spans, statistics, strips, strongest_of
from cv3d.features.extractors.xfeat_network import (
    CELL,
    DESCRIPTOR_SIZE,
    NORM_EPSILON,
    REACH,
    STRIDE,
    XFeatNetwork,
)

DETECTION_THRESHOLD = 0.05
"""The authors' threshold on the probability that a pixel of a cell is its keypoint."""
_NMS_RADIUS = 2


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


def load_network(compute: Compute) -> nn.Module:
    """XFeat's network with its weights, as fast as the device of `compute` runs it.

    Raises:
        DependencyError: the weights are not here.
        FormatError: the file of weights is not the published one.
    """
    network = XFeatNetwork(weights.load("xfeat"))
    network = network.to(compute.device, compute.dtype)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return with_fused_convolutions(network, compute)


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
        self._network = load_network(compute)

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
        rows, columns = (spans(n, self.options.tile, STRIDE, REACH, _NMS_RADIUS) for n in (height, width))
        if len(rows) == len(columns) == 1:
            images = grey(images)
        mean, variance = statistics(strips(images))
        spread = (variance + NORM_EPSILON).sqrt()
        parts = [self._extract_tile(images, mean, spread, row, column)[:3] for row in rows for column in columns]
        return self._as_features(images, *strongest_of(parts, self.max_keypoints))

    @torch.no_grad()
    def extract_at(self, images: Tensor, pixels: Tensor) -> tuple[Features, Tensor, Tensor]:
        """Keypoints of pictures, and of the same pass descriptors at given pixels and the map they are all read from.

        Args:
            images: as for :meth:`extract`, no side longer than a tile.
            pixels: (B, N, 2) float32, on the extractor's device.

        Returns:
            the keypoints as :meth:`extract` gives them; descriptors (B, N, 64) float32 of unit length at the pixels, 0
            where they are far outside the picture; the map (B, 64, H/8, W/8) float32, of unit length in each cell,
            with H and W rounded up to multiples of 32.

        Raises:
            InputError: the pictures have another shape or type, or are larger than a tile.
        """
        images = checked_images(images)
        height, width = images.shape[-2:]
        if max(height, width) > self.options.tile:
            raise InputError(f"pictures of one tile have sides up to {self.options.tile} pixels, not {width}x{height}")
        (row,), (column,) = (spans(n, self.options.tile, STRIDE, REACH, _NMS_RADIUS) for n in (height, width))
        images = grey(images)
        mean, variance = statistics(strips(images))
        spread = (variance + NORM_EPSILON).sqrt()
        scores, keypoints, descriptors, unit = self._extract_tile(images, mean, spread, row, column)
        x, y = pixels.unbind(-1)
        sampled = sample_cubic(unit, _map_positions(x, column, width), _map_positions(y, row, height))
        features = self._as_features(images, scores, keypoints, descriptors)
        return features, functional.normalize(sampled, dim=-1), unit

    def _as_features(self, images: Tensor, scores: Tensor, keypoints: Tensor, descriptors: Tensor) -> Features:
        mask = scores > 0
        return Features(
            keypoints * mask[..., None],
            (descriptors * mask[..., None]).to(self._compute.dtype),
            scores,
            mask,
            sizes_of(images),
        )

    def _extract_tile(
        self, images: Tensor, mean: Tensor, spread: Tensor, row: Span, column: Span
    ) -> tuple[Tensor, ...]:
        """Scores, keypoints, descriptors and the map of one tile.

        Returns:
            (B, K); (B, K, 2) in pixels of the picture; (B, K, 64) of unit length; (B, 64, h, w) of unit length in each
            cell, which the descriptors are read from.
        """
        height, width = images.shape[-2:]
        seen = (grey(images[..., row.start : row.stop, column.start : column.stop]) - mean) / spread
        below, right = max(row.stop - height, 0), max(column.stop - width, 0)
        if below or right:
            seen = functional.pad(seen, (0, right, 0, below), mode="replicate")
        features, logits, reliability = self._network(seen.to(self._compute.dtype))

        heat = cells_to_pixels(torch.softmax(logits.float(), 1)[:, : CELL * CELL], CELL)
        r = _NMS_RADIUS
        # Keypoints start two pixels inside the core, which is where windows fit into the picture and into the tile.
        top, bottom = row.core_start - row.start, row.core_stop - row.start
        left, right = column.core_start - column.start, column.core_stop - column.start
        window = heat[:, top - r : bottom + r, left - r : right + r]
        is_maximum = strict_maxima(window, r, self._threshold)
        heat = heat[:, top:bottom, left:right]
        up_rows = _map_positions(torch.arange(top, bottom, device=seen.device), row, height)
        up_columns = _map_positions(torch.arange(left, right, device=seen.device), column, width)
        dense = _interpolation(up_rows, logits.shape[-2]) @ (
            reliability[:, 0].float() @ _interpolation(up_columns, logits.shape[-1]).T
        )
        scores, x, y = strongest(torch.where(is_maximum, heat * dense, 0.0), self.max_keypoints)
        x, y = x + left, y + top
        unit = functional.normalize(features.float(), dim=1)
        sampled = sample_cubic(unit, _map_positions(x, column, width), _map_positions(y, row, height))
        descriptors = functional.normalize(sampled, dim=-1)
        keypoints = torch.stack((x + column.start, y + row.start), -1).float()
        return scores, keypoints, descriptors, unit


def _map_positions(pixels: Tensor, span: Span, length: int) -> Tensor:
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
