"""What a grid is told about the sensor and about the memory that it may use."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import UsageError
from cv3d.geometry.cameras import Camera

_NOISE_IN_VOXEL = 1.5
"""Standard deviations of the depth in a voxel: finer ones would model the noise."""


@dataclass(frozen=True)
class DepthNoise:
    """The spread of a depth z: sigma(z)² = base² + (quadratic z²)².

    The quadratic part is that of triangulation (structured light, stereo); Khoshelham and Elberink 2012 find 1.425 mm
    at 1 m for the Kinect.
    """

    base_m: float = 0.002
    """What does not grow with the range: poses, registration, metres."""
    quadratic: float = 0.0015
    """What grows with its square: metres at a range of 1 m."""

    def __post_init__(self) -> None:
        if not (0.0 < self.base_m < math.inf and 0.0 <= self.quadratic < math.inf):
            raise UsageError("a depth noise has a positive base and a quadratic part that is not negative")

    def sigma_m(self, depth_m: NDArray[np.float32] | float) -> NDArray[np.float32]:
        """Standard deviation at a depth, metres, of the depth's shape."""
        depth = np.asarray(depth_m, np.float32)
        return np.asarray(np.sqrt(self.base_m**2 + (self.quadratic * depth**2) ** 2), np.float32)


@dataclass(frozen=True)
class ConsistencyOptions:
    """When the frames of one batch bear each other out. Reflections move with the camera, surfaces do not."""

    neighbours: int = 2
    """Frames of the batch on each side of a frame that it is compared with."""
    agreements: int = 1
    """Frames that have to see the same surface, of those that look at the place; where fewer look, all of them."""
    sigmas: float = 4.0
    """Difference of depth that still agrees, standard deviations of the two."""


@dataclass(frozen=True)
class GridOptions:
    """How depth is judged, and what the grid may use.

    Raises:
        UsageError: a range is empty or a number out of its range.
    """

    min_depth_m: float = 0.1
    """What is nearer counts as not measured, metres."""
    max_depth_m: float = 4.0
    """What is farther counts as not measured, metres."""
    noise: DepthNoise = field(default_factory=DepthNoise)
    """What the weights come from."""
    max_incidence_deg: float = 80.0
    """What is seen at a more grazing angle is rejected, degrees off the surface's normal."""
    edge_sigmas: float = 6.0
    """A pixel is rejected that lies off the line through two opposite neighbours by more than these standard
    deviations, or has a neighbour without depth on both sides: it flies between a near and a far surface."""
    is_carving: bool = True
    """Whether a block that a frame looks through is weakened by that frame."""
    consistency: ConsistencyOptions | None = None
    """Check of the frames of a batch against each other; None: none."""
    max_memory_bytes: int | None = None
    """Memory for voxels; beyond it the blocks used longest ago lie on disk. None: no bound."""
    spill_folder: Path | None = None
    """Where the temporary folder for them is made; None: the system's place."""
    threads: int | None = None
    """Threads of the CPU's kernels; None: the usable cores. The result does not depend on it."""

    def __post_init__(self) -> None:
        if not 0.0 < self.min_depth_m < self.max_depth_m < math.inf:
            raise UsageError(f"depth from {self.min_depth_m:g} to {self.max_depth_m:g} m is no range")
        if not 0.0 < self.max_incidence_deg < 90.0:
            raise UsageError("the largest angle of incidence lies between 0 and 90 degrees")
        if self.edge_sigmas <= 0.0:
            raise UsageError("edge_sigmas must be positive")
        if self.threads is not None and self.threads < 1:
            raise UsageError("at least one thread is needed")


def choose_voxel_m(noise: DepthNoise, typical_depth_m: float, camera: Camera) -> float:
    """The voxel size that depth of a given noise and range can fill: 1, 2 or 5 times a power of ten.

    It is no finer than the distance of two pixels on a surface at that range, and than one and a half standard
    deviations of the depth.

    Args:
        noise: of the depth.
        typical_depth_m: median depth, metres.
        camera: of the depth.

    Returns:
        Edge of a voxel, metres.

    Raises:
        UsageError: the depth is not positive.
    """
    if not 0.0 < typical_depth_m < math.inf:
        raise UsageError(f"a depth of {typical_depth_m:g} m is none")
    footprint = typical_depth_m / math.sqrt(camera.params[0] * camera.params[1])
    wanted = max(footprint, _NOISE_IN_VOXEL * float(noise.sigma_m(typical_depth_m)))
    power = 10.0 ** math.floor(math.log10(wanted) + 1e-9)
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= wanted * (1.0 - 1e-9))
