"""Dense depth: of posed pictures by multi-view stereo, and of rectified pairs.

The package is what `cv3d.depth(source, ...)` calls, too: it stands for :func:`cv3d.depth.api.depth`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cv3d.depth.result import DepthResult


class _Callable(ModuleType):
    """The package of this name, which is a public function as well."""

    def __call__(self, *args: Any, **options: Any) -> DepthResult:  # noqa: ANN401 - they are the function's
        """See :func:`cv3d.depth.api.depth`."""
        from cv3d.depth.api import depth

        return depth(*args, **options)


sys.modules[__name__].__class__ = _Callable
