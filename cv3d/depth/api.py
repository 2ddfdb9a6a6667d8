"""Dense depth of a source of posed pictures: what the command does, as one function."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import cv3d
from cv3d.compute import Compute
from cv3d.depth.options import DepthOptions
from cv3d.depth.posed import PosedSet
from cv3d.depth.result import DepthResult
from cv3d.depth.sources import read_posed_source
from cv3d.depth.store import DepthStore
from cv3d.geometry.cameras.camera import Camera
from cv3d.progress import SILENT, Progress

WORK_FOLDER = "work"
"""Within an output folder: matches of pictures, and maps as far as they have come."""
_MATCHES, _MAPS = "matches", "maps"


@dataclass(frozen=True, eq=False)
class SourceDepth:
    """The depth of a source, and what it was found from."""

    result: DepthResult
    posed: PosedSet


def depth(
    source: str | Path,
    output: str | Path | None = None,
    *,
    options: DepthOptions | None = None,
    camera: Camera | None = None,
    images: str | Path | None = None,
    compute: Compute | None = None,
    progress: Progress = SILENT,
) -> DepthResult:
    """A depth map of every picture of a source; see :func:`depth_of`, which gives the posed pictures as well."""
    return depth_of(
        source, output, options=options, camera=camera, images=images, compute=compute, progress=progress
    ).result


def depth_of(
    source: str | Path,
    output: str | Path | None = None,
    *,
    options: DepthOptions | None = None,
    camera: Camera | None = None,
    images: str | Path | None = None,
    compute: Compute | None = None,
    progress: Progress = SILENT,
) -> SourceDepth:
    """A depth map of every picture of a source, and the posed pictures that it was found from.

    Args:
        source: a folder of `cv3d reconstruct`, a project or dense workspace of COLMAP, or a folder with transforms.json
            or Strecha's `.camera` files.
        output: the folder that keeps matches and maps as far as they have come, for a later run to go on from; None:
            nothing is kept.
        options: how depth is estimated; None: the default.
        camera: of all pictures, instead of the source's own.
        images: where the pictures are; None: where the source has them.
        compute: where dense work runs; the best device of this machine by default.
        progress: told of every stage.

    Raises:
        InputError: the source holds no poses or no pictures.
        FormatError: a file holds something else.
        EstimationError: the poses do not fit the pictures, or no two pictures can be compared.
        DependencyError: weights are needed and not here.
        OutputError: what is to be kept cannot be written.
    """
    from cv3d.depth.multi_view import depth_maps

    options, compute = options or DepthOptions(), compute or Compute.choose()
    work = None if output is None else Path(output) / WORK_FOLDER
    began = time.perf_counter()
    found = read_posed_source(
        source,
        camera=camera,
        images=images,
        work=None if work is None else work / _MATCHES,
        seed=options.seed,
        compute=compute,
        progress=progress,
    )
    for warning in found.posed.warnings:
        progress.warn(warning)
    read = time.perf_counter() - began
    keep = None if work is None else DepthStore(work / _MAPS, _digest(options, compute))
    result = depth_maps(found.posed, options=options, compute=compute, progress=progress, keep=keep)
    seconds = {"poses": read, **result.seconds, "total": time.perf_counter() - began}
    warnings = tuple(dict.fromkeys((*found.posed.warnings, *result.warnings)))
    left_out = (*found.left_out, *result.left_out)
    return SourceDepth(replace(result, left_out=left_out, warnings=warnings, seconds=seconds), found.posed)


def forget_maps(output: str | Path) -> None:
    """Remove the maps that :func:`depth_of` keeps on its way, once they are written in their final form."""
    DepthStore(Path(output) / WORK_FOLDER / _MAPS, "").clear()


def _digest(options: DepthOptions, compute: Compute) -> str:
    """Of what all maps of a run depend on."""
    return sha256(repr((cv3d.__version__, options, compute.device.type, compute.dtype)).encode()).hexdigest()
