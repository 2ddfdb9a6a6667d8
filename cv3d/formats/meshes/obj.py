"""Wavefront OBJ, with its MTL file and picture where there is a texture.

The format knows neither units nor which axis is up: vertices are cv3d's world, metres. Colours of vertices follow their
position as three numbers from 0 to 1, sRGB, as MeshLab and Open3D read them. Indices count from 1. A texture's second
coordinate goes up from the lower edge of the picture.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cv3d.errors import FormatError, InputError
from cv3d.formats.atomic import atomic_write_bytes, atomic_write_text
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.texture import Texture

_JPEG_QUALITY = 92


def write_obj(path: Path, mesh: Mesh, texture: Texture | None = None) -> tuple[Path, ...]:
    """Write a mesh, and beside it NAME.mtl and NAME.jpg where it has a texture.

    Raises:
        OutputError: a file cannot be written.
    """
    lines = ["# metres"]
    if mesh.colors is None or texture is not None:
        lines += [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in mesh.vertices.tolist()]
    else:
        rows = np.concatenate([mesh.vertices, mesh.colors / np.float32(255.0)], axis=1).tolist()
        lines += [f"v {x:.9g} {y:.9g} {z:.9g} {r:.4f} {g:.4f} {b:.4f}" for x, y, z, r, g, b in rows]
    if mesh.normals is not None:
        lines += [f"vn {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.normals.tolist()]
    files: tuple[Path, ...] = (path,)
    if texture is not None:
        files += _write_material(path, texture)
        lines.insert(1, f"mtllib {files[1].name}")
        flat = texture.corners.reshape(-1, 2).tolist()
        lines += [f"vt {u:.7f} {1.0 - v:.7f}" for u, v in flat]
        lines.append("usemtl surface")
    lines += _faces(mesh, texture)
    if not len(mesh.triangles):
        lines += [f"p {i}" for i in range(1, len(mesh.vertices) + 1)]
    atomic_write_text(path, "\n".join(lines) + "\n")
    return files


def _faces(mesh: Mesh, texture: Texture | None) -> list[str]:
    rows = (mesh.triangles.astype(np.int64) + 1).tolist()
    if texture is None:
        if mesh.normals is None:
            return [f"f {a} {b} {c}" for a, b, c in rows]
        return [f"f {a}//{a} {b}//{b} {c}//{c}" for a, b, c in rows]
    if mesh.normals is None:
        return [f"f {a}/{3 * i + 1} {b}/{3 * i + 2} {c}/{3 * i + 3}" for i, (a, b, c) in enumerate(rows)]
    return [f"f {a}/{3 * i + 1}/{a} {b}/{3 * i + 2}/{b} {c}/{3 * i + 3}/{c}" for i, (a, b, c) in enumerate(rows)]


def _write_material(path: Path, texture: Texture) -> tuple[Path, Path]:
    material, picture = path.with_suffix(".mtl"), path.with_suffix(".jpg")
    stream = io.BytesIO()
    Image.fromarray(texture.picture).save(stream, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    atomic_write_bytes(picture, stream.getvalue())
    # Illumination model 1 without a specular part: the picture holds the light as it was.
    atomic_write_text(material, f"newmtl surface\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {picture.name}\n")
    return material, picture


def read_obj(path: Path) -> Mesh:
    """The mesh of a file: its polygons cut into fans, all of its groups together.

    The normal of a vertex that has several is their mean. Colours are kept where every vertex has one.

    Raises:
        InputError: the file cannot be read.
        FormatError: it holds no vertices, or a line of it is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    by_kind: dict[str, list[str]] = {"v": [], "vn": [], "f": []}
    for line in text.replace("\\\n", " ").splitlines():
        kind, _, rest = line.strip().partition(" ")
        if kind in by_kind:
            values = rest.partition("#")[0]
            if kind == "f" and "-" in values:
                values = _counted_from_one(values, len(by_kind["v"]), len(by_kind["vn"]))
            by_kind[kind].append(values)
    vertices = _table(by_kind["v"], path, "v", (3, 4, 6, 7))
    if not len(vertices):
        raise FormatError(f"{path}: holds no vertices")
    directions = _table(by_kind["vn"], path, "vn", (3,))
    triangles, normal_index = _triangles(by_kind["f"], path, len(vertices), len(directions))
    colors = None
    if vertices.shape[1] >= 6:
        colors = np.clip(np.round(255.0 * vertices[:, 3:6]), 0, 255).astype(np.uint8)
    normals = None
    if normal_index is not None:
        sums = np.zeros((len(vertices), 3))
        np.add.at(sums, triangles.ravel(), directions[normal_index.ravel()])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        normals = (sums / np.where(lengths > 0.0, lengths, 1.0)).astype(np.float32)
    elif not len(triangles) and len(directions) == len(vertices):
        normals = directions.astype(np.float32)
    return Mesh(vertices[:, :3].astype(np.float32), triangles, normals, colors)


def _table(lines: list[str], path: Path, kind: str, widths: tuple[int, ...]) -> NDArray[np.float64]:
    """The numbers of all lines of a kind, (n, width of the first)."""
    if not lines:
        return np.zeros((0, widths[0]))
    width = len(lines[0].split())
    try:
        values = np.array(" ".join(lines).split(), np.float64)
    except ValueError as error:
        raise FormatError(f"{path}: a line of '{kind}' is not all numbers: {error}") from error
    if width not in widths or values.size != width * len(lines):
        raise FormatError(f"{path}: its lines of '{kind}' have not all the same number of values")
    if not np.isfinite(values).all():
        raise FormatError(f"{path}: a line of '{kind}' is not finite")
    return values.reshape(-1, width)


def _triangles(
    lines: list[str], path: Path, vertices: int, normals: int
) -> tuple[NDArray[np.int32], NDArray[np.int64] | None]:
    """Triangles (m, 3), and the index of the normal of each of their corners, (m, 3), where all have one."""
    if not lines:
        return np.zeros((0, 3), np.int32), None
    corners = [line.split() for line in lines]
    fans = [(face[0], face[i], face[i + 1]) for face in corners for i in range(1, len(face) - 1)]
    if any(len(face) < 3 for face in corners):
        raise FormatError(f"{path}: a face has fewer than three corners")
    parts = [corner.split("/") for fan in fans for corner in fan]
    try:
        index = np.array([int(part[0]) for part in parts], np.int64)
        has_normals = normals > 0 and all(len(part) == 3 and part[2] for part in parts)
        directions = np.array([int(part[2]) for part in parts], np.int64) if has_normals else None
    except ValueError as error:
        raise FormatError(f"{path}: a face's corner is no index: {error}") from error
    faces = _from_zero(index, vertices, path, "vertex").astype(np.int32).reshape(-1, 3)
    if directions is None:
        return faces, None
    return faces, _from_zero(directions, normals, path, "normal").reshape(-1, 3)


def _counted_from_one(face: str, vertices: int, normals: int) -> str:
    """A face whose negative indices, which count back from the last line above it, count from the first one."""
    counts = (vertices, 0, normals)

    def corner(text: str) -> str:
        parts = text.split("/")
        return "/".join(
            str(int(part) + count + 1) if part.startswith("-") and part[1:].isdigit() else part
            for part, count in zip(parts, counts, strict=False)
        )

    return " ".join(map(corner, face.split()))


def _from_zero(index: NDArray[np.int64], count: int, path: Path, what: str) -> NDArray[np.int64]:
    shifted = index - 1
    if (shifted < 0).any() or (shifted >= count).any():
        raise FormatError(f"{path}: a face names a {what} beyond the {count} that there are")
    return shifted
