"""What a key frame is known by when the camera comes back: local descriptors, and one of the picture as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features.extractors.xfeat import XFeat, XFeatOptions
from cv3d.odometry.places.pooling import correlations, pooled

_LEAST_SIDE = 64
_LARGEST_SIDE = 2048
_AT_STEP = 256
"""Given pixels are padded to multiples of this, so that a device does not prepare itself anew for every number."""


@dataclass(frozen=True, eq=False)
class Description:
    """A picture's descriptors. Its rows are the keypoints, strongest first, and after them the pixels asked for."""

    pixels: NDArray[np.float32]
    """(n, 2), pixels of the picture as it was given."""
    descriptors: NDArray[np.float32]
    """(n, 64) of unit length; 0 for a pixel asked for that is not in the picture, which then matches nothing."""
    scores: NDArray[np.float32]
    """(n,) how strongly the keypoint is believed in; 0 for pixels asked for."""
    keypoint_count: int
    """How many of the rows are keypoints."""
    whole: NDArray[np.float32]
    """(C,) of unit length: the picture as a whole, for retrieval by inner product."""
    size: tuple[int, int]
    """Width and height of the picture as it was given, pixels."""
    pixel_size: float
    """How many of its pixels one is of the picture that the network saw: 1 where it was not made smaller."""

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.pixels)


class Describer:
    """Describes pictures by one pass of XFeat."""

    def __init__(self, compute: Compute, max_keypoints: int = 1024, max_side: int | None = 640) -> None:
        """Load the network.

        Args:
            compute: where it runs.
            max_keypoints: most keypoints of a picture.
            max_side: pictures with a longer side are made smaller to it, pixels; None: 2048.

        Raises:
            InputError: one of the numbers is out of range.
            DependencyError: the weights are not here.
        """
        self._side = _LARGEST_SIDE if max_side is None else max_side
        if not _LEAST_SIDE <= self._side <= _LARGEST_SIDE:
            raise InputError(f"max_side has to be {_LEAST_SIDE} to {_LARGEST_SIDE} pixels, not {max_side}")
        self._compute = compute
        self._network = XFeat(compute, XFeatOptions(max_keypoints, tile=_LARGEST_SIDE))

    def describe(self, gray: NDArray[np.uint8], at: NDArray[np.floating] | None = None) -> Description:
        """Describe a picture.

        Args:
            gray: (H, W).
            at: pixels to describe besides the keypoints, (n, 2); rows that are not finite are not in the picture.

        Raises:
            InputError: another shape or type.
        """
        if gray.ndim != 2 or gray.dtype != np.uint8 or 0 in gray.shape:
            raise InputError(f"a grey picture is (H, W) uint8, not {gray.shape} {gray.dtype}")
        height, width = gray.shape
        asked = np.zeros((0, 2)) if at is None else np.asarray(at, dtype=np.float64)
        if asked.ndim != 2 or asked.shape[1] != 2:
            raise InputError(f"pixels to describe are (n, 2), not {asked.shape}")
        small = _shrunk(gray, self._side)
        ratio = np.array([width / small.shape[1], height / small.shape[0]])
        is_inside = np.all((asked > -0.5) & (asked < np.array([width, height]) - 0.5), axis=1, keepdims=True)
        # A pixel is a square: its centre, not its corner, is at whole numbers.
        places = (np.where(is_inside, asked, 0.0) + 0.5) / ratio - 0.5
        scores, keypoints, descriptors, sampled, correlation = self._run(small, places.astype(np.float32))
        there = scores > 0.0
        found = int(there.sum())
        sampled = np.where(is_inside, sampled, np.float32(0.0))
        return Description(
            np.concatenate([(keypoints[there] + 0.5) * ratio - 0.5, asked]).astype(np.float32),
            np.concatenate([descriptors[there], sampled]),
            np.concatenate([scores[there], np.zeros(len(asked), np.float32)]),
            found,
            pooled(correlation),
            (width, height),
            float(ratio.max()),
        )

    def _run(self, picture: NDArray[np.uint8], at: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Scores (K,), keypoints (K, 2), descriptors (K, 64), those at pixels (n, 64), correlations (64, 64)."""
        padded = np.zeros((-(-len(at) // _AT_STEP) * _AT_STEP, 2), np.float32)
        padded[: len(at)] = at
        device = self._compute.device
        image = torch.from_numpy(picture)[None, None].to(device)
        parts = self._on_device(image, torch.from_numpy(padded)[None].to(device))
        # One transfer for all of it: the host waits for the device once.
        packed = torch.cat([part.flatten() for part in parts]).cpu().numpy()
        ends = np.cumsum([part.numel() for part in parts])[:-1]
        each = [flat.reshape(part.shape[1:]) for flat, part in zip(np.split(packed, ends), parts, strict=True)]
        return each[0], each[1], each[2], each[3][: len(at)], each[4]

    @torch.no_grad()
    def _on_device(self, image: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features, sampled, cells = self._network.extract_at(image, at)
        parts = features.scores, features.keypoints, features.descriptors.float(), sampled, correlations(cells)
        return tuple(part.float() for part in parts)


def _shrunk(gray: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A picture whose sides are at most `side` pixels, contiguous."""
    height, width = gray.shape
    factor = side / max(height, width)
    if factor >= 1.0:
        return np.ascontiguousarray(gray) if gray.flags.writeable else gray.copy()
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
