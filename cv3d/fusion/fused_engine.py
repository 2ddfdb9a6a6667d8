"""The twin for the CPU: fused loops over frames and blocks, on several threads.

A thread takes whole frames, then whole blocks, so what it computes does not depend on how many there are.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import usable_cores
from cv3d.fusion.block_finding import Search
from cv3d.fusion.block_store import BlockStore
from cv3d.fusion.finding_kernel import mark_blocks
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.integrating_kernel import integrate_blocks
from cv3d.fusion.layout import SIDE
from cv3d.fusion.motions import anchor_from_cam, cam_from_anchor
from cv3d.fusion.options import GridOptions
from cv3d.fusion.prepared import Judging
from cv3d.fusion.preparing_kernel import MARGIN, invert, judge, weigh

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNK = 64
"""Blocks that a thread takes at a time."""
_FIRST_FOUND = 1 << 15
_TILE = 64
"""Pixels along a part of the picture whose blocks follow one another: its records then stay in a core's cache."""


class Workers:
    """A few threads for kernels that run without the interpreter's lock."""

    def __init__(self, threads: int | None) -> None:
        self.count = threads or usable_cores()
        self._pool = ThreadPoolExecutor(self.count, "cv3d-fusion") if self.count > 1 else None

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The results of `work` on every item, in order."""
        if self._pool is None:
            return [work(item) for item in items]
        return list(self._pool.map(work, items))

    def over(self, count: int, step: int, work: Callable[[int, int], None]) -> None:
        """Run `work` on ranges of `step` of `count` things."""
        self.map(lambda first: work(first, min(first + step, count)), range(0, count, step))


class _Scratch:
    """What one thread needs to judge and search a frame."""

    def __init__(self) -> None:
        self.table = np.full(1 << 20, -1, np.int32)
        self.found = np.empty(_FIRST_FOUND, np.int32)
        self.inverse = np.empty((0, 0), np.float32)


class FusedEngine:
    """Prepares batches in the host's memory, which is used again by the next batch."""

    def __init__(self, voxel_m: float, truncation_m: float, options: GridOptions) -> None:
        noise = options.noise
        self.lengths = np.array([voxel_m, truncation_m, noise.base_m, noise.quadratic], np.float32)
        self.voxel_m = voxel_m
        judging = Judging.of(options)
        self.range = np.float32(judging.min_depth), np.float32(judging.max_depth)
        self.judging = np.array(
            [judging.base, judging.quadratic, judging.least_cosine, judging.edge_sigmas, judging.shared], np.float32
        )
        self.workers = Workers(options.threads)
        self.scratch: queue.SimpleQueue[_Scratch] = queue.SimpleQueue()
        for _ in range(self.workers.count):
            self.scratch.put(_Scratch())
        self._records = np.empty((0, 0, 4), np.int32)

    def prepare(self, frames: Sequence[DepthFrame]) -> FusedBatch:
        """Judge pinhole frames of one size."""
        count, pixels = len(frames), frames[0].depth.size
        if self._records.shape[0] < count or self._records.shape[1] != pixels + 1:
            # One more than there are: what lies outside the picture.
            self._records = np.zeros((count, pixels + 1, 4), np.int32)
        return FusedBatch(self, list(frames), self._records[:count])


class FusedBatch:
    """Judged frames in the host's memory."""

    def __init__(self, engine: FusedEngine, frames: list[DepthFrame], records: NDArray[np.int32]) -> None:
        self._engine, self._frames, self._records = engine, frames, records
        self._cameras = np.array([frame.camera.params[:4] for frame in frames], np.float32)
        self.kept = engine.workers.map(self._judge, range(len(frames)))
        """Pixels that count, by frame."""

    def find(self, frame: int, anchor: NDArray[np.int32], search: Search) -> NDArray[np.int32]:
        """Local keys of the blocks that a frame's surface passes through, in the order of the pixels."""
        one = self._frames[frame]
        records = self._records[frame, :-1].reshape(*one.depth.shape, 4)
        motion = anchor_from_cam(one.cam_from_world, anchor, search.voxel)
        lengths = np.array([SIDE * search.voxel, search.band, 0.5 * SIDE * search.voxel - search.band], np.float32)
        scratch = self._engine.scratch.get()
        rotation, translation = np.ascontiguousarray(motion[:, :3]), np.ascontiguousarray(motion[:, 3])
        try:
            while True:
                count = mark_blocks(
                    records,
                    self._cameras[frame],
                    rotation,
                    translation,
                    lengths,
                    search.stride,
                    scratch.table,
                    scratch.found,
                )
                if count <= scratch.found.size:
                    return scratch.found[:count].copy()
                scratch.found = np.empty(2 * scratch.found.size, np.int32)
                if scratch.found.size > scratch.table.size // 2:
                    scratch.table = np.full(2 * scratch.table.size, -1, np.int32)
        finally:
            self._engine.scratch.put(scratch)

    def find_all(self, anchors: Sequence[NDArray[np.int32]], searches: Sequence[Search]) -> list[NDArray[np.int32]]:
        """Those of every frame, on several threads."""
        return self._engine.workers.map(lambda k: self.find(k, anchors[k], searches[k]), range(len(self._frames)))

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
        engine, fields = self._engine, store.fields
        motions = np.stack(
            [
                cam_from_anchor(one.cam_from_world, anchor, engine.voxel_m)
                for one, anchor in zip(self._frames, anchors, strict=True)
            ]
        )
        places = np.stack(anchors)
        order = self._by_place(blocks - places[0], motions[0])
        rows, blocks, frames = rows[order], blocks[order], frames[order]
        height, width = self._frames[0].depth.shape
        colors = np.zeros((1, 0), np.int16) if fields.colors is None else fields.colors.reshape(len(fields), -1)

        def work(first: int, last: int) -> None:
            integrate_blocks(
                first,
                last,
                rows,
                blocks,
                places,
                frames,
                self._cameras,
                motions,
                self._records,
                (width, height),
                engine.lengths,
                sign,
                fields.sums,
                fields.weights,
                fields.counts,
                colors,
            )

        engine.workers.over(len(rows), _CHUNK, work)

    def _by_place(self, blocks: NDArray[np.int32], motion: NDArray[np.float32]) -> NDArray[np.intp]:
        """An order in which blocks (n, 3), from the first frame's anchor, lie side by side in that frame's picture."""
        fx, fy, cx, cy = self._cameras[0]
        centres = (blocks + np.float32(0.5)) * np.float32(SIDE * self._engine.voxel_m)
        x, y, z = motion[:, :3] @ centres.T + motion[:, 3:]
        per_z = 1.0 / np.maximum(z, np.float32(self._engine.voxel_m))
        columns, rows = ((fx * x * per_z + cx) // _TILE), ((fy * y * per_z + cy) // _TILE)
        return np.lexsort((columns, rows))

    def _judge(self, frame: int) -> int:
        """Judge one frame; the pixels that count."""
        engine, one = self._engine, self._frames[frame]
        height, width = one.depth.shape
        scratch = engine.scratch.get()
        try:
            if scratch.inverse.shape != (height + 2 * MARGIN, width + 2 * MARGIN):
                scratch.inverse = np.zeros((height + 2 * MARGIN, width + 2 * MARGIN), np.float32)
            invert(np.ascontiguousarray(one.depth), *engine.range, scratch.inverse)
            color = np.zeros((0, 0), np.uint8) if one.color is None else one.color.reshape(height, -1)
            records = self._records[frame, :-1].reshape(height, 4 * width)
            painted = np.ascontiguousarray(color)
            kept = int(judge(scratch.inverse, self._cameras[frame], engine.judging, painted, records))
            if one.weight is not None:
                weigh(np.ascontiguousarray(one.weight), records)
            return kept
        finally:
            engine.scratch.put(scratch)
