"""The extractors there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cv3d.compute import Compute
from cv3d.errors import UsageError
from cv3d.features.extractors.base import Extractor, ExtractorOptions


@dataclass(frozen=True)
class ExtractorEntry:
    """One extractor: how to make it, and what to tell about it."""

    build: Callable[[Compute, ExtractorOptions], Extractor]
    weights: tuple[str, ...]
    """Names in the catalogue of weights that it needs."""
    licence: str
    speed: str
    """fast, medium or slow, as in the catalogue of weights."""
    summary: str


def _xfeat(compute: Compute, options: ExtractorOptions) -> Extractor:
    from cv3d.features.extractors.xfeat import XFeat, XFeatOptions

    return XFeat(compute, XFeatOptions(options.max_keypoints, options.detection_threshold))


def _xfeat_dense(compute: Compute, options: ExtractorOptions) -> Extractor:
    from cv3d.features.extractors.xfeat import XFeatOptions
    from cv3d.features.extractors.xfeat_dense import XFeatDense

    return XFeatDense(compute, XFeatOptions(options.max_keypoints, options.detection_threshold))


def _aliked(compute: Compute, options: ExtractorOptions) -> Extractor:
    from cv3d.features.extractors.aliked import Aliked, AlikedOptions

    return Aliked(compute, AlikedOptions(options.max_keypoints, options.detection_threshold))


def _disk(compute: Compute, options: ExtractorOptions) -> Extractor:
    from cv3d.features.extractors.disk import Disk, DiskOptions

    return Disk(compute, DiskOptions(options.max_keypoints, options.detection_threshold))


def _sift(compute: Compute, options: ExtractorOptions) -> Extractor:
    from cv3d.features.extractors.sift import Sift, SiftOptions

    return Sift(compute, SiftOptions(options.max_keypoints, options.detection_threshold))


EXTRACTORS: Mapping[str, ExtractorEntry] = {
    "xfeat": ExtractorEntry(_xfeat, ("xfeat",), "Apache-2.0", "fast", "XFeat: light, learned; the default"),
    "xfeat-dense": ExtractorEntry(
        _xfeat_dense, ("xfeat",), "Apache-2.0", "medium", "XFeat*: semi-dense, to be matched with refinement"
    ),
    "aliked": ExtractorEntry(_aliked, ("aliked-n16",), "BSD-3-Clause", "medium", "ALIKED: learned, sub-pixel"),
    "disk": ExtractorEntry(_disk, ("disk",), "Apache-2.0", "slow", "DISK: learned, dense in texture"),
    "sift": ExtractorEntry(_sift, (), "Apache-2.0", "medium", "SIFT of OpenCV: classical, sub-pixel; on the CPU"),
}
"""Every extractor, by name."""


def create_extractor(name: str, compute: Compute, options: ExtractorOptions | None = None) -> Extractor:
    """An extractor by name, ready to run.

    Raises:
        UsageError: there is none of that name.
        DependencyError: its weights are not here.
        FormatError: its weights are not the published ones.
    """
    if name not in EXTRACTORS:
        raise UsageError(f"no extractor is called '{name}': one of {', '.join(EXTRACTORS)}")
    return EXTRACTORS[name].build(compute, options or ExtractorOptions())
