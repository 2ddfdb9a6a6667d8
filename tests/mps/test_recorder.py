"""The recorder finds what it is there for: each of these would stop or mislead a path on Metal."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import cv3d
from cv3d.device_checks.reference import CHOICES, reference_kernels
from cv3d.features.extractors import fused

from .metal import CHECKED_VERSIONS, FALLS_BACK, metal_operations, refused_by_metal
from .paths import PATHS, _extraction
from .recorder import recorded

SQUARE = torch.tensor([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
HEADS = torch.arange(2.0 * 8 * 4 * 16).view(2, 8, 4, 16) / 1024.0


@pytest.mark.parametrize(
    "work",
    [
        lambda: torch.linalg.svd(SQUARE),
        lambda: torch.linalg.svdvals(SQUARE),
        lambda: torch.linalg.eigh(SQUARE),
        lambda: torch.linalg.eigvalsh(SQUARE),
        lambda: torch.linalg.eig(SQUARE),
        lambda: torch.linalg.lstsq(SQUARE, SQUARE[:, :1]),
        lambda: torch.linalg.norm(SQUARE, ord=2),
        lambda: torch.linalg.matrix_rank(SQUARE),
        lambda: torch.linalg.lu_solve(*torch.linalg.lu_factor(SQUARE), SQUARE),
        lambda: torch.matrix_exp(SQUARE),
        lambda: torch.take(SQUARE, torch.tensor([1])),
        lambda: torch.mode(SQUARE),
        lambda: functional.fold(torch.ones(1, 4, 4), (3, 3), (2, 2)),
        lambda: torch.ops.mkldnn._convolution_pointwise(
            torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3), None, [0, 0], [1, 1], [1, 1], 1, "none", [], ""
        ),
    ],
)
def test_an_operation_without_a_kernel_is_found(work: Callable[[], object]) -> None:
    assert recorded(work).missing


@pytest.mark.parametrize(
    "work",
    [
        lambda: torch.ones(2).double() * 2,
        lambda: torch.from_numpy(np.ones(3)) + 1,
        lambda: torch.tensor(0.5, dtype=torch.float64).sqrt(),
        lambda: torch.ones(2, dtype=torch.complex128) * 1j,
    ],
)
def test_numbers_that_metal_does_not_have_are_found(work: Callable[[], object]) -> None:
    assert recorded(work).wide


@pytest.mark.parametrize(
    "work",
    [
        lambda: torch.arange(9).view(3, 3) @ torch.arange(9).view(3, 3),
        lambda: functional.linear(torch.ones(2, 3, dtype=torch.int32), torch.ones(4, 3, dtype=torch.int32)),
        lambda: functional.conv2d(torch.ones(1, 1, 3, 3).long(), torch.ones(1, 1, 2, 2).long()),
        lambda: functional.interpolate(torch.ones(1, 1, 4, 4).byte(), size=(7, 7), mode="bicubic"),
        lambda: torch.zeros(3).long().scatter_reduce(0, torch.tensor([0, 1]), torch.tensor([2, 3]), "prod"),
        lambda: functional.adaptive_avg_pool2d(torch.ones(1, 1, 5, 5), 3),
    ],
)
def test_types_that_a_kernel_refuses_are_found(work: Callable[[], object]) -> None:
    assert recorded(work).refused


@pytest.mark.parametrize(
    "work",
    [
        lambda: functional.scaled_dot_product_attention(*[HEADS.permute(0, 2, 1, 3)] * 3),
        lambda: functional.linear(SQUARE, torch.ones(6, 4)[::2, :3]),
        lambda: torch.linalg.solve(SQUARE.expand(2, 3, 3), SQUARE[:, :1]),
        lambda: torch.unique(torch.tensor([1 << 25, 3]), return_inverse=True),
        lambda: functional.conv3d(torch.ones(1, 1, 3, 3, 3), torch.ones(1, 1, 2, 2, 2)),
        lambda: torch.zeros(9)[4:].index_add_(0, torch.tensor([1]), torch.ones(1)),
        lambda: torch.sort(torch.zeros((1 << 22) + 1)),
    ],
)
def test_calls_that_were_wrong_on_metal_are_found(work: Callable[[], object]) -> None:
    assert recorded(work).doubtful


@pytest.mark.parametrize(
    ("work", "count"),
    [
        (lambda: SQUARE.sum().item(), 1),
        (lambda: float(SQUARE.sum()) + int(SQUARE.sum()), 2),
        (lambda: bool((SQUARE > 0).all()), 1),
        (lambda: torch.nonzero(SQUARE > 1), 1),
        (lambda: SQUARE[SQUARE > 1], 1),
        (lambda: torch.where(SQUARE > 1), 1),
        (lambda: torch.masked_select(SQUARE, SQUARE > 1), 1),
        (lambda: torch.unique(SQUARE), 1),
        (lambda: torch.equal(SQUARE, SQUARE), 1),
        (lambda: torch.repeat_interleave(SQUARE, torch.tensor([1, 2, 1]), dim=0), 1),
        (SQUARE.cpu, 1),
        (lambda: SQUARE.to("cpu"), 1),
        (lambda: SQUARE.cpu().numpy().tolist(), 1),
        ((SQUARE + 1.0).tolist, 1),
        (lambda: (SQUARE + 1.0).cpu().tolist(), 1),
        (lambda: torch.where(SQUARE > 1, SQUARE, 0.0) @ SQUARE, 0),
        (lambda: SQUARE[torch.tensor([2, 0])], 0),
    ],
)
def test_waits_are_counted(work: Callable[[], object], count: int) -> None:
    done = recorded(work)
    assert len(done.waits) == count
    assert done.faults == {}


def test_what_metal_has_is_let_pass() -> None:
    def work() -> None:
        factor = torch.linalg.cholesky_ex(SQUARE)[0]
        torch.cholesky_solve(SQUARE, factor)
        functional.scaled_dot_product_attention(HEADS, HEADS, HEADS)
        functional.grid_sample(torch.ones(1, 1, 4, 4), torch.zeros(1, 2, 2, 2), align_corners=True)
        torch.topk(torch.sort(SQUARE.flatten()).values, 3)

    done = recorded(work)
    assert done.faults == {}
    assert "_scaled_dot_product_attention_math_for_mps" in done.operations


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda x: x + torch.linalg.svdvals(SQUARE)[0], "missing"),
        (lambda x: (x.double() * 1.0).float(), "wide"),
        (lambda x: x * float(torch.ones(1).item()), "waits"),
    ],
)
def test_a_path_that_is_spoiled_fails(
    spoil: Callable[[torch.Tensor], torch.Tensor], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cv3d.features.extractors import xfeat

    path = _extraction("xfeat")
    work = path.start()
    good = recorded(work)
    assert (good.faults, good.waits) == ({}, [])
    plain = xfeat.sample_cubic
    monkeypatch.setattr(xfeat, "sample_cubic", lambda maps, x, y: spoil(plain(maps, x, y)))
    bad = recorded(work)
    assert getattr(bad, kind)


def test_the_tables_are_those_of_the_installed_torch() -> None:
    assert len(metal_operations()) > 2000
    assert {"convolution", "_index_put_impl_", "grid_sampler_2d", "linalg_cholesky_ex"} <= metal_operations()
    assert not FALLS_BACK & metal_operations()
    assert refused_by_metal()["linalg.eigh"] is None
    assert refused_by_metal()["nn.functional.conv2d"] == {torch.int64}


def test_the_list_that_is_kept_by_hand_was_read_for_this_torch() -> None:
    version = ".".join(torch.__version__.split(".")[:2])
    if version not in CHECKED_VERSIONS:
        pytest.skip(f"what torch {version} moves to the CPU itself was not read; the list of an older one is used")


def test_paths_have_names_of_their_own() -> None:
    assert len({path.name for path in PATHS}) == len(PATHS)


def test_every_choice_by_device_is_laid_aside() -> None:
    """A table from kinds of device to kernels that is not in `CHOICES` would hide a path from these tests."""
    found = set()
    folder = Path(cv3d.__file__).parent
    for file in sorted(folder.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        for table, kind in re.findall(r'^([A-Z_]+): Mapping\[str, (.+)\] = \{"cpu": ', text, re.MULTILINE):
            if kind != "int" and not table.startswith("_"):
                found.add((".".join(("cv3d", *file.relative_to(folder).with_suffix("").parts)), table))
    assert sorted(found) == sorted(CHOICES)


def test_the_twins_are_back_afterwards() -> None:
    with pytest.MonkeyPatch.context() as patch:
        marker = {"cpu": lambda network: network}
        patch.setattr(fused, "TWINS", marker)
        with suppress(KeyError), reference_kernels():
            assert not fused.TWINS
            _ = fused.TWINS["cpu"]
        assert fused.TWINS is marker
