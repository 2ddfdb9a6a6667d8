"""The streaming estimator of a camera's path: front end, key frames, sliding window, loops, sensors.

The package is what `cv3d.odometry(source, ...)` calls, too: it stands for :func:`cv3d.odometry.running.odometry`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cv3d.odometry.results import OdometryResult


class _Callable(ModuleType):
    """The package of this name, which is a public function as well."""

    def __call__(self, *args: Any, **options: Any) -> OdometryResult:  # noqa: ANN401 - they are the function's
        """See :func:`cv3d.odometry.running.odometry`."""
        from cv3d.odometry.running import odometry

        return odometry(*args, **options)


sys.modules[__name__].__class__ = _Callable
