"""LightGlue's network (Lindenberger et al., "LightGlue: Local Feature Matching at Light Speed", ICCV 2023).

The weights are those of kornia's module; the forward pass is rearranged for speed, with the same result up to rounding:

- queries, keys and values come from one product, laid out so that attention reads contiguous memory;
- the components of a head are permuted, so that the rotary encoding swaps halves instead of neighbours;
- the output projection of attention is multiplied into the first layer of the perceptron that follows.
"""

from __future__ import annotations

from typing import Any

import torch
from kornia.feature.lightglue import CrossBlock, SelfBlock
from kornia.feature.lightglue import LightGlue as KorniaLightGlue
from torch import Tensor, nn
from torch.nn import functional

from cv3d.features.matchers.nearest import best_of_columns, largest_of_rows


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A linear layer with given weights."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return layer


class _Perceptron(nn.Module):
    """Adds to each token what its message says: x + MLP([x, message])."""

    def __init__(self, out: nn.Linear, layers: nn.Sequential) -> None:
        super().__init__()
        parts: Any = layers
        first, norm, _, last = parts
        size = out.weight.shape[0]
        of_token, of_message = first.weight[:, :size], first.weight[:, size:]
        self.token = linear(of_token, first.bias + of_message @ out.bias)
        self.message = linear(of_message @ out.weight)
        self.norm = norm
        self.last = last

    def forward(self, x: Tensor, message: Tensor) -> Tensor:
        """Tokens (B, N, D), messages (B, N, D) before the output projection; the new tokens."""
        hidden = torch.addmm(
            self.token(x).flatten(0, 1), message.reshape(-1, message.shape[-1]), self.message.weight.T
        ).view(*x.shape[:2], -1)
        result: Tensor = x + self.last(functional.gelu(self.norm(hidden)))
        return result


class _Layer(nn.Module):
    """Self-attention within each picture, then cross-attention between the two."""

    def __init__(self, own: SelfBlock, cross: CrossBlock, heads: int) -> None:
        super().__init__()
        self.heads = heads
        size = own.Wqkv.weight.shape[1]
        head = size // heads
        halves = torch.cat((torch.arange(0, head, 2), torch.arange(1, head, 2)))
        order = torch.arange(3 * size).view(heads, head, 3)
        rows = torch.stack((order[:, halves, 0], order[:, halves, 1], order[:, :, 2])).flatten()
        self.qkv = linear(own.Wqkv.weight[rows], own.Wqkv.bias[rows])
        self.own = _Perceptron(own.out_proj, own.ffn)
        # In cross-attention queries are keys.
        self.shared = linear(
            torch.cat((cross.to_qk.weight, cross.to_v.weight)), torch.cat((cross.to_qk.bias, cross.to_v.bias))
        )
        self.cross = _Perceptron(cross.to_out, cross.ffn)

    def within(self, x: Tensor, encoding: tuple[Tensor, Tensor], seen: Tensor | None) -> Tensor:
        """Self-attention of tokens (B, N, D) with their rotary encoding; `seen` (B, N) are the visible ones."""
        q, k, v = self._split(self.qkv(x), 3)
        q, k = _rotated(q, encoding), _rotated(k, encoding)
        result: Tensor = self.own(x, self._joined(self._attention(q, k, v, seen)))
        return result

    def between(self, x0: Tensor, x1: Tensor, seen0: Tensor | None, seen1: Tensor | None) -> tuple[Tensor, Tensor]:
        """Cross-attention of tokens (B, M, D) and (B, N, D); `seen0` and `seen1` are the visible ones."""
        qk0, v0 = self._split(self.shared(x0), 2)
        qk1, v1 = self._split(self.shared(x1), 2)
        message0 = self._attention(qk0, qk1, v1, seen1)
        message1 = self._attention(qk1, qk0, v0, seen0)
        return self.cross(x0, self._joined(message0)), self.cross(x1, self._joined(message1))

    def _attention(self, queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor | None) -> Tensor:
        mask = None
        if seen is not None:
            # Written out in full: Metal has misread broadcast masks.
            mask = seen[:, None, None].expand(-1, self.heads, queries.shape[2], -1).contiguous()
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(B, N, parts·D) as `parts` contiguous tensors (B, heads, N, D/heads)."""
        shape = (x.shape[0], x.shape[1], parts, self.heads, -1)
        return tuple(part.contiguous() for part in x.view(shape).permute(2, 0, 3, 1, 4).unbind())

    def _joined(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)


class LightGlueNetwork(nn.Module):
    """The layers of a kornia LightGlue, rearranged."""

    def __init__(self, model: KorniaLightGlue) -> None:
        super().__init__()
        conf = model.conf
        self.heads: int = conf.num_heads
        self.input = model.input_proj
        self.frequencies = model.posenc.Wr
        layers: list[Any] = list(model.transformers)
        self.layers = nn.ModuleList(_Layer(layer.self_attn, layer.cross_attn, conf.num_heads) for layer in layers)
        scale = conf.descriptor_dim**-0.25
        heads: list[Any] = list(model.log_assignment)
        self.projections = nn.ModuleList(
            linear(head.final_proj.weight * scale, head.final_proj.bias * scale) for head in heads
        )
        self.matchabilities = nn.ModuleList(head.matchability for head in heads)
        confidences: list[Any] = list(model.token_confidence)
        self.confidences = nn.ModuleList(confidence.token[0] for confidence in confidences)
        self.requires_grad_(False)

    def encoding(self, keypoints: Tensor, image_size: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (B, 1, N, D/heads) of the rotary encoding of keypoints (B, N, 2) in pixels."""
        centred = (keypoints - image_size[:, None] / 2.0) / (image_size.amax(1)[:, None, None] / 2.0)
        angles = functional.linear(centred, self.frequencies.weight.float())[:, None]
        cosines, sines = angles.cos(), angles.sin()
        dtype = self.frequencies.weight.dtype
        return torch.cat((cosines, cosines), -1).to(dtype), torch.cat((-sines, sines), -1).to(dtype)

    def layer(
        self,
        index: int,
        x0: Tensor,
        x1: Tensor,
        encoding0: tuple[Tensor, Tensor],
        encoding1: tuple[Tensor, Tensor],
        seen0: Tensor | None = None,
        seen1: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """One layer on the tokens (B, M, D) and (B, N, D) of the two pictures.

        `seen0` (B, M) and `seen1` (B, N) say which tokens take part, at least one of each picture; None stands for all.
        """
        layer: Any = self.layers[index]
        x0 = layer.within(x0, encoding0, seen0)
        x1 = layer.within(x1, encoding1, seen1)
        result: tuple[Tensor, Tensor] = layer.between(x0, x1, seen0, seen1)
        return result

    def confidence(self, index: int, x: Tensor) -> Tensor:
        """(B, N) float32, how likely a token's match will not change any more after this layer."""
        result: Tensor = self.confidences[index](x).squeeze(-1).float().sigmoid()
        return result

    def matchability(self, index: int, x: Tensor) -> Tensor:
        """(B, N) float32 logit of a token having a match."""
        result: Tensor = self.matchabilities[index](x).squeeze(-1).float()
        return result

    def projection(self, index: int, x: Tensor) -> Tensor:
        """(B, N, D) float32, whose scalar products are the similarities after this layer."""
        result: Tensor = self.projections[index](x).float()
        return result


def _rotated(x: Tensor, encoding: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary encoding of (B, heads, N, D): pairs of components, half a head apart, turned by the token's angles."""
    half = x.shape[-1] // 2
    swapped = torch.cat((x[..., half:], x[..., :half]), -1)
    return torch.addcmul(x * encoding[0], swapped, encoding[1])


def assignment(
    projected0: Tensor, projected1: Tensor, logit0: Tensor, logit1: Tensor, seen: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The soft assignment of the paper's equation 8, and its maxima.

    Args:
        projected0: (B, M, D) of the first picture's tokens.
        projected1: (B, N, D).
        logit0: (B, M) matchability.
        logit1: (B, N).
        seen: (B, M, N) bool, pairs that take part; None for all.

    Returns:
        the largest log-probability of each row (B, M), its column (B, M), and the row of each column's largest (B, N).
    """
    similarity = torch.bmm(projected0, projected1.transpose(1, 2))
    if seen is not None:
        similarity = similarity.masked_fill(~seen, -1e4)
    rows = functional.logsigmoid(logit0) - similarity.logsumexp(2)
    columns = functional.logsigmoid(logit1) - similarity.logsumexp(1)
    total = torch.add(rows[..., None] + columns[:, None], similarity, alpha=2.0)
    largest, best0 = largest_of_rows(total)
    return largest, best0, best_of_columns(total)
