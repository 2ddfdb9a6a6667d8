"""The page that a person reads after a calibration: how good it is, where, why, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board
from cv3d.calibration.checks.base import listed
from cv3d.calibration.result import Calibration, View, Warp
from cv3d.reporting.calibration_figures import (
    coverage_figure,
    distortion_figure,
    poses_figure,
    radius_figure,
    residual_field_figure,
    residual_radius_figure,
    uncertainty_figures,
    warp_figure,
)
from cv3d.reporting.figures import averaged, histogram, scatter
from cv3d.reporting.page import Html, figure, number, page, percent, section, table, tag, with_sigma
from cv3d.reporting.report_parts import (
    MOST_REJECTED,
    bar,
    board_words,
    breakable,
    in_pixels,
    page_footer,
    page_head,
    parameter_table,
    plus_minus,
    small_note,
    tile,
)
from cv3d.reporting.svg import Points
from cv3d.reporting.view_cards import LoadGray, gallery_for, legend, reason_of, rejected_card, used_card

MOST_VIEWS = 60
"""Used views shown with their picture; of more, those with the largest residuals."""
_ROWS_OPEN = 40
_RAYLEIGH_SHARES = (0.393, 0.865, 0.989)
"""Share of a circular normal distribution within 1, 2 and 3 sigma."""


def calibration_page(calibration: Calibration, load_gray: LoadGray, title: str) -> str:
    """A calibration as one self-contained HTML page.

    The page needs no network and runs no script; it is readable on paper, in light and dark, from phone to wide screen.
    The same calibration and pictures give the same text.

    Args:
        calibration: the result, used and rejected views included.
        load_gray: gives the grey pixels (H, W), uint8, of a picture in its own frame by the name of its view, or None
            where it cannot be read. Called only for the pictures that are shown.
        title: heads the page; any text.

    Returns:
        The document.
    """
    corners, residuals = _kept(calibration)
    sections = [
        _camera_section(calibration),
        _uncertainty_section(calibration, corners),
        _coverage_section(calibration, corners),
        _residual_section(calibration, corners, residuals),
        _distortion_section(calibration),
        _model_section(calibration),
        *_view_sections(calibration, load_gray),
    ]
    if calibration.warp is not None:
        sections.append(warp_section(calibration.board, calibration.warp))
    if calibration.findings:
        sections.append(_checks_section(calibration))
    return page(title, [_headline(calibration, title), *sections, page_footer(calibration.seed, calibration.seconds)])


def _kept(calibration: Calibration) -> tuple[Points, Points]:
    """All corners that the fit rests on, and their residuals, (n, 2) each, pixels."""
    pixels = [np.zeros((0, 2)), *(view.pixels[~view.outliers] for view in calibration.used)]
    residuals = [np.zeros((0, 2)), *(view.residuals[~view.outliers] for view in calibration.used)]
    all_pixels, all_residuals = np.concatenate(pixels), np.concatenate(residuals)
    finite = np.isfinite(all_residuals).all(axis=1)
    return all_pixels[finite], all_residuals[finite]


def _headline(calibration: Calibration, title: str) -> Html:
    camera = calibration.camera
    horizontal, vertical, diagonal = (math.degrees(angle) for angle in camera.field_of_view())
    uncertainty = calibration.uncertainty
    focal = " × ".join(number(value, 4) for value in camera.params[:2])
    rejected = len(calibration.rejected)
    tiles = [
        tile("Lens model", breakable(camera.model), f"{len(camera.params)} parameters"),
        tile("RMS", in_pixels(calibration.rms_px), "projected to detected"),
        tile("Held-out RMS", in_pixels(calibration.holdout_rms_px), "views not used in the fit"),
        tile("Uncertainty, centre", in_pixels(uncertainty.center, 2), "1 σ, point at infinity"),
        tile("Uncertainty, edges", in_pixels(uncertainty.edge, 2), "worst of four"),
        tile("Uncertainty, corners", in_pixels(uncertainty.corner, 2), "worst of four"),
        tile("Views used", f"{len(calibration.used)} of {len(calibration.views)}", f"{rejected} rejected"),
        tile("Image", f"{camera.width} × {camera.height}", "pixels"),
        tile("Focal length", focal, "px"),
        tile("Field of view", f"{horizontal:.1f}° × {vertical:.1f}°", f"{diagonal:.1f}° diagonal"),
        tile("Board", *board_words(calibration.board)),
        tile("Board tilt", f"up to {number(calibration.tilt.max_deg, 2)}°", _tilt_words(calibration)),
    ]
    links = [
        ("camera", "Parameters"),
        ("uncertainty", "Uncertainty"),
        ("coverage", "Coverage"),
        ("residuals", "Residuals"),
        ("distortion", "Distortion"),
        ("models", "Lens models"),
        ("views", "Views"),
        ("rejected", "Rejected pictures"),
        *([("warp", "Board shape")] if calibration.warp is not None else []),
        *([("checks", "Watch-out checks")] if calibration.findings else []),
    ]
    return page_head(title, calibration.verdict, calibration.warnings, tiles, links)


def _tilt_words(calibration: Calibration) -> str:
    count = calibration.tilt.tilted_views
    return f"{count} view{'' if count == 1 else 's'} beyond 15°, spread {number(calibration.tilt.spread_deg, 2)}°"


def _camera_section(calibration: Calibration) -> Html:
    note = (
        "Standard deviations (1 σ) follow from the residuals. Parameters are correlated: what their errors "
        "together do to a pixel is what the uncertainty map shows. Pixel (0, 0) is the centre of the top-left pixel."
    )
    return section(
        "camera",
        "Camera parameters",
        parameter_table(calibration.camera, calibration.params_std),
        small_note(note),
    )


def _uncertainty_section(calibration: Calibration, corners: Points) -> Html:
    uncertainty = calibration.uncertainty
    far, near = uncertainty_figures(uncertainty, corners, calibration.camera)
    unit = "m" if calibration.board.square_m is not None else "squares"
    distance = f"{number(uncertainty.board_range)} {unit}" if math.isfinite(uncertainty.board_range) else "unknown"
    shared = "Standard deviation of where a point projects, in the worst direction; dots: corners seen."
    unknown = np.isnan(uncertainty.at_infinity)
    if unknown.any() and not unknown.all():
        shared += " Hatched: outside the lens model's domain, at whose very edge values exceed the scale."
    return section(
        "uncertainty",
        "Projection uncertainty",
        tag(
            "div",
            figure(far, "Points at infinity", shared),
            figure(near, f"Points at the boards' distance ({distance})", "The same, for points as far as the boards."),
            class_="pair",
        ),
    )


def _coverage_section(calibration: Calibration, corners: Points) -> Html:
    coverage = calibration.coverage
    zones = (
        f"Image covered: centre {percent(coverage.center)}, edges {percent(coverage.edge)}, "
        f"corners {percent(coverage.corner)}, whole {percent(coverage.total)}. "
        "Dots: corners; dashed: limits of the zones; hatched: no board was ever there."
    )
    unit = "metres" if calibration.board.square_m is not None else "squares of the board"
    poses = f"Board outlines in {unit}; the dot is the camera, dashed its field of view."
    return section(
        "coverage",
        "Coverage and board positions",
        tag(
            "div",
            figure(coverage_figure(coverage, corners, calibration.camera), "Views per part of the image", zones),
            figure(poses_figure(calibration, side=False), "Boards seen from above", poses),
            figure(poses_figure(calibration, side=True), "Boards seen from the side", poses),
            figure(_zone_bars(calibration), "Zones", f"Tilt of the boards: {_tilt_words(calibration)}."),
            class_="pair",
        ),
    )


def _zone_bars(calibration: Calibration) -> Html:
    coverage = calibration.coverage
    shares = [coverage.center, coverage.edge, coverage.corner, coverage.total]
    zones = zip(["centre", "edges", "corners", "whole image"], shares, strict=True)
    rows = [("", [name, percent(share), bar(share, 1.0, on=True)]) for name, share in zones]
    return table(["zone", "covered", ""], rows, numeric=(1,))


def _residual_section(calibration: Calibration, corners: Points, residuals: Points) -> Html:
    camera, sigma = calibration.camera, calibration.noise_px
    if not len(residuals):
        return section("residuals", "Residuals", tag("p", "No corner took part in a fit.", class_="soft"))
    norms = np.hypot(residuals[:, 0], residuals[:, 1])
    field = averaged(corners, residuals, camera.width, camera.height)
    drawn, factor, strange = residual_field_figure(field, sigma, camera)
    shares = "Circles: 1, 2 and 3 σ"
    if math.isfinite(sigma) and sigma > 0:
        inside = ", ".join(percent(float((norms <= k * sigma).mean())) for k in (1, 2, 3))
        expected = ", ".join(percent(share) for share in _RAYLEIGH_SHARES)
        shares = f"Circles: 1, 2 and 3 σ (σ {number(sigma)} px) hold {inside} of the corners; normal noise: {expected}"
    systematic = (
        f"Mean residual of each cell, ×{factor:g}. Orange: {strange} of {len(field.counts)} cells beyond three "
        "standard errors; many of them, pointing alike, mean that the lens model or the board's shape does not fit."
    )
    heavy = float(np.quantile(norms, 0.95))
    median = float(np.median(norms))
    spread = f"median distance {number(median)} px, 95 % within {number(heavy)} px"
    bars = f"Both coordinates of {len(residuals)} corners; {spread}."
    return section(
        "residuals",
        "Residuals",
        tag(
            "div",
            figure(scatter(residuals, sigma, "Residual of every corner"), "Projected minus detected", shares + "."),
            figure(drawn, "Systematic part over the image", systematic),
            figure(histogram(residuals.ravel(), sigma, "residual, px", "Histogram of residuals"), "Distribution", bars),
            figure(
                residual_radius_figure(corners, residuals, sigma, camera),
                "Against the distance from the principal point",
                "Rings of equally many corners. Radial growing outwards: the model does not follow the lens there.",
            ),
            class_="pair",
        ),
    )


def _distortion_section(calibration: Calibration) -> Html:
    drawn, caption = distortion_figure(calibration.camera)
    curve = "From the principal point to the farthest corner of the image; all three share the focal length."
    return section(
        "distortion",
        "Distortion",
        tag(
            "div",
            figure(drawn, "Over the image", caption),
            figure(radius_figure(calibration.camera), "Along a radius", curve),
            class_="pair",
        ),
    )


def _model_section(calibration: Calibration) -> Html:
    chosen = calibration.camera.model
    finite = [s.holdout_rms_px for s in calibration.models if math.isfinite(s.holdout_rms_px)]
    longest = max(finite, default=1.0)
    rows = [
        (
            "chosen" if score.model == chosen else "",
            [
                score.model,
                str(score.parameters),
                number(score.rms_px, 4),
                number(score.holdout_rms_px, 4),
                bar(score.holdout_rms_px, longest),
                score.verdict,
            ],
        )
        for score in calibration.models
    ]
    note = (
        "Held out: views left out of the fit in turn, only their poses found afterwards. The simplest "
        "model within noise of the best is taken."
    )
    head = ["model", "parameters", "RMS, px", "held-out RMS, px", "", "verdict"]
    return section(
        "models",
        "Lens models compared",
        table(head, rows, numeric=(1, 2, 3)),
        small_note(note),
    )


def _checks_section(calibration: Calibration) -> Html:
    rows = [
        (
            "",
            [
                tag("b", finding.kind.replace("_", " ")),
                finding.severity.value,
                finding.sentence,
                listed(finding.views) if finding.views else "all",
            ],
        )
        for finding in calibration.findings
    ]
    note = "What the files, the pictures and the residuals say about how the pictures were taken and of what."
    return section(
        "checks", "Watch-out checks", table(["check", "", "finding", "pictures"], rows, numeric=()), small_note(note)
    )


def _view_sections(calibration: Calibration, load_gray: LoadGray) -> list[Html]:
    used, rejected = calibration.used, calibration.rejected
    shown = _most_telling(used)
    camera = calibration.camera
    pictures = len(shown) + min(len(rejected), MOST_REJECTED)
    gallery = gallery_for(calibration.board, (camera.width, camera.height), load_gray, used, pictures)
    has_outliers = any(view.outliers.any() for view in used)
    note = "Select a picture to enlarge it."
    if len(shown) < len(used):
        note = f"The {len(shown)} of {len(used)} views with the largest residuals. {note}"
    cards = [used_card(gallery, view) for view in shown]
    views = section(
        "views",
        "Views",
        tag("p", note, class_="soft"),
        legend(gallery.factor, has_outliers),
        tag("div", *cards, class_="gallery"),
        _view_table(calibration),
    )
    if not rejected:
        none = tag("p", "Every picture was used.", class_="soft")
        return [views, section("rejected", "Rejected pictures", none)]
    cards = [rejected_card(gallery, view, with_picture=i < MOST_REJECTED) for i, view in enumerate(rejected)]
    words = f"{len(rejected)} of {len(calibration.views)} pictures took no part in the fit."
    return [
        views,
        section("rejected", "Rejected pictures", tag("p", words, class_="soft"), tag("div", *cards, class_="gallery")),
    ]


def _most_telling(used: Sequence[View]) -> list[View]:
    """The views whose residuals are largest, in the order of the input."""
    if len(used) <= MOST_VIEWS:
        return list(used)
    rms = np.nan_to_num(np.array([view.rms_px for view in used]), nan=np.inf)
    worst = np.sort(np.argsort(-rms, kind="stable")[:MOST_VIEWS])
    return [used[i] for i in worst]


def _view_table(calibration: Calibration) -> Html:
    finite = [view.rms_px for view in calibration.used if math.isfinite(view.rms_px)]
    longest = max(finite, default=1.0)
    unit = "m" if calibration.board.square_m is not None else "squares"
    rows = []
    for view in calibration.views:
        distance, tilt = _distance_and_tilt(calibration, view)
        rows.append(
            (
                "" if view.used else "off",
                [
                    tag("span", view.name, class_="file"),
                    number(view.rms_px),
                    bar(view.rms_px, longest, on=True),
                    str(len(view.pixels)),
                    str(int(view.outliers.sum())) if view.used else "",
                    number(distance) if view.used else "",
                    f"{tilt:.0f}°" if math.isfinite(tilt) else "",
                    view.framing.note if view.used else reason_of(view),
                ],
            )
        )
    head = ["picture", "RMS, px", "", "corners", "left out", f"distance, {unit}", "tilt", "note"]
    grid = table(head, rows, numeric=(1, 3, 4, 5, 6))
    summary = tag("summary", f"All {len(calibration.views)} pictures in numbers")
    return tag("details", summary, grid, open=len(rows) <= _ROWS_OPEN)


def _distance_and_tilt(calibration: Calibration, view: View) -> tuple[float, float]:
    """Distance to the board's middle (unit of the pose), and angle of its normal to the line of sight, degrees."""
    if view.cam_from_board is None:
        return math.nan, math.nan
    points = calibration.board.points_m()
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    centre: NDArray[np.float64] = view.cam_from_board[:3, :3] @ middle + view.cam_from_board[:3, 3]
    distance = float(np.linalg.norm(centre))
    cosine = abs(float(view.cam_from_board[:3, 2] @ centre)) / max(distance, 1e-12)
    return distance, math.degrees(math.acos(min(cosine, 1.0)))


def warp_section(board: Board, warp: Warp) -> Html:
    """How the board bends, as a map and in numbers, and how it is stretched; its anchor is "warp"."""
    parts = []
    if warp.stretch is not None and warp.stretch_std is not None:
        value_text, std_text = with_sigma(100.0 * abs(warp.stretch), 100.0 * warp.stretch_std)
        longer, shorter = ("rows", "columns") if warp.stretch > 0 else ("columns", "rows")
        parts.append(
            tag(
                "p",
                f"The board is {value_text} % ({plus_minus(std_text, warp.stretch_std)}) longer along its {longer} "
                f"than along its {shorter}: the printer scaled it. The size given for it is taken as the geometric "
                "mean of both directions.",
            )
        )
    if warp.bent:
        parts.append(_bending(board, warp))
    return section("warp", "Board shape", *parts)


def _bending(board: Board, warp: Warp) -> Html:
    scale, unit = (1000.0, "mm") if board.square_m is not None else (1.0, "squares")
    modes = ["bow along rows, 1 − u²", "bow along columns, 1 − v²", "twist, u v"]
    rows = []
    for mode, value, std in zip(modes, warp.coefficients, warp.std, strict=True):
        value_text, std_text = with_sigma(scale * value, scale * std)
        rows.append(("", [mode, value_text, plus_minus(std_text, std)]))
    drawn = warp_figure(warp, board.points()[:, :2], scale, unit)
    caption = "Height over the plane, positive away from the camera; dots: the board's points; u, v run from −1 to 1."
    return tag(
        "div",
        figure(drawn, f"The board is not flat ({unit})", caption),
        tag("div", table(["mode", f"height, {unit}", "standard deviation"], rows, numeric=(1, 2))),
        class_="pair",
    )
