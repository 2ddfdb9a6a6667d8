"""Many inputs: the plan, the journal by which a killed run goes on, and the engines that run jobs (here, or by Ray).

The package is what `cv3d.batch(...)` calls, too: it stands for :func:`cv3d.batch.running.batch`.

    from cv3d.batch import BatchOptions, Order
    cv3d.batch([Order("odometry", "clips/*.mp4", ("--camera", "cam.json"))], "out", options=BatchOptions(jobs=2))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cv3d.callable_package import stands_for

if TYPE_CHECKING:
    from cv3d.batch.options import BatchOptions as BatchOptions
    from cv3d.batch.planning import Order as Order

_PUBLIC = {"BatchOptions": "cv3d.batch.options", "Order": "cv3d.batch.planning"}


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


stands_for(__name__, "cv3d.batch.running:batch")
