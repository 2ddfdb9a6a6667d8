"""The drawings of a calibration report."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.calibration.quality import Coverage, UncertaintyMap
from cv3d.calibration.result import Calibration, Warp
from cv3d.geometry.cameras.camera import Camera
from cv3d.reporting import svg
from cv3d.reporting.figures import (
    EQUAL_HEIGHT,
    Curve,
    Field,
    arrow_field,
    curves,
    equal_axes,
    exaggeration,
    thinned,
)
from cv3d.reporting.heatmap import WIDTH, Area, colour_bar, colour_scale, contours, heat_map, interior, picture_area
from cv3d.reporting.page import Html, number, tag
from cv3d.reporting.svg import Points

_WIDE_ANGLE = math.radians(65.0)
"""Half angle of view beyond which a pinhole is no picture of the lens any more."""
_STEEPEST = math.radians(80.0)
_RETURNED_PX = 1e-3


def uncertainty_figures(uncertainty: UncertaintyMap, corners: Points, camera: Camera) -> list[Html]:
    """The uncertainty over the image for points at infinity and at the boards' distance, in one colour scale."""
    area = picture_area(camera.width, camera.height)
    maps = [uncertainty.at_infinity, uncertainty.at_board]
    scale = colour_scale([interior(values) for values in maps], area) or colour_scale(maps, area)
    named = [("u0", uncertainty.at_infinity, "at infinity"), ("u1", uncertainty.at_board, "at the boards' distance")]
    dots = svg.dots(area.place(thinned(corners)), "#fff", 1.6, stroke_opacity="0.4")
    figures = []
    for anchor, values, where in named:
        parts = [svg.hatch(anchor, area.x, area.y)]
        if scale is not None:
            parts += [heat_map(values, scale, area), dots, contours(values, scale, area)]
            parts.append(colour_bar(scale, area, "σ, px"))
        if not np.isfinite(values).any():
            parts.append(_in_the_middle(area, "not determined by these pictures"))
        parts.append(svg.frame(area.x, area.y, grid=False))
        label = f"Map of the projection uncertainty over the image for points {where}"
        figures.append(svg.drawing(WIDTH, area.height, label, *parts))
    return figures


def coverage_figure(coverage: Coverage, corners: Points, camera: Camera, anchor: str = "cov") -> Html:
    """How many views cover each part of the image, with all corners and the limits of the zones.

    Args:
        coverage: the views that cover each cell.
        corners: all corners, (n, 2), pixels.
        camera: whose image it is.
        anchor: an id that no other element of the page has.
    """
    area = picture_area(camera.width, camera.height)
    density = np.where(coverage.density > 0, coverage.density, np.nan).astype(np.float64)
    scale = colour_scale([density], area, from_zero=True)
    parts = [svg.hatch(anchor, area.x, area.y)]
    if scale is not None:
        parts += [heat_map(density, scale, area, smooth=False), colour_bar(scale, area, "views", whole=True)]
    parts.append(svg.dots(area.place(thinned(corners)), "#fff", 1.8, stroke_opacity="0.7"))
    third_x = [area.x.start + (area.x.end - area.x.start) * k / 3 for k in (1, 2)]
    third_y = [area.y.start + (area.y.end - area.y.start) * k / 3 for k in (1, 2)]
    lines = "".join(f"M{x:.1f} {area.y.start:.1f}V{area.y.end:.1f}" for x in third_x)
    lines += "".join(f"M{area.x.start:.1f} {y:.1f}H{area.x.end:.1f}" for y in third_y)
    parts.append(svg.path(lines, "#fff", 1.2, stroke_dasharray="6 5", stroke_opacity="0.8"))
    parts.append(svg.frame(area.x, area.y, grid=False))
    return svg.drawing(WIDTH, area.height, "Number of views that cover each part of the image", *parts)


def residual_field_figure(field: Field, sigma: float, camera: Camera, anchor: str = "rf") -> tuple[Html, float, int]:
    """Averaged residuals over the image; those beyond three standard errors in another colour.

    Args:
        field: the averages.
        sigma: standard deviation of one coordinate of a residual, pixels; NaN marks none.
        camera: whose image it is.
        anchor: an id that no other element of the page has.

    Returns:
        The drawing, the factor by which arrows are exaggerated, and the number of arrows beyond three standard errors.
    """
    area = picture_area(camera.width, camera.height)
    lengths = np.hypot(field.means[:, 0], field.means[:, 1])
    factor = exaggeration(lengths, 1.3 * field.cell)
    limit = 3.0 * sigma / np.sqrt(field.counts) if math.isfinite(sigma) else np.full(len(lengths), np.inf)
    strange = lengths > limit
    arrows = [
        arrow_field(area, field.centres[chosen], field.means[chosen], factor, colour=colour, width=width)
        for chosen, colour, width in ((~strange, "var(--mute)", 1.4), (strange, "var(--warm)", 2.0))
    ]
    frame = svg.frame(area.x, area.y, counts=(6, 6))
    clipped = svg.clip(anchor, area.x, area.y, *arrows)
    label = "Residuals averaged over the cells of the image, as arrows"
    return svg.drawing(WIDTH, area.height, label, frame, clipped), factor, int(strange.sum())


def residual_radius_figure(pixels: Points, residuals: Points, sigma: float, camera: Camera) -> Html:
    """Size of the residuals' radial and tangential components against the distance from the principal point.

    Args:
        pixels: corners, (n, 2), n > 0.
        residuals: (n, 2), pixels.
        sigma: standard deviation expected of one coordinate, pixels; NaN draws no line for it.
        camera: the camera they belong to.
    """
    offset = pixels - np.array(camera.params[2:4])
    radius = np.hypot(offset[:, 0], offset[:, 1])
    outward = offset / np.maximum(radius, 1e-9)[:, None]
    radial = (residuals * outward).sum(axis=1)
    tangential = residuals[:, 1] * outward[:, 0] - residuals[:, 0] * outward[:, 1]
    # As many corners in every ring: the outer ones are few, and just those tell.
    rings = np.array_split(np.argsort(radius, kind="stable"), int(np.clip(len(radius) // 25, 1, 16)))
    middles = np.array([radius[ring].mean() for ring in rings])

    def curve(name: str, values: NDArray[np.float64], colour: str) -> Curve:
        sizes = np.array([math.sqrt(float((values[ring] ** 2).mean())) for ring in rings])
        return Curve(name, np.stack([middles, sizes], axis=1), colour)

    lines = [curve("radial", radial, "var(--accent)"), curve("tangential", tangential, "var(--warm)")]
    tops = [float(line.points[:, 1].max()) for line in lines]
    if math.isfinite(sigma):
        ends = np.array([[0.0, sigma], [float(radius.max()), sigma]])
        lines.append(Curve("σ over all corners", ends, "var(--mute)", "5 3"))
        tops.append(sigma)
    label = "Size of the residuals against the distance from the principal point"
    top = 1.5 * max(*tops, 1e-9)
    return curves(lines, "distance from the principal point, px", "RMS, px", label, top=top, anchor="rr")


def half_angle(camera: Camera) -> float:
    """Largest angle to the optical axis at the picture's corners, radians."""
    return float(_off_axis(camera.unproject(_corners(camera))).max())


def distortion_figure(camera: Camera, anchor: str = "d") -> tuple[Html, str]:
    """What the lens does over the image, and how to read it: departure from a pinhole, or angles for a wide lens.

    Args:
        camera: the camera.
        anchor: the beginning of ids that no other element of the page has.
    """
    return (_angle_rings if half_angle(camera) > _WIDE_ANGLE else _displacement)(camera, anchor)


def _displacement(camera: Camera, anchor: str) -> tuple[Html, str]:
    """Where the lens puts what a pinhole of the same focal length would put elsewhere."""
    area = picture_area(camera.width, camera.height)
    cols = 25
    rows = max(2, round(cols * camera.height / camera.width))
    y, x = np.meshgrid(np.linspace(0, camera.height - 1, rows), np.linspace(0, camera.width - 1, cols), indexing="ij")
    pixels = np.stack([x, y], axis=-1).reshape(-1, 2)
    across = min(12, max(4, round(12 * camera.width / max(camera.width, camera.height))))
    step = camera.width / across
    coarse = np.meshgrid(np.arange(step / 2, camera.width, step), np.arange(step / 2, camera.height, step))
    grid = np.stack(coarse, axis=-1).reshape(-1, 2)
    shift = _displacements(camera, np.concatenate([pixels, grid]))
    length, moved = np.hypot(*shift[: len(pixels)].T), shift[len(pixels) :]
    grid, moved = grid[np.isfinite(moved).all(axis=1)], moved[np.isfinite(moved).all(axis=1)]
    parts = [svg.hatch(f"{anchor}p", area.x, area.y)]
    factor = 1.0
    scale = colour_scale([length], area, from_zero=True)
    if scale is not None and np.nanmax(length) > 1e-3:
        factor = exaggeration(np.hypot(moved[:, 0], moved[:, 1]), 1.5 * step)
        field = length.reshape(rows, cols)
        arrows = arrow_field(area, grid - factor * moved, moved, factor, colour="#fff", width=1.6)
        parts += [heat_map(field, scale, area), contours(field, scale, area), colour_bar(scale, area, "px")]
        parts.append(svg.clip(f"{anchor}c", area.x, area.y, arrows))
        longest = float(np.nanmax(length))
        caption = (
            "Arrows end where the lens puts a point and begin where a pinhole with the same focal "
            f"lengths would{', drawn ×' + format(factor, 'g') if factor > 1.0 else ''}. "
            f"Colour and lines: how far apart they are, {number(longest)} px at most."
        )
    else:
        parts.append(_in_the_middle(area, "no distortion"))
        caption = "The lens model is a pinhole: no point is displaced."
    parts.append(svg.frame(area.x, area.y, grid=False))
    drawing = svg.drawing(WIDTH, area.height, "Displacement of image points by the lens against a pinhole", *parts)
    return drawing, caption


def _angle_rings(camera: Camera, anchor: str) -> tuple[Html, str]:
    """Lines of equal angle to the optical axis, and of equal azimuth, over the image."""
    area = picture_area(camera.width, camera.height)
    widest = half_angle(camera)
    step = svg.round_step(math.degrees(widest) / 12.0)
    around = np.linspace(0.0, 2.0 * np.pi, 145)
    parts, labels = [svg.hatch(f"{anchor}p", area.x, area.y)], []
    parts.append(svg.rectangle(area.x, area.y, fill="var(--card)", fill_opacity="0.85"))
    for azimuth in np.arange(0.0, 360.0, 30.0):
        theta = np.linspace(0.0, widest, 60)
        parts.append(_ray_line(camera, area, _rays(theta, np.full(60, math.radians(azimuth))), "var(--mute)", 0.6))
    for k, degrees in enumerate(np.arange(step, math.degrees(widest) + step, step).tolist(), start=1):
        theta = np.full(145, math.radians(degrees))
        is_main = k % 2 == 0
        parts.append(_ray_line(camera, area, _rays(theta, around), "var(--accent)" if is_main else "var(--mute)", 1.3))
        spot = area.place(camera.project(_rays(theta[:1], np.array([math.radians(-35.0)]))))[0]
        inside = area.x.start + 16 < spot[0] < area.x.end - 16 and area.y.start + 12 < spot[1] < area.y.end - 12
        if is_main and inside:
            labels.append(svg.label(float(spot[0]), float(spot[1]) + 4.5, f"{degrees:g}°"))
    clipped = svg.clip(f"{anchor}c", area.x, area.y, *parts[1:], *labels)
    drawing = svg.drawing(
        WIDTH,
        area.height,
        "Angles to the optical axis over the image",
        parts[0],
        clipped,
        svg.frame(area.x, area.y, grid=False),
    )
    return drawing, f"Circles: equal angle to the optical axis, every {step:g}°. Spokes: every 30° around it."


def radius_figure(camera: Camera) -> Html:
    """Distance from the principal point against angle, towards the farthest corner, with two ideal lenses."""
    corners = _corners(camera)
    principal = np.array(camera.params[2:4])
    rays = camera.unproject(corners)
    far = int(np.argmax(np.hypot(*(corners - principal).T)))
    azimuth = math.atan2(rays[far, 1], rays[far, 0])
    widest = max(float(_off_axis(rays[far : far + 1])[0]), math.radians(1.0))
    theta = np.linspace(0.0, widest, 121)
    towards = _rays(theta, np.full(121, azimuth))
    pixels = camera.project(towards)
    radius = np.hypot(*(pixels - principal).T)
    radius[~_valid_points(camera, towards)] = np.nan
    focal = math.hypot(camera.params[0] * math.cos(azimuth), camera.params[1] * math.sin(azimuth))
    perspective = np.where(theta < _STEEPEST, focal * np.tan(np.minimum(theta, _STEEPEST)), np.nan)
    degrees = np.degrees(theta)

    def curve(name: str, values: NDArray[np.float64], colour: str, dash: str = "") -> Curve:
        return Curve(name, np.stack([degrees, values], axis=1), colour, dash)

    lines = [
        curve("perspective, f tan θ", perspective, "var(--warm)", "7 4"),
        curve("equidistant, f θ", focal * theta, "var(--good)", "2 4"),
        curve("this lens", radius, "var(--accent)"),
    ]
    finite = radius[np.isfinite(radius)]
    top = 1.12 * max(float(finite.max()) if len(finite) else 0.0, focal * widest)
    return curves(
        lines, "angle θ to the optical axis, degrees", "radius, px", "Image radius against angle", top=top, anchor="rc"
    )


def poses_figure(calibration: Calibration, side: bool) -> Html:
    """Where the boards stood, from above or from the right side of the camera."""
    points = calibration.board.points_m()
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    outline = np.array([[low[0], low[1], 0, 1], [high[0], low[1], 0, 1], [*high, 0, 1], [low[0], high[1], 0, 1]])
    poses = [view.cam_from_board for view in calibration.used if view.cam_from_board is not None]
    boards = np.array([(outline @ pose.T)[:, :3] for pose in poses]).reshape(-1, 4, 3)
    flat = boards[..., [2, 1]] if side else boards[..., [0, 2]]
    every = np.concatenate([flat.reshape(-1, 2), np.zeros((1, 2))])
    # Seen from above, depth grows upwards on the page; from the side, the camera's y points down on it.
    x, y = equal_axes(every, y_down=side)
    unit = "m" if calibration.board.square_m is not None else "squares"
    across, up = ("z (forward)", "y (down)") if side else ("x (right)", "z (forward)")
    commands = "".join(svg.polyline(np.stack([x.place(b[:, 0]), y.place(b[:, 1])], axis=1), closed=True) for b in flat)
    camera = calibration.camera
    middle = np.array(camera.params[2:4])
    right, bottom = camera.width - 0.5, camera.height - 0.5
    border = [[middle[0], -0.5], [middle[0], bottom]] if side else [[-0.5, middle[1]], [right, middle[1]]]
    rays = camera.unproject(np.array(border))[:, [2, 1] if side else [0, 2]]
    rays = rays * 10.0 * float(np.abs(every).max() + 1e-9)
    origin = np.array([[x.at(0.0), y.at(0.0)]])
    wedge = svg.segments(np.repeat(origin, 2, axis=0), np.stack([x.place(rays[:, 0]), y.place(rays[:, 1])], axis=1))
    anchor = "ps" if side else "pt"
    drawn = [
        svg.path(wedge, "var(--warm)", 1.2, stroke_dasharray="6 4"),
        tag(
            "path",
            d=commands,
            fill="var(--accent)",
            fill_opacity="0.10",
            stroke="var(--accent)",
            stroke_opacity="0.75",
            vector_effect="non-scaling-stroke",
        ),
        svg.dots(origin, "var(--warm)", 9.0),
    ]
    label = f"Board positions seen from {'the side' if side else 'above'}"
    frame = svg.frame(x, y, f"{across}, {unit}", f"{up}, {unit}")
    return svg.drawing(WIDTH, EQUAL_HEIGHT, label, frame, svg.clip(anchor, x, y, *drawn))


def warp_figure(warp: Warp, board_points: Points, scale_to: float, unit: str) -> Html:
    """Height of the bent board over its plane.

    Args:
        warp: the bending.
        board_points: the board's points, (n, 2), any unit.
        scale_to: factor from the warp's unit to the one shown.
        unit: its name.
    """
    extent = np.ptp(board_points, axis=0)
    width = 400
    height = max(2, round(width * float(extent[1] / extent[0])))
    area = picture_area(width, height)
    v, u = np.meshgrid(np.linspace(-1, 1, 33), np.linspace(-1, 1, 33), indexing="ij")
    a, b, c = (scale_to * value for value in warp.coefficients)
    heights = a * (1 - u * u) + b * (1 - v * v) + c * u * v
    scale = colour_scale([heights], area)
    unit_points = (board_points - board_points.min(axis=0)) / np.maximum(extent, 1e-12)
    dots = svg.dots(area.place(unit_points * np.array([width - 1.0, height - 1.0])), "#fff", 2.6, stroke_opacity="0.7")
    parts = [svg.rectangle(area.x, area.y, fill="none", stroke="var(--mute)")]
    if scale is not None:
        parts += [heat_map(heights, scale, area), contours(heights, scale, area), colour_bar(scale, area, unit)]
    return svg.drawing(WIDTH, area.height, "Height of the bent board over its plane", *parts, dots)


def _in_the_middle(area: Area, words: str) -> Html:
    middle = 0.5 * (area.y.start + area.y.end)
    return svg.text(0.5 * (area.x.start + area.x.end), middle + 5, words, style="fill:var(--ink);font-size:15px")


def _ray_line(camera: Camera, area: Area, rays: NDArray[np.float64], colour: str, width: float) -> Html:
    placed = area.place(camera.project(rays))
    sane = _valid_points(camera, rays) & (np.abs(placed) < 4.0 * WIDTH).all(axis=1)
    return svg.path(svg.polylines(placed, sane), colour, width)


def _rays(theta: NDArray[np.float64], azimuth: NDArray[np.float64]) -> NDArray[np.float64]:
    sine = np.sin(theta)
    return np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), np.cos(theta)], axis=-1)


def _off_axis(rays: NDArray[np.float64]) -> NDArray[np.float64]:
    angles: NDArray[np.float64] = np.arctan2(np.hypot(rays[..., 0], rays[..., 1]), rays[..., 2])
    return angles


def _corners(camera: Camera) -> Points:
    right, bottom = camera.width - 0.5, camera.height - 0.5
    return np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])


def _displacements(camera: Camera, pixels: Points) -> Points:
    """How far `pixels` (n, 2) lie from where a pinhole of the same focal lengths would put what is seen there.

    NaN where the pixel is outside the lens model's domain: its ray does not project back to it.
    """
    rays = camera.unproject(pixels)
    fx, fy, cx, cy = camera.params[:4]
    ideal = rays[:, :2] / np.maximum(rays[:, 2:], math.cos(_STEEPEST)) * np.array([fx, fy]) + np.array([cx, cy])
    returns = (np.abs(camera.project(rays) - pixels) < _RETURNED_PX).all(axis=1) & _valid_points(camera, rays)
    return np.where(returns[:, None], pixels - ideal, np.nan)


def _valid_points(camera: Camera, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    params = torch.tensor(camera.params, dtype=torch.float64)
    return camera.lens.valid_points(params, torch.from_numpy(points)).numpy().astype(np.bool_)
