"""A calibrated pair, and a rectified one, as OpenCV's FileStorage YAML, with the names of its stereo samples.

E and F are those of cv::stereoCalibrate: `x2^T E x1 = 0` for normalised coordinates of both cameras, `p2^T F p1 = 0`
for their pixels once distortion is removed. R1, R2: rotations from each camera to its rectified view; P1, P2:
projections of points in the first rectified view to pixels of either; Q: disparity to depth, as of cv::stereoRectify.
Pixel origin: the centre of the top-left pixel, as in cv3d. The translation in P2, and the depth from Q, are in the unit
of the rig's pose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.formats import opencv_yaml
from cv3d.formats.fields import exact_list
from cv3d.geometry.cameras.rig import Rig
from cv3d.geometry.views.rectification import Rectification

SCHEMA = "cv3d.rectification/1"


def dumps_pair(pair: Rig, rectified: Rectification | None = None) -> str:
    """The text of a file that cv2.FileStorage reads: the pictures' size, M1 D1 M2 D2 R T E F, and R1 R2 P1 P2 Q.

    Args:
        pair: two cameras, posed, of models that OpenCV has.
        rectified: their rectification; None: the file goes without.
    """
    cam1_from_cam0 = pair.cam_from_cam(1, 0)
    x, y, z = cam1_from_cam0[:3, 3]
    essential = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]) @ cam1_from_cam0[:3, :3]
    from_first, from_second = (np.linalg.inv(one.camera.matrix) for one in pair.cameras)
    fundamental = from_second.T @ essential @ from_first
    if fundamental[2, 2] != 0.0:
        fundamental = fundamental / fundamental[2, 2]
    matrices: dict[str, NDArray[np.float64]] = {"E": essential, "F": fundamental}
    if rectified is not None:
        matrices |= _rectifying(rectified)
    text = opencv_yaml.encode(pair).decode("utf-8")
    return text + _matrices(matrices)


def dumps_rectification(pair: Rectification) -> str:
    """The text of a file that cv2.FileStorage reads: image_width, image_height, R1, R2, P1, P2, Q."""
    head = f"%YAML:1.0\n---\nimage_width: {pair.view.width}\nimage_height: {pair.view.height}\n"
    return head + _matrices(_rectifying(pair))


def rectification_dict(pair: Rectification, is_metric: bool) -> dict[str, object]:
    """The same as plain data, JSON-ready but for its arrays, with both cameras before and the one after.

    Args:
        pair: the rectified pair.
        is_metric: whether its baseline is in metres.
    """
    return {
        "schema": SCHEMA,
        "camera": pair.target.as_dict(),
        "left_camera": pair.first.camera.as_dict(),
        "right_camera": pair.second.camera.as_dict(),
        "baseline": pair.baseline,
        "is_metric": is_metric,
        "is_vertical": pair.is_vertical,
        **_rectifying(pair),
    }


def _rectifying(pair: Rectification) -> dict[str, NDArray[np.float64]]:
    return {
        "R1": pair.first.view_from_cam,
        "R2": pair.second.view_from_cam,
        "P1": pair.first.projection,
        "P2": pair.second.projection,
        "Q": pair.depth_from_disparity,
    }


def _matrices(matrices: dict[str, NDArray[np.float64]]) -> str:
    return "".join(
        f"{name}: !!opencv-matrix\n   rows: {matrix.shape[0]}\n   cols: {matrix.shape[1]}\n   dt: d\n"
        f"   data: {exact_list(matrix.ravel().tolist())}\n"
        for name, matrix in matrices.items()
    )
