"""Kalibr's camchain.yaml. Pixel origin: the centre of the top-left pixel, as in cv3d.

Kalibr (its wiki, "yaml formats" and "supported models") names a projection (`camera_model`) and a distortion on top of
it, and puts the projection's own parameters before the focal lengths: omni xi fu fv pu pv; ds xi alpha fu fv pu pv;
eucm alpha beta fu fv pu pv. `T_cn_cnm1` takes points of the camera before to this one: it is cam_n_from_cam_n-1, in
metres. `cam_overlaps` lists the cameras that share a view with this one. Where no `T_cn_cnm1` says how a camera stands
to the one before, its pose relative to the IMU does: Kalibr's `T_cam_imu` is cam_from_imu, and OpenVINS, whose files
have the same layout, writes its inverse as `T_imu_cam`.

Its omni divides by z + xi d, where cv3d's `ucm` divides by alpha d + (1 - alpha) z, which is (1 - alpha) (z + xi d)
with xi = alpha / (1 - alpha). So its focal lengths are cv3d's divided by 1 - alpha.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats.camera_file import CameraFile, ReadOptions, StandIn
from cv3d.formats.content import Content, without_directive
from cv3d.formats.fields import Fields, exact_list, parse_yaml
from cv3d.formats.foreign_lens import read_foreign
from cv3d.formats.foreign_projections import project_fov
from cv3d.formats.poses import read_transform
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera, inverse_rigid

_NAMES_OF_MODEL = {
    "pinhole": ("pinhole", "none"),
    "brown4": ("pinhole", "radtan"),
    "kannala_brandt4": ("pinhole", "equidistant"),
    "ucm": ("omni", "none"),
    "omni": ("omni", "radtan"),
    "eucm": ("eucm", "none"),
    "double_sphere": ("ds", "none"),
}
"""camera_model and distortion_model of each of cv3d's models that Kalibr has."""
_MODEL_OF_NAMES = {names: model for model, names in _NAMES_OF_MODEL.items()}
_SYNONYMS = {"equi": "equidistant", "fisheye": "equidistant", "radial-tangential": "radtan", "": "none"}
_FOV = ("pinhole", "fov")
_OWN_COUNT = {"pinhole": 0, "omni": 1, "eucm": 2, "ds": 2}
_COEFFICIENT_COUNT = {"none": 0, "radtan": 4, "equidistant": 4, "fov": 1}
MODELS = tuple(_NAMES_OF_MODEL)


def encode(rig: Rig) -> bytes:
    """A camchain; its cameras are cam0, cam1…, their own names being in `rostopic`.

    Raises:
        FormatError: a `ucm` camera has no equal there.
    """
    lines = []
    overlaps = _overlaps(rig)
    for index, one in enumerate(rig.cameras):
        camera_model, distortion_model, intrinsics, coefficients = _to_kalibr(one.camera)
        lines.append(f"cam{index}:")
        if index > 0 and rig.is_posed:
            lines.append("  T_cn_cnm1:")
            lines += [f"  - {exact_list(row)}" for row in rig.cam_from_cam(index, index - 1).tolist()]
        lines += [
            f"  cam_overlaps: {json.dumps(overlaps[index])}",
            f"  camera_model: {camera_model}",
            f"  distortion_coeffs: {exact_list(coefficients)}",
            f"  distortion_model: {distortion_model}",
            f"  intrinsics: {exact_list(intrinsics)}",
            f"  resolution: [{one.camera.width}, {one.camera.height}]",
            f"  rostopic: {json.dumps(f'/{one.name}/image_raw')}",
        ]
    return ("\n".join(lines) + "\n").encode()


def decode(content: Content, options: ReadOptions) -> CameraFile:
    """The cameras of a camchain by their names, in the file's order, with their poses as far as the chain has them.

    Raises:
        FormatError: a field is missing, or cv3d has no model for a pair of models.
    """
    if content.text is None:
        raise FormatError(f"{content.source}: not readable as YAML: it is no text")
    fields = parse_yaml(without_directive(content.text), content.source)
    cameras: list[RigCamera] = []
    stand_ins: dict[str, StandIn] = {}
    pose: NDArray[np.float64] | None = np.eye(4) if len(fields.names()) > 1 else None
    previous = fields
    for name in fields.names():
        part = fields.part(name)
        camera, stand_in = _from_kalibr(part, content.source, options)
        if stand_in is not None:
            stand_ins[name] = stand_in
        if cameras:
            step = _step(part, previous)
            pose = None if pose is None or step is None else step @ pose
        previous = part
        cameras.append(RigCamera(name, camera, pose))
    if not cameras:
        fields.fail("holds no camera")
    return CameraFile(Rig(tuple(cameras)), "kalibr", stand_ins)


def _step(part: Fields, previous: Fields) -> NDArray[np.float64] | None:
    """The pose of a camera relative to the one before, (4, 4); None where the file does not say it."""
    if "T_cn_cnm1" in part:
        return read_transform(part, "T_cn_cnm1", part.numbers("T_cn_cnm1", 16, 12))
    cam_from_imu, previous_from_imu = _cam_from_imu(part), _cam_from_imu(previous)
    if cam_from_imu is None or previous_from_imu is None:
        return None
    return cam_from_imu @ inverse_rigid(previous_from_imu)


def _cam_from_imu(part: Fields) -> NDArray[np.float64] | None:
    if "T_cam_imu" in part:
        return read_transform(part, "T_cam_imu", part.numbers("T_cam_imu", 16, 12))
    if "T_imu_cam" in part:
        return inverse_rigid(read_transform(part, "T_imu_cam", part.numbers("T_imu_cam", 16, 12)))
    return None


def _overlaps(rig: Rig) -> list[list[int]]:
    """For each camera the others whose cones of view meet its own; all, where poses are not known."""
    count = len(rig.cameras)
    if not rig.is_posed:
        return [[other for other in range(count) if other != index] for index in range(count)]
    half = [0.5 * one.camera.field_of_view()[2] for one in rig.cameras]
    meets = [
        [
            np.arccos(np.clip(rig.cam_from_cam(index, other)[2, 2], -1.0, 1.0)) < half[index] + half[other]
            for other in range(count)
        ]
        for index in range(count)
    ]
    return [[other for other in range(count) if other != index and meets[index][other]] for index in range(count)]


def _to_kalibr(camera: Camera) -> tuple[str, str, Sequence[float], Sequence[float]]:
    """camera_model, distortion_model, intrinsics and distortion_coeffs."""
    camera_model, distortion_model = _NAMES_OF_MODEL[camera.model]
    affine, shape = camera.params[:4], camera.shape
    own_count = _OWN_COUNT[camera_model]
    if camera.model == "ucm":
        (alpha,) = shape
        if alpha >= 1.0:
            raise FormatError(f"Kalibr's omni model has no equal of 'ucm' with alpha = {alpha!r}: it needs alpha < 1")
        fx, fy, cx, cy = affine
        intrinsics = (alpha / (1.0 - alpha), fx / (1.0 - alpha), fy / (1.0 - alpha), cx, cy)
        return camera_model, distortion_model, intrinsics, ()
    return camera_model, distortion_model, (*shape[:own_count], *affine), shape[own_count:]


def _from_kalibr(fields: Fields, source: str, options: ReadOptions) -> tuple[Camera, StandIn | None]:
    camera_model = fields.text("camera_model")
    distortion = fields.text("distortion_model") if "distortion_model" in fields else "none"
    distortion = _SYNONYMS.get(distortion.lower(), distortion.lower())
    names = (camera_model, distortion)
    if names not in _MODEL_OF_NAMES and names != _FOV:
        known = ", ".join(f"{a}-{b}" for a, b in [*_MODEL_OF_NAMES, _FOV])
        fields.fail(f"cv3d has no model for Kalibr's {camera_model}-{distortion}; it reads {known}")
    own_count = _OWN_COUNT[camera_model]
    intrinsics = fields.numbers("intrinsics", own_count + 4)
    own, affine = intrinsics[:own_count], intrinsics[own_count:]
    count = _COEFFICIENT_COUNT[distortion]
    coefficients = fields.numbers("distortion_coeffs", count) if count else ()
    if not count and "distortion_coeffs" in fields and any(fields.numbers("distortion_coeffs")):
        fields.fail("contradicts itself: 'distortion_model' is none, but there are distortion_coeffs")
    width, height = _size(fields, options)
    if names == _FOV:
        fields.camera("pinhole", width, height, affine)
        project = partial(project_fov, (*affine, *coefficients))
        return read_foreign(project, width, height, "pinhole-fov", source, options)
    model = _MODEL_OF_NAMES[names]
    if model == "ucm":
        (xi,) = own
        if xi <= -0.5:
            fields.fail(f"an omni camera with xi = {xi!r} has no equal in cv3d: it needs xi > -0.5")
        fx, fy, cx, cy = affine
        affine, own = (fx / (1.0 + xi), fy / (1.0 + xi), cx, cy), (xi / (1.0 + xi),)
    return fields.camera(model, width, height, (*affine, *own, *coefficients)), None


def _size(fields: Fields, options: ReadOptions) -> tuple[int, int]:
    if "resolution" not in fields:
        return fields.missing_size(options.size)
    width, height = fields.numbers("resolution", 2)
    if width != int(width) or height != int(height):
        fields.fail("field 'resolution' should hold whole numbers")
    return fields.agreed_size((int(width), int(height)), options.size)
