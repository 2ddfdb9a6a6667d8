"""The reference: torch expressions, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.compute import Compute
from cv3d.fusion.block_finding import Search, find_blocks
from cv3d.fusion.block_store import BlockStore
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.integration import Lengths, Picture, integrate
from cv3d.fusion.motions import anchor_from_cam, cam_from_anchor
from cv3d.fusion.options import GridOptions
from cv3d.fusion.prepared import DEPTH_STEPS, Intrinsics, Judging, prepare


class TorchEngine:
    """Prepares batches on a device."""

    def __init__(self, compute: Compute, voxel_m: float, truncation_m: float, options: GridOptions) -> None:
        self._device = compute.device
        self._lengths = Lengths.of(voxel_m, truncation_m, options.noise)
        self._judging = Judging.of(options)

    @torch.no_grad()
    def prepare(self, frames: Sequence[DepthFrame]) -> TorchBatch:
        """Judge pinhole frames of one size."""
        judged = []
        for frame in frames:
            depth = torch.from_numpy(np.nan_to_num(frame.depth, posinf=0.0, neginf=0.0)).to(self._device)
            color = None if frame.color is None else torch.from_numpy(frame.color).to(self._device)
            weight = None if frame.weight is None else torch.from_numpy(frame.weight).to(self._device)
            judged.append(prepare(depth, color, intrinsics_of(frame), self._judging, weight))
        return TorchBatch(list(frames), judged, self._lengths)


class TorchBatch:
    """Judged frames on a device."""

    def __init__(
        self,
        frames: list[DepthFrame],
        judged: list[Tensor],
        lengths: Lengths,
    ) -> None:
        self._frames, self._judged = frames, judged
        self._lengths, self._voxel = lengths, lengths.voxel

    @property
    def kept(self) -> list[int]:
        """Pixels that count, by frame."""
        counts: list[int] = torch.stack([(records[..., 0] > 0).sum() for records in self._judged]).cpu().tolist()
        return counts

    @torch.no_grad()
    def find(self, frame: int, anchor: NDArray[np.int32], search: Search) -> NDArray[np.int32]:
        """Local keys of the blocks that a frame's surface passes through, ascending."""
        one = self._frames[frame]
        depth = self._judged[frame][..., 0].to(torch.float32) * (1.0 / DEPTH_STEPS)
        motion = torch.from_numpy(anchor_from_cam(one.cam_from_world, anchor, self._voxel)).to(depth.device)
        keys = find_blocks(depth, intrinsics_of(one), (motion[:, :3], motion[:, 3]), search)
        found: NDArray[np.int32] = keys.cpu().numpy()
        return found

    def find_all(self, anchors: Sequence[NDArray[np.int32]], searches: Sequence[Search]) -> list[NDArray[np.int32]]:
        """Those of every frame."""
        return [self.find(k, *pair) for k, pair in enumerate(zip(anchors, searches, strict=True))]

    @torch.no_grad()
    def integrate(
        self,
        store: BlockStore,
        rows: NDArray[np.int64],
        blocks: NDArray[np.int32],
        frames: NDArray[np.uint32],
        anchors: Sequence[NDArray[np.int32]],
        sign: int,
    ) -> None:
        """Add the frames to blocks, or take them away."""
        fields = store.tensors
        for k, one in enumerate(self._frames):
            records = self._judged[k]
            mine = np.flatnonzero(frames >> np.uint32(k) & np.uint32(1))
            if not len(mine):
                continue
            motion = torch.from_numpy(cam_from_anchor(one.cam_from_world, anchors[k], self._voxel)).to(records.device)
            picture = Picture(records, intrinsics_of(one), motion[:, :3].contiguous(), motion[:, 3].contiguous())
            here = torch.from_numpy(rows[mine]).to(records.device)
            local = torch.from_numpy(blocks[mine] - anchors[k]).to(records.device)
            integrate(fields, here, local, picture, self._lengths, sign)


def intrinsics_of(frame: DepthFrame) -> Intrinsics:
    """A pinhole frame's camera."""
    return Intrinsics(*(float(np.float32(value)) for value in frame.camera.params[:4]))
