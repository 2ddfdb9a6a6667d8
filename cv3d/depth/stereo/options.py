"""How rectified pairs are matched."""

from __future__ import annotations

from dataclasses import dataclass

from cv3d.errors import UsageError


@dataclass(frozen=True)
class StereoOptions:
    """Settings of :func:`stereo_disparity`.

    Raises:
        UsageError: a setting is out of range.
    """

    max_disparity: int | None = None
    """Largest disparity looked for, pixels; None: found from the pair at reduced size."""
    small_step: int = 28
    """Penalty where the disparity changes by one pixel along a path, in units of the matching cost."""
    large_step: int = 120
    """Penalty where it changes by more, on an even surface; less where the brightness changes as well."""
    is_subpixel: bool = True
    """Whether the disparity is found between whole pixels."""
    consistency_px: float = 1.0
    """Most by which the disparity seen from the right picture may differ, pixels."""
    speckle_area: int = 60
    """Connected patches of fewer pixels than this are taken out; 0: none."""
    speckle_step_px: float = 1.0
    """Neighbours belong to one patch where their disparities differ by no more, pixels."""
    min_confidence: float = 0.5
    """Disparities of less confidence are taken out, 0 to 1."""
    is_filled: bool = False
    """Whether holes are filled: occluded ones from the farther side, others smoothly, along what looks alike."""
    max_voxels: int = 200_000_000
    """Pixels times disparities held at once; larger pairs are matched in overlapping bands of rows."""
    threads: int | None = None
    """Threads of the CPU; None: one per core."""

    def __post_init__(self) -> None:
        if self.max_disparity is not None and self.max_disparity < 1:
            raise UsageError(f"the largest disparity is at least 1 pixel, not {self.max_disparity}")
        if not 0 < self.small_step <= self.large_step <= 1000:
            raise UsageError(
                "the penalties obey 0 < small step <= large step <= 1000, "
                f"which {self.small_step} and {self.large_step} do not"
            )
        if self.consistency_px < 0.0 or self.speckle_step_px < 0.0 or self.speckle_area < 0:
            raise UsageError("consistency, speckle area and speckle step are not negative")
        if not 0.0 <= self.min_confidence <= 1.0:
            raise UsageError(f"the least confidence is between 0 and 1, not {self.min_confidence}")
        if self.max_voxels < 1 or (self.threads is not None and self.threads < 1):
            raise UsageError("voxels held at once and threads are at least 1")
