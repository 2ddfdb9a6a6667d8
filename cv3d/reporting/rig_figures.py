"""The drawings of a rig's report: the cameras and boards in space, and which camera saw the board when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.rig.result import RigCalibration
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.reporting import svg
from cv3d.reporting.figures import EQUAL_HEIGHT, equal_axes
from cv3d.reporting.heatmap import WIDTH
from cv3d.reporting.page import Html, escaped, joined, tag
from cv3d.reporting.svg import Axis, Points

MOST_BOARDS = 60
"""Boards drawn in one view of the rig; more would only cover each other."""
_COLOURS = ("--warm", "--accent", "--good", "--unobservable", "--usable", "--poor")
_BORDER_STEPS = 12
_LETTER = 7.6
_LINE = 17.0
_NO_PICTURE, _NO_BOARD, _SEEN, _USED = range(4)


def camera_colour(index: int) -> str:
    """The colour of a camera in every drawing."""
    return f"var({_COLOURS[index % len(_COLOURS)]})"


@dataclass(frozen=True)
class _Projection:
    """A parallel projection onto the page."""

    anchor: str
    title: str
    page_from_rig: NDArray[np.float64]
    """(2, 3)."""
    axes: tuple[str, str] | None
    """What the page's axes are; None where they are none of the rig's own."""
    y_down: bool
    caption: str


def _oblique() -> NDArray[np.float64]:
    """Seen from behind the first camera, from the right and above."""
    yaw, pitch = np.radians(-32.0), np.radians(24.0)
    about_y = np.array([[np.cos(yaw), 0.0, np.sin(yaw)], [0.0, 1.0, 0.0], [-np.sin(yaw), 0.0, np.cos(yaw)]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(pitch), -np.sin(pitch)], [0.0, np.sin(pitch), np.cos(pitch)]])
    turned: NDArray[np.float64] = (about_x @ about_y)[:2]
    return turned


_PROJECTIONS = (
    _Projection("rg0", "In space", _oblique(), None, True, "Seen from behind, above and the right"),
    _Projection(
        "rg1",
        "From above",
        np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
        ("x (right)", "z (forward)"),
        False,
        "Looking down",
    ),
    _Projection(
        "rg2",
        "From the side",
        np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
        ("z (forward)", "y (down)"),
        True,
        "Looking from the left",
    ),
    _Projection(
        "rg3",
        "From behind",
        np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
        ("x (right)", "y (down)"),
        True,
        "Looking as the first camera does",
    ),
)


@dataclass(frozen=True)
class RigView3D:
    """One drawing of the rig."""

    title: str
    drawing: Html
    caption: str


def rig_drawings(calibration: RigCalibration) -> list[RigView3D]:
    """The cameras as pyramids of view with their names, and the boards, from four directions.

    Coordinates are those of the first camera.
    """
    boards = _boards(calibration)
    centres = np.array([inverse_rigid(item.cam_from_cam0)[:3, 3] for item in calibration.cameras])
    length = _pyramid_length(centres, boards)
    pyramids = [
        inverse_rigid(item.cam_from_cam0)[:3] @ _homogeneous(_border_rays(item.camera) * length).T
        for item in calibration.cameras
    ]
    unit = "m" if calibration.board.square_m is not None else "squares"
    names = [item.name for item in calibration.cameras]
    forward = np.array([item.cam_from_cam0[2, :3] for item in calibration.cameras])
    scene = _Scene(centres, forward, [pyramid.T for pyramid in pyramids], boards, names, length)
    drawn = []
    for projection in _PROJECTIONS:
        drawn.append(RigView3D(projection.title, _drawing(projection, scene, unit), projection.caption))
    return drawn


@dataclass(frozen=True)
class _Scene:
    centres: NDArray[np.float64]
    """Of the cameras, (C, 3)."""
    forward: NDArray[np.float64]
    """Directions in which they look, (C, 3)."""
    pyramids: list[NDArray[np.float64]]
    """The far border of what each camera sees, (B, 3) each."""
    boards: NDArray[np.float64]
    """Outlines, (F, 4, 3)."""
    names: list[str]
    length: float
    """Of the pyramids."""


def _drawing(projection: _Projection, scene: _Scene, unit: str) -> Html:
    to_page = projection.page_from_rig.T
    flat_boards = scene.boards @ to_page
    flat_pyramids = [pyramid @ to_page for pyramid in scene.pyramids]
    flat_centres = scene.centres @ to_page
    flat_tips = (np.eye(3) * 0.75 * scene.length) @ to_page
    every = np.concatenate([flat_boards.reshape(-1, 2), *flat_pyramids, flat_centres, 1.2 * flat_tips])
    x, y = equal_axes(every, y_down=projection.y_down)

    def place(points: Points) -> Points:
        return np.stack([x.place(points[:, 0]), y.place(points[:, 1])], axis=1)

    outlines = "".join(svg.polyline(place(board), closed=True) for board in flat_boards)
    parts: list[Html] = [_area(outlines, "var(--mute)", 0.06, 0.8)]
    for index, (pyramid, centre) in enumerate(zip(flat_pyramids, flat_centres, strict=True)):
        parts.append(_pyramid(place(pyramid), place(centre[None])[0], camera_colour(index)))
    tips = place(flat_tips)
    parts.append(_own_axes(tips, place(np.zeros((1, 2)))[0]))
    ahead = place((scene.centres + scene.length * scene.forward) @ to_page) - place(flat_centres)
    labels = _labels(scene.names, place(flat_centres), ahead, [(tx, ty, 7.0) for tx, ty in tips.tolist()], x, y)
    if projection.axes is None:
        frame = joined([svg.rectangle(x, y, fill="none", stroke="var(--mute)"), _scale_bar(x, y, unit)])
    else:
        frame = svg.frame(x, y, *(f"{words}, {unit}" for words in projection.axes))
    label = f"Cameras and boards: {projection.caption.lower()}"
    return svg.drawing(WIDTH, EQUAL_HEIGHT, label, frame, svg.clip(projection.anchor, x, y, *parts, labels))


def _pyramid(border: Points, centre: Points, colour: str) -> Html:
    corners = border[::_BORDER_STEPS]
    edges = svg.polyline(border, closed=True) + svg.segments(np.repeat(centre[None], len(corners), axis=0), corners)
    return joined([_area(edges, colour, 0.16, 0.95), svg.dots(centre[None], colour, 8.0)])


def _area(commands: str, colour: str, fill: float, stroke: float) -> Html:
    return tag(
        "path",
        d=Html(commands),
        fill=colour,
        fill_opacity=fill,
        stroke=colour,
        stroke_opacity=stroke,
        stroke_linejoin="round",
        vector_effect="non-scaling-stroke",
    )


def _own_axes(tips: Points, origin: Points) -> Html:
    """The axes of the first camera; one that points at the viewer is left out."""
    parts = []
    for tip, name in zip(tips, "xyz", strict=True):
        shaft = tip - origin
        reach = float(np.hypot(*shaft))
        if reach > 6.0:
            beyond = tip + shaft / reach * 9.0
            parts.append(svg.path(svg.arrows(origin[None], tip[None], 6.0), "var(--ink)", 1.2))
            parts.append(svg.text(float(beyond[0]), float(beyond[1]) + 4.0, name, style="fill:var(--ink)"))
    return joined(parts)


def _labels(
    names: list[str], centres: Points, ahead: Points, taken: list[tuple[float, float, float]], x: Axis, y: Axis
) -> Html:
    """The cameras' names behind them, moved so that none covers another.

    Args:
        names: of the cameras.
        centres: where they are on the page, (C, 2).
        ahead: where they look on the page, (C, 2).
        taken: middle and half width of other labels.
        x: horizontal axis, which the labels do not leave.
        y: vertical axis, likewise.
    """
    parts: list[Html] = []
    taken = list(taken)
    left, right = min(x.start, x.end), max(x.start, x.end)
    top, bottom = min(y.start, y.end), max(y.start, y.end)
    for index, (name, (cx, cy)) in enumerate(zip(names, centres.tolist(), strict=True)):
        half = 0.5 * _LETTER * len(name) + 2.0
        best = (float("inf"), cx, cy)
        for order, (dx, dy) in enumerate(_spots(half, ahead[index])):
            px = min(max(cx + dx, left + half + 2.0), right - half - 2.0)
            py = min(max(cy + dy, top + 13.0), bottom - 6.0)
            covered = sum(abs(px - ox) < half + oh and abs(py - oy) < _LINE for ox, oy, oh in taken)
            moved = abs(px - cx - dx) + abs(py - cy - dy)
            best = min(best, (100.0 * covered + moved + order, px, py))
        _, px, py = best
        taken.append((px, py, half))
        style = f"fill:{camera_colour(index)};font-weight:700;stroke:var(--card);stroke-width:3px;paint-order:stroke"
        parts.append(svg.text(px, py, escaped(name), style=style))
    return joined(parts)


def _spots(half: float, ahead: Points) -> list[tuple[float, float]]:
    """Where a name of half width `half` may stand relative to its camera, best first: not before it."""
    below, above, beside = 20.0, -11.0, half + 9.0
    spots = [(dx, dy) for dy in (below, above, 5.0) for dx in (0.0, beside, -beside) if (dx, dy) != (0.0, 5.0)]
    # The text's base line is about 5 below its middle.
    spots.sort(key=lambda spot: float(spot[0] * ahead[0] + (spot[1] - 5.0) * ahead[1]) / (1.0 + 0.01 * abs(spot[0])))
    return [*spots, *((0.0, below + _LINE * k) for k in (1, 2, 3)), *((0.0, above - _LINE * k) for k in (1, 2, 3))]


def _scale_bar(x: Axis, y: Axis, unit: str) -> Html:
    """How long a round length is, bottom left."""
    length = svg.round_step(0.12 * (x.high - x.low))
    drawn = abs(x.at(x.low + length) - x.at(x.low))
    left, bottom = min(x.start, x.end) + 14.0, max(y.start, y.end) - 14.0
    line = svg.path(f"M{left:.1f} {bottom - 4:.1f}v4h{drawn:.1f}v-4", "var(--ink)", 1.4)
    return joined([line, svg.text(left + 0.5 * drawn, bottom - 8.0, f"{svg.tick_text(length)} {unit}")])


def _boards(calibration: RigCalibration) -> NDArray[np.float64]:
    """Outlines of the boards used, (F, 4, 3), at most :data:`MOST_BOARDS`, evenly picked."""
    points = calibration.board.points_m()[:, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    outline = np.array([[low[0], low[1], 0, 1], [high[0], low[1], 0, 1], [*high, 0, 1], [low[0], high[1], 0, 1]])
    poses = [frame.cam0_from_board for frame in calibration.frames if frame.cam0_from_board is not None]
    if len(poses) > MOST_BOARDS:
        poses = [poses[i] for i in np.linspace(0, len(poses) - 1, MOST_BOARDS).astype(np.int64)]
    corners: NDArray[np.float64] = np.array([(outline @ pose.T)[:, :3] for pose in poses]).reshape(-1, 4, 3)
    return corners


def _pyramid_length(centres: NDArray[np.float64], boards: NDArray[np.float64]) -> float:
    """How long to draw the pyramids of view: seen beside the boards, without hiding near neighbours."""
    every = np.concatenate([centres, boards.reshape(-1, 3)])
    extent = float(np.ptp(every, axis=0).max())
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1) + np.diag(np.full(len(centres), np.inf))
    nearest = float(np.median(apart.min(axis=1))) if len(centres) > 1 else extent
    return max(min(0.16 * extent, max(1.3 * nearest, 0.1 * extent)), 1e-9)


def _border_rays(camera: Camera) -> NDArray[np.float64]:
    """Unit rays of the picture's border, from its top left corner clockwise, (4 * _BORDER_STEPS, 3)."""
    right, bottom = camera.width - 0.5, camera.height - 0.5
    corners = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    share = (np.arange(_BORDER_STEPS) / _BORDER_STEPS)[None, :, None]
    border: NDArray[np.float64] = corners[:, None] + share * (np.roll(corners, -1, axis=0) - corners)[:, None]
    return camera.unproject(border.reshape(-1, 2))


def _homogeneous(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def timeline_figure(calibration: RigCalibration) -> Html:
    """A strip for each camera: at which frames it saw the board, and which of these were used."""
    states = frame_states(calibration)
    count = states.shape[1]
    names = [item.name for item in calibration.cameras]
    room = min(max(_LETTER * max(map(len, names)), 24.0), 150.0)
    row, gap, top = 26.0, 8.0, 8.0
    x = Axis(0.5, count + 0.5, 22.0 + room, WIDTH - 14.0)
    bottom = top + len(names) * (row + gap)
    parts: list[Html] = []
    for camera, name in enumerate(names):
        begin = top + camera * (row + gap)
        parts.append(svg.text(x.start - 8.0, begin + 0.5 * row + 4.5, _shortened(name, room), "end"))
        colour = camera_colour(camera)
        for state, fill, opacity in (
            (_USED, colour, 0.95),
            (_SEEN, colour, 0.3),
            (_NO_BOARD, "var(--grid)", 1.0),
        ):
            commands = "".join(
                f"M{x.at(a + 0.5):.1f} {begin:.1f}H{x.at(b + 0.5):.1f}V{begin + row:.1f}H{x.at(a + 0.5):.1f}z"
                for a, b in _runs(states[camera] == state)
            )
            if commands:
                parts.append(tag("path", d=Html(commands), fill=fill, fill_opacity=opacity))
        line = f"M{x.start:.1f} {begin:.1f}H{x.end:.1f}V{begin + row:.1f}H{x.start:.1f}z"
        parts.append(svg.path(line, "var(--line)", 1.0))
    marks = [tick for tick in x.ticks(7) if tick == round(tick) and tick >= 1.0]
    parts.append(svg.path("".join(f"M{x.at(tick):.1f} {bottom - gap:.1f}v5" for tick in marks), "var(--mute)"))
    parts += [svg.text(x.at(tick), bottom + 13.0, svg.tick_text(tick)) for tick in marks]
    parts.append(svg.text(0.5 * (x.start + x.end), bottom + 32.0, "frame"))
    return svg.drawing(WIDTH, bottom + 40.0, "Which camera saw the board at which frame", *parts)


def timeline_key() -> Html:
    """What the shades of :func:`timeline_figure` mean."""

    def entry(words: str, fill: str, opacity: float) -> Html:
        box = tag("rect", x=3, y=1, width=20, height=10, fill=fill, fill_opacity=opacity, stroke="var(--line)")
        return tag("li", tag("svg", box, viewBox="0 0 26 12", aria_hidden="true"), words)

    entries = [
        entry("used", "var(--ink)", 0.8),
        entry("board seen, not used", "var(--ink)", 0.28),
        entry("no board", "var(--grid)", 1.0),
        entry("no picture", "var(--card)", 1.0),
    ]
    return tag("ul", *entries, class_="legend")


def frame_states(calibration: RigCalibration) -> NDArray[np.int64]:
    """For each camera and frame, (C, F): 0 no picture, 1 no board in it, 2 board seen but not used, 3 used."""
    states = np.full((len(calibration.cameras), len(calibration.frames)), _NO_PICTURE, np.int64)
    for view in calibration.views:
        if view.frame is not None:
            states[view.camera, view.frame] = _USED if view.used else _SEEN if len(view.pixels) else _NO_BOARD
    return states


def shared_frames(calibration: RigCalibration) -> NDArray[np.int64]:
    """Frames used of both cameras of every pair, (C, C); on the diagonal, those used of each camera."""
    used = (frame_states(calibration) == _USED).astype(np.int64)
    counts: NDArray[np.int64] = used @ used.T
    return counts


def _runs(chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last-plus-one of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _shortened(name: str, room: float) -> str:
    letters = int(room / _LETTER)
    return name if len(name) <= letters else f"{name[: letters - 1]}…"
