"""Mutual nearest neighbours with XFeat's refinement (section 3.3 of Potje et al., 2024), for semi-dense features.

A perceptron looks at the two descriptors of a match and says where in the cell of the second picture the centre of the
cell of the first lies: a distribution over 8 × 8 places, whose mean is taken, and whose peak is the confidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from kornia.feature.xfeat import XFeatModel
from torch import Tensor

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features import weights
from cv3d.features.extractors.base import Features
from cv3d.features.extractors.folding import folded
from cv3d.features.extractors.xfeat_dense import scales_of
from cv3d.features.extractors.xfeat_network import CELL, DESCRIPTOR_SIZE
from cv3d.features.matchers.base import Matches, check_pairs
from cv3d.features.matchers.nearest import EMPTY_BELOW, as_matches, nearest

COMPACT: Mapping[str, bool] = {"cpu": True, "cuda": False, "mps": False}
"""Whether the perceptron sees matches alone, for which the host has to know how many there are, or all entries."""
DESCRIPTOR_LENGTH = 15.12
"""How long the network's descriptors are before they are normalised, the median; eight in ten are within 4 %. The
perceptron was trained on those."""
_SHARPNESS = 3.0
"""The authors' factor on the logits."""
ZERO = (3.0, 2.9)
"""The place, x and y, that the perceptron names for two pictures that are the same, the median over pictures. The
authors subtract 4, half the side of the cell, which puts all their positions one pixel of the network's off. On
fountain-P11 at 1536 × 1024 the matches are 0.93 px from the true epipolar lines so, and 1.17 px with 4."""


@dataclass(frozen=True)
class RefinedOptions:
    """What counts as a match."""

    min_cosine: float = -1.0
    """The cosine between two descriptors to exceed."""
    min_confidence: float = 0.25
    """The probability of the likeliest place in the cell to exceed; the authors' value."""
    is_compact: bool | None = None
    """Whether the perceptron sees matches alone; None takes what :data:`COMPACT` says for the device."""


class MutualRefined:
    """Matches two cells that are each other's nearest neighbour, and finds the place in the second."""

    name = "mutual-refined"

    def __init__(self, compute: Compute, options: RefinedOptions | None = None) -> None:
        """Load the perceptron onto the device of `compute`, in its floating-point type.

        Raises:
            DependencyError: the weights are not here.
            FormatError: the file of weights is not the published one.
        """
        self.options = options or RefinedOptions()
        self._compute = compute
        model = XFeatModel()
        model.load_state_dict(weights.load("xfeat"))
        self._perceptron = folded(model.eval().fine_matcher).to(compute.device, compute.dtype).requires_grad_(False)
        compact = self.options.is_compact
        self._is_compact = COMPACT[compute.device.type] if compact is None else compact

    @torch.no_grad()
    def match(self, features0: Features, features1: Features) -> Matches:
        """Matches of B pairs with refined positions in the second pictures; the score of a match is its cosine.

        Features that do not lie at the centre of a cell, which is to say those of another extractor, have no match.

        Raises:
            InputError: the batches differ in size, or descriptors are not XFeat's.
        """
        check_pairs(features0, features1)
        size = features0.descriptors.shape[-1]
        if size != DESCRIPTOR_SIZE:
            raise InputError(f"{self.name} takes descriptors of length {DESCRIPTOR_SIZE}, not {size}")
        found = nearest(features0, features1)
        scales = scales_of(features1.keypoints).gather(1, found.best)
        is_match = found.is_mutual & (found.cosine > max(self.options.min_cosine, EMPTY_BELOW))
        is_match = is_match & (scales > 0) & (scales_of(features0.keypoints) > 0)
        offsets = torch.zeros_like(features0.keypoints)
        if self._is_compact:
            item, entry = torch.nonzero(is_match, as_tuple=True)
            partner = found.best[item, entry]
            offset, confidence = self._places(features1.descriptors[item, partner], features0.descriptors[item, entry])
            offsets[item, entry] = offset
            is_match[item, entry] = confidence > self.options.min_confidence
        else:
            partners = _taken(features1.descriptors, found.best)
            offsets, confidence = self._places(partners, features0.descriptors)
            is_match = is_match & (confidence > self.options.min_confidence)
        points = _taken(features1.keypoints, found.best)
        points = points + offsets * scales[..., None]
        points = torch.minimum(points.clamp(min=0.0), features1.image_size[:, None] - 1.0)
        matches = as_matches(found.best, found.cosine, is_match)
        return Matches(matches.indices, matches.scores, points * is_match[..., None])

    def _places(self, here: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Where in a cell the centre of another cell lies.

        Args:
            here: (..., 64) unit descriptors of the cells to look in.
            there: (..., 64) of the cells whose centres are looked for.

        Returns:
            (..., 2) the mean place from the centre of the cell, in the network's pixels; (...) the largest probability.
        """
        both = torch.cat((here, there), -1).to(self._compute.dtype) * DESCRIPTOR_LENGTH
        logits = self._perceptron(both).float()
        places = torch.softmax(_SHARPNESS * logits, -1)
        grid = torch.unflatten(places, -1, (CELL, CELL))
        step = torch.arange(CELL, dtype=torch.float32, device=here.device)
        x, y = (grid.sum(-2) * step).sum(-1) - ZERO[0], (grid.sum(-1) * step).sum(-1) - ZERO[1]
        return torch.stack((x, y), -1), places.amax(-1)


def _taken(values: Tensor, index: Tensor) -> Tensor:
    """(B, K0, N) the rows (B, K0) of (B, K1, N)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
