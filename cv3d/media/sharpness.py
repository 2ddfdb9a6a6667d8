"""How sharp a picture is, comparable between frames of one clip."""

from __future__ import annotations

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

_LONGEST_SIDE = 1280
"""Larger pictures are reduced to this, pixels: blur below a pixel of the reduced one does no harm."""
_NOISE_SIGMAS = 4.0
"""Responses below this many standard deviations of what noise alone would give count as noise."""
_LEAST_NOISE = 0.5
"""Grey levels of noise that every picture is taken to have: rounding to 8 bits, and traces of compression."""
_FEWEST_EDGES = 1e-3
"""Share of pixels that must lie on edges for a picture to have a sharpness at all."""
_NOISE_FILTER = np.outer([1, -2, 1], [1, -2, 1]).astype(np.float32)
"""Blind to everything that varies along one direction only (Immerkær 1996)."""
_NOISE_FILTER_GAIN = 6.0
_NORMAL_LOWER_QUARTILE = 0.3186
"""A quarter of the absolute values of a standard normal variable lie below it."""
_SMOOTHED_SOBEL_GAIN = 1.72
_SMOOTHED_LAPLACIAN_GAIN = 0.72
"""Standard deviation of the response to white noise of one grey level."""
_STRIP_PIXELS = 1 << 16
_ZERO = np.zeros(4)


def sharpness(gray: NDArray[np.uint8]) -> float:
    """The inverse square of the typical width of the edges in a picture, 1 / pixels² up to a constant.

    An edge of contrast A and width s carries a gradient energy of the order A²/s and a Laplacian energy of the order
    A²/s³ per unit of its length. Their ratio depends neither on the contrast nor on how many edges there are, so a
    frame is not preferred for being bright or for showing more of the scene, as it is by the variance of the Laplacian
    (Pech-Pacheco et al. 2000). Noise is kept out by leaving away responses that flat parts of the picture show too.

    Args:
        gray: (H, W) uint8.

    Returns:
        0 for a picture without edges; larger is sharper.
    """
    reduction = _LONGEST_SIDE / max(gray.shape)
    if reduction < 1.0:
        gray = np.asarray(cv2.resize(gray, None, fx=reduction, fy=reduction, interpolation=cv2.INTER_AREA))
    noise = _noise_levels(gray)
    energies = np.array([_energies(strip, noise) for strip in _strips(gray)])
    edge_pixels, gradient, curvature = energies.sum(axis=0)
    if edge_pixels < _FEWEST_EDGES * gray.size:
        return 0.0
    # Sobel's response to a unit ramp is 8.
    return 64.0 * float(curvature / gradient)


def _strips(gray: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Horizontal strips small enough for their derivatives to stay in the processor's cache, which halves the time."""
    rows = max(16, _STRIP_PIXELS // gray.shape[1])
    return [gray[top : top + rows] for top in range(0, gray.shape[0], rows)]


def _energies(gray: NDArray[np.uint8], noise: float) -> tuple[float, float, float]:
    """How many pixels lie on edges, and the sums of squared gradients and squared Laplacians above the noise."""
    smooth = cv2.GaussianBlur(gray, (3, 3), 0.8)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3)
    gradient = _above(_NOISE_SIGMAS * _SMOOTHED_SOBEL_GAIN * noise, cv2.magnitude(across, down))
    curvature = cv2.absdiff(cv2.Laplacian(smooth, cv2.CV_16S, ksize=1), _ZERO)
    curvature = _above(_NOISE_SIGMAS * _SMOOTHED_LAPLACIAN_GAIN * noise, curvature)
    return cv2.countNonZero(gradient), cv2.norm(gradient, cv2.NORM_L2SQR), cv2.norm(curvature, cv2.NORM_L2SQR)


def _noise_levels(gray: NDArray[np.uint8]) -> float:
    """Standard deviation of the noise, grey levels, from the quarter of the picture in which least is seen."""
    response = cv2.filter2D(gray, cv2.CV_16S, _NOISE_FILTER)[::4, ::4]
    lower_quartile = float(np.quantile(np.abs(response), 0.25))
    return max(lower_quartile / (_NORMAL_LOWER_QUARTILE * _NOISE_FILTER_GAIN), _LEAST_NOISE)


def _above(floor: float, response: MatLike) -> MatLike:
    """The responses, with those up to `floor` set to 0."""
    return cv2.threshold(response, floor, 0.0, cv2.THRESH_TOZERO)[1]
