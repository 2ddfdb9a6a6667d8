"""Convolution and ReLU as one kernel, where a kind of device has it.

The reference is `nn.Conv2d` followed by `nn.ReLU`, which run everywhere. On the CPU, oneDNN does both in one pass over
memory, with weights laid out once. XFeat's at VGA on one core: 34 ms become 32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from cv3d.compute import Compute


class OneDnnConv(nn.Module):
    """A convolution with an optional ReLU, by oneDNN, on float32 pictures on the CPU."""

    def __init__(self, conv: nn.Conv2d, has_relu: bool) -> None:
        super().__init__()
        self._bias = conv.bias
        self._activation = "relu" if has_relu else "none"
        self._geometry = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight.detach(), *self._geometry, None)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of (B, C, H, W), channels-last."""
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._weight, self._bias, *self._geometry, self._activation, [], ""
        )
        return result


def _one_dnn(module: nn.Module) -> nn.Module:
    """The same module with the convolutions of its sequences replaced, and the ReLU after each taken in."""
    for name, child in module.named_children():
        setattr(module, name, _one_dnn(child))
    if not isinstance(module, nn.Sequential):
        return module
    layers = list(module)
    fused: list[nn.Module] = []
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, nn.Conv2d):
            fused.append(OneDnnConv(layer, isinstance(following, nn.ReLU)))
        elif not (isinstance(layer, nn.ReLU) and fused and isinstance(fused[-1], OneDnnConv)):
            fused.append(layer)
    return nn.Sequential(*fused)


TWINS: Mapping[str, Callable[[nn.Module], nn.Module]] = {"cpu": _one_dnn}
"""What replaces convolutions in float32, by kind of device; kinds that are not here run the reference."""


def with_fused_convolutions(network: nn.Module, compute: Compute) -> nn.Module:
    """The network, already on its device, with fused convolutions where the kind of device has them."""
    twin = TWINS.get(compute.device.type)
    has_one_dnn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if twin is None or compute.dtype != torch.float32 or not has_one_dnn:
        return network
    return twin(network)
