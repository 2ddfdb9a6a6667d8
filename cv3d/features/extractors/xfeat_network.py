"""XFeat's network (Potje et al., CVPR 2024), kornia's module rearranged for inference."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from kornia.feature.xfeat import XFeatModel
from torch import Tensor, nn
from torch.nn import functional

from cv3d.features.extractors.folding import folded

CELL = 8
"""Side in pixels of a cell of the output maps."""
STRIDE = 32
"""Side in pixels of a cell of the coarsest map: input sizes are multiples of it."""
REACH = 224
"""No pixel further than this from a keypoint influences it (the receptive field, rounded up to whole strides)."""
DESCRIPTOR_SIZE = 64
NORM_EPSILON = 1e-5
"""Added to a picture's variance before it is divided by."""


class XFeatNetwork(nn.Module):
    """The convolutions of XFeat with batch norms folded in, on a picture that is already normalised."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        model = XFeatModel()
        model.load_state_dict(dict(state))
        model.eval()
        _, pointwise = model.skip1
        assert isinstance(pointwise, nn.Conv2d)
        self.skip = _strided_mean(pointwise)
        self.block1 = folded(model.block1)
        self.block2 = folded(model.block2)
        self.block3 = folded(model.block3)
        self.block4 = folded(model.block4)
        self.block5 = folded(model.block5)
        self.fusion = folded(model.block_fusion)
        self.reliability = folded(model.heatmap_head)
        self.keypoints = _on_pixels(folded(model.keypoint_head))
        self.requires_grad_(False)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three maps of a picture.

        Args:
            picture: (B, 1, H, W) of zero mean and unit variance; H and W are multiples of 32.

        Returns:
            descriptors (B, 64, H/8, W/8), not normalised; keypoint logits (B, 65, H/8, W/8), channel 8·dy + dx for
            the pixel (dx, dy) of a cell and the last for "none"; reliability (B, 1, H/8, W/8) in [0, 1].
        """
        descriptors, reliability = self.dense(picture)
        return descriptors, self.keypoints(picture), reliability

    def dense(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors and reliability alone, as :meth:`forward` has them."""
        x = self.block2(self.block1(picture) + self.skip(picture))
        fine: Tensor = self.block3(x)
        middle: Tensor = self.block4(fine)
        coarse: Tensor = self.block5(middle)
        size = fine.shape[-2:]
        middle = functional.interpolate(middle, size, mode="bilinear", align_corners=False)
        coarse = functional.interpolate(coarse, size, mode="bilinear", align_corners=False)
        descriptors: Tensor = self.fusion(fine + middle + coarse)
        return descriptors, self.reliability(descriptors)


def _strided_mean(pointwise: nn.Conv2d) -> nn.Conv2d:
    """The 4 × 4 mean followed by a 1 × 1 convolution, as one strided convolution."""
    mean = torch.full((1, 1, 4, 4), 1.0 / 16.0)
    return _strided(pointwise, pointwise.weight * mean)


def _on_pixels(head: nn.Module) -> nn.Module:
    """The keypoint head, whose first 1 × 1 convolution is over the 64 pixels of a cell, on the pixels themselves."""
    first, *rest = head.children()
    assert isinstance(first, nn.Conv2d)
    return nn.Sequential(_strided(first, first.weight.view(-1, 1, CELL, CELL)), *rest)


def _strided(pointwise: nn.Conv2d, weight: Tensor) -> nn.Conv2d:
    """A convolution with the given weight (N, 1, S, S), stride S and the bias of `pointwise`."""
    side = weight.shape[-1]
    conv = nn.Conv2d(1, weight.shape[0], side, stride=side)
    conv.load_state_dict({"weight": weight, "bias": pointwise.state_dict()["bias"]})
    return conv
