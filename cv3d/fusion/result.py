"""What fusion says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from cv3d.formats.meshes import Up
from cv3d.fusion.sources import Dropped
from cv3d.geometry.cameras import Camera
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.texture import Texture
from cv3d.geometry.trajectory import Trajectory

Floats = NDArray[np.float64]

SCHEMA = "cv3d.fuse/1"


class PosesFrom(StrEnum):
    """Where the poses of the frames are from."""

    FILE = "file"
    """The trajectory that was named."""
    RECORDING = "recording"
    """What the recording brings."""
    ODOMETRY = "odometry"
    """RGB-D odometry, run for this."""


@dataclass(frozen=True)
class FusedFrame:
    """One frame in the surface."""

    index: int
    """The source's index of the frame."""
    time: float
    """The source's stamp, seconds."""
    name: str
    measured: float
    """Share of its pixels with a depth inside the range."""
    used: float
    """Share of its pixels that went into the surface."""
    ms: float
    """Wall time of its integration, milliseconds; decoding is not in it."""


@dataclass(frozen=True, eq=False)
class FusionResult:
    """A surface, and how it came about."""

    mesh: Mesh
    """The surface with colours (where there were any) and normals; metres, in the world of the poses."""
    texture: Texture | None
    """The pictures laid over it, where asked for."""
    voxel_m: float
    """Edge of a voxel, metres."""
    is_voxel_chosen: bool
    """Whether it was chosen from the depth's noise and range."""
    blocks: int
    """Blocks of the grid."""
    spilled_blocks: int
    """Those of them that lay on disk in the end."""
    frames: tuple[FusedFrame, ...]
    """Those in the surface."""
    dropped: tuple[Dropped, ...]
    """Those left out, and why."""
    trajectory: Trajectory
    """Poses of the depth's camera at the frames in the surface, refined where asked for."""
    camera: Camera
    """Of the depth."""
    poses_from: PosesFrom
    rejected_fraction: float
    """Share of the measured depth that was rejected: edges, flying and grazing pixels."""
    peak_memory_mb: float
    """Largest resident memory of this process, megabytes."""
    device: str
    up: Up
    """Which axis is up, by how the cameras were held."""
    warnings: tuple[str, ...]
    elapsed_s: float
    """Wall time, decoding and odometry included, seconds."""
    interrupted: bool = False
    """Whether it ended before the recording did."""

    @property
    def bounds_m(self) -> Floats:
        """Least and greatest coordinates of the surface, (2, 3), metres."""
        return np.stack([self.mesh.vertices.min(axis=0), self.mesh.vertices.max(axis=0)]).astype(np.float64)

    @property
    def ms_per_frame(self) -> dict[str, float]:
        """Percentiles of the integration, milliseconds."""
        p50, p95 = np.percentile([frame.ms for frame in self.frames], [50, 95])
        return {"p50": round(float(p50), 3), "p95": round(float(p95), 3)}

    def as_dict(self) -> dict[str, object]:
        """The result as plain data, without the surface."""
        return {
            "schema": SCHEMA,
            "frames": len(self.frames),
            "dropped": [one.as_dict() for one in self.dropped],
            "poses_from": self.poses_from.value,
            "voxel_m": self.voxel_m,
            "voxel_chosen": self.is_voxel_chosen,
            "blocks": self.blocks,
            "spilled_blocks": self.spilled_blocks,
            "vertices": len(self.mesh.vertices),
            "triangles": len(self.mesh.triangles),
            "ms_per_frame": self.ms_per_frame,
            "peak_memory_mb": round(self.peak_memory_mb, 1),
            "bounds_m": self.bounds_m.tolist(),
            "rejected_depth_fraction": self.rejected_fraction,
            "up": self.up.value,
            "device": self.device,
            "elapsed_s": round(self.elapsed_s, 3),
            "interrupted": self.interrupted,
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        low, high = self.bounds_m
        size = " × ".join(f"{side:.2f}" for side in high - low)
        speed = self.ms_per_frame
        lines = [
            f"{len(self.mesh.triangles):,} triangles, {len(self.mesh.vertices):,} vertices from {len(self.frames)} "
            f"frames; {size} m",
            "",
            f"voxel       {1000.0 * self.voxel_m:g} mm"
            + (", chosen from the depth's noise and range" if self.is_voxel_chosen else ""),
            f"poses       {_POSES_WORDS[self.poses_from]}",
            f"depth       {100.0 * self.rejected_fraction:.1f} % rejected",
            f"speed       {speed['p50']:.1f} ms a frame (p95 {speed['p95']:.1f}) on {self.device}, "
            f"{self.elapsed_s:.1f} s in all",
            f"memory      {self.peak_memory_mb:.0f} MB at most, {self.blocks:,} blocks",
        ]
        if self.dropped:
            lines.append(f"left out    {dropped_words(self.dropped)}")
        return "\n".join(lines)


_POSES_WORDS = {
    PosesFrom.FILE: "from the trajectory given",
    PosesFrom.RECORDING: "the recording's own",
    PosesFrom.ODOMETRY: "from RGB-D odometry, run for this",
}


def dropped_words(dropped: tuple[Dropped, ...]) -> str:
    """Left-out frames by reason: "3 of 200: no pose (frame 4, frame 9, …)"."""
    reasons: dict[str, list[str]] = {}
    for one in dropped:
        reasons.setdefault(one.reason, []).append(one.name)
    parts = []
    for reason, names in reasons.items():
        named = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        parts.append(f"{len(names)} frame{'s' if len(names) > 1 else ''}: {reason} ({named})")
    return "; ".join(parts)
