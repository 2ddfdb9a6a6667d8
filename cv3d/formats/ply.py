"""Meshes and point clouds as PLY files.

A vertex has x, y, z, perhaps nx, ny, nz and red, green, blue; a face a list `vertex_indices`, by older tools called
`vertex_index`; an edge, which only drawings have, `vertex1` and `vertex2`. Written are little-endian float32 and
uchar, and no element of faces for a point cloud. Read is whatever PLY knows, text too; a polygon becomes a fan of
triangles, and edges and properties of other names are passed over.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.formats.atomic import atomic_write_bytes
from cv3d.formats.ply_elements import Columns, Row, read_elements
from cv3d.geometry.mesh import Mesh

_POSITION = ("x", "y", "z")
_NORMAL = ("nx", "ny", "nz")
_COLOR = ("red", "green", "blue")
_FACES = ("vertex_indices", "vertex_index")
_TYPE_NAMES = {"<f4": "float", "|u1": "uchar"}


def read_ply(path: str | os.PathLike[str]) -> Mesh:
    """The mesh of a file; one without faces is a point cloud.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no PLY file, is cut off, or has no vertices with x, y and z.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    return decode(data, str(path))


def write_ply(path: str | os.PathLike[str], mesh: Mesh, edges: NDArray[np.int32] | None = None) -> None:
    """Write a mesh, or a point cloud where it has no triangles.

    Args:
        path: the file.
        mesh: vertices and triangles.
        edges: lines between vertices, (k, 2); they are drawn by what shows lines, such as Open3D's line sets.

    Raises:
        OutputError: the file cannot be written.
    """
    atomic_write_bytes(path, encode(mesh, edges))


def encode(mesh: Mesh, edges: NDArray[np.int32] | None = None) -> bytes:
    """The content of a file; arguments as of :func:`write_ply`."""
    columns: list[tuple[str, str]] = [(name, "<f4") for name in _POSITION]
    if mesh.normals is not None:
        columns += [(name, "<f4") for name in _NORMAL]
    if mesh.colors is not None:
        columns += [(name, "|u1") for name in _COLOR]
    vertices = np.empty(len(mesh.vertices), np.dtype(columns))
    for names, values in ((_POSITION, mesh.vertices), (_NORMAL, mesh.normals), (_COLOR, mesh.colors)):
        for axis, name in enumerate(names):
            if values is not None:
                vertices[name] = values[:, axis]
    lines = ["ply", "format binary_little_endian 1.0", "comment written by cv3d", f"element vertex {len(vertices)}"]
    lines += [f"property {_TYPE_NAMES[type_]} {name}" for name, type_ in columns]
    faces = np.empty(len(mesh.triangles), np.dtype([("count", "|u1"), ("indices", "<i4", (3,))]))
    faces["count"], faces["indices"] = 3, mesh.triangles
    if len(faces):
        lines += [f"element face {len(faces)}", f"property list uchar int {_FACES[0]}"]
    drawn = np.ascontiguousarray(edges if edges is not None else np.zeros((0, 2)), "<i4")
    if len(drawn):
        lines += [f"element edge {len(drawn)}", "property int vertex1", "property int vertex2"]
    return b"".join(
        ["\n".join([*lines, "end_header\n"]).encode("ascii"), vertices.tobytes(), faces.tobytes(), drawn.tobytes()]
    )


def decode(data: bytes, source: str) -> Mesh:
    """The mesh of a file's content; `source` is how messages call it.

    Raises:
        FormatError: it is no PLY file, is cut off, or has no vertices with x, y and z.
    """
    elements = read_elements(data, source)
    vertex: Columns = elements.get("vertex", {})
    vertices = _three(vertex, _POSITION)
    if vertices is None:
        raise FormatError(f"{source}: has no vertices with x, y and z")
    normals = _three(vertex, _NORMAL)
    try:
        return Mesh(
            vertices.astype(np.float32),
            _triangles(elements.get("face", {})),
            None if normals is None else normals.astype(np.float32),
            _colors(vertex, source),
        )
    except FormatError:
        raise
    except InputError as error:
        raise FormatError(f"{source}: {error}") from error


def _three(vertex: Columns, names: tuple[str, str, str]) -> NDArray[np.generic] | None:
    """Three columns beside each other, (n, 3); None where one is missing or a list."""
    columns = [column for name in names if isinstance(column := vertex.get(name), np.ndarray) and column.ndim == 1]
    return np.stack(columns, axis=1) if len(columns) == len(names) else None


def _colors(vertex: Columns, source: str) -> NDArray[np.uint8] | None:
    """Bytes as they are; floating point from 0 to 1."""
    colors = _three(vertex, _COLOR)
    if colors is None or colors.dtype == np.uint8:
        return cast("NDArray[np.uint8] | None", colors)
    shares = colors.astype(np.float64)
    if colors.dtype.kind != "f" or not ((shares >= 0.0) & (shares <= 1.0)).all():
        raise FormatError(f"{source}: its colours are neither bytes nor numbers from 0 to 1")
    return np.round(255.0 * shares).astype(np.uint8)


def _triangles(face: Columns) -> NDArray[np.int32]:
    """All polygons as fans around their first corner, (m, 3); what has less than three corners is no face."""
    polygons = next((face[name] for name in _FACES if name in face), None)
    if polygons is None or not len(polygons):
        return np.zeros((0, 3), np.int32)
    if isinstance(polygons, np.ndarray):
        return _fans(polygons.reshape(len(polygons), -1))
    by_length: dict[int, list[int]] = {}
    for index, polygon in enumerate(polygons):
        by_length.setdefault(len(polygon), []).append(index)
    fans = [_fans(np.stack([polygons[index] for index in same])) for same in by_length.values()]
    owners = [np.repeat(same, max(length - 2, 0)) for length, same in by_length.items()]
    # The file's order is kept: a fan stands where its polygon stood.
    order = np.argsort(np.concatenate(owners), kind="stable")
    return np.concatenate(fans)[order]


def _fans(polygons: Row) -> NDArray[np.int32]:
    """Polygons (m, k) of one length as triangles (m (k - 2), 3)."""
    corners = polygons.astype(np.int32)
    if corners.shape[1] < 3:
        return np.zeros((0, 3), np.int32)
    first = np.broadcast_to(corners[:, :1], corners[:, 2:].shape)
    return np.stack([first, corners[:, 1:-1], corners[:, 2:]], axis=-1).reshape(-1, 3)
