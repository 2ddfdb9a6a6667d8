"""COLMAP's cameras.bin.

Little-endian: uint64 count, and a camera each of uint32 id, int32 model, uint64 width, uint64 height and its parameters
as float64 (src/colmap/scene/reconstruction_io_binary.cc).
"""

from __future__ import annotations

import struct

from cv3d.errors import FormatError
from cv3d.formats import colmap_models, colmap_rigs
from cv3d.formats.camera_file import CameraFile, ReadOptions, StandIn
from cv3d.formats.content import Content
from cv3d.formats.fields import Fields
from cv3d.geometry.cameras.rig import Rig, RigCamera

MODELS = colmap_models.MODELS
_COUNT = struct.Struct("<Q")
_HEAD = struct.Struct("<IiQQ")
_MAX_SIZE = 1 << 20


def encode(rig: Rig) -> bytes:
    """A cameras.bin."""
    parts = [_COUNT.pack(len(rig.cameras))]
    for camera_id, one in zip(colmap_rigs.camera_ids(rig), rig.cameras, strict=True):
        name, params = colmap_models.to_colmap(one.camera)
        parts.append(_HEAD.pack(camera_id, colmap_models.COLMAP_MODELS[name].id, one.camera.width, one.camera.height))
        parts.append(struct.pack(f"<{len(params)}d", *params))
    return b"".join(parts)


def companions(rig: Rig) -> dict[str, bytes]:
    """The files that belong beside a cameras.bin: rigs.bin, where there are poses to say."""
    return {colmap_rigs.BINARY_FILE: colmap_rigs.to_binary(rig)} if len(rig.cameras) > 1 and rig.is_posed else {}


def looks_like(data: bytes) -> bool:
    """Whether the first camera makes sense as one."""
    if len(data) < _COUNT.size + _HEAD.size:
        return False
    count: int = _COUNT.unpack_from(data)[0]
    model: int
    width: int
    height: int
    _, model, width, height = _HEAD.unpack_from(data, _COUNT.size)
    return 0 < count <= len(data) and 0 <= model < 64 and 0 < width < _MAX_SIZE and 0 < height < _MAX_SIZE


def decode(content: Content, options: ReadOptions) -> CameraFile:
    """All cameras, named by their ids; their poses, where a rigs.bin beside it has them.

    Raises:
        FormatError: the file is cut off or longer than it says, or cv3d does not have a model.
    """
    data, fields = content.data, Fields({}, content.source)
    if len(data) < _COUNT.size:
        fields.fail("is no cameras.bin, or cut off: it is shorter than the number of cameras")
    (count,) = _COUNT.unpack_from(data)
    offset = _COUNT.size
    cameras: list[RigCamera] = []
    stand_ins: dict[str, StandIn] = {}
    ids: set[int] = set()
    for index in range(count):
        if len(data) < offset + _HEAD.size:
            fields.fail(f"is cut off, or no cameras.bin: it should hold {count} cameras and ends in number {index + 1}")
        camera_id, model_id, width, height = _HEAD.unpack_from(data, offset)
        offset += _HEAD.size
        name = colmap_models.NAME_OF_ID.get(model_id, f"with the number {model_id}")
        params_struct = struct.Struct(f"<{colmap_models.known_model(name, fields).param_count}d")
        if len(data) < offset + params_struct.size:
            fields.fail(f"is cut off in the parameters of camera {camera_id}")
        numbers = Fields({"PARAMS": list(params_struct.unpack_from(data, offset))}, content.source).numbers("PARAMS")
        offset += params_struct.size
        camera, stand_in = colmap_models.from_colmap(
            name, width, height, numbers, fields, f"{content.source}, camera {camera_id}", options
        )
        if camera_id in ids:
            fields.fail(f"camera {camera_id} is there twice")
        ids.add(camera_id)
        cameras.append(RigCamera(str(camera_id), camera))
        if stand_in is not None:
            stand_ins[str(camera_id)] = stand_in
    if offset != len(data):
        raise FormatError(f"{content.source}: holds {len(data) - offset} bytes more than its {count} cameras take")
    if not cameras:
        fields.fail("holds no camera")
    return CameraFile(colmap_rigs.posed(cameras, content.beside(colmap_rigs.BINARY_FILE)), "colmap-bin", stand_ins)
