"""The picture of a trajectory's comparison: the path from three sides, coloured by its error; the error over time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cv3d.errors import OutputError, UsageError
from cv3d.evaluation.trajectory.result import TrajectoryEvaluation
from cv3d.formats.atomic import atomic_write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

SUFFIXES = (".png", ".pdf", ".svg")
_SIDES = ((0, 1), (0, 2), (1, 2))
_AXES = "xyz"
_COLOURS = "viridis"
_REFERENCE = "#9a9a9a"
_BREAK_STEPS = 5.0
"""Steps of the usual length from which on two poses are not joined by a line: tracking was lost between them."""
_TOP_SHARE = 0.99
"""Share of the poses up to whose error the colours reach: one outlier must not take them all."""


def check_plot_name(path: str | os.PathLike[str]) -> None:
    """See that a plot can be written under a name.

    Raises:
        UsageError: its ending is none of a picture that can be drawn.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UsageError(f"--plot '{path}': the file's name ends with one of {', '.join(SUFFIXES)}")


def write_trajectory_plot(result: TrajectoryEvaluation, path: str | os.PathLike[str], title: str = "") -> None:
    """Draw a comparison into a file.

    Args:
        result: the comparison.
        path: a .png, .pdf or .svg file.
        title: what stands above it.

    Raises:
        UsageError: the ending is another.
        OutputError: the file cannot be written.
    """
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_plot_name(path)
    errors = result.absolute.translation_m
    figure = Figure(figsize=(11.0, 9.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    norm = _norm(errors)
    for ax, side in zip(axes.ravel(), _SIDES, strict=False):
        coloured = _draw_side(ax, result, side, norm)
    bar = figure.colorbar(coloured, ax=axes, shrink=0.6, aspect=40, extend="max")
    bar.set_label("absolute translation error, m")
    _draw_errors(axes[1, 1], result)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[0, 0].legend(handles, labels, loc="best", frameon=True, fontsize=8)
    figure.suptitle(title or _title(result), fontsize=11)
    stream = io.BytesIO()
    metadata = {"Software": None} if Path(path).suffix.lower() == ".png" else {"Creator": None}
    figure.savefig(stream, format=Path(path).suffix.lower().lstrip("."), metadata=metadata)
    try:
        atomic_write_bytes(path, stream.getvalue())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def _title(result: TrajectoryEvaluation) -> str:
    scale = f", scale {result.aligned.scale:.5g}" if result.aligned.kind in ("sim3", "scale") else ""
    length = result.reference.length_m
    return f"ATE {result.ate.rmse:.4g} m RMS over {length:.4g} m, alignment {result.aligned.kind}{scale}"


def _norm(errors: np.ndarray) -> Normalize:
    from matplotlib.colors import Normalize

    top = float(np.quantile(errors, _TOP_SHARE))
    return Normalize(0.0, top if top > 0.0 else 1.0)


def _draw_side(ax: Axes, result: TrajectoryEvaluation, side: tuple[int, int], norm: Normalize) -> LineCollection:
    from matplotlib.collections import LineCollection

    first, second = side
    true, own = result.full_reference.positions, result.estimate.positions
    ax.plot(true[:, first], true[:, second], color=_REFERENCE, linewidth=1.0, linestyle="--", label="reference")
    joined = _joined(result)
    segments = np.stack([own[:-1][:, side], own[1:][:, side]], axis=1)[joined]
    errors = result.absolute.translation_m
    lines = LineCollection(list(segments), cmap=_COLOURS, norm=norm, linewidths=1.8, label="estimate")
    lines.set_array((0.5 * (errors[:-1] + errors[1:]))[joined])
    ax.add_collection(lines)
    ax.plot(*own[0, side], marker="o", color="#d1495b", markersize=6, linestyle="none", label="first pose")
    ax.set_xlabel(f"{_AXES[first]}, m")
    ax.set_ylabel(f"{_AXES[second]}, m")
    ax.set_aspect("equal", adjustable="datalim")
    ax.grid(True, linewidth=0.4, alpha=0.5)
    ax.autoscale_view()
    return lines


def _joined(result: TrajectoryEvaluation) -> np.ndarray:
    """Which neighbouring matched poses belong to one unbroken stretch, (n - 1,)."""
    steps = np.diff(result.estimate.times)
    return steps <= _BREAK_STEPS * float(np.median(steps))


def _draw_errors(ax: Axes, result: TrajectoryEvaluation) -> None:
    timed = result.reference.is_timed
    times = result.reference.times - (result.reference.times[0] if timed else 0.0)
    ax.plot(times, result.absolute.translation_m, color="#1f5f8b", linewidth=1.0, label="translation")
    ax.axhline(result.ate.rmse, color="#1f5f8b", linewidth=0.9, linestyle="--")
    ax.annotate(
        f"RMS {result.ate.rmse:.3g} m",
        (1.0, result.ate.rmse),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color="#1f5f8b",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
    )
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("time, s" if timed else "frame")
    ax.set_ylabel("translation error, m", color="#1f5f8b")
    ax.grid(True, linewidth=0.4, alpha=0.5)
    turned = ax.twinx()
    turned.plot(times, result.absolute.rotation_deg, color="#c06c2b", linewidth=0.7, alpha=0.8)
    turned.set_ylim(bottom=0.0)
    turned.set_ylabel("rotation error, degrees", color="#c06c2b")
