"""The matching cost: how unlike a pixel of the left picture is to one of the right, in whole numbers from 0 to 90.

Three measures that fail at different places: the census transform (Zabih and Woodfill, "Non-parametric local transforms
for computing visual correspondence", 1994), which does not mind other exposure; brightness, insensitive to where pixels
sample it (Birchfield and Tomasi, "A pixel dissimilarity measure that is insensitive to image sampling", 1998), which
is sharp at edges; and gradients, which are sharp between whole pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CENSUS_RADIUS = 3
"""The census looks at 7 x 7 pixels."""
WORD_BITS = 24
"""Its 48 comparisons lie in two words."""
CENSUS_WEIGHT, BRIGHTNESS_WEIGHT, GRADIENT_WEIGHT = 5, 2, 2
"""Quarters, per comparison that differs and per grey value."""
MOST_BRIGHTNESS, MOST_GRADIENT = 30, 30
"""Differences beyond these are those of another surface and count no more."""
MOST_COST = (2 * WORD_BITS * CENSUS_WEIGHT + MOST_BRIGHTNESS * BRIGHTNESS_WEIGHT + MOST_GRADIENT * GRADIENT_WEIGHT) >> 2

_CHUNK = 1 << 22
"""Costs computed at once."""


@dataclass(frozen=True, eq=False)
class Described:
    """What the cost looks at in one picture; integers (h, w) on the device."""

    gray: Tensor
    lowest: Tensor
    """Least brightness within half a pixel to the left and right."""
    highest: Tensor
    """Greatest."""
    along: Tensor
    """Derivative along the row, in Sobel's scheme, 128 where there is none."""
    across: Tensor
    """Derivative across the rows."""
    words: tuple[Tensor, Tensor]
    """Which neighbours are darker, `WORD_BITS` bits each."""


def describe(gray: Tensor) -> Described:
    """What the cost looks at in a picture (h, w), int32, 0 to 255. Beyond the border stands the nearest pixel."""
    shifted = _Shifted(gray, CENSUS_RADIUS)
    before, after = (gray + shifted(0, -1)) >> 1, (gray + shifted(0, 1)) >> 1
    columns = [shifted(-1, dx) + 2 * shifted(0, dx) + shifted(1, dx) for dx in (-1, 1)]
    rows = [shifted(dy, -1) + 2 * shifted(dy, 0) + shifted(dy, 1) for dy in (-1, 1)]
    along, across = (((high - low + 2) >> 2).clamp(-127, 127) + 128 for low, high in (columns, rows))
    words = [torch.zeros_like(gray), torch.zeros_like(gray)]
    reach = range(-CENSUS_RADIUS, CENSUS_RADIUS + 1)
    neighbours = [(dy, dx) for dy in reach for dx in reach if (dy, dx) != (0, 0)]
    for index, (dy, dx) in enumerate(neighbours):
        half = index // WORD_BITS
        words[half] = 2 * words[half] + (shifted(dy, dx) < gray).to(gray.dtype)
    lowest = torch.minimum(torch.minimum(before, after), gray)
    highest = torch.maximum(torch.maximum(before, after), gray)
    return Described(gray, lowest, highest, along, across, (words[0], words[1]))


def cost_volume(left: Described, right: Described, count: int) -> Tensor:
    """Costs (h, w, count) uint8 of disparities 0 to count - 1; beyond the border stands the right first column."""
    height, width = left.gray.shape
    columns = torch.arange(width, device=left.gray.device)[:, None]
    source = (columns - torch.arange(count, device=left.gray.device)).clamp(min=0)
    volume = torch.empty((height, width, count), dtype=torch.uint8, device=left.gray.device)
    step = max(1, _CHUNK // (width * count))
    for top in range(0, height, step):
        part = slice(top, top + step)

        def both(a: Tensor, b: Tensor, part: slice = part) -> tuple[Tensor, Tensor]:
            return a[part, :, None], b[part][:, source]

        differing = sum(_ones(torch.bitwise_xor(*both(*pair))) for pair in zip(left.words, right.words, strict=True))
        gray, highest = both(left.gray, right.highest)
        _, lowest = both(left.gray, right.lowest)
        brightness = torch.maximum(gray - highest, lowest - gray).clamp(0, MOST_BRIGHTNESS)
        along, across = both(left.along, right.along), both(left.across, right.across)
        gradient = (along[0] - along[1]).abs() + (across[0] - across[1]).abs()
        total = CENSUS_WEIGHT * differing + BRIGHTNESS_WEIGHT * brightness
        total = total + GRADIENT_WEIGHT * gradient.clamp(max=MOST_GRADIENT)
        volume[part] = (total >> 2).to(torch.uint8)
    return volume


class _Shifted:
    """A picture seen from other pixels."""

    def __init__(self, picture: Tensor, reach: int) -> None:
        height, width = picture.shape
        rows = torch.arange(-reach, height + reach, device=picture.device).clamp(0, height - 1)
        columns = torch.arange(-reach, width + reach, device=picture.device).clamp(0, width - 1)
        self._padded, self._reach = picture[rows][:, columns], reach
        self._size = height, width

    def __call__(self, dy: int, dx: int) -> Tensor:
        """Of each pixel (y, x) the pixel (y + dy, x + dx), (h, w)."""
        height, width = self._size
        top, left = self._reach + dy, self._reach + dx
        return self._padded[top : top + height, left : left + width]


def _ones(words: Tensor) -> Tensor:
    """How many bits are set in words of 24, by halves, quarters and eighths at once."""
    words = words - ((words >> 1) & 0x555555)
    words = (words & 0x333333) + ((words >> 2) & 0x333333)
    words = (words + (words >> 4)) & 0x0F0F0F
    return (words + (words >> 8) + (words >> 16)) & 0x3F
