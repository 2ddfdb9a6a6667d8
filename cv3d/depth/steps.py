"""What is done on the way to depth maps, in files, so that an interrupted run goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cv3d.depth.options import DepthOptions
from cv3d.depth.posed import PosedSet
from cv3d.errors import FormatError
from cv3d.formats.array_file import read_arrays, write_arrays

_SCHEMA = "cv3d.depth_step/1"


class Steps:
    """Planes and costs of each view after each step; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, digest: str) -> None:
        self._folder, self._digest = folder, digest

    def load(self, step: str, view: int) -> tuple[Tensor, Tensor] | None:
        """Planes (3, h, w) and costs (h, w); None where they are not there, of another set, or harmed."""
        if self._folder is None:
            return None
        try:
            kept = read_arrays(self._path(step, view), _SCHEMA)
        except FormatError:
            return None
        if kept is None or kept.about.get("digest") != self._digest:
            return None
        return torch.from_numpy(kept.arrays["planes"]), torch.from_numpy(kept.arrays["costs"])

    def has(self, step: str, views: Iterable[int]) -> bool:
        """Whether a step of any of the views is kept, of whatever set."""
        return self._folder is not None and any(self._path(step, view).exists() for view in views)

    def save(self, step: str, view: int, planes: Tensor, costs: Tensor) -> None:
        """Keep what a step has found.

        Raises:
            OutputError: it cannot be written.
        """
        if self._folder is not None:
            arrays = {"planes": planes.cpu().numpy(), "costs": costs.cpu().numpy()}
            write_arrays(self._path(step, view), _SCHEMA, {"digest": self._digest}, arrays)

    def forget(self, step: str, count: int) -> None:
        """Drop a step of all views, once a later one has taken its place."""
        if self._folder is not None:
            for view in range(count):
                self._path(step, view).unlink(missing_ok=True)

    def clear(self) -> None:
        """Drop everything."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, step: str, view: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{step}_{view:05d}.bin"


def set_digest(posed: PosedSet, options: DepthOptions, device: str) -> str:
    """SHA-256, in hex, of everything that the depth of a set depends on.

    Raises:
        PictureError: a picture cannot be read.
    """
    known = sha256(repr((options, device)).encode("utf-8"))
    for view in posed.views:
        known.update(f"{view.picture.name} {view.picture.digest()} {view.camera.as_dict()}".encode())
        known.update(np.ascontiguousarray(view.cam_from_world).tobytes())
        known.update(np.ascontiguousarray(view.points).tobytes())
    known.update(np.ascontiguousarray(posed.points).tobytes())
    return known.hexdigest()
