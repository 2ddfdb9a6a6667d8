"""The text format of "Bundle Adjustment in the Large" (Agarwal, Snavely, Seitz and Szeliski, ECCV 2010).

    <cameras> <points> <observations>
    <camera> <point> <x> <y>                       one line an observation
    <rotation vector> <translation> <f> <k1> <k2>  nine numbers a camera, one on a line
    <x> <y> <z>                                    three numbers a point, one on a line

Its camera looks along -z with y up: P = R X + t, p = -P / P.z, pixel = f (1 + k1 |p|^2 + k2 |p|^4) p, counted from the
picture's centre, x to the right and y upwards. Half a turn about x makes that the camera of cv3d, with the pixels' y
reversed. The file has no picture sizes: each picture is taken to be centred and just as large as its observations
need. The model is brown4 with p1 = p2 = 0 held and one focal length.

The published formula also projects points behind the camera, and some published problems begin with such points (31 of
the 31,843 observations of ladybug-49-7776). A camera does not see them: `adjust_bundle` leaves them out, and its costs
are those of the others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.geometry.bundle import BundleProblem, FreeIntrinsics, Observations, Views
from cv3d.geometry.cameras import Camera
from cv3d.geometry.transforms import SE3, SO3

FREE = FreeIntrinsics(names=("fx", "k1", "k2"), one_focal=True)
"""What the format calls a camera's intrinsics."""

_NUMBERS = 9
_TURN = np.array([1.0, -1.0, -1.0])


def read_bal(path: Path | str) -> BundleProblem:
    """The problem of a file: every camera with its own free intrinsics, nothing held, pixels with unit deviation.

    Raises:
        InputError: there is no such file.
        FormatError: it is not in this format.
    """
    try:
        text = Path(path).read_text(encoding="ascii")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FormatError(f"{path}: is no BAL problem: it is no text") from None
    return decode(text, str(path))


def decode(text: str, source: str = "") -> BundleProblem:
    """As :func:`read_bal`, from the file's text; `source` is what messages call it."""
    where = f"{source}: " if source else ""
    try:
        numbers = np.array(text.split(), np.float64)
    except ValueError as error:
        raise FormatError(f"{where}is no BAL problem: {error}") from None
    if len(numbers) < 3 or not np.array_equal(numbers[:3], numbers[:3].astype(np.int64)) or numbers[:3].min() < 1:
        raise FormatError(
            f"{where}is no BAL problem: it should begin with the numbers of cameras, points, observations"
        )
    cameras, points, count = (int(value) for value in numbers[:3])
    expected = 3 + 4 * count + _NUMBERS * cameras + 3 * points
    if len(numbers) != expected:
        raise FormatError(f"{where}has {len(numbers)} numbers where its first line promises {expected}")
    if not np.isfinite(numbers).all():
        raise FormatError(f"{where}holds a number that is not finite")
    seen = numbers[3 : 3 + 4 * count].reshape(count, 4)
    described = numbers[3 + 4 * count :][: _NUMBERS * cameras].reshape(cameras, _NUMBERS)
    view, point = seen[:, 0].astype(np.intp), seen[:, 1].astype(np.intp)
    for name, index, size in (("camera", view, cameras), ("point", point, points)):
        if index.min() < 0 or index.max() >= size:
            raise FormatError(f"{where}an observation names {name} {int(index.max())}, but there are {size}")
    if not (described[:, 6] > 0.0).all():
        raise FormatError(f"{where}the focal length of camera {int(described[:, 6].argmin())} is not positive")
    half = np.zeros((cameras, 2))
    np.maximum.at(half, view, np.ceil(np.abs(seen[:, 2:])))
    return BundleProblem(
        cameras=tuple(
            Camera("brown4", int(2 * w + 1), int(2 * h + 1), (f, f, w, h, k1, k2, 0.0, 0.0))
            for (w, h), (f, k1, k2) in zip(half.tolist(), described[:, 6:].tolist(), strict=True)
        ),
        poses=_cam_from_world(described),
        points=np.ascontiguousarray(numbers[-3 * points :].reshape(points, 3)),
        views=Views.one_per_pose(cameras, np.arange(cameras)),
        observations=Observations(seen[:, 2:] * _TURN[:2] + half[view], view, point),
        free_intrinsics=(FREE,) * cameras,
    )


def _cam_from_world(described: NDArray[np.float64]) -> NDArray[np.float64]:
    rotation = SO3.exp(torch.from_numpy(np.ascontiguousarray(described[:, :3])))
    translation = torch.from_numpy(np.ascontiguousarray(described[:, 3:6]))
    poses = SE3.from_rotation_and_translation(rotation, translation).as_matrix().numpy()
    turned: NDArray[np.float64] = poses * np.append(_TURN, 1.0)[:, None]
    return turned
