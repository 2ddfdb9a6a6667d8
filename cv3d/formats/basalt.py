"""Basalt's calibration.json: {"value0": {"T_imu_cam", "intrinsics", "resolution", …}}, as cereal writes it.

`T_imu_cam` takes points of a camera to the IMU's frame, quaternion as qx qy qz qw. Models (basalt-headers,
include/basalt/camera; Usenko et al. 2018): pinhole, ucm, eucm, ds, kb4 have cv3d's parameters; pinhole-radtan8 is
`brown8` with `rpmax`, the largest undistorted radius that it is used for. Pixel origin: the centre of the top-left
pixel.

cv3d knows no IMU: written poses have the first camera in its place, and what else Basalt's reader insists on is
neutral or its own default (no bias, no delay, the noise of basalt-headers' Calibration).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats.camera_file import CameraFile, ReadOptions
from cv3d.formats.content import Content
from cv3d.formats.fields import Fields
from cv3d.formats.json_text import to_json
from cv3d.formats.poses import compose, relative_to_first, rotation_from_wxyz, wxyz_from_rotation
from cv3d.geometry.cameras.brown import exact_domain_angle
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera, inverse_rigid

_TYPE_OF_MODEL = {
    "pinhole": "pinhole",
    "ucm": "ucm",
    "eucm": "eucm",
    "double_sphere": "ds",
    "kannala_brandt4": "kb4",
    "brown4": "pinhole-radtan8",
    "brown5": "pinhole-radtan8",
    "brown8": "pinhole-radtan8",
}
_SHAPE_OF_TYPE = {
    "pinhole": ("pinhole", ""),
    "ucm": ("ucm", "alpha"),
    "eucm": ("eucm", "alpha beta"),
    "ds": ("double_sphere", "xi alpha"),
    "kb4": ("kannala_brandt4", "k1 k2 k3 k4"),
    "pinhole-radtan8": ("brown8", "k1 k2 p1 p2 k3 k4 k5 k6"),
}
"""cv3d's model and the names of its shape parameters."""
_NO_IMU: dict[str, object] = {
    "calib_accel_bias": [0.0] * 9,
    "calib_gyro_bias": [0.0] * 12,
    "imu_update_rate": 200.0,
    "accel_noise_std": [0.016] * 3,
    "gyro_noise_std": [0.000282] * 3,
    "accel_bias_std": [0.001] * 3,
    "gyro_bias_std": [0.0001] * 3,
    "cam_time_offset_ns": 0,
    "vignette": [],
}
MODELS = tuple(_TYPE_OF_MODEL)


def encode(rig: Rig) -> bytes:
    """A calibration file.

    Raises:
        FormatError: the poses of several cameras are not known, which the file has no way to say.
    """
    if len(rig.cameras) > 1 and not rig.is_posed:
        raise FormatError("Basalt's file holds a pose for every camera, and these are not all known")
    value: dict[str, object] = {
        "T_imu_cam": [_pose_fields(rig, index) for index in range(len(rig.cameras))],
        "intrinsics": [_intrinsics(one.camera) for one in rig.cameras],
        "resolution": [[one.camera.width, one.camera.height] for one in rig.cameras],
    }
    return (to_json({"value0": value | _NO_IMU}, indent=2) + "\n").encode()


def decode(content: Content, options: ReadOptions) -> CameraFile:
    """The cameras cam0, cam1…, with their relative poses where there are several.

    pinhole-radtan8 is the simplest of `brown4`, `brown5` and `brown8` that says the same.

    Raises:
        FormatError: a field is missing or not what it should be, or cv3d does not have the model.
    """
    fields = Fields(content.json, content.source).part("value0")
    cameras = [_camera(part) for part in fields.parts("intrinsics")]
    if not cameras:
        fields.fail("holds no camera")
    sizes = _sizes(fields, options, len(cameras))
    read = [part.camera(model, *size, params) for (part, model, params), size in zip(cameras, sizes, strict=True)]
    if len(read) == 1:
        return CameraFile(Rig((RigCamera("cam0", read[0]),)), "basalt")
    poses = [inverse_rigid(_pose(part)) for part in fields.parts("T_imu_cam")]
    if len(poses) != len(read):
        fields.fail(f"holds {len(read)} cameras, but {len(poses)} poses T_imu_cam")
    named = zip(read, relative_to_first(poses), strict=True)
    return CameraFile(Rig(tuple(RigCamera(f"cam{i}", *both) for i, both in enumerate(named))), "basalt")


def _pose_fields(rig: Rig, index: int) -> dict[str, float]:
    """cam0_from_cam, the first camera standing for the IMU."""
    pose = inverse_rigid(rig.cam_from_cam(index, 0)) if index else np.eye(4)
    w, x, y, z = wxyz_from_rotation(pose[:3, :3])
    px, py, pz = pose[:3, 3].tolist()
    return {"px": px, "py": py, "pz": pz, "qx": x, "qy": y, "qz": z, "qw": w}


def _intrinsics(camera: Camera) -> dict[str, object]:
    kind = _TYPE_OF_MODEL[camera.model]
    names = _SHAPE_OF_TYPE[kind][1].split()
    shape = camera.shape + (0.0,) * (len(names) - len(camera.shape))
    values: dict[str, object] = dict(zip(["fx", "fy", "cx", "cy", *names], camera.params[:4] + shape, strict=True))
    if kind == "pinhole-radtan8":
        values["rpmax"] = math.tan(exact_domain_angle(camera.shape))
    return {"camera_type": kind, "intrinsics": values}


def _camera(fields: Fields) -> tuple[Fields, str, tuple[float, ...]]:
    """The fields of one camera, its model and parameters."""
    kind = fields.text("camera_type")
    if kind not in _SHAPE_OF_TYPE:
        fields.fail(f"cv3d has no equal of Basalt's camera_type '{kind}'; it reads {', '.join(_SHAPE_OF_TYPE)}")
    model, names = _SHAPE_OF_TYPE[kind]
    own = fields.part("intrinsics")
    affine = tuple(own.number(name) for name in ("fx", "fy", "cx", "cy"))
    shape = tuple(own.number(name) for name in names.split())
    if model == "brown8" and not any(shape[5:]):
        model, shape = ("brown5", shape[:5]) if shape[4] else ("brown4", shape[:4])
    return fields, model, (*affine, *shape)


def _sizes(fields: Fields, options: ReadOptions, count: int) -> list[tuple[int, int]]:
    if "resolution" not in fields:
        return [fields.missing_size(options.size)] * count
    numbers = fields.numbers("resolution", 2 * count)
    return [
        fields.agreed_size((round(width), round(height)), options.size)
        for width, height in zip(numbers[::2], numbers[1::2], strict=True)
    ]


def _pose(fields: Fields) -> NDArray[np.float64]:
    quat_wxyz = [fields.number(name) for name in ("qw", "qx", "qy", "qz")]
    rotation = rotation_from_wxyz(fields, "T_imu_cam", quat_wxyz)
    return compose(rotation, [fields.number(name) for name in ("px", "py", "pz")])
