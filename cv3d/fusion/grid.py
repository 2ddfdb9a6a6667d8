"""A sparse grid of voxels into which depth pictures are fused."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import InputError, OutputError, UsageError
from cv3d.fusion.block_finding import LOCAL_BITS, LOCAL_REACH, Search
from cv3d.fusion.block_store import BlockStore
from cv3d.fusion.carving import look_through
from cv3d.fusion.consistency import consistent_depth
from cv3d.fusion.engines import Batch, engine_for
from cv3d.fusion.extracting import MeshPiece, extract, extract_pieces
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.fused_engine import Workers
from cv3d.fusion.grid_file import add_content, read_grid, write_grid
from cv3d.fusion.layout import MAX_COUNT, SIDE, pack_keys, unpack_keys
from cv3d.fusion.memory import LEAST_SHARE, excess_of
from cv3d.fusion.motions import anchor_of
from cv3d.fusion.options import GridOptions
from cv3d.fusion.ray_casting import RayCast
from cv3d.fusion.viewing import view
from cv3d.geometry.cameras import Camera
from cv3d.geometry.mesh import Mesh

TRUNCATION_VOXELS = 4.0
"""Truncation distance where none is asked for, voxels."""
MAX_BATCH = 32
"""Frames of a batch: a block has a bit for each."""
_SHARE = 4
"""Frames that are in memory at a time."""
_NOT_SEEN = LOCAL_REACH - 8
_GROUP = 4096


@dataclass(frozen=True)
class Integrated:
    """What became of one frame."""

    measured: int
    """Pixels with a depth inside the range."""
    rejected: int
    """Those of them that were left out: edges, flying, grazing or inconsistent ones."""
    blocks: int
    """Blocks that it was added to."""
    new_blocks: int
    """Blocks that did not exist before."""

    @property
    def is_fused(self) -> bool:
        """Whether any pixel counted."""
        return self.blocks > 0


class VoxelGrid:
    """A truncated signed distance function (Curless and Levoy 1996) in blocks of 8³ voxels that come as they are seen.

    The grid is a context manager; leaving it removes what it put on disk.
    """

    def __init__(
        self,
        voxel_m: float,
        truncation_m: float | None = None,
        options: GridOptions | None = None,
        compute: Compute | None = None,
    ) -> None:
        """An empty grid.

        Args:
            voxel_m: edge of a voxel, metres.
            truncation_m: distance from the surface up to which voxels are kept, metres; None: 4 voxels.
            options: how depth is judged, and what memory may be used.
            compute: where it runs; None: the CPU.

        Raises:
            UsageError: a length is not positive, the truncation is below two voxels, or the range is too long for
                the voxels.
        """
        if not 0.0 < voxel_m < math.inf:
            raise UsageError(f"a voxel of {voxel_m:g} m is none")
        truncation = TRUNCATION_VOXELS * voxel_m if truncation_m is None else truncation_m
        if not 2.0 * voxel_m <= truncation < math.inf:
            raise UsageError(
                f"a truncation of {truncation:g} m is too short for voxels of {voxel_m:g} m: 2 voxels at least"
            )
        self.voxel_m = voxel_m
        """Edge of a voxel, metres."""
        self.truncation_m = truncation
        """Metres."""
        self.options = options or GridOptions()
        """How depth is judged."""
        self.compute = compute or Compute(torch.device("cpu"), torch.float32)
        """Where it runs."""
        farthest = farthest_m(voxel_m)
        if self.options.max_depth_m > farthest:
            raise UsageError(
                f"a range of {self.options.max_depth_m:g} m is too long for voxels of {voxel_m:g} m: "
                f"use larger voxels, or a range of at most {farthest:.3g} m"
            )
        self._workers = Workers(self.options.threads)
        self._engine = engine_for(self.compute, voxel_m, truncation, self.options)
        self._store: BlockStore | None = None
        self._frame_count = 0

    def __enter__(self) -> VoxelGrid:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was put on disk. Blocks that lie there are gone with it."""
        if self._store is not None:
            self._store.close()

    @property
    def block_count(self) -> int:
        """Blocks that there are, in memory or on disk."""
        return 0 if self._store is None else len(self._store)

    @property
    def spilled_count(self) -> int:
        """Blocks that lie on disk."""
        return 0 if self._store is None else self._store.spilled_count

    @property
    def frame_count(self) -> int:
        """Frames that were added, less those taken away."""
        return self._frame_count

    @property
    def has_color(self) -> bool:
        """Whether voxels have colour: as the first frame had."""
        return self._store is not None and self._store.has_color

    @property
    def memory_bytes(self) -> int:
        """Memory of voxels, now."""
        return 0 if self._store is None else self._store.memory_bytes

    @property
    def bounds_m(self) -> NDArray[np.float64] | None:
        """(2, 3) least and largest coordinates of the blocks, metres; None without any."""
        if self._store is None or not len(self._store):
            return None
        blocks = self._store.index.blocks
        edge = SIDE * self.voxel_m
        return np.stack([blocks.min(0) * edge, (blocks.max(0) + 1) * edge])

    def integrate(
        self,
        depth: NDArray[np.float32],
        color: NDArray[np.uint8] | None,
        camera: Camera,
        cam_from_world: NDArray[np.float64],
        weight: NDArray[np.float32] | None = None,
    ) -> Integrated:
        """Add one depth picture; see :class:`DepthFrame` for its parts and :meth:`integrate_batch` for errors."""
        return self.integrate_batch([DepthFrame(depth, color, camera, cam_from_world, weight)])[0]

    def integrate_batch(self, frames: Sequence[DepthFrame]) -> list[Integrated]:
        """Add several depth pictures in one pass over the voxels that they see; the same as one after the other.

        Args:
            frames: consecutive ones are best: they see the same voxels. Memory is taken for four at a time.

        Returns:
            What became of each.

        Raises:
            InputError: some have colour and others, or the grid, do not; or a camera is too far away.
            UsageError: the memory allowed does not hold what one frame sees.
            OutputError: voxels cannot be put aside. The grid holds whole frames: all before the one it failed at.
        """
        return self._change(frames, 1)

    def deintegrate(
        self,
        depth: NDArray[np.float32],
        color: NDArray[np.uint8] | None,
        camera: Camera,
        cam_from_world: NDArray[np.float64],
        weight: NDArray[np.float32] | None = None,
    ) -> None:
        """Take away a depth picture that was added with just these values.

        Distances and weights are then what they were to the last bit, unless a voxel was so heavy that its sums were
        halved in between. Colours are where no more than 127 frames saw a voxel.
        """
        self._change([DepthFrame(depth, color, camera, cam_from_world, weight)], -1)

    def reintegrate(self, frame: DepthFrame, cam_from_world: NDArray[np.float64]) -> Integrated:
        """Move a frame that was added to a corrected pose, (4, 4)."""
        moved = frame.moved(cam_from_world)
        self._change([frame], -1)
        return self._change([moved], 1)[0]

    def extract_mesh(self, min_observations: int = 2) -> Mesh:
        """The surface: marching cubes with normals, and colours where the frames had them.

        Vertices come in the order of their place, so the same voxels give the same mesh, whatever order they came in.

        Args:
            min_observations: frames whose surface has to have been near a voxel; more: fewer spurious triangles.

        Raises:
            UsageError: less than one observation is asked for.
        """
        return self._extract(min_observations, True)

    def mesh_pieces(self, min_observations: int = 2) -> Iterator[MeshPiece]:
        """The surface of :meth:`extract_mesh`, bit by bit, for surfaces that memory does not hold.

        Args:
            min_observations: as for :meth:`extract_mesh`.

        Yields:
            Pieces of a few thousand vertices, in their order.

        Raises:
            UsageError: less than one observation is asked for.
        """
        return extract_pieces(self._released(), self.voxel_m, _checked(min_observations), self._workers)

    def extract_points(self, min_observations: int = 2) -> Mesh:
        """The vertices of :meth:`extract_mesh` without triangles."""
        return self._extract(min_observations, False)

    def ray_cast(self, camera: Camera, cam_from_world: NDArray[np.float64], min_observations: int = 2) -> RayCast:
        """What a camera would see of the surface, within the range of depth.

        Args:
            camera: any central camera; what it sees at 90 degrees off its axis and beyond is left out.
            cam_from_world: (4, 4).
            min_observations: as for :meth:`extract_mesh`.

        Raises:
            InputError: the pose is none.
            UsageError: less than one observation is asked for.
        """
        store = self._store or BlockStore(self.compute.device, False, None, None)
        lengths = (self.options.min_depth_m, self.options.max_depth_m, self.voxel_m, self.truncation_m)
        least = _checked(min_observations)
        return view(store, camera, cam_from_world, lengths, least, self.options.threads, self.compute.device)

    def stay_inside(self, process_bytes: int) -> None:
        """Put voxels aside if the memory of the whole process is about to pass a limit; to be called between batches.

        On devices with a memory of their own it does nothing.

        Raises:
            OutputError: the disk is full. Nothing is lost.
        """
        if self._store is None or not self._store.is_host:
            return
        excess = excess_of(process_bytes)
        if excess > 0:
            self._store.lower_memory(excess, LEAST_SHARE)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the grid as `.npz`; see :meth:`load`.

        Raises:
            OutputError: the file cannot be written.
        """
        write_grid(path, self._opened(self.has_color), self.voxel_m, self.truncation_m, self._frame_count)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], options: GridOptions | None = None, compute: Compute | None = None
    ) -> VoxelGrid:
        """The grid that :meth:`save` wrote; more can be fused into it.

        Raises:
            FormatError: the file is none, or damaged.
            OutputError: voxels beyond the memory allowed cannot be put aside.
        """
        content = read_grid(path)
        grid = cls(content.voxel_m, content.truncation_m, options, compute)
        store = grid._opened(content.fields.colors is not None)
        add_content(store, content.blocks, content.free, content.fields)
        grid._frame_count = content.frame_count
        return grid

    def merge(self, other: VoxelGrid) -> None:
        """Add what another grid has seen, in the same world: the same as fusing all frames into one.

        But for space that frames of the one looked through before the other had blocks there.

        Raises:
            InputError: voxels, truncation or colour differ.
            OutputError: voxels cannot be put aside.
        """
        if (self.voxel_m, self.truncation_m) != (other.voxel_m, other.truncation_m):
            raise InputError(
                f"grids of voxels of {self.voxel_m:g} and {other.voxel_m:g} m, truncated at {self.truncation_m:g} and "
                f"{other.truncation_m:g} m, cannot be merged"
            )
        if other._store is None:
            return
        store, theirs = self._opened(other.has_color), other._store
        numbers = np.arange(len(theirs), dtype=np.int32)
        for first in range(0, len(numbers), _GROUP):
            some = numbers[first : first + _GROUP]
            add_content(store, theirs.index.blocks[some], theirs.free[some], theirs.gather(some))
        self._frame_count += other._frame_count

    def _opened(self, has_color: bool) -> BlockStore:
        """The store, made when first needed.

        Raises:
            InputError: it has colour and the other thing does not, or the other way round.
        """
        if self._store is None:
            options = self.options
            self._store = BlockStore(self.compute.device, has_color, options.max_memory_bytes, options.spill_folder)
        elif self._store.has_color != has_color:
            one, two = ("colour", "none") if self._store.has_color else ("no colour", "some")
            raise InputError(f"the grid has {one}, and what is added has {two}")
        return self._store

    def _extract(self, least: int, has_triangles: bool) -> Mesh:
        return extract(self._released(), self.voxel_m, _checked(least), self._workers, has_triangles)

    def _released(self) -> BlockStore:
        """The store, without voxels in memory if memory is scarce: the surface needs it."""
        store = self._store or BlockStore(self.compute.device, False, None, None)
        # A full disk is no reason not to take out the surface of what is there.
        with contextlib.suppress(OutputError):
            store.release()
        return store

    def _change(self, frames: Sequence[DepthFrame], sign: int) -> list[Integrated]:
        if not frames:
            return []
        has_color = frames[0].color is not None
        if any((frame.color is not None) != has_color for frame in frames):
            raise InputError("some frames have colour and others do not")
        self._opened(has_color)
        for frame in frames:
            anchor_of(frame.cam_from_world, self.voxel_m)
        seen = frames
        if self.options.consistency is not None:
            seen = consistent_depth(frames, self.options.consistency, self.options.noise)
        results: list[Integrated] = []
        start = 0
        while start < len(frames):
            size, end = frames[start].depth.shape, start + 1
            while end < min(start + _SHARE, len(frames)) and frames[end].depth.shape == size:
                end += 1
            results += self._add(frames[start:end], seen[start:end], sign)
            start = end
        return results

    def _add(self, raw: Sequence[DepthFrame], frames: Sequence[DepthFrame], sign: int) -> list[Integrated]:
        assert self._store is not None
        store, options = self._store, self.options
        frames = [frame.undistorted() for frame in frames]
        batch = self._engine.prepare(frames)
        anchors = [anchor_of(frame.cam_from_world, self.voxel_m) for frame in frames]
        found = [pack_keys(blocks) for blocks in self._find(batch, frames, anchors)]
        keys = np.unique(np.concatenate(found))
        if store.max_rows is not None and len(keys) > store.max_rows and len(raw) > 1:
            half = len(raw) // 2
            return self._add(raw[:half], frames[:half], sign) + self._add(raw[half:], frames[half:], sign)
        bits = np.zeros(len(keys), np.uint32)
        for k, some in enumerate(found):
            bits[np.searchsorted(keys, some)] |= np.uint32(1 << k)
        numbers, before = store.index.numbers(keys), len(store)
        is_new = numbers < 0
        known = np.full(len(frames), len(store))
        if sign > 0 and is_new.any():
            # In the order in which the frames would have brought them one by one.
            first_frame = np.array([int(word & -word).bit_length() - 1 for word in bits[is_new].tolist()])
            order = np.argsort(first_frame, kind="stable")
            store.add(unpack_keys(keys[is_new][order]))
            known += np.cumsum(np.bincount(first_frame, minlength=len(frames)))
            numbers = store.index.numbers(keys)
        elif is_new.any():
            keys, bits, numbers = keys[~is_new], bits[~is_new], numbers[~is_new]
        if len(numbers):
            batch.integrate(store, store.rows(numbers), unpack_keys(keys), bits, anchors, sign)
        if options.is_carving:
            lengths = self.voxel_m, self.truncation_m
            look_through(store, frames, anchors, known.tolist(), lengths, options.noise, sign, self._workers)
        self._frame_count += sign * len(frames)
        low, high = np.float32(options.min_depth_m), np.float32(options.max_depth_m)
        new = np.diff(known, prepend=known[0] if sign < 0 else before)
        results = []
        for k, frame in enumerate(raw):
            measured = int(((frame.depth >= low) & (frame.depth <= high)).sum())
            rejected = max(0, measured - batch.kept[k])
            results.append(Integrated(measured, rejected, len(found[k]), int(new[k])))
        return results

    def _find(
        self, batch: Batch, frames: Sequence[DepthFrame], anchors: Sequence[NDArray[np.int32]]
    ) -> list[NDArray[np.int32]]:
        """The blocks (n, 3) that each frame's surface passes through."""
        searches = [
            Search.of(self.voxel_m, self.truncation_m, self.options.max_depth_m, min(frame.camera.params[:2]))
            for frame in frames
        ]
        result = []
        mask = (1 << LOCAL_BITS) - 1
        for keys, anchor in zip(batch.find_all(anchors, searches), anchors, strict=True):
            local = np.stack([keys & mask, (keys >> LOCAL_BITS) & mask, keys >> (2 * LOCAL_BITS)], 1) - LOCAL_REACH
            result.append(local.astype(np.int32) + anchor)
        return result


def farthest_m(voxel_m: float) -> float:
    """The longest range of depth that voxels of a size can be found in, metres."""
    return _NOT_SEEN * SIDE * voxel_m / math.sqrt(3.0)


def _checked(least: int) -> int:
    if not 1 <= least <= MAX_COUNT // 2:
        raise UsageError(f"min_observations lies between 1 and {MAX_COUNT // 2}, not {least}")
    return least
