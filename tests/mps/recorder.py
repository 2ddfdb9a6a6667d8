"""Runs device code on the CPU and takes down what would go wrong on Metal.

Two views are taken: the functions that Python calls, by the names under which torch's tests know them, and the
operations that the dispatcher gets, below what is composed. What cannot be seen: kernels that give wrong numbers. For
those there are rules by which known ones are avoided, and `cv3d doctor --device mps`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .metal import metal_operations, refused_by_metal

SPELLED_FOR_CPU = {"_scaled_dot_product_flash_attention_for_cpu": "_scaled_dot_product_attention_math_for_mps"}
"""Operations that have another name on Metal."""
WAITS = {
    "_local_scalar_dense",
    "bincount",
    "equal",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
    "_unique2",
}
"""Operations whose result, or its size, the host has to wait for."""
MASKED = {"index", "index_put", "index_put_", "_index_put_impl_"}
"""Operations that wait where an index is a mask."""
_LARGEST_KEY = 1 << 24
_LONGEST_SORT = 1 << 22


@dataclass
class Record:
    """What one run did."""

    operations: Counter[str] = field(default_factory=Counter)
    """How often each was dispatched."""
    missing: set[str] = field(default_factory=set)
    """Operations without a Metal kernel."""
    refused: set[str] = field(default_factory=set)
    """Functions that fail on Metal for the types that they were called with."""
    wide: set[str] = field(default_factory=set)
    """Operations that touched a float64 or complex128 tensor."""
    doubtful: set[str] = field(default_factory=set)
    """Calls of a form that some version of Metal's kernels gets wrong."""
    waits: list[str] = field(default_factory=list)
    """What the host had to wait for."""

    @property
    def faults(self) -> dict[str, set[str]]:
        """Everything that must not be, by kind; empty if all is well."""
        kinds = ("missing", "refused", "wide", "doubtful")
        return {kind: getattr(self, kind) for kind in kinds if getattr(self, kind)}


class _Functions(TorchFunctionMode):
    """Sees what Python calls."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self._record = record
        self._on_host: list[torch.Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        full = resolve_name(func) or getattr(func, "__name__", "")
        name = re.sub(r"^torch\.(_C\._nn\.|Tensor\.|_VF\.|functional\.)?", "", full)
        self._refusal(name, args, kwargs)
        self._doubts(name, args, kwargs)
        result = func(*args, **kwargs)
        if full == "torch.Tensor.cpu" or (full == "torch.Tensor.to" and _names_host(args[1:], kwargs)):
            self._record.waits.append("cpu")
            self._on_host.append(result)
        elif full == "torch.Tensor.tolist" and not any(args[0] is one for one in self._on_host):
            self._record.waits.append("tolist")
        return result

    def _refusal(self, name: str, args: Any, kwargs: Any) -> None:
        variant = (
            kwargs.get("mode")
            or kwargs.get("reduce")
            or (args[4] if name == "scatter_reduce" and len(args) > 4 else "")
        )
        for key in {name, f"{name}{variant}"} & refused_by_metal().keys():
            refused = refused_by_metal()[key]
            used = {one.dtype for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)}
            if refused is None or (refused & {_first_type(args)}):
                self._record.refused.add(f"{key} of {', '.join(sorted(str(one) for one in used))}")

    def _doubts(self, name: str, args: Any, kwargs: Any) -> None:
        doubtful = self._record.doubtful
        if name == "nn.functional.scaled_dot_product_attention":
            parts = [part for part in (*args, *kwargs.values()) if isinstance(part, torch.Tensor)]
            if not all(part.is_contiguous() for part in parts):
                doubtful.add("attention over strided tensors")
        if name == "nn.functional.linear" and not args[1].is_contiguous():
            doubtful.add("a linear layer with strided weights")
        if name == "linalg.solve" and args[0].shape[:-2] != args[1].shape[: max(args[0].ndim - 2, 0)]:
            doubtful.add("one right-hand side for several systems")


class Recorder(TorchDispatchMode):
    """Sees what the dispatcher gets."""

    def __init__(self) -> None:
        super().__init__()
        self.record = Record()
        self._functions = _Functions(self.record)

    def __enter__(self) -> Recorder:
        self._functions.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *exit_arguments: Any) -> None:
        super().__exit__(*exit_arguments)
        self._functions.__exit__(*exit_arguments)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        record, schema = self.record, func._schema
        namespace, _, name = schema.name.partition("::")
        name = SPELLED_FOR_CPU.get(name, name)
        full = f"{name}.{schema.overload_name}" if schema.overload_name else name
        record.operations[full] += 1
        if namespace != "aten" or full not in metal_operations():
            record.missing.add(f"{namespace}::{full}")
        leaves = [one for one in tree_leaves((args, kwargs, result)) if isinstance(one, torch.Tensor)]
        if any(one.dtype in (torch.float64, torch.complex128) for one in leaves):
            record.wide.add(full)
        if name in WAITS or (name in MASKED and _has_mask(args[1])):
            record.waits.append(name)
        if name == "repeat_interleave" and kwargs is not None and kwargs.get("output_size") is None:
            record.waits.append(name)
        self._doubts(name, args)
        return result

    def _doubts(self, name: str, args: Any) -> None:
        doubtful = self.record.doubtful
        is_unique = name in ("_unique2", "unique_dim") and not args[0].is_floating_point() and args[0].numel()
        if is_unique and int(args[0].abs().max()) >= _LARGEST_KEY:
            doubtful.add("unique of numbers beyond 2^24")
        if name in ("sort", "argsort", "topk") and args[0].ndim and max(args[0].shape) > _LONGEST_SORT:
            doubtful.add("a sort of more than 2^22")
        if name == "convolution" and args[0].ndim == 5:
            doubtful.add("a convolution in three dimensions")
        if name in ("index_add_", "scatter_add_", "scatter_reduce_", "index_put_") and args[0].storage_offset():
            doubtful.add("accumulation into a view with an offset")


def recorded(work: Callable[[], object]) -> Record:
    """What `work` did."""
    with Recorder() as recorder:
        work()
    return recorder.record


def _first_type(args: Any) -> torch.dtype | None:
    return next((one.dtype for one in tree_leaves(args) if isinstance(one, torch.Tensor)), None)


def _has_mask(indices: Any) -> bool:
    return any(isinstance(one, torch.Tensor) and one.dtype in (torch.bool, torch.uint8) for one in indices)


def _names_host(args: Any, kwargs: Any) -> bool:
    """Whether the word "cpu" was written out. Work for a device names the device of its policy instead."""
    return any(one == "cpu" for one in (*args, *kwargs.values()) if isinstance(one, str))
