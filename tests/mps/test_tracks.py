"""The device path of tracking, as Metal runs it: its operations only, no float64, one wait for the device a frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.features.extractors import fused
from cv3d.features.tracks import stepping
from cv3d.features.tracks.builder import TrackBuilder
from cv3d.features.tracks.frame_tracks import GrayFrame
from cv3d.features.tracks.options import TrackOptions

METAL = Compute(torch.device("cpu"), torch.float32)
"""What Metal's policy decides, on the CPU: float32, reference kernels."""
OPTIONS = TrackOptions(max_tracks=40, max_lost=40, max_keypoints=128)


@pytest.fixture(autouse=True)
def _reference_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "TWINS", {})
    monkeypatch.setattr(stepping, "TWINS", {})


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
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 255, (20, 26), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((8, 8), np.uint8))[:128, shift : shift + 160])


def test_each_kind_of_frame_runs_natively_and_waits_once(record: Callable, downloads: list[int]) -> None:
    builder = TrackBuilder(METAL, OPTIONS)
    sizes: dict[bool, set[int]] = {True: set(), False: set()}
    for i in range(8):
        # The first frame is a key frame; a jump makes points get lost and the next frame one, too.
        frame = GrayFrame(i / 30.0, picture(2 * i if i < 4 else 34))
        downloads.clear()
        added = []
        work = record(lambda frame=frame, added=added: added.append(builder.add(frame)))
        assert (work.missing, work.wide, work.waits) == (set(), set(), [])
        assert len(downloads) <= 1
        sizes[added[0].statistics.is_key].update(downloads)
    # Sets are padded: what comes back does not depend on how many points there are, but for whole multiples.
    assert sizes[True]
    assert sizes[False]
    assert all(size % (14 * OPTIONS.max_tracks) == 0 for size in sizes[False])
