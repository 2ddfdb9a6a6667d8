"""One vector for a picture, from its local descriptors: VLAD, with a vocabulary learned on the set itself.

Jégou, Douze, Schmid, Pérez, "Aggregating local descriptors into a compact image representation" (CVPR 2010);
normalisation inside each cell after Arandjelović and Zisserman, "All about VLAD" (CVPR 2013); signed square roots after
Perronnin, Sánchez, Mensink (ECCV 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from cv3d.compute import Compute
from cv3d.errors import InputError

_SAMPLED_PICTURES = 512
_LEAST_PER_WORD = 8


class DescriptorSource(Protocol):
    """Local descriptors of a set of pictures, read one picture at a time."""

    def __len__(self) -> int:
        """The number of pictures."""

    def descriptors(self, picture: int) -> NDArray[np.generic]:
        """(n, D) of the picture at a place of the set, strongest first."""


@dataclass(frozen=True)
class VocabularyOptions:
    """How the vocabulary is learned."""

    words: int = 64
    """Number of cells; fewer where the set has not enough descriptors for them."""
    sample: int = 40_000
    """How many descriptors to learn from."""
    iterations: int = 15
    """Steps of k-means."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.words, self.sample, self.iterations) < 1:
            raise ValueError("words, sample and iterations must be positive")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Centres of the cells that descriptors fall into."""

    centres: Tensor
    """(W, D) float32, on the device of dense work."""
    seed: int
    """Of the sample it was learned from."""

    @property
    def size(self) -> int:
        """Length W D of the vector of a picture."""
        return self.centres.numel()

    def encode(self, descriptors: Tensor, mask: Tensor) -> Tensor:
        """The vectors of a batch of pictures.

        Args:
            descriptors: (B, K, D) float32 of unit length, on the centres' device.
            mask: (B, K) bool, true where there is a descriptor.

        Returns:
            (B, W D) float32 of unit length; zero for a picture without descriptors.
        """
        chosen = _assigned(descriptors, self.centres) * mask[..., None]
        sums = torch.bmm(chosen.transpose(1, 2).contiguous(), descriptors)
        residuals = sums - chosen.sum(1)[..., None] * self.centres
        cells = normalize(residuals, dim=-1)
        flat = cells.flatten(1)
        rooted = flat.sign() * flat.abs().sqrt()
        return normalize(rooted, dim=-1)


def learn_vocabulary(
    source: DescriptorSource, compute: Compute, options: VocabularyOptions | None = None
) -> Vocabulary:
    """Learn the cells from a sample of the set by k-means (Lloyd 1982), from a random choice of the sample.

    Args:
        source: the set.
        compute: where to learn.
        options: how many cells, and from how many descriptors.

    Raises:
        InputError: the set has no descriptors, or descriptors of several lengths.
    """
    options = options or VocabularyOptions()
    rng = np.random.default_rng(options.seed)
    pictures = np.sort(rng.permutation(len(source))[:_SAMPLED_PICTURES])
    share = -(-options.sample // max(1, len(pictures)))
    rows: list[NDArray[np.generic]] = []
    for picture in pictures.tolist():
        found = source.descriptors(picture)
        if len(found):
            rows.append(found[np.sort(rng.permutation(len(found))[:share])])
    if not rows:
        raise InputError("no picture of the set has descriptors to learn a vocabulary from")
    if len({part.shape[1] for part in rows}) > 1:
        raise InputError("the set has descriptors of several lengths; extract its features with one extractor")
    sample = unit_rows(np.concatenate(rows))
    words = max(1, min(options.words, len(sample) // _LEAST_PER_WORD))
    first = np.sort(rng.permutation(len(sample))[:words])
    data = torch.from_numpy(sample).to(compute.device)
    centres = torch.from_numpy(sample[first]).to(compute.device)
    for _ in range(options.iterations):
        chosen = _assigned(data, centres)
        counts = chosen.sum(0)[:, None]
        means = (chosen.T.contiguous() @ data) / counts.clamp(min=1.0)
        centres = torch.where(counts > 0, means, centres)
    return Vocabulary(centres, options.seed)


def encode_pictures(
    source: DescriptorSource, pictures: Sequence[int], vocabulary: Vocabulary, compute: Compute, count: int
) -> Tensor:
    """The vectors of some pictures of a set, (B, W D) on the device.

    Args:
        source: the set.
        pictures: places in it, B of them.
        vocabulary: its cells.
        compute: where to encode.
        count: K, the most descriptors of a picture that are used, its first ones.

    Raises:
        InputError: descriptors of another length than the vocabulary's.
    """
    width = vocabulary.centres.shape[1]
    padded = np.zeros((len(pictures), count, width), np.float32)
    mask = np.zeros((len(pictures), count), bool)
    for item, picture in enumerate(pictures):
        found = source.descriptors(picture)[:count]
        if len(found) and found.shape[1] != width:
            raise InputError(f"picture {picture} has descriptors of length {found.shape[1]}, the set's are of {width}")
        if len(found):
            padded[item, : len(found)] = unit_rows(found)
            mask[item, : len(found)] = True
    device = compute.device
    return vocabulary.encode(torch.from_numpy(padded).to(device), torch.from_numpy(mask).to(device))


def unit_rows(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Rows of unit length, (n, D); zero rows stay."""
    rows = values.astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = rows / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def _assigned(data: Tensor, centres: Tensor) -> Tensor:
    """(..., n, W) float32, one where a row's nearest centre is."""
    nearness = data @ centres.T - 0.5 * centres.square().sum(1)
    words = torch.arange(len(centres), device=centres.device)
    return (nearness.argmax(-1)[..., None] == words).to(data.dtype)
