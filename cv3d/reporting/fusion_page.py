"""The report of a fusion: the surface in space, how much of each frame went into it, what was left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import cv3d
from cv3d.fusion.result import FusedFrame, FusionResult, PosesFrom, dropped_words
from cv3d.reporting import svg
from cv3d.reporting.page import Html, figure, joined, number, page, percent, section, table, tag
from cv3d.reporting.report_parts import tile
from cv3d.reporting.scenes.plotly_scene import draw, plotly_library
from cv3d.reporting.scenes.scene import Scene, SceneCameras, SceneMesh, ScenePath, behind_cameras

_MOST_DROPPED = 60
_MOST_CAMERAS = 20
_POSES = {
    PosesFrom.FILE: "the trajectory given",
    PosesFrom.RECORDING: "the recording's own",
    PosesFrom.ODOMETRY: "RGB-D odometry, run for this",
}


def fusion_page(result: FusionResult, title: str) -> str:
    """The whole page.

    Args:
        result: of the fusion.
        title: of the page.
    """
    drawn = draw(_scene(result), "space", "72vh")
    notes = list(result.warnings)
    if result.interrupted:
        notes.insert(0, "The fusion was interrupted; this is what was fused until then.")
    warned = tag("div", tag("b", "Warnings"), tag("ul", *(tag("li", note) for note in notes)), class_="note")
    words = [f"{note}." for note in drawn.notes]
    body = [
        tag("header", tag("div", tag("h1", title), class_="head"), *([warned] if notes else [])),
        tag("dl", *_tiles(result), class_="tiles"),
        section("surface", "Surface", drawn.markup, *(tag("p", word, class_="soft") for word in words)),
        section(
            "coverage", "Depth", _coverage(result.frames), tag("div", _speed(result.frames), style="margin-top:14px")
        ),
        *([_dropped(result)] if result.dropped else []),
        tag("footer", joined([f"cv3d {cv3d.__version__} · {result.device} · in all {result.elapsed_s:.2f} s"])),
    ]
    return page(title, body, scripts=[plotly_library(), drawn.script])


def _tiles(result: FusionResult) -> list[Html]:
    size = " × ".join(number(side) for side in (result.bounds_m[1] - result.bounds_m[0]).tolist())
    speed = result.ms_per_frame
    chosen = "chosen from the depth's noise and range" if result.is_voxel_chosen else "as asked for"
    spilled = f", {result.spilled_blocks:,} of them on disk" if result.spilled_blocks else ""
    return [
        tile("Triangles", f"{len(result.mesh.triangles):,}", f"{len(result.mesh.vertices):,} vertices"),
        tile("Size", f"{size} m", "of the surface, along x, y, z"),
        tile("Voxel", f"{1000.0 * result.voxel_m:g} mm", chosen),
        tile(
            "Frames", f"{len(result.frames):,}", f"{len(result.dropped)} left out; poses: {_POSES[result.poses_from]}"
        ),
        tile("Rejected depth", percent(result.rejected_fraction), "edges, flying and grazing pixels"),
        tile("Time a frame", f"{number(speed['p50'])} ms", f"95 % within {number(speed['p95'])} ms; {result.device}"),
        tile("Memory", f"{result.peak_memory_mb:.0f} MB", f"at most; {result.blocks:,} blocks{spilled}"),
    ]


def _scene(result: FusionResult) -> Scene:
    path = result.trajectory
    kept = np.unique(np.linspace(0, len(path) - 1, min(len(path), _MOST_CAMERAS)).astype(np.int64))
    labels = tuple(f"{path.times[i]:.3f} s" for i in kept.tolist())
    return Scene(
        (
            SceneMesh("surface", result.mesh),
            ScenePath("path", path.positions, path.times),
            SceneCameras("cameras", path.world_from_cam[kept], (result.camera,) * len(kept), labels),
        ),
        result.up,
        behind_cameras(path.world_from_cam, result.bounds_m),
    )


def _coverage(frames: tuple[FusedFrame, ...]) -> Html:
    measured = 100.0 * np.array([frame.measured for frame in frames])
    used = 100.0 * np.array([frame.used for frame in frames])
    chart = _over_frames(
        frames,
        [("measured", measured, "var(--accent)", ""), ("used", used, "var(--ink)", "")],
        "pixels, %",
        105.0,
        "share of the pixels with depth",
    )
    caption = "Pixels with depth in the range, and those that went into the surface, of every frame."
    return figure(chart, "Coverage", caption)


def _speed(frames: tuple[FusedFrame, ...]) -> Html:
    ms = np.array([frame.ms for frame in frames])
    top = 1.25 * float(np.quantile(ms, 0.98))
    chart = _over_frames(frames, [("time", np.minimum(ms, top), "var(--accent)", "")], "ms", top, "time of each frame")
    return figure(chart, "Time", "Of the integration of each frame, its share of the batch; decoding is not in it.")


def _over_frames(
    frames: tuple[FusedFrame, ...],
    lines: list[tuple[str, NDArray[np.float64], str, str]],
    unit: str,
    top: float,
    label: str,
) -> Html:
    index = np.array([frame.index for frame in frames], np.float64)
    x = svg.Axis(float(index.min()), max(float(index.max()), float(index.min()) + 1.0), 66.0, 1060.0)
    y = svg.Axis(0.0, max(top, 1e-3), 240.0, 14.0)
    drawn = []
    for _, values, colour, dash in lines:
        placed = np.stack([x.place(index), y.place(values)], axis=1)
        drawn.append(svg.path(svg.polyline(placed), colour, 1.8, stroke_dasharray=dash or None))
        if len(frames) == 1:
            drawn.append(svg.dots(placed, colour, 6.0))
    key = [svg.key([(colour, dash, name) for name, _, colour, dash in lines], x.start + 12.0, y.start - 34.0)]
    parts = [svg.frame(x, y, "frame", unit), *drawn, *(key if len(lines) > 1 else [])]
    return tag("div", svg.drawing(1084.0, 290.0, label, *parts), class_="broad")


def _dropped(result: FusionResult) -> Html:
    rows = [("", [str(one.index), one.name, one.reason]) for one in result.dropped[:_MOST_DROPPED]]
    more = len(result.dropped) - len(rows)
    said = [tag("p", f"And {more} more; result.json lists them all.", class_="soft")] if more > 0 else []
    return section(
        "left-out",
        "Frames left out",
        tag("p", dropped_words(result.dropped)),
        table(("frame", "name", "why"), rows, numeric=(0,)),
        *said,
    )
