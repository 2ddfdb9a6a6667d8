"""Dense depth: of posed pictures by multi-view stereo, and of rectified pairs.

The package is what `cv3d.depth(source, ...)` calls, too: it stands for :func:`cv3d.depth.api.depth`.
"""

from __future__ import annotations

from cv3d.callable_package import stands_for

stands_for(__name__, "cv3d.depth.api:depth")
