"""Finished depth maps in files, so that an interrupted run keeps them and the next one does not compute them again."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

from cv3d.depth.result import DepthMap
from cv3d.errors import Cv3dError, FormatError
from cv3d.formats.array_file import read_arrays, write_arrays
from cv3d.geometry.cameras.camera import Camera

SCHEMA = "cv3d.depth_map/1"
_ARRAYS = ("cam_from_world", "depth", "confidence", "color")
_NAME_DIGITS = 24


class DepthStore:
    """A folder with a file for each map.

    A map is known by its picture's name and two digests: the store's, of what all maps depend on, and its own.
    """

    def __init__(self, folder: str | Path, digest: str) -> None:
        """Keep maps in a folder, which is made when the first one is saved.

        Args:
            folder: it holds nothing else.
            digest: of what all maps depend on: options, device, version.
        """
        self.folder = Path(folder)
        self.digest = digest

    def load(self, name: str, digest: str) -> DepthMap | None:
        """The map of a picture; None where none is kept, or one of other digests, or where its file is harmed.

        Args:
            name: the picture's.
            digest: of what this map depends on: its picture, its neighbours, the poses.
        """
        try:
            kept = read_arrays(self._path(name), SCHEMA)
        except FormatError:
            # What it held is computed again, and replaces it.
            return None
        if kept is None or kept.about.get("name") != name or kept.about.get("digests") != [self.digest, digest]:
            return None
        try:
            camera = Camera.from_dict(kept.about["camera"])
            pose, depth, confidence, color = (kept.arrays[array] for array in _ARRAYS)
        except (KeyError, Cv3dError):
            return None
        return DepthMap(name, camera, pose, depth, confidence, color)

    def save(self, map: DepthMap, digest: str) -> None:
        """Keep a map; one of the same picture that was there is replaced.

        Args:
            map: finished.
            digest: of what it depends on.

        Raises:
            OutputError: it cannot be written, such as on a full disk.
        """
        about = {"name": map.name, "digests": [self.digest, digest], "camera": map.camera.as_dict()}
        write_arrays(self._path(map.name), SCHEMA, about, {name: getattr(map, name) for name in _ARRAYS})

    def clear(self) -> None:
        """Remove the folder: once the results are written, nobody needs it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        # Names of pictures have slashes and more that a file name cannot have.
        return self.folder / f"{sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:_NAME_DIGITS]}.depth"
