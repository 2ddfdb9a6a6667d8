"""DISK keypoints and descriptors (Tyszkiewicz et al., "DISK: Learning local features with policy gradient", 2020).

A large picture is made smaller first: the network normalises by statistics of the whole picture at every layer, which
tiles would change.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from kornia import feature
from torch import Tensor
from torch.nn import functional

from cv3d.compute import Compute
from cv3d.features import weights
from cv3d.features.extractors.base import (
    ExtractorOptions,
    Features,
    checked_images,
    sizes_of,
    strict_maxima,
    strongest,
)
from cv3d.features.extractors.scaling import carried_back, check_max_side, within

DETECTION_THRESHOLD = 0.0
"""The authors' threshold on the heat map, a logit."""
_RADIUS = 2
_STRIDE = 16


@dataclass(frozen=True)
class DiskOptions(ExtractorOptions):
    """How DISK runs."""

    max_side: int = 1600
    """A picture with a longer side, pixels, is made smaller; its keypoints are those of the original all the same.
    2.1 GB per million pixels in float32, so at most about 5.5 GB."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_max_side(self.max_side)


class Disk:
    """DISK, trained with depth supervision."""

    name = "disk"
    descriptor_size = 128

    def __init__(self, compute: Compute, options: DiskOptions | None = None) -> None:
        """Load the network onto the device of `compute`, in its floating-point type.

        Raises:
            DependencyError: the weights are not here.
            FormatError: the file of weights is not the published one.
        """
        self.options = options or DiskOptions()
        self._compute = compute
        asked = self.options.detection_threshold
        self._threshold = max(DETECTION_THRESHOLD if asked is None else asked, 0.0)
        state = weights.load("disk")
        network = feature.DISK()
        network.load_state_dict(
            {name.removeprefix("extractor."): value for name, value in state.items() if name.startswith("extractor.")}
        )
        self._network = network.to(compute.device, compute.dtype).eval().requires_grad_(False)

    @property
    def max_keypoints(self) -> int:
        """K, the number of entries it gives for every picture."""
        return self.options.max_keypoints

    @torch.no_grad()
    def extract(self, images: Tensor) -> Features:
        """Keypoints of pictures of one size: whole pixels, the only maximum of the heat map in their 5 × 5 window.

        Args:
            images: (B, 1 or 3, H, W), grey or RGB, float32 in [0, 1] or uint8, on the extractor's device.

        Raises:
            InputError: the tensor has another shape or type.
        """
        images = checked_images(images)
        size, original = sizes_of(images), images.shape
        images = within(images, self.options.max_side).expand(-1, 3, -1, -1)
        seen = images.shape
        height, width = seen[-2:]
        # The instance norms of its deepest layer need more than one cell there.
        padded_h, padded_w = (max(-(-n // _STRIDE), 2) * _STRIDE for n in (height, width))
        images = functional.pad(images, (0, padded_w - width, 0, padded_h - height))
        heat, dense = self._network.heatmap_and_dense_descriptors(images.to(self._compute.dtype))
        r = _RADIUS
        heat = heat.float()[:, 0]
        is_maximum = strict_maxima(heat, r, self._threshold)[:, : max(height - 2 * r, 0), : max(width - 2 * r, 0)]
        inner = heat[:, r : r + is_maximum.shape[1], r : r + is_maximum.shape[2]]
        scores, x, y = strongest(torch.where(is_maximum, inner, 0.0), self.max_keypoints)
        x, y = x + r, y + r
        mask = scores > 0
        cells = (y * padded_w + x)[:, None].expand(-1, dense.shape[1], -1)
        descriptors = functional.normalize(dense.flatten(2).gather(2, cells).transpose(1, 2).float(), dim=-1)
        keypoints, scales = carried_back(torch.stack((x, y), -1).float(), seen, original)
        return Features(
            keypoints * mask[..., None],
            (descriptors * mask[..., None]).to(self._compute.dtype),
            scores,
            mask,
            size,
            None if scales is None else scales * mask,
        )
