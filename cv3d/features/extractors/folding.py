"""Batch normalisation folded into the convolution before it: one operation instead of two, at inference."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval


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
            layers[-1] = fuse_linear_bn_eval(before, layer)
        else:
            inner = folded(layer)
            layers.extend(inner if isinstance(inner, nn.Sequential) else (inner,))
    return nn.Sequential(*layers)
