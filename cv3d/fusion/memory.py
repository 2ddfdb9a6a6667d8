"""How much memory this process uses, and what of it voxels may have."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cv3d.errors import UsageError

_PER_PIXEL = 220
"""Bytes for each pixel of a frame while a batch of eight is fused: eight pictures and their judged copies, four at a
time; and those that wait."""
_BESIDE = 80_000_000
"""Bytes for kernels, tables and what the system's memory management keeps."""
LEAST_SHARE = 32_000_000
"""Bytes for voxels below which there is no use in going on."""
_PASSING = 48_000_000
"""Bytes for what comes and goes within a batch, which nobody sees between two of them."""


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, megabytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on Linux, bytes on macOS.
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024.0 / 1e6


def resident_bytes() -> int:
    """Resident memory of this process now; where the system does not say, the largest so far."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return int(peak_memory_mb() * 1e6)


def voxel_budget(max_memory_bytes: int, pixels: int) -> int:
    """What voxels may have of the memory that the whole process may have while it fuses.

    Args:
        max_memory_bytes: of the process.
        pixels: of a frame.

    Returns:
        Bytes: what is left beside that which the process has already, and what a batch of frames needs.

    Raises:
        UsageError: nothing worth mentioning is left.
    """
    taken = resident_bytes() + _BESIDE + _PER_PIXEL * pixels
    left = max_memory_bytes - taken
    if left < LEAST_SHARE:
        raise UsageError(
            f"{max_memory_bytes / 1e6:.0f} MB are too little: the program and its pictures take {taken / 1e6:.0f} MB "
            f"without any voxel; allow {(taken + LEAST_SHARE) / 1e6:.0f} MB at least"
        )
    return left


def excess_of(max_memory_bytes: int) -> int:
    """By how much voxels have to make do with less for the process to stay inside its memory; 0: they need not.

    What is known of ever more blocks grows, and so does what the kernels and the system's memory management take, which
    cannot be foretold.
    """
    return max(0, resident_bytes() + _PASSING - max_memory_bytes)
