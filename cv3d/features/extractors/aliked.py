"""ALIKED keypoints and descriptors (Zhao et al., "ALIKED: A lighter keypoint and descriptor extraction network", 2023).

The maps are kornia's; detection and description are written for a fixed number of keypoints, on the device. A large
picture is made smaller first, since the network's places of description reach as far as a quarter of the picture and
tiles would change them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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

DETECTION_THRESHOLD = 0.2
"""The authors' threshold on the score map."""
_RADIUS = 2
_TEMPERATURE = 0.1


@dataclass(frozen=True)
class AlikedOptions(ExtractorOptions):
    """How ALIKED runs."""

    max_side: int = 1600
    """A picture with a longer side, pixels, is made smaller; its keypoints are those of the original all the same.
    1.6 GB per million pixels in float32, so at most about 4 GB."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_max_side(self.max_side)


class Aliked:
    """ALIKED-N(16)."""

    name = "aliked"
    descriptor_size = 128

    def __init__(self, compute: Compute, options: AlikedOptions | None = None) -> None:
        """Load the network onto the device of `compute`, in its floating-point type.

        Raises:
            DependencyError: the weights are not here.
            FormatError: the file of weights is not the published one.
        """
        self.options = options or AlikedOptions()
        self._compute = compute
        asked = self.options.detection_threshold
        self._threshold = DETECTION_THRESHOLD if asked is None else asked
        network = feature.ALIKED("aliked-n16")
        network.load_state_dict(weights.load("aliked-n16"), strict=False)
        self._network = network.to(compute.device, compute.dtype).eval().requires_grad_(False)

    @property
    def max_keypoints(self) -> int:
        """K, the number of entries it gives for every picture."""
        return self.options.max_keypoints

    @torch.no_grad()
    def extract(self, images: Tensor) -> Features:
        """Keypoints of pictures of one size.

        A keypoint is the only maximum of the score map in its 5 × 5 window, moved to the centre of mass of the scores
        there, softly (equation 2 of the paper).

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
        short_h, short_w = max(2 * _RADIUS + 2 - height, 0), max(2 * _RADIUS + 2 - width, 0)
        images = functional.pad(images, (0, short_w, 0, short_h), mode="replicate")
        features, score_map = self._network.extract_dense_map(images.to(self._compute.dtype))
        features, scores = features.float(), score_map.float()[:, 0]

        r = _RADIUS
        is_maximum = strict_maxima(scores, r, self._threshold)
        is_maximum = is_maximum[:, : max(height - 2 * r, 0), : max(width - 2 * r, 0)]
        inner = scores[:, r : r + is_maximum.shape[1], r : r + is_maximum.shape[2]]
        values, x, y = strongest(torch.where(is_maximum, inner, 0.0), self.max_keypoints)
        x, y = x + r, y + r
        keypoints = torch.stack((x, y), -1) + _centres_of_mass(scores, x, y)
        mask = values > 0
        descriptors = self._describe(features, keypoints)
        strength = _sample(scores[:, None], keypoints)[..., 0]
        keypoints, scales = carried_back(keypoints, seen, original)
        return Features(
            keypoints * mask[..., None],
            (descriptors * mask[..., None]).to(self._compute.dtype),
            strength * mask,
            mask,
            size,
            None if scales is None else scales * mask,
        )

    def _describe(self, features: Tensor, keypoints: Tensor) -> Tensor:
        """Unit descriptors (B, K, 128) from places around each keypoint that the network itself chooses."""
        head: Any = self._network.desc_head
        batch, count, _ = keypoints.shape
        channels, height, width = features.shape[1:]
        side = head.kernel_size
        first = keypoints.long() - side // 2
        x0, y0 = first[..., 0].clamp(0, width - 1 - side), first[..., 1].clamp(0, height - 1 - side)
        step = torch.arange(side, device=features.device)
        cells = (y0[..., None, None] + step[:, None]) * width + x0[..., None, None] + step
        flat = features.flatten(2)
        patches = flat.gather(2, cells.flatten(1)[:, None].expand(-1, channels, -1))
        patches = patches.view(batch, channels, count, side, side).transpose(1, 2).flatten(0, 1)
        dtype = self._compute.dtype
        reach = max(height, width) / 4.0
        offsets = head.offset_conv(patches.to(dtype)).float().clamp(-reach, reach)
        offsets = offsets.view(batch, count, 2, head.n_pos).transpose(2, 3)
        sampled = _sample(features, (keypoints[:, :, None] + offsets).flatten(1, 2))
        sampled = functional.selu(functional.linear(sampled.to(dtype), head.sf_conv.weight[:, :, 0, 0]))
        weight = head.agg_weights.flatten(0, 1)
        return functional.normalize((sampled.view(batch, count, -1) @ weight).float(), dim=-1)


def _centres_of_mass(scores: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(B, K, 2) by how much the soft-argmax over the window lies off its centre, in pixels."""
    width = scores.shape[-1]
    step = torch.arange(-_RADIUS, _RADIUS + 1, device=scores.device)
    cells = (y[..., None, None] + step[:, None]).clamp(min=0) * width + (x[..., None, None] + step).clamp(min=0)
    window = scores.flatten(1).gather(1, cells.flatten(1)).view(*x.shape, -1)
    weight = torch.softmax(window / _TEMPERATURE, -1).view(*x.shape, len(step), len(step))
    offsets = step.float()
    return torch.stack(((weight.sum(-2) * offsets).sum(-1), (weight.sum(-1) * offsets).sum(-1)), -1)


def _sample(maps: Tensor, pixels: Tensor) -> Tensor:
    """(B, N, C) bilinear values of maps (B, C, H, W) at pixels (B, N, 2); zero outside."""
    last = torch.empty(2, device=maps.device)
    last[0] = maps.shape[-1] - 1
    last[1] = maps.shape[-2] - 1
    grid = (2.0 * pixels / last - 1.0)[:, :, None]
    return functional.grid_sample(maps, grid, mode="bilinear", align_corners=True)[..., 0].transpose(1, 2)
