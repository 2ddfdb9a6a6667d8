"""COLMAP's database.db: the schema of COLMAP 4, its pair ids, and the bytes of its blobs.

Blobs are little-endian and row-major. COLMAP's pixel origin is the corner of the top-left pixel, so keypoints are
cv3d's plus one half, and fundamental matrices and homographies between pixels are shifted alike. Quaternions are wxyz.
A pair is stored once, under the id of its two pictures in ascending order. An essential matrix is between the rays of
normalised cameras, as cv3d's. Since COLMAP 4 every picture belongs to a frame of a rig; a camera alone is a rig of its
own, and every picture of it a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats import colmap_models
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.transforms import SO3
from cv3d.geometry.two_view import Degeneracy, ModelKind, TwoView

VERSION = 4020100
"""COLMAP's `user_version` of this schema: 4.2.1."""
CAMERA_SENSOR = 0
"""COLMAP's number for a sensor that is a camera."""
SIFT_DESCRIPTORS = 0
"""COLMAP's number for descriptors of its own SIFT: uint8, 128 values."""
MAX_IMAGES = 2147483647
"""One more than the highest picture id; the id of a pair is its first picture's times this plus its second's."""

_CORNER = 0.5
_GUESSED_FOCAL = 1.2
_DEGENERATE, _CALIBRATED, _UNCALIBRATED, _PLANAR, _PANORAMIC, _PLANAR_OR_PANORAMIC = 1, 2, 3, 4, 5, 6
_HOMOGRAPHIES = {
    Degeneracy.PLANAR: _PLANAR,
    Degeneracy.PLANAR_AMBIGUOUS: _PLANAR,
    Degeneracy.PURE_ROTATION: _PANORAMIC,
    Degeneracy.NO_MOTION: _PANORAMIC,
}

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS rigs (
        rig_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
        ref_sensor_id INTEGER NOT NULL,
        ref_sensor_type INTEGER NOT NULL)""",
    "CREATE UNIQUE INDEX IF NOT EXISTS rig_ref_sensor_assignment ON rigs(ref_sensor_id, ref_sensor_type)",
    """CREATE TABLE IF NOT EXISTS rig_sensors (
        rig_id INTEGER NOT NULL,
        sensor_id INTEGER NOT NULL,
        sensor_type INTEGER NOT NULL,
        sensor_from_rig BLOB,
        FOREIGN KEY(rig_id) REFERENCES rigs(rig_id) ON DELETE CASCADE)""",
    "CREATE UNIQUE INDEX IF NOT EXISTS rig_sensor_assignment ON rig_sensors(sensor_id, sensor_type)",
    """CREATE TABLE IF NOT EXISTS cameras (
        camera_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
        model INTEGER NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        params BLOB,
        prior_focal_length INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS frames (
        frame_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
        rig_id INTEGER NOT NULL,
        FOREIGN KEY(rig_id) REFERENCES rigs(rig_id) ON DELETE CASCADE)""",
    """CREATE TABLE IF NOT EXISTS frame_data (
        frame_id INTEGER NOT NULL,
        data_id INTEGER NOT NULL,
        sensor_id INTEGER NOT NULL,
        sensor_type INTEGER NOT NULL,
        FOREIGN KEY(frame_id) REFERENCES frames(frame_id) ON DELETE CASCADE)""",
    "CREATE UNIQUE INDEX IF NOT EXISTS frame_sensor_assignment ON frame_data(data_id, sensor_type)",
    f"""CREATE TABLE IF NOT EXISTS images (
        image_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
        name TEXT NOT NULL UNIQUE,
        camera_id INTEGER NOT NULL,
        CONSTRAINT image_id_check CHECK(image_id >= 0 and image_id < {MAX_IMAGES}),
        FOREIGN KEY(camera_id) REFERENCES cameras(camera_id))""",
    "CREATE UNIQUE INDEX IF NOT EXISTS index_name ON images(name)",
    """CREATE TABLE IF NOT EXISTS pose_priors (
        pose_prior_id INTEGER PRIMARY KEY NOT NULL,
        corr_data_id INTEGER NOT NULL,
        corr_sensor_id INTEGER NOT NULL,
        corr_sensor_type INTEGER NOT NULL,
        position BLOB,
        position_covariance BLOB,
        gravity BLOB,
        coordinate_system INTEGER NOT NULL)""",
    """CREATE UNIQUE INDEX IF NOT EXISTS pose_prior_data_assignment
        ON pose_priors(corr_data_id, corr_sensor_id, corr_sensor_type)""",
    """CREATE TABLE IF NOT EXISTS keypoints (
        image_id INTEGER PRIMARY KEY NOT NULL,
        rows INTEGER NOT NULL,
        cols INTEGER NOT NULL,
        data BLOB,
        FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE)""",
    """CREATE TABLE IF NOT EXISTS descriptors (
        image_id INTEGER PRIMARY KEY NOT NULL,
        type INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        cols INTEGER NOT NULL,
        data BLOB,
        FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE)""",
    """CREATE TABLE IF NOT EXISTS matches (
        pair_id INTEGER PRIMARY KEY NOT NULL,
        rows INTEGER NOT NULL,
        cols INTEGER NOT NULL,
        data BLOB)""",
    """CREATE TABLE IF NOT EXISTS two_view_geometries (
        pair_id INTEGER PRIMARY KEY NOT NULL,
        rows INTEGER NOT NULL,
        cols INTEGER NOT NULL,
        data BLOB,
        config INTEGER NOT NULL,
        F BLOB, E BLOB, H BLOB, qvec BLOB, tvec BLOB, camera1 BLOB, camera2 BLOB)""",
)
"""Statements that make an empty database; harmless on one that is there."""

COLUMNS = {
    "rigs": {"rig_id", "ref_sensor_id", "ref_sensor_type"},
    "cameras": {"camera_id", "model", "width", "height", "params", "prior_focal_length"},
    "frames": {"frame_id", "rig_id"},
    "frame_data": {"frame_id", "data_id", "sensor_id", "sensor_type"},
    "images": {"image_id", "name", "camera_id"},
    "keypoints": {"image_id", "rows", "cols", "data"},
    "descriptors": {"image_id", "type", "rows", "cols", "data"},
    "matches": {"pair_id", "rows", "cols", "data"},
    "two_view_geometries": {"pair_id", "rows", "cols", "data", "config", "F", "E", "H", "qvec", "tvec"},
}
"""The columns that cv3d relies on, by table."""


@dataclass(frozen=True)
class CameraRow:
    """A row of `cameras`, without its id."""

    model: int
    width: int
    height: int
    params: bytes
    prior_focal_length: int
    """1 where the focal length is known, 0 where it is a guess."""


@dataclass(frozen=True)
class GeometryRow:
    """A row of `two_view_geometries`, without its id."""

    rows: int
    cols: int
    data: bytes | None
    config: int
    fundamental: bytes | None
    essential: bytes | None
    homography: bytes | None
    quat_wxyz: bytes | None
    translation: bytes | None


def pair_id(first: int, second: int) -> int:
    """The id of a pair of pictures.

    Raises:
        ValueError: the ids do not ascend, which is the only order that a pair is stored in, or are out of range.
    """
    if not 0 <= first < second < MAX_IMAGES:
        raise ValueError(f"a pair is two different pictures in the order of their ids, not ({first}, {second})")
    return first * MAX_IMAGES + second


def pair_of_id(identity: int) -> tuple[int, int]:
    """The two pictures of a pair's id, ascending."""
    return divmod(identity, MAX_IMAGES)


def keypoints_to_blob(pixels: NDArray[np.float32]) -> bytes:
    """Keypoints, (n, 2) pixels, as COLMAP's n rows of 2 columns."""
    return (pixels.astype(np.float64) + _CORNER).astype("<f4").tobytes()


def keypoints_from_blob(rows: int, cols: int, data: bytes | None) -> NDArray[np.float32]:
    """Keypoints, (n, 2) pixels; scale and orientation or an affine shape, which COLMAP's may have, are left out.

    Raises:
        FormatError: the blob is not as long as rows and columns say.
    """
    table = array_from_blob(rows, cols, data, "<f4")
    return (table[:, :2].astype(np.float64) - _CORNER).astype(np.float32)


def matches_to_blob(indices: NDArray[np.int64]) -> bytes:
    """Matching keypoints, (n, 2)."""
    return indices.astype("<u4").tobytes()


def matches_from_blob(rows: int, cols: int, data: bytes | None) -> NDArray[np.int64]:
    """Matching keypoints, (n, 2).

    Raises:
        FormatError: the blob is not as long as rows and columns say.
    """
    return array_from_blob(rows, cols, data, "<u4").astype(np.int64)


def array_from_blob(rows: int, cols: int, data: bytes | None, dtype: str) -> NDArray[np.generic]:
    """A blob of `rows` times `cols` numbers; none at all where there are no rows.

    Raises:
        FormatError: the blob has another length.
    """
    content = data or b""
    if len(content) != rows * cols * np.dtype(dtype).itemsize:
        raise FormatError(f"a blob of the database holds {len(content)} bytes, not {rows} rows of {cols} {dtype}")
    return np.frombuffer(content, dtype).reshape(rows, cols)


def camera_to_row(camera: Camera, *, is_focal_known: bool = True) -> CameraRow:
    """A camera for the table `cameras`.

    Raises:
        FormatError: COLMAP has no such model.
    """
    if camera.model not in colmap_models.MODELS:
        raise FormatError(
            f"COLMAP has no equal of the camera model '{camera.model}', so a feature store cannot hold it; "
            f"convert the camera to one of {', '.join(colmap_models.MODELS)}"
        )
    name, params = colmap_models.to_colmap(camera)
    blob = np.asarray(params, dtype="<f8").tobytes()
    model = colmap_models.COLMAP_MODELS[name].id
    return CameraRow(model, camera.width, camera.height, blob, int(is_focal_known))


def unknown_camera_row(width: int, height: int) -> CameraRow:
    """What COLMAP starts from where a camera is not known: SIMPLE_RADIAL, 1.2 times the longer side as focal length."""
    params = np.array([_GUESSED_FOCAL * max(width, height), width / 2.0, height / 2.0, 0.0], dtype="<f8")
    return CameraRow(colmap_models.COLMAP_MODELS["SIMPLE_RADIAL"].id, width, height, params.tobytes(), 0)


def geometry_to_row(geometry: TwoView, matches: NDArray[np.int64]) -> GeometryRow:
    """A pair's geometry for the table `two_view_geometries`. A pair that is not verified is one without inliers.

    A homography between the rays of known cameras has no place there; its kind and its pose have.

    Args:
        geometry: from the picture of the lower id to that of the higher.
        matches: (n, 2), those that the geometry was estimated from.
    """
    if not geometry.verified or geometry.matrix is None:
        return GeometryRow(0, 2, None, _DEGENERATE, None, None, None, None, None)
    inliers = matches[geometry.inliers]
    fundamental = essential = homography = quat_wxyz = translation = None
    to_corner = np.array([[1.0, 0.0, _CORNER], [0.0, 1.0, _CORNER], [0.0, 0.0, 1.0]])
    from_corner = np.linalg.inv(to_corner)
    if geometry.model is ModelKind.ESSENTIAL:
        config, essential = _CALIBRATED, _doubles(geometry.matrix)
    elif geometry.model is ModelKind.FUNDAMENTAL:
        config, fundamental = _UNCALIBRATED, _doubles(from_corner.T @ geometry.matrix @ from_corner)
    else:
        config = _HOMOGRAPHIES.get(geometry.degeneracy, _PLANAR_OR_PANORAMIC)
        # Between pixels it comes without a rotation, between rays with one.
        if geometry.rotation is None:
            homography = _doubles(to_corner @ geometry.matrix @ from_corner)
    if geometry.rotation is not None:
        quat_wxyz = _doubles(SO3.from_matrix(torch.from_numpy(np.array(geometry.rotation))).wxyz.numpy())
        pose = geometry.cam1_from_cam0
        translation = _doubles(np.zeros(3) if pose is None else pose[:3, 3])
    data = matches_to_blob(inliers)
    return GeometryRow(len(inliers), 2, data, config, fundamental, essential, homography, quat_wxyz, translation)


def _doubles(values: NDArray[np.float64]) -> bytes:
    return np.ascontiguousarray(values, dtype="<f8").tobytes()
