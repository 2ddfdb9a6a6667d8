"""The device path of odometry, as Metal runs it: its operations only, no float64, one wait for the device a frame."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.odometry import aligners
from cv3d.odometry.aligners import TorchAligner, aligner_for
from cv3d.odometry.patches import build_levels

METAL = Compute(torch.device("cpu"), torch.float32)
"""What Metal's policy decides, on the CPU: float32, reference kernels."""


@pytest.fixture(autouse=True)
def _reference_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aligners, "TWINS", {})


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the tensors brought to the host, which the recorder cannot tell apart on the CPU."""
    sizes: list[int] = []
    to_host = torch.Tensor.cpu

    def counted(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel())
        return to_host(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", counted)
    return sizes


def picture(shift: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(1).normal(0.0, 1.0, (161, 240))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    grey = 128.0 + 40.0 * smooth / smooth.std()
    return np.ascontiguousarray(grey[:, shift : shift + 201].clip(0, 255).astype(np.uint8))


def test_each_frame_runs_natively_and_waits_once(record: Callable, downloads: list[int]) -> None:
    aligner = aligner_for(METAL)
    assert isinstance(aligner, TorchAligner)
    rng = np.random.default_rng(0)
    sizes: set[int] = set()
    for frame in range(4):
        # Key frames take patches, and the table grows; the others align a varying number of points.
        count = 30 + 25 * frame
        pixels = rng.uniform(40.0, [150.0, 120.0], (count, 2)).astype(np.float32)
        rows = rng.permutation(count)
        warps = np.tile(np.eye(2, dtype=np.float32), (count, 1, 1))
        first, second = build_levels(picture(0)), build_levels(picture(frame + 1))
        downloads.clear()

        def key_frame() -> None:
            aligner.reserve(count)  # noqa: B023
            aligner.take(first, pixels, rows)  # noqa: B023

        found: list[NDArray[np.float32]] = []
        for work, waits in (
            (key_frame, 0),
            (lambda: found.append(aligner.align(second, rows, warps, pixels, len(second) - 1)), 1),  # noqa: B023
        ):
            done = record(work)
            assert (done.missing, done.wide, done.waits) == (set(), set(), [])
            assert len(downloads) == waits
        assert np.median(np.abs(found[0][:, :2] - pixels + [frame + 1, 0])) < 0.05
        sizes.update(downloads)
    # Sets are padded: what comes back does not depend on how many points there are.
    assert sizes == {6 * 128}
