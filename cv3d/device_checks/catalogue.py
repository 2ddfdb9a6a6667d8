"""Every kernel that runs on a device, and the commands that depend on it."""

from __future__ import annotations

from cv3d.device_checks.depth_kernels import DEPTH_KERNELS
from cv3d.device_checks.feature_kernels import FEATURE_KERNELS
from cv3d.device_checks.fusion_kernels import FUSION_KERNELS
from cv3d.device_checks.kernels import Kernel
from cv3d.device_checks.primitive_kernels import PRIMITIVES
from cv3d.device_checks.track_kernels import TRACK_KERNELS

KERNELS: tuple[Kernel, ...] = (*PRIMITIVES, *FEATURE_KERNELS, *TRACK_KERNELS, *DEPTH_KERNELS, *FUSION_KERNELS)
"""In the order in which they are checked: what the others are built of first."""
