"""What a calibration is worth: coverage, variety of views, uncertainty over the image, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.calibration.uncertainty import CameraCovariance
from cv3d.geometry.cameras import get_model

_CELLS = 48
_MAP_COLUMNS = 48
_TILTED_DEG = 15.0


@dataclass(frozen=True)
class Coverage:
    """Share of the image over which the board was seen, by zone, 0 to 1."""

    center: float
    """Inner third in both directions."""
    edge: float
    """Outer third in one direction."""
    corner: float
    """Outer third in both directions."""
    total: float
    density: NDArray[np.int64]
    """Number of views that cover each cell, (rows, cols)."""


@dataclass(frozen=True)
class Tilt:
    """Variety of the board's orientations."""

    max_deg: float
    """Largest angle between the board's normal and the direction in which it was seen, degrees."""
    tilted_views: int
    """Views tilted by more than 15 degrees."""
    spread_deg: float
    """Root mean square angle between the boards' normals and their mean, degrees."""


@dataclass(frozen=True)
class UncertaintyMap:
    """Projection uncertainty over the image: worst-direction standard deviation, pixels."""

    x: NDArray[np.float64]
    """Columns of the map, (C,), pixels."""
    y: NDArray[np.float64]
    """Rows of the map, (R,), pixels."""
    at_infinity: NDArray[np.float64]
    """(R, C); NaN outside the model's domain."""
    at_board: NDArray[np.float64]
    """At the median distance of the boards, (R, C)."""
    board_range: float
    """That distance, in metres (squares where the board's size is unknown)."""
    center: float
    """At the image centre, for points at infinity."""
    edge: float
    """Worst of the four edge midpoints, for points at infinity."""
    corner: float
    """Worst of the four corners, for points at infinity."""


class Level(StrEnum):
    """How far a calibration can be trusted."""

    GOOD = "good"
    USABLE = "usable"
    POOR = "poor"
    UNOBSERVABLE = "unobservable"


@dataclass(frozen=True)
class Verdict:
    """The judgement, and what would improve it."""

    level: Level
    sentence: str
    advice: tuple[str, ...]

    def __str__(self) -> str:
        return self.sentence


def coverage(
    views: Sequence[NDArray[np.float64]], width: int, height: int, valid: NDArray[np.bool_] | None = None
) -> Coverage:
    """Where the board was seen.

    Args:
        views: corner pixels of each view, (n, 2).
        width: image width, pixels.
        height: image height, pixels.
        valid: cells that can be covered at all, (rows, cols); None: all.
    """
    rows, cols = cell_grid(width, height)
    density = np.zeros((rows, cols), np.int64)
    scale = np.array([cols / width, rows / height])
    for pixels in views:
        hull = cv2.convexHull(((pixels + 0.5) * scale * 16.0 - 8.0).astype(np.int32).reshape(-1, 1, 2))
        mask = np.zeros((rows, cols), np.uint8)
        cv2.fillConvexPoly(mask, hull, 1, shift=4)
        density += mask
    able = np.ones((rows, cols), bool) if valid is None else valid
    outer_y = np.abs((np.arange(rows) + 0.5) / rows - 0.5) > 1.0 / 6.0
    outer_x = np.abs((np.arange(cols) + 0.5) / cols - 0.5) > 1.0 / 6.0
    both = outer_y[:, None] & outer_x[None, :]
    one = outer_y[:, None] ^ outer_x[None, :]
    neither = ~(outer_y[:, None] | outer_x[None, :])

    def share(zone: NDArray[np.bool_]) -> float:
        inside = zone & able
        return float((density[inside] > 0).mean()) if inside.any() else 0.0

    return Coverage(share(neither), share(one), share(both), share(np.ones_like(both)), density)


def cell_grid(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of the coverage grid."""
    if width >= height:
        return max(1, round(_CELLS * height / width)), _CELLS
    return _CELLS, max(1, round(_CELLS * width / height))


def cell_centres(width: int, height: int) -> Tensor:
    """Pixel positions of the coverage grid's cells, (rows, cols, 2)."""
    rows, cols = cell_grid(width, height)
    y = (torch.arange(rows, dtype=torch.float64) + 0.5) * height / rows - 0.5
    x = (torch.arange(cols, dtype=torch.float64) + 0.5) * width / cols - 0.5
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flip(-1)


def tilt(rotation: Tensor, translation: Tensor, board_centre: Tensor) -> Tilt:
    """Variety of orientations from poses.

    Args:
        rotation: cam_from_board, (V, 3, 3).
        translation: (V, 3).
        board_centre: the board's middle in its own frame, (3,).
    """
    normals = rotation[..., 2]
    centres = rotation @ board_centre + translation
    views = centres / torch.linalg.vector_norm(centres, dim=-1, keepdim=True)
    angles = torch.rad2deg(torch.acos(torch.clamp((normals * views).sum(dim=-1).abs(), max=1.0)))
    mean = normals.mean(dim=0)
    mean = mean / torch.linalg.vector_norm(mean)
    spread = torch.rad2deg(torch.acos(torch.clamp(normals @ mean, -1.0, 1.0)))
    return Tilt(
        max_deg=float(angles.max()),
        tilted_views=int((angles > _TILTED_DEG).sum()),
        spread_deg=float(torch.sqrt((spread**2).mean())),
    )


def uncertainty_map(covariance: CameraCovariance, width: int, height: int, board_range: float) -> UncertaintyMap:
    """Projection uncertainty on a grid over the image and at its named places.

    A named place outside the model's domain (the black corner of a fisheye picture) is moved towards the centre
    until inside.
    """
    cols = _MAP_COLUMNS
    rows = max(2, round(cols * height / width))
    x = torch.linspace(0, width - 1, cols, dtype=torch.float64)
    y = torch.linspace(0, height - 1, rows, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flip(-1).reshape(-1, 2)
    right, bottom = float(width - 1), float(height - 1)
    centre = torch.tensor([[0.5 * right, 0.5 * bottom]], dtype=torch.float64)
    edges = torch.tensor(
        [[0.0, 0.5 * bottom], [right, 0.5 * bottom], [0.5 * right, 0.0], [0.5 * right, bottom]], dtype=torch.float64
    )
    corners = torch.tensor([[0.0, 0.0], [right, 0.0], [0.0, bottom], [right, bottom]], dtype=torch.float64)
    return UncertaintyMap(
        x=x.numpy(),
        y=y.numpy(),
        at_infinity=covariance.projection_std(grid).reshape(rows, cols).numpy(),
        at_board=covariance.projection_std(grid, board_range).reshape(rows, cols).numpy(),
        board_range=board_range,
        center=_worst(covariance, centre, centre),
        edge=_worst(covariance, edges, centre),
        corner=_worst(covariance, corners, centre),
    )


def _worst(covariance: CameraCovariance, places: Tensor, centre: Tensor) -> float:
    model = get_model(covariance.model)
    steps = torch.linspace(1.0, 0.0, 101, dtype=torch.float64)
    rays = centre + steps[:, None, None] * (places - centre)
    valid = model.valid_pixels(covariance.params, rays)
    if not bool(valid.any(dim=0).all()):
        return math.nan
    outermost = rays[valid.to(torch.int8).argmax(dim=0), torch.arange(len(places))]
    return float(covariance.projection_std(outermost).max())


@dataclass(frozen=True)
class Evidence:
    """What the verdict is drawn from."""

    views: int
    rms_px: float
    holdout_rms_px: float
    width: int
    focal_std_share: float
    """Standard deviation of fx divided by fx."""
    coverage: Coverage
    tilt: Tilt
    uncertainty: UncertaintyMap


def judge(evidence: Evidence) -> Verdict:
    """The one sentence a user needs.

    Limits scale with the image: a pixel at 1000 pixels of width is the yardstick.
    """
    pixel = max(evidence.width / 1000.0, 0.5)
    advice: list[str] = []
    if evidence.tilt.tilted_views < 3 or evidence.tilt.spread_deg < 8.0:
        advice.append("add pictures with the board tilted by 20-45 degrees in different directions")
    if evidence.coverage.corner < 0.5:
        advice.append("add pictures with the board in the corners of the image")
    elif evidence.coverage.edge < 0.6:
        advice.append("add pictures with the board at the edges of the image")
    if evidence.coverage.center < 0.5:
        advice.append("add pictures with the board in the middle of the image")
    if evidence.views < 8:
        advice.append(f"add pictures ({evidence.views} are used; 10 to 20 varied ones are enough)")
    overfit = evidence.holdout_rms_px > 1.5 * evidence.rms_px
    corner, edge = evidence.uncertainty.corner, evidence.uncertainty.edge
    where = f"known to {corner:.2f} px (1 sigma)" if math.isfinite(corner) else "not known"
    known = f"a point at the image corner is {where}, RMS {evidence.rms_px:.3f} px"
    if not math.isfinite(corner) or evidence.focal_std_share > 0.05 or corner > 10.0 * pixel:
        return Verdict(Level.POOR, f"poor: {known}; {_join(advice)}", tuple(advice))
    if corner <= 1.0 * pixel and edge <= 0.7 * pixel and evidence.rms_px <= 1.0 * pixel and not overfit:
        sentence = f"good: {known}"
        if advice:
            sentence += f"; to be surer still, {advice[0]}"
        return Verdict(Level.GOOD, sentence, tuple(advice))
    if evidence.rms_px > 1.0 * pixel:
        advice.append("check that the board is flat, the pictures sharp and the focus fixed: the residuals are large")
    if overfit:
        advice.append("views not used in a fit are explained worse than those used: add more varied pictures")
    return Verdict(Level.USABLE, f"usable: {known}; {_join(advice)}", tuple(advice))


def unobservable(reason: str) -> Verdict:
    """The verdict on pictures that do not determine the camera."""
    advice = (
        "add pictures with the board tilted by 20-45 degrees in different directions, and in the image's corners",
    )
    return Verdict(Level.UNOBSERVABLE, f"unobservable: {reason}; {advice[0]}", advice)


def _join(advice: Sequence[str]) -> str:
    return "; ".join(advice) if advice else "more pictures, closer to the board and sharper, would lower it"
