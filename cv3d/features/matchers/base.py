"""What every matcher gives: for each keypoint of the first picture, its partner in the second, or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cv3d.errors import InputError
from cv3d.features.extractors.base import Features


@dataclass(frozen=True)
class Matches:
    """One-to-one matches of a batch of pairs of pictures."""

    indices: Tensor
    """(B, K0) int64, for each entry of the first picture's features the matching entry of the second's; -1 for none."""
    scores: Tensor
    """(B, K0) float32, how sure the matcher is, in [0, 1]; 0 where there is no match."""
    keypoints1: Tensor | None = None
    """(B, K0, 2) float32, for each entry of the first picture's features where in the second it was found, pixels; 0
    where there is no match. From matchers that refine positions; None where the second's keypoints are the answer."""

    def __len__(self) -> int:
        """The number of pairs."""
        return self.indices.shape[0]

    def counts(self) -> Tensor:
        """(B,) the number of matches of each pair."""
        return (self.indices >= 0).sum(1)

    def of_pair(self, item: int) -> Tensor:
        """(N, 2) int64, the matching entries of one pair in the order of the first picture's. Waits for the device."""
        first = torch.nonzero(self.indices[item] >= 0)[:, 0]
        return torch.stack((first, self.indices[item][first]), 1)

    def points_of_pair(self, item: int, features0: Features, features1: Features) -> tuple[Tensor, Tensor]:
        """Where the matches of one pair lie in either picture, refined where the matcher did so. Waits for the device.

        Args:
            item: which pair.
            features0: of the first pictures, as they were matched.
            features1: of the second.

        Returns:
            (N, 2) and (N, 2) float32, pixels, in the order of :meth:`of_pair`.
        """
        first, second = self.of_pair(item).unbind(1)
        points1 = features1.keypoints[item, second] if self.keypoints1 is None else self.keypoints1[item, first]
        return features0.keypoints[item, first], points1


class Matcher(Protocol):
    """Finds which keypoints of two pictures show the same point."""

    @property
    def name(self) -> str:
        """Its key in the registry."""

    def match(self, features0: Features, features1: Features) -> Matches:
        """Matches of B pairs: item b of one with item b of the other. The numbers of entries may differ.

        Raises:
            InputError: the batches differ in size, or descriptors in length.
        """


def check_pairs(features0: Features, features1: Features) -> None:
    """Refuse features that cannot be matched with one another.

    Raises:
        InputError: the batches differ in size, or descriptors in length.
    """
    if len(features0) != len(features1):
        raise InputError(f"{len(features0)} pictures cannot be paired with {len(features1)}")
    sizes = features0.descriptors.shape[-1], features1.descriptors.shape[-1]
    if sizes[0] != sizes[1]:
        raise InputError(f"descriptors of lengths {sizes[0]} and {sizes[1]} cannot be compared: use one extractor")
