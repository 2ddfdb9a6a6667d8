"""How much memory this process has used."""

from __future__ import annotations

import sys


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, megabytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on Linux, bytes on macOS.
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024.0 / 1e6
