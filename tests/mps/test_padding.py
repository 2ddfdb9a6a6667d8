"""What a device gets and gives back has a size that does not depend on the picture, so it need not prepare anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cv3d.features.tracks.builder import TrackBuilder
from cv3d.features.tracks.frame_tracks import GrayFrame
from cv3d.features.tracks.options import TrackOptions
from cv3d.odometry.aligners import TorchAligner, aligner_for
from cv3d.odometry.patches import build_levels

from .paths import METAL, moving_picture

OPTIONS = TrackOptions(max_tracks=40, max_lost=40, max_keypoints=128)


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the tensors brought to the host."""
    sizes: list[int] = []
    to_host = torch.Tensor.cpu

    def counted(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel())
        return to_host(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", counted)
    return sizes


def test_tracking_brings_back_whole_sets(downloads: list[int]) -> None:
    builder = TrackBuilder(METAL, OPTIONS)
    sizes: dict[bool, set[int]] = {True: set(), False: set()}
    for i in range(8):
        # The first frame is a key frame; a jump makes points get lost and the next frame one, too.
        downloads.clear()
        added = builder.add(GrayFrame(i / 30.0, moving_picture(2 * i if i < 4 else 34)))
        assert len(downloads) <= 1
        sizes[added.statistics.is_key].update(downloads)
    assert sizes[True]
    assert sizes[False]
    assert all(size % (14 * OPTIONS.max_tracks) == 0 for size in sizes[False])


def test_alignment_brings_back_whole_sets(downloads: list[int]) -> None:
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
        first, second = build_levels(moving_picture(0)), build_levels(moving_picture(frame + 1))
        downloads.clear()
        aligner.reserve(count)
        aligner.take(first, pixels, rows)
        assert downloads == []
        found = aligner.align(second, rows, warps, pixels, len(second) - 1)
        assert np.median(np.abs(found[:, :2] - pixels + [frame + 1, 0])) < 0.05
        sizes.update(downloads)
    assert sizes == {6 * 128}
