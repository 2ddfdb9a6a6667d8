"""What every extractor gives: a fixed number of keypoints with descriptors, padded where a picture has fewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from cv3d.errors import InputError


@dataclass(frozen=True)
class Features:
    """Keypoints of a batch of pictures, strongest first. Entries beyond a picture's own are zero, and `mask` is false.

    The number K of entries is fixed by the options of the extractor, never by a picture, so nothing downstream
    depends on a count that only the device knows.
    """

    keypoints: Tensor
    """(B, K, 2) float32, x and y in pixels; (0, 0) is the centre of the top-left pixel."""
    descriptors: Tensor
    """(B, K, D), of unit length, in the floating-point type of the extractor's policy."""
    scores: Tensor
    """(B, K) float32, descending; how strongly the extractor believes in the keypoint."""
    mask: Tensor
    """(B, K) bool, true where there is a keypoint; true entries come first."""
    image_size: Tensor
    """(B, 2) float32, width and height of each picture in pixels."""
    scales: Tensor | None = None
    """(B, K) float32, how many of the picture's pixels one pixel is in which the keypoint was found; None where they
    are the picture's own."""

    def __len__(self) -> int:
        """The number of pictures."""
        return self.keypoints.shape[0]

    def __getitem__(self, items: slice | Tensor | Sequence[int]) -> Features:
        """The features of some of the pictures, in the order asked for; repetitions allowed."""
        index = list(items) if isinstance(items, Sequence) else items
        return self._each(lambda tensor: tensor[index])

    def counts(self) -> Tensor:
        """(B,) the number of keypoints of each picture."""
        return self.mask.sum(1)

    def resized(self, count: int) -> Features:
        """The same features with `count` entries a picture: the strongest `count`, or padded with empty entries."""
        extra = count - self.keypoints.shape[1]
        if extra <= 0:
            return replace(self._each(lambda tensor: tensor[:, :count]), image_size=self.image_size)
        padded = self._each(lambda tensor: functional.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, extra)))
        return replace(padded, image_size=self.image_size)

    def to(self, device: torch.device) -> Features:
        """The same features on another device."""
        return self._each(lambda tensor: tensor.to(device))

    @staticmethod
    def stack(parts: Sequence[Features]) -> Features:
        """One batch of several; those with fewer entries are padded.

        Raises:
            ValueError: there is nothing to stack.
        """
        if not parts:
            raise ValueError("no features to stack")
        count = max(part.keypoints.shape[1] for part in parts)
        padded = [part.resized(count) for part in parts]
        scales = None
        if any(part.scales is not None for part in padded):
            scales = torch.cat([part.mask.float() if part.scales is None else part.scales for part in padded])
        return Features(
            torch.cat([part.keypoints for part in padded]),
            torch.cat([part.descriptors for part in padded]),
            torch.cat([part.scores for part in padded]),
            torch.cat([part.mask for part in padded]),
            torch.cat([part.image_size for part in padded]),
            scales,
        )

    def _each(self, work: Callable[[Tensor], Tensor]) -> Features:
        """Features of the tensors that `work` makes of each of these."""
        return Features(
            work(self.keypoints),
            work(self.descriptors),
            work(self.scores),
            work(self.mask),
            work(self.image_size),
            None if self.scales is None else work(self.scales),
        )


class Extractor(Protocol):
    """Finds and describes keypoints."""

    @property
    def name(self) -> str:
        """Its key in the registry."""

    @property
    def max_keypoints(self) -> int:
        """K, the number of entries it gives for every picture."""

    @property
    def descriptor_size(self) -> int:
        """D, the length of a descriptor."""

    def extract(self, images: Tensor) -> Features:
        """Keypoints of pictures of one size.

        Args:
            images: (B, 1 or 3, H, W), grey or RGB, float32 in [0, 1] or uint8, on the extractor's device.

        Raises:
            InputError: the tensor has another shape or type.
        """


@dataclass(frozen=True)
class ExtractorOptions:
    """What all extractors have in common."""

    max_keypoints: int = 2048
    """K, the number of entries for every picture."""
    detection_threshold: float | None = None
    """The detection score to exceed, on the extractor's own scale; None takes the extractor's default."""

    def __post_init__(self) -> None:
        if self.max_keypoints < 1:
            raise InputError(f"at least one keypoint has to be asked for, not {self.max_keypoints}")


def checked_images(images: Tensor) -> Tensor:
    """The pictures as handed in, if they are what an extractor takes.

    Raises:
        InputError: not (B, 1 or 3, H, W), empty, or neither floating-point nor uint8.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise InputError(f"pictures have to be a tensor (B, 1 or 3, H, W), not {tuple(images.shape)}")
    if not (images.is_floating_point() or images.dtype == torch.uint8):
        raise InputError(f"pictures have to be float32 in [0, 1] or uint8, not {images.dtype}")
    return images


def sizes_of(images: Tensor) -> Tensor:
    """(B, 2) float32 width and height of each picture of a batch, on its device."""
    height, width = images.shape[-2:]
    size = torch.empty((images.shape[0], 2), dtype=torch.float32, device=images.device)
    size[:, 0] = width
    size[:, 1] = height
    return size


def strict_maxima(heat: Tensor, radius: int, threshold: float) -> Tensor:
    """Where a map exceeds a threshold and every other value of the square window around the place.

    Args:
        heat: (..., H, W).
        radius: half the side of the window, less half a pixel.
        threshold: to be exceeded, too.

    Returns:
        (..., H - 2·radius, W - 2·radius) bool: only places whose window lies inside the map. A plateau has no strict
        maximum.
    """
    height, width = heat.shape[-2] - 2 * radius, heat.shape[-1] - 2 * radius
    side = 2 * radius + 1
    # Rows first: the largest to the left and right of each place, shared by all windows that hold that row. With the
    # place itself it is a row's maximum; the place's own row contributes without it.
    sides = torch.maximum(
        _running_maximum(heat, radius, -1)[..., :width], _running_maximum(heat[..., radius + 1 :], radius, -1)
    )
    rows = torch.maximum(sides, heat[..., radius : radius + width])
    above = _running_maximum(rows, radius, -2)
    neighbours = torch.maximum(above[..., :height, :], above[..., side - radius :, :])
    neighbours = torch.maximum(neighbours, sides[..., radius : radius + height, :]).clamp_(min=threshold)
    return heat[..., radius : radius + height, radius : radius + width] > neighbours


def _running_maximum(values: Tensor, count: int, axis: int) -> Tensor:
    """The maximum of `count` successive values; the axis gets shorter by count - 1."""
    length = values.shape[axis] - count + 1
    largest = values.narrow(axis, 0, length)
    for i in range(1, count):
        largest = torch.maximum(largest, values.narrow(axis, i, length))
    return largest


def strongest(scores: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` largest positive entries of a map in which positive entries are at least two places apart.

    Args:
        scores: (B, H, W); no 2 × 2 block of places has more than one positive entry.
        count: K.

    Returns:
        values (B, K), descending, 0 where there are no more; x and y (B, K) int64, 0 there.
    """
    height, width = scores.shape[-2:]
    scores = functional.pad(scores, (0, width % 2, 0, height % 2))
    width += width % 2
    # Half the rows and columns have to be searched when each block has one candidate.
    upper, lower = scores[:, 0::2], scores[:, 1::2]
    blocks = torch.maximum(
        torch.maximum(upper[..., 0::2], upper[..., 1::2]), torch.maximum(lower[..., 0::2], lower[..., 1::2])
    )
    flat = blocks.flatten(1)
    values, indices = torch.topk(flat, min(count, flat.shape[1]), dim=1)
    values = values.clamp(min=0)
    columns = width // 2
    x, y = 2 * (indices % columns), 2 * torch.div(indices, columns, rounding_mode="floor")
    corner = y * width + x
    places = torch.stack((corner, corner + 1, corner + width, corner + width + 1), -1)
    within = scores.flatten(1).gather(1, places.flatten(1)).view(places.shape).argmax(-1)
    is_there = values > 0
    x = torch.where(is_there, x + within % 2, 0)
    y = torch.where(is_there, y + torch.div(within, 2, rounding_mode="floor"), 0)
    missing = count - values.shape[1]
    if missing > 0:
        values, x, y = (functional.pad(t, (0, missing)) for t in (values, x, y))
    return values, x, y
