"""COLMAP's rigs.txt and rigs.bin, which lie beside its cameras since COLMAP 3.12 and say how these stand to each other.

A text line is "RIG_ID NUM_SENSORS REF_SENSOR_TYPE REF_SENSOR_ID" and for every further sensor "SENSOR_TYPE SENSOR_ID
HAS_POSE [QW QX QY QZ TX TY TZ]": sensor_from_rig, the rig's frame being its reference sensor's. The binary file has the
same, little-endian: uint64 count, uint32 rig id, uint32 number of sensors, each sensor int32 type and uint32 id, uint8
has_pose, float64 numbers (the documentation's "Output format", src/colmap/scene/reconstruction_io_*.cc).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.formats.content import Content
from cv3d.formats.fields import Fields, exact
from cv3d.formats.poses import compose, rotation_from_wxyz, wxyz_from_rotation
from cv3d.geometry.cameras.rig import Rig, RigCamera

TEXT_FILE = "rigs.txt"
BINARY_FILE = "rigs.bin"
_CAMERA = 0
_COUNT = struct.Struct("<Q")
_RIG = struct.Struct("<II")
_SENSOR = struct.Struct("<iI")
_HAS_POSE = struct.Struct("<B")
_POSE = struct.Struct("<7d")

Poses: TypeAlias = Mapping[str, NDArray[np.float64] | None]
"""cam_from_rig (4, 4) by camera id, the reference first; None where it is not known."""


def camera_ids(rig: Rig) -> list[int]:
    """The cameras' names where these are ids, else numbers from 1."""
    names = [one.name for one in rig.cameras]
    are_ids = all(name.isdecimal() and str(int(name)) == name and int(name) < 1 << 32 for name in names)
    return [int(name) for name in names] if are_ids else list(range(1, len(names) + 1))


def to_text(rig: Rig) -> bytes:
    """A rigs.txt of one rig, all of whose poses are known."""
    first, *others = camera_ids(rig)
    words = [f"1 {len(rig.cameras)} CAMERA {first}"]
    for index, camera_id in enumerate(others, start=1):
        words.append(f"CAMERA {camera_id} 1 " + " ".join(exact(number) for number in _numbers(rig, index)))
    lines = [
        "# Rig calib list with one line of data per calib:",
        "#   RIG_ID, NUM_SENSORS, REF_SENSOR_TYPE, REF_SENSOR_ID, SENSORS[] as "
        "(SENSOR_TYPE, SENSOR_ID, HAS_POSE, [QW, QX, QY, QZ, TX, TY, TZ])",
        "# Number of rigs: 1",
        " ".join(words),
    ]
    return ("\n".join(lines) + "\n").encode()


def to_binary(rig: Rig) -> bytes:
    """A rigs.bin of one rig, all of whose poses are known."""
    first, *others = camera_ids(rig)
    parts = [_COUNT.pack(1), _RIG.pack(1, len(rig.cameras)), _SENSOR.pack(_CAMERA, first)]
    for index, camera_id in enumerate(others, start=1):
        parts += [_SENSOR.pack(_CAMERA, camera_id), _HAS_POSE.pack(1), _POSE.pack(*_numbers(rig, index))]
    return b"".join(parts)


def posed(cameras: Sequence[RigCamera], rigs: Content | None) -> Rig:
    """The cameras with the poses of the rig that holds them all, its reference first; without, where none does.

    Args:
        cameras: named by their ids.
        rigs: the rigs.txt or rigs.bin beside them, where there is one.

    Raises:
        FormatError: the file of rigs is not what it should be.
    """
    by_name = {one.name: one.camera for one in cameras}
    found = [] if rigs is None or len(by_name) < 2 else _of_binary(rigs) if rigs.text is None else _of_text(rigs)
    for poses in found:
        if set(poses) == set(by_name):
            return Rig(tuple(RigCamera(name, by_name[name], pose) for name, pose in poses.items()))
    return Rig(tuple(cameras))


def _numbers(rig: Rig, index: int) -> tuple[float, ...]:
    """QW QX QY QZ TX TY TZ of a camera relative to the first."""
    pose = rig.cam_from_cam(index, 0)
    return (*wxyz_from_rotation(pose[:3, :3]), *pose[:3, 3].tolist())


def _of_text(rigs: Content) -> list[Poses]:
    found = []
    for number, line in enumerate((rigs.text or "").splitlines(), start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            found.append(_of_words(words, Fields({}, f"{rigs.source}, line {number}")))
    return found


def _of_words(words: list[str], fields: Fields) -> Poses:
    poses: dict[str, NDArray[np.float64] | None] = {words[3]: np.eye(4)} if len(words) > 3 else {}
    rest = words[4:]
    while len(rest) >= 3:
        _, name, has_pose, *rest = rest
        poses[name] = None
        if has_pose != "0":
            if len(rest) < 7:
                fields.fail(f"the pose of sensor {name} is cut off")
            poses[name] = _pose(fields.with_entries({"pose": rest[:7]}).numbers("pose"), name, fields)
            rest = rest[7:]
    if rest or not poses:
        fields.fail("should be RIG_ID NUM_SENSORS REF_SENSOR_TYPE REF_SENSOR_ID SENSORS")
    return poses


def _of_binary(rigs: Content) -> list[Poses]:
    data, offset, fields = rigs.data, 0, Fields({}, rigs.source)

    def take(layout: struct.Struct) -> tuple[float, ...]:
        nonlocal offset
        if len(data) < offset + layout.size:
            fields.fail("is cut off")
        offset += layout.size
        return layout.unpack_from(data, offset - layout.size)

    found: list[Poses] = []
    for _ in range(int(take(_COUNT)[0])):
        _, sensors = take(_RIG)
        poses: dict[str, NDArray[np.float64] | None] = {}
        for index in range(int(sensors)):
            name = str(take(_SENSOR)[1])
            if index == 0:
                poses[name] = np.eye(4)
            else:
                poses[name] = _pose(take(_POSE), name, fields) if take(_HAS_POSE)[0] else None
        found.append(poses)
    return found


def _pose(numbers: Sequence[float], name: str, fields: Fields) -> NDArray[np.float64]:
    if not np.isfinite(numbers).all():
        fields.fail(f"the pose of sensor {name} is not finite")
    return compose(rotation_from_wxyz(fields, f"sensor {name}", numbers[:4]), numbers[4:])
