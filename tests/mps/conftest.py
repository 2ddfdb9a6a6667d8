"""Device code runs on the CPU here, by the expressions that Metal runs, and on one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from cv3d.device_checks.reference import reference_kernels


@pytest.fixture(autouse=True)
def _as_on_metal() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with reference_kernels():
        yield
    torch.set_num_threads(before)
