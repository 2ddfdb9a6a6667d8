"""SIFT by OpenCV with RootSIFT descriptors: the classical reference. Runs on the CPU whatever the device.

OpenCV keeps all scales of a picture, about 240 bytes per pixel. A picture larger than a tile runs in tiles that overlap
by the reach of all but the largest keypoints: those near a seam may differ, the others are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features.extractors.base import ExtractorOptions, Features, checked_images, sizes_of
from cv3d.features.extractors.tiles import Span, spans

CONTRAST_THRESHOLD = 0.04 / 3
"""Lowe's threshold on the extrema of the difference of Gaussians, for OpenCV's three layers an octave."""
REACH = 256
"""No keypoint smaller than 48 pixels across sees pixels further away than this."""
_STRIDE = 256
"""Tiles start at multiples of it, so that the coarse octaves sample the same pixels as those of the whole picture."""


@dataclass(frozen=True)
class SiftOptions(ExtractorOptions):
    """How SIFT runs."""

    tile: int = 2048
    """The longest side in pixels that is looked at at once; at least 1024 and a multiple of 256. About 1 GB at 2048."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tile < 1024 or self.tile % _STRIDE:
            raise InputError(f"a tile has to be at least 1024 and a multiple of {_STRIDE}, not {self.tile}")


class Sift:
    """SIFT (Lowe, "Distinctive image features from scale-invariant keypoints", 2004).

    Descriptors are L1-normalised, and of each component the square root is taken: Arandjelović and Zisserman, "Three
    things everyone should know to improve object retrieval", 2012.
    """

    name = "sift"
    descriptor_size = 128

    def __init__(self, compute: Compute, options: SiftOptions | None = None) -> None:
        self.options = options or SiftOptions()
        self._compute = compute
        asked = self.options.detection_threshold
        contrast = CONTRAST_THRESHOLD if asked is None else asked
        self._sift = cv2.SIFT.create(nfeatures=self.options.max_keypoints, contrastThreshold=3.0 * contrast)

    @property
    def max_keypoints(self) -> int:
        """K, the number of entries it gives for every picture."""
        return self.options.max_keypoints

    def extract(self, images: Tensor) -> Features:
        """Keypoints of pictures of one size, with sub-pixel positions.

        Where the gradients around a point have several directions, the point is listed once for each, as usual.

        Args:
            images: (B, 1 or 3, H, W), grey or RGB, float32 in [0, 1] or uint8.

        Raises:
            InputError: the tensor has another shape or type.
        """
        images = checked_images(images)
        return Features.stack([self._extract_one(image) for image in images.cpu()]).to(self._compute.device)

    def _extract_one(self, image: Tensor) -> Features:
        rows, columns = (spans(n, self.options.tile, _STRIDE, REACH) for n in image.shape[-2:])
        parts = [self._extract_tile(image, row, column) for row in rows for column in columns]
        keypoints, descriptors, responses, angles = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        # Strongest first; the rest of the key makes the order unique.
        order = np.lexsort((angles, keypoints[:, 1], keypoints[:, 0], -responses))[: self.max_keypoints]
        descriptors = np.sqrt(descriptors[order] / np.maximum(descriptors[order].sum(1, keepdims=True), 1e-12))
        return Features(
            torch.from_numpy(keypoints[order])[None],
            torch.from_numpy(descriptors)[None].to(self._compute.dtype),
            torch.from_numpy(responses[order])[None],
            torch.ones((1, len(order)), dtype=torch.bool),
            sizes_of(image[None]),
        ).resized(self.max_keypoints)

    def _extract_tile(
        self, image: Tensor, row: Span, column: Span
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Of one tile the keypoints (N, 2), raw descriptors (N, 128), responses (N,) and angles (N,) in its core."""
        part = image[:, row.start : row.stop, column.start : column.stop]
        if part.dtype != torch.uint8:
            part = (part.float() * 255.0).round().clamp(0.0, 255.0).to(torch.uint8)
        pixels = np.ascontiguousarray(part.permute(1, 2, 0).numpy())
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.shape[2] == 3 else pixels[..., 0]
        found, described = self._sift.detectAndCompute(grey, None)
        keypoints = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
        keypoints += np.array([column.start, row.start], np.float32)
        first = np.array([column.core_start, row.core_start]) - 0.5
        stop = np.array([column.core_stop, row.core_stop]) - 0.5
        is_in_core = ((keypoints >= first) & (keypoints < stop)).all(1)
        described = np.zeros((0, self.descriptor_size)) if described is None else described
        responses = np.array([point.response for point in found], np.float32)
        angles = np.array([point.angle for point in found], np.float32)
        return (
            keypoints[is_in_core],
            np.asarray(described, np.float32)[is_in_core],
            responses[is_in_core],
            angles[is_in_core],
        )
