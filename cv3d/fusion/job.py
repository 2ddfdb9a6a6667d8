"""Frames with poses become one surface: judged, refined and fused in batches, and what was left out is kept in mind."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import EstimationError, OutputError, UsageError
from cv3d.formats.meshes import up_of_cameras
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.grid import VoxelGrid
from cv3d.fusion.memory import peak_memory_mb, voxel_budget
from cv3d.fusion.options import DepthNoise, GridOptions, choose_voxel_m
from cv3d.fusion.plausible import check_depth_scale, check_steps
from cv3d.fusion.result import FusedFrame, FusionResult, PosesFrom
from cv3d.fusion.sources import Dropped, PosedDepth
from cv3d.fusion.surfacing import SurfaceOptions, surface_of
from cv3d.fusion.texturing import ViewKeeper, bake
from cv3d.fusion.wild_poses import PoseJudge
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.trajectory import Trajectory
from cv3d.progress import SILENT, Progress

Floats = NDArray[np.float64]

BATCH = 8
"""Frames that are fused in one pass."""
_LOOKED_AT = 16
"""Frames by whose depth the voxel is chosen."""
_FIRST_ROUNDS = 2
_STAGE = "fuse"


@dataclass(frozen=True)
class FuseOptions:
    """How a recording is fused.

    Raises:
        UsageError: a value is out of range.
    """

    voxel_m: float | None = None
    """Edge of a voxel, metres; None: chosen from the noise and the range of the depth."""
    range_m: float = 4.0
    """Farther depth is left out, metres."""
    max_memory_bytes: int | None = None
    """Of this process while it fuses: what voxels do not find room in it lie on disk. The finished surface comes on
    top. None: no bound."""
    noise: DepthNoise = field(default_factory=DepthNoise)
    """Of the depth."""
    surface: SurfaceOptions = field(default_factory=SurfaceOptions)
    """What becomes of the grid in the end."""
    every: int = 1
    """Takes every n-th frame."""
    is_refining: bool = False
    """Whether each pose is first fitted to the model."""
    is_judging: bool = True
    """Whether poses that contradict the model are dropped."""
    is_texturing: bool = False
    """Whether the pictures are laid over the surface."""
    is_any_size: bool = False
    """Whether a recording is fused that looks as if its lengths were in other units."""

    def __post_init__(self) -> None:
        if self.voxel_m is not None and not 0.0 < self.voxel_m < math.inf:
            raise UsageError(f"a voxel is a positive length, not {self.voxel_m:g} m")
        if not 0.1 < self.range_m < math.inf:
            raise UsageError(f"the range of the depth is more than 0.1 m, not {self.range_m:g} m")
        if self.every < 1:
            raise UsageError(f"every {self.every}th frame is none")


def fuse_frames(
    frames: Iterable[PosedDepth | Dropped],
    *,
    poses_from: PosesFrom,
    options: FuseOptions | None = None,
    compute: Compute | None = None,
    progress: Progress = SILENT,
    total: int | None = None,
    name: str = "the recording",
    warnings: tuple[str, ...] = (),
) -> FusionResult:
    """Fuse frames into one surface.

    An interruption (Ctrl-C) ends the fusion and not the call: the surface of what is fused comes back, marked as
    interrupted.

    Args:
        frames: with depth and poses, in order; and those that were left out.
        poses_from: where the poses are from.
        options: how.
        compute: where it runs; None: the CPU.
        progress: told how far it is.
        total: how many frames there are, where known.
        name: how messages call the recording.
        warnings: what is known to be odd already.

    Returns:
        The surface.

    Raises:
        InputError: the lengths look as if they were in other units.
        EstimationError: no frame could be fused, or there is no surface.
        OutputError: the disk is full. What was fused until then is attached as `partial`, where there is any.
    """
    job = _Job(options or FuseOptions(), compute, progress, name)
    started = time.perf_counter()
    progress.start(_STAGE, total)
    interrupted, full = False, None
    try:
        job.run(iter(frames))
    except KeyboardInterrupt:
        if not job.fused:
            raise
        interrupted = True
    except OutputError as error:
        if not job.fused:
            raise
        full = error
    finally:
        progress.finish(_STAGE)
    result = job.finished(poses_from, warnings, started, interrupted)
    if full is not None:
        raise DiskFullError(str(full), result) from full
    return result


class DiskFullError(OutputError):
    """The disk is full, and what was fused until then is there."""

    def __init__(self, message: str, partial: FusionResult) -> None:
        super().__init__(f"{message}; {len(partial.frames)} frames were fused until then")
        self.partial = partial
        """Their surface."""


class _Job:
    """One fusion as it goes on."""

    def __init__(self, options: FuseOptions, compute: Compute | None, progress: Progress, name: str) -> None:
        self._options, self._compute, self._progress, self._name = options, compute, progress, name
        self._grid: VoxelGrid | None = None
        self._judge: PoseJudge | None = None
        self.fused: list[FusedFrame] = []
        self._dropped: list[Dropped] = []
        self._placed: list[PosedDepth] = []
        self._measured = self._rejected = 0
        self._views = ViewKeeper()

    def run(self, frames: Iterator[PosedDepth | Dropped]) -> None:
        """Fuse everything, in batches."""
        first = list(self._posed(frames, _LOOKED_AT))
        if not first:
            raise EstimationError(f"{self._name}: no frame can be fused: {self._why_none()}")
        self._grid = self._grid_for([one.frame for one in first])
        self._judge = PoseJudge(self._grid) if self._options.is_judging else None
        for start in range(0, len(first), BATCH):
            self._take(first[start : start + BATCH])
        while batch := list(self._posed(frames, BATCH)):
            self._take(batch)
        if not self.fused:
            raise EstimationError(f"{self._name}: no frame can be fused: {self._why_none()}")

    def _posed(self, frames: Iterator[PosedDepth | Dropped], count: int) -> Iterator[PosedDepth]:
        """The next frames with a pose and any depth; the others are noted."""
        found = 0
        while found < count:
            item = next(frames, None)
            if item is None:
                return
            if isinstance(item, Dropped):
                self._dropped.append(item)
                self._progress.advance(_STAGE)
                continue
            if self._grid is None and not self._options.is_any_size:
                check_depth_scale(item.frame, self._name)
            if not _in_range(item.frame, self._options.range_m).any():
                reason = f"no depth within {self._options.range_m:g} m"
                self._dropped.append(Dropped(item.index, item.name, reason))
                self._progress.advance(_STAGE)
            else:
                found += 1
                yield item

    def _grid_for(self, frames: Sequence[DepthFrame]) -> VoxelGrid:
        if not self._options.is_any_size:
            check_steps(frames, self._name)
        options, camera = self._options, frames[0].camera
        depth = np.concatenate([frame.depth[_in_range(frame, options.range_m)] for frame in frames])
        voxel_m = options.voxel_m
        if voxel_m is None:
            typical = float(np.median(depth))
            voxel_m = choose_voxel_m(options.noise, typical, camera)
            self._progress.info(
                f"voxels of {1000.0 * voxel_m:g} mm, by the noise of depth around {typical:.2g} m; --voxel sets another"
            )
        most = options.max_memory_bytes
        budget = None if most is None else voxel_budget(most, frames[0].depth.size)
        grid = GridOptions(max_depth_m=options.range_m, noise=options.noise, max_memory_bytes=budget)
        return VoxelGrid(voxel_m, options=grid, compute=self._compute)

    def _take(self, batch: list[PosedDepth]) -> None:
        """Judge, refine and fuse one batch."""
        assert self._grid is not None
        kept = self._judged(batch)
        if self._options.is_refining and self.fused:
            from cv3d.fusion.refining import refined

            kept = [replace(one, frame=refined(one.frame, self._grid)) for one in kept]
        if kept:
            is_first = not self.fused
            started = time.perf_counter()
            done = self._grid.integrate_batch([one.frame for one in kept])
            if self._options.max_memory_bytes is not None:
                self._grid.stay_inside(self._options.max_memory_bytes)
            ms = 1000.0 * (time.perf_counter() - started) / len(kept)
            for one, what in zip(kept, done, strict=True):
                pixels = one.frame.depth.size
                self._measured += what.measured
                self._rejected += what.rejected
                used = (what.measured - what.rejected) / pixels
                if what.is_fused:
                    self.fused.append(FusedFrame(one.index, one.time, one.name, what.measured / pixels, used, ms))
                    self._placed.append(_without_pictures(one))
                    if self._options.is_texturing:
                        self._views.offer(one.frame)
                else:
                    self._dropped.append(Dropped(one.index, one.name, "all of its depth was rejected"))
            if self._options.is_refining and is_first:
                self._refine_among_each_other(kept)
        self._progress.advance(_STAGE, len(batch))

    def _refine_among_each_other(self, batch: list[PosedDepth]) -> None:
        """Fit the poses of the first batch, which no model was there for, to the model that it became."""
        from cv3d.fusion.refining import refined

        assert self._grid is not None
        places = {one.index: i for i, one in enumerate(self._placed)}
        for _ in range(_FIRST_ROUNDS):
            for i, one in enumerate(batch):
                moved = refined(one.frame, self._grid)
                if one.index in places and moved is not one.frame:
                    self._grid.reintegrate(one.frame, moved.cam_from_world)
                    batch[i] = replace(one, frame=moved)
                    self._placed[places[one.index]] = _without_pictures(batch[i])

    def _judged(self, batch: list[PosedDepth]) -> list[PosedDepth]:
        """Those whose pose does not contradict the model, or, at the beginning, the others."""
        if self._judge is None:
            return batch
        at_first = set() if self.fused else set(self._judge.outvoted([one.frame for one in batch]))
        kept = []
        for i, one in enumerate(batch):
            if i in at_first or (self.fused and self._judge.is_wild(one.frame)):
                self._dropped.append(Dropped(one.index, one.name, "its pose contradicts the model"))
                continue
            self._judge.accept(one.frame)
            kept.append(one)
        return kept

    def finished(
        self, poses_from: PosesFrom, warnings: tuple[str, ...], started: float, interrupted: bool
    ) -> FusionResult:
        """The surface of what is fused."""
        grid = self._grid
        assert grid is not None
        with grid:
            poses = np.stack([inverse_rigid(one.frame.cam_from_world) for one in self._placed])
            mesh = surface_of(grid, self._options.surface, self._progress)
            blocks, spilled = grid.block_count, grid.spilled_count
        wild = sum(one.reason == "its pose contradicts the model" for one in self._dropped)
        if wild > 0.2 * (wild + len(self.fused)):
            more = (
                f"{wild} of {wild + len(self.fused)} poses contradict the model: does the trajectory fit the recording?"
            )
            warnings = (*warnings, more)
        order = np.argsort([one.time for one in self._placed], kind="stable")
        times = np.array([one.time for one in self._placed], np.float64)
        texture = None
        if self._options.is_texturing and self._views.views:
            texture = bake(mesh, self._views.views, 2.0 * grid.voxel_m, progress=self._progress)
        elif self._options.is_texturing:
            warnings = (*warnings, "there are no pictures to lay over the surface: the recording has no colours")
        return FusionResult(
            mesh,
            texture,
            grid.voxel_m,
            self._options.voxel_m is None,
            blocks,
            spilled,
            tuple(self.fused),
            tuple(sorted(self._dropped, key=lambda one: one.index)),
            Trajectory(times[order], poses[order]),
            self._placed[0].frame.camera,
            poses_from,
            self._rejected / max(self._measured, 1),
            peak_memory_mb(),
            grid.compute.device.type,
            up_of_cameras(poses),
            warnings,
            time.perf_counter() - started,
            interrupted,
        )

    def _why_none(self) -> str:
        if not self._dropped:
            return "it has none"
        reasons = [one.reason for one in self._dropped]
        commonest = max(set(reasons), key=reasons.count)
        return (
            f"of {len(reasons)} frames {reasons.count(commonest)} have {commonest}"
            if commonest.startswith("no ")
            else (f"{reasons.count(commonest)} of {len(reasons)}: {commonest}")
        )


def _in_range(frame: DepthFrame, range_m: float) -> NDArray[np.bool_]:
    return (frame.depth > GridOptions.min_depth_m) & (frame.depth <= range_m)


def _without_pictures(one: PosedDepth) -> PosedDepth:
    """What is kept of a fused frame: not its pictures, of which there may be thousands."""
    tiny = np.broadcast_to(np.float32(0.0), one.frame.depth.shape)
    return replace(one, frame=replace(one.frame, depth=tiny, color=None, weight=None))
