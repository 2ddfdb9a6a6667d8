"""The torch expressions that a GPU runs, on any device: the CPU's fused twins are laid aside for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module

_NO_TWIN: Mapping[str, object] = {}
_AS_ON_A_GPU: Mapping[str, object] = {"cpu": False, "cuda": False, "mps": False}

CHOICES: Mapping[tuple[str, str], Mapping[str, object]] = {
    ("cv3d.depth.stereo.engines", "TWINS"): _NO_TWIN,
    ("cv3d.depth.sweepers", "TWINS"): _NO_TWIN,
    ("cv3d.features.extractors.fused", "TWINS"): _NO_TWIN,
    ("cv3d.features.matchers.lightglue", "COMPACT"): _AS_ON_A_GPU,
    ("cv3d.features.matchers.refined", "COMPACT"): _AS_ON_A_GPU,
    ("cv3d.features.refinement.views", "TWINS"): _NO_TWIN,
    ("cv3d.features.tracks.stepping", "TWINS"): _NO_TWIN,
    ("cv3d.fusion.engines", "TWINS"): _NO_TWIN,
    ("cv3d.fusion.extracting", "SURFACES"): _NO_TWIN,
    ("cv3d.fusion.viewing", "CASTERS"): _NO_TWIN,
    ("cv3d.odometry.aligners", "TWINS"): _NO_TWIN,
}
"""Every table, by module and name, in which a kind of device chooses its kernels; and what it says for a GPU."""


@contextmanager
def reference_kernels() -> Iterator[None]:
    """Within the block every kind of device runs what Metal runs. For the whole process, so not beside other work."""
    before = []
    try:
        for (module_name, table), choice in CHOICES.items():
            module = import_module(module_name)
            before.append((module, table, getattr(module, table)))
            setattr(module, table, choice)
        yield
    finally:
        for module, table, choice in before:
            setattr(module, table, choice)
