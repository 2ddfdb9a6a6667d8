"""SIFT by OpenCV with RootSIFT descriptors: the classical reference. Runs on the CPU whatever the device."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from cv3d.compute import Compute
from cv3d.features.extractors.base import ExtractorOptions, Features, checked_images, sizes_of

CONTRAST_THRESHOLD = 0.04 / 3
"""Lowe's threshold on the extrema of the difference of Gaussians, for OpenCV's three layers an octave."""


class Sift:
    """SIFT (Lowe, "Distinctive image features from scale-invariant keypoints", 2004).

    Descriptors are L1-normalised, and of each component the square root is taken: Arandjelović and Zisserman, "Three
    things everyone should know to improve object retrieval", 2012.
    """

    name = "sift"
    descriptor_size = 128

    def __init__(self, compute: Compute, options: ExtractorOptions | None = None) -> None:
        self.options = options or ExtractorOptions()
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
        if image.dtype != torch.uint8:
            image = (image.float() * 255.0).round().clamp(0.0, 255.0).to(torch.uint8)
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.shape[2] == 3 else pixels[..., 0]
        found, described = self._sift.detectAndCompute(grey, None)
        order = sorted(range(len(found)), key=lambda i: (-found[i].response, found[i].pt, found[i].angle))
        order = order[: self.max_keypoints]
        count = len(order)
        keypoints = np.array([found[i].pt for i in order], np.float32).reshape(count, 2)
        scores = np.array([found[i].response for i in order], np.float32)
        descriptors = np.zeros((count, self.descriptor_size), np.float32) if described is None else described[order]
        descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-12))
        return Features(
            torch.from_numpy(keypoints)[None],
            torch.from_numpy(descriptors)[None].to(self._compute.dtype),
            torch.from_numpy(scores)[None],
            torch.ones((1, count), dtype=torch.bool),
            sizes_of(image[None]),
        ).resized(self.max_keypoints)
