"""What a store holds of one picture and of one pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.features.extractors.base import Features

_DESCRIPTOR_TYPES = (np.float16, np.float32, np.uint8)


@dataclass(frozen=True, eq=False)
class PictureFeatures:
    """The features of one picture, without padding.

    Raises:
        ValueError: the arrays do not belong together.
    """

    keypoints: NDArray[np.float32]
    """(n, 2), pixels; kept to float32 in COLMAP's origin, half a pixel away."""
    descriptors: NDArray[np.generic]
    """(n, D), float16, float32 or uint8."""
    scores: NDArray[np.float32] | None = None
    """(n,)."""
    covariances: NDArray[np.float32] | None = None
    """(n, 2, 2), symmetric, pixels squared."""

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        if self.keypoints.shape != (count, 2):
            raise ValueError(f"keypoints are (n, 2), not {self.keypoints.shape}")
        if self.descriptors.ndim != 2 or len(self.descriptors) != count:
            raise ValueError(f"descriptors of {count} keypoints are ({count}, D), not {self.descriptors.shape}")
        if self.descriptors.dtype not in _DESCRIPTOR_TYPES:
            raise ValueError(f"descriptors are float16, float32 or uint8, not {self.descriptors.dtype}")
        if self.scores is not None and self.scores.shape != (count,):
            raise ValueError(f"scores of {count} keypoints are ({count},), not {self.scores.shape}")
        if self.covariances is not None and self.covariances.shape != (count, 2, 2):
            raise ValueError(f"covariances of {count} keypoints are ({count}, 2, 2), not {self.covariances.shape}")

    def __len__(self) -> int:
        """The number of keypoints."""
        return len(self.keypoints)


@dataclass(frozen=True, eq=False)
class PairMatches:
    """The matches of one pair.

    Raises:
        ValueError: the arrays do not belong together.
    """

    indices: NDArray[np.int64]
    """(n, 2), keypoints of the picture of the lower id and of that of the higher."""
    scores: NDArray[np.float32] | None = None
    """(n,)."""

    def __post_init__(self) -> None:
        count = len(self.indices)
        if self.indices.shape != (count, 2) or (count and int(self.indices.min()) < 0):
            raise ValueError(f"matches are (n, 2) indices of keypoints, not {self.indices.shape}")
        if self.scores is not None and self.scores.shape != (count,):
            raise ValueError(f"scores of {count} matches are ({count},), not {self.scores.shape}")

    def __len__(self) -> int:
        """The number of matches."""
        return len(self.indices)


@dataclass(frozen=True)
class StoreCounts:
    """How much a store holds."""

    pictures: int
    pictures_with_features: int
    keypoints: int
    matched_pairs: int
    matches: int
    verified_pairs: int
    inliers: int


def unpad(features: Features) -> list[PictureFeatures]:
    """The features of each picture of a batch. Waits for the device."""
    host = features.to(torch.device("cpu"))
    descriptors = host.descriptors.float() if host.descriptors.dtype is torch.bfloat16 else host.descriptors
    found = []
    for item, count in enumerate(host.counts().tolist()):
        found.append(
            PictureFeatures(
                host.keypoints[item, :count].numpy().copy(),
                descriptors[item, :count].numpy().copy(),
                host.scores[item, :count].numpy().copy(),
            )
        )
    return found


def pad(pictures: Sequence[PictureFeatures], sizes: Sequence[tuple[int, int]], count: int) -> Features:
    """One batch of several pictures' features, on the CPU.

    Args:
        pictures: with floating-point descriptors of one length.
        sizes: width and height of each, pixels.
        count: K, the number of entries for every picture; keypoints beyond it are left out.

    Returns:
        Features whose scores are zero where a picture has none; descriptors in the type of the first picture's.

    Raises:
        ValueError: no pictures, or as many sizes as pictures are not given, or descriptors differ in length.
    """
    if not pictures or len(pictures) != len(sizes):
        raise ValueError(f"{len(pictures)} pictures and {len(sizes)} sizes do not make a batch")
    width = pictures[0].descriptors.shape[1]
    keypoints = np.zeros((len(pictures), count, 2), np.float32)
    descriptors = np.zeros((len(pictures), count, width), pictures[0].descriptors.dtype)
    scores = np.zeros((len(pictures), count), np.float32)
    mask = np.zeros((len(pictures), count), bool)
    for item, picture in enumerate(pictures):
        if picture.descriptors.shape[1] != width:
            raise ValueError(f"descriptors of lengths {width} and {picture.descriptors.shape[1]} are not of one kind")
        kept = min(count, len(picture))
        keypoints[item, :kept] = picture.keypoints[:kept]
        descriptors[item, :kept] = picture.descriptors[:kept]
        mask[item, :kept] = True
        if picture.scores is not None:
            scores[item, :kept] = picture.scores[:kept]
    arrays = (keypoints, descriptors, scores, mask, np.asarray(sizes, np.float32))
    return Features(*(torch.from_numpy(array) for array in arrays))
