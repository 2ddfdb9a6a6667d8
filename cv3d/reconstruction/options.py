"""How far a reconstruction goes, and how much work goes into it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from cv3d.depth.options import DepthOptions, Quality
from cv3d.errors import UsageError
from cv3d.fusion.view_options import ViewSurfaceOptions
from cv3d.mapping.options import MapOptions
from cv3d.mapping.options import Stage as MapStage


class Stage(StrEnum):
    """What is done, one after the other."""

    FRAMES = "frames"
    """Pictures are listed; of a clip, key frames are chosen."""
    FEATURES = "features"
    """Keypoints of every picture."""
    MATCHES = "matches"
    """Which pictures show the same, verified."""
    POSES = "poses"
    """Cameras, poses and points."""
    DEPTH = "depth"
    """A depth map of every picture."""
    SURFACE = "surface"
    """One surface of all depth maps."""


ORDER = tuple(Stage)
_CELLS = {Quality.DRAFT: 150_000, Quality.NORMAL: 600_000, Quality.HIGH: 2_000_000}
"""Faces of voxels that a surface may pass through."""
_NOISE_PX = 1.5
"""Spread of the depth, pixels. Neighbouring maps err alike, as each took account of the others: how well they agree
says too little of it."""
_LEAST_VIEWS = 2
"""Maps that have to agree on a place: each of them is borne out by others already."""


@dataclass(frozen=True)
class ReconstructOptions:
    """How a scene is reconstructed.

    Raises:
        UsageError: the last stage comes before the first one.
    """

    quality: Quality = Quality.NORMAL
    """How much work goes into depth and surface, where their options are not given."""
    to_stage: Stage = Stage.SURFACE
    """The last stage."""
    from_stage: Stage | None = None
    """What is done anew from here on, although an earlier run has done it; None: nothing is."""
    resume: bool = True
    """Whether what an earlier run has finished is taken from it at all."""
    mapping: MapOptions = field(default_factory=MapOptions)
    """How poses are found; its stages and `resume` are not looked at."""
    depth: DepthOptions | None = None
    """How depth is estimated; None: by the quality."""
    surface: ViewSurfaceOptions | None = None
    """How depth maps are fused; None: by the quality."""

    def __post_init__(self) -> None:
        if self.from_stage is not None and ORDER.index(self.to_stage) < ORDER.index(self.from_stage):
            raise UsageError(f"the last stage, {self.to_stage}, comes before the first one, {self.from_stage}")

    @property
    def depth_options(self) -> DepthOptions:
        """How depth is estimated."""
        return self.depth or DepthOptions.of(self.quality, self.mapping.seed)

    @property
    def surface_options(self) -> ViewSurfaceOptions:
        """How depth maps are fused."""
        return self.surface or ViewSurfaceOptions(
            max_cells=_CELLS[self.quality], noise_pixels=_NOISE_PX, min_views=_LEAST_VIEWS
        )

    @property
    def map_options(self) -> MapOptions:
        """How poses are found, with the stages."""
        first = self.from_stage if self.from_stage is not None and not _is_dense(self.from_stage) else None
        last = Stage.POSES if _is_dense(self.to_stage) else self.to_stage
        return replace(
            self.mapping,
            from_stage=None if first is None else MapStage(first.value),
            to_stage=MapStage(last.value),
            resume=self.resume,
        )

    def redoes(self, stage: Stage) -> bool:
        """Whether a stage is done anew although an earlier run has done it."""
        begun = self.from_stage is not None and ORDER.index(stage) >= ORDER.index(self.from_stage)
        return begun or not self.resume

    def reaches(self, stage: Stage) -> bool:
        """Whether a stage is to be done."""
        return ORDER.index(stage) <= ORDER.index(self.to_stage)


def _is_dense(stage: Stage) -> bool:
    return stage in (Stage.DEPTH, Stage.SURFACE)
