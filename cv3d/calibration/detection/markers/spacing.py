"""How far apart the tags of a grid stand: the one length of the board that the ids do not tell.

Each tag and those beside it are fitted by a homography of their own together with the spacing, after the bulk of the
lens distortion has been taken out, so that what remains of it has little room to act; the estimates are then
averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_MAX_BLOCKS = 400
_NICE = (0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 1.0 / 3.0, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.75, 0.8, 1.0)
_SYSTEMATIC = 4e-3
"""What averaging does not remove: blur, print and lens distortion within a block."""
_MAX_VIEWS = 10
_BENDS = np.linspace(-0.85, 0.25, 23)
"""Division-model coefficients tried, for radii in units of the half diagonal; negative: barrel."""
_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


@dataclass(frozen=True)
class Spacing:
    """A measured tag spacing."""

    measured: float
    """Gap between tags over tag side."""
    sigma: float
    """Its standard deviation, from the scatter of the blocks."""
    blocks: int
    """Number of blocks of tags behind it."""

    @property
    def nominal(self) -> float:
        """The round figure that the measurement does not contradict, else the measurement itself."""
        nearest = min(_NICE, key=lambda nice: abs(nice - self.measured))
        return nearest if abs(nearest - self.measured) <= max(3.0 * self.sigma, _SYSTEMATIC) else self.measured


@dataclass(frozen=True)
class TagView:
    """The tags of one picture."""

    cells: NDArray[np.int64]
    """Column and row of each tag, (n, 2)."""
    corners: NDArray[np.float64]
    """Pixels, (n, 4, 2), top-left first."""
    shape: tuple[int, int]
    """Height and width of the picture."""


def measure_spacing(views: Sequence[TagView], start: float) -> Spacing:
    """Measure the spacing over a set of pictures, all taken with one camera.

    Args:
        views: the tags of each picture.
        start: a rough value.
    """
    spacing = Spacing(start, float("inf"), 0)
    for _ in range(2):
        straight = _straightened(views, spacing.measured)
        spacing = _over_blocks(straight, spacing.measured)
    return spacing


def _over_blocks(views: Sequence[TagView], start: float) -> Spacing:
    """The robust mean over blocks of neighbouring tags."""
    blocks = [
        (view.cells[near] - view.cells[k], view.corners[near])
        for view in views
        for k in range(len(view.cells))
        if (near := np.abs(view.cells - view.cells[k]).max(axis=1) <= 1).sum() >= 2
    ]
    stride = max(1, -(-len(blocks) // _MAX_BLOCKS))
    results = np.array([_fit_block(cells, corners, start) for cells, corners in blocks[::stride]]).reshape(-1, 2)
    results = results[np.isfinite(results).all(axis=1)]
    if not len(results):
        return Spacing(start, float("inf"), 0)
    value, variance = results.T
    middle = float(np.median(value))
    spread = 1.4826 * float(np.median(np.abs(value - middle))) + 1e-6
    near_middle = np.abs(value - middle) <= 3.0 * spread
    weight = 1.0 / (variance[near_middle] + spread**2)
    mean = float((value[near_middle] * weight).sum() / weight.sum())
    # A tag takes part in up to nine blocks, so that the blocks hold fewer independent measurements than their number.
    sigma = spread / np.sqrt(max(1.0, near_middle.sum() / 4.0))
    return Spacing(mean, float(sigma), int(near_middle.sum()))


def _straightened(views: Sequence[TagView], spacing: float) -> list[TagView]:
    """The views with the radial distortion taken out that one division model explains best.

    Fitzgibbon, "Simultaneous linear estimation of multiple view geometry and lens distortion", CVPR 2001, equation 3,
    about the middle of the picture.
    """
    rich = sorted((view for view in views if len(view.cells) >= 4), key=lambda view: -len(view.cells))[:_MAX_VIEWS]
    if not rich:
        return list(views)
    costs = np.array([sum(_bent(view, spacing, bend) for view in rich) for bend in _BENDS])
    best = int(np.clip(costs.argmin(), 1, len(_BENDS) - 2))
    left, middle, right = costs[best - 1 : best + 2]
    curvature = left - 2.0 * middle + right
    shift = 0.5 * (left - right) / curvature if curvature > 0.0 else 0.0
    bend = float(_BENDS[best] + np.clip(shift, -1.0, 1.0) * (_BENDS[1] - _BENDS[0]))
    return [TagView(view.cells, _undistorted(view, bend)[0], view.shape) for view in views]


def _undistorted(view: TagView, bend: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners under the division model, (n, 4, 2), and by how much each place was magnified, (n, 4)."""
    height, width = view.shape
    centre = 0.5 * (np.array([width, height]) - 1.0)
    offset = view.corners - centre
    squared_radius = (offset**2).sum(axis=2) / (centre**2).sum()
    magnification = 1.0 / np.maximum(1.0 + bend * squared_radius, 0.05)
    return centre + offset * magnification[..., None], magnification


def _bent(view: TagView, spacing: float, bend: float) -> float:
    """Sum of squared distances, in pixels of the picture, to a homography of the whole grid."""
    straight, magnification = _undistorted(view, bend)
    board = (view.cells[:, None] * (1.0 + spacing) + _CORNERS).reshape(-1, 2)
    homography = _homography(board, straight.reshape(-1, 2))
    if homography is None:
        return float("inf")
    seen = np.column_stack([board, np.ones(len(board))]) @ homography.T
    residual = np.linalg.norm(seen[:, :2] / seen[:, 2:] - straight.reshape(-1, 2), axis=1) / magnification.ravel()
    return float((residual**2).sum())


def _homography(board: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The least-squares homography; None where the points do not determine one."""
    found = cv2.findHomography(board, pixels, 0)[0]
    return None if found is None else np.asarray(found, dtype=np.float64)


def _fit_block(cells: NDArray[np.int64], corners: NDArray[np.float64], start: float) -> tuple[float, float]:
    """Spacing of one block and its variance (not finite where the block does not determine it)."""
    spacing = start
    pixels = corners.reshape(-1, 2)
    shift = np.repeat(cells, 4, axis=0).astype(np.float64)
    fixed = np.tile(_CORNERS, (len(cells), 1)) + shift
    nothing = float("nan"), float("inf")
    for _ in range(2):
        board = fixed + spacing * shift
        homography = _homography(board, pixels)
        if homography is None:
            return nothing
        homogeneous = np.column_stack([board, np.ones(len(board))])
        u, v, w = homography @ homogeneous.T
        seen = np.stack([u / w, v / w], axis=1)
        by_h = np.zeros((len(board), 2, 8))
        by_h[:, 0, :3] = by_h[:, 1, 3:6] = homogeneous / w[:, None]
        by_h[:, :, 6:] = -seen[:, :, None] * (board / w[:, None])[:, None]
        by_board = (homography[None, :2, :2] - seen[:, :, None] * homography[2:, :2]) / w[:, None, None]
        by_spacing = np.einsum("nij,nj->ni", by_board, shift)
        jacobian = np.concatenate([by_h, by_spacing[:, :, None]], axis=2).reshape(-1, 9)
        scale = np.linalg.norm(jacobian, axis=0)
        residual = (pixels - seen).ravel()
        q, r = np.linalg.qr(jacobian / scale)
        if abs(r[8, 8]) < 1e-9:
            return nothing
        # Of the triangular system only its last row concerns the spacing.
        step = float(q[:, 8] @ residual / r[8, 8] / scale[8])
        spacing += step
        rest = residual - q @ (q.T @ residual)
    variance = float(rest @ rest / max(1, len(residual) - 9) / (r[8, 8] * scale[8]) ** 2)
    return (spacing, variance) if abs(spacing - start) < 0.5 * start else nothing
