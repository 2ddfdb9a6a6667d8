"""One camera of a rig in the rig's report: its parameters, where it saw the board, and what is left over."""

from __future__ import annotations

import math

import numpy as np
import torch

from cv3d.calibration.quality import cell_centres, coverage
from cv3d.calibration.rig.result import CameraInRig, RigCalibration, RigView
from cv3d.reporting.calibration_figures import coverage_figure, distortion_figure, residual_field_figure
from cv3d.reporting.figures import averaged, scatter
from cv3d.reporting.page import Html, figure, joined, number, percent, section, tag
from cv3d.reporting.report_parts import breakable, in_pixels, parameter_table, tile
from cv3d.reporting.rig_figures import camera_colour
from cv3d.reporting.svg import Points


def camera_section(calibration: RigCalibration, index: int, anchor: str) -> Html:
    """The section of camera `index`; `anchor` is its id."""
    item = calibration.cameras[index]
    views = calibration.used_views(index)
    corners, residuals = _kept(views)
    parts: list[Html] = [_tiles(calibration, index), *_findings(item), parameter_table(item.camera, item.params_std)]
    if len(residuals):
        parts.append(_figures(item, views, corners, residuals, index))
    else:
        parts.append(tag("p", "None of its pictures took part in the fit.", class_="soft"))
    dot = tag("span", "●", style=f"color:{camera_colour(index)};margin-right:8px", aria_hidden="true")
    return section(anchor, joined([dot, item.name]), *parts)


def _kept(views: tuple[RigView, ...]) -> tuple[Points, Points]:
    """All corners that the fit rests on, and their residuals, (n, 2) each, pixels."""
    pixels = [np.zeros((0, 2)), *(view.pixels[~view.outliers] for view in views)]
    residuals = [np.zeros((0, 2)), *(view.residuals[~view.outliers] for view in views)]
    return np.concatenate(pixels), np.concatenate(residuals)


def _tiles(calibration: RigCalibration, index: int) -> Html:
    item = calibration.cameras[index]
    camera, alone = item.camera, item.alone
    total = sum(view.camera == index for view in calibration.views)
    horizontal, vertical, _ = (math.degrees(angle) for angle in camera.field_of_view())
    focal = " × ".join(number(value, 4) for value in camera.params[:2])
    model_note = "given and held" if item.held else f"{len(camera.params)} parameters"
    tiles = [
        tile("Lens model", breakable(camera.model), model_note),
        tile("RMS in the rig", in_pixels(item.rms_px), _alone_words(item)),
        tile("Views used", f"{len(calibration.used_views(index))} of {total}", "pictures"),
        tile("Image", f"{camera.width} × {camera.height}", "pixels"),
        tile("Focal length", focal, "px"),
        tile("Field of view", f"{horizontal:.1f}° × {vertical:.1f}°", "horizontal, vertical"),
    ]
    if alone is not None:
        tiles.insert(2, tile("Held-out RMS", in_pixels(alone.holdout_rms_px), "by itself, views not in the fit"))
    return tag("dl", *tiles, class_="tiles")


def _findings(item: CameraInRig) -> list[Html]:
    """What the watch-out checks found of the camera's pictures."""
    if item.alone is None or not item.alone.findings:
        return []
    lines = [tag("li", finding.sentence) for finding in item.alone.findings]
    return [tag("div", tag("b", "Watch-out checks"), tag("ul", *lines), class_="note")]


def _alone_words(item: CameraInRig) -> str:
    return "intrinsics held" if item.alone is None else f"by itself {in_pixels(item.alone.rms_px)}"


def _figures(item: CameraInRig, views: tuple[RigView, ...], corners: Points, residuals: Points, index: int) -> Html:
    camera = item.camera
    cells = cell_centres(camera.width, camera.height)
    params = torch.tensor(camera.params, dtype=torch.float64)
    valid = camera.lens.valid_pixels(params, cells.reshape(-1, 2)).reshape(cells.shape[:2])
    covered = coverage([v.pixels[~v.outliers] for v in views], camera.width, camera.height, valid.numpy())
    sigma = math.sqrt(0.5 * float((residuals**2).sum(axis=1).mean()))
    field = averaged(corners, residuals, camera.width, camera.height)
    drawn, factor, strange = residual_field_figure(field, sigma, camera, f"rf{index}")
    zones = (
        f"Centre {percent(covered.center)}, edges {percent(covered.edge)}, corners {percent(covered.corner)}. "
        "Hatched: no board was ever there."
    )
    distortion, distortion_words = distortion_figure(camera, f"d{index}")
    label = f"{item.name}: residual of every corner"
    systematic = (
        f"Mean residual of each cell, ×{factor:g}. Orange: {strange} of {len(field.counts)} cells beyond three "
        "standard errors; many of them, pointing alike, mean that something does not fit."
    )
    return tag(
        "div",
        figure(coverage_figure(covered, corners, camera, f"cov{index}"), "Views per part of the image", zones),
        figure(
            scatter(residuals, sigma, label),
            "Projected minus detected",
            f"{len(residuals)} corners; σ {number(sigma)} px.",
        ),
        figure(drawn, "Systematic part over the image", systematic),
        figure(distortion, "Distortion", distortion_words),
        class_="pair",
        style="margin-top:14px",
    )
