"""Many inputs: the plan, the journal by which a killed run goes on, and the engines that run jobs (here, or by Ray).

The package is what `cv3d.batch(...)` calls, too: it stands for :func:`cv3d.batch.running.batch`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cv3d.batch.results import BatchResult


class _Callable(ModuleType):
    """The package of this name, which is a public function as well."""

    def __call__(self, *args: Any, **options: Any) -> BatchResult:  # noqa: ANN401 - they are the function's
        """See :func:`cv3d.batch.running.batch`."""
        from cv3d.batch.running import batch

        return batch(*args, **options)


sys.modules[__name__].__class__ = _Callable
