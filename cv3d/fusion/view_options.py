"""How the depth of posed pictures becomes a surface."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from cv3d.errors import UsageError
from cv3d.fusion.texturing import TextureOptions


@dataclass(frozen=True)
class ViewSurfaceOptions:
    """How depth maps of pictures are fused. Lengths are in the set's own unit.

    Raises:
        UsageError: a value is out of range.
    """

    voxel: float | None = None
    """Edge of a voxel; None: chosen from what a pixel covers, the depth's noise and `max_cells`."""
    voxel_pixels: float = 2.0
    """What a voxel covers of the pictures at the median depth, pixels, where it is chosen."""
    noise_pixels: float | None = None
    """Spread of the depth as the length that it covers across the line of sight at the median depth, pixels; None:
    estimated from how the maps agree with each other."""
    range: float | None = None
    """Farther depth is left out; None: twice what nine tenths of the depth lie within."""
    min_views: int | None = None
    """Views that have to bear a place out; None: two, and three where places are seen by many."""
    max_cells: int = 600_000
    """Faces of voxels that the surface may pass through; voxels are chosen larger where there would be more."""
    smoothing: int = 6
    """Rounds by which the surface is smoothed without shrinking (Taubin 1995)."""
    fill_voxels: float = 24.0
    """Holes of a shorter border are closed, voxels."""
    small_part: float = 0.002
    """Parts of less than this share of the whole area are removed, unless many views see them."""
    max_triangles: int | None = None
    """Simplified to so many (needs Open3D); None: as extracted."""
    is_texturing: bool = True
    """Whether the pictures are laid over the surface."""
    texture: TextureOptions = field(default_factory=TextureOptions)
    """How large and how fine."""
    max_memory_bytes: int | None = None
    """For voxels; what does not find room in it lies on disk. None: no bound."""

    def __post_init__(self) -> None:
        lengths = (self.voxel, self.noise_pixels, self.range, self.voxel_pixels)
        if not all(value is None or 0.0 < value < math.inf for value in lengths):
            raise UsageError("voxel, noise and range are positive lengths")
        if self.min_views is not None and self.min_views < 1:
            raise UsageError("a place has to be seen at least once")
        if self.smoothing < 0 or self.fill_voxels < 0.0 or not 0.0 <= self.small_part < 1.0:
            raise UsageError("smoothing and holes are not negative, and a small part is a share below 1")
        if self.max_cells < 1000 or (self.max_triangles is not None and self.max_triangles < 4):
            raise UsageError("a surface has at least 1000 cells and 4 triangles")
