"""Runs device code on the CPU and holds every operation it dispatches against the installed torch's table for Metal.

The table is `native_functions.yaml` of the wheel. An operation counts as native if it, or the structured operation it
delegates to, has an MPS kernel, or if it is composed of other operations. What this cannot see: kernels inside of
composed operations, and kernels that give wrong numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torchgen
from torch.utils._python_dispatch import TorchDispatchMode
from torchgen.gen import parse_native_yaml
from torchgen.model import DispatchKey

FALLS_BACK = {"linalg_svd", "linalg_svd.U", "embedding_renorm_", "col2im", "upsample_nearest3d.vec"}
"""Operations that torch moves to the CPU itself (`MPSFallback.mm`, which is not in the wheel)."""
SPELLED_FOR_CPU = {"_scaled_dot_product_flash_attention_for_cpu": "_scaled_dot_product_attention_math_for_mps"}
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive"}
"""Operations whose result, or its size, the host has to wait for."""
_COMPOSED = (
    DispatchKey.CompositeImplicitAutograd,
    DispatchKey.CompositeExplicitAutograd,
    DispatchKey.CompositeExplicitAutogradNonFunctional,
)


@cache
def metal_operations() -> frozenset[str]:
    folder = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native"
    parsed = parse_native_yaml(str(folder / "native_functions.yaml"), str(folder / "tags.yaml"))
    indices = [parsed.backend_indices[key] for key in (DispatchKey.MPS, *_COMPOSED)]
    native = {str(f.func.name) for f in parsed.native_functions if any(index.has_kernel(f) for index in indices)}
    delegating = {
        str(f.func.name)
        for f in parsed.native_functions
        if f.structured_delegate is not None and str(f.structured_delegate) in native
    }
    return frozenset((native | delegating) - FALLS_BACK)


@dataclass
class Record:
    """What one run did."""

    missing: set[str] = field(default_factory=set)
    """Operations without a Metal kernel."""
    wide: set[str] = field(default_factory=set)
    """Operations that touched a float64 or complex128 tensor."""
    waits: list[str] = field(default_factory=list)
    """Operations that the host had to wait for."""


class Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.record = Record()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        namespace, _, name = func._schema.name.partition("::")
        name = SPELLED_FOR_CPU.get(name, name)
        full = f"{name}.{func._schema.overload_name}" if func._schema.overload_name else name
        if namespace != "aten" or full not in metal_operations():
            self.record.missing.add(f"{namespace}::{full}")
        if name in WAITS:
            self.record.waits.append(name)
        tensors = [t for t in torch.utils._pytree.tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor)]
        if any(t.dtype in (torch.float64, torch.complex128) for t in tensors):
            self.record.wide.add(full)
        return result


@pytest.fixture(scope="session")
def record() -> Callable[[Callable[[], object]], Record]:
    def run(work: Callable[[], object]) -> Record:
        with Recorder() as recorder:
            work()
        return recorder.record

    return run


@pytest.fixture(autouse=True)
def _few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
