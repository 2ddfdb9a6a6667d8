"""Reading glTF 2.0 in its binary form; see :mod:`cv3d.formats.meshes.glb` for its conventions."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.formats.meshes.colours import srgb_from_linear
from cv3d.formats.meshes.up import Up, y_up_from_world
from cv3d.geometry.mesh import Mesh

_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6


def read_glb(path: Path) -> Mesh:
    """All meshes and points of a file's scene as one, in cv3d's world.

    A file that cv3d wrote comes back in the world it was in; of others the scene's y axis becomes cv3d's -y. Colours
    that lie in a texture are not read.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no glTF 2.0, needs an extension (as compressed ones do), or holds no vertices.
    """
    scene = _Scene(path)
    parts: list[_Part] = []
    up: Up | None = None
    for number in scene.roots():
        up = up or _up_of(scene.document["nodes"][number])
        parts += scene.parts(number, np.eye(4), 0)
    if not sum(len(part.vertices) for part in parts):
        raise FormatError(f"{path}: holds no vertices")
    world_from_scene = y_up_from_world(up or Up.MINUS_Y).T
    return _joined(parts, world_from_scene)


class _Part:
    """One primitive, in the frame of the scene."""

    def __init__(
        self,
        vertices: NDArray[np.float64],
        triangles: NDArray[np.int64],
        normals: NDArray[np.float64] | None,
        colors: NDArray[np.uint8] | None,
    ) -> None:
        self.vertices, self.triangles, self.normals, self.colors = vertices, triangles, normals, colors


class _Scene:
    """A parsed file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
        if len(data) < 20 or data[:4] != b"glTF":
            raise FormatError(f"{path}: is no binary glTF")
        version, total = struct.unpack_from("<II", data, 4)
        if version != 2:
            raise FormatError(f"{path}: is glTF {version}; cv3d reads glTF 2")
        if total > len(data):
            raise FormatError(f"{path}: is cut off: {len(data)} of {total} bytes")
        chunks: dict[int, bytes] = {}
        at = 12
        while at + 8 <= total:
            length, kind = struct.unpack_from("<II", data, at)
            chunks.setdefault(kind, data[at + 8 : at + 8 + length])
            at += 8 + length
        try:
            self.document: dict[str, Any] = json.loads(chunks[0x4E4F534A])
        except (KeyError, ValueError) as error:
            raise FormatError(f"{path}: its JSON chunk cannot be read") from error
        self.binary = chunks.get(0x004E4942, b"")
        needed = [one for one in self.document.get("extensionsRequired", []) if one != "KHR_materials_unlit"]
        if needed:
            raise FormatError(f"{path}: needs {', '.join(needed)}, which cv3d does not read; export it uncompressed")

    def roots(self) -> list[int]:
        scenes = self.document.get("scenes") or [{"nodes": list(range(len(self.document.get("nodes", []))))}]
        return list(scenes[self.document.get("scene", 0)].get("nodes", []))

    def parts(self, number: int, scene_from_parent: NDArray[np.float64], depth: int) -> list[_Part]:
        """What a node and those below it hold."""
        if depth > 64:
            raise FormatError(f"{self.path}: its nodes contain one another")
        try:
            node = self.document["nodes"][number]
            scene_from_node = scene_from_parent @ _matrix_of(node)
            found = []
            if "mesh" in node:
                for primitive in self.document["meshes"][node["mesh"]]["primitives"]:
                    part = self._part(primitive, scene_from_node)
                    found += [] if part is None else [part]
            children = node.get("children", [])
        except (KeyError, IndexError, TypeError, ValueError, struct.error) as error:
            raise FormatError(f"{self.path}: node {number} cannot be read: {error!r}") from error
        for child in children:
            found += self.parts(child, scene_from_node, depth + 1)
        return found

    def _part(self, primitive: dict[str, Any], scene_from_node: NDArray[np.float64]) -> _Part | None:
        mode = primitive.get("mode", _TRIANGLES)
        if mode not in (_POINTS, _TRIANGLES, _STRIP, _FAN):
            return None
        attributes = primitive["attributes"]
        positions = self._values(attributes["POSITION"])
        linear = scene_from_node[:3, :3]
        vertices = positions @ linear.T + scene_from_node[:3, 3]
        count = len(vertices)
        index = np.arange(count)
        if "indices" in primitive:
            index = self._values(primitive["indices"]).astype(np.int64).reshape(-1)
        triangles = np.zeros((0, 3), np.int64) if mode == _POINTS else _triangles_of(index, mode)
        if np.linalg.det(linear) < 0.0:
            triangles = triangles[:, ::-1]
        normals = None
        if "NORMAL" in attributes:
            normals = self._values(attributes["NORMAL"]) @ np.linalg.inv(linear)
            normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
        colors = None
        if "COLOR_0" in attributes:
            colors = srgb_from_linear(self._values(attributes["COLOR_0"])[:, :3])
        return _Part(vertices, triangles, normals, colors)

    def _values(self, number: int) -> NDArray[np.float64]:
        """The values of an accessor, (count, width)."""
        accessor = self.document["accessors"][number]
        if "sparse" in accessor:
            raise FormatError(f"{self.path}: has sparse accessors, which cv3d does not read")
        kind, width, count = np.dtype(_TYPES[accessor["componentType"]]), _WIDTHS[accessor["type"]], accessor["count"]
        if "bufferView" not in accessor:
            return np.zeros((count, width))
        view = self.document["bufferViews"][accessor["bufferView"]]
        if view["buffer"] != 0 or "uri" in self.document["buffers"][0]:
            raise FormatError(f"{self.path}: its data lie in another file; export it as one .glb")
        start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        stride = view.get("byteStride", kind.itemsize * width)
        if count and start + stride * (count - 1) + kind.itemsize * width > len(self.binary):
            raise FormatError(f"{self.path}: an accessor reaches beyond the data")
        raw: NDArray[Any] = np.ndarray((count, width), kind, self.binary, start, (stride, kind.itemsize))
        values = raw.astype(np.float64)
        if accessor.get("normalized") and kind.kind in "iu":
            values = np.maximum(values / np.iinfo(kind).max, -1.0)
        return values


def _up_of(node: dict[str, Any]) -> Up | None:
    extras = node.get("extras")
    named = extras.get("up") if isinstance(extras, dict) else None
    return Up(named) if named in tuple(Up) else None


def _matrix_of(node: dict[str, Any]) -> NDArray[np.float64]:
    """parent_from_node, (4, 4)."""
    from scipy.spatial.transform import Rotation

    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    turn = Rotation.from_quat(node.get("rotation", [0.0, 0.0, 0.0, 1.0])).as_matrix()
    matrix[:3, :3] = turn * np.array(node.get("scale", [1.0, 1.0, 1.0]))
    matrix[:3, 3] = node.get("translation", [0.0, 0.0, 0.0])
    return matrix


def _triangles_of(index: NDArray[np.int64], mode: int) -> NDArray[np.int64]:
    if mode == _TRIANGLES:
        return index[: len(index) // 3 * 3].reshape(-1, 3)
    if mode == _FAN:
        return np.stack([np.full(max(len(index) - 2, 0), index[0]), index[1:-1], index[2:]], axis=1)
    strip = np.stack([index[:-2], index[1:-1], index[2:]], axis=1)
    strip[1::2] = strip[1::2, [1, 0, 2]]
    return strip


def _joined(parts: list[_Part], world_from_scene: NDArray[np.float64]) -> Mesh:
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices = np.concatenate([part.vertices for part in parts]) @ world_from_scene.T
    shifted = [part.triangles + start for part, start in zip(parts, starts[:-1].tolist(), strict=True)]
    normals = [part.normals for part in parts if part.normals is not None]
    colors = [part.colors for part in parts if part.colors is not None]
    return Mesh(
        vertices.astype(np.float32),
        np.concatenate(shifted).astype(np.int32),
        (np.concatenate(normals) @ world_from_scene.T).astype(np.float32) if len(normals) == len(parts) else None,
        np.concatenate(colors) if len(colors) == len(parts) else None,
    )
