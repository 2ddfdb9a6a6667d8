"""Reading and writing a mesh by the ending of its file's name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from cv3d.errors import FormatError, InputError, UsageError
from cv3d.formats.meshes.up import Up
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.texture import Texture


@dataclass(frozen=True)
class MeshFormat:
    """A file format of meshes; its module has `read_X(path)` and `write_X(path, mesh, …)`."""

    module: str
    name: str
    takes_texture: bool
    """Whether a picture can be laid over the triangles."""
    has_up: bool
    """Whether it prescribes which axis is up."""

    def function(self, verb: str) -> Callable[..., Any]:
        """Its `read` or `write`."""
        function: Callable[..., Any] = getattr(import_module(self.module), f"{verb}_{self.name}")
        return function


MESH_FORMATS: dict[str, MeshFormat] = {
    ".ply": MeshFormat("cv3d.formats.ply", "ply", takes_texture=False, has_up=False),
    ".obj": MeshFormat("cv3d.formats.meshes.obj", "obj", takes_texture=True, has_up=False),
    ".glb": MeshFormat("cv3d.formats.meshes.glb", "glb", takes_texture=True, has_up=True),
    ".usdz": MeshFormat("cv3d.formats.meshes.usdz", "usdz", takes_texture=True, has_up=True),
}
"""Every format of meshes, by the ending of its files."""
MESH_SUFFIXES = tuple(MESH_FORMATS)


def read_mesh(path: str | os.PathLike[str]) -> Mesh:
    """The mesh or point cloud of a file; its format goes by the ending of its name.

    Colours that lie in a texture are not read.

    Raises:
        InputError: the file cannot be read.
        FormatError: its name ends otherwise, or it holds something else or nothing.
        DependencyError: USDZ without the package that reads it.
    """
    place = Path(path)
    if not place.is_file():
        raise InputError(f"{place}: no such file" if not place.is_dir() else f"{place}: is a folder, not a mesh")
    known = MESH_FORMATS.get(place.suffix.lower())
    if known is None:
        raise FormatError(f"{place}: is no mesh that cv3d reads: {', '.join(MESH_SUFFIXES)}")
    mesh: Mesh = known.function("read")(place)
    return mesh


def write_mesh(
    path: str | os.PathLike[str], mesh: Mesh, texture: Texture | None = None, up: Up = Up.MINUS_Y
) -> tuple[Path, ...]:
    """Write a mesh or point cloud in the format that the ending of the name says.

    Args:
        path: a .ply, .obj, .glb or .usdz file.
        mesh: in cv3d's world, metres; without triangles, a point cloud.
        texture: a picture over its triangles, which takes the place of the vertices' colours; not in PLY.
        up: what is up in GLB and USDZ. PLY and OBJ prescribe no axis and hold the world as it is.

    Returns:
        The files written: an OBJ with a texture has two more beside it.

    Raises:
        UsageError: the name ends otherwise, or a PLY shall have a texture.
        OutputError: the file cannot be written.
        DependencyError: USDZ without the package that writes it.
    """
    place = Path(path)
    known = MESH_FORMATS.get(place.suffix.lower())
    if known is None:
        raise UsageError(f"{place}: a mesh is written as {', '.join(MESH_SUFFIXES)}")
    options: dict[str, object] = {"up": up} if known.has_up else {}
    if texture is not None:
        if not known.takes_texture:
            raise UsageError(f"{place}: {place.suffix[1:].upper()} has no textures here; write OBJ, GLB or USDZ")
        options["texture"] = texture
    files = known.function("write")(place, mesh, **options)
    return tuple(files) if isinstance(files, tuple) else (place,)
