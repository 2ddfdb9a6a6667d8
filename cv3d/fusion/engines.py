"""What works on voxels, by kind of device: the torch reference, or a fused twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.fusion.block_finding import Search
from cv3d.fusion.block_store import BlockStore
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.fused_engine import FusedEngine
from cv3d.fusion.options import GridOptions
from cv3d.fusion.torch_engine import TorchEngine


class Batch(Protocol):
    """Some frames of one size, judged, on the device."""

    @property
    def kept(self) -> list[int]:
        """Pixels that count, by frame."""
        ...

    def find(self, frame: int, anchor: NDArray[np.int32], search: Search) -> NDArray[np.int32]:
        """Local keys of the blocks that a frame's surface passes through, (n,), each once, in any order."""
        ...

    def find_all(self, anchors: Sequence[NDArray[np.int32]], searches: Sequence[Search]) -> list[NDArray[np.int32]]:
        """Those of every frame."""
        ...

    def integrate(
        self,
        store: BlockStore,
        rows: NDArray[np.int64],
        blocks: NDArray[np.int32],
        frames: NDArray[np.uint32],
        anchors: Sequence[NDArray[np.int32]],
        sign: int,
    ) -> None:
        """Add the frames to blocks, or take them away.

        Args:
            store: holds the voxels.
            rows: (n,) where the blocks lie in memory.
            blocks: (n, 3) their coordinates.
            frames: (n,) bit k: frame k is added.
            anchors: (3,) by frame: the block that it is placed from.
            sign: 1 or -1.
        """
        ...


class Engine(Protocol):
    """Prepares batches."""

    def prepare(self, frames: Sequence[DepthFrame]) -> Batch:
        """Judge pinhole frames of one size."""
        ...


TWINS: Mapping[str, Callable[[float, float, GridOptions], Engine]] = {"cpu": FusedEngine}
"""What replaces the torch reference, by kind of device. A VGA frame at 1 cm on two cores: 90 ms become 8."""


def engine_for(compute: Compute, voxel_m: float, truncation_m: float, options: GridOptions) -> Engine:
    """The engine of a device."""
    twin = TWINS.get(compute.device.type)
    if twin is not None:
        return twin(voxel_m, truncation_m, options)
    return TorchEngine(compute, voxel_m, truncation_m, options)
