"""The streaming estimator of a camera's path: front end, key frames, sliding window, loops, sensors.

The package is what `cv3d.odometry(source, ...)` calls, too: it stands for :func:`cv3d.odometry.running.odometry`.
"""

from __future__ import annotations

from cv3d.callable_package import stands_for

stands_for(__name__, "cv3d.odometry.running:odometry")
