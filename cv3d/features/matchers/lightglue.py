"""LightGlue, and LighterGlue for XFeat: a network that looks at all keypoints of both pictures to match them.

It gets faster on easy pairs in two ways (section 3.3 of the paper): keypoints that the network knows to be unmatchable
are left out of later layers, and it stops as soon as nearly all are sure of their match. There are two drivers with the
same result. The compact one, for the CPU, takes keypoints out of the arrays, for which the host has to know how many
there are. The fixed one keeps the arrays as they are and hides those keypoints: no count ever leaves the device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from kornia.feature.lightglue import LightGlue as KorniaLightGlue
from torch import Tensor

from cv3d.compute import Compute
from cv3d.errors import FormatError, InputError
from cv3d.features import weights
from cv3d.features.extractors.base import Features
from cv3d.features.matchers.base import Matches, check_pairs
from cv3d.features.matchers.lightglue_network import LightGlueNetwork, assignment
from cv3d.features.matchers.nearest import mutual

COMPACT: Mapping[str, bool] = {"cpu": True, "cuda": False, "mps": False}
"""Which driver runs, by kind of device: compact where a question of the host costs nothing. There it takes pairs one by
one: four pairs of 1024 keypoints on one core take 0.6 s so, and 1.0 s with the fixed driver, at once or one by one."""


_Projected = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of either picture the projected tokens (B, M, D), (B, N, D), then their matchabilities (B, M), (B, N)."""


@dataclass(frozen=True)
class LightGlueOptions:
    """When to believe a match, and how much work to save."""

    min_score: float = 0.1
    """The probability of a match to exceed."""
    depth_confidence: float | None = None
    """Stop when this share of keypoints is sure; -1 never stops early, None takes the authors' value."""
    width_confidence: float | None = None
    """Leave out a keypoint that is unmatchable with this probability; -1 keeps all, None takes the authors' value."""
    is_compact: bool | None = None
    """Whether keypoints left out leave the arrays; None takes what :data:`COMPACT` says for the device."""


@dataclass(frozen=True)
class _Tokens:
    """The keypoints of one side, as the network carries them from layer to layer."""

    x: Tensor
    encoding: tuple[Tensor, Tensor]

    def kept(self, index: Tensor) -> _Tokens:
        """Only the entries at `index` (N,)."""
        cosines, sines = self.encoding
        return _Tokens(self.x.index_select(1, index), (cosines.index_select(2, index), sines.index_select(2, index)))


class LightGlue:
    """LightGlue with the weights for one kind of features."""

    def __init__(self, features: str, compute: Compute, options: LightGlueOptions | None = None) -> None:
        """Load the network onto the device of `compute`, in its floating-point type.

        Args:
            features: "xfeat" (LighterGlue), "aliked" or "disk".
            compute: where and in which type it runs.
            options: how it runs.

        Raises:
            DependencyError: the weights are not here.
            FormatError: the file of weights is not the published one.
        """
        self.name = NAMES[features]
        self.options = options or LightGlueOptions()
        self._compute = compute
        model = kornia_module(features, weights.load(WEIGHTS[features]))
        self._network = LightGlueNetwork(model).to(compute.device, compute.dtype).eval()
        self._descriptor_size: int = model.conf.input_dim
        self._count: int = model.conf.n_layers
        depth, width = self.options.depth_confidence, self.options.width_confidence
        self._depth: float = model.conf.depth_confidence if depth is None else depth
        self._width: float = model.conf.width_confidence if width is None else width
        self._sure = [_sure_above(i, self._count) for i in range(self._count)]
        compact = self.options.is_compact
        self._is_compact = COMPACT[compute.device.type] if compact is None else compact

    @torch.no_grad()
    def match(self, features0: Features, features1: Features) -> Matches:
        """Matches of B pairs; the score of a match is its probability.

        Raises:
            InputError: the batches differ in size, or descriptors are not those the network was trained for.
        """
        check_pairs(features0, features1)
        size = features0.descriptors.shape[-1]
        if size != self._descriptor_size:
            raise InputError(f"{self.name} takes descriptors of length {self._descriptor_size}, not {size}")
        if not self._is_compact:
            return self._match_fixed(features0, features1)
        pairs = [self._match_compact(features0[i : i + 1], features1[i : i + 1]) for i in range(len(features0))]
        return Matches(torch.cat([pair.indices for pair in pairs]), torch.cat([pair.scores for pair in pairs]))

    def _tokens(self, features: Features) -> _Tokens:
        x: Tensor = self._network.input(features.descriptors.to(self._compute.dtype))
        return _Tokens(x, self._network.encoding(features.keypoints, features.image_size))

    def _match_compact(self, features0: Features, features1: Features) -> Matches:
        """One pair, with only the entries that still take part in the arrays."""
        network = self._network
        index0, index1 = (torch.nonzero(features.mask[0])[:, 0] for features in (features0, features1))
        total = len(index0) + len(index1)
        tokens0, tokens1 = self._tokens(features0).kept(index0), self._tokens(features1).kept(index1)
        indices = torch.full_like(features0.mask, -1, dtype=torch.int64)
        scores = torch.zeros_like(features0.scores)
        layer = 0
        for layer in range(self._count):
            if not (len(index0) and len(index1)):
                return Matches(indices, scores)
            x0, x1 = network.layer(layer, tokens0.x, tokens1.x, tokens0.encoding, tokens1.encoding)
            tokens0, tokens1 = _Tokens(x0, tokens0.encoding), _Tokens(x1, tokens1.encoding)
            if layer == self._count - 1:
                break
            if self._depth > 0:
                unsure = sum(self._unsure(layer, x).sum() for x in (x0, x1))
                if bool(1.0 - unsure / total > self._depth):
                    break
            if self._width > 0:
                keep0, keep1 = (torch.nonzero(self._keep(layer, x)[0])[:, 0] for x in (x0, x1))
                if len(keep0) < len(index0):
                    tokens0, index0 = tokens0.kept(keep0), index0[keep0]
                if len(keep1) < len(index1):
                    tokens1, index1 = tokens1.kept(keep1), index1[keep1]
        if not (len(index0) and len(index1)):
            return Matches(indices, scores)
        log_score, best0, best1 = assignment(
            network.projection(layer, tokens0.x),
            network.projection(layer, tokens1.x),
            network.matchability(layer, tokens0.x),
            network.matchability(layer, tokens1.x),
            None,
        )
        score = log_score.exp()
        is_match = mutual(best0, best1) & (score > self.options.min_score)
        indices[:, index0] = torch.where(is_match, index1[best0], -1)
        scores[:, index0] = torch.where(is_match, score, 0.0)
        return Matches(indices, scores)

    def _match_fixed(self, features0: Features, features1: Features) -> Matches:
        """All pairs at once; entries that no longer take part are hidden, pairs that have stopped keep their result."""
        network = self._network
        tokens0, tokens1 = self._tokens(features0), self._tokens(features1)
        x0, x1 = tokens0.x, tokens1.x
        alive0, alive1 = features0.mask, features1.mask
        total = (alive0.sum(1) + alive1.sum(1)).clamp(min=1)
        has_stopped = torch.zeros(len(features0), dtype=torch.bool, device=alive0.device)
        can_stop = self._depth > 0
        result: _Projected | None = None
        for layer in range(self._count):
            seen0, seen1 = (alive | _first_where_none(alive) for alive in (alive0, alive1))
            x0, x1 = network.layer(layer, x0, x1, tokens0.encoding, tokens1.encoding, seen0, seen1)
            is_last = layer == self._count - 1
            if can_stop or is_last:
                now = (
                    network.projection(layer, x0),
                    network.projection(layer, x1),
                    network.matchability(layer, x0),
                    network.matchability(layer, x1),
                )
                result = now if result is None else _chosen(has_stopped, result, now)
            if is_last:
                break
            if can_stop:
                unsure = (self._unsure(layer, x0) & alive0).sum(1) + (self._unsure(layer, x1) & alive1).sum(1)
                has_stopped = has_stopped | (1.0 - unsure / total > self._depth)
            if self._width > 0:
                alive0 = alive0 & (self._keep(layer, x0) | has_stopped[:, None])
                alive1 = alive1 & (self._keep(layer, x1) | has_stopped[:, None])
        assert result is not None
        log_score, best0, best1 = assignment(*result, seen=alive0[:, :, None] & alive1[:, None, :])
        score = log_score.exp()
        is_match = mutual(best0, best1) & (score > self.options.min_score) & alive0 & alive1.gather(1, best0)
        return Matches(torch.where(is_match, best0, -1), torch.where(is_match, score, 0.0))

    def _unsure(self, layer: int, x: Tensor) -> Tensor:
        """(B, N) bool: tokens whose match may still change."""
        return self._network.confidence(layer, x) < self._sure[layer]

    def _keep(self, layer: int, x: Tensor) -> Tensor:
        """(B, N) bool: tokens that may have a match, or do not know yet."""
        keep = self._network.matchability(layer, x).sigmoid() > 1.0 - self._width
        if self._depth > 0:
            keep = keep | (self._network.confidence(layer, x) <= self._sure[layer])
        return keep


WEIGHTS: Mapping[str, str] = {"xfeat": "xfeat-lighterglue", "aliked": "aliked-lightglue", "disk": "disk-lightglue"}
"""The weights for each kind of features."""
NAMES: Mapping[str, str] = {"xfeat": "lighterglue", "aliked": "lightglue-aliked", "disk": "lightglue-disk"}
"""What the matcher for each kind of features is called."""


def kornia_module(features: str, state: dict[str, Tensor]) -> KorniaLightGlue:
    """The module of kornia with published weights, whose names are of an older layout."""
    # Its constructor switches torch's fused attention on or off for the whole process by `flash`: on, as torch has it.
    conf = KorniaLightGlue.default_conf | KorniaLightGlue.features[features] | {"weights": None, "flash": True}
    model = KorniaLightGlue(None, **conf)  # type: ignore[arg-type]
    model.eval()
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        part, *rest = name.removeprefix("matcher.").split(".")
        if part in ("self_attn", "cross_attn"):
            rest = [rest[0], part, *rest[1:]]
            part = "transformers"
        renamed[".".join((part, *rest))] = value
    missing = set(dict(model.named_parameters())) - set(renamed)
    if missing:
        raise FormatError(f"the weights '{WEIGHTS[features]}' lack {len(missing)} of the network's parameters")
    model.load_state_dict(renamed, strict=False)
    return model


def _sure_above(layer: int, count: int) -> float:
    """The confidence above which a token is sure after a layer (appendix of the paper)."""
    return 0.8 + 0.1 * math.exp(-4.0 * layer / count)


def _first_where_none(alive: Tensor) -> Tensor:
    """(B, N) bool: the first entry of rows with no true one, so that attention has something to look at."""
    first = torch.zeros_like(alive)
    first[:, 0] = ~alive.any(1)
    return first


def _chosen(has_stopped: Tensor, before: _Projected, now: _Projected) -> _Projected:
    """For each pair what it had when it stopped, or has now."""
    wide = has_stopped[:, None, None]
    return (
        torch.where(wide, before[0], now[0]),
        torch.where(wide, before[1], now[1]),
        torch.where(wide[..., 0], before[2], now[2]),
        torch.where(wide[..., 0], before[3], now[3]),
    )
