"""Single operations that all paths are built of, in the layouts in which some torch version got them wrong on Metal.

What is known: attention and linear layers over strided inputs, accumulation into views, sorting of long rows,
integers beyond 2^24 that pass through float32, resampling at borders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cv3d.compute import Compute
from cv3d.device_checks.inputs import Layout, fetched, placed, unit_rows
from cv3d.device_checks.kernels import Case, Comparison, Kernel, Limit, Outputs, at_once, numbers_within

DENSE_COMMANDS = ("depth", "evaluate matches", "fuse", "match", "match --tracks", "odometry", "reconstruct")
"""Commands with work on a device."""
_EXACT = Limit(0.0)

Expression = Callable[[Compute, Layout], dict[str, Tensor]]


def _in_layouts(label: str, work: Expression, layouts: Sequence[Layout] = tuple(Layout)) -> list[Case]:
    def case(layout: Layout) -> Case:
        @torch.no_grad()
        def run(compute: Compute) -> Outputs:
            return fetched(**work(compute, layout))

        return Case(f"{label} {layout}", at_once(run))

    return [case(layout) for layout in layouts]


def _resampling(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(2, 3, 37, 53)).astype(np.float32)
    grid = rng.uniform(-1.4, 1.4, (2, 29, 31, 2)).astype(np.float32)

    def work(compute: Compute, layout: Layout) -> dict[str, Tensor]:
        image, at = placed(maps, compute, layout), placed(grid, compute, layout)
        border = functional.grid_sample(image, at, padding_mode="border", align_corners=True)
        zeros = functional.grid_sample(image, at, padding_mode="zeros", align_corners=False)
        return {"border": border, "zeros": zeros}

    return _in_layouts("2×3×37×53", work)


def _convolution(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(2, 5, 41, 67)).astype(np.float32)
    weights, bias = rng.normal(size=(7, 5, 3, 3)).astype(np.float32), rng.normal(size=7).astype(np.float32)

    def work(compute: Compute, layout: Layout) -> dict[str, Tensor]:
        image = functional.pad(placed(maps, compute, layout), (1, 2, 2, 1), mode="reflect")
        filters, offset = placed(weights, compute), placed(bias, compute)
        same = functional.conv2d(image, filters, offset, padding=1)
        strided = functional.conv2d(image.contiguous(memory_format=torch.channels_last), filters, offset, stride=(2, 1))
        return {"same": same, "strided": strided, "pooled": functional.max_pool2d(same, 3, 2, 1)}

    return _in_layouts("2×5×41×67", work)


def _products(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(3, 65, 33)).astype(np.float32), rng.normal(size=(3, 33, 129)).astype(np.float32)
    weights = rng.normal(size=(21, 33)).astype(np.float32)

    def work(compute: Compute, layout: Layout) -> dict[str, Tensor]:
        one, other = placed(left, compute, layout), placed(right, compute, layout)
        layer = functional.linear(one, placed(weights, compute, layout))
        into = one.new_empty(3, 65, 129)
        torch.bmm(one, other, out=into)
        return {"product": one @ other, "layer": layer, "into": into, "transposed": other.mT @ one.mT}

    return _in_layouts("3×65×33", work)


def _attention(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(2, 4, count, 64)).astype(np.float32) for count in (5, 77, 77)]
    mask = rng.random((2, 1, 1, 77)) < 0.8

    def work(compute: Compute, layout: Layout) -> dict[str, Tensor]:
        query, key, value = (placed(part, compute, layout).contiguous() for part in parts)
        allowed = placed(mask, compute).expand(2, 4, 5, 77).contiguous()
        return {
            "attention": functional.scaled_dot_product_attention(query, key, value),
            "masked": functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed),
        }

    return _in_layouts("2×4×5×77×64", work)


def _ordering(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    values = rng.permutation(3 * 4099).astype(np.float32).reshape(3, 4099)
    keys = rng.integers(0, 1 << 30, 20_011).astype(np.int32)
    keys[:5000] = keys[5000:10_000]

    def work(compute: Compute, layout: Layout) -> dict[str, Tensor]:
        row = placed(values, compute, layout)
        top, at = torch.topk(row, 517, dim=1)
        # Keys beyond 2^24, as voxel blocks have: each once, by sorting and comparing neighbours.
        ordered = torch.sort(placed(keys[None], compute, layout)[0]).values
        is_new = torch.ones_like(ordered, dtype=torch.bool)
        is_new[1:] = ordered[1:] != ordered[:-1]
        unique = ordered[is_new]
        place = torch.searchsorted(unique, placed(keys, compute))
        return {"top": top, "at": at, "unique": unique, "place": place, "argmax": row.argmax(1)}

    return _in_layouts("3×4099, 20011 keys", work)


def _indexing(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(301, 7)).astype(np.float32)
    rows = rng.integers(0, 301, 1009)
    several = rng.permutation(301)[:97]
    words = rng.integers(-(1 << 30), 1 << 30, (97, 7)).astype(np.int32)

    def work(compute: Compute, layout: Layout) -> dict[str, Tensor]:
        values, index = placed(table, compute, layout), placed(rows, compute)
        sums = torch.zeros(301, 7, device=compute.device).index_add_(0, index, values[index])
        written = torch.zeros(301, 7, dtype=torch.int32, device=compute.device)
        numbers = placed(words, compute, layout)
        written[placed(several, compute)] = numbers >> 3
        least = torch.full((301,), 5.0, device=compute.device)
        least = least.scatter_reduce(0, index, values[index, 3], "amin")
        gathered = values.gather(1, (index[:301, None] % 7).expand(-1, 5).contiguous())
        return {"sums": sums, "written": written, "least": least, "gathered": gathered}

    return _in_layouts("301×7", work)


def _cholesky(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(131, 6, 9)).astype(np.float32)
    sides = unit_rows(rng, 131, 6, 2)

    def work(compute: Compute, layout: Layout) -> dict[str, Tensor]:
        half = placed(factors, compute, layout)
        normal = half @ half.mT + 3.0 * torch.eye(6, device=compute.device)
        factor = torch.linalg.cholesky_ex(normal)[0]
        solved = torch.cholesky_solve(placed(sides, compute, layout), factor)
        return {"factor": factor, "inverse": torch.cholesky_inverse(factor), "solved": solved}

    return _in_layouts("131×6×6", work)


def _kernel(name: str, cases: Callable[[int], Sequence[Case]], compare: Comparison) -> Kernel:
    return Kernel(name, DENSE_COMMANDS, cases, compare)


_ROUNDING = Limit(1e-4, 1e-5)
_TF32 = Limit(0.02)
"""NVIDIA's convolutions round to 10 bits, as torch lets them; a wrong one is off by several."""

PRIMITIVES: tuple[Kernel, ...] = (
    _kernel("resampling", _resampling, numbers_within(border=_ROUNDING, zeros=_ROUNDING)),
    _kernel(
        "convolution",
        _convolution,
        numbers_within(same=_TF32, strided=_TF32, pooled=_TF32),
    ),
    _kernel(
        "matrix products",
        _products,
        numbers_within(product=Limit(1e-4), layer=Limit(1e-4), into=Limit(1e-4), transposed=Limit(1e-4)),
    ),
    _kernel("attention", _attention, numbers_within(attention=_ROUNDING, masked=_ROUNDING)),
    _kernel(
        "sorting and searching",
        _ordering,
        numbers_within(top=_EXACT, at=_EXACT, unique=_EXACT, place=_EXACT, argmax=_EXACT),
    ),
    _kernel(
        "indexed reads and writes",
        _indexing,
        numbers_within(sums=_ROUNDING, written=_EXACT, least=_EXACT, gathered=_EXACT),
    ),
    _kernel(
        "Cholesky factors",
        _cholesky,
        numbers_within(factor=Limit(1e-4, 1e-5), inverse=Limit(1e-5, 1e-4), solved=Limit(1e-5, 1e-4)),
    ),
)
"""What every path is built of."""
