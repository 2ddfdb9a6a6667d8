"""Writing glTF 2.0 in its binary form (Khronos Group, glTF 2.0 specification, 2021).

glTF is right-handed, metres, y up, and shows a model's +z side first. Vertices are cv3d's world as it is; the node
above the mesh turns them up, and its `extras` name the axis, so that reading gives the world back. Colours of vertices
are linear light, 16 bits, which keeps all 8 bits of sRGB apart. What has colours or a texture is marked
`KHR_materials_unlit`: light is in the pictures already, and a viewer adds no second one.
"""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import cv3d
from cv3d.formats.atomic import atomic_write_bytes
from cv3d.formats.meshes.colours import linear_from_srgb
from cv3d.formats.meshes.glb_reading import read_glb
from cv3d.formats.meshes.up import Up
from cv3d.formats.meshes.wedges import split_at_seams
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.texture import Texture

__all__ = ["read_glb", "write_glb"]

_MAGIC, _VERSION, _JSON, _BIN = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
_FLOAT, _USHORT, _UINT = 5126, 5123, 5125
_VERTICES, _INDICES = 34962, 34963
_POINTS, _TRIANGLES = 0, 4
_JPEG_QUALITY = 92
_HALF = 0.5**0.5
_QUAT_XYZW: dict[Up, list[float]] = {
    Up.MINUS_Y: [1.0, 0.0, 0.0, 0.0],
    Up.PLUS_Z: [-_HALF, 0.0, 0.0, _HALF],
    Up.PLUS_Y: [0.0, 0.0, 0.0, 1.0],
}
"""The turns of :func:`cv3d.formats.meshes.up.y_up_from_world`; glTF has the real part last."""


class _Buffer:
    """The binary chunk as it grows, with the views and accessors into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, object]] = []
        self.accessors: list[dict[str, object]] = []

    def view(self, content: bytes, target: int | None = None) -> int:
        """Append bytes, aligned to 4; the number of their view."""
        view: dict[str, object] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        if target is not None:
            view["target"] = target
        self.data += content + b"\0" * (-len(content) % 4)
        self.views.append(view)
        return len(self.views) - 1

    def accessor(self, values: NDArray[np.generic], component: int, kind: str, target: int, **more: object) -> int:
        """Append an array; the number of its accessor."""
        view = self.view(values.tobytes(), target)
        self.accessors.append(
            {"bufferView": view, "componentType": component, "count": len(values), "type": kind, **more}
        )
        return len(self.accessors) - 1


def write_glb(path: Path, mesh: Mesh, texture: Texture | None = None, up: Up = Up.MINUS_Y) -> None:
    """Write a mesh or point cloud.

    Args:
        path: of the file.
        mesh: metres.
        texture: a picture over its triangles, in the place of its vertices' colours.
        up: the axis of the mesh's world that shall be up.

    Raises:
        OutputError: the file cannot be written.
    """
    buffer = _Buffer()
    material: dict[str, object] = {
        "doubleSided": True,
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
    }
    document: dict[str, object] = {
        "asset": {"version": "2.0", "generator": f"cv3d {cv3d.__version__}"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "rotation": _QUAT_XYZW[up], "extras": {"up": up.value}}],
        "materials": [material],
    }
    if texture is not None:
        mesh, coordinates = split_at_seams(mesh, texture)
        material["pbrMetallicRoughness"] = {
            "baseColorTexture": {"index": 0},
            "metallicFactor": 0.0,
            "roughnessFactor": 1.0,
        }
        stream = io.BytesIO()
        Image.fromarray(texture.picture).save(stream, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        document["images"] = [{"bufferView": buffer.view(stream.getvalue()), "mimeType": "image/jpeg"}]
        document["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
        document["textures"] = [{"source": 0, "sampler": 0}]
    attributes = _attributes(buffer, mesh)
    if texture is not None:
        attributes["TEXCOORD_0"] = buffer.accessor(coordinates.astype("<f4"), _FLOAT, "VEC2", _VERTICES)
    if texture is not None or mesh.colors is not None:
        material["extensions"] = {"KHR_materials_unlit": {}}
        document["extensionsUsed"] = ["KHR_materials_unlit"]
    primitive: dict[str, object] = {"attributes": attributes, "material": 0, "mode": _POINTS}
    if len(mesh.triangles):
        is_small = len(mesh.vertices) < 65535
        indices = mesh.triangles.reshape(-1).astype("<u2" if is_small else "<u4")
        primitive["mode"] = _TRIANGLES
        primitive["indices"] = buffer.accessor(indices, _USHORT if is_small else _UINT, "SCALAR", _INDICES)
    document["meshes"] = [{"primitives": [primitive]}]
    document["bufferViews"], document["accessors"] = buffer.views, buffer.accessors
    document["buffers"] = [{"byteLength": len(buffer.data)}]
    atomic_write_bytes(path, _container(document, bytes(buffer.data)))


def _attributes(buffer: _Buffer, mesh: Mesh) -> dict[str, int]:
    positions = mesh.vertices.astype("<f4")
    bounds = {}
    if len(positions):
        bounds = {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
    attributes = {"POSITION": buffer.accessor(positions, _FLOAT, "VEC3", _VERTICES, **bounds)}
    if mesh.normals is not None:
        attributes["NORMAL"] = buffer.accessor(mesh.normals.astype("<f4"), _FLOAT, "VEC3", _VERTICES)
    if mesh.colors is not None:
        # Four values, the last for opacity: three of 16 bits would not be aligned to 4 bytes.
        light = np.full((len(mesh.colors), 4), 65535, "<u2")
        light[:, :3] = np.round(65535.0 * linear_from_srgb(mesh.colors))
        attributes["COLOR_0"] = buffer.accessor(light, _USHORT, "VEC4", _VERTICES, normalized=True)
    return attributes


def _container(document: dict[str, object], binary: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(binary)
    head = struct.pack("<III", _MAGIC, _VERSION, total)
    return head + struct.pack("<II", len(text), _JSON) + text + struct.pack("<II", len(binary), _BIN) + binary
