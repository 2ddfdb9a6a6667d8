"""How dense depth is estimated."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cv3d.errors import UsageError


class Quality(StrEnum):
    """How much work goes into a scene."""

    DRAFT = "draft"
    """Small maps, few sources: to see whether the recording will do."""
    NORMAL = "normal"
    """For most purposes."""
    HIGH = "high"
    """Large maps, many sources."""


@dataclass(frozen=True)
class DepthOptions:
    """How depth maps are estimated.

    Raises:
        UsageError: a value is out of range.
    """

    max_side: int = 960
    """Of a map's longer side, pixels; pictures are reduced to it, never enlarged."""
    sources: int = 8
    """Pictures that a picture is compared with, at most."""
    coarse_sources: int = 7
    """Of these, how many are asked before the depth of any is known: the first."""
    rounds: int = 2
    """Rounds at half the size in which pictures take account of each other's depth."""
    coarse_iterations: int = 3
    """Iterations on the smallest pictures, where depth is found from nothing."""
    iterations: int = 2
    """Iterations on the pictures between the smallest and those of half the size."""
    fine_iterations: int = 1
    """Iterations at the full size; 0: the maps have half the size."""
    least_views: int = 1
    """Sources that have to bear a depth out; of a picture with fewer sources, all. The confidence tells how many do."""
    reprojection_px: float = 1.0
    """How far from its pixel a depth may come back from a source that bears it out."""
    relative_depth: float = 0.01
    """How far, as a share of the depth, it may lie from what that source says."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_side < 64:
            raise UsageError(f"maps of {self.max_side} pixels are too small: at least 64")
        if min(self.sources, self.coarse_sources, self.least_views) < 1:
            raise UsageError("depth needs one source at least")
        if min(self.rounds, self.coarse_iterations, self.iterations) < 1 or self.fine_iterations < 0:
            raise UsageError("depth needs one iteration at least")
        if not (self.reprojection_px > 0.0 and self.relative_depth > 0.0):
            raise UsageError("what bears a depth out needs a tolerance of more than 0")

    @staticmethod
    def of(quality: Quality, seed: int = 0) -> DepthOptions:
        """The options of a quality."""
        if quality is Quality.DRAFT:
            return DepthOptions(max_side=400, sources=5, rounds=1, fine_iterations=0, seed=seed)
        if quality is Quality.HIGH:
            return DepthOptions(
                max_side=1600,
                sources=10,
                coarse_sources=8,
                coarse_iterations=4,
                iterations=2,
                fine_iterations=2,
                seed=seed,
            )
        return DepthOptions(seed=seed)
