"""Poses in camera files: rotations as matrices, vectors and quaternions, checked and squared up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cv3d.formats.fields import Fields
from cv3d.geometry.cameras.rig import inverse_rigid

_SKEW = 5e-3
"""Departure from orthogonality that rounding to three decimals explains; a matrix further off is no rotation."""
_EXACT = 1e-9


def read_transform(fields: Fields, what: str, values: Sequence[float]) -> NDArray[np.float64]:
    """A rigid transform from the numbers of a file.

    A rotation that was rounded in writing is replaced by the nearest exact one.

    Args:
        fields: the part of the file it is from, for the message.
        what: what the file calls it.
        values: 16 numbers, row by row, or 12 where the last row is left out.

    Returns:
        (4, 4).

    Raises:
        FormatError: they are not a rotation with a translation.
    """
    matrix = np.eye(4)
    matrix[: len(values) // 4] = np.reshape(values, (-1, 4))
    if not np.allclose(matrix[3], (0.0, 0.0, 0.0, 1.0), atol=1e-9):
        fields.fail(f"{what}: the last row of a pose is 0 0 0 1, here it is {matrix[3].tolist()}")
    return compose(read_rotation(fields, what, matrix[:3, :3]), matrix[:3, 3])


def read_rotation(fields: Fields, what: str, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rotation matrix (3, 3), made exact where it was rounded.

    Raises:
        FormatError: it is not near any rotation.
    """
    skew = float(np.abs(matrix @ matrix.T - np.eye(3)).max())
    if not skew <= _SKEW or np.linalg.det(matrix) < 0.0:
        fields.fail(f"{what}: its 3x3 part is not a rotation")
    if skew <= _EXACT:
        return matrix
    u, _, vt = np.linalg.svd(matrix)
    nearest: NDArray[np.float64] = u @ vt
    return nearest


def compose(rotation: NDArray[np.float64], translation: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """The rigid transform (4, 4) of a rotation (3, 3) and a translation (3,)."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = translation
    return matrix


def relative_to_first(cam_from_reference: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """`cam_from_cam0` of every camera, from their poses relative to any one frame; exactly the identity for the first.

    Args:
        cam_from_reference: (4, 4) each.
    """
    reference_from_cam0 = inverse_rigid(cam_from_reference[0])
    return [np.eye(4), *(cam @ reference_from_cam0 for cam in cam_from_reference[1:])]


def rotation_from_vector(vector: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation matrix (3, 3) of a rotation vector (3,), radians."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_rotvec(np.asarray(vector, dtype=np.float64)).as_matrix(), dtype=np.float64)


def vector_from_rotation(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation vector (3,), radians, of a rotation matrix (3, 3)."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_matrix(rotation).as_rotvec(), dtype=np.float64)


def rotation_from_wxyz(fields: Fields, what: str, quat_wxyz: Sequence[float]) -> NDArray[np.float64]:
    """The rotation matrix (3, 3) of a quaternion, real part first, brought to unit length.

    Raises:
        FormatError: its length is not near 1.
    """
    from scipy.spatial.transform import Rotation

    w, x, y, z = quat_wxyz
    if abs(w * w + x * x + y * y + z * z - 1.0) > _SKEW:
        fields.fail(f"{what}: its quaternion is not of unit length")
    return np.asarray(Rotation.from_quat([x, y, z, w]).as_matrix(), dtype=np.float64)


def wxyz_from_rotation(rotation: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """The unit quaternion of a rotation matrix (3, 3), real part first and not negative."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat(canonical=True).tolist()
    return w, x, y, z
