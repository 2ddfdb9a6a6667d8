"""Semi-dense XFeat, XFeat* of the paper (Potje et al., 2024): cells of the coarse map where it is most reliable.

No keypoints are detected. A feature is a cell of 8 × 8 pixels of the picture at one of two scales; where in the cell
the match lies is found later, from the two descriptors (:mod:`cv3d.features.matchers.refined`).
"""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional

from cv3d.compute import Compute
from cv3d.features.extractors.base import Features, checked_images, sizes_of
from cv3d.features.extractors.tiles import Span, grey, spans, statistics, strongest_of
from cv3d.features.extractors.xfeat import XFeatOptions, load_network
from cv3d.features.extractors.xfeat_network import (
    CELL,
    DESCRIPTOR_SIZE,
    NORM_EPSILON,
    REACH,
    STRIDE,
    XFeatNetwork,
)

DETECTION_THRESHOLD = 0.01
"""Reliability to exceed. Cells of an empty picture stay below 0.006; those of pictures are rarely below 0.05."""
SMALL, LARGE = Fraction(3, 5), Fraction(13, 10)
"""The authors' two scales."""
_SMALL_SHARE = Fraction(1, 5)
"""The share of the features that comes from the smaller."""
_STRIP_ROWS = 256
_SAME_PLACE = 0.1


class XFeatDense:
    """Semi-dense XFeat."""

    name = "xfeat-dense"
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
        network = load_network(compute)
        assert isinstance(network, XFeatNetwork)
        self._network = network

    @property
    def max_keypoints(self) -> int:
        """K, the number of entries it gives for every picture."""
        return self.options.max_keypoints

    @torch.no_grad()
    def extract(self, images: Tensor) -> Features:
        """Features of pictures of one size; their keypoints are the centres of their cells, their scores reliabilities.

        A fifth of them comes from the picture at 0.6 of its size, the others from 1.3; `scales` tells them apart.

        Args:
            images: (B, 1 or 3, H, W), grey or RGB, float32 in [0, 1] or uint8, on the extractor's device.

        Raises:
            InputError: the tensor has another shape or type.
        """
        images = checked_images(images)
        count = int(_SMALL_SHARE * self.max_keypoints)
        asked = ((SMALL, count), (LARGE, self.max_keypoints - count))
        parts = [self._extract_scale(images, scale, share) for scale, share in asked if share]
        scores, keypoints, descriptors, scales = strongest_of(parts, self.max_keypoints)
        mask = scores > 0
        return Features(
            keypoints * mask[..., None],
            (descriptors * mask[..., None]).to(self._compute.dtype),
            scores,
            mask,
            sizes_of(images),
            scales * mask,
        )

    def _extract_scale(self, images: Tensor, scale: Fraction, count: int) -> tuple[Tensor, ...]:
        """Scores (B, count), keypoints (B, count, 2), descriptors (B, count, 64), scales (B, count) from one scale."""
        height, width = (_scaled(n, scale) for n in images.shape[-2:])
        strips = range(0, height, _STRIP_ROWS)
        mean, variance = statistics(
            _resampled(images, scale, (top, min(top + _STRIP_ROWS, height)), (0, width)) for top in strips
        )
        spread = (variance + NORM_EPSILON).sqrt()
        rows, columns = (spans(n, self.options.tile, STRIDE, REACH) for n in (height, width))
        parts = [
            self._extract_tile(images, scale, mean, spread, row, column, count) for row in rows for column in columns
        ]
        return strongest_of(parts, count)

    def _extract_tile(
        self, images: Tensor, scale: Fraction, mean: Tensor, spread: Tensor, row: Span, column: Span, count: int
    ) -> tuple[Tensor, ...]:
        """What :meth:`_extract_scale` gives, of one tile of the scaled picture."""
        seen = _resampled(images, scale, (row.start, row.stop), (column.start, column.stop))
        features, reliability = self._network.dense(((seen - mean) / spread).to(self._compute.dtype))
        rows, columns = reliability.shape[-2:]
        y, y_is_taken = _cells(row, rows, images.shape[-2], scale, seen.device)
        x, x_is_taken = _cells(column, columns, images.shape[-1], scale, seen.device)
        reliability = reliability[:, 0].float()
        is_taken = y_is_taken[:, None] & x_is_taken & (reliability > self._threshold)
        scores = torch.where(is_taken, reliability, 0.0).flatten(1)
        scores, cells = torch.topk(scores, min(count, rows * columns), dim=1)
        missing = (0, count - scores.shape[1])
        scores, cells = functional.pad(scores, missing), functional.pad(cells, missing)
        keypoints = torch.stack((x[cells % columns], y[torch.div(cells, columns, rounding_mode="floor")]), -1)
        descriptors = features.flatten(2).gather(2, cells[:, None].expand(-1, DESCRIPTOR_SIZE, -1)).transpose(1, 2)
        descriptors = functional.normalize(descriptors.float(), dim=-1)
        return scores, keypoints, descriptors, torch.full_like(scores, float(1 / scale))


def scales_of(keypoints: Tensor) -> Tensor:
    """How many of the picture's pixels one of the network's is, told by where features lie.

    The centres of cells of the two scales are never nearer than half a pixel to one another along an axis, so a
    feature's place says which scale it is from.

    Args:
        keypoints: (..., 2) pixels, as the extractor gave them.

    Returns:
        (...) float32; 0 where no cell has its centre.
    """
    scales = torch.zeros_like(keypoints[..., 0])
    for scale in (SMALL, LARGE):
        side = CELL / float(scale)
        cells = (keypoints + 0.5) / side - 0.5
        distance = ((cells - cells.round()).abs() * side).amax(-1)
        scales = torch.where(distance < _SAME_PLACE, float(1 / scale), scales)
    return scales


def _scaled(length: int, scale: Fraction) -> int:
    return max(int(length * scale), 1)


def _cells(span: Span, count: int, length: int, scale: Fraction, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where the centres of a stretch's cells lie on the picture's axis, (count,) pixels, and which are to be taken."""
    starts = torch.arange(count, device=device) * CELL + span.start
    centres = (starts + CELL / 2) / float(scale) - 0.5
    return centres, (starts >= span.core_start) & (starts < span.core_stop) & (centres <= length - 1)


def _resampled(images: Tensor, scale: Fraction, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """A part (B, 1, H, W) of pictures scaled bilinearly, in grey; beyond the border, border pixels are repeated.

    Args:
        images: (B, 1 or 3, H, W).
        scale: new size divided by the old.
        rows: first row and the one after the last, of the scaled picture.
        columns: likewise.
    """
    top, below, of_row = _taps(rows, images.shape[-2], scale, images.device)
    left, right, of_column = _taps(columns, images.shape[-1], scale, images.device)
    first, last = _reach(rows, images.shape[-2], scale)
    start, stop = _reach(columns, images.shape[-1], scale)
    part = grey(images[..., first:last, start:stop])
    top, below, left, right = top - first, below - first, left - start, right - start
    part = torch.lerp(part.index_select(2, top), part.index_select(2, below), of_row[:, None])
    return torch.lerp(part.index_select(3, left), part.index_select(3, right), of_column)


def _taps(part: tuple[int, int], length: int, scale: Fraction, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Between which two pixels of an axis each pixel of the scaled axis lies, and how far along, in [0, 1].

    In integers: float32 would be a thousandth of a pixel off in large pictures.
    """
    last = _scaled(length, scale) - 1
    twice = 2 * scale.numerator
    places = torch.arange(*part, device=device).clamp(max=last)
    places = ((2 * places + 1) * scale.denominator - scale.numerator).clamp(0, (length - 1) * twice)
    before = torch.div(places, twice, rounding_mode="floor")
    return before, (before + 1).clamp(max=length - 1), (places - before * twice).float() / twice


def _reach(part: tuple[int, int], length: int, scale: Fraction) -> tuple[int, int]:
    """The pixels of an axis that a part of the scaled axis is made of: the first, and the one after the last."""
    last = _scaled(length, scale) - 1
    first, final = (min(place, last) for place in (part[0], part[1] - 1))
    return max(int(first / scale) - 1, 0), min(int((final + 1) / scale) + 2, length)
