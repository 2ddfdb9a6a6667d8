"""Batch normalisation folded into the convolution before it: one operation instead of two, at inference."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(module: nn.Module) -> nn.Module:
    """The same function with every batch norm of its sequences folded into the convolution or linear layer before it.

    Args:
        module: a module whose nested `nn.Sequential`s hold layers in the order they run, in evaluation mode.
    """
    if not isinstance(module, nn.Sequential):
        parts = list(module.children())
        return folded(parts[0]) if len(parts) == 1 and isinstance(parts[0], nn.Sequential) else module
    layers: list[nn.Module] = []
    for layer in module:
        before = layers[-1] if layers else None
        if isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            layers[-1] = fuse_conv_bn_eval(before, layer)
        elif isinstance(layer, nn.BatchNorm1d) and isinstance(before, nn.Linear):
            layers[-1] = _scaled(before, layer)
        else:
            inner = folded(layer)
            layers.extend(inner if isinstance(inner, nn.Sequential) else (inner,))
    return nn.Sequential(*layers)


def _scaled(linear: nn.Linear, norm: nn.BatchNorm1d) -> nn.Linear:
    """Both as one layer. torch's own needs a norm with parameters."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.affine:
        scale = scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    if norm.affine:
        shift = shift + norm.bias.detach()
    if linear.bias is not None:
        shift = shift + linear.bias.detach() * scale
    fused = nn.Linear(linear.in_features, linear.out_features)
    fused.load_state_dict({"weight": linear.weight.detach() * scale[:, None], "bias": shift})
    return fused
