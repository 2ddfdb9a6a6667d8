"""What the installed torch can run on Metal, by its own tables.

`native_functions.yaml`, which torchgen ships, says for which backends an operation has a kernel.
`torch/testing/_internal/common_mps.py` lists what torch's own tests on Metal expect to fail, by operation and type. It
defines its lists only on a Mac, so they are read out of its source.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
import torchgen
from torchgen.gen import parse_native_yaml
from torchgen.model import DispatchKey, NativeFunction, SchemaKind

FALLS_BACK = {"linalg_svd", "linalg_svd.U", "embedding_renorm_", "col2im", "upsample_nearest3d.vec"}
"""Operations that torch moves to the CPU itself. They are registered in `MPSFallback.mm`, which is not in the wheel."""
CHECKED_VERSIONS = ("2.13",)
"""Versions of torch whose `MPSFallback.mm` was read for :data:`FALLS_BACK`."""
_COMPOSED = (
    DispatchKey.CompositeImplicitAutograd,
    DispatchKey.CompositeExplicitAutograd,
    DispatchKey.CompositeExplicitAutogradNonFunctional,
)
_NOT_OF_METAL = {"to"}
"""In torch's list because that test moves tensors between devices."""
_ALSO: Mapping[str, frozenset[torch.dtype]] = {
    name: frozenset((torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64))
    for name in ("matmul", "mm", "bmm", "addmm", "baddbmm", "__matmul__", "__rmatmul__")
}
"""Products of matrices of whole numbers, which torch's list has under "mat"."""


@cache
def metal_operations() -> frozenset[str]:
    """Operations with a kernel for Metal: their own, that of the structured one they delegate to, or others'."""
    folder = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native"
    parsed = parse_native_yaml(str(folder / "native_functions.yaml"), str(folder / "tags.yaml"))
    by_backend = parsed.backend_indices

    def runs(function: NativeFunction) -> bool:
        return any(by_backend[key].has_kernel(function) for key in (DispatchKey.MPS, *_COMPOSED))

    outputs: dict[str, list[NativeFunction]] = defaultdict(list)
    for function in parsed.native_functions:
        if function.func.kind() is SchemaKind.out:
            outputs[str(function.func.name.name)].append(function)
    native = set()
    for function in parsed.native_functions:
        name = str(function.func.name)
        if not runs(function):
            continue
        is_own = by_backend[DispatchKey.MPS].has_kernel(function)
        # Composed ones mostly call the form of theirs that writes to an output: `linalg_lstsq`, which has none.
        if is_own or all(runs(output) for output in outputs[str(function.func.name.name)]):
            native.add(name)
    delegating = {
        str(function.func.name)
        for function in parsed.native_functions
        if function.structured_delegate is not None and str(function.structured_delegate) in native
    }
    return frozenset((native | delegating) - FALLS_BACK)


@cache
def refused_by_metal() -> Mapping[str, frozenset[torch.dtype] | None]:
    """Functions by torch's names, and the types that they fail for on Metal; None: for all."""
    source = (Path(torch.__file__).parent / "testing" / "_internal" / "common_mps.py").read_text()
    found: dict[str, frozenset[torch.dtype] | None] = dict(_ALSO)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "UNIMPLEMENTED_XFAILLIST":
            assert isinstance(node.value, ast.Dict)
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                name = ast.literal_eval(key) if key is not None else ""
                types = re.findall(r"torch\.(\w+)", ast.unparse(value))
                if name not in _NOT_OF_METAL:
                    found[name] = frozenset(getattr(torch, one) for one in types) or None
    return found
