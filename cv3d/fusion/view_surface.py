"""The depth maps of posed pictures become one surface, whatever their unit of length.

Depth from pictures is unlike that of a depth camera: tens of views instead of thousands, far apart, wrong in whole
patches where nothing could be told, and in no unit that is known. So the noise comes from how the maps agree, and each
place of the surface is put to the vote of all views before it stays.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from cv3d.compute import Compute
from cv3d.errors import DependencyError, EstimationError
from cv3d.fusion.cleaning import fill_holes, simplify
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.grid import TRUNCATION_VOXELS, VoxelGrid, farthest_m
from cv3d.fusion.memory import peak_memory_mb
from cv3d.fusion.options import DepthNoise, GridOptions
from cv3d.fusion.result import FusedFrame
from cv3d.fusion.smoothing import smoothed
from cv3d.fusion.sources import Dropped, PosedDepth
from cv3d.fusion.texturing import bake
from cv3d.fusion.view_cleaning import Cleaned, borne_out
from cv3d.fusion.view_options import ViewSurfaceOptions
from cv3d.fusion.view_result import ViewSurface
from cv3d.fusion.view_scale import TYPICAL_M, SetStatistics, look_at, range_of
from cv3d.fusion.view_votes import Ballot, Votes
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.texture import Texture
from cv3d.progress import SILENT, Progress

Views = Sequence[PosedDepth] | Callable[[], Iterable[PosedDepth]]
"""Depth maps; or what gives them anew each time, so that they need not all be in memory."""

Result = TypeVar("Result")

BATCH = 8
"""Maps that are fused in one pass."""
_SUPPOSED_PIXELS = 1.0
"""Spread of the depth, in pixels' footprints, where nothing says it."""
_NOISE_IN_VOXEL = 1.0
"""Standard deviations of the depth in a voxel: several views average them."""
_TRUNCATION_SIGMAS = 4.0
"""Truncation, standard deviations of the depth at the far end of its bulk: less makes double walls."""
_OFF_VOXELS = 0.5
"""How far a vertex may lie off what it was made from, voxels."""
_BULK = 80
"""Percentile of the depth that is its far end, ..."""
_FAR_END = 1.6
"""... which is no farther than so many times the typical depth: noise grows with the square of the depth, and what a
background needs would make one of the two sides of an object before it."""


def fuse_views(
    views: Views,
    *,
    options: ViewSurfaceOptions | None = None,
    compute: Compute | None = None,
    progress: Progress = SILENT,
    name: str = "the set",
    warnings: tuple[str, ...] = (),
) -> ViewSurface:
    """Fuse depth maps of pictures into one surface, in their own world and unit.

    Args:
        views: the maps with colours, poses and how much each depth counts (its confidence). They are gone through four
            times: looked at, fused, asked, and laid over the surface.
        options: how.
        compute: where it runs; None: the CPU.
        progress: told how far it is.
        name: how messages call the set.
        warnings: what is known to be odd already.

    Raises:
        EstimationError: the maps have no depth, or fit together nowhere.
        UsageError: an option is out of range.
        OutputError: voxels cannot be put aside.
    """
    return _Job(views, options or ViewSurfaceOptions(), compute, progress, name).run(warnings)


class _Job:
    """One fusion as it goes on."""

    def __init__(
        self, views: Views, options: ViewSurfaceOptions, compute: Compute | None, progress: Progress, name: str
    ) -> None:
        self._views, self._options, self._compute = views, options, compute
        self._progress, self._name = progress, name
        self._seconds: dict[str, float] = {}
        self._warnings: list[str] = []
        self._fused: list[FusedFrame] = []
        self._dropped: list[Dropped] = []

    def run(self, warnings: tuple[str, ...]) -> ViewSurface:
        started = time.perf_counter()
        statistics = self._timed("look", self._look)
        options, scale = self._options, statistics.scale
        noise, is_measured = self._noise(statistics)
        farthest = range_of(statistics) if options.range is None else options.range * scale.per_unit
        voxel = self._voxel(statistics, noise)
        farthest = min(farthest, 0.99 * farthest_m(voxel))
        grid = self._grid(statistics, voxel, noise, farthest)
        with grid:
            self._timed("fuse", lambda: self._fuse(grid, statistics))
            mesh = self._timed("extract", lambda: grid.extract_mesh(min(2, max(len(self._fused), 1))))
        if not len(mesh.triangles):
            raise EstimationError(f"{self._name}: its depth maps fit together nowhere: there is no surface")
        votes = self._timed("vote", lambda: self._vote(mesh, statistics, noise, voxel))
        cleaned = self._timed("clean", lambda: self._cleaned(mesh, votes, voxel))
        mesh = cleaned.mesh
        texture = None
        if options.is_texturing:
            texture = self._timed("texture", lambda: self._textured(mesh, statistics, voxel))
        self._seconds["total"] = time.perf_counter() - started
        return ViewSurface(
            replace(mesh, vertices=scale.points_back(mesh.vertices).astype(np.float32)),
            texture,
            voxel / scale.per_unit,
            options.voxel is None,
            statistics.typical / scale.per_unit,
            float(noise.sigma_m(statistics.typical)) / scale.per_unit,
            is_measured,
            farthest / scale.per_unit,
            cleaned.min_views,
            cleaned.removed,
            tuple(self._fused),
            tuple(self._dropped),
            {part: round(seconds, 3) for part, seconds in self._seconds.items()},
            peak_memory_mb(),
            grid.compute.device.type,
            (*warnings, *self._warnings),
        )

    def _timed(self, part: str, work: Callable[[], Result]) -> Result:
        started = time.perf_counter()
        result = work()
        self._seconds[part] = time.perf_counter() - started
        return result

    def _all(self) -> Iterator[PosedDepth]:
        yield from self._views() if callable(self._views) else self._views

    def _look(self) -> SetStatistics:
        try:
            return look_at(one.frame for one in self._all())
        except EstimationError as error:
            raise EstimationError(f"{self._name}: {error}") from error

    def _noise(self, statistics: SetStatistics) -> tuple[DepthNoise, bool]:
        """The noise, and whether it was measured."""
        pixels = self._options.noise_pixels
        if pixels is None and statistics.noise is not None:
            return statistics.noise, True
        if pixels is None:
            self._warnings.append("the depth maps hardly overlap: what their noise is could only be supposed")
        spread = (_SUPPOSED_PIXELS if pixels is None else pixels) * statistics.footprint
        # Half of it grows with the square of the depth.
        return DepthNoise(0.5 * spread, 0.87 * spread / TYPICAL_M**2), False

    def _voxel(self, statistics: SetStatistics, noise: DepthNoise) -> float:
        options = self._options
        if options.voxel is not None:
            return options.voxel * statistics.scale.per_unit
        return max(
            options.voxel_pixels * statistics.footprint,
            _NOISE_IN_VOXEL * float(noise.sigma_m(statistics.typical)),
            math.sqrt(statistics.area / options.max_cells),
        )

    def _grid(self, statistics: SetStatistics, voxel: float, noise: DepthNoise, farthest: float) -> VoxelGrid:
        truncation = truncation_of(statistics, noise, voxel)
        nearest = 0.5 * float(statistics.depth_quantiles[1])
        self._progress.info(
            f"{self._name}: voxels of {voxel / statistics.scale.per_unit:.3g}, "
            f"truncated at {truncation / statistics.scale.per_unit:.3g}"
        )
        options = GridOptions(
            min_depth_m=min(nearest, 0.5 * farthest),
            max_depth_m=farthest,
            noise=noise,
            is_carving=False,
            max_memory_bytes=self._options.max_memory_bytes,
        )
        return VoxelGrid(voxel, truncation, options, self._compute)

    def _normalised(self, statistics: SetStatistics) -> Iterator[DepthFrame]:
        for one in self._all():
            yield statistics.scale.normalised(one.frame)

    def _fuse(self, grid: VoxelGrid, statistics: SetStatistics) -> None:
        batch: list[tuple[PosedDepth, DepthFrame]] = []
        self._progress.start("fuse")
        for one in self._all():
            batch.append((one, statistics.scale.normalised(one.frame)))
            if len(batch) == BATCH:
                self._take(grid, batch)
                batch = []
        if batch:
            self._take(grid, batch)
        self._progress.finish("fuse")

    def _take(self, grid: VoxelGrid, batch: list[tuple[PosedDepth, DepthFrame]]) -> None:
        started = time.perf_counter()
        done = grid.integrate_batch([frame for _, frame in batch])
        ms = 1000.0 * (time.perf_counter() - started) / len(batch)
        for (one, frame), what in zip(batch, done, strict=True):
            pixels = frame.depth.size
            if what.is_fused:
                share = what.measured / pixels, (what.measured - what.rejected) / pixels
                self._fused.append(FusedFrame(one.index, one.time, one.name, *share, ms))
            else:
                self._dropped.append(Dropped(one.index, one.name, "none of its depth counts"))
        self._progress.advance("fuse", len(batch))

    def _vote(self, mesh: Mesh, statistics: SetStatistics, noise: DepthNoise, voxel: float) -> Votes:
        ballot = Ballot(mesh, noise, _OFF_VOXELS * voxel)
        self._progress.start("vote", len(self._fused))
        for frame in self._normalised(statistics):
            ballot.ask(frame)
            self._progress.advance("vote")
        self._progress.finish("vote")
        return ballot.votes

    def _cleaned(self, mesh: Mesh, votes: Votes, voxel: float) -> Cleaned:
        """What the views bear out of the mesh, smoothed, its small holes closed."""
        options = self._options
        cleaned = borne_out(mesh, votes, options.min_views, len(self._fused), options.small_part)
        if not len(cleaned.mesh.triangles):
            raise EstimationError(f"{self._name}: no place of the surface is borne out by {cleaned.min_views} views")
        kept = smoothed(cleaned.mesh, options.smoothing)
        if options.fill_voxels > 0.0:
            kept = fill_holes(kept, options.fill_voxels * voxel)
        if options.max_triangles is not None and len(kept.triangles) > options.max_triangles:
            try:
                kept = simplify(kept, options.max_triangles)
            except DependencyError as error:
                self._warnings.append(f"the surface is not simplified: {error}")
        return replace(cleaned, mesh=kept)

    def _textured(self, mesh: Mesh, statistics: SetStatistics, voxel: float) -> Texture | None:
        most, count = self._options.texture.max_views, len(self._fused) + len(self._dropped)
        wanted = set(np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist())
        views = [frame for i, frame in enumerate(self._normalised(statistics)) if i in wanted]
        views = [frame for frame in views if frame.color is not None]
        if not views:
            self._warnings.append("there are no pictures to lay over the surface: the maps have no colours")
            return None
        return bake(mesh, views, 2.0 * voxel, self._options.texture, self._progress)


def truncation_of(statistics: SetStatistics, noise: DepthNoise, voxel: float) -> float:
    """From which distance on, metres, a place is as far from the surface as any."""
    far_end = min(float(statistics.depth_quantiles[_BULK]), _FAR_END * statistics.typical)
    return max(TRUNCATION_VOXELS * voxel, _TRUNCATION_SIGMAS * float(noise.sigma_m(far_end)))
