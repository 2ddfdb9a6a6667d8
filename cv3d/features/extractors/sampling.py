"""Reading dense maps at scattered places, and the way back from cells to pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_CUBIC = -0.75
"""The parameter of Keys' cubic convolution ("Cubic convolution interpolation for digital image processing", 1981) that
torch uses, and with it the networks were trained."""


def sample_cubic(maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bicubic interpolation of maps at scattered positions; zero outside the map.

    The same as `grid_sample` computes, as one weighted sum of rows of the channels-last map: no copy of the map, and
    memory is read in rows instead of one number at a time.

    Args:
        maps: (B, C, H, W), best channels-last.
        x: (B, N) in cells, 0 at the centre of the first.
        y: (B, N).

    Returns:
        (B, N, C).
    """
    batch, channels, height, width = maps.shape
    rows, row_weights = _cubic_taps(y, height)
    columns, column_weights = _cubic_taps(x, width)
    cells = rows[..., :, None] * width + columns[..., None, :]
    cells = cells + torch.arange(batch, device=maps.device)[:, None, None, None] * (height * width)
    taps = (row_weights[..., :, None] * column_weights[..., None, :]).to(maps.dtype)
    table = maps.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    sampled = functional.embedding_bag(
        cells.flatten(2).flatten(0, 1), table, mode="sum", per_sample_weights=taps.view(-1, 16)
    )
    return sampled.view(batch, -1, channels)


def _cubic_taps(positions: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The four cells (…, 4) int64 around positions on an axis, and their weights (…, 4), zero for cells outside."""
    first = positions.floor()
    t = (positions - first)[..., None]
    offsets = torch.arange(-1, 3, device=positions.device)
    distance = (t - offsets).abs()
    a = _CUBIC
    near = ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1.0
    far = ((a * distance - 5.0 * a) * distance + 8.0 * a) * distance - 4.0 * a
    cells = first.long()[..., None] + offsets
    weights = torch.where(distance <= 1.0, near, far) * ((cells >= 0) & (cells < count))
    return cells.clamp(0, count - 1), weights


def cells_to_pixels(cells: Tensor, side: int) -> Tensor:
    """Lay the channels of cells out as pixels, row by row.

    Args:
        cells: (B, side², H, W), best channels-last.
        side: pixels along the side of a cell.

    Returns:
        (B, H·side, W·side).
    """
    batch, _, height, width = cells.shape
    # pixel_shuffle does the same, three times slower on a channels-last map.
    grouped = cells.permute(0, 2, 3, 1).reshape(batch, height, width, side, side)
    return grouped.transpose(2, 3).reshape(batch, height * side, width * side)
