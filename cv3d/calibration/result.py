"""What a calibration is: the camera, how sure it is, and everything needed to redraw or audit it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.calibration.boards import Board
from cv3d.calibration.checks.base import Finding
from cv3d.calibration.deformation import Deformation
from cv3d.calibration.detecting import Source
from cv3d.calibration.framing import Framing
from cv3d.calibration.quality import Coverage, Tilt, UncertaintyMap, Verdict
from cv3d.calibration.selection import ModelScore
from cv3d.geometry.cameras.camera import Camera

RESULT_SCHEMA = "cv3d.calibration/1"
_SHOWN_PARAMETERS = 20
"""A spline has hundreds."""


@dataclass(frozen=True)
class BoardView:
    """One picture and what it shows of the board, used or not."""

    picture: Source = field(repr=False, compare=False)
    """The picture itself, decoded only when asked."""
    reason: str
    """Why it was not used; empty for a view that was."""
    framing: Framing
    """How the picture's own pixels map into the camera's image frame."""
    point_ids: NDArray[np.int64]
    """Indices into the board's points, (n,)."""
    pixels: NDArray[np.float64]
    """Corners in the camera's image frame, (n, 2), pixels."""
    residuals: NDArray[np.float64]
    """Projected minus observed, (n, 2), pixels; NaN for a view that was not used."""
    outliers: NDArray[np.bool_]
    """Corners left out of the fit, (n,)."""

    @property
    def name(self) -> str:
        """As the user knows it."""
        return self.picture.name

    @property
    def used(self) -> bool:
        """Whether the view took part in the fit."""
        return not self.reason

    @property
    def rms_px(self) -> float:
        """RMS of the corners used, pixels; NaN for a view that was not used."""
        kept = self.residuals[~self.outliers]
        return math.sqrt(float((kept**2).sum(axis=1).mean())) if self.used and len(kept) else math.nan


@dataclass(frozen=True)
class View(BoardView):
    """One picture of a camera's set."""

    cam_from_board: NDArray[np.float64] | None
    """Pose, (4, 4), in metres (squares where the board's size is unknown); None for a view that was not used."""


@dataclass(frozen=True)
class Warp:
    """How the board differs from its drawing: it bends, and its rows and columns differ in scale."""

    coefficients: tuple[float, float, float]
    """Heights of the bending modes `1 - u^2`, `1 - v^2`, `u v` over the normalised board, in metres (squares where the
    board's size is unknown); zeros where bending was not estimated."""
    std: tuple[float, float, float]
    """Their standard deviations, in the same unit; zeros where bending was not estimated."""
    stretch: float | None = None
    """How much longer the board is along its rows than along its columns, a ratio less 1: rows are scaled by
    `1 + stretch / 2` and columns by `1 - stretch / 2`. None where it was not estimated."""
    stretch_std: float | None = None
    """Its standard deviation."""

    @classmethod
    def of(cls, estimated: Deformation, warp: Tensor, std: Tensor) -> Warp:
        """From an estimation.

        Args:
            estimated: which modes of deformation were estimated.
            warp: the coefficients of all modes, (4,).
            std: standard deviations of those that were estimated, (k,).
        """
        every = torch.zeros_like(warp)
        every[estimated.modes] = std
        (a, b, c, stretch), (sa, sb, sc, stretch_std) = warp.tolist(), every.tolist()
        if Deformation.STRETCHED not in estimated:
            return cls((a, b, c), (sa, sb, sc))
        return cls((a, b, c), (sa, sb, sc), stretch, stretch_std)

    @property
    def bent(self) -> bool:
        """Whether bending was estimated."""
        return any(self.coefficients)

    def as_dict(self) -> dict[str, object]:
        """The deformation as plain data."""
        return {
            "coefficients": list(self.coefficients),
            "std": list(self.std),
            "stretch": self.stretch,
            "stretch_std": self.stretch_std,
        }


def board_dict(board: Board, warp: Warp | None) -> dict[str, object]:
    """A board and how it differs from its drawing, as plain data."""
    return {
        "type": board.type.value,
        "rows": board.rows,
        "cols": board.cols,
        "square_m": board.square_m,
        "dictionary": None if board.dictionary is None else f"DICT_{board.dictionary}",
        "marker_ratio": board.marker_ratio,
        "warp": None if warp is None else warp.as_dict(),
    }


@dataclass(frozen=True)
class Seconds:
    """Where the time went, seconds."""

    detect: float
    solve: float
    total: float


@dataclass(frozen=True)
class Calibration:
    """The result of :func:`cv3d.calibrate`."""

    camera: Camera
    board: Board
    rms_px: float
    """RMS distance between projected and detected corners over the views used, pixels."""
    holdout_rms_px: float
    """The same over views that were left out of the fit in turn, pixels."""
    noise_px: float
    """Estimated standard deviation of one corner coordinate, pixels."""
    covariance: NDArray[np.float64]
    """Covariance of the camera's parameters, (P, P); NaN where the data do not determine them."""
    views: tuple[View, ...]
    """Every picture of the input, in order."""
    models: tuple[ModelScore, ...]
    """The lens models compared, simplest first; a single one where the user chose."""
    warp: Warp | None
    """The board's bending and stretch, where either was estimated."""
    uncertainty: UncertaintyMap
    coverage: Coverage
    tilt: Tilt
    verdict: Verdict
    seconds: Seconds
    seed: int
    warnings: tuple[str, ...] = ()
    """What the user should know although the calibration is done."""
    findings: tuple[Finding, ...] = ()
    """What the watch-out checks found; the sentences of those that are warnings are among `warnings` too."""

    @property
    def used(self) -> tuple[View, ...]:
        """The views that took part in the fit."""
        return tuple(view for view in self.views if view.used)

    @property
    def rejected(self) -> tuple[View, ...]:
        """The pictures that did not, each with its reason."""
        return tuple(view for view in self.views if not view.used)

    @property
    def params(self) -> dict[str, float]:
        """Every camera parameter by name."""
        return dict(zip(self.camera.lens.param_names, self.camera.params, strict=True))

    @property
    def params_std(self) -> dict[str, float]:
        """Standard deviation of every camera parameter."""
        deviations = np.sqrt(np.maximum(np.diag(self.covariance), 0.0))
        return dict(zip(self.camera.lens.param_names, (float(d) for d in deviations), strict=True))

    def as_dict(self) -> dict[str, object]:
        """The result as plain data, as `--json` prints it."""
        return {
            "schema": RESULT_SCHEMA,
            "board": board_dict(self.board, self.warp),
            "camera": {
                "model": self.camera.model,
                "width": self.camera.width,
                "height": self.camera.height,
                "params": self.params,
                "std": self.params_std,
            },
            "rms_px": self.rms_px,
            "holdout_rms_px": self.holdout_rms_px,
            "noise_px": self.noise_px,
            "views": {
                "total": len(self.views),
                "used": len(self.used),
                "rejected": [{"file": view.name, "reason": view.reason} for view in self.rejected],
                "per_view": [
                    {
                        "file": view.name,
                        "corners": len(view.pixels),
                        "outliers": int(view.outliers.sum()),
                        "rms_px": view.rms_px,
                        "note": view.framing.note or None,
                    }
                    for view in self.used
                ],
            },
            "models": [
                {
                    "model": score.model,
                    "parameters": score.parameters,
                    "rms_px": score.rms_px,
                    "holdout_rms_px": score.holdout_rms_px,
                    "verdict": score.verdict,
                }
                for score in self.models
            ],
            "uncertainty_px": {
                "center": self.uncertainty.center,
                "edge": self.uncertainty.edge,
                "corner": self.uncertainty.corner,
            },
            "coverage": {
                "center": self.coverage.center,
                "edge": self.coverage.edge,
                "corner": self.coverage.corner,
                "total": self.coverage.total,
            },
            "tilt": {
                "max_deg": self.tilt.max_deg,
                "tilted_views": self.tilt.tilted_views,
                "spread_deg": self.tilt.spread_deg,
            },
            "verdict": self.verdict.level.value,
            "sentence": self.verdict.sentence,
            "advice": list(self.verdict.advice),
            "warnings": list(self.warnings),
            "findings": [finding.as_dict() for finding in self.findings],
            "seed": self.seed,
            "seconds": {"detect": self.seconds.detect, "solve": self.seconds.solve, "total": self.seconds.total},
        }

    def __repr__(self) -> str:
        named = list(self.params.items())
        values = ", ".join(f"{name} {value:.6g}" for name, value in named[:_SHOWN_PARAMETERS])
        if len(named) > _SHOWN_PARAMETERS:
            values += f" and {len(named) - _SHOWN_PARAMETERS} more"
        return (
            f"Calibration({self.camera.model} {self.camera.width}x{self.camera.height}: {values}; {self.board}; "
            f"{len(self.used)} of {len(self.views)} views; RMS {self.rms_px:.4f} px, held out "
            f"{self.holdout_rms_px:.4f} px; {self.verdict.sentence})"
        )
