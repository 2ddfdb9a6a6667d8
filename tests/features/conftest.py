"""Pictures to find features in: frames of the rendered sample."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch
from torch import Tensor

from cv3d.compute import Compute


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def compute() -> Compute:
    return Compute.choose("cpu")


@pytest.fixture(scope="session")
def frames(project_root: Path) -> Tensor:
    """(2, 3, 480, 640) two frames of the room, half a second apart."""
    video = cv2.VideoCapture(str(project_root / "data" / "samples" / "room.mp4"))
    read = [video.read()[1] for _ in range(16)]
    video.release()
    pictures = [torch.from_numpy(cv2.cvtColor(read[i], cv2.COLOR_BGR2RGB)) for i in (0, 15)]
    return torch.stack(pictures).permute(0, 3, 1, 2).float() / 255.0


@pytest.fixture(scope="session")
def small(frames: Tensor) -> Tensor:
    """(2, 3, 150, 203) the frames at a third, of a size that no network likes."""
    return torch.nn.functional.interpolate(frames, (150, 203), mode="area")
