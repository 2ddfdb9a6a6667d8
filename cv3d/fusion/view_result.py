"""The surface of a set of posed pictures, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.result import FusedFrame, dropped_words
from cv3d.fusion.sources import Dropped
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.texture import Texture

SCHEMA = "cv3d.view_surface/1"


@dataclass(frozen=True, eq=False)
class ViewSurface:
    """A surface in the set's own unit and world."""

    mesh: Mesh
    """With normals and colours."""
    texture: Texture | None
    """The pictures laid over it, where asked for."""
    voxel: float
    """Edge of a voxel."""
    is_voxel_chosen: bool
    """Whether it was chosen by what pixels cover and the noise."""
    typical_depth: float
    """Median depth of all maps."""
    noise: float
    """Spread of the depth at that depth."""
    is_noise_measured: bool
    """Whether by how the maps agree with each other; otherwise it was given or supposed."""
    range: float
    """Farther depth was left out."""
    min_views: int
    """Views that had to bear a place out."""
    removed: Mapping[str, float]
    """Shares of the extracted triangles that went: "unseen" by enough views, "seen through" by others, in "small
    parts"."""
    frames: tuple[FusedFrame, ...]
    """Maps in the surface."""
    dropped: tuple[Dropped, ...]
    """Maps left out, and why."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of the parts, and "total"."""
    peak_memory_mb: float = 0.0
    """Largest resident memory of this process, megabytes."""
    device: str = "cpu"
    warnings: tuple[str, ...] = ()

    @property
    def bounds(self) -> NDArray[np.float64]:
        """Least and greatest coordinates, (2, 3)."""
        return np.stack([self.mesh.vertices.min(axis=0), self.mesh.vertices.max(axis=0)]).astype(np.float64)

    def as_dict(self) -> dict[str, object]:
        """The result as plain data, without the surface."""
        return {
            "schema": SCHEMA,
            "frames": len(self.frames),
            "dropped": [one.as_dict() for one in self.dropped],
            "voxel": self.voxel,
            "voxel_chosen": self.is_voxel_chosen,
            "typical_depth": self.typical_depth,
            "noise": self.noise,
            "noise_measured": self.is_noise_measured,
            "range": self.range,
            "min_views": self.min_views,
            "removed": dict(self.removed),
            "vertices": len(self.mesh.vertices),
            "triangles": len(self.mesh.triangles),
            "texture_side": None if self.texture is None else max(self.texture.picture.shape[:2]),
            "bounds": self.bounds.tolist(),
            "seconds": dict(self.seconds),
            "peak_memory_mb": round(self.peak_memory_mb, 1),
            "device": self.device,
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        low, high = self.bounds
        size = " × ".join(f"{side:.3g}" for side in high - low)
        noise = "by the maps' agreement" if self.is_noise_measured else "supposed"
        lines = [
            f"{len(self.mesh.triangles):,} triangles from {len(self.frames)} depth maps; {size}",
            f"voxel {self.voxel:.3g}, noise {self.noise:.2g} at a depth of {self.typical_depth:.3g} ({noise}); "
            f"{self.min_views} views bear each place out",
        ]
        gone = [f"{100.0 * share:.1f} % {why}" for why, share in self.removed.items() if share >= 0.0005]
        if gone:
            lines.append(f"removed {', '.join(gone)}")
        if self.dropped:
            lines.append(f"left out {dropped_words(self.dropped)}")
        return "\n".join(lines)
